"""Fixtures that walk over the backends and, of the compiled one, over every instruction set."""

import gc
import os
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
from hypothesis import HealthCheck, settings

import alike

with warnings.catch_warnings(), pytest.MonkeyPatch.context() as settings_of_the_import:
    # OpenMP's threads, which read this as they are loaded, leave the core to the other workers between two calls,
    # instead of waiting on it: tests of many threads take half the time. Child processes do as users' do.
    settings_of_the_import.setenv("OMP_WAIT_POLICY", os.environ.get("OMP_WAIT_POLICY", "passive"))
    # Without the extension the import warns; tests/test_backend.py asserts that it does.
    warnings.filterwarnings("ignore", "fastnn runs on its NumPy backend", RuntimeWarning)
    import fastnn
    from fastnn import _numpy, kernels
    from fastnn import backend as backends

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # whose scripts import each other by name

# The default suite draws the same examples every time; HYPOTHESIS_PROFILE=explore draws new ones, and "few" is for
# builds that are a hundred times slower.
settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    max_examples=15,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("explore", settings.get_profile("fixed"), derandomize=False, max_examples=500)
settings.register_profile("few", settings.get_profile("fixed"), max_examples=4)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "fixed")
settings.load_profile(PROFILE)


def drawn(examples, explored):
    """For a test that takes another number of examples than the profile says, and another one where it explores."""
    return settings(max_examples=explored if PROFILE == "explore" else examples)


COMPILED = backends.default if backends.default.NAME == "compiled" else None
# One variant per way of computing: NumPy, and the compiled backend with each ISA forced. With
# FASTNN_ISA set, that one only.
if COMPILED is None:
    VARIANTS = ["numpy"]
elif os.environ.get("FASTNN_ISA"):
    VARIANTS = ["numpy", COMPILED.ISA]
else:
    VARIANTS = ["numpy", *COMPILED.isas()]
# The same with one instruction set, the best: a file whose subject is the same for all of them says
# `VARIANTS = BACKENDS`.
BACKENDS = ["numpy", COMPILED.ISA] if COMPILED else ["numpy"]
# For what is the same code for both backends, or waits for the clock: the backend that users get, by
# `VARIANTS = DEFAULT`. The suite with FASTNN_BACKEND=numpy runs it with the other one.
DEFAULT = BACKENDS[-1:]

# NumPy's own threads are kept to one: between its small products they would wait for one another and burn the cores.
threadpoolctl.threadpool_limits(1, user_api="blas")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell ignores Ctrl-C for what it runs in the background; the tests that press it would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What counts or replaces the process's memory cannot do so beside a sanitizer: tests/sanitize.sh.
SANITIZED = "FASTNN_SANITIZED" in os.environ


def around_the_kernels(test):
    """For a test of `BACKENDS` in a file that is about the kernels otherwise."""
    test.variants = BACKENDS
    return test


def lesser_are_slow(test):
    """For a dear test of `VARIANTS`: the instruction sets that are not the best in slow runs only."""
    slow = pytest.mark.slow
    test.variants = [name if name in BACKENDS else pytest.param(name, marks=slow) for name in VARIANTS]
    return test


# For pytest-run-parallel, which runs each test in many threads at once.
alone = pytest.mark.thread_unsafe(reason="looks at, or changes, what belongs to the whole process")

DTYPES = [np.dtype("float32"), np.dtype("float64")]


ISAS = COMPILED.isas() if COMPILED else []
# The same for a dear test that asks for an `isa`.
each_isa_slowly = pytest.mark.parametrize(
    "isa", [*(pytest.param(name, marks=pytest.mark.slow) for name in ISAS[:-1]), *ISAS[-1:]], indirect=True
)


@pytest.fixture(params=ISAS)
def isa(request):
    """Each instruction set of this machine, forced."""
    before = COMPILED.current_isa()
    COMPILED.force_isa(request.param)
    yield request.param
    COMPILED.force_isa(before)


def pytest_addoption(parser):
    """`--note-alike` and `--but-for`."""
    alike.add_options(parser)


def pytest_configure(config):
    """See tests/alike.py."""
    alike.configure(config)


def pytest_collection_finish(session):
    """What is there before the first test stays to the end: each search for garbage need not go through it."""
    gc.collect()
    gc.freeze()
    if sys.dont_write_bytecode and not any(item.get_closest_marker("build") for item in session.items):
        share_bytecode(session.config)


def share_bytecode(config):
    """Child processes that may leave none beside the modules share a folder: without, each takes 0.1 s to compile."""
    folder = tempfile.mkdtemp()
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ.setdefault("PYTHONPYCACHEPREFIX", folder)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(trylast=True)  # so that they come one after another, and a test can keep what is the same for all
def pytest_generate_tests(metafunc):
    """Run each test that asks for a `backend` with all of them, or with those that it or its file names."""
    if "backend" in metafunc.fixturenames:
        variants = getattr(metafunc.module, "VARIANTS", VARIANTS)
        metafunc.parametrize("backend", getattr(metafunc.function, "variants", variants), indirect=True)


@pytest.fixture
def backend(request):
    """The name for ``Network(backend=...)``; ``fastnn.kernels`` runs on the same variant."""
    if request.param == "numpy":
        kernels._run_on(_numpy)
        yield "numpy"
    else:
        kernels._run_on(COMPILED)
        before = COMPILED.current_isa()
        COMPILED.force_isa(request.param)
        yield "compiled"
        COMPILED.force_isa(before)
    kernels._run_on(backends.default)


@pytest.fixture(params=["compiled" if COMPILED else "numpy"])
def either_backend(request):
    """The name of the backend of `DEFAULT`: for what is about the world around the kernels."""
    return request.param


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    """float32 and float64."""
    return request.param


@pytest.fixture
def threads():
    """Put the thread setting back after the test."""
    before = fastnn.threads._chosen
    yield
    fastnn.threads._chosen = before


@pytest.fixture
def rng():
    """A generator with a fixed seed."""
    return np.random.default_rng(20260101)


@pytest.fixture
def plt():
    """matplotlib.pyplot, without windows; figures are closed after the test, which is skipped without matplotlib."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Wheels of this tree and environments with them, built as they are asked for: see tests/packaging."""
    from wheelhouse import Wheelhouse

    return Wheelhouse(Path(os.environ.get("FASTNN_WHEELHOUSE") or tmp_path_factory.mktemp("wheels")))
