#!/usr/bin/env python
"""How much of this machine's arithmetic a training step gets: its share of the FMA limit, per net.

The limit is measured in the same run by a small C program (gcc): independent fused multiply-adds
on the widest vectors, one thread per core. A step is one batch of ``Network.fit`` (forward, loss,
backward, SGD update), the median over calls of 50 batches, data in memory, not shuffled.

    python benchmarks/roofline.py [--threads N] [--dtype float64] [--nets 64-32-10x32 ...] [--seconds 1]

Ends with a row for RESULTS.md.
"""

import argparse
import datetime
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import fastnn

# (sizes, samples in a batch): from overhead alone to arithmetic alone. bench_network.py times the same.
NETS = [
    ((4, 64, 64, 2), 64),
    ((30, 16, 2), 64),
    ((64, 32, 10), 32),
    ((64, 100, 10), 200),
    ((784, 128, 10), 32),
    ((784, 128, 10), 128),
    ((784, 256, 128, 10), 128),
    ((784, 512, 512, 10), 256),
    ((784, 1024, 1024, 1024, 10), 512),
]
BATCHES = 50  # in one call of fit
LR = 1e-3  # small: however many steps are timed, nothing saturates into subnormals

# Twelve chains hide the latency of any current core (4-5 cycles, two pipes). The empty asm makes x
# unknown each time, so that its product with y can be neither folded nor hoisted.
PEAK_C = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#if defined(__x86_64__)
#define OPAQUE(r) __asm__ volatile("" : "+x"(r))
#elif defined(__aarch64__)
#define OPAQUE(r) __asm__ volatile("" : "+w"(r))
#else
#define OPAQUE(r) __asm__ volatile("" : "+m"(r))
#endif
#define CHAINS 12

typedef REAL vec __attribute__((vector_size(BYTES)));

static pthread_barrier_t gate;
static int rounds;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void chains(long n) {
  vec acc[CHAINS], x = (vec){0} + (REAL)0.5, y = (vec){0} + (REAL)1;
#pragma GCC unroll 12 /* every loop, or the accumulators live on the stack */
  for (int c = 0; c < CHAINS; c++) acc[c] = y * (REAL)c;
  OPAQUE(y);
  for (long k = 0; k < n; k++) {
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++) {
      OPAQUE(x);
      acc[c] += x * y;
    }
  }
#pragma GCC unroll 12
  for (int c = 0; c < CHAINS; c++) OPAQUE(acc[c]);
}

struct worker {
  pthread_t id;
  int core;
  long n;
  double best;
};

static void *work(void *argument) {
  struct worker *w = argument;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(w->core, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  w->best = 1e30;
  for (int r = 0; r < rounds; r++) {
    pthread_barrier_wait(&gate); /* all cores work at once, each is timed for itself */
    double start = now();
    chains(w->n);
    double spent = now() - start;
    if (spent < w->best) w->best = spent;
  }
  return NULL;
}

int main(int argc, char **argv) { /* seconds of a round, rounds, core, core, ... */
  int threads = argc - 3;
  if (threads < 1) return 2;
  double seconds = atof(argv[1]);
  rounds = atoi(argv[2]);
  long n = 1000;
  for (double spent = 0; spent < 1e-3; n *= 2) {
    double start = now();
    chains(n);
    spent = now() - start;
    if (spent >= 1e-3) n = n * (seconds / spent) / 2;
  }
  struct worker *w = calloc(threads, sizeof *w);
  pthread_barrier_init(&gate, NULL, threads);
  for (int t = 0; t < threads; t++) {
    w[t].core = atoi(argv[t + 3]);
    w[t].n = n;
    if (pthread_create(&w[t].id, NULL, work, &w[t])) return 1;
  }
  double rate = 0;
  for (int t = 0; t < threads; t++) {
    pthread_join(w[t].id, NULL);
    rate += n / w[t].best;
  }
  printf("%.3f\n", 2.0 * CHAINS * (BYTES / sizeof(REAL)) * rate * 1e-9);
  free(w);
  return 0;
}
"""


def build_peak(output, dtype, *flags):
    """Compile the C program above."""
    if shutil.which("gcc") is None:
        raise RuntimeError("gcc is needed to measure the machine's limit")
    real = {"float32": "float", "float64": "double"}[dtype]
    flags = ["-std=gnu17", "-O2", "-march=native", "-ffp-contract=fast", "-pthread", f"-DREAL={real}", *flags]
    subprocess.run(["gcc", *flags, "-x", "c", "-", "-o", output], input=PEAK_C, text=True, check=True)


def fma_limit(dtype="float32", threads=1, seconds=0.01, rounds=40):
    """GFLOP/s that `threads` pinned threads reach in fused multiply-adds: each one's best round, summed."""
    cores = sorted(os.sched_getaffinity(0))
    cores = [str(cores[t % len(cores)]) for t in range(threads)]
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "peak")
        build_peak(program, dtype)
        command = [program, str(seconds), str(rounds), *cores]
        return float(subprocess.run(command, check=True, capture_output=True).stdout)


def flops(sizes, m):
    """Of one step: three products a layer, without the gradient for the input; 2 m n_in n_out each."""
    products = [a * b for a, b in itertools.pairwise(sizes)]
    return 2 * m * (3 * sum(products) - products[0])


