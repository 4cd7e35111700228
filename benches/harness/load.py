"""The two load programs: wrk for speed, benches/load for what wrk cannot do. Both are pinned to the load's CPU."""

import json
import os
import subprocess
import tempfile

from . import machine

SCRIPT = machine.BENCHES / "load" / "wrk.lua"


class LoadError(Exception):
    """A load program that failed, or was not answered."""


def _run(command, what, timeout, environment=None):
    with machine.on_cpus(machine.LOAD_CPU):
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise LoadError(f"{what} did not end within {timeout:.0f} s") from None
    if done.returncode != 0:
        raise LoadError(f"{what}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def wrk(port, seconds, connections=64, path="/", headers=(), body=None):
    """wrk's figures: requests, seconds, p50_us, p99_us, status_errors, socket_errors."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT)]
    for name, value in headers:
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{port}{path}")
    with tempfile.NamedTemporaryFile() as file:
        environment = dict(os.environ)
        if body is not None:
            file.write(body)
            file.flush()
            environment["BENCH_BODY"] = file.name
        output = _run(command, "wrk", seconds + 20, environment)
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    raise LoadError(f"wrk printed no figures:\n{output}")


def custom(port, *arguments, timeout=60):
    """The figures of benches/load/load.c, whose head describes them."""
    return json.loads(_run([str(machine.LOAD), str(port), *map(str, arguments)], "load", timeout))
