"""Layout, strides and dtype at the border: the numbers of a plain copy, or a refusal that names the argument."""

import functools
import sys
import tracemalloc
import weakref

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from case_helpers import (
    GUISES,
    NO_NUMBERS,
    NUMBERS,
    ROWS,
    VIEWS,
    Wrapped,
    affine,
    assert_all_refused,
    assert_faultless,
    assert_refused,
    assert_same,
    bits,
    complaint,
    each,
    everything,
    numbers,
    through,
    viewed,
    viewed_1d,
    weights_unchanged,
    wrong_shapes,
)
from conftest import DEFAULT, alone, drawn
from fastnn import SGD, Network, arrays, kernels
from layouts import LAYOUTS, frame, taken_out

VARIANTS = DEFAULT  # what is tested here is around the kernels

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([(1, 1), (3, 2), (5, 1), (4, 3), (17, 10), (33, 5)])
SAMPLES = st.sampled_from([1, 2, 3, 7, 16, 33, 70])


def network(n_in, n_out, dtype, backend):
    """A function that makes the same classifier each time."""
    return lambda: Network([n_in, 6, n_out], ["tanh", "sigmoid"], dtype=dtype, seed=5, backend=backend)


# --- the rule: any array, the numbers of a plain copy ---------------------------------------------------------


@pytest.mark.parametrize("layout", VIEWS)
@drawn(3, 30)
@given(sizes=SIZES, m=SAMPLES, seed=SEEDS, other=st.sampled_from(VIEWS), row=st.sampled_from(ROWS))
def test_any_layout(backend, dtype, layout, sizes, m, seed, other, row):
    rng, (n_in, n_out) = np.random.default_rng(seed), sizes
    X, plain_X = viewed(rng.standard_normal((n_in, m)).astype(dtype), layout)
    y, plain_y = viewed(rng.random((n_out, m)).astype(dtype), other)
    w = viewed_1d(rng.integers(1, 9, m).astype(dtype), row)
    want = everything(network(n_in, n_out, dtype, backend), plain_X, plain_y, w.copy())
    assert_same(everything(network(n_in, n_out, dtype, backend), X, y, w), want)
    np.testing.assert_array_equal(X, plain_X)
    np.testing.assert_array_equal(y, plain_y)
    assert not X.flags.writeable


@pytest.mark.parametrize("number", NUMBERS)
@drawn(3, 30)
@given(sizes=SIZES, m=SAMPLES, seed=SEEDS, layout=st.sampled_from(["C", "F"]))
def test_any_dtype(backend, dtype, number, sizes, m, seed, layout):
    rng, (n_in, n_out) = np.random.default_rng(seed), sizes
    X, _ = viewed(numbers(rng, (n_in, m), number), layout)
    y, _ = viewed(numbers(rng, (n_out, m), number) > 0, layout)  # 0 or 1 of any dtype
    y, w = y.astype(number), 1 + np.abs(numbers(rng, m, "int8")).astype(number)
    plain = [np.array(a.astype(dtype), order="C") for a in (X, y, w)]
    want = everything(network(n_in, n_out, dtype, backend), *plain)
    assert_same(everything(network(n_in, n_out, dtype, backend), X, y, w), want)


@functools.cache
def of_plain_arrays(backend, dtype, number, m):
    """Data of that kind of numbers, and all that a network does with plain copies of them."""
    rng = np.random.default_rng(20260101)
    X, y, w = numbers(rng, (5, m), number), (numbers(rng, (3, m), number) > 0).astype(number), np.ones(m, number)
    return (X, y, w), everything(network(5, 3, dtype, backend), *(a.astype(dtype) for a in (X, y, w)))


@pytest.mark.parametrize("guise", GUISES)
@each("number", ["float32", "float64", "int64"])
def test_any_container(backend, dtype, guise, number):
    for m in (1, 40):
        (X, y, w), want = of_plain_arrays(backend, dtype, number, m)
        things = [GUISES[guise](a) for a in (X, y, w)]
        assert_same(everything(network(5, 3, dtype, backend), *things), want)
        for thing, values in zip(things, (X, y, w), strict=True):
            np.testing.assert_array_equal(np.asarray(thing).astype(number), values)


@pytest.mark.parametrize("guise", GUISES)
def test_any_container_of_labels(backend, dtype, guise):
    codes = np.array([2, 0, 1, 1, 2])
    X = np.arange(20.0).reshape(4, 5) / 7
    make = lambda: Network([4, 3], dtype=dtype, seed=1, backend=backend)  # noqa: E731
    want = everything(make, X, codes)
    thing = [np.array(c) for c in codes] if guise == "rows of array.array" else GUISES[guise](codes)
    assert_same(everything(make, X, thing), want)


def test_many_samples_of_another_dtype(backend):
    # cast in blocks: none is lost, doubled or shifted at their edges
    m = 300_001
    X = np.arange(3.0 * m).reshape(3, m) % 251 / 100
    net = Network([3, 2], seed=2, backend=backend)
    np.testing.assert_array_equal(net.predict(X), net.predict(X.astype("f4")))
    y = np.arange(m) % 2
    assert net.loss(X, y) == pytest.approx(net.loss(X.astype("f4"), y), rel=1e-12)


@pytest.mark.parametrize("layout", VIEWS)
@each("number", ["float32", "float64", "float16", "int32", ">f8", "bool", "longdouble"])
def test_any_array_in_the_kernels(backend, rng, layout, number):
    def operand(shape):
        return viewed(numbers(rng, shape, number), layout)[0]

    check_kernels(operand)


@pytest.mark.parametrize("guise", GUISES)
@each("number", ["float32", "float64", "int64"])
def test_any_container_in_the_kernels(backend, rng, guise, number):
    check_kernels(lambda shape: GUISES[guise](numbers(rng, shape, number)))


