#!/usr/bin/env python
"""Whether the engine's own number of threads is ever slower than one thread.

Both are timed in alternating pairs of calls on the same data; a figure is the median of the pairs'
ratios, so above 1 the engine's choice is the slower. Where a first look is above 1.05, a longer one counts.

    python benchmarks/threads.py           # fit and predict on 100 shapes, from tiny to large
    python benchmarks/threads.py --busy    # with another process busy on one of the cores

Ends with a row for RESULTS.md.
"""

import contextlib
import itertools
import os
import subprocess
import sys

import numpy as np

import fastnn
from roofline import BATCHES, LR, begin, data, fit_call, flops, name, options, print_row, ratio

LIMIT = 1.05
CALL_FLOP = 2e7  # about a millisecond: what one timed call does, or one step if that is more
LARGEST_FLOP = 5e9  # of a step


def shapes():
    """(sizes, m) of 1 to 4 layers of 4 to 1024 units, batches of 1 to 2048, one after the other for ever."""
    for i in itertools.count():
        # Multiples of these two fill the unit square evenly (the plane's golden ratio).
        width, m = round(4 * 256 ** (i * 0.7548777 % 1)), round(2048 ** (i * 0.5698403 % 1))
        sizes = (*[width] * (1 + i % 4), 10)
        if flops(sizes, m) < LARGEST_FLOP:
            yield sizes, m


def train_step_call(sizes, m, dtype, batches=BATCHES, epochs=1, **settings):
    """What fit_call does, batch by batch from Python."""
    net, optimizer = fastnn.Network(sizes, dtype=dtype, seed=0, **settings), fastnn.SGD(lr=LR)
    X, y = data(sizes, m, dtype, batches)
    parts = [(X[:, i : i + m], y[i : i + m]) for i in range(0, batches * m, m)]

    def call():
        for _ in range(epochs):
            for X, y in parts:
                net.train_step(X, y, optimizer)

    return call


def predict_call(sizes, m, dtype, times, **settings):
    """A call that predicts the same batch so many times."""
    predictor = fastnn.Network(sizes, dtype=dtype, seed=0, **settings).predictor()
    X, _ = data(sizes, m, dtype, 1)
    out = np.empty((sizes[-1], m), dtype, order="F")

    def call():
        for _ in range(times):
            predictor(X, out=out)

    return call


def ratio_to_one_thread(make, sizes, m, dtype, batches, seconds):
    """Of the engine's choice, to one thread."""
    own, one = (make(sizes, m, dtype, batches, threads=threads) for threads in (None, 1))
    found = ratio(own, one, seconds)
    return found if found <= LIMIT else ratio(own, one, 4 * seconds)


@contextlib.contextmanager
def busy_core(pinned=True):
    """Another process that keeps one of the cores busy: always the same, or whichever it is given."""
    cores = {max(os.sched_getaffinity(0))} if pinned else os.sched_getaffinity(0)
    code = f"import os; os.sched_setaffinity(0, {cores}); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        try:
            child.stdout.readline()
            yield
        finally:
            child.kill()


def sweep(args):
    """Each shape; yields figures."""
    print(f"{'net x batch':<36}{'fit':>9}{'predict':>10}")
    worst = {"fit": [], "predict": []}
    for sizes, m in itertools.islice(shapes(), args.shapes):
        batches = max(1, min(1000, int(CALL_FLOP / flops(sizes, m))))
        line = f"{name(sizes, m):<36}"
        for found, make in zip(worst.values(), (fit_call, predict_call), strict=True):
            figure = ratio_to_one_thread(make, sizes, m, args.dtype, batches, args.seconds)
            found.append((figure, name(sizes, m)))
            line += f"{figure:>9.3f}{'*' if figure > LIMIT else ' '}"
        print(line, flush=True)
    for what, found in worst.items():
        beyond, (largest, where) = sum(figure > LIMIT for figure, _ in found), max(found)
        yield f"{what}: worst {largest:.3f} ({where}), {beyond} of {len(found)} above {LIMIT}"


def busy(args):
    """One net beside another process; yields figures."""
    sizes, m = (784, 128, 10), 32
    calls = {"fit": fit_call, "train_step": train_step_call}
    for pinned, what, batches in itertools.product((True, False), calls, args.batches):
        own, one = (calls[what](sizes, m, args.dtype, batches, threads=threads) for threads in (None, 1))
        with busy_core(pinned):
            where = "on one core" if pinned else "on either"
            yield f"{what}, {batches} batches, busy {where}: {ratio(own, one, args.seconds):.3f}"


def main(argv=None):
    """Print the figures and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=0.3)
    parser.add_argument("--shapes", type=int, default=100, help="of the sweep")
    parser.add_argument("--busy", action="store_true", help="784-128-10x32 with one core busy, instead")
    parser.add_argument("--batches", type=int, nargs="+", default=[200, 1000], help="of a call, with --busy")
    args = parser.parse_args(argv)
    machine = begin(args)
    print(f"{machine}; time of the engine's number of threads over that of one")
    figures = []
    for figure in busy(args) if args.busy else sweep(args):
        print(figure, flush=True)
        figures.append(figure)
    print_row(__file__, argv, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
