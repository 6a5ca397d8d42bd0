"""fastnn.tabular: what is read from a table of any kind, what is learned of it, and what a file keeps."""

import copy
import datetime
import io
import json
import pickle
import sys
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from conftest import alone
from fastnn import files
from fastnn.tabular import TabularModel, encoding, read_table, training
from fastnn.tabular.delimited import read
from fastnn.tabular.targets import brier

pytestmark = alone  # it catches warnings
RNG = np.random.default_rng(0)
N = 120
SIZE, PLACE = RNG.uniform(40, 200, N).round(1), np.array(["town", "land", "coast"])[RNG.integers(0, 3, N)]
NEW, PRICE = RNG.random(N) < 0.5, (3 * SIZE + 50 * (PLACE == "town") + RNG.standard_normal(N)).round(2)
TABLE = {"size": SIZE, "place": PLACE, "new": NEW, "price": PRICE}
QUICK = {"epochs": 5, "hidden": (8,)}


def csv(table=TABLE, delimiter=",", header=True):
    lines = [delimiter.join(table)] if header else []
    return "\n".join(lines + [delimiter.join(map(str, row)) for row in zip(*table.values(), strict=True)])


def frame(library):
    return pytest.importorskip(library).DataFrame(TABLE)


def records():
    return [dict(zip(TABLE, row, strict=True)) for row in zip(*TABLE.values(), strict=True)]


def structured():
    found = np.empty(N, [("size", "f8"), ("place", "U9"), ("new", "?"), ("price", "f8")])
    for name in TABLE:
        found[name] = TABLE[name]
    return found


@pytest.fixture(scope="module")
def expected():
    return TabularModel(**QUICK).fit(TABLE, "price")


# --- tables of all kinds --------------------------------------------------------------------------


SLOW_TO_IMPORT = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("polars", "parquet", "parquet stream")]


@pytest.mark.parametrize("kind", ["pandas", "records", "structured", "csv", "file", "objects", *SLOW_TO_IMPORT])
def test_each_kind_of_table_gives_the_same_model(kind, expected, tmp_path):
    path = tmp_path / "table.csv"
    if kind.startswith("parquet"):
        table = tmp_path / "table.parquet"
        frame("polars").write_parquet(table)
        table = io.BytesIO(table.read_bytes()) if kind == "parquet stream" else table
    elif kind == "csv":
        path.write_text(csv())
        table = path
    elif kind == "file":
        table = io.BytesIO(csv().encode())
    elif kind == "objects":
        table = {name: np.array(cells.tolist(), object) for name, cells in TABLE.items()}
    else:
        table = {"records": records, "structured": structured}.get(kind, lambda: frame(kind))()
    found = TabularModel(**QUICK).fit(table, "price")
    assert found.inputs == ["size", "place=coast", "place=land", "place=town", "new"]
    assert found.notes == expected.notes
    np.testing.assert_array_equal(found.network.flat_parameters, expected.network.flat_parameters)
    again = io.BytesIO(table.getvalue()) if isinstance(table, io.BytesIO) else table
    np.testing.assert_array_equal(found.predict(again), expected.predict(TABLE))


@pytest.mark.parametrize("kind", ["pandas", *SLOW_TO_IMPORT[:1]])
def test_nullable_and_categorical_columns(kind):
    library = pytest.importorskip(kind)
    if kind == "pandas":
        codes = library.Series([1, 2] * 15, dtype="category")
        numbers = library.Series([1, None, 3] * 10, dtype="Int64")
        flags = library.Series([True, None, False] * 10, dtype="boolean")
    else:
        codes = library.Series(["1", "2"] * 15).cast(library.Categorical)
        numbers = library.Series([1, None, 3] * 10)
        flags = library.Series([True, None, False] * 10)
    table = library.DataFrame({"codes": codes, "numbers": numbers, "flags": flags, "y": np.arange(30.0)})
    model = TabularModel(**QUICK).fit(table, "y")
    assert model.inputs == ["codes=1", "codes=2", "numbers", "numbers is missing", "flags", "flags is missing"]


@pytest.mark.parametrize(
    ("text", "names", "columns"),
    [
        ("a,b\n1,2\n", ["a", "b"], [["1"], ["2"]]),
        ("1,2\n3,4\n", ["0", "1"], [["1", "3"], ["2", "4"]]),
        ("a;b\n1,5;2\n", ["a", "b"], [["1,5"], ["2"]]),
        ("a\tb, c\n1\t2\n", ["a", "b, c"], [["1"], ["2"]]),
        ("a|b\r\n\r\n1|2\r\n", ["a", "b"], [["1"], ["2"]]),
        ("  a  b \n  1   2\n", ["a", "b"], [["1"], ["2"]]),
        ('"a, b",c\n"1 ""x""\nnext",2\n', ["a, b", "c"], [['1 "x"\nnext'], ["2"]]),
        (",a\n0,5\n", ["Unnamed: 0", "a"], [["0"], ["5"]]),
        ("New York\nSan Jose, Cal\n", ["New York"], None),
        ("alone\n1\n2", ["alone"], [["1", "2"]]),
        ("a,a\n1,2", ["a", "a"], [["1"], ["2"]]),
        ("x,x\ny,z", ["0", "1"], [["x", "y"], ["x", "z"]]),
        ("?,a\n1,b\n", ["0", "1"], [["?", "1"], ["a", "b"]]),
        ("sep=;\r\na;b\r\n1,2;3\r\n", ["a", "b"], [["1,2"], ["3"]]),
        ('a, b\n1, "x, y"\n', ["a", "b"], [["1"], ["x, y"]]),
        (",\na,b\n1,2\n,\n\n3,4\n,\n,,\n", ["a", "b"], [["1", "", "3", ""], ["2", "", "4", ""]]),
    ],
)
def test_delimited_text(text, names, columns):
    if columns is None:
        with pytest.raises(ValueError, match="line 2 has 2 cells"):
            read(text.encode())
        return
    assert read(text.encode()) == (names, columns, not names[0].isdecimal())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a\n1,5\n2,5", ["a"]),
        ("1,5\n2,5", ["0"]),
        ("a b\n1,5 2,5\n2,5 3", ["a", "b"]),
        ('a,b\n"1,5",x\n"2,5",y', ["a", "b"]),
        ("a,b;c\n1,5;2", ["a,b", "c"]),
    ],
)
def test_a_decimal_comma_is_no_delimiter(text, names):
    table = read_table(io.BytesIO(text.encode()), decimal=",")
    assert table.names == names
    if ";" not in text:
        np.testing.assert_array_equal(table.column(names[0]).values, [1.5, 2.5])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings(encoding):
    given = {"encoding": encoding} if encoding == "cp1252" else {}
    table = read_table(io.BytesIO("größe,y\n1,ß\n".encode(encoding)), **given)
    assert (table.names, table.column("y").values.tolist()) == (["größe", "y"], ["ß"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (b"a,b\n1,2\n1,2,3\n", r"line 3 has 3 cells, and the first line 2 \(delimiter ','\)"),
        (b'a,b\n1,"2\n', "after line 1: a quotation mark is not closed"),
        (b"a,b\n1,\xff\n", "line 2 is not utf-8; encoding='cp1252' may be right"),
        (b"a,b\n1,\0\n", "zero bytes"),
        (b"PK\x03\x04...", "Excel"),
        (b"\x1f\x8b...", "compressed"),
        (b"a,a\n1,2\n", "two columns are named 'a'"),
    ],
)
def test_what_is_no_table(data, message):
    with pytest.raises(ValueError, match=message):
        read_table(io.BytesIO(data))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.ones((3, 2)), TypeError, r"columns have no names: write dict\(zip\(names, X.T, strict=True\)\)"),
        (5, TypeError, "table must be a path to a CSV"),
        ([], TypeError, "table must be"),
        ({}, ValueError, "no columns"),
        ({"a": [1, 2], "b": [1]}, ValueError, "column 'a' has 2 rows, column 'b' 1"),
        ({"a": "text"}, TypeError, r"must be a sequence of cells, got 'text': write \['text'\]"),
        ({"a": 5.1}, TypeError, r"must be a sequence of cells, got 5.1: write \[5.1\]"),
        ({1: [1], "1": [2]}, ValueError, "two columns are named '1'"),
        ({None: [1]}, TypeError, "names of columns must be strings"),
        (io.StringIO("a,b"), TypeError, "open it with 'rb'"),
    ],
)
def test_what_is_no_table_in_memory(source, error, message):
    with pytest.raises(error, match=message):
        read_table(source)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"decimal": ";"}, ValueError, "decimal must be '.' or ','"),
        ({"delimiter": "::"}, ValueError, "delimiter must be one character"),
        ({"header": 1}, TypeError, "header must be True, False or None"),
        ({"encoding": "utf-9"}, ValueError, "Python knows no 'utf-9'"),
        ({"missing": {"x": 1}}, TypeError, "missing must be a list"),
        ({"missing": [1.5]}, TypeError, "missing must be a list"),
    ],
)
def test_settings_of_reading(settings, error, message):
    with pytest.raises(error, match=message):
        read_table(io.BytesIO(b"a,b\n1,2"), **settings)
    if "header" in settings or "delimiter" in settings:
        with pytest.raises((TypeError, ValueError)):
            read_table({"a": [1]}, **settings)


