"""Layer norm and batch norm: torch's numbers, the oracle's, and what training, copies and files do with them."""

import copy
import ctypes
import io
import itertools
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import fastnn
import reference as ref
from case_helpers import bits, state_of
from conftest import BACKENDS, COMPILED
from fastnn import SGD, Adam, EarlyStopping, Network, _philox, files, norms

RNG = np.random.default_rng(31)
M = 90
X, CODES = RNG.standard_normal((7, M)), RNG.integers(0, 3, M)
QUIET = {"progress": False, "batch_size": 32}
NORMS = ("layer", "batch")
VARIANTS = BACKENDS
compiled_only = pytest.mark.skipif(COMPILED is None, reason="no compiled backend here")


def net_of(backend, norm, activations=("relu", "tanh"), dtype="float64", sizes=(7, 33, 20, 3), start=True, **more):
    """A network whose gamma, beta and running statistics are not those of the start, unless `start` is False."""
    net = Network(sizes, [*activations, "softmax"], seed=5, dtype=dtype, backend=backend, norm=norm, **more)
    if start:
        rng = np.random.default_rng(1)
        layers = [(W, *(b + 0.3 * rng.standard_normal(b.shape) for b in columns)) for W, *columns in net.parameters]
        net.set_parameters(layers)
        net.set_running_statistics(
            [s and (rng.standard_normal(s[0].shape), rng.uniform(0.5, 2, s[1].shape)) for s in net.running_statistics]
        )
    return net


def running(net):
    return [T for pair in net.running_statistics if pair for T in pair]


def all_bits(net):
    return bits(net) + b"".join(T.tobytes() for T in running(net))


def samples(layers):
    return list(itertools.chain.from_iterable(layers))


# --- against torch and the oracle ----------------------------------------------------------------------------------

TORCH = np.load(Path(__file__).parent / "data" / "torch_norm.npz")
RUNS = json.loads(str(TORCH["runs"]))


def of_torch(run, step, layers):
    """The parameters of a run after a step, and its running statistics, in our form."""
    norm, i, parameters, statistics = (*RUNS[run][2], None), 0, [], []
    for kind in norm:
        arrays = [TORCH[f"{run}_{step}_{j}"] for j in range(i, i + {None: 2, "layer": 4, "batch": 6}[kind])]
        i += len(arrays)
        W, *columns = arrays
        columns = [T.reshape(-1, 1) for T in columns]
        parameters.append((W, *columns[:3]))
        statistics.append(tuple(columns[3:]) or None)
    assert len(parameters) == layers
    return parameters, statistics


@pytest.mark.parametrize("run", range(len(RUNS)))
def test_fifty_steps_are_torchs(backend, run):
    sizes, activations, norm, (kind, settings) = RUNS[run]
    x, y, batch = TORCH["X"], TORCH["y"], int(TORCH["batch"])
    net = Network(sizes, [*activations, "softmax"], dtype="float64", seed=0, norm=norm, backend=backend)
    parameters, statistics = of_torch(run, 0, len(sizes) - 1)
    assert all((s[0] == 0).all() and (s[1] == 1).all() for s in statistics if s)  # torch's start, and ours
    net.set_parameters(parameters)
    optimizer, starts = getattr(fastnn, kind)(**settings), range(0, len(y), batch)
    near = {"rtol": 1e-10, "atol": 1e-13}
    for step in range(50):
        part = slice(starts[step % len(starts)], starts[step % len(starts)] + batch)
        loss = net.train_step(x[:, part], y[part], optimizer)
        np.testing.assert_allclose(loss, TORCH[f"{run}_losses"][step], **near)
        if step + 1 in TORCH["after"]:
            parameters, statistics = of_torch(run, step + 1, len(sizes) - 1)
            for got, wanted in zip(samples(net.parameters), samples(parameters), strict=True):
                np.testing.assert_allclose(got, wanted, **near)
            for got, wanted in zip(running(net), [T for s in statistics if s for T in s], strict=True):
                np.testing.assert_allclose(got, wanted, **near)
    np.testing.assert_allclose(net.predict(x), TORCH[f"{run}_outputs"], **near)
    loss, gradients = net.gradients(x[:, :batch], y[:batch], training=True)
    np.testing.assert_allclose(loss, TORCH[f"{run}_losses"][-1], **near)
    for i, got in enumerate(samples(gradients)):
        np.testing.assert_allclose(got, TORCH[f"{run}_gradient{i}"].reshape(got.shape), **near)


