"""Models of tables: numbers, text and missing cells in, predictions out.

``TabularModel().fit(table, "price").save("model.npz")`` is all; the command ``fastnn train`` does the same.
"""

from .columns import Table
from .model import TabularModel
from .reading import read_table

__all__ = ["Table", "TabularModel", "read_table"]
