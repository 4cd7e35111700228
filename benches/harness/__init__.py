"""The benchmark of rwsgi: what `scripts/bench` runs.

machine     the CPUs, and what is known of the machine and the versions
servers     how each server is started and stopped, and its processes
client      a strict HTTP client, for checks
load        wrk and benches/load
scenarios   what is asked of every server, and the targets
speed       interleaved rounds of the scenarios
fairness    requests that wait beside requests that do not, and several workers
footprint   memory, idle connections, the start
curves      throughput over connections and over workers
verdict     a target and what was measured
report      tables, results.json and results.md
plot        the SVGs
syscalls    system calls per request
publish     the results into docs/performance.md
"""
