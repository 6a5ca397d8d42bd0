"""to_sklearn and from_sklearn: a network as scikit-learn's own MLPClassifier or MLPRegressor, and back."""

import numpy as np

from .. import tables
from . import plain_layers
from .plain_layers import foreign

_ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
_OUTPUTS = {"identity": "identity", "logistic": "sigmoid", "softmax": "softmax"}


def to_sklearn(net, classes=None):
    """A fitted estimator of scikit-learn that predicts what the network predicts, of rows.

    Parameters
    ----------
    net : Network
        With one of identity, sigmoid, tanh and relu in all hidden layers, and without layer norm. A softmax or
        sigmoid output makes a classifier, an identity output a regressor. Or a fitted estimator that has one.
    classes : array_like, optional
        The labels of the codes 0, 1, ..., sorted, each once. Default: the classes of an estimator that has some, else
        the codes. Not for several sigmoid outputs.

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor
        With the weights, in float64 if the network standardises. Of two softmax outputs it has one logistic unit,
        with the same probabilities. Batch norm and standardisation are folded in; dropout is left out, and the
        optimizer's state. Outputs are as they are: those of a poisson network are logarithms of rates. Of an estimator
        with loss="poisson" the model predicts rates (scikit-learn 1.7 or later). Where a single probability is 0.5
        exactly, scikit-learn predicts the first class, `predict_classes` the second.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    ValueError, TypeError
        For a part that scikit-learn's MLP cannot have, or classes that do not fit.

    Examples
    --------
    >>> net = Network([4, 4, 3], seed=0)
    >>> mlp = to_sklearn(net, classes=["a", "b", "c"])
    >>> mlp.classes_
    array(['a', 'b', 'c'], dtype='<U1')
    >>> bool(np.allclose(mlp.predict_proba(np.eye(4)), net.predict(np.eye(4)).T))
    True
    """
    neural_network = foreign("sklearn.neural_network", "to_sklearn")
    is_exp = plain_layers.predicts_exp(net)
    plain = plain_layers.without_batch_norm(plain_layers.of_network(net, "to_sklearn", may_be_exp=True))
    if plain.x_mean is not None:
        plain = plain_layers.centred(plain.in_dtype(np.float64), has_centre=False)[1]
    plain = plain.in_dtype(plain.dtype)
    output = plain.layers[-1].activation.name
    if output not in _OUTPUTS.values():
        raise ValueError(f"scikit-learn's MLP has no {output} output; it has {', '.join(_OUTPUTS.values())}")
    if output == "identity":
        if classes is not None:
            raise ValueError("classes are for softmax and sigmoid outputs; the network's output is the identity")
        kind, y = neural_network.MLPRegressor, np.zeros((1, plain.sizes[-1]) if plain.sizes[-1] > 1 else 1)
        more = {}
        if is_exp and "loss" not in kind().get_params():
            raise ValueError("the estimator has loss='poisson', which MLPRegressor has in scikit-learn 1.7 or later")
    else:
        kind = neural_network.MLPClassifier
        if classes is None and hasattr(net, "network_") and not (output == "sigmoid" and plain.sizes[-1] > 1):
            classes = getattr(net, "classes_", None)
        y, more = _first_labels(plain, classes)
        plain = _with_one_of_two(plain)
    settings = {"loss": "poisson"} if is_exp else {}
    settings |= {"hidden_layer_sizes": plain.sizes[1:-1], "activation": _hidden_activation(plain)}
    model = kind(**settings, random_state=0)
    # One sample makes all that a fitted estimator has, whatever the release; then come our weights.
    model.partial_fit(np.zeros((1, plain.sizes[0]), plain.dtype), y, **more)
    model.random_state = None
    model.coefs_ = [np.ascontiguousarray(layer.W.T) for layer in plain.layers]
    model.intercepts_ = [layer.b.copy() for layer in plain.layers]
    del model._optimizer  # partial_fit makes a new one, whose moments are 0
    model.n_iter_, model.t_, model.loss_curve_ = getattr(net, "epochs_done", 0), 0, []
    model.loss_, model.best_loss_, model._no_improvement_count = np.nan, np.inf, 0
    if hasattr(net, "feature_names_in_"):
        model.feature_names_in_ = net.feature_names_in_
    return model


