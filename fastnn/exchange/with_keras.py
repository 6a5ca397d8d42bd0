"""to_keras and from_keras: a network as keras.Sequential, and back."""

import numpy as np

from .. import norms
from ..settings import check_flag
from . import plain_layers
from .plain_layers import foreign

# Keras's names of functions without parameters, or with the parameter that they have there by default.
_FUNCTIONS = {
    "linear": "identity",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softmax": "softmax",
    "leaky_relu": ("leaky_relu", {"slope": 0.2}),
    "elu": ("elu", {"alpha": 1.0}),
    "selu": "selu",
    "gelu": ("gelu", {"approximate": 0.0}),
    "silu": "silu",
    "softplus": "softplus",
}
_SMALLEST_SCALE = 1e-7  # of Keras's Normalization


def to_keras(net, logits=False):
    """A Keras model that computes what the network predicts, of rows: (m, n_0) gives (m, n_L).

    Parameters
    ----------
    net : Network
        Or a fitted estimator that has one.
    logits : bool
        True: without the softmax or sigmoid at the output, for losses with ``from_logits=True``.

    Returns
    -------
    keras.Sequential
        With copies of the weights, in the network's dtype; not compiled. Layers that are frozen are not trainable.
        Standardisation is folded into the first and last layer; where a mean is large beside its scale, a
        Normalization layer subtracts the means.

        Keras computes as its backend does: torch's multiplies in float32, whatever the dtype.

    Raises
    ------
    ImportError
        If Keras, or its backend, is not installed.
    ValueError, TypeError
        If an argument is not as described, or for gelu in tanh's form, which Keras has no layer for.

    Examples
    --------
    >>> model = to_keras(Network([4, 4, 3], seed=0, dropout=0.1))
    >>> [type(layer).__name__ for layer in model.layers]
    ['Dense', 'Dropout', 'Dense']
    """
    keras = foreign("keras", "to_keras")
    check_flag("logits", logits)
    plain = plain_layers.of_network(net, "to_keras")
    if logits:
        plain = plain_layers.without_output(plain)
    centre, plain = plain_layers.centred(plain)
    plain = plain.in_dtype(plain.dtype)
    made = []  # (Keras's layer, its arrays)
    if centre is not None:
        one = np.ones_like(centre)
        made.append((keras.layers.Normalization(mean=centre, variance=one, dtype=plain.dtype.name), None))
    for i, layer in enumerate(plain.layers, start=1):
        made += _layers(keras.layers, i, layer, plain.dtype.name)
    inputs = keras.Input((plain.sizes[0],), dtype=plain.dtype.name)
    model = keras.Sequential([inputs, *(layer for layer, _ in made)])
    for layer, arrays in made:
        if arrays is not None:
            layer.set_weights(arrays)
    return model


def _layers(layers, i, layer, dtype):
    """Keras's layers of one of ours, each with its arrays."""
    activation, made = _activation(layers, i, *layer.activation, dtype), []
    common = {"dtype": dtype, "trainable": layer.is_trainable}
    inside = activation if isinstance(activation, str) and not layer.norm else None
    made.append((layers.Dense(len(layer.b), activation=inside, **common), [layer.W.T, layer.b]))
    if layer.norm:
        kind = layers.LayerNormalization
        if layer.norm.kind == "batch":
            kind, common["momentum"] = layers.BatchNormalization, 1 - norms.MOMENTUM
        arrays = [T for T in layer.norm[1:] if T is not None]
        made.append((kind(epsilon=norms.EPS, **common), arrays))
    if inside is None and activation != "linear":
        made.append((layers.Activation(activation, dtype=dtype) if isinstance(activation, str) else activation, None))
    if layer.dropout:
        made.append((layers.Dropout(layer.dropout, dtype=dtype), None))
    return made


