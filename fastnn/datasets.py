"""Two data sets: digits, which the wheel contains, and Fashion-MNIST, which a Debian package contains.

This module is imported only when it is used. Columns are samples; in memory each sample is
contiguous, because X is ``rows.T``.
data/digits.npz holds scikit-learn's ``load_digits()``, data and target as uint8, compressed.
"""

import gzip
import os
import zlib
from importlib import resources

import numpy as np

from . import _philox, arrays

_FASHION_FOLDER = "/usr/share/datasets/fashion-mnist"
_FASHION_PACKAGE = "dataset-fashion-mnist"


def load_digits():
    """Handwritten digits: 1797 images of 8x8 pixels, in 10 classes.

    Returns
    -------
    X : ndarray of float32, (64, 1797)
        Pixels, whole numbers 0..16: one column per image, in row-major order.
    y : ndarray of int64, (1797,)
        The digit, 0..9.

    Raises
    ------
    FileNotFoundError
        If the installation has lost its data file.

    Notes
    -----
    The test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI
    Machine Learning Repository, 1998, licensed CC BY 4.0; the copy that scikit-learn bundles,
    stored as bytes.

    Examples
    --------
    >>> from fastnn import datasets
    >>> X, y = datasets.load_digits()
    >>> X.shape, X.max(), y[:5]
    ((64, 1797), np.float32(16.0), array([0, 1, 2, 3, 4]))
    """
    file = resources.files(__package__).joinpath("data", "digits.npz")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return archive["X"].astype(np.float32).T, archive["y"].astype(np.int64)


def load_fashion_mnist(folder=None):
    """Fashion-MNIST: 60,000 + 10,000 grey images of clothing, 28x28 pixels, in 10 classes.

    Parameters
    ----------
    folder : path-like, optional
        Folder of the four .gz files; by default the folder of Debian's package
        dataset-fashion-mnist.

    Returns
    -------
    X_train : ndarray of uint8, (784, 60000)
    y_train : ndarray of int64, (60000,)
    X_test : ndarray of uint8, (784, 10000)
    y_test : ndarray of int64, (10000,)

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message says what to install.
    ValueError
        If a file is damaged, or its header is not that of this data set.

    Notes
    -----
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", arXiv:1708.07747, 2017; MIT licence.

    Examples
    --------
    >>> from fastnn import datasets
    >>> X_train, y_train, X_test, y_test = datasets.load_fashion_mnist()  # doctest: +SKIP
    >>> X = (X_train.astype("float32") - 73) / 90  # doctest: +SKIP
    """
    folder = _FASHION_FOLDER if folder is None else os.fspath(folder)
    data = []
    for part, m in (("train", 60000), ("t10k", 10000)):
        data.append(_read_idx(os.path.join(folder, f"{part}-images-idx3-ubyte.gz"), (m, 28, 28)).reshape(m, 784).T)
        labels = os.path.join(folder, f"{part}-labels-idx1-ubyte.gz")
        y = _read_idx(labels, (m,))
        if y.max() > 9:
            raise ValueError(f"{labels!r} is damaged: it has a label {y.max()}, wanted 0..9")
        data.append(y.astype(np.int64))
    return tuple(data)


def _read_idx(path, shape):
    """The bytes of a compressed idx file, which must hold exactly `shape`."""
    # Big-endian: two zero bytes, 8 for unsigned bytes, the number of dimensions, and the size of each dimension.
    header = np.array([0x0800 + len(shape), *shape], ">u4").tobytes()
    size = int(np.prod(shape))
    try:
        with gzip.open(path) as file:
            content = file.read(len(header) + size + 1)  # one byte more, so that gzip checks the checksum at the end
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path!r} does not exist: apt-get install {_FASHION_PACKAGE} (Debian, Ubuntu), or give its folder"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path!r} is damaged: {error}") from error
    if not content.startswith(header):
        found = np.frombuffer(content[: len(header) // 4 * 4].ljust(len(header), b"\0"), ">u4").tolist()
        raise ValueError(
            f"{path!r} is not the idx file of shape {shape} that was wanted: its header is {found[0]:#x}, {found[1:]}"
        )
    if len(content) != len(header) + size:
        found = f"{len(content) - len(header)}" if len(content) < len(header) + size else "more"
        raise ValueError(f"{path!r} is damaged: it has {found} bytes of data, wanted {size}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()  # writable


def shuffled_split(X, y, n_test, seed):
    """Shuffle samples and set some aside for testing.

    Parameters
    ----------
    X : array_like, (n, m)
    y : array_like, (m,) or (n_out, m)
    n_test : int
        Number of test samples, 0..m: the last ones of the shuffled order.
    seed : int
        0 .. 2**64 - 1; the order depends only on `seed` and m, and is the same on every machine.

    Returns
    -------
    X_train, y_train, X_test, y_test : ndarray
        Copies with the same dtypes; the values of each sample are contiguous in memory.

    Raises
    ------
    ValueError
        If X and y do not have the same number of samples, or a number is out of range.
    TypeError
        If `n_test` or `seed` is not an integer.

    Examples
    --------
    >>> from fastnn import datasets
    >>> X, y = datasets.load_digits()
    >>> X_train, y_train, X_test, y_test = datasets.shuffled_split(X, y, n_test=360, seed=0)
    >>> X_train.shape, X_test.shape
    ((64, 1437), (64, 360))
    """
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2:
        raise ValueError(f"X has shape {X.shape}, wanted (n, m): columns are samples")
    m = X.shape[1]
    if y.ndim not in (1, 2) or y.shape[-1] != m:
        raise ValueError(f"y has shape {y.shape}, wanted ({m},) or (n_out, {m}): one column per sample of X")
    n_test = arrays.whole_number(n_test, "n_test", 0, m)
    seed = arrays.whole_number(seed, "seed", 0, 2**64 - 1)
    order = _philox.permutation(m, seed, epoch=0)
    train, test = order[: m - n_test], order[m - n_test :]
    return X.T[train].T, y.T[train].T, X.T[test].T, y.T[test].T
