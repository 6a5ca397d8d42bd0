"""from_onnx: the Network that an ONNX file computes."""

import functools
import math
import os

import numpy as np

from .. import norms
from . import onnx_operators, plain_layers
from .plain_layers import foreign

_FLOATS = {"FLOAT", "DOUBLE", "FLOAT16"}
_DOMAINS = ("", "ai.onnx")


def from_onnx(path, loss=None):
    """The Network that an ONNX file computes.

    Parameters
    ----------
    path : path-like or binary file object
    loss : str, (str, dict) or callable, optional
        As for :class:`fastnn.Network`. If the file ends in a linear layer and the loss needs softmax or sigmoid
        outputs, the network has them: it predicts probabilities where the file gives logits.

    Returns
    -------
    Network
        In float64 if a weight is, else in float32. Of a classifier all up to the probabilities; labels are left out,
        and of the probabilities (1 - p, p) the network has the p.

    Raises
    ------
    ImportError
        If onnx is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or has a node that no Network has; the message names it. The file may have one input, Gemm,
        or MatMul and Add, each followed by BatchNormalization or LayerNormalization, and an activation; Sub and Div
        of the input; Flatten, Reshape, Cast, Identity and Dropout, which change nothing; and what torch.onnx and
        skl2onnx write for our activations, and for labels.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    >>> to_onnx(Network([4, 4, 3], ["elu", "softmax"], seed=0), path)
    >>> from_onnx(path).activations
    (('elu', {'alpha': 1.0}), 'softmax')
    """
    onnx = foreign("onnx", "from_onnx")
    if isinstance(path, bytes) and b"\0" in path:
        raise TypeError(f"path must be a path or a binary file object, got {len(path)} bytes: write io.BytesIO(...)")
    if isinstance(path, (str, bytes, os.PathLike)):
        with open(path, "rb") as file:
            data, name = file.read(), repr(os.fsdecode(path))
    elif hasattr(path, "read"):
        data, name = path.read(), "the file object"
    else:
        told = ": write io.BytesIO(model.SerializeToString())" if hasattr(path, "SerializeToString") else ""
        raise TypeError(f"path must be a path or a binary file object, got {path!r:.80}{told}")
    if not isinstance(data, bytes):
        raise TypeError(f"path must be a binary file object, whose read() gives bytes, got {data!r:.40}")
    protobuf = foreign("google.protobuf.message", "from_onnx")
    try:
        model = onnx.load_model_from_string(data)
        reader = plain_layers.Reader(f"the ONNX model {name}")
        graph = _Graph(onnx, model, reader, len(data))
        onnx.checker.check_model(data)
        for step in reversed(_steps(graph)):
            step()
        return plain_layers.to_network(reader.result(), loss)
    except (
        protobuf.DecodeError,
        onnx.checker.ValidationError,
        # What is valid and yet not as the operators describe it; today's checker finds all of it.
        *(AttributeError, IndexError, KeyError, OverflowError, TypeError, UnicodeError),
    ) as error:
        what = str(error).partition("\n")[0][:200]
        raise ValueError(f"{name} is not a readable ONNX model: {type(error).__name__}: {what}") from error


