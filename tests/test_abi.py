"""The C interface 2 as it was made: an extension that was compiled against it then runs on the core of the day."""

import importlib.util
import itertools
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from conftest import COMPILED
from fastnn import Adam, Network, kernels

pytestmark = pytest.mark.skipif(COMPILED is None, reason="the extension is not here")

THEN = Path(__file__).parent / "data" / "abi2"
SIZES = [3, 5, 2]


@pytest.fixture(scope="module")
def extension(tmp_path_factory):
    """The other package's extension, compiled against the header of then."""
    include = sysconfig.get_path("include")
    if not shutil.which("gcc") or not (Path(include) / "Python.h").exists():
        pytest.skip("no gcc or no Python.h here")
    library = tmp_path_factory.mktemp("abi2") / ("extension" + sysconfig.get_config_var("EXT_SUFFIX"))
    flags = ["-O1", "-shared", "-fPIC", "-I", include]
    subprocess.run(["gcc", *flags, THEN / "extension.c", "-o", library], check=True)
    spec = importlib.util.spec_from_file_location("extension", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_columns(numbers, rows, divisor):
    return (np.array(numbers, "f4") / divisor).reshape(rows, -1, order="F")


def test_an_extension_of_then_trains_as_we_do(extension):
    net = Network(SIZES, [("leaky_relu", {"slope": 0.25}), "softmax"], seed=3, backend="compiled")
    net.set_parameters(
        [
            (
                by_columns([i * 7 % 11 - 5 for i in range(n_out * n_in)], n_out, 8),
                by_columns([i % 3 - 1 for i in range(n_out)], n_out, 4),
            )
            for n_in, n_out in itertools.pairwise(SIZES)
        ]
    )
    X = by_columns([i * 37 % 61 - 30 for i in range(3 * 40)], 3, 32)
    y, w = np.arange(40) * 5 % 3 % 2, 1.0 + np.arange(40) % 2
    history = net.fit(X, y, 6, 16, Adam(lr=0.01), sample_weight=w, progress=False)
    J, gradients = net.gradients(X, y, w)
    (dW, db), parameters = gradients[0], [T for pair in net.parameters for T in pair]
    A = kernels.linear_forward(dW, X[:, :1], db, "tanh")
    want = [history.loss, *(T.ravel("F") for T in parameters), net.predict(X).ravel("F"), [J], dW.ravel("F")]
    got = np.array(extension.trained(), "f4")
    exact = np.concatenate(want).astype("f4")
    np.testing.assert_array_equal(got[: len(exact)], exact)
    np.testing.assert_allclose(got[len(exact) :], A.ravel(), rtol=1e-6)
