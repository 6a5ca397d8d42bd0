"""The sdist and the wheel that is published: complete, small, and the suite passes from it."""

import re
import zipfile

import pytest
from wheelhouse import BEST, HERE, needs, run

pytestmark = [pytest.mark.build, pytest.mark.timeout(1800)]


def files_of(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def test_the_sdist_is_complete(wheels):
    missing = files_of(wheels.tree) - files_of(wheels.sources())
    assert not {name for name in missing if not name.startswith("fastnn_kernels.egg-info/")}


def test_the_wheel_holds_what_is_used(wheels):
    with zipfile.ZipFile(wheels.wheel()) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    assert re.search(rf"-cp{HERE.replace('.', '')}-cp{HERE.replace('.', '')}-manylinux_2_\d+_", wheels.wheel().name)
    # No sources: the package takes them for a checkout.
    kinds = {name.partition("/")[0] + "/*" + name[name.rindex(".") :] for name in names if ".dist-info/" not in name}
    assert kinds >= {"fastnn/*.py", "fastnn/*.so", "fastnn/*.h", "fastnn/*.npz", "fastnn/*.pxd", "fastnn/*.pyi"}
    assert not {kind for kind in kinds if kind.endswith((".c", ".pyx", ".pxi", ".o"))}
    assert {name.partition("/")[0].partition("-")[0] for name in names} <= {
        "fastnn",
        "fastnn_kernels",
        "fastnn_kernels.libs",
    }


def test_the_wheel_is_small(wheels):
    needs("readelf")
    with zipfile.ZipFile(wheels.wheel()) as archive:
        members = archive.infolist()
    assert wheels.wheel().stat().st_size <= 1_500_000
    assert sum(member.file_size for member in members) <= 3_950_000
    for library in wheels.libraries():
        sections = run("readelf", "--sections", "--wide", library).stdout
        assert not re.search(r"\.(symtab|debug)", sections), f"{library.name} is not stripped"


def test_the_suite_passes_from_the_wheel(wheels, tmp_path):
    # The tests are those of the sdist, beside which lies no extension; demanded, so that none is missed in silence.
    # What is tested of the NumPy backend alone is the same in all installations, and so are the kernels.
    suite = [wheels.sources() / "tests", "-p", "no:cacheprovider", "-k", "not numpy", "-n", "2", "--dist", "loadfile"]
    done = run(wheels.python, "-m", "pytest", *suite, cwd=tmp_path, timeout=1500, **BEST)
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 1000


def test_without_a_compiler_it_can_be_refused(wheels, tmp_path):
    assert wheels.build(wheels.sdist, tmp_path, CC="/bin/false", FASTNN_EXT="require").returncode
    assert not list(tmp_path.glob("*.whl"))
