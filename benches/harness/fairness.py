"""Requests that wait beside requests that do not, and several workers: what a mean of equal requests does not show.

Latencies come from benches/load at a fixed rate, counted from the instant at which a request was due: a closed loop
would send less while the server stalls, and so hide the stall.
"""

import statistics

from . import load, machine, servers
from .verdict import Verdict

CONCURRENT_THREADS = 64
CONCURRENT_SLEEP_MS = 10
BURSTS = 9
# 20 of 2000 requests a second sleep 50 ms: one thread in eight is asleep on average, and all eight next to never.
MIXED_RATE = 2000
# A request waits for a switch interval (5 ms) when it meets the computing thread: 100/s keep clear of queueing.
SPINNING_RATE = 100
BALANCED_CONNECTIONS = 64
WORKERS = 4
OPENINGS = 15
WAITING_MS = 20


def concurrency(seconds):
    """Sleeping requests on many threads: as many at once as there are threads, and a burst of them at once."""
    ideal = CONCURRENT_THREADS * 1000 / CONCURRENT_SLEEP_MS
    path = f"/sleep/{CONCURRENT_SLEEP_MS}"
    with servers.start_rwsgi("waiting", "--threads", CONCURRENT_THREADS) as server:
        load.wrk(server.port, 1, connections=512, path=path)
        figures = load.wrk(server.port, seconds, connections=512, path=path)
        bursts = load.custom(server.port, "--connections", CONCURRENT_THREADS, "--burst", BURSTS, path)["bursts_ms"]
    rate = figures["requests"] / figures["seconds"]
    what = f"requests/s, each {CONCURRENT_SLEEP_MS} ms of sleep, {CONCURRENT_THREADS} threads, 512 connections"
    return [
        Verdict("concurrency", what, rate, 0.9 * ideal, "/s", at_least=True, detail=f"ideal {ideal:.0f}/s"),
        Verdict(
            "concurrency",
            f"a warm burst of {CONCURRENT_THREADS} such requests, median of {BURSTS}",
            statistics.median(bursts),
            25,
            "ms",
            detail=f"{min(bursts):.1f}–{max(bursts):.1f} ms",
        ),
    ]


def _latency(figures, path):
    times = figures["paths"][path]
    detail = f"p50 {times['p50_us'] / 1e3:.2f} ms, longest {times['max_us'] / 1e3:.2f} ms, {times['count']} requests"
    return times["p99_us"] / 1e3, detail + (f", {figures['errors']} errors" if figures["errors"] else "")


def mixed(seconds):
    """1 % of sleeping requests must not hold up the others."""
    with servers.start_rwsgi("waiting", "--threads", "8") as server:
        arguments = ["--connections", 64, "--rate", MIXED_RATE, "/:99", "/sleep/50:1"]
        load.custom(server.port, "--seconds", 1, *arguments)
        figures = load.custom(server.port, "--seconds", max(seconds, 3), *arguments)
    p99, detail = _latency(figures, "/")
    what = f"p99 of hello beside 1 % sleep(50 ms), 8 threads, {MIXED_RATE} requests/s"
    return [Verdict("mixed", what, p99, 2, "ms", detail=detail)]


def spinning(seconds):
    """A thread of the application that computes must not starve the requests."""
    with servers.start_rwsgi("spinning", "--threads", "1") as server:
        figures = load.custom(
            server.port, "--connections", 16, "--rate", SPINNING_RATE, "--seconds", max(seconds, 5)
        )
    p99, detail = _latency(figures, "/")
    what = f"p99 of hello beside a computing Python thread, {SPINNING_RATE} requests/s (3 × the switch interval)"
    return [Verdict("spinning", what, p99, 15, "ms", detail=detail)]


def balance(seconds):
    """Connections that are opened at once, and then kept, spread over the workers."""
    with servers.start_rwsgi("who", workers=WORKERS, cpus=machine.SERVER_CPUS) as server:
        arguments = ["--connections", BALANCED_CONNECTIONS, "--bodies"]
        figures = load.custom(server.port, *arguments, "--seconds", seconds)
    shares = sorted(figures["bodies"].values(), reverse=True)
    shares += [0] * (WORKERS - len(shares))
    percent = " ".join(f"{100 * share / sum(shares):.1f} %" for share in shares)
    what = f"busiest over idlest of {WORKERS} workers, {BALANCED_CONNECTIONS} connections opened at once"
    # A worker without any request counts as one with one: the ratio stays a number.
    ratio = shares[0] / max(shares[-1], 1)
    return [Verdict("balance", what, ratio, 1.3, detail=percent)]


def idle_worker(seconds):
    """No request waits while a worker has nothing to do: two requests at a time meet four workers."""
    path = f"/sleep/{WAITING_MS}"
    worst = []
    with servers.start_rwsgi("waiting", workers=WORKERS, cpus=machine.SERVER_CPUS) as server:
        for _ in range(OPENINGS):
            figures = load.custom(server.port, "--connections", WORKERS // 2, "--eager", "--requests", 40, path)
            worst.append(figures["paths"][path]["p99_us"] / 1e3)
    what = f"p99 of {WAITING_MS} ms of sleep, {WORKERS} workers, {WORKERS // 2} connections, the worst opening"
    waited = sum(p99 > 1.5 * WAITING_MS for p99 in worst)
    detail = f"{waited} of {OPENINGS} openings had requests that waited"
    return [Verdict("idle-worker", what, max(worst), 1.5 * WAITING_MS, "ms", detail=detail)]


CHECKS = {
    "concurrency": concurrency,
    "mixed": mixed,
    "spinning": spinning,
    "balance": balance,
    "idle-worker": idle_worker,
}
