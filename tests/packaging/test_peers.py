"""Arrays of torch and JAX through fastnn.kernels, and numba's loops over a predictor, where these are installed."""

import ctypes
import functools
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn import kernels

RNG = np.random.default_rng(0)
W, ROWS, B = RNG.standard_normal((3, 4), "f4"), RNG.standard_normal((5, 4), "f4"), RNG.standard_normal(3, "f4")
A = np.maximum(W @ ROWS.T + B[:, np.newaxis], 0)


def test_torch():
    torch = pytest.importorskip("torch")
    w, rows, b = (torch.from_numpy(x) for x in (W, ROWS, B))
    out = torch.zeros(5, 3).T
    assert kernels.linear_forward(w, rows.T, b, "relu", out=out, copy="never") is out
    np.testing.assert_allclose(out.numpy(), A, rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="W, a torch"):
        kernels.linear_forward(torch.nn.Parameter(w), rows.T, b)
    # One step of Adam, in place on torch's memory, against torch's own.
    ours, theirs, gradient = torch.ones(4, 3), torch.ones(4, 3, requires_grad=True), torch.full((4, 3), 2.0)
    moments = torch.zeros(4, 3), torch.zeros(4, 3)
    kernels.optimizer_update(fastnn.Adam(lr=0.1), ours, gradient, moments, 1, (ours, *moments), copy="never")
    theirs.grad = gradient
    torch.optim.Adam([theirs], lr=0.1).step()
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-6)


def test_jax():
    jnp = pytest.importorskip("jax.numpy")
    result = kernels.linear_forward(jnp.asarray(W), jnp.asarray(ROWS).T, jnp.asarray(B), "relu", copy="never")
    np.testing.assert_allclose(result, A, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"out, a jax.*read-only"):
        kernels.linear_forward(W, ROWS.T, B, out=jnp.zeros((3, 5)))
    for order in ("C", "F"):
        aligned = fastnn.empty((100, 30), order=order)
        taken = jnp.from_dlpack(aligned if order == "C" else aligned.T)
        assert taken.unsafe_buffer_pointer() == aligned.ctypes.data


@pytest.mark.skipif(fastnn.info()["backend"] != "compiled", reason="needs the compiled backend")
def test_numba():
    numba = pytest.importorskip("numba")
    net = fastnn.Network([4, 8, 4], ["tanh", "identity"], seed=0)
    handle = fastnn.predictor_handle(net.predictor())
    address, number = ctypes.c_void_p, ctypes.c_int
    predict = ctypes.CFUNCTYPE(number, address, address, address, ctypes.c_ssize_t, number)(
        fastnn.c_function("net_predict")
    )
    matrix = np.dtype([("data", np.intp), ("row", np.intp), ("col", np.intp), ("dtype", np.int64)])  # an fnn_matrix
    state, after = np.ones((1, 4), "f4"), np.empty((1, 4), "f4")
    now, then = (np.array([(x.ctypes.data, 1, 4, 0)], matrix) for x in (state, after))

    @numba.njit
    def simulate(net, now, then, state, after, steps):
        for _ in range(steps):
            predict(net, then.ctypes.data, now.ctypes.data, 1, 1)
            state += 0.1 * after

    simulate(handle.address, now, then, state, after, 100)
    expected = np.ones((4, 1), "f4")
    for _ in range(100):
        expected += np.float32(0.1) * net.predict(expected)
    np.testing.assert_allclose(state.T, expected, rtol=1e-4)


@pytest.mark.slow  # imports large packages in new processes
@pytest.mark.parametrize("order", ["fastnn, {}", "{}, fastnn"])
@pytest.mark.parametrize("other", ["torch", "sklearn.linear_model"])
def test_either_may_be_imported_first(other, order):
    pytest.importorskip(other.split(".")[0])
    use = {
        "torch": "torch.relu(torch.randn(1000000)); torch.randn(300, 300) @ torch.randn(300, 300)",
        "sklearn.linear_model": "sklearn.linear_model.LogisticRegression().fit(X.T, y)",
    }[other]
    code = f"""
import {order.format(other)}, numpy as np
X, y = np.random.default_rng(0).standard_normal((64, 2000)).astype("f4"), np.arange(2000) % 3
net = fastnn.Network([64, 200, 3], seed=0, threads=2)
for _ in range(3):
    net.fit(X, y, batch_size=500, progress=False); net.predict(X); {use}
print(net.loss(X, y).hex())
"""
    alone = code.replace(use, "pass").replace(f"{other}, ", "").replace(f", {other}", "")
    assert printed_by(code) == printed_by(alone)  # to the same bits as without the other


@functools.cache  # without the other all programs are the same
def printed_by(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
