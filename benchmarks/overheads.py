#!/usr/bin/env python
"""What should cost next to nothing: shuffling, steps called from Python, subnormal numbers, to be a forked child.

    python benchmarks/overheads.py shuffle      # time of a shuffled fit over an unshuffled one
    python benchmarks/overheads.py call         # us of a train_step beyond a step of fit
    python benchmarks/overheads.py subnormal    # time with subnormal numbers over that with normal ones
    python benchmarks/overheads.py fork         # time in a forked child, which lost its threads, over one thread's

For each net; calls alternate, and a figure is the median over pairs of them. Ends with a row for RESULTS.md.
"""

import multiprocessing
import statistics
import sys

import numpy as np

import fastnn
import roofline
from roofline import BATCHES, LR, NETS, begin, data, fit_call, flops, name, options, pairs, print_row, ratio
from threads import train_step_call

SUBNORMAL = {"float32": 1e-40, "float64": 1e-310}


def shuffle(sizes, m, args):
    """Of a fit."""
    one, other = (fit_call(sizes, m, args.dtype, shuffle=on) for on in (True, False))
    return [f"{ratio(one, other, args.seconds):.3f}"]


def call(sizes, m, args):
    """Of as many steps both ways."""
    epochs = max(1, min(40, int(2e8 / flops(sizes, m) / BATCHES)))  # or what it costs to call fit would count
    one, other = (make(sizes, m, args.dtype, epochs=epochs) for make in (train_step_call, fit_call))
    found = pairs(one, other, args.seconds)
    return [f"{statistics.median(a - b for a, b in found) / (epochs * BATCHES) * 1e6:+.2f} us"]


def subnormal(sizes, m, args):
    """Of 5 steps, and a prediction: first weights, then moments."""
    X, y = data(sizes, m, args.dtype, 5)
    tiny = SUBNORMAL[args.dtype]
    nets = [fastnn.Network(sizes, dtype=args.dtype, seed=0) for _ in range(2)]
    weights = [nets[0].parameters, nets[1].parameters]
    weights[0][0] = np.full_like(weights[0][0][0], tiny), weights[0][0][1]

    def compare(X, optimizer, prepare):
        one, other = (lambda net=net: net.fit(X, y, 1, m, optimizer, False, progress=False) for net in nets)
        return ratio(one, other, args.seconds, prepare)

    def set_weights():
        for net, parameters in zip(nets, weights, strict=True):
            net.set_parameters(parameters)

    figures = {"weights": compare(X, fastnn.SGD(lr=0), set_weights)}
    set_weights()
    one, other = (lambda net=net: net.predict(X) for net in nets)
    figures["predict"] = ratio(one, other, args.seconds)
    for kind, optimizer in (("momentum", fastnn.SGD(LR, momentum=0.9)), ("Adam", fastnn.Adam(LR))):
        states = []
        for net, value in zip(nets, (tiny, 1e-3), strict=True):
            net.train_step(X, y, optimizer)
            states.append(state := net.__getstate__())
            state["optimizer_state"]["moments"] = [
                [tuple(np.full_like(T, value) for T in pair) for pair in slot]
                for slot in state["optimizer_state"]["moments"]
            ]

        def set_states(states=states):
            for net, state in zip(nets, states, strict=True):
                net.__setstate__(state)

        # Of samples that are 0 the first layer's gradient is 0: its moments decay, and do nothing else.
        figures[kind] = compare(np.zeros_like(X), optimizer, set_states)
    return [f"{what} {figure:.2f}" for what, figure in figures.items()]


def fork(sizes, m, args):
    """Of a fit, then a prediction, of a network that has used its threads before the fork."""
    X, _ = data(sizes, m, args.dtype)
    nets = [fastnn.Network(sizes, dtype=args.dtype, seed=0, threads=threads) for threads in (None, 1)]
    predictions = [lambda net=net: net.predict(X) for net in nets]
    fits = [fit_call(sizes, m, args.dtype, threads=threads) for threads in (None, 1)]
    for call in (*fits, *predictions):
        call()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send([ratio(*calls, args.seconds) for calls in (fits, predictions)]))
    child.start()
    sender.close()
    figures = receiver.recv()
    child.join()
    return [f"{what} {figure:.2f}" for what, figure in zip(("fit", "predict"), figures, strict=True)]


def main(argv=None):
    """Print the figures and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    questions = {"shuffle": shuffle, "call": call, "subnormal": subnormal, "fork": fork}
    parser = options(__doc__, seconds=1.0)
    parser.add_argument("question", choices=questions)
    parser.add_argument(
        "--nets", nargs="+", type=roofline.net, default=NETS, metavar="NET", help="such as 784-128-10x32"
    )
    args = parser.parse_args(argv)
    machine, figures = begin(args), []
    print(f"{machine}; {args.question}")
    for sizes, m in args.nets:
        found = ", ".join(questions[args.question](sizes, m, args))
        print(f"{name(sizes, m):<30}{found}", flush=True)
        figures.append(f"{name(sizes, m)} {found}")
    print_row(__file__, argv, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
