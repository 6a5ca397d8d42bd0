"""Network.backward, from the user's dA, and Network.update, from the user's gradients."""

import copy
import itertools
import threading

import numpy as np
import pytest

import reference as ref
from case_helpers import assert_refused, state_of
from conftest import COMPILED, alone, around_the_kernels, each_isa_slowly, lesser_are_slow
from fastnn import SGD, Adam, NAdam, Network, RMSprop, given_gradients, passes, schedules
from layouts import LAYOUTS, laid_out

RNG = np.random.default_rng(11)
ACTIVATIONS = [
    ("tanh", "identity"),
    ("sigmoid", "tanh", "sigmoid"),
    ("gelu", "silu", "softmax"),
    ("elu", "softmax", "gelu"),
    ("softplus",),
]
SIZES = [(5, 7, 3), (15, 33, 17, 6), (1, 1, 1), (9, 64, 20, 5), (20, 40, 16, 33), (64, 100, 128, 40)]
OPTIMIZERS = [
    SGD(lr=0.1),
    SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    Adam(lr=0.01, clip_norm=0.1, average=0.9),
    NAdam(lr=0.01, clip_value=0.01, l1=1e-3, decay_b=False),
    RMSprop(lr=schedules.Step(0.01, every=2, factor=0.5, per="step"), momentum=0.5),
]


def net_of(sizes, activations, **more):
    hidden = itertools.cycle(activations[:-1] or ["tanh"])
    each = [next(hidden) for _ in sizes[2:]] + [activations[-1]]
    if sizes[-1] == 1 and each[-1] == "softmax":
        each[-1] = "sigmoid"
    return Network(sizes, each, "mse", seed=3, **more)


def data(sizes, m, dtype="float64"):
    return RNG.standard_normal((sizes[0], m)).astype(dtype), RNG.standard_normal((sizes[-1], m)).astype(dtype)


def assert_like_reference(net, X, dA, found, norms=None):
    dtype = net.dtype
    parameters = [tuple(ref.exact(T, dtype) for T in layer) for layer in net.parameters]
    wanted, dX = ref.backward(parameters, net.activations, ref.exact(X, dtype), ref.exact(dA, dtype), norms)
    for layer, pairs in zip(found[0], wanted, strict=True):
        for T, pair in zip(layer, pairs, strict=True):
            ref.assert_close(T, pair, dtype, "gradient")
    ref.assert_close(found[1], dX, dtype, "dX")