def check_kernels(operand):
    """Every kernel, with all its operands from ``operand(shape)``, against the oracle."""
    n, k, m = 4, 3, 6
    W, A_prev, b, dA, A, Z, dZ = (operand(s) for s in ((n, k), (k, m), (n, 1), (n, m), (n, m), (n, m), (n, m)))
    kept = [np.array(a, copy=True) for a in (W, A_prev, b, dA, A, Z, dZ)]
    found = np.asarray(W).dtype
    dtype = np.dtype("f4" if found.kind == "f" and found.itemsize <= 4 else "f8")
    W64, A_prev64, b64, dA64, A64, Z64, dZ64 = (ref.exact(a, dtype) for a in kept)
    ref.assert_close(kernels.linear_forward(W, A_prev, b), ref.linear_forward(W64, A_prev64, b64), dtype, "Z")
    ref.assert_close(kernels.activation_forward(Z, "tanh"), ref.activation_forward(Z64, "tanh"), dtype, "A")
    want = ref.activation_backward(dA64, A64, "sigmoid")
    ref.assert_close(kernels.activation_backward(dA, A, "sigmoid"), want, dtype, "dZ")
    ref.assert_close(kernels.rowsum(dZ), ref.rowsum(dZ64), dtype, "rowsum")
    want = ref.linear_backward(dZ64, A_prev64, W64)
    for got, pair, what in zip(kernels.linear_backward(dZ, A_prev, W), want, ("dW", "db", "dA_prev"), strict=True):
        ref.assert_close(got, pair, dtype, what)
    codes, Y = np.arange(m) % n, np.eye(n)[:, np.arange(m) % n]
    ref.assert_close(kernels.loss_forward(Z, codes, "cross_entropy"), ref.loss(Z64, Y, "cross_entropy"), dtype, "J")
    ref.assert_close(kernels.loss_backward(Z, dA, "mse"), ref.loss_backward(Z64, dA64, "mse"), dtype, "dZ of mse")
    for thing, values in zip((W, A_prev, b, dA, A, Z, dZ), kept, strict=True):
        np.testing.assert_array_equal(np.asarray(thing), values)


@pytest.mark.parametrize("layout", VIEWS)
@each("number", ["float32", "float64", ">f4", "int8", "longdouble"])
def test_any_array_as_weights(backend, dtype, rng, layout, number):
    X = rng.standard_normal((3, 50)).astype(dtype)
    pairs = [(numbers(rng, (5, 3), number), numbers(rng, (5, 1), number))]
    pairs += [(numbers(rng, (2, 5), number), numbers(rng, (2, 1), number))]
    views = [tuple(viewed(a, layout)[0] for a in pair) for pair in pairs]
    plain = [tuple(np.array(a.astype(dtype), order="C") for a in pair) for pair in views]
    nets = [Network([3, 5, 2], dtype=dtype, seed=s, backend=backend) for s in range(3)]
    for net, given_pairs in zip(nets, (plain, views, [(W, b[:, 0]) for W, b in views]), strict=True):
        net.set_parameters(given_pairs)
        assert bits(net) == bits(nets[0])
        np.testing.assert_array_equal(net.predict(X), nets[0].predict(X))
        for (W, b), (W_plain, b_plain) in zip(net.parameters, plain, strict=True):
            assert (W.dtype, b.dtype) == (dtype, dtype)
            np.testing.assert_array_equal(W, W_plain)
            np.testing.assert_array_equal(b, b_plain)


@pytest.mark.parametrize("guise", GUISES)
def test_any_container_as_weights(backend, dtype, rng, guise):
    W, b = rng.standard_normal((2, 3)), rng.standard_normal((2, 1))
    net = Network([3, 2], dtype=dtype, seed=0, backend=backend)
    for column in (b, b[:, 0]):
        net.set_parameters([(np.zeros((2, 3)), np.zeros(2))])
        net.set_parameters([(GUISES[guise](W), GUISES[guise](column))])
        np.testing.assert_array_equal(net.parameters[0][0], W.astype(dtype))
        np.testing.assert_array_equal(net.parameters[0][1], b.astype(dtype))


def test_weights_are_copied_in_and_out(backend, dtype):
    W, b = np.ones((2, 3), dtype), np.zeros((2, 1), dtype)
    net = Network([3, 2], dtype=dtype, seed=0, backend=backend)
    net.set_parameters([(W, b)])
    W[:] = b[:] = 7
    assert (net.parameters[0][0] == 1).all()
    snapshot = net.parameters
    for a in snapshot[0]:
        with pytest.raises(ValueError, match="read-only"):
            a[0, 0] = 3
    net.train_step(np.ones((3, 4)), [0, 1, 0, 1], optimizer=SGD(lr=1))
    assert (snapshot[0][0] == 1).all()


TINY = np.full((3, 4), 1e-310)  # 0 in float32, subnormal in float64
QUIET = {
    "set_parameters": lambda net: net.set_parameters([(TINY.T, np.zeros(4)), (np.full((1, 4), 1e300), [0])]),
    "predict": lambda net: net.predict(TINY),
    "predict a list": lambda net: net.predict(TINY.tolist()),
    "forward cached": lambda net: net.forward(TINY, cache=True),
    "fit": lambda net: net.fit(TINY, [0, 1, 0, 1]),
    "fit to targets": lambda net: net.fit(np.ones((3, 4), net.dtype), TINY[:1]),
    "fit with weights": lambda net: net.fit(TINY, [0, 1, 0, 1], sample_weight=[1e-310, 1, 1, 1]),
    "gradients": lambda net: net.gradients(np.full((3, 4), 1e30), [0, 1, 0, 1]),
    "evaluate": lambda net: net.evaluate(np.full((3, 4), 1e30), [0, 1, 0, 1]),
    "a step": lambda net: net.train_step(TINY, [0, 1, 0, 1], optimizer=SGD(lr=1e-310, weight_decay=1e-310)),
    "new weights": lambda net: Network([3, 2], init=("normal", {"sd": 1e-310}), dtype=net.dtype, backend="numpy"),
    "linear_forward": lambda net: kernels.linear_forward(np.ones((1, 3), net.dtype), TINY, [0]),
    "linear_backward": lambda net: kernels.linear_backward(np.ones((1, 4), net.dtype), TINY, np.ones((1, 3))),
    "activation_backward": lambda net: kernels.activation_backward(np.ones((3, 4), net.dtype), TINY, "tanh"),
    "loss_forward": lambda net: kernels.loss_forward(np.ones((3, 4), net.dtype), TINY, "mse"),
}


