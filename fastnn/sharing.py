"""Functions for authors of other packages: C header, addresses of C functions, predictors in C, aligned arrays."""

import math
import os
from typing import NamedTuple

import numpy as np

from . import arrays
from .backend import default as _backend
from .backend import reason as _reason

_LINE = 64  # bytes of a cache line, and of the widest vector


def get_include():
    """Directory of ``fastnn.h``, the only C header, which declares kernels, predictors and networks.

    Returns
    -------
    str
        For ``include_dirs`` of an extension. Nothing needs to be linked: ``fastnn_import()`` finds
        the functions at run time.

    Examples
    --------
    >>> os.path.exists(os.path.join(get_include(), "fastnn.h"))
    True
    """
    here = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(here, "include")
    # In a source tree (an editable install) the header is in csrc/.
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(here), "csrc")


def c_function(name):
    """Address of a C function of ``fastnn.h``, for ctypes, cffi or numba.

    Parameters
    ----------
    name : str
        Name of the function in the header, with or without ``fnn_``.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If there is no such function.
    RuntimeError
        If the compiled backend did not load.

    Examples
    --------
    >>> import ctypes
    >>> best = ctypes.CFUNCTYPE(ctypes.c_int)(c_function("fnn_isa_best"))  # doctest: +SKIP
    """
    address = _compiled().c_function(name.removeprefix("fnn_"))
    if address is None:
        raise ValueError(f"name: no {name!r} in fastnn.h")
    return address


class PredictorHandle(NamedTuple):
    """Address, sizes and dtype of a predictor, for calls from C."""

    address: int  # of the fnn_net, for fnn_net_predict
    n_in: int
    n_out: int
    dtype: np.dtype
    predictor: object  # keeps the fnn_net alive


def predictor_handle(predictor):
    """Address, sizes and dtype of a predictor, for calls from C, ctypes or numba in any number of threads.

    Parameters
    ----------
    predictor : callable
        The result of :meth:`Network.predictor`.

    Returns
    -------
    PredictorHandle
        (address, n_in, n_out, dtype, predictor). The address is that of an ``fnn_net`` for
        ``fnn_net_predict``, valid for as long as the handle or the predictor lives.

    Raises
    ------
    TypeError
        If `predictor` is not a predictor of the compiled backend.
    RuntimeError
        If the compiled backend did not load.
    """
    return PredictorHandle(*_compiled().predictor_address(predictor), predictor)


def _compiled():
    if _backend.NAME != "compiled":
        raise RuntimeError(f"the compiled backend is not in use: {_reason}")
    return _backend


def empty(shape, dtype="float32", order="F"):
    """An uninitialised array on a 64-byte boundary, which JAX and others accept without a copy.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : dtype
        float32 or float64.
    order : {"F", "C"}
        "F" stores the units of a sample next to each other, as results of ``fastnn.kernels`` do.

    Returns
    -------
    ndarray
        NumPy frees its memory, as for any array.

    Raises
    ------
    TypeError, ValueError
        If the shape, the dtype or the order is none of these.

    Examples
    --------
    >>> A = empty((10, 256))
    >>> A.ctypes.data % 64
    0
    """
    shape = shape if isinstance(shape, (tuple, list)) else (shape,)
    shape = tuple(arrays.whole_number(n, "shape", 0) for n in shape)
    dtype = np.dtype(dtype)
    if dtype not in arrays.FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {dtype}")
    if order not in ("F", "C"):
        raise ValueError(f"order must be 'F' or 'C', got {order!r}")
    room = np.empty(math.prod(shape) * dtype.itemsize + _LINE, np.uint8)
    return np.ndarray(shape, dtype, room, -room.ctypes.data % _LINE, order=order)
