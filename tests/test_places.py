"""Where a network is saved: the place that the user named has the new content, and is otherwise what it was."""

import errno
import io
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import zipfile

import pytest

import fastnn
from case_helpers import bits, python
from fastnn import Adam, Network, files, filesystem

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX's kinds of places")
NOBODY = 65534


def make(backend="auto", seed=1):
    return Network([3, 5, 2], ["tanh", "softmax"], seed=seed, backend=backend)


def content(seed):
    data = io.BytesIO()
    make(seed=seed).save(data)
    return data.getvalue()


OLD, NEW = content(1), content(2)


def save_new(path):
    make(seed=2).save(path)


@pytest.fixture
def old(tmp_path):
    """A saved network, and nothing beside it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "net").write_bytes(OLD)
    (folder / "net").chmod(0o640)
    return folder / "net"


@pytest.fixture
def ours():
    """The same, where others can reach it: pytest's own folder is closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = pathlib.Path(folder, "net")
        path.write_bytes(OLD)
        yield path


def assert_alone(folder, *names):
    assert sorted(os.listdir(folder)) == sorted(names)


def run_as_nobody(code, *arguments):
    """Run Python as a user that owns nothing; the text of what it raised, or nothing."""
    if os.getuid():
        pytest.skip("needs root, to become somebody else")
    code = (
        f"import os, sys, fastnn, numpy\nfrom fastnn import Network, files\nos.setuid({NOBODY})\n{code}\nprint('done')"
    )
    code = f"import sys\nsys.argv += {[str(a) for a in arguments]!r}\n{code}"
    return python(code, "numpy")


# --- links --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["absolute", "relative", "chain", "through a folder"])
def test_a_symlink_stays_one(old, tmp_path, kind):
    link, folder = tmp_path / "link", old.parent
    if kind == "absolute":
        link.symlink_to(old)
    elif kind == "relative":
        link.symlink_to("folder/net")
    elif kind == "chain":
        (tmp_path / "second").symlink_to("folder/net")
        link.symlink_to("second")
    else:
        (tmp_path / "way").symlink_to("folder")
        link.symlink_to("way/net")
    before = os.readlink(link)
    save_new(link)
    assert link.is_symlink()
    assert os.readlink(link) == before
    assert not old.is_symlink()
    assert old.read_bytes() == NEW
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert_alone(folder, "net")


def test_a_dangling_symlink_stays_one(tmp_path):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link"
    link.symlink_to("folder/net")
    save_new(link)
    assert link.is_symlink()
    assert (tmp_path / "folder" / "net").read_bytes() == NEW


def test_links_that_lead_nowhere(tmp_path):
    loop, away = tmp_path / "loop", tmp_path / "away"
    loop.symlink_to("loop")
    away.symlink_to("nowhere/net")
    for link, number in ((loop, errno.ELOOP), (away, errno.ENOENT)):
        with pytest.raises(OSError, match=link.name) as caught:
            save_new(link)
        assert (caught.value.errno, caught.value.filename) == (number, str(link))
        assert link.is_symlink()
    assert_alone(tmp_path, "loop", "away")


def test_all_names_of_one_file(old):
    other = old.parent / "other"
    os.link(old, other)
    save_new(old)
    assert other.read_bytes() == NEW
    assert os.path.samefile(old, other)
    assert stat.S_IMODE(other.stat().st_mode) == 0o640
    make(seed=1).save(other)  # smaller, larger, or the same: nothing of the last one stays
    assert old.read_bytes() == OLD
    Network([30, 30], seed=0).save(other)
    save_new(old)
    assert other.read_bytes() == NEW
    assert_alone(old.parent, "net", "other")


# --- what is no file ----------------------------------------------------------------------------------------------


