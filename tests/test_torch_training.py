"""Training options are those of torch: 50 steps of each, from a file that make_torch_training.py writes."""

import json
from pathlib import Path

import numpy as np
import pytest

import fastnn
from conftest import lesser_are_slow
from fastnn import Network

with np.load(Path(__file__).parent / "data" / "torch_training.npz") as file:
    TORCH = dict(file)
CASES = json.loads(str(TORCH["cases"]))
AFTER, BATCH = TORCH["after"].tolist(), int(TORCH["batch"])
RTOL = 1e-10

of_torch = pytest.mark.parametrize("name", CASES)


def prepared(name, backend):
    """The network of a case as it begins, its optimizer, X and y."""
    case = CASES[name]
    activations, (loss, parameters), (kind, settings) = case["activations"], case["loss"], case["optimizer"]
    net = Network(
        case["sizes"],
        activations,
        (loss, parameters),
        dtype="float64",
        seed=case.get("seed", 0),
        backend=backend,
        dropout=case.get("dropout", 0.0),
    )
    start = [TORCH[f"{name}: start {i}"] for i in range(2 * len(activations))]
    net.set_parameters(zip(start[::2], start[1::2], strict=True))
    net.trainable = case.get("trainable", [True] * len(activations))
    return net, getattr(fastnn, kind)(**settings, **case.get("more", {})), TORCH[f"{name}: X"], TORCH[f"{name}: y"]


def assert_parameters(net, name, steps):
    """They are torch's after so many steps, within RTOL of the largest of each array."""
    for i, T in enumerate(T for pair in net.parameters for T in pair):
        want = TORCH[f"{name}: after {i}"][AFTER.index(steps)]
        np.testing.assert_allclose(T, want, rtol=0, atol=RTOL * np.abs(want).max())


@lesser_are_slow
@of_torch
def test_steps_are_those_of_torch(backend, name):
    net, optimizer, X, y = prepared(name, backend)
    batches = [slice(i, i + BATCH) for i in range(0, X.shape[1], BATCH)]
    for step, loss in enumerate(TORCH[f"{name}: losses"], start=1):
        batch = batches[(step - 1) % len(batches)]
        assert net.train_step(X[:, batch], y[..., batch], optimizer) == pytest.approx(loss, rel=RTOL)
        if step in AFTER:
            assert_parameters(net, name, step)


@lesser_are_slow
@of_torch
def test_fit_is_that_of_torch(backend, name):
    net, optimizer, X, y = prepared(name, backend)
    starts = range(0, X.shape[1], BATCH)
    history = net.fit(X, y, max(AFTER) // len(starts), BATCH, optimizer, shuffle=False, progress=False)
    assert_parameters(net, name, max(AFTER))
    counts = [min(BATCH, X.shape[1] - start) for start in starts]
    losses = TORCH[f"{name}: losses"].reshape(-1, len(starts))
    np.testing.assert_allclose(history.loss, losses @ counts / X.shape[1], rtol=RTOL)
