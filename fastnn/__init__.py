"""fastnn: multilayer perceptrons on the CPU. Columns are samples."""

from . import hints, kernels, schedules
from ._version import __version__
from .cautions import DataWarning
from .history import History
from .information import info
from .network import Network, load
from .optimizers import SGD, Adagrad, Adam, AdamW, NAdam, RMSprop
from .sharing import c_function, empty, get_include, predictor_handle
from .stopping import EarlyStopping
from .threads import get_threads, set_threads

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "DataWarning",
    "EarlyStopping",
    "History",
    "NAdam",
    "Network",
    "RMSprop",
    "__version__",
    "c_function",
    "empty",
    "get_include",
    "get_threads",
    "info",
    "kernels",
    "load",
    "predictor_handle",
    "schedules",
    "set_threads",
]

# Imported at first use, because their own imports take time.
_WHEN_ASKED_FOR = ("callbacks", "datasets", "exchange", "plots", "tabular")


def __getattr__(name):
    # Statements, not a name that is put together: tools that freeze programs read them.
    if name == "callbacks":
        import fastnn.callbacks as module
    elif name == "datasets":
        import fastnn.datasets as module
    elif name == "exchange":
        import fastnn.exchange as module
    elif name == "plots":
        import fastnn.plots as module
    elif name == "tabular":
        import fastnn.tabular as module
    elif name == "sklearn":  # not in dir(): without scikit-learn it cannot be imported
        import fastnn.sklearn as module
    else:
        told = hints.in_module(name) or hints.did_you_mean(name, [*__all__, *_WHEN_ASKED_FOR])
        raise AttributeError(f"module {__name__!r} has no {name!r}{told}")
    return module


def __dir__():
    return [*globals(), *_WHEN_ASKED_FOR]
