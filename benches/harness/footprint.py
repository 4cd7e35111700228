"""What rwsgi takes without doing anything: memory of its processes and of idle connections, and the time to start."""

import contextlib
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from . import client, load, machine, servers
from .verdict import Missing, Verdict

IDLE_CONNECTIONS = 10_000
# Descriptors that client and server need beside the idle connections.
SPARE_DESCRIPTORS = 300
STARTS = 9
MIB = 1024


def private_kib(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", text, re.M))


def _resident_kib(pid):
    return int(re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1])


def _bare_python_kib(module):
    """Private memory of a Python that has imported the application and does nothing."""
    code = f"import {module}, signal; print(1, flush=True); signal.pause()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=machine.clean_environment()) as python:
        try:
            python.stdout.readline()
            return private_kib(python.pid)
        finally:
            python.kill()


def memory(_seconds):
    """Private memory of master and worker, after requests, with and without a template."""
    bare = _bare_python_kib("hello") / MIB
    verdicts = []
    for preload in ("auto", "false"):
        with servers.start_rwsgi("hello", "--preload", preload) as server:
            load.wrk(server.port, 1)
            private = {pid: private_kib(pid) / MIB for pid in server.processes()}
            master = private.pop(server.process.pid)
            # The template, if there is one, has served nobody: the worker is the youngest.
            worker = private[max(private)]
            everything = master + sum(private.values())
        where = "" if preload == "auto" else ", app.preload = false"
        over = f"{worker:.1f} MB, the bare Python {bare:.1f} MB, all processes {everything:.1f} MB"
        what = f"private memory of a worker over a bare Python{where}"
        verdicts.append(Verdict("memory", f"private memory of the master{where}", master, 6, "MB"))
        verdicts.append(Verdict("memory", what, worker - bare, 4, "MB", detail=over))
    return verdicts


def _time_to_answer(module, path):
    port = servers.free_port()
    message = client.request(path)
    command = servers.rwsgi_command(port, module)
    begun = time.monotonic()
    with servers.run(servers.OWN, command, port, message=message):
        return time.monotonic() - begun


def _time_to_import(module):
    with machine.on_cpus(machine.SERVER_CPU):
        begun = time.monotonic()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True, env=machine.clean_environment())
        return time.monotonic() - begun


def start(_seconds):
    """The time to the first answer, beside the time in which Python imports the application."""
    verdicts = []
    for module, path in (("hello", "/"), ("flask_site", "/customers/42/orders")):
        answers, imports = [], []
        for _ in range(STARTS):
            imports.append(_time_to_import(module))
            answers.append(_time_to_answer(module, path))
        ratio = statistics.median(answers) / statistics.median(imports)
        detail = f"{statistics.median(answers) * 1e3:.0f} ms over {statistics.median(imports) * 1e3:.0f} ms"
        what = f"time to the first answer over python3 -c 'import {module}'"
        verdicts.append(Verdict("start", what, ratio, 1.3, detail=detail))
    return verdicts


def _open_idle(port, count, stack):
    """Connections that have had one answer and are kept."""
    message = client.request("/")
    for _ in range(count):
        connection = stack.enter_context(client.Connection(port))
        connection.exchange(message)


def _cpu_us(server, seconds):
    before = server.cpu_ns()
    requests = load.wrk(server.port, seconds)["requests"]
    return server.cpu_ns_since(before) / requests / 1e3


def idle_connections(seconds, rounds=3):
    """Memory of an idle connection, and what ten thousand of them cost the active ones."""
    allowed = machine.descriptor_limit()
    if allowed < IDLE_CONNECTIONS + SPARE_DESCRIPTORS:
        why = f"{allowed} descriptors are allowed (ulimit -Hn), {IDLE_CONNECTIONS + SPARE_DESCRIPTORS} are needed"
        return [Missing("idle-connections", f"{IDLE_CONNECTIONS} idle connections", why)]
    options = ["--max-connections", 2 * IDLE_CONNECTIONS, "--keep-alive", "1h", "--preload", "false"]
    grown, ratios = [], []
    for _ in range(rounds):
        with servers.start_rwsgi("hello", *options) as server, contextlib.ExitStack() as stack:
            worker = max(server.processes())
            load.wrk(server.port, 1)
            before = _cpu_us(server, seconds)
            resident = _resident_kib(worker)
            _open_idle(server.port, IDLE_CONNECTIONS, stack)
            grown.append((_resident_kib(worker) - resident) / IDLE_CONNECTIONS)
            beside = _cpu_us(server, seconds)
            stack.close()
            ratios.append(beside / statistics.mean((before, _cpu_us(server, seconds))))
    return [
        Verdict("idle-connections", "resident memory of each", statistics.median(grown), None, "KiB"),
        Verdict(
            "idle-connections",
            f"CPU time of hello beside {IDLE_CONNECTIONS} idle connections over hello alone",
            statistics.median(ratios),
            1.03,
            detail=" ".join(f"{ratio:.3f}" for ratio in ratios),
        ),
    ]


CHECKS = {"memory": memory, "start": start, "idle-connections": idle_connections}
