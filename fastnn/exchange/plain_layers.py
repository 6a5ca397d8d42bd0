"""A network as plain layers: what all foreign formats are written from and read into, and what can travel at all.

A network is standardisation, then for each layer W and b, a norm, an activation and dropout. The loss does not travel:
outputs are those of `predict`.
"""

import copy
import importlib
from typing import NamedTuple

import numpy as np

from .. import arrays, norms, tables
from ..network import Network
from ..standardisation import Standardisation

# A mean that is this many times the scale costs a folded layer no more than a few roundings.
_MOST_SCALES = 2.0


class Norm(NamedTuple):
    """A norm as `norms.py` defines it; mean and var, of batch norm, are None for layer norm. All are (n_out,)."""

    kind: str
    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray | None = None
    var: np.ndarray | None = None

    def in_dtype(self, dtype, i):
        """The same with numbers of that dtype, for layer i; ValueError for one that would overflow."""
        named = {name: T for name, T in self._asdict().items() if isinstance(T, np.ndarray)}
        return self._replace(**{name: cast(T, dtype, f"{name} of layer {i}") for name, T in named.items()})


class Layer(NamedTuple):
    """A layer: Z = W A_prev + b with W (n_out, n_in) and b (n_out,), then norm, activation, dropout."""

    W: np.ndarray
    b: np.ndarray
    activation: tables.Spec
    norm: Norm | None = None
    dropout: float = 0.0
    is_trainable: bool = True


class PlainLayers(NamedTuple):
    """A network: its dtype, its layers, and what the standardised input is: (X - x_mean) / x_scale."""

    dtype: np.dtype
    layers: list
    x_mean: np.ndarray | None = None  # (n_0,) float64, as x_scale
    x_scale: np.ndarray | None = None

    @property
    def sizes(self):
        """Units per layer, the input first."""
        return [self.layers[0].W.shape[1], *(len(layer.b) for layer in self.layers)]

    def in_dtype(self, dtype):
        """The same with numbers of that dtype; ValueError for one that would overflow."""
        dtype = np.dtype(dtype)
        layers = [
            layer._replace(
                W=cast(layer.W, dtype, f"W of layer {i}"),
                b=cast(layer.b, dtype, f"b of layer {i}"),
                norm=layer.norm and layer.norm.in_dtype(dtype, i),
            )
            for i, layer in enumerate(self.layers, start=1)
        ]
        return self._replace(dtype=dtype, layers=layers)


# --- from and to a Network ------------------------------------------------------------------------------------------


def of_network(net, function, *, may_be_exp=False):
    """The plain layers of a Network, or of a fitted estimator that has one; `function` is named in errors.

    The standardisation of targets is folded into the last layer, whose activation is then the identity. `may_be_exp`:
    the caller adds the exp that is missing where `predicts_exp`.
    """
    if predicts_exp(net) and not may_be_exp:
        raise ValueError(
            f"{type(net).__name__} predicts exp of what its network gives, with loss='poisson', and {function} has no "
            "exp: give it the estimator's network_, and take exp of the outputs, which are logarithms of rates"
        )
    given, net = net, getattr(net, "network_", net)
    if not isinstance(net, Network):
        raise TypeError(
            f"{function} takes a fastnn.Network, or a fitted estimator that has one, got {given!r:.80}"
            f"{_what_to_write(given, function)}"
        )
    net = copy.copy(net)  # one state, whatever another thread trains meanwhile
    activations = [tables.spec(g, tables.ACTIVATIONS, "activations") for g in net.activations]
    each = (net.parameters, activations, net.running_statistics, (*net.norm, None), (*net.dropout, 0.0), net.trainable)
    layers = []
    for (W, b, *more), g, running, kind, rate, trainable in zip(*each, strict=True):
        norm = kind and Norm(kind, *(T.ravel() for T in (*more, *(running or ()))))
        layers.append(Layer(W, b.ravel(), g, norm, rate, trainable))
    if net.standardisation is None:
        return PlainLayers(net.dtype, layers)
    loss = net.loss_name if isinstance(net.loss_name, str) else net.loss_name[0]
    x_mean, x_scale, _, _, a_scale, a_shift = net.standardisation.of_engine(loss, net.sizes[-1])
    if a_scale is not None:
        W, b = layers[-1].W.astype(np.float64), layers[-1].b.astype(np.float64)
        layers[-1] = layers[-1]._replace(W=a_scale[:, np.newaxis] * W, b=a_scale * b + a_shift)
    return PlainLayers(net.dtype, layers, x_mean, x_scale)


