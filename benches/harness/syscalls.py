"""System calls per request of a server, counted by strace over a fixed number of requests of hello."""

import re
import shutil
import signal
import subprocess
import tempfile

from . import load, report, servers

ATTACH_TIMEOUT = 10


def _attach(server, output):
    """strace on all processes of the server; returns when it has all of them, so that nothing is missed."""
    processes = server.processes()
    command = ["strace", "-c", "-f", "-o", output]
    for pid in processes:
        command += ["-p", str(pid)]
    strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    attached = 0
    for line in strace.stderr:
        attached += "attached" in line
        if attached == len(processes):
            return strace
    raise servers.ServerError(f"strace could not attach to {server.name} (ptrace may be forbidden here)")


def _counts(text):
    """{system call: calls} of the table that strace -c writes."""
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", text, re.M)
    return {name: int(calls) for calls, name in rows if name != "total"}


def count(name, requests, connections):
    with servers.start(name, "hello") as server, tempfile.NamedTemporaryFile("r") as output:
        load.wrk(server.port, 1, connections=connections)
        strace = _attach(server, output.name)
        try:
            load.custom(server.port, "--connections", connections, "--requests", requests)
        finally:
            strace.send_signal(signal.SIGINT)
            strace.communicate(timeout=ATTACH_TIMEOUT)
        return _counts(output.read())


def run(names, requests):
    if not shutil.which("strace"):
        raise SystemExit("scripts/bench syscalls needs strace: apt-get install strace")
    for connections in (1, 64):
        counts = {name: count(name, requests, connections) for name in names}
        calls = sorted(
            {call for found in counts.values() for call in found},
            key=lambda call: -max(found.get(call, 0) for found in counts.values()),
        )
        rows = [
            [call, *(f"{counts[name].get(call, 0) / requests:.3f}" for name in names), ""]
            for call in calls
            if any(counts[name].get(call, 0) / requests >= 0.0005 for name in names)
        ]
        rows.append(["all", *(f"{sum(counts[name].values()) / requests:.3f}" for name in names), ""])
        print(f"System calls per request of hello: {requests} requests on {connections} keep-alive connection(s),")
        print("the opening and closing of the connections included.\n")
        print(report.table(["system call", *names, ""], rows) + "\n")
