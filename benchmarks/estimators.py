#!/usr/bin/env python
"""How do the estimators of fastnn.sklearn compare with scikit-learn's MLPClassifier, and with Network.fit?

The calls alternate in one process; a figure is the median of the pairs' ratios, scikit-learn's time over ours, and for
Network.fit what the estimator takes longer. All train with Adam, batches of 200 and the same number of epochs, and the
losses are compared first; for predictions scikit-learn's gets our weights. Fashion-MNIST is left out where its files
are not there.

    python benchmarks/estimators.py [--data digits rows fashion] [--epochs 20] [--seconds 5]

Ends with a row for RESULTS.md.
"""

import functools
import statistics
import sys
import warnings

import numpy as np

import fastnn
from fastnn import datasets, exchange
from roofline import begin, options, pairs, print_row, ratio

BATCH = 200


def digits():
    """64-100-10."""
    X, y = datasets.load_digits()
    return (X / 16).T, y, (100,)


def rows():
    """1,000 rows of 30 features, two classes."""
    X = np.random.default_rng(0).standard_normal((1000, 30))
    return X, (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int), (16,)


def fashion():
    """784-128-10."""
    X, y, *_ = datasets.load_fashion_mnist()
    return (X / np.float32(255)).T, y, (128,)


DATA = {"digits": digits, "rows": rows, "fashion": fashion}


def models(hidden, epochs):
    """scikit-learn's estimator and ours, with the same settings."""
    import sklearn.neural_network  # optional, for the rest of the benchmarks

    import fastnn.sklearn as ours

    how = {"hidden_layer_sizes": hidden, "max_iter": epochs, "tol": 0.0, "n_iter_no_change": epochs, "random_state": 0}
    return [package.MLPClassifier(**how) for package in (sklearn.neural_network, ours)]


def by_network(X, y, hidden, epochs, dtype):
    """A call of Network.fit that does the same work as the estimator."""
    outputs = y.max() + 1 if y.max() > 1 else 1

    def fit():
        net = fastnn.Network([X.shape[1], *hidden, outputs], dtype=dtype, seed=0)
        return net.fit(X.T, y, epochs, BATCH, fastnn.Adam(), progress=False)

    return fit


def figures_of(name, epochs, dtype, seconds):
    """Lines of figures for one of DATA."""
    X, y, hidden = DATA[name]()
    X = np.ascontiguousarray(X, dtype)
    theirs, ours = models(hidden, epochs)
    np.testing.assert_allclose(theirs.fit(X, y).loss_curve_, ours.fit(X, y).loss_curve_, rtol=1e-2)
    yield f"{name}: fit {ratio(lambda: theirs.fit(X, y), lambda: ours.fit(X, y), seconds):.1f}"
    found = pairs(lambda: ours.fit(X, y), by_network(X, y, hidden, epochs, dtype), seconds)
    more = statistics.median(a - b for a, b in found)
    yield f"{name}: {more * 1e3:+.2f} ms over Network.fit ({more / statistics.median(b for _, b in found):+.1%})"
    theirs = exchange.to_sklearn(ours)  # the same weights: those of two trainings in float32 part after many steps
    for count in (1, 1000):
        some = X[:count]
        np.testing.assert_array_equal(theirs.predict(some), ours.predict(some))
        for method in ("predict", "predict_proba"):
            calls = [functools.partial(getattr(model, method), some) for model in (theirs, ours)]
            yield f"{name}: {method} of {count} {ratio(*calls, seconds):.1f}"


def main(argv=None):
    """Print the figures and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=5.0)
    parser.add_argument("--data", nargs="+", choices=DATA, default=["digits", "rows", "fashion"])
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args(argv)
    machine, figures = begin(args), []
    print(f"{machine}; {args.epochs} epochs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it did not converge
        for name in args.data:
            try:
                for figure in figures_of(name, args.epochs, args.dtype, args.seconds):
                    print(figure, flush=True)
                    figures.append(figure)
            except FileNotFoundError as error:
                print(f"{name}: {error}")
    print_row(__file__, argv, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
