"""For authors of other packages: arrays of other libraries, no copies where none are allowed, C functions."""

import array
import ctypes
import os
import shutil
import subprocess

import numpy as np
import pytest

import fastnn
import reference
from calls import Matrix, table
from case_helpers import each
from fastnn import kernels
from layouts import LAYOUTS, frame, laid_out, taken_out

RNG = np.random.default_rng(5)


def draw(*shape, dtype="f4"):
    return RNG.standard_normal(shape).astype(dtype)


class Foreign:
    """An array of another library: DLPack, and nothing else."""

    def __init__(self, inner):
        self.inner = inner

    def __dlpack__(self, **kwargs):
        return self.inner.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.inner.__dlpack_device__()


def call_all(wrap, dtype="f4", **keywords):
    """Every function of fastnn.kernels once, each array handed over by `wrap`; their results."""
    W, A, b, dZ = (draw(3, 4, dtype=dtype), draw(4, 5, dtype=dtype), draw(3, 1, dtype=dtype), draw(3, 5, dtype=dtype))
    y, adam = np.array([0, 2, 1, 0, 2]), fastnn.Adam(lr=0.1)
    w = wrap
    yield kernels.linear_forward(w(W), w(A), w(b), "tanh", **keywords)
    yield kernels.activation_forward(w(dZ), "sigmoid", **keywords)
    yield kernels.activation_backward(w(dZ), w(np.tanh(dZ)), "tanh", **keywords)
    yield kernels.rowsum(w(dZ), **keywords)
    yield from kernels.linear_backward(w(dZ), w(A), w(W), activation="relu", **keywords)
    yield kernels.loss_forward(w(dZ), y, "cross_entropy", **keywords)
    yield kernels.loss_backward(w(dZ), y, "cross_entropy", **keywords)
    yield from kernels.optimizer_update(adam, w(W), w(0.1 * W), (w(0 * W), w(0 * W)), 1, **keywords)


def as_buffer(matrix):
    return memoryview(matrix)


@pytest.mark.parametrize("wrap", [Foreign, as_buffer], ids=["dlpack", "buffer"])
def test_what_shares_memory_is_read_where_it_is(backend, wrap, monkeypatch):
    global RNG
    state = RNG.bit_generator.state
    wanted = list(call_all(lambda x: x))
    RNG.bit_generator.state = state
    for ours, theirs in zip(call_all(wrap, copy="never"), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_never_takes_plain_arrays_of_any_layout(backend, dtype):
    for layout in LAYOUTS:
        if layout != "unaligned":
            list(call_all(lambda x, layout=layout: laid_out(x, layout), dtype=dtype, copy="never"))


@pytest.mark.parametrize(
    "wrap",
    [lambda x: x.tolist(), lambda x: x.astype("f2"), lambda x: x.astype("i8"), lambda x: laid_out(x, "unaligned")],
    ids=["list", "float16", "integers", "unaligned"],
)
def test_never_refuses_what_needs_a_copy(backend, wrap):
    W, A, b = draw(3, 4), draw(4, 5), draw(3, 1)
    for i, name in enumerate(("W", "A_prev", "b")):
        arguments = [W, A, b]
        arguments[i] = wrap(arguments[i])
        with pytest.raises(ValueError, match=rf"^{name}\b.*never"):
            kernels.linear_forward(*arguments, copy="never")
    with pytest.raises(ValueError, match=r"^dZ\b.*never"):
        kernels.rowsum(wrap(W), copy="never")
    with pytest.raises(ValueError, match=r"^Z\b.*never"):
        kernels.activation_forward(wrap(W), "relu", copy="never")
    with pytest.raises(ValueError, match=r"^moments\[1\].*never"):
        kernels.optimizer_update(fastnn.Adam(), W, W, (W, wrap(W)), copy="never")


def test_never_refuses_to_compute_elsewhere(backend):
    Z = draw(4, 4)
    with pytest.raises(ValueError, match=r"out shares memory.*never"):
        kernels.activation_forward(Z, "relu", out=Z.T, copy="never")
    for value in (Z, Z.tolist()):
        with pytest.raises(ValueError, match="copy must be"):
            kernels.rowsum(value, copy="sometimes")


def test_out_of_another_library_is_written_where_it_is(backend):
    Z, memory = draw(3, 2), array.array("f", bytes(24))
    out = memoryview(memory).cast("B").cast("f", (3, 2))
    assert kernels.activation_forward(Z, "relu", out=out) is out
    np.testing.assert_array_equal(np.asarray(memory).reshape(3, 2), np.maximum(Z, 0))


def test_a_read_only_out_is_refused_with_the_reason(backend):
    out = memoryview(bytes(24)).cast("f", (3, 2))
    with pytest.raises(ValueError, match=r"out, a memoryview, is read-only"):
        kernels.activation_forward(draw(3, 2), "relu", out=out)
    with pytest.raises(TypeError, match=r"out must be a NumPy array.*a list"):
        kernels.activation_forward(draw(3, 2), "relu", out=[[0.0] * 2] * 3)


# --- what was added to the single functions -------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_loss_backward_writes_out(backend, dtype, layout):
    Z, y = draw(3, 5, dtype=dtype), np.array([0, 2, 1, 0, 2])
    out, base = frame((3, 5), dtype, layout)
    assert kernels.loss_backward(Z, y, "cross_entropy", out=out) is out
    np.testing.assert_allclose(taken_out(out, base), kernels.loss_backward(Z, y, "cross_entropy"), rtol=1e-6)
    Z_before = Z.copy()
    kernels.loss_backward(Z, y, "cross_entropy", out=Z)
    np.testing.assert_allclose(Z, kernels.loss_backward(Z_before, y, "cross_entropy"), rtol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind, known in reference.ACTIVATIONS.items() if known.slope_from == "A"])
