"""The names that users may give for activations, losses and initialisers, and which of them can be combined.

A new one needs a row here and a function in each backend; no other code depends on a name. A
specification is a name or ``(name, {parameter: value})``; inside the package it is a :class:`Spec`.
"""

import textwrap
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from . import hints


class Spec(NamedTuple):
    """A name from one of the tables with all of its parameters filled in."""

    name: str
    params: dict

    def public(self):
        """The form that a user writes: the name alone if it has no parameters, else (name, parameters)."""
        params = {key: list(value) if isinstance(value, tuple) else value for key, value in self.params.items()}
        return (self.name, params) if params else self.name


IDENTITY = Spec("identity", {})


class OwnLoss(NamedTuple):
    """A loss of the user's own, in the place of a Spec: `function` is f(A, y) -> (losses, dA).

    None: a file does not store it.
    """

    function: Callable | None
    name = "custom"
    params = MappingProxyType({})


class Parameter(NamedTuple):
    """A parameter of a row: its default, the least and the greatest value that are legal, and the smallest above 0.

    The core computes with it in the dtype of the network, so that a normal float32 must hold it.
    """

    default: float
    low: float = 0.0
    high: float = float(np.finfo(np.float32).max)
    smallest: float = float(np.finfo(np.float32).tiny)


class Levels(NamedTuple):
    """A parameter that is a number within (0, 1) for each output. Its default None are evenly spaced ones."""

    default: None = None


class Row(NamedTuple):
    """An activation or an initialiser: its formula for the docs, and its parameters.

    `slope_from`: "A" or "Z", what the derivative g' of an activation is computed from.
    """

    formula: str
    parameters: Mapping = MappingProxyType({})
    slope_from: str = "A"


