"""A loss of the user's own: Network(loss=f), train_step(loss=f), load(loss=f)."""

import copy
import functools
import itertools
import pickle
import threading

import numpy as np
import pytest

import fastnn
from case_helpers import assert_refused, bits, state_of, weights_unchanged
from conftest import BACKENDS, COMPILED, alone
from fastnn import SGD, Adam, Network, schedules

VARIANTS = BACKENDS
RNG = np.random.default_rng(31)
M = 90
X, Y = RNG.standard_normal((5, M)), RNG.standard_normal((3, M))
SIZES = (5, 12, 9, 3)
QUIET = {"progress": False, "batch_size": 32}


def mse(A, y):
    """The loss that we have, too."""
    return ((A - y) ** 2).sum(axis=0), 2 * (A - y)


class Asymmetric:
    """A loss that can be pickled; it counts its calls."""

    def __init__(self, share=0.25):
        self.share, self.calls = share, 0

    def __call__(self, A, y):
        self.calls += 1
        w = np.where(y < A, self.share, 1 - self.share)
        return (w * (A - y) ** 2).sum(axis=0), 2 * w * (A - y)


def nets(backend, loss=mse, dtype="float64", **more):
    """The same network with a loss of one's own, and with ours."""
    how = {"activations": ["tanh", "gelu", "tanh"], "dtype": dtype, "seed": 3, "backend": backend}
    return Network(SIZES, loss=loss, **how | more), Network(SIZES, loss="mse", **how | more)


def assert_near(one, other, rtol=1e-11):
    np.testing.assert_allclose(one.flat_parameters, other.flat_parameters, rtol=rtol, atol=rtol)


OPTIONS = [
    {},
    {"norm": "batch"},
    {"norm": "layer", "dropout": 0.3},
    {"dropout": (0.2, 0.4), "norm": ("batch", None)},
]
# The derivative of softmax is one of whole columns: it needs the masks again, after the loss.
OF_WHOLE_COLUMNS = {"dropout": (0.2, 0.4), "activations": ["softmax", "softmax", "tanh"]}
OPTIMIZERS = [
    SGD(lr=0.05),
    Adam(lr=0.01, clip_norm=0.5, average=0.9),
    SGD(lr=0.05, momentum=0.9, clip_value=0.1, l1=1e-4),
    SGD(lr=schedules.Exponential(0.1, 0.9)),
    SGD(lr=schedules.Step(0.1, every=3, factor=0.5, per="step")),
    SGD(lr=lambda t: 0.1 / (1 + t)),
]


