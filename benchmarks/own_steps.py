#!/usr/bin/env python
"""What does a step cost whose loss, or whose gradients, are the caller's?

    python benchmarks/own_steps.py

For each net: us of a train_step with a loss of one's own (mse in NumPy) beyond one with ours and the time of that
function, and the time of backward and update together over that of train_step. Calls alternate, and a figure is the
median over pairs of them. Ends with a row for RESULTS.md.
"""

import statistics
import sys

import numpy as np

import fastnn
from roofline import LR, NETS, begin, name, net, options, pairs, print_row, ratio


def mse(A, y):
    """The loss that is ours, too."""
    E = A - y
    return (E * E).sum(axis=0), 2 * E


def nets_of(sizes, m, dtype):
    """Two networks, their data, and the optimizer."""
    rng = np.random.default_rng(0)
    X, y = (rng.standard_normal((m, n), np.float32).astype(dtype, copy=False).T for n in (sizes[0], sizes[-1]))
    how = {"activations": ["relu"] * (len(sizes) - 2) + ["identity"], "loss": "mse", "dtype": dtype, "seed": 0}
    return *(fastnn.Network(sizes, **how) for _ in range(2)), X, y, fastnn.SGD(lr=LR * 0.01)


def own_loss(sizes, m, args):
    """Microseconds."""
    one, other, X, y, sgd = nets_of(sizes, m, args.dtype)
    A, times = one.predict(X), 20

    def ours():
        for _ in range(times):
            other.train_step(X, y, sgd)
            mse(A, y)

    def theirs():
        for _ in range(times):
            one.train_step(X, y, sgd, mse)

    return statistics.median((a - b) / times for a, b in pairs(theirs, ours, args.seconds)) * 1e6


def given_gradients(sizes, m, args):
    """A ratio."""
    one, other, X, y, sgd = nets_of(sizes, m, args.dtype)
    dA, times = 1e-6 * (one.predict(X) - y), 20

    def ours():
        for _ in range(times):
            other.train_step(X, y, sgd)

    def theirs():
        for _ in range(times):
            one.update(one.backward(X, dA)[0], sgd)

    return ratio(theirs, ours, args.seconds)


def main(argv=None):
    """Print the table and its row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=1.0)
    parser.add_argument("--nets", nargs="+", type=net, default=NETS, metavar="NET", help="such as 784-128-10x32")
    args = parser.parse_args(argv)
    machine, figures = begin(args), []
    print(machine)
    print(f"{'net x batch':<30}{'own loss':>12}{'backward + update':>20}")
    for sizes, m in args.nets:
        us, times = own_loss(sizes, m, args), given_gradients(sizes, m, args)
        print(f"{name(sizes, m):<30}{us:>+9.2f} us{times:>20.2f}", flush=True)
        figures.append(f"{name(sizes, m)} {us:+.1f} us, x{times:.2f}")
    print_row(__file__, argv, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
