"""to_c: compiled by gcc the file gives what predict gives, in any layout of options, and says no to what it cannot."""

import ctypes
import os
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

import fastnn
import reference as ref
from conftest import alone
from fastnn import Network, datasets
from fastnn.exchange import c_functions, to_c
from networks_that_travel import adapted_network, check_parity, drawn_network

FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Wshadow", "-Werror"]


@pytest.fixture(autouse=True)
def _compiler():
    if not shutil.which("gcc"):
        pytest.skip("no gcc here")


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def functions(folder, written, optimise="-O0"):
    """Functions of a batch X (n_0, m) from written files: (path, name, network's sizes, dtype) each."""
    library = folder / f"{written[0][1]}_{written[0][3]}.so"  # the system keeps one of each name
    run("gcc", *FLAGS, optimise, "-shared", "-fPIC", *(path for path, *_ in written), "-o", library, "-lm")
    found = ctypes.CDLL(str(library))

    def batch(name, n_out, dtype):
        function = getattr(found, name)
        function.argtypes, function.restype = [ctypes.c_void_p] * 2, None

        def predict(X):
            rows = np.ascontiguousarray(X.T, dtype)
            A = np.full((len(rows), n_out), np.nan, dtype)
            for x, y in zip(rows, A, strict=True):
                function(x.ctypes.data, y.ctypes.data)
            return A.T

        return predict

    return [batch(name, sizes[-1], dtype) for _, name, sizes, dtype in written]


def check_random_networks(folder, rng, count, dtype):
    made = [drawn_network(rng, i, dtype) for i in range(count)]
    written = []
    for i, (net, _) in enumerate(made):
        path = folder / f"model{i}.c"
        to_c(net, path, name=f"predict_{i}")
        written.append((path, f"predict_{i}", net.sizes, net.dtype))
    for (net, X), predict in zip(made, functions(folder, written), strict=True):
        check_parity(net, X, predict(X))


def test_a_few_networks_are_the_same_in_c(tmp_path, rng, dtype):
    check_random_networks(tmp_path, rng, 5, dtype)


@pytest.mark.slow
def test_200_networks_are_the_same_in_c(tmp_path, rng, dtype):
    check_random_networks(tmp_path, rng, 200, dtype)


def test_standardisation_is_part_of_it_with_means_of_any_size(tmp_path, rng, dtype):
    cases = ((0, True), (1, False), (4, True), (-1e6, False))
    made = [adapted_network(rng, dtype, mean, with_y) for mean, with_y in cases]
    written = []
    for i, (net, _) in enumerate(made):
        to_c(net, tmp_path / f"{i}.c", name=f"predict_{i}")
        assert ("centre" in (tmp_path / f"{i}.c").read_text()) == (i >= 2)
        written.append((tmp_path / f"{i}.c", f"predict_{i}", net.sizes, dtype))
    for (net, X), predict in zip(made, functions(tmp_path, written), strict=True):
        check_parity(net, X, predict(X))


@pytest.mark.parametrize("size", [1e10, 1e18, 1e21, 1e36])
def test_layer_norm_of_large_numbers(tmp_path, rng, dtype, size):
    net = Network([4, 6, 3], ["tanh", "identity"], "mse", dtype=dtype, norm="layer", seed=0)
    (W, *rest), last = net.parameters
    net.set_parameters([(size * W, *rest), last])
    to_c(net, tmp_path / "m.c")
    (predict,) = functions(tmp_path, [(tmp_path / "m.c", "predict", net.sizes, net.dtype)])
    X = ref.exact(rng.standard_normal((4, 30)), dtype)
    np.testing.assert_allclose(predict(X), net.predict(X), atol=4e-7 if dtype == np.float32 else 1e-14)


def test_means_and_log_variances_are_in_the_units_of_the_targets(tmp_path, rng):
    net, X = adapted_network(rng, "float64", 1.0, loss="gaussian_nll")
    to_c(net, tmp_path / "m.c")
    (predict,) = functions(tmp_path, [(tmp_path / "m.c", "predict", net.sizes, net.dtype)])
    np.testing.assert_allclose(predict(X), net.predict(X), rtol=1e-12)


def test_the_loss_does_not_travel(tmp_path, rng):
    class Own(Network):
        pass

    def own_loss(A, y):
        return ((A - y) ** 2).sum(axis=0), 2 * (A - y)

    nets = [Network([3, 3, 2], loss=loss, seed=0) for loss in (own_loss, "quantile", "poisson", "gaussian_nll", "mse")]
    nets += [Own([3, 3, 2], ["tanh", "identity"], seed=1), SimpleNamespace(network_=Network([3, 3, 1], seed=2))]
    written = []
    for i, net in enumerate(nets):
        to_c(net, tmp_path / f"{i}.c", name=f"predict_{i}")
        known = getattr(net, "network_", net)
        written.append((tmp_path / f"{i}.c", f"predict_{i}", known.sizes, known.dtype))
    X = rng.standard_normal((3, 4)).astype(np.float32)
    for net, predict in zip(nets, functions(tmp_path, written), strict=True):
        np.testing.assert_allclose(predict(X), getattr(net, "network_", net).predict(X), rtol=1e-5, atol=1e-6)


