"""Activations, losses and gradients: finite for all that is finite, one stable form, NaN where NaN was."""

import contextlib
import ctypes
import platform
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import reference as ref
from case_helpers import affine, assert_finite, bits, each, through, weights_unchanged
from conftest import drawn
from fastnn import SGD, Adam, DataWarning, Network, kernels


@pytest.fixture(autouse=True)
def _loud():
    """Every case runs with all floating-point errors raised and all warnings but of data errors: none comes out."""
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DataWarning)  # large values are what is tried here
        yield


def column(*scores, dtype="f4"):
    return np.array(scores, dtype)[:, np.newaxis]


# --- the rule: finite for every finite input --------------------------------------------------------------------


def matrices(dtype, high):
    shapes = npst.array_shapes(min_dims=2, max_dims=2, max_side=6)
    size = 8 * np.dtype(dtype).itemsize
    return npst.arrays(dtype, shapes, elements=st.floats(-high, high, width=size, allow_nan=False))


@drawn(40, 500)
@given(data=st.data())
def test_finite_in_finite_out(backend, dtype, data):
    Z = data.draw(matrices(dtype, float(np.finfo(dtype).max / 64)))  # a sum over all of it is finite, too
    n, m = Z.shape
    for kind in ref.ACTIVATIONS:
        A = kernels.activation_forward(Z, kind)
        assert np.isfinite(A).all()
        assert np.isfinite(through(np.ones_like(Z), A, Z, kind)).all()
    codes = np.arange(m) % n
    for y in (codes, np.eye(n)[:, codes], np.full((n, m), 1 / n)):
        for loss in ("binary_cross_entropy", "cross_entropy") if n > 1 else ("binary_cross_entropy",):
            target = np.zeros(m) if n == 1 else y
            J, dZ = kernels.loss_forward(Z, target, loss), kernels.loss_backward(Z, target, loss)
            assert np.isfinite(J)
            assert J >= 0
            assert (np.abs(dZ) <= 1 + 1e-6).all()


def test_a_sum_of_losses_beyond_all_numbers(backend, dtype):
    # whose mean is one: it may come out as that or as inf, but not as an error of the machine
    Z, y = np.full((1, 9), np.finfo(dtype).max / 4, dtype), np.zeros(9, int)
    for w in (None, np.full(9, 0.5)):
        J = kernels.loss_forward(Z, y, "binary_cross_entropy", w)
        assert pytest.approx(float(Z[0, 0])) == J or np.inf == J
    net = affine([[1.0]], [0], dtype, ["sigmoid"], backend=backend)
    assert net.loss(Z, y) in (np.inf, pytest.approx(float(Z[0, 0])))


@drawn(20, 500)
@given(data=st.data())
def test_the_gradient_of_a_loss_is_in_one_form(backend, dtype, data):
    # dZ of the cross-entropies is A - Y, whatever the scores
    Z = data.draw(matrices(dtype, 1e5))
    n, m = Z.shape
    Y = np.eye(n)[:, np.arange(m) % n]
    for loss, kind in (("binary_cross_entropy", "sigmoid"), ("cross_entropy", "softmax"))[: 1 + (n > 1)]:
        want = kernels.activation_forward(Z, kind) - Y
        np.testing.assert_allclose(kernels.loss_backward(Z, Y, loss), want, atol=2 * ref.BOUND[dtype])


@pytest.mark.parametrize("mode", ["raise", "warn", "ignore"])
def test_bits_do_not_depend_on_the_float_mode(backend, dtype, mode, rng):
    X, y = 1e3 * rng.standard_normal((4, 50)), rng.integers(0, 3, 50)

    def trained():
        net = Network([4, 7, 6, 3], ["sigmoid", "tanh", "softmax"], seed=1, dtype=dtype, backend=backend)
        history = net.fit(X, y, epochs=3, batch_size=7, optimizer=SGD(lr=0.5, weight_decay=1e-3))
        return bits(net), tuple(history.loss), net.predict(X).tobytes(), net.loss(X, y), net.evaluate(X, y)["accuracy"]

    want = trained()
    with np.errstate(all=mode):
        assert trained() == want


