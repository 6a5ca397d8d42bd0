"""Every kernel and a whole training step, each backend and ISA, against the oracle of reference.py."""

import functools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from case_helpers import each, through
from conftest import COMPILED, DTYPES
from fastnn import SGD, Network, _numpy, kernels
from layouts import LAYOUTS, frame, laid_out, taken_out

# 1..70, and more often the edges of the register tiles and vectors
EDGES = [5, 6, 7, 13, 14, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65]
SIZES = st.one_of(st.integers(1, 70), st.sampled_from(EDGES))
SEEDS = st.integers(0, 2**32 - 1)
KINDS = st.sampled_from(ref.ALL_ACTIVATIONS)


class Memory(NamedTuple):
    """How an operand lies in memory, and its dtype where that is not the computation's."""

    layout: str
    foreign: str | None

    def array(self, values, dtype):
        """`values` so, for a computation in `dtype`."""
        foreign = dtype if self.foreign is None else np.dtype(self.foreign)
        if foreign.kind in "iu":
            values = np.round(3 * values)
        return laid_out(values.astype(foreign), self.layout)


SAME = st.builds(Memory, st.sampled_from(LAYOUTS), st.none())
FOREIGN = st.sampled_from([None, None, "float32", "float64", "float16", "int64", "int8", ">f4", ">f8", "longdouble"])
ANY = st.builds(Memory, st.sampled_from(LAYOUTS), FOREIGN)
OUT = st.sampled_from([None, *LAYOUTS])


def into(out, shape, dtype, function):
    """The result of ``function(out=...)``, for an `out` of that layout or none."""
    if out is None:
        return function(out=None)
    view, base = frame(shape, dtype, out)
    assert function(out=view) is view
    return taken_out(view, base)