class _Graph:
    """The graph of a file: what computes each tensor, and what is constant."""

    def __init__(self, onnx, model, reader, size):
        self._onnx, self._model, self.reader = onnx, model.graph, reader
        # A small file may use one matrix in many layers: the network has a copy for each.
        self._arrays, self._bytes_left = {}, 8 * size + 2**20
        if len(model.functions) or len(model.graph.sparse_initializer):
            name, why = "the file", "functions and sparse constants are not read"
            reader.refuse(name, why)
        self._producers = {output: node for node in model.graph.node for output in node.output if output}
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for name, tensor in self._tensors.items():
            self._refuse_elsewhere(name, tensor)

    def producer(self, tensor):
        """The node that computes a tensor; None for an input or an initializer."""
        return self._producers.get(tensor)

    def attributes(self, node):
        """The attributes of a node: numbers, lists, bytes, tensors."""
        return {each.name: self._onnx.helper.get_attribute_value(each) for each in node.attribute}

    def constant(self, tensor):
        """A tensor's numbers; None if it is no constant, or not of real numbers or int64."""
        seen = set()
        while (node := self._producers.get(tensor)) is not None and node.op_type == "Identity":
            if tensor in seen:
                return None
            seen.add(tensor)
            tensor = node.input[0]
        found = self._tensors.get(tensor)
        if found is None and node is not None and node.op_type == "Constant":
            found = self.attributes(node).get("value")
        return None if found is None else self._numbers(tensor, found)

    def _refuse_elsewhere(self, name, tensor):
        if tensor.data_location == self._onnx.TensorProto.EXTERNAL or tensor.external_data:
            self.reader.refuse(f"tensor {name!r:.80}", "its numbers lie in another file")

    def _numbers(self, name, tensor):
        if name in self._arrays:
            return self._arrays[name]
        self._refuse_elsewhere(name, tensor)
        kinds = self._onnx.TensorProto
        if tensor.data_type not in [kinds.DataType.Value(kind) for kind in (*_FLOATS, "INT64")]:
            return None
        try:
            self._arrays[name] = self._onnx.numpy_helper.to_array(tensor)
        except ValueError as error:
            self.reader.refuse(f"tensor {name!r:.80}", f"its numbers cannot be read: {error!s:.200}")
        return self._arrays[name]

    def matrix(self, node, W):
        """The W of a product, checked."""
        if W.ndim != 2:
            self.refuse(node, f"its weights have the shape {W.shape}")
        self._bytes_left -= W.nbytes
        if self._bytes_left < 0:
            self.refuse(node, "the network is many times larger than the file")
        return W

    def output(self):
        """The name of the tensor that the network computes: of a classifier the probabilities."""
        names = []
        for info in self._model.output:
            node = self._producers.get(info.name)
            if node is not None and node.op_type == "ZipMap" and node.domain == "ai.onnx.ml":
                names.append(node.input[0])
            elif info.type.WhichOneof("value") == "tensor_type" and self.is_float(info.type.tensor_type.elem_type):
                names.append(info.name)
        if len(names) != 1:
            listed = ", ".join(info.name for info in self._model.output)[:200]
            self.reader.refuse(f"the outputs {listed}", f"{len(names)} of them are numbers, wanted one")
        return names[0]

    def is_float(self, code):
        """Whether a tensor's type is one of real numbers."""
        return code in [self._onnx.TensorProto.DataType.Value(kind) for kind in _FLOATS]

    def input(self):
        """The name of the only input."""
        names = [info.name for info in self._model.input if info.name not in self._tensors]
        if len(names) != 1:
            self.reader.refuse(f"the inputs {', '.join(names)[:200]}", "wanted one")
        return names[0]

    def columns(self):
        """How many numbers a sample has, if the file says it."""
        info = next(info for info in self._model.input if info.name == self.input())
        counts = [each.dim_value for each in info.type.tensor_type.shape.dim[1:]]
        return math.prod(counts) or None if counts else None

    def refuse(self, node, why):
        """Refuse a node by its name and operator."""
        name = f"node {node.name!r:.80} ({node.domain and node.domain + '.'}{node.op_type})"
        self.reader.refuse(name, why)


def _steps(graph):
    """The calls of the reader that make the network, from the output to the input."""
    steps, tensor, seen = [], _without_complement(graph, graph.output()), set()
    start = graph.input()
    while tensor != start:
        node = graph.producer(tensor)
        if node is None or tensor in seen:
            graph.reader.refuse(f"tensor {tensor!r:.80}", "it is not computed from the input")
        seen.add(tensor)
        found = onnx_operators.recognised(graph, tensor) if node.domain in _DOMAINS else None
        if found is not None:
            spec, tensor = found
            steps.append(functools.partial(graph.reader.activation, _called(node), spec))
            continue
        read = _READ.get(node.op_type) if node.domain in _DOMAINS else None
        if read is None:
            graph.refuse(node, "there is no such step in fastnn, or not with such constants")
        step, tensor = read(graph, node)
        if step is not None:
            steps.append(step)
    return steps


def _called(node):
    return f"node {node.name or node.output[0]!r:.80} ({node.op_type})"


def _without_complement(graph, tensor):
    """The p of Concat(1 - p, p), as skl2onnx writes probabilities; else the tensor itself."""
    node = graph.producer(tensor)
    while node is not None and node.op_type == "Identity" and node.domain in _DOMAINS:
        tensor = node.input[0]
        node = graph.producer(tensor)
    if node is None or node.op_type != "Concat" or node.domain not in _DOMAINS or len(node.input) != 2:
        return tensor
    less, p = node.input
    minus = graph.producer(less)
    one = None if minus is None or minus.op_type != "Sub" else graph.constant(minus.input[0])
    if one is None or one.size != 1 or one.item() != 1 or minus.input[1] != p:
        return tensor
    if graph.attributes(node).get("axis") not in (1, -1):
        graph.refuse(node, "it does not join columns")
    last = graph.producer(p)
    if last is None or last.op_type != "Sigmoid":
        graph.refuse(node, "1 - p and p are joined, and p is no sigmoid")
    return p


# --- one function for each operator: (call of the reader or None, the tensor before it) ------------------------------


def _gemm(graph, node):
    x, W, b = _constants(graph, node, 3)
    more = graph.attributes(node)
    if more.get("transA", 0):
        graph.refuse(node, "samples are columns there")
    W = graph.matrix(node, W)
    W = W if more.get("transB", 0) else W.T
    if more.get("alpha", 1.0) != 1:
        W = W * W.dtype.type(more["alpha"])
    if b is not None:
        b = _vector(graph, node, b, len(W))
        if more.get("beta", 1.0) != 1:
            b = b * b.dtype.type(more["beta"])
    return (lambda: graph.reader.linear(_called(node), W, b)), x


