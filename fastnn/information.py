"""``fastnn.info()``: version, backend, instruction set, CPU and threads in use."""

import platform

from . import backend, threads
from ._version import __version__


def info():
    """The version, backend, instruction set, CPU and threads that fastnn uses here.

    Returns
    -------
    dict
        version; backend ("compiled" or "numpy"); reason, why it is not the compiled one ("" if it
        is); isa, the instruction set of the kernels; cpu; threads, the most that a call may use;
        compiler, and openmp, whether the extension was built with OpenMP.

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
