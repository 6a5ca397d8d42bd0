"""Lines of Python, Cython and C that the default suite runs: ``python tests/measure_coverage.py [pytest's arguments]``.

Needs gcc, and coverage beside the suite's packages. Works on a copy of the tree, whose extension is built with counters
for C and, through line directives, for Cython. Prints the shares and all lines that were not run; fails below 97% of
Python or 92% of Cython and C.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
WANTED = {"Python": 97.0, "Cython and C": 92.0}
PARTS = ["csrc", "fastnn", "tests", "benchmarks", "examples", "setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE"]
PARTS += ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".ci"]


def copy_tree(to):
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, to / part, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        elif (ROOT / part).exists():
            shutil.copy(ROOT / part, to / part)


def build(tree):
    setup = tree / "setup.py"
    # Optimised, a line's counter may be another one's; without, the suite takes hours.
    setup.write_text(re.sub(r'"-O[23]"', '"-O1"', setup.read_text()))
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--cython-line-directives"],
        cwd=tree,
        # As a part of the compiler's name, or the program that looks for OpenMP would not link.
        env=os.environ | {"CC": "gcc --coverage", "FASTNN_EXT": "require"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def run_suite(tree, arguments):
    settings = tree / "coverage.ini"
    settings.write_text(
        f"[run]\nsource_pkgs = fastnn\nparallel = true\npatch = subprocess\ndata_file = {tree}/.coverage\n"
    )
    coverage = [sys.executable, "-m", "coverage"]
    suite = ["-m", "pytest", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    status = subprocess.run([*coverage, "run", f"--rcfile={settings}", *suite], cwd=tree, env=environment).returncode
    subprocess.run([*coverage, "combine", "-q", f"--rcfile={settings}"], cwd=tree, check=True)
    return status


def python_lines(tree):
    """{file: {line: whether it was run}}"""
    subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", "coverage.json"], cwd=tree, check=True)
    found = json.loads((tree / "coverage.json").read_text())["files"]
    return {
        name: dict.fromkeys(lines["executed_lines"], True) | dict.fromkeys(lines["missing_lines"], False)
        for name, lines in found.items()
        if name.startswith("fastnn/")  # and no copy that a test has made
    }


def compiled_lines(tree):
    """The same of C and Cython: a line counts where any object, of the instruction sets and dtypes, has run it."""
    lines = {}
    for counters in (tree / "build").rglob("*.gcda"):
        subprocess.run(["gcov", "-j", counters], cwd=counters.parent, capture_output=True, check=True)
        for report in counters.parent.glob("*.gcov.json.gz"):
            for file in json.loads(gzip.decompress(report.read_bytes()))["files"]:
                name = os.path.relpath(os.path.join(tree, file["file"]), tree)
                if name.startswith(("csrc/", "fastnn/")) and (tree / name).exists():
                    of_file, last = lines.setdefault(name, {}), len((tree / name).read_text().splitlines())
                    for line in file["lines"]:
                        number = line["line_number"]
                        if number > last:  # Cython's own, which it puts behind the last line that it named
                            continue
                        of_file[number] = of_file.get(number, False) or line["count"] > 0
            report.unlink()
    return lines


def ranges(numbers):
    """[3, 4, 5, 9] as 3-5, 9."""
    text = []
    for n in sorted(numbers):
        if text and text[-1][1] == n - 1:
            text[-1][1] = n
        else:
            text.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in text)


def report(kind, lines):
    run = total = 0
    for name, of_file in sorted(lines.items()):
        missed = [n for n, was_run in of_file.items() if not was_run]
        run, total = run + len(of_file) - len(missed), total + len(of_file)
        print(f"{name:30} {100 * (1 - len(missed) / max(1, len(of_file))):6.1f}%  {ranges(missed)}")
    share = 100 * run / max(1, total)
    print(f"{kind}: {share:.1f}% of {total} lines, wanted {WANTED[kind]}%\n")
    return share >= WANTED[kind]


def main(arguments):
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(tree)
        build(tree)
        status = run_suite(tree, arguments)
        enough = [report("Python", python_lines(tree)), report("Cython and C", compiled_lines(tree))]
    sys.exit(status or not all(enough))


if __name__ == "__main__":
    main(sys.argv[1:])