def test_settings_of_files_are_refused_for_other_tables():
    with pytest.raises(ValueError, match="are of CSV files"):
        read_table({"a": [1]}, header=True)
    with pytest.raises(TypeError, match="read already"):
        read_table(read_table({"a": [1]}))


# --- cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "settings", "kind", "values"),
    [
        (["1", "?", " 2.5 "], {}, "number", [1, np.nan, 2.5]),
        (["1,5", "NA", "2"], {"decimal": ","}, "number", [1.5, np.nan, 2]),
        (["1.5", "2"], {"decimal": ","}, "text", ["1.5", "2"]),
        (["1", "-999", "-999.0"], {"missing": "-999"}, "number", [1, np.nan, np.nan]),
        (["a", "gone"], {"missing": ["gone"]}, "text", ["a", None]),
        (["True", "false", ""], {}, "boolean", [1, 0, np.nan]),
        (["1_000", "2"], {}, "text", ["1_000", "2"]),
        (["x", "null"], {}, "text", ["x", None]),
        (["?", ""], {}, "number", [np.nan, np.nan]),
        (["2024-01-31", "NA"], {}, "date", ["2024-01-31", None]),
        (["31.1.2024", "1.2.24"], {}, "date", ["31.1.2024", "1.2.24"]),
        (["2024-01-31 10:00", "2024-01-31T10:00:01Z"], {}, "date", None),
        (["10:00", "23:59:59"], {}, "date", None),
        (["1 Jan 2024", "31-DEC-24", "3. May 2024 10:30"], {}, "date", None),
        (["Sept. 5, 2024", "August 5 2024"], {}, "date", None),
        (["5 marks 20", "1 jam 2024"], {}, "text", ["5 marks 20", "1 jam 2024"]),
        (["2024-01-31", "x"], {}, "text", ["2024-01-31", "x"]),
    ],
)
def test_cells_mean_the_same_in_a_file_and_in_memory(cells, settings, kind, values):
    for source in ({"a": cells}, io.BytesIO(("a|b\n" + "".join(f'"{cell}"|0\n' for cell in cells)).encode())):
        column = read_table(source, **settings).column("a")
        assert column.kind == kind
        if values is not None:
            np.testing.assert_array_equal(
                column.values, np.array(values, object if kind in ("text", "date") else float)
            )
        assert column.missing().tolist() == [v is None or v != v for v in values or cells]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (np.array([1.5, -9]), "number"),
        (np.array([1, -9]), "number"),
        (np.array([True, False]), "boolean"),
        (np.array(["a", "-"]), "text"),
        (np.array([b"a", b"-"]), "text"),
        (np.array(["2024-01-01", "2024-01-02"], "M8[D]"), "date"),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else "",
)
def test_masked_cells_are_missing(data, kind):
    masked = np.ma.masked_array(data, [False, True])
    fields = np.ma.zeros(2, [("a", data.dtype)])
    fields["a"] = masked
    for source in ({"a": masked}, fields):
        column = read_table(source).column("a")
        assert (column.kind, type(column.values)) == (kind, np.ndarray)
        assert column.missing().tolist() == [False, True]
    assert read_table({"a": np.ma.masked_array(data)}).column("a").missing().tolist() == [False, False]


def test_whole_numbers_that_no_float_is():
    with pytest.raises(ValueError, match="column 'x' holds an infinite number in row 1"):
        learned([-(10**400), *range(19)])


def test_numbers_that_mean_missing_in_numeric_columns():
    column = read_table({"a": np.array([1, -999])}, missing=["-999"]).column("a")
    np.testing.assert_array_equal(column.values, [1, np.nan])


@pytest.mark.parametrize(
    "dates",
    [
        np.array(["2024-01-01"] * 20, "M8[D]"),
        np.arange(20).astype("m8[s]"),
        [datetime.date(2024, 1, 1)] * 20,
        [datetime.timedelta(1)] * 20,
        ["2024-01-01 12:30"] * 20,
    ],
)
def test_dates_are_refused_by_name(dates):
    with pytest.raises(ValueError, match=r"in column 'when', such as .*: drop=\['when'\] leaves them out"):
        TabularModel(**QUICK).fit({"when": dates, "x": np.arange(20), "y": np.arange(20.0)}, "y")
    assert TabularModel(**QUICK, drop="when").fit({"when": dates, "x": np.arange(20), "y": np.arange(20.0)}, "y")