@lesser_are_slow
@pytest.mark.parametrize("activations", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_backward_is_the_reference(backend, dtype, sizes, activations):
    net = net_of(sizes, activations, dtype=dtype, backend=backend)
    for m in (1, 3, 50):
        X, dA = data(sizes, m)
        assert_like_reference(net, X, dA, net.backward(X, dA))


@pytest.mark.parametrize("kind", ["layer", "batch"])
def test_backward_with_norms(backend, dtype, kind):
    net = net_of((7, 12, 9, 4), ("tanh", "sigmoid"), dtype=dtype, backend=backend, norm=kind)
    X, dA = data(net.sizes, 40)
    net.fit(X, dA, 2, progress=False)
    running = [pair and tuple(ref.exact(T, dtype) for T in pair) for pair in net.running_statistics]
    before = state_of(net)
    for training in (False, True):
        norms = [(kind, None if training or kind == "layer" else pair) for pair in running[:-1]] + [None]
        assert_like_reference(net, X, dA, net.backward(X, dA, training=training), norms)
        if not training or kind == "layer":
            assert state_of(net) == before


def running_of(net):
    return [T for pair in net.running_statistics if pair for T in pair]


@pytest.mark.parametrize("sizes", [(7, 12, 9, 4), (20, 130, 70, 3)], ids=str)
def test_backward_in_training_moves_running_statistics(backend, dtype, sizes):
    """As the steps that it is a part of, to the same bits; each call by its own batch."""
    how = {"dtype": dtype, "backend": backend, "norm": ("batch", "batch"), "dropout": 0.2}
    net, twin = (net_of(sizes, ("tanh", "sigmoid"), **how) for _ in range(2))
    for frozen in (False, True):
        for each in (net, twin):
            each.trainable = [not frozen, True, True]
        for m in (40, 1, 133):  # statistics of one sample are none
            X, dA = data(sizes, m, dtype)
            before = [T.copy() for T in running_of(net)]
            gradients, _ = net.backward(X, dA, training=True)
            twin.train_step(X, dA, SGD(lr=0.0), loss=lambda A, y: (np.zeros(A.shape[1]), y))
            for i, (T, U, old) in enumerate(zip(running_of(net), running_of(twin), before, strict=True)):
                np.testing.assert_array_equal(T, U)
                assert (old == T).all() == (m == 1 or (frozen and i < 2))
            net.update(gradients, SGD(lr=0.0))  # which counts the masks, and moves no statistics
            for T, U in zip(running_of(net), running_of(twin), strict=True):
                np.testing.assert_array_equal(T, U)
            np.testing.assert_array_equal(net.predict(X), twin.predict(X))
            net.gradients(X, dA, training=True)
            net.backward(X, dA)
            assert state_of(net) == state_of(twin)


@around_the_kernels
def test_running_statistics_that_would_not_be_finite_stay(backend, dtype):
    net = net_of((3, 4, 2), ("tanh", "identity"), dtype=dtype, backend=backend, norm="batch")
    X, dA = data(net.sizes, 6, dtype)
    net.backward(X, dA, training=True)
    before = state_of(net), [T.tobytes() for T in running_of(net)]
    bad = X.copy()
    bad[1, 4] = np.nan
    with pytest.raises(ValueError, match=r"X has 1 non-finite value, first .*; nothing was changed"):
        net.backward(bad, dA, training=True)
    assert (state_of(net), [T.tobytes() for T in running_of(net)]) == before
    with pytest.raises(FloatingPointError, match=r"the running statistics .* nothing was changed"):
        net.backward(X * (np.finfo(dtype).max / 16), dA, training=True)
    assert (state_of(net), [T.tobytes() for T in running_of(net)]) == before
    assert np.isnan(net.backward(bad, dA)[1][:, 4]).all()


def test_any_layout_of_X_and_dA(backend, dtype):
    net = net_of((5, 8, 3), ("tanh", "sigmoid"), dtype=dtype, backend=backend)
    X, dA = data(net.sizes, 12)
    wanted = net.backward(X.astype(dtype), dA.astype(dtype))
    for layout in LAYOUTS:
        got = net.backward(laid_out(X, layout), laid_out(dA, layout))
        assert_like_reference(net, X, dA, got)
        assert [T.shape for T in got[0][0]] == [T.shape for T in wanted[0][0]]


@each_isa_slowly
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_threads_give_the_same_bits(isa, dtype, threads):
    for sizes, norm in itertools.product([(9, 64, 20, 5), (64, 130, 128, 40)], [None, "batch", "layer"]):
        for training in (False, True):
            one, many = (
                net_of(sizes, ("gelu", "softmax"), dtype=dtype, threads=t, norm=norm, dropout=0.3, backend="compiled")
                for t in (1, threads)
            )
            X, dA = data(sizes, 67, dtype)
            (some, dX), (others, dX_others) = (net.backward(X, dA, training) for net in (one, many))
            for T, U in zip([T for layer in some for T in layer], [T for layer in others for T in layer], strict=True):
                np.testing.assert_array_equal(T, U)
            np.testing.assert_array_equal(dX, dX_others)
            for net, gradients in ((one, some), (many, others)):
                net.update(gradients, Adam(lr=0.01, clip_norm=0.01))
            assert state_of(one) == state_of(many)


@around_the_kernels
def test_backward_in_training_has_the_masks_of_the_next_update(backend):
    net = net_of((6, 20, 15, 2), ("tanh", "identity"), dtype="float64", backend=backend, dropout=0.4, norm="batch")
    X, Y = data(net.sizes, 30)
    net.fit(X, Y, 1, progress=False)
    _, wanted = net.gradients(X, Y, training=True)
    seen = []
    with pytest.raises(ZeroDivisionError):
        net.train_step(X, Y, loss=lambda A, y: [seen.append(A), 1 / 0])
    got, _ = net.backward(X, 2 * (seen[0] - Y), training=True)
    for layer, others in zip(got, wanted, strict=True):
        for T, U in zip(layer, others, strict=True):
            np.testing.assert_allclose(T, U, rtol=1e-12, atol=1e-15)


@around_the_kernels
def test_dX_is_a_derivative(backend):
    net = net_of((4, 9, 6, 3), ("tanh", "gelu"), dtype="float64", backend=backend, norm="layer")
    X, dA = data(net.sizes, 5)
    _, dX = net.backward(X, dA)
    for i, j in np.ndindex(X.shape):
        step = np.zeros_like(X)
        step[i, j] = 1e-6
        slope = ((net.predict(X + step) - net.predict(X - step)) * dA).sum() / 2e-6
        np.testing.assert_allclose(dX[i, j], slope, rtol=1e-6, atol=1e-8)


@around_the_kernels
def test_many_samples_are_computed_in_slices(backend, monkeypatch):
    net = net_of((3, 5, 2), ("tanh", "identity"), dtype="float64", backend=backend)
    X, dA = data(net.sizes, 5000)
    wanted, dX = net.backward(X, dA)
    monkeypatch.setattr(passes, "_SLICE_WEIGHTS", 1)
    assert len(passes._slices(net._engine, X, True)) == 5
    got, dX_got = given_gradients.backward(net._trainable, X, dA, False)
    np.testing.assert_array_equal(dX_got, dX)
    for layer, others in zip(got, wanted, strict=True):
        for T, U in zip(layer, others, strict=True):
            np.testing.assert_allclose(T, U, rtol=1e-10, atol=1e-14)


# --- update -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.kind)
def test_backward_and_update_are_a_train_step(backend, dtype, optimizer):
    m, sizes = 32, (6, 33, 20, 3)  # of a power of two the mean rounds nothing
    for frozen in (False, True):
        one, other = (net_of(sizes, ("tanh", "identity"), dtype=dtype, backend=backend, norm="layer") for _ in range(2))
        for net in (one, other):
            net.trainable = [True, not frozen, True]
            if backend == "compiled":
                net._engine.plain = True
        for _ in range(4):
            X, Y = data(sizes, m, dtype)
            _, gradients = other.gradients(X, Y)
            one.train_step(X, Y, optimizer)
            other.update(gradients, optimizer)
            assert state_of(one) == state_of(other)


@around_the_kernels
def test_update_does_not_change_what_it_is_given(backend):
    net = net_of((3, 4, 2), ("tanh", "identity"), backend=backend)
    _, gradients = net.gradients(*data(net.sizes, 8))
    kept = copy.deepcopy(gradients)
    net.update(gradients, SGD(lr=0.1, weight_decay=0.1, momentum=0.5))
    for layer, others in zip(gradients, kept, strict=True):
        for T, U in zip(layer, others, strict=True):
            np.testing.assert_array_equal(T, U)


@around_the_kernels
def test_gradients_of_any_dtype_and_layout(backend):
    wanted = None
    for convert in (
        lambda T: T,
        lambda T: T.astype("float64"),
        np.asfortranarray,
        lambda T: np.repeat(T, 2, axis=0)[::2],
        lambda T: T.ravel() if T.shape[1] == 1 else T,
        lambda T: T.tolist(),
    ):
        net = net_of((3, 5, 4), ("tanh", "identity"), backend=backend)
        rng = np.random.default_rng(5)
        gradients = [
            (rng.standard_normal(W.shape, "f4"), rng.standard_normal(b.shape, "f4")) for W, b in net.parameters
        ]
        net.update([tuple(convert(T) for T in layer) for layer in gradients], Adam(lr=0.1))
        wanted = wanted or state_of(net)
        assert state_of(net) == wanted


def strided(T):
    return np.repeat(np.repeat(T, 2, axis=0), 3, axis=1)[::2, ::3]


LARGE = (70, 130, 128, 40, 3)  # panels of all kinds; some layers are stored turned


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.kind)
def test_update_has_the_same_bits_for_any_threads_and_layout(isa, dtype, optimizer):
    """Also where it stores the gradients first, as it does for clip_norm."""
    rng, wanted = np.random.default_rng(5), None
    given = [rng.standard_normal((2, n, k)).astype(dtype) for k, n in itertools.pairwise(LARGE)]
    stored = copy.deepcopy(optimizer)
    stored.clip_norm = optimizer.clip_norm or 1e30
    ways = [(t, layout, optimizer) for t in (1, 2, 5) for layout in (np.array, np.asfortranarray, strided)]
    for threads, layout, chosen in [*ways, (1, np.array, stored)]:
        net = net_of(LARGE, ("tanh", "identity"), dtype=dtype, threads=threads, backend="compiled")
        net.trainable = [True, True, False, True]
        for i in (0, 1):
            net.update([(layout(T[i]), layout(T[1 - i][:, :1])) for T in given], chosen)
        parameters = net.flat_parameters.tobytes()
        wanted = wanted or parameters
        assert parameters == wanted


