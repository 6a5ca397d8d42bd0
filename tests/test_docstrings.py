"""The examples in the docstrings run, and every public thing has one."""

import doctest
import importlib
import inspect

import numpy as np
import pytest

import fastnn
from conftest import alone
from fastnn import datasets, kernels, plots, tabular

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
MODULES += ["threads", "tabular.model", "tabular.reading", "exchange.c_files"]
PICTURES = ["plots.classification", "plots.networks", "plots.regression", "plots.training"]
PICTURES += ["history"]  # they need matplotlib
# Modules whose examples need another package.
FOREIGN = {"exchange.onnx_reading": "onnx", "exchange.onnx_writing": "onnx"}
FOREIGN |= dict.fromkeys(["exchange.with_sklearn", "sklearn.classifier", "sklearn.regressor"], "sklearn")
FUNCTIONS = [
    *(getattr(kernels, name) for name in kernels.__all__),
    *(f for f in vars(datasets).values() if inspect.isfunction(f) and not f.__name__.startswith("_")),
    *(getattr(plots, name) for name in plots.__all__),
    fastnn.load,
    fastnn.info,
    fastnn.set_threads,
    *(getattr(fastnn.exchange, name) for name in fastnn.exchange.__all__),
    tabular.read_table,
]


@pytest.mark.parametrize("name", PICTURES)
def test_examples_of_pictures(name, plt):
    run_examples(name)


@pytest.mark.parametrize("name", FOREIGN)
def test_examples_with_other_packages(name):
    pytest.importorskip(FOREIGN[name])
    run_examples(name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
@pytest.mark.parametrize("name", ["torch", "keras"])
def test_examples_with_large_packages(name, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip(name)
    run_examples(f"exchange.with_{name}")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, threads):
    run_examples(name)


def run_examples(name):
    module = importlib.import_module(f"fastnn.{name}")
    # Of one name the public thing.
    names = {"np": np, "fastnn": fastnn, **vars(fastnn.exchange), **vars(module), **vars(fastnn)}
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


@pytest.mark.parametrize("owner", [fastnn.Network, tabular.TabularModel, tabular.Table], ids=lambda c: c.__name__)
def test_public_methods_are_explained(owner):
    for name, member in inspect.getmembers(owner):
        if not name.startswith("_"):
            assert inspect.getdoc(member), name
