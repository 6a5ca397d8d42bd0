"""What each command of ``fastnn`` does. Each module has ``lines(say, ...)``: it yields what is printed on stdout.

`say` prints a line on stderr. None of this is imported by ``import fastnn``.
"""


class UsageError(Exception):
    """An argument that cannot be meant: the usage is printed, and the exit code is 2."""