@pytest.mark.parametrize("cell", [b"x", [1], 1j, object(), np.arange(2), {"a": 1}])
def test_what_is_neither_number_nor_text_is_refused_where_it_is_needed(cell):
    odd = np.empty(20, object)
    odd[:] = [cell] * 20
    table = {"odd": odd, "x": np.arange(20) % 3, "y": np.arange(20.0)}
    with pytest.raises(ValueError, match=r"column 'odd' holds .*: drop=\['odd'\] leaves it out"):
        TabularModel(**QUICK).fit(table, "y")
    with pytest.raises(ValueError, match=r"target 'odd' holds .*; wanted numbers"):
        TabularModel(**QUICK).fit(table, "odd")
    model = TabularModel(**QUICK, drop="odd").fit(table, "y")
    assert len(model.predict(table)) == 20
    for column, held in (("x", "numbers"), ("y", "numbers")):
        with pytest.raises(ValueError, match=f"'{column}' held {held} in training, and now"):
            model.evaluate({**table, column: odd})
    model = TabularModel(**QUICK, categorical="x").fit({"x": table["x"], "y": ["a", "b"] * 10}, "y")
    for column, held in (("x", "categories"), ("y", "classes")):
        with pytest.raises(ValueError, match=f"'{column}' held {held} in training, and now"):
            model.evaluate({"x": table["x"], "y": ["a", "b"] * 10, column: odd})


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ([f"{i},5" for i in range(40)], "numbers with a comma, such as '0,5': for a decimal comma give decimal=','"),
        (["1,234.5"] * 20 + ["2"] * 20, "numbers with a comma, such as '1,234.5'"),
        ([*map(str, range(38)), "old", "old"], r"2 of 40 cells are no numbers: 'old'; .* missing=\['old'\]"),
        (
            [*(f"2024-01-{i % 28 + 1}" for i in range(38)), "n.d.", "n.d."],
            r"holds dates, but 2 of 40 .* missing=\['n.d.'\]",
        ),
        (
            ["1 000", "12\u00a0500", "7"] + ["3"] * 37,
            "something between thousands, such as '1 000': write them without",
        ),
        ([f"{i}%" for i in range(38)] + ["3", "7"], "numbers with a sign, such as '0%': write them without it"),
        (["$1,200.50", "€ 7"] * 20, r"numbers with a sign, such as '\$1,200.50'"),
        ([np.inf] + [1.0] * 39, "holds an infinite number in row 1"),
    ],
)
def test_numbers_written_oddly_are_refused(odd, message):
    with pytest.raises(ValueError, match=message):
        TabularModel(**QUICK).fit({"x": odd, "y": np.arange(40.0)}, "y")
    if isinstance(odd[0], str):
        with pytest.raises(ValueError, match=message):
            TabularModel(**QUICK).fit({"y": odd, "x": np.arange(40.0)}, "y")
        TabularModel(**QUICK, categorical="x").fit({"x": odd, "y": np.arange(40.0)}, "y")


# --- what is learned of a column ------------------------------------------------------------------


def learned(cells, y=None, **settings):
    """The model of a table with the column x, learned from all rows."""
    rows = len(cells)
    table = {"x": cells, "other": np.arange(rows) ** 2, "y": np.arange(rows) % 2 if y is None else y}
    return TabularModel(**QUICK, validation_split=0, test_split=0, **settings).fit(table, "y")


def inputs(model, cells):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        X = model.encode({"x": cells, "other": np.zeros(len(cells))})
    return X[:-1].T.tolist(), [str(each.message) for each in told]


def test_missing_numbers():
    model = learned([5.0, None, 1.0, 2.0] * 5)
    assert model.inputs == ["x", "x is missing", "other"]
    assert inputs(model, [4, None]) == ([[4.0, 0.0], [2.0, 1.0]], [])
    assert "missing numbers are taken as their column's median, and marked: 'x' (5: 2)" in model.notes


def test_numbers_that_are_missing_at_predict_time_only():
    model = learned([5.0, 1.0, 2.0, 2.0] * 5)
    found, notes = inputs(model, [4, None, None])
    assert found == [[4.0], [2.0], [2.0]]
    assert notes == ["column 'x': 2 of 3 cells are missing, none was in training; the median, 2, is taken"]
    with pytest.warns(fastnn.DataWarning, match="2 of 3 cells are missing"):
        model.predict({"x": [4, None, None], "other": [1, 2, 3]})


def test_categories():
    model = learned(["b", "a", None, "c"] * 5)
    assert model.inputs == ["x=a", "x=b", "x=c", "x is missing", "other"]
    assert inputs(model, ["c", None, "a"]) == ([[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]], [])
    found, notes = inputs(model, ["new", "a", "newer"])
    assert found == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert notes == [
        "column 'x': 2 of 3 cells are of a category that was not in training ('new'); all inputs of that column are 0 "
        "there"
    ]
    with pytest.warns(fastnn.DataWarning, match="not in training"):
        model.predict({"x": ["new"], "other": [1]})


def test_numbers_as_categories():
    model = learned([1, 2.0, 10, 1] * 5, categorical=["x"])
    assert model.inputs == ["x=1", "x=10", "x=2", "other"]
    for cells in ([10, 2], ["10", "2.0"], np.array([10.0, 2.0])):
        assert inputs(model, cells) == ([[0, 1, 0], [0, 0, 1]], [])
    assert inputs(model, ["2.0", "x"])[0] == [[0, 0, 1], [0, 0, 0]]
    times = learned(["10:30", "11:00", "late", "late"] * 5)
    assert inputs(times, ["11:00", None, "10:30"])[0] == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match="'x' held categories in training, and now '2024-01-01'"):
        inputs(times, ["2024-01-01"])
    text = learned(["01", "1", "a", "a"] * 5)
    assert inputs(text, ["01", "1"]) == ([[1, 0, 0], [0, 1, 0]], [])  # all numbers, and still text


def test_true_and_false():
    model = learned([True, False, False] * 7)
    assert inputs(model, ["true", "FALSE"]) == ([[1.0], [0.0]], [])
    assert learned(["True", "false", "?"] * 7).inputs == ["x", "x is missing", "other"]
    assert learned([True, False] * 10, categorical="x").inputs == ["x=false", "x=true", "other"]


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ([7] * 20, "column 'x' is left out: all its cells are 7"),
        (["seven"] * 20, "column 'x' is left out: all its cells are 'seven'"),
        ([None] * 20, "column 'x' is left out: all its cells are missing"),
        ([f"name {i}" for i in range(20)], "column 'x' is left out: it holds 20 texts in 20 rows"),
    ],
)
def test_columns_that_are_left_out(cells, note):
    model = learned(cells)
    assert model.columns == ["other"]
    assert any(each.startswith(note) for each in model.notes)
    with pytest.raises(ValueError, match="no column is left to learn from: column 'x' is left out"):
        TabularModel(**QUICK).fit({"x": cells, "y": np.arange(20.0)}, "y")