def _activation(layers, i, name, params, dtype):
    """Keras's name of a function, or a layer for one with parameters."""
    if name == "leaky_relu":
        return layers.LeakyReLU(negative_slope=params["slope"], dtype=dtype)
    if name == "elu" and params["alpha"] != 1:
        return layers.ELU(params["alpha"], dtype=dtype)
    if name == "gelu" and params["approximate"]:
        raise ValueError(f"layer {i} is gelu in tanh's form, which Keras has no layer for")
    theirs = {spec if isinstance(spec, str) else spec[0]: key for key, spec in _FUNCTIONS.items()}
    return plain_layers.known(theirs, name, "to_keras")


def from_keras(model, loss=None):
    """The Network of a Keras model.

    Parameters
    ----------
    model : keras.Sequential, or keras.Model of inputs and outputs
        Dense layers, each followed by BatchNormalization or LayerNormalization, an activation and Dropout, or by some
        of these, in this order; Flatten, Rescaling and Normalization before the first; nested models anywhere. In a
        functional model each takes what the one before it gives, and nothing else.
    loss : str, (str, dict) or callable, optional
        As for :class:`fastnn.Network`. If the model ends in a layer without activation and the loss needs softmax or
        sigmoid outputs, the network has them: it predicts probabilities where the model gives logits.

    Returns
    -------
    Network
        With copies of the weights, in float64 if a weight is, else in float32. It predicts what the model gives in
        inference. Layers that are not trainable are frozen. Normalization becomes the network's standardisation.
        Norms keep their function, not their momentum.

    Raises
    ------
    ImportError
        If Keras, or its backend, is not installed.
    ValueError, TypeError
        For a part that a Network cannot have; the message names it.

    Examples
    --------
    >>> net = from_keras(to_keras(Network([4, 4, 3], ["elu", "softmax"], seed=0)))
    >>> net.sizes, net.activations
    ((4, 4, 3), (('elu', {'alpha': 1.0}), 'softmax'))
    """
    keras = foreign("keras", "from_keras")
    if not _is_read(keras, model):
        told = ""
        if isinstance(model, keras.Model):
            told = ": if it only calls its layers in turn, write from_keras(keras.Sequential(model.layers))"
        elif isinstance(model, str):
            told = ": read a file with keras.models.load_model"
        wanted = "a keras.Sequential or a keras.Model of inputs and outputs"
        raise TypeError(f"model must be {wanted}, got {type(model).__name__}{told}")
    reader = plain_layers.Reader("the Keras model")
    _read_layers(keras, reader, model)
    return plain_layers.to_network(reader.result(), loss)


def _is_read(keras, model):
    """Whether it is a model without a `call` of its own."""
    kind = type(model)
    is_functional = kind.__name__ == "Functional" and kind.__module__.partition(".")[0] == "keras"
    return isinstance(model, keras.Model) and (kind is keras.Sequential or is_functional)


def _name(layer):
    return f"layer {layer.name!r:.80} ({type(layer).__name__})"


def _in_turn(keras, reader, model):
    """The layers in the order in which they are called, also operations that are none, such as keras.ops.relu."""
    if type(model) is keras.Sequential:
        return model.layers
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        counts = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        reader.refuse(f"model {model.name!r:.80}", f"it has {counts}, wanted one of each")
    found, tensor = [], model.outputs[0]
    while tensor is not model.inputs[0]:
        layer, place, _ = tensor._keras_history
        node = layer._inbound_nodes[place]
        found.append(layer)
        if len(node.input_tensors) != 1:
            reader.refuse(_name(layer), f"it takes {len(node.input_tensors)} tensors, wanted one")
        tensor = node.input_tensors[0]
        given = *node.arguments.args, *node.arguments.kwargs.values()
        if any(value is not tensor and value is not None and value is not False for value in given):
            reader.refuse(_name(layer), "it is called with more than a tensor")
    return found[::-1]