class LossRow(NamedTuple):
    """A loss.

    `output` is the activation that the last layer must have, or None for any: a cross-entropy and its output
    activation are computed in one stable expression. `targets` is "probabilities" (within [0, 1]), "classes" (a class
    code, or a probability for each class), "values", "counts" (at least 0), "one_value" (one for all outputs) or
    "means" (a value for each of the first half of the outputs). Losses are summed over the outputs.
    """

    formula: str
    output: str | None
    targets: str
    parameters: Mapping = MappingProxyType({})

    @property
    def is_of_classes(self):
        """Whether the targets are classes, or probabilities of them."""
        return self.targets in ("probabilities", "classes")

    @property
    def takes_codes(self):
        """Whether a 1-D y with integers holds a class code for each sample, where there are several outputs."""
        return self.targets not in ("one_value", "means")

    def target_rows(self, n_out):
        """The rows of y for so many outputs."""
        return {"one_value": 1, "means": n_out // 2}.get(self.targets, n_out)


class MetricRow(NamedTuple):
    """A metric: its formula for the docs, whether a greater value is a better one, and its parameters."""

    formula: str
    greater_is_better: bool
    parameters: Mapping = MappingProxyType({})


_SMOOTHING = Parameter(0.0, high=1.0)

# The position of a row is its code in the C core (csrc/fastnn.h): add new rows at the end.
ACTIVATIONS = {
    "identity": Row("z"),
    "sigmoid": Row("1 / (1 + exp(-z))"),
    "tanh": Row("tanh(z)"),
    "relu": Row("max(z, 0)"),
    "softmax": Row("exp(z) / sum(exp(z)) over the layer's units"),
    "leaky_relu": Row("z where z > 0, else slope z", {"slope": Parameter(0.01)}),
    "elu": Row("z where z > 0, else alpha (exp(z) - 1)", {"alpha": Parameter(1.0)}),
    "selu": Row("1.0507 z where z > 0, else 1.7581 (exp(z) - 1)"),
    "gelu": Row(
        "z Phi(z), Phi(z) = P(N(0, 1) < z); approximate=1: Phi(z) = (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2",
        {"approximate": Parameter(0.0, high=1.0, smallest=1.0)},
        "Z",
    ),
    "silu": Row("z / (1 + exp(-z))", slope_from="Z"),
    "softplus": Row("log(1 + exp(z))", slope_from="Z"),
}
LOSSES = {
    "binary_cross_entropy": LossRow(
        "-pos_weight y log a - (1 - y) log(1 - a), with y (1 - label_smoothing) + label_smoothing / 2 for y",
        "sigmoid",
        "probabilities",
        {"label_smoothing": _SMOOTHING, "pos_weight": Parameter(1.0, low=float(np.finfo(np.float32).tiny))},
    ),
    "cross_entropy": LossRow(
        "-y log a, with y (1 - label_smoothing) + label_smoothing / n_L for y",
        "softmax",
        "classes",
        {"label_smoothing": _SMOOTHING},
    ),
    "mse": LossRow("(a - y)^2", None, "values"),
    "mae": LossRow("abs(a - y), its derivative 0 at 0", None, "values"),
    "huber": LossRow(
        "(a - y)^2 / 2 where abs(a - y) <= delta, else delta (abs(a - y) - delta / 2)",
        None,
        "values",
        {"delta": Parameter(1.0, low=float(np.finfo(np.float32).tiny))},
    ),
    "quantile": LossRow(
        "max(q (y - a), (q - 1) (y - a)) with the levels q of the outputs, all of one target y",
        None,
        "one_value",
        {"levels": Levels()},
    ),
    "poisson": LossRow("exp(a) - y a, so that a is the logarithm of the rate; y >= 0", "identity", "counts"),
    "gaussian_nll": LossRow(
        "(s + (y - mean)^2 exp(-s)) / 2; the first half of the outputs are means, the second half log-variances s",
        "identity",
        "means",
    ),
}
_ANY_LOSS = LossRow("f(A, y)", None, "any")  # of an OwnLoss
# Of classes: accuracy, top_k, auc, f1; of values: r2, rmse, mae. Each has a function in metrics.py.
METRICS = {
    "accuracy": MetricRow("share of samples whose class is predicted, of labels if there are several", True),
    "top_k": MetricRow("share of samples whose class has one of the k largest outputs", True, {"k": Parameter(5.0)}),
    "r2": MetricRow("1 - sum (a - y)^2 / sum (y - mean y)^2, the mean over outputs", True),
    "rmse": MetricRow("sqrt(mean (a - y)^2), the mean over outputs", False),
    "mae": MetricRow("mean abs(a - y), the mean over outputs", False),
    "auc": MetricRow(
        "area under the ROC curve: share of pairs of a positive and a negative sample whose outputs are in order; "
        "of more than two classes, or of labels, the mean of each one against the rest",
        True,
    ),
    "f1": MetricRow("2 tp / (2 tp + fp + fn) of class 1; of more classes, or of labels, the mean", True),
}
_LARGEST = float(np.finfo(np.float64).max)
_FACTOR = Parameter(1.0, high=_LARGEST, smallest=0.0)
INITIALISERS = {
    "zeros": Row("0"),
    "normal": Row("N(0, sd)", {"sd": _FACTOR}),
    "xavier": Row("N(0, sd sqrt(2 / (n_in + n_out)))", {"sd": _FACTOR}),
    "xavier_uniform": Row("U(-r, r), r = sqrt(6 / (n_in + n_out))"),
    "he": Row("N(0, sqrt(2 / n_in))"),
    "he_uniform": Row("U(-r, r), r = sqrt(6 / n_in)"),
    "lecun": Row("N(0, sqrt(1 / n_in))"),
    "orthogonal": Row("gain Q, rows or columns orthonormal", {"gain": _FACTOR}),
}

# The optimizers of the C core in the order of their codes: name -> moments that it keeps for each parameter.
OPTIMIZERS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2, "nadam": 2}
OPTIMIZERS |= {"rmsprop": 1, "rmsprop_momentum": 2, "adagrad": 1}
# Its schedules: name -> settings; schedules.py has a class for each.
SCHEDULES = {
    "step": ("lr", "every", "factor"),
    "exponential": ("lr", "factor"),
    "inverse_scaling": ("lr", "power"),
    "cosine": ("lr", "length", "warmup", "final"),
    "one_cycle": ("lr", "length"),
}
FLOAT32_ENDS = 2.0**128 - 2.0**103  # from here on a number is infinite in float32


