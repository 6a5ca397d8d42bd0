"""to_onnx and from_onnx: ONNX Runtime's outputs, files of torch.onnx and skl2onnx, labels, refusals, hostile files."""

import io
import os
import random
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import reference as ref
from conftest import alone
from fastnn import Network
from fastnn.exchange import from_onnx, to_onnx
from networks_that_travel import OTHERS, adapted_network, drawn_network

FOLDER = Path(__file__).parent / "data" / "onnx"
BOUND = {"float32": 1e-5, "float64": 1e-12}


@pytest.fixture(scope="module")
def onnx():
    return pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def ort(onnx):
    return pytest.importorskip("onnxruntime")


def run(ort, path, X, dtype="float32"):
    """The outputs of ONNX Runtime for samples as columns."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": np.ascontiguousarray(X.T, dtype)})


def assert_near(got, wanted, bound):
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= bound * max(1, np.abs(wanted).max())


def check_networks(ort, folder, rng, count, dtype):
    known = [kind for kind in ref.ALL_ACTIVATIONS if dtype == "float32" or kind != "gelu"]
    for i in range(count):
        net, X = drawn_network(rng, i, dtype, [kind for kind in OTHERS if kind in known], known)
        to_onnx(net, folder / "m.onnx")
        A, bound = net.predict(X), BOUND[dtype.name]
        for m in (1, 3, 12):
            (got,) = run(ort, folder / "m.onnx", X[:, :m], dtype)
            assert got.dtype == dtype
            assert_near(got.T, A[:, :m], bound)
        again = from_onnx(folder / "m.onnx", loss=net.loss_name)
        assert (again.sizes, again.dtype, again.loss_name) == (net.sizes, net.dtype, net.loss_name)
        assert [name_of(g) for g in again.activations] == [name_of(g) for g in net.activations]
        assert_near(again.predict(X), A, bound)


def name_of(spec):
    return spec if isinstance(spec, str) else spec[0]


def test_a_few_networks_in_onnx_runtime(ort, tmp_path, rng, dtype):
    check_networks(ort, tmp_path, rng, 4, dtype)


@pytest.mark.slow
def test_many_networks_in_onnx_runtime(ort, tmp_path, rng, dtype):
    check_networks(ort, tmp_path, rng, 80, dtype)


def test_square_layers_are_not_transposed(onnx, tmp_path):
    net = Network([2, 2], ["identity"], "mse", dtype="float64")
    net.set_parameters([([[1, 2], [3, 4]], [0, 0])])
    to_onnx(net, tmp_path / "m.onnx")
    assert from_onnx(tmp_path / "m.onnx").predict([[1], [10]]).ravel().tolist() == [21, 43]


def test_h07_onnx_with_any_batch(ort, tmp_path, rng):
    net = Network([5, 5, 3], seed=0)
    to_onnx(net, tmp_path / "m.onnx")
    X = rng.standard_normal((5, 64))
    for m in (1, 3, 64):
        (got,) = run(ort, tmp_path / "m.onnx", X[:, :m])
        np.testing.assert_allclose(got.T, net.forward(X[:, :m]), rtol=1e-5)
    session = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert [session.get_inputs()[0].shape, session.get_outputs()[0].shape] == [["batch", 5], ["batch", 3]]


def test_h08_onnx_keeps_the_precision(ort, tmp_path, rng):
    net = Network([5, 5, 3], dtype="float64", seed=0)
    X = rng.standard_normal((5, 64))
    for dtype, bound in ((None, 1e-12), ("float32", 1e-6)):
        to_onnx(net, tmp_path / "m.onnx", dtype=dtype)
        (got,) = run(ort, tmp_path / "m.onnx", X, dtype or "float64")
        assert got.dtype == (dtype or "float64")
        assert np.abs(got.T - net.predict(X)).max() <= bound


def test_h09_two_class_head_exported(ort, tmp_path, dtype):
    z, want = np.array([[-2, -0.5, 0, 0.5, 2]]), [0.1192029, 0.3775407, 0.5, 0.6224593, 0.8807971]
    one, two = Network([1, 1], ["sigmoid"], dtype=dtype), Network([1, 2], ["softmax"], dtype=dtype)
    one.set_parameters([([[1.0]], [0.0])])
    two.set_parameters([([[0.0], [1.0]], [0.0, 0.0])])
    for net in (one, two):
        to_onnx(net, tmp_path / "m.onnx", labels=True)
        label, probabilities = run(ort, tmp_path / "m.onnx", z, dtype)
        np.testing.assert_allclose(probabilities[:, 1], want, atol=1e-7)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-7)
        np.testing.assert_array_equal(label, net.predict_classes(z))
        np.testing.assert_allclose(from_onnx(tmp_path / "m.onnx").predict(z)[-1], want, atol=1e-7)


def test_float32_on_request(ort, tmp_path, rng):
    net, X = drawn_network(rng, 3, "float64", ["tanh"], ["softmax"])
    to_onnx(net, tmp_path / "m.onnx", dtype="float32")
    (got,) = run(ort, tmp_path / "m.onnx", X)
    assert got.dtype == np.float32
    assert_near(got.T, net.predict(X), 1e-5)


@pytest.mark.parametrize("mean", [0, 1, 4, 1e5])
def test_standardisation(ort, tmp_path, rng, dtype, mean):
    for with_y in (True, False):
        net, X = adapted_network(rng, dtype, mean, with_y)
        to_onnx(net, tmp_path / "m.onnx")
        (got,) = run(ort, tmp_path / "m.onnx", X, dtype)
        assert_near(got.T, net.predict(X), 1e-6 if dtype == "float32" else 1e-11)
        again = from_onnx(tmp_path / "m.onnx")
        assert (again.standardisation is None) == (mean < 2)
        assert_near(again.predict(X), net.predict(X), 1e-6 if dtype == "float32" else 1e-11)


def test_layer_norm_of_small_numbers_has_its_own_epsilon(ort, tmp_path, rng, dtype):
    # ONNX has the epsilon as a float32, which is not 1e-5: where the variance is as small, the difference is visible.
    net = Network([4, 4, 2], ["identity", "identity"], "mse", dtype=dtype, norm="layer", seed=0)
    net.set_parameters([tuple(T * 1e-3 if i == 0 else T for i, T in enumerate(layer)) for layer in net.parameters])
    X = rng.standard_normal((4, 9))
    to_onnx(net, tmp_path / "m.onnx")
    (got,) = run(ort, tmp_path / "m.onnx", X, dtype)
    assert_near(got.T, net.predict(X), 1e-6 if dtype == "float32" else 1e-13)
    assert_near(from_onnx(tmp_path / "m.onnx").predict(X), net.predict(X), 1e-6 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize(
    ("sizes", "output", "labels"),
    [
        ([4, 4, 3], "softmax", True),
        ([4, 4, 3], "softmax", ["x", "yy", "z"]),
        ([4, 4, 2], "softmax", [-1, 1]),
        ([4, 4, 1], "sigmoid", True),
        ([4, 4, 1], "sigmoid", ["no", "yes"]),
        ([4, 4, 3], "sigmoid", True),
    ],
)
def test_labels_and_probabilities(ort, tmp_path, rng, sizes, output, labels):
    for dtype in ("float32", "float64"):
        net = Network(sizes, ["tanh", output], seed=0, dtype=dtype)
        X = rng.standard_normal((4, 30))
        to_onnx(net, tmp_path / "m.onnx", labels=labels)
        label, probabilities = run(ort, tmp_path / "m.onnx", X, dtype)
        codes, A = net.predict_classes(X), net.predict(X)
        wanted = codes.T if labels is True else np.array(labels)[codes]
        np.testing.assert_array_equal(label, wanted)
        assert label.dtype == (object if isinstance(wanted[0], str) else np.int64)
        assert_near(probabilities.T, np.concatenate([1 - A, A]) if len(A) == 1 else A, BOUND[dtype])
        assert_near(from_onnx(tmp_path / "m.onnx").predict(X), A, BOUND[dtype])


def test_half_is_enough_for_predict_classes_and_not_for_an_estimator(ort, tmp_path, rng):
    net = Network([2, 1], init="zeros")
    assert net.predict_classes([[1], [1]]) == 1
    to_onnx(net, tmp_path / "m.onnx", labels=True)
    assert run(ort, tmp_path / "m.onnx", np.ones((2, 1)))[0] == [1]
    estimator = SimpleNamespace(network_=net, classes_=np.array(["a", "b"], object))
    to_onnx(estimator, tmp_path / "m.onnx")
    assert run(ort, tmp_path / "m.onnx", np.ones((2, 1)))[0] == ["a"]
    estimator.network_ = Network([2, 1], seed=0)
    to_onnx(estimator, tmp_path / "m.onnx")
    X = rng.standard_normal((2, 12))
    wanted = estimator.classes_[estimator.network_.predict_classes(X)]
    assert set(wanted) == {"a", "b"}
    np.testing.assert_array_equal(run(ort, tmp_path / "m.onnx", X)[0], wanted)
    estimator.classes_ = np.array([-1.0, 2.0])
    to_onnx(estimator, tmp_path / "m.onnx")
    np.testing.assert_array_equal(run(ort, tmp_path / "m.onnx", X)[0], np.where(wanted == "a", -1, 2))
    estimator.classes_ = np.array([-1.0, 2.5])
    with pytest.raises(ValueError, match="labels must be 2 labels"):
        to_onnx(estimator, tmp_path / "m.onnx")
    to_onnx(estimator, tmp_path / "m.onnx", labels=False)
    assert [output.shape for output in run(ort, tmp_path / "m.onnx", np.ones((2, 1)))] == [(1, 1)]
    to_onnx(SimpleNamespace(network_=Network([2, 1], ["identity"])), tmp_path / "m.onnx")  # a regressor


def test_a_poisson_estimator_gives_rates(ort, tmp_path, rng):
    ours = pytest.importorskip("fastnn.sklearn")
    X = rng.standard_normal((40, 3))
    estimator = ours.MLPRegressor("poisson", (4,), tol=100, n_iter_no_change=1, random_state=0).fit(
        X, rng.poisson(3, 40)
    )
    to_onnx(estimator, tmp_path / "m.onnx")
    session = ort.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"X": X})[0].ravel(), estimator.predict(X), rtol=1e-12)
    with pytest.raises(ValueError, match="Exp"):
        from_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.onnx")), ids=lambda path: path.stem)
def test_files_of_torch_and_scikit_learn(onnx, path):
    expected = np.load(FOLDER / "expected.npz")
    X, A = expected[f"{path.stem}.X"], expected[f"{path.stem}.A"]
    net = from_onnx(path)
    assert_near(net.predict(X), A, 1e-6)
    with open(path, "rb") as file:
        assert from_onnx(file).predict(X).tobytes() == net.predict(X).tobytes()


def test_there_are_files_of_both():
    assert {path.stem.partition("_")[0] for path in FOLDER.glob("*.onnx")} == {"torch", "sklearn"}


def refused(folder, message, net, kind=ValueError, **more):
    with pytest.raises(kind, match=message):
        to_onnx(net, folder / "m.onnx", **more)
    assert not os.listdir(folder)


def test_what_is_refused_leaves_no_file(onnx, tmp_path):
    net = Network([2, 3, 3])
    refused(tmp_path, "gelu needs Erf", Network([2, 2], ["gelu"], dtype="float64"))
    refused(tmp_path, "dtype must be", net, dtype="float16")
    odd = np.array([1, 2, 2**63 + 5], np.uint64)
    for labels in (["a", "b"], [1, 2, 3.5], np.ones((3, 1), int), "abc", [1, "a", None], odd):
        refused(tmp_path, "labels must be", net, labels=labels)
    refused(tmp_path, "labels must be True", Network([2, 3], ["sigmoid"]), labels=[0, 1, 2])
    refused(tmp_path, "output is tanh", Network([2, 3], ["tanh"]), labels=True)
    refused(tmp_path, "to_onnx takes", "net", kind=TypeError)
    with pytest.raises(TypeError, match="path must be a path"):
        to_onnx(net, 3)
    with pytest.raises(TypeError, match="path must be a path"):
        from_onnx(3)
    with pytest.raises(TypeError, match="gives bytes"):
        from_onnx(io.StringIO("a"))
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "absent.onnx")


def model_of(onnx, nodes, outputs=("y",), inputs=("x",), kind=1, opset=17, **constants):
    """The bytes of a file with these nodes: (operator, inputs, outputs, attributes)."""
    helper = onnx.helper
    made = [
        helper.make_node(op.split(".")[-1], ins.split(), outs.split(), name=f"n{i}", **more)
        for i, (op, ins, outs, more) in enumerate(nodes)
    ]
    infos = [[helper.make_tensor_value_info(name, kind, ["b", None]) for name in names] for names in (inputs, outputs)]
    known = [onnx.numpy_helper.from_array(np.asarray(T, np.float32), name) for name, T in constants.items()]
    graph = helper.make_graph(made, "g", *infos, known)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


SQUARE = np.arange(9.0).reshape(3, 3) - 4
GEMM = ("Gemm", "x W b", "z", {"transB": 1})


def test_other_forms_of_the_same(onnx, ort, tmp_path, rng):
    X, b = rng.standard_normal((3, 8)), np.array([0.5, -1.0, 2.0])
    for nodes in (
        [("Gemm", "x W b", "y", {"alpha": 0.5, "beta": 2.0})],
        [("Gemm", "x W", "y", {"transB": 1})],
        [("MatMul", "x W", "y", {})],
        [("MatMul", "x W", "z", {}), ("Add", "b z", "y", {})],
        [("MatMul", "x W", "z", {}), ("Add", "z one", "y", {})],
        [("Sub", "x b", "c", {}), ("Div", "c two", "d", {}), ("Sub", "d one", "e", {}), ("Gemm", "e W b", "y", {})],
        [GEMM, ("Dropout", "z", "d", {}), ("Softmax", "d", "y", {"axis": 1})],
        [("Flatten", "x", "f", {}), ("Gemm", "f W b", "y", {})],
        [
            GEMM,
            ("BatchNormalization", "z b one3 b two3", "n", {"epsilon": 0.1}),
            ("Elu", "n", "e", {}),
            ("Gemm", "e W b", "y", {}),
        ],
        [
            GEMM,
            ("LayerNormalization", "z b", "n", {"axis": 1, "epsilon": 0.1}),
            ("Relu", "n", "e", {}),
            ("MatMul", "e W", "y", {}),
        ],
        [GEMM, ("BatchNormalization", "z b one3 b two3", "y", {})],
        [
            GEMM,
            ("Identity", "z", "i", {}),
            ("Sigmoid", "i", "s", {}),
            ("Sub", "one s", "t", {}),
            ("Concat", "t s", "y", {"axis": 1}),
        ],
    ):
        data = model_of(onnx, nodes, W=SQUARE, b=b, one=1.0, two=2.0, one3=np.ones(3), two3=2 * np.ones(3))
        session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        (wanted,) = session.run(None, {"x": X.T.astype("f4")})
        got = from_onnx(io.BytesIO(data)).predict(X)
        assert_near(got, wanted.T[-len(got) :], 1e-6)


def test_a_node_that_no_network_has_is_named(onnx):
    b = np.ones(3)
    for nodes, message in (
        ([GEMM, ("Sin", "z", "y", {})], r"node 'n1' \(Sin\) .* no such step"),
        ([("Conv", "x W b", "y", {})], r"node 'n0' \(Conv\)"),
        ([GEMM, ("Relu", "z", "a", {}), ("Add", "a z", "y", {})], r"node 'n2' \(Add\) .* constants to a MatMul"),
        ([GEMM, ("Relu", "z", "a", {}), ("Tanh", "a", "y", {})], r"node 'n2' \(Tanh\) .* one of each"),
        ([GEMM, ("Softmax", "z", "y", {"axis": 0})], r"node 'n1' \(Softmax\)"),
        ([GEMM, ("Selu", "z", "y", {"alpha": 2.0})], r"node 'n1' \(Selu\)"),
        ([GEMM, ("LeakyRelu", "z", "y", {"alpha": -1.0})], r"node 'n1' \(LeakyRelu\) .* at least 0"),
        ([("Gemm", "x W b", "y", {"transA": 1})], r"node 'n0' \(Gemm\) .* samples are columns"),
        ([("Gemm", "x x b", "y", {})], r"node 'n0' \(Gemm\) .* input 'x' is not a constant"),
        ([("MatMul", "W x", "y", {})], r"node 'n0' \(MatMul\) .* input 'x' is not a constant"),
        ([("Sub", "b x", "c", {}), ("Gemm", "c W b", "y", {})], r"node 'n0' \(Sub\) .* input 'x' is not"),
        ([("Div", "x zero", "c", {}), ("Gemm", "c W b", "y", {})], r"node 'n0' \(Div\) .* above 0"),
        ([GEMM, ("Sub", "z b", "y", {})], r"node 'n1' \(Sub\) .* before the first layer"),
        ([GEMM, ("Flatten", "z", "y", {})], r"node 'n1' \(Flatten\) .* after a layer"),
        ([("Flatten", "x", "f", {"axis": 0}), ("Gemm", "f W b", "y", {})], r"node 'n0' \(Flatten\)"),
        ([GEMM, ("Cast", "z", "y", {"to": 7})], r"node 'n1' \(Cast\) .* other numbers|outputs y"),
        ([GEMM, ("LayerNormalization", "z b", "y", {})], "layer norm after its output"),
        ([GEMM, ("LayerNormalization", "z b", "y", {"axis": 0})], r"node 'n1' \(LayerNorm"),
        ([GEMM, ("BatchNormalization", "z b b b b", "y", {"training_mode": 1})], r"node 'n1' \(BatchNorm"),
        ([("Relu", "x", "y", {})], r"node 'n0' \(Relu\) .* after a layer"),
        ([("Identity", "W", "y", {})], "'W' .* not computed from the input"),
        ([("Identity", "x", "y", {})], "no layer with weights"),
        ([GEMM, ("Gemm", "z V b", "y", {})], r"node 'n1' \(Gemm\) .* takes 2 numbers, .* gives 3"),
        ([GEMM, ("Concat", "z z", "y", {"axis": 1})], r"node 'n1' \(Concat\)"),
        ([GEMM, ("Sub", "one z", "t", {}), ("Concat", "t z", "y", {"axis": 1})], r"node 'n2' \(Concat\) .* no sigmoid"),
        ([("Gemm", "x W V", "y", {})], r"node 'n0' \(Gemm\) .* what it adds"),
        # Numbers of the samples (m, 1), which fit a batch of 3.
        ([("Gemm", "x W column", "y", {})], r"node 'n0' \(Gemm\) .* what it adds has the shape \(3, 1\)"),
        ([("MatMul", "x W", "z", {}), ("Add", "z column", "y", {})], r"node 'n1' \(Add\) .* what it adds"),
        ([("MatMul", "x W", "z", {}), ("Add", "z block", "y", {})], r"node 'n1' \(Add\) .* the shape \(1, 1, 3\)"),
        ([("Sub", "x column", "c", {}), ("Gemm", "c W", "y", {})], r"node 'n0' \(Sub\) .* the shape \(3, 1\)"),
        ([("Div", "x column", "c", {}), ("Gemm", "c W", "y", {})], r"node 'n0' \(Div\) .* the shape \(3, 1\)"),
        ([GEMM, ("LayerNormalization", "z column", "n", {}), ("Gemm", "n W", "y", {})], r"node 'n1' \(LayerNorm"),
    ):
        odd = {"column": np.ones((3, 1)), "block": np.ones((1, 1, 3)), "zero": 0.0}
        data = model_of(onnx, nodes, W=SQUARE, V=np.ones((2, 3)), b=b, one=1.0, **odd)
        with pytest.raises(ValueError, match=message):
            from_onnx(io.BytesIO(data))
    model = onnx.load_model_from_string(
        model_of(onnx, [("Reshape", "x s", "r", {}), ("Gemm", "r W b", "y", {})], W=SQUARE, b=b)
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 3]), "s"))
    for columns in (3, 6):
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = columns
        if columns == 3:
            assert from_onnx(io.BytesIO(model.SerializeToString())).sizes == (3, 3)
            continue
        with pytest.raises(ValueError, match=r"node 'n0' \(Reshape\) .* rows of 3 numbers, and a sample has 6"):
            from_onnx(io.BytesIO(model.SerializeToString()))
    two = [GEMM, ("Relu", "z", "y", {}), ("Tanh", "z", "v", {})]
    with pytest.raises(ValueError, match=r"the outputs y, v .* 2 of them"):
        from_onnx(io.BytesIO(model_of(onnx, two, ("y", "v"), W=SQUARE, b=b)))
    with pytest.raises(ValueError, match=r"the inputs x, w .* wanted one"):
        from_onnx(io.BytesIO(model_of(onnx, two[:2], inputs=("x", "w"), W=SQUARE, b=b)))


def test_numbers_in_another_file_are_not_read(onnx, tmp_path):
    model = onnx.load_model_from_string(model_of(onnx, [GEMM, ("Relu", "z", "y", {})], W=SQUARE, b=np.ones(3)))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(ValueError, match="lie in another file"):
        from_onnx(io.BytesIO(model.SerializeToString()))


# --- hostile files -----------------------------------------------------------------------------------------------


def damaged(rng, data):
    """A truncated, overwritten, moved or doubled copy."""
    data, n = bytearray(data), len(data)
    for _ in range(rng.randint(1, 3)):
        a, b = sorted(rng.sample(range(n), 2))
        how = rng.randrange(6)
        if how == 0:
            data[a % max(1, len(data))] ^= 1 << rng.randrange(8)
        elif how == 1:
            del data[a:]
        elif how == 2:
            data[a:b] = rng.randbytes(b - a)
        elif how == 3:
            del data[a:b]
        elif how == 4:
            data[a:a] = data[a:b]
        else:
            data[a : a + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f"])
        if len(data) < 4:
            break
    return bytes(data)


def forged(onnx, rng, data):
    """A file that protobuf can read, with nonsense inside."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    for _ in range(rng.randint(1, 2)):
        node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
        names = [name for each in graph.node for name in (*each.input, *each.output)] + ["", "nothing"]
        how = rng.randrange(9)
        if how == 0 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(names)
        elif how == 1 and node.output:
            node.output[rng.randrange(len(node.output))] = rng.choice(names)
        elif how == 2:
            node.op_type = rng.choice(
                [each.op_type for each in graph.node] + ["If", "Constant", "Sub", "Add", "Concat"]
            )
        elif how == 3 and tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice([0, 1, -1, 5, 2**31, 2**62, -(2**63)])
        elif how == 4:
            tensor.data_type = rng.randrange(30)
        elif how == 5:
            tensor.raw_data = tensor.raw_data[: rng.randrange(20)]
        elif how == 6:
            del node.input[rng.randrange(len(node.input) + 1) :]
        elif how == 7:
            del node.attribute[:]
            kind, value = (
                rng.choice(["axis", "alpha", "epsilon", "to", "transB"]),
                rng.choice([7, -1.5, "x", [1], [0.5], 1e30]),
            )
            node.attribute.append(onnx.helper.make_attribute(kind, value))
        else:
            graph.output[0].name = rng.choice(names)
    return model.SerializeToString()


