"""What other libraries give batches with: torch's DataLoader, tqdm's bar. Known by their classes, without an import."""

import itertools


def _is_of(value, package, name):
    """Whether this is of a class of that package, or of one that is derived from it."""
    return any(kind.__name__ == name and kind.__module__.partition(".")[0] == package for kind in type(value).__mro__)


def source(batches):
    """What gives the batches: where they are within tqdm's bar, the iterable that it keeps."""
    while _is_of(batches, "tqdm", "tqdm"):
        batches = batches.iterable
    return batches


def walk(batches):
    """An iterator through the batches of one epoch.

    An object that has items and a length, and no __iter__, is not asked for more items than that: it may give some for
    any index, as one that cuts its batches from arrays does. The same holds within tqdm's bar.
    """
    inner = source(batches)
    if hasattr(type(inner), "__len__") and not hasattr(type(inner), "__iter__"):
        return itertools.islice(batches, len(inner))
    return iter(batches)


def is_loader(batches):
    """Whether this is a DataLoader of torch's, perhaps within a bar."""
    return _is_of(source(batches), "torch", "DataLoader")


def is_walk(batches):
    """Whether this is the iterator of such a DataLoader, perhaps within a bar."""
    return _is_of(source(batches), "torch", "_BaseDataLoaderIter")
