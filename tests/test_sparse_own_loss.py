"""A sparse X where the derivatives are the caller's: a loss of one's own, backward, the flat view, batches."""

import numpy as np
import pytest

import reference as ref
from case_helpers import bits, state_of
from conftest import COMPILED
from fastnn import SGD, Adam, Network, kernels

scipy_sparse = pytest.importorskip("scipy.sparse")

N, M = 40, 70
QUIET = {"progress": False}
rng = np.random.default_rng(0)
X = rng.standard_normal((N, M)) * (rng.uniform(size=(N, M)) < 0.2) + (np.arange(N) == 3)[:, np.newaxis] * 50.0
X[N // 2], X[:, M // 3] = 0, 0
Y, W = rng.standard_normal((2, M)), rng.uniform(size=M)
CSR = scipy_sparse.csr_matrix(X)
LISTS = {
    "csr": CSR,
    "int64, unordered": scipy_sparse.coo_array(
        (CSR.tocoo().data[::-1], tuple(k[::-1].astype(np.int64) for k in CSR.tocoo().coords)), shape=(N, M)
    ),
    "float32": CSR.astype(np.float32),
    "no number": scipy_sparse.csc_array((N, M)),
    "one sample": scipy_sparse.csc_array(X)[:, :1],
}


def squares(A, y):
    return ((A - y) ** 2).sum(axis=0), 2 * (A - y)


def new(dtype, backend, loss="mse", adapt=False, units=9, **more):
    net = Network([N, units, 2], ["tanh", "identity"], loss, dtype=dtype, seed=3, backend=backend, **more)
    if adapt:
        net.adapt(X)
    return net


def tolerance(dtype, of=1.0):
    return {"rtol": 2e-5 * of, "atol": 2e-6 * of} if np.dtype(dtype) == np.float32 else {"rtol": 1e-11, "atol": 1e-12}


def assert_alike(some, others, dtype, of=1.0):
    for layer, wanted in zip(some, others, strict=True):
        for T, U in zip(layer, wanted, strict=True):
            np.testing.assert_allclose(T, U, **tolerance(dtype, of))


@pytest.mark.parametrize("adapt", [False, True])
@pytest.mark.parametrize("lists", LISTS)
def test_backward_gives_gradients_and_a_dense_dx(backend, dtype, lists, adapt):
    given, net = LISTS[lists], new(dtype, backend, adapt=adapt)
    array, y = given.toarray(), Y[:, : given.shape[1]]
    exact, scale = array, 1.0
    if adapt:
        mean, scale = net.standardisation[:2]
        exact = (array - mean) / scale
    parameters = [tuple(T.astype(np.float64) for T in layer) for layer in net.parameters]
    A = ref.forward(parameters, ["tanh", "identity"], exact)[-1]["A"]
    gradients, dX = net.backward(given, 2 * (A - y))
    _, wanted = ref.gradients(parameters, ["tanh", "identity"], "mse", exact, y)
    for layer, pairs in zip(gradients, wanted, strict=True):
        for T, pair, name in zip(layer, pairs, ("dW", "db"), strict=True):
            ref.assert_close(T, pair, dtype, name)
    assert type(dX) is np.ndarray
    assert (dX.shape, dX.dtype) == (array.shape, net.dtype)
    np.testing.assert_allclose(dX, net.backward(array, 2 * (A - y))[1], **tolerance(dtype))
    (W_1, b_1), (W_2, _) = parameters
    inner = 1 - np.tanh(W_1 @ exact + b_1) ** 2
    np.testing.assert_allclose(dX, W_1.T @ (inner * (W_2.T @ (2 * (A - y)))) / scale, **tolerance(dtype, 4))


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3}, {"norm": "batch"}, {"adapt": True}], ids=str)
def test_a_loss_of_ones_own_is_that_of_the_array(backend, dtype, settings):
    one, other = (new(dtype, backend, squares, **settings) for _ in "ab")
    losses = []
    for net, given in ((one, CSR), (other, X)):
        found = [net.train_step(given, Y, Adam(lr=0.01)) for _ in range(3)]
        found += [net.train_step(given, Y, sample_weight=W), net.loss(given, Y, W)]
        found += [net.gradients(given, Y, W)[0], net.gradients(given, Y, training=True)[0]]
        found += net.evaluate(given, Y, metrics=[lambda y, A: float(abs(A - y).max())]).values()
        found += net.fit(given, Y, 2, 16, validation_data=(given, Y), **QUIET).loss
        found += net.fit(given, Y, 1, 16, SGD(lr=0.01), samples=np.arange(9, 60), sample_weight=W, **QUIET).loss
        losses.append(found)
    np.testing.assert_allclose(*losses, rtol=2e-4 if dtype == np.float32 else 1e-9)
    assert_alike(one.parameters, other.parameters, dtype, 50)


