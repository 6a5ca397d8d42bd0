"""The choice of the backend: compiled if it can be loaded, else NumPy. It is made here, once, at import.

FASTNN_BACKEND=numpy or =compiled selects one; without it the fall-back to NumPy gives one warning. The arguments
`backend` and `threads` of a network are checked here, too.
"""

import os
import warnings

from . import _numpy, arrays

_MOST_THREADS = 256  # a limit, because OpenMP ends the process when it cannot start a thread


def _load_compiled():
    try:
        # The full name, because "from . import" would report a circular import if the file is missing. An import
        # statement, because PyInstaller and similar tools look for one.
        import fastnn._core as core

        return core, ""
    except ImportError as error:
        reason = f"the compiled extension did not load: {error}"
        if os.path.isfile(os.path.join(os.path.dirname(__file__), "_core.pyx")):
            reason += " (this is the source tree: pip install -e . builds it here)"
        return None, reason


def _choose():
    wanted = os.environ.get("FASTNN_BACKEND", "") or "auto"
    if wanted not in ("auto", "numpy", "compiled"):
        raise ImportError(f"FASTNN_BACKEND must be numpy or compiled, got {wanted!r}")
    if wanted == "numpy":
        return _numpy, "FASTNN_BACKEND=numpy asks for it"
    compiled, reason = _load_compiled()
    if compiled is not None:
        return compiled, ""
    if wanted == "compiled":
        raise ImportError(f"FASTNN_BACKEND=compiled, but {reason}")
    warnings.warn(f"fastnn runs on its NumPy backend, many times slower: {reason}", RuntimeWarning, stacklevel=3)
    return _numpy, reason


default, reason = _choose()


def checked_threads(threads):
    """Return the `threads` of a network: None, or a whole number within 1 .. 256."""
    return None if threads is None else arrays.whole_number(threads, "threads", 1, _MOST_THREADS)


def get(name):
    """Return the backend called `name`: auto, numpy or compiled.

    Raises
    ------
    ValueError
        If there is no such backend.
    RuntimeError
        If the compiled one is asked for and did not load.
    """
    if name == "auto":
        return default
    if name == "numpy":
        return _numpy
    if name == "compiled":
        compiled, why = _load_compiled()
        if compiled is None:
            raise RuntimeError(f"backend='compiled' is not available: {why}")
        return compiled
    raise ValueError(f"backend must be 'auto', 'numpy' or 'compiled', got {name!r}")


def check(name, threads):
    """Raise the error of :func:`get` or of :func:`checked_threads`, if there is one."""
    get(name)
    checked_threads(threads)