def fails(method, y):
    with pytest.raises(ValueError, match="X has"):
        method(np.full((30, 64), np.nan), y)


CALLS = {
    "predict": lambda net, X, y: net.predict(np.ones((30, 2000))),
    "predictor": lambda net, X, y: net.predictor()(X),
    "evaluate": lambda net, X, y: net.evaluate(X, y),
    "gradients": lambda net, X, y: net.gradients(X, y),
    "fit": lambda net, X, y: net.fit(X, y, epochs=5),
    "train_step": lambda net, X, y: net.train_step(X, y, Adam()),
    "a fit that fails": lambda net, X, y: fails(net.fit, y),
    "a step that fails": lambda net, X, y: fails(net.train_step, y),
    "a kernel": lambda net, X, y: kernels.activation_forward(np.full((9, 9), -1e4, net.dtype), "sigmoid"),
}


def subnormals_are_numbers():
    with np.errstate(all="ignore"):
        single, double = np.full(64, 1e-40, "f4") * np.float32(0.5), np.full(64, 1e-310) * 0.5
        dot = np.full((1, 1), 1e-40, "f4") @ np.ones((1, 1), "f4")
    return bool(single.all() and double.all() and dot.all())


@contextlib.contextmanager
def subnormals_flushed():
    """The mode of a caller who has chosen so: in glibc's fenv_t for x86-64 the last of eight words."""
    libm, before, flushed = ctypes.CDLL("libm.so.6"), (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()
    libm.fegetenv(before), libm.fegetenv(flushed)
    flushed[7] |= 0x8040
    libm.fesetenv(flushed)
    try:
        yield
    finally:
        libm.fesetenv(before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("what", CALLS)
def test_the_float_mode_of_the_caller_is_left_alone(backend, dtype, what, threads):
    # Subnormals must be numbers afterwards as before, here and in threads that start later; or flushed as before.
    numpy_mode = np.geterr()
    net = Network([30, 40, 2], seed=0, dtype=dtype, backend=backend, threads=threads)
    X, y = np.full((30, 64), 1e-20), np.arange(64) % 2
    seen = []

    def call():
        before = subnormals_are_numbers()
        CALLS[what](net, X, y)
        seen.append((before, subnormals_are_numbers()))

    def call_in_a_thread():
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    call(), call_in_a_thread()
    assert seen == [(True, True)] * 2
    if platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc":
        with subnormals_flushed():
            call(), call_in_a_thread()
        assert seen[2:] == [(False, False)] * 2
        assert subnormals_are_numbers()
    assert np.geterr() == numpy_mode


@np.errstate(all="ignore")
def test_subnormal_weights_are_weights(backend):
    W, b = np.array([[1e-40, 2e-40]], "f4"), np.array([3e-41], "f4")
    net = affine(W, b, "float32", backend=backend)
    # to a unit in the last place of a subnormal, or to 0 if those are flushed
    got, want = float(net.predict([[1], [1]])[0, 0]), float(W.sum() + b[0])
    assert got == 0 or abs(got - want) <= 3e-45
    np.testing.assert_array_equal(net.parameters[0][0], W)
    np.testing.assert_array_equal(net.parameters[0][1][0], b)


@np.errstate(all="ignore")
@pytest.mark.parametrize("share", [0.5, 1])
def test_subnormal_weights_disturb_no_others(backend, dtype, rng, share):
    tiny, kinds = float(np.finfo(dtype).smallest_normal), ["tanh", "identity"]
    net = Network([20, 30, 3], kinds, dtype=dtype, seed=1, backend=backend)
    (W1, b1), (W2, b2) = ((W.copy(), b + dtype.type(0.1)) for W, b in net.parameters)
    W1[rng.random(W1.shape) < share] = tiny / 8
    W2[:, ::2] = tiny / 8
    net.set_parameters([(W1, b1), (W2, b2)])
    exact = [(ref.exact(W, dtype), ref.exact(b, dtype)) for W, b in net.parameters]
    X, Y = ref.exact(rng.standard_normal((20, 50)), dtype), ref.exact(rng.standard_normal((3, 50)), dtype)
    last = ref.forward(exact, kinds, X)[-1]
    ref.assert_close(net.predict(X), (last["A"], last["S_A"]), dtype, "A")
    loss, gradients = net.gradients(X, Y)
    want, grads = ref.gradients(exact, kinds, "mse", X, Y)
    ref.assert_close(loss, want, dtype, "J")
    flushed = tiny * 1e3  # what a sum may lack whose terms are flushed
    for got, pairs in zip(gradients, grads, strict=True):
        for T, (right, scale) in zip(got, pairs, strict=True):
            ref.assert_close(T, (right, scale + flushed / ref.BOUND[dtype]), dtype, "a gradient")


# --- the rule: NaN in, NaN out, in the columns it touches ---------------------------------------------------------


@pytest.mark.parametrize("hidden", ref.ACTIVATIONS)
@each("output", ["identity", "sigmoid", "softmax"])
def test_nan_stays_in_its_column(backend, dtype, rng, hidden, output):
    net = Network([3, 5, 4, 2], [hidden, hidden, output], dtype=dtype, seed=1, backend=backend)
    X = rng.standard_normal((3, 21)).astype(dtype)
    clean = net.forward(X)
    for at in (0, 7, 20):
        for value in (np.nan, -np.nan):
            broken = X.copy()
            broken[at % 3, at] = value
            for A in (net.forward(broken), net.predictor()(broken), net.predict(broken.astype("f8"))):
                others = np.arange(21) != at
                np.testing.assert_array_equal(A[:, others], clean[:, others])
                assert np.isnan(A[:, at]).all()
            A, caches = net.forward(broken, cache=True)
            assert np.isnan(A[:, at]).all()
            assert all(np.isfinite(cache["Z"][:, others]).all() for cache in caches)


def test_nan_in_a_weight_is_nan_in_its_unit(backend, dtype):
    net = Network([2, 3], ["tanh"], dtype=dtype, seed=0, backend=backend)
    [(W, b)] = net.parameters
    for where in ("W", "b"):
        W_new, b_new = W.copy(), b.copy()
        (W_new if where == "W" else b_new)[1, 0] = np.nan
        net.set_parameters([(W_new, b_new)])
        A = net.predict(np.ones((2, 9)))
        assert np.isnan(A[1]).all()
        assert np.isfinite(A[[0, 2]]).all()


@pytest.mark.parametrize("kind", ref.ACTIVATIONS)
def test_nan_in_a_kernel(backend, dtype, kind):
    Z = np.linspace(-2, 2, 12, dtype=dtype).reshape(3, 4)
    dA = np.ones_like(Z)
    broken = Z.copy()
    broken[1, 2] = np.nan
    A = kernels.activation_forward(broken, kind)
    dZ = through(dA, A, broken, kind)
    dZ_of_broken_dA = through(broken, kernels.activation_forward(Z, kind), Z, kind)
    touched = np.zeros((3, 4), bool)
    touched[slice(None) if kind == "softmax" else 1, 2] = True
    np.testing.assert_array_equal(np.isnan(A), touched)
    np.testing.assert_array_equal(np.isnan(dZ), touched & (kind != "identity"))
    np.testing.assert_array_equal(np.isnan(dZ_of_broken_dA), touched)


# --- the cases ------------------------------------------------------------------------------------------------


def test_c01_softmax_of_large_scores(backend, dtype):
    Z = column(-300, -450, 0, 400, -250, dtype=dtype)
    np.testing.assert_allclose(kernels.activation_forward(Z, "softmax").T, [[0, 0, 0, 1, 0]], atol=1e-30)
    net = affine(np.eye(5), np.zeros(5), dtype, ["softmax"], backend=backend)
    np.testing.assert_allclose(net.predict(Z).T, [[0, 0, 0, 1, 0]], atol=1e-30)
    hidden = Network([5, 5, 1], ["softmax", "identity"], dtype=dtype, seed=0, backend=backend)
    hidden.set_parameters([(np.eye(5), np.zeros(5)), (np.arange(5.0)[np.newaxis], [0])])
    assert hidden.predict(Z)[0, 0] == pytest.approx(3)
    big = np.finfo(dtype).max
    np.testing.assert_array_equal(kernels.activation_forward(column(big, -big, dtype=dtype), "softmax").T, [[1, 0]])
    np.testing.assert_array_equal(kernels.activation_forward(column(big, big, dtype=dtype), "softmax").T, [[0.5, 0.5]])


def test_c03_equal_huge_scores(backend, dtype):
    ln2 = pytest.approx(0.6931472, abs=5e-8)
    net = affine(np.full((2, 1), 1e8), [0, 0], dtype, ["softmax"], backend=backend)
    for y in ([1], [0], [[0], [1]], [[1], [0]]):
        assert net.loss([[1.0]], y) == ln2
        assert net.gradients([[1.0]], y)[0] == ln2
        assert kernels.loss_forward(column(1e8, 1e8, dtype=dtype), y, "cross_entropy") == ln2
    assert net.evaluate([[1.0]], [0])["loss"] == ln2
    assert net.train_step([[1.0]], [1], optimizer=SGD(lr=0)) == ln2
    assert net.fit([[1.0]], [1], optimizer=SGD(lr=0)).loss == [ln2]
    for y in ([1, 0], [[1, 0]]):  # and of a sigmoid far out: what is lost is not the loss
        assert kernels.loss_forward(np.array([[1e8, -1e8]], dtype), y, "binary_cross_entropy") == 0


def test_c04_the_true_class_has_probability_0(backend, dtype):
    Z = column(-400, 300, 400, dtype=dtype)
    net = affine(np.eye(3), np.zeros(3), dtype, ["softmax"], backend=backend)
    for y in ([0], [[1], [0], [0]]):
        assert kernels.loss_forward(Z, y, "cross_entropy") == 800.0
        np.testing.assert_allclose(kernels.loss_backward(Z, y, "cross_entropy").T, [[-1, 0, 1]], atol=1e-6)
        J, [(dW, db)] = net.gradients(Z, y)
        assert J == net.loss(Z, y) == 800.0
        np.testing.assert_allclose(db.T, [[-1, 0, 1]], atol=1e-6)
        np.testing.assert_allclose(dW, np.outer([-1, 0, 1], Z), atol=1e-3)
    assert net.train_step(Z, [0], optimizer=SGD(lr=1e-3)) == 800.0
    assert_finite(net)
    one = affine([[1.0]], [0], dtype, ["sigmoid"], backend=backend)
    J, [(_, db)] = one.gradients([[-800.0, 800.0]], [1, 0])
    assert (J, one.loss([[-800.0]], [1])) == (800.0, 800.0)
    np.testing.assert_allclose(db, 0, atol=1e-6)  # -1 and 1


def test_c05_sigmoid_at_both_ends(backend, dtype):
    Z = np.array([[-1000, -100, 0, 100, 1000]], dtype)
    A = kernels.activation_forward(Z, "sigmoid")
    if dtype == np.float32:
        assert A[0, 1] == 0 or abs(float(A[0, 1]) - 3.7835e-44) < 2.9e-45  # two units of a subnormal
    else:
        assert A[0, 1] == pytest.approx(3.720076e-44, rel=1e-6)
    np.testing.assert_array_equal(A[0, [0, 2, 3, 4]], [0, 0.5, 1, 1])
    net = affine([[1.0]], [0], dtype, ["sigmoid"], backend=backend)
    np.testing.assert_array_equal(net.predict(Z)[0, [0, 2, 3, 4]], [0, 0.5, 1, 1])
    z = np.linspace(-85 if dtype == np.float32 else -700, 20, 4001)[np.newaxis].astype(dtype)
    A_z = kernels.activation_forward(z, "sigmoid")
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(A_z, (1 / (1 + np.exp(-z.astype(np.longdouble)))).astype("f8"), rtol=1e-6)
    dZ = kernels.activation_backward(np.ones_like(Z), A, "sigmoid")
    assert np.isfinite(dZ).all()
    assert dZ[0, 2] == 0.25


def test_c08_derivative_of_relu_at_0_and_nan(backend, dtype):
    Z = np.array([[-1, -0.0, 0.0, 1, np.nan]], dtype)
    want = [[0, 0, 0, 1, np.nan]]
    dA = np.ones((1, 5), dtype)
    np.testing.assert_array_equal(kernels.activation_backward(dA, None, "relu", Z=Z), want)
    A = kernels.activation_forward(Z, "relu")
    np.testing.assert_array_equal(A, want)
    np.testing.assert_array_equal(kernels.activation_backward(dA, A, "relu"), want)
    np.testing.assert_array_equal(kernels.activation_backward(dA, A, "relu", Z=Z), want)
    # the same inside a network: hidden Z of -1, 0 and 1, then the sum
    net = Network([1, 1, 1], ["relu", "identity"], "mse", dtype=dtype, seed=0, backend=backend)
    net.set_parameters([([[1.0]], [0]), ([[1.0]], [0])])
    for x, slope in ((-1, 0), (-0.0, 0), (0.0, 0), (1, 1)):
        _, [(_, db), _] = net.gradients([[x]], [max(x, 0) - 1.0])
        assert db[0, 0] == 2 * slope


@pytest.mark.skip(reason="measured in benchmarks")
def test_c09_slow_on_subnormal_numbers():
    pass


def test_c11_tanh_near_0_and_far_out(backend, dtype):
    Z = np.array([[1e-4, -1e-6, 0.0, 10, 50, -200]], dtype)
    A = kernels.activation_forward(Z, "tanh")
    np.testing.assert_allclose(A, [[1e-4, -1e-6, 0, 1, 1, -1]], rtol=4e-7)
    z = np.concatenate([np.logspace(-30, 2.5, 3000), np.linspace(0, 20, 3000)]).astype(dtype)[np.newaxis]
    A = kernels.activation_forward(z, "tanh")
    with np.errstate(all="ignore"):
        want = np.tanh(z.astype(np.longdouble)).astype("f8")
    np.testing.assert_allclose(A, want, rtol=4e-7 if dtype == np.float32 else 1e-14)
    np.testing.assert_array_equal(kernels.activation_forward(-z, "tanh"), -A)
    assert (np.abs(A) <= 1).all()
    net = affine([[1.0]], [0], dtype, ["tanh"], backend=backend)
    np.testing.assert_allclose(net.predict(z), want, rtol=4e-7 if dtype == np.float32 else 1e-14)
    np.testing.assert_array_equal(net.predict(-z), -net.predict(z))


def test_c12_mean_over_nothing(backend, dtype):
    net = Network([3, 4, 2], dtype=dtype, seed=0, backend=backend)
    X, y, m = np.ones((3, 5), dtype), np.array([0, 1, 0, 1, 1]), 5
    Y = np.eye(2)[:, y]
    with weights_unchanged(net):
        for labels in (y, Y):
            for call in (net.loss, net.evaluate, net.gradients, net.train_step, net.fit, net.gradient_check):
                for x, none in ((X[:, :0], labels[..., :0]), (np.zeros((3, 0)), labels[..., :0])):
                    with pytest.raises(ValueError, match="X has 0 samples"):
                        call(x, none)
            for call in (net.loss, net.gradients, net.fit):
                with pytest.raises(ValueError, match="sample_weight is 0 for every sample"):
                    call(X, labels, sample_weight=np.zeros(m))
        for loss in (kernels.loss_forward, kernels.loss_backward):
            with pytest.raises(ValueError, match="Z has 0 samples"):
                loss(np.zeros((2, 0)), [], "mse")
            with pytest.raises(ValueError, match="sample_weight is 0"):
                loss(np.zeros((2, 5)), y, "cross_entropy", np.zeros(5))
        with pytest.raises(ValueError, match="dZ has 0 samples"):
            kernels.linear_backward(np.zeros((2, 0)), np.zeros((3, 0)))
        with pytest.raises(ValueError, match="y"):
            net.fit(X, [])
    # what is no mean has an answer
    assert net.predict(X[:, :0]).shape == (2, 0)
    assert net.predict_classes(X[:, :0]).shape == (0,)
    assert kernels.rowsum(np.zeros((2, 0))).tolist() == [[0], [0]]
