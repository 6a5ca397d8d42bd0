"""to_onnx: a network as an ONNX file."""

import os

import numpy as np

from .. import filesystem, norms
from .._version import __version__
from ..settings import checked_dtype
from . import onnx_operators, plain_layers
from .plain_layers import foreign

_OPSET, _WITH_LAYER_NORM, _IR = 13, 17, 8  # old ones, which all runtimes know


def to_onnx(net, path, *, dtype=None, labels=None):
    """Write what the network predicts as an ONNX file.

    The input "X" is (batch, n_0), the output "A" (batch, n_L): samples are rows, as users of ONNX expect, and batch
    is any number. The loss and dropout are not in the file: outputs are those of `predict`, such as logarithms of rates
    of a poisson network. Standardisation is folded into the first and the last
    layer; where a mean is large beside its scale, the means are subtracted in a step of their own.

    Parameters
    ----------
    net : Network
        Or a fitted estimator that has one; with loss="poisson" the file ends in exp, and gives rates.
    path : path-like
        An existing file is replaced as a whole or not at all.
    dtype : {"float32", "float64"}, optional
        Of input, weights and output. Default: the network's dtype.
    labels : bool or array_like, optional
        True or the labels of the codes 0, 1, ..., int or str: the outputs are "label" (batch,) and
        "probabilities" (batch, classes), as skl2onnx writes them with ``zipmap=False``. A single sigmoid output
        becomes the probabilities of two classes, and several are labels of 0 and 1, (batch, n_L). Default: the
        classes of an estimator that has some, else no labels.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError, TypeError
        If an argument is not as described, or for gelu in float64, which ONNX Runtime cannot run; no file is written.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import onnx, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    >>> to_onnx(Network([4, 4, 3], seed=0), path)
    >>> [node.op_type for node in onnx.load(path).graph.node]
    ['Gemm', 'Relu', 'Gemm', 'Softmax']
    """
    onnx = foreign("onnx", "to_onnx")
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path must be a path, got {path!r:.80}")
    plain = plain_layers.without_batch_norm(plain_layers.of_network(net, "to_onnx", may_be_exp=True))
    plain = plain._replace(dtype=plain.dtype if dtype is None else checked_dtype(dtype))
    is_estimator = hasattr(net, "network_")
    classes = _checked_labels(labels, getattr(net, "classes_", None) if is_estimator else None, plain)
    graph = _Graph(onnx, plain.dtype)
    here = _write_layers(graph, plain)
    if plain_layers.predicts_exp(net):
        here = graph.node("Exp", [here])
    outputs = [("A", here, plain.sizes[-1])]
    if classes is not None:
        outputs = _write_labels(graph, plain, here, classes, is_estimator)
    data = graph.serialized(plain.sizes[0], outputs, any(layer.norm for layer in plain.layers))
    filesystem.write(os.fsdecode(path), data)


def _checked_labels(labels, of_estimator, plain):
    """An array with a label for each code, or None for no labels."""
    output, n = plain.layers[-1].activation.name, plain.sizes[-1]
    if labels is None:
        labels = of_estimator if of_estimator is not None and output in ("softmax", "sigmoid") else False
    if labels is False:
        return None
    if output not in ("softmax", "sigmoid"):
        raise ValueError(f"labels are for softmax and sigmoid outputs; the network's output is {output}")
    several = output == "sigmoid" and n > 1
    n = 2 if n == 1 else n
    if labels is True or (several and labels is of_estimator):
        return np.arange(n)
    labels = np.asarray(labels)
    if labels.dtype.kind == "O" and all(isinstance(each, str) for each in labels.ravel()):
        labels = labels.astype(str)
    if labels is of_estimator and labels.dtype.kind == "f" and (labels % 1 == 0).all() and np.abs(labels).max() < 2**53:
        labels = labels.astype(np.int64)  # such as 0.0 and 1.0; skl2onnx does so, too
    if labels.shape != (n,) or labels.dtype.kind not in "iubU" or several:
        wanted = "True: several sigmoid outputs are 0 or 1" if several else f"{n} labels, all int or all str"
        raise ValueError(f"labels must be {wanted}; got {labels!r:.200}")
    if labels.dtype.kind == "u" and labels.max() > np.iinfo(np.int64).max:
        raise ValueError(f"labels must be within int64; got {labels!r:.200}")
    return labels if labels.dtype.kind == "U" else labels.astype(np.int64)