def test_points_where_commas_are_expected():
    table = read_table({"x": [f"{i}.5" for i in range(20)], "y": np.arange(20)}, decimal=",")
    with pytest.raises(ValueError, match=r"numbers with a point, such as '0\.5', and was read with decimal=','"):
        TabularModel(**QUICK).fit(table, "y")


@pytest.mark.parametrize("decimal", [",", "."])
@pytest.mark.parametrize("target", ["price", "size"])
def test_points_between_thousands(decimal, target):
    cells = [f"{i}.5{i:02},5" if i % 3 else f"{i},5" for i in range(20)]
    table = read_table({"price": cells, "size": np.arange(20)}, decimal=decimal)
    told = r"with something between thousands, such as '1\.501,5': write them without it, and for the decimal comma"
    with pytest.raises(ValueError, match=told):
        TabularModel(**QUICK).fit(table, target)


def test_what_a_target_of_numbers_and_words_can_be():
    price = [*map(str, range(38)), "old", "old"]
    with pytest.raises(ValueError, match=r"missing=\['old'\]; if these are categories, task='classification'"):
        TabularModel(**QUICK).fit({"x": np.arange(40.0) % 7, "price": price}, "price")


def test_texts_that_name_rows_can_be_asked_for():
    assert len(learned([f"name {i}" for i in range(20)], categorical="x").inputs) == 21


def test_columns_that_count_rows():
    assert "column 'x' counts the rows; drop it if it says nothing else" in learned(np.arange(3, 23)).notes
    text = csv({"": np.arange(N), "a": SIZE, "y": PRICE})
    for settings in ({}, {"test_split": 0}, {"refit": False}):
        model = TabularModel(**QUICK, **settings).fit(io.BytesIO(text.encode()), "y")
        assert model.columns == ["a"]
        assert model.notes.count("column 'Unnamed: 0' is left out: it counts the rows") == 1
    numbers = RNG.permutation(2 * N)[:N]  # rows of a table that was shuffled, some of them without a target
    text = csv({"": numbers, "a": SIZE, "y": [*PRICE[:-1], "?"]})
    assert TabularModel(**QUICK).fit(io.BytesIO(text.encode()), "y").columns == ["a"]
    assert TabularModel(**QUICK).fit(io.BytesIO(text.replace(",a", "n,a", 1).encode()), "y").columns == ["n", "a"]
    with pytest.raises(ValueError, match="no column is left to learn from: column 'Unnamed: 0' is left out"):
        TabularModel(**QUICK).fit(io.BytesIO(csv({"": np.arange(N), "y": PRICE}).encode()), "y")
    assert TabularModel(**QUICK, categorical="n").fit({"n": np.arange(20), "y": np.arange(20.0)}, "y").columns == ["n"]


def test_the_score_is_of_a_network_with_the_same_columns():
    # Texts of which there are fewer than half as many as rows, but not in the part that the first network learns from.
    words = [f"w{i % 55}" for i in range(N)]
    model = TabularModel(epochs=200, lr=0.01).fit({"w": words, "y": np.arange(N) % 55 * 1.0}, "y")
    assert model.columns == ["w"]
    with pytest.raises(ValueError, match="column 'w' is left out: it holds 55 texts in 109 rows"):
        TabularModel(**QUICK).fit({"w": words[:109], "y": PRICE[:109]}, "y")


def test_an_index_is_no_input_of_the_network_that_is_measured(monkeypatch):
    # In a table in the order of its classes the index tells the class; rows without a target leave gaps in it.
    order = np.argsort(SIZE)
    y = np.where(SIZE[order] > 120, "large", "small").astype(object)
    y[[3, 50]] = None
    seen = []
    monkeypatch.setattr(training.Network, "adapt", lambda net, X, *args: seen.append(len(X)))
    model = TabularModel(**QUICK).fit({"Unnamed: 0": np.arange(N), "a": SIZE[order], "y": y}, "y")
    assert (model.columns, seen) == (["a"], [1, 1])
    assert "column 'Unnamed: 0' is left out: it counts the rows" in model.notes


def test_very_many_categories(monkeypatch):
    monkeypatch.setattr(encoding, "_MOST_CATEGORIES", 10)
    model = learned([f"{i % 11}x" for i in range(22)] + ["a", "b"] * 5)
    assert len(model.inputs) == 11
    assert any("of 13 categories the 10 that are most frequent are used" in note for note in model.notes)
    assert {"x=a", "x=b"} <= set(model.inputs)


def test_numbers_far_from_zero_are_standardised_and_zeros_and_ones_are_not():
    rng = np.random.default_rng(1)
    x, g = 1e7 + rng.standard_normal(400), np.array(["a", "b"])[rng.integers(0, 2, 400)]
    model = TabularModel(epochs=60, lr=3e-3, hidden=(16,)).fit(
        {"x": x, "g": g, "y": 1e5 + 5 * (x - 1e7) + 3 * (g == "a")}, "y"
    )
    assert model.score["r2"] > 0.98
    mean, scale, y_mean, _ = model.network.standardisation
    np.testing.assert_allclose(mean.ravel(), [x.mean(), 0, 0])
    np.testing.assert_allclose(scale.ravel(), [x.std(), 1, 1])
    assert y_mean[0, 0] == pytest.approx(1e5, rel=1e-3)


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (["no", "yes"] * 20, "classification", ["no", "yes"]),
        ([True, False] * 20, "classification", [False, True]),
        ([0, 1] * 20, "classification", [0, 1]),
        ([3.0, 1.0, 2.0, 7.0] * 10, "classification", [1, 2, 3, 7]),
        (["1", "2"] * 20, "classification", [1, 2]),
        (np.arange(40) % 20, "regression", None),
        ([0.5, 1.0] * 20, "regression", None),
        (np.arange(40.0), "regression", None),
    ],
)
def test_the_task_is_found(y, task, classes, tmp_path):
    table = {"x": np.arange(40) % 7, "y": y}
    model = TabularModel(**QUICK).fit(table, "y")
    assert model.task == task
    assert model.notes[0].startswith(f"target 'y': {task}, because it holds")
    assert classes is None or model.classes.tolist() == classes
    model.save(tmp_path / "m.npz")
    again = TabularModel.load(tmp_path / "m.npz")
    found = again.predict(table)
    np.testing.assert_array_equal(found, model.predict(table))
    assert found.dtype == model.predict(table).dtype
    assert found.dtype.kind == (np.array(classes).dtype.kind if classes else "f")
    if classes:
        assert set(found.tolist()) <= set(classes)
        P = model.predict_proba(table)
        assert P.shape == (40, len(classes))
        np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(model.classes[P.argmax(axis=1)], found)
    else:
        assert model.classes is None
        with pytest.raises(ValueError, match="no classes"):
            model.predict_proba(table)


