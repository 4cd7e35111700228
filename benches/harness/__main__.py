"""The command line of the benchmark; see `scripts/bench --help`."""

import argparse
import os
import shutil
import sys

from . import curves, fairness, footprint, load, machine, plot, publish, report, servers, speed, syscalls
from .scenarios import SCENARIOS
from .verdict import Missing

SPEED = {scenario.name: scenario for scenario in SCENARIOS}
CHECKS = {**fairness.CHECKS, **footprint.CHECKS}
CURVES = {"connections": curves.connections, "workers": curves.workers}
ALL = [*SPEED, *CHECKS, *CURVES]
# A first look: the peers that targets name, and a scenario of each kind.
QUICK_SCENARIOS = ["hello", "browser", "stream", "post", "close", "mixed", "balance", "memory", "start"]
QUICK_SERVERS = [servers.OWN, "bjoern", "fastpysgi", "fastwsgi", "granian"]


def _names(known):
    def parse(text):
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def _at_least_one(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least 1")
    return int(text)


def _arguments():
    description = "Measures rwsgi and its peers; docs/performance.md says how."
    parser = argparse.ArgumentParser(prog="scripts/bench", description=description)
    commands = parser.add_subparsers(dest="command", required=True)
    known = [servers.OWN, *machine.PEERS]
    for name, rounds, seconds, scenarios, chosen, text in (
        ("run", 5, 2, ALL, known, "measure everything that is not left out by an option"),
        ("quick", 3, 1, QUICK_SCENARIOS, QUICK_SERVERS, "a first look in a few minutes"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--rounds", type=_at_least_one, default=rounds, help=f"of each scenario ({rounds})")
        command.add_argument("--seconds", type=_at_least_one, default=seconds, help=f"of each measurement ({seconds})")
        command.add_argument("--scenarios", type=_names(ALL), default=scenarios, help=f"some of {','.join(ALL)}")
        command.add_argument("--servers", type=_names(known), default=chosen, help=f"some of {','.join(known)}")
    command = commands.add_parser("syscalls", help="count the system calls per request of hello with strace")
    command.add_argument("--servers", type=_names(known), default=[servers.OWN], help="default: rwsgi")
    command.add_argument("--requests", type=_at_least_one, default=20000, help="default: 20000")
    commands.add_parser("train", help="serve each scenario of speed for a second, for scripts/profile")
    commands.add_parser("publish", help="put the last results into docs/performance.md, and the plots beside it")
    return parser.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


def _installed(chosen):
    there = servers.installed()
    for name in chosen:
        if name not in there:
            say(f"{name} is left out: it is not installed (see {machine.OUTPUT}/pip-{name}.log)")
    return [name for name in chosen if name in there]


def _check(name, seconds):
    try:
        return CHECKS[name](seconds)
    except (servers.ServerError, load.LoadError) as error:
        return [Missing(name, "not measured", str(error).replace("\n", " "))]


def measure(options):
    """Runs what is chosen, and writes the files after each scenario: an interrupted run has results too."""
    names = _installed(options.servers)
    for stale in machine.OUTPUT.glob("*.svg"):
        stale.unlink()
    settings = {"rounds": options.rounds, "seconds": options.seconds}
    results = report.Results(machine.description(), settings)
    for name in [name for name in ALL if name in options.scenarios]:
        if name in SPEED:
            found = speed.run(SPEED[name], names, options.rounds, options.seconds, say)
            results.speed.append((SPEED[name], found))
            results.verdicts += speed.verdicts(SPEED[name], found) if servers.OWN in names else []
        elif name in CURVES:
            setattr(results, name, CURVES[name](names, options.seconds, say))
        elif servers.OWN in names:
            say(name)
            results.verdicts += _check(name, options.seconds)
        report.write(results, machine.OUTPUT)
    return results


def main():
    options = _arguments()
    if options.command == "publish":
        publish.run()
        return
    if not shutil.which("wrk"):
        raise SystemExit("scripts/bench needs wrk: scripts/setup installs it")
    if not os.access(machine.RWSGI, os.X_OK):
        raise SystemExit(f"{machine.RWSGI} is not there: scripts/bench builds it, or measures RWSGI=/path/to/rwsgi")
    if len(machine.CPUS) < 2:
        raise SystemExit("the server and the load need a CPU each, and this process may use only one")
    machine.settle()
    if options.command == "syscalls":
        syscalls.run(_installed(options.servers), options.requests)
        return
    if options.command == "train":
        speed.train(SCENARIOS, say)
        return
    results = measure(options)
    plots = plot.write(results, machine.OUTPUT)
    print(report.markdown(results))
    for path in [machine.OUTPUT / "results.json", machine.OUTPUT / "results.md", *plots]:
        say(f"written: {path}")
    wrong = [scenario.name for scenario, found in results.speed if servers.OWN in found and found[servers.OWN].fault]
    if wrong:
        raise SystemExit(f"rwsgi itself answers wrongly in: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
