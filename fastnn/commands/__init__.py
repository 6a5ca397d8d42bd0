"""What each command of ``fastnn`` does. Each module has ``lines(say, ...)``: it yields what is printed on stdout.

`say` prints a line on stderr. None of this is imported by ``import fastnn``.
"""


class Data(str):
    """A line of data, which is printed as it is; of all others, characters that steer a terminal are shown."""

    __slots__ = ()


class UsageError(Exception):
    """An argument that cannot be meant: the usage is printed, and the exit code is 2."""
