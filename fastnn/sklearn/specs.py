"""From an estimator's parameters to those of a Network and of its optimizer."""

import copy
import numbers

from .. import tables
from ..network import Network
from ..optimizers import SGD, Adam, AdamW, check_optimizer
from . import parameters, stream

_OURS = {"logistic": "sigmoid"}  # scikit-learn's names of activations that have another one here


def is_sklearn(init):
    """Whether the starting weights, and then the orders, are scikit-learn's."""
    return isinstance(init, str) and init == "sklearn"


def _hidden_sizes(estimator):
    given = estimator.hidden_layer_sizes
    sizes = list(given) if hasattr(given, "__iter__") else [given]
    if not all(isinstance(size, numbers.Integral) and not isinstance(size, bool) for size in sizes):
        raise TypeError(f"hidden_layer_sizes must be one integer or some, got {given!r:.80}")
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return sizes


def _activation(value, name):
    value = _OURS.get(value, value) if isinstance(value, str) else value
    return tables.spec(value, tables.ACTIVATIONS, name)


def _hidden_activations(estimator, layers):
    """A Spec for each of the hidden layers."""
    given = estimator.activation
    if isinstance(given, tuple) and all(isinstance(value, (str, tuple)) for value in given):
        raise TypeError(f"activation must be a list where each hidden layer has its own: write {list(given)}")
    if not isinstance(given, list):
        return [_activation(given, "activation")] * layers
    if len(given) != layers:
        raise ValueError(f"activation has {len(given)} entries, wanted {layers}: one for each hidden layer")
    return [_activation(value, f"activation[{i}]") for i, value in enumerate(given)]


def _before_output(estimator, g):
    """The activation that says the factor of the output layer's weights; in scikit-learn also if no layer has it."""
    if g or isinstance(estimator.activation, list):
        return g[-1] if g else tables.IDENTITY
    return _activation(estimator.activation, "activation")


def network(estimator, n_features, task, dtype, random_state):
    """A new network for `task`, Labels or Values, with its starting weights."""
    hidden = _hidden_sizes(estimator)
    g = _hidden_activations(estimator, len(hidden))
    sizes, init = [n_features, *hidden, task.units], estimator.init
    if is_sklearn(init):
        names = [each.name for each in (*g, _before_output(estimator, g))]
        layers, init = stream.starting_parameters(random_state, sizes, names), "zeros"
    elif isinstance(init, str) and init not in tables.INITIALISERS:
        raise ValueError(f"init: no {init!r} here; choose sklearn or one of {', '.join(tables.INITIALISERS)}")
    net = Network(
        sizes,
        [*(each.public() for each in g), task.output],
        task.loss,
        init,
        dtype,
        stream.seed_of(estimator, random_state),
        threads=estimator.threads,
        dropout=estimator.dropout,
        norm=estimator.norm,
    )
    if is_sklearn(estimator.init):
        of_norms = [layer[2:] for layer in net.parameters]  # gamma is 1 and beta 0
        net.set_parameters([(*layer, *rest) for layer, rest in zip(layers, of_norms, strict=True)])
    return net


def _each(given, layers):
    """A parameter that is one value for all hidden layers, or a list, as a list."""
    is_one = given is None or isinstance(given, str) or not hasattr(given, "__len__")
    return [given] * layers if is_one else list(given)


def refuse_another_network(estimator, net, task):
    """ValueError if parameters that make the network have changed since it was made."""
    hidden, layers = _hidden_sizes(estimator), len(net.sizes) - 2
    wanted = {
        "hidden_layer_sizes": ([net.sizes[0], *hidden, task.units], list(net.sizes)),
        "activation": ([g.public() for g in _hidden_activations(estimator, len(hidden))], list(net.activations[:-1])),
        "dropout": (_each(estimator.dropout, layers), list(net.dropout)),
        "norm": (_each(estimator.norm, layers), list(net.norm)),
        "standardize": (bool(estimator.standardize), net.standardisation is not None),
        "threads": (estimator.threads, net._threads),
    }
    for name, (now, then) in wanted.items():
        if now != then:
            raise ValueError(
                f"{name} gives {now} now, and it was {then} when the network was made, which warm_start and "
                "partial_fit go on with: fit with warm_start=False makes another one"
            )


def optimizer(estimator, old):
    """The optimizer that the parameters ask for: the object `old` itself if its state can go on, else another one."""
    new = _optimizer(estimator)
    if type(old) is type(new) and old.key() == new.key():
        old.__setstate__(new.__getstate__())  # settings whose change starts no new state, such as lr
        return old
    return new


def _optimizer(estimator):
    if estimator.optimizer is not None:
        return _given_optimizer(estimator)
    lr = float(estimator.learning_rate_init)
    if estimator.solver == "sgd":
        momentum = float(estimator.momentum)
        return SGD(lr, momentum, bool(estimator.nesterovs_momentum and momentum))
    return Adam(lr, (float(estimator.beta_1), float(estimator.beta_2)), float(estimator.epsilon))


def _given_optimizer(estimator):
    found = copy.copy(check_optimizer(estimator.optimizer))
    if estimator.alpha and (found.weight_decay or isinstance(found, AdamW)):
        raise ValueError(f"optimizer={found!r} has a weight decay beside alpha={estimator.alpha:g}: set alpha=0")
    if estimator.learning_rate != "constant":
        raise ValueError(
            f"learning_rate={estimator.learning_rate!r} is for solver='sgd'; the optimizer's lr may be a schedule"
        )
    for name, value in parameters.changed(estimator, parameters.OF_SOLVERS):
        raise ValueError(f"{name}={value!r} has no effect beside optimizer={found!r}, which has settings of its own")
    return found
