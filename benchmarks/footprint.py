#!/usr/bin/env python
"""How large is the installed package, how large would its wheel be, and how long does an import take?

Sizes are of the files of the package without bytecode and sources of the extension; a wheel is a zip file of them. The
import is that of a new process which has imported NumPy before: CPU time of the thread that imports (those of NumPy's
BLAS wait in a loop), the median of several processes.

    python benchmarks/footprint.py [--processes 20]

Ends with a row for RESULTS.md.
"""

import argparse
import io
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import fastnn
import roofline

NOT_INSTALLED = {".pyx", ".pxi", ".c", ".pyc"}
IMPORT = """
import time, numpy
start = time.thread_time()
import fastnn
print(time.thread_time() - start)
"""


def files():
    """What a wheel contains of the package."""
    folder = Path(fastnn.__file__).parent
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in NOT_INSTALLED)


def bytes_of_a_wheel(paths):
    """Of a zip file of them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path)
    return len(stream.getvalue())


def import_seconds():
    """CPU time of one import in a new process."""
    return float(subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout)


def main(argv=None):
    """Print the figures and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=20)
    args = parser.parse_args(argv)
    paths, facts = files(), fastnn.info()
    seconds = statistics.median(import_seconds() for _ in range(args.processes))
    figures = [
        f"installed {sum(path.stat().st_size for path in paths) / 1e6:.2f} MB",
        f"wheel {bytes_of_a_wheel(paths) / 1e6:.2f} MB",
        f"import beyond NumPy's {1e3 * seconds:.0f} ms",
    ]
    print("\n".join(figures))
    python = f"Python {sys.version.split()[0]}"
    machine = f"{facts['cpu']}, {facts['threads']} threads, {facts['backend']} {facts['isa']}, {python}"
    roofline.print_row(__file__, argv, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
