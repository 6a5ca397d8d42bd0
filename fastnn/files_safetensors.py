"""Model files in the safetensors format, where that package is installed; files.py says what lies in them.

The header is JSON in the metadata, under "fastnn"; tensors have the names that arrays have in an .npz file.
"""

import json

import numpy as np

SUFFIX = ".safetensors"
_KEY = "fastnn"
_LENGTH = 8  # bytes, little-endian, before the JSON of tensors and metadata


def packed(header, arrays):
    """The bytes of a file."""
    arrays = {name: np.ascontiguousarray(T) for name, T in arrays.items()}
    return package().save(arrays, {_KEY: json.dumps(header)})


def is_such(start, size):
    """Whether a file of that size, of which these are the first 9 bytes, can be one."""
    return start[_LENGTH:] == b"{" and int.from_bytes(start[:_LENGTH], "little") <= size - _LENGTH


def unpacked(data):
    """Header and arrays of a file's bytes.

    Raises
    ------
    ImportError
        If the package is not installed.
    ValueError
        If they are none, or another package's.
    """
    reader = package()
    try:
        arrays = reader.load(data)
        length = int.from_bytes(data[:_LENGTH], "little")
        metadata = json.loads(data[_LENGTH : _LENGTH + length]).get("__metadata__") or {}
    except MemoryError:
        raise
    except Exception as error:  # the package's own kind derives from nothing else; it has others for unknown dtypes
        raise ValueError(f"{type(error).__name__}: {error!s:.200}") from error
    if not isinstance(metadata, dict) or _KEY not in metadata:
        raise ValueError("its metadata has no 'fastnn', as networks that fastnn saved have")
    return json.loads(metadata[_KEY]), arrays


def package():
    """The module safetensors.numpy, or an ImportError that says what to install."""
    try:
        import safetensors.numpy as module
    except ModuleNotFoundError:
        told = "files that end in .safetensors need the package safetensors: pip install safetensors, or save as .npz"
        raise ImportError(told) from None
    return module
