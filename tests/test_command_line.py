"""The command fastnn: what it prints where, its exit codes, and that a user's mistake gives one line."""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

import fastnn
from conftest import alone
from fastnn import command_line
from fastnn.commands import bench, contenders
from fastnn.tabular import TabularModel
from tables_of_people import TABLES
from test_main import ROOT

pytestmark = alone  # it prints, and changes the folder
COMMANDS = ["demo", "info", "bench", "train", "predict", "inspect", "export"]
RNG = np.random.default_rng(0)
SIZES, KINDS = RNG.uniform(1, 9, 80).round(2), np.array(["a", "b"])[RNG.integers(0, 2, 80)]
ROWS = [f"{size},{kind},{2 * size + (kind == 'a'):.2f}" for size, kind in zip(SIZES, KINDS, strict=True)]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["size,kind,price", *ROWS]))
    return path


@pytest.fixture
def model(table):
    TabularModel(epochs=5, hidden=(8,)).fit(str(table), "price").save("model.npz")
    return "model.npz"


@pytest.fixture
def run(capsys):
    """Run the command in this process: exit code, stdout and stderr, each as lines."""

    def run(*argv):
        try:
            code = command_line.main([str(each) for each in argv])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out.splitlines(), err.splitlines()

    return run


@contextlib.contextmanager
def process(*argv, start=(), **options):
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    env["PYTHONWARNINGS"] = "ignore:fastnn runs on its NumPy backend:RuntimeWarning"  # where nothing was compiled
    command = [*start, sys.executable, "-m", "fastnn", *map(str, argv)]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, **options) as child:
        yield child


# --- help and usage -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_screen(command, run):
    code, out, err = run(*filter(None, [command, "--help"]))
    assert (code, err) == (0, [])
    assert len(out) <= 24
    assert max(map(len, out)) <= 80
    assert out[0].startswith(f"usage: fastnn {command or '[COMMAND]'}")
    if not command:
        assert [line.split()[0] for line in out[5:12]] == COMMANDS


def test_version(run):
    assert run("--version") == (0, [f"fastnn {fastnn.__version__}"], [])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "invalid choice: 'trian'"),
        (["train", "t.csv"], "the following arguments are required: --target"),
        (["train", "t.csv", "--target", "y", "--hidden", "a"], "'a' is no list of numbers such as 128,64"),
        (["train", "t.csv", "--target", "y", "--hidden", "0"], "hidden[0] must be at least 1, got 0"),
        (["train", "t.csv", "--target", "y", "--epochs", "0"], "epochs must be at least 1, got 0"),
        (["train", "t.csv", "--target", "y", "--task", "regres"], "task must be 'auto', 'classification' or"),
        (["train", "t.csv", "--target", "y", "--drop", ","], "',' has an empty name"),
        (["train", "t.csv", "--target", "y", "--header", "--no-header"], "not allowed with argument"),
        (["train", "t.csv", "--target", "y", "--delimiter", "::"], "'::' is not one character, such as ';' or"),
        (["export", "m.npz", "--to", "tflite"], "invalid choice: 'tflite'"),
        (["bench", "--nets", "3"], "--nets: a net is sizes and batch such as 64-32-10x32"),
        (["bench", "--libraries", "torhc"], "--libraries: 'torhc' is none of fastnn, numpy, torch, jax, sklearn; did"),
        (["bench", "--seconds", "0"], "--seconds must be above 0"),
        (["train", "t.csv", "--target", "y", "-o", "-"], "'-' is stdout, which is for text: name a file"),
        (["export", "m.npz", "--to", "c", "-o", "-"], "'-' is stdout, which is for text: name a file"),
        (["bench", "--plot", "-"], "'-' is stdout, which is for text: name a file"),
    ],
)
def test_usage(argv, message, run):
    code, out, err = run(*argv)
    assert (code, out) == (2, [])
    assert err[0].startswith("usage: fastnn")
    assert re.match(rf"fastnn.*: error: .*{re.escape(message)}", err[-1])


# --- train and predict ----------------------------------------------------------------------------


