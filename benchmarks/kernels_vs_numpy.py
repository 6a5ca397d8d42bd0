#!/usr/bin/env python
"""Is any function of fastnn.kernels slower than the NumPy expression that it replaces, at any size?

Both sides work on the same arrays in turn, with the memory of samples in rows (F) and of units in
rows (C), into given outputs and into new ones. The ratio is NumPy's time over ours, the median of
7 pairs; results are compared before anything is timed.

    python benchmarks/kernels_vs_numpy.py [--dtype float64] [--threads N] [--only rowsum ...] [--shapes 10x784x1 ...]

Ends with a row for RESULTS.md.
"""

import argparse
import itertools
import math
import statistics
import sys
import time

import expressions
import fastnn
from roofline import print_row

# n_out, n_in, m
SHAPES = [
    (1, 1, 1), (1, 4096, 1), (4096, 1, 1), (2, 4, 1), (7, 5, 1), (10, 10, 1), (10, 128, 1), (16, 64, 1), (64, 64, 1),
    (128, 784, 1), (256, 17, 1), (512, 512, 1), (1024, 1024, 1), (4096, 64, 1), (64, 4096, 1), (4096, 4096, 1),
    (1, 1, 2), (2, 3, 4), (3, 2, 7), (5, 9, 3), (10, 128, 2), (64, 784, 3), (1024, 1024, 4), (4096, 4096, 8),
    (4, 4, 16), (2, 64, 64), (64, 2, 64), (13, 11, 17), (16, 16, 16), (10, 16, 32), (32, 64, 32), (10, 64, 32),
    (33, 31, 29), (64, 64, 64), (100, 100, 10), (1, 30, 64), (16, 30, 64), (1, 1, 4096), (1, 4096, 64), (4096, 1, 64),
    (10, 128, 128), (128, 784, 32), (128, 784, 128), (127, 129, 131), (128, 128, 128), (256, 784, 128), (10, 512, 256),
    (256, 256, 256), (512, 512, 64), (300, 1000, 100), (1, 512, 1000), (2, 2, 4096), (3, 16, 4000), (10, 784, 1000),
    (512, 512, 512), (1000, 10, 1000), (1024, 1024, 256), (4096, 16, 256), (16, 4096, 256), (4096, 8, 4096),
]  # fmt: skip
PAIRS = 7


def seconds_of(side, data, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        side(data)
    return (time.perf_counter() - start) / repeats


def compare(sides, data, sample):
    """Seconds of a call of ours, and the ratio of NumPy's to it: medians over pairs of samples of `sample` seconds."""
    once = [min(seconds_of(side, data, 1) for _ in range(3)) for side in sides]
    repeats = [max(1, math.ceil(sample / seconds)) for seconds in once]
    pairs = [[seconds_of(s, data, r) for s, r in zip(sides, repeats, strict=True)] for _ in range(PAIRS)]
    return statistics.median(ours for ours, _ in pairs), statistics.median(peer / ours for ours, peer in pairs)


def shape(text):
    """The shape written as 10x784x1."""
    n_out, n_in, m = map(int, text.split("x"))
    return n_out, n_in, m


def timed(args):
    """Print a line for each case; yields (ratio, its name)."""
    for size, order, out in itertools.product(args.shapes, "FC", (True, False)):
        data = expressions.Data(size, args.dtype, order, out)
        for case, sides in expressions.CASES.items():
            left_out = args.only and not any(case.startswith(name) for name in args.only)
            twice = case.startswith("loss") and not out  # losses take no out
            if left_out or twice or (size[0] == 1 and case.endswith("-cross_entropy")):
                continue
            expressions.check(case, data, args.dtype)
            seconds, ratio = compare(sides, data, args.seconds)
            name = f"{case} {'x'.join(map(str, size))} {order}{' out' if out else ''}"
            print(f"{name:<60}{seconds * 1e9:>14.0f}{ratio:>10.2f}", flush=True)
            yield ratio, name


def main(argv=None):
    """Print the table and its row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=fastnn.get_threads(), help="ours; default: all that are allowed")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="names, or how they begin: rowsum, loss_forward-mse")
    parser.add_argument("--shapes", nargs="+", type=shape, default=SHAPES, metavar="N_OUTxN_INxM")
    parser.add_argument("--seconds", type=float, default=2e-4, help="of one sample, at least; a pair is two samples")
    args = parser.parse_args(argv)
    fastnn.set_threads(args.threads)
    facts = fastnn.info()
    machine = f"{facts['cpu']}, {args.threads} threads, {facts['backend']} {facts['isa']}, {args.dtype}"
    print(machine)
    print(f"{'function, n_out x n_in x m, order':<60}{'ns':>14}{'ratio':>10}")
    found = list(timed(args))
    if not found:
        parser.error("no case of that name")
    worst = sorted(found)[:20]
    print("\nworst: " + "\n       ".join(f"{ratio:.2f} {name}" for ratio, name in worst))
    functions = {}
    for ratio, name in found:
        functions.setdefault(name.split()[0], []).append(ratio)
    means = {name: statistics.geometric_mean(ratios) for name, ratios in functions.items()}
    for name, mean in means.items():
        print(f"{name:<40} geometric mean {mean:.2f}, worst {min(functions[name]):.2f}")
    whole, slower = statistics.geometric_mean(r for r, _ in found), sum(ratio < 0.95 for ratio, _ in found)
    figures = [
        f"NumPy's time over ours: geometric mean {whole:.2f}, worst {worst[0][0]:.2f} ({worst[0][1]}), "
        f"{slower} of {len(found)} below 0.95",
        *(f"{name} {mean:.2f}" for name, mean in means.items()),
    ]
    print_row(__file__, argv, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
