"""The examples in the docstrings run, and every public thing has one."""

import doctest
import importlib
import inspect

import numpy as np
import pytest

import fastnn
from conftest import alone
from fastnn import datasets, kernels

pytestmark = alone  # doctest puts a reader of sources of its own in place

MODULES = [
    "_philox",
    "datasets",
    "information",
    "kernels",
    "network",
    "network_learning",
    "optimizers",
    "schedules",
    "stopping",
]
MODULES += ["threads"]
IN_SCIKIT_LEARN = ["sklearn.classifier", "sklearn.regressor"]
FUNCTIONS = [
    *(getattr(kernels, name) for name in kernels.__all__),
    *(f for f in vars(datasets).values() if inspect.isfunction(f) and not f.__name__.startswith("_")),
    fastnn.load,
    fastnn.info,
    fastnn.set_threads,
]


@pytest.mark.parametrize("name", MODULES + IN_SCIKIT_LEARN)
def test_examples(name, threads):
    if name in IN_SCIKIT_LEARN:
        pytest.importorskip("sklearn", "1.5")
    module = importlib.import_module(f"fastnn.{name}")
    names = {"np": np, **vars(fastnn), **vars(module)}
    # Data that has to be fetched first is not read here; tests marked `data` do.
    if name == "datasets":
        names["datasets"] = module
    tests = [t for t in doctest.DocTestFinder().find(module, extraglobs=names) if "fashion" not in t.name]
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).attempted
    assert not runner.failures


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_public_functions_are_explained(function):
    text = inspect.getdoc(function)
    for section in (
        "Examples",
        "Raises" if "get" not in function.__name__ and function is not fastnn.info else "Returns",
    ):
        assert f"{section}\n{'-' * len(section)}" in text, section


def test_public_methods_of_estimators_are_explained():
    pytest.importorskip("sklearn", "1.5")
    for name in fastnn.sklearn.__all__:
        for method, member in vars(getattr(fastnn.sklearn, name)).items():
            assert method.startswith("_") or inspect.getdoc(member), method


def test_public_methods_are_explained():
    for name, member in inspect.getmembers(fastnn.Network):
        if not name.startswith("_"):
            assert inspect.getdoc(member), name