def against_the_oracle(net, x, y, dtype, w=None):
    parameters = [[T.astype(np.float64) for T in layer] for layer in net.parameters]
    x64, Y = ref.exact(x, dtype), ref.target_matrix(y, net.sizes[-1], dtype)
    for training in (False, True):
        pairs = zip((*net.norm, None), net.running_statistics, strict=True)
        kinds = [kind and (kind, s if s and not training else None) for kind, s in pairs]
        J, wanted = ref.gradients(parameters, net.activations, net.loss_name, x64, Y, w, norms=kinds)
        loss, gradients = net.gradients(x, y, w, training=training)
        ref.assert_close(loss, J, dtype, f"the loss, training={training}")
        for i, (got, layer) in enumerate(zip(gradients, wanted, strict=True)):
            for name, T, pair in zip(norms.NAMES, got, layer, strict=False):
                ref.assert_close(T, pair, dtype, f"d{name} of layer {i + 1}, training={training}")
        if not training:
            last = ref.forward(parameters, net.activations, x64, norms=kinds)[-1]
            ref.assert_close(net.predict(x), (last["A"], last["S_A"]), dtype, "predict")


@pytest.mark.parametrize("norm", [*NORMS, ("batch", "layer")])
@pytest.mark.parametrize("pair", [("tanh", "sigmoid"), ("identity", "softmax"), ("softmax", "tanh")], ids="-".join)
def test_numbers_are_the_oracles(backend, dtype, norm, pair):
    net = net_of(backend, norm, pair, dtype)
    against_the_oracle(net, X, CODES, dtype)
    against_the_oracle(net, X[:, :6], CODES[:6], dtype, w=np.array([1.0, 0.5, 0.0, 2.0, 1.0, 3.0]))


@pytest.mark.parametrize("norm", NORMS)
def test_a_wide_layer_and_a_long_batch_are_the_oracles(backend, dtype, norm):
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((7, 1030)), rng.integers(0, 3, 1030)
    against_the_oracle(net_of(backend, norm, ("tanh",), dtype, (7, 37, 3)), x, y, dtype)


def test_each_instruction_set_has_the_oracles_numbers(isa, dtype):
    for norm, n in itertools.product(NORMS, (1, 5, 16, 20, 70)):
        against_the_oracle(net_of("compiled", norm, ("sigmoid", "tanh"), dtype, (7, n, 9, 3)), X, CODES, dtype)


@pytest.mark.parametrize("norm", [("layer", "batch"), ("batch", "layer")], ids="-".join)
@pytest.mark.parametrize("g", ref.ALL_ACTIVATIONS, ids=str)
def test_gradients_are_derivatives(backend, norm, g):
    """In training mode, too, with dropout after the norm; float64, so that no relu is near its kink."""
    net = net_of(backend, norm, (g, g), sizes=(7, 4, 3, 3), dropout=0.3)
    before = state_of(net), all_bits(net), net._engine.updates()
    for training in (False, True):
        assert net.gradient_check(X[:, :5], CODES[:5], training=training) < 1e-7
    assert (state_of(net), all_bits(net), net._engine.updates()) == before


def test_a_large_mean_costs_no_digits(backend, dtype):
    """Z around 1e4 with a standard deviation of about 1: the variance is not the difference of two squares."""
    net = Network([4, 5, 2], ["identity", "softmax"], seed=0, dtype=dtype, norm="batch", backend=backend)
    last = net.parameters[-1]
    net.set_parameters([(np.eye(5, 4), np.full((5, 1), 1e4), np.ones((5, 1)), np.zeros((5, 1))), last])
    x = np.random.default_rng(3).standard_normal((4, 200))
    net.train_step(x, np.zeros(200, int), SGD(lr=0.0))
    Z = ref.exact(x, dtype) + 1e4
    mean, var = net.running_statistics[0]
    step = 1e-3 if dtype == "float32" else 1e-11  # the spacing of such Z
    assert np.abs(mean[:4] - 0.1 * Z.mean(axis=1, keepdims=True)).max() < step
    assert np.abs(var[:4] - 0.9 - 0.1 * Z.var(axis=1, ddof=1, keepdims=True)).max() < step


