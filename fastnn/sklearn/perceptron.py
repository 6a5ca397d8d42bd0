"""What the two estimators share: fit and partial_fit, and the attributes of a fitted one."""

from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from ..cautions import caution
from . import inputs, lbfgs, parameters, specs
from .data import Data
from .epochs import Epochs, standardise
from .record import Record

_FEATURES = "n_features_in_", "feature_names_in_"  # attributes
_OF_EPOCHS = "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_", "validation_loss_curve_"


class _Snapshots(list):
    """A list of read-only arrays; to change a weight, the whole list is assigned."""

    def __init__(self, name, arrays):
        super().__init__(arrays)
        self._name = name

    def __setitem__(self, *_):
        raise TypeError(f"{self._name} is a snapshot: change a copy, and assign it: estimator.{self._name} = ...")

    def __reduce__(self):
        return list, (list(self),)


def _check_shapes(name, given, wanted):
    """ValueError if `given` are not arrays of one of the shapes that are `wanted` for each layer."""
    if len(given) != len(wanted):
        raise ValueError(f"{name} must be a list of {len(wanted)} arrays, one for each layer, got {len(given)}")
    for i, (array, shapes) in enumerate(zip(given, wanted, strict=True)):
        if np.shape(array) not in shapes:
            raise ValueError(f"{name}[{i}] has shape {np.shape(array)}, wanted {shapes[0]}")


