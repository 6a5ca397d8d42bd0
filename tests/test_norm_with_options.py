"""Layer and batch norm together with clipping, l1, decay_b, averages, frozen layers and diagnostics."""

import itertools

import numpy as np
import pytest

import reference as ref
from case_helpers import bits
from conftest import each_isa_slowly
from fastnn import SGD, Adam, Network

RNG = np.random.default_rng(66)
M = 60
X, CODES = RNG.standard_normal((8, M)), RNG.integers(0, 3, M)
SIZES, QUIET = (8, 40, 33, 20, 3), {"batch_size": 20, "progress": False}
EXTRAS = [
    {},
    {"clip_norm": 0.1},
    {"clip_value": 0.01, "clip_norm": 0.05, "l1": 0.01, "decay_b": False},
    {"average": 0.7, "clip_norm": 0.1},
]
TRAINABLE = [(True,) * 4, (False, True, True, True), (True, False, True, False)]
extras = pytest.mark.parametrize("settings", EXTRAS, ids=str)
frozen = pytest.mark.parametrize("trainable", TRAINABLE, ids=str)
NORM = ["batch", "layer", "batch"]


def net_of(backend, dtype="float64", norm=NORM, first="relu", sizes=SIZES, **more):
    return Network(
        sizes, [first, "tanh", "sigmoid", "softmax"], seed=5, dtype=dtype, norm=norm, backend=backend, **more
    )


def all_of(net):
    statistics = [T.tobytes() for pair in net.running_statistics if pair for T in pair]
    return bits(net), b"".join(statistics)


def mended(gradients, parameters, clip_norm=None, clip_value=np.inf, l1=0.0, **rest):
    clipped = [[np.clip(g.astype(float), -clip_value, clip_value) for g in layer] for layer in gradients]
    if clip_norm:
        norm = np.sqrt(sum(np.square(g).sum() for layer in clipped for g in layer))
        clipped = [[g * min(1, clip_norm / (norm + 1e-6)) for g in layer] for layer in clipped]
    for layer, (W, *_) in zip(clipped, parameters, strict=True):
        layer[0] = layer[0] + l1 * np.sign(W)
    return clipped


@extras
@frozen
def test_steps_are_those_of_the_formulas(backend, dtype, settings, trainable):
    net, optimizer = net_of(backend, dtype, dropout=0.2), SGD(0.1, weight_decay=0.1, **settings)
    net.trainable = trainable
    trained = [i for i, trains in enumerate(trainable) if trains]
    averages = [[T.astype(float) for T in layer] for layer in net.parameters]
    for _ in range(3):
        before, statistics = net.parameters, net.running_statistics
        _, gradients = net.gradients(X, CODES, training=True)
        clipped = mended([gradients[i] for i in trained], [before[i] for i in trained], **settings)
        net.train_step(X, CODES, optimizer)
        for i, layer in zip(trained, clipped, strict=True):
            for j, g in enumerate(layer):
                decay = 0.0 if j and not optimizer.decay_b else 0.1
                want = before[i][j] - 0.1 * (g + decay * before[i][j])
                np.testing.assert_allclose(net.parameters[i][j], want, rtol=0, atol=20 * ref.BOUND[dtype])
        for i, trains in enumerate(trainable):
            if not trains:
                assert all((a == b).all() for a, b in zip(net.parameters[i], before[i], strict=True))
            if statistics[i]:
                pairs = zip(net.running_statistics[i], statistics[i], strict=True)
                assert all((a == b).all() != trains for a, b in pairs)
        for i, j in itertools.chain.from_iterable(((i, j) for j in range(len(before[i]))) for i in range(4)):
            averages[i][j] = optimizer.average * averages[i][j] + (1 - optimizer.average) * net.parameters[i][j]
    if optimizer.average:
        for layer, wanted in zip(net.averaged().parameters, averages, strict=True):
            for T, want in zip(layer, wanted, strict=True):
                np.testing.assert_allclose(T, want, rtol=0, atol=20 * ref.BOUND[dtype])
        assert all_of(net.averaged())[1] == all_of(net)[1]


@extras
@frozen
@each_isa_slowly
def test_the_same_bits_at_any_number_of_threads(dtype, isa, settings, trainable):
    found = set()
    for threads in (1, 2, 4):
        net = net_of("compiled", dtype, threads=threads, dropout=0.2)
        net.trainable = trainable
        net.fit(X, CODES, 2, optimizer=Adam(1e-2, **settings), **QUIET)
        net.train_step(X, CODES)
        found.add((all_of(net), all_of(net.averaged()) if net.__getstate__()["optimizer"].average else None))
    assert len(found) == 1