def test_train_predict_inspect(table, run):
    code, out, err = run("train", table, "--target", "price", "-o", "m.npz", "--epochs", 20, "--hidden", "8,4")
    assert code == 0
    assert [line.split()[0] for line in out] == ["task", "rmse", "baseline", "r2", "trained", "model"]
    assert err[0] == f"{table}: 80 rows, 3 columns"
    model = TabularModel.load("m.npz")
    assert (model.settings["epochs"], model.network.sizes) == (20, (3, 8, 4, 1))
    epochs = re.match(r"trained +80 rows, (\d+) epochs \(chosen in a first training of (\d+)\), ", out[4])
    assert int(epochs[1]) == model.network.epochs_done
    assert int(epochs[2]) <= 20
    assert out[1] == f"rmse       {model.score['rmse']:.4g}, on 16 rows that were not trained on"

    code, out, err = run("predict", "m.npz", table)
    assert (code, err) == (0, ["columns that are not needed: price (the target)"])
    assert out[0] == "price"
    np.testing.assert_allclose(np.array(out[1:], float), model.predict(str(table)), rtol=1e-6)

    out_before = out
    code, out, err = run("predict", "m.npz", table, "-o", "out.csv")
    assert (code, out, err[-1]) == (0, [], "out.csv: 80 rows")
    assert Path("out.csv").read_text().splitlines() == out_before

    code, out, err = run("inspect", "m.npz")
    assert (code, err) == (0, [])
    assert any(re.match(r"size +1  number, \d\S* if missing$", line) for line in out)
    assert any(re.match(r"kind +2  one of a, b$", line) for line in out)


def test_classes_and_their_probabilities(table, run):
    code, out, _ = run("train", table, "--target", "kind", "-o", "m.npz", "--epochs", 5)
    assert code == 0
    assert out[0] == "task       classification of kind, 2 classes: a, b"
    assert [line.split()[0] for line in out] == ["task", "accuracy", "baseline", "trained", "model"]
    code, out, _ = run("predict", "m.npz", table, "--probabilities")
    rows = list(csv.reader(out))
    assert rows[0] == ["kind", "p(a)", "p(b)"]
    for kind, a, b in rows[1:]:
        assert float(a) + float(b) == pytest.approx(1, rel=1e-5)
        assert kind == ("b" if float(b) >= 0.5 else "a")