@pytest.mark.parametrize("what", QUIET)
def test_nothing_depends_on_the_float_mode(backend, dtype, what):
    # What a cast rounds away is no error, whatever the caller's numpy.errstate says.
    net = Network([3, 4, 1], dtype=dtype, seed=0, backend=backend)
    with np.errstate(all="raise"):
        QUIET[what](net)


# --- the rule: or a refusal at the door -----------------------------------------------------------------------


class Border:
    """Every argument that takes an array, and every function that it goes into."""

    def __init__(self, backend, dtype="float32"):
        self.net = net = Network([3, 4, 2], dtype=dtype, seed=3, backend=backend)
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((3, 5)), np.array([0, 1, 1, 0, 1])
        W, A_prev, b, Z = rng.standard_normal((4, 3)), rng.standard_normal((3, 5)), np.zeros((4, 1)), np.ones((4, 5))
        codes, last = np.array([0, 1, 2, 3, 0]), net.parameters[1]
        K, p, ce = kernels, net.predictor(), "cross_entropy"
        # argument -> (a legal shape, {function: call with something in its place})
        self.arguments = {
            "X": (
                (3, 5),
                {
                    "forward": lambda v: net.forward(v),
                    "forward cached": lambda v: net.forward(v, cache=True),
                    "predict": lambda v: net.predict(v),
                    "predict into out": lambda v: net.predict(v, out=np.empty((2, 5), net.dtype)),
                    "predict_classes": lambda v: net.predict_classes(v),
                    "predictor": lambda v: p(v),
                    "loss": lambda v: net.loss(v, y),
                    "evaluate": lambda v: net.evaluate(v, y),
                    "gradients": lambda v: net.gradients(v, y),
                    "gradient_check": lambda v: net.gradient_check(v, y),
                    "train_step": lambda v: net.train_step(v, y),
                    "fit": lambda v: net.fit(v, y),
                    "fit of no epochs": lambda v: net.fit(v, y, epochs=0),
                },
            ),
            "y": (
                (2, 5),
                {
                    "loss": lambda v: net.loss(X, v),
                    "evaluate": lambda v: net.evaluate(X, v),
                    "gradients": lambda v: net.gradients(X, v),
                    "gradient_check": lambda v: net.gradient_check(X, v),
                    "train_step": lambda v: net.train_step(X, v),
                    "fit": lambda v: net.fit(X, v),
                    "loss_forward": lambda v: K.loss_forward(X[:2], v, ce),
                    "loss_backward": lambda v: K.loss_backward(X[:2], v, ce),
                },
            ),
            "sample_weight": (
                (5,),
                {
                    "loss": lambda v: net.loss(X, y, v),
                    "gradients": lambda v: net.gradients(X, y, v),
                    "fit": lambda v: net.fit(X, y, sample_weight=v),
                    "loss_forward": lambda v: K.loss_forward(Z, codes, ce, v),
                    "loss_backward": lambda v: K.loss_backward(Z, codes, ce, v),
                },
            ),
            "W": (
                (4, 3),
                {
                    "linear_forward": lambda v: K.linear_forward(v, A_prev, b),
                    "linear_backward": lambda v: K.linear_backward(Z, A_prev, v),
                    "set_parameters": lambda v: net.set_parameters([(v, b), last]),
                },
            ),
            "b": (
                (4, 1),
                {
                    "linear_forward": lambda v: K.linear_forward(W, A_prev, v),
                    "set_parameters": lambda v: net.set_parameters([(W, v), last]),
                },
            ),
            "A_prev": (
                (3, 5),
                {
                    "linear_forward": lambda v: K.linear_forward(W, v, b),
                    "linear_backward": lambda v: K.linear_backward(Z, v, W),
                },
            ),
            "Z": (
                (4, 5),
                {
                    "activation_forward": lambda v: K.activation_forward(v, "relu"),
                    "activation_backward": lambda v: K.activation_backward(Z, None, "relu", Z=v),
                    "loss_forward": lambda v: K.loss_forward(v, codes, ce),
                    "loss_backward": lambda v: K.loss_backward(v, codes, ce),
                },
            ),
            "dZ": (
                (4, 5),
                {"rowsum": lambda v: K.rowsum(v), "linear_backward": lambda v: K.linear_backward(v, A_prev)},
            ),
            "dA": ((4, 5), {"activation_backward": lambda v: K.activation_backward(v, Z, "relu")}),
            "A": ((4, 5), {"activation_backward": lambda v: K.activation_backward(Z, v, "relu")}),
        }

    def refuses(self, make, came):
        """Assert that ``make(shape)`` is refused everywhere, by name, and has changed nothing."""
        faults = []
        with weights_unchanged(self.net):
            for name, (shape, calls) in self.arguments.items():
                for function, call in calls.items():
                    thing = make(shape)
                    if thing is None and (name, function) in OPTIONAL:
                        continue
                    found = complaint(lambda c=call, t=thing: c(t), name, *came)
                    if found:
                        faults.append(f"{function}({name}) {found}")
        assert_faultless(faults)


OPTIONAL = {("W", "linear_backward"), *(("sample_weight", f) for f in ("loss", "gradients", "fit"))}
OPTIONAL |= {("sample_weight", "loss_forward"), ("sample_weight", "loss_backward"), ("Z", "activation_backward")}