def test_linear_backward_goes_on_through_the_activation(backend, dtype, kind):
    dZ, W = draw(3, 7, dtype=dtype), draw(3, 5, dtype=dtype)
    A_prev = kernels.activation_forward(draw(5, 7, dtype=dtype), kind)
    dW, db, dA_prev = kernels.linear_backward(dZ, A_prev, W)
    fused = kernels.linear_backward(dZ, A_prev, W, activation=kind)
    np.testing.assert_array_equal(fused[0], dW)
    np.testing.assert_array_equal(fused[1], db)
    bound = reference.BOUND[dtype]
    expected, scale = reference.activation_backward(dA_prev.astype("f8"), A_prev.astype("f8"), kind)
    assert (np.abs(fused[2] - expected) <= bound * (scale + np.abs(W).T @ np.abs(dZ))).all()
    with pytest.raises(ValueError, match="activation is for dA_prev, which needs W"):
        kernels.linear_backward(dZ, A_prev, activation=kind)


RULES = [
    fastnn.SGD(lr=0.3, weight_decay=0.1),
    fastnn.SGD(lr=0.3, momentum=0.9, weight_decay=0.1),
    fastnn.SGD(lr=0.3, momentum=0.9, nesterov=True),
    fastnn.Adam(lr=0.1, weight_decay=0.1),
    fastnn.AdamW(lr=0.1, weight_decay=0.1),
    fastnn.NAdam(lr=0.1, weight_decay=0.1),
    fastnn.RMSprop(lr=0.1, weight_decay=0.1),
    fastnn.RMSprop(lr=0.1, momentum=0.9),
    fastnn.Adagrad(lr=0.1, lr_decay=0.1, weight_decay=0.1),
]


def rule(o, w, g, moments, t):
    """The definitions of the optimizers' docstrings, in float64."""
    if o.kind == "SGD":
        g = g + o.weight_decay * w
        if not o.momentum:
            return (w - o.lr * g,)
        buf = o.momentum * moments[0] + g
        return w - o.lr * (g + o.momentum * buf if o.nesterov else buf), buf
    if o.kind in ("NAdam", "RMSprop", "Adagrad"):
        oracle = reference.Optimizer(o.kind, **o.settings())
        names, oracle.t = (["m", "v"] if o.kind == "NAdam" else ["v", "buf"])[: len(moments)], t - 1
        for name, moment in zip(names, moments, strict=True):
            setattr(oracle, name, moment)
        return oracle.step(w, g), *(getattr(oracle, name) for name in names)
    if o.kind == "AdamW":
        w = w * (1 - o.lr * o.weight_decay)
    else:
        g = g + o.weight_decay * w
    m = o.betas[0] * moments[0] + (1 - o.betas[0]) * g
    v = o.betas[1] * moments[1] + (1 - o.betas[1]) * g**2
    return w - o.lr / (1 - o.betas[0] ** t) * m / (np.sqrt(v / (1 - o.betas[1] ** t)) + o.eps), m, v


