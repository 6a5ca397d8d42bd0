#!/usr/bin/env python
"""Is this tree faster or slower than another one, built in place from another commit?

Two processes, one that imports each tree's fastnn, take turns: a case runs some milliseconds in one, then in the other,
many times over; with one thread both run on the same core, because cores of shared machines differ in speed at times.
The figure of a pair of processes is the median over turns of the ratio of their shortest calls, this tree's over
the other's; below 1 this tree is faster. Printed is the median over pairs of processes, with its range: where
memory lies differs from process to process, and with it the time of a call.

    git clone . ../other && cd ../other && git checkout COMMIT
    FASTNN_EXT=require python setup.py -q build_ext --inplace && cd -
    python benchmarks/two_trees.py ../other [--only fit predict] [--threads 1] [--pairs 5] [--rounds 10]

Cases: fit of 50 batches, and of 640; train_step (each by SGD and by Adam); predict; and the functions of
fastnn.kernels at the shapes of kernels_vs_numpy.py. Ends with a row for RESULTS.md.
"""

import argparse
import functools
import itertools
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from roofline import NETS, flops, name, print_row

HERE = Path(__file__).resolve().parents[1]
FEW = 100  # up to so many cases, each is printed; of more, the slowest quarter of that
MOST_FLOP = 1e10  # of a call
LONG = 640  # batches of a call whose own cost is hidden
PREDICTED = [((4, 64, 64, 2), m) for m in (1, 8, 256)] + [((784, 128, 10), m) for m in (1, 8, 256)]


def trainings(dtype):
    """Yield (name, call) of each fit and train_step."""
    import numpy as np

    import fastnn

    for (sizes, m), kind in itertools.product(NETS, ("SGD", "Adam")):
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((m, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], m)
        for batches in (50, LONG, 1):
            if batches > 1 and flops(sizes, m) * batches > MOST_FLOP:
                continue  # a step takes so long that it hides the cost of a call

            def make(batches=batches, X=X, y=y, sizes=sizes, m=m, kind=kind):
                activations = ["relu"] * (len(sizes) - 2) + ["softmax"]
                net = fastnn.Network(list(sizes), activations=activations, dtype=dtype, seed=0)
                optimizer = fastnn.SGD(lr=1e-3) if kind == "SGD" else fastnn.Adam(lr=1e-3)
                start = net.parameters
                if batches == 1:
                    Xt = X.T
                    return lambda: net.train_step(Xt, y, optimizer=optimizer), lambda: net.set_parameters(start)
                Xs, ys = np.tile(X, (batches, 1)).T, np.tile(y, batches)
                settings = {"batch_size": m, "shuffle": False, "optimizer": optimizer, "progress": False}
                return lambda: net.fit(Xs, ys, **settings), lambda: net.set_parameters(start)

            what = "step" if batches == 1 else f"fit{batches}"
            yield f"{what} {name(sizes, m)} {kind}", make


def predictions(dtype):
    import numpy as np

    import fastnn

    for sizes, m in PREDICTED:

        def make(sizes=sizes, m=m):
            net = fastnn.Network(list(sizes), dtype=dtype, seed=0)
            X = np.random.default_rng(0).standard_normal((m, sizes[0])).astype(dtype).T
            out = net.predict(X)
            return lambda: net.predict(X, out=out), None

        yield f"predict {name(sizes, m)}", make


def functions(dtype):
    import expressions
    from kernels_vs_numpy import SHAPES

    data_of = functools.lru_cache(1)(expressions.Data)  # large arrays take long to fill

    for shape, order, out in itertools.product(SHAPES, "FC", (True, False)):
        for case, (ours, _) in expressions.CASES.items():
            if (case.startswith("loss") and not out) or (shape[0] == 1 and case.endswith("-cross_entropy")):
                continue

            def make(shape=shape, order=order, out=out, ours=ours):
                data = data_of(shape, dtype, order, out)
                return lambda: ours(data), None

            yield f"kernels {case} {'x'.join(map(str, shape))} {order}{' out' if out else ''}", make


def cases(dtype):
    """The name of each case, with a function that makes its call and what to do between calls, or None."""
    return dict(itertools.chain(trainings(dtype), predictions(dtype), functions(dtype)))


