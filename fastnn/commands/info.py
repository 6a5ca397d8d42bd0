"""``fastnn info``."""

from .. import information


def lines(say):
    """Yield the lines of :func:`fastnn.info`."""
    for key, value in information.info().items():
        yield f"{key}: {value}"