@pytest.mark.parametrize("norm", [None, "layer", "batch"])
def test_a_batch_that_is_done_in_parts(dtype, isa, norm):
    """The rows of such a batch go through the layers 32 or 64 at a time; where these begin depends on the threads."""
    rng, found = np.random.default_rng(3), set()
    x, codes = rng.standard_normal((7, 450)).astype(dtype), rng.integers(0, 3, 450)
    for threads in (1, 2, 3):
        nets = [
            Network([7, 100, 40, 3], ["relu", "tanh", "softmax"], seed=5, dtype=dtype, norm=norm, dropout=0.2, **more)
            for more in ({"backend": "compiled", "threads": threads}, {"backend": "numpy"})
        ]
        results = [net.gradients(x, codes, training=True) for net in nets]
        near = {"rtol": 2e-4, "atol": 2e-6} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-13}
        made, wanted = (list(itertools.chain(*gradients)) for _, gradients in results)
        for T, of_numpy in zip(made, wanted, strict=True):
            np.testing.assert_allclose(T, of_numpy, **near)
        nets[0].fit(x, codes, 2, batch_size=225, optimizer=Adam(1e-2), progress=False)
        found.add((all_of(nets[0]), *(T.tobytes() for T in made)))
    assert len(found) == 1


@frozen
def test_gradients_in_training_mode_are_derivatives(backend, trainable):
    net = net_of(backend, dropout=0.2, first="tanh", sizes=(8, 5, 6, 4, 3))  # relu has a kink
    net.fit(X, CODES, 1, **QUIET)  # running statistics that are not those of the batch
    net.trainable = trainable
    assert net.gradient_check(X[:, :7], CODES[:7], training=True) < 1e-6


def test_a_frozen_layer_uses_its_own_statistics(backend):
    """With all hidden layers frozen, training mode is evaluation mode."""
    net = net_of(backend)
    net.fit(X, CODES, 1, **QUIET)
    assert abs(net.gradients(X, CODES, training=True)[0] - net.loss(X, CODES)) > 1e-4
    net.trainable = [False, False, False, True]
    assert abs(net.gradients(X, CODES, training=True)[0] - net.loss(X, CODES)) < 1e-12
    loss = net.loss(X, CODES)
    assert abs(net.train_step(X, CODES) - loss) < 1e-12


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_diagnostics_of_layers_with_a_norm(backend, norm):
    net, twin = net_of(backend, norm=norm), net_of(backend, norm=norm)
    history = net.fit(X, CODES, 1, batch_size=None, shuffle=False, progress=False, diagnostics=True, optimizer=SGD(0.1))
    _, gradients = twin.gradients(X, CODES, training=True)
    for got, layer in zip(history.diagnostics["gradient_norm"][0], gradients, strict=True):
        np.testing.assert_allclose(got, np.sqrt(sum(np.square(g).sum() for g in layer)), rtol=1e-9)
    twin.train_step(X, CODES, SGD(0.1))
    assert all_of(net) == all_of(twin)


@pytest.mark.parametrize("m", [3, 40, 200, 1000])
def test_what_is_constant_is_normalised_to_0(backend, dtype, m):
    """A rounding of the mean would be divided by sqrt(eps): a constant unit would look like noise."""
    rng = np.random.default_rng(4)
    for c in rng.uniform(1e2, 1e6, 20):
        for norm, n in (("batch", 1), ("layer", 5), ("layer", 39)):
            net = Network([1, n, 1], ["identity"] * 2, seed=0, norm=norm, dtype=dtype, backend=backend)
            (W, *_), last = net.parameters
            net.set_parameters([(W * 0, np.full(n, c), np.ones(n), np.zeros(n)), last])
            loss, _ = net.gradients(np.ones((1, m)), np.zeros(m), training=True)
            assert loss == 0 if dtype == np.float32 else loss < 1e-12


def test_layer_norm_of_numbers_whose_squares_overflow(backend):
    net = Network([5, 16, 3], ["tanh", "softmax"], seed=0, norm="layer", backend=backend)
    x = np.random.default_rng(5).standard_normal((5, 7)).astype("f4")
    wanted = net.predict(x * np.float32(1e9))
    for scale in (1.5e19, 1e25, 1e30, 1e36):
        np.testing.assert_allclose(net.predict(x * np.float32(scale)), wanted, rtol=1e-4)
    net = Network([1, 1, 2], ["relu", "softmax"], norm="layer", seed=1, backend=backend)
    net.train_step(np.full((1, 4), 2e36, "f4"), [0, 1, 0, 1], SGD(0.1))
