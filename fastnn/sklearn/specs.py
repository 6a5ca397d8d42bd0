"""From an estimator's parameters to those of a Network and of its optimizer."""

import copy

import numpy as np

from .. import tables
from ..network import Network
from ..optimizers import SGD, Adam, AdamW, check_optimizer
from . import stream

_OURS = {"logistic": "sigmoid"}  # scikit-learn's names of activations that have another one here


def hidden_sizes(estimator):
    """Units of the hidden layers, a list."""
    given = estimator.hidden_layer_sizes
    sizes = list(given) if hasattr(given, "__iter__") else [given]
    if np.any(np.array(sizes) <= 0):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return sizes


def hidden_activations(estimator, layers):
    """A Spec for each of the hidden layers."""
    given = estimator.activation
    each = list(given) if isinstance(given, list) else [given] * layers
    names = [f"activation[{i}]" if isinstance(given, list) else "activation" for i in range(len(each))]
    if len(each) != layers:
        raise ValueError(f"activation has {len(each)} entries, wanted {layers}: one for each hidden layer")
    each = [_OURS.get(name, name) if isinstance(name, str) else name for name in each]
    found = [tables.spec(value, tables.ACTIVATIONS, name) for value, name in zip(each, names, strict=True)]
    if not layers and not isinstance(given, list):
        tables.spec(_OURS.get(given, given) if isinstance(given, str) else given, tables.ACTIVATIONS, "activation")
    return found


def network(estimator, n_features, task, dtype, random_state):
    """A new network for `task`, Labels or Values, with its starting weights."""
    sizes = hidden_sizes(estimator)
    hidden = hidden_activations(estimator, len(sizes))
    sizes = [n_features, *sizes, task.units]
    activations = [*(each.public() for each in hidden), task.output]
    is_sklearn = isinstance(estimator.init, str) and estimator.init == "sklearn"
    layers = stream.starting_parameters(random_state, sizes, [g.name for g in hidden]) if is_sklearn else None
    seed = stream.seed_of(estimator.random_state, random_state)
    rest = {"threads": estimator.threads, "dropout": estimator.dropout, "norm": estimator.norm}
    net = Network(sizes, activations, task.loss, "zeros" if is_sklearn else estimator.init, dtype, seed, **rest)
    if is_sklearn:
        of_norms = [layer[2:] for layer in net.parameters]
        net.set_parameters([(*layer, *rest) for layer, rest in zip(layers, of_norms, strict=True)])
    return net


def refuse_another_network(estimator, net, task):
    """ValueError if parameters that make the network have changed since it was made: a warm start keeps it."""
    sizes = hidden_sizes(estimator)
    activations = [*(g.public() for g in hidden_activations(estimator, len(sizes))), task.output]
    wanted = {"hidden_layer_sizes": [net.sizes[0], *sizes, task.units], "activation": activations}
    found = {"hidden_layer_sizes": list(net.sizes), "activation": list(net.activations)}
    layers = len(sizes)
    for name in ("dropout", "norm"):
        given = getattr(estimator, name)
        is_one = given is None or isinstance(given, str) or not hasattr(given, "__len__")
        wanted[name] = [given] * layers if is_one else list(given)
        found[name] = list(getattr(net, name))
    wanted["dropout"] = [float(rate or 0.0) for rate in wanted["dropout"]]
    for name, value in wanted.items():
        if value != found[name]:
            raise ValueError(
                f"{name} is {value} now and was {found[name]} when the network was made: fit with warm_start=False"
            )


def optimizer(estimator, old):
    """The optimizer that the parameters ask for; it is the object `old` if its state can go on."""
    new = _optimizer(estimator)
    if type(old) is type(new) and old.key() == new.key():
        old.__setstate__(new.__getstate__())  # settings whose change starts no new state, such as lr
        return old
    return new


def _optimizer(estimator):
    if estimator.optimizer is not None:
        found = copy.copy(check_optimizer(estimator.optimizer))
        if estimator.alpha and (found.weight_decay or isinstance(found, AdamW)):
            raise ValueError(f"{found!r} has a weight decay of its own beside alpha={estimator.alpha:g}: set alpha=0")
        if estimator.learning_rate != "constant":
            raise ValueError(
                f"learning_rate={estimator.learning_rate!r} is for solver='sgd'; an optimizer's lr may be a schedule"
            )
        return found
    if estimator.solver == "sgd":
        momentum = float(estimator.momentum)
        return SGD(estimator.learning_rate_init, momentum, bool(estimator.nesterovs_momentum and momentum))
    betas = float(estimator.beta_1), float(estimator.beta_2)
    return Adam(float(estimator.learning_rate_init), betas, float(estimator.epsilon))
