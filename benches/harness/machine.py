"""Where the benchmark runs: the CPUs of server and load, the folders, and what the results have to say of both."""

import contextlib
import datetime
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHES = ROOT / "benches"
APPS = BENCHES / "apps"
OUTPUT = ROOT / "target" / "bench"
FLOOR = OUTPUT / "floor"
LOAD = OUTPUT / "load"
PROFILE_GUIDED = os.environ.get("RWSGI_BUILT")
RWSGI = os.environ.get("RWSGI") or PROFILE_GUIDED or str(ROOT / "target" / "release" / "rwsgi")

CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU = CPUS[0]
LOAD_CPU = CPUS[-1]
# With several workers: every CPU that the load does not need, if there are any left.
SERVER_CPUS = CPUS[:-1] or CPUS

PEERS = ["bjoern", "fastpysgi", "fastwsgi", "granian", "gunicorn", "uwsgi", "waitress"]


@contextlib.contextmanager
def on_cpus(*cpus):
    """Processes that are started inside run on these CPUs only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def settle():
    """Leaves the server's CPU to the server, and raises the limit of descriptors for all to the most."""
    os.sched_setaffinity(0, {LOAD_CPU})
    most = descriptor_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def descriptor_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def clean_environment():
    """The environment for servers: nothing of the caller's may configure them, and the applications can be imported."""
    settings = ("RWSGI", "GRANIAN_", "UWSGI_", "GUNICORN_", "WEB_CONCURRENCY", "PYTHON", "FLASK_", "DJANGO_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    # The order in which a dictionary's strings meet is chance, and worth some per cent of a view: the same for all.
    return {**kept, "PYTHONPATH": str(APPS), "PYTHONHASHSEED": "0"}


def _output(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit():
    """What was built; of a binary that was given, the commit is not known."""
    if os.environ.get("RWSGI"):
        return "a commit that is not known (RWSGI was set)"
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", "src", "Cargo.lock", "Cargo.toml")
    commit = _output("git", "rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    return commit + (", profile-guided" if PROFILE_GUIDED else "")


def description():
    versions = {name: version_of(name) for name in [*PEERS, "flask", "django"]}
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cpus": len(CPUS),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "rwsgi": _output(RWSGI, "--version").removeprefix("rwsgi "),
        "commit": _commit(),
        "versions": {name: version for name, version in versions.items() if version},
    }