def rows_of_core():
    """The rows of the C core's lists as the core writes them; the extension compares them when it is imported."""
    activations = [f"{name}({', '.join(row.parameters)}) FROM_{row.slope_from}" for name, row in ACTIVATIONS.items()]
    losses = []
    for name, row in LOSSES.items():
        numbers = [key for key, parameter in row.parameters.items() if isinstance(parameter, Parameter)]
        losses.append(f"{name}({', '.join(numbers)}) {(row.output or 'any').upper()} {row.targets.upper()}")
    schedules = [f"{name}({', '.join(settings)})" for name, settings in SCHEDULES.items()]
    return activations, losses, [f"{name} {slots}" for name, slots in OPTIMIZERS.items()], schedules


OUTPUT_LOSS = {row.output: name for name, row in LOSSES.items() if row.is_of_classes}


def loss_row(name):
    """The row of a network's loss, by its name."""
    return _ANY_LOSS if name == OwnLoss.name else LOSSES[name]


def of_engine(loss):
    """The loss that an engine is made with: any, if the network's own one is computed elsewhere."""
    return default("mse", LOSSES) if isinstance(loss, OwnLoss) else loss


def default(name, table):
    """The :class:`Spec` of a name with its default parameters."""
    return Spec(name, {key: parameter.default for key, parameter in table[name].parameters.items()})


def shortest(spec, table):
    """As Spec.public(), without the parameters that have their default."""
    if isinstance(spec, OwnLoss):
        return spec.name
    params = {key: value for key, value in spec.params.items() if value != table[spec.name].parameters[key].default}
    return Spec(spec.name, params).public()


def levels(loss, n_out):
    """The levels of a loss's outputs, a tuple; None if it has none."""
    if "levels" not in loss.params:
        return None
    return loss.params["levels"] or default_levels(n_out)


def default_levels(n_out):
    """Levels at equal distances; that of a single output is the median's."""
    return tuple(i / (n_out + 1) for i in range(1, n_out + 1))


def _default_in_words(parameter):
    return "i / (n_L + 1)" if isinstance(parameter, Levels) else f"{parameter.default:g}"


def in_words(table):
    """The rows of a table as lines for docstrings."""
    rows = []
    for name, row in table.items():
        parameters = ", ".join(f"{key}={_default_in_words(each)}" for key, each in row.parameters.items())
        output = f" ({row.output} outputs only)" if getattr(row, "output", None) else ""
        rows.append(f"{name}{f' ({parameters})' if parameters else ''}: {row.formula}{output}")
    return rows


def documented(thing):
    """Decorator: replace the line ``|activations|``, ``|losses|`` or the like in a docstring by a list."""
    all_tables = {"activations": ACTIVATIONS, "losses": LOSSES, "initialisers": INITIALISERS, "metrics": METRICS}
    for name, table in all_tables.items():
        if thing.__doc__ and f"|{name}|" in thing.__doc__:
            line = thing.__doc__[: thing.__doc__.index(f"|{name}|")].rpartition("\n")[2]
            items = [textwrap.fill(f"- {row}", 92, subsequent_indent=f"{line}  ") for row in in_words(table)]
            thing.__doc__ = thing.__doc__.replace(f"|{name}|", f"\n{line}".join(items))
    return thing


def spec(value, table, argument):
    """Return `value`, a name or ``(name, {parameter: value})``, as a :class:`Spec` of `table`."""
    if isinstance(value, str):
        name, given = value, {}
    elif isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], str):
        name, given = value
    else:
        # A function, or another library's activation object: its name may lead to a suggestion.
        called = "None" if value is None else hints.name_of(value)
        told = hints.did_you_mean(called, table)
        raise TypeError(f"{argument} must be a name or (name, {{parameter: value}}), got {value!r:.80}{told}")
    if name not in table:
        told = hints.did_you_mean(name, table)
        raise ValueError(f"{argument}: no {name!r} here{told or ';'} choose one of {', '.join(table)}")
    params = default(name, table).params
    if not isinstance(given, dict):
        such = f" such as {params!r}" if params else ""
        raise TypeError(f"{argument}: the parameters of {name!r} must be a dict{such}, got {given!r:.80}")
    for key, number in given.items():
        if key not in params:
            known = hints.did_you_mean(str(key), params) or f" (it has: {', '.join(params) or 'none'})"
            raise ValueError(f"{argument}: {name!r} has no parameter {key!r}{known}")
        if isinstance(table[name].parameters[key], Levels):
            params[key] = _checked_levels(number, f"{argument}: {name}'s {key}")
            continue
        _, low, high, smallest = table[name].parameters[key]
        try:
            params[key] = real_parameter(number, f"{argument}: {name}'s {key}", low, high)
        except TypeError as error:
            raise TypeError(f"{error}{hints.with_value(name, key, number)}") from None
        if 0 < abs(params[key]) < smallest:
            least = "1" if smallest == 1 else f"at least {smallest:g}, the smallest normal float32"
            wanted = f"0, or {least}"
            raise ValueError(f"{argument}: {name}'s {key} must be {wanted}, got {number!r}")
    return Spec(name, params)


