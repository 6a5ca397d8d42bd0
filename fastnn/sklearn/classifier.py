"""MLPClassifier."""

from typing import ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels

from .. import hints
from .labels import Labels
from .parameters import CONSTRAINTS, documented
from .perceptron import Perceptron


@documented
class MLPClassifier(ClassifierMixin, Perceptron):
    """A multilayer perceptron that classifies: scikit-learn's estimator of this name, trained by fastnn.

    Each parameter up to `max_fun` means what it means in scikit-learn 1.9, and has its default; those after it are
    fastnn's.

    Parameters
    ----------
    |parameters|
    |extras|
    class_weight : dict, "balanced" or None
        Weights of the classes, {label: weight}, which multiply those of the samples.

    Attributes
    ----------
    classes_ : ndarray
        The class labels, sorted.
    |attributes|

    Raises
    ------
    ValueError, TypeError
        By fit, for data or parameters that are not valid, and if training diverges.

    Notes
    -----
    For one class a sample the outputs are a softmax, for two classes one sigmoid, for multilabel targets a sigmoid for
    each label. X of float32 gives a network in float32, any other X one in float64. X may be sparse.

    What is different from scikit-learn's class: warm_start keeps the optimizer's state; momentum is below 1; with
    weights of samples the loss of an epoch is the weighted mean over all of them; a training ends as soon as its
    numbers are no longer finite.

    Examples
    --------
    >>> from fastnn import datasets
    >>> from fastnn.sklearn import MLPClassifier
    >>> X, y = datasets.load_digits()
    >>> X, y, X_test, y_test = datasets.shuffled_split(X / 16, y, n_test=360, seed=0)
    >>> model = MLPClassifier((50,), tol=0.01, random_state=0).fit(X.T, y)
    >>> bool(model.score(X_test.T, y_test) > 0.95)
    True
    """

    _parameter_constraints: ClassVar = CONSTRAINTS | {"class_weight": "no_validation"}
    _is_numeric = False

    @hints.explained
    def __init__(
        self,
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
        class_weight=None,
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
        y : array-like, (n_samples,) or (n_samples, n_labels)
            Class labels of any kind; or 0 and 1 for each of several labels.
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
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """One more epoch, over these data.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.
        classes : array-like, (n_classes,)
            All classes that will occur; the first call needs them. For multilabel targets the numbers of the labels.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, None, incremental=True, classes=classes)

    def _task_of(self, y, goes_on, incremental, classes):
        """The Labels, and the codes of y."""
        if not incremental and not goes_on:
            return Labels.of(y)
        if not goes_on:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            task = Labels.of_classes(classes, y)
            return task, task.codes_of(y, is_warm_start=False)
        task = self._task
        if classes is not None and not np.array_equal(unique_labels(classes), task.classes):
            raise ValueError(f"classes={classes!r} is not the same as in the first call, {task.classes!r}")
        return task, task.codes_of(y, is_warm_start=self.warm_start and not incremental)

    def _known(self, task, y):
        return task.codes_of(y, is_warm_start=False, name="validation_data[1]")

    def _weights_to_train(self, task, y, targets, weights, incremental):
        if self.class_weight is None:
            return weights
        if incremental and isinstance(self.class_weight, str):
            raise ValueError('class_weight="balanced" needs all data at once: give partial_fit a dict')
        if isinstance(self.class_weight, dict) and task.kind != "multilabel-indicator":
            # From all classes, because a part of the data may lack some.
            of_classes = compute_class_weight(self.class_weight, classes=task.classes, y=task.classes)[targets]
        else:
            of_classes = compute_sample_weight(self.class_weight, y)
        if not (np.isfinite(of_classes) & (of_classes >= 0)).all():
            raise ValueError(f"class_weight={self.class_weight!r:.200}: weights must be finite and at least 0")
        return of_classes if weights is None else weights * of_classes

    def _take(self, net, task, record, optimizer, of_lbfgs=None):
        super()._take(net, task, record, optimizer, of_lbfgs)
        self.classes_ = task.classes

    def predict(self, X):
        """The class of each sample.

        Parameters
        ----------
        X : array-like or sparse, (n_samples, n_features)

        Returns
        -------
        ndarray, (n_samples,) or (n_samples, n_labels)
            The label with the highest probability, of equal ones the first; of two classes, and of each label, the
            second where its probability is above 0.5.
        """
        A = self._outputs(X)
        return self._task.decoded(A)

    def predict_proba(self, X):
        """The probability of each class.

        Parameters
        ----------
        X : array-like or sparse, (n_samples, n_features)

        Returns
        -------
        ndarray, (n_samples, n_classes)
            In the order of `classes_`, of the network's dtype.
        """
        A = self._outputs(X)
        return self._task.probabilities(A)

    def predict_log_proba(self, X):
        """The logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like or sparse, (n_samples, n_features)

        Returns
        -------
        ndarray, (n_samples, n_classes)
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _more_tags(self):  # before scikit-learn 1.6
        return {"multilabel": True}
