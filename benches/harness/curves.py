"""Throughput over the number of connections and over the number of workers; no targets, but the shape tells."""

from . import load, machine, servers
from .speed import WARM_UP_SECONDS

CONNECTIONS = [1, 4, 16, 64, 256, 1024, 4096]
WORKERS = [1, 2]
# Room for every connection of the largest load, and for the one that asks whether the server is up.
MAX_CONNECTIONS = 8192


def _rate(server, seconds, connections):
    load.wrk(server.port, WARM_UP_SECONDS, connections=connections)
    figures = load.wrk(server.port, seconds, connections=connections)
    if figures["requests"] == 0:
        raise load.LoadError(f"no request was answered within {seconds} s")
    rate = figures["requests"] / figures["seconds"]
    return {"rate": rate, "p99_us": figures["p99_us"], "errors": figures["socket_errors"]}


def _start(name, workers=1, cpus=(machine.SERVER_CPU,)):
    if name == servers.OWN:
        return servers.start_rwsgi("hello", "--max-connections", MAX_CONNECTIONS, workers=workers, cpus=cpus)
    return servers.start(name, "hello", workers, cpus)


def connections(names, seconds, say):
    """{server: {connections: figures}}; each point has a server of its own."""
    curves = {name: {} for name in names}
    for count in CONNECTIONS:
        for name in names:
            try:
                with _start(name) as server:
                    curves[name][count] = _rate(server, seconds, count)
                say(f"connections {count} {name}: {curves[name][count]['rate']:.0f} requests/s")
            except (servers.ServerError, load.LoadError) as error:
                say(f"connections {count} {name}: not measured: {error}")
    return curves


def workers(names, seconds, say):
    """{server: {workers: figures}}, on all CPUs: the load shares them, and has one to itself only if there are more."""
    cpus = machine.SERVER_CPUS if len(machine.SERVER_CPUS) >= max(WORKERS) else machine.CPUS
    curves = {name: {} for name in names if name in servers.SEVERAL_WORKERS}
    for count in WORKERS:
        for name in curves:
            try:
                with _start(name, count, cpus) as server:
                    curves[name][count] = _rate(server, seconds, 64)
                say(f"workers {count} {name}: {curves[name][count]['rate']:.0f} requests/s")
            except (servers.ServerError, load.LoadError) as error:
                say(f"workers {count} {name}: not measured: {error}")
    return curves