def test_a_loss_for_one_step_has_the_numbers_of_ours(backend, dtype):
    one, other = (new(dtype, backend) for _ in "ab")
    for _ in range(3):
        assert one.train_step(CSR, Y, SGD(lr=0.05), loss=squares) == pytest.approx(
            other.train_step(CSR, Y, SGD(lr=0.05)), rel=1e-5
        )
    assert_alike(one.parameters, other.parameters, dtype, 4)


@pytest.mark.skipif(COMPILED is None, reason="the number of threads is the compiled backend's")
@pytest.mark.parametrize("adapt", [False, True])
def test_any_number_of_threads_gives_the_same_bits(dtype, adapt, isa):
    found = set()
    for threads in (1, 2, 3, 7):
        net = new(dtype, "compiled", squares, adapt, 70, threads=threads)
        net.fit(CSR, Y, 2, 16, SGD(lr=0.05), **QUIET)
        net.train_step(CSR, Y)
        gradients, dX = net.backward(CSR, Y)
        found.add((*state_of(net), dX.tobytes("F"), *(T.tobytes("F") for T in gradients[0])))
    assert len(found) == 1


def test_the_flat_view(backend, dtype):
    net = new(dtype, backend)
    v = np.random.default_rng(1).standard_normal(net.n_params).astype(dtype)
    found = [net.loss_and_gradient(v, given, Y, W) for given in (CSR, X)]
    np.testing.assert_allclose(found[0][0], found[1][0], **tolerance(dtype))
    np.testing.assert_allclose(found[0][1], found[1][1], **tolerance(dtype, 10))


def test_batches_may_be_sparse(backend, dtype):
    parts = [slice(i, i + 16) for i in range(0, M, 16)]
    for loss in ("mse", squares):
        one, other = (new(dtype, backend, loss) for _ in "ab")
        one.fit([(CSR[:, part], Y[:, part], W[part]) for part in parts], epochs=2, optimizer=SGD(lr=0.01), **QUIET)
        how = {"epochs": 2, "batch_size": 16, "shuffle": False, "sample_weight": W}
        other.fit(CSR, Y, optimizer=SGD(lr=0.01), **how, **QUIET)
        assert bits(one) == bits(other)
    with pytest.raises(TypeError, match="y is missing"):
        one.fit(CSR)
    with pytest.raises(ValueError, match=r"batch 0 of epoch 0: X has shape \(70, 40\)"):
        one.fit([(CSR.T, Y)])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(backend, bad):
    values = X.copy()
    values[7, 12] = bad
    given, net = scipy_sparse.csc_array(values), new("float64", backend, squares)
    before = state_of(net)
    for call in (net.train_step, net.fit):
        with pytest.raises(ValueError, match=r"X has 1 non-finite value, first at column 12 \(sample 12, feature 7\)"):
            call(given, Y)
        assert state_of(net) == before


def test_a_step_in_which_the_network_changes_is_refused(backend):
    net = new("float64", backend)

    def changes(A, y):
        net.set_parameters(net.parameters)
        return squares(A, y)

    with pytest.raises(RuntimeError, match="changed"):
        net.train_step(CSR, Y, loss=changes)
    net.train_step(CSR, Y, loss=squares)


def test_functions_of_one_layer_say_what_to_write():
    with pytest.raises(TypeError, match=r"A_prev, .*, is sparse; .* write A_prev\.toarray\(\)"):
        kernels.linear_forward(np.ones((2, N)), CSR, np.zeros(2))
