"""The rarer arguments of fit: which samples it trains on, with which weights, what it measures, when it stops."""

from . import _philox, class_weights, splits, stopping, tables
from .metrics import check_list
from .settings import check_flag
from .validation import Measures


class Options:
    """Those arguments, checked; the attributes of the class are those of a fit that was given none of them.

    Attributes
    ----------
    samples : ndarray of uint32 or None
        The samples that an epoch visits; None: all.
    kept_back : ndarray of int or None
        The samples that a split keeps for validation.
    measures : Measures or None
    stopper : Stopper or None
    max_seconds : float or None
    diagnoses : bool
    orders, watch : terms.Orders, or None; object with the methods of sklearn.watch.Watch, or None
        For an estimator of :mod:`fastnn.sklearn` the order of the samples in each epoch (None: the network's own), and
        what looks at the losses of epochs.
    """

    samples = kept_back = measures = stopper = max_seconds = orders = watch = None
    diagnoses = False

    def names(self):
        """The name of each number that fit measures, and whether a greater one is better."""
        return {"loss": False} if self.measures is None else self.measures.names()


NONE = Options()


NO_SPLIT = 0.0  # the default of validation_split
_NO_METRICS = ()  # there is one empty tuple


def are_absent(given):
    """Whether the rarer arguments, in the order that :func:`checked` takes them, are their defaults.

    By identity, because some may be arrays, and because it is quick: another 0.0 than NO_SPLIT is not the default.
    """
    validation_data, class_weight, early_stopping, metrics, max_seconds, samples, validation_split, diagnostics = given
    return (
        validation_data is class_weight is early_stopping is max_seconds is samples is None
        and metrics is _NO_METRICS
        and validation_split is NO_SPLIT
        and diagnostics is False
    )


def checked(trainable, data, y_given, given):
    """Check the rarer arguments.

    Parameters
    ----------
    trainable : Trainable
    data : (ndarray, ndarray, ndarray or None)
        X, targets and weights of samples, checked.
    y_given : object
        The targets as the user gave them.
    given : tuple
        validation_data, class_weight, early_stopping, metrics, max_seconds, samples, validation_split, diagnostics.

    Returns
    -------
    (Options, ndarray or None)
        And the weights of samples with those of their classes.
    """
    validation_data, class_weight, early_stopping, metrics, max_seconds, samples, validation_split, diagnostics = given
    X, y, weights = data
    m, n_out, loss = X.shape[1], trainable.sizes[-1], trainable.loss.name
    options = _of_any_data(diagnostics, max_seconds)
    validation_split = tables.real_parameter(validation_split, "validation_split")
    if validation_data is not None and validation_split:
        raise ValueError("give validation_data or validation_split, not both")
    samples = splits.checked_samples(samples, m)
    row = tables.loss_row(loss)
    by_class = y.ndim == 1 or row.targets == "classes" or (n_out == 1 and row.targets == "probabilities")
    by_class = by_class and not trainable.is_own

    def draw(count):
        return trainable.backend.permutation(count, trainable.seed, _philox.EPOCH_OF_SPLIT)

    options.samples, options.kept_back = splits.split(validation_split, samples, y, m, draw, by_class)
    measures = Measures(trainable, data, y_given, validation_data, metrics, options.samples, options.kept_back)
    options.stopper = stopping.checked(early_stopping, measures.names())
    options.measures = measures if measures else None
    return options, class_weights.applied(class_weight, y, n_out, loss, weights, options.samples)


def _of_any_data(diagnostics, max_seconds):
    """Options with those arguments that mean the same for arrays and for batches."""
    options = Options()
    check_flag("diagnostics", diagnostics)
    options.diagnoses = bool(diagnostics)
    if max_seconds is not None:
        options.max_seconds = tables.real_parameter(max_seconds, "max_seconds")
    return options


def checked_of_batches(trainable, given):
    """Check the rarer arguments of fit(batches), and refuse those that need all data at once.

    Parameters
    ----------
    trainable : Trainable
    given : tuple
        As for :func:`checked`.

    Returns
    -------
    (Options, dict or None)
        And the weights of classes.
    """
    validation_data, class_weight, early_stopping, metrics, max_seconds, samples, validation_split, diagnostics = given
    options = _of_any_data(diagnostics, max_seconds)
    if tables.real_parameter(validation_split, "validation_split"):
        raise ValueError("validation_split needs all data at once, and fit got batches: give validation_data")
    if samples is not None:
        raise ValueError("samples= needs all data at once, and fit got batches: leave the other samples out of these")
    if isinstance(class_weight, str) and class_weight == "balanced":
        raise ValueError('class_weight="balanced" needs all data at once, and fit got batches: give a dict')
    if validation_data is not None:
        options.measures = Measures(trainable, None, None, validation_data, metrics)
    else:
        check_list(metrics)
        if metrics:
            raise ValueError(
                "metrics of the training data need all data at once, and fit got batches: give validation_data"
            )
    names = {"loss": False} if options.measures is None else options.measures.names()
    options.stopper = stopping.checked(early_stopping, names)
    if class_weight is not None:
        class_weight = class_weights.checked(class_weight, trainable.sizes[-1], trainable.loss.name)
    return options, class_weight
