"""New activations in a copy of the tree, as CONTRIBUTING.md adds one: rows of a kind that the lists do not have yet.

Derivatives from Z (FROM_Z), applied in the tile and after it. The functions are short examples, not careful ones: they
are not tested far from 0.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.build, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[1]

KERNELS = """
FNN_INLINE V FN(bent)(V z, FN(constants) c) { return z * FN(sigmoid)(z, c); }
FNN_INLINE V FN(bent_slope)(V z, FN(constants) c) {
  const V s = FN(sigmoid)(z, c);
  return s + z * s * (1 - s);
}
FNN_INLINE V FN(square)(V z, FN(constants) c) { return z * z * c.parameter[0]; }
FNN_INLINE V FN(square_slope)(V z, FN(constants) c) { return 2 * c.parameter[0] * z; }

"""
TABLES = """    "bent": Row("z sigmoid(z)", slope_from="Z"),
    "square": Row("factor z^2", {"factor": Parameter(0.1)}, "Z"),
"""
NUMPY = """    "bent": (
        lambda Z: Z * _sigmoid(Z),
        lambda dA, Z: dA * (_sigmoid(Z) + Z * _sigmoid(Z) * (1 - _sigmoid(Z))),
    ),
    "square": (
        lambda Z, factor: Z * Z * Z.dtype.type(factor),
        lambda dA, Z, factor: dA * (2 * Z.dtype.type(factor) * Z),
    ),
"""
REFERENCE = """    "bent": Activation(
        lambda Z: Z * _sigmoid(Z),
        lambda Z: (
            _sigmoid(Z) * (1 + Z * (1 - _sigmoid(Z))),
            _sigmoid(Z) * (1 - _sigmoid(Z)) * (2 + Z * (1 - 2 * _sigmoid(Z))),
            _sigmoid(Z) * (1 + np.abs(Z) * (1 - _sigmoid(Z))),
        ),
        slope_from="Z",
    ),
    "square": Activation(
        lambda Z, factor: factor * Z * Z,
        lambda Z, factor: (2 * factor * Z, 2 * factor + 0 * Z, 2 * factor * np.abs(Z)),
        {"factor": 0.1},
        slope_from="Z",
    ),
"""


def insert(path, before, text):
    """Put `text` before the first place where `before` stands."""
    whole = path.read_text()
    assert before in whole, f"{path.name}: {before}"
    path.write_text(whole.replace(before, text + before, 1))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The copy with the new rows, built."""
    if not (ROOT / "csrc").is_dir() or not shutil.which("gcc"):
        pytest.skip("no source tree, or no gcc here")
    copy = tmp_path_factory.mktemp("rows") / "tree"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "*.so", "build", "dist", "__pycache__"))
    header = copy / "csrc" / "fastnn.h"
    rows = re.search(r"#define FNN_EACH_ACTIVATION\(F\)(?:.*\\\n)+.*\n", header.read_text())[0]
    more = ' \\\n  F(BENT, bent, AFTER_TILE, FROM_Z, "") F(SQUARE, square, IN_TILE, FROM_Z, "factor")\n'
    header.write_text(header.read_text().replace(rows, rows.rstrip("\n") + more))
    insert(copy / "csrc" / "kernels_activations.h", "/* --- all units of a sample: softmax --- */", KERNELS)
    insert(copy / "fastnn" / "tables.py", "}\nLOSSES = {", TABLES)
    insert(copy / "fastnn" / "_numpy.py", "}\n\n\ndef _forward(", NUMPY)
    insert(copy / "fastnn" / "_core.pxd", "\ncdef enum loss_kind:", "    BENT\n    SQUARE\n")
    insert(copy / "tests" / "reference.py", "}\n\n\ndef with_other_parameters(", REFERENCE)
    setup = copy / "setup.py"
    setup.write_text(setup.read_text().replace('"-O3", *ERRORS', '"-O1", *ERRORS'))
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=copy,
        env=os.environ | {"FASTNN_EXT": "require"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return copy


def test_they_compute_the_same_everywhere(tree):
    """Both backends, every instruction set, as hidden and as output layers of few and of many units."""
    chosen = "linear_forward or activation_backward or every_size or network or gradients or lists or nan"
    chosen += " or bits or by_hand"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FASTNN_", "PYTEST_"))}
    files = [f"tests/test_{name}.py" for name in ("parity", "gradients", "lists", "bits", "files", "dropout")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files, "-k", chosen],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    code = [sys.executable, "-c", "import fastnn; print(fastnn.Network.__doc__)"]
    done = subprocess.run(code, cwd=tree, env=environment, capture_output=True, text=True, check=True)
    assert "z sigmoid(z)" in done.stdout


def test_the_core_alone_agrees(tree, tmp_path):
    objects = sorted((tree / "build").glob("temp*/csrc/*.o"))
    check = tmp_path / "check"
    command = ["gcc", "-std=gnu11", "-O1", tree / "tests/c/check_core.c", *objects, "-o", check]
    subprocess.run([*command, "-fopenmp", "-lm", "-ldl"], check=True)
    subprocess.run([check], check=True, capture_output=True, timeout=300)


def test_gradients_are_those_of_differences(tree):
    code = """
from fastnn import Network
import numpy as np
rng = np.random.default_rng(0)
for backend in ("compiled", "numpy"):
    for kind in ("bent", ("square", {"factor": 0.3})):
        for n in (3, 40):  # few units are done by columns, many by rows
            for activations in ([kind, "identity"], ["tanh", kind], [kind, kind]):
                net = Network([5, 6, n], activations, "mse", dtype="float64", seed=1, backend=backend)
                error = net.gradient_check(rng.standard_normal((5, 9)), rng.standard_normal((n, 9)))
                assert error < 1e-7, (backend, kind, n, activations, error)
print("right")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True)
    assert done.stdout == "right\n", done.stderr


def test_what_a_linear_backward_cannot_know_is_refused(tree):
    code = """
import numpy as np
from fastnn import kernels
for given in ("bent", ("square", {"factor": 0.5})):
    dZ, A, W = np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 4))
    for name, call in {
        "Z": lambda: kernels.activation_backward(A, A, given),
        "activation": lambda: kernels.linear_backward(dZ, A, W, activation=given),
    }.items():
        try:
            call()
        except ValueError as error:
            assert str(error).startswith(name), error
            assert name == "Z" or repr(given) in str(error), error
        else:
            raise AssertionError(name)
print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True)
    assert done.stdout == "refused\n", done.stderr
