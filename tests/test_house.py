"""The rules of the house, as far as text can show that they are kept."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CSRC = sorted((ROOT / "csrc").glob("*.[ch]"))
PACKAGE = [p for p in sorted((ROOT / "fastnn").glob("*.p*")) if p.suffix in (".py", ".pyx", ".pxi", ".pxd")]

# what may be said only in these files of the core
ONLY_IN = {
    r"omp[_ ]|pthread": {"parallel.c", "parallel.h", "regions.c", "runtimes.c", "runtimes.h", "fastnn.h"},
    r"_mm\d*_|immintrin|arm_neon": {"simd.h", "simd_words.h"},
    r"cpuid|xgetbv": {"dispatch.c"},
    r"\bmalloc\(": {"memory.h", "network_parameters.c"},
}


def code_of(path):
    """The text without comments: rules are about code."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)


@pytest.fixture(autouse=True)
def _sources():
    if not CSRC:
        pytest.skip("no source tree here")


@pytest.mark.parametrize("pattern", ONLY_IN)
def test_each_concern_has_its_file(pattern):
    found = {p.name for p in CSRC if re.search(pattern, code_of(p))}
    assert found
    assert found <= ONLY_IN[pattern]


def test_core_is_plain_c():
    for path in CSRC:
        assert "Python.h" not in path.read_text(), path.name


def test_core_asks_for_no_fast_math():
    text = (ROOT / "setup.py").read_text()
    flags = re.findall(r'"(-[^"]+)"', text)
    assert "-ffp-contract=off" in flags
    assert not {"-ffast-math", "-Ofast", "-march=native", "-funsafe-math-optimizations"} & set(flags)


def test_core_counts_in_ptrdiff():
    # An int over elements wraps at 2^31. Layers, threads, lanes and names are few; extents are not.
    for path in CSRC:
        for declared in re.findall(r"\bint (n|m|k|rows|cols|first|total|n_in|n_out|ld)\b", code_of(path)):
            pytest.fail(f"{path.name}: int {declared}")


def test_headers_define_nothing_shared():
    # A function of simd.h or of the kernels that is not static could be the copy for a CPU that is not there.
    for name in ("simd.h", "simd_words.h", *(p.name for p in CSRC if p.match("kernels*.h"))):
        for line in code_of(ROOT / "csrc" / name).splitlines():
            if re.match(r"[A-Za-z_].*\)\s*\{\s*.*$", line) and not line.startswith(
                ("static", "FNN_INLINE", "#", "typedef")
            ):
                pytest.fail(f"{name}: {line}")


CHANGES = {"free", "set", "start_optimizer", "set_steps", "set_updates", "set_moment"}
CHANGES |= {"restore", "force_threads", "train", "finite", "freeze", "start_average", "set_average"}
CHANGES |= {"begin_step", "end_step", "update", "standardise"}


def test_readers_reach_nothing_that_is_not_const():
    # Many threads read one network. So what they call takes it as const, and nothing casts that away.
    header = (ROOT / "csrc" / "fastnn.h").read_text()
    changes = set(re.findall(r"fnn_net_(\w+)\(fnn_net \*net", header))
    assert changes == CHANGES
    assert set(re.findall(r"fnn_net_(\w+)\(const fnn_net \*net", header)) >= {
        "predict",
        "loss",
        "gradients",
        "snapshot",
    }
    for path in CSRC:
        assert not re.search(r"\((?:struct )?fnn_net \*\)", code_of(path)), path.name
    network = "".join(code_of(path) for path in CSRC if path.match("network*.c"))
    assert set(re.findall(r"(\w+)->work\b", network)) <= {"net", "job"}
    # Freed with the network, and lent to training: to whole steps, and to those that begin without a loss.
    assert len(re.findall(r"net->work\b", network)) == 3


def test_files_have_one_job():
    # A file that is longer than this has two of them.
    for path in CSRC:
        assert len(path.read_text().splitlines()) <= 700, path.name
    for path in (ROOT / "fastnn").glob("network*.py"):
        assert len(path.read_text().splitlines()) <= 800, path.name


def test_environment_is_read_in_one_place_each():
    for variable, home in {
        "FASTNN_BACKEND": "backend.py",
        "FASTNN_ISA": "_core.pyx",
        "OMP_NUM_THREADS": "threads.py",
    }.items():
        readers = {p.name for p in PACKAGE if re.search(rf'environ[^\n]*"{variable}"', p.read_text())}
        assert readers == {home}, variable


def test_network_knows_no_backend_by_name():
    for path in (ROOT / "fastnn").glob("network*.py"):
        assert not re.search(r"import.*(_core|_numpy)", path.read_text()), path.name


def test_nothing_names_a_machine_or_a_registry():
    folders = ("fastnn", "csrc", "tests", "benchmarks", "examples", "docs", ".ci", ".github")
    for path in [p for folder in folders for p in (ROOT / folder).rglob("*")]:
        if (
            path.suffix in (".py", ".pyx", ".pxi", ".pxd", ".c", ".h", ".md", ".rst", ".toml", ".json", ".yml", "")
            and path.is_file()
            and "generated" not in path.parts
            and path != Path(__file__)
        ):
            text = path.read_text(errors="replace")
            assert not re.search(r"pypi\.org|pythonhosted|/work/|/root/|/home/\w", text), path


def test_the_table_of_promises_names_every_test():
    here = Path(__file__).parent
    text = (here / "README.md").read_text()
    named = set(re.findall(r"`((?:c/|packaging/)?\w+\.(?:py|c|sh))`", text))
    files = {p.relative_to(here).as_posix() for p in [*here.glob("test_*.py"), *here.glob("c/*.c")]}
    assert sorted(files - named) == []
    assert sorted(name for name in named if not (here / name).exists()) == []