def predicts_exp(net):
    """Whether it is an estimator whose predictions are exp of its network's outputs."""
    return hasattr(net, "network_") and getattr(net, "out_activation_", None) == "exp"


def _what_to_write(model, function):
    """The advice of an error about a model that holds, or may become, a network."""
    if hasattr(model, "best_estimator_"):
        return ": write model.best_estimator_"
    if hasattr(model, "steps"):
        return (
            ": write model[-1], whose network does not contain the steps before it; "
            "fastnn's estimators scale by themselves with standardize=True, and that travels"
        )
    if hasattr(model, "coefs_") and hasattr(model, "out_activation_"):  # scikit-learn's
        return f": write {function}(from_sklearn(model))"
    if type(model).__name__ == "TabularModel":
        return ": write model.network, whose X is model.encode(table)"
    if any(kind.__module__.startswith("fastnn.sklearn.") for kind in type(model).__mro__):
        return ", which has none before it is fitted"
    return ""


def to_network(plain, loss=None):
    """A Network of plain layers, whose standardisation is that of `adapt`.

    Where the loss needs an output activation, and the last layer has none, its outputs are taken for logits.
    """
    plain = plain.in_dtype(plain.dtype)
    if loss is not None and not callable(loss) and plain.layers[-1].activation == tables.IDENTITY:
        output = tables.loss_row(tables.spec(loss, tables.LOSSES, "loss").name).output
        last = plain.layers[-1]._replace(activation=tables.default(output or "identity", tables.ACTIVATIONS))
        plain = plain._replace(layers=[*plain.layers[:-1], last])
    net = Network(
        plain.sizes,
        [layer.activation.public() for layer in plain.layers],
        loss,
        "zeros",
        plain.dtype,
        dropout=[layer.dropout for layer in plain.layers[:-1]] or 0.0,
        norm=[layer.norm and layer.norm.kind for layer in plain.layers[:-1]] or None,
    )
    net.set_parameters([(layer.W, layer.b, *(layer.norm[1:3] if layer.norm else ())) for layer in plain.layers])
    net.set_running_statistics(
        [layer.norm[3:] if layer.norm and layer.norm.kind == "batch" else None for layer in plain.layers]
    )
    net.trainable = [layer.is_trainable for layer in plain.layers]
    if plain.x_mean is None:
        return net
    # adapt measures data; what was measured elsewhere comes in as the state of a copy does, which is checked.
    found = Standardisation(plain.x_mean[:, np.newaxis], plain.x_scale[:, np.newaxis], None, None)
    net.__setstate__({**net.__getstate__(), "standardisation": found})
    return net


def without_output(plain):
    """The same without the softmax or sigmoid at the output: its outputs are logits."""
    last = plain.layers[-1]
    if last.activation.name not in ("softmax", "sigmoid"):
        raise ValueError(f"logits leaves out a softmax or sigmoid at the output, which is {last.activation.name} here")
    return plain._replace(layers=[*plain.layers[:-1], last._replace(activation=tables.IDENTITY)])


def known(table, name, form):
    """The entry of an activation in a format's table; ValueError if the format does not have it."""
    if name not in table:
        raise ValueError(f"{form} has no {name}, or fastnn.exchange does not know it yet; it has {', '.join(table)}")
    return table[name]


# --- what a format needs that has no norms, or no standardisation -----------------------------------------------------


def without_batch_norm(plain):
    """The same in evaluation mode, with each batch norm folded into W and b."""
    return plain._replace(layers=[_folded(layer) for layer in plain.layers])


def _folded(layer):
    if layer.norm is None or layer.norm.kind != "batch":
        return layer
    columns = [T[:, np.newaxis] for T in (layer.b, *layer.norm[1:])]
    W, b = norms.folded((layer.W, *columns[:3]), columns[3:])
    return layer._replace(W=W, b=b.ravel(), norm=None)


def centred(plain, has_centre=None):
    """Standardisation as a vector that is subtracted from x, and W and b that do the rest.

    Returns
    -------
    centre : ndarray (n_0,) of the network's dtype, or None
        None where no mean is large beside its scale: b does it all. Otherwise W x + b would subtract large numbers,
        which the centre does without a rounding. `has_centre` says it instead.
    plain : PlainLayers
        Without standardisation.
    """
    if plain.x_mean is None:
        return None, plain
    if has_centre is None:
        has_centre = (np.abs(plain.x_mean) > _MOST_SCALES * plain.x_scale).any()
    centre = cast(plain.x_mean, plain.dtype, "x_mean of standardisation") if has_centre else np.zeros(1)
    W, b = (T.astype(np.float64) for T in plain.layers[0][:2])
    b = b - W @ ((plain.x_mean - centre) / plain.x_scale)
    first = plain.layers[0]._replace(W=W / scale_within(plain), b=b)
    plain = plain._replace(layers=[first, *plain.layers[1:]], x_mean=None, x_scale=None)
    return (centre if has_centre else None), plain