def test_the_task_can_be_said():
    table = {"x": np.arange(40) % 7, "y": np.arange(40) % 2, "z": np.arange(40) % 4 / 4, "t": ["a", "b"] * 20}
    assert TabularModel(**QUICK, task="regression").fit(table, "y").task == "regression"
    assert TabularModel(**QUICK, task="classification").fit(table, "z").classes.tolist() == [0, 0.25, 0.5, 0.75]
    with pytest.raises(ValueError, match="target 't' holds text, such as 'a', and no numbers"):
        TabularModel(**QUICK, task="regression").fit(table, "t")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1] * 20, "target 'y' is 1 in all rows: there is nothing to learn"),
        (["a"] * 20, "target 'y' is 'a' in all rows"),
        ([f"n{i}" for i in range(20)], "20 different cells in 20 rows, too many for classes"),
        ([1.0, np.inf] * 10, "target 'y' holds an infinite number"),
        (["2024-01-01"] * 20, "target 'y' holds dates"),
        ([1.5] * 5 + [None] * 15, "the table has 5 rows with a target; 10 are the fewest"),
    ],
)
def test_targets_with_nothing_to_learn(y, message):
    with pytest.raises(ValueError, match=message):
        TabularModel(**QUICK).fit({"x": np.arange(20), "y": y}, "y")


def test_rows_without_a_target_are_left_out():
    y = [None if i % 5 == 0 else i % 2 for i in range(50)]
    model = TabularModel(**QUICK).fit({"x": np.arange(50), "y": y}, "y")
    assert model.rows == 40
    assert any("10 rows are left out, where it is missing" in note for note in model.notes)


# --- training -------------------------------------------------------------------------------------


def test_the_seed_decides_all():
    state = np.random.get_state()[1].copy()
    one, same, other = (TabularModel(**QUICK, seed=seed).fit(TABLE, "place") for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.network.flat_parameters, same.network.flat_parameters)
    assert one.score == same.score
    assert (one.network.flat_parameters != other.network.flat_parameters).any()
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_the_score_is_of_rows_that_were_not_trained_on():
    # The answer is in a column of categories of one row each: known by heart, and of no use for other rows.
    table = {"x": [f"n{i}" for i in range(200)], "y": np.random.default_rng(0).integers(0, 2, 200)}
    model = TabularModel(categorical="x", epochs=40, lr=3e-3, hidden=(64,)).fit(table, "y")
    right, found = model.tested
    assert len(right) == model.tested_rows == 40
    assert model.score["accuracy"] == (right == found).mean() < 0.8
    assert model.score["baseline_accuracy"] == max((right == 0).mean(), (right == 1).mean())
    assert model.evaluate(table)["accuracy"] > 0.95  # all rows were, in the end


def test_parts_of_the_table():
    model = TabularModel(**QUICK, test_split=0, validation_split=0).fit(TABLE, "price")
    assert (model.score, model.tested, model.tested_rows, model.history.val_loss) == ({}, None, 0, [])
    assert model.network.epochs_done == 5
    first = TabularModel(**QUICK, refit=False).fit(TABLE, "price")
    assert len(first.history.val_loss) == 5
    assert first.network.epochs_done == 5
    assert first.score == TabularModel(**QUICK).fit(TABLE, "price").score
    for patience in (1, 3):
        last = TabularModel(lr=0.1, patience=patience, hidden=(8,)).fit(TABLE, "place")
        assert last.network.epochs_done == int(np.ceil(1.5 * (last.history.best_epoch + 1)))
        scores = last.history.metrics["val_brier"]
        assert last.history.stopped == "early_stopping"
        assert len(scores) == last.history.best_epoch + 1 + patience
        assert np.argmin(scores) == last.history.best_epoch


def test_classes_stop_by_briers_score():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((4, 150))
    table = {**{f"x{i}": row for i, row in enumerate(x)}, "y": x[0] + rng.standard_normal(150) > 0}
    found = TabularModel(lr=3e-3, weight_decay=0.0).fit(table, "y").history
    assert np.argmin(found.metrics["val_brier"]) == found.best_epoch != np.argmin(found.val_loss)


@pytest.mark.parametrize(
    "settings",
    [{"lr": 0.01}, {"batch_size": 8}, {"dropout": 0.5}, {"weight_decay": 0.0}, {"hidden": (9,)}, {"epochs": 6}],
)
def test_each_setting_of_training_has_an_effect(settings, expected):
    model = TabularModel(**QUICK | settings).fit(TABLE, "price")
    ours, theirs = model.network.flat_parameters, expected.network.flat_parameters
    assert len(ours) != len(theirs) or (ours != theirs).any()


@pytest.mark.parametrize("repeats", [1, 4])
def test_weight_decay_is_less_for_more_rows(repeats):
    table = {name: np.tile(cells, repeats) for name, cells in TABLE.items()}
    models = [
        TabularModel(**QUICK, weight_decay=decay).fit(table, "price") for decay in (None, min(1, 200 / N / repeats))
    ]
    np.testing.assert_array_equal(*[model.network.flat_parameters for model in models])


def test_brier():
    rng = np.random.default_rng(0)
    A, y = rng.random((1, 9)), rng.integers(0, 2, 9)
    assert brier(y, A) == pytest.approx(np.square(A - y).mean())
    A = rng.random((3, 9))
    A /= A.sum(axis=0)
    y = rng.integers(0, 3, 9)
    assert brier(y, A) == pytest.approx(np.square(A - np.eye(3)[y].T).sum(axis=0).mean())


def test_evaluate():
    model = TabularModel(**QUICK).fit(TABLE, "price")
    found = model.predict(TABLE)
    error, spread = np.square(found - PRICE).mean(), np.square(PRICE - PRICE.mean()).mean()
    wanted = {"r2": 1 - error / spread, "rmse": np.sqrt(error), "baseline_rmse": np.sqrt(spread)}
    assert model.evaluate(TABLE) == pytest.approx(wanted)
    classes = TabularModel(**QUICK).fit(TABLE, "place")
    right = (classes.predict(TABLE) == PLACE).mean()
    most = max((each == PLACE).mean() for each in set(PLACE))
    assert classes.evaluate(TABLE) == {"accuracy": right, "baseline_accuracy": most}
    some = {**TABLE, "place": [None, *PLACE[1:]]}
    assert classes.evaluate(some)["accuracy"] == (classes.predict(TABLE) == PLACE)[1:].mean()
    other = {**TABLE, "place": ["moon"] * N}
    assert classes.evaluate(other) == {"accuracy": 0.0, "baseline_accuracy": 0.0}


