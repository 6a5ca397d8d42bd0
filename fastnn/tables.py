"""The names a user may write: activations, losses, initialisers, and which go together.

Adding one is a row here and its function in each backend; nothing else in the package asks for a
name. A specification is a name or ``(name, {parameter: value})``; inside, always a :class:`Spec`.
"""

import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from . import hints


class Spec(NamedTuple):
    """A name from one of the tables with all of its parameters filled in."""

    name: str
    params: dict

    def public(self):
        """The short form a user would have written: the name alone where it has no parameters."""
        return (self.name, dict(self.params)) if self.params else self.name


IDENTITY = Spec("identity", {})


class Parameter(NamedTuple):
    """A parameter of a row: its default, and the least and the greatest value that are legal.

    The core computes with it in the dtype of the network, so that a float32 must hold it.
    """

    default: float
    low: float = 0.0
    high: float = float(np.finfo(np.float32).max)


class Row(NamedTuple):
    """An activation or an initialiser: its formula for the docs, and its parameters."""

    formula: str
    parameters: Mapping = MappingProxyType({})


class LossRow(NamedTuple):
    """A loss.

    `output` is the activation that the last layer must have, or None for any: a cross-entropy is computed with its
    output activation in one stable expression. `targets`: "probabilities" within [0, 1], "classes" (one, or the
    probability of each) or "values". Losses are summed over the outputs.
    """

    formula: str
    output: str | None
    targets: str
    parameters: Mapping = MappingProxyType({})


# The order is the code by which the C core knows a name (csrc/fastnn.h); new ones are added at the end.
ACTIVATIONS = {
    "identity": Row("z"),
    "sigmoid": Row("1 / (1 + exp(-z))"),
    "tanh": Row("tanh(z)"),
    "relu": Row("max(z, 0)"),
    "softmax": Row("exp(z) / sum(exp(z)) over the layer's units"),
    "leaky_relu": Row("z where z > 0, else slope z", {"slope": Parameter(0.01)}),
}
LOSSES = {
    "binary_cross_entropy": LossRow("-y log a - (1 - y) log(1 - a)", "sigmoid", "probabilities"),
    "cross_entropy": LossRow("-y log a", "softmax", "classes"),
    "mse": LossRow("(a - y)^2", None, "values"),
    "mae": LossRow("|a - y|, its derivative 0 at 0", None, "values"),
}
_LARGEST = float(np.finfo(np.float64).max)
INITIALISERS = {
    "zeros": Row("0"),
    "normal": Row("N(0, sd)", {"sd": Parameter(1.0, high=_LARGEST)}),
    "xavier": Row("N(0, sd sqrt(2 / (n_in + n_out)))", {"sd": Parameter(1.0, high=_LARGEST)}),
    "xavier_uniform": Row("U(-r, r), r = sqrt(6 / (n_in + n_out))"),
    "he": Row("N(0, sqrt(2 / n_in))"),
    "he_uniform": Row("U(-r, r), r = sqrt(6 / n_in)"),
    "lecun": Row("N(0, sqrt(1 / n_in))"),
    "orthogonal": Row("gain Q, rows or columns orthonormal", {"gain": Parameter(1.0, high=_LARGEST)}),
}

OUTPUT_LOSS = {row.output: name for name, row in LOSSES.items() if row.output}


def default(name, table):
    """The :class:`Spec` that a name alone stands for."""
    return Spec(name, {key: parameter.default for key, parameter in table[name].parameters.items()})


def in_words(table):
    """The rows of a table, one after another, for docstrings."""
    rows = []
    for name, row in table.items():
        parameters = ", ".join(f"{key}={parameter.default:g}" for key, parameter in row.parameters.items())
        output = f" ({row.output} outputs only)" if getattr(row, "output", None) else ""
        rows.append(f"{name}{f' ({parameters})' if parameters else ''}: {row.formula}{output}")
    return "; ".join(rows)


def documented(thing):
    """A class or function in whose docstring ``|activations|``, ``|losses|`` and ``|initialisers|`` are filled in."""
    for name, table in (("activations", ACTIVATIONS), ("losses", LOSSES), ("initialisers", INITIALISERS)):
        if thing.__doc__ and f"|{name}|" in thing.__doc__:
            words = textwrap.fill(in_words(table), 92, subsequent_indent=" " * 8)
            thing.__doc__ = thing.__doc__.replace(f"|{name}|", words)
    return thing