def work(dtype, threads):
    """A process: reads the name of a case and for how many seconds, and prints the shortest call's seconds."""
    import fastnn

    fastnn.set_threads(threads)
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    made, known = {}, cases(dtype)
    print(Path(fastnn.__file__).parents[1], fastnn.info()["backend"], flush=True)
    for line in sys.stdin:
        case, seconds = line.rstrip("\n").split("\t")
        if case not in made:
            made.clear()
            made[case] = known[case]()
        call, between = made[case]
        if between:
            between()
        start = time.perf_counter()
        call()
        shortest, end = time.perf_counter() - start, start + float(seconds)
        while (start := time.perf_counter()) < end:
            if between is None and shortest < 1e-4:  # too short to time alone: ten in a row
                for _ in range(10):
                    call()
                shortest = min(shortest, (time.perf_counter() - start) / 10)
            else:
                call()
                shortest = min(shortest, time.perf_counter() - start)
        print(shortest, flush=True)


class Worker:
    """A process that imports the fastnn of `tree`."""

    def __init__(self, tree, args):
        command = [sys.executable, __file__, str(tree), "--work", "--dtype", args.dtype, "--threads", str(args.threads)]
        paths = {"PYTHONPATH": f"{tree}{os.pathsep}{HERE / 'benchmarks'}"}
        self.process = subprocess.Popen(
            command, env=os.environ | paths, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        where, backend = self.process.stdout.readline().rstrip("\n").rsplit(" ", 1)
        if Path(where).resolve() != Path(tree).resolve() or backend != "compiled":
            raise SystemExit(f"wanted the compiled fastnn of {tree}, got {backend} of {where}")

    def shortest(self, case, seconds):
        self.process.stdin.write(f"{case}\t{seconds}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self):
        self.process.communicate()


def compare(chosen, args):
    """{case: [ratio of each pair of processes]} and {case: seconds of this tree}."""
    ratios, seconds = {case: [] for case in chosen}, {}
    for _ in range(args.pairs):
        ours, other = Worker(args.this, args), Worker(args.tree, args)
        for case in chosen:
            ours.shortest(case, 0)
            other.shortest(case, 0)
            turns = [[w.shortest(case, args.seconds) for w in (ours, other)] for _ in range(args.rounds)]
            ratios[case].append(statistics.median(us / them for us, them in turns))
            seconds[case] = min([us for us, _ in turns] + [seconds.get(case, float("inf"))])
        ours.end()
        other.end()
    return ratios, seconds


def main(argv=None):
    """Print the table and its row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tree", help="a clone with its extension built in place")
    parser.add_argument("--this", default=HERE, help="the tree that is compared with it")
    parser.add_argument("--only", nargs="+", default=["fit", "step", "predict"], help="how names of cases begin")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--pairs", type=int, default=5, help="of processes")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.03, help="that a case runs in a turn")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.work:
        work(args.dtype, args.threads)
        return 0
    chosen = [case for case in cases(args.dtype) if any(case.startswith(begin) for begin in args.only)]
    if not chosen:
        parser.error("no case of that name")
    ratios, seconds = compare(chosen, args)
    groups, middles_of = {}, {case: statistics.median(ratios[case]) for case in chosen}
    shown = chosen if len(chosen) <= FEW else sorted(chosen, key=middles_of.get)[-FEW // 4 :]
    for case in chosen:
        middle = middles_of[case]
        if case in shown:
            low, high = min(ratios[case]), max(ratios[case])
            print(f"{case:<44}{seconds[case] * 1e6:>12.2f} us{middle:>8.3f}  {low:.3f}-{high:.3f}")
        kind = case.split()[0] + (" " + case.split()[1] if case.startswith("kernels") else "")
        groups.setdefault(kind, []).append(middle)
    figures = []
    for kind, middles in groups.items():
        figures.append(f"{kind} {statistics.geometric_mean(middles):.3f} (worst {max(middles):.3f})")
        print(f"{kind:<44} geometric mean {figures[-1].removeprefix(kind + ' ')}")
    figures = [f"all {statistics.geometric_mean(middles_of.values()):.3f}", *figures[: FEW // 8]]
    print(figures[0])
    print_row(__file__, argv, f"{args.threads} threads, {args.dtype}", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
