"""The parameters that both estimators have: what is legal, and what they mean."""

import functools
from inspect import signature
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions, make_constraint

BY_EPOCHS = ("sgd", "adam")  # solvers
# What an optimizer that is given as an object does not read.
OF_SOLVERS = "solver", "learning_rate_init", "power_t", "momentum", "nesterovs_momentum", "beta_1", "beta_2", "epsilon"
_POSITIVE, _NOT_NEGATIVE = Interval(Real, 0, None, closed="neither"), Interval(Real, 0, None, closed="left")
_COUNT, _SHARE = Interval(Integral, 1, None, closed="left"), Interval(Real, 0, 1, closed="left")

# What scikit-learn checks before fit; the network checks the others.
CONSTRAINTS = {
    "hidden_layer_sizes": ["array-like", _COUNT],
    "activation": "no_validation",
    "solver": [StrOptions({"lbfgs", *BY_EPOCHS})],
    "alpha": [_NOT_NEGATIVE],
    "batch_size": [StrOptions({"auto"}), _COUNT],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [_POSITIVE],
    "power_t": [_NOT_NEGATIVE],
    "max_iter": [_COUNT],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_NOT_NEGATIVE],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [_SHARE],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_SHARE],
    "beta_1": [_SHARE],
    "beta_2": [_SHARE],
    "epsilon": [_POSITIVE],
    "n_iter_no_change": [_COUNT, Options(Real, {np.inf})],
    "max_fun": [_COUNT],
    "init": "no_validation",
    "optimizer": "no_validation",
    "dropout": "no_validation",
    "norm": "no_validation",
    "standardize": ["boolean"],
    "callbacks": "no_validation",
    "threads": "no_validation",
}


@functools.cache
def _made(estimator):
    """The constraints of each parameter of a class, which scikit-learn makes anew for each of its own checks."""
    given = estimator._parameter_constraints.items()
    return [(name, [make_constraint(each) for each in some]) for name, some in given if some != "no_validation"]


def check(estimator):
    """Let scikit-learn raise its error if a parameter is not legal; while all are, it need not be asked."""
    for name, constraints in _made(type(estimator)):
        value = getattr(estimator, name)
        if not any(constraint.is_satisfied_by(value) for constraint in constraints):
            estimator._validate_params()


def changed(estimator, names):
    """Names and values of those parameters that have not their default."""
    defaults = signature(type(estimator)).parameters
    given = [(name, getattr(estimator, name)) for name in names if name in defaults]
    return [(name, value) for name, value in given if value != defaults[name].default]


PARAMETERS = """hidden_layer_sizes : array-like of int, or int
    Units of each hidden layer.
activation : {"identity", "logistic", "tanh", "relu"}, another name, (name, dict), or list
    Of the hidden layers: any activation of :class:`fastnn.Network`. A list has one for each.
solver : {"adam", "sgd", "lbfgs"}
    "lbfgs" is SciPy's L-BFGS-B, on all samples at once, in float64.
alpha : float
    alpha / 2 times the sum of the squares of all weights (not biases), divided by the number of samples in the batch
    (by their weights), is added to the loss.
batch_size : "auto" or int
    Samples of an update; "auto": 200, or all.
learning_rate : {"constant", "invscaling", "adaptive"}
    Of "sgd". "invscaling": learning_rate_init / (t + 1)**power_t after each epoch, where t counts the samples so far.
    "adaptive": divided by 5 instead of each end of the training by `tol`, until it is 1e-6.
learning_rate_init : float
    The learning rate, at the start.
power_t : float
    For learning_rate="invscaling".
max_iter : int
    Epochs; with "lbfgs" iterations.
shuffle : bool
    Whether each epoch has a new order of the samples.
random_state : int, RandomState instance or None
    For the starting weights, the split and the orders, in scikit-learn's sequence.
tol, n_iter_no_change : float, int
    Training ends when more than `n_iter_no_change` epochs in a row did not improve the best loss (with early_stopping
    the best score) by `tol`. With "lbfgs" `tol` is the largest derivative at the end.
verbose : bool or int
    Whether to print the loss of each epoch.
warm_start : bool
    Whether fit goes on with the weights, and with the optimizer's state.
momentum, nesterovs_momentum : float, bool
    Of "sgd".
early_stopping, validation_fraction : bool, float
    Whether to keep a share of the samples (of two classes each its share), or `validation_data` of fit, and to go back
    to the weights with the best score on them: accuracy or R^2. With warm_start to the best ones of this call.
beta_1, beta_2, epsilon : float
    Of "adam".
max_fun : int
    Most evaluations of "lbfgs"."""

EXTRAS = """init : str or (str, dict)
    "sklearn": scikit-learn's starting weights and biases, and its order of the samples; or an initialiser of
    :class:`fastnn.Network`, with fastnn's order.
optimizer : SGD, Adam, AdamW, NAdam, RMSprop or Adagrad, optional
    One of fastnn's, with all of its settings and schedules, instead of `solver` and all parameters that are for one.
dropout : float or sequence of float
    As for :class:`fastnn.Network`.
norm : {None, "layer", "batch"} or sequence of them
    As for :class:`fastnn.Network`.
standardize : bool
    Whether the network measures X (and real targets) at its first fit, and scales them: :meth:`fastnn.Network.adapt`.
callbacks : callable or sequence of callables
    Called as ``callback(epoch, history)`` after each epoch, as :meth:`fastnn.Network.fit` does; True ends training.
threads : int, optional
    As for :class:`fastnn.Network`."""

ATTRIBUTES = """network_ : fastnn.Network
    The fitted network; its columns are samples.
coefs_, intercepts_ : list of ndarray
    For each layer (n_in, n_out) and (n_out,): snapshots of the network's. To change them, assign a list.
loss_, best_loss_, loss_curve_ : float, float, list of float
    The loss of the last epoch, the least one (None with early_stopping), and that of each epoch.
validation_scores_, best_validation_score_ : list of float, float
    With early_stopping; else None.
validation_loss_curve_ : list of float
    With `validation_data` its loss after each epoch, without the penalty.
n_iter_, t_ : int
    Epochs of the last call (with "lbfgs" iterations); samples seen in all.
n_layers_, n_outputs_ : int
    Layers with the input; units of the output layer.
out_activation_ : str
    "logistic", "softmax", "identity", or "exp" for loss="poisson".
n_features_in_, feature_names_in_ : int, ndarray of str
    Of the X of the first fit."""


def documented(estimator):
    """Decorator: replace ``|parameters|`` and the like in a docstring by the text that both classes share."""
    for name, text in {"parameters": PARAMETERS, "extras": EXTRAS, "attributes": ATTRIBUTES}.items():
        lines = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
        estimator.__doc__ = estimator.__doc__ and estimator.__doc__.replace(f"    |{name}|", lines)
    return estimator
