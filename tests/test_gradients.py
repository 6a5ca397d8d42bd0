"""Gradients against central differences, of the oracle's loss and of the network's own."""

import functools
import itertools
from typing import NamedTuple

import numpy as np
import pytest

import fastnn
import reference as ref
from case_helpers import each
from conftest import lesser_are_slow
from fastnn import Network

PAIRS = [(g, loss) for loss, known in ref.LOSSES.items() for g in ref.ACTIVATIONS if known.output in (None, g)]
# activation and loss of the output, and its units: softmax needs two
OUTPUTS = [
    (g, loss, n)
    for g, loss in PAIRS
    for n in (1, 4)
    if (n > 1 or not ref.ACTIVATIONS[g].whole) and ref.LOSSES[loss].fits(n)
]
# Every output with two hidden activations, in turn; and every hidden activation with one output.
_NAMES = list(ref.ACTIVATIONS)
CASES = [((_NAMES[i % len(_NAMES)], _NAMES[(i + 1) % len(_NAMES)]), *output) for i, output in enumerate(OUTPUTS)]
CASES += [((g, g), *OUTPUTS[-1]) for g in ref.ACTIVATIONS]
# The default suite has each activation with mse, and each loss with one activation; all pairs are `slow`.
USUAL = {loss: next(g for g, other in PAIRS if other == loss) for loss in ref.LOSSES}


def with_slow_ones(cases):
    """The cases, which end with (output activation, loss, units); those of pairs that are not usual marked as slow."""
    slow = {"marks": pytest.mark.slow}
    return [pytest.param(*c, **({} if c[-2] == "mse" or c[-3] == USUAL[c[-2]] else slow)) for c in cases]


M = 6
STEP = 3e-6  # truncation grows with its square, rounding with its inverse: either stays below 1e-9


class Case(NamedTuple):
    """A network with each of its relus well away from the kink, a batch, and the forms its target may take."""

    sizes: list
    activations: list
    loss: str
    parameters: list
    X: np.ndarray
    targets: list
    w: np.ndarray

    def network(self, backend, dtype="float64"):
        net = Network(self.sizes, self.activations, self.loss, dtype=dtype, seed=0, backend=backend)
        net.set_parameters(self.parameters)
        return net


@functools.cache
def a_case(hidden, output, loss, n):
    sizes, activations = [4, 5, 3, n], [*hidden, output]
    for seed in range(100):
        rng = np.random.default_rng(seed)
        parameters = [
            (rng.standard_normal((n_out, n_in)), rng.standard_normal((n_out, 1)))
            for n_in, n_out in itertools.pairwise(sizes)
        ]
        X = rng.standard_normal((4, M))
        if all(np.abs(layer["Z"]).min() > 1e-3 for layer in ref.forward(parameters, activations, X)):
            break
    assert seed < 99
    known = ref.LOSSES[loss]
    targets = [known.some_targets(rng, n, M)]
    if known.takes_codes or known.rows(n) == 1:
        targets.insert(0, rng.integers(0, max(n, 2), M))
    w = rng.uniform(size=M)
    w[2] = 0
    return Case(sizes, activations, loss, parameters, X, targets, w)


def differences(loss, parameters):
    """Central differences of ``loss(parameters)`` in every W and b."""
    parameters, result = [tuple(T.copy() for T in layer) for layer in parameters], []
    for layer in parameters:
        result.append(tuple(np.empty_like(T) for T in layer))
        for T, dT in zip(layer, result[-1], strict=True):
            for at in np.ndindex(T.shape):
                kept, sides = T[at], []
                for T[at] in (kept + STEP, kept - STEP):
                    sides.append(loss(parameters))
                T[at] = kept
                dT[at] = (sides[0] - sides[1]) / (2 * STEP)
    return result


@functools.cache
def of_the_oracle(hidden, output, loss, n, weighted):
    """For each target: the oracle's loss, its gradients, and their differences."""
    case, result = a_case(hidden, output, loss, n), []
    w = case.w if weighted else None
    for y in case.targets:
        Y = ref.target_matrix(y, ref.LOSSES[loss].rows(n), "float64")

        def J_of(parameters, Y=Y):
            return ref.network_loss(ref.forward(parameters, case.activations, case.X)[-1], loss, Y, w)[0]

        (J, _), gradients = ref.gradients(case.parameters, case.activations, loss, case.X, Y, w)
        assert pytest.approx(J, rel=1e-14) == J_of(case.parameters)
        result.append((J, [(dW, db) for (dW, _), (db, _) in gradients], differences(J_of, case.parameters)))
    return result


