"""Data of other libraries: pandas, its nullable dtypes and categories, half precision, and frames like polars'."""

import numpy as np
import pytest

from case_helpers import bits, weights_unchanged
from conftest import DEFAULT
from fastnn import SGD, Network, kernels

pd = pytest.importorskip("pandas")

VARIANTS = DEFAULT  # what is tested here is around the kernels

RNG = np.random.default_rng(7)
VALUES = RNG.integers(-4, 5, (60, 4))
VALUES[:, 3] = VALUES[:, 3] > 0
CODES = RNG.integers(0, 3, 60)
FRAME = pd.DataFrame(VALUES, columns=list("abcd"))


def trained(backend, X, y, sizes=(4, 5, 3), **how):
    net = Network(list(sizes), seed=0, backend=backend)
    history = net.fit(X, y, epochs=2, optimizer=SGD(lr=0.1), **how)
    return bits(net), history.loss, net.predict(X).tobytes(), net.loss(X, y), tuple(net.evaluate(X, y).items())


# --- features -----------------------------------------------------------------------------------------------------

FRAMES = {
    "integers": FRAME,
    "Int64": FRAME.astype("Int64"),
    "Int8": FRAME.astype("Int8"),
    "Float64": FRAME.astype("Float64"),
    "Float32": FRAME.astype("Float32"),
    "objects": FRAME.astype(object),
    "float16": FRAME.astype("float16"),
    "many kinds": FRAME.astype({"a": "Int64", "b": "float32", "c": "Float64", "d": "boolean"}),
    "NumPy's kinds": FRAME.astype({"a": "int8", "b": "float32", "c": "float64", "d": "bool"}),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_gives_the_numbers_of_its_values(backend, kind):
    frame = FRAMES[kind]
    kept = frame.copy()
    want = trained(backend, VALUES.T, CODES)
    assert trained(backend, frame.T, CODES) == want
    assert trained(backend, frame.to_numpy().T, CODES) == want
    pd.testing.assert_frame_equal(frame, kept)
    validated = Network([4, 3], seed=0, backend=backend).fit(frame.T, CODES, validation_data=(frame.T, CODES))
    assert np.isfinite(validated.val_loss).all()


@pytest.mark.parametrize("dtype", ["Int64", "UInt8", "boolean", "Float64", "Float32", object])
def test_a_missing_value_is_refused_with_its_place(backend, dtype):
    frame = FRAME.abs().clip(0, 1).astype(dtype)
    frame.iloc[7, 2] = pd.NA
    net = Network([4, 3], seed=0, backend=backend)
    for call in (net.fit, net.train_step, lambda X, y: net.fit([(X, y)])):
        with weights_unchanged(net), pytest.raises(ValueError, match=r"X has 1 (missing|non-finite) value.*column 7"):
            call(frame.T, CODES)


def test_a_missing_value_among_many_kinds(backend):
    net, frame = Network([4, 3], seed=0, backend=backend), FRAMES["many kinds"].copy()
    frame.iloc[3, 0] = pd.NA
    with weights_unchanged(net), pytest.raises(ValueError, match=r"X has 1 (missing|non-finite) value.*column 3"):
        net.fit(frame.T, CODES)


def test_a_column_that_is_no_number_is_refused(backend):
    net = Network([4, 3], seed=0, backend=backend)
    for column in (list("wx") * 30, pd.date_range("2020", periods=60), pd.Categorical(list("wx") * 30)):
        with weights_unchanged(net), pytest.raises(TypeError, match=r"^X "):
            net.fit(FRAME.assign(d=column).T, CODES)


# --- targets and weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["Int64", "UInt8", "int16", object, "category"])
def test_a_series_of_codes(backend, dtype):
    y = pd.Series(CODES, index=RNG.permutation(60)).astype(dtype)
    assert trained(backend, VALUES.T, y) == trained(backend, VALUES.T, CODES)
    assert trained(backend, VALUES.T, pd.array(CODES, dtype="Int64")) == trained(backend, VALUES.T, CODES)


def test_a_series_of_values(backend):
    labels = CODES > 0
    for dtype in ("boolean", "Int64", "Float32", "float16", object, "category"):
        got = trained(backend, VALUES.T, pd.Series(labels).astype(dtype), (4, 1))
        assert got == trained(backend, VALUES.T, labels, (4, 1)), dtype


def test_categories_that_are_no_codes_say_what_to_write(backend):
    net = Network([4, 3], seed=0, backend=backend)
    with weights_unchanged(net):
        for y in (pd.Series(list("abc") * 20, dtype="category"), pd.Categorical(list("abc") * 20)):
            with pytest.raises(TypeError, match=r"y .*classes, y = np.unique\(y, return_inverse=True\)"):
                net.fit(VALUES.T, y)
            _, codes = np.unique(y, return_inverse=True)
            Network([4, 3], seed=0).fit(VALUES.T, codes)
        for missing in (
            pd.Series([*CODES[:-1], None], dtype="category"),
            pd.Series([*CODES[:-1], None], dtype="Int64"),
        ):
            with pytest.raises(ValueError, match="y has 1 missing value"):
                net.fit(VALUES.T, missing)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "float16", object])
def test_weights_of_samples_from_a_series(backend, dtype):
    w = RNG.integers(0, 4, 60)
    want = trained(backend, VALUES.T, CODES, sample_weight=w)
    assert trained(backend, VALUES.T, CODES, sample_weight=pd.Series(w, dtype=dtype)) == want
    bad = pd.Series(w, dtype=dtype)
    bad[4] = None if dtype != "float16" else np.nan
    with pytest.raises(ValueError, match=r"sample_weight (has 1 missing value|holds nan)"):
        trained(backend, VALUES.T, CODES, sample_weight=bad)


# --- half precision, and arrays of others -------------------------------------------------------------------------


def test_half_precision(backend):
    X = RNG.standard_normal((4, 60)).astype("f2")
    for layout in (X, np.asfortranarray(X), X[:, ::-1][:, ::-1], X.astype(">f2")):
        assert trained(backend, layout, CODES) == trained(backend, X.astype("f4"), CODES)
    onehot = np.eye(3)[:, CODES]
    assert trained(backend, X, onehot.astype("f2")) == trained(backend, X, onehot)
    net = Network([4, 3], seed=0, backend=backend)
    with weights_unchanged(net), pytest.raises(ValueError, match="X has 1 non-finite value, first at column 0"):
        net.fit(np.where(np.arange(240).reshape(4, 60) == 0, np.float16(np.inf), X), CODES)
    assert kernels.activation_forward(X, "relu").dtype == np.float32


class Frame:
    """As a data frame of polars or an arrow column: no NumPy array, but __array__ gives one."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


def test_whatever_gives_an_array_of_numbers(backend):
    want = trained(backend, VALUES.T, CODES)
    for values in (VALUES.T, VALUES.T.astype(object), VALUES.T.astype("f2")):
        assert trained(backend, Frame(values), Frame(CODES.astype("u4"))) == want
    net = Network([4, 3], seed=0, backend=backend)
    holed = VALUES.T.astype(object)
    holed[1, 9] = None
    with weights_unchanged(net):
        with pytest.raises(ValueError, match="X has 1 missing value, first at column 9, row 1"):
            net.fit(Frame(holed), CODES)
        with pytest.raises(TypeError, match="X "):
            net.fit(Frame(VALUES.T.astype(str)), CODES)
