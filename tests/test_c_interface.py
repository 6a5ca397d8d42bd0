"""The C interface by itself: what is no legal argument is refused, and nothing is changed by it."""

import ctypes
import functools
import itertools
import os

import numpy as np
import pytest

from case_helpers import python
from conftest import COMPILED

if COMPILED is None:
    pytest.skip("the extension is not here", allow_module_level=True)

from c_interface import (
    ADAGRAD,
    ADAM,
    CROSS_ENTROPY,
    GAUSSIAN_NLL,
    LEAKY_RELU,
    MOMENTUM,
    MSE,
    NADAM,
    NO_MEMORY,
    QUANTILE,
    REFUSED,
    RELU,
    RMSPROP,
    RMSPROP_MOMENTUM,
    SGD,
    SOFTMAX,
    SPARSE,
    VOID,
    Fit,
    Layer,
    Matrix,
    Optimizer,
    Sparse,
    Spec,
    Targets,
    in_c,
    matrix,
    new_net,
)

ISA = (0,)
SMALL_STEP = Optimizer(kind=SGD, lr=0.1)


def entries(n, k, m, threads, arrays, net):
    """Every entry that takes sizes, with these; results are in arrays."""
    W, X, b, Z, dW, db, dX, out, losses, total = arrays
    w, x, c, z, o = map(matrix, (W, X, b, Z, out))
    ow, ob, ox = map(matrix, (dW, db, dX))
    targets, t, softmax, mse = Targets(Y=z), (threads,), Spec(SOFTMAX), Spec(MSE)
    gradients = (Matrix * 2)(ow, ob)
    doubles, sum_of = losses.ctypes.data_as(ctypes.c_void_p), total.ctypes.data_as(ctypes.c_void_p)
    return {
        "forward": lambda: in_c("linear_forward", ISA, o, w, x, c, softmax, n, k, m, (0,), t),
        "backward": lambda: in_c("linear_backward", ISA, ow, ob, ox, z, x, w, softmax, n, k, m, t),
        "activation": lambda: in_c("activation_forward", ISA, o, z, softmax, n, m, t),
        "derivative": lambda: in_c("activation_backward", ISA, o, z, z, softmax, n, m, t),
        "rowsum": lambda: in_c("rowsum", ISA, ob, z, n, m, t),
        "loss": lambda: in_c("loss", ISA, doubles, o, z, targets, mse, n, m, t),
        "predict": lambda: in_c("net_predict", net, o, x, m, t),
        "loss of a net": lambda: in_c("net_loss", net, sum_of, x, targets, m, t),
        "gradients": lambda: in_c("net_gradients", net, sum_of, gradients, x, targets, m, t),
    }


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    # Room around what is given: 3 units of 5 samples, from 4.
    shapes = [(3, 4), (4, 5), (3, 1), (3, 5), (3, 4), (3, 1), (4, 5), (3, 5), (5,), (1,)]
    arrays = [rng.standard_normal(shape) for shape in shapes]
    net = ctypes.c_void_p(new_net(4, 3, SOFTMAX))
    yield arrays, net
    in_c("net_free", net, result=None)


@pytest.mark.parametrize("threads", [0, -1, -(2**31)])
def test_no_threads_are_one(small, threads):
    arrays, net = small
    for name, call in entries(3, 4, 5, threads, arrays, net).items():
        assert call() == 0, name
        got = [np.copy(a) for a in arrays]
        assert entries(3, 4, 5, 1, arrays, net)[name]() == 0
        for a, b in zip(got, arrays, strict=True):
            assert a.tobytes() == b.tobytes(), name
    w, g = matrix(arrays[0]), matrix(arrays[4])
    before, t = np.copy(arrays[0]), ctypes.c_uint64(1)
    in_c("optimizer_update", ISA, SMALL_STEP, t, w, None, None, g, 3, 4, (threads,))
    np.testing.assert_allclose(arrays[0], before - 0.1 * arrays[4], rtol=1e-12)
    in_c("net_force_threads", net, (threads,), result=None)
    assert in_c("net_train_threads", net, 5, (1,)) == 1
    fit, room = step(1), np.empty(2)
    fit.ended = room.ctypes.data
    assert in_c("net_train", net, *samples(arrays), fit, (threads,)) == 0
    assert fit.ended_count == 1


def step(batch):
    return Fit(batch=batch, optimizer=ctypes.pointer(SMALL_STEP), max_batches=10, max_epochs=1)


def samples(arrays, m=5):
    return matrix(arrays[1]), Targets(Y=matrix(arrays[3])), m


