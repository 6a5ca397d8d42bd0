"""Replaces the content of a file that the user named, and keeps everything else: links, mode, owner, attributes.

The new content is written to a temporary file beside it, which is then renamed: after any failure the file has either
the old content or the new. Where a rename would change more than the content (a device, a file with several hard
links or another owner), or is not allowed, the file is written in place; a failure can then leave it incomplete.
"""

import contextlib
import errno
import os
import stat

# Errors that mean: a second file cannot be created beside this one, or cannot replace it.
_NOT_BESIDE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV, errno.ENAMETOOLONG, errno.ETXTBSY}
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EBADF}  # fsync of a pipe or a device fails with these
_NO_RESERVE = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


def write(path, data):
    """Replace the content of the file `path` with `data`.

    If `path` is a link, the link stays and its target is written. Mode, owner and extended attributes stay if the
    system allows it. Pipes and devices are written to.

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
        # The user does not know the names of temporary files: the error names `path` instead.
        home = "; write os.path.expanduser(path)" if path.startswith("~") else ""
        raise OSError(error.errno, error.strerror + home, path) from None


def _write(path, data):
    descriptor = _descriptor(path)
    if descriptor is not None:
        with open(os.dup(descriptor), "wb") as file:  # at its current position: others write to it, too
            file.write(data)
        return
    try:
        there = os.stat(path)
    except FileNotFoundError:
        there = None
        if os.path.basename(path) in ("", ".", ".."):  # realpath would drop it and give a file name
            raise
    real = os.path.realpath(path)
    if (there is not None and not _is_replaceable(real, there)) or not _replace(real, data, there):
        _write_in_place(path, data, there)


def _descriptor(path):
    """The file descriptor of this process that `path` means, such as 1 for /dev/stdout; None for an ordinary path."""
    for _ in range(40):  # Linux follows at most 40 links
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
    """Whether the file may be replaced by a new one of the same name: a regular file with no other hard link."""
    if not stat.S_ISREG(there.st_mode) or there.st_nlink != 1:
        return False
    try:
        return os.path.samestat(os.stat(real), there)  # False for an open file whose name was deleted
    except FileNotFoundError:
        return False


def _replace(real, data, there):
    """Write a temporary file beside `real` and rename it; False, with nothing changed, if that is impossible."""
    folder = os.path.dirname(real)
    temporary = os.path.join(folder, f".{os.urandom(8).hex()}.tmp")  # short, however long the name is
    try:
        # At first only the owner may read the new file: nobody may read it who could not read the old one.
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
    """Copy owner, mode and extended attributes of the old file; PermissionError if the owner cannot be set."""
    new = os.fstat(handle)
    if (new.st_uid, new.st_gid) != (there.st_uid, there.st_gid):
        os.fchown(handle, there.st_uid, there.st_gid)
    attributes = _attributes(real)
    for name in set(_attributes(handle)) - set(attributes):
        os.removexattr(handle, name)  # such as default access rights (ACL) that new files get from the folder
    os.chmod(temporary, stat.S_IMODE(there.st_mode))
    for name in attributes:
        with contextlib.suppress(OSError):  # an ordinary user may not set the system's attributes
            os.setxattr(handle, name, os.getxattr(real, name))


def _attributes(file):
    """Names of the extended attributes; an empty list if the system or the file system has none."""
    with contextlib.suppress(OSError, AttributeError):
        return os.listxattr(file)
    return []


def _write_in_place(path, data, there):
    """Overwrite a file in place and cut it to the new length; a pipe or a device is only written to."""
    size = len(data)
    regular = there is not None and stat.S_ISREG(there.st_mode)
    flags = os.O_WRONLY | (0 if regular else os.O_CREAT) | getattr(os, "O_BINARY", 0)  # we may not be able to read it
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
    """Reserve disk space, so that a full disk is detected before the old content is overwritten."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, new)
        except OSError as error:
            os.ftruncate(handle, old)
            if error.errno not in _NO_RESERVE:
                raise


def _sync_folder(folder):
    try:  # so that the rename reaches the disk; some systems cannot sync a folder
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
    """Suggestion for a path that does not exist: an existing file whose name differs only by its suffix; else ""."""
    for other in (os.path.splitext(path)[0], f"{path}.npz", f"{path}.safetensors"):
        if other != path and os.path.isfile(other):
            return f"; did you mean {other!r}, which is there?"
    return ""