@pytest.mark.parametrize("what", NO_NUMBERS)
def test_what_is_no_array_of_numbers(backend, what):
    make, came = NO_NUMBERS[what]
    Border(backend).refuses(make, came)


@pytest.mark.parametrize("what", wrong_shapes((3, 5)))
def test_wrong_shapes(backend, what):
    border = Border(backend)
    faults = []
    with weights_unchanged(border.net):
        for name, (shape, calls) in border.arguments.items():
            if len(shape) != 2 or (what in ROWS_DIFFER and name in FREE):
                continue
            thing = wrong_shapes(shape)[what]
            if np.shape(thing) in LEGAL.get(name, ()):
                continue
            for function, call in calls.items():
                if (name, function) in FREE_HERE and np.ndim(thing) == 2:
                    continue
                found = complaint(lambda c=call, t=thing: c(t), name, str(np.shape(thing)))
                if found:
                    faults.append(f"{function}({name}) {found}")
    assert_faultless(faults)


ROWS_DIFFER = {"a row too many", "a row too few", "no rows", "transposed"}
FREE = {"Z", "dZ", "dA", "A"}  # any number of rows is right, so it is another argument that is named
FREE_HERE = {("W", "linear_forward"), ("A_prev", "linear_backward")}
LEGAL = {"y": [(5,)], "b": [(4,)], "A_prev": []}


@pytest.mark.parametrize("shape", [(4,), (6,), (0,), (5, 1), (1, 5), (5, 5), (), (1,)])
def test_wrong_shapes_of_sample_weight(backend, shape):
    border = Border(backend)
    calls = border.arguments["sample_weight"][1]
    with weights_unchanged(border.net):
        assert_all_refused({f: lambda c=c: c(np.ones(shape)) for f, c in calls.items()}, "sample_weight", str(shape))


def test_wrong_parameters_change_nothing(backend, dtype):
    net = Network([3, 4, 2], dtype=dtype, seed=0, backend=backend)
    one, two = [(np.ones_like(W), np.ones_like(b)) for W, b in net.parameters]
    wrong = {
        "none": [],
        "too few": [one],
        "too many": [one, two, two],
        "swapped": [two, one],
        "transposed": [(one[0].T, one[1]), two],
        "W alone": [one[0], two[0]],
        "triples": [(*one, 1), (*two, 1)],
        "b of another layer": [one, (two[0], one[1])],
        "b as a row": [one, (two[0], two[1].T)],
        "b as a number": [one, (two[0], 1.0)],
        "W flat": [one, (two[0].ravel(), two[1])],
        "strings": [one, (np.full((2, 4), "a"), two[1])],
        "the last is complex": [one, (two[0], two[1] * 1j)],
        "not a list": None,
        "a number": 3,
        "numbers": [1, 2],
        "a name": "he",
    }
    with weights_unchanged(net):
        for what, parameters in wrong.items():
            found = complaint(lambda p=parameters: net.set_parameters(p), "parameters")
            found = found and complaint(lambda p=parameters: net.set_parameters(p), "parameters[0]")
            found = found and complaint(lambda p=parameters: net.set_parameters(p), "parameters[1]")
            assert not found, f"{what} {found}"


@pytest.mark.parametrize("guise", ["plain", "list", "strided", "another dtype"])
def test_nothing_is_kept_alive_or_written_to(backend, guise):
    border = Border(backend)
    for name, (shape, calls) in border.arguments.items():
        for function, call in calls.items():
            for good in (True, False):
                values = np.full(shape if good else (*shape, 1), 0.5, "f4")
                thing = {
                    "plain": lambda a: a,
                    "list": lambda a: Wrapped(a),
                    "strided": lambda a: a[::-1],
                    "another dtype": lambda a: a.astype("f8"),
                }[guise](values)
                kept = np.array(values)
                before, alive = sys.getrefcount(thing), weakref.ref(values)
                try:
                    result = call(thing)
                    assert good, f"{function}({name})"
                except ValueError:
                    assert not good, f"{function}({name})"
                if function != "forward cached":  # whose caches hold the operands
                    assert sys.getrefcount(thing) == before, f"{function}({name})"
                result = None  # noqa: F841
                np.testing.assert_array_equal(values, kept)
                assert values.flags.writeable
                del thing, values
                assert alive() is None, f"{function}({name}) keeps its argument"


# --- out= -----------------------------------------------------------------------------------------------------


class Outs:
    """Every function with out=: its result's shape, and a call."""

    def __init__(self, backend, dtype):
        rng = np.random.default_rng(1)
        W, X, b, Z = (rng.standard_normal(s).astype(dtype) for s in ((4, 3), (3, 5), (4, 1), (4, 5)))
        self.net = net = Network([3, 6, 4], dtype=dtype, seed=3, backend=backend)
        p, K = net.predictor(), kernels
        # function -> (shape, call, the name in errors)
        self.calls = {
            "predict": ((4, 5), lambda out: net.predict(X, out=out), "out"),
            "predict of integers": ((4, 5), lambda out: net.predict(np.ones((3, 5), int), out=out), "out"),
            "predictor": ((4, 5), lambda out: p(X, out=out), "out"),
            "predictor by place": ((4, 5), lambda out: p(X, out), "out"),
            "linear_forward": ((4, 5), lambda out: K.linear_forward(W, X, b, out=out), "out"),
            "linear_forward softmax": ((4, 5), lambda out: K.linear_forward(W, X, b, "softmax", out=out), "out"),
            "activation_forward": ((4, 5), lambda out: K.activation_forward(Z, "softmax", out=out), "out"),
            "activation_backward": ((4, 5), lambda out: K.activation_backward(Z, Z, "softmax", out=out), "out"),
            "rowsum": ((4, 1), lambda out: K.rowsum(Z, out=out), "out"),
            "dW": ((4, 3), lambda out: K.linear_backward(Z, X, W, out=(out, None, None))[0], "out[0]"),
            "db": ((4, 1), lambda out: K.linear_backward(Z, X, W, out=(None, out, None))[1], "out[1]"),
            "dA_prev": ((3, 5), lambda out: K.linear_backward(Z, X, W, out=[None, None, out])[2], "out[2]"),
        }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_out(backend, dtype, layout):
    for what, (shape, call, _) in Outs(backend, dtype).calls.items():
        view, base = frame(shape, dtype, layout)
        assert call(view) is view, what
        np.testing.assert_array_equal(taken_out(view, base), call(None), err_msg=what)