def test_each_number_of_given_gradients_is_checked(isa, dtype):
    net = net_of(LARGE, ("tanh", "identity"), dtype=dtype, threads=3, backend="compiled")
    zeros = [tuple(np.zeros_like(T) for T in layer) for layer in net.parameters]
    net.update(zeros, Adam())
    before = state_of(net)
    for layout, layer in itertools.product((np.array, np.asfortranarray, strided), range(4)):
        for i, j in ((0, 0), (-1, -1), (LARGE[layer + 1] // 2, LARGE[layer] // 2)):
            bad = [tuple(layout(T) for T in each) for each in zeros]
            bad[layer][0][i, j] = np.nan
            with pytest.raises(ValueError, match=rf"gradients\[{layer}\] dW has 1 non-finite value"):
                net.update(bad)
    assert state_of(net) == before


@around_the_kernels
def test_an_update_that_would_diverge_changes_nothing(backend, dtype):
    net = net_of((3, 4, 2), ("tanh", "identity"), dtype=dtype, backend=backend)
    zeros = [tuple(np.zeros_like(T) for T in layer) for layer in net.parameters]
    net.update(zeros, Adam())
    before = state_of(net)
    largest = np.finfo(dtype).max
    for huge in (Adam(lr=1e30), SGD(lr=1e30)):
        with pytest.raises(FloatingPointError, match="weights are unchanged"):
            net.update([tuple(np.full_like(T, largest) for T in layer) for layer in zeros], huge)
        assert state_of(net) == before
    for bad in (np.nan, np.inf):
        gradients = copy.deepcopy(zeros)
        gradients[1][0][1, 2] = bad
        with pytest.raises(ValueError, match=r"gradients\[1\] dW has 1 non-finite value, first at column 2"):
            net.update(gradients)
        assert state_of(net) == before
    net.update([tuple(np.full_like(T, 1e-3) for T in layer) for layer in zeros], SGD(lr=1e-3))
    assert state_of(net) != before


@around_the_kernels
@pytest.mark.parametrize("optimizer", [SGD(lr=0.1, clip_value=0.5), Adam(clip_value=0.5, clip_norm=1.0)], ids=repr)
def test_clip_value_makes_no_finite_number_of_an_infinite_gradient(backend, dtype, optimizer):
    net = net_of((3, 4, 2), ("tanh", "identity"), dtype=dtype, backend=backend)
    zeros = [tuple(np.zeros_like(T) for T in layer) for layer in net.parameters]
    for _ in range(2):  # with a new state, and with one that goes on
        before = state_of(net)
        for bad in (np.inf, -np.inf, np.nan):
            gradients = copy.deepcopy(zeros)
            gradients[0][1][3, 0] = bad
            with pytest.raises(ValueError, match=r"gradients\[0\] db has 1 non-finite value"):
                net.update(gradients, optimizer)
            assert state_of(net) == before
        net.update(zeros, optimizer)
    net.trainable = [False, True]
    net.update(gradients, optimizer)  # those of frozen layers are not used
    with pytest.raises(ValueError, match=r"gradients\[1\] dW has 8 non-finite values"):
        net.update([gradients[0], (np.full((2, 4), np.nan), np.zeros(2))], optimizer)


@around_the_kernels
def test_wrong_arguments(backend):
    net = net_of((3, 4, 2), ("tanh", "identity"), backend=backend)
    X, dA = data(net.sizes, 6)
    before = state_of(net)
    assert_refused(lambda: net.backward(X, dA.T), "dA", "(6, 2)", "(2, 6)", "dA.T")
    assert_refused(lambda: net.backward(X, dA[0]), "dA", "(6,)")
    assert_refused(lambda: net.backward(X, dA[:, :5]), "dA", "(2, 5)")
    one = net_of((3, 4, 1), ("tanh", "identity"), backend=backend)
    assert_refused(lambda: one.backward(X, dA[0]), "dA", "(6,)", "(1, 6)", "np.reshape(dA, (1, -1))")
    with pytest.raises(ValueError, match=r"^dA has shape \(5,\), .*: columns are samples$"):
        one.backward(X, dA[0, :5])
    assert_refused(lambda: net.backward(X, dA * 1j), "dA", "complex128")
    assert_refused(lambda: net.backward(X.T, dA), "X", "(6, 3)")
    assert_refused(lambda: net.backward(X[:, :0], dA[:, :0]), "X", "0 samples")
    assert_refused(lambda: net.backward(X, dA, training=1.0), "training")
    gradients, _ = net.backward(X, dA)
    assert_refused(lambda: net.update(gradients[:1]), "gradients", "(dW, db)", "1 entries")
    assert_refused(lambda: net.update(3), "gradients", "3")
    for vector in (net.flat_parameters, (0.5, net.flat_parameters)):
        with pytest.raises(TypeError, match=r"^gradients must .* one vector: net.gradients\(X, y\)\[1\] is .*$"):
            net.update(vector)  # one line: . is no end of a line
    assert_refused(lambda: net.update([gradients[0], gradients[1][:1]]), "gradients[1]", "1 arrays")
    assert_refused(lambda: net.update([(gradients[0][0].T, gradients[0][1]), gradients[1]]), "gradients[0] dW", "dW.T")
    assert_refused(lambda: net.update([(gradients[0][0], gradients[1][1]), gradients[1]]), "gradients[0] db", "(2, 1)")
    assert_refused(lambda: net.update(gradients, "adam"), "optimizer")
    with pytest.raises(ValueError, match="depends on epochs, and update has none"):
        net.update(gradients, SGD(schedules.Exponential(0.1, 0.9)))
    net.trainable = [False, False]
    with pytest.raises(ValueError, match="nothing to train"):
        net.update(gradients)
    net.trainable = [True, True]
    assert state_of(net) == before


@pytest.mark.parametrize("threads", [1, 3])
def test_memory_that_is_kept_from_call_to_call(dtype, threads):
    """Other sizes, other weights and other threads give what a new network gives."""
    if COMPILED is None:
        pytest.skip("NumPy keeps none")
    for sizes in ((6, 20, 15, 2), (32, 64, 40, 3)):
        how = {"dtype": dtype, "threads": threads, "norm": ("batch", None), "dropout": 0.2, "backend": "compiled"}
        net = net_of(sizes, ("tanh", "gelu"), **how)

        def check(m, training, net=net):
            X, dA = data(net.sizes, m, dtype)
            (some, dX), (others, dX_others) = (n.backward(X, dA, training) for n in (net, copy.deepcopy(net)))
            np.testing.assert_array_equal(dX, dX_others)
            for T, U in zip([T for layer in some for T in layer], [T for layer in others for T in layer], strict=True):
                np.testing.assert_array_equal(T, U)
            return some

        for m in (5, 40, 7, 40, 1, 200):
            net.update(check(m, False), Adam())
            check(m, True)
            net.train_step(*data(net.sizes, m, dtype), SGD(momentum=0.5))
            check(m, True)
            net.trainable = [True, m % 2 == 0, True]
            check(m, True)
            net.reset_optimizer()
            check(m, False)


@alone
def test_many_threads_at_once(either_backend):
    net = net_of((6, 20, 15, 2), ("tanh", "gelu"), backend=either_backend)
    X, dA = data(net.sizes, 300)
    wanted, wrong = [net.backward(X[:, :m], dA[:, :m])[1] for m in (20, 300)], []

    def look():
        for _ in range(50):
            for m, dX in zip((20, 300), wanted, strict=True):
                if not np.array_equal(net.backward(X[:, :m], dA[:, :m])[1], dX):
                    wrong.append(m)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_pairs_that_hold_gradients_are_told_apart(backend):
    net = Network([3, 2], ["identity"], "mse", seed=0, backend=backend)
    X, Y = np.ones((3, 4)), np.ones((2, 4))
    for pair, place in ((net.backward(X, Y), 0), (net.gradients(X, Y), 1)):
        with pytest.raises(TypeError, match=rf"gradients is a pair, of which place {place}"):
            net.update(pair)
        net.update(pair[place])