def spec(value, table, argument):
    """Return `value`, a name or ``(name, {parameter: value})``, as a :class:`Spec` of `table`."""
    if isinstance(value, str):
        name, given = value, {}
    elif isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], str):
        name, given = value
        if not isinstance(given, dict):
            raise TypeError(f"{argument}: the parameters of {name!r} must be a dict, got {given!r:.80}")
    else:
        # A function, or an object that elsewhere is an activation, is called as it is.
        called = "None" if value is None else hints.name_of(value)
        told = hints.did_you_mean(called, table)
        raise TypeError(f"{argument} must be a name or (name, {{parameter: value}}), got {value!r:.80}{told}")
    if name not in table:
        told = hints.did_you_mean(name, table)
        raise ValueError(f"{argument}: no {name!r} here{told or ';'} choose one of {', '.join(table)}")
    params = default(name, table).params
    for key, number in given.items():
        if key not in params:
            known = hints.did_you_mean(str(key), params) or f" (it has: {', '.join(params) or 'none'})"
            raise ValueError(f"{argument}: {name!r} has no parameter {key!r}{known}")
        _, low, high = table[name].parameters[key]
        params[key] = real_parameter(number, f"{argument}: {name}'s {key}", low, high)
    return Spec(name, params)


def real_parameter(value, what, low=0.0, high=_LARGEST):
    """Return `value` as a float from `low` to `high`, both finite; `what` names it in errors."""
    # bool and strings would pass through float(), and neither is meant as a number.
    if isinstance(value, (str, bytes, bool, np.bool_)) or not hasattr(type(value), "__float__"):
        raise TypeError(f"{what} must be a real number, got {value!r:.80}")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a real number, got {value!r}") from None
    if not low <= number < float("inf"):
        raise ValueError(f"{what} must be finite and at least {low:g}, got {value!r}")
    if number > high:
        raise ValueError(f"{what} must be at most {high:g}, the largest float32, got {value!r}")
    return number


def network_specs(sizes, activations, loss):
    """Fill in the defaults of a network and refuse what does not go together.

    Parameters
    ----------
    sizes : tuple of int
        n_0 .. n_L, checked already.
    activations : sequence of specifications, or None
        One for each of the L layers. None: relu in hidden layers, the output's from the loss.
    loss : specification or None
        None follows the output's activation.

    Returns
    -------
    (tuple of Spec, Spec)
        The activations and the loss.
    """
    layers = len(sizes) - 1
    if loss is not None:
        loss = spec(loss, LOSSES, "loss")
    if activations is None:
        if loss is None:
            output = "sigmoid" if sizes[-1] == 1 else "softmax"
        else:
            output = LOSSES[loss.name].output or "identity"
        activations = ["relu"] * (layers - 1) + [output]
    elif isinstance(activations, (str, bytes)) or not hasattr(activations, "__len__"):
        output = (LOSSES[loss.name].output or "identity") if loss else "sigmoid" if sizes[-1] == 1 else "softmax"
        each = ["relu" if activations == "softmax" else activations] * (layers - 1) + [output]
        example = f": write {each!r}" if isinstance(activations, str) and layers < 8 else ""
        raise TypeError(f"activations must be a list of one per layer ({layers}), got {activations!r:.80}{example}")
    if len(activations) != layers:
        wanted = "one per layer after the input, the output's included"
        raise ValueError(f"activations has {len(activations)} entries, wanted {layers}: {wanted}")
    activations = tuple(spec(a, ACTIVATIONS, f"activations[{i}]") for i, a in enumerate(activations))
    output = activations[-1].name
    if loss is None:
        loss = spec(OUTPUT_LOSS.get(output, "mse"), LOSSES, "loss")
    wanted = LOSSES[loss.name].output
    if wanted not in (None, output):
        raise ValueError(f"loss {loss.name!r} needs a {wanted} output, got {output!r} as the last activation")
    if output == "softmax" and sizes[-1] < 2:
        raise ValueError(
            "activations: softmax over one unit is 1 for every input and cannot learn; use sigmoid, or 2 units"
        )
    return activations, loss
