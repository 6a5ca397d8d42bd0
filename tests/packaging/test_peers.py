"""Arrays of torch and JAX through fastnn.kernels, where these are installed."""

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