def test_classes_that_are_fractions_keep_their_digits(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    labels = [0.1, 1234567.25]
    Path("t.csv").write_text("\n".join(["x,y", *[f"{i % 2},{labels[i % 2]}" for i in range(40)]]))
    code, *_ = run("train", "t.csv", "--target", "y", "--task", "classification", "-o", "m.npz", "--lr", 0.01)
    assert code == 0
    _, out, _ = run("predict", "m.npz", "t.csv")
    assert out[:3] == ["y", "0.1", "1234567.25"]


def test_predictions_are_printed_as_they_are(table, capsys):
    labels = ["a\xa0\u2028b", 'x\ny, "z"\x1b']
    TabularModel(epochs=2).fit({"size": SIZES, "kind": np.array(labels)[(KINDS == "a").astype(int)]}, "kind").save(
        "m.npz"
    )
    assert command_line.main(["predict", "m.npz", str(table)]) == 0
    assert command_line.main(["predict", "m.npz", str(table), "-o", "out.csv"]) == 0
    out = capsys.readouterr().out
    assert out == Path("out.csv").read_text("utf-8")
    assert {row[0] for row in csv.reader(io.StringIO(out, newline=""))} <= {"kind", *labels}


def test_the_help_tells_the_defaults(run):
    text = "\n".join(run("train", "--help")[1])
    for name, value in TabularModel().settings.items():
        found = re.search(rf"--{name} .*\((\S+)\)$", text, re.MULTILINE)
        if found:
            assert found[1] == (",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"), name
    assert text.count("(") >= 6


def test_without_header_by_number(table, run):
    table.write_text("\n".join(ROWS))
    code, out, err = run("train", table, "--target", 2, "-o", "m.npz", "--epochs", 5, "--drop", 1)
    assert code == 0
    assert err[0] == f"{table}: 80 rows, 3 columns; no header, columns are called 0 to 2"
    code, out, err = run("predict", "m.npz", table)
    assert (code, len(out), err) == (0, 80, ["columns that are not needed: 1, 2 (the target)"])


def test_a_header_of_numbers_is_one_again(table, run):
    table.write_text("\n".join(["2021,2022", *[f"{i % 5},{i % 5 * 2.5}" for i in range(40)]]))
    assert run("train", table, "--target", 2022, "--header", "-o", "m.npz", "--epochs", 2)[0] == 0
    code, out, _ = run("predict", "m.npz", table)
    assert (code, out[0], len(out)) == (0, "2022", 41)


def test_no_model_is_kept_without_output(table, run):
    code, _, err = run("train", table, "--target", "price", "--epochs", 2)
    assert (code, err[-1]) == (0, "the model is not kept; -o model.npz does")
    assert [path.name for path in table.parent.iterdir()] == ["table.csv"]


def test_settings_and_reading_arrive(table, run):
    table.write_text(table.read_text().replace(",", ";").replace(".", ",").replace(";b;", ";gone;"), "cp1252")
    options = "--delimiter ; --decimal , --encoding cp1252 --missing gone --seed 7 --lr 0.01 --dropout 0.1 --patience 3"
    argv = ["train", table, "--target", "price", "-o", "m.npz", "--header", "--task", "regression", *options.split()]
    code, _, err = run(*argv, "--epochs", 4, "--categorical", "size")
    assert code == 0
    model = TabularModel.load("m.npz")
    wanted = {"seed": 7, "lr": 0.01, "dropout": 0.1, "patience": 3, "epochs": 4, "categorical": ("size",)}
    assert wanted.items() <= model.settings.items()
    assert model.settings["task"] == "regression"
    assert "kind is missing" in model.inputs
    assert not any("because" in line for line in err)


def test_stdin(table, model, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(table.read_bytes())))
    code, out, _ = run("predict", model, "-")
    assert (code, len(out)) == (0, 81)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert run("train", "-", "--target", "x") == (1, [], ["fastnn train: error: stdin: it is empty"])
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = run("predict", model, "-")
    assert (code, err) == (1, ["fastnn predict: error: stdin is closed; name a file"])
    reader = types.SimpleNamespace(read_parquet=lambda source: {"size": [1.0, 2.0], "kind": ["a", "b"]})
    monkeypatch.setitem(sys.modules, "polars", reader)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"PAR1")))  # Parquet, which has no header
    code, out, _ = run("predict", model, "-")
    assert (code, len(out)) == (0, 3)


def test_what_was_not_in_training_is_said(table, model, run):
    table.write_text("size,kind\n1,new\n,a\n")
    code, out, err = run("predict", model, table)
    assert (code, len(out)) == (0, 3)
    assert [line.split(":")[0] for line in err] == ["column 'size'", "column 'kind'"]


