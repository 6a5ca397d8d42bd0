"""How many threads fastnn may use: the one place that reads the machine and the environment.

The limit is what this process may really use: the cores it may run on, the cgroups' quota, OMP_NUM_THREADS, OpenMP's
own limit and set_threads, whichever is least. The compiled backend picks 1..limit for each shape, and never changes
another library's settings.
"""

import functools
import math
import os

from . import arrays, cgroups

# By each of these OpenMP is asked to bind its threads to cores: then the thread that loads it is pinned to one of them,
# and its own mask no longer says how many there are.
_BINDINGS = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")

_chosen = None  # what set_threads was given; None: ask the machine
_openmp = None  # of the compiled backend, once it is loaded: what follow() was given


def set_threads(n):
    """Set the most threads that a call may use.

    Parameters
    ----------
    n : int
        At least 1. More than the machine, the environment and OpenMP allow (:func:`get_threads`) is
        no error: it is their limit then that holds, and `n` as soon as they allow it.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer of at least 1.

    Notes
    -----
    It holds for the compiled backend; how many threads the NumPy backend uses is up to NumPy's BLAS.
    A network's own number, ``Network(threads=n)``, goes before it.

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
        The least of: what :func:`set_threads` was given; the cores that this process may run on; the
        quota of its cgroup and of those around it, rounded up; OMP_NUM_THREADS; and, of the compiled
        backend, what its OpenMP grants the calling thread, which threadpoolctl and
        ``omp_set_num_threads`` set. Where OpenMP binds its threads to cores (OMP_PROC_BIND, OMP_PLACES),
        the cores are those that it binds them to.

    Notes
    -----
    Quota and environment are read once. The shapes of a call may ask for fewer threads, and so may
    other calls at the same time.
    """
    # Comparisons, not min(): calls of microseconds ask.
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
    """The least of cores, quotas and OMP_NUM_THREADS; each is at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not every system has affinity
        cores = os.cpu_count() or 1
    is_bound, most = _constants()
    if is_bound:
        cores = _bound_cores(cores)
    return cores if cores < most else most


def follow(limit, cores):
    """Take OpenMP into account: what it grants a thread, and how many cores it binds threads to (0: it binds none).

    The compiled backend calls this when it is loaded; without it there is nobody to ask.
    """
    global _openmp
    _openmp = limit, cores
    _bound_cores.cache_clear()


@functools.cache  # neither changes in a process's life, and calls of a microsecond ask
def _constants():
    """Whether OpenMP is asked to bind threads; the least of quotas and OMP_NUM_THREADS, which may be infinity."""
    return any(name in os.environ for name in _BINDINGS), min(cgroups.cpus(), _environment())


def _environment():
    # OpenMP allows a list, one entry per nesting level; the first is ours.
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else math.inf


@functools.cache  # for each width of a mask: a thread may be pinned later on
def _bound_cores(own):
    """Cores for a thread that is allowed `own` ones, and has perhaps been pinned there by an OpenMP."""
    if _openmp is not None:
        return _openmp[1]() or own
    # NumPy's threads are where BLAS has made them: those that were not pinned still have all cores.
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