@alone
def test_an_activation_that_a_format_does_not_know_is_refused(tmp_path, monkeypatch):
    monkeypatch.delitem(c_functions.ELEMENTWISE, "silu")
    refused(tmp_path, "to_c has no silu", net=Network([2, 2, 1], ["silu", "sigmoid"]))


def test_float64_on_request_and_back(tmp_path, rng):
    net, X = drawn_network(rng, 5, "float64")
    for kind, bound in (("float32", 1e-4), ("float64", 1e-13)):
        to_c(net, tmp_path / "m.c", dtype=kind)
        (predict,) = functions(tmp_path, [(tmp_path / "m.c", "predict", net.sizes, np.dtype(kind))])
        A = net.predict(X)
        assert np.abs(predict(X) - A).max() < bound * np.abs(A).max()


@pytest.mark.slow
def test_numbers_that_are_not_finite_stay_in_their_sample(tmp_path, rng):
    written, nets = [], []
    for i, kind in enumerate(ref.ALL_ACTIVATIONS):
        net = Network([3, 4, 4], ["identity", kind], seed=i)
        nets.append(net)
        to_c(net, tmp_path / f"{i}.c", name=f"predict_{i}")
        written.append((tmp_path / f"{i}.c", f"predict_{i}", net.sizes, net.dtype))
    X = rng.standard_normal((3, 4)).astype(np.float32)
    X[1, 2] = np.nan
    for net, predict in zip(nets, functions(tmp_path, written), strict=True):
        A = predict(X)
        np.testing.assert_array_equal(np.isnan(A), np.isnan(net.predict(X)))
        large = predict(np.float32(1e4) * np.nan_to_num(X))
        assert np.isfinite(large).all(), net