@pytest.mark.parametrize("optimizer", RULES, ids=repr)
@each("shape", [(1, 1), (3, 5), (17, 70), (9,), (1, 33)])
@each("layout", ["C", "F", "strided", "reversed F", "unaligned"])
def test_optimizer_update(backend, dtype, optimizer, shape, layout):
    def lay(x):
        return laid_out(x, layout) if x.ndim == 2 else x

    old = [lay(np.abs(draw(*shape, dtype=dtype))) for _ in range(1 + optimizer.slots)]
    g = draw(*shape, dtype=dtype)
    expected = rule(optimizer, *(a.astype("f8") for a in (old[0], g)), [a.astype("f8") for a in old[1:]], 3)
    new = kernels.optimizer_update(optimizer, old[0], lay(g), old[1:], 3)
    tolerance = 10 * reference.BOUND[dtype]
    for ours, theirs in zip(new, expected, strict=True):
        assert ours.shape == shape
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    # In place, in a frame around which nothing may change; and the same numbers.
    if len(shape) == 2:
        frames = [frame(shape, dtype, layout) for _ in old]
        for (view, _), a in zip(frames, old, strict=True):
            view[...] = a
        out = tuple(view for view, _ in frames)
        done = kernels.optimizer_update(optimizer, out[0], g, out[1:], 3, out=out)
        for (view, base), again, ours in zip(frames, done, new, strict=True):
            assert again is view
            np.testing.assert_allclose(taken_out(view, base), ours, rtol=1e-6, atol=1e-7)


def test_optimizer_update_in_one_piece_is_in_place(backend, dtype):
    W, m, v = np.ones((4, 3), dtype), np.zeros((4, 3), dtype), np.zeros((4, 3), dtype)
    result = kernels.optimizer_update(fastnn.Adam(lr=0.5), W, np.full((4, 3), 2, dtype), (m, v), 1, out=(W, m, v))
    assert [a is b for a, b in zip(result, (W, m, v), strict=True)] == [True] * 3
    np.testing.assert_allclose(W, 0.5, rtol=1e-6)
    np.testing.assert_allclose(v, 0.004, rtol=1e-4)


@pytest.mark.parametrize("optimizer", [fastnn.SGD(), *RULES], ids=repr)
def test_optimizer_update_refuses_another_number_of_moments(backend, optimizer):
    for count in range(4):
        W, *moments = (np.ones((2, 3), "f4") for _ in range(1 + count))
        for out in (None, (W, *moments)):
            if count == optimizer.slots:
                kernels.optimizer_update(optimizer, W, np.ones((2, 3), "f4"), tuple(moments), out=out)
                continue
            with pytest.raises(ValueError, match=f"moments must be a tuple of {optimizer.slots} for"):
                kernels.optimizer_update(optimizer, W, np.ones((2, 3), "f4"), tuple(moments), out=out)
            assert all((a == 1).all() for a in (W, *moments))


def test_optimizer_update_refuses(backend):
    W = np.ones((2, 2))
    adam = fastnn.Adam()
    with pytest.raises(TypeError, match="optimizer must be"):
        kernels.optimizer_update("Adam", W, W)
    with pytest.raises(ValueError, match="moments must be a tuple of 2"):
        kernels.optimizer_update(adam, W, W, (W,))
    with pytest.raises(ValueError, match="dW has shape"):
        kernels.optimizer_update(adam, W, W[:1], (W, W))
    with pytest.raises(ValueError, match="step must be"):
        kernels.optimizer_update(adam, W, W, (0 * W, 0 * W), 0)
    with pytest.raises(ValueError, match=r"out\[0\] and out\[1\] share"):
        kernels.optimizer_update(adam, W, W, (0 * W, 0 * W), 1, (W, W, None))
    with pytest.raises(TypeError, match="out must be a tuple of 3"):
        kernels.optimizer_update(adam, W, W, (0 * W, 0 * W), 1, W)


# --- aligned arrays, the header, C functions ----------------------------------------------------------