def test_evaluate_of_targets_of_another_kind():
    pandas = pytest.importorskip("pandas")
    x = np.arange(60) % 3
    model = TabularModel(epochs=60, lr=0.01, test_split=0).fit({"x": x, "y": x}, "y")
    assert model.predict({"x": [0, 1, 2]}).tolist() == [0, 1, 2]
    for y in ([0, 1, "2.0"], pandas.Categorical(["0", "1", "2"]), pandas.Categorical([0, 1, 2])):
        assert model.evaluate(pandas.DataFrame({"x": [0, 1, 2], "y": y}))["accuracy"] == 1.0
    assert model.evaluate({"x": [0, 1, 2, 0], "y": ["0", "1", "2", "other"]})["accuracy"] == 0.75
    assert model.evaluate({"x": [0, 1], "y": [0, np.inf]})["accuracy"] == 0.5
    model = TabularModel(epochs=60, lr=0.01, test_split=0).fit({"x": x, "y": x == 2}, "y")
    assert model.evaluate({"x": [0, 2, 2, 0], "y": ["false", "True", "perhaps", "0"]})["accuracy"] == 0.5
    model = TabularModel(**QUICK).fit(TABLE, "price")
    with pytest.raises(ValueError, match="'price' holds an infinite number in row 2"):
        model.evaluate({**TABLE, "price": [1.0, np.inf, *PRICE[2:]]})


@pytest.mark.parametrize("large", [2**53, 2**63 + 2**20, 1e30])
def test_categories_that_float64_does_not_tell_apart(large):
    codes = np.array([1, large])[np.arange(20) % 2]
    with pytest.raises(ValueError, match=r"target 'y' has categories that are numbers of 2\^53 and more"):
        TabularModel(**QUICK, task="classification").fit({"x": np.arange(20) % 3, "y": codes}, "y")
    with pytest.raises(ValueError, match=r"column 'x' has categories that are numbers of 2\^53 and more"):
        learned(codes, categorical="x")
    assert learned(codes).inputs == ["x", "other"]
    pandas = pytest.importorskip("pandas")
    numbers = pandas.Categorical([2**53, 2**53 + 1] * 10)  # a type of its own for categories: they are text
    table = pandas.DataFrame({"x": numbers, "y": np.arange(20.0)})
    assert TabularModel(**QUICK).fit(table, "y").inputs == [f"x={2**53}", f"x={2**53 + 1}"]


def test_a_header_is_expected_where_there_was_one():
    given = csv(header=False)
    model = TabularModel(**QUICK).fit(io.BytesIO(given.encode()), 3)
    assert (model.target, model.columns, model.has_header) == ("3", ["0", "1", "2"], False)
    assert model.predict(io.BytesIO(b"50,town,True\n")).shape == (1,)
    given = "\n".join(f"{place},{new}" for place, new in zip(PLACE, NEW, strict=True)).encode()
    model = TabularModel(**QUICK).fit(read_table(io.BytesIO(given), header=False), 1)
    assert model.predict(io.BytesIO(b"town,True\n")).shape == (1,)


def test_a_header_of_numbers(tmp_path):
    rows = np.arange(60.0).reshape(20, 3) % 7
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["0,1,2", *(",".join(map(str, row)) for row in rows)]))
    table = dict(enumerate(rows.T))  # as a data frame whose columns have no names
    for model in (TabularModel(**QUICK).fit(read_table(path, header=True), 2), TabularModel(**QUICK).fit(table, 2)):
        np.testing.assert_array_equal(model.predict(path), model.predict(table))


def test_classes_of_which_one_row_is_rare():
    table = {"x": np.arange(60) % 7, "y": ["a"] * 40 + ["b"] * 19 + ["c"]}
    model = TabularModel(**QUICK).fit(table, "y")
    assert model.classes.tolist() == ["a", "b", "c"]


def test_tables_without_rows():
    model = TabularModel(**QUICK).fit(TABLE, "price")
    assert model.predict({name: cells[:0] for name, cells in TABLE.items()}).shape == (0,)
    with pytest.raises(ValueError, match="no row with a target"):
        model.evaluate({name: cells[:0] for name, cells in TABLE.items()})


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"task": "regresion"}, ValueError, "did you mean 'regression'"),
        ({"hidden": 64}, TypeError, "hidden must be a list of units"),
        ({"hidden": (0,)}, ValueError, r"hidden\[0\]"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"lr": -1.0}, ValueError, "lr must be"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay must be"),
        ({"dropout": 1.0}, ValueError, "dropout must be"),
        ({"patience": 0}, ValueError, "patience"),
        ({"validation_split": 1.0}, ValueError, "validation_split must be a share below 1"),
        ({"test_split": -0.1}, ValueError, "test_split must be"),
        ({"refit": 1}, TypeError, "refit must be True or False"),
        ({"categorical": 1.5}, TypeError, "categorical must be a list of names"),
        ({"drop": {"x": 1}}, TypeError, "drop must be a list of names"),
        ({"seed": -1}, ValueError, "seed"),
        ({"learning_rate": 0.1}, TypeError, "'learning_rate'; did you mean 'lr'"),
    ],
)
def test_settings(settings, error, message):
    with pytest.raises(error, match=message):
        TabularModel(**settings)


@pytest.mark.parametrize(
    ("settings", "target", "message"),
    [
        ({}, "prize", "the table has no column 'prize'; did you mean 'price'"),
        ({}, "zzz", "the table has no column 'zzz'; it has 'size', 'place', 'new', 'price'"),
        ({}, 3, "the table has no column '3'"),
        ({"drop": "prce"}, "price", "no column 'prce'; did you mean 'price'"),
        ({"drop": "price"}, "price", "is the target, so it cannot be dropped"),
        ({"categorical": "plac"}, "price", "no column 'plac'; did you mean 'place'"),
        ({"categorical": "price"}, "price", "categorical has 'price', which is the target or dropped"),
        ({"drop": ["size", "place", "new"]}, "price", "no column beside 'new', 'place', 'price', 'size'"),
        ({"test_split": 0.001}, "price", "test_split=0.001 of 120 samples leaves a part without any"),
    ],
)
def test_names_of_columns(settings, target, message):
    model = TabularModel(**QUICK, **settings)
    with pytest.raises(ValueError, match=message):
        model.fit(TABLE, target)
    with pytest.raises(RuntimeError, match="call fit"):  # it is not known yet whether there are classes
        TabularModel().predict_proba({"a": [1]})
    with pytest.raises(RuntimeError, match="call fit"):
        model.predict(TABLE)


def test_a_failed_fit_changes_nothing(expected):
    model = TabularModel(**QUICK).fit(TABLE, "price")
    with pytest.raises(ValueError, match="no column"):
        model.fit(TABLE, "zzz")
    with pytest.raises(TypeError, match="target must be the name of a column"):
        model.fit(TABLE, PRICE)
    np.testing.assert_array_equal(model.predict(TABLE), expected.predict(TABLE))


