"""Dropout: its masks, its arithmetic against a step by hand, and that it belongs to training alone."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import fastnn
import reference as ref
from case_helpers import bits, state_of
from conftest import COMPILED, lesser_are_slow
from fastnn import SGD, Adam, EarlyStopping, Network, _philox

RNG = np.random.default_rng(21)
M = 90
X, CODES = RNG.standard_normal((7, M)), RNG.integers(0, 3, M)
QUIET = {"progress": False, "batch_size": 32}
RATES = (0.3, 0.5)


def net_of(backend, activations=("relu", "tanh"), dtype="float64", dropout=RATES, sizes=(7, 33, 20, 3), **more):
    return Network(sizes, [*activations, "softmax"], seed=5, dtype=dtype, backend=backend, dropout=dropout, **more)


def rate_of(rate):
    return round(rate * 65536)


def test_each_unit_has_bits_of_its_own():
    """The words of Philox, by its function of one counter: 16 bits a unit, of 128 units the low halves first."""
    update, key = 5 + (9 << 32), (7, 3)
    for n in (21, 16, 100):
        kept = _philox.kept(rate_of(0.4), n, 5, seed=7 + (3 << 32), layer=2, update=update)
        for i, j in itertools.product(range(5), range(n)):
            block, unit = divmod(i * -(-n // 16) * 16 + j, 128)
            words = _philox.philox4x32((block * 16 + unit % 16, 0, 5, 4 | 2 << 8 | 9 << 20), key)
            bits_of_unit = int(words[unit // 16 % 4]) >> (16 * (unit // 64)) & 0xFFFF
            assert kept[j, i] == (bits_of_unit >= rate_of(0.4))


def test_the_share_that_is_kept():
    kept = _philox.kept(rate_of(0.3), 400, 400, 1, 0, 0)
    assert abs(kept.mean() - 0.7) < 5 * np.sqrt(0.21 / kept.size)
    for other in ((2, 0, 0), (1, 1, 0), (1, 0, 1)):  # another seed, layer or update: independent of it
        both = (kept & _philox.kept(rate_of(0.3), 400, 400, *other)).mean()
        assert abs(both - 0.49) < 5 * np.sqrt(0.25 / kept.size)
    assert (_philox.kept(rate_of(0.3), 400, 30, 1, 0, 0) == kept[:, :30]).all()


def step_by_hand(net, x, Y, lr, update):
    """One SGD step of a network with dropout, by the lecture's formulas in float64; the new parameters and the loss."""
    masks = []
    for layer, rate in enumerate(net.dropout):
        kept = _philox.kept(rate_of(rate), net.sizes[layer + 1], x.shape[1], net.seed, layer, update)
        masks.append(kept / (1 - rate_of(rate) / 65536))
    masks.append(np.ones((net.sizes[-1], x.shape[1])))
    A, layers = x, []
    for (W, b), g, mask in zip(net.parameters, net.activations, masks, strict=True):
        Z = W.astype(float) @ A + b
        layers.append((A, Z))
        A = ref.g(Z, g) * mask
    loss, dZ = -(Y * np.log(A)).sum(axis=0).mean(), A - Y
    new = []
    for layer in reversed(range(len(layers))):
        A_prev, _ = layers[layer]
        W, b = net.parameters[layer]
        new.append((W - lr * dZ @ A_prev.T / x.shape[1], b - lr * dZ.mean(axis=1, keepdims=True)))
        if layer:
            Z, dA, kind = layers[layer - 1][1], W.astype(float).T @ dZ * masks[layer - 1], net.activations[layer - 1]
            x = Z if ref.record(kind)[0].slope_from == "Z" else ref.g(Z, kind)
            dZ = ref.activation_backward(dA, x, kind)[0]
    return new[::-1], loss


