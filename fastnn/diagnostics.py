"""What ``fit(diagnostics=True)`` records: whether each layer learns."""

import numpy as np

GRADIENT_NORM, UPDATE_NORM, WEIGHT_NORM, QUIET_UNITS = range(4)  # columns of what an engine measures
NAMES = ("gradient_norm", "update_ratio", "dead_units", "saturated_units")


def room(layers):
    """Where an engine stores the four numbers of each layer; NaN until it does."""
    return np.full((layers, 4), np.nan)


def record(history, measured, activations):
    """Add the numbers of an epoch's last step to the history.

    Parameters
    ----------
    history : History
    measured : ndarray, (layers, 4)
    activations : sequence of str
        The names, one for each layer.
    """
    if history.diagnostics is None:
        history.diagnostics = {name: [] for name in NAMES}
    nan, quiet = float("nan"), measured[:, QUIET_UNITS].tolist()
    with np.errstate(all="ignore"):
        ratio = measured[:, UPDATE_NORM] / measured[:, WEIGHT_NORM]
    is_relu = [name == "relu" for name in activations]
    for name, numbers in zip(
        NAMES,
        (
            measured[:, GRADIENT_NORM].tolist(),
            ratio.tolist(),
            [share if relu else nan for share, relu in zip(quiet, is_relu, strict=True)],
            [nan if relu else share for share, relu in zip(quiet, is_relu, strict=True)],
        ),
        strict=True,
    ):
        history.diagnostics[name].append(numbers)