def test_the_score_is_no_method():
    model = TabularModel(**QUICK).fit(TABLE, "price")
    with pytest.raises(TypeError, match=r"write model\.evaluate\(table\)"):
        model.score(TABLE)
    assert type(pickle.loads(pickle.dumps(model.score))) is dict


def test_habits_of_estimators():
    with pytest.raises(TypeError, match="got ndarray: put the target into the table, as a column"):
        TabularModel(**QUICK).fit({"size": SIZE}, PRICE)
    with pytest.raises(TypeError, match=r"fit\(\) has no argument 'epochs'; write TabularModel\(epochs=...\)"):
        TabularModel().fit(TABLE, "price", epochs=3)
    with pytest.raises(TypeError, match=r"fit\(\) has no argument 'verbose'"):
        TabularModel().fit(TABLE, "price", verbose=3)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"size": [1], "plaze": ["town"], "new": [True]},
            "lacks a column that the model needs: 'place'; did you mean 'plaze'",
        ),
        ({"size": [1]}, "the table lacks 2 columns that the model needs: 'place', 'new'"),
        (io.BytesIO(b"5,town,1\n6,land,0"), "'new'; it has '5', 'town', '1'$"),
        (read_table(io.BytesIO(b"5,town,1\n6,land,0"), header=False), "'1', '2', as it has no line of names"),
        (
            {"size": ["big"], "place": ["town"], "new": [True]},
            "'size' held numbers in training, and now 'big' in row 1",
        ),
        ({"size": ["1,5"], "place": ["town"], "new": [True]}, "for a decimal comma give decimal=','"),
        ({"size": [-np.inf], "place": ["town"], "new": [True]}, "'size' holds an infinite number in row 1"),
        ({"size": ["1_000"], "place": ["town"], "new": [True]}, "in training, and now '1_000' in row 1"),
        (
            read_table({"size": ["1.5", "2.5"], "place": ["town"] * 2, "new": [True] * 2}, decimal=","),
            r"numbers with a point, such as '1\.5', and was read with decimal=','",
        ),
    ],
)
def test_tables_that_a_model_cannot_predict(expected, table, message):
    with pytest.raises(ValueError, match=message):
        expected.predict(table)


def test_a_row_without_a_cell_has_a_prediction(expected):
    text = b"size,place,new\n50,town,true\n,,\n60,land,false\n"
    with pytest.warns(fastnn.DataWarning):
        found = expected.predict(io.BytesIO(text))
    assert len(found) == 3
    assert found[2] == expected.predict({"size": [60], "place": ["land"], "new": [False]})


def test_numbers_of_a_type_for_categories(expected):
    pandas = pytest.importorskip("pandas")
    numbers = {"place": ["town"] * 3, "new": [True] * 3}
    table = pandas.DataFrame({**numbers, "size": pandas.Categorical(["60", None, "80.5"])})
    with pytest.warns(fastnn.DataWarning, match="1 of 3 cells is missing"):
        found = expected.predict(table)
    with pytest.warns(fastnn.DataWarning, match="1 of 3 cells is missing"):
        np.testing.assert_array_equal(found, expected.predict({**numbers, "size": [60, None, 80.5]}))


@pytest.mark.parametrize("large", [1e39, 1e100, -1e200])
def test_numbers_that_are_too_large(large, expected):
    told = "too large a number, in row 2" if large == -1e200 else "too far from the numbers of training"
    with pytest.raises(ValueError, match=rf"'size' holds {large:g}, {told}".replace("+", r"\+")):
        expected.predict({"size": [50, large], "place": ["town"] * 2, "new": [True] * 2})
    for place in range(0, N, 5):  # rows of all parts
        sizes = SIZE.copy()
        sizes[place] = large
        try:
            score, told = TabularModel(epochs=1, hidden=()).fit({**TABLE, "size": sizes}, "price").score, None
        except ValueError as error:
            score, told = {}, str(error)
        assert np.isfinite(list(score.values())).all()
        assert score or f"column 'size' holds {large:g}, too" in told
    assert TabularModel(epochs=1).fit({**TABLE, "size": SIZE * 1e40}, "price").score  # all of a size


@pytest.mark.parametrize(("factor", "what"), [(1e40, "large"), (1e-45, "small")])
def test_targets_that_float32_does_not_hold(factor, what):
    with pytest.raises(
        ValueError, match=f"target 'price' holds values of up to .*, too {what} for predictions in float32"
    ):
        TabularModel(**QUICK).fit({**TABLE, "price": PRICE * factor}, "price")


def test_evaluate_needs_a_target(expected):
    with pytest.raises(ValueError, match="no column 'price'"):
        expected.evaluate({name: cells for name, cells in TABLE.items() if name != "price"})
    with pytest.raises(ValueError, match="target 'price' held numbers in training, and now 'dear'"):
        expected.evaluate({**TABLE, "price": ["dear"] * N})


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["price", "place", "new"])
def test_a_file_keeps_everything(target, tmp_path):
    table = {**TABLE, "odd name\n": [None, "ß", "x"] * 40, "n": [None, 1.5, 0.1] * 40}
    model = TabularModel(**QUICK, seed=2**64 - 1).fit(table, target)
    model.save(tmp_path / "m.npz")
    again = TabularModel.load(tmp_path / "m.npz")
    for name in (
        "task",
        "target",
        "columns",
        "inputs",
        "score",
        "rows",
        "tested_rows",
        "notes",
        "settings",
        "encoders",
    ):
        assert getattr(again, name) == getattr(model, name), name
    np.testing.assert_array_equal(again.predict(table), model.predict(table))
    assert again.evaluate(table) == model.evaluate(table)
    network = fastnn.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(network.flat_parameters, model.network.flat_parameters)
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        assert "W1" in archive.files
    buffers = io.BytesIO(), io.BytesIO()
    model.save(buffers[0])
    again.save(buffers[1])
    assert buffers[0].getvalue() == buffers[1].getvalue() == (tmp_path / "m.npz").read_bytes()


def test_files_that_are_no_models(tmp_path):
    path = tmp_path / "net.npz"
    fastnn.Network([2, 1], seed=0).save(path)
    with pytest.raises(ValueError, match=r"a network without a table: read it with fastnn\.load"):
        TabularModel.load(path)
    with pytest.raises(FileNotFoundError):
        TabularModel.load(tmp_path / "none.npz")
    TabularModel(**QUICK).fit(TABLE, "price").save(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"town")] ^= 1
    with pytest.raises(ValueError, match="not a readable fastnn model"):
        TabularModel.load(io.BytesIO(data))


