"""The plots, as SVG: CPU time per request of every scenario, and throughput over connections and over workers."""

import math

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402 - the backend is chosen first

from . import servers  # noqa: E402

OWN_COLOUR = "#c2410c"
PEER_COLOUR = "#94a3b8"
# A peer whose answers are right, but that does not do what the scenario is about.
REMARKED_COLOUR = "#e2e8f0"
FLOOR_COLOUR = "#334155"
CURVE_COLOURS = {
    servers.OWN: OWN_COLOUR,
    "bjoern": "#2563eb",
    "fastpysgi": "#0d9488",
    "fastwsgi": "#7c3aed",
    "granian": "#475569",
    "gunicorn": "#ca8a04",
    "uwsgi": "#be185d",
    "waitress": "#0891b2",
}
COLUMNS = 2
# Bars end at this many times the cost of rwsgi.
CUT = 4
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#94a3b8",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#475569",
    "ytick.color": "#1e293b",
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "rwsgi",
}


def _save(figure, path):
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _colour(name, result):
    if name == servers.OWN:
        return OWN_COLOUR
    return REMARKED_COLOUR if result.remark else PEER_COLOUR


def _bars(axes, scenario, results):
    """Servers from the cheapest down, the floor as a line."""
    hidden = (servers.FLOOR, *servers.VARIANTS)
    shown = {name: result for name, result in results.items() if result.ranked and name not in hidden}
    names = sorted(shown, key=lambda name: shown[name].median("cpu_us"))
    costs = [shown[name].median("cpu_us") for name in names]
    samples = [[sample.cpu_us for sample in shown[name].samples.values()] for name in names]
    right = _right_edge(shown, costs)
    # A bar that is cut has no whiskers.
    below = [cost - min(all_costs) if cost <= right else math.nan for cost, all_costs in zip(costs, samples)]
    above = [max(all_costs) - cost if cost <= right else math.nan for cost, all_costs in zip(costs, samples)]
    edge = max(cost + high for cost, high in zip(costs, above) if cost <= right)
    axes.barh(
        range(len(names)),
        [cost if cost <= right else edge * 1.14 for cost in costs],
        color=[_colour(name, shown[name]) for name in names],
        height=0.68,
        xerr=(below, above),
        error_kw={"ecolor": "#1e293b", "elinewidth": 0.8, "capsize": 2},
    )
    for at, (name, cost, high) in enumerate(zip(names, costs, above)):
        text = f"{cost:.3g}" if cost < 1000 else f"{cost:,.0f}"
        if cost > right:
            axes.text(edge * 1.12, at, f"{text} →", va="center", ha="right", fontsize=8, color="#1e293b")
            continue
        text += f"  {shown[name].remark}" if shown[name].remark and cost < edge / 2 else ""
        axes.text(cost + high + edge * 0.015, at, text, va="center", fontsize=8, color="#1e293b")
    axes.set_yticks(range(len(names)), names)
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == servers.OWN else "normal")
    axes.invert_yaxis()
    axes.set_xlim(0, edge * 1.14)
    axes.tick_params(axis="y", length=0)
    axes.set_title(scenario.name, pad=16)
    axes.text(0, 1.025, scenario.what, transform=axes.transAxes, fontsize=8, color="#475569")
    if servers.FLOOR in results and results[servers.FLOOR].ranked:
        _floor(axes, results[servers.FLOOR].median("cpu_us"))


def _right_edge(shown, costs):
    """The largest cost that is drawn whole: with those of many times rwsgi's, the others could not be told apart."""
    return min(max(costs), CUT * shown[servers.OWN].median("cpu_us")) if servers.OWN in shown else max(costs)


def _floor(axes, cost):
    axes.axvline(cost, color=FLOOR_COLOUR, linestyle=(0, (3, 2)), linewidth=1)
    axes.annotate(
        f"floor {cost:.3g}",
        (cost, 0),
        xycoords=("data", "axes fraction"),
        xytext=(3, 3),
        textcoords="offset points",
        fontsize=7.5,
        color=FLOOR_COLOUR,
    )


def cpu(speed, path):
    rows = math.ceil(len(speed) / COLUMNS)
    columns = min(COLUMNS, len(speed))
    size = (5 * columns, 2.6 * rows + 0.5)
    figure, grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    cells = list(grid.flat)
    for axes, (scenario, results) in zip(cells, speed):
        if any(result.ranked for name, result in results.items() if name != servers.FLOOR):
            _bars(axes, scenario, results)
    for axes in cells[len(speed) :]:
        axes.axis("off")
    label = "server CPU time per request, µs (less is better; whiskers: all rounds; →: the bar is cut)"
    figure.supxlabel(label, fontsize=9, color="#475569")
    _save(figure, path)


def curve(curves, label, path):
    figure, axes = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    ends = []
    for name, points in curves.items():
        if not points:
            continue
        own = name == servers.OWN
        colour = CURVE_COLOURS[name]
        rates = [point["rate"] / 1e3 for point in points.values()]
        width, order = (2.4, 3) if own else (1.4, 2)
        axes.plot(list(points), rates, color=colour, linewidth=width, marker="o", markersize=3.5, zorder=order)
        ends.append((rates[-1], list(points)[-1], name, colour, own))
    axes.set_xscale("log", base=2)
    ticks = sorted({point for points in curves.values() for point in points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e2e8f0", linewidth=0.8)
    _label_ends(axes, ends)
    axes.set_xlabel(label)
    axes.set_title("thousand requests per second (hello)", pad=10)
    _save(figure, path)


def _label_ends(axes, ends):
    """Names at the ends of their lines, pushed apart where lines end close together."""
    height = axes.get_ylim()[1]
    least = height * 0.052
    placed = -least
    for rate, point, name, colour, own in sorted(ends):
        at = max(rate, placed + least)
        placed = at
        axes.annotate(
            name,
            (point, rate),
            xytext=(1.02, at),
            textcoords=("axes fraction", "data"),
            va="center",
            color=colour,
            fontweight="bold" if own else "normal",
            annotation_clip=False,
        )


def write(results, folder):
    """Writes the plots of what was measured; returns their paths."""
    written = []
    with pyplot.rc_context(STYLE):
        if results.speed:
            written.append(folder / "cpu.svg")
            cpu(results.speed, written[-1])
        if results.connections:
            written.append(folder / "connections.svg")
            curve(results.connections, "keep-alive connections", written[-1])
        if results.workers:
            written.append(folder / "workers.svg")
            curve(results.workers, "workers", written[-1])
    return written