def _checked_levels(value, what):
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.ndim == 1):
        raise TypeError(
            f"{what} must be a list of a number for each output, such as [0.1, 0.5, 0.9], got {value!r:.80}"
        )
    found = tuple(real_parameter(q, f"{what}[{i}]") for i, q in enumerate(value))
    for i, q in enumerate(found):
        if not float(np.finfo(np.float32).tiny) <= q < 1:
            raise ValueError(f"{what}[{i}] must be above 0 and below 1, got {q!r}")
    if not found:
        raise ValueError(f"{what} must hold a number for each output, got none")
    return found


def check_outputs(loss, n_out, argument):
    """Refuse a loss for a number of outputs that it cannot have; `argument` names the loss in errors."""
    given = loss.params.get("levels")
    if given is not None and len(given) != n_out:
        raise ValueError(f"{argument}: {loss.name}'s levels has {len(given)}, wanted one for each output ({n_out})")
    if loss_row(loss.name).targets == "means" and n_out % 2:
        wanted = "an even number: the means, then as many log-variances"
        outputs = "1 output" if n_out == 1 else f"{n_out} outputs"
        raise ValueError(f"{argument}: {loss.name} has {outputs}, wanted {wanted}")


def real_parameter(value, what, low=0.0, high=_LARGEST):
    """Return `value` as a float from `low` to `high`, both finite; `what` names it in errors."""
    # float() would accept bool and strings, but they are hardly meant as numbers.
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
        told = ", the largest float32" if high > 1e38 else ""
        raise ValueError(f"{what} must be at most {high:g}{told}, got {value!r}")
    return number


def network_specs(sizes, activations, loss):
    """Fill in the default activations and loss of a network, and refuse combinations that are not allowed.

    Parameters
    ----------
    sizes : tuple of int
        n_0 .. n_L, checked already.
    activations : sequence of specifications, or None
        One for each of the L layers. None: relu in hidden layers; the output activation follows
        from the loss, or without a loss from the number of outputs.
    loss : specification, OwnLoss or None
        None: it follows from the output activation.

    Returns
    -------
    (tuple of Spec, Spec or OwnLoss)
        The activations and the loss.
    """
    layers = len(sizes) - 1
    if loss is not None and not isinstance(loss, OwnLoss):
        loss = spec(loss, LOSSES, "loss")
    if activations is None:
        if loss is None:
            output = "sigmoid" if sizes[-1] == 1 else "softmax"
        else:
            output = loss_row(loss.name).output or "identity"
        activations = ["relu"] * (layers - 1) + [output]
    elif isinstance(activations, (str, bytes)) or not hasattr(activations, "__len__"):
        output = (loss_row(loss.name).output or "identity") if loss else "sigmoid" if sizes[-1] == 1 else "softmax"
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
    wanted = loss_row(loss.name).output
    if wanted not in (None, output):
        article = "an" if wanted[0] in "aeiou" else "a"
        raise ValueError(f"loss {loss.name!r} needs {article} {wanted} output, got {output!r} as the last activation")
    check_outputs(loss, sizes[-1], "loss")
    if output == "softmax" and sizes[-1] < 2:
        raise ValueError(
            "activations: softmax over one unit is 1 for every input and cannot learn; use sigmoid, or 2 units"
        )
    return activations, loss
