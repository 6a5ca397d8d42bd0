#!/usr/bin/env python
"""How two libraries with threads of their own get along: fastnn and torch, called in turn.

The time of a pair of calls (a fastnn prediction of 256 samples through 784-128-10, then a torch relu of a
million floats) over the sum of what each takes where it is called alone, in one process, for each order of
import. Loops of the three kinds alternate; a figure is the median over rounds.

    python benchmarks/neighbours.py [--rounds 21] [--seconds 0.1]

Needs torch. Ends with a row for RESULTS.md.
"""

import importlib.metadata
import importlib.util
import json
import subprocess
import sys

from roofline import begin, options, print_row

CHILD = r"""
import json, statistics, sys, time
order, rounds, seconds, threads = sys.argv[1].split(","), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
for name in order:
    __import__(name)
import fastnn, torch
import numpy as np
fastnn.set_threads(threads)
torch.set_num_threads(threads)
predict = fastnn.Network([784, 128, 10], seed=0).predictor()
X, out = np.asfortranarray(np.random.default_rng(0).standard_normal((784, 256), np.float32)), fastnn.empty((10, 256))
values, result = torch.randn(1_000_000), torch.empty(1_000_000)
want = predict(X).copy()

def ours():
    predict(X, out)

def theirs():
    torch.clamp_min(values, 0, out=result)

def both():
    predict(X, out)
    torch.clamp_min(values, 0, out=result)

def timed(call, turns):
    start = time.perf_counter()
    for _ in range(turns):
        call()
    return (time.perf_counter() - start) / turns

turns = max(3, int(seconds / timed(both, 20)))
found = [[timed(call, turns) for call in (ours, theirs, both)] for _ in range(rounds)]
assert np.array_equal(out, want) and torch.equal(result, torch.relu(values))
medians = [statistics.median(column) * 1e6 for column in zip(*found)]
print(json.dumps([*medians, statistics.median(b / (o + t) for o, t, b in found)]))
"""


def main(argv=None):
    """Print the figures and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=0.1)
    parser.add_argument("--rounds", type=int, default=21)
    args = parser.parse_args(argv)
    if importlib.util.find_spec("torch") is None:
        sys.exit("torch is not installed")
    machine, figures = begin(args), []
    print(f"{machine}\n{'imported':<16}{'fastnn us':>12}{'torch us':>12}{'pair us':>12}{'over sum':>10}")
    for order in ("fastnn,torch", "torch,fastnn"):
        command = [sys.executable, "-c", CHILD, order, str(args.rounds), str(args.seconds), str(args.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        ours, theirs, both, over = json.loads(done.stdout)
        print(f"{order:<16}{ours:>12.1f}{theirs:>12.1f}{both:>12.1f}{over:>10.2f}", flush=True)
        figures.append(f"{order} {ours:.0f} + {theirs:.0f} us alone, {both:.0f} us as a pair, ratio {over:.2f}")
    print_row(__file__, argv, machine, [f"torch {importlib.metadata.version('torch')}", *figures])
    return 0


if __name__ == "__main__":
    sys.exit(main())
