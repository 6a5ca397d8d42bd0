"""Activations: torch's values and derivatives, how exact they are, and what large and small numbers give."""

import json
from pathlib import Path

import numpy as np
import pytest

import reference as ref
from fastnn import kernels

TORCH = np.load(Path(__file__).parent / "data" / "torch_activations.npz")
FUNCTIONS = json.loads(str(TORCH["functions"]))
# The largest error of A in units of the last place, where A is far from subnormal numbers. That of gelu's approximation
# grows with the argument v of its exponential, which is cubic in z: four roundings of v, each half a unit, are 4 |v|
# units of exp(v).
LARGEST_ERROR = {
    "elu": 3,
    "selu": 3,
    "gelu": 10,
    "silu": 5,
    "softplus": 5,
}


@pytest.mark.parametrize("key", FUNCTIONS)
def test_they_are_torch_s(backend, key):
    kind, z = tuple(FUNCTIONS[key]), TORCH["z"][np.newaxis]
    A = kernels.activation_forward(z, kind)
    # torch's gelu is a difference from 1 where z is negative.
    np.testing.assert_allclose(A[0], TORCH[f"{key}: A"], rtol=1e-12, atol=1e-14)
    slope = kernels.activation_backward(np.ones_like(z), A, kind, Z=z)
    np.testing.assert_allclose(slope[0], TORCH[f"{key}: slope"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [*LARGEST_ERROR, ("gelu", {"approximate": 1})], ids=str)
def test_how_exact_they_are(backend, dtype, kind, rng):
    high = 12 if dtype == "float32" else 25
    z = np.concatenate([rng.uniform(-high, high, 3000), rng.uniform(-1, 1, 3000), rng.uniform(-1e-3, 1e-3, 500)])
    z = z.astype(dtype)[np.newaxis]
    wanted = ref.g(z, kind)
    far = np.abs(wanted) > 1e3 * np.finfo(dtype).tiny
    error = np.abs(kernels.activation_forward(z, kind) - wanted) / np.spacing(np.abs(wanted.astype(dtype)))
    most = LARGEST_ERROR[kind] if isinstance(kind, str) else 5 + 4 * (1.6 * np.abs(z) + 0.072 * np.abs(z) ** 3)
    assert (error <= most)[far].all()


@pytest.mark.parametrize("kind", [*LARGEST_ERROR, ("gelu", {"approximate": 1})], ids=str)
def test_finite_numbers_give_finite_ones(backend, dtype, kind):
    largest = np.finfo(dtype).max
    z = np.array([[largest, -largest, largest / 2, -largest / 2, 1e30, -1e30, 200, -200, 0.0, -0.0]], dtype)
    A = kernels.activation_forward(z, kind)
    assert np.isfinite(A).all()
    assert np.isfinite(kernels.activation_backward(np.ones_like(z), A, kind, Z=z)).all()


def test_the_slope_of_gelu_ends_at_0(backend, dtype):
    z = -np.array([[20, 40, 1e3, np.finfo(dtype).max]], dtype)
    slope = kernels.activation_backward(np.ones_like(z), np.zeros_like(z), "gelu", Z=z)
    np.testing.assert_array_equal(slope[0, 1 if dtype == "float64" else 0 :], 0)
