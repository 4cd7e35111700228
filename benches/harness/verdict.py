"""A target and what was measured."""

import dataclasses


@dataclasses.dataclass
class Verdict:
    scenario: str
    what: str
    measured: float
    limit: float | None  # None: a figure without a target
    unit: str = "×"
    at_least: bool = False
    detail: str = ""

    @property
    def passed(self):
        if self.limit is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def as_dict(self):
        return {**dataclasses.asdict(self), "passed": self.passed}


@dataclasses.dataclass
class Missing:
    """A target that could not be measured, and why."""

    scenario: str
    what: str
    why: str

    def as_dict(self):
        return dataclasses.asdict(self)
