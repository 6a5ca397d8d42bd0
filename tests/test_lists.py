"""The lists of names: the same in the tables, the C core, the Cython interface, both backends and the oracle."""

import re
from pathlib import Path

import pytest

import fastnn
import reference as ref
from case_helpers import python
from conftest import COMPILED
from fastnn import _numpy, hints, optimizers, schedules, tables

PACKAGE = Path(fastnn.__file__).parent
LISTS = {"activation": tables.ACTIVATIONS, "loss": tables.LOSSES}


@pytest.mark.skipif(COMPILED is None, reason="the extension is not here")
def test_the_core_has_the_rows_of_the_tables():
    assert COMPILED.lists() == tables.rows_of_core()


def test_an_extension_with_other_lists_is_not_used():
    """As after a new row in tables.py alone: the import says what to do, and the NumPy backend runs."""
    code = """
import importlib.util, sys, types, warnings
package = types.ModuleType("fastnn")  # so that tables.py is imported before the rest
package.__path__ = list(importlib.util.find_spec("fastnn").submodule_search_locations)
sys.modules["fastnn"] = package
from fastnn import tables
tables.ACTIVATIONS["cube"] = tables.Row("z^3")
del sys.modules["fastnn"]
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    import fastnn.backend
print(fastnn.backend.default.NAME, *(warning.message for warning in told))
"""
    if COMPILED is None:
        pytest.skip("the extension is not here")
    said = python(code, "auto")
    assert said.startswith("numpy")
    assert "build it again" in said


def test_the_oracle_knows_each_optimizer_that_users_choose():
    for optimizer in optimizers.OPTIMIZERS:
        assert ref.Optimizer(optimizer.kind, lr=0.1).rule


def test_suggestions_know_each_optimizer():
    kinds = tuple(optimizer.kind for optimizer in optimizers.OPTIMIZERS)
    assert hints._OPTIMIZERS == tuple(hints._SYNONYMS["optimizers"].split(" ")) == kinds
    assert set(kinds) <= set(fastnn.__all__)


def test_each_schedule_has_its_class_and_its_formula_in_the_oracle():
    assert list(ref.SCHEDULES) == list(tables.SCHEDULES)
    assert list(schedules.SCHEDULES) == [*tables.SCHEDULES, "plateau"]
    for name, settings in tables.SCHEDULES.items():
        assert schedules.SCHEDULES[name]._fields == settings


@pytest.mark.parametrize("kind", LISTS)
def test_the_cython_interface_has_the_rows_of_the_tables(kind):
    text = (PACKAGE / "_core.pxd").read_text()
    found = re.search(rf"cdef enum {kind}_kind:\n((?:    \w+\n)+)", text)[1].split()
    assert found == [name.upper() for name in LISTS[kind]]


@pytest.mark.parametrize(
    ("numpy_backend", "oracle", "table"),
    [(_numpy._ACTIVATIONS, ref.ACTIVATIONS, tables.ACTIVATIONS), (_numpy._LOSSES, ref.LOSSES, tables.LOSSES)],
    ids=LISTS,
)
def test_the_numpy_backend_and_the_oracle_have_the_rows_of_the_tables(numpy_backend, oracle, table):
    assert list(numpy_backend) == list(oracle) == list(table)
    for name, row in table.items():
        defaults = {key: parameter.default for key, parameter in row.parameters.items()}
        assert oracle[name].parameters == defaults, name
        if table is tables.LOSSES:
            assert (oracle[name].output, oracle[name].targets) == (row.output, row.targets), name
        else:
            assert oracle[name].slope_from == row.slope_from, name


def test_each_row_has_its_formula_in_the_docs():
    for table in (tables.ACTIVATIONS, tables.LOSSES, tables.INITIALISERS):
        words = " ".join(fastnn.Network.__doc__.split())
        for name, row in table.items():
            assert name in words
            assert row.formula in words