def test_a_pipe_is_written_to(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    save_new(pipe)
    reader.join(20)
    assert got == [NEW]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert_alone(tmp_path, "pipe")


def test_a_pipe_is_read_from(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(NEW))
    writer.start()
    net = fastnn.load(pipe)
    writer.join(20)
    assert bits(net) == bits(make(seed=2))


def test_a_device_stays_one(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.stat("/dev/null").st_rdev)
        device.open("wb").close()
    except OSError as error:
        pytest.skip(f"no device here: {error}")
    save_new(device)
    assert stat.S_ISCHR(device.stat().st_mode)
    assert_alone(tmp_path, "null")


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="no /dev/fd here")
def test_an_open_file_by_its_number():
    """Also one without a name."""
    with tempfile.TemporaryFile() as file:
        file.write(b"before")
        file.flush()
        save_new(f"/dev/fd/{file.fileno()}")
        file.seek(0)
        assert file.read() == b"before" + NEW
    code = "import fastnn; fastnn.Network([3, 5, 2], ['tanh', 'softmax'], seed=2).save('/dev/stdout')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout == NEW
    with tempfile.TemporaryFile() as file:  # which the shell has opened, and goes on with
        shell = 'printf a; "$0" -c "$1"; printf b'
        subprocess.run(["sh", "-c", shell, sys.executable, code], stdout=file, check=True)
        file.seek(0)
        assert file.read() == b"a" + NEW + b"b"


def test_a_folder_is_refused(tmp_path):
    for path in (tmp_path, f"{tmp_path}/", f"{tmp_path}/new/", f"{tmp_path}/new/.", ""):
        with pytest.raises(OSError, match="directory") as caught:
            save_new(path)
        assert caught.value.filename == str(path)
    assert_alone(tmp_path)


# --- owner, mode, attributes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444, 0o4711])
def test_the_owner_and_the_mode_stay(old, mode):
    if os.getuid() == 0:
        os.chown(old, 1234, 4321)
    old.chmod(mode)
    before = old.stat()
    save_new(old)
    after = old.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert old.read_bytes() == NEW


def test_the_owner_stays_where_it_cannot_be_set(ours):
    ours.parent.chmod(0o777)
    ours.chmod(0o666)
    assert run_as_nobody("files.save(sys.argv[1], {}, {})", ours) == "done"
    assert ours.stat().st_uid == 0
    assert ours.read_bytes() != OLD


def test_nobody_can_read_the_new_file_before_it_has_its_mode(old, monkeypatch):
    modes, take_after = [], filesystem._take_after

    def look(handle, *rest):
        modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        take_after(handle, *rest)

    monkeypatch.setattr(filesystem, "_take_after", look)
    old.chmod(0o600)
    save_new(old)
    assert modes == [0o600]


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="Linux only")
def test_extended_attributes_stay(old):
    try:
        os.setxattr(old, "user.note", b"by hand")
    except OSError as error:
        pytest.skip(f"not on this disk: {error}")
    save_new(old)
    assert os.getxattr(old, "user.note") == b"by hand"
    assert old.read_bytes() == NEW


# --- where nothing can stand beside it ----------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 238, 239, 250, 255])
def test_a_name_of_any_length(tmp_path, length):
    path = tmp_path / ("n" * length)
    for seed in (1, 2):
        make(seed=seed).save(path)
    assert path.read_bytes() == NEW
    assert_alone(tmp_path, path.name)
    with pytest.raises(OSError, match="nnn") as caught:
        save_new(tmp_path / ("n" * 256))
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_file_that_may_be_written_in_a_folder_that_may_not(ours):
    ours.parent.chmod(0o555)
    ours.chmod(0o666)
    assert run_as_nobody("files.save(sys.argv[1], {}, {})", ours) == "done"
    assert ours.read_bytes() != OLD
    assert_alone(ours.parent, "net")


def test_what_may_not_be_written_is_named(ours):
    ours.parent.chmod(0o555)
    ours.chmod(0o644)
    code = """
for path in (sys.argv[1], sys.argv[1] + "2"):
    try:
        files.save(path, {}, {})
    except PermissionError as error:
        assert error.filename == path and "tmp" not in str(error).replace(path, ""), error
    else:
        raise AssertionError(path)
"""
    assert run_as_nobody(code, ours) == "done"
    assert ours.read_bytes() == OLD
    assert_alone(ours.parent, "net")