def normal(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


# --- the functions of fastnn.kernels ---------------------------------------------------------------


@given(n=SIZES, k=SIZES, m=SIZES, seed=SEEDS, of_w=SAME, of_a=ANY, of_b=ANY, out=OUT)
def test_linear_forward(backend, dtype, n, k, m, seed, of_w, of_a, of_b, out):
    W, A_prev, b = normal(seed, (n, k), (k, m), (n, 1))
    W, A_prev, b = of_w.array(W, dtype), of_a.array(A_prev, dtype), of_b.array(b, dtype)
    Z, S = ref.linear_forward(*(ref.exact(T, dtype) for T in (W, A_prev, b)))
    for kind in (None, *ref.ALL_ACTIVATIONS):
        want = ref.activation_forward(Z, kind or "identity", S)
        for b_given in (b, b[:, 0]):
            A = into(out, (n, m), dtype, lambda out, b=b_given: kernels.linear_forward(W, A_prev, b, kind, out=out))
            ref.assert_close(A, want, dtype, f"linear_forward {kind}")


@given(n=SIZES, m=SIZES, seed=SEEDS, of_z=SAME, out=OUT, size=st.sampled_from([0.01, 1, 30]))
def test_activation_forward(backend, dtype, n, m, seed, of_z, out, size):
    Z = of_z.array(size * normal(seed, (n, m))[0], dtype)
    for kind in ref.ALL_ACTIVATIONS:
        want = ref.activation_forward(ref.exact(Z, dtype), kind)
        A = into(out, (n, m), dtype, lambda out, kind=kind: kernels.activation_forward(Z, kind, out=out))
        ref.assert_close(A, want, dtype, f"activation_forward {kind}")
        itself, _ = frame((n, m), dtype, of_z.layout)
        itself[...] = Z
        assert kernels.activation_forward(itself, kind, out=itself) is itself
        ref.assert_close(itself, want, dtype, f"activation_forward {kind} onto Z")


@given(n=SIZES, m=SIZES, seed=SEEDS, of_da=SAME, of_a=ANY, out=OUT)
def test_activation_backward(backend, dtype, n, m, seed, of_da, of_a, out):
    dA, Z = normal(seed, (n, m), (n, m))
    dA, Z_given = of_da.array(dA, dtype), of_a.array(Z, dtype)
    for kind in ref.ALL_ACTIVATIONS:
        A_given, Z_exact = of_a.array(ref.g(Z, kind), dtype), ref.exact(Z_given, dtype)
        calls = [(ref.activation_forward(Z_exact, kind), {"A": None, "Z": Z_given})]
        if ref.record(kind)[0].slope_from == "Z":
            calls = [((Z_exact, 0.0), {"A": None, "Z": Z_given}), ((Z_exact, 0.0), {"A": A_given, "Z": Z_given})]
        else:
            calls.append(((ref.exact(A_given, dtype), 0.0), {"A": A_given}))
        for (x, S_x), call in calls:
            want = ref.activation_backward(ref.exact(dA, dtype), x, kind, S_x=S_x)
            dZ = into(
                out, (n, m), dtype, lambda out, kw=call: kernels.activation_backward(dA, kind=kind, out=out, **kw)
            )
            ref.assert_close(dZ, want, dtype, f"activation_backward {kind} from {next(reversed(call))}")


@given(n=SIZES, m=SIZES, seed=SEEDS, of_dz=SAME, out=OUT)
def test_rowsum(backend, dtype, n, m, seed, of_dz, out):
    dZ = of_dz.array(normal(seed, (n, m))[0], dtype)
    sums = into(out, (n, 1), dtype, lambda out: kernels.rowsum(dZ, out=out))
    ref.assert_close(sums, ref.rowsum(ref.exact(dZ, dtype)), dtype, "rowsum")


@given(
    n=SIZES, k=SIZES, m=SIZES, seed=SEEDS, of_dz=SAME, of_a=ANY, of_w=SAME, with_w=st.booleans(),
    outs=st.tuples(OUT, OUT, OUT),
)  # fmt: skip
def test_linear_backward(backend, dtype, n, k, m, seed, of_dz, of_a, of_w, with_w, outs):
    dZ, A_prev, W = normal(seed, (n, m), (k, m), (n, k))
    dZ, A_prev, W = of_dz.array(dZ, dtype), of_a.array(A_prev, dtype), of_w.array(W, dtype)
    want = ref.linear_backward(*(ref.exact(T, dtype) for T in (dZ, A_prev, W)))
    shapes = [(n, k), (n, 1), (k, m)][: 2 + with_w]
    frames = [None if out is None else frame(shape, dtype, out) for shape, out in zip(shapes, outs, strict=False)]
    out = [f and f[0] for f in frames] + [None] * (not with_w)
    got = kernels.linear_backward(dZ, A_prev, W if with_w else None, out=out)
    assert with_w or got[2] is None
    for i, name in enumerate(("dW", "db", "dA_prev")[: 2 + with_w]):
        assert out[i] is None or got[i] is out[i]
        result = taken_out(*frames[i]) if frames[i] else got[i]
        ref.assert_close(result, want[i], dtype, name)


@functools.lru_cache(1)  # the backends come one after another
def of_every_size(dtype, place):
    """Of each size: the operands, A of each activation, dW, db and dA_prev."""
    rng, found = np.random.default_rng(20260101), []
    for size in range(1, 71):
        n, k, m = [(size, 17, 33), (33, size, 17), (17, 33, size), (size, size, size)][place]
        given = [rng.standard_normal(shape).astype(dtype) for shape in ((n, k), (k, m), (n, 1), (n, m))]
        W, A_prev, b, dZ = (ref.exact(T, dtype) for T in given)
        Z, S_Z = ref.linear_forward(W, A_prev, b)
        forward = {kind: ref.activation_forward(Z, kind, S_Z) for kind in ref.ACTIVATIONS}
        found.append((given, forward, ref.linear_backward(dZ, A_prev, W)))
    return found


@pytest.mark.parametrize("place", range(4))
def test_every_size(backend, dtype, place):
    """1..70 units, inputs and samples, the others at 17 and 33; then all three alike."""
    for (W, A_prev, b, dZ), forward, wanted in of_every_size(dtype, place):
        dZ64, Z_given = ref.exact(dZ, dtype), kernels.linear_forward(W, A_prev, b)
        for kind, want in forward.items():
            A = kernels.linear_forward(W, A_prev, b, kind)
            ref.assert_close(A, want, dtype, f"linear_forward {kind}")
            x = Z_given if ref.ACTIVATIONS[kind].slope_from == "Z" else A
            want = ref.activation_backward(dZ64, ref.exact(x, dtype), kind)
            ref.assert_close(through(dZ, A, Z_given, kind), want, dtype, f"activation_backward {kind}")
        for got, want, name in zip(kernels.linear_backward(dZ, A_prev, W), wanted, ("dW", "db", "dA"), strict=True):
            ref.assert_close(got, want, dtype, name)


# --- losses -----------------------------------------------------------------------------------------


def a_target(rng, loss, form, n, m):
    """Targets of one of the legal forms: codes, their matrix, or values (soft where it is a classifier's)."""
    codes, known = rng.integers(0, max(n, 2), m), ref.record_of_loss(loss)[0]
    if form == "codes" and (known.takes_codes or known.rows(n) == 1):
        return codes
    if form == "one-hot" and known.takes_codes:
        return codes[np.newaxis] if n == 1 else np.eye(n)[:, codes]
    return known.some_targets(rng, n, m)


FORMS = st.sampled_from(["codes", "one-hot", "values"])


def laid_targets(y, memory, form, dtype):
    """Matrices in that memory; a foreign dtype only where it holds the values."""
    if y.ndim == 1:
        return y
    return laid_out(y.astype((form == "one-hot" and memory.foreign) or dtype), memory.layout)


def some_weights(rng, m):
    w = rng.uniform(size=m) * (rng.uniform(size=m) < 0.7)
    w[rng.integers(m)] = 1.5  # not all of them 0
    return w


@given(n=SIZES, m=SIZES, seed=SEEDS, form=FORMS, of_z=SAME, of_y=ANY, size=st.sampled_from([0.1, 1, 20]))
def test_losses(backend, dtype, n, m, seed, form, of_z, of_y, size):
    rng = np.random.default_rng(seed)
    for loss in (kind for kind in ref.ALL_LOSSES if ref.record_of_loss(kind)[0].fits(n)):
        Z = of_z.array(size * rng.standard_normal((n, m)), dtype)
        y = laid_targets(a_target(rng, loss, form, n, m), of_y, form, dtype)
        for w in (None, some_weights(rng, m)):
            rows = ref.record_of_loss(loss)[0].rows(n)
            exact = ref.exact(Z, dtype), ref.target_matrix(y, rows, dtype), loss, w
            J = kernels.loss_forward(Z, y, loss, sample_weight=w)
            assert isinstance(J, float)
            ref.assert_close(J, ref.loss(*exact), dtype, f"loss_forward {loss}")
            dZ = kernels.loss_backward(Z, y, loss, sample_weight=w)
            ref.assert_close(dZ, ref.loss_backward(*exact), dtype, f"loss_backward {loss}")


def test_losses_of_bool_and_real_codes(backend, dtype):
    Z = laid_out(normal(3, (1, 17))[0].astype(dtype), "strided")
    codes = np.arange(17) % 3 == 0
    for loss in (name for name, known in ref.LOSSES.items() if known.fits(1)):
        want = kernels.loss_forward(Z, codes.astype(int), loss)
        for y in (codes, codes[np.newaxis], codes.astype("f4"), codes.astype("f8")[np.newaxis]):
            assert kernels.loss_forward(Z, y, loss) == want
            np.testing.assert_array_equal(
                kernels.loss_backward(Z, y, loss), kernels.loss_backward(Z, codes.astype(int), loss)
            )


# --- a whole network ----------------------------------------------------------------------------------


class Case(NamedTuple):
    """A network and a batch."""

    sizes: list
    activations: list
    loss: str
    m: int
    seed: int
    form: str
    of_x: Memory
    of_y: Memory
    weighted: bool


@st.composite
def cases(draw):
    layers = draw(st.integers(1, 4))
    sizes = [draw(SIZES) for _ in range(layers + 1)]
    loss = draw(st.sampled_from(ref.ALL_LOSSES))
    output = ref.record_of_loss(loss)[0].output or draw(KINDS)
    if ref.record(output)[0].whole:
        sizes[-1] = max(2, sizes[-1])
    sizes[-1] += not ref.record_of_loss(loss)[0].fits(sizes[-1])
    activations = [draw(KINDS) for _ in range(layers - 1)] + [output]
    return Case(
        sizes, activations, loss, draw(SIZES), draw(SEEDS), draw(FORMS), draw(ANY), draw(ANY), draw(st.booleans())
    )


class Job:
    """A case carried out: the network, its batch, and the same for the oracle."""

    def __init__(self, backend, dtype, case, known=None):
        rng, n = np.random.default_rng(case.seed), case.sizes[-1]
        self.case, self.dtype = case, dtype
        self.net = Network(case.sizes, case.activations, case.loss, dtype=dtype, seed=0, backend=backend)
        self.net.set_parameters(
            [
                (rng.standard_normal((n_out, n_in)) / np.sqrt(n_in), rng.standard_normal((n_out, 1)) / 2)
                for n_in, n_out in zip(case.sizes, case.sizes[1:], strict=False)
            ]
        )
        self.X = case.of_x.array(rng.standard_normal((case.sizes[0], case.m)), self.dtype)
        self.y = laid_targets(a_target(rng, case.loss, case.form, n, case.m), case.of_y, case.form, self.dtype)
        self.w = some_weights(rng, case.m) if case.weighted else None

        self.bound = ref.BOUND[self.dtype]
        self.parameters = [tuple(T.astype(np.float64) for T in layer) for layer in self.net.parameters]
        self.exact_X = ref.exact(self.X, self.dtype)
        self.exact_Y = ref.target_matrix(self.y, ref.record_of_loss(case.loss)[0].rows(n), self.dtype)
        self.tested = [cache["A"] for cache in self.net.forward(self.X, cache=True)[1]]
        self.known = {} if known is None else known  # of the oracle; the same case may have been carried out before
        self.layers = self.forward([A > 0 for A in self.tested])

    def forward(self, active=None):
        key = active and b"".join(mask.tobytes() for mask in active)
        if key not in self.known:
            case = self.case
            self.known[key] = ref.forward(self.parameters, case.activations, self.exact_X, self.bound, active)
        return self.known[key]

    @functools.cached_property
    def last(self):
        """The last layer, of which Z alone decides on which sides of kinks it was."""
        return self.forward()[-1]

    def gradients(self, w, active):
        """The oracle's, computed once for each way of taking sides."""
        key = w is None, b"".join(mask.tobytes() for mask in active)
        if key not in self.known:
            case = self.case
            self.known[key] = ref.gradients(
                self.parameters, case.activations, case.loss, self.exact_X, self.exact_Y, w, self.bound, active
            )
        return self.known[key]

    def assert_gradients(self, w, compare):
        """``compare((J, S), gradients)`` holds for one way in which relu may have taken its sides."""
        first = None
        for active in ref.sides(self.parameters, self.case.activations, self.exact_X, self.bound, self.tested):
            try:
                return compare(*self.gradients(w, active))
            except AssertionError as error:
                first = first or error
        raise first

    def assert_all_close(self, got, wanted, what):
        for i, (pair, want) in enumerate(zip(got, wanted, strict=True), start=1):
            for name, T, T_want in zip("Wb", pair, want, strict=True):
                ref.assert_close(T, T_want, self.dtype, f"{what} {name}{i}")

    def check(self, lr, weight_decay, out):
        self.check_forward(out)
        self.check_loss()
        self.check_gradients()
        self.check_step(lr, weight_decay)

    def check_forward(self, out):
        A, caches = self.net.forward(self.X, cache=True)
        assert A is caches[-1]["A"]
        X = self.exact_X
        for i, (cache, layer, pair) in enumerate(zip(caches, self.layers, self.parameters, strict=True), start=1):
            for name in "ZA":
                ref.assert_close(cache[name], (layer[name], layer["S_" + name]), self.dtype, f"caches' {name}{i}")
            for name, want in (("A_prev", X), ("W", pair[0]), ("b", pair[1])):
                np.testing.assert_array_equal(cache[name], want)
            X = cache["A"]
        layer = self.last
        A = into(out, layer["A"].shape, self.dtype, lambda out: self.net.predict(self.X, out=out))
        ref.assert_close(A, (layer["A"], layer["S_A"]), self.dtype, "predict")

    def check_loss(self):
        for w in (None, self.w):
            want = ref.network_loss(self.last, self.case.loss, self.exact_Y, w)
            ref.assert_close(self.net.loss(self.X, self.y, sample_weight=w), want, self.dtype, "loss")

    def check_gradients(self):
        J, gradients = self.net.gradients(self.X, self.y, sample_weight=self.w)

        def compare(J_want, wanted):
            ref.assert_close(J, J_want, self.dtype, "gradients' loss")
            self.assert_all_close(gradients, wanted, "gradients' d")

        self.assert_gradients(self.w, compare)

    def check_step(self, lr, weight_decay):
        sgd = SGD(lr=lr, weight_decay=weight_decay)
        J = self.net.train_step(self.X, self.y, sgd)
        stepped = self.net.parameters

        def compare(J_want, gradients):
            ref.assert_close(J, J_want, self.dtype, "train_step's loss")
            self.assert_all_close(stepped, ref.step(self.parameters, gradients, lr, weight_decay), "train_step's")

        self.assert_gradients(None, compare)

        self.net.set_parameters(self.parameters)
        fit = {"batch_size": None, "shuffle": False, "sample_weight": self.w, "progress": False}
        history = self.net.fit(self.X, self.y, optimizer=sgd, **fit)
        fitted = self.net.parameters

        def compare_fit(J_want, gradients):
            ref.assert_close(history.loss[0], J_want, self.dtype, "History.loss")
            self.assert_all_close(fitted, ref.step(self.parameters, gradients, lr, weight_decay), "fit's")

        self.assert_gradients(self.w, compare_fit)


@given(case=cases(), lr=st.sampled_from([0.01, 1.0]), weight_decay=st.sampled_from([0.0, 0.1]), out=OUT)
def test_network(backend, dtype, case, lr, weight_decay, out):
    Job(backend, dtype, case).check(lr, weight_decay, out)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "unaligned"])
