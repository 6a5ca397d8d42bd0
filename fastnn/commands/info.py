"""``fastnn info``."""

from .. import information


def lines(say):
    """Yield the lines of :func:`fastnn.info`, without those that are empty: a compiled backend needs no reason."""
    for key, value in information.info().items():
        if value != "":
            yield f"{key}: {value}"