def check_mutations(onnx, folder, total):
    originals = [path.read_bytes() for path in sorted(FOLDER.glob("*.onnx"))]
    rng, refused = random.Random(0), 0
    for number in range(total):
        data = rng.choice(originals)
        data = forged(onnx, rng, data) if number % 2 else damaged(rng, data)
        (folder / "mutated.onnx").write_bytes(data)
        message = ""
        try:
            from_onnx(folder / "mutated.onnx")
        except ValueError as error:
            message = str(error)
        refused += bool(message)
        assert len(message) < 2000
    assert os.listdir(folder) == ["mutated.onnx"]
    return refused


def test_mutated_files(onnx, tmp_path):
    assert check_mutations(onnx, tmp_path, 250) > 130


@pytest.mark.slow
@alone
def test_mutated_files_by_the_thousand(onnx, tmp_path):
    from_onnx(next(FOLDER.glob("*.onnx")))
    tracemalloc.start()
    assert check_mutations(onnx, tmp_path, 5000) > 2500
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


@alone
@pytest.mark.parametrize("is_checked", [True, False])
def test_nodes_that_are_none(onnx, monkeypatch, is_checked):
    if not is_checked:  # a release of onnx whose checker lets them pass
        monkeypatch.setattr(onnx.checker, "check_model", lambda *_: None)
    for nodes in (
        [("Gemm", "", "y", {})],
        [("Sub", "x", "c", {}), ("Gemm", "c W", "y", {})],
        [("Gemm", "y W", "y", {})],
        [("Relu", "z", "y", {}), ("Tanh", "y", "z", {})],
        [("Identity", "v", "v", {}), ("Gemm", "x v", "y", {})],
        [("Gemm", "x W", "z", {}), ("LeakyRelu", "z", "y", {"alpha": "a"})],
        [("Gemm", "x W", "y", {"transB": 1})],  # W is not square
    ):
        data = model_of(onnx, nodes, W=np.ones((3, 2)))
        if "transB" in nodes[0][3]:
            assert from_onnx(io.BytesIO(data)).sizes == (2, 3)
            continue
        with pytest.raises(ValueError):
            from_onnx(io.BytesIO(data))