def test_an_epoch_of_batches(backend, dtype, rng, layout, weighted):
    sizes, activations, m = [7, 17, 5], ["tanh", "softmax"], 70
    net = Network(sizes, activations, dtype=dtype, seed=5, backend=backend)
    parameters = [tuple(T.astype(np.float64) for T in layer) for layer in net.parameters]
    X, y = laid_out(rng.standard_normal((7, m)).astype(dtype), layout), rng.integers(0, 5, m)
    w = rng.uniform(size=m) if weighted else None
    batches = [np.arange(start, min(start + 16, m)) for start in range(0, m, 16)]  # the last of 6
    fit = {"batch_size": 16, "shuffle": False, "sample_weight": w, "progress": False}
    history = net.fit(X, y, epochs=2, optimizer=SGD(lr=0.5, weight_decay=0.01), **fit)
    rtol = {"float32": 1e-4, "float64": 1e-11}[dtype.name]
    Y = ref.target_matrix(y, 5, dtype)
    for epoch in range(2):
        parameters, J = ref.train(
            parameters, activations, "cross_entropy", ref.exact(X, dtype), Y, batches, 0.5, 0.01, w
        )
        assert history.loss[epoch] == pytest.approx(J, rel=rtol)
    for pair, wanted in zip(net.parameters, parameters, strict=True):
        for T, want in zip(pair, wanted, strict=True):
            np.testing.assert_allclose(T, want, rtol=rtol, atol=rtol)