@pytest.mark.parametrize("more", [*OPTIONS, OF_WHOLE_COLUMNS], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=[str(i) for i in range(len(OPTIMIZERS))])
def test_fit_is_that_with_our_loss(backend, more, optimizer):
    own, ours = nets(backend, **more)
    w = RNG.random(M)
    w[:5] = 0
    for how in ({}, {"sample_weight": w}, {"shuffle": False, "samples": np.arange(7, 80)}, {"validation_split": 0.2}):
        found = [net.fit(X, Y, 3, optimizer=optimizer, **QUIET, **how) for net in (own, ours)]
        for name in ("loss", "val_loss", "lr"):
            np.testing.assert_allclose(*(getattr(history, name) for history in found), rtol=1e-9)
        assert_near(own, ours, 1e-9)
    assert own.loss_name == "custom"
    assert own.epochs_done == ours.epochs_done == 12
    for a, b in zip(own.running_statistics, ours.running_statistics, strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax", "relu", "silu", ("leaky_relu", {"slope": 0.2})])
def test_any_output_activation(backend, output, dtype):
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    own, ours = nets(backend, dtype=dtype, activations=["tanh", "tanh", output])
    for i in range(4):
        J = [net.train_step(X[:, i:], Y[:, i:], SGD(lr=0.1)) for net in (own, ours)]
        np.testing.assert_allclose(*J, rtol=tolerance)
    assert_near(own, ours, tolerance)


def test_loss_evaluate_and_gradients(backend):
    for more in OPTIONS:
        own, ours = nets(backend, **more)
        w = RNG.random(M)
        for net in (own, ours):
            net.fit(X, Y, 1, **QUIET)
        for weights in (None, w):
            np.testing.assert_allclose(own.loss(X, Y, weights), ours.loss(X, Y, weights), rtol=1e-10)
            assert own.evaluate(X, Y, weights) == {"loss": own.loss(X, Y, weights)}
            for training in (False, True):
                (J, found), (J_ours, wanted) = (net.gradients(X, Y, weights, training=training) for net in (own, ours))
                np.testing.assert_allclose(J, J_ours, rtol=1e-10)
                for layer, others in zip(found, wanted, strict=True):
                    for T, U in zip(layer, others, strict=True):
                        np.testing.assert_allclose(T, U, rtol=1e-8, atol=1e-12)
        assert own.gradient_check(X[:, :8], Y[:, :8]) < 1e-7


def test_step_with_a_loss_of_its_own(backend):
    own, ours = nets(backend)
    loss = Asymmetric(0.1)
    for i in range(3):
        one = own.train_step(X, Y, SGD(lr=0.1), loss)
        other = ours.train_step(X, Y, SGD(lr=0.1), loss=loss)
        assert one == other
        assert_near(own, ours, 1e-14)
        assert loss.calls == 2 * (i + 1)
    assert ours.loss_name == "mse"
    weighted = own.train_step(X, Y, loss=mse, sample_weight=np.arange(M))
    np.testing.assert_allclose(weighted, ours.loss(X, Y, np.arange(M)), rtol=1e-12)


def test_the_loss_gets_y_as_it_was_given(backend):
    """Strings, (m,) of any dtype, (k, m): cut to the batch; A is the batch's."""
    seen = []

    def loss(A, y):
        seen.append((A.shape, y.copy()))
        return (A**2).sum(axis=0), 2 * A

    net = Network(SIZES, loss=loss, seed=0, backend=backend)
    for y in (np.array([f"s{i}" for i in range(M)]), np.arange(M), RNG.random((7, M)), RNG.random(M) > 0.5):
        seen.clear()
        net.fit(X, y, 1, shuffle=False, **QUIET)
        assert [shape for shape, _ in seen] == [(3, 32), (3, 32), (3, 26)]
        for i, (_, part) in enumerate(seen):
            assert part.dtype == y.dtype
            np.testing.assert_array_equal(part, y[..., 32 * i : 32 * i + 32])
        seen.clear()
        net.fit(X, y, 1, samples=[5, 3, 80], shuffle=False, **QUIET)
        np.testing.assert_array_equal(seen[0][1], y[..., [5, 3, 80]])
        net.train_step(X, y)
        np.testing.assert_array_equal(seen[-1][1], y)
        net.fit(X, y, 1, validation_split=0.2, metrics=[lambda y, A: len(y)], early_stopping=3, **QUIET)
    net.train_step(X, list(range(M)))


def test_default_output_is_identity():
    assert Network(SIZES, loss=mse).activations == ("relu", "relu", "identity")


def test_interrupted_runs_go_on(backend):
    whole, parts = (nets(backend, norm="batch", dropout=0.2)[0] for _ in range(2))
    optimizer = Adam(lr=schedules.Cosine(0.01, length=6))
    whole.fit(X, Y, 6, optimizer=optimizer, **QUIET)
    for _ in range(3):
        parts.fit(X, Y, 2, optimizer=optimizer, **QUIET)
    assert state_of(whole) == state_of(parts)


def test_an_exception_changes_nothing_of_its_batch(backend):
    class StopError(Exception):
        pass

    def failing(after):
        calls = itertools.count()

        def loss(A, y):
            if next(calls) == after:
                raise StopError
            return mse(A, y)

        return loss

    for after in (0, 1, 4):
        net, twin = (
            Network(SIZES, loss=failing(after), seed=1, backend=backend),
            Network(SIZES, loss=mse, seed=1, backend=backend),
        )
        with pytest.raises(StopError) as caught:
            net.fit(X, Y, 3, optimizer=Adam(), **QUIET)
        assert caught.value.history.loss == twin.fit(X, Y, after // 3, optimizer=Adam(), **QUIET).loss
        optimizer = twin._trainable.optimizer if after else None
        order = twin._backend.permutation(M, twin.seed, after // 3)
        for i in range(after % 3):
            places = order[32 * i : 32 * i + 32]
            twin.train_step(X[:, places], Y[:, places], optimizer if i or after > 2 else (optimizer := Adam()))
        np.testing.assert_array_equal(net.flat_parameters, twin.flat_parameters)
        before = state_of(net)
        with pytest.raises(StopError):
            net.train_step(X, Y, Adam(lr=1), loss=failing(0))
        assert state_of(net) == before


RETURNS = {
    "losses of another shape": (lambda A, y: (((A - y) ** 2).sum(0, keepdims=True), A), "losses", "(1, 90)"),
    "a mean": (lambda A, y: (((A - y) ** 2).mean(), A), "losses", "()"),
    "dA of another shape": (lambda A, y: (((A - y) ** 2).sum(0), A[0]), "dA", "(90,)"),
    "one thing": (lambda A, y: ((A - y) ** 2).sum(0), "loss", "(losses, dA)"),
    "nothing": (lambda A, y: None, "loss", "None"),
    "three things": (lambda A, y: (1, 2, 3), "loss", "3 objects"),
    "strings": (lambda A, y: (["a"] * 90, A), "losses", "strings"),
    "complex numbers": (lambda A, y: (((A - y) ** 2).sum(0), A * 1j), "dA has dtype complex128", "write dA.real"),
    "complex losses": (lambda A, y: (A[0] * 1j, A), "losses has dtype complex128", "write losses.real"),
    "a complex number": (lambda A, y: ([1j] * 90, A), "losses has dtype complex128", "real numbers are needed"),
    "missing losses": (lambda A, y: ([None] * 90, A), "losses has 90 missing values", "first at column 0"),
    "NaN in losses": (lambda A, y: (np.where(np.arange(90) == 7, np.nan, 1.0), A), "losses", "column 7"),
    "inf in dA": (lambda A, y: (np.zeros(90), np.where(np.arange(90) == 7, np.inf, A)), "dA", "column 7"),
}


@pytest.mark.parametrize("what", RETURNS)
def test_what_a_loss_returns_is_checked(backend, what):
    loss, name, piece = RETURNS[what]
    net = nets(backend, loss=loss)[0]
    before = state_of(net)
    for call in (
        lambda: net.train_step(X, Y),
        lambda: net.fit(X, Y, 1, batch_size=None, shuffle=False, progress=False),
        lambda: net.loss(X, Y),
        lambda: net.gradients(X, Y),
    ):
        with pytest.raises((TypeError, ValueError), match="loss returned") as caught:
            call()
        assert name in str(caught.value)
        assert piece in str(caught.value)
        assert state_of(net) == before


def test_what_a_loss_may_return(backend):
    """Lists, float32, integers, any layout, read-only arrays."""
    wanted = None
    for convert in (np.array, np.asfortranarray, lambda T: T.tolist(), lambda T: np.repeat(T, 2, axis=-1)[..., ::2]):
        net = nets(backend, loss=lambda A, y, convert=convert: tuple(convert(T) for T in mse(A, y)))[0]
        net.fit(X, Y, 2, **QUIET)
        wanted = wanted or state_of(net)
        assert state_of(net) == wanted
    net = nets(backend, loss=lambda A, y: (np.arange(A.shape[1]), np.ones(A.shape, "i4")))[0]
    net.fit(X, Y, 1, **QUIET)


class Requiring:
    """As a tensor of torch that is part of a graph."""

    requires_grad = True

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


def test_wrong_arguments(backend):
    assert_refused(lambda: Network(SIZES, loss=lambda A: A), "loss", "two arguments")
    assert_refused(lambda: Network(SIZES, loss=Asymmetric), "loss", "Asymmetric()")
    assert_refused(lambda: Network(SIZES, loss="custom"), "loss", "custom")
    theirs = type("MSELoss", (), {"__module__": "torch.nn", "__call__": lambda self, A, y: None})()
    assert_refused(lambda: Network(SIZES, loss=theirs), "loss", "'mse'")
    net, ours = nets(backend)
    before = state_of(ours)
    assert_refused(lambda: ours.train_step(X, Y, None, "mse"), "loss", "leave it out", "Network(sizes, loss='mse')")
    assert_refused(lambda: ours.train_step(X, Y, None, "mine"), "loss", "'mine'")
    assert_refused(lambda: ours.train_step(X, Y, None, np.ones(M)), "loss")
    assert_refused(lambda: ours.train_step(X, Y, None, lambda A: A), "loss", "two arguments")
    assert state_of(ours) == before
    assert_refused(lambda: net.fit(X, Y.T), "y", "(90, 3)", "y.T")
    assert_refused(lambda: net.train_step(X, Y[:, :5]), "y", "(3, 5)")
    assert_refused(lambda: net.train_step(X.T, Y), "X")
    assert_refused(lambda: net.train_step(X, 3.0), "y", "()")
    for call in (net.fit, net.train_step, net.loss, lambda X, y: net.fit([(X, y)])):
        assert_refused(lambda call=call: call(X, Y.T.tolist()), "y", "(90, 3)", "np.asarray(y).T")
        assert_refused(lambda call=call: call(X, (y for y in Y.T)), "y", "np.stack(list(y), axis=1)")
        assert_refused(lambda call=call: call(X, set(Y[0])), "y", "write list(y)")
        assert_refused(lambda call=call: call(X, [[1.0, 2.0], [3.0]]), "y", "differ in length")
    assert_refused(lambda: net.fit(X, Requiring()), "y", "write y.detach()")
    with pytest.raises(TypeError, match=r"^loss returned array.*wanted \(losses, dA\).*$"):  # one line
        Network(SIZES, loss=lambda A, y: (A - y).sum(axis=0)).fit(X, Y, **QUIET)
    for how, what in (
        ({"class_weight": "balanced"}, "class_weight"),
        ({"metrics": ["accuracy"]}, "metrics[0]"),
    ):
        with pytest.raises(ValueError) as caught:
            net.fit(X, Y, 1, progress=False, **how)
        assert what in str(caught.value)
    with pytest.raises(ValueError, match="depends on epochs, and train_step has none"):
        net.train_step(X, Y, SGD(lr=schedules.Exponential(0.1, 0.9)))
    bad = X.copy()
    bad[1, 7] = np.nan
    for call in (lambda: net.train_step(bad, Y), lambda: net.fit(bad, Y, 1, **QUIET), lambda: net.gradients(bad, Y)):
        with pytest.raises(ValueError, match=r"X has 1 non-finite value, first at column 7"):
            call()
    assert state_of(net) == state_of(nets(backend)[0])


def test_divergence_keeps_finite_weights(backend, dtype):
    net = Network((5, 8, 3), ["relu", "identity"], loss=mse, dtype=dtype, seed=1, backend=backend)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=r"training diverged.*epoch"):
        net.fit(X, Y, 10_000, optimizer=SGD(lr=1e4), **QUIET)
    assert np.isfinite(net.flat_parameters).all()
    huge = np.finfo(dtype).max
    before = state_of(net)
    with pytest.raises(FloatingPointError):
        net.train_step(X, Y, SGD(lr=1e30), loss=lambda A, y: (np.ones(M), np.full(A.shape, huge)))
    assert state_of(net) == before
    nets(backend, dtype=dtype)[0].train_step(X, Y, SGD(lr=1e-30))


def test_a_loss_that_is_not_finite_is_told_where(backend):
    def bad(A, y):
        losses, dA = mse(A, y)
        calls.append(1)
        return losses * (np.nan if len(calls) == 4 else 1.0), dA

    for data, size in (((X, Y), {"batch_size": -(-M // 2)}), (([(X, Y), (X, Y)],), {})):
        net, calls = nets(backend, loss=bad)[0], []
        ending = r"in epoch 1, batch 1 \(counted from 0\); the last finite weights are kept"
        with pytest.raises(ValueError, match=f"^loss returned losses with .* first at column 0, {ending}$"):
            net.fit(*data, epochs=3, **{**QUIET, **size})
        assert net.epochs_done == 1


def test_a_loss_that_is_not_finite_for_the_validation_data(backend):
    net = nets(backend, loss=lambda A, y: (mse(A, y)[0] * (np.nan if A.shape[1] == 3 else 1.0), mse(A, y)[1]))[0]
    with pytest.raises(ValueError, match=r"3 non-finite values, first at column 0, for the validation data$"):
        net.fit(X, Y, 2, validation_data=(X[:, :3], Y[..., :3]), progress=False)


def test_a_loss_that_changes_its_network(backend):
    """Is told so, and nothing is half-done; it may use the network otherwise."""
    net = nets(backend)[0]
    predicts = nets(backend, loss=lambda A, y: (mse(A, net.predict(X[:, : A.shape[1]])), net.summary())[0])[0]
    predicts.train_step(X, Y)
    for change in (
        lambda net: net.set_parameters(net.parameters),
        lambda net: net.train_step(X, Y, loss=mse),
        lambda net: setattr(net, "trainable", [True, False, True]),
    ):
        net = nets(backend)[0]

        def loss(A, y, net=net, change=change):
            change(net)
            return mse(A, y)

        with pytest.raises(RuntimeError, match="changed while its loss"):
            net.train_step(X, Y, loss=loss)
        net.train_step(X, Y)

    def begins_another(A, y):
        with pytest.raises(ZeroDivisionError):
            net.train_step(X[:, ::-1], Y, loss=lambda A, y: 1 / 0)
        return mse(A, y)

    with pytest.raises(RuntimeError, match="changed while its loss"):
        net.train_step(X, Y, loss=begins_another)


@alone
def test_other_threads_predict_and_change_while_a_loss_runs(backend):
    net = nets(backend)[0]
    running, done, found = threading.Event(), threading.Event(), []

    def slow(A, y):
        running.set()
        assert done.wait(20)
        return mse(A, y)

    def other():
        running.wait(20)
        found.append(net.predict(X))
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    net.train_step(X, Y, loss=slow)
    thread.join()
    assert found[0].shape == (3, M)
    # A change in between: fit computes the batch again.
    calls = []

    def loss(A, y):
        if not calls:
            thread = threading.Thread(target=lambda: net.set_parameters(start))
            thread.start()
            thread.join()
        calls.append(A)
        return mse(A, y)

    net, start = nets(backend, loss=loss)[0], [(W * 2, b) for W, b in nets(backend)[0].parameters]
    net.fit(X, Y, 1, batch_size=None, shuffle=False, progress=False)
    twin = nets(backend)[0]
    twin.set_parameters(start)
    twin.fit(X, Y, 1, batch_size=None, shuffle=False, progress=False)
    assert len(calls) == 2
    np.testing.assert_array_equal(net.flat_parameters, twin.flat_parameters)


def test_files_and_copies(backend, tmp_path):
    loss = Asymmetric()
    net = nets(backend, loss=loss)[0]
    net.fit(X, Y, 2, optimizer=Adam(), **QUIET)
    net.save(path := tmp_path / "model.npz", optimizer=True)
    plain, loaded = fastnn.load(path, backend=backend), fastnn.load(path, backend=backend, loss=loss)
    np.testing.assert_array_equal(plain.predict(X), net.predict(X))
    assert plain.loss_name == loaded.loss_name == "custom"
    for call in (
        lambda: plain.fit(X, Y),
        lambda: plain.loss(X, Y),
        lambda: plain.evaluate(X, Y),
        lambda: plain.gradients(X, Y),
        lambda: plain.train_step(X, Y),
    ):
        with pytest.raises(ValueError, match=r"load\(path, loss=f\)"):
            call()
    plain.train_step(X, Y, loss=loss)
    net.train_step(X, Y)
    loaded.train_step(X, Y)
    assert state_of(plain) == state_of(net) == state_of(loaded)
    for twin in (
        pickle.loads(pickle.dumps(net)),
        copy.copy(net),
        copy.deepcopy(net),
        net.averaged() if 0 else copy.copy(net),
    ):
        twin.train_step(X, Y, SGD(lr=0.1))
        assert twin.loss_name == "custom"
    predictor = pickle.loads(pickle.dumps(plain.predictor()))
    np.testing.assert_array_equal(predictor(X), plain.predict(X))
    nets(backend)[1].save(path)
    with pytest.raises(ValueError, match=r"loss: the network in .* has the loss 'mse'"):
        fastnn.load(path, loss=loss)
    assert_refused(lambda: fastnn.load(path, loss="mse"), "loss", "mse")
    state = plain.__getstate__() | {"loss_function": 3}
    assert_refused(lambda: plain.__setstate__(state), "loss", "3")
    unpicklable = nets(backend, loss=lambda A, y: mse(A, y))[0]
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(unpicklable)
    copy.deepcopy(unpicklable).train_step(X, Y)


def test_threads_give_the_same_bits():
    for norm, sizes in itertools.product([None, "batch", "layer"], [(5, 64, 20, 3), (5, 130, 128, 3)]):
        states = []
        for threads in (1, 2, 3):
            how = {"seed": 3, "threads": threads, "norm": norm, "dropout": 0.2}
            net = Network(sizes, ["tanh", "gelu", "silu"], loss=mse, **how)
            net.fit(X, Y, 3, optimizer=Adam(clip_norm=0.1), **QUIET)
            states.append(state_of(net))
        assert states[0] == states[1] == states[2]


def test_bits_are_those_of_our_loss():
    """Where both compute dA alike: an identity output, and a batch of one sample or a power of two."""
    if not COMPILED:
        pytest.skip("NumPy's products round differently by layout")
    for m in (1, 32, 64):
        own, ours = nets("compiled", activations=["tanh", "gelu", "identity"], dtype="float32")
        x, y = X[:, :m].astype("f4"), Y[:, :m].astype("f4")
        for _ in range(3):
            for net in (own, ours):
                net.train_step(x, y, Adam(lr=0.01))
        assert state_of(own) == state_of(ours)


@pytest.mark.parametrize("more", OPTIONS, ids=str)
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.01}])
def test_diagnostics_are_those_with_our_loss(backend, dtype, more, clip):
    def made(**how):
        own, ours = nets(backend, dtype=dtype, activations=["relu", "tanh", "identity"], **more, **how)
        for net in (own, ours):
            layers = [[T.copy() for T in layer] for layer in net.parameters]
            layers[0][-1][:4] = -100  # b, or beta: dead units
            layers[1][-1][:2] = 100  # saturated ones
            net.set_parameters(layers)
        return own, ours

    w = RNG.random(M)
    w[:7] = 0
    for how in ({}, {"sample_weight": w, "shuffle": False}):
        own, ours = made()
        got, want = (
            net.fit(X, Y, 3, optimizer=Adam(0.01, **clip), diagnostics=True, **QUIET, **how) for net in (own, ours)
        )
        assert got.diagnostics["dead_units"][-1][0] > 0
        assert got.diagnostics["saturated_units"][-1][1] > 0
        for name, numbers in want.diagnostics.items():
            np.testing.assert_allclose(got.diagnostics[name], numbers, rtol=1e-8 if dtype == "float64" else 1e-2)
        plain = made()[0]
        plain.fit(X, Y, 3, optimizer=Adam(0.01, **clip), **QUIET, **how)
        if backend == "compiled":
            assert bits(plain) == bits(own)  # to look changes nothing
    one, other = made(threads=1)[0], made(threads=3)[0]
    found = [net.fit(batches_of(X, Y, w + 0.1), epochs=2, diagnostics=True, progress=False) for net in (one, other)]
    np.testing.assert_equal(*(history.diagnostics for history in found))
    (ours_, theirs) = made()[1], found[0].diagnostics
    want = ours_.fit(batches_of(X, Y, w + 0.1), epochs=2, diagnostics=True, progress=False).diagnostics
    for name, numbers in want.items():
        np.testing.assert_allclose(theirs[name], numbers, rtol=1e-8 if dtype == "float64" else 1e-2)


# --- weights of classes, metrics ------------------------------------------------------------------------------------


def hinge(A, y):
    """Of labels -1 and 1, or (of codes 0..4) of their distance to 2."""
    side = np.where(y < 0, -1.0, 1.0) if (y < 0).any() else y - 2.0
    return np.maximum(0, 1 - side * A[0]), np.where(side * A < 1, -side, 0.0)


LABELS = {
    "-1 and 1": (2 * RNG.integers(0, 2, M) - 1, {-1: 0.3, 1: 4}),
    "codes": (RNG.integers(0, 5, M), {0: 0.3, 4: 7}),
    "bool": (RNG.random(M) < 0.3, {1: 2.5}),
}


@pytest.mark.parametrize("labels", LABELS)
def test_class_weights_of_integers_are_sample_weights(backend, labels):
    y, by_class = LABELS[labels]
    _, place, counts = np.unique(y, return_inverse=True, return_counts=True)
    of_samples, w = np.array([float(by_class.get(int(label), 1)) for label in y]), RNG.random(M)
    balanced = (M / (len(counts) * counts))[place]
    for arguments, wanted in (
        ({"class_weight": by_class}, of_samples),
        ({"class_weight": by_class, "sample_weight": w}, w * of_samples),
        ({"class_weight": "balanced"}, balanced),
    ):
        for more in ({}, {"samples": np.arange(3, 80)}):
            if more and wanted is balanced:  # which counts these samples only
                continue
            net, twin = (Network([5, 4, 1], ["tanh", "identity"], hinge, seed=0, backend=backend) for _ in "ab")
            found = net.fit(X, y, 2, **arguments, **more, **QUIET)
            assert found.loss == twin.fit(X, y, 2, sample_weight=wanted, **more, **QUIET).loss
            assert bits(net) == bits(twin)
    joined, apart = (Network([5, 4, 1], ["tanh", "identity"], hinge, seed=0, backend=backend) for _ in "ab")
    joined.fit(X, y, 2, 32, shuffle=False, progress=False, class_weight=by_class)
    apart.fit(batches_of(X, y, size=32), epochs=2, progress=False, class_weight=by_class)
    assert bits(apart) == bits(joined)


def test_class_weights_where_y_is_no_class(backend):
    net, codes = nets(backend)[0], LABELS["codes"][0]
    one = Network([5, 1], ["identity"], hinge, seed=0, backend=backend)
    with weights_unchanged(net), weights_unchanged(one):
        for y in (Y, np.eye(3)[:, codes % 3], codes.astype(float)):
            for given in ("balanced", {0: 2.0}):
                assert_refused(lambda y=y, given=given: net.fit(X, y, class_weight=given), "class_weight", str(y.shape))
        with pytest.raises(ValueError, match=r"class_weight: .*integers.*write sample_weight"):
            net.fit(batches_of(X, Y), class_weight={0: 2.0})
        assert_refused(lambda: one.fit(X, codes, class_weight={5: 1.0}), "class_weight", "no class 5 in y", "0, 1")
        assert_refused(lambda: one.fit(X, codes, class_weight={"a": 1.0}), "class_weight", "the key 'a'")
        assert_refused(lambda: one.fit(X, codes, class_weight={0: -1.0}), "class_weight[0]", "-1.0")
        with pytest.raises(ValueError, match='class_weight="balanced" needs all data at once'):
            one.fit(batches_of(X, codes), class_weight="balanced")


CODES, LABELED = RNG.integers(0, 3, M), RNG.integers(0, 2, (3, M))
SOFT = RNG.dirichlet(np.ones(3), M).T


@pytest.mark.parametrize(
    ("units", "output", "ours", "y", "names"),
    [
        (3, "identity", "mse", Y, ["r2", "rmse", "mae"]),
        (3, "tanh", "mse", Y.astype("f4"), ["r2", "rmse", "mae"]),
        (1, "identity", "mse", Y[0], ["r2", "mae"]),
        (1, "relu", "mse", CODES, ["rmse"]),
        (3, "sigmoid", "mse", SOFT, ["rmse"]),
        (3, "identity", "mse", CODES, ["accuracy", "auc", "f1", ("top_k", {"k": 2})]),
        (3, "softmax", "cross_entropy", CODES, ["accuracy", "auc", "f1", ("top_k", {"k": 2})]),
        (3, "softmax", "cross_entropy", np.eye(3)[:, CODES], ["accuracy", "f1"]),
        (3, "sigmoid", "binary_cross_entropy", LABELED, ["accuracy", "auc", "f1"]),
        (3, "sigmoid", "binary_cross_entropy", CODES, ["accuracy"]),
        (1, "sigmoid", "binary_cross_entropy", LABELED[0] == 1, ["accuracy", "auc", "f1"]),
    ],
)
def test_metrics_by_name_are_those_with_our_loss(backend, units, output, ours, y, names):
    w, how = RNG.random(M), {"activations": ["tanh", output], "seed": 3, "dtype": "float64", "backend": backend}
    own = Network([5, 4, units], loss=lambda A, y: (np.zeros(A.shape[1]), np.zeros_like(A)), **how)
    net = Network([5, 4, units], loss=ours, **how)
    for weights in (None, w):
        found = own.evaluate(X, y, weights, metrics=[*names, lambda y, A: A.size])
        wanted = net.evaluate(X, y, weights, metrics=names)
        assert {name: found[name] for name in list(wanted)[-len(names) :]} == dict(list(wanted.items())[-len(names) :])
        assert found["<lambda>"] == units * M
    still = {"optimizer": SGD(0.0), "metrics": names, **QUIET}
    for more in (
        {},
        {"validation_data": (X[:, :40], y[..., :40])},
        {"samples": np.arange(5, 60)},
        {"samples": np.arange(60), "validation_split": 0.5},
    ):
        got, want = own.fit(X, y, 2, **still, **more), net.fit(X, y, 2, **still, **more)
        if "validation_split" not in more:  # ours takes of each class its share
            assert got.metrics == want.metrics
        assert len(got.metrics) == len(names)
    got = own.fit(batches_of(X, y), epochs=2, validation_data=(X, y), optimizer=SGD(0.0), metrics=names, progress=False)
    assert next(iter(got.metrics.values())) == [wanted_of(net, names[0], y)] * 2


def wanted_of(net, name, y):
    return list(net.evaluate(X, y, metrics=[name]).values())[-1]


def test_metrics_by_name_that_are_not_defined(backend):
    three = Network([5, 3], ["identity"], mse, seed=0, backend=backend)
    one = Network([5, 1], ["identity"], hinge, seed=0, backend=backend)
    soft = Network([5, 3], ["softmax"], mse, seed=0, backend=backend)
    for net, y, name, words in (
        (three, Y, "accuracy", "these targets are values"),
        (three, CODES, "r2", "these targets are classes"),
        (three, Y[:2], "r2", "y has shape (2, 90), wanted (3, m)"),
        (three, CODES + 1, "accuracy", "y holds codes from 1 to 3"),
        (one, LABELS["-1 and 1"][0], "accuracy", "these targets are values"),
        (soft, Y, "f1", "cross_entropy needs values at least 0"),
    ):
        for call in (net.evaluate, functools.partial(net.fit, progress=False)):
            with weights_unchanged(net), pytest.raises(ValueError, match=r"^metrics\[0\]: ") as caught:
                call(X, y, metrics=[name])
            assert words in str(caught.value)


# --- fit on batches ---------------------------------------------------------------------------------------------


def batches_of(X, Y, w=None, size=16):
    each = (X, Y) if w is None else (X, Y, w)
    return [tuple(T[..., i : i + size] for T in each) for i in range(0, X.shape[1], size)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "optimizer", [SGD(0.05, momentum=0.5), SGD(lambda t: 0.1 / (1 + t)), SGD(schedules.Cosine(0.1, 3))]
)
def test_fit_on_batches_gives_the_bits_of_fit(backend, dtype, rng, weighted, optimizer):
    X, Y, w = rng.standard_normal((5, 48)), rng.standard_normal((3, 48)), rng.random(48)
    w[:16] = 0  # a batch that counts for nothing
    w = w if weighted else None
    joined, apart = (Network([5, 6, 3], ["tanh", "identity"], mse, dtype=dtype, seed=1, backend=backend) for _ in "ab")
    want = joined.fit(X, Y, 3, 16, optimizer, False, sample_weight=w, progress=False)
    got = apart.fit(batches_of(X, Y, w), epochs=3, optimizer=optimizer, progress=False)
    assert bits(apart) == bits(joined)
    assert got.lr == want.lr
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-14)
    assert apart.epochs_done == 3


def test_errors_in_batches_say_which_one(backend, rng):
    X, Y = rng.standard_normal((5, 40)), rng.standard_normal((3, 40))
    net = Network([5, 3], ["identity"], mse, seed=1, backend=backend)
    bad = X.copy()
    bad[2, 20] = np.nan
    with pytest.raises(ValueError, match=r"batch 1 of epoch 0: X has 1 non-finite value, first at column 4"):
        net.fit(batches_of(bad, Y), optimizer=SGD(0.1), progress=False)
    assert all(np.isfinite(T).all() for layer in net.parameters for T in layer)

    def broken(A, y):
        raise KeyError("mine")

    net = Network([5, 3], ["identity"], broken, seed=1, backend=backend)
    with weights_unchanged(net), pytest.raises(KeyError, match="mine"):
        net.fit(batches_of(X, Y), progress=False)


def test_a_loss_that_diverges_on_batches_keeps_finite_weights(backend, rng):
    X, Y = rng.standard_normal((5, 40)), rng.standard_normal((3, 40))
    net = Network(
        [5, 3], ["identity"], lambda A, y: (np.zeros(A.shape[1]), np.full_like(A, 1e38)), seed=1, backend=backend
    )
    with pytest.raises(FloatingPointError, match="diverged"):
        net.fit(batches_of(X, Y), epochs=3, optimizer=SGD(1e30), progress=False)
    assert all(np.isfinite(T).all() for layer in net.parameters for T in layer)


def test_batches_validate_with_one_s_own_loss(backend, rng):
    X, Y = rng.standard_normal((5, 40)), rng.standard_normal((3, 40))
    net = Network([5, 3], ["identity"], mse, seed=1, backend=backend)
    history = net.fit(batches_of(X, Y), epochs=4, validation_data=(X, Y), early_stopping=2, progress=False)
    assert history.val_loss[-1] == pytest.approx(net.loss(X, Y), rel=1e-5)