@pytest.mark.parametrize("size", [-1, -5, -(2**40), -(2**63), 2**49, 2**58, 2**62, 2**63 - 1])
def test_sizes_that_are_none_are_refused(small, size):
    arrays, net = small
    before = [a.tobytes() for a in arrays]
    for n, k, m in ((size, 4, 5), (3, size, 5), (3, 4, size), (size, size, size)):
        for name, call in entries(n, k, m, 1, arrays, net).items():
            if (n, m) == (3, 5) and not name.endswith("ward"):
                continue  # knows no k
            if m == 5 and name in ("predict", "loss of a net", "gradients"):
                continue  # nor n
            assert call() == NO_MEMORY, (name, n, k, m)
    assert in_c("net_train", net, *samples(arrays, size), step(1), (1,)) == NO_MEMORY
    for sizes in ((4, size), (size, 3), (size, size)):
        assert new_net(*sizes) is None, sizes
    w, t = matrix(arrays[0]), ctypes.c_uint64(1)
    for n, m in ((size, 4), (3, size), (size, size)):
        assert in_c("optimizer_update", ISA, SMALL_STEP, t, w, None, None, w, n, m, (1,)) == NO_MEMORY
    assert in_c("net_train", net, *samples(arrays), step(size), (1,)) == NO_MEMORY
    assert before == [a.tobytes() for a in arrays]


def test_other_numbers_that_are_none_are_refused(small):
    arrays, net = small
    for slots in (-1, 3, -(2**31)):
        assert in_c("net_start_optimizer", net, (slots,)) == REFUSED
    for position in (-1, 6):
        fit = step(2)
        fit.position = position
        assert in_c("net_train", net, *samples(arrays), fit, (1,)) == REFUSED
    assert in_c("net_train", net, *samples(arrays), step(0), (1,)) == REFUSED
    fit = step(2)
    fit.samples_step = -1
    assert in_c("net_train", net, *samples(arrays), fit, (1,)) == REFUSED
    for name in ("penalty", "loss_factor", "reported_factor"):
        for number in (-1.0, np.inf, np.nan):
            fit = step(5)
            setattr(fit, name, number)
            assert in_c("net_train", net, *samples(arrays), fit, (1,)) == REFUSED
    w, b = matrix(arrays[0]), matrix(arrays[2])
    for function in ("net_set", "net_get"):
        assert in_c(function, net, (0,), (0,), w) == in_c(function, net, (0,), (1,), b) == 0
        for layer, parameter in ((-1, 0), (1, 0), (2**31 - 1, 1), (0, -1), (0, 2), (0, 99)):
            assert in_c(function, net, (layer,), (parameter,), w) == REFUSED
    for function in ("net_set_moment", "net_get_moment"):
        assert in_c(function, net, (0,), (0,), (0,), w) == REFUSED  # there are none yet
    for layers in (0, -1):
        assert new_net(4, 3, count=layers) is None
    assert in_c("net_start_optimizer", net, (2,)) == 0
    for function in ("net_set_moment", "net_get_moment"):
        assert in_c(function, net, (1,), (0,), (0,), w) == 0
        for slot, layer, parameter in ((-1, 0, 0), (2, 0, 0), (0, 1, 0), (1, 0, 2)):
            assert in_c(function, net, (slot,), (layer,), (parameter,), w) == REFUSED


@pytest.mark.parametrize("kind", [-1, 99, 2**31 - 1, -(2**31)])
def test_kinds_that_there_are_none_of_are_refused(small, kind):
    arrays, net = small
    before = [a.tobytes() for a in arrays]
    w, x, c, z, o = map(matrix, (*arrays[:4], arrays[7]))
    none, targets, few = Spec(kind), Targets(Y=z), (1,)
    assert in_c("linear_forward", ISA, o, w, x, c, none, 3, 4, 5, (0,), few) == REFUSED
    assert in_c("linear_backward", ISA, w, c, x, z, x, w, none, 3, 4, 5, few) == REFUSED
    assert in_c("activation_forward", ISA, o, z, none, 3, 5, few) == REFUSED
    assert in_c("activation_backward", ISA, o, z, z, none, 3, 5, few) == REFUSED
    assert in_c("loss", ISA, None, o, z, targets, none, 3, 5, few) == REFUSED
    assert in_c("rowsum", (kind,), c, z, 3, 5, few) == REFUSED
    optimizer, t = Optimizer(kind=kind, lr=0.1), ctypes.c_uint64(1)
    assert in_c("optimizer_update", ISA, optimizer, t, w, None, None, w, 3, 4, few) == REFUSED
    fit = step(1)
    fit.optimizer = ctypes.pointer(optimizer)
    assert in_c("net_train", net, *samples(arrays), fit, few) == REFUSED
    assert new_net(4, 3, activation=kind) is None
    assert new_net(4, 3, loss=kind) is None
    assert new_net(4, 3, dtype=kind) is None
    assert before == [a.tobytes() for a in arrays]