@lesser_are_slow
@pytest.mark.parametrize("pair", list(itertools.pairwise([*ref.ALL_ACTIVATIONS, ref.ALL_ACTIVATIONS[0]])), ids=str)
def test_a_step_is_that_by_hand(backend, pair):
    for dtype, rtol in (("float32", 2e-5), ("float64", 1e-12)):
        net = net_of(backend, pair, dtype)
        Y = np.eye(3)[:, CODES]
        for update in range(3):
            wanted, loss = step_by_hand(net, X.astype(dtype).astype(float), Y, 0.1, update)
            assert net.train_step(X, CODES, SGD(lr=0.1)) == pytest.approx(loss, rel=rtol)
            for found, hand in zip(net.parameters, wanted, strict=True):
                for a, b in zip(found, hand, strict=True):
                    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.skipif(COMPILED is None, reason="no compiled backend here")
@pytest.mark.parametrize("sizes", [(7, 33, 20, 3), (7, 130, 300, 3)])
@pytest.mark.parametrize("pair", [("relu", "tanh"), ("softmax", "identity")])
def test_bits_depend_on_neither_threads_nor_the_way_of_the_update(dtype, sizes, pair):
    found = set()
    for threads, plain in itertools.product((1, 2, 3, 7), (False, True)):
        net = net_of("compiled", pair, dtype, sizes=sizes, threads=threads)
        net._engine.plain = plain
        history = net.fit(X, CODES, 3, optimizer=Adam(lr=0.01), **QUIET)
        found.add((bits(net), tuple(history.loss)))
    assert len(found) == 1


def test_it_belongs_to_training_alone(backend, dtype):
    net, plain = net_of(backend, dtype=dtype), net_of(backend, dtype=dtype, dropout=0.0)
    net.fit(X, CODES, 2, **QUIET)
    plain.set_parameters(net.parameters)
    assert (net.predict(X) == plain.predict(X)).all()
    assert (net.predictor()(X) == net.predict(X)).all()
    assert net.loss(X, CODES) == plain.loss(X, CODES)
    assert net.evaluate(X, CODES) == plain.evaluate(X, CODES)
    assert (net.forward(X) == plain.forward(X)).all()
    (loss, gradients), (wanted, plain_gradients) = net.gradients(X, CODES), plain.gradients(X, CODES)
    assert loss == wanted
    for pair, other in zip(gradients, plain_gradients, strict=True):
        assert all((a == b).all() for a, b in zip(pair, other, strict=True))
    few = {"dtype": dtype, "sizes": (7, 5, 6, 3)}  # weights: it takes two losses for each
    net, plain = net_of(backend, **few), net_of(backend, **few, dropout=0.0)
    assert bits(net) == bits(plain)
    assert net.gradient_check(X, CODES) == plain.gradient_check(X, CODES)


def test_a_rate_of_0_changes_nothing(backend, dtype):
    nets = [net_of(backend, dtype=dtype, dropout=rate) for rate in (0.0, [0.0, 0], 1e-6)]  # the last one rounds to 0
    nets.append(Network([7, 33, 20, 3], ["relu", "tanh", "softmax"], seed=5, dtype=dtype, backend=backend))
    for net in nets:
        net.fit(X, CODES, 2, **QUIET)
    assert len({bits(net) for net in nets}) == 1


def test_a_run_in_pieces_is_the_whole_run(backend, tmp_path):
    path = tmp_path / "net.npz"
    whole, net = net_of(backend), net_of(backend)
    whole.fit(X, CODES, 6, optimizer=Adam(), **QUIET)
    net.fit(X, CODES, 2, optimizer=Adam(), **QUIET)
    net.save(path, optimizer=True)
    net = fastnn.load(path, backend=backend)
    assert net.dropout == RATES
    net.fit(X, CODES, 1, **QUIET)
    net = pickle.loads(pickle.dumps(copy.deepcopy(net)))
    net.fit(X, CODES, 3, **QUIET)
    assert bits(net) == bits(whole)


def test_masks_do_not_come_again(backend):
    """Neither after new weights, nor a new optimizer state, nor early stopping, which goes back to older weights."""
    net = net_of(backend)
    start, seen = net.parameters, []
    for _ in range(3):
        net.set_parameters(start)
        net.reset_optimizer()
        seen.append(net.train_step(X, CODES, SGD(lr=0.1)))
    assert len(set(seen)) == 3
    stopping = EarlyStopping(monitor="loss", patience=1, min_delta=10)
    history = net.fit(X, CODES, 5, early_stopping=stopping, optimizer=SGD(lr=0.1), **QUIET)
    assert len(history.loss) == 2
    assert net._engine.updates() == 3 + 2 * 3