OUT_KINDS = {
    "matrix": lambda a, path: a.view(np.matrix),
    "memmap": lambda a, path: np.memmap(path, a.dtype, "w+", shape=a.shape),
    "masked array": lambda a, path: np.ma.array(a),
    "all masked": lambda a, path: np.ma.array(a, mask=True),
}


@pytest.mark.parametrize("kind", OUT_KINDS)
def test_any_kind_of_out(backend, dtype, kind, tmp_path):
    faults = []
    for what, (shape, call, name) in Outs(backend, dtype).calls.items():
        plain = np.full(shape, 7, dtype)
        out = OUT_KINDS[kind](plain, tmp_path / "out")
        try:
            result = call(out)
        except Exception:
            # a refusal is as good as a result
            found = complaint(lambda c=call, o=out: c(o), name)
            faults += [f"{what} {found}"] if found else []
        else:
            if result is not out or not np.array_equal(np.ma.filled(np.ma.array(out, copy=True), np.nan), call(None)):
                faults.append(f"{what}: {result!r}")
    assert_faultless(faults)


BAD_OUTS = {
    "list": (lambda a: a.tolist(), ["list"]),
    "number": (lambda a: 0.0, ["float"]),
    "string": (lambda a: "out", ["str"]),
    "bytearray": (lambda a: bytearray(a.tobytes()), ["bytearray"]),
    "pandas": (pd.DataFrame, ["DataFrame"]),
    "read-only": (lambda a: viewed(a, "C")[0], ["read-only"]),
    "broadcast": (lambda a: np.broadcast_to(a[:1, :1], a.shape), ["read-only"]),
    "other float": (lambda a: a.astype({4: "f8", 8: "f4"}[a.itemsize]), ["float"]),
    "swapped bytes": (lambda a: a.astype(a.dtype.newbyteorder()), [">f"]),
    "int": (lambda a: a.astype(f"i{a.itemsize}"), ["int"]),
    "complex": (lambda a: a.astype("c8"), ["complex64"]),
    "objects": (lambda a: a.astype(object), ["object"]),
    "records": (lambda a: np.zeros(a.shape, [("a", "f4")]), ["'a'"]),
    "transposed": (lambda a: np.zeros((a.shape[1], a.shape[0] + 7), a.dtype), ["shape"]),
    "flat": (np.ravel, ["shape"]),
    "one more": (lambda a: np.zeros((a.shape[0], a.shape[1] + 1), a.dtype), ["shape"]),
    "one less": (lambda a: a[:-1], ["shape"]),
    "three dimensions": (lambda a: a[np.newaxis], ["shape"]),
    "empty": (lambda a: a[:, :0], ["shape"]),
}


@pytest.mark.parametrize("what", BAD_OUTS)
def test_unfit_out_is_refused_and_not_written_to(backend, dtype, what):
    make, came = BAD_OUTS[what]
    outs = Outs(backend, dtype)
    faults = []
    with weights_unchanged(outs.net):
        for function, (shape, call, name) in outs.calls.items():
            plain = np.full(shape, 7, dtype)
            out = make(plain)
            kept = np.array(out)
            found = complaint(lambda c=call, o=out: c(o), name, *came)
            faults += [f"{function} {found}"] if found else []
            np.testing.assert_array_equal(np.array(out), kept)
            np.testing.assert_array_equal(plain, 7)
    assert_faultless(faults)


@pytest.mark.parametrize("out", [5, "abc", (None,), (None,) * 4, np.zeros((3, 4, 5))], ids=str)
def test_out_of_linear_backward_is_a_triple(backend, out):
    assert_refused(lambda: kernels.linear_backward(np.ones((4, 5)), np.ones((3, 5)), np.ones((4, 3)), out=out), "out")


def test_out_for_dA_prev_needs_W(backend):
    out = (None, None, np.zeros((3, 5)))
    assert_refused(lambda: kernels.linear_backward(np.ones((4, 5)), np.ones((3, 5)), out=out), "out[2]")


def test_out_that_is_its_own_neighbour_is_refused(backend, dtype):
    # One number for many places: whatever is written last would be the answer to all.
    faults = []
    for function, (shape, call, name) in Outs(backend, dtype).calls.items():
        if min(shape) > 1:
            for strides in ((0, 0), (8, 0), (0, 8), (8, 8)):
                out = np.lib.stride_tricks.as_strided(np.zeros(64, dtype), shape, strides)
                found = complaint(lambda c=call, o=out: c(o), name)
                faults += [f"{function}, strides {strides} {found}"] if found else []
    assert_faultless(faults)


def test_one_out_for_two_results_is_refused(backend, dtype):
    dZ, A_prev, W = (np.ones((3, 3), dtype) * k for k in (1, 2, 3))
    out = np.zeros((3, 3), dtype)
    assert_refused(lambda: kernels.linear_backward(dZ, A_prev, W, out=(out, None, out)), "out")
    wide = np.zeros((3, 4), dtype)
    calls = {"overlap": lambda: kernels.linear_backward(dZ, A_prev, W, out=(wide[:, :3], None, wide[:, 1:]))}
    assert_all_refused(calls, "out")