def _write_layers(graph, plain):
    """Write standardisation and layers; the name of the outputs."""
    centre, plain = plain_layers.centred(plain)
    if plain.dtype == np.float64:
        plain = plain._replace(layers=[_with_eps_of_float32(layer) for layer in plain.layers])
    plain = plain.in_dtype(plain.dtype)
    here = "X"
    if centre is not None:
        here = graph.node("Sub", [here, graph.constant("centre", centre)])
    for i, layer in enumerate(plain.layers, start=1):
        weights = [graph.constant(f"W{i}", layer.W), graph.constant(f"b{i}", layer.b)]
        here = graph.node("Gemm", [here, *weights], transB=1)
        if layer.norm:
            numbers = [graph.constant(f"{name}{i}", getattr(layer.norm, name)) for name in ("gamma", "beta")]
            here = graph.node("LayerNormalization", [here, *numbers], axis=-1, epsilon=norms.EPS)
        if layer.activation.name != "identity":
            here = graph.activation(layer.activation, here)
    return here


def _with_eps_of_float32(layer):
    """The same layer norm with the epsilon that ONNX stores, which is a float32: see plain_layers.Reader.norm."""
    if layer.norm is None:
        return layer
    factor = (float(np.float32(norms.EPS)) / norms.EPS) ** 0.5
    return layer._replace(W=layer.W * factor, b=layer.b * factor)


def _write_labels(graph, plain, here, classes, is_above):
    """Write label and probabilities; the outputs as `_Graph.serialized` takes them.

    `is_above`: a single probability must be above 0.5, as scikit-learn has it; 0.5 is enough for predict_classes.
    """
    if plain.layers[-1].activation.name == "softmax":
        code = graph.node("ArgMax", [here], axis=1, keepdims=0)
    else:
        half = graph.constant("half", np.array(0.5, plain.dtype))
        hit = graph.node("Greater" if is_above else "Less", [here, half])
        code = graph.node("Cast", [hit if is_above else graph.node("Not", [hit])], to=graph.types["int64"])
    if plain.sizes[-1] == 1:
        unity = graph.constant("unity", np.array(1, plain.dtype))
        here = graph.node("Concat", [graph.node("Sub", [unity, here]), here], axis=1)
        code = graph.node("Squeeze", [code, graph.constant("axis", np.array([1]))])
    elif plain.layers[-1].activation.name == "sigmoid":
        return [("label", code, ("int64", plain.sizes[-1])), ("probabilities", here, plain.sizes[-1])]
    label = graph.node("Gather", [graph.constant("classes", classes), code])
    kind = "str" if classes.dtype.kind == "U" else "int64"
    return [("label", label, (kind, None)), ("probabilities", here, len(classes))]


class _Graph:
    """The nodes and constants of a file as it is put together."""

    def __init__(self, onnx, dtype):
        self._onnx, self._dtype, self._nodes, self._constants = onnx, dtype, [], {}
        kinds = onnx.TensorProto
        self.types = {"float32": kinds.FLOAT, "float64": kinds.DOUBLE, "int64": kinds.INT64, "str": kinds.STRING}

    def constant(self, name, array):
        """The name of a constant."""
        if array.dtype.kind == "U":
            array = array.astype(object)
        self._constants[name] = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def node(self, op, inputs, **attributes):
        """Add a node; the name of its output."""
        output = f"{op}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def activation(self, activation, z):
        """Add the nodes of an activation of z; the name of their output."""
        wanted, attributes = onnx_operators.expression(activation, self._dtype)
        return self._expression(wanted, {"z": z}, activation.params, attributes)

    def _expression(self, wanted, known, params, attributes=None):
        if wanted in known:
            return known[wanted]
        if isinstance(wanted, tuple):
            op, *arguments = wanted
            known[wanted] = self.node(
                op, [self._expression(each, known, params) for each in arguments], **(attributes or {})
            )
            return known[wanted]
        value = params[wanted] if isinstance(wanted, str) else wanted
        return self.constant(f"number_{value!r}", np.array(value, self._dtype))

    def serialized(self, n_in, outputs, has_layer_norm):
        """The file's bytes, checked; outputs are (name, tensor, columns) or, if not of the dtype, (kind, columns)."""
        helper, own = self._onnx.helper, self._dtype.name
        infos = []
        for name, tensor, columns in outputs:
            kind, columns = columns if isinstance(columns, tuple) else (own, columns)
            shape = ["batch"] if columns is None else ["batch", columns]
            infos.append(helper.make_tensor_value_info(name, self.types[kind], shape))
            self._rename(tensor, name)
        inputs = [helper.make_tensor_value_info("X", self.types[own], ["batch", n_in])]
        graph = helper.make_graph(self._nodes, "fastnn", inputs, infos, list(self._constants.values()))
        opset = helper.make_opsetid("", _WITH_LAYER_NORM if has_layer_norm else _OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], producer_name="fastnn", producer_version=__version__, ir_version=_IR
        )
        try:
            data = model.SerializeToString()
        except ValueError as error:  # protobuf holds 2 GB
            raise ValueError(f"the network does not fit into an ONNX file: {error}") from error
        self._onnx.checker.check_model(data, full_check=True)
        return data

    def _rename(self, old, new):
        for node in self._nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = new