@alone
def test_a_small_file_makes_no_large_network(onnx):
    nodes = [("Gemm", f"z{i} W", f"z{i + 1}", {"alpha": 0.5}) for i in range(2000)]
    data = model_of(onnx, nodes, ("z2000",), ("z0",), W=np.ones((300, 300)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="many times larger than the file"):
        from_onnx(io.BytesIO(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * len(data)


@pytest.mark.parametrize("shape", [(0, 2**40), (2**40, 0), (0, 2**55)])
def test_a_matrix_without_numbers_is_refused(onnx, shape):
    for op in ("Gemm", "MatMul"):
        model = onnx.load_model_from_string(model_of(onnx, [(op, "x W", "y", {})], W=SQUARE))
        tensor = model.graph.initializer[0]
        tensor.dims[:], tensor.raw_data = shape, b""
        with pytest.raises(ValueError, match=r"'n0' .* W has shape"):
            from_onnx(io.BytesIO(model.SerializeToString()))


def test_it_reads_what_is_not_onnx(onnx, tmp_path):
    for data in (b"", b"\x00", b"PK\x03\x04", b"\x80\x05cos\nsystem\n", b"{}", b"\xff" * 1000):
        with pytest.raises(ValueError, match="file object"):
            from_onnx(io.BytesIO(data))
    to_onnx(Network([2, 1], seed=0), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    with pytest.raises(TypeError, match=r"got \d+ bytes: write io\.BytesIO"):
        from_onnx(model.SerializeToString())
    with pytest.raises(TypeError, match=r"write io\.BytesIO\(model\.SerializeToString\(\)\)"):
        from_onnx(model)
