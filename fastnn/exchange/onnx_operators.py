"""Activations as ONNX operators: what a file is written with, and what is recognised in one.

An expression is (operator, argument, ...), where an argument is another expression, a number, "z" (what the activation
is computed from) or the name of the activation's parameter.
"""

import numpy as np

from . import plain_layers

_T = ("Tanh", ("Mul", ("Min", "z", 0.0), 0.5))
_EXPM1 = ("Div", ("Mul", _T, 2.0), ("Sub", 1.0, _T))  # of the negative part of z; keeps its precision near 0
_SCALE, _ALPHA = 1.0507009873554804934, 1.6732632423543772848
_SQRT_2, _SQRT_8_PI = 1.4142135623730950488, 1.5957691216057307
_SOFTPLUS_IS_Z = 20.0

# Where ONNX has no operator of its own in the opset that we write. gelu: in the form of torch.onnx.
_SILU = ("Mul", "z", ("Sigmoid", "z"))
_GELU = ("Mul", ("Mul", "z", ("Add", ("Erf", ("Div", "z", _SQRT_2)), 1.0)), 0.5)
_CUBE = ("Mul", ("Mul", ("Mul", "z", "z"), "z"), 0.044715)
_GELU_TANH = ("Mul", "z", ("Sigmoid", ("Mul", ("Add", _CUBE, "z"), _SQRT_8_PI)))
# Where ONNX Runtime has the operator in float32 alone, or a parameter is kept in float32.
_LEAKY_RELU = ("Add", ("Relu", "z"), ("Mul", ("Min", "z", 0.0), "slope"))
_ELU = ("Add", ("Relu", "z"), ("Mul", _EXPM1, "alpha"))
_SELU = ("Mul", ("Add", ("Relu", "z"), ("Mul", _EXPM1, _ALPHA)), _SCALE)
_SOFTPLUS = ("Add", ("Relu", "z"), ("Log", ("Add", ("Exp", ("Neg", ("Abs", "z"))), 1.0)))

_IN_FLOAT64 = {"leaky_relu": _LEAKY_RELU, "elu": _ELU, "selu": _SELU, "softplus": _SOFTPLUS, "silu": _SILU}
_IN_FLOAT32 = {"silu": _SILU}
_TANH_PHI = ("Add", ("Tanh", ("Mul", ("Add", _CUBE, "z"), _SQRT_8_PI / 2)), 1.0)
_RECOGNISED = [
    ("silu", {}, _SILU),
    ("gelu", {"approximate": 0.0}, _GELU),
    ("gelu", {"approximate": 1.0}, _GELU_TANH),
    ("gelu", {"approximate": 1.0}, ("Mul", ("Mul", "z", _TANH_PHI), 0.5)),  # torch.onnx's
    ("leaky_relu", {}, _LEAKY_RELU),
    ("elu", {}, _ELU),
    ("selu", {}, _SELU),
    ("softplus", {}, _SOFTPLUS),
    ("softplus", {}, ("Where", ("Greater", "z", "threshold"), "z", ("Softplus", "z"))),  # torch.onnx's
]
_COMMUTATIVE = {"Add", "Mul", "Min"}
# Operators with the same name or attributes as ours.
_OPERATORS = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "softmax": "Softmax",
    "leaky_relu": "LeakyRelu",
    "elu": "Elu",
    "selu": "Selu",
    "softplus": "Softplus",
}
_ATTRIBUTES = {"leaky_relu": {"slope": "alpha"}, "elu": {"alpha": "alpha"}}


def expression(activation, dtype):
    """The expression of an activation, and the attributes of its operator if that is a single one.

    Raises
    ------
    ValueError
        For gelu in float64, whose erf ONNX Runtime does not compute.
    """
    name, params = activation
    if name == "gelu":
        if params["approximate"]:
            return _GELU_TANH, {}
        if dtype == np.float64:
            raise ValueError('gelu needs Erf, which ONNX Runtime does not have in float64: give dtype="float32"')
        return _GELU, {}
    composed = (_IN_FLOAT64 if dtype == np.float64 else _IN_FLOAT32).get(name)
    if composed:
        return composed, {}
    attributes = {theirs: params[ours] for ours, theirs in _ATTRIBUTES.get(name, {}).items()}
    return (plain_layers.known(_OPERATORS, name, "to_onnx"), "z"), {"axis": -1} if name == "softmax" else attributes


def recognised(graph, tensor):
    """((name, parameters), z) if the tensor is an activation of the tensor z, else None.

    `graph` has `producer(tensor)`, the node that computes it or None, `constant(tensor)`, an array or None, and
    `attributes(node)`, a dict.
    """
    for name, params, wanted in _RECOGNISED:
        bound = _match(graph, tensor, wanted, {})
        if bound is None:
            continue
        z = bound.pop("z")
        if name == "softplus" and bound.pop("threshold", _SOFTPLUS_IS_Z) < _SOFTPLUS_IS_Z:
            continue
        return (name, {**params, **bound}), z
    node = graph.producer(tensor)
    spec = _of_operator(node.op_type, graph.attributes(node))
    return None if spec is None or len(node.input) != 1 else (spec, node.input[0])


def _of_operator(op, attributes):
    """The activation of a single operator; None if it is none of ours, or has other constants."""
    if op == "Gelu":
        return "gelu", {"approximate": float(attributes.get("approximate", b"none") == b"tanh")}
    name = next((ours for ours, theirs in _OPERATORS.items() if theirs == op), None)
    if name is None:
        return None
    if name == "softmax" and attributes.get("axis", -1) not in (1, -1):
        return None
    if name == "selu" and not (
        _is_near(attributes.get("alpha", _ALPHA), _ALPHA) and _is_near(attributes.get("gamma", _SCALE), _SCALE)
    ):
        return None
    defaults = {"leaky_relu": 0.01, "elu": 1.0}
    params = {
        ours: _shortest(attributes.get(theirs, defaults[name]), np.float32)
        for ours, theirs in _ATTRIBUTES.get(name, {}).items()
    }
    return name, params


def _match(graph, tensor, wanted, bound):
    """The names in `wanted` with what they stand for, or None; `bound` are those that are known already."""
    if wanted == "z":
        return {**bound, "z": tensor} if bound.get("z", tensor) == tensor else None
    if not isinstance(wanted, tuple):
        value = graph.constant(tensor)
        if value is None or value.size != 1 or value.dtype.kind != "f":
            return None
        if isinstance(wanted, str):
            return {**bound, wanted: _shortest(value.item(), value.dtype)}
        return bound if _is_near(value.item(), wanted) else None
    node = graph.producer(tensor)
    op, *arguments = wanted
    if node is None or node.op_type != op or node.domain not in ("", "ai.onnx") or len(node.input) != len(arguments):
        return None
    orders = [list(node.input)] + ([list(node.input)[::-1]] if op in _COMMUTATIVE else [])
    for inputs in orders:
        found = bound
        for each, argument in zip(inputs, arguments, strict=True):
            found = None if found is None else _match(graph, each, argument, found)
        if found is not None:
            return found
    return None


def _is_near(value, wanted):
    return abs(value - wanted) <= 1e-6 * abs(wanted)


def _shortest(value, dtype):
    """The number that was meant by a float32, such as 0.01 by 0.009999999776."""
    return float(str(np.float32(value))) if dtype == np.float32 else float(value)