def places_of(value, path=()):
    """Paths to all that is in a header, at most three entries of a list."""
    yield path
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value[:3])
        for key, item in items:
            yield from places_of(item, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    value = dict(value) if isinstance(value, dict) else list(value)
    value[path[0]] = changed(value[path[0]], path[1:], new)
    return value


def lacking(value, path):
    value = json.loads(json.dumps(value))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return value


ODD = (None, -5, [[]], 1e999, float("nan"), "x", [], {})


@pytest.mark.parametrize(
    ("target", "odd"),
    [("place", ()), *(pytest.param(target, ODD, marks=pytest.mark.slow) for target in ("price", "place"))],
)
def test_a_hostile_header_is_an_error_and_runs_nothing(target, odd):
    buffer = io.BytesIO()
    table = {**TABLE, "n": [None, 1.5, 0.1] * 40}
    TabularModel(**QUICK).fit(table, target).save(buffer)
    header, arrays = files.load(io.BytesIO(buffer.getvalue()))
    del header["sha256"]
    free = (
        "notes",
        "score",
        "rows",
        "tested_rows",
        "has_header",
        "settings",
        "name",
        "categories",
        "labels",
        "mean",
        "fill",
    )
    for path in places_of(header["table"]):
        hostile = [changed(header["table"], path, new) for new in odd]
        hostile += [lacking(header["table"], path)] if path else []
        for each in hostile:
            spoilt = io.BytesIO()
            files.save(spoilt, {**header, "table": each}, arrays)
            spoilt.seek(0)
            try:
                model = TabularModel.load(spoilt)
            except ValueError as error:
                found = str(error)
            else:
                found = None
            if found:
                assert "is not a readable model of a table" in found
                continue
            assert set(path) & set(free), path  # a value that could be there: the model works with it
            if not set(path) & {"name", "categories", "labels"}:
                model.predict(table)


@pytest.mark.parametrize(
    ("network", "part"),
    [
        (([4, 3],), "sizes"),
        (([3, 8, 2],), "sizes"),
        (([3, 3], ["sigmoid"]), "the output 'sigmoid'"),
        (([3, 3], ["softmax"], "mse"), "the loss 'mse'"),
    ],
)
def test_networks_that_do_not_fit_the_table(network, part):
    buffer, other, spoilt = io.BytesIO(), io.BytesIO(), io.BytesIO()
    TabularModel(**QUICK).fit(TABLE, "place").save(buffer)
    header, _ = files.load(io.BytesIO(buffer.getvalue()))
    fastnn.Network(*network, seed=0).save(other)
    base, arrays = files.load(io.BytesIO(other.getvalue()))
    files.save(spoilt, {**base, "format": 2, "table": header["table"]}, arrays)
    spoilt.seek(0)
    with pytest.raises(ValueError, match=f"its network has {part}"):
        TabularModel.load(spoilt)


def test_scores_in_a_file_are_those_of_the_task():
    buffer = io.BytesIO()
    TabularModel(**QUICK).fit(TABLE, "place").save(buffer)
    header, arrays = files.load(io.BytesIO(buffer.getvalue()))
    for score in ({"r2": 1.0, "rmse": 1.0, "baseline_rmse": 1.0}, {"accuracy": 1.0}, {"a": 1.0}):
        spoilt = io.BytesIO()
        files.save(spoilt, {**header, "table": changed(header["table"], ("score",), score)}, arrays)
        spoilt.seek(0)
        with pytest.raises(ValueError, match="its scores must be accuracy, baseline_accuracy, got"):
            TabularModel.load(spoilt)


def test_names_in_a_file_differ():
    buffer = io.BytesIO()
    TabularModel(**QUICK).fit(TABLE, "place").save(buffer)
    header, arrays = files.load(io.BytesIO(buffer.getvalue()))
    for path, name in ((("columns", 0, "name"), "new"), (("target", "name"), "size")):
        spoilt = io.BytesIO()
        files.save(spoilt, {**header, "table": changed(header["table"], path, name)}, arrays)
        spoilt.seek(0)
        with pytest.raises(ValueError, match="its columns must have different names"):
            TabularModel.load(spoilt)


def test_copies_and_pickles():
    model = TabularModel(**QUICK).fit(TABLE, "place")
    for twin in (copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin.predict(TABLE), model.predict(TABLE))
        assert twin.settings == model.settings


def test_zip_of_a_model_is_stored():
    buffer = io.BytesIO()
    TabularModel(**QUICK).fit(TABLE, "price").save(buffer)
    with zipfile.ZipFile(buffer) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_parquet_without_a_reader(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "polars", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="Parquet files are read by polars, or by pandas"):
        read_table(path)
    with pytest.raises(ImportError, match="Parquet files are read by polars, or by pandas"):
        read_table(io.BytesIO(b"PAR1"))  # of stdin, which has no name to tell
    path.rename(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"it is a Parquet file: name it \.parquet"):
        read_table(tmp_path / "t.csv")
    path.write_bytes(b"a,b")
    with pytest.raises(ValueError, match="it is not a Parquet file"):
        read_table(path)


@given(st.binary(max_size=60) | st.text(',;\t|"\n\r 1.5ab?-é', max_size=60).map(str.encode))
def test_any_bytes_are_a_table_or_a_value_error(data):
    try:
        table = read_table(io.BytesIO(data))
    except ValueError:
        return
    assert table.rows >= 0
    assert len(table.names) >= 1
    for name in table.names:
        assert len(table.column(name).values) == table.rows


CELLS = st.none() | st.floats() | st.booleans() | st.integers(-9, 9) | st.text("ab1.,? -", max_size=4) | st.dates()


@given(st.lists(st.tuples(CELLS, CELLS, st.integers(0, 1)), min_size=10, max_size=20))
def test_any_cells_are_learned_or_a_value_error(rows):
    table = dict(zip("xzy", map(list, zip(*rows, strict=True)), strict=True))
    try:
        model = TabularModel(epochs=1, hidden=(), test_split=0, validation_split=0).fit(table, "y")
    except ValueError:
        return
    assert len(model.predict(table)) == len(rows)
    again = io.BytesIO()
    model.save(again)
    again.seek(0)
    np.testing.assert_array_equal(TabularModel.load(again).predict(table), model.predict(table))


def test_a_model_in_the_place_of_its_network(plt, tmp_path):
    model = TabularModel(**QUICK).fit(TABLE, "place")
    with pytest.raises(TypeError, match=r": write model\.network, and X = model\.encode\(table\)"):
        fastnn.plots.confusion_matrix(model, TABLE, [0])
    with pytest.raises(TypeError, match=r": write model\.history"):
        fastnn.plots.loss_curve(model)
    with pytest.raises(TypeError, match=r"to_c takes .*: write model\.network, whose X is model\.encode\(table\)"):
        fastnn.exchange.to_c(model, tmp_path / "model.c")
    ax = fastnn.plots.confusion_matrix(model.network, model.encode(TABLE), np.unique(PLACE, return_inverse=True)[1])
    assert ax.images[0].get_array().sum() == N
    assert list(tmp_path.iterdir()) == []