# --- sums longer than a block -----------------------------------------------------------------------------


@functools.lru_cache(1)  # the backends come one after another
def of_long_products(dtype):
    rng, (n, k, m) = np.random.default_rng(20260101), (33, 1100, 1500)
    given = [rng.standard_normal(shape).astype(dtype) for shape in ((n, k), (k, m), (n, 1), (n, m))]
    W, A_prev, b, dZ = (ref.exact(T, dtype) for T in given)
    return given, ref.linear_forward(W, A_prev, b), ref.linear_backward(dZ, A_prev, W)


@each("order", ["C", "F"])
def test_long_products(backend, dtype, order):
    given, forward, wanted = of_long_products(dtype)
    W, A_prev, b, dZ = (np.asarray(T, order=order) for T in given)
    ref.assert_close(kernels.linear_forward(W, A_prev, b), forward, dtype, "linear_forward")
    for got, want, name in zip(kernels.linear_backward(dZ, A_prev, W), wanted, ("dW", "db", "dA_prev"), strict=True):
        ref.assert_close(got, want, dtype, name)


# By rows and by columns, one column or row, B packed and read in place, sums in parts: enough work for two threads.
LARGE = [(1501, 1103, 1), (1, 3000, 700), (900, 3, 999), (17, 2050, 333), (257, 300, 103)]


