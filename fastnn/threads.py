"""How many threads fastnn may use: the one place that reads the machine and the environment.

The limit is what this process may really use: the cores it may run on, cgroups' quotas and
OMP_NUM_THREADS, whichever is least. The compiled backend picks 1..limit for each shape, and never
changes another library's settings.
"""

import functools
import math
import os

from . import arrays, cgroups

_chosen = None  # what set_threads was given; None: ask the machine


def set_threads(n):
    """Set the most threads that a call may use.

    Parameters
    ----------
    n : int
        At least 1. More than the cores is allowed, and slower.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer of at least 1.

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
    """The most threads that a call may use.

    Returns
    -------
    int
        What :func:`set_threads` was given, else what the machine allows: cores that this process
        may run on, the cgroup's quota and OMP_NUM_THREADS, whichever is least.
    """
    return _chosen if _chosen is not None else machine_limit()


def machine_limit():
    """The least of affinity, cgroup quota and OMP_NUM_THREADS; at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not every system has affinity
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota(), _environment()))


@functools.cache  # neither changes in a process's life, and calls of a microsecond ask
def _quota():
    return cgroups.cpus()


@functools.cache
def _environment():
    # OpenMP allows a list, one entry per nesting level; the first is ours.
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else math.inf