def scale_within(plain):
    """x_scale; ValueError if W / x_scale, or x / x_scale, may be no normal number of the dtype."""
    limit = np.finfo(plain.dtype).max ** 0.75
    odd = np.flatnonzero((plain.x_scale > limit) | (plain.x_scale < 1 / limit))
    if len(odd):
        raise ValueError(
            f"feature {odd[0]} is standardised with the scale {plain.x_scale[odd[0]]:.3g}, with which {plain.dtype} "
            f"cannot compute outside fastnn; wanted {1 / limit:.0e} to {limit:.0e}: use another unit"
        )
    return plain.x_scale


def cast(T, dtype, what):
    """T in a dtype; ValueError if a number is finite only in the wider one."""
    with np.errstate(all="ignore"):
        cast = T.astype(dtype, order="C")  # a copy, in one layout: BLAS rounds differently in another one
    if T.dtype != dtype and (np.isinf(cast) & np.isfinite(T)).any():
        raise ValueError(f"{what} has numbers that {dtype} cannot hold")
    return cast


# --- reading ----------------------------------------------------------------------------------------------------------


class Reader:
    """Takes the parts of a foreign network in their order and makes plain layers of them.

    `name` is what an error calls the part: it says where the network cannot be one of ours.

    Parameters
    ----------
    kind : str
        What the parts come from, such as "the ONNX model".
    """

    def __init__(self, kind):
        self._kind, self._layers, self._has_activation, self._input = kind, [], True, None

    def refuse(self, name, why):
        """Raise the ValueError that this part cannot be read."""
        raise ValueError(f"{name} of {self._kind} cannot become part of a fastnn.Network: {why}")

    def standardise(self, name, mean, scale):
        """(x - mean) / scale, before the first layer; `mean` and `scale` are of n_0 features, or of all.

        A second call goes on with the first one's numbers.
        """
        if self._layers:
            self.refuse(name, "numbers are subtracted or divided before the first layer alone")
        mean, scale = (np.asarray(T, np.float64) for T in (mean, scale))
        if any(T.size > 1 and T.shape[-1] != T.size for T in (mean, scale)):
            self.refuse(name, f"its numbers have the shape {max(mean.shape, scale.shape, key=len)}, wanted (n_0,)")
        mean, scale = mean.ravel(), scale.ravel()
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
            self.refuse(name, "its numbers must be finite, and scales above 0")
        if self._input is not None:
            _, before, by = self._input
            if len({T.size for T in (mean, scale, before, by)} - {1}) > 1:
                self.refuse(
                    name, f"it has {max(mean.size, scale.size)} numbers, and what comes before it another count"
                )
            mean, scale = before + by * mean, by * scale
        self._input = name, mean, scale

    def linear(self, name, W, b=None, *, is_trainable=True):
        """Z = W A_prev + b with W (n_out, n_in); without b it is 0."""
        W = self._array(name, "W", W)
        if W.ndim != 2 or not W.size:
            self.refuse(name, f"W has shape {W.shape}, wanted (n_out, n_in)")
        b = np.zeros(len(W), W.dtype) if b is None else self._array(name, "b", b)
        if b.size != len(W) or b.ndim > 2:
            self.refuse(name, f"b has shape {b.shape}, wanted (n_out,) for W {W.shape}")
        n_prev = len(self._layers[-1].b) if self._layers else W.shape[1]
        if W.shape[1] != n_prev:
            self.refuse(name, f"it takes {W.shape[1]} numbers, and the layer before it gives {n_prev}")
        self._layers.append(Layer(W, b.ravel(), tables.IDENTITY, is_trainable=is_trainable))
        self._has_activation = False

    def flatten(self, name, columns=None, of_input=None):
        """A change of shape that does nothing to samples that are rows: before the first layer, or to its columns.

        `of_input` is how many numbers a sample has, if that is known.
        """
        if not self._layers and None not in (columns, of_input) and columns != of_input:
            self.refuse(name, f"it makes rows of {columns} numbers, and a sample has {of_input}")
        if self._layers and columns != len(self._layers[-1].b):
            self.refuse(name, f"it comes after a layer with weights, of {len(self._layers[-1].b)} units")

    def norm(self, name, kind, gamma, beta, mean=None, var=None, eps=norms.EPS):
        """A norm after a linear part, before its activation; None for gamma and beta means 1 and 0.

        Another eps is made ours by other numbers with the same result in evaluation mode: var + eps stays the same,
        and layer norm does not see a factor on Z and on the root of eps.
        """
        layer = self._open_layer(name, "a norm")
        if layer.norm is not None:
            self.refuse(name, "the layer has a norm already")
        n = len(layer.b)
        given = (gamma if gamma is not None else np.ones(n), beta if beta is not None else np.zeros(n), mean, var)
        given = [T if T is None else self._array(name, "a parameter", T).ravel() for T in given]
        if any(T is not None and len(T) != n for T in given) or (kind == "batch" and given[3] is None):
            self.refuse(name, f"it must have its numbers for each of the {n} units before it")
        if not 0 < eps < np.inf:
            self.refuse(name, f"its eps is {eps}")
        if kind == "batch":
            if not (given[3].astype(np.float64) + eps >= norms.EPS).all():
                self.refuse(name, f"a variance is negative, or with its eps of {eps:g} below {norms.EPS:g}")
            if eps != norms.EPS:
                given[3] = given[3].astype(np.float64) + (eps - norms.EPS)
        elif eps != norms.EPS:
            factor = (norms.EPS / eps) ** 0.5
            layer = layer._replace(W=layer.W * factor, b=layer.b * factor)
        self._layers[-1] = layer._replace(norm=Norm(kind, *given))

    def activation(self, name, spec):
        """An activation, a name or (name, parameters), after a linear part or a norm."""
        layer = self._open_layer(name, "an activation")
        try:
            spec = tables.spec(spec, tables.ACTIVATIONS, "activation")
        except (TypeError, ValueError) as error:
            self.refuse(name, str(error))
        self._layers[-1], self._has_activation = layer._replace(activation=spec), True

    def dropout(self, name, rate):
        """Dropout after a layer's activation."""
        if not rate:
            return
        if not self._layers or self._layers[-1].dropout:
            self.refuse(name, "dropout is at most once after each hidden layer")
        if not 0 < rate < 1:
            self.refuse(name, f"its rate is {rate}, wanted a share below 1")
        self._layers[-1], self._has_activation = self._layers[-1]._replace(dropout=float(rate)), True

    def result(self, dtype=None):
        """The plain layers; their dtype is float64 if that of a weight is."""
        if not self._layers:
            raise ValueError(f"{self._kind} has no layer with weights")
        last = _folded(self._layers[-1])
        if last.norm is not None:
            raise ValueError(f"{self._kind} has layer norm after its output layer; a fastnn.Network cannot have that")
        if last.dropout:
            raise ValueError(f"{self._kind} has dropout after its output layer; a fastnn.Network cannot have that")
        layers = [*self._layers[:-1], last]
        if dtype is None:
            dtype = np.result_type(np.float32, *(layer.W.dtype for layer in self._layers))
        n, mean, scale = layers[0].W.shape[1], None, None
        if self._input:
            name, mean, scale = self._input
            if mean.size not in (1, n) or scale.size not in (1, n):
                self.refuse(name, f"it has {mean.size} means and {scale.size} scales, the first layer {n} inputs")
            mean, scale = np.broadcast_to(mean, n).copy(), np.broadcast_to(scale, n).copy()
        return PlainLayers(np.dtype(dtype), layers, mean, scale)

    def _open_layer(self, name, what):
        if not self._layers:
            self.refuse(name, f"{what} comes after a layer with weights")
        if self._has_activation:
            self.refuse(name, f"{what} comes before the layer's activation and dropout, and a layer has one of each")
        return self._layers[-1]

    def _array(self, name, what, T):
        T = np.asarray(T)
        if T.dtype == np.float16:
            T = T.astype(np.float32)
        if T.dtype not in arrays.FLOATS:
            self.refuse(name, f"{what} holds {T.dtype}, wanted real numbers")
        return T


# --- the other packages -----------------------------------------------------------------------------------------------


def foreign(package, function):
    """Import a package that is optional; ImportError that names the function and the package.

    By its name in a string: tools that freeze programs would take torch into each of them otherwise.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        top = package.partition(".")[0]
        if error.name != top:
            raise
        name = {"sklearn": "scikit-learn"}.get(top, top)
        raise ImportError(f"{function} needs the package {name}: pip install {name}") from None