class Perceptron(BaseEstimator):
    """A multilayer perceptron as an estimator; the base of the two classes."""

    _parameter_constraints: ClassVar = parameters.CONSTRAINTS

    def _keep(self, given):
        """Set the parameters of a constructor, which its locals() are."""
        for name in given.keys() - {"self", "__class__"}:
            setattr(self, name, given[name])

    # --- training ---------------------------------------------------------------------------------

    def _fit(self, X, y, sample_weight, validation_data, incremental, classes=None):
        parameters.check(self)
        features = {name: vars(self)[name] for name in _FEATURES if name in vars(self)}
        try:
            return self._train(X, y, sample_weight, validation_data, incremental, classes)
        except BaseException:
            for name in _FEATURES:  # the check of X has set them
                vars(self).pop(name, None)
            vars(self).update(features)
            raise

    def _train(self, X, y, sample_weight, validation_data, incremental, classes):
        goes_on = "network_" in vars(self) and (self.warm_start or incremental)
        self._refuse_combinations(incremental, validation_data)
        X, y = self._checked(X, y, is_first=not goes_on)
        task, targets = self._task_of(y, goes_on, incremental, classes)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        data = Data(X, targets, weights, self._weights_to_train(task, y, targets, weights, incremental))
        validation = None if validation_data is None else self._validation(validation_data, task)
        random_state = check_random_state(self.random_state)
        if goes_on:
            net, record = self.network_, self._record
            specs.refuse_another_network(self, net, task)
        else:
            net, record = specs.network(self, X.shape[1], task, X.dtype, random_state), Record(self.early_stopping)
        optimizer = specs.optimizer(self, self._optimizer if goes_on else None)
        record.begin(self.early_stopping)
        if self.solver == "lbfgs":
            self._standardise(net, task, data, None)
            self._take(net, task, record, optimizer, lbfgs.minimise(self, net, task, data))
            return self
        training = Epochs(self, net, task, record, data, validation, random_state, optimizer)
        self._standardise(net, task, data, training.places)
        try:
            ended = training.run(1 if incremental else self.max_iter)
        except BaseException:
            if goes_on and record.epochs:  # the network has gone on, and so have the attributes
                self._take(net, task, record, optimizer)
            raise
        self._take(net, task, record, optimizer)
        if not ended and not incremental:
            caution(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
            )
        return self

    def _standardise(self, net, task, data, places):
        """At the first fit: let the network measure the samples at these places (None: all)."""
        if self.standardize and net.standardisation is None:
            standardise(net, task, data.at(places))

    def _refuse_combinations(self, incremental, validation_data):
        """ValueError for parameters that would be without effect."""
        if self.solver == "lbfgs":
            norms = self.norm if isinstance(self.norm, (list, tuple)) else [self.norm]
            without = {
                "optimizer": self.optimizer is not None,
                "dropout": bool(np.any(self.dropout)),
                "norm='batch'": "batch" in norms,
                "callbacks": bool(self.callbacks),
                "validation_data": validation_data is not None,
            }
            for name, is_given in without.items():
                if is_given:
                    raise ValueError(f"{name} has no effect with solver='lbfgs': use solver='adam' or 'sgd'")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")

    def _checked(self, X, y, is_first):
        """X and y, checked; of one target y is (m,)."""
        return inputs.of_training(self, X, y, is_first, self._is_numeric)

    def _weights_to_train(self, task, y, targets, weights, incremental):
        return weights

    def _validation(self, given, task):
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise TypeError(f"validation_data must be (X, y) or (X, y, sample_weight), got {type(given).__name__}")
        X, y, *weights = given
        X, y = self._checked(X, y, is_first=False)
        weights = _check_sample_weight(weights[0], X, dtype=np.float64) if weights else None
        return Data(X, self._known(task, y), weights, weights)

    def _take(self, net, task, record, optimizer, of_lbfgs=None):
        """Set the attributes of a fitted estimator; `of_lbfgs`: its number of iterations, and the loss."""
        self.network_, self._task, self._record, self._optimizer = net, task, record, optimizer
        self.n_layers_, self.n_outputs_, self.out_activation_ = len(net.sizes), net.sizes[-1], task.out_activation
        self.t_ = record.seen
        for name in _OF_EPOCHS:
            vars(self).pop(name, None)
        if of_lbfgs:
            self.n_iter_, self.loss_ = of_lbfgs
            return
        self.n_iter_, self._no_improvement_count = record.epochs, record.no_improvement
        self.loss_curve_ = record.loss_curve
        if record.loss_curve:
            self.loss_ = record.loss_curve[-1]
        by_scores = self.early_stopping
        self.best_loss_ = None if by_scores else record.best_loss
        self.validation_scores_ = record.validation_scores if by_scores else None
        self.best_validation_score_ = record.best_score if by_scores else None
        if record.validation_loss_curve:
            self.validation_loss_curve_ = record.validation_loss_curve

    # --- predictions ------------------------------------------------------------------------------

    def _outputs(self, X):
        """A[L] of the network, (n_L, m)."""
        X = inputs.of_prediction(self, X)
        return self.network_.predict(X.T)

    # --- attributes -------------------------------------------------------------------------------

    @property
    def coefs_(self):
        """For each layer the weights (n_in, n_out): snapshots; assign a list to change them."""
        return _Snapshots("coefs_", [layer[0].T for layer in self._network().parameters])

    @coefs_.setter
    def coefs_(self, coefs):
        layers, coefs = self._network("coefs_").parameters, list(coefs)
        _check_shapes("coefs_", coefs, [[layer[0].T.shape] for layer in layers])
        self.network_.set_parameters([(np.asarray(W).T, *rest) for W, (_, *rest) in zip(coefs, layers, strict=True)])

    @property
    def intercepts_(self):
        """For each layer the biases (n_out,): snapshots; assign a list to change them."""
        return _Snapshots("intercepts_", [layer[1].ravel() for layer in self._network().parameters])

    @intercepts_.setter
    def intercepts_(self, intercepts):
        layers, intercepts = self._network("intercepts_").parameters, list(intercepts)
        _check_shapes("intercepts_", intercepts, [[layer[1].shape[:1], layer[1].shape] for layer in layers])
        self.network_.set_parameters([(W, b, *rest) for b, (W, _, *rest) in zip(intercepts, layers, strict=True)])

    def _network(self, assigned=None):
        net = self.__dict__.get("network_")
        if net is None:
            told = f": {assigned} cannot be assigned before" if assigned else ""
            raise AttributeError(f"this {type(self).__name__} is not fitted yet{told}")
        return net

    # --- what scikit-learn asks -------------------------------------------------------------------

    def _is_stochastic(self):
        """Whether there is a partial_fit; scikit-learn expects an AttributeError if not."""
        if self.solver not in parameters.BY_EPOCHS:
            raise AttributeError(f"partial_fit needs solver='sgd' or 'adam', not {self.solver!r}")
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