@pytest.mark.parametrize(
    ("kind", "slots"),
    [(MOMENTUM, 1), (ADAM, 2), (NADAM, 2), (RMSPROP, 1), (RMSPROP_MOMENTUM, 2), (ADAGRAD, 1)],
)
def test_an_optimizer_for_which_there_are_too_few_moments_is_refused(small, kind, slots):
    arrays, net = small
    fit, optimizer, t = step(1), Optimizer(kind=kind, lr=0.1, eps=1e-8), ctypes.c_uint64(1)
    fit.optimizer, fit.max_batches = ctypes.pointer(optimizer), 1
    copies = [arrays[0].copy() for _ in range(3)]
    w, m_1, m_2 = map(matrix, copies)
    for given in range(3):
        status = 0 if given >= slots else REFUSED
        assert in_c("net_start_optimizer", net, (given,)) == 0
        assert in_c("net_train", net, *samples(arrays), fit, (1,)) == status
        moments = (m_1 if given > 0 else None, m_2 if given > 1 else None)
        assert in_c("optimizer_update", ISA, optimizer, t, w, *moments, w, 3, 4, (1,)) == status


def test_matrices_of_two_dtypes_or_of_none_are_refused(small):
    arrays, net = small
    before = [a.tobytes() for a in arrays]
    w, x, b, z, dw, db, dx, o = map(matrix, arrays[:8])
    adam, t = Optimizer(kind=ADAM, lr=0.1, eps=1e-8), ctypes.c_uint64(1)
    relu, mse, few = Spec(RELU), Spec(MSE), (1,)
    calls = {
        "linear_forward": (lambda o, w, x, b: (ISA, o, w, x, b, relu, 3, 4, 5, (0,), few), (o, w, x, b)),
        "linear_backward": (lambda *all_: (ISA, *all_, relu, 3, 4, 5, few), (dw, db, dx, z, x, w)),
        "activation_forward": (lambda o, z: (ISA, o, z, relu, 3, 5, few), (o, z)),
        "activation_backward": (lambda o, d, a: (ISA, o, d, a, relu, 3, 5, few), (o, z, z)),
        "rowsum": (lambda s, z: (ISA, s, z, 3, 5, few), (b, z)),
        "optimizer_update": (lambda *all_: (ISA, adam, t, *all_, 3, 4, few), (w, w, w, w)),
        "net_gradients": (lambda *all_: (net, None, (Matrix * 2)(*all_), x, Targets(Y=z), 5, few), (w, b)),
        "net_predict": (lambda o: (net, o, x, 5, few), (o,)),
        "net_set": (lambda w: (net, (0,), (0,), w), (w,)),
        "net_get": (lambda w: (net, (0,), (1,), w), (b,)),
    }
    for name, (given, matrices) in calls.items():
        for at in range(len(matrices)):
            for dtype in (0, -1, 2, 2**31 - 1):
                odd = [Matrix.from_buffer_copy(one) for one in matrices]
                odd[at].dtype = dtype
                assert in_c(name, *given(*odd)) == REFUSED, (name, at, dtype)
    for dtype in (-1, 3):  # 2 is uint8, which X of a network may be
        odd = Matrix.from_buffer_copy(x)
        odd.dtype = dtype
        assert in_c("net_predict", net, o, odd, 5, few) == REFUSED
        assert in_c("net_train", net, odd, Targets(Y=z), 5, step(1), few) == REFUSED
        odd = Matrix.from_buffer_copy(z)
        odd.dtype = dtype
        assert in_c("loss", ISA, None, o, z, Targets(Y=odd), mse, 3, 5, few) == REFUSED
        assert in_c("net_loss", net, None, x, Targets(Y=odd), 5, few) == REFUSED
        assert in_c("net_train", net, x, Targets(Y=odd), 5, step(1), few) == REFUSED
    assert before == [a.tobytes() for a in arrays]


@pytest.mark.parametrize(
    "wrong", [{"dtype": 3}, {"dtype": 8}, {"m": 4}, {"longest": -1}, {"size": ctypes.sizeof(Sparse) - 8}], ids=str
)
def test_a_sparse_x_that_is_not_legal_is_refused(small, wrong):
    arrays, net = small
    X, Z, o = arrays[1], matrix(arrays[3]), matrix(arrays[7])
    features, starts = np.tile(np.arange(4, dtype=np.int32), 5), np.arange(0, 21, 4)
    values = np.asfortranarray(X)
    lists = Sparse(dtype=1, m=5, values=values.ctypes.data, longest=4)
    lists.features, lists.starts = features.ctypes.data, starts.ctypes.data
    given, few = Matrix(ctypes.addressof(lists), 0, 0, SPARSE), (1,)
    total, gradients = np.empty(1), (Matrix * 2)(*map(matrix, arrays[4:6]))
    at, room = total.ctypes.data_as(VOID), np.empty(2)

    def statuses():
        fit = step(1)
        fit.ended = room.ctypes.data
        yield in_c("net_predict", net, o, given, 5, few)
        yield in_c("net_loss", net, at, given, Targets(Y=Z), 5, few)
        yield in_c("net_gradients", net, at, gradients, given, Targets(Y=Z), 5, few)
        yield in_c("net_train", net, given, Targets(Y=Z), 5, fit, few)
        yield in_c("net_training_outputs", net, o, given, 5, ctypes.c_uint64(0), few)
        yield in_c("net_backward", net, gradients, None, given, Z, 5, ctypes.c_double(5), (0,), ctypes.c_uint64(0), few)

    assert list(statuses()) == [0] * 6
    for name, value in wrong.items():
        setattr(lists, name, value)
    before = [a.tobytes() for a in arrays]
    assert list(statuses()) == [REFUSED] * 6
    assert before == [a.tobytes() for a in arrays]