@pytest.mark.parametrize("order", ["F", "C"])
def test_empty_is_aligned(dtype, order):
    for shape in (0, 7, (3, 5), (0, 4), (1, 1)):
        a = fastnn.empty(shape, dtype, order)
        assert a.ctypes.data % 64 == 0 or not a.size
        assert a.shape == (shape if isinstance(shape, tuple) else (shape,))
        assert a.flags[f"{order}_CONTIGUOUS"]
        assert a.flags.writeable
        assert a.dtype == dtype
    for wrong in ({"dtype": "i4"}, {"order": "K"}, {"shape": (2, -1)}, {"shape": (2.0,)}):
        with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
            fastnn.empty(**{"shape": (2, 2), **wrong})


def test_the_header_is_where_it_is_said_to_be():
    assert os.path.isfile(os.path.join(fastnn.get_include(), "fastnn.h"))


compiled_only = pytest.mark.skipif(fastnn.info()["backend"] != "compiled", reason="needs the compiled backend")


@compiled_only
def test_c_functions_by_their_address(dtype):
    dZ, out = draw(3, 5, dtype=dtype), np.empty((3, 1), dtype)
    pointer, size, number = ctypes.POINTER(Matrix), ctypes.c_ssize_t, ctypes.c_int
    best = ctypes.CFUNCTYPE(number)(fastnn.c_function("isa_best"))
    rowsum = ctypes.CFUNCTYPE(number, number, pointer, pointer, size, size, number)(fastnn.c_function("fnn_rowsum"))
    assert rowsum(best(), Matrix(out), Matrix(dZ), 3, 5, 1) == 0
    np.testing.assert_allclose(out, dZ.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="no 'fnn_nothing'"):
        fastnn.c_function("fnn_nothing")


@compiled_only
def test_a_predictor_from_c(dtype):
    net = fastnn.Network([4, 8, 3], dtype=dtype, seed=0)
    X, out = np.asfortranarray(draw(4, 6, dtype=dtype)), np.empty((3, 6), dtype, order="F")
    handle = fastnn.predictor_handle(net.predictor())
    assert (handle.n_in, handle.n_out, handle.dtype) == (4, 3, dtype)
    pointer, size, number = ctypes.POINTER(Matrix), ctypes.c_ssize_t, ctypes.c_int
    predict = ctypes.CFUNCTYPE(number, ctypes.c_void_p, pointer, pointer, size, number)(
        fastnn.c_function("fnn_net_predict")
    )
    assert predict(handle.address, Matrix(out), Matrix(X), 6, 1) == 0
    np.testing.assert_array_equal(out, net.predict(X))
    with pytest.raises(TypeError, match="predictor must be what"):
        fastnn.predictor_handle(net.predict)


CPP = """
#include "fastnn.h"
#include "fastnn.h"
extern "C" int sums(const fnn_api *api, float *out, float *dZ, ptrdiff_t n, ptrdiff_t m) {
  if (api->abi != FASTNN_ABI || api->size < sizeof(fnn_api)) return -1;
  const fnn_matrix o = {out, 1, 0, FNN_FLOAT32}, z = {dZ, m, 1, FNN_FLOAT32};
  return api->rowsum(api->isa_best(), &o, &z, n, m, 1);
}
"""


@compiled_only
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_the_header_serves_cpp(tmp_path):
    (tmp_path / "sums.cpp").write_text(CPP)
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC", "-I", fastnn.get_include()]
    subprocess.run(["g++", *flags, tmp_path / "sums.cpp", "-o", tmp_path / "sums.so"], check=True)
    dZ, out = np.ascontiguousarray(draw(3, 5)), np.empty(3, "f4")
    places = (ctypes.c_void_p(a.ctypes.data) for a in (out, dZ))
    assert (
        ctypes.CDLL(str(tmp_path / "sums.so")).sums(
            ctypes.c_void_p(table()), *places, ctypes.c_ssize_t(3), ctypes.c_ssize_t(5)
        )
        == 0
    )
    np.testing.assert_allclose(out, dZ.sum(axis=1), rtol=1e-6)


def test_the_numpy_backend_has_no_c_functions(monkeypatch):
    from fastnn import _numpy, sharing

    monkeypatch.setattr(sharing, "_backend", _numpy)
    with pytest.raises(RuntimeError, match="compiled backend"):
        fastnn.c_function("fnn_rowsum")
    with pytest.raises(RuntimeError, match="compiled backend"):
        fastnn.predictor_handle(fastnn.Network([2, 1], backend="numpy").predictor())
