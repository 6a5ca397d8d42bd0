"""What runs here, and why."""

import platform

from . import backend, threads
from ._version import __version__


def info():
    """What runs here, and why.

    Returns
    -------
    dict
        version; backend ("compiled" or "numpy") and the reason if it is not the compiled one;
        isa, the instruction set that the kernels use; cpu; threads, the most that a call may use;
        compiler and openmp, of the extension.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.info()["backend"] in ("compiled", "numpy")
    True
    """
    return {
        "version": __version__,
        "backend": backend.default.NAME,
        "reason": backend.reason,
        "isa": backend.default.ISA,
        "cpu": _cpu(),
        "threads": threads.get_threads(),
        "compiler": backend.default.BUILD["compiler"],
        "openmp": backend.default.BUILD["openmp"],
    }


def _cpu():
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith(("model name", "Model")):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