@pytest.mark.parametrize("slope", [-0.1, np.nan, np.inf, 1e39, 1e-39, 5e-324])
def test_parameters_that_are_not_legal_are_refused(small, slope):
    arrays, _ = small
    _, _, _, z, _, _, _, o = map(matrix, arrays[:8])
    steep = Spec(LEAKY_RELU, (ctypes.c_double * 2)(slope))
    assert in_c("activation_forward", ISA, o, z, steep, 3, 5, (1,)) == REFUSED
    assert in_c("activation_backward", ISA, o, z, z, steep, 3, 5, (1,)) == REFUSED
    assert in_c("net_new", ISA, (1,), 4, (1,), Layer(units=3, activation=steep), Spec(MSE), result=VOID) is None
    for legal in (0, 1.2e-38, 3.4e38):
        spec = Spec(LEAKY_RELU, (ctypes.c_double * 2)(legal))
        assert in_c("activation_forward", ISA, o, z, spec, 3, 5, (1,)) == 0
    unused = Spec(RELU, (ctypes.c_double * 2)(slope, slope))  # whose parameters nobody reads
    assert in_c("activation_forward", ISA, o, z, unused, 3, 5, (1,)) == 0


def test_what_does_not_go_together_is_refused(small):
    arrays, _ = small
    w, x, _, z, dw, db = map(matrix, arrays[:6])
    assert new_net(4, 3, RELU, loss=CROSS_ENTROPY) is None  # which needs softmax
    adam, t = Optimizer(kind=ADAM, lr=0.1, eps=1e-8), ctypes.c_uint64(1)
    assert in_c("optimizer_update", ISA, adam, t, w, dw, None, w, 3, 4, (1,)) == REFUSED  # which has two moments
    assert in_c("linear_backward", ISA, dw, db, None, z, x, None, None, 3, 4, 5, (1,)) == 0  # dA_prev is not wanted


def test_targets_with_other_rows_than_units(small):
    arrays, _ = small
    x, z, o, few = matrix(arrays[1]), matrix(arrays[3]), matrix(arrays[7]), (1,)
    y, codes, losses = np.ones((1, 5)), np.zeros(5, np.int32), np.empty((3, 5))
    coded, one_row = Targets(codes=codes.ctypes.data), Targets(Y=matrix(y))
    quantile, gaussian = ctypes.c_void_p(new_net(4, 3, loss=QUANTILE)), Spec(GAUSSIAN_NLL)
    assert new_net(4, 3, loss=GAUSSIAN_NLL) is None  # needs a log-variance for each mean
    assert in_c("loss", ISA, None, o, z, one_row, gaussian, 3, 5, few) == REFUSED
    for kind, n in ((Spec(QUANTILE), 3), (gaussian, 2)):
        assert in_c("loss", ISA, None, o, z, coded, kind, n, 5, few) == REFUSED
        assert in_c("loss", ISA, None, o, z, one_row, kind, n, 5, few) == 0
    assert in_c("net_loss", quantile, None, x, coded, 5, few) == REFUSED
    assert in_c("net_train", quantile, x, coded, 5, step(1), few) == REFUSED
    in_c("net_free", quantile, result=None)

    def of_levels(targets, at):
        assert in_c("loss", ISA, VOID(losses[at].ctypes.data), None, z, targets, Spec(QUANTILE), 3, 5, few) == 0

    levels = np.array([0.25, 0.5, 0.75])
    older = Targets(Y=matrix(y), levels=1)  # a caller that does not know of levels
    older.size = Targets.levels.offset
    for at, targets in enumerate((Targets(Y=matrix(y), levels=levels.ctypes.data), older, one_row)):
        of_levels(targets, at)
    assert (losses == losses[0]).all()


