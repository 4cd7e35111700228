"""The speed of the scenarios: interleaved rounds, in each of which every server is started, measured and stopped once.

What a machine does beside the measurement changes over minutes. A round puts all servers into the same minute, in an
order that is drawn anew for each; a ratio is taken within a round, and the median of the rounds counts.
"""

import dataclasses
import random
import statistics

from . import checks, load, servers
from .scenarios import BEST_PEER
from .verdict import Missing, Verdict

WARM_UP_SECONDS = 1


class WrongStatus(Exception):
    """A server that answers rightly when it is checked, and wrongly under load."""


@dataclasses.dataclass
class Sample:
    """One measurement of one server in one round."""

    cpu_us: float
    rate: float
    p50_us: float
    p99_us: float
    busy: float  # the share of the time in which the server used its CPU


@dataclasses.dataclass
class Result:
    """A server in a scenario."""

    samples: dict = dataclasses.field(default_factory=dict)  # round → Sample
    fault: str | None = None
    lost: list = dataclasses.field(default_factory=list)  # why rounds have no sample
    remark: str = ""
    delay_ms: float | None = None

    @property
    def ranked(self):
        return self.fault is None and len(self.samples) > len(self.lost)

    def median(self, figure):
        return statistics.median(getattr(sample, figure) for sample in self.samples.values())

    def as_dict(self):
        return {**dataclasses.asdict(self), "samples": [dataclasses.asdict(sample) for sample in self.samples.values()]}


def measure(server, scenario, seconds):
    request = {"connections": scenario.connections, "path": scenario.path}
    request |= {"headers": scenario.headers, "body": scenario.body}
    load.wrk(server.port, WARM_UP_SECONDS, **request)
    before = server.cpu_ns()
    figures = load.wrk(server.port, seconds, **request)
    used = server.cpu_ns_since(before)
    if figures["status_errors"] > 0:
        raise WrongStatus(f"{figures['status_errors']} of {figures['requests']} requests got a wrong status")
    if figures["requests"] == 0:
        raise load.LoadError(f"no request was answered within {seconds} s")
    return Sample(
        cpu_us=used / figures["requests"] / 1e3,
        rate=figures["requests"] / figures["seconds"],
        p50_us=figures["p50_us"],
        p99_us=figures["p99_us"],
        busy=used / 1e9 / figures["seconds"],
    )


def floor_answer(expected):
    """What a server has to send: the application's headers with Server and Date, and the body."""
    status, headers, body = expected
    fields = [("Server", "floor"), ("Date", "Sat, 21 Nov 2026 00:00:00 GMT"), *headers]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def _start(name, scenario, expected):
    if name == servers.FLOOR:
        return servers.start_floor(floor_answer(expected), len(scenario.body or b""))
    return servers.start(name, scenario.module, message=scenario.message())


def _check(server, scenario, expected, result):
    result.fault, result.remark = checks.fault(server, scenario, expected)
    if scenario.timed_path and result.fault is None and server.name != servers.FLOOR:
        result.delay_ms = checks.delay_ms(server, scenario.timed_path)
        if result.delay_ms is None:
            result.fault = "a slow stream is not answered completely"
        elif result.delay_ms > checks.DELAY_MAX_MS:
            result.remark = f"holds blocks back, {result.delay_ms:.0f} ms"
    if scenario.closes_path and result.fault is None:
        result.fault, remark = checks.close_fault(server, scenario.closes_path)
        result.remark = "; ".join(part for part in (result.remark, remark) if part)


def run(scenario, names, rounds, seconds, say):
    """Results by server name, in rounds."""
    expected = scenario.expected()
    everyone = list(names)
    everyone += [servers.FLOOR] if scenario.floor else []
    everyone += scenario.variants if servers.OWN in names else []
    results = {name: Result() for name in everyone}
    for number in range(rounds):
        order = random.sample(everyone, len(everyone))
        for name in order:
            result = results[name]
            if result.fault:
                continue
            try:
                with _start(name, scenario, expected) as server:
                    if not result.samples:
                        _check(server, scenario, expected, result)
                    if result.fault is None:
                        result.samples[number] = measure(server, scenario, seconds)
            except WrongStatus as error:
                result.fault = str(error)
            except (servers.ServerError, load.LoadError) as error:
                result.lost.append(str(error))
            servers.ACCESS_FILE.unlink(missing_ok=True)
            say(f"{scenario.name} {number + 1}/{rounds} {name}: " + _progress(result, number))
    return results


def train(scenarios, say):
    """Has rwsgi serve each scenario for a second after the warm-up: a build that counts what it runs counts that."""
    for scenario in scenarios:
        say(f"{scenario.name}: {scenario.what}")
        with _start(servers.OWN, scenario, scenario.expected()) as server:
            measure(server, scenario, 1)


def _progress(result, number):
    if number not in result.samples:
        return f"not measured: {result.fault or result.lost[-1]}"
    sample = result.samples[number]
    return f"{sample.cpu_us:.2f} µs of CPU a request, {sample.rate:.0f} requests/s"


def best_peer(results):
    """The quickest of those that do all that the scenario is about."""
    everyone = [name for name, result in results.items() if result.ranked and not result.remark]
    peers = [name for name in everyone if name in servers.PEER_COMMANDS]
    return min(peers, key=lambda name: results[name].median("cpu_us"), default=None)


def ratios(own, other):
    """The ratio of CPU times in each round that has both."""
    common = sorted(own.samples.keys() & other.samples.keys())
    return [own.samples[number].cpu_us / other.samples[number].cpu_us for number in common]


def _against(scenario, target, results):
    name = best_peer(results) if target.against == BEST_PEER else target.against
    shown = f"{target.against} ({name})" if target.against == BEST_PEER else target.against
    what = f"CPU time of {target.of} over {shown}"
    for needed in (target.of, name):
        if needed not in results or not results[needed].ranked:
            return Missing(scenario.name, what, f"{needed or 'a peer'} was not measured or answers wrongly")
    all_ratios = ratios(results[target.of], results[name])
    if not all_ratios:
        return Missing(scenario.name, what, "no round has both")
    detail = f"rounds {min(all_ratios):.2f}–{max(all_ratios):.2f}"
    return Verdict(scenario.name, what, statistics.median(all_ratios), target.limit, detail=detail)


def verdicts(scenario, results):
    found = [_against(scenario, target, results) for target in scenario.targets]
    own = results.get(servers.OWN)
    if scenario.timed_path and own and own.delay_ms is not None:
        what = "most delayed block of a slow generator"
        found.append(Verdict(scenario.name, what, own.delay_ms, checks.DELAY_MAX_MS, "ms"))
    return found
