#!/usr/bin/env python
"""How a step's time grows with the batch, the width and the depth, and how much memory a call takes.

Each curve is a table of us per step, and the largest step in it: between two neighbours, how much more the
time grows than the arithmetic does, that of the padded layers where one is narrower than 64 units. Time
is proportional to arithmetic where the exponent (of a power law, on the upper half) and R2 (of a straight
line through all) are near 1. Memory is what a new process's first call adds to its peak beyond data, weights
and outputs (Linux).

    python benchmarks/scale.py [--curves m small-m width depth memory] [--seconds 0.1]

Ends with a row for RESULTS.md.
"""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import fastnn
from roofline import begin, data, flops, name, options, print_row, step_seconds

VECTOR_BYTES = {"avx512": 64, "avx2": 32}  # else 16
SAMPLES = 16384  # of a fit in the curves over m, whatever the batch: data then comes from the same caches
BATCHES = [32 * 2**i for i in range(9)]
WIDTHS = [32, 33, 40, 48, 56, 64, 65, 80, 96, 128, 129, 192, 256, 257, 384, 512, 513, 768, 1024, 1025, 1536, 2048]
CURVES = {  # points (x, sizes, m): work grows with x
    "m": [(m, (784, 256, 10), m) for m in BATCHES],
    "small-m": [(m, (64, 64, 10), m) for m in BATCHES],
    "width": [(w, (w, w, w, 10), 128) for w in WIDTHS],
    "depth": [(d, (784, *[256] * d, 10), 128) for d in range(1, 9)],
}


def arithmetic(sizes, m, dtype):
    """FLOP of a step; layers narrower than 64 count as wide as their vectors are."""
    lanes = VECTOR_BYTES.get(fastnn.info()["isa"], 16) // np.dtype(dtype).itemsize
    return flops([-(-n // lanes) * lanes if n < 64 else n for n in sizes], m)


def curve(label, points, args):
    """Print a curve; its figures."""
    work, times = np.array([arithmetic(sizes, m, args.dtype) for _, sizes, m in points]), np.full(len(points), np.inf)
    for _ in range(args.passes):  # what disturbs the machine for a while must not look like a step in the curve
        for i, (_, sizes, m) in enumerate(points):
            batches = SAMPLES // m if label in ("m", "small-m") else max(4, min(400, int(1e8 / flops(sizes, m))))
            times[i] = min(times[i], step_seconds(sizes, m, args.dtype, args.seconds, batches))
    steps = (times[1:] / times[:-1]) / (work[1:] / work[:-1])
    print(f"\n{label:<12}{'net x batch':<44}{'us/step':>12}{'GFLOP/s':>10}{'beyond':>9}")
    for (x, sizes, m), seconds, step in zip(points, times, [1, *steps], strict=True):
        rate = flops(sizes, m) / seconds * 1e-9
        print(f"{x:<12}{name(sizes, m):<44}{seconds * 1e6:>12.1f}{rate:>10.1f}{step:>9.2f}")
    half = len(work) // 2
    distinct = np.ptp(work[half:]) > 0  # padded, a few narrow points may all be the same work
    exponent = np.polyfit(np.log(work[half:]), np.log(times[half:]), 1)[0] if distinct else np.nan
    line = np.polyval(np.polyfit(work, times, 1), work)
    r2 = 1 - np.square(times - line).sum() / np.square(times - times.mean()).sum()
    figures = f"{label}: exponent {exponent:.3f}, R2 {r2:.4f}"
    is_narrow = np.array([sizes[0] < 64 for _, sizes, _ in points[:-1]])
    for those, where in ((~is_narrow, ""), (is_narrow, " below 64 units")):
        if those.any():
            at = np.where(those, steps, 0).argmax()
            figures += f", largest step{where} {steps[at]:.2f} ({points[at][0]} to {points[at + 1][0]})"
    print(figures, flush=True)
    return figures


def _kib(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field + ":"))


def peak_of_first_call(what, sizes, samples, m, dtype, threads):
    """KiB that a first predict or fit adds to this process's peak. For a process of its own."""
    fastnn.set_threads(threads)
    net, (X, y) = fastnn.Network(sizes, dtype=dtype, seed=0), data(sizes, 1, dtype, samples)
    out = np.ones((sizes[-1], samples), dtype, order="F")
    other = fastnn.Network([2, 256, 256, 2])  # whatever any first call needs: threads, code
    other.predict(np.ones((2, 1000)), out=np.ones((2, 1000), other.dtype))
    other.fit(np.ones((2, 1000)), np.zeros(1000, int), batch_size=500, optimizer=fastnn.SGD(lr=0))
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak is now what there is
    before = _kib("VmRSS")
    if what == "predict":
        net.predict(X, out=out)
    else:
        net.fit(X, y, batch_size=m, progress=False)
    return _kib("VmHWM") - before


def memory(args):
    """Print what calls take; their figures."""
    sizes, size = (784, 256, 10), np.dtype(args.dtype).itemsize
    weights = fastnn.Network(sizes).n_params * size / 1024
    print(f"\nmemory of {'-'.join(map(str, sizes))}, whose weights are {weights:.0f} KiB")
    print(f"{'call':<10}{'samples':>9}{'batch':>7}{'KiB':>9}{'A and dZ of a batch':>22}{'beyond':>9}")
    calls = [("predict", n, n) for n in (1000, 10_000, 100_000)]
    calls += [("fit", 10_000, m) for m in (32, 256, 2048, 10_000)] + [("fit", 100_000, 256)]
    calls = calls[: args.points]
    context, figures = multiprocessing.get_context("spawn"), []
    for what, samples, m in calls:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            taken = pool.submit(peak_of_first_call, what, sizes, samples, m, args.dtype, args.threads).result()
        # The last layer's dZ is computed over its A.
        batch = m * (2 * sum(sizes[1:-1]) + sizes[-1]) * size / 1024 if what == "fit" else 0
        print(f"{what:<10}{samples:>9}{m:>7}{taken:>9}{batch:>22.0f}{taken - batch:>9.0f}", flush=True)
        figures.append(f"{what} of {samples} by {m} {taken} KiB" + (f", {batch:.0f} of them A and dZ" if batch else ""))
    return figures


def main(argv=None):
    """Print the curves and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=0.1)
    chosen = [*CURVES, "memory"]
    parser.add_argument("--curves", nargs="+", choices=chosen, default=chosen)
    parser.add_argument("--passes", type=int, default=3, help="over a curve; each point's best counts")
    parser.add_argument("--points", type=int, help="only so many of each curve, from the smallest on")
    args = parser.parse_args(argv)
    machine, figures = begin(args), []
    print(machine)
    for label in args.curves:
        if label == "memory":
            figures += memory(args)
        else:
            figures.append(curve(label, CURVES[label][: args.points], args))
    print_row(__file__, argv, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
