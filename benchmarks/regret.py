#!/usr/bin/env python
"""What the engine's choice between a team and one thread costs, on a machine that takes its cores away now and then.

In each of many fresh processes `fit` is called again and again, in turn by the engine's choice, by two forced threads
and by one: the time of the choice over that of the better of the two, or with a core that is busy over that of one.
Given are the median over the processes, and what nine tenths of them stay within.

    python benchmarks/regret.py                                        # 20 processes for each condition
    python benchmarks/regret.py --conditions hiccups --processes 4     # a part of it

Conditions: quiet; hiccups (another process busy for 2 ms every 150 ms, on one core); torch (installed, and used in the
process before each net); busy (another process busy on one core all the time). Ends with a row for RESULTS.md. Linux.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys

from roofline import begin, net, options, print_row
from threads import busy_core

NETS = ["64-250-10x1000", "64-100-10x200", "784-256-128-10x128", "16-32-2x256", "4-16-2x400000"]
SAMPLES = {"784-256-128-10x128": 6000, "16-32-2x256": 1_000_000, "4-16-2x400000": 400_000}  # else 20,000
CONDITIONS = ["quiet", "hiccups", "torch", "busy"]
WAYS = {"own": None, "two": 2, "one": 1}
BUSY_MS, EVERY_MS = 2, 150

CHILD = r"""
import json, sys, time
import numpy as np, fastnn
asked, found = json.loads(sys.argv[1]), []
if asked["torch"]:
    import torch
for sizes, batch, samples in asked["nets"]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((samples, sizes[0]), np.float32).astype(asked["dtype"]).T
    y = rng.integers(0, sizes[-1], samples)
    if asked["torch"]:
        A = torch.randn(1000, 1000)
        for _ in range(20):
            torch.relu(A @ A)
    fits, seconds, calls = {}, {}, {}
    for way, threads in asked["ways"].items():
        network, optimizer = fastnn.Network(sizes, dtype=asked["dtype"], seed=0, threads=threads), fastnn.SGD(1e-3)
        settings = dict(epochs=1, batch_size=batch, optimizer=optimizer, progress=False)
        fits[way] = lambda network=network, settings=settings: network.fit(X, y, **settings)
        fits[way]()
        seconds[way] = calls[way] = 0
    for _ in range(asked["rounds"]):
        for way, fit in fits.items():
            start, taken = time.perf_counter(), 0
            while not taken or taken < asked["seconds"]:
                fit()
                calls[way] += 1
                taken = time.perf_counter() - start
            seconds[way] += taken
    found.append({way: seconds[way] / calls[way] for way in fits})
print(json.dumps(found))
"""


@contextlib.contextmanager
def hiccups():
    """Another process that takes a core away for a moment now and then, as schedulers and virtual machines do."""
    code = f"""
import os, time
os.sched_setaffinity(0, {{{max(os.sched_getaffinity(0))}}})
while True:
    time.sleep({(EVERY_MS - BUSY_MS) / 1e3})
    end = time.perf_counter() + {BUSY_MS / 1e3}
    while time.perf_counter() < end:
        pass
"""
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        try:
            yield
        finally:
            child.kill()


def ratios(condition, args):
    """Of one fresh process: for each net."""
    nets = [(sizes, m, SAMPLES.get(name, 20_000)) for name in args.nets for sizes, m in [net(name)]]
    asked = {"nets": nets, "ways": WAYS, "torch": condition == "torch", "dtype": args.dtype}
    asked |= {"rounds": args.rounds, "seconds": args.seconds / args.rounds}
    around = {"hiccups": hiccups, "busy": busy_core}.get(condition, contextlib.nullcontext)
    with around():
        command = [sys.executable, "-W", "ignore", "-c", CHILD, json.dumps(asked)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return [t["own"] / (t["one"] if condition == "busy" else min(t["one"], t["two"])) for t in found]


def main(argv=None):
    """Print the figures and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=0.6)
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="of the ways of a net, in turn")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=CONDITIONS)
    parser.add_argument("--nets", nargs="+", default=NETS, metavar="NET", help="such as 784-128-10x32")
    args = parser.parse_args(argv)
    machine, figures = begin(args), []
    print(f"{machine}\n{'':<10}" + "".join(f"{name:>28}" for name in args.nets))
    for condition in args.conditions:
        by_net = [
            sorted(found) for found in zip(*(ratios(condition, args) for _ in range(args.processes)), strict=True)
        ]
        within = -(-9 * args.processes // 10) - 1  # the place of what nine tenths stay within
        cells = [(statistics.median(found), found[within], found[-1]) for found in by_net]
        print(f"{condition:<10}" + "".join(f"{m:>12.3f}{w:>8.3f}{x:>8.3f}" for m, w, x in cells), flush=True)
        figures += [
            f"{condition}: " + ", ".join(f"{n} {m:.3f}, {w:.3f}" for n, (m, w, _) in zip(args.nets, cells, strict=True))
        ]
    print_row(__file__, argv, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