def _first_labels(plain, classes):
    """A label for one sample, and partial_fit's argument."""
    n = plain.sizes[-1]
    if plain.layers[-1].activation.name == "sigmoid" and n > 1:
        if classes is not None:
            raise ValueError("several sigmoid outputs are labels that are yes or no; leave classes out")
        return np.zeros((1, n), np.int64), {"classes": np.arange(n)}
    n = max(n, 2)
    classes = np.arange(n) if classes is None else np.asarray(classes)
    if classes.shape != (n,) or not np.array_equal(np.unique(classes), classes):
        raise ValueError(f"classes must be {n} different labels in their order, got {classes!r:.200}")
    return classes[:1], {"classes": classes}


def _with_one_of_two(plain):
    """One sigmoid instead of two softmax outputs: exp(z1) / (exp(z0) + exp(z1)) = sigmoid(z1 - z0)."""
    last = plain.layers[-1]
    if last.activation.name != "softmax" or len(last.b) != 2:
        return plain
    last = last._replace(W=last.W[1:] - last.W[:1], b=last.b[1:] - last.b[:1])
    last = last._replace(activation=tables.default("sigmoid", tables.ACTIVATIONS))
    return plain._replace(layers=[*plain.layers[:-1], last])


def _hidden_activation(plain):
    """scikit-learn's name of the activation of all hidden layers."""
    theirs = {ours: name for name, ours in _ACTIVATIONS.items()}
    found = {}
    for i, layer in enumerate(plain.layers[:-1], start=1):
        if layer.norm:
            raise ValueError(f"layer {i} has layer norm, which scikit-learn's MLP does not have")
        if layer.activation.name not in theirs:
            raise ValueError(f"layer {i} is {layer.activation.name}; scikit-learn's MLP has {', '.join(theirs)}")
        found[layer.activation.name] = None
    if len(found) > 1:
        raise ValueError(f"hidden layers are {', '.join(found)}; scikit-learn's MLP has one activation for all of them")
    return theirs[next(iter(found), "relu")]


def from_sklearn(model):
    """The Network of a fitted MLPClassifier or MLPRegressor of scikit-learn.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor

    Returns
    -------
    Network
        In the dtype of the estimator's weights. It predicts what ``predict_proba`` or ``predict`` give: samples are
        columns, a binary classifier's output is the probability of its second class, and the classes are the codes
        0, 1, ... in the order of ``model.classes_``.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    ValueError, TypeError
        If the model is another one, is not fitted, or has the loss poisson: its output is exp(z), which no
        activation here is.

    Examples
    --------
    >>> net = from_sklearn(to_sklearn(Network([4, 4, 1], seed=0)))
    >>> net.sizes, net.activations, net.loss_name
    ((4, 4, 1), ('relu', 'sigmoid'), 'binary_cross_entropy')
    """
    neural_network = foreign("sklearn.neural_network", "from_sklearn")
    if not isinstance(model, (neural_network.MLPClassifier, neural_network.MLPRegressor)):
        told = ""
        if hasattr(model, "network_"):
            told = " of fastnn: its network is model.network_"
        elif hasattr(model, "steps"):
            told = ": write from_sklearn(model[-1]), which does not contain the steps before it"
        elif hasattr(model, "best_estimator_"):
            told = ": write from_sklearn(model.best_estimator_)"
        raise TypeError(f"model must be scikit-learn's MLPClassifier or MLPRegressor, got {type(model).__name__}{told}")
    if not hasattr(model, "coefs_"):
        raise ValueError("model is not fitted")
    reader = plain_layers.Reader("the scikit-learn model")
    activations = [_ACTIVATIONS.get(model.activation)] * (len(model.coefs_) - 1) + [_OUTPUTS.get(model.out_activation_)]
    for i, (W, b, name) in enumerate(zip(model.coefs_, model.intercepts_, activations, strict=True), start=1):
        if name is None:
            which = model.out_activation_ if i == len(activations) else model.activation
            reader.refuse(f"layer {i}", f"its activation {which!r} is none of fastnn's")
        reader.linear(f"layer {i}", np.asarray(W).T, b)
        reader.activation(f"layer {i}", name)
    return plain_layers.to_network(reader.result())
