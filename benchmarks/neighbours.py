#!/usr/bin/env python
"""How two libraries with threads of their own get along: fastnn and torch, called in turn.

The time of a pair of calls (a fastnn prediction of 256 samples through 784-128-10, then a torch relu of a
million floats) over the sum of what each takes where nothing but it is ever called, for each order of import.
Each of the three has processes of its own, in turn; a figure is the median over rounds. An installed wheel that
brings its own OpenMP is the case that matters.

    python benchmarks/neighbours.py [--rounds 5] [--seconds 0.5]

Needs torch. Ends with a row for RESULTS.md.
"""

import importlib.metadata
import importlib.util
import statistics
import subprocess
import sys

from roofline import begin, options, print_row

CHILD = r"""
import statistics, sys, time
order, what, seconds, threads = sys.argv[1].split(","), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
for name in order:
    __import__(name)
import fastnn, torch
import numpy as np
fastnn.set_threads(threads)
torch.set_num_threads(threads)
predict = fastnn.Network([784, 128, 10], seed=0).predictor()
X, out = np.asfortranarray(np.random.default_rng(0).standard_normal((784, 256), np.float32)), fastnn.empty((10, 256))
values, result = torch.randn(1_000_000), torch.empty(1_000_000)

def ours():
    predict(X, out)

def theirs():
    torch.clamp_min(values, 0, out=result)

def both():
    predict(X, out)
    torch.clamp_min(values, 0, out=result)

call, times, end = {"ours": ours, "theirs": theirs, "both": both}[what], [], time.perf_counter() + seconds
while (start := time.perf_counter()) < end:
    call()
    times.append(time.perf_counter() - start)
if what == "both":
    assert np.array_equal(out, predict(X)) and torch.equal(result, torch.relu(values))
print(statistics.median(times) * 1e6)
"""


def main(argv=None):
    """Print the figures and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=0.5)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(argv)
    if importlib.util.find_spec("torch") is None:
        sys.exit("torch is not installed")
    machine, figures = begin(args), []
    print(f"{machine}\n{'imported':<16}{'fastnn us':>12}{'torch us':>12}{'pair us':>12}{'over sum':>10}")
    for order in ("fastnn,torch", "torch,fastnn"):
        rounds = []
        for _ in range(args.rounds):
            settings = str(args.seconds), str(args.threads)
            commands = [[sys.executable, "-c", CHILD, order, what, *settings] for what in ("ours", "theirs", "both")]
            done = [subprocess.run(c, check=True, capture_output=True, text=True) for c in commands]
            rounds.append([float(d.stdout) for d in done])
        ours, theirs, both = map(statistics.median, zip(*rounds, strict=True))
        over = statistics.median(b / (o + t) for o, t, b in rounds)
        print(f"{order:<16}{ours:>12.1f}{theirs:>12.1f}{both:>12.1f}{over:>10.2f}", flush=True)
        figures.append(f"{order} {ours:.0f} + {theirs:.0f} us alone, {both:.0f} us as a pair, ratio {over:.2f}")
    print_row(__file__, argv, machine, [f"torch {importlib.metadata.version('torch')}", *figures])
    return 0


if __name__ == "__main__":
    sys.exit(main())