@drawn(15, 150)
@given(
    seed=SEEDS,
    n=st.sampled_from([1, 3, 8, 17]),
    m=st.sampled_from([1, 4, 17]),
    shift=st.integers(-3, 3),
    data=st.data(),
)
def test_out_may_overlap_an_input(backend, dtype, seed, n, m, shift, data):
    rng = np.random.default_rng(seed)
    net = Network([n, n], ["tanh"], dtype=dtype, seed=1, backend=backend)

    def overlapping(shape):
        """(input, out): two windows of one piece of memory."""
        order = data.draw(st.sampled_from("CF"))
        memory = rng.standard_normal((shape[0] * shape[1]) + 6).astype(dtype)
        start = 3 + shift
        a = memory[3 : 3 + shape[0] * shape[1]].reshape(shape, order=data.draw(st.sampled_from("CF")))
        return a, memory[start : start + shape[0] * shape[1]].reshape(shape, order=order)

    for call in (net.predict, net.predictor(), lambda a, out: kernels.activation_forward(a, "softmax", out=out)):
        a, out = overlapping((n, m))
        want = call(a.copy(order="K"), out=None)
        assert call(a, out=out) is out
        np.testing.assert_allclose(out, want, rtol=0, atol=5 * ref.BOUND[dtype])
    W, b = rng.standard_normal((n, n)).astype(dtype), np.zeros(n, dtype)
    a, out = overlapping((n, m))
    want = kernels.linear_forward(W, a.copy(), b)
    kernels.linear_forward(W, a, b, out=out)
    np.testing.assert_allclose(out, want, rtol=0, atol=50 * ref.BOUND[dtype])
    a, out = overlapping((n, n))  # the weights themselves
    want = kernels.linear_forward(a.copy(), W, b)
    kernels.linear_forward(a, W, b, out=out)
    np.testing.assert_allclose(out, want, rtol=0, atol=200 * ref.BOUND[dtype])
    a, out = overlapping((n, m))
    A = np.tanh(rng.standard_normal((n, m))).astype(dtype)
    want = kernels.activation_backward(a.copy(), A, "softmax")
    kernels.activation_backward(a, A, "softmax", out=out)
    np.testing.assert_allclose(out, want, rtol=0, atol=50 * ref.BOUND[dtype])


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("shift", [-7, -1, 0, 1, 7])
def test_out_may_overlap_many_samples(backend, dtype, rng, order, shift):
    # more than are computed at a time: what is written first must not be what is read next
    net, m = Network([3, 3], ["tanh"], dtype=dtype, seed=1, backend=backend), 5000
    memory = rng.standard_normal(3 * m + 100).astype(dtype)
    X = memory[50 : 50 + 3 * m].reshape((3, m), order=order)
    out = memory[50 + 3 * shift : 50 + 3 * (shift + m)].reshape((3, m), order=order)
    for call in (net.predict, net.predictor()):
        want = call(X.copy(order="K"))
        assert call(X, out=out) is out
        np.testing.assert_array_equal(out, want)


def test_out_may_share_memory_with_X_of_another_dtype(backend):
    memory = np.linspace(-1, 1, 64)
    X = memory[:40].reshape(4, 10)
    net = Network([4, 4], seed=1, backend=backend)
    want = net.predict(X.copy())
    out = memory.view("f4")[10:50].reshape(4, 10)
    np.testing.assert_array_equal(net.predict(X, out=out), want)


# --- the cases ------------------------------------------------------------------------------------------------


def test_a01_read_only_input(backend, tmp_path):
    X = np.frombuffer(np.arange(6, dtype="f4").tobytes(), "f4").reshape(2, 3)
    y = np.frombuffer(np.array([1, 0, 1]).tobytes(), int)
    w = np.frombuffer(np.array([1.0, 2, 3]).tobytes())
    W = np.frombuffer(np.arange(4, dtype="f4").tobytes(), "f4").reshape(2, 2)
    b = np.frombuffer(np.ones(2, "f4").tobytes(), "f4")

    def make():
        net = Network([2, 2, 2], seed=1, backend=backend)
        net.set_parameters([(W, b), (W, b)])
        return net

    want = everything(make, X.copy(), y.copy(), w.copy())
    assert_same(everything(make, X, y, w), want)
    Y = np.eye(2)[:, y]
    Y.flags.writeable = False
    assert_same(everything(make, X, Y, w), everything(make, X, Y.copy(), w))
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_same(everything(make, mapped, y, w), want)
    for a in (X, y, w, W, b, Y, mapped):
        assert not a.flags.writeable


def test_a02_transposed_input(backend):
    rows = np.array([[1, 2], [3, 4]], "f4")
    W, b = np.array([[1, 2]], "f4"), np.zeros((1, 1), "f4")
    for W_any in (W, np.asfortranarray(W), np.array([[1], [2]], "f4").T):
        np.testing.assert_array_equal(kernels.linear_forward(W_any, rows.T, b), [[5, 11]])
    square, X = np.array([[1, 2], [3, 4]], "f4"), np.array([[1, 0], [0, 1]], "f4")
    np.testing.assert_array_equal(kernels.linear_forward(np.asfortranarray(square), X, [0, 0]), square)
    net = affine([[1, 2]], [0], "float32", backend=backend)
    np.testing.assert_array_equal(net.forward(rows.T), [[5, 11]])
    two = Network([2, 2], ["identity"], seed=0, backend=backend)
    two.set_parameters([(np.asfortranarray(square), [0, 0])])
    np.testing.assert_array_equal(two.forward(X), square)


def test_a03_strided_and_reversed_views(backend, dtype, rng):
    B = rng.standard_normal((4, 9)).astype(dtype)
    kept = B.copy()
    for V in (B[:, ::-1], B[:, ::2], B[::-1, 1:8:3], B[:, 2:3]):
        make = lambda: Network([4, 5, 4], ["tanh", "identity"], dtype=dtype, seed=1, backend=backend)  # noqa: E731
        plain = np.ascontiguousarray(V)
        np.testing.assert_array_equal(make().forward(V), make().forward(plain))
        assert_same(everything(make, V, plain), everything(make, plain, plain))
        assert_same(everything(make, plain, V), everything(make, plain, plain))
        assert_same(everything(make, V, V), everything(make, plain, plain))
    np.testing.assert_array_equal(B, kept)


