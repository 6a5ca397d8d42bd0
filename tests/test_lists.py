"""The lists of names: the same in the tables, the C core, the Cython interface, both backends and the oracle."""

import re
from pathlib import Path

import pytest

import fastnn
import reference as ref
from conftest import COMPILED
from fastnn import _numpy, tables

PACKAGE = Path(fastnn.__file__).parent
LISTS = {"activation": tables.ACTIVATIONS, "loss": tables.LOSSES}


def in_words(table):
    return [f"{name}({', '.join(row.parameters)})" for name, row in table.items()]


@pytest.mark.skipif(COMPILED is None, reason="the extension is not here")
def test_the_core_has_the_rows_of_the_tables():
    activations, losses, optimizers = COMPILED.lists()
    assert activations == in_words(tables.ACTIVATIONS)
    assert losses == in_words(tables.LOSSES)
    assert optimizers == ["sgd()", "momentum()", "nesterov()", "adam()", "adamw()"]


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


def test_each_row_has_its_formula_in_the_docs():
    for table in (tables.ACTIVATIONS, tables.LOSSES, tables.INITIALISERS):
        words = " ".join(fastnn.Network.__doc__.split())
        for name, row in table.items():
            assert name in words
            assert row.formula in words