def _read_layers(keras, reader, model):
    readers = {getattr(keras.layers, kind): read for kind, read in _READ.items()}
    for layer in _in_turn(keras, reader, model):
        name = _name(layer)
        if _is_read(keras, layer):
            _read_layers(keras, reader, layer)
            continue
        read = readers.get(type(layer))  # a subclass may compute something else
        if read is None:
            reader.refuse(name, "there is no such layer in fastnn")
        if not layer.built:
            reader.refuse(name, "it has no weights yet: build the model, or call it")
        read(keras, reader, name, layer)


def _array(keras, T):
    return None if T is None else keras.ops.convert_to_numpy(T)


# --- one function for each of Keras's layers ----------------------------------------------------------------------


def _dense(keras, reader, name, layer):
    bias = _array(keras, layer.bias) if layer.use_bias else None
    reader.linear(name, _array(keras, layer.kernel).T, bias, is_trainable=layer.trainable)
    _function(keras, reader, name, layer)


def _function(keras, reader, name, layer):
    """The activation of a Dense or Activation layer."""
    for theirs, spec in _FUNCTIONS.items():
        if layer.activation is keras.activations.get(theirs):
            if spec != "identity":
                reader.activation(name, spec)
            return
    reader.refuse(
        name, f"its activation {getattr(layer.activation, '__name__', layer.activation)!r:.80} is none of ours"
    )


def _batch_norm(keras, reader, name, layer):
    if layer.axis not in (1, -1):
        reader.refuse(name, "it is not of the units of a sample")
    numbers = (layer.gamma if layer.scale else None, layer.beta if layer.center else None)
    numbers += (layer.moving_mean, layer.moving_variance)
    reader.norm(name, "batch", *(_array(keras, T) for T in numbers), layer.epsilon)


def _layer_norm(keras, reader, name, layer):
    axis = layer.axis if isinstance(layer.axis, int) else tuple(layer.axis)
    if axis not in (1, -1, (1,), (-1,)) or getattr(layer, "rms_scaling", False):
        reader.refuse(name, "it is not layer norm over the units of a sample")
    gamma, beta = (
        _array(keras, T) for T in (layer.gamma if layer.scale else None, layer.beta if layer.center else None)
    )
    reader.norm(name, "layer", gamma, beta, eps=layer.epsilon)


def _normalization(keras, reader, name, layer):
    if layer.invert:
        reader.refuse(name, "it is the inverse")
    variance = _array(keras, layer.variance).astype(np.float64)
    reader.standardise(name, _array(keras, layer.mean), np.maximum(np.sqrt(variance), _SMALLEST_SCALE))


def _rescaling(keras, reader, name, layer):
    scale, offset = np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
    if not (scale > 0).all():
        reader.refuse(name, f"its scale {layer.scale} is not above 0")
    reader.standardise(name, -offset / scale, 1 / scale)


def _flatten(keras, reader, name, layer):
    if layer.data_format == "channels_first" and len(layer.input.shape) > 3:
        reader.refuse(name, "it moves the channels first: do so with the samples, and give them as rows")
    reader.flatten(name)


def _relu(keras, reader, name, layer):
    if layer.max_value is not None or layer.threshold:
        reader.refuse(name, "it has a greatest value or a threshold")
    slope = float(layer.negative_slope)
    reader.activation(name, ("leaky_relu", {"slope": slope}) if slope else "relu")


def _softmax(keras, reader, name, layer):
    if layer.axis not in (1, -1):
        reader.refuse(name, f"its axis is {layer.axis}, wanted -1, the units of a sample")
    reader.activation(name, "softmax")


_READ = {
    "Dense": _dense,
    "Activation": _function,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "ReLU": _relu,
    "Softmax": _softmax,
    "LeakyReLU": lambda _, reader, name, layer: reader.activation(
        name, ("leaky_relu", {"slope": float(layer.negative_slope)})
    ),
    "ELU": lambda _, reader, name, layer: reader.activation(name, ("elu", {"alpha": float(layer.alpha)})),
    "Dropout": lambda _, reader, name, layer: reader.dropout(name, layer.rate),
    "Flatten": _flatten,
    "Identity": lambda *_: None,
    "InputLayer": lambda *_: None,
}
