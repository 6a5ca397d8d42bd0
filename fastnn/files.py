"""Model files: an .npz archive of plain arrays and a JSON header, readable by ``numpy.load``; or safetensors.

Loading runs no code from the file (nothing is unpickled), needs memory only in proportion to the
file's size, and checks a SHA-256 of the whole content before a network is made.
"""

import errno
import hashlib
import io
import json
import os
import struct
import zipfile

import numpy as np

from . import cautions, files_safetensors, filesystem

FORMAT = 2  # the newest; states.py says which one a network needs
_HEADER = "header.json"
_PATHS = (str, bytes, os.PathLike)
_LONGEST_PATH = 4096
# First bytes of other kinds of files, and what the error says about them.
_OTHERS = {
    b"\x80": "a pickle: write pickle.load, or joblib.load",
    b"\x1f\x8b": "compressed: write gzip.open",
    b"\x93NUMPY": "an array",
}
_TORCH = "; for torch's weights write fastnn.exchange.from_torch(torch.load(path), activations=[...])"
_KERAS = "; for Keras's models write fastnn.exchange.from_keras(keras.models.load_model(path))"
_READERS = {  # by suffix
    ".onnx": "; write fastnn.exchange.from_onnx(path)",
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".keras": _KERAS,
    ".h5": _KERAS,
    files_safetensors.SUFFIX: "; for torch's weights write "
    "fastnn.exchange.from_torch(safetensors.torch.load_file(path), activations=[...])",
}


def save(target, header, arrays):
    """Write a model file.

    Parameters
    ----------
    target : path-like or binary file object
        A path is written as it is; no suffix is added. One that ends in ".safetensors" makes such a file.
    header : dict
        Values that JSON can represent; with "format" unless it is 1.
    arrays : dict of str to ndarray

    Raises
    ------
    OSError
        If it cannot be written.
    """
    is_path = _is_path(target, "write")
    path = os.fsdecode(target) if is_path else None
    if is_path:
        cautions.of_ending(path)
    form = _as_safetensors if is_path and path.endswith(files_safetensors.SUFFIX) else _as_npz
    data = form({"format": 1, **header}, arrays)
    if is_path:
        filesystem.write(path, data)
        return
    rest = data
    while len(rest):
        written = target.write(rest)
        if isinstance(target, io.RawIOBase) and not written:
            raise BlockingIOError(errno.EAGAIN, f"the file takes no more data; {len(rest)} bytes are not written")
        rest = rest[written if isinstance(written, int) and 0 < written <= len(rest) else len(rest) :]


def _as_npz(header, arrays):
    """The bytes of an archive."""
    members = _members(arrays)
    header["sha256"] = _digest(header, members)
    members = {_HEADER: json.dumps(header).encode(), **members}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        for name in list(members):
            archive.writestr(zipfile.ZipInfo(name), members.pop(name))  # dated 1980: equal networks give equal files
    return data.getbuffer()


def _as_safetensors(header, arrays):
    """The bytes of a safetensors file."""
    header["sha256"] = _digest_of_tensors(header, arrays)
    return files_safetensors.packed(header, arrays)


def _members(arrays):
    return {f"{name}.npy": _npy(array) for name, array in arrays.items()}


def _digest_of_tensors(header, arrays):
    """The checksum of a safetensors file, in which tensors have no order of ours."""
    return _digest(header, _members(dict(sorted(arrays.items()))))


def _is_path(place, method):
    """Whether `place` is a path; False for a binary file object with that method, TypeError for anything else."""
    if isinstance(place, bytes) and (b"\0" in place or len(place) > _LONGEST_PATH):
        raise TypeError(f"path must be a path or a binary file object, got {len(place)} bytes: write io.BytesIO(...)")
    if isinstance(place, _PATHS):
        return True
    if not hasattr(place, method) or isinstance(place, type):
        raise TypeError(f"path must be a path or a binary file object, got {place!r:.80}")
    if isinstance(place, io.TextIOBase):
        raise TypeError(f"path must be a path or a binary file object, got a text file: open it with {method[0]}b")
    return False