@pytest.mark.parametrize(("n", "k", "m"), LARGE)
@each("kind", ["tanh", "relu"])
def test_functions_that_follow_large_products(backend, dtype, kind, n, k, m):
    W, A_prev, b, A, dZ, forward, backward = of_large_products(dtype, kind, n, k, m)
    for order in "CF":
        outs = np.empty((n, m), dtype, order), np.empty((k, m), dtype, order)
        kernels.linear_forward(W, np.asarray(A_prev, order=order), b, kind, out=outs[0])
        ref.assert_close(outs[0], forward, dtype, f"linear_forward {order}")
        operands = (np.asarray(T, order=order) for T in (dZ, A))
        kernels.linear_backward(*operands, W, (None, None, outs[1]), kind)
        ref.assert_close(outs[1], backward, dtype, f"linear_backward {order}")


@functools.lru_cache(1)
def large_products(dtype, n, k, m):
    rng = np.random.default_rng(20260101)
    W = (rng.standard_normal((n, k)) / np.sqrt(k)).astype(dtype)
    A_prev, b = rng.standard_normal((k, m)).astype(dtype), rng.standard_normal((n, 1)).astype(dtype)
    dZ = rng.standard_normal((n, m)).astype(dtype)
    Z = ref.linear_forward(*(ref.exact(T, dtype) for T in (W, A_prev, b)))
    return W, A_prev, b, dZ, Z, ref.linear_backward(*(ref.exact(T, dtype) for T in (dZ, A_prev, W)))[2]


@functools.lru_cache(2)  # the kinds come in turn, and the backends one after another
def of_large_products(dtype, kind, n, k, m):
    W, A_prev, b, dZ, (Z, S_Z), dA = large_products(dtype, n, k, m)
    A, forward = ref.g(A_prev, kind).astype(dtype), ref.activation_forward(Z, kind, S_Z)
    return W, A_prev, b, A, dZ, forward, ref.activation_backward(dA[0], ref.exact(A, dtype), kind, S_dA=dA[1])


def assert_sums(dZ, A_prev, dtype):
    dZ64, A64 = ref.exact(dZ, dtype), ref.exact(A_prev, dtype)
    ref.assert_close(kernels.rowsum(dZ), ref.rowsum(dZ64), dtype, "rowsum")
    dW, db, _ = kernels.linear_backward(dZ, A_prev)
    dW_want, db_want, _ = ref.linear_backward(dZ64, A64, np.zeros((len(dZ), len(A_prev))))
    ref.assert_close(dW, dW_want, dtype, "dW")
    ref.assert_close(db, db_want, dtype, "db")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("m", [1500, 60_000])
def test_long_sums_of_one_sign(backend, dtype, rng, order, m):
    """In one running float32 sum the rounding would grow with m: whole data sets are legal batches."""
    dZ = np.array([np.abs(rng.standard_normal(m)), 1 / np.arange(1, m + 1)], dtype, order=order)
    assert_sums(dZ, dZ, dtype)
    y = np.zeros(m, int)
    want = ref.loss(ref.exact(dZ, dtype), ref.target_matrix(y, 2, dtype), "cross_entropy")
    ref.assert_close(kernels.loss_forward(dZ, y, "cross_entropy"), want, dtype, "loss_forward")


@pytest.mark.parametrize("order", ["C", "F"])
def test_long_sums_of_equal_numbers(backend, dtype, order):
    """Whose roundings all go the same way: only short blocks keep them small."""
    dZ = np.repeat(np.linspace(0.1, 0.9, 9, dtype=dtype)[:, np.newaxis], 1500, axis=1)
    assert_sums(np.asarray(dZ, order=order), np.ones((1, 1500), dtype), dtype)


@functools.lru_cache(1)  # the backends come one after another
def known_of_long_network(dtype, loss):
    return {}


