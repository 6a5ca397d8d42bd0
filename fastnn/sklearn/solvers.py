"""The two ways to train an estimator's network: fit, epoch after epoch, and SciPy's L-BFGS-B."""

import warnings

import numpy as np
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning

from .. import terms
from . import specs, stream
from .epochs import Watch

_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class Data:
    """The samples of one call.

    Attributes
    ----------
    X : ndarray or sparse, (m, n_features)
    y : ndarray
        Values, or codes of classes.
    weights : ndarray or None
        Weights of samples, without those of their classes.
    trained : ndarray or None
        With them.
    """

    def __init__(self, X, y, weights, trained):
        self.X, self.y, self.weights, self.trained = X, y, weights, trained

    def at(self, places):
        """Those samples, copied."""
        return Data(*(None if T is None else T[places] for T in (self.X, self.y, self.weights, self.trained)))


def by_epochs(estimator, net, task, data, validation, record, random_state, epochs):
    """Train by mini-batches; return whether it ended before `epochs`."""
    count, places = data.X.shape[0], None
    if estimator.early_stopping and validation is None:
        places, kept_back = stream.split(random_state, count, estimator.validation_fraction, task.strata(data.y))
        validation, count = data.at(kept_back), len(places)
    dtype = net.dtype
    if estimator.standardize and net.standardisation is None:
        some = data if places is None else data.at(places)
        net.adapt(some.X.T, *_targets_to_adapt(net, task, some))
    if net.standardisation is not None:
        dtype = np.dtype(np.float64)  # the precision in which targets are centred
    orders = None
    if estimator.shuffle and estimator.init == "sklearn":
        all_places = np.arange(count, dtype=np.uint32) if places is None else places
        orders = terms.Orders(random_state, all_places, net.epochs_done)
    weights = data.trained
    chosen = weights if weights is None or places is None else weights[places]
    on = terms.Terms(
        estimator.alpha * terms.scaled(chosen), task.factor, task.reported_factor, estimator.optimizer is None, orders
    )
    if estimator.learning_rate == "constant":
        record.pace = 1.0
    on.set_pace(record.pace)
    score = _score_of(net, task, validation) if estimator.early_stopping else None
    constant = task.constant(data.y if places is None else data.y[places], chosen)
    watch = Watch(estimator, record, on, net, count, constant, score)
    estimator._optimizer = specs.optimizer(estimator, getattr(estimator, "_optimizer", None))
    history = None
    try:
        history = on.fit(
            net,
            data.X.T,
            task.targets(data.y, dtype),
            epochs,
            _batch_size(estimator, count),
            estimator._optimizer,
            bool(estimator.shuffle),
            sample_weight=weights,
            callbacks=[watch, *_callbacks(estimator)],
            samples=places,
            validation=_of_network(task, validation, dtype) if estimator._is_validated else None,
        )
    except KeyboardInterrupt as error:
        history = getattr(error, "history", None)
        warnings.warn("Training interrupted by user.", stacklevel=4)
    except FloatingPointError as error:
        if watch.best.state is None:
            raise ValueError(f"{_NOT_FINITE} ({error})") from error
        history = error.history
        watch.diverged()
        warnings.warn(f"{error}. The weights of the best epoch are kept.", ConvergenceWarning, stacklevel=4)
    watch.best.restore(net._trainable)
    if estimator._is_validated and history is not None:
        curve = [loss * task.reported_factor + task.constant(validation.y, validation.weights) for loss in history.val_loss]
        record.validation_loss_curve = (record.validation_loss_curve or []) + curve
    return record.epochs < epochs or watch.is_stopped


def _targets_to_adapt(net, task, data):
    """The targets that are standardised, too: of a loss and an output for which that is possible."""
    is_possible = task.output == "identity" and task.out_activation == "identity"
    return (task.targets(data.y, np.dtype(np.float64)),) if is_possible else ()


def _of_network(task, data, dtype):
    found = data.X.T, task.targets(data.y, dtype)
    return found if data.weights is None else (*found, data.weights)


def _score_of(net, task, validation):
    """A function that returns the score of the validation data."""
    X = validation.X.T
    return lambda: task.score(net.predict(X), validation.y, validation.weights)


def _callbacks(estimator):
    given = estimator.callbacks
    return given if isinstance(given, (list, tuple)) else [] if given is None else [given]


def _batch_size(estimator, count):
    wanted = estimator.batch_size
    if isinstance(wanted, str):
        return min(200, count)
    if wanted > count:
        warnings.warn(
            f"batch_size is {wanted}, and there are {count} samples to train on: all of them are one batch",
            stacklevel=5,
        )
    return min(int(wanted), count)


class _Objective:
    """Mean loss and penalty, and their gradient, as a function of all parameters of a network; in float64.

    The loss of several targets is their sum, whose gradient this is, while the loss that is reported is scikit-learn's,
    their mean.
    """

    def __init__(self, net, task, data, alpha):
        self.net, self.factor = net, task.factor
        self.data = data.X.T, task.targets(data.y, np.dtype(np.float64)), data.trained
        weight = data.X.shape[0] if data.trained is None else data.trained.sum()
        parameters = [np.full(T.shape, not i) for layer in net.parameters for i, T in enumerate(layer)]
        self.decay = np.concatenate([T.ravel() for T in parameters]) * (alpha / weight)

    def __call__(self, v):
        loss, gradient = self.net.loss_and_gradient(v, *self.data)
        return self.factor * loss + self.penalty(v), self.factor * gradient + self.decay * v

    def penalty(self, v):
        """alpha / 2 times the squares of all W, over the weight of the samples."""
        return float(self.decay @ (v * v)) / 2


def by_lbfgs(estimator, net, task, data):
    """Minimise over all samples with L-BFGS-B; return the number of iterations, and the loss."""
    if estimator.standardize and net.standardisation is None:
        net.adapt(data.X.T, *_targets_to_adapt(net, task, data))
    twin = net._in_float64()
    objective = _Objective(twin, task, data, estimator.alpha)
    start, constant = np.float64(net.flat_parameters), task.constant(data.y, data.trained)
    share = task.reported_factor / task.factor

    def told(v, loss):
        penalty = objective.penalty(v)
        return (loss - penalty) * share + penalty + constant

    def tell(intermediate_result):
        tell.count += 1
        print(f"Iteration {tell.count}, loss = {told(intermediate_result.x, intermediate_result.fun):.8f}")

    tell.count = 0
    limits = {"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol}
    found = optimize.minimize(
        objective, start, method="L-BFGS-B", jac=True, options=limits, callback=tell if estimator.verbose else None
    )
    if not (np.isfinite(found.x).all() and np.isfinite(found.fun)):
        raise ValueError(_NOT_FINITE)
    net.set_flat_parameters(found.x)
    count = min(found.nit, estimator.max_iter)
    if found.status:
        warnings.warn(
            f"lbfgs ended after {count} iterations and {found.nfev} function calls before it converged "
            f"({found.message}). Allow more by max_iter or max_fun, or scale the data.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return count, told(found.x, found.fun)
