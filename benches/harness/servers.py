"""How each server is started, and what a running one consists of.

Every server gets one worker unless a scenario asks for more, keep-alive, a backlog of 4096, and no access log. What a
peer needs beyond its command line is in benches/peers.
"""

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from . import client, machine

PEER_FILES = machine.BENCHES / "peers"
BIN = Path(sys.executable).parent
START_TIMEOUT = 30
STOP_TIMEOUT = 5
POLL = 0.001
ROOT = client.request("/")

OWN = "rwsgi"
FLOOR = "floor"
THREADS_8 = "rwsgi, threads = 8"
ACCESS_LOG = "rwsgi, access log"
ACCESS_FILE = machine.OUTPUT / "access.log"
# Other settings of rwsgi, compared with it in the same rounds.
VARIANTS = {
    THREADS_8: ["--threads", "8"],
    ACCESS_LOG: ["--access-log", str(ACCESS_FILE)],
}
SEVERAL_WORKERS = {OWN, "fastpysgi", "fastwsgi", "granian", "gunicorn", "uwsgi"}


class ServerError(Exception):
    """A server that does not start or does not answer."""


def rwsgi_command(port, module, *options, workers=1):
    command = [machine.RWSGI, "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    command += ["--directory", str(machine.APPS), "--virtualenv", str(BIN.parent), "--log-level", "warn"]
    options = [str(option) for option in options]
    return [*command, *(options if "--access-log" in options else ["--access-log", "off", *options]), module]


def _script(name, *arguments):
    return [sys.executable, str(PEER_FILES / f"serve_{name}.py"), *map(str, arguments)]


def _gunicorn(port, module, workers):
    settings = ["-c", str(PEER_FILES / "gunicorn_settings.py"), "-w", str(workers), "-b", f"127.0.0.1:{port}"]
    return [str(BIN / "gunicorn"), *settings, f"{module}:application"]


def _uwsgi(port, module, workers):
    settings = ["--ini", str(PEER_FILES / "uwsgi.ini"), "--http", f"127.0.0.1:{port}", "--processes", str(workers)]
    return [str(BIN / "uwsgi"), *settings, "--virtualenv", str(BIN.parent), "--module", f"{module}:application"]


PEER_COMMANDS = {
    "bjoern": lambda port, module, workers: _script("bjoern", port, module),
    "fastpysgi": lambda port, module, workers: _script("fastpysgi", port, module, workers),
    "fastwsgi": lambda port, module, workers: _script("fastwsgi", port, module, workers),
    "granian": lambda port, module, workers: _script("granian", port, module, workers),
    "gunicorn": _gunicorn,
    "uwsgi": _uwsgi,
    "waitress": lambda port, module, workers: _script("waitress", port, module),
}


def installed():
    """rwsgi and the peers that this machine has."""
    programs = {"gunicorn": BIN / "gunicorn", "uwsgi": BIN / "uwsgi"}
    found = [OWN]
    for name in machine.PEERS:
        program = programs.get(name)
        there = shutil.which(program) if program else machine.version_of(name)
        found += [name] if there else []
    return found


def command_of(name, port, module, workers=1):
    if name == OWN:
        return rwsgi_command(port, module, workers=workers)
    if name in VARIANTS:
        return rwsgi_command(port, module, *VARIANTS[name], workers=workers)
    return PEER_COMMANDS[name](port, module, workers)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclasses.dataclass
class Running:
    """A server that has answered."""

    name: str
    port: int
    process: subprocess.Popen
    log: Path

    def processes(self):
        """The pids of the server: the process that was started and all below it."""
        found = [self.process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        return found

    def cpu_ns(self):
        """CPU time of each process so far, with threads that have ended.

        This is the process CPU-time clock (clock_getcpuclockid): nanoseconds, as in schedstat, but of the whole
        process, so that a thread that ends meanwhile is not lost.
        """
        try:
            return {pid: time.clock_gettime_ns((~pid << 3) | 2) for pid in self.processes()}
        except OSError:
            raise ServerError(f"a process of {self.name} ended") from None

    def cpu_ns_since(self, before):
        after = self.cpu_ns()
        if after.keys() != before.keys():
            raise ServerError(f"{self.name} started or lost a process while it was measured")
        return sum(after.values()) - sum(before.values())


def _tail(log):
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _await_answer(server, message):
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise ServerError(f"{server.name} ended with {server.process.returncode}:\n{_tail(server.log)}")
        with contextlib.suppress(OSError, client.BadAnswer):
            if message is None:
                socket.create_connection(("127.0.0.1", server.port)).close()
            else:
                client.fetch(server.port, message, timeout=2)
            return
        time.sleep(POLL)
    raise ServerError(f"{server.name} does not answer within {START_TIMEOUT} s:\n{_tail(server.log)}")


def _stop(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def run(name, command, port, cpus=(machine.SERVER_CPU,), message=ROOT):
    """A server for the time of a `with`, from its first answer to the message (or, with None, its first connection).

    It is a process group of its own, of which nothing is left afterwards.
    """
    log = machine.OUTPUT / "log" / f"{name.replace(', ', '-').replace(' ', '')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output, machine.on_cpus(*cpus):
        process = subprocess.Popen(
            command,
            cwd=machine.APPS,
            env=machine.clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Running(name, port, process, log)
    try:
        _await_answer(server, message)
        yield server
    finally:
        _stop(process)


def start(name, module, workers=1, cpus=(machine.SERVER_CPU,), message=ROOT):
    port = free_port()
    return run(name, command_of(name, port, module, workers), port, cpus, message)


def start_rwsgi(module, *options, workers=1, cpus=(machine.SERVER_CPU,)):
    port = free_port()
    return run(OWN, rwsgi_command(port, module, *options, workers=workers), port, cpus)


def start_floor(answer, body_bytes):
    """The program that only receives and sends: the answer is what the server has to send, head and body."""
    file = machine.OUTPUT / "floor-answer"
    file.write_bytes(answer)
    port = free_port()
    command = [str(machine.FLOOR), str(port), str(body_bytes), str(file)]
    return run(FLOOR, command, port, message=None)