def assert_gradients(gradients, wanted, atol):
    largest = max(np.abs(d).max() for pair in wanted for d in pair)
    for i, pairs in enumerate(zip(gradients, wanted, strict=True), start=1):
        for name, got, want in zip(("dW", "db"), *pairs, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=atol * max(1, largest), err_msg=f"{name}{i}")


@lesser_are_slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("hidden", "output", "loss", "n"), with_slow_ones(CASES))
def test_gradients(backend, hidden, output, loss, n, weighted):
    case = a_case(hidden, output, loss, n)
    w = case.w if weighted else None
    for y, (J_ref, gradients_ref, d) in zip(
        case.targets, of_the_oracle(hidden, output, loss, n, weighted), strict=True
    ):
        net = case.network(backend)
        J, gradients = net.gradients(case.X, y, sample_weight=w)
        assert pytest.approx(J, rel=1e-12) == J_ref
        assert_gradients(gradients, d, 1e-8)
        assert_gradients(gradients_ref, d, 1e-8)
        if not weighted:
            continue  # of the network's own loss: test_gradient_check

        def own(parameters, net=net, y=y):
            net.set_parameters(parameters)
            return net.loss(case.X, y, sample_weight=w)

        assert_gradients(gradients, differences(own, case.parameters), 1e-8)


@lesser_are_slow
@pytest.mark.parametrize(("output", "loss", "n"), with_slow_ones(OUTPUTS))
def test_gradient_check(backend, dtype, output, loss, n):
    case = a_case(("tanh", "tanh"), output, loss, n)
    net = case.network(backend, dtype)
    before = net.parameters
    for y in case.targets:
        distance = net.gradient_check(case.X, y)
        assert isinstance(distance, float)
        assert distance < {"float32": 1e-5, "float64": 1e-7}[dtype.name]
    for pair, kept in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(pair[0], kept[0])
        np.testing.assert_array_equal(pair[1], kept[1])


def test_gradient_check_finds_a_wrong_gradient(backend, monkeypatch, rng):
    net = Network([3, 4, 2], ["tanh", "softmax"], dtype="float64", seed=1, backend=backend)
    X, y = rng.standard_normal((3, 5)), np.array([0, 1, 1, 0, 1])
    J, gradients = net.gradients(X, y)
    gradients[1] = (gradients[1][0] * 1.01, gradients[1][1])
    monkeypatch.setattr(fastnn.passes, "gradients", lambda engine, X, y, sample_weight, training: (J, gradients))
    assert net.gradient_check(X, y) > 1e-3


def test_gradient_check_of_many_parameters_takes_some_of_them(backend, rng, monkeypatch):
    net = Network([30, 100, 2], ["tanh", "softmax"], dtype="float64", seed=1, backend=backend)
    X, y = rng.standard_normal((30, 5)), np.array([0, 1, 1, 0, 1])
    losses, loss = [], Network.loss
    monkeypatch.setattr(Network, "loss", lambda self, *data: losses.append(0) or loss(self, *data))
    assert net.gradient_check(X, y) < 1e-7
    assert 1700 < len(losses) / 2 < 2300  # about 2000 of 3302, two sides each


def test_d12_gradients_do_not_depend_on_the_batch_size(backend, dtype):
    net = Network([1, 1], ["identity"], dtype=dtype, seed=0, backend=backend)
    net.set_parameters([([[0.5]], [0.0])])
    X, Y = np.array([[1.0, 2.0]]), np.array([[3.0, 1.0]])
    for times in (1, 4, 1000):
        _, [(dW, db)] = net.gradients(np.tile(X, times), np.tile(Y, times))
        assert dW == pytest.approx(-2.5, rel=1e-6)
        assert db == pytest.approx(-2.5, rel=1e-6)


@lesser_are_slow
@each("weighted", [False, True])
@each("of", OUTPUTS)
def test_d12_gradients_of_tiled_data(backend, dtype, of, weighted):
    output, loss, n = of
    case = a_case(("tanh", "tanh"), output, loss, n)
    net = case.network(backend, dtype)
    w, tiled_w = (case.w, 3 * np.tile(case.w, 4)) if weighted else (None, None)  # nor on the size of the weights
    for y in case.targets:
        J, gradients = net.gradients(case.X, y, sample_weight=w)
        J_tiled, tiled = net.gradients(np.tile(case.X, 4), np.tile(y, 4), sample_weight=tiled_w)
        assert pytest.approx(J, rel=1e-6) == J_tiled
        assert_gradients(tiled, gradients, 1e-6)
