"""Model files: an .npz archive of plain arrays and a JSON header, readable by ``numpy.load``.

Loading runs no code (nothing is ever unpickled), takes no more memory than the file's own size,
and checks a SHA-256 over everything before a network is made. Saving writes beside the target and
renames, so the previous file is harmed by no fault.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import struct
import zipfile

import numpy as np

FORMAT = 1
_HEADER = "header.json"


def save(path, header, arrays):
    """Write a model file.

    Parameters
    ----------
    path : path-like
        Written as it is; no suffix is added.
    header : dict
        What JSON can hold.
    arrays : dict of str to ndarray

    Raises
    ------
    OSError
        If it cannot be written; a file that was there before is unharmed.
    """
    members = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
    header = {"format": FORMAT, **header}
    header["sha256"] = _digest(header, members)
    members = {_HEADER: json.dumps(header).encode(), **members}
    path = os.fsdecode(path)
    folder = os.path.dirname(path) or "."
    temporary = f"{path}.{os.urandom(6).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, data in members.items():
                    archive.writestr(zipfile.ZipInfo(name), data)  # dated 1980: equal networks, equal files
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder):
    try:  # the rename itself reaches the disk; not every system can sync a folder
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


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


def load(path):
    """Read a model file.

    Returns
    -------
    (dict, dict of str to ndarray)
        The header and the arrays, as they were given to :func:`save`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a model file, is damaged, or is of a format this release does not read.
    """
    path = os.fsdecode(path)  # an int would be taken for a file descriptor
    try:
        with open(path, "rb") as file:
            return _read(file)
    except ValueError as error:
        raise ValueError(f"{path!r} is not a readable fastnn model: {error}") from error
    # zipfile meets damage with any of these.
    except (zipfile.BadZipFile, struct.error, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path!r} is not a readable fastnn model: {what}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a seek to where a damaged directory points
            raise
        raise ValueError(f"{path!r} is not a readable fastnn model: {error}") from error


def _read(file):
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        # All together: a directory can name one place many times.
        if sum(info.file_size for info in archive.infolist()) > size:
            raise ValueError("its members are larger than the file")
        members = {info.filename: _member(archive, info) for info in archive.infolist()}
    header = json.loads(members.pop(_HEADER))
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    if header.get("format") != FORMAT:
        raise ValueError(f"format {header.get('format')!r}, this release reads 1..{FORMAT}")
    if header.get("sha256") != _digest(header, members):
        raise ValueError("its checksum does not match: it is damaged")
    return header, {name.removesuffix(".npy"): _array(data) for name, data in members.items()}


def _member(archive, info):
    # Stored members are no larger than they claim to be; a compressed one could unpack to anything.
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"member {info.filename!r} is compressed")
    return archive.read(info)


def _array(data):
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array is of another .npy version")
    try:
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # of any kind: its parser reads Python
        raise ValueError(f"an array's header cannot be read: {type(error).__name__}") from error
    rest = data[stream.tell() :]
    if dtype.hasobject or fortran or len(rest) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError("an array does not have the size that it claims")
    return np.frombuffer(rest, dtype).reshape(shape).copy()
