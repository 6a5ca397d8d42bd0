"""For PyInstaller, which asks the entry point `pyinstaller40` of a package for its hooks."""

import os


def get_hook_dirs():
    """The folder of hook-fastnn.py."""
    return [os.path.dirname(__file__)]
