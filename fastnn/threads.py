"""How many threads fastnn may use: the one place that reads the machine and the environment.

The limit is what this process may really use: the cores it may run on, the cgroups' quota, OMP_NUM_THREADS, OpenMP's
own limit and set_threads, whichever is least. The compiled backend picks 1..limit for each shape, and never changes
another library's settings.
"""

import functools
import math
import os

from . import arrays, cgroups

# Each of these variables asks OpenMP to bind its threads to cores. Then the thread that loads OpenMP is pinned to one
# core, and its affinity mask no longer says how many cores there are.
_BINDINGS = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")

_chosen = None  # what set_threads was given; None: ask the machine
_openmp = None  # the two functions that the compiled backend gave to follow() when it was loaded


def set_threads(n):
    """Set the most threads that a call may use.

    Parameters
    ----------
    n : int
        At least 1. If `n` is more than the machine, the environment and OpenMP allow, their limit
        holds (:func:`get_threads` returns it), and `n` applies as soon as they allow it.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer of at least 1.

    Notes
    -----
    It applies to the compiled backend; the NumPy backend uses as many threads as NumPy's BLAS does.
    ``Network(threads=n)`` overrides it for that network.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.set_threads(1)
    >>> fastnn.get_threads()
    1
    """
    global _chosen
    _chosen = arrays.whole_number(n, "n", 1)


def get_threads():
    """The most threads that a call may use: the limit in force, here and now.

    Returns
    -------
    int
        The smallest of: the number given to :func:`set_threads`; the number of cores that the calling
        thread may run on; the quotas of its cgroup and of the cgroups around it, rounded up;
        OMP_NUM_THREADS; and, with the compiled backend, OpenMP's limit for the calling thread, which
        threadpoolctl and ``omp_set_num_threads`` set. Where OpenMP binds its threads to cores
        (OMP_PROC_BIND, OMP_PLACES), the cores that it binds to are counted.

    Notes
    -----
    Quota and environment are read once. A call may use fewer threads, because its shapes are small
    or because other calls run at the same time.
    """
    # Comparisons are faster than min(), and calls that take microseconds come here.
    if _chosen == 1:
        return 1
    limit = machine_limit()
    if _chosen is not None and _chosen < limit:
        limit = _chosen
    if _openmp is not None:
        granted = _openmp[0]()
        if granted < limit:
            limit = granted
    return limit


def machine_limit():
    """The smallest of cores, quotas and OMP_NUM_THREADS; it is at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not every system has affinity
        cores = os.cpu_count() or 1
    is_bound, most = _constants()
    if is_bound:
        cores = _bound_cores(cores)
    return cores if cores < most else most


def follow(limit, cores):
    """Register two functions of OpenMP: its limit for the calling thread, and the number of cores that it binds to.

    The second returns 0 if OpenMP binds no threads. The compiled backend calls this when it is loaded.
    """
    global _openmp
    _openmp = limit, cores
    _bound_cores.cache_clear()


@functools.cache  # computed once per process: reading files would be too slow for calls that take microseconds
def _constants():
    """Whether OpenMP is asked to bind threads; the least of quotas and OMP_NUM_THREADS, which may be infinity."""
    return any(name in os.environ for name in _BINDINGS), min(cgroups.cpus(), _environment())


def _environment():
    # OpenMP allows a list with one entry per nesting level; the first entry applies to us.
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else math.inf


@functools.cache  # for each `own`, because a thread may be pinned later on
def _bound_cores(own):
    """Cores that count for a thread with `own` cores in its affinity mask, which OpenMP may have narrowed."""
    if _openmp is not None:
        return _openmp[1]() or own
    # Without the compiled backend: threads of NumPy's BLAS that were not pinned still have all cores in their masks.
    allowed = set()
    try:
        for thread in os.listdir("/proc/self/task"):
            try:
                allowed |= os.sched_getaffinity(int(thread))
            except OSError:  # it has ended
                continue
    except (OSError, AttributeError):
        pass
    return max(own, len(allowed))