@pytest.mark.parametrize(("loss", "units", "targets"), [(MSE, 3, 3), (QUANTILE, 3, 1), (GAUSSIAN_NLL, 4, 2)])
def test_standards_that_do_not_fit_are_refused(loss, units, targets):
    net, x, few = ctypes.c_void_p(new_net(4, units, loss=loss)), np.ones((4, 5)), (1,)
    means, ones, out, left = np.full(8, 2.0), np.full(8, 0.5), np.empty((units, 5)), np.empty((units, 5))

    def standardise(x_mean=means, x_scale=ones, count=targets, y_mean=means, y_scale=ones, a_scale=ones, a_shift=means):
        at = [None if T is None else VOID(T.ctypes.data) for T in (x_mean, x_scale, y_mean, y_scale, a_scale, a_shift)]
        return in_c("net_standardise", net, *at[:2], count, *at[2:])

    def predict(out):
        assert in_c("net_predict", net, matrix(out), matrix(x), 5, few) == 0

    nothing = {"count": 0, "y_mean": None, "y_scale": None}
    assert standardise() == standardise(x_mean=None, x_scale=None) == standardise(a_scale=None, a_shift=None) == 0
    assert standardise(**nothing) == standardise() == 0
    predict(left)
    assert (left == 2).all()  # W and b are 0
    for count in (targets - 1, targets + 1, -1, 2**62):
        assert standardise(count=count) == REFUSED
    assert standardise(**nothing | {"count": targets}) == REFUSED
    for half in ("x_mean", "x_scale", "y_mean", "y_scale", "a_scale", "a_shift"):
        assert standardise(**{half: None}) == REFUSED
        for bad in (np.nan, np.inf, *((0.0, -1.0, 5e-324) if "scale" in half else ())):
            wrong = np.ones(8)
            wrong[0] = bad
            assert standardise(**{half: wrong}) == REFUSED
    predict(out)
    np.testing.assert_array_equal(out, left)
    in_c("net_free", net, result=None)


def test_levels_are_those_of_the_call(small):
    """A network keeps its plan from call to call."""
    arrays, _ = small
    x, y, few, found = matrix(arrays[1]), np.ones((1, 5)), (1,), []
    for each in ([[0.2, 0.5, 0.9]], [[0.5, 0.5, 0.5], [0.2, 0.5, 0.9]]):
        net, b = ctypes.c_void_p(new_net(4, 3, loss=QUANTILE)), np.zeros((3, 1))
        for levels in map(np.array, each):
            for parameter, zeros in enumerate((np.zeros((3, 4)), np.zeros((3, 1)))):
                in_c("net_set", net, (0,), (parameter,), matrix(zeros))
            targets, fit, room = Targets(Y=matrix(y), levels=levels.ctypes.data), step(5), np.empty(2)
            fit.ended = room.ctypes.data
            assert in_c("net_train", net, x, targets, 5, fit, few) == 0
        in_c("net_get", net, (0,), (1,), matrix(b))
        found.append(b)
        in_c("net_free", net, result=None)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], 0.1 * np.array([[0.2], [0.5], [0.9]]))


def test_a_struct_that_is_too_short_is_refused(small):
    arrays, net = small
    (x, targets, m), few = samples(arrays), (1,)
    for size in (0, 7, 8):
        for struct in (targets, fit := step(1), fit.optimizer.contents):
            whole, struct.size = struct.size, size
            assert in_c("net_train", net, x, targets, m, fit, few) == REFUSED
            struct.size = whole
        short = Layer(units=3)
        short.size = size
        assert in_c("net_new", ISA, (1,), 4, (1,), short, Spec(MSE), result=VOID) is None


@pytest.mark.parametrize("rate", [-0.1, 1.0, np.nan, 2.0])
def test_a_rate_of_dropout_that_is_not_legal_is_refused(rate):
    for rates in ((rate, 0.0), (0.0, 0.5)):  # the last layer has none
        layers = (Layer * 2)(*(Layer(units=3, dropout=one) for one in rates))
        assert in_c("net_new", ISA, (1,), 4, (2,), layers, Spec(MSE), result=VOID) is None


def test_updates_are_counted(small):
    arrays, net = small
    x, y, m = samples(arrays)
    assert in_c("net_updates", net, result=ctypes.c_uint64) == 0
    for _ in range(3):
        trained(net, x, y, m, Optimizer(kind=SGD, lr=1e-3))
    in_c("net_start_optimizer", net, (0,))
    assert in_c("net_updates", net, result=ctypes.c_uint64) == 3
    in_c("net_set_updates", net, ctypes.c_uint64(2**40), result=None)
    trained(net, x, y, m, Optimizer(kind=SGD, lr=1e-3))
    assert in_c("net_updates", net, result=ctypes.c_uint64) == 2**40 + 1


def longer(struct):
    """`struct` as a caller of a later release has it: larger than the core knows, its last bytes not 0."""
    room = ctypes.create_string_buffer(bytes(struct) + b"\xff" * 24)
    grown = type(struct).from_buffer(room)
    grown.size = len(room) - 1
    return grown, room


