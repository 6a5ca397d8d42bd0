"""Do the tests notice? ``python tests/mutate.py [--sample 100] [--seed 0]``: the share of small faults they find.

Each mutant is the NumPy backend (fastnn/_numpy.py: kernels, losses, optimizers) with one operator, constant, condition
or statement changed, in a copy of the package, under the tests of numbers. Prints those that survive; fails where less
than 85% are found.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = "fastnn/_numpy.py"
# The quick and sharp ones first: most mutants do not get further.
TESTS = ["test_lecture", "test_optimizers", "test_gradients", "test_steps", "test_parity", "test_finite_numbers"]
TESTS += ["test_targets", "test_batches_and_seeds", "test_long_calls", "test_sharing", "test_memory"]
WANTED = 85.0

OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.MatMult: ast.Mult, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.USub: ast.UAdd,
}  # fmt: skip
NAMES = {"maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "any": "all", "all": "any"}


def is_docstring(node, parent):
    return isinstance(parent, (ast.FunctionDef, ast.ClassDef, ast.Module)) and node is parent.body[0]


def changes(tree):
    """(line, what, function that changes the tree in place) of every fault."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = []
    for index, node in enumerate(ast.walk(tree)):
        line = getattr(node, "lineno", 0)

        def note(what, change, index=index, line=line):
            found.append((line, what, lambda tree: change(list(ast.walk(tree))[index])))

        for field in ("op", "ops"):
            old = getattr(node, field, None)
            old = old[0] if isinstance(old, list) else old
            if type(old) in OPERATORS:
                new = OPERATORS[type(old)]

                def swap(node, field=field, new=new):
                    setattr(node, field, [new(), *node.ops[1:]] if field == "ops" else new())

                note(f"{type(old).__name__} -> {new.__name__}", swap)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            new = (not node.value) if isinstance(node.value, bool) else node.value + 1
            note(f"{node.value} -> {new}", lambda node, new=new: setattr(node, "value", new))
        if isinstance(node, ast.Attribute) and node.attr in NAMES:
            new = NAMES[node.attr]
            note(f"{node.attr} -> {new}", lambda node, new=new: setattr(node, "attr", new))
        if isinstance(node, (ast.If, ast.IfExp)):
            note("if not", lambda node: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test)))
        if isinstance(node, (ast.AugAssign, ast.Expr)) and not is_docstring(node, parents.get(node)):

            def drop(node):
                node.__class__ = ast.Pass
                node._fields = ()

            note("statement left out", drop)
    return [fault for fault in found if fault[0]]


def survives(source, fault, work):
    """The line and the change, or None where a test fails."""
    line, what, change = fault
    tree = copy.deepcopy(source)
    change(tree)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        shutil.copytree(ROOT / "fastnn", Path(folder, "fastnn"), ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        for part in ("tests", "benchmarks", "csrc", "pyproject.toml"):
            os.symlink(ROOT / part, Path(folder, part))
        Path(folder, TARGET).write_text(ast.unparse(ast.fix_missing_locations(tree)))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--rootdir", folder]
        environment = os.environ | {
            "PYTHONPATH": folder, "FASTNN_BACKEND": "numpy", "OPENBLAS_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        tests = [str(Path(folder, "tests", f"{name}.py")) for name in TESTS]
        try:
            done = subprocess.run([*command, *tests], cwd=folder, env=environment, capture_output=True, timeout=600)
        except subprocess.TimeoutExpired:
            return None
    return (line, what) if done.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=100, help="faults that are tried; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    text = (ROOT / TARGET).read_text()
    source = ast.parse(text)
    faults = changes(source)
    if options.sample:
        faults = random.Random(options.seed).sample(faults, min(options.sample, len(faults)))
    with tempfile.TemporaryDirectory() as work:
        if survives(source, (0, "none", lambda tree: None), work) is None:
            sys.exit("the tests fail without any fault")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            alive = [fault for fault in pool.map(lambda fault: survives(source, fault, work), faults) if fault]
    lines = text.splitlines()
    for line, what in sorted(alive):
        print(f"survives: {TARGET}:{line}: {what}: {lines[line - 1].strip()}")
    share = 100 * (1 - len(alive) / len(faults))
    print(f"{len(faults) - len(alive)} of {len(faults)} faults found: {share:.0f}%, wanted {WANTED:.0f}%")
    sys.exit(share < WANTED)


if __name__ == "__main__":
    main()