def test_a_mount_of_its_own(old, tmp_path):
    """The system does not rename anything over it."""
    (tmp_path / "source").write_bytes(OLD)
    mount = ["unshare", "-m", "sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "-"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*mount, tmp_path / "source", old, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no mount can be made here")
    code = "import sys, fastnn; fastnn.Network([3, 5, 2], ['tanh', 'softmax'], seed=2).save(sys.argv[1])"
    command = [*mount, tmp_path / "source", old, sys.executable, "-c", code, old]
    subprocess.run(command, check=True, cwd=os.path.dirname(os.path.dirname(fastnn.__file__)))
    assert (tmp_path / "source").read_bytes() == NEW
    assert old.read_bytes() == OLD  # what the mount hid
    assert_alone(old.parent, "net")


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EACCES, errno.EPERM, errno.EXDEV, errno.ETXTBSY])
def test_a_rename_that_the_system_refuses(old, monkeypatch, number):
    def refuse(*paths):
        raise OSError(number, os.strerror(number), *paths)

    monkeypatch.setattr(os, "replace", refuse)
    save_new(old)
    assert old.read_bytes() == NEW
    assert_alone(old.parent, "net")


FULL = """
import os, resource, sys
from fastnn import Network
path, large = sys.argv[1], Network([200, 200], seed=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    large.save(path)
except OSError as error:
    assert error.filename == path, error
    print(error.errno)
"""


@pytest.mark.parametrize("names", [1, 2])
def test_a_full_disk_where_it_has_to_be_written_in_place(old, names):
    if names == 2:
        os.link(old, old.parent / "other")
    code = f"import sys\nsys.argv.append({str(old)!r})\n{FULL}"
    assert python(code, "numpy") == str(errno.EFBIG)
    assert old.read_bytes() == OLD


# --- file objects -------------------------------------------------------------------------------------------------


class Raw(io.RawIOBase):
    """Takes a little at a time, as a socket may."""

    def __init__(self):
        self.data = b""

    def writable(self):
        return True

    def write(self, data):
        self.data += bytes(data[:100])
        return min(100, len(data))


class Plain:
    """No class of io's; its write returns nothing."""

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data


def test_file_objects(backend, tmp_path):
    net = make(backend, seed=2)
    memory, raw, plain = io.BytesIO(), Raw(), Plain()
    for file in (memory, raw, plain):
        net.save(file)
    assert memory.getvalue() == raw.data == plain.data == NEW
    with open(tmp_path / "net", "w+b") as file:
        file.write(b"before")
        net.save(file)
        file.seek(6)
        assert bits(fastnn.load(file, backend=backend)) == bits(net)
        assert not file.closed
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive, archive.open("member", "w") as member:
        net.save(member, optimizer=True)
    with zipfile.ZipFile(tmp_path / "zip") as archive, archive.open("member") as member:
        assert bits(fastnn.load(member, backend=backend)) == bits(net)
    with tempfile.NamedTemporaryFile() as file:
        net.save(file)
        file.seek(0)
        assert bits(fastnn.load(file, backend=backend)) == bits(net)
    with tempfile.SpooledTemporaryFile() as file:
        net.save(file)
        file.seek(0)
        assert bits(fastnn.load(file, backend=backend)) == bits(net)


def test_what_is_no_binary_file(backend, tmp_path):
    net = make(backend)
    (tmp_path / "net").write_bytes(OLD)
    with open(tmp_path / "text", "w") as text, open(tmp_path / "net") as read:
        for place in (text, io.StringIO(), 3, None, 1.5, object(), io.BytesIO, ["net"]):
            with pytest.raises(TypeError, match="path must be a path or a binary file object"):
                net.save(place)
        for place in (read, io.StringIO("x"), 3, None, object(), io.BytesIO):
            with pytest.raises(TypeError, match="path must be a path or a binary file object"):
                fastnn.load(place)


def test_messages_about_file_objects(tmp_path):
    (tmp_path / "bad").write_bytes(NEW[:-30])
    with open(tmp_path / "bad", "rb") as file, pytest.raises(ValueError, match="bad' is not a readable fastnn model"):
        fastnn.load(file)
    for data in (b"", NEW[:100], b"junk" + NEW, NEW + NEW):
        with pytest.raises(ValueError, match=r"BytesIO.*is not a readable fastnn model"):
            fastnn.load(io.BytesIO(data))
    two = io.BytesIO(NEW + OLD)
    two.seek(len(NEW))
    assert bits(fastnn.load(two)) == bits(make(seed=1))


