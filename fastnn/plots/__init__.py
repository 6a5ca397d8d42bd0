"""Pictures of training, networks and predictions, drawn with matplotlib, which is optional.

Each function draws in the Axes that it is given as ``ax``, or in a new figure, and returns its Axes, or an array of
them where it draws several panels. It closes and shows nothing, and changes no setting of matplotlib. Texts take the
colours of the Axes, so that a picture can be read in light and in dark styles.
"""

from .. import hints
from .classification import calibration, confusion_matrix, decision_boundary
from .networks import activation_histograms, gradient_histograms, network_diagram, weights_as_images
from .regression import regression_fit
from .training import gradient_norms, loss_curve

__all__ = [
    "activation_histograms",
    "calibration",
    "confusion_matrix",
    "decision_boundary",
    "gradient_histograms",
    "gradient_norms",
    "loss_curve",
    "network_diagram",
    "regression_fit",
    "weights_as_images",
]


def __getattr__(name):
    raise AttributeError(f"module {__name__!r} has no {name!r}{hints.did_you_mean(name, __all__)}")