def data(sizes, m, dtype, batches=BATCHES):
    """Samples for one call of fit, as columns over rows-as-samples memory, and codes."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((batches * m, sizes[0]), np.float32).astype(dtype, copy=False)
    return rows.T, rng.integers(0, sizes[-1], batches * m)


def check(sizes, m, dtype):
    """One step of what is timed against the NumPy backend, from the same weights."""
    X, y = data(sizes, m, dtype)
    ours, peer = (fastnn.Network(sizes, dtype=dtype, seed=0, backend=name) for name in ("auto", "numpy"))
    losses = [net.train_step(X[:, :m], y[:m], fastnn.SGD(lr=LR)) for net in (ours, peer)]
    tolerance = 5e-3 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(*losses, rtol=tolerance)
    start = fastnn.Network(sizes, dtype=dtype, seed=0).parameters
    for pair, peers, old in zip(ours.parameters, peer.parameters, start, strict=True):
        for mine, other, before in zip(pair, peers, old, strict=True):
            # Of the whole update, not of each element: a relu that rounds to the other side moves one by 1/m of itself.
            assert np.linalg.norm(mine - other) <= tolerance * np.linalg.norm(other - before)


def fit_call(sizes, m, dtype, batches=BATCHES, epochs=1, shuffle=False, **settings):
    """A call that trains a network, always the same one, on so many batches."""
    net, optimizer = fastnn.Network(sizes, dtype=dtype, seed=0, **settings), fastnn.SGD(lr=LR)
    X, y = data(sizes, m, dtype, batches)
    return lambda: net.fit(X, y, epochs, m, optimizer, shuffle, progress=False)


def timed(call):
    """Seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def step_seconds(sizes, m, dtype, seconds, batches=BATCHES):
    """Median seconds of a step over calls of fit, for about `seconds`, at least 5 of them."""
    call, times = fit_call(sizes, m, dtype, batches), []
    call()  # warms up
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        times.append(timed(call) / batches)
    return statistics.median(times)


def pairs(one, other, seconds, prepare=lambda: None):
    """(seconds of one, seconds of the other), called in turn for about `seconds`, at least 5 times."""
    found, end = [], None
    while end is None or len(found) < 5 or time.perf_counter() < end:
        prepare()
        pair = [timed(call) for call in ((one, other) if len(found) % 2 else (other, one))]
        if end is None:  # the first calls warm up
            end = time.perf_counter() + seconds
        else:
            found.append(pair if len(found) % 2 else pair[::-1])
    return found


def ratio(one, other, seconds, prepare=lambda: None):
    """Median of one's time over the other's."""
    return statistics.median(a / b for a, b in pairs(one, other, seconds, prepare))


def net(text):
    """The net written as 784-128-10x32."""
    sizes, _, m = text.partition("x")
    return tuple(int(n) for n in sizes.split("-")), int(m)


def name(sizes, m):
    """The other way."""
    return f"{'-'.join(map(str, sizes))}x{m}"


def options(doc, seconds):
    """The parser of a script, with what all of them take."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--threads", type=int, default=fastnn.get_threads(), help="default: all that are allowed")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--seconds", type=float, default=seconds, help="of timing, per figure")
    return parser


def begin(args):
    """Set the threads; what figures depend on, in words."""
    fastnn.set_threads(args.threads)
    facts = fastnn.info()
    return f"{facts['cpu']}, {args.threads} threads, {facts['backend']} {facts['isa']}, {args.dtype}"


def print_row(script, argv, machine, figures):
    """The run as a row for RESULTS.md."""
    command = " ".join([f"python benchmarks/{Path(script).name}", *argv])
    today = datetime.date.today().isoformat()
    print(f"\n| {today} | {_commit()} | {machine} | `{command}` | {'; '.join(figures)} |")


def main(argv=None):
    """Print the table and its row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=1.0)
    parser.add_argument("--nets", nargs="+", type=net, default=NETS, metavar="NET", help="such as 784-128-10x32")
    args = parser.parse_args(argv)
    machine, limit = begin(args), fma_limit(args.dtype, args.threads)
    print(f"{machine}; FMA limit {limit:.1f} GFLOP/s")
    print(f"{'net x batch':<30}{'us/step':>12}{'GFLOP/s':>10}{'share':>8}")
    figures, quiet = [f"limit {limit:.0f} GFLOP/s"], True
    for sizes, m in args.nets:
        check(sizes, m, args.dtype)
        seconds = step_seconds(sizes, m, args.dtype, args.seconds)
        rate = flops(sizes, m) / seconds * 1e-9
        print(f"{name(sizes, m):<30}{seconds * 1e6:>12.2f}{rate:>10.1f}{rate / limit:>8.1%}", flush=True)
        figures.append(f"{name(sizes, m)} {seconds * 1e6:.2f} us {rate / limit:.0%}")
        quiet = quiet and rate < 1.02 * limit
    after = fma_limit(args.dtype, args.threads)
    if not quiet or abs(after / limit - 1) > 0.05:
        print(f"The limit is now {after:.1f} GFLOP/s. The machine was not quiet: do not publish these figures.")
    print_row(__file__, argv, machine, figures)
    return 0


def _commit():
    root = Path(__file__).parents[1]
    git = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    found = subprocess.run(git, capture_output=True, text=True) if shutil.which("git") else None
    return found.stdout.strip() if found and found.returncode == 0 else "no commit"


if __name__ == "__main__":
    sys.exit(main())
