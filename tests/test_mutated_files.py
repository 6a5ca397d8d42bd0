"""Files that nobody wrote: each gives a ValueError or an equal network, in no more memory than it is large."""

import io
import json
import os
import random
import tracemalloc
import zipfile

import numpy as np
import pytest

import fastnn
from case_helpers import bits
from conftest import alone
from fastnn import Adam, Network, files

ODD = [
    None, True, False, 0, -1, 1, 2, 3.5, -0.0, 1e308, float("nan"), float("inf"), 2**31, 2**63, 2**64, 10**30, "", "a",
    "../../x", "/etc/passwd", "relu", "softmax", "float32", "float16", "object", "\x00", "é" * 1000, [], [1], [4, 3],
    [4, 5, 3], [4, -5, 3], [4, 2**62, 3], [0, 0], [[4], [3]], ["4", "3"], [None, None], [1e400], {}, {"a": 1},
    ["Adam", {}], ["SGD", {"lr": -1}], ["Adam", {"betas": [0.9]}], ["Adam", None], [["SGD"]], ["leaky_relu", 0.1],
]  # fmt: skip


HEADERS = [
    "{'descr': '|O', 'fortran_order': False, 'shape': (3,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 9)}",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4)}",
    "{'descr': '<f4'}",
    "__import__('os')",
    "(" * 3000,
    "9" * 5000,
]


def originals(folder):
    """Networks, and the bytes of their files."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4, 30)), rng.integers(0, 3, 30)
    made = []
    for sizes, dtype, optimizer in (([4, 3], "float32", None), ([4, 5, 3], "float64", Adam())):
        net = Network(sizes, dtype=dtype, seed=1)
        net.fit(X, y, 2, optimizer=optimizer, progress=False)
        path = os.path.join(folder, "original.npz")
        net.save(path, optimizer=optimizer is not None)
        with open(path, "rb") as file:
            made.append((net, file.read()))
    return made


def damaged(rng, data):
    """A truncated, overwritten, moved, doubled or wrongly joined copy."""
    data, n = bytearray(data), len(data)
    for _ in range(rng.randint(1, 3)):
        a, b = sorted(rng.sample(range(n), 2))
        how = rng.randrange(7)
        if how == 0:
            data[a % len(data)] ^= 1 << rng.randrange(8)
        elif how == 1:
            del data[a:]
        elif how == 2:
            data[a:b] = os.urandom(0) + rng.randbytes(b - a)
        elif how == 3:
            del data[a:b]
        elif how == 4:
            data[a:a] = data[a:b]
        elif how == 5:  # a size or an offset of the directory
            at = data.rfind(b"PK\x01\x02") if rng.random() < 0.5 else data.find(b"PK\x01\x02")
            at = max(0, at) + rng.choice([8, 10, 16, 20, 24, 28, 30, 32, 42])
            data[at : at + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", rng.randbytes(4)]
            )
        else:
            data += rng.randbytes(rng.randrange(200))
        if len(data) < 4:
            break
    return bytes(data)


def forged(rng, data):
    """A file that is whole, with a checksum that is right, and nonsense inside."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members.pop("header.json"))
    for _ in range(rng.randint(1, 2)):
        how = rng.randrange(6)
        name = rng.choice(sorted(members)) if members else "W1.npy"
        if how == 0:
            header[rng.choice(sorted(header))] = rng.choice(ODD)
        elif how == 1:
            header.pop(rng.choice(sorted(header)), None)
        elif how == 2 and isinstance(header.get("sizes"), list) and header["sizes"]:
            header["sizes"][rng.randrange(len(header["sizes"]))] = rng.choice(ODD)
        elif how == 3:
            members.pop(name, None)
        elif how == 4:
            members[rng.choice([name, "../" + name, "/tmp/x.npy", "W9.npy", "m1_W1.npy", ""])] = members.get(name, b"")
        else:
            body = rng.choice(HEADERS).encode() + b"\n"
            members[name] = b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body + rng.randbytes(48)
    header.pop("sha256", None)
    header["sha256"] = files._digest(header, members)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in {"header.json": json.dumps(header).encode(), **members}.items():
            archive.writestr(zipfile.ZipInfo(name or "x"), content)
    return stream.getvalue()


def check_mutations(folder, total):
    made, rng, path = originals(folder), random.Random(0), os.path.join(folder, "mutated.npz")
    outcomes = {"refused": 0, "equal": 0, "another": 0}
    for number in range(total):
        net, data = made[number % 2]
        is_forged = number % 4 >= 2
        data = (forged if is_forged else damaged)(rng, data)
        with open(path, "wb") as file:
            file.write(data)
        try:
            found = fastnn.load(path)
        except ValueError:
            outcomes["refused"] += 1
            continue
        outcomes["equal" if bits(found) == bits(net) else "another"] += 1
        assert is_forged or bits(found) == bits(net), number
        assert all(np.isfinite(T).all() for pair in found.parameters for T in pair)
    assert sorted(os.listdir(folder)) == ["mutated.npz", "original.npz"]
    return outcomes


def test_mutated_files(tmp_path):
    outcomes = check_mutations(tmp_path, 400)
    assert outcomes["refused"] > 280


@pytest.mark.slow
def test_mutated_files_by_the_thousand(tmp_path):
    outcomes = check_mutations(tmp_path, 10_000)
    assert outcomes["refused"] > 7000


@alone
def test_a_directory_that_names_one_member_many_times(tmp_path):
    # Each of them is as large as the file; read one after the other they would be a thousand times that.
    content, path = b"\x00" * 100_000, tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
        (info,) = archive.filelist
        for _ in range(1000):
            twin = zipfile.ZipInfo("a.npy")
            twin.file_size, twin.compress_size, twin.CRC = info.file_size, info.compress_size, info.CRC
            twin.header_offset = info.header_offset
            archive.filelist.append(twin)
    tracemalloc.start()
    with pytest.raises(ValueError, match="larger than the file"):
        fastnn.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * path.stat().st_size  # the directory's own objects; a thousand members would be 400 times
