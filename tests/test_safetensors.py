"""save("model.safetensors") and load: the same network, the same checks as for .npz, files of each format."""

import io
import itertools
import json
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import fastnn
from case_helpers import state_of
from conftest import BACKENDS, alone
from fastnn import Adam, Network, files
from networks_that_travel import changed
from test_mutated_files import ODD, damaged

VARIANTS = BACKENDS
FOLDER = Path(__file__).parent / "data"
ROWS = np.array([[1, -1], [0.5, 2], [-0.25, 0]])


@pytest.fixture(scope="module")
def safetensors():
    return pytest.importorskip("safetensors.numpy")


def trained(rng, dtype="float32", **more):
    """A network with all that a file may have."""
    net = Network([4, 4, 4, 3], ["elu", "gelu", "softmax"], dtype=dtype, norm=["batch", "layer"], dropout=0.1, **more)
    changed(net, rng)
    X, y = rng.standard_normal((4, 40)) + 3, rng.integers(0, 3, 40)
    net.adapt(X)
    net.trainable = [True, False, True]
    net.fit(X, y, 2, optimizer=Adam(fastnn.schedules.Cosine(0.1, 5), average=0.9), progress=False)
    return net, X, y


def test_a_network_comes_back(safetensors, backend, dtype, tmp_path, rng):
    net, X, y = trained(rng, dtype, backend=backend)
    p, q = tmp_path / "p.safetensors", tmp_path / "q.safetensors"
    net.save(p, optimizer=True)
    again = fastnn.load(p, backend=backend)
    assert state_of(again) == state_of(net)
    assert (again.norm, again.dropout, again.trainable) == (net.norm, net.dropout, net.trainable)
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    again.save(q, optimizer=True)
    assert p.read_bytes() == q.read_bytes()
    for each in (net, again):
        each.fit(X, y, 1, progress=False)
    assert state_of(again) == state_of(net)
    with open(q, "rb") as file:  # a file object is read by its content
        assert state_of(fastnn.load(file, backend=backend)) == state_of(fastnn.load(p, backend=backend))
    net.save(tmp_path / "p.npz", optimizer=True)
    fastnn.load(tmp_path / "p.npz").save(p, optimizer=True)
    assert state_of(fastnn.load(p)) == state_of(net)


@alone
def test_others_can_read_the_tensors(safetensors, tmp_path, rng):
    net = Network([3, 3, 2], seed=0)
    path = str(tmp_path / "m.safetensors")
    net.save(path)
    tensors = safetensors.load_file(path)
    assert sorted(tensors) == ["W1", "W2", "b1", "b2"]
    np.testing.assert_array_equal(tensors["W1"], net.parameters[0][0])  # square, and not transposed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "no space")))
        with pytest.raises(OSError, match="no space"):
            Network([3, 2]).save(path)
    assert fastnn.load(path).sizes == (3, 3, 2)  # the old file is whole
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_a_file_of_any_length_of_header_comes_back(safetensors, tmp_path):
    # The first byte is that of the JSON's length; a pickle begins with 0x80.
    path, starts = tmp_path / "m.safetensors", set()
    for layers, digits in itertools.product(range(1, 50), (1, 9, 17)):
        if 0x80 not in starts:
            net = Network([2] * (layers + 1), seed=int("1" * digits))
            net.save(path)
            starts.add(path.read_bytes()[0])
            assert state_of(fastnn.load(path)) == state_of(net)
    assert 0x80 in starts
    path.write_bytes(pickle.dumps([b"{" * 1000]))
    with pytest.raises(ValueError, match="a pickle"):
        fastnn.load(path)


def test_numbers_that_are_not_finite_come_back(safetensors, tmp_path):
    for number in ("float32", "float64"):
        net = Network([2, 2], ["identity"], "mse", dtype=number)
        limits = np.finfo(number)
        net.set_parameters([([[np.nan, -np.inf], [-0.0, limits.smallest_subnormal]], [limits.max, np.inf])])
        net.save(tmp_path / "m.safetensors")
        assert state_of(fastnn.load(tmp_path / "m.safetensors")) == state_of(net)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("format*.*")), ids=lambda path: path.name)
def test_a_file_of_each_format_stays_readable(backend, path):
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors")
    net = fastnn.load(path, backend=backend)
    header, _ = files.load(path)
    assert header["format"] == int(path.stem[-1])
    if path.name == "format1.npz":
        return  # test_files.py
    wanted = {1: [[0.46388982, 0.54560326]], 2: [[0.51958692, 0.51992023]]}[header["format"]]
    np.testing.assert_allclose(net.predict(ROWS)[:1], wanted, atol=1e-8)
    assert (net.seed, net.epochs_done, net.dtype) == (7, 2, np.float64)
    twin = fastnn.load(path.with_suffix(".npz")) if path.name != "format1.safetensors" else net
    assert state_of(net) == state_of(twin)
    net.fit(ROWS, [0, 1], 1, progress=False)  # with the optimizer of the file


