"""Programs that PyInstaller makes of fastnn: whole, with the compiled backend, wherever they are run."""

import shutil

import pytest
from wheelhouse import HERE, ROOT, needs, run

pytestmark = [pytest.mark.build, pytest.mark.timeout(1800)]

PROGRAM = """
import os, sys
import fastnn
from fastnn import datasets

X, y = datasets.load_digits()
net = fastnn.Network([64, 32, 10], seed=0)
net.fit(X / 16, y, epochs=5, optimizer=fastnn.Adam(lr=0.01), progress=False)
net.save(sys.argv[1])
same = fastnn.load(sys.argv[1])
assert (same.predict(X) == net.predict(X)).all()
print(fastnn.info()["backend"], same.evaluate(X / 16, y)["accuracy"] > 0.9)
assert os.path.isfile(os.path.join(fastnn.get_include(), "fastnn.h"))
"""


@pytest.fixture(scope="module")
def freezer(wheels):
    """The python of an environment with the wheel and PyInstaller."""
    needs("objdump")  # which PyInstaller reads libraries with
    try:
        return wheels.environment(HERE, wheels.wheel(), "pyinstaller>=6")
    except pytest.fail.Exception as error:
        pytest.skip(f"PyInstaller cannot be installed here: {str(error)[-300:]}")


@pytest.mark.parametrize("how", ["--onedir", "--onefile"])
def test_a_frozen_program_is_whole(freezer, tmp_path, how):
    source = tmp_path / "program.py"
    source.write_text(PROGRAM)
    folders = ["--distpath", tmp_path / "dist", "--workpath", tmp_path / "work", "--specpath", tmp_path]
    run(freezer, "-m", "PyInstaller", how, "--noconfirm", "--name", "program", *folders, source, cwd=tmp_path)
    # Elsewhere, where nothing else is.
    frozen, elsewhere = tmp_path / "dist" / "program", tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(frozen, elsewhere)
    start = elsewhere / "program" / "program" if how == "--onedir" else elsewhere / "program"
    done = run("env", "-i", start, elsewhere / "net.npz", cwd=elsewhere)
    assert done.stdout.split() == ["compiled", "True"]
    assert done.stderr == ""


def test_what_is_imported_late_is_named():
    # Freezers read import statements; a name that is put together at run time is none.
    for path in (ROOT / "fastnn").glob("*.py"):
        assert "import_module" not in path.read_text(), path.name
        assert "__import__" not in path.read_text(), path.name