def test_a_struct_that_is_longer_is_taken_and_only_its_known_part_changed(small):
    arrays, _ = small
    x, targets, m = samples(arrays)
    fits = []
    for grow in (lambda struct: (struct, None), longer):
        trained, ended = ctypes.c_void_p(new_net(4, 3, SOFTMAX)), np.empty(2)
        optimizer, _o = grow(Optimizer(kind=SGD, lr=0.1))
        fit, room = grow(Fit(batch=2, optimizer=ctypes.pointer(optimizer), max_batches=10, max_epochs=1))
        fit.ended = ended.ctypes.data
        y, _y = grow(targets)
        assert in_c("net_train", trained, x, y, m, fit, (1,)) == 0
        assert (fit.ended_count, fit.epoch, fit.finite) == (1, 1, 1)
        assert room is None or room.raw[-25:-1] == b"\xff" * 24
        fits.append(ended.tobytes())
        in_c("net_free", trained, result=None)
    assert fits[0] == fits[1]
    layer, _l = longer(Layer(units=3, activation=Spec(SOFTMAX)))
    grown = ctypes.c_void_p(in_c("net_new", ISA, (1,), 4, (1,), layer, Spec(CROSS_ENTROPY), result=VOID))
    assert in_c("net_width", grown, (1,), result=ctypes.c_ssize_t) == 3
    in_c("net_free", grown, result=None)


def test_an_instruction_set_that_does_not_exist_is_refused(small):
    arrays, _ = small
    before = [a.tobytes() for a in arrays]
    w, x, b, z, dw, db, dx, o = map(matrix, arrays[:8])
    t, sgd, targets, few = ctypes.c_uint64(1), Optimizer(kind=SGD, lr=0.1), Targets(Y=z), (1,)
    relu, mse = Spec(RELU), Spec(MSE)
    for isa in ((-1,), (99,), (2**31 - 1,)):
        assert in_c("linear_forward", isa, o, w, x, b, relu, 3, 4, 5, (0,), few) == REFUSED
        assert in_c("linear_backward", isa, dw, db, dx, z, x, w, relu, 3, 4, 5, few) == REFUSED
        assert in_c("activation_forward", isa, o, z, relu, 3, 5, few) == REFUSED
        assert in_c("activation_backward", isa, o, z, z, relu, 3, 5, few) == REFUSED
        assert in_c("rowsum", isa, b, z, 3, 5, few) == REFUSED
        assert in_c("loss", isa, None, o, z, targets, mse, 3, 5, few) == REFUSED
        assert in_c("optimizer_update", isa, sgd, t, w, None, None, dw, 3, 4, few) == REFUSED
        assert in_c("net_new", isa, (1,), 4, (1,), Layer(units=3), mse, result=VOID) is None
        assert in_c("isa_name", isa, result=VOID) is None
        assert in_c("isa_available", isa) == 0
        assert in_c("within", isa, arrays[0].ctypes.data_as(VOID), (1,), 12, ctypes.c_double(1e9)) == 0
        assert in_c("magnitude", isa, w, 3, 4, result=ctypes.c_double) == np.inf
    assert before == [a.tobytes() for a in arrays]


def test_the_interface_has_its_number():
    assert in_c("abi_number") == 2


def test_gradients_of_no_samples_are_0(small):
    arrays, net = small
    total, dW, db = np.array([7.0]), np.full((3, 4), 7.0), np.full((3, 1), 7.0)
    gradients, y = (Matrix * 2)(matrix(dW), matrix(db)), Targets(Y=matrix(arrays[3]))
    assert in_c("net_gradients", net, total.ctypes.data_as(VOID), gradients, matrix(arrays[1]), y, 0, (1,)) == 0
    assert total[0] == 0
    assert not dW.any()
    assert not db.any()


def trained(net, x, targets, m, optimizer, batches=1, **settings):
    """The fit after training on one batch of all samples at a time."""
    ended = np.empty(2 * batches)
    fit = Fit(batch=m, optimizer=ctypes.pointer(optimizer), max_batches=batches, max_epochs=batches, **settings)
    fit.ended = ended.ctypes.data
    assert in_c("net_train", net, x, targets, m, fit, (1,)) == 0
    return fit


def test_sgd_does_not_ask_for_the_moments_of_others(small):
    """Neither for their bounds: a momentum that SGD does not use may be any number."""
    arrays, net = small
    x, y, m = samples(arrays)
    assert in_c("net_start_optimizer", net, (1,)) == 0
    large = np.full((3, 4), 1e300)
    assert in_c("net_set_moment", net, (0,), (0,), (0,), matrix(large)) == 0
    assert in_c("net_finite", net) == 1
    sgd = Optimizer(kind=SGD, lr=1e-3, momentum=1e200)
    for _ in range(3):
        fit = trained(net, x, y, m, sgd, cautious=1)
        assert (fit.unsafe, fit.failed, fit.finite) == (0, 0, 1)
    kept = np.empty((3, 4))
    assert in_c("net_get_moment", net, (0,), (0,), (0,), matrix(kept)) == 0
    np.testing.assert_array_equal(kept, large)