@pytest.mark.parametrize(
    "loss", [pytest.param(loss, marks=() if i % 3 == 1 else pytest.mark.slow) for i, loss in enumerate(ref.LOSSES)]
)
def test_long_network(backend, dtype, loss):
    output = ref.LOSSES[loss].output or "identity"
    plain = Memory("F", None)
    n = 5 if ref.LOSSES[loss].fits(5) else 6
    case = Case([1100, 20, n], ["relu", output], loss, 1500, 11, "values", plain, plain, True)
    Job(backend, dtype, case, known_of_long_network(dtype, loss)).check(lr=1.0, weight_decay=0.1, out="F")


# --- far out, and what is no number ------------------------------------------------------------------------


def far(dtype):
    info = np.finfo(dtype)
    z = [0, 1e-8, 1e-4, 0.5, 5, 10, 18, 20, 30, 36, 37.5, 87, 88, 88.5, 89, 100, 103, 104, 700, 709, 710, 745, 750, 1e4]
    z += [info.smallest_subnormal, info.tiny / 3, info.tiny, info.eps, 1e30, info.max / 4, info.max]
    z = np.array(z, dtype)
    return np.concatenate([z, -z])


LARGEST = {dtype: float(np.finfo(dtype).max) for dtype in DTYPES}


def test_activations_far_out(backend, dtype):
    z = far(dtype)
    grid = np.stack([np.tile(z, 2), np.repeat([0, 1], len(z)).astype(dtype), -np.roll(np.tile(z, 2), 1)])
    with np.errstate(all="raise"):  # the caller's mode is not the kernel's
        for kind in ref.ALL_ACTIVATIONS:
            for Z in (z[np.newaxis], z[:, np.newaxis], grid):
                with np.errstate(all="ignore"):
                    want = ref.activation_forward(ref.exact(Z, dtype), kind)
                    # selu does not overflow
                    want = np.where(np.isfinite(Z), np.clip(want[0], -LARGEST[dtype], LARGEST[dtype]), want[0]), want[1]
                A = kernels.activation_forward(Z, kind)
                ref.assert_close(A, want, dtype, kind)
                known, _ = ref.record(kind)
                if not known.rounds:
                    np.testing.assert_array_equal(A, want[0])
                if known.is_odd:
                    np.testing.assert_array_equal(A, -kernels.activation_forward(-Z, kind))
                low, high = known.within
                assert low <= A.min() <= A.max() <= high
                dA = np.linspace(-2, 2, Z.size, dtype=dtype).reshape(Z.shape)
                with np.errstate(all="ignore"):
                    x = Z if known.slope_from == "Z" else A
                    want = ref.activation_backward(ref.exact(dA, dtype), ref.exact(x, dtype), kind)
                ref.assert_close(through(dA, A, Z, kind), want, dtype, f"{kind} backward")


@functools.lru_cache(1)  # the backends come one after another
def of_losses_far_out(dtype, number):
    """Z, and for each kind of targets these, the loss, dZ, and the losses of each sample alone."""
    loss, z, found = ref.ALL_LOSSES[number], far(dtype), []
    known = ref.record_of_loss(loss)[0]
    if loss in ("poisson", "gaussian_nll"):  # test_losses.py has larger ones
        z = z[np.abs(z) < 40]
        Z = np.stack([z, -np.roll(z, 1), np.roll(z, 5), np.roll(z, 9)])
    else:
        z = z[np.abs(z) < 1e15]  # squared in mse
        equal = np.array([1e8, -1e8, 3e9], dtype)  # max + log(sum) - z would lose log 3
        Z = np.hstack([np.stack([z, -np.roll(z, 1), np.roll(z, 5)]), np.stack([equal] * 3)])
    n, m, Z64 = *Z.shape, ref.exact(Z, dtype)
    Y = np.zeros((known.rows(n), m), dtype)
    Y[0, ::2] = 1
    for y in ([np.arange(m) % n] if known.takes_codes else []) + [Y, (Y + 1) / 3]:
        Y64 = ref.target_matrix(y, known.rows(n), dtype)
        of_each = [ref.loss(Z64[:, j : j + 1], Y64[:, j : j + 1], loss) for j in range(m)]
        found.append((y, ref.loss(Z64, Y64, loss), ref.loss_backward(Z64, Y64, loss), of_each))
    return Z, found


@pytest.mark.parametrize("loss", ref.ALL_LOSSES, ids=str)
def test_losses_far_out(backend, dtype, loss):
    Z, of_targets = of_losses_far_out(dtype, ref.ALL_LOSSES.index(loss))
    for y, J_want, dZ_want, of_each in of_targets:
        with np.errstate(all="raise"):
            J, dZ = kernels.loss_forward(Z, y, loss), kernels.loss_backward(Z, y, loss)
        ref.assert_close(J, J_want, dtype, loss)
        ref.assert_close(dZ, dZ_want, dtype, f"dZ of {loss}")
        for j, want in enumerate(of_each):  # alone, so that no larger loss hides it
            one, its_y = Z[:, j : j + 1], y[..., j : j + 1]
            ref.assert_close(kernels.loss_forward(one, its_y, loss), want, dtype, f"{loss} of {one[:, 0]}, {its_y}")


