"""``python -m fastnn`` is the command ``fastnn``."""

from .command_line import run

if __name__ == "__main__":
    run("python -m fastnn")