@pytest.mark.parametrize("plain", [0, 1])
def test_losses_whose_sum_is_infinite_make_no_update(plain):
    net = ctypes.c_void_p(new_net(1, 1))
    start, bias = np.zeros((1, 1)), np.zeros((1, 1))
    assert in_c("net_set", net, (0,), (0,), matrix(start)) == in_c("net_set", net, (0,), (1,), matrix(bias)) == 0
    X, Y = np.ones((1, 4)), np.full((1, 4), 1e154)  # each loss is 1e308
    fit = trained(net, matrix(X), Targets(Y=matrix(Y)), 4, Optimizer(kind=SGD, lr=1e-300), plain=plain)
    assert (fit.failed, fit.loss_sum) == (1, 0)
    W = np.empty((1, 1))
    assert in_c("net_get", net, (0,), (0,), matrix(W)) == 0
    assert W[0, 0] == 0
    in_c("net_free", net, result=None)


def test_a_plan_is_kept_only_for_what_it_was_made_for():
    """Calls that differ in one thing, one after another on one network: each as on a network of its own."""
    rng = np.random.default_rng(5)
    X, Y, w = rng.standard_normal((4, 12)), rng.standard_normal((3, 12)), rng.uniform(size=12)
    X32, rows = X.astype("f4"), np.ascontiguousarray(X.T).T
    codes = np.arange(12, dtype="i4") % 3
    sgd, momentum = Optimizer(kind=SGD, lr=0.1), Optimizer(kind=MOMENTUM, lr=0.1, momentum=0.9)
    adam = Optimizer(kind=ADAM, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8)
    nadam = Optimizer(kind=NADAM, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8, momentum_decay=4e-3)
    rmsprop = Optimizer(kind=RMSPROP_MOMENTUM, lr=0.01, momentum=0.9, beta2=0.99, eps=1e-8)
    adagrad = Optimizer(kind=ADAGRAD, lr=0.01, eps=1e-8, lr_decay=0.1)
    of_values, of_codes = {"Y": matrix(Y)}, {"codes": codes.ctypes.data}
    weights = {"weights": w.ctypes.data}
    calls = [
        (X, of_values, 6, sgd, {}),
        (rows, of_values, 6, sgd, {}),
        (X32, of_values, 6, sgd, {}),
        (X, of_values, 6, sgd, {"plain": 1}),
        (X, of_values, 6, sgd, {}),
        (X, of_codes, 6, sgd, {}),
        (X, of_codes | weights, 6, sgd, {}),
        (X, of_values | weights, 6, momentum, {}),
        (X, of_values, 6, adam, {"cautious": 1}),
        (X, of_values, 6, adam, {"plain": 1, "cautious": 1}),
        (X, of_values, 3, adam, {}),
        (X, of_values, 3, nadam, {}),
        (X, of_values, 3, rmsprop, {"cautious": 1}),
        (X, of_values, 3, adagrad, {}),
        (rows, of_values, 12, adam, {}),
        (X, of_values, 6, sgd, {"cautious": 1}),
        (X, of_values, 6, momentum, {}),
    ]

    def numbers(net):
        got = [np.empty((3, 4)), np.empty((3, 1))]
        for i, a in enumerate(got):
            assert in_c("net_get", net, (0,), (i,), matrix(a)) == 0
        return b"".join(a.tobytes() for a in got)

    def prepare(net, seed):
        start = np.random.default_rng(seed)
        W, b = start.standard_normal((3, 4)), start.standard_normal((3, 1))
        assert in_c("net_set", net, (0,), (0,), matrix(W)) == in_c("net_set", net, (0,), (1,), matrix(b)) == 0
        assert in_c("net_start_optimizer", net, (2,)) == 0

    kept = ctypes.c_void_p(new_net(4, 3))
    for turn in range(2):
        for i, (x, of_y, m, optimizer, settings) in enumerate(calls):
            alone = ctypes.c_void_p(new_net(4, 3))
            for net in (kept, alone):
                prepare(net, i)
                trained(net, matrix(x), Targets(**of_y), m, optimizer, batches=2, **settings)
            assert numbers(kept) == numbers(alone), (turn, i)
            in_c("net_free", alone, result=None)
    in_c("net_free", kept, result=None)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a writer beside us needs a core")
def test_codes_that_somebody_writes_to_stay_legal_or_are_refused():
    # int64 and int32, of which a writer makes some illegal while they are taken: what was taken is legal, or refused.
    code = """
import threading, time, numpy as np
from fastnn import _core, arrays
m = 3000
for dtype in ("i8", "i4"):
    y = np.zeros(m, dtype)
    over = True
    def write():
        while over:
            y[::7] = 1000
            y[::7] = 0
    writer = threading.Thread(target=write)
    writer.start()
    end, taken, refused = time.time() + 0.3, 0, 0
    while time.time() < end:
        codes = _core.quick_codes(y, 10, m)
        if codes is None:
            refused += 1
        else:
            taken += 1
            assert 0 <= codes.min() and codes.max() < 10
    over = False
    writer.join()
y = np.zeros(m, "i4")
assert not np.shares_memory(arrays.targets(y, 10, m, "cross_entropy"), y)
print("legal")
"""
    assert python(code, "compiled").split() == ["legal"]


