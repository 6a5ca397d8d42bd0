#!/usr/bin/env python
"""What each option of training costs: the time of a fit with the option over that of a plain one.

Plain is SGD, shuffled, with relu in hidden layers. Both train on as many batches; the calls alternate in one process,
and a figure is the median of the pairs' ratios: with all threads, and with one. With early stopping, the time of the
validation is included.

    python benchmarks/training_options.py [--nets 64-100-10x200] [--options "dropout 0.2" Adam] [--seconds 3]

Ends with a row for RESULTS.md.
"""

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

import fastnn
import roofline
from roofline import BATCHES, LR, begin, flops, name, options, print_row, ratio

NETS = [((784, 256, 128, 10), 128), ((64, 100, 10), 200)]
CALL_FLOP = 1e9  # of a call: so much that its own cost is hidden
SMALL = 1e-5  # a rate for optimizers whose steps are about as large as the rate, whatever the gradient
KEPT_BACK = 0.1  # the share of the samples that a split keeps for validation


class Option(NamedTuple):
    """What differs from plain training."""

    network: Mapping = MappingProxyType({})  # arguments of Network
    fit: Callable = lambda count: {}  # arguments of fit, from the number of samples
    optimizer: Callable = lambda: fastnn.SGD(LR)
    prepare: Callable = lambda net, X: None  # what is done to the network before it is trained
    hidden: str = "relu"  # the activation of hidden layers
    over: str | None = None  # the option that it is compared with; None: plain training
    trained: float = 1.0  # the share of the samples that it trains on; plain training gets only these


def _adaptive(kind, **settings):
    return Option(optimizer=lambda: getattr(fastnn, kind)(SMALL, **settings))


# A new option is a line here. Its objects are made only when it is timed.
OPTIONS = {
    "dropout 0.2": Option({"dropout": 0.2}),
    "layer norm": Option({"norm": "layer"}),
    "batch norm": Option({"norm": "batch"}),
    "weight decay": Option(optimizer=lambda: fastnn.SGD(LR, weight_decay=1e-4)),
    "momentum": Option(optimizer=lambda: fastnn.SGD(LR, momentum=0.9)),
    "Nesterov": Option(optimizer=lambda: fastnn.SGD(LR, momentum=0.9, nesterov=True)),
    "Adam": _adaptive("Adam"),
    "AdamW": _adaptive("AdamW"),
    "NAdam": _adaptive("NAdam"),
    "RMSprop": _adaptive("RMSprop"),
    "RMSprop with momentum": _adaptive("RMSprop", momentum=0.9),
    "Adagrad": _adaptive("Adagrad"),
    "label smoothing": Option({"loss": ("cross_entropy", {"label_smoothing": 0.1})}),
    "early stopping": Option(
        fit=lambda count: {"early_stopping": 10**6, "validation_split": KEPT_BACK}, trained=1 - KEPT_BACK
    ),
    "samples": Option(fit=lambda count: {"samples": np.arange(count)}),
    "class_weight": Option(fit=lambda count: {"class_weight": "balanced"}),
    "clip_norm": Option(optimizer=lambda: fastnn.SGD(LR, clip_norm=1.0)),
    "average": Option(optimizer=lambda: fastnn.SGD(LR, average=0.99)),
    "cosine schedule": Option(optimizer=lambda: fastnn.SGD(fastnn.schedules.Cosine(LR, 1e6))),
    "first layer frozen": Option(
        prepare=lambda net, X: setattr(net, "trainable", [False] + [True] * (len(net.sizes) - 2))
    ),
    "diagnostics": Option(fit=lambda count: {"diagnostics": True}),
    "adapt": Option(prepare=lambda net, X: net.adapt(X)),
    "tanh": Option(hidden="tanh"),
    **{f"{name} over tanh": Option(hidden=name, over="tanh") for name in ("elu", "selu", "gelu", "silu", "softplus")},
}


def data(sizes, m, dtype):
    """Samples of BATCHES batches, and codes: as many of each class, so that a split keeps whole batches."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((BATCHES * m, sizes[0]), np.float32).astype(dtype, copy=False)
    return rows.T, np.arange(BATCHES * m) % sizes[-1]


def call_of(option, sizes, m, dtype, share=1.0):
    """A call that trains a network, always the same one, with an option on the first `share` of the samples."""
    activations = [option.hidden] * (len(sizes) - 2) + ["softmax"]
    net = fastnn.Network(sizes, activations, dtype=dtype, seed=0, **option.network)
    optimizer, (X, y) = option.optimizer(), data(sizes, m, dtype)
    option.prepare(net, X)
    count = round(share * BATCHES) * m
    X, y, settings = X[:, :count], y[:count], option.fit(count)
    epochs = max(10, min(20, int(CALL_FLOP / flops(sizes, m) / BATCHES)))
    return lambda: net.fit(X, y, epochs, m, optimizer, progress=False, **settings)


def cost(option, sizes, m, args):
    """The median ratio."""
    with_it = call_of(option, sizes, m, args.dtype)
    plain = OPTIONS[option.over] if option.over else Option()
    return ratio(with_it, call_of(plain, sizes, m, args.dtype, option.trained), args.seconds)


def main(argv=None):
    """Print the ratios and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=3.0)
    parser.add_argument("--options", nargs="+", choices=OPTIONS, default=list(OPTIONS), metavar="OPTION")
    parser.add_argument(
        "--nets", nargs="+", type=roofline.net, default=NETS, metavar="NET", help="such as 64-100-10x200"
    )
    args = parser.parse_args(argv)
    machine, figures = begin(args), []
    counts = sorted({args.threads, 1}, reverse=True)
    print(f"{machine}; {', '.join(f'{n} threads' if n > 1 else 'one thread' for n in counts)}")
    for sizes, m in args.nets:
        found = []
        for what in args.options:
            ratios = []
            for threads in counts:
                fastnn.set_threads(threads)
                ratios.append(f"{cost(OPTIONS[what], sizes, m, args):.3f}")
            print(f"{name(sizes, m):<24}{what:<24}{'  '.join(ratios)}", flush=True)
            found.append(f"{what} {' and '.join(ratios)}")
        figures.append(f"{name(sizes, m)}: {', '.join(found)}")
    fastnn.set_threads(args.threads)
    print_row(__file__, argv, machine + (", then one thread" if args.threads > 1 else ""), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
