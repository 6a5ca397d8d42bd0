"""clip_norm, clip_value, l1, decay_b, average and frozen layers: against steps by the formulas, and their state."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import fastnn
import reference as ref
from case_helpers import bits, state_of
from conftest import each_isa_slowly, lesser_are_slow
from fastnn import SGD, Adam, AdamW, Network, kernels

RNG = np.random.default_rng(33)
M = 70
X, CODES = RNG.standard_normal((9, M)), RNG.integers(0, 3, M)
WEIGHTS = RNG.random(M) + 0.1
QUIET = {"progress": False, "batch_size": 32}
# Layers that are turned and layers that are not, widths that need padding, and weights of many blocks of squares.
SIZES = (9, 40, 33, 64, 3)
EXTRAS = [
    {"clip_norm": 0.1},
    {"clip_norm": 1e6},
    {"clip_value": 0.01},
    {"clip_value": 0.004, "clip_norm": 0.05},
    {"l1": 0.02},
    {"decay_b": False},
    {"clip_norm": 0.1, "l1": 0.02, "decay_b": False},
    {"clip_value": 0.01, "l1": 0.003},
    {"average": 0.9},
    {"average": 0.6, "clip_norm": 0.2},
]
each = pytest.mark.parametrize("extras", EXTRAS, ids=str)


def net_of(backend, dtype="float64", sizes=SIZES, **more):
    return Network(sizes, seed=5, dtype=dtype, backend=backend, init="he", **more)


def mended(gradients, parameters, clip_norm=None, clip_value=None, l1=0.0):
    """The gradients after clip_value, clip_norm and l1, in this order."""
    flat = [g.astype(float) for pair in gradients for g in pair]
    if clip_value:
        flat = [np.minimum(np.maximum(g, -clip_value), clip_value) for g in flat]
    if clip_norm:
        norm = np.linalg.norm(np.concatenate([g.ravel() for g in flat]))
        flat = [g * min(1, clip_norm / (norm + 1e-6)) for g in flat]
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return [(dW + l1 * np.sign(W), db) for (dW, db), (W, _) in zip(pairs, parameters, strict=True)]


@lesser_are_slow
@each
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_steps_are_those_of_the_formulas(backend, dtype, kind, extras):
    settings = {"lr": 0.01, "weight_decay": 0.1}
    net, optimizer = net_of(backend, dtype), getattr(fastnn, kind)(**settings, **extras)
    kept = [[T.astype(float) for T in pair] for pair in net.parameters]
    rules = [[ref.Optimizer(kind, **settings), ref.Optimizer(kind, **settings)] for _ in kept]
    if not optimizer.decay_b:
        rules = [[W, ref.Optimizer(kind, lr=0.01, weight_decay=0.0)] for W, _ in rules]
    for _ in range(4):
        before = net.parameters
        _, gradients = net.gradients(X, CODES, WEIGHTS)
        clipped = mended(gradients, before, optimizer.clip_norm, optimizer.clip_value, optimizer.l1)
        net.train_step(X, CODES, optimizer, sample_weight=WEIGHTS)
        for i, pair in enumerate(net.parameters):
            for j, T in enumerate(pair):
                want = rules[i][j].step(before[i][j], clipped[i][j])
                np.testing.assert_allclose(T, want, rtol=0, atol=ref.BOUND[np.dtype(dtype)] * 50)
                kept[i][j] = optimizer.average * kept[i][j] + (1 - optimizer.average) * T
    if optimizer.average:
        got = net.averaged().parameters
        for i, j in itertools.product(range(len(kept)), range(2)):
            np.testing.assert_allclose(got[i][j], kept[i][j], rtol=0, atol=ref.BOUND[np.dtype(dtype)] * 50)


@each
def test_both_backends_train_alike(dtype, extras, isa):
    nets = []
    for backend in ("numpy", "compiled"):
        net = net_of(backend, dtype)
        net.fit(X, CODES, 3, optimizer=Adam(1e-3, weight_decay=0.1, **extras), sample_weight=WEIGHTS, **QUIET)
        nets.append(net)
    bound = 1e-4 if dtype == np.float32 else 1e-10
    for pairs in zip(*(net.parameters for net in nets), strict=True):
        for Ts in zip(*pairs, strict=True):
            np.testing.assert_allclose(Ts[0], Ts[-1], rtol=0, atol=bound)


@each
@each_isa_slowly
def test_the_same_bits_at_any_number_of_threads(dtype, extras, isa):
    nets = []
    for threads in (1, 2, 3, 5):
        net = net_of("compiled", dtype, threads=threads)
        net.fit(X, CODES, 2, optimizer=AdamW(1e-3, **extras), **QUIET)
        net.train_step(X, CODES)
        nets.append(net)
    assert len({bits(net) for net in nets}) == 1
    if extras.get("average"):
        assert len({bits(net.averaged()) for net in nets}) == 1


@each
def test_a_run_that_is_saved_and_loaded_goes_on(backend, tmp_path, extras):
    def optimizer():
        return SGD(0.05, weight_decay=0.1, **extras)

    whole, parts = net_of(backend, "float32"), net_of(backend, "float32")
    whole.fit(X, CODES, 4, optimizer=optimizer(), **QUIET)
    parts.fit(X, CODES, 2, optimizer=optimizer(), **QUIET)
    parts.save(tmp_path / "net.npz", optimizer=True)
    others = [
        fastnn.load(tmp_path / "net.npz", backend),
        pickle.loads(pickle.dumps(parts)),
        copy.deepcopy(parts),
        copy.copy(parts),
    ]
    for net in others:
        net.fit(X, CODES, 2, **QUIET)
        assert bits(net) == bits(whole)
        if extras.get("average"):
            assert bits(net.averaged()) == bits(whole.averaged())


def test_clipping_may_change_and_the_state_goes_on(backend):
    net, adam = net_of(backend), Adam(1e-3)
    net.train_step(X, CODES, adam)
    for change in ({"clip_norm": 0.1}, {"clip_value": 0.1}, {"l1": 0.1}, {"decay_b": False}, {"clip_norm": None}):
        for name, value in change.items():
            setattr(adam, name, value)
        net.train_step(X, CODES, adam)
    assert net.__getstate__()["optimizer_state"]["steps"] == 6
    adam.average = 0.5
    net.train_step(X, CODES, adam)
    assert net.__getstate__()["optimizer_state"]["steps"] == 1


def test_an_average_begins_with_the_weights_at_the_states_start(backend):
    net = net_of(backend)
    net.fit(X, CODES, 2, **QUIET)
    start = net.parameters
    net.train_step(X, CODES, SGD(0.1, average=0.75))
    for pairs in zip(start, net.parameters, net.averaged().parameters, strict=True):
        for before, after, average in zip(*pairs, strict=True):
            np.testing.assert_allclose(average, 0.75 * before + 0.25 * after, rtol=0, atol=1e-14)
    net.reset_optimizer()
    with pytest.raises(ValueError, match=r"no average is kept.*Adam\(average=0.99\)"):
        net.averaged()


def test_validation_uses_the_raw_weights(backend):
    net = net_of(backend)
    history = net.fit(X, CODES, 2, optimizer=SGD(0.5, average=0.99), validation_data=(X, CODES), **QUIET)
    assert history.val_loss[-1] == net.loss(X, CODES) != net.averaged().loss(X, CODES)


def test_a_divergence_restores_the_average(backend):
    net, optimizer = net_of(backend, "float32"), SGD(0.1, average=0.9)
    net.fit(X, CODES, 1, optimizer=optimizer, **QUIET)
    before, average = state_of(net), bits(net.averaged())
    with pytest.raises(ValueError, match="X has 9 non-finite"):
        net.fit(np.where(np.arange(M) == 50, np.nan, X), CODES, 2, optimizer=optimizer, **QUIET)
    assert state_of(net) == before
    assert bits(net.averaged()) == average


# --- frozen layers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainable", [t for t in itertools.product([True, False], repeat=4) if any(t)], ids=str)
@pytest.mark.parametrize("extras", [{}, {"clip_norm": 0.05}, {"average": 0.5}], ids=str)
def test_a_frozen_layer_keeps_its_bits(backend, trainable, extras):
    net = net_of(backend, "float32")
    adam = Adam(1e-3, weight_decay=0.1, **extras)
    net.fit(X, CODES, 1, optimizer=adam, **QUIET)
    net.trainable = trainable
    assert net.trainable == trainable
    before, moments = net.parameters, net.__getstate__()["optimizer_state"]["moments"]
    net.fit(X, CODES, 1, optimizer=adam, **QUIET)
    net.train_step(X, CODES, adam)
    for slot, slot_before in zip(net.__getstate__()["optimizer_state"]["moments"], moments, strict=True):
        for trains, now, then in zip(trainable, slot, slot_before, strict=True):
            assert trains != all((a == b).all() for a, b in zip(now, then, strict=True))
    for trains, now, then in zip(trainable, net.parameters, before, strict=True):
        assert [trains, trains] != [bool((a == b).all()) for a, b in zip(now, then, strict=True)]


@pytest.mark.parametrize(
    "trainable", [(False, True, True, False), (False, False, False, True), (True, False, True, True)]
)
def test_steps_with_frozen_layers(backend, dtype, trainable):
    """The others move as in a network of which all gradients are computed; the norm is of theirs alone."""
    net, optimizer = net_of(backend, dtype), SGD(0.1, clip_norm=0.05, weight_decay=0.1)
    net.trainable = list(trainable)
    for _ in range(3):
        before = net.parameters
        _, gradients = net.gradients(X, CODES)
        trained = [i for i, each in enumerate(trainable) if each]
        clipped = mended([gradients[i] for i in trained], [before[i] for i in trained], clip_norm=0.05)
        net.train_step(X, CODES, optimizer)
        for i, pair in zip(trained, clipped, strict=True):
            for T, old, g in zip(net.parameters[i], before[i], pair, strict=True):
                np.testing.assert_allclose(T, old - 0.1 * (g + 0.1 * old), rtol=0, atol=ref.BOUND[np.dtype(dtype)] * 20)


def test_the_bits_of_frozen_layers_at_any_number_of_threads(dtype, isa):
    nets = []
    for threads in (1, 2, 4):
        net = net_of("compiled", dtype, threads=threads, dropout=0.2)
        net.train_step(X, CODES)
        net.trainable = [False, True, False, True]  # after a plan was made
        net.fit(X, CODES, 2, **QUIET)
        nets.append(net)
    assert len({bits(net) for net in nets}) == 1


def test_trainable_is_in_files_pickles_and_copies(backend, tmp_path):
    net = net_of(backend)
    net.trainable = np.array([True, False, True, False])
    net.save(tmp_path / "net.npz")
    for twin in (fastnn.load(tmp_path / "net.npz", backend), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert twin.trainable == (True, False, True, False)
        twin.fit(X, CODES, 1, **QUIET)
        assert (twin.parameters[1][0] == net.parameters[1][0]).all()


def test_wrong_values_of_trainable(backend):
    net = net_of(backend)
    for value, words in [
        (False, r"a bool for each layer, got False: write \[False, False, False, False\]"),
        ([True], "has 1 entries, wanted 4"),
        ([1, 0, 1, 1], r"trainable\[0\] must be True or False, got 1"),
        (None, "a bool for each layer, got None"),
    ]:
        with pytest.raises((TypeError, ValueError), match=words):
            net.trainable = value
    assert net.trainable == (True,) * 4
    net.trainable = [False] * 4
    for train in (lambda: net.fit(X, CODES, **QUIET), lambda: net.train_step(X, CODES)):
        with pytest.raises(ValueError, match="trainable is False for all layers"):
            train()
    assert net.epochs_done == 0
    assert np.isfinite(net.loss(X, CODES))


def test_a_callback_may_freeze(backend):
    net = net_of(backend)
    seen = []

    def freeze(epoch, history):
        seen.append(net.parameters[0][0])
        net.trainable = [False, True, True, True]

    net.fit(X, CODES, 3, callbacks=freeze, **QUIET)
    assert (seen[0] == seen[1]).all()
    assert (seen[0] == net.parameters[0][0]).all()


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_that_are_wrong():
    for settings, words in [
        ({"clip_norm": 0}, "clip_norm must be more than 0 .*, or None"),
        ({"clip_norm": -1}, "clip_norm must be more than 0 .*, or None"),
        ({"clip_value": 1e-310}, "clip_value must be more than 0 .at least 2.2e-308., or None"),
        ({"average": 1e-310}, "average must be 0, or at least 2.2e-308"),
        ({"clip_value": float("inf")}, "clip_value must be finite"),
        ({"clip_value": "1"}, "clip_value must be a real number"),
        ({"l1": -0.1}, "l1 must be finite and at least 0"),
        ({"decay_b": 0}, "decay_b must be True or False, got 0"),
        ({"average": 1}, "average must be at least 0 and less than 1"),
    ]:
        for optimizer in fastnn.optimizers.OPTIMIZERS:
            with pytest.raises((TypeError, ValueError), match=words):
                optimizer(**settings)
            made = optimizer()
            with pytest.raises((TypeError, ValueError), match=words):
                setattr(made, *next(iter(settings.items())))
            assert repr(made) == repr(optimizer())


def test_settings_show_in_repr_and_come_back():
    adam = Adam(clip_norm=1, l1=0.5, average=0.9)
    assert repr(adam).endswith("weight_decay=0.0, clip_norm=1.0, l1=0.5, average=0.9)")
    assert repr(pickle.loads(pickle.dumps(adam))) == repr(copy.copy(adam)) == repr(adam)
    assert (adam.clip_value, adam.decay_b) == (None, True)
    adam.clip_norm, adam.l1 = None, 0
    assert repr(adam) == "Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, average=0.9)"


def test_kernels_clip_by_value_and_refuse_what_needs_more(backend):
    W, dW = np.ones((2, 3)), np.array([[1.0, -5.0, 0.1], [0.0, 2.0, -0.3]])
    (new,) = kernels.optimizer_update(SGD(1.0, clip_value=0.5), W, dW)
    np.testing.assert_allclose(new, W - np.clip(dW, -0.5, 0.5), rtol=0, atol=1e-15)
    for settings in ({"clip_norm": 1}, {"l1": 0.1}, {"decay_b": False}, {"average": 0.5}):
        with pytest.raises(ValueError, match=f"optimizer has {next(iter(settings))}="):
            kernels.optimizer_update(SGD(**settings), W, dW, out=(W,))


def test_large_gradients_are_clipped_before_they_overflow(backend):
    """float32 squares of 1e25 overflow, the norm does not."""
    net = Network([3, 2], ["identity"], dtype="float32", backend=backend, init="zeros", seed=0)
    x, Y = np.full((3, 4), 1e10, "f4"), np.full((2, 4), 1e15, "f4")
    net.train_step(x, Y, SGD(1.0, clip_norm=1.0))
    norm = np.sqrt(sum(np.square(T, dtype=float).sum() for pair in net.parameters for T in pair))
    assert abs(norm - 1) < 1e-5


def test_files_of_format_2(tmp_path):
    """Format 1 where release 0.1 trains on in the same way; else 2, which it refuses."""

    def format_of(net, optimizer=True):
        net.save(tmp_path / "net.npz", optimizer=optimizer)
        return fastnn.files.load(tmp_path / "net.npz")[0]["format"]

    def trained(optimizer, **settings):
        net = Network([2, 3, 2], **settings, seed=0)
        net.train_step(X[:2], CODES % 2, optimizer)
        return net

    for optimizer in (SGD(), SGD(momentum=0.9), Adam(), AdamW()):
        assert format_of(trained(optimizer)) == 1
    for optimizer in (SGD(clip_norm=1), Adam(l1=0.1), AdamW(decay_b=False), Adam(average=0.9), fastnn.RMSprop()):
        assert format_of(trained(optimizer)) == 2
        assert format_of(trained(optimizer), False) == 1
    for settings in (
        {"dropout": 0.5},
        {"loss": ("cross_entropy", {"label_smoothing": 0.1})},
        {"activations": ["leaky_relu", "softmax"]},
        {"loss": "mae"},
    ):
        assert format_of(trained(SGD(), **settings), False) == 2
    frozen = trained(SGD())
    frozen.trainable = [False, True]
    assert format_of(frozen, False) == 2


def test_a_limit_that_float32_does_not_hold_is_refused(backend):
    net, optimizer = net_of(backend, "float32"), SGD(0.1)
    net.train_step(X, CODES, optimizer)
    for name in ("clip_norm", "clip_value", "l1"):
        setattr(optimizer, name, 1e39)
        with pytest.raises(ValueError, match=f"{name}=1e.39 is infinite in float32"):
            net.train_step(X, CODES, optimizer)
        setattr(optimizer, name, 0 if name == "l1" else None)


def test_an_average_without_a_step_is_none(backend):
    net = net_of(backend)
    net.fit(X, CODES, 0, optimizer=SGD(average=0.9), **QUIET)
    for twin in (net, copy.deepcopy(net)):
        with pytest.raises(ValueError, match="no average is kept"):
            twin.averaged()


def test_each_optimizer_documents_all_settings():
    for optimizer in fastnn.optimizers.OPTIMIZERS:
        for name in ("clip_norm", "clip_value", "l1", "decay_b", "average"):
            assert f"\n    {name} : " in optimizer.__doc__
        assert "|" not in optimizer.__doc__
