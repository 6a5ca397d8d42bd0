"""The bundled digits, the Fashion-MNIST reader, and the split."""

import gzip
import os
import shutil

import numpy as np
import pytest

from conftest import alone
from fastnn import _philox, datasets

FASHION = "/usr/share/datasets/fashion-mnist"
FILES = {
    "train-images-idx3-ubyte.gz": (60000, 28, 28),
    "train-labels-idx1-ubyte.gz": (60000,),
    "t10k-images-idx3-ubyte.gz": (10000, 28, 28),
    "t10k-labels-idx1-ubyte.gz": (10000,),
}


def test_digits():
    X, y = datasets.load_digits()
    assert (X.shape, X.dtype) == ((64, 1797), np.float32)
    assert (y.shape, y.dtype) == ((1797,), np.int64)
    assert X.T.flags.c_contiguous
    assert (X.min(), X.max(), X.sum(dtype=np.float64)) == (0, 16, 561718)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (X % 1 == 0).all()


def test_digits_are_the_callers_own():
    X, y = datasets.load_digits()
    X[:], y[:] = -1, -1
    X, y = datasets.load_digits()
    assert X.min() == 0
    assert y.min() == 0


def test_digits_are_those_of_scikit_learn():
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    peer = load_digits()
    X, y = datasets.load_digits()
    np.testing.assert_array_equal(X.T, peer.data)
    np.testing.assert_array_equal(y, peer.target)


def test_digits_file_is_small_and_plain():
    path = os.path.join(os.path.dirname(datasets.__file__), "data", "digits.npz")
    assert os.path.getsize(path) < 100_000
    with np.load(path, allow_pickle=False) as archive:
        assert {name: archive[name].dtype for name in archive.files} == {"X": np.uint8, "y": np.uint8}


# --- Fashion-MNIST ------------------------------------------------------------------------------


def idx(shape, fill=0):
    return np.array([0x0800 + len(shape), *shape], ">u4").tobytes() + bytes([fill]) * int(np.prod(shape))


@pytest.fixture(scope="module")
def made_folder(tmp_path_factory):
    """Files of the right form: images of 7s, labels of 3s."""
    folder = tmp_path_factory.mktemp("fashion")
    for name, shape in FILES.items():
        (folder / name).write_bytes(gzip.compress(idx(shape, 7 if len(shape) == 3 else 3), compresslevel=1))
    return folder


@pytest.fixture
def folder(made_folder, tmp_path):
    return shutil.copytree(made_folder, tmp_path / "copy")


def assert_fashion(data):
    X_train, y_train, X_test, y_test = data
    for X, y, m in ((X_train, y_train, 60000), (X_test, y_test, 10000)):
        assert (X.shape, X.dtype) == ((784, m), np.uint8)
        assert (y.shape, y.dtype) == ((m,), np.int64)
        assert X.T.flags.c_contiguous
        assert X.flags.writeable


def test_fashion_reads_a_folder(made_folder):
    data = datasets.load_fashion_mnist(made_folder)
    assert_fashion(data)
    for X, y in (data[:2], data[2:]):
        assert (X == 7).all()
        assert (y == 3).all()


@pytest.mark.data
@pytest.mark.skipif(not os.path.isdir(FASHION), reason="dataset-fashion-mnist is not installed")
def test_fashion():
    data = datasets.load_fashion_mnist()
    assert_fashion(data)
    X_train, y_train, X_test, y_test = data
    assert X_train.sum(dtype=np.int64) == 3431114169
    assert X_test.sum(dtype=np.int64) == 573469082
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    assert round(float(X_train.mean()), 1) == 72.9  # published: 0.2860 of 255


@alone
@pytest.mark.parametrize("name", FILES)
def test_fashion_with_a_file_missing_says_what_to_install(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}.*apt-get install dataset-fashion-mnist"):
        datasets.load_fashion_mnist(folder)


def damage_cut(good):
    return gzip.compress(good)[:-20]


