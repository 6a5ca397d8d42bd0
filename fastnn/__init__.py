"""fastnn: multilayer perceptrons on the CPU. Columns are samples."""

from . import kernels
from ._version import __version__
from .information import info
from .network import Network, load
from .optimizers import SGD, Adam, AdamW
from .sharing import c_function, empty, get_include, predictor_handle
from .threads import get_threads, set_threads
from .training import History

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "History",
    "Network",
    "__version__",
    "c_function",
    "empty",
    "get_include",
    "get_threads",
    "info",
    "kernels",
    "load",
    "predictor_handle",
    "set_threads",
]
