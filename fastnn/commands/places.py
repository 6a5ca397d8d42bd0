"""The files that a command reads and writes: checked before the work, so that no work is lost."""

import io
import os
import sys

from .. import files, files_safetensors
from ..network import load
from ..tabular import TabularModel
from ..tabular.reading import as_table
from . import UsageError


def table(data, header, delimiter, decimal, encoding, missing, usual_header=None):
    """The table of a path, or of stdin for "-"; `usual_header` is that of a CSV file, where `header` is None."""
    given = {"delimiter": delimiter, "decimal": decimal, "encoding": encoding, "missing": missing, "header": header}
    given = {name: value for name, value in given.items() if value is not None}
    if data != "-":
        return as_table(data, usual_header, **given)
    if sys.stdin is None:
        raise ValueError("stdin is closed; name a file")
    stream = io.BytesIO(sys.stdin.buffer.read())
    stream.name = "stdin"  # in messages
    return as_table(stream, usual_header, **given)


def check_output(path, *inputs):
    """Raise an error if a file cannot be written to `path`, or is one of those that are read."""
    if path is None:
        return
    if path == "-":
        raise UsageError("'-' is stdout, which is for text: name a file")
    folder = os.path.dirname(path) or os.curdir
    if os.path.isdir(path) or not path:
        raise IsADirectoryError(21, "it is a folder; name a file", path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(2, "there is no such folder", folder)
    # A file that is there is replaced by a new one, or written in place where the folder allows no new one.
    if not os.access(folder, os.W_OK) and not (os.path.exists(path) and os.access(path, os.W_OK)):
        raise PermissionError(13, "Permission denied", path)
    for other in inputs:
        if os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other):
            raise ValueError(f"{path} would be overwritten, which is read here: name another file for the output")


def check_model(path, *inputs):
    """Check the place of a model as :func:`check_output` does, and whether its format can be written."""
    check_output(path, *inputs)
    if path is not None and path.endswith(files_safetensors.SUFFIX):
        files_safetensors.package()


def check_picture(path, *inputs, output=None):
    """Check the place of a picture as :func:`check_output` does, that it is not `output`, and matplotlib."""
    if path is None:
        return
    check_output(path, *inputs)
    if output is not None and os.path.realpath(path) == os.path.realpath(output):
        raise UsageError(f"-o and --plot name the same file, {path}")
    from . import pictures  # which needs matplotlib

    pictures.check_name(path)


def model(path):
    """The TabularModel of a file."""
    found = any_model(path)
    if not isinstance(found, TabularModel):
        raise ValueError(f"{path} holds a network without a table; 'fastnn train' makes models of tables")
    return found


def is_model(path):
    """Whether a file holds a model or a network."""
    try:
        files.load(path)
    except (ValueError, OSError):
        return False
    return True


def any_model(path):
    """The TabularModel, or else the Network, of a file."""
    header, _ = files.load(path)
    return TabularModel.load(path) if "table" in header else load(path)
