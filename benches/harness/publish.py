"""Puts the results of the last run into docs/performance.md, between its two marks, and the plots beside it."""

import shutil

from . import machine

PAGE = machine.ROOT / "docs" / "performance.md"
PLOTS = machine.ROOT / "docs" / "performance"
BEGIN = "<!-- results: begin (scripts/bench publish) -->"
END = "<!-- results: end -->"
CAPTIONS = {
    "cpu.svg": "Server CPU time per request of each scenario",
    "connections.svg": "Throughput over the number of connections",
    "workers.svg": "Throughput over the number of workers",
}


def run():
    file = machine.OUTPUT / "results.md"
    if not file.exists():
        raise SystemExit(f"{file} is not there: run make bench first")
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} lacks the lines {BEGIN} and {END}, between which the results go")
    PLOTS.mkdir(exist_ok=True)
    images = []
    for name, caption in CAPTIONS.items():
        if (machine.OUTPUT / name).exists():
            shutil.copy(machine.OUTPUT / name, PLOTS / name)
            images.append(f"![{caption}](performance/{name})")
    # The page has a heading of its own; the headings below it move down one level.
    lines = file.read_text().splitlines()[1:]
    lines = ["#" + line if line.startswith("## ") else line for line in lines]
    PAGE.write_text(f"{before}{begin}\n\n" + "\n\n".join(images) + "\n" + "\n".join(lines) + f"\n\n{end}{after}")
    print(f"written: {PAGE}, {PLOTS}")
