"""MLPRegressor."""

from typing import ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from .. import hints
from .parameters import CONSTRAINTS, documented
from .perceptron import Perceptron
from .values import Values


@documented
class MLPRegressor(RegressorMixin, Perceptron):
    """A multilayer perceptron for regression: scikit-learn's estimator of this name, trained by fastnn.

    Each parameter up to `max_fun` means what it means in scikit-learn 1.9, and has its default; those after it are
    fastnn's.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, another name, or (name, dict)
        "squared_error" and "poisson" are halves of the error and of the deviance, the latter with exp at the output; or
        any loss of :class:`fastnn.Network`. With "quantile" predictions have a column for each level; with
        "gaussian_nll" there is ``predict(X, return_std=True)``.
    |parameters|
    |extras|

    Attributes
    ----------
    |attributes|

    Raises
    ------
    ValueError, TypeError
        By fit, for data or parameters that are not valid, and if training diverges.

    Notes
    -----
    X of float32 gives a network in float32, any other X one in float64. X may be sparse.

    What is different from scikit-learn's class: warm_start keeps the optimizer's state; momentum is below 1; with
    weights of samples the loss of an epoch is the weighted mean over all of them; a training ends as soon as its
    numbers are no longer finite; with several targets "lbfgs" minimises the loss whose gradient it uses, their sum.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, np.newaxis]
    >>> model = MLPRegressor(activation="tanh", solver="lbfgs", random_state=0).fit(X, X.ravel() ** 2)
    >>> model.predict([[0.8]]).round(1)
    array([0.6])
    """

    _parameter_constraints: ClassVar = CONSTRAINTS | {"loss": "no_validation"}
    _is_numeric = True

    @hints.explained
    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        init="sklearn",
        optimizer=None,
        dropout=0.0,
        norm=None,
        standardize=False,
        callbacks=(),
        threads=None,
    ):
        self._keep(locals())

    @hints.explained
    def fit(self, X, y, sample_weight=None, *, validation_data=None):
        """Train on all of the data.

        Parameters
        ----------
        X : array-like or sparse, (n_samples, n_features)
        y : array-like, (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like, (n_samples,), optional
        validation_data : (X, y) or (X, y, sample_weight), optional
            Samples that are not trained on: `validation_loss_curve_` has their loss, and early_stopping uses them.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    @available_if(lambda estimator: estimator._is_stochastic())
    @hints.explained
    def partial_fit(self, X, y, sample_weight=None):
        """One more epoch, over these data.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, None, incremental=True)

    def _task_of(self, y, goes_on, incremental, classes):
        """The Values, and y."""
        task = Values(self.loss, 1 if y.ndim == 1 else y.shape[1])
        if goes_on and (task.spec != self._task.spec or task.count != self._task.count):
            raise ValueError(
                f"the network has the loss {self._task.given!r} of {self._task.count} targets, and now it is "
                f"{self.loss!r} of {task.count}: fit with warm_start=False"
            )
        return task, y

    def _known(self, task, y):
        found = 1 if y.ndim == 1 else y.shape[1]
        if found != task.count:
            raise ValueError(f"validation_data[1] has {found} targets, wanted {task.count}")
        return y

    def predict(self, X, return_std=False):
        """The prediction for each sample.

        Parameters
        ----------
        X : array-like or sparse, (n_samples, n_features)
        return_std : bool
            With loss="gaussian_nll" True: the predicted standard deviations, too.

        Returns
        -------
        ndarray, (n_samples,) or (n_samples, n_targets)
            Of several quantiles a column for each. With `return_std` two arrays.
        """
        A = self._outputs(X)
        if not return_std:
            return self._task.predictions(A)
        if self._task.spec.name != "gaussian_nll":
            raise ValueError(f"return_std=True needs loss='gaussian_nll', and the loss is {self._task.given!r}")
        return self._task.predictions(A), self._task.deviations(A)

    def score(self, X, y, sample_weight=None):
        """R^2 of the predictions; of several quantiles those of the level that is nearest to 0.5.

        Parameters
        ----------
        X : array-like or sparse, (n_samples, n_features)
        y : array-like, (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like, (n_samples,), optional

        Returns
        -------
        float
        """
        found = self.predict(X)
        if self._task.spec.name == "quantile":
            found = self._task.points(np.atleast_2d(found.T))[0]
        return r2_score(y, found, sample_weight=sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _more_tags(self):  # before scikit-learn 1.6
        return {"multioutput": True}