def test_what_fails_changes_no_mask(backend):
    net, twin = (net_of(backend, ("relu", "relu")) for _ in range(2))
    bad = X.copy()
    bad[0, 80] = np.nan
    before = state_of(net)
    with pytest.raises(ValueError, match="non-finite"):
        net.fit(bad, CODES, **QUIET)
    with pytest.raises(ValueError, match="non-finite"):
        net.train_step(bad, CODES)
    assert state_of(net) == before
    with pytest.raises(FloatingPointError):
        net.fit(X, CODES, 50, optimizer=SGD(lr=1e150), **QUIET)
    updates = net._engine.updates()
    for _ in range(-(-updates // 3)):
        try:
            twin.fit(X, CODES, 1, optimizer=SGD(lr=1e150), **QUIET)
        except FloatingPointError:
            break
    assert bits(net) == bits(twin)  # the last finite weights, by the same masks
    assert updates == twin._engine.updates()


def test_backends_train_alike(dtype):
    nets = [net_of(backend, dtype=dtype) for backend in ("numpy", *(["compiled"] if COMPILED else []))]
    losses = [net.fit(X, CODES, 5, optimizer=Adam(lr=0.01), **QUIET).loss for net in nets]
    for loss in losses:
        np.testing.assert_allclose(loss, losses[0], rtol=1e-5 if dtype == "float32" else 1e-12)


def test_it_is_a_read_only_property():
    net = net_of("auto")
    assert net.dropout == RATES
    assert net_of("auto", dropout=0.25).dropout == (0.25, 0.25)
    assert "dropout=[0.3, 0.5]" in repr(net)
    assert "dropout 0.3, 0.5" in net.summary()
    assert "dropout" not in repr(net_of("auto", dropout=0)) + net_of("auto", dropout=0).summary()
    with pytest.raises(AttributeError, match="dropout is a property"):
        net.dropout = 0.5


@pytest.mark.parametrize(
    ("dropout", "error", "words"),
    [
        (1.0, ValueError, "dropout must be a share below 1, got 1"),
        (-0.1, ValueError, "dropout must be finite and at least 0"),
        ([0.1, 1.5], ValueError, r"dropout\[1\] must be a share below 1"),
        ([0.1], ValueError, "dropout has 1 rates, wanted 2: one for each hidden layer"),
        ([0.1, 0.1, 0.0], ValueError, "dropout has 3 rates, wanted 2"),
        ("0.5", TypeError, "dropout must be a real number"),
        (True, TypeError, "dropout must be a real number"),
        (None, TypeError, "dropout must be a real number"),
    ],
)
def test_wrong_rates_are_refused(dropout, error, words):
    with pytest.raises(error, match=words):
        net_of("auto", dropout=dropout)


def test_a_network_without_hidden_layers_has_none():
    assert Network([4, 3], dropout=0.0).dropout == ()
    with pytest.raises(ValueError, match="hidden layers, and this network has none"):
        Network([4, 3], dropout=0.5)


def test_what_is_no_rate_is_refused():
    for wrong in ({0: 0.5}, {0.5, 0.1}, frozenset([0.5])):
        with pytest.raises(TypeError, match="dropout must be a rate, or a list"):
            Network([4, 3, 2, 2], dropout=wrong)
    assert Network([4, 3, 2], dropout=np.array(0.25)).dropout == (0.25,)


def test_no_warning_about_the_loss_before_a_fit_of_a_loaded_network(backend, recwarn):
    """The loss in training is another one than that before it, which is computed without masks."""
    net = net_of(backend, dropout=0.7)
    net.fit(X, CODES, 100, optimizer=Adam(1e-2), **QUIET)
    for norm in (None, "batch"):
        twin = net_of(backend, dropout=0.7, norm=norm)
        if norm is None:
            twin.set_parameters(net.parameters)
        twin.fit(X, CODES, 1, batch_size=1, progress=False, optimizer=SGD(0.0))
    assert not recwarn.list
