"""The tables, as Markdown that can also be read on a terminal, and the files results.json and results.md."""

import dataclasses
import json

from .verdict import Missing


@dataclasses.dataclass
class Results:
    """Everything that a run has found."""

    machine: dict
    settings: dict
    speed: list = dataclasses.field(default_factory=list)  # of (Scenario, {server: Result})
    verdicts: list = dataclasses.field(default_factory=list)  # of Verdict or Missing
    connections: dict = dataclasses.field(default_factory=dict)
    workers: dict = dataclasses.field(default_factory=dict)

    def as_dict(self):
        return {
            "machine": self.machine,
            "settings": self.settings,
            "speed": {
                scenario.name: {name: result.as_dict() for name, result in results.items()}
                for scenario, results in self.speed
            },
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "connections": self.connections,
            "workers": self.workers,
        }


def table(head, rows):
    """A Markdown table with aligned columns; all but the first and the last are numbers, to the right."""
    cells = [head, *rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    last = len(head) - 1

    def line(row):
        padded = [
            cell.ljust(width) if at in (0, last) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(
        "-" * (width + 2) if at in (0, last) else "-" * (width + 1) + ":" for at, width in enumerate(widths)
    ) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def _speed_row(name, result):
    costs = [sample.cpu_us for sample in result.samples.values()]
    return [
        name,
        f"{result.median('cpu_us'):.2f}",
        f"{min(costs):.2f}–{max(costs):.2f}",
        f"{result.median('rate'):,.0f}",
        f"{result.median('p50_us') / 1e3:.2f}",
        f"{result.median('p99_us') / 1e3:.2f}",
        f"{result.median('busy'):.0%}",
        "; ".join(part for part in (result.remark, f"rounds lost: {len(result.lost)}" if result.lost else "") if part),
    ]


def speed_table(results):
    head = ["server", "CPU µs", "range", "requests/s", "p50 ms", "p99 ms", "busy", "remark"]
    ranked = {name: result for name, result in results.items() if result.ranked}
    order = sorted(ranked, key=lambda name: ranked[name].median("cpu_us"))
    rows = [_speed_row(name, ranked[name]) for name in order]
    for name, result in results.items():
        if not result.ranked:
            fault = (result.fault or "; ".join(result.lost) or "no round").replace("\n", " ").replace("|", "/")
            rows.append([name, "–", "", "", "", "", "", f"not ranked: {fault}"])
    return table(head, rows)


def _number(value, unit):
    if unit == "×":
        return f"{value:.2f} ×"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}"


def _verdict_row(verdict):
    if isinstance(verdict, Missing):
        return [verdict.scenario, "–", "–", "–", f"{verdict.what}: {verdict.why}"]
    detail = verdict.what + (f" ({verdict.detail})" if verdict.detail else "")
    measured = _number(verdict.measured, verdict.unit)
    if verdict.limit is None:
        return [verdict.scenario, measured, "–", "–", detail]
    relation = "≥" if verdict.at_least else "≤"
    outcome = "pass" if verdict.passed else "MISS"
    return [verdict.scenario, measured, f"{relation} {_number(verdict.limit, verdict.unit)}", outcome, detail]


def verdict_table(verdicts):
    return table(["scenario", "measured", "target", "outcome", "what"], [_verdict_row(verdict) for verdict in verdicts])


def curve_table(label, curves):
    points = sorted({point for curve in curves.values() for point in curve})
    rows = []
    for name, curve in curves.items():
        rows.append([name, *(f"{curve[point]['rate']:,.0f}" if point in curve else "–" for point in points), ""])
    return table([label, *map(str, points), ""], rows)


def _machine_lines(results):
    machine, settings = results.machine, results.settings
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return [
        f"{machine['date']}; rwsgi {machine['rwsgi']} at {machine['commit']}; "
        f"{machine['cpu']}, {machine['cpus']} CPUs; Linux {machine['kernel']}; Python {machine['python']}; {versions}.",
        "",
        f"Rounds: {settings['rounds']}, of {settings['seconds']} s; medians. "
        "\"CPU µs\" is the server's CPU time per request, \"busy\" the share of the time in which it used its CPU.",
    ]


def markdown(results):
    parts = ["# Results of `make bench`", "", *_machine_lines(results)]
    if results.verdicts:
        parts += ["", "## Targets", "", verdict_table(results.verdicts)]
    for scenario, by_server in results.speed:
        parts += ["", f"## {scenario.name}: {scenario.what}", "", speed_table(by_server)]
    if results.connections:
        parts += ["", "## Requests/s over connections (hello)", "", curve_table("server", results.connections)]
    if results.workers:
        parts += ["", "## Requests/s over workers (hello, 64 connections, the load on the same CPUs)", ""]
        parts += [curve_table("server", results.workers)]
    return "\n".join(parts) + "\n"


def write(results, folder):
    (folder / "results.json").write_text(json.dumps(results.as_dict(), indent=1, ensure_ascii=False) + "\n")
    (folder / "results.md").write_text(markdown(results))