@pytest.mark.slow
def test_a_report_picture(table, run):
    pytest.importorskip("matplotlib")
    for target in ("price", "kind"):
        code, *_ = run("train", table, "--target", target, "--epochs", 3, "--plot", f"{target}.png")
        assert code == 0
        assert Path(f"{target}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("plot", ["picture", "picture.doc", "picture.npz", "m.png", "../{}/m.png"])
def test_a_picture_that_cannot_be_written_is_told_before_the_work(plot, table, run, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(TabularModel, "fit", None)
    monkeypatch.setattr(bench, "measured", None)
    plot = plot.format(table.parent.name)
    code, out, err = run("train", table, "--target", "price", "-o", "m.png", "--plot", plot)
    assert (code, out) == (2, [])
    if "m.png" in plot:
        assert err[-1] == f"fastnn train: error: -o and --plot name the same file, {plot}"
        return
    assert err[-1] == f"fastnn train: error: --plot: {plot!r} must end in .png, .svg, .pdf or the like"
    assert run("bench", "--plot", plot)[0] == 2
    assert sorted(path.name for path in table.parent.iterdir()) == ["table.csv"]


def test_a_model_that_cannot_be_written_is_told_before_the_work(table, run, monkeypatch):
    monkeypatch.setattr(TabularModel, "fit", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    code, _, err = run("train", table, "--target", "price", "-o", "m.safetensors")
    assert (code, err[-1].split(": ")[2]) == (1, "files that end in .safetensors need the package safetensors")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    code, _, err = run("train", table, "--target", "price", "-o", "m.npz")
    assert (code, err) == (1, ["fastnn train: error: m.npz: Permission denied"])


def test_a_picture_is_written_as_a_whole_or_not_at_all(table, run, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    argv = "train", table, "--target", "price", "--epochs", 1, "--plot"
    Path("old.png").write_bytes(b"old")
    if os.path.exists("/dev/full"):
        Path("full.png").symlink_to("/dev/full")
        assert run(*argv, "full.png")[2][-1] == "fastnn train: error: full.png: No space left on device"

    def fails(figure, file, **_):
        file.write(b"half")
        raise RuntimeError("no TeX")

    monkeypatch.setattr(Figure, "savefig", fails)
    code, out, err = run(*argv, "old.png")
    assert (code, out, err[-1]) == (1, [], "fastnn train: error: old.png: no TeX")
    assert Path("old.png").read_bytes() == b"old"


def test_names_with_signs_of_dollars(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib").use("agg")
    from matplotlib.figure import Figure

    from fastnn.commands import pictures

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **more: drawn.append(figure))
    wages = ["$0-$50", "$50-$99", r"a$\b"]
    target = r"$w_\age$"
    model = TabularModel(epochs=1).fit({"x": np.arange(60), target: wages * 20}, target)
    pictures.of_training(model, str(tmp_path / "x.png"))
    model = TabularModel(epochs=1).fit({"x": np.arange(60) % 7, target: np.arange(60.0)}, target)
    pictures.of_training(model, str(tmp_path / "x.png"))
    for figure in drawn:
        figure.draw_without_rendering()
        axes = figure.axes[1]
        texts = [axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
        assert not any(each._preprocess_math(each.get_text())[1] is True for each in texts if "$" in each.get_text())
    read = [each._preprocess_math(each.get_text())[0] for each in drawn[0].axes[1].get_xticklabels()]
    assert read == wages
    assert drawn[1].axes[1].xaxis.label._preprocess_math(drawn[1].axes[1].get_xlabel())[0] == target


def test_what_a_report_picture_draws(table, plt):
    from fastnn.commands import pictures

    for target in ("price", "kind"):
        model, figure = TabularModel(epochs=3).fit(table, target), plt.figure()
        losses, found = pictures.draw_training(figure, model)
        right, predicted = model.tested
        np.testing.assert_array_equal(losses.lines[0].get_ydata(), model.history.loss)
        assert f"{model.score.get('rmse', model.score.get('accuracy')):.3g}"[:3] in found.get_title()
        if target == "price":
            np.testing.assert_array_equal(found.collections[0].get_offsets(), np.transpose([right, predicted]))
        else:
            counts = [[np.sum((right == a) & (predicted == b)) for b in model.classes] for a in model.classes]
            np.testing.assert_array_equal(found.images[0].get_array(), counts)
            assert [text.get_text() for text in found.get_xticklabels()] == model.classes.tolist()


def test_names_that_steer_a_terminal(tmp_path, run):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["größe,a\x1b[31m", *[f"{i % 7},{i % 5 * 1.5}" for i in range(40)]]), "utf-8")
    code, out, _ = run("train", path, "--target", "a\x1b[31m", "--epochs", 2)
    assert code == 0
    assert out[0] == "task       regression of a\\x1b[31m"
    assert "größe" in run("train", path, "--target", "x")[2][-1]


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("train none.csv --target x", "none.csv: No such file or directory"),
        ("train . --target x", ".: Is a directory"),
        ("train empty.csv --target x", "empty.csv: it is empty"),
        ("train one.csv --target x", "the table has no column beside 'x'"),
        ("train table.csv --target prize", "table.csv has no column 'prize'; did you mean 'price'?"),
        ("train table.csv --target price --drop kindd", "table.csv has no column 'kindd'; did you mean 'kind'?"),
        ("train comma.csv --target x", "such as '1,5': for a decimal comma give --decimal ,; commas between"),
        ("train dates.csv --target x", "in column 'day', such as '2024-01-01': --drop day leaves them out"),
        ("train latin.csv --target x", "latin.csv: line 2 is not utf-8; --encoding cp1252 may be right"),
        ("train table.csv --target price -o none/m.npz", "none: there is no such folder"),
        ("train table.csv --target price -o .", ".: it is a folder; name a file"),
        ("train table.csv --target price -o table.csv", "table.csv would be overwritten, which is read here"),
        ("predict table.csv table.csv", "'table.csv' is not a readable fastnn model"),
        ("predict none.npz table.csv", "none.npz: No such file or directory"),
        ("predict model.npz one.csv", "one.csv lacks 2 columns that the model needs: 'size', 'kind'"),
        ("predict model.npz table.csv -o model.npz", "model.npz would be overwritten"),
        (
            "predict model.npz capitals.csv",
            "lacks 2 columns that the model needs: 'size', 'kind'; it has 'Size', 'KIND': ",
        ),
        ("predict model.npz near.csv", "near.csv lacks a column that the model needs: 'kind'"),
        ("predict net.npz table.csv", "net.npz holds a network without a table"),
        ("inspect .", ".: Is a directory"),
        ("inspect empty.csv", "it is empty"),
        ("export none.npz --to c", "none.npz: No such file or directory"),
    ],
)
def test_mistakes(argv, message, table, model, run):
    files = {
        "empty.csv": b"",
        "one.csv": b"x\n1\n2",
        "capitals.csv": b"Size,KIND\n1,a",
        "near.csv": b"size,kid\n1,a",
        "comma.csv": b"x;y\n" + b"1,5;2\n2,5;3\n" * 20,
        "dates.csv": b"day,x\n" + b"2024-01-01,3\n" * 20,
        "latin.csv": b"a,x\n\xfc,3",
    }
    for name, data in files.items():
        (table.parent / name).write_bytes(data)
    fastnn.Network([2, 1], seed=0).save("net.npz")
    before = {path.name: path.read_bytes() for path in table.parent.iterdir()}
    code, out, err = run(*argv.split())
    assert (code, out) == (1, [])
    assert re.match(rf"fastnn {argv.split()[0]}: error: .*{re.escape(message)}", err[-1])
    assert {path.name: path.read_bytes() for path in table.parent.iterdir()} == before


def test_what_a_message_says_can_be_written(table, run):
    table.write_text(
        "\n".join(['"day, local",other day,x,y', *[f"2024-01-{i + 1},10:{i + 10},{i},{i}" for i in range(20)]])
    )
    code, _, err = run("train", table, "--target", "y")
    (told,) = re.findall(r"(--drop .*) leaves them out", err[-1])
    assert code == 1
    assert run("train", table, "--target", "y", "--epochs", 1, *shlex.split(told))[0] == 0


def test_the_model_goes_first(table, model, run):
    code, out, err = run("predict", "table.csv", model)
    assert (code, out) == (2, [])
    assert err[-1] == "fastnn predict: error: the model goes first: predict model.npz table.csv"


def test_a_column_that_the_model_has_is_not_suggested(table, run):
    table.write_text("\n".join(["kind1,kind2,y", *(f"{i % 7},{i % 5},{i % 3 * 1.5}" for i in range(40))]))
    assert run("train", table, "--target", "y", "--epochs", 2, "-o", "m.npz")[0] == 0
    Path("less.csv").write_text("kind1\n1")
    code, _, err = run("predict", "m.npz", "less.csv")
    assert (code, err) == (1, ["fastnn predict: error: less.csv lacks a column that the model needs: 'kind2'"])


def test_probabilities_of_numbers(table, model, run):
    code, _, err = run("predict", model, table, "--probabilities")
    assert (code, err[-1]) == (
        2,
        "fastnn predict: error: --probabilities: the model predicts numbers, 'price', and no classes",
    )


# --- inspect and export ---------------------------------------------------------------------------


def test_inspect_a_plain_network(tmp_path, run):
    net = fastnn.Network([3, 2, 1], seed=0)
    net.save(tmp_path / "net.npz")
    assert run("inspect", tmp_path / "net.npz") == (0, net.summary().splitlines(), [])


@pytest.fixture
def exchange(monkeypatch):
    """A stand-in for fastnn.exchange, which writes what it is given."""
    assert fastnn.exchange  # imported, so that its place in the package is restored afterwards
    module = types.ModuleType("fastnn.exchange")
    module.to_onnx = module.to_c = lambda net, path: Path(path).write_text(str(net.sizes))
    monkeypatch.setitem(sys.modules, "fastnn.exchange", module)
    monkeypatch.setattr(fastnn, "exchange", module, raising=False)


def test_export(exchange, model, run):
    code, out, err = run("export", model, "--to", "onnx")
    assert (code, out) == (0, ["model.onnx"])
    assert err == ["inputs (3): size, kind=a, kind=b", "outputs: price"]
    assert Path("model.onnx").read_text() == "(3, 8, 1)"
    assert run("export", model, "--to", "c", "-o", "x.c")[1] == ["x.c"]
    assert run("export", model, "--to", "c", "-o", model)[0] == 1
    for target, outputs in (("kind", "p(b)"), ("three", "p(0), p(1), p(2)")):
        data = {"size": SIZES, "kind": KINDS, "three": np.arange(80) % 3}
        TabularModel(epochs=1, hidden=()).fit(data, target).save("classes.npz")
        assert run("export", "classes.npz", "--to", "c")[2][1] == f"outputs: {outputs}"


def test_export_without_the_module(model, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastnn.exchange", None)
    code, _, err = run("export", model, "--to", "onnx")
    assert code == 1
    assert err[-1].startswith("fastnn export: error: this release of fastnn cannot export: ")


def test_export_without_torch(model, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    code, out, err = run("export", model, "--to", "torch")
    assert (code, out) == (1, [])
    assert err[-1] == "fastnn export: error: to_torch needs the package torch: pip install torch"
    assert not os.path.exists("model.pt")


# --- bench ----------------------------------------------------------------------------------------


def test_steps_of_numpy_and_ours_are_the_same():
    # seconds_of_a_step raises an error unless the weights moved as in float64
    for library in ("fastnn", "numpy"):
        assert 0 < contenders.seconds_of_a_step(library, (5, 6, 3), 4, 1e-4) < 1
    right = [(np.ones((1, 2)), np.ones(1))]
    start, wrong = [(W * 0, b * 0) for W, b in right], [(W * 2, b) for W, b in right]
    with pytest.raises(AssertionError, match="trains"):
        contenders._check("torch", (2, 1), start, wrong, right)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["torch", "jax", "sklearn"])
def test_steps_of_peers_are_the_same(library):
    pytest.importorskip(library)
    found = bench._timed(library, ["5-6-3x4", "5-6-4-2x4"], 1e-3)  # which fails if the weights moved otherwise
    assert "error" not in found, found
    assert all(0 < seconds < 10 for seconds in found["seconds"].values())


def test_flops_are_counted():
    assert contenders.flops((2, 3), 5) == 2 * 5 * (6 + 6)  # forward, dW
    assert contenders.flops((2, 3, 4), 1) == 2 * (6 + 12 + 6 + 12 + 12)


def test_bench_in_a_table_and_in_json(monkeypatch, run, tmp_path):
    found = {"version": "1", "seconds": {"4-3-2x5": 1e-6}, "flops_a_second": 1e9}
    others = {"version": "2", "seconds": {"4-3-2x5": 3e-6}}
    timed = {"fastnn": found, "numpy": others, "sklearn": {"error": "it broke"}}
    monkeypatch.setattr(bench, "_timed", lambda library, nets, seconds: timed[library])
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None if name in ("torch", "jax") else True)
    code, out, err = run("bench", "--nets", "4-3-2x5")
    assert code == 0
    assert err[-3:] == ["timing fastnn", "timing numpy", "timing sklearn"]
    share = contenders.flops((4, 3, 2), 5) / 1e-6 / 1e9
    assert f"4-3-2x5{1.0:>22.1f}{share:>7.0%}{3.0:>9.1f} {3.0:>5.1f}x" in out
    assert out[-3:] == ["without torch: not installed", "without jax: not installed", "without sklearn: it broke"]
    code, out, _ = run("bench", "--nets", "4-3-2x5", "--json", "--libraries", "numpy")
    results = json.loads("\n".join(out))
    assert [(row["library"], row["seconds"]) for row in results["rows"]] == [("fastnn", 1e-6), ("numpy", 3e-6)]
    assert results["rows"][0]["share"] == pytest.approx(share)
    timed["fastnn"] = {"error": "it broke"}
    code, _, err = run("bench", "--nets", "4-3-2x5")
    assert (code, err[-1]) == (1, "fastnn bench: error: fastnn itself could not be timed: it broke")


def test_what_the_picture_of_times_draws(plt):
    from fastnn.commands import pictures

    rows = [("30-2x4", "fastnn", 4.4e-6), ("30-2x4", "numpy", 38e-6), ("9-2x4", "fastnn", 3.6e-6)]
    rows = [dict(zip(("net", "library", "seconds"), row, strict=True)) for row in rows]
    figure = plt.figure(layout="constrained")
    ax = figure.subplots()
    pictures.draw_times(ax, {"cpu": "A CPU", "rows": rows})
    figure.canvas.draw()
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], [4.4, 3.6, 38])
    assert [text.get_text() for text in ax.texts] == ["4.4", "3.6", "38"]
    assert ax.get_ylim()[0] == 1
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