def _add(graph, node):
    """MatMul and Add of a vector, in any order."""
    first, second = node.input
    b, product = graph.constant(second), graph.producer(first)
    if b is None:
        b, product = graph.constant(first), graph.producer(second)
    if b is None or product is None or product.op_type != "MatMul" or product.domain not in _DOMAINS:
        graph.refuse(node, "it does not add constants to a MatMul")
    x, W, _ = _constants(graph, product, 2)
    W = graph.matrix(product, W).T
    b = _vector(graph, node, b, len(W))
    return (lambda: graph.reader.linear(_called(product), W, b)), x


def _mat_mul(graph, node):
    x, W, _ = _constants(graph, node, 2)
    W = graph.matrix(node, W).T
    return (lambda: graph.reader.linear(_called(node), W)), x


def _batch_normalization(graph, node):
    more = graph.attributes(node)
    if more.get("training_mode", 0) or len(node.input) != 5:
        graph.refuse(node, "it uses the statistics of the batch")
    numbers = [_required(graph, node, name) for name in node.input[1:]]
    eps = _eps(more, numbers[0].dtype)
    return (lambda: graph.reader.norm(_called(node), "batch", *numbers, eps)), node.input[0]


def _layer_normalization(graph, node):
    more = graph.attributes(node)
    if more.get("axis", -1) not in (1, -1) or len(node.output) != 1:
        graph.refuse(node, "it is not over the units of a sample alone")
    gamma = _required(graph, node, node.input[1])
    beta = _required(graph, node, node.input[2]) if len(node.input) > 2 and node.input[2] else None
    gamma, beta = (T if T is None else _vector(graph, node, T, T.size) for T in (gamma, beta))
    eps = _eps(more, gamma.dtype)
    return (lambda: graph.reader.norm(_called(node), "layer", gamma, beta, eps=eps)), node.input[0]


def _eps(attributes, dtype):
    """The epsilon of a norm, which a file has as a float32; ours if in that dtype it is the same."""
    eps = attributes.get("epsilon", float(np.float32(norms.EPS)))
    return norms.EPS if dtype != np.float64 and np.float32(eps) == np.float32(norms.EPS) else eps


def _sub(graph, node):
    mean = _required(graph, node, node.input[1])
    return (lambda: graph.reader.standardise(_called(node), mean, 1.0)), node.input[0]


def _div(graph, node):
    scale = _required(graph, node, node.input[1])
    return (lambda: graph.reader.standardise(_called(node), 0.0, scale)), node.input[0]


def _flatten(graph, node):
    if graph.attributes(node).get("axis", 1) != 1:
        graph.refuse(node, "it does not keep samples apart")
    return (lambda: graph.reader.flatten(_called(node))), node.input[0]


def _reshape(graph, node):
    shape = _required(graph, node, node.input[1])
    if shape.dtype != np.int64 or shape.size != 2 or shape.ravel()[0] != -1 or shape.ravel()[1] < 1:
        graph.refuse(node, "it does not keep samples apart")
    columns = int(shape.ravel()[1])
    return (lambda: graph.reader.flatten(_called(node), columns, graph.columns())), node.input[0]


def _cast(graph, node):
    if not graph.is_float(graph.attributes(node).get("to")):
        graph.refuse(node, "it makes other numbers than real ones")
    return None, node.input[0]


def _nothing(graph, node):
    return None, node.input[0]


def _dropout(graph, node):
    if len(node.input) > 2 and node.input[2]:
        training = graph.constant(node.input[2])
        if training is None or training.any():
            graph.refuse(node, "it drops outputs in predictions")
    return None, node.input[0]


_READ = {
    "Gemm": _gemm,
    "Add": _add,
    "MatMul": _mat_mul,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "Sub": _sub,
    "Div": _div,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Cast": _cast,
    "Identity": _nothing,
    "Dropout": _dropout,
}


def _constants(graph, node, count):
    """(x, W, b) of a product: the name of its input and its constants, b None if it has none."""
    if not 2 <= len(node.input) <= count:
        graph.refuse(node, f"it has {len(node.input)} inputs")
    b = _required(graph, node, node.input[2]) if len(node.input) > 2 and node.input[2] else None
    return node.input[0], _required(graph, node, node.input[1]), b


def _required(graph, node, tensor):
    found = graph.constant(tensor)
    if found is None:
        graph.refuse(node, f"its input {tensor!r:.80} is not a constant of real numbers")
    return found


def _vector(graph, node, b, n):
    """The b of a layer, whose shape may be (n,), (1, n) or that of one number for all units; not (n, 1): of samples."""
    if b.size not in (1, n) or (b.ndim and b.shape[-1] != b.size) or b.ndim > 2:
        graph.refuse(node, f"what it adds has the shape {b.shape}, and the layer {n} units")
    return np.broadcast_to(b.ravel(), n)