def test_without_the_package_it_says_so(tmp_path):
    Network([2, 1]).save(tmp_path / "m.npz")
    code = f"""
import sys
sys.modules["safetensors"] = None
import fastnn
net = fastnn.load({str(tmp_path / "m.npz")!r})
stored, new = {str(FOLDER / "format1.safetensors")!r}, {str(tmp_path / "m.safetensors")!r}
for call in (lambda: net.save(new), lambda: fastnn.load(stored)):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(fastnn.__file__).parents[1]
    )
    assert done.stdout.count("pip install safetensors, or save as .npz") == 2, done.stderr
    assert os.listdir(tmp_path) == ["m.npz"]


# --- damaged and hostile files --------------------------------------------------------------------------------


def forged(safetensors, rng, data):
    """A file that is whole, with a checksum that is right, and nonsense inside."""
    header = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["fastnn"])
    tensors = safetensors.load(data)
    for _ in range(rng.randint(1, 2)):
        how, name = rng.randrange(6), rng.choice([*tensors, "W1"])
        if how == 0:
            header[rng.choice(sorted(header))] = rng.choice(ODD)
        elif how == 1:
            header.pop(rng.choice(sorted(header)), None)
        elif how == 2:
            tensors.pop(name, None)
        elif how == 3:
            tensors[rng.choice([name, "../W1", "W9", "m1_W1", ""])] = tensors.get(name, np.zeros(0))
        elif how == 4 and name in tensors:
            tensors[name] = tensors[name].astype(rng.choice(["int8", "float16", "bool", "uint64"]))
        elif name in tensors:
            tensors[name] = tensors[name].ravel()[: rng.randrange(5)]
    header.pop("sha256", None)
    header["sha256"] = files._digest_of_tensors(header, tensors)
    return safetensors.save(tensors, {"fastnn": json.dumps(header)})


def with_another_start(rng, data):
    """The same tensors behind another JSON of their places."""
    length = int.from_bytes(data[:8], "little")
    start, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    name = rng.choice([key for key in start if key != "__metadata__"])
    key = rng.choice(["dtype", "shape", "data_offsets"])
    start[name][key] = rng.choice([[0, 2**62], [2**63, 1], [-1, 4], [0, 0], "F32", "I64", "X", None, [1e30], {}, []])
    if rng.random() < 0.2:
        start["__metadata__"] = rng.choice([{}, None, [], {"fastnn": ""}, {"fastnn": 1}, {"fastnn": "[" * 5000}])
    text = json.dumps(start).encode()
    return len(text).to_bytes(8, "little") + text + rest


def check_mutations(safetensors, folder, rng, total):
    draw = random.Random(0)
    net, *_ = trained(rng)
    path = folder / "m.safetensors"
    net.save(path, optimizer=True)
    data, refused = path.read_bytes(), 0
    for number in range(total):
        kind = number % 3
        if kind == 0:
            mutated = damaged(draw, data)
        else:
            mutated = forged(safetensors, draw, data) if kind == 1 else with_another_start(draw, data)
        path.write_bytes(mutated)
        found = None
        try:
            found = fastnn.load(path)
        except ValueError:
            refused += 1
        assert kind or found is None or state_of(found) == state_of(net), number
    assert os.listdir(folder) == ["m.safetensors"]
    return refused


def test_flipped_bits(safetensors, tmp_path, rng):
    path = tmp_path / "m.safetensors"
    net = Network([4, 4, 2], seed=0)
    net.save(path)
    data = path.read_bytes()
    for place in rng.integers(0, 8 * len(data), 300):
        flipped, found = bytearray(data), None
        flipped[place // 8] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        try:
            found = fastnn.load(path)
        except ValueError:
            continue
        assert state_of(found) == state_of(net), place


def test_mutated_files(safetensors, tmp_path, rng):
    assert check_mutations(safetensors, tmp_path, rng, 240) > 200


@pytest.mark.slow
@alone
def test_mutated_files_by_the_thousand(safetensors, tmp_path, rng):
    tracemalloc.start()
    assert check_mutations(safetensors, tmp_path, rng, 3000) > 2500
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_files_of_others_are_refused(safetensors, tmp_path):
    for data, message in (
        (safetensors.save({"a": np.ones(3, np.float32)}), "no 'fastnn'"),
        (safetensors.save({"a": np.ones(3, np.float32)}, {"fastnn": "{}"}), "format None"),
        (safetensors.save({"a": np.ones(3, np.float32)}, {"fastnn": "[1]"}), "not a JSON object"),
        ((2**40).to_bytes(8, "little") + b"{" + b" " * 100, "not a readable"),
        ((2).to_bytes(8, "little") + b"{}", "no 'fastnn'"),
    ):
        with pytest.raises(ValueError, match=message):
            fastnn.load(io.BytesIO(data))