@pytest.mark.slow
def test_bench_runs(run, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "times.png"
    code, out, _ = run("bench", "--nets", "4-3-2x5", "--seconds", "0.01", "--libraries", "numpy", "--plot", picture)
    assert code == 0
    assert re.match(r"4-3-2x5 +\d+\.\d +\d+% +\d+\.\d +\d+\.\dx$", out[4])
    assert picture.stat().st_size > 1000


# --- as a process ---------------------------------------------------------------------------------


def test_import_brings_none_of_it():
    code = "import sys, fastnn; print([name for name in sys.modules if 'tabular' in name or 'command' in name])"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    env["PYTHONWARNINGS"] = "ignore:fastnn runs on its NumPy backend:RuntimeWarning"  # where nothing was compiled
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, capture_output=True).stdout == b"[]\n"


def test_a_pipe_that_is_closed(table, model):
    table.write_text("\n".join(["size,kind,price", *ROWS * 300]))  # more than a pipe holds
    with process("predict", model, table, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"price\n"
        child.stdout.close()
        assert child.stderr.read() == b"columns that are not needed: price (the target)\n"
        assert child.wait() == 128 + 13


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk(table, model, run):
    with open("/dev/full", "w") as full, process("predict", model, table, stdout=full) as child:
        assert child.stderr.read().splitlines()[-1].endswith(b"predict: error: stdout: No space left on device")
        assert child.wait() == 1
    code, _, err = run("predict", model, table, "-o", "/dev/full")
    assert (code, err[-1]) == (1, "fastnn predict: error: /dev/full: No space left on device")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_closed_stdout(table, model):
    argv = "train", table, "--target", "price", "-o", "m.npz", "--epochs", 2
    with process(*argv, start=["sh", "-c", 'exec "$0" "$@" >&-']) as child:
        assert b"rror" not in child.stderr.read()
        assert child.wait() == 0
    assert TabularModel.load("m.npz").target == "price"


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c(table):
    endless = ["--epochs", 10**7, "--patience", 10**7, "-o", "m.npz"]
    with process("train", table, "--target", "price", *endless, stdout=subprocess.PIPE) as child:
        assert b"80 rows" in child.stderr.readline()
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert (out, err) == (b"", b"python -m fastnn: interrupted\n")
    assert child.returncode == -signal.SIGINT
    assert not os.path.exists("m.npz")


@pytest.mark.parametrize("name", ["airfoil_self_noise.dat", "auto_imports.csv", "winequality-red.csv"])
def test_tables_of_people_are_read(name, run):
    # One epoch: whether it learns them well is in test_tabular_against_sklearn.py.
    target = {"airfoil_self_noise.dat": "TARGET", "auto_imports.csv": "25", "winequality-red.csv": "11"}[name]
    code, out, _ = run("train", TABLES / name, "--target", target, "--epochs", 1)
    assert code == 0
    assert out[0].startswith("task       " + ("classification" if "wine" in name else "regression"))
