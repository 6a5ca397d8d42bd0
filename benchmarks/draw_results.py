#!/usr/bin/env python
"""Draws the pictures of README.md and of the documentation from the newest rows of RESULTS.md.

    python benchmarks/draw_results.py

docs/_static/time_per_step.svg: the time of a training step in each library, as peers.py printed it.
docs/_static/kernels_vs_numpy.svg: NumPy's time over ours for each operation of a layer, as kernels_vs_numpy.py printed
it. Needs matplotlib.
"""

import re
import sys
from pathlib import Path

import results

FOLDER = Path(__file__).parents[1] / "docs" / "_static"
# Okabe and Ito's colours, which people with any kind of colour vision can tell apart; grey for NumPy.
COLOURS = {"fastnn": "#D55E00", "numpy": "#999999", "torch": "#0072B2", "jax": "#009E73", "sklearn": "#CC79A7"}
MARKERS = {"fastnn": "o", "numpy": "s", "torch": "^", "jax": "D", "sklearn": "v"}
_STYLE = {"svg.hashsalt": "fastnn", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}


def times_of(row):
    """{net: {library: us}} of a row of peers.py."""
    nets = {net: figure.removesuffix(" us") for net, figure in row.items() if net != "versions"}
    return {net: {name: float(us) for name, us in (one.split() for one in of.split(", "))} for net, of in nets.items()}


def ratios_of(row):
    """{operation: NumPy's time over ours} of a row of kernels_vs_numpy.py."""
    return {name: float(figure) for name, figure in row.items() if re.fullmatch(r"[\d.]+", figure)}


def draw_times(ax, row):
    """A line for each net, from the quickest to the slowest, with a mark for each library; log scale."""
    times = times_of(row)
    nets = sorted(times, key=lambda net: times[net]["fastnn"])
    for library in dict.fromkeys(name for net in nets for name in times[net]):
        us = [times[net].get(library, float("nan")) for net in nets]
        look = {"color": COLOURS[library], "markersize": 9 if library == "fastnn" else 7}
        ax.plot(us, range(len(nets)), MARKERS[library], label=library, zorder=3, **look)
    for place, net in enumerate(nets):
        ax.plot([min(times[net].values()), max(times[net].values())], [place, place], color="0.85", zorder=1)
    ax.set(xscale="log", xlabel="microseconds for one training step, log scale (further left is better)")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yticks(range(len(nets)), [_in_words(net) for net in nets])
    ax.set_title(f"{row.machine}, {row.date}", fontsize=9)
    ax.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.08), frameon=False)


def _in_words(net):
    sizes, _, m = net.partition("x")
    return f"{sizes}, batch of {m}"


def draw_ratios(ax, rows):
    """Bars of each operation, one for each of the rows; log scale, on which 1 is where NumPy is as fast."""
    names, width = list(ratios_of(rows[0])), 0.8 / len(rows)
    for i, (row, colour) in enumerate(zip(rows, ("#0072B2", "#E69F00", "#009E73"), strict=False)):
        ratios, shift = ratios_of(row), (i - (len(rows) - 1) / 2) * width
        places = [place + shift for place in range(len(names))]
        ax.barh(places, [ratios[name] - 1 for name in names], width, left=1, color=colour, label=short(row))
    ax.axvline(1, color="0.3", linewidth=1)
    ax.set(xscale="log", xlabel="NumPy's time over that of fastnn, log scale (further right is better)")
    ticks = [1, 2, 4, 8, 16]
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.4, 1.0), frameon=False)


def short(row):
    """CPU and date."""
    return f"{row.machine.split(',')[0].replace('(R)', '').replace(' Processor', '')}, {row.date}"


def main():
    """Draw what there are rows for."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    peers = results.newest("python benchmarks/peers.py")[:1]
    kernels = results.newest("python benchmarks/kernels_vs_numpy.py --threads 1")[:2]
    for name, draw, rows, height in (
        ("time_per_step", lambda ax: draw_times(ax, peers[0]), peers, 4.2),
        ("kernels_vs_numpy", lambda ax: draw_ratios(ax, kernels), kernels, 6.2),
    ):
        if not rows:
            print(f"{name}.svg was not drawn: RESULTS.md has no row for it")
            continue
        with matplotlib.rc_context(_STYLE):
            figure, ax = plt.subplots(figsize=(8, height), layout="constrained")
            draw(ax)
            figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None}, facecolor="white")
            plt.close(figure)
        print(FOLDER / f"{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