def test_main_reads_rows(tmp_path, rng):
    net = Network([3, 5, 2], seed=0)
    to_c(net, tmp_path / "m.c", main=True)
    run("gcc", *FLAGS, "-O2", "-D_FORTIFY_SOURCE=2", tmp_path / "m.c", "-o", tmp_path / "m", "-lm")
    X = rng.standard_normal((3, 4)).astype(np.float32)
    lines = "1 , 2,\t-3e-1\n" + "".join(" ".join(f"{x:.9g}" for x in row) + "\n" for row in X.T)
    rows = [[float(a) for a in line.split()] for line in run(tmp_path / "m", input=lines).splitlines()]
    want = net.predict(np.column_stack([[1, 2, -0.3], X])).T
    np.testing.assert_allclose(rows, want, rtol=1e-5)
    assert run(tmp_path / "m", input="") == ""
    given = run(tmp_path / "m", input="1,2,3,\r\n\n \n 4 5 6")
    assert len(given.splitlines()) == 2
    for wrong in ("1 2", "1 2 x", "1,,2 3", "1 2\n3 4\n5 6\n", "1,2,3,4\n", "1,2,3,4,5,6\n", ",1,2,3", "1;2;3"):
        done = subprocess.run([tmp_path / "m"], input=wrong, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "row 1 is not a line of 3 numbers\n"


@pytest.fixture(scope="module")
def digits():
    X, y = datasets.load_digits()
    return datasets.shuffled_split(X / 16, y, n_test=500, seed=0)


@pytest.mark.slow
def test_int8_costs_less_than_half_a_point_on_digits(tmp_path, digits):
    X, y, X_test, y_test = digits
    hits, written, nets = [], [], []
    for seed in range(5):
        net = Network([64, 64, 64, 10], ["relu", "silu", "softmax"], seed=seed, norm=["batch", None])
        net.fit(X, y, 15, optimizer=fastnn.Adam(3e-3), progress=False)
        to_c(net, tmp_path / f"{seed}.c", name=f"predict_{seed}", quantize="int8", calibration=X[:, :1030])
        nets.append(net)
        written.append((tmp_path / f"{seed}.c", f"predict_{seed}", net.sizes, net.dtype))
    for net, predict in zip(nets, functions(tmp_path, written, "-O2"), strict=True):
        hits.append([(a.argmax(axis=0) == y_test).mean() for a in (net.predict(X_test), predict(X_test))])
    of_floats, of_int8 = np.mean(hits, axis=0)
    assert of_floats > 0.95
    assert of_int8 > of_floats - 0.005
    run("gcc", "-std=c99", "-Os", "-c", tmp_path / "0.c", "-o", tmp_path / "0.o")
    print(f"float {of_floats:.4f}, int8 {of_int8:.4f}\n{run('size', tmp_path / '0.o')}")


def test_int8_is_near_what_was_quantised(tmp_path, rng, digits):
    cases = [(Network([64, 32, 10], seed=0), digits[0])]
    cases[0][0].fit(digits[0], digits[1], 3, optimizer=fastnn.Adam(3e-3), progress=False)
    raw = Network([6, 6, 3], ["tanh", "sigmoid"], norm="layer", seed=0)  # units a million times apart
    X = (1e3 + rng.standard_normal((6, 300))) * 10.0 ** np.arange(-3, 3)[:, np.newaxis]
    raw.adapt(X)
    cases.append((raw, X.astype(np.float32)))
    cases.append((Network([5, 5, 2], init="zeros"), rng.standard_normal((5, 20))))
    written = []
    for i, (net, X) in enumerate(cases):
        to_c(net, tmp_path / f"{i}.c", name=f"predict_{i}", quantize="int8", calibration=X)
        written.append((tmp_path / f"{i}.c", f"predict_{i}", net.sizes, net.dtype))
    for (net, X), predict in zip(cases, functions(tmp_path, written), strict=True):
        A, got = net.predict(X), predict(X)
        assert np.abs(got - A).mean() < 0.01
        assert np.abs(got - A).max() < 0.15
        far = predict(1e30 * np.ones((len(X), 1)))  # beyond the calibration: the nearest number that there is
        assert np.isfinite(far).all()


@pytest.mark.parametrize("size", [1e-44, 1e-39, 1e-30, 1e30])
def test_int8_of_samples_of_any_size(tmp_path, rng, size):
    net = Network([3, 4, 2], ["relu", "identity"], "mse", seed=0)
    X = (size * rng.standard_normal((3, 50))).astype(np.float32)
    to_c(net, tmp_path / "m.c", quantize="int8", calibration=X)
    (predict,) = functions(tmp_path, [(tmp_path / "m.c", "predict", net.sizes, net.dtype)])
    A = net.predict(X)
    assert np.abs(predict(X) - A).max() <= max(0.05 * np.abs(A).max(), 1e-35)


@pytest.mark.parametrize("command", [("aarch64-linux-gnu-gcc", "qemu-aarch64"), ("arm-none-eabi-gcc", None)])
def test_other_processors(tmp_path, rng, command):
    compiler, emulator = command
    if not shutil.which(compiler) or (emulator and not shutil.which(emulator)):
        pytest.skip(f"no {compiler} here")
    net = Network([5, 5, 3], ["gelu", "softmax"], seed=1)
    X = rng.standard_normal((5, 3)).astype(np.float32)
    if emulator is None:
        to_c(net, tmp_path / "m.c", quantize="int8", calibration=X)
        run(compiler, *FLAGS, "-mcpu=cortex-m4", "-mthumb", "-Os", "-c", tmp_path / "m.c", "-o", tmp_path / "m.o")
        return
    to_c(net, tmp_path / "m.c", main=True)
    run(compiler, *FLAGS, "-static", tmp_path / "m.c", "-o", tmp_path / "m", "-lm")
    lines = "".join(",".join(f"{x:.9g}" for x in row) + "\n" for row in X.T)
    got = [[float(a) for a in line.split()] for line in run(emulator, tmp_path / "m", input=lines).splitlines()]
    np.testing.assert_allclose(got, net.predict(X).T, rtol=1e-5)


def test_the_file_needs_nothing_but_five_functions(tmp_path, rng):
    net = Network([4, 4, 4, 4, 4], ["gelu", "softplus", "elu", "softmax"], norm=["layer", None, None], seed=0)
    to_c(net, tmp_path / "m.c")
    run("gcc", "-std=c99", "-fno-builtin", "-c", tmp_path / "m.c", "-o", tmp_path / "m.o")
    undefined = {line.split()[-1] for line in run("nm", "-u", tmp_path / "m.o").splitlines()}
    assert undefined - {"__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"} == {"expf", "tanhf", "logf", "log1pf", "erff"}
    symbols = [line.split()[1:] for line in run("nm", tmp_path / "m.o").splitlines() if "U" not in line]
    assert [name for kind, name in symbols if kind.isupper() and kind != "R"] == ["predict"]
    assert not [name for kind, name in symbols if kind in "BbDd"]  # no memory that changes


@pytest.mark.parametrize("stem", ["ü '", "%s", "#if", "a.b", "m;int main", "-o", "exp(1)", "my log(2) net"])
def test_any_usual_file_name_does(tmp_path, stem):
    net = Network([2, 2], ["identity"], "mse", seed=0)
    to_c(net, tmp_path / f"{stem}.c")
    run("gcc", *FLAGS, "-c", tmp_path / f"{stem}.c", "-o", tmp_path / "m.o")
    assert len(os.listdir(tmp_path)) == 3


def refused(folder, message, *args, kind=ValueError, net=None, **more):
    path = folder / "m.c"
    with pytest.raises(kind, match=message):
        to_c(net or Network([2, 3, 1], seed=0), *(args or (path,)), **more)
    assert not os.listdir(folder)


def test_what_is_refused_leaves_no_file(tmp_path):
    for stem in ('"', "a\n", "a\\b", "??-", "a*", "\x7f"):
        refused(tmp_path, "#include", tmp_path / f"{stem}.c")
    for wrong in ("m", "m.h", "m.cpp", ".c"):
        refused(tmp_path, 'ends in ".c"', tmp_path / wrong)
    refused(tmp_path, "path must be", 3, kind=TypeError)
    for name in ("main", "predict-1", "predict_\n", "", "predict_ü", None, "predict(x); evil"):
        refused(tmp_path, "name must be", name=name)
    refused(tmp_path, "main must be", main="yes", kind=TypeError)
    refused(tmp_path, "dtype must be", dtype="float16")
    refused(tmp_path, "quantize must be", quantize="int4", calibration=np.ones((2, 1)))
    refused(tmp_path, "calibration goes with", quantize="int8")
    refused(tmp_path, "calibration goes with", calibration=np.ones((2, 1)))
    for X in (np.ones((3, 2)), np.ones(2), np.ones((2, 0)), np.array([["a"], ["b"]])):
        refused(tmp_path, "calibration must be samples", quantize="int8", calibration=X)
    refused(tmp_path, r"; did you mean calibration\.T\?$", quantize="int8", calibration=np.zeros((9, 2)))
    refused(tmp_path, "calibration holds", quantize="int8", calibration=[[np.inf], [0]])
    refused(tmp_path, "to_c takes a fastnn.Network", net=[1], kind=TypeError)
    net = Network([2, 2], ["identity"], "mse", dtype="float64")
    net.set_parameters([([[1, np.nan], [0, 0]], [0, 0])])
    refused(tmp_path, "W of layer 1 holds", net=net)
    net.set_parameters([([[1, 1e300], [0, 0]], [0, 0])])
    refused(tmp_path, "W of layer 1 has numbers that float32", net=net, dtype="float32")
    many = {"quantize": "int8", "calibration": np.ones((2, 3)), "dtype": "float32"}
    refused(tmp_path, "W of layer 1 has numbers that float32", net=net, **many)
    net.set_parameters([(np.eye(2), [0, 1e300])])
    refused(tmp_path, "b of layer 1 has numbers that float32", net=net, **many)
    normed = Network([2, 2, 2], ["relu", "identity"], "mse", dtype="float64", norm="layer", seed=0)
    normed.set_parameters([(*normed.parameters[0][:2], [1e300, 1], [0, 0]), normed.parameters[1]])
    refused(tmp_path, "gamma of layer 1 has numbers that float32", net=normed, dtype="float32")
    refused(tmp_path, "gamma of layer 1 has numbers that float32", net=normed, **many)
    net.set_parameters([(np.eye(2), [0, 0])])
    net.adapt([[0, 1e150], [0, 1]])
    refused(tmp_path, "feature 0 is standardised", net=net, dtype="float32")
    net = Network([70_000, 1], ["identity"], "mse", init="zeros")
    refused(tmp_path, "layer 1 has 70000 inputs", net=net, quantize="int8", calibration=np.zeros((70_000, 1)))


def test_long_sums_lose_no_number(tmp_path, rng, dtype):
    written, nets = [], []
    for n in (128, 129, 300):
        net = Network([n, 5, 3], ["tanh", "identity"], "mse", dtype=dtype, seed=n)
        to_c(net, tmp_path / f"{n}.c", name=f"predict_{n}")
        nets.append(net)
        written.append((tmp_path / f"{n}.c", f"predict_{n}", net.sizes, net.dtype))
    for net, predict in zip(nets, functions(tmp_path, written), strict=True):
        X = rng.standard_normal((net.sizes[0], 3))
        check_parity(net, X, predict(X))


def test_weights_are_read_exactly(tmp_path, rng):
    for number in ("float32", "float64"):
        net = Network([3, 3], ["identity"], "mse", dtype=number)
        limits = np.finfo(number)
        odd = np.array([[limits.max, limits.tiny, -0.0], [1 / 3, limits.eps, 5.0], [-limits.max, 1 + limits.eps, 0.1]])
        net.set_parameters([(odd, [0, 0, 0])])
        to_c(net, tmp_path / "m.c", name=f"predict_{number}")
        (predict,) = functions(tmp_path, [(tmp_path / "m.c", f"predict_{number}", net.sizes, net.dtype)])
        np.testing.assert_array_equal(predict(np.eye(3)), net.parameters[0][0])