def test_a_step_with_a_gradient_of_the_callers(small):
    """In one call, in two, and from gradients; and what is refused."""
    arrays, net = small
    x, y, m = samples(arrays)
    few, seed = (1,), ctypes.c_uint64(0)
    A, dA, dX = np.empty((3, m)), np.ones((3, m)), np.empty((4, m))
    of_layer = [np.empty((3, 4)), np.empty((3, 1))]
    gradients = (Matrix * 2)(*map(matrix, of_layer))
    a, da, dx, one = matrix(A), matrix(dA), matrix(dX), ctypes.c_double(m)
    odd = Matrix(A.ctypes.data, 1, 1, 7)
    backward = functools.partial(in_c, "net_backward", net)
    assert backward(gradients, dx, x, da, m, one, (0,), seed, few) == 0
    assert backward(gradients, None, x, da, m, one, (0,), seed, few) == 0
    assert backward(gradients, dx, x, da, -1, one, (0,), seed, few) == NO_MEMORY
    assert backward(gradients, dx, x, da, m, ctypes.c_double(0), (0,), seed, few) == REFUSED
    for wrong in ((odd, x, da), (dx, odd, da), (dx, x, odd)):
        assert backward(gradients, *wrong, m, one, (0,), seed, few) == REFUSED
    assert in_c("net_training_outputs", net, a, x, m, seed, few) == 0
    assert in_c("net_training_outputs", net, odd, x, m, seed, few) == REFUSED
    assert in_c("net_begin_step", net, a, odd, m, seed, few, (0,)) == REFUSED
    assert in_c("net_begin_step", net, a, x, 0, seed, few, (0,)) == REFUSED
    end = functools.partial(in_c, "net_end_step", net, x)
    assert end(da, m, one, step(1), few) == REFUSED  # none has begun
    updates = functools.partial(in_c, "net_updates", net, result=ctypes.c_uint64)
    begin = functools.partial(in_c, "net_begin_step", net, a, x, m, seed, few, (0,))
    for spoil in (
        lambda: in_c("net_freeze", net, (0,), (0,)),
        lambda: in_c("net_set", net, (0,), (0,), gradients[0]),
        lambda: trained(net, x, y, m, SMALL_STEP),
    ):
        assert begin() == 0
        spoil()
        assert end(da, m, one, step(1), few) == REFUSED
    assert begin() == 0
    assert end(da, m - 1, one, step(1), few) == REFUSED
    assert end(odd, m, one, step(1), few) == REFUSED
    assert end(da, m, ctypes.c_double(np.nan), step(1), few) == REFUSED
    assert updates() == 1
    assert end(da, m, one, step(1), few) == 0
    assert end(da, m, one, step(1), few) == REFUSED
    assert in_c("net_update", net, gradients, step(1), few) == 0
    assert updates() == 3
    assert in_c("net_update", net, (Matrix * 2)(gradients[0], odd), step(1), few) == REFUSED


@pytest.mark.parametrize("norm", [0, 1, 2])
def test_the_two_calls_of_a_step_may_have_other_teams(norm):
    """The statistics of batch norm, which each thread has for itself, come with it; all teams give the same bits."""
    rng, m, sizes, found = np.random.default_rng(3), 67, [70, 130, 128, 9], set()
    parameters = [
        [rng.standard_normal((n, k)), *rng.standard_normal((3, n, 1))][: 4 if norm and n > 9 else 2]
        for k, n in itertools.pairwise(sizes)
    ]
    X, dA, A = (rng.standard_normal((n, m)) for n in (70, 9, 9))
    layers = (Layer * 3)(
        *(Layer(units=n, activation=Spec(RELU), norm=norm * (n > 9), dropout=0.2 * (n > 9)) for n in sizes[1:])
    )
    for teams in itertools.product((1, 2, 3), repeat=2):
        net = ctypes.c_void_p(in_c("net_new", ISA, (1,), 70, (3,), layers, Spec(MSE), result=VOID))
        for i, layer in enumerate(parameters):
            for j, T in enumerate(layer):
                assert in_c("net_set", net, (i,), (j,), matrix(T)) == 0
        seed, begin, end = ctypes.c_uint64(7), *((n,) for n in teams)
        in_c("net_force_threads", net, begin, result=None)
        assert in_c("net_begin_step", net, matrix(A), matrix(X), m, seed, begin, (0,)) == 0
        in_c("net_force_threads", net, end, result=None)
        assert in_c("net_end_step", net, matrix(X), matrix(dA), m, ctypes.c_double(m), step(1), end) == 0
        data = ctypes.create_string_buffer(in_c("net_bytes", net, result=ctypes.c_size_t))
        in_c("net_snapshot", net, data, result=None)
        found.add(data.raw)
        in_c("net_free", net, result=None)
    assert len(found) == 1