BAD = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}


def assert_only_column(got, clean, j, wanted=None):
    """Outside of column j the bits are those of the clean call."""
    others = np.arange(clean.shape[1]) != j
    np.testing.assert_array_equal(got[:, others], clean[:, others])
    if wanted is not None:
        np.testing.assert_array_equal(got[:, j], wanted)


@pytest.mark.parametrize("kind", ref.ACTIVATIONS)
@each("bad", BAD)
@each("shape", [(1, 7), (3, 17), (17, 33), (40, 6)])
def test_non_finite_in_an_activation(backend, dtype, rng, kind, shape, bad):
    n, m = shape
    Z = rng.standard_normal((n, m)).astype(dtype)
    for i, j in {(0, 0), (n - 1, m - 1), (n // 2, m // 2)}:
        broken = Z.copy()
        broken[i, j] = BAD[bad]
        A, clean = kernels.activation_forward(broken, kind), kernels.activation_forward(Z, kind)
        assert_only_column(A, clean, j)
        ref.assert_close(A, ref.activation_forward(ref.exact(broken, dtype), kind), dtype, kind)
        if not ref.ACTIVATIONS[kind].whole:
            rows = np.arange(n) != i
            np.testing.assert_array_equal(A[rows, j], clean[rows, j])
        if bad == "nan":
            dA = np.ones_like(Z)
            dZ, whole = through(dA, A, broken, kind), through(dA, clean, Z, kind)
            assert_only_column(dZ, whole, j)
            if kind != "identity":  # whose derivative does not look at A
                assert np.isnan(dZ[i, j])
                assert np.isnan(dZ[:, j]).sum() == (n if ref.ACTIVATIONS[kind].whole else 1)
            dZ = through(broken, clean, Z, kind)
            assert_only_column(dZ, through(Z, clean, Z, kind), j)
            assert np.isnan(dZ[:, j]).sum() == (n if ref.ACTIVATIONS[kind].whole else 1)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(("n", "k", "m"), [(1, 1, 1), (3, 5, 17), (17, 33, 7), (40, 16, 50)])
def test_non_finite_in_a_product(backend, dtype, rng, n, k, m, bad):
    W, A_prev, dZ = (rng.standard_normal(shape).astype(dtype) for shape in ((n, k), (k, m), (n, m)))
    b = np.zeros(n, dtype)
    for i, j in {(0, 0), (k - 1, m - 1), (k // 2, m // 2)}:
        broken = A_prev.copy()
        broken[i, j] = BAD[bad]
        Z = kernels.linear_forward(W, broken, b)
        assert_only_column(Z, kernels.linear_forward(W, A_prev, b), j, W[:, i] * BAD[bad])
        dW, db, _ = kernels.linear_backward(dZ, broken)
        clean, clean_db, _ = kernels.linear_backward(dZ, A_prev)
        assert_only_column(dW, clean, i, dZ[:, j] * BAD[bad])
        np.testing.assert_array_equal(db, clean_db)
    for i, j in {(0, 0), (n - 1, m - 1), (n // 2, m // 2)}:
        broken = dZ.copy()
        broken[i, j] = BAD[bad]
        dW, db, dA_prev = kernels.linear_backward(broken, A_prev, W)
        clean, clean_db, clean_dA = kernels.linear_backward(dZ, A_prev, W)
        assert_only_column(dW.T, clean.T, i, A_prev[:, j] * BAD[bad])
        assert_only_column(db.T, clean_db.T, i, [BAD[bad]])
        assert_only_column(dA_prev, clean_dA, j, W[i] * BAD[bad])
        assert_only_column(kernels.rowsum(broken).T, kernels.rowsum(dZ).T, i, [BAD[bad]])


@pytest.mark.parametrize("loss", ref.LOSSES)
def test_nan_in_a_loss(backend, dtype, rng, loss):
    known = ref.LOSSES[loss]
    Z = rng.standard_normal((3 if known.fits(3) else 4, 21)).astype(dtype)
    Y = np.eye(3)[: known.rows(len(Z)), np.arange(21) % 3]
    for y in (np.arange(21) % 3, Y) if known.takes_codes else (Y,):
        broken = Z.copy()
        broken[1, 20] = np.nan
        assert np.isnan(kernels.loss_forward(broken, y, loss))
        dZ = kernels.loss_backward(broken, y, loss)
        assert_only_column(dZ, kernels.loss_backward(Z, y, loss), 20)
        assert np.isnan(dZ[:, 20]).sum() == {"classes": 3, "means": 2}.get(known.targets, 1)


@pytest.mark.parametrize("hidden", ref.ACTIVATIONS)
@pytest.mark.parametrize("m", [1, 33, pytest.param(1100, marks=pytest.mark.slow)])
def test_nan_in_a_network(backend, dtype, rng, hidden, m):
    net = Network([5, 18, 17, 3], [hidden, hidden, "softmax"], dtype=dtype, seed=2, backend=backend)
    X = rng.standard_normal((5, m))
    clean = net.predict(X)
    assert np.isfinite(clean).all()
    for j in {0, m // 2, m - 1}:
        broken = X.copy()
        broken[4, j] = np.nan
        for A in (net.predict(broken), net.forward(broken), net.predictor()(broken)):
            assert_only_column(A, clean, j, np.full(3, np.nan))


def test_relu_at_its_kink(backend, dtype):
    Z = np.array([[-1, -0.0, 0.0, 1, np.nan]], dtype)
    np.testing.assert_array_equal(kernels.activation_forward(Z, "relu"), [[0, 0, 0, 1, np.nan]])
    np.testing.assert_array_equal(
        kernels.activation_backward(np.ones_like(Z), None, "relu", Z=Z), [[0, 0, 0, 1, np.nan]]
    )


# --- no samples -----------------------------------------------------------------------------------------------


def test_no_samples(backend, dtype):
    W, none_in, none_out = np.ones((3, 2), dtype), np.ones((2, 0), dtype), np.ones((3, 0), dtype)
    for kind in (None, *ref.ACTIVATIONS):
        A = kernels.linear_forward(W, none_in, np.ones(3), kind)
        assert (A.shape, A.dtype) == ((3, 0), dtype)
    for kind in ref.ACTIVATIONS:
        assert kernels.activation_forward(none_out, kind).shape == (3, 0)
        assert through(none_out, none_out, none_out, kind).shape == (3, 0)
    np.testing.assert_array_equal(kernels.rowsum(none_out), np.zeros((3, 1), dtype))
    net = Network([2, 4, 3], dtype=dtype, seed=0, backend=backend)
    for A in (net.predict(none_in), net.forward(none_in), net.forward(none_in, cache=True)[0]):
        assert (A.shape, A.dtype) == ((3, 0), dtype)
    assert net.predict_classes(none_in).shape == (0,)
    codes, before = np.zeros(0, int), net.parameters
    for mean_over_nothing in (
        lambda: kernels.linear_backward(none_out, none_in, W),
        lambda: kernels.loss_forward(none_out, codes, "cross_entropy"),
        lambda: kernels.loss_backward(none_out, none_out, "mse"),
        lambda: net.loss(none_in, codes),
        lambda: net.gradients(none_in, none_out),
        lambda: net.train_step(none_in, codes),
        lambda: net.fit(none_in, codes),
        lambda: net.evaluate(none_in, codes),
    ):
        with pytest.raises(ValueError, match="0 samples"):
            mean_over_nothing()
    for pair, kept in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(pair[0], kept[0])


# --- the two backends, face to face ---------------------------------------------------------------------------


@pytest.mark.skipif(COMPILED is None, reason="nothing was compiled")
@pytest.mark.parametrize("hidden", ref.ACTIVATIONS)
def test_compiled_agrees_with_numpy(backend, dtype, hidden):
    if backend == "numpy":
        pytest.skip("NumPy against itself")
    for loss in ref.LOSSES:
        agree_on_a_network(dtype, hidden, loss)
    dZ, A_prev, W = (T.astype(dtype) for T in normal(4, (6, 49), (17, 49), (6, 17)))
    got = kernels.linear_backward(dZ, A_prev, W)
    kernels._run_on(_numpy)  # the fixture undoes it
    got_numpy = kernels.linear_backward(dZ, A_prev, W)
    scales = ref.linear_backward(*(ref.exact(T, dtype) for T in (dZ, A_prev, W)))
    for T, T_numpy, (_, S) in zip(got, got_numpy, scales, strict=True):
        ref.assert_close(T, (T_numpy, S), dtype, "linear_backward")


def agree_on_a_network(dtype, hidden, loss):
    output = ref.LOSSES[loss].output or "tanh"
    plain = Memory("F", None)
    case = Case([15, 33, 17, 6], [hidden, hidden, output], loss, 49, 8, "values", plain, plain, True)
    one, other = Job("compiled", dtype, case), Job("numpy", dtype, case)
    assert not any(layer["near"].any() for layer in one.layers)  # or relu could take different sides
    scales = ref.gradients(one.parameters, case.activations, loss, one.exact_X, one.exact_Y, one.w)
    J, gradients = one.net.gradients(one.X, one.y, one.w)
    J_numpy, gradients_numpy = other.net.gradients(other.X, other.y, other.w)
    ref.assert_close(J, (J_numpy, scales[0][1]), dtype, "loss")
    for pair, pair_numpy, scale in zip(gradients, gradients_numpy, scales[1], strict=True):
        for T, T_numpy, (_, S) in zip(pair, pair_numpy, scale, strict=True):
            ref.assert_close(T, (T_numpy, S), dtype, "gradient")
    last = one.layers[-1]
    ref.assert_close(one.net.predict(one.X), (other.net.predict(other.X), last["S_A"]), dtype, "predict")
