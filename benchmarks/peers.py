#!/usr/bin/env python
"""How long does a training step take in fastnn, and in the libraries that are installed?

This runs `python -m fastnn bench`, which times SGD's step in float32 in a process for each library, at its best
setting, and compares the weights with those of NumPy in float64 before.

    python benchmarks/peers.py [--nets 64-32-10x32 ...] [--libraries numpy torch] [--seconds 1]

Ends with a row for RESULTS.md, of which draw_results.py makes a picture.
"""

import argparse
import json
import subprocess
import sys

import roofline


def figures(measured):
    """One text for each net, and one with the versions, of what `fastnn bench --json` prints."""
    found = []
    for net in dict.fromkeys(row["net"] for row in measured["rows"]):
        times = [f"{row['library']} {1e6 * row['seconds']:.4g}" for row in measured["rows"] if row["net"] == net]
        found.append(f"{net}: {', '.join(times)} us")
    versions = {row["library"]: row["version"] for row in measured["rows"]}
    return [*found, f"versions: {', '.join(f'{library} {version}' for library, version in versions.items())}"]


def main(argv=None):
    """Print the figures and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=[roofline.name(*net) for net in roofline.NETS], metavar="NET")
    parser.add_argument("--libraries", nargs="+", help="default: all that are installed")
    parser.add_argument("--seconds", default="1", help="of timing, per figure")
    args = parser.parse_args(argv)
    command = [sys.executable, "-m", "fastnn", "bench", "--json", "--seconds", args.seconds]
    command += ["--nets", ",".join(args.nets)]
    if args.libraries:
        command += ["--libraries", ",".join(args.libraries)]
    measured = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    for library, why in measured["left_out"].items():
        print(f"without {library}: {why}")
    machine = f"{measured['cpu']}, {measured['threads']} threads, {measured['backend']} {measured['isa']}, float32"
    print("\n".join(figures(measured)))
    roofline.print_row(__file__, argv, machine, figures(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