def test_a05_float64_data_into_a_float32_network(backend, rng):
    X64, Y32 = rng.standard_normal((4, 8)), rng.standard_normal((2, 8)).astype("f4")
    X32 = X64.astype("f4")
    for dtype, X, plain in (("float32", X64, X32), ("float64", X32, X32.astype("f8"))):
        make = lambda dtype=dtype: Network([4, 3, 2], ["tanh", "identity"], dtype=dtype, seed=0, backend=backend)  # noqa: E731
        assert make().forward(X).dtype == dtype
        assert np.abs(make().forward(X) - make().forward(plain)).max() == 0
        assert_same(everything(make, X, Y32), everything(make, plain, Y32.astype(dtype)))
        for other in ("float16", "longdouble"):
            V = X64.astype(other)
            assert_same(everything(make, V, Y32), everything(make, V.astype(dtype), Y32))
        with pytest.raises(TypeError, match=r"X .*complex128"):
            make().forward(X64 * 1j)


@alone
def test_a05_is_cast_by_parts(backend):
    # In fit, a sample of another dtype is cast once an epoch: the whole is never copied.
    X, y = np.zeros((64, 200_000)), np.zeros(200_000)  # 100 MB
    net = Network([64, 2, 1], seed=0, backend=backend)
    calls = {
        "fit": lambda: net.fit(X, y, batch_size=1000, progress=False),
        "predict": lambda: net.predict(X),
        "loss": lambda: net.loss(X, y),
        "evaluate": lambda: net.evaluate(X, y),
    }
    for what, call in calls.items():
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 0.4 * X.nbytes, f"{what}: {peak / 1e6:.0f} MB, a copy in float32 has {X.nbytes / 2e6:.0f}"


def test_a06_integer_image_data(backend):
    X = np.array([[200], [100]], "u1")
    W, b = np.ones((1, 2), "f4"), np.zeros((1, 1), "f4")
    np.testing.assert_array_equal(kernels.linear_forward(W, X, b), [[300.0]])
    net = affine(W, b, "float32", backend=backend)
    np.testing.assert_array_equal(net.forward(X), [[300.0]])
    for number in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
        highest = np.array([[np.iinfo(number).max], [1]], number)
        lowest = np.array([[np.iinfo(number).min], [1]], number)
        for X in (highest, lowest):
            want = np.float32(float(X[0, 0])) + np.float32(1)
            assert net.forward(X)[0, 0] == kernels.linear_forward(W, X, b)[0, 0] == want, number
    np.testing.assert_array_equal(net.forward([[True], [False]]), [[1]])
    # Beyond 2**53 an integer rounds like any cast to float64.
    wide = affine([[1.0]], [0.0], backend=backend)
    assert wide.forward(np.array([[2**53 + 1]]))[0, 0] == float(2**53 + 1)
    assert wide.forward([[2**70]])[0, 0] == 2.0**70


def test_a06_integer_weights_and_gradients(backend):
    dW, db, dA_prev = kernels.linear_backward(np.array([[200, 100]], "u1"), np.array([[200, 2]], "u1"), [[2]])
    assert (dW[0, 0], db[0, 0]) == (20_100, 150)
    np.testing.assert_array_equal(dA_prev, [[400, 200]])
    np.testing.assert_array_equal(kernels.rowsum(np.full((1, 4), 200, "u1")), [[800]])
    np.testing.assert_array_equal(kernels.loss_backward(np.array([[3]], "u1"), np.array([[5]], "u1"), "mse"), [[-4]])


def test_a08_length_1_axes_with_odd_strides(backend):
    x = np.arange(5, dtype="f4")[:, None]
    y = np.lib.stride_tricks.as_strided(x, x.shape, (4, 12345))
    z = np.lib.stride_tricks.as_strided(x, x.shape, (4, -3))
    net = Network([5, 3, 2], seed=1, backend=backend)
    want, before = net.forward(x), [sys.getrefcount(a) for a in (x, y, z)]
    for _ in range(3500):  # three calls each
        for a in (x, y, z):
            result = net.forward(a)
    for a in (x, y, z):
        np.testing.assert_array_equal(net.forward(a), want)
        np.testing.assert_allclose(kernels.linear_forward(a.T, a, [0]), [[30]])
        np.testing.assert_allclose(kernels.activation_forward(a.T, "relu"), x.T)
    del result, a
    assert [sys.getrefcount(a) for a in (x, y, z)] == before


@pytest.mark.parametrize("n_out", [1, 2])
def test_a10_pandas_nullable_dtypes_and_lists(backend, n_out):
    df = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [0.5, 1, -1, 2], "name": list("wxyz")})
    X, make = df[["a", "b"]].T, lambda: Network([2, 3, n_out], seed=0, backend=backend)
    want = everything(make, X.to_numpy(), np.array([1, 0, 1, 0]))
    for dtype in ("Int64", "boolean", "UInt8", "int8", "Float64" if n_out == 1 else "Int8"):
        assert_same(everything(make, X, pd.Series([1, 0, 1, 0], dtype=dtype)), want)
    net = make()
    with weights_unchanged(net):
        with pytest.raises(ValueError, match="X has 1 missing value"):
            net.fit(pd.DataFrame({"a": [1, None], "b": [1, 2]}, dtype="Int64"), [0, 1])
        for call in (lambda: net.fit(df.T, [0, 1, 0, 1]), lambda: net.forward(df.T)):
            with pytest.raises((TypeError, ValueError), match=r"\bX\b"):
                call()
        with pytest.raises(TypeError, match=r"X .*object.*str"):
            net.forward(df[["a", "name"]].T)
        with pytest.raises(TypeError, match=r"\by .*str"):
            net.fit(X, pd.Series(["a", "b", "a", "b"], dtype="category"))
        for dtype in ("Int64", "boolean", object, "Float64"):
            y = pd.Series([1, None, 1, 0], dtype=dtype)
            for call in (net.fit, net.loss, net.train_step, net.evaluate, net.gradients):
                with pytest.raises(ValueError, match=r"\by has 1 missing value"):
                    call(X, y)
        with pytest.raises(ValueError, match=r"\by has 2 missing values"):
            net.fit(X, pd.Series([1, None, pd.NA, 0], dtype="Int64"))
    assert net.forward([[1, 2], [3, 4]]).shape == (n_out, 2)


