"""A place that the user named: what is in it replaced, and nothing else of it changed.

A file is written beside the place and renamed, so that the old content or the new is there, whole, whatever happens.
Where a rename would make something else of the place (a device, a file with several names, one of another owner), or
is not allowed, it is written where it is, which a fault can cut short.
"""

import contextlib
import errno
import os
import stat

# The system's words for: there is no room for a second file beside this one, or no way to exchange the two.
_NOT_BESIDE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV, errno.ENAMETOOLONG, errno.ETXTBSY}
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EBADF}  # of a pipe, or a device
_NO_RESERVE = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


def write(path, data):
    """Make `data` the content of the place called `path`.

    A link stays a link, and what it names is written; mode, owner and extended attributes stay where the system
    lets us keep them; pipes and devices are written to.

    Parameters
    ----------
    path : str
    data : bytes-like

    Raises
    ------
    OSError
        If it cannot be written; its `filename` is `path`.
    """
    try:
        _write(path, data)
    except OSError as error:
        if error.filename == path and error.filename2 is None:
            raise
        # Of the names that we took on the way the user knows nothing.
        home = "; write os.path.expanduser(path)" if path.startswith("~") else ""
        raise OSError(error.errno, error.strerror + home, path) from None


def _write(path, data):
    descriptor = _descriptor(path)
    if descriptor is not None:
        with open(os.dup(descriptor), "wb") as file:  # from where it stands, as others write to it
            file.write(data)
        return
    try:
        there = os.stat(path)
    except FileNotFoundError:
        there = None
        if os.path.basename(path) in ("", ".", ".."):  # realpath would make a name of it
            raise
    real = os.path.realpath(path)
    if (there is not None and not _is_replaceable(real, there)) or not _replace(real, data, there):
        _write_in_place(path, data, there)


def _descriptor(path):
    """The number of the open file of this process that is meant, as by /dev/stdout; None: a place by its name."""
    for _ in range(40):  # links, of which the system follows no more
        folder, name = os.path.split(path)
        real = os.path.realpath(folder)
        if name.isdecimal() and real in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
            return int(name)
        try:
            path = os.path.join(folder, os.readlink(path))
        except (OSError, ValueError):  # no link
            return None
    return None


def _is_replaceable(real, there):
    """Whether another file of that name would be the same place."""
    if not stat.S_ISREG(there.st_mode) or there.st_nlink != 1:
        return False
    try:
        return os.path.samestat(os.stat(real), there)  # not so for an open file that has no name any more
    except FileNotFoundError:
        return False


def _replace(real, data, there):
    """Write beside and rename; False, with nothing changed, where that cannot be."""
    folder = os.path.dirname(real)
    temporary = os.path.join(folder, f".{os.urandom(8).hex()}.tmp")  # short, however long the name is
    try:
        # Nobody may read more than they may of the file that was there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(temporary, flags, 0o666 if there is None else 0o600), "wb") as file:
            file.write(data)
            file.flush()
            if there is not None:
                _take_after(file.fileno(), temporary, real, there)
            os.fsync(file.fileno())
        os.replace(temporary, real)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno in _NOT_BESIDE:
            return False
        raise
    _sync_folder(folder)
    return True


def _take_after(handle, temporary, real, there):
    """Owner, mode and attributes of the file that was there; PermissionError where the owner cannot be had."""
    new = os.fstat(handle)
    if (new.st_uid, new.st_gid) != (there.st_uid, there.st_gid):
        os.fchown(handle, there.st_uid, there.st_gid)
    attributes = _attributes(real)
    for name in set(_attributes(handle)) - set(attributes):
        os.removexattr(handle, name)  # such as rights of others, which the folder gives to all that is new
    os.chmod(temporary, stat.S_IMODE(there.st_mode))
    for name in attributes:
        with contextlib.suppress(OSError):  # the system's own ones are not everybody's to set
            os.setxattr(handle, name, os.getxattr(real, name))


def _attributes(file):
    """Names of the extended attributes; none where the system, or the disk, has no such thing."""
    with contextlib.suppress(OSError, AttributeError):
        return os.listxattr(file)
    return []


def _write_in_place(path, data, there):
    """Write over what is there; a pipe or a device is only written to."""
    size = len(data)
    regular = there is not None and stat.S_ISREG(there.st_mode)
    flags = os.O_WRONLY | (0 if regular else os.O_CREAT) | getattr(os, "O_BINARY", 0)  # which may not be ours to read
    with open(path, "wb", opener=lambda path, _: os.open(path, flags, 0o666)) as file:
        if regular and size > there.st_size:
            _reserve(file.fileno(), there.st_size, size)
        file.write(data)
        file.flush()
        if regular:
            file.truncate(size)
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise


def _reserve(handle, old, new):
    """Have the disk say now, while the old content is whole, that it is full."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, new)
        except OSError as error:
            os.ftruncate(handle, old)
            if error.errno not in _NO_RESERVE:
                raise


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


def advice(path):
    """What to add to the message that there is no `path`: a name that differs by its ending and is there."""
    for other in (os.path.splitext(path)[0], f"{path}.npz"):
        if other != path and os.path.isfile(other):
            return f"; did you mean {other!r}, which is there?"
    return ""