def damage_bit(good):
    data = bytearray(gzip.compress(good, compresslevel=0))
    data[len(data) // 2] ^= 1  # stored, not deflated: only the checksum can tell
    return bytes(data)


DAMAGE = {
    "cut": (damage_cut, "damaged"),
    "one bit": (damage_bit, "damaged"),
    "not gzip": (lambda good: good, "damaged"),
    "empty": (lambda good: b"", "header"),
    "magic": (lambda good: gzip.compress(b"\0\0\x0d" + good[3:]), r"header is 0xd01"),
    "count": (lambda good: gzip.compress(good[:4] + b"\0\0\0\1" + good[8:]), r"header is 0x801, \[1\]"),
    "short": (lambda good: gzip.compress(good[:-1]), "9999 bytes of data, wanted 10000"),
    "long": (lambda good: gzip.compress(good + b"\0"), "more bytes of data, wanted 10000"),
    "label": (lambda good: gzip.compress(good[:-1] + b"\x0a"), r"label 10, wanted 0\.\.9"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_fashion_with_a_damaged_file(folder, kind):
    name = "t10k-labels-idx1-ubyte.gz"
    damage, message = DAMAGE[kind]
    (folder / name).write_bytes(damage(idx((10000,), 3)))
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        datasets.load_fashion_mnist(folder)


# --- the split -----------------------------------------------------------------------------------


def test_split_takes_every_sample_once():
    X = np.arange(20).reshape(2, 10)
    y = X[0].copy()
    X_train, y_train, X_test, y_test = datasets.shuffled_split(X, y, 3, seed=5)
    assert (X_train.shape, y_train.shape, X_test.shape, y_test.shape) == ((2, 7), (7,), (2, 3), (3,))
    for A, b in ((X_train, y_train), (X_test, y_test)):
        np.testing.assert_array_equal(A, [b, b + 10])  # labels stay with their samples
        assert (A.dtype, b.dtype) == (X.dtype, y.dtype)
        assert A.T.flags.c_contiguous
    assert sorted([*y_train, *y_test]) == list(range(10))
    np.testing.assert_array_equal([*y_train, *y_test], _philox.permutation(10, 5, epoch=0))


def test_split_depends_on_the_seed_alone():
    X, y = datasets.load_digits()
    one, two, other = (datasets.shuffled_split(X, y, 360, seed) for seed in (0, 0, 1))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one[3] != other[3]).any()
    assert not np.shares_memory(one[0], X)


def test_split_takes_targets_as_columns():
    X, Y = np.arange(6.0).reshape(1, 6), np.arange(12.0).reshape(2, 6)
    X_train, Y_train, X_test, Y_test = datasets.shuffled_split(X, Y, 2, 0)
    np.testing.assert_array_equal(Y_train, [X_train[0], X_train[0] + 6])
    np.testing.assert_array_equal(Y_test, [X_test[0], X_test[0] + 6])


@pytest.mark.parametrize("n_test", [0, 4])
def test_split_may_leave_one_side_empty(n_test):
    X_train, _, X_test, y_test = datasets.shuffled_split(np.ones((3, 4)), np.ones(4), n_test, 0)
    assert (X_train.shape, X_test.shape, y_test.shape) == ((3, 4 - n_test), (3, n_test), (n_test,))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones(4), np.ones(4), 1, 0), ValueError, "X has shape"),
        ((np.ones((3, 4)), np.ones(3), 1, 0), ValueError, "y has shape"),
        ((np.ones((3, 4)), np.ones((4, 1)), 1, 0), ValueError, "y has shape"),
        ((np.ones((3, 4)), np.float64(1), 1, 0), ValueError, "y has shape"),
        ((np.ones((3, 4)), np.ones(4), 5, 0), ValueError, "n_test must be within 0..4"),
        ((np.ones((3, 4)), np.ones(4), 0.25, 0), TypeError, "n_test"),
        ((np.ones((3, 4)), np.ones(4), 1, -1), ValueError, "seed"),
        ((np.ones((3, 4)), np.ones(4), 1, None), TypeError, "seed"),
    ],
)
def test_split_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        datasets.shuffled_split(*arguments)