def test_a10_pandas_data_is_not_changed(backend):
    df = pd.DataFrame({"a": [1, 2, 3], "b": [4.0, 5, 6]})
    kept, w = df.copy(), pd.Series([1.0, 2, 3])
    Network([2, 1], seed=0, backend=backend).fit(df.T, df["b"] / 6, sample_weight=w)
    pd.testing.assert_frame_equal(df, kept)
    pd.testing.assert_series_equal(w, pd.Series([1.0, 2, 3]))


@pytest.mark.slow
def test_a11_more_than_2_to_the_31_elements(backend):
    with open("/proc/meminfo") as file:
        free = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    if free < 20 * 2**20:
        pytest.skip("needs 20 GB of free memory")
    X = np.zeros((1, 2**31 + 64), "f4")
    X[0, -1] = 1
    W, b = np.array([[2.0]], "f4"), np.zeros((1, 1), "f4")
    assert kernels.linear_forward(W, X, b)[0, -1] == 2.0
    net = affine(W, b, "float32", backend=backend)
    assert net.predict(X)[0, -1] == 2.0
    assert net.loss(X[:, -5:], [0, 0, 0, 0, 0.0]) == pytest.approx(0.8)


def test_a12_the_error_names_the_argument(backend):
    net = Network([3, 4, 2], seed=0, backend=backend)
    X, y = np.zeros((3, 4)), np.zeros(4, int)
    assert_refused(lambda: net.forward(np.zeros(3, "f4")), "X", "(3,)", "(3, m)")
    assert_refused(lambda: net.fit(X, np.zeros((2, 4, 1))), "y", "(2, 4, 1)", "(2, 4)")
    assert_refused(lambda: net.fit("data.csv", y), "X", "str")
    assert_refused(lambda: net.fit(X, y, sample_weight=np.zeros((4, 1))), "sample_weight", "(4, 1)", "(4,)")
    assert_refused(lambda: net.predict(X, out=np.zeros((4, 2), "f4")), "out", "(4, 2)", "(2, 4)")
    assert_refused(lambda: net.predict(X, out=np.zeros((2, 4))), "out", "float64", "float32")
    assert_refused(
        lambda: kernels.linear_forward(np.zeros((2, 3)), np.zeros((4, 5)), [0, 0]), "A_prev", "(4, 5)", "(3,"
    )
    assert_refused(lambda: kernels.linear_forward(np.zeros((2, 3)), X, [0, 0, 0]), "b", "(3,)", "(2, 1)")
    assert_refused(lambda: kernels.linear_backward(np.ones((2, 4)), X, np.ones((3, 2))), "W", "(3, 2)", "(2, 3)")
    assert_refused(lambda: kernels.linear_backward(np.ones((2, 5)), X), "A_prev", "(3, 4)", "5")
    assert_refused(lambda: kernels.activation_backward(X, X[:2], "relu"), "A", "(2, 4)", "(3, 4)")
    assert_refused(lambda: kernels.activation_backward(X, None, "relu", Z=X[:2]), "Z", "(2, 4)", "(3, 4)")
    assert_refused(lambda: kernels.activation_backward(X, None, "relu"), "A", "None")
    assert_refused(lambda: kernels.rowsum(np.zeros(4)), "dZ", "(4,)")
    assert_refused(lambda: kernels.activation_forward(X, "rely"), "kind", "rely")
    assert_refused(lambda: kernels.linear_forward(np.zeros((2, 3)), X, [0, 0], "rely"), "activation", "rely")
    assert_refused(lambda: kernels.loss_forward(X, y, "rmse"), "kind", "rmse")
    assert_refused(lambda: kernels.loss_forward(X[:1], y, "cross_entropy"), "Z", "(1, 4)")


@pytest.mark.parametrize("kind", ref.ACTIVATIONS)
def test_a12_no_rows(backend, kind):
    # Of no rows nothing can be computed: an empty result, or an error that names the argument.
    Z = np.zeros((0, 5))
    calls = {"forward": (lambda: kernels.activation_forward(Z, kind), "Z")}
    calls["backward"] = (lambda: through(Z, Z, Z, kind), "dA")
    for call, name in calls.values():
        try:
            assert call().shape == (0, 5)
        except ValueError:
            assert_refused(call, name, "(0, 5)")


@pytest.mark.parametrize("kind", ref.LOSSES)
def test_a12_a_loss_of_no_rows(backend, kind):
    for call in (kernels.loss_forward, kernels.loss_backward):
        assert_refused(lambda c=call: c(np.zeros((0, 5)), np.zeros((0, 5)), kind), "Z", "(0, 5)")


def test_a08_contiguous_at_an_odd_address():
    """As the bytes of a file are: x86 reads them anywhere, C does not allow it, and other CPUs trap."""

    def moved(a):
        raw = np.zeros(a.nbytes + 1, np.uint8)
        view = raw[1:].view(a.dtype).reshape(a.shape)
        view[...] = a
        assert not view.flags.aligned
        return view

    X, w = moved(np.ones((1, 6), "f4")), moved(np.ones(6))
    assert arrays.columns_as(X, slice(None), X.dtype).flags.aligned
    assert arrays.columns_as(X, slice(2, 3), X.dtype).flags.aligned
    assert arrays.weights_of_samples(w, 6).flags.aligned
    codes = arrays.targets(moved(np.zeros(6, np.int32)), 3, 6, "cross_entropy")
    assert codes.flags.aligned