def test_layer_norm_of_the_largest_numbers(backend):
    """1 / sqrt(var) would be subnormal, which a network takes for 0, and z - mean would be infinite."""
    rows = [[1e38, -1e38, 2e38], [3e38, -3e38, -3e38], [7e37, -7e37, 1e37], [3e38, 3e38, 3e38], [1, 2, 4]]
    x, codes = np.float32(rows * 2).T, np.arange(10) % 2
    nets = [
        Network([3, 3, 2], ["relu", "softmax"], seed=0, dtype=dtype, norm="layer", backend=backend)
        for dtype in ("float32", "float64")
    ]
    columns = [np.reshape(column, (3, 1)) for column in ([0, 0, 0], [1, 2, -1], [0.5, 0, 1])]
    for net in nets:
        net.set_parameters([(np.eye(3), *columns), nets[1].parameters[1]])
    z = x.astype(np.float64)
    zhat = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)
    want = np.maximum(columns[1] * zhat + columns[2], 0)
    np.testing.assert_allclose(nets[0].forward(x, cache=True)[1][0]["A"], want, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(nets[0].predict(x), nets[1].predict(z), rtol=1e-5)
    (loss, found), (want_loss, wanted) = nets[0].gradients(x, codes), nets[1].gradients(z, codes)
    assert abs(loss - want_loss) < 1e-6
    for T, want in zip(found[0][2:] + found[1], wanted[0][2:] + wanted[1], strict=True):
        np.testing.assert_allclose(T, want, rtol=1e-5, atol=1e-6)


# --- in training -----------------------------------------------------------------------------------------------------


def test_the_order_is_norm_activation_dropout(backend):
    net = net_of(backend, ["batch", "layer"], ("sigmoid", "tanh"), dropout=[0.3, 0.2])
    for update in range(2):
        A = X
        for i, ((W, b, *of_norm), rate) in enumerate(zip(net.parameters, (*net.dropout, 0), strict=True)):
            Z = W @ A + b
            if not of_norm:
                break
            Y = ref.norm_forward(Z, *of_norm, net.norm[i])[0]
            kept = _philox.kept(round(rate * 65536), len(Z), M, net.seed, i, update)
            A = ref.g(Y, net.activations[i]) * kept / (1 - round(rate * 65536) / 65536)
        wanted = ref.loss(Z, ref.target_matrix(CODES, 3, "float64"), "cross_entropy")[0]
        assert net.gradients(X, CODES, training=True)[0] == pytest.approx(wanted, rel=1e-12)
        assert net.train_step(X, CODES, SGD(lr=0.1)) == pytest.approx(wanted, rel=1e-12)


def test_running_statistics_move_a_tenth_of_the_way(backend, dtype):
    net = net_of(backend, "batch", dtype=dtype)
    parameters, (before, _, last) = net.parameters, net.running_statistics
    assert last is None
    Z = parameters[0][0].astype(float) @ X + parameters[0][1]
    net.train_step(X, CODES, SGD(lr=0.0))
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for got, old, new in zip(net.running_statistics[0], before, ref.batch_statistics(Z), strict=True):
        np.testing.assert_allclose(got, 0.9 * old + 0.1 * new, rtol=rtol, atol=rtol)
        assert not got.flags.writeable
    _, caches = net.forward(X, cache=True)
    np.testing.assert_allclose(caches[0]["Z"], Z, rtol=rtol, atol=rtol)  # before the norm
    assert [set(cache) - {"A_prev", "W", "b", "Z", "A"} for cache in caches] == [{"gamma", "beta"}] * 2 + [set()]
    assert (caches[-1]["A"] == net.predict(X)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_a_batch_of_one_uses_running_statistics_and_leaves_them(backend, norm):
    net = net_of(backend, norm)
    (loss, gradients), before = net.gradients(X[:, :1], CODES[:1]), running(net)
    assert net.loss(X[:, :1], CODES[:1]) == pytest.approx(loss, rel=1e-13)
    again, training = net.gradients(X[:, :1], CODES[:1], training=True)
    assert again == loss
    assert all((a == b).all() for a, b in zip(samples(gradients), samples(training), strict=True))
    old = net.parameters
    assert net.train_step(X[:, :1], CODES[:1], SGD(lr=0.1)) == loss
    assert all((a == b).all() for a, b in zip(running(net), before, strict=True))
    for a, b, d in zip(samples(net.parameters), samples(old), samples(gradients), strict=True):
        np.testing.assert_allclose(a, b - 0.1 * d, rtol=1e-12, atol=1e-13)
    net.fit(X[:, :33], CODES[:33], shuffle=False, **QUIET)  # the second batch has one sample
    twin = net_of(backend, norm)
    twin.set_parameters(old)
    twin.train_step(X[:, :1], CODES[:1], SGD(lr=0.1))
    twin.fit(X[:, :32], CODES[:32], shuffle=False, **QUIET)
    assert all((a == b).all() for a, b in zip(running(net), running(twin), strict=True))


def test_weights_of_samples_do_not_enter_statistics(backend):
    nets = [net_of(backend, "batch") for _ in range(2)]
    nets[0].train_step(X, CODES, SGD(lr=0.0))
    nets[1].train_step(X, CODES, SGD(lr=0.0), sample_weight=RNG.uniform(0, 3, M))
    assert [T.tobytes() for T in running(nets[0])] == [T.tobytes() for T in running(nets[1])]
    nets[0].fit(X, CODES, sample_weight=np.r_[np.zeros(89), 1.0], shuffle=False, batch_size=89, progress=False)
    assert [T.tobytes() for T in running(nets[0])] == [T.tobytes() for T in running(nets[1])]  # skipped; one sample


@pytest.mark.parametrize("norm", NORMS)
def test_evaluation_uses_neither_masks_nor_batches(backend, dtype, norm):
    net = net_of(backend, norm, dtype=dtype, dropout=0.4)
    net.fit(X, CODES, 2, **QUIET)
    A, p = net.predict(X), net.predictor()
    assert A.tobytes("F") == p(X).tobytes("F") == pickle.loads(pickle.dumps(p))(X).tobytes("F")
    if backend != "numpy":
        alone = [net.predict(X[:, i : i + 1]) for i in range(M)]
        assert np.hstack(alone).tobytes("F") == A.tobytes("F")
    wanted = ref.loss(np.log(A.astype(float)), ref.target_matrix(CODES, 3, dtype), "cross_entropy")[0]
    for loss in (net.loss(X, CODES), net.evaluate(X, CODES)["loss"], net.gradients(X, CODES)[0]):
        assert loss == pytest.approx(wanted, rel=1e-5)
    assert net.gradients(X, CODES, training=True)[0] != pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_nan_stays_in_its_column(backend, dtype, norm):
    net, x = net_of(backend, norm, dtype=dtype), X.copy()
    x[3, [0, 40]] = np.nan, np.inf
    A, clean = net.predict(x), net.predict(X)
    assert np.isnan(A[:, [0, 40]]).all()
    kept = [i for i in range(M) if i not in (0, 40)]
    assert (A[:, kept] == clean[:, kept]).all()


@pytest.mark.parametrize("norm", NORMS)
def test_a_variance_of_0_gives_beta(backend, dtype, norm):
    net = net_of(backend, norm, ("identity", "tanh"), dtype, start=False)
    layers = [list(layer) for layer in net.parameters]
    layers[0][0] = np.zeros((33, 7))  # all Z are b
    layers[0][1] = np.full((33, 1), 3.0)
    layers[0][3] = RNG.standard_normal((33, 1))
    net.set_parameters(layers)
    loss, gradients = net.gradients(X, CODES, training=True)
    layers[0][1] = np.full((33, 1), -8.0)
    net.set_parameters(layers)
    assert net.gradients(X, CODES, training=True)[0] == loss
    assert all(np.isfinite(d).all() for d in samples(gradients))
    assert (gradients[0][2] == 0).all()
    net.fit(X, CODES, 3, **QUIET)
    assert all(np.isfinite(T).all() for T in (*samples(net.parameters), *running(net)))


def test_weight_decay_acts_on_gamma_and_beta(backend):
    net = net_of(backend, "batch")
    old, (_, gradients) = net.parameters, net.gradients(X, CODES, training=True)
    assert (gradients[0][1] == 0).all()  # the mean of the batch takes b out again
    net.train_step(X, CODES, SGD(lr=0.1, weight_decay=0.5))
    for a, b, d in zip(samples(net.parameters), samples(old), samples(gradients), strict=True):
        np.testing.assert_allclose(a, b - 0.1 * (d + 0.5 * b), rtol=1e-12, atol=1e-13)


def test_backends_train_alike(dtype):
    for norm in (*NORMS, ("batch", "layer")):
        nets = [net_of(b, norm, dtype=dtype, dropout=0.2) for b in ("numpy", *(["compiled"] if COMPILED else []))]
        losses = [net.fit(X, CODES, 5, optimizer=Adam(lr=0.01), **QUIET).loss for net in nets]
        for net, loss in zip(nets, losses, strict=True):
            near = {"rtol": 2e-5, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}
            np.testing.assert_allclose(loss, losses[0], **near)
            for a, b in zip(running(net), running(nets[0]), strict=True):
                np.testing.assert_allclose(a, b, **near)


@compiled_only
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("sizes", [(7, 33, 20, 3), (7, 70, 130, 3)])
@pytest.mark.parametrize("pair", [("relu", "tanh"), ("softmax", "identity")], ids="-".join)
def test_bits_depend_on_neither_threads_nor_slices_nor_instructions(dtype, sizes, pair, norm):
    found, isas = set(), [isa for isa in COMPILED.isas() if isa != "generic"] or COMPILED.isas()
    before = COMPILED.current_isa()
    for threads, (plain, isa) in itertools.product((1, 2, 3, 4), ((False, isas[-1]), (True, isas[0]))):
        COMPILED.force_isa(isa)
        try:
            net = net_of("compiled", norm, pair, dtype, sizes, threads=threads, dropout=0.2)
        finally:
            COMPILED.force_isa(before)
        net._engine.plain = plain
        losses = net.fit(X, CODES, 1, optimizer=Adam(lr=0.01), **QUIET).loss
        if threads == 2:  # in slices, each its own call: steps that are cautious, too
            order = fastnn._core.permutation(M, net.seed, 1)
            for part in np.split(order, range(32, M, 32)):
                net.train_step(X[:, part], CODES[part])
        else:
            net.fit(X, CODES, 1, **QUIET)
        gradients = [d.tobytes() for d in samples(net.gradients(X, CODES, training=True)[1])]
        found.add((all_bits(net), losses[0], *gradients, net.predict(X).tobytes()))
    assert len(found) == 1


@compiled_only
@pytest.mark.parametrize("norm", NORMS)
def test_an_ordinary_step_takes_the_quick_way(dtype, norm):
    net = net_of("auto", norm, dtype=dtype)
    x = np.asfortranarray(X, dtype)
    for optimizer in (SGD(lr=0.1), Adam()):
        net.train_step(x, CODES, optimizer)
        for _ in range(3):
            assert net._engine.quick_step(x, CODES, None, net._guard) is not None


@compiled_only
def test_a_step_that_may_overflow_does_not_take_the_quick_way():
    """Float32: by the variance of the batch, or by the derivative of beta; all else is small."""
    x = np.asfortranarray(X, "float32")
    large = [np.float32(1e25), 1, 1, 1], [1, 1]
    steep = [1, 1, np.float32(1e-35), 1], [np.float32(9e29), 1]
    for factors in (large, steep):
        net = net_of("auto", "batch", ("identity",), "float32", (7, 33, 3), start=False)
        net.train_step(x, CODES, SGD(lr=0.0))
        layers = [[T * f for T, f in zip(*each, strict=True)] for each in zip(net.parameters, factors, strict=True)]
        layers[0][3] = np.zeros((33, 1))
        net.set_parameters(layers)
        before = all_bits(net)
        assert net._engine.quick_step(x, CODES, None, net._guard) is None
        assert all_bits(net) == before


# --- what goes wrong, and what is kept ------------------------------------------------------------------------------


def test_statistics_that_are_not_finite_are_refused(backend):
    net = net_of(backend, "batch")
    statistics = net.running_statistics
    bad = [list(map(np.array, s)) if s else None for s in statistics]
    bad[1][1][4] = np.inf
    net.set_running_statistics(bad)
    for train in (lambda: net.fit(X, CODES, **QUIET), lambda: net.train_step(X, CODES)):
        with pytest.raises(ValueError, match=r"the running var of layer 2 has .*set_running_statistics\(\) replaces"):
            train()
    net.set_running_statistics(statistics)
    net.fit(X, CODES, **QUIET)


def test_statistics_that_overflow_are_a_divergence(backend):
    """The variance of Z is beyond float32, though all weights and outputs are finite."""
    net = net_of(backend, "batch", dtype="float32", start=False)
    layers = [list(layer) for layer in net.parameters]
    layers[0][0] = layers[0][0] * np.float32(1e25)
    net.set_parameters(layers)
    before = all_bits(net)
    with pytest.raises(FloatingPointError):
        net.train_step(X, CODES)
    assert all_bits(net) == before
    with pytest.raises(FloatingPointError):
        net.fit(X, CODES, **QUIET)
    assert all_bits(net) == before


def test_early_stopping_brings_statistics_back(backend):
    net, twin = (net_of(backend, "batch") for _ in range(2))
    stopping = EarlyStopping(monitor="loss", patience=2, min_delta=10)
    assert len(net.fit(X, CODES, 9, early_stopping=stopping, **QUIET).loss) == 3
    twin.fit(X, CODES, 1, **QUIET)
    assert all_bits(net) == all_bits(twin)


@pytest.mark.parametrize("norm", [*NORMS, ("batch", None), (None, "layer")])
def test_a_run_in_pieces_is_the_whole_run(backend, tmp_path, norm):
    path = tmp_path / "net.npz"
    whole, net = net_of(backend, norm), net_of(backend, norm)
    whole.fit(X, CODES, 6, optimizer=Adam(), **QUIET)
    net.fit(X, CODES, 2, optimizer=Adam(), **QUIET)
    net.save(path, optimizer=True)
    net = fastnn.load(path, backend=backend)
    assert net.norm == (norm if isinstance(norm, tuple) else (norm, norm))
    net.fit(X, CODES, 1, **QUIET)
    net = pickle.loads(pickle.dumps(copy.deepcopy(net)))
    net.fit(X, CODES, 2, **QUIET)
    net = copy.copy(net)
    net.fit(X, CODES, 1, **QUIET)
    assert all_bits(net) == all_bits(whole)


def saved(net):
    file = io.BytesIO()
    net.save(file, optimizer=True)
    file.seek(0)
    return file


def test_only_files_of_such_networks_are_of_format_2(backend):
    for norm, version in ((None, 1), ("batch", 2), ("layer", 2)):
        net = net_of(backend, norm)
        net.fit(X, CODES, optimizer=SGD(lr=0.1, momentum=0.5), **QUIET)
        header, arrays = files.load(saved(net))
        assert header["format"] == version
        assert header.get("norm") == (norm and [norm, norm])
        assert ("gamma2" in arrays) == ("m1_beta1" in arrays) == bool(norm)
        assert ("mean1" in arrays) == ("var2" in arrays) == (norm == "batch")


def test_a_state_without_its_statistics_is_refused(backend):
    net = net_of(backend, "batch")
    state = net.__getstate__()
    for change, words in (
        ({"running_statistics": None}, "statistics must be a list"),
        ({"running_statistics": [(np.zeros(33), np.ones(33)), None, None]}, "must be a pair"),
        ({"norm": ["layer", "batch"]}, "must be None"),
        ({"norm": None}, r"W1, b1: must be a tuple \(W, b\)"),
        ({"parameters": [layer[:2] for layer in state["parameters"]]}, r"W1, b1, gamma1, beta1: must be a tuple"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            object.__new__(Network).__setstate__({**state, **change})
    header, arrays = files.load(saved(net))
    for missing in ("gamma1", "var2"):
        file = io.BytesIO()
        header = {key: value for key, value in header.items() if key not in ("sha256", "format")}
        files.save(file, header, {name: array for name, array in arrays.items() if name != missing})
        file.seek(0)
        with pytest.raises(ValueError, match=f"not a readable fastnn model: '{missing}'"):
            fastnn.load(file)


# --- the public face --------------------------------------------------------------------------------------------------


def test_the_settings_are_shown(backend):
    net = net_of(backend, ["batch", None], start=False)
    assert net.norm == ("batch", None)
    assert [len(layer) for layer in net.parameters] == [4, 2, 2]
    assert (net.parameters[0][2] == 1).all()
    assert (net.parameters[0][3] == 0).all()
    assert (running(net)[0] == 0).all()
    assert (running(net)[1] == 1).all()
    assert net.running_statistics[1:] == [None, None]
    assert net.n_params == 33 * 10 + 20 * 34 + 3 * 21
    assert "norm=['batch', None]" in repr(net)
    assert "norm batch, none" in net.summary()
    assert "norm" not in repr(net_of(backend, None)) + net_of(backend, None).summary()
    assert eval(repr(net), {"Network": Network}).norm == net.norm
    with pytest.raises(AttributeError, match="norm is a property"):
        net.norm = "layer"
    assert Network([4, 3]).norm == ()
    assert Network([4, 3], norm=[]).running_statistics == [None]


@pytest.mark.parametrize(
    ("norm", "error", "words"),
    [
        ("group", ValueError, 'norm must be None, "layer" or "batch", got \'group\''),
        (["layer", "Batch"], ValueError, r"norm\[1\] must be None"),
        (["layer"], ValueError, "norm has 1 entries, wanted 2: one for each hidden layer"),
        (["layer", 1], TypeError, r"norm\[1\] must be None"),
        (True, TypeError, "norm must be None"),
        (2, TypeError, "norm must be None"),
    ],
)
def test_wrong_norms_are_refused(norm, error, words):
    with pytest.raises(error, match=words):
        Network([7, 33, 20, 3], norm=norm)
    with pytest.raises(ValueError, match="this network has none"):
        Network([7, 3], norm="layer")


def test_wrong_parameters_are_refused(backend):
    net = net_of(backend, ["batch", None])
    first, *others = net.parameters
    before = all_bits(net)
    for given, words in (
        ([first[:2], *others], r"parameters\[0\] has 2 arrays, wanted \(W, b, gamma, beta\)"),
        ([first, first, others[1]], r"parameters\[1\] has 4 arrays, wanted \(W, b\)"),
        ([first], "parameters must be 3 tuples"),
        ([(*first[:2], first[0], first[3]), *others], r"gamma has shape \(33, 7\), wanted \(33, 1\)"),
    ):
        with pytest.raises(ValueError, match=words):
            net.set_parameters(given)
    ones = np.ones(33)
    for given, error, words in (
        ([(ones, ones), None], ValueError, "statistics has 2 entries, wanted 3"),
        (None, TypeError, "statistics must be a list"),
        ([None, None, None], ValueError, r"statistics\[0\] must be a pair"),
        ([(ones, ones), (ones, ones), None], ValueError, r"statistics\[1\] must be None: this layer has no batch norm"),
        ([(ones, ones[:-1]), None, None], ValueError, r"statistics\[0\] var has shape \(32,\), wanted \(33, 1\)"),
        ([(ones, -ones), None, None], ValueError, r"statistics\[0\] var has a negative variance"),
        ([(ones, ["a"] * 33), None, None], TypeError, r"statistics\[0\] var holds strings"),
    ):
        with pytest.raises(error, match=words):
            net.set_running_statistics(given)
    for call in (net.gradients, net.gradient_check):
        with pytest.raises(TypeError, match="training must be True or False"):
            call(X, CODES, training=1)
    assert all_bits(net) == before


def test_collapse_folds_batch_norm(backend):
    net = net_of(backend, ["batch", None], ("identity", "identity"))
    W, b = net.collapse()
    Z = W @ X + b
    np.testing.assert_allclose(ref.g(Z, "softmax"), net.predict(X), rtol=1e-12)
    with pytest.raises(ValueError, match=r"norm\[0\] is layer, which is not linear"):
        net_of(backend, "layer", ("identity", "identity")).collapse()


def test_training_gradients_of_data_that_is_cast(backend):
    """X is one batch, however it lies in memory."""
    net = net_of(backend, "batch")
    wanted = net.gradients(X, CODES, training=True)
    for x, y in ((np.ascontiguousarray(X), CODES.tolist()), (X.tolist(), np.eye(3)[:, CODES])):
        loss, gradients = net.gradients(x, y, training=True)
        assert loss == pytest.approx(wanted[0], rel=1e-13)
        for a, b in zip(samples(gradients), samples(wanted[1]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


# --- the C interface ------------------------------------------------------------------------------------------------


@compiled_only
def test_the_c_interface_refuses_what_is_not_there():
    import c_interface as c

    layers = (c.Layer * 2)()
    for i, units in enumerate((3, 2)):
        layers[i].size, layers[i].units, layers[i].activation = ctypes.sizeof(c.Layer), units, c.Spec(c.RELU)
    layers[1].activation = c.Spec(0)

    def made():
        first = ctypes.cast(layers, c.VOID)
        return c.in_c("net_new", (0,), (c.FLOAT64,), 4, (2,), first, c.Spec(c.MSE), result=c.VOID)

    for norm, last in ((3, 0), (-1, 0), (0, 1), (2, 2)):
        layers[0].norm, layers[1].norm = norm, last
        assert made() is None
    layers[0].norm, layers[1].norm = 2, 0
    net = c.VOID(made())
    assert [c.in_c("net_parameters", net, (layer,)) for layer in (0, 1)] == [4, 2]
    column = np.full((3, 1), 7.0)
    for parameter in (c.B, c.GAMMA, c.BETA, c.RUNNING_MEAN, c.RUNNING_VAR):
        got = np.empty((3, 1))
        assert c.in_c("net_get", net, (0,), (parameter,), c.matrix(got)) == c.OK
        assert (got == (parameter in (c.GAMMA, c.RUNNING_VAR))).all()
        assert c.in_c("net_set", net, (0,), (parameter,), c.matrix(column)) == c.OK
        assert c.in_c("net_get", net, (0,), (parameter,), c.matrix(got)) == c.OK
        assert (got == 7).all()
        if parameter != c.B:
            assert c.in_c("net_get", net, (1,), (parameter,), c.matrix(got)) == c.REFUSED
            assert c.in_c("net_set", net, (1,), (parameter,), c.matrix(column)) == c.REFUSED
    assert c.in_c("net_set", net, (0,), (6,), c.matrix(column)) == c.REFUSED
    assert c.in_c("net_start_optimizer", net, (1,)) == c.OK
    for parameter, result in ((c.BETA, c.OK), (c.RUNNING_MEAN, c.REFUSED)):
        assert c.in_c("net_set_moment", net, (0,), (0,), (parameter,), c.matrix(column)) == result
        assert c.in_c("net_get_moment", net, (0,), (0,), (parameter,), c.matrix(column)) == result
    Z, out = np.zeros((3, 40), order="F"), np.empty((3, 40))
    assert c.in_c("net_normalise", net, (0,), c.matrix(out), c.matrix(Z), 40) == c.OK
    np.testing.assert_allclose(out, 7 - 49 / np.sqrt(7 + norms.EPS), rtol=1e-14)
    assert c.in_c("net_normalise", net, (1,), c.matrix(out), c.matrix(Z), 40) == c.REFUSED
    assert c.in_c("net_normalise", net, (0,), c.matrix(out.astype("f4")), c.matrix(Z), 40) == c.REFUSED
    assert c.in_c("net_normalise", net, (0,), c.matrix(out), c.matrix(Z), -1) == c.NO_MEMORY
    c.in_c("net_free", net, result=None)


@compiled_only
def test_training_gradients_of_nothing_are_0():
    net = net_of("auto", "batch")
    _, gradients = net._engine.gradients(np.empty((7, 0)), np.empty(0, np.int32), None, True)
    assert [len(layer) for layer in gradients] == [4, 4, 2]
    assert not any(d.any() for d in samples(gradients))