def test_a_name_that_differs_by_its_ending_is_told(tmp_path):
    save_new(tmp_path / "m")
    save_new(tmp_path / "n.npz")
    for asked, there in (("m.npz", "m"), ("m.fastnn", "m"), ("n", "n.npz")):
        with pytest.raises(FileNotFoundError, match=f"did you mean '{tmp_path / there}'") as caught:
            fastnn.load(tmp_path / asked)
        assert caught.value.filename == str(tmp_path / asked)
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: "):
        fastnn.load(tmp_path / "other")


def test_what_is_saved_under_a_name_is_what_a_file_object_gets(old):
    net = make(seed=2)
    net.train_step([[1.0], [2], [3]], [0], Adam())
    memory = io.BytesIO()
    net.save(old, optimizer=True)
    net.save(memory, optimizer=True)
    assert old.read_bytes() == memory.getvalue()
    assert files.load(old)[0] == files.load(io.BytesIO(memory.getvalue()))[0]


# --- disks and folders with habits of their own ---------------------------------------------------------------------


def test_a_disk_without_extended_attributes(old, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    if hasattr(os, "listxattr"):
        monkeypatch.setattr(os, "listxattr", refuse)
    save_new(old)
    assert old.read_bytes() == NEW


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="Linux only")
def test_rights_that_a_folder_gives_to_what_is_new_are_not_given(old):
    everybody = 0xFFFFFFFF
    rights = [(1, 7, everybody), (2, 7, NOBODY), (4, 5, everybody), (0x10, 7, everybody), (0x20, 5, everybody)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in rights)
    try:
        os.setxattr(old.parent, "system.posix_acl_default", acl)
    except OSError as error:
        pytest.skip(f"not on this disk: {error}")
    save_new(old)
    assert old.read_bytes() == NEW
    assert "system.posix_acl_access" not in os.listxattr(old)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640


def test_a_file_that_may_be_written_and_not_read(ours):
    ours.parent.chmod(0o555)
    ours.chmod(0o222)
    assert run_as_nobody("files.save(sys.argv[1], {}, {})", ours) == "done"
    assert ours.read_bytes() != OLD


def test_what_a_file_object_does_not_take():
    came, goes = os.pipe()
    os.set_blocking(goes, False)
    with open(goes, "wb", buffering=0) as file, open(came, "rb"), pytest.raises(BlockingIOError, match="takes no more"):
        Network([200, 200], seed=0).save(file)

    class Full(io.RawIOBase):
        def write(self, data):
            return 0

    with pytest.raises(OSError, match="takes no more"):
        make().save(Full())

    class Odd(Plain):
        def write(self, data):
            self.data += data
            return "done"

    odd = Odd()
    make(seed=2).save(odd)
    assert odd.data == NEW


def test_what_else_was_saved_there_is_named(tmp_path):
    for data, told in ((b"\x80\x04abc", "pickle.load"), (b"\x1f\x8b\x08abc", "gzip.open"), (b"", "seek")):
        (tmp_path / "other").write_bytes(data)
        with pytest.raises(ValueError, match=told):
            fastnn.load(tmp_path / "other")
    memory = io.BytesIO()
    make().save(memory)
    with pytest.raises(ValueError, match="seek"):
        fastnn.load(memory)
    with pytest.raises(TypeError, match="BytesIO") as caught:
        fastnn.load(memory.getvalue())
    assert len(str(caught.value)) < 200
    with pytest.raises(OSError, match="expanduser"):
        make().save("~/nowhere/at/all")
    with pytest.raises(TypeError, match="optimizer must be True or False"):
        make().save(tmp_path / "net", Adam())


def test_a_file_sets_nothing_but_a_network(tmp_path):
    make(seed=2).save(tmp_path / "net")
    header, arrays = files.load(tmp_path / "net")
    for attributes in ({"predict": 5}, {"_guard": None}, {"_engine": 3}, {"sizes": [9]}, {"note": "x"}):
        files.save(tmp_path / "forged", {**header, "attributes": attributes, "losses": [1, 2]}, arrays)
        net = fastnn.load(tmp_path / "forged")
        assert vars(net).keys() == fastnn.network._OWN
        assert bits(net) == bits(make(seed=2))
