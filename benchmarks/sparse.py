#!/usr/bin/env python
"""How much faster is a sparse X of SciPy than the same X as an array?

The calls alternate in one process; a figure is the median of the pairs' ratios, the time with the array over that with
the sparse X. The results are compared first. fit: 25 batches of 200 samples, in a new order each epoch.

    python benchmarks/sparse.py [--features 10000] [--units 64] [--share 0.01] [--seconds 3]

Ends with a row for RESULTS.md.
"""

import sys

import numpy as np

import fastnn
from roofline import begin, options, print_row, ratio

SAMPLES, BATCH, CLASSES, EPOCHS = 1000, 200, 10, 5


def data(features, share, dtype):
    """X as an array and as CSC, and codes."""
    import scipy.sparse  # optional, for the rest of the benchmarks

    rng = np.random.default_rng(0)
    X = scipy.sparse.random_array((features, SAMPLES), density=share, format="csc", dtype=dtype, rng=rng)
    return np.asfortranarray(X.toarray()), X, rng.integers(0, CLASSES, SAMPLES)


def steps(optimizer, sizes, dtype, given, y):
    """Calls of fit (some batches) and of train_step, for each the one with the array and that with the sparse X."""
    how = {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": optimizer, "progress": False}
    nets = [fastnn.Network(sizes, dtype=dtype, seed=0) for _ in given]
    fits = [lambda net=net, X=X: net.fit(X, y, **how) for net, X in zip(nets, given, strict=True)]
    np.testing.assert_allclose(*(fit().loss for fit in fits), rtol=1e-3)
    parts = [X[:, :BATCH] for X in given]
    return fits, [lambda net=net, X=X: net.train_step(X, y[:BATCH]) for net, X in zip(nets, parts, strict=True)]


def calls(features, units, share, dtype):
    """For each case the call with the array, and that with the sparse X."""
    *given, y = data(features, share, dtype)
    sizes = [features, units, CLASSES]
    net = fastnn.Network(sizes, dtype=dtype, seed=0)
    np.testing.assert_allclose(*(net.predict(X) for X in given), rtol=1e-3)
    found = {
        "predict": [lambda X=X: net.predict(X) for X in given],
        "loss": [lambda X=X: net.loss(X, y) for X in given],
    }
    for optimizer in (fastnn.SGD(lr=0.01), fastnn.Adam(lr=1e-5)):
        found[f"{optimizer.kind} fit"], found[f"{optimizer.kind} step"] = steps(optimizer, sizes, dtype, given, y)
    return found


def main(argv=None):
    """Print the ratios and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=3.0)
    parser.add_argument("--features", type=int, default=10_000)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--share", type=float, default=0.01, help="of the numbers that are not 0")
    args = parser.parse_args(argv)
    machine, figures = begin(args), []
    print(f"{machine}; {args.features} features, {args.share:.2%} of them not 0, {args.units} units")
    for what, (dense, sparse) in calls(args.features, args.units, args.share, args.dtype).items():
        found = ratio(dense, sparse, args.seconds)
        print(f"{what:<20}{found:.1f}", flush=True)
        figures.append(f"{what} {found:.1f}")
    print_row(__file__, argv, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