def name_of(place):
    """The name of a path or a file object in error messages."""
    return repr(os.fsdecode(place)[:_LONGEST_PATH] if isinstance(place, _PATHS) else getattr(place, "name", place))


def _npy(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _digest(header, members):
    digest = hashlib.sha256()
    stable = {key: value for key, value in header.items() if key != "sha256"}
    for part in (json.dumps(stable, sort_keys=True).encode(), *(p for item in members.items() for p in item)):
        part = part.encode() if isinstance(part, str) else part
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def load(source):
    """Read a model file.

    Parameters
    ----------
    source : path-like or binary file object
        A file object is read from its current position to its end.

    Returns
    -------
    (dict, dict of str to ndarray)
        The header and the arrays, as they were given to :func:`save`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a model file, is damaged, or has a format that this release cannot read.
    """
    is_path = _is_path(source, "read")  # an int would be taken for a file descriptor
    name = name_of(source)
    try:
        if not is_path:
            return _read(io.BytesIO(_bytes(source)))
        with _opened(os.fsdecode(source)) as file:
            return _read(file if file.seekable() else io.BytesIO(file.read()))
    except ValueError as error:
        raise ValueError(f"{name} is not a readable fastnn model: {error}{_what_reads(name)}") from error
    # zipfile raises any of these for a damaged file.
    except (zipfile.BadZipFile, struct.error, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        what = f"{type(error).__name__}: {error}{_what_reads(name)}"
        raise ValueError(f"{name} is not a readable fastnn model: {what}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: a damaged zip directory points outside the file
            raise
        raise ValueError(f"{name} is not a readable fastnn model: {error}") from error


def _what_reads(name):
    """The advice of an error about a file that cannot be read, by its suffix."""
    return _READERS.get(os.path.splitext(str(name).strip("'\""))[1].lower(), "")


def _opened(path):
    try:
        return open(path, "rb")
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror + filesystem.advice(path), path) from None


def _bytes(file):
    data = file.read()
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"path must be a path or a binary file object, whose read() gives bytes, got {data!r:.40}")
    return data


def _read(file):
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise ValueError("it is empty, or a file object is at its end and needs seek(0)")
    file.seek(0)
    head = file.read(9)
    if files_safetensors.is_such(head, size):  # first, because its length may begin as a pickle does
        header, arrays = files_safetensors.unpacked(head + file.read())
        _check_header(header, lambda: _digest_of_tensors(header, arrays))
        return header, arrays
    for start, what in _OTHERS.items():
        if head.startswith(start):
            raise ValueError(f"it is {what}")
    with zipfile.ZipFile(file) as archive:
        # The sum, because a zip directory can list the same bytes many times.
        if sum(info.file_size for info in archive.infolist()) > size:
            raise ValueError("its members are larger than the file")
        if min((info.header_offset for info in archive.infolist()), default=0):
            raise ValueError("other data precede the model")  # such as another model
        members = {info.filename: _member(archive, info) for info in archive.infolist()}
    header = json.loads(members.pop(_HEADER))
    _check_header(header, lambda: _digest(header, members))
    return header, {name.removesuffix(".npy"): _array(data) for name, data in members.items()}


def _check_header(header, digest):
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    if type(header.get("format")) is not int or not 1 <= header["format"] <= FORMAT:
        raise ValueError(f"format {header.get('format')!r}, this release reads 1..{FORMAT}")
    if header.get("sha256") != digest():
        raise ValueError("its checksum does not match: it is damaged")


def _member(archive, info):
    # Stored members are no larger than they claim to be; a compressed one could unpack to anything.
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"member {info.filename!r} is compressed")
    return archive.read(info)


def _array(data):
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array has another .npy version than 1.0")
    try:
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # of any kind, because NumPy parses the header as a Python literal
        raise ValueError(f"an array's header cannot be read: {type(error).__name__}") from error
    rest = data[stream.tell() :]
    if dtype.hasobject or fortran or len(rest) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError("an array does not have the size that it claims")
    return np.frombuffer(rest, dtype).reshape(shape).copy()
