"""Files and copies: exactly the network that was saved, or an error; loading runs no code; the old file is safe."""

import copy
import json
import multiprocessing
import os
import pathlib
import pickle
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn
import reference as ref
from case_helpers import OF_ANY_UNITS, affine, bits, variant_environment, weights_unchanged
from conftest import DEFAULT, PROFILE, drawn
from fastnn import SGD, Network, files

VARIANTS = DEFAULT  # what is tested here is around the kernels

STORED = pathlib.Path(__file__).parent / "data" / "format1.npz"


def everything_of(net):
    """All that a file or a copy has to keep."""
    settings_ = (net.sizes, net.activations, net.loss_name, net.dtype, net.seed, net.epochs_done)
    return settings_, bits(net)


def make(backend="auto", dtype="float32", seed=1, **kw):
    return Network([3, 5, 2], ["tanh", "softmax"], dtype=dtype, seed=seed, backend=backend, **kw)


def saved(net, path, **kw):
    net.save(path, **kw)
    return pathlib.Path(path).read_bytes()


# --- the rule: exactly the network that was saved -----------------------------------------------------------------

NAMES = st.sampled_from([*ref.ACTIVATIONS])


@drawn(12, 250)
@given(data=st.data(), sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5), seed=st.integers(0, 2**64 - 1))
def test_any_network_comes_back(backend, dtype, tmp_path, data, sizes, seed):
    hidden = [data.draw(NAMES) for _ in sizes[2:]]
    output = data.draw(st.sampled_from([*ref.ACTIVATIONS] if sizes[-1] > 1 else OF_ANY_UNITS))
    own = {"sigmoid": "binary_cross_entropy", "softmax": "cross_entropy"}.get(output)
    loss = data.draw(st.sampled_from(["mse"] + [own] * (own is not None)))
    net = Network(sizes, [*hidden, output], loss, dtype=dtype, seed=seed, backend=backend)
    net.set_parameters([(W, np.arange(b.size) - 1.5) for W, b in net.parameters])
    net.save(tmp_path / "net")
    again = fastnn.load(tmp_path / "net", backend=backend)
    X = np.linspace(-2, 2, 3 * sizes[0]).reshape(sizes[0], 3)
    for twin in (again, copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert everything_of(twin) == everything_of(net)
        assert type(twin.loss_name) is type(net.loss_name)
        np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    assert saved(again, tmp_path / "again") == saved(net, tmp_path / "net")


@pytest.mark.parametrize("name", ["m", "m.npz", "m.fnn", "mit Leerzeichen", "mö→.npz", "m.tar.gz"])
def test_the_path_is_taken_as_it_is(backend, tmp_path, name):
    net = make(backend)
    for path in (tmp_path / name, str(tmp_path / name), os.fsencode(tmp_path / name)):
        net.save(path)
        assert os.listdir(tmp_path) == [name]
        assert bits(fastnn.load(path, backend=backend)) == bits(net)
        os.unlink(path)


def test_a_relative_path(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = make(backend)
    net.save("net")
    assert bits(fastnn.load("net")) == bits(net)
    assert os.listdir() == ["net"]


@pytest.mark.parametrize("path", [None, 123, 1.5, [], {}, np.zeros(3), object()], ids=lambda it: type(it).__name__)
def test_what_is_no_path(backend, path):
    with pytest.raises(TypeError):
        make(backend).save(path)
    with pytest.raises(TypeError):
        fastnn.load(path)


def test_the_settings_of_load_are_checked(backend, tmp_path):
    make(backend).save(tmp_path / "net")
    for kw, name in (({"backend": "cuda"}, "backend"), ({"threads": 0}, "threads"), ({"threads": 1.5}, "threads")):
        with pytest.raises((ValueError, TypeError), match=f"^{name} must be"):  # the file is not to blame
            fastnn.load(tmp_path / "net", **kw)


def test_numpy_reads_the_file(backend, tmp_path):
    net = make(backend)
    net.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as arrays:
        for i, (W, b) in enumerate(net.parameters, start=1):
            np.testing.assert_array_equal(arrays[f"W{i}"], W)
            np.testing.assert_array_equal(arrays[f"b{i}"], b)


def test_training_goes_on_from_a_file(backend, dtype, rng, tmp_path):
    X, y = rng.standard_normal((3, 30)), np.arange(30) % 2
    net = make(backend, dtype)
    net.fit(X, y, epochs=3, optimizer=SGD(lr=0.2, weight_decay=0.01), batch_size=7)
    net.save(tmp_path / "net", optimizer=True)
    twins = [fastnn.load(tmp_path / "net", backend=backend), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    net.fit(X, y, epochs=2, batch_size=7)
    for twin in twins:
        assert twin.epochs_done == 3
        twin.fit(X, y, epochs=2, batch_size=7)
        assert everything_of(twin) == everything_of(net)
    plain = make(backend, dtype)
    plain.fit(X, y, epochs=3, optimizer=SGD(lr=0.2, weight_decay=0.01), batch_size=7)
    plain.save(tmp_path / "plain")
    plain = fastnn.load(tmp_path / "plain", backend=backend)
    plain.fit(X, y, epochs=2, batch_size=7)  # without its optimizer, with the default one
    assert bits(plain) != bits(net)


# --- the rule: saving never harms the previous file ---------------------------------------------------------------


@pytest.mark.parametrize("fault", ["os.replace", "os.fsync", "zipfile.ZipFile.writestr", "zipfile.ZipFile.close"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
def test_a_save_that_fails_leaves_the_old_file(backend, tmp_path, monkeypatch, fault, error):
    old = saved(make(backend, seed=1), tmp_path / "net")
    owner, name = {"os": os, "zipfile": zipfile.ZipFile}[fault.split(".")[0]], fault.rsplit(".", 1)[1]

    def fail(*args, **kwargs):
        raise error

    net = make(backend, seed=2)
    with monkeypatch.context() as patch, weights_unchanged(net):
        patch.setattr(owner, name, fail)
        with pytest.raises(type(error)):
            net.save(tmp_path / "net")
    assert os.listdir(tmp_path) == ["net"]
    assert (tmp_path / "net").read_bytes() == old
    net.save(tmp_path / "net")
    assert bits(fastnn.load(tmp_path / "net", backend=backend)) == bits(net)


def test_saving_where_there_is_no_place(backend, tmp_path):
    net = make(backend)
    with pytest.raises(FileNotFoundError):
        net.save(tmp_path / "nowhere" / "net")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        net.save(tmp_path / "folder")
    assert sorted(os.listdir(tmp_path)) == ["folder"]


def test_the_mode_of_the_old_file_is_kept(backend, tmp_path):
    path = tmp_path / "net"
    make(backend).save(path)
    path.chmod(0o640)
    make(backend, seed=2).save(path)
    assert path.stat().st_mode & 0o777 == 0o640


# --- the rule: a file either loads exactly or raises --------------------------------------------------------------


def crafted(path, net, **changes):
    """A file with a right checksum whose header is not what it was."""
    net.save(path)
    header, arrays = files.load(path)
    header = {k: v for k, v in header.items() if k not in ("format", "sha256")} | changes.pop("header", {})
    arrays = {k: v for k, v in (arrays | changes).items() if v is not None}
    files.save(path, {k: v for k, v in header.items() if v != "absent"}, arrays)


@pytest.mark.parametrize(
    "header",
    [
        {"sizes": [3, 6, 2]},
        {"sizes": [3, 5]},
        {"sizes": [3]},
        {"sizes": []},
        {"sizes": 3},
        {"sizes": None},
        {"sizes": "352"},
        {"sizes": {"3": 1, "5": 1}},
        {"sizes": [3, 0, 2]},
        {"sizes": [3, -5, 2]},
        {"sizes": [3, 5.0, 2]},
        {"sizes": [3, "5", 2]},
        {"sizes": [3, True, 2]},
        {"sizes": [3, 100_000, 100_000, 2]},
        {"sizes": [3, 2**62, 2]},
        {"sizes": [2**40, 2**40]},
        {"sizes": [3, 10**30, 2]},
        {"sizes": "absent"},
        {"activations": ["tanh"]},
        {"activations": ["tanh", "softmax", "softmax"]},
        {"activations": ["__import__('os').system('true')", "softmax"]},
        {"activations": "tanh"},
        {"activations": None},
        {"activations": [["tanh", {"slope": 1}], "softmax"]},
        {"activations": [["tanh"], "softmax"]},
        {"activations": [[[]], 5]},
        {"activations": [None, None]},
        {"activations": "absent"},
        {"loss": "mse2"},
        {"loss": None},
        {"loss": "binary_cross_entropy"},
        {"loss": ["mse", 3]},
        {"loss": "absent"},
        {"dtype": "object"},
        {"dtype": "int8"},
        {"dtype": "nonsense"},
        {"dtype": None},
        {"dtype": 5},
        {"dtype": ["float32"]},
        {"dtype": {"names": ["a"]}},
        {"dtype": "absent"},
        {"seed": -1},
        {"seed": 2**64},
        {"seed": 1.5},
        {"seed": None},
        {"seed": "1"},
        {"seed": "absent"},
        {"epochs_done": -1},
        {"epochs_done": 1.5},
        {"epochs_done": None},
        {"epochs_done": float("inf")},
        {"epochs_done": "absent"},
        {"optimizer": {"lr": "x"}},
        {"optimizer": {"lr": -1}},
        {"optimizer": {"lr": 10**400}},
        {"optimizer": {"lr": float("nan")}},
        {"optimizer": {"momentums": 1}},
        {"optimizer": 5},
        {"optimizer": [1]},
        {"optimizer": "os.system"},
    ],
    ids=str,
)
def test_a_header_of_nonsense_is_refused(backend, tmp_path, header):
    path = tmp_path / "net"
    crafted(path, make(backend), header=header)
    with pytest.raises(ValueError, match="net"):
        fastnn.load(path, backend=backend)


@pytest.mark.parametrize(
    "arrays",
    [
        {"W1": None},
        {"b2": None},
        {"W1": np.zeros((3, 5), "f4")},
        {"W1": np.zeros((5, 4), "f4")},
        {"W1": np.zeros(15, "f4")},
        {"W1": np.zeros((5, 3, 1), "f4")},
        {"W1": np.float32(1)},
        {"b1": np.zeros((1, 5), "f4")},
        {"b1": np.zeros(0, "f4")},
        {"W1": np.full((5, 3), 1j)},
        {"W1": np.full((5, 3), "1")},
        {"W1": np.zeros((5, 3), "M8[s]")},
        {"W1": np.zeros((5, 3), [("a", "f4")])},
    ],
    ids=lambda a: ", ".join(f"{k}: {getattr(v, 'dtype', '')}{np.shape(v)}" for k, v in a.items()),
)
def test_arrays_of_nonsense_are_refused(backend, tmp_path, arrays):
    path = tmp_path / "net"
    crafted(path, make(backend), **arrays)
    with pytest.raises(ValueError, match="net"):
        fastnn.load(path, backend=backend)


def rewritten(path, change):
    """Write the archive's members anew after ``change(name, data)``; the checksum stays what it was."""
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            result = change(name, data)
            if result is not None:
                archive.writestr(*(result if isinstance(result, tuple) else (name, result)))


@pytest.mark.parametrize(
    "change",
    [
        lambda name, data: None if name == "W1.npy" else data,
        lambda name, data: ("W9.npy", data) if name == "W1.npy" else data,
        lambda name, data: data[:-4] + b"\0\0\0\1" if name == "b2.npy" else data,
        lambda name, data: data + b"\0" if name == "b2.npy" else data,
        lambda name, data: data.replace(b'"seed": 1', b'"seed": 2') if name == "header.json" else data,
        lambda name, data: data.replace(b"tanh", b"relu") if name == "header.json" else data,
        lambda name, data: b"[]" if name == "header.json" else data,
        lambda name, data: b"" if name == "header.json" else data,
        lambda name, data: b"[" * 100_000 if name == "header.json" else data,
        lambda name, data: b"\xff\xfe" if name == "header.json" else data,
        lambda name, data: None if name == "header.json" else data,
        lambda name, data: b"garbage" if name == "W1.npy" else data,
        lambda name, data: data[:6] + b"\2" + data[7:] if name == "W1.npy" else data,  # the format's next version
    ],
)
def test_a_changed_archive_is_refused(backend, tmp_path, change):
    path = tmp_path / "net"
    make(backend).save(path)
    rewritten(path, change)
    with pytest.raises(ValueError, match="net"):
        fastnn.load(path, backend=backend)


def test_a_file_cannot_claim_more_memory_than_it_has(backend, tmp_path):
    # a compressed member of a few kilobytes could unpack to gigabytes
    path = tmp_path / "bomb"
    make(backend).save(path)
    with zipfile.ZipFile(path) as archive:
        header = archive.read("header.json")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", header)
        archive.writestr("W1.npy", b"\0" * 50_000_000)
    with pytest.raises(ValueError, match="bomb"):
        fastnn.load(path)


# --- the cases ------------------------------------------------------------------------------------------------


class Owned:
    """What a pickle can do to who opens it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_h01_loading_a_file_runs_no_code(backend, tmp_path):
    owned = str(tmp_path / "owned")
    (tmp_path / "m.fnn").write_bytes(pickle.dumps(Owned(owned)))
    np.savez(tmp_path / "m2.npz", W0=np.array([Owned(owned)], object))
    np.savez(tmp_path / "m3.npz", **{"header.json": np.zeros(1), "W1": np.array([Owned(owned)], object)})
    np.save(tmp_path / "m4.npy", np.array([Owned(owned)], object), allow_pickle=True)
    path = tmp_path / "m5.npz"  # a whole model of ours, with one array swapped for a pickle
    make(backend).save(path)
    pickled = (tmp_path / "m4.npy").read_bytes()
    rewritten(path, lambda name, data: pickled if name == "W1.npy" else data)
    checked = tmp_path / "m6.npz"  # the same, and the checksum is right
    make(backend).save(checked)
    header, arrays = files.load(checked)
    members = {f"{name}.npy": files._npy(array) for name, array in arrays.items()} | {"W1.npy": pickled}
    header["sha256"] = files._digest(header, members)
    with zipfile.ZipFile(checked, "w") as archive:
        for name, data in {"header.json": json.dumps(header).encode(), **members}.items():
            archive.writestr(name, data)
    for file in sorted(tmp_path.glob("m*")):
        with pytest.raises(ValueError, match=file.name):
            fastnn.load(file)
        assert not os.path.exists(owned)


def test_h03_truncated_file(backend, tmp_path):
    data = saved(make(backend), tmp_path / "net")
    path = tmp_path / "cut"
    for k in {0, 1, 10, len(data) // 2, len(data) - 1, *range(0, len(data), 7)}:
        path.write_bytes(data[:k])
        with pytest.raises(ValueError, match="cut"):
            fastnn.load(path)
    path.write_bytes(data + b"more")  # a tail is no part of the archive
    try:
        assert bits(fastnn.load(path)) == bits(make(backend))
    except ValueError as error:
        assert "cut" in str(error)  # noqa: PT017
    for no_model in (b"\0" * 1000, b"PK\3\4", b"{}", "ümlaut".encode() * 99, data[::-1], data[100:]):
        path.write_bytes(no_model)
        with pytest.raises(ValueError, match="cut"):
            fastnn.load(path)
    with pytest.raises(FileNotFoundError):
        fastnn.load(tmp_path / "missing")
    with pytest.raises(OSError):
        fastnn.load(tmp_path)


def test_h03_flipped_bits(backend, rng, tmp_path):
    net = make(backend)
    data, want = saved(net, tmp_path / "net"), everything_of(net)
    path = tmp_path / "flipped"
    refused = 0
    places = np.concatenate([np.arange(0, len(data), 3), rng.integers(0, len(data), 200)])
    for place, bit in zip(places, rng.integers(0, 8, len(places)), strict=True):
        broken = bytearray(data)
        broken[place] ^= 1 << bit
        path.write_bytes(broken)
        try:
            again = fastnn.load(path, backend=backend)
        except ValueError as error:
            assert "flipped" in str(error)  # noqa: PT017
            refused += 1
        else:
            assert everything_of(again) == want, f"bit {bit} of byte {place}"
    assert refused > len(places) / 2


def test_h03_overwritten_and_moved_parts(backend, rng, tmp_path):
    net = make(backend)
    data, want = saved(net, tmp_path / "net"), everything_of(net)
    other = saved(make(backend, seed=9), tmp_path / "other")
    path = tmp_path / "mixed"
    for _ in range(500 if PROFILE == "explore" else 60):
        a, b, c = np.sort(rng.integers(0, len(data), 3))
        for broken in (
            data[:a] + other[a:],
            data[:a] + data[b:],
            data[:a] + bytes(b - a) + data[b:],
            data[:a] + data[b:c] + data[a:b] + data[c:],
        ):
            path.write_bytes(broken)
            try:
                again = everything_of(fastnn.load(path, backend=backend))
            except ValueError as error:
                assert "mixed" in str(error)  # noqa: PT017
            else:
                assert again in (want, everything_of(make(backend, seed=9)))


@pytest.mark.parametrize("version", [999, files.FORMAT + 1, 0, -1, None, "1", 1.5, True, [1], "absent"])
def test_h04_file_from_another_version(backend, tmp_path, version):
    path = tmp_path / "net"
    make(backend).save(path)
    header, arrays = files.load(path)
    members = {f"{name}.npy": files._npy(array) for name, array in arrays.items()}
    header["format"] = version
    if version == "absent":
        del header["format"]
    header["sha256"] = files._digest(header, members)
    rewritten(path, lambda name, data: json.dumps(header).encode() if name == "header.json" else data)
    version = None if version == "absent" else version
    with pytest.raises(ValueError, match=re.escape(f"format {version!r}, this release reads 1..{files.FORMAT}")):
        fastnn.load(path)
    with pytest.raises(ValueError, match="net"):
        fastnn.load(path)


def test_h04_every_format_stays_readable(backend, tmp_path):
    net = fastnn.load(STORED, backend=backend)
    assert net.sizes == (3, 4, 2)
    assert net.activations == ("tanh", "softmax")
    assert (net.loss_name, net.dtype, net.seed, net.epochs_done) == ("cross_entropy", np.float32, 7, 2)
    X = np.array([[1, -1], [0.5, 2], [-0.25, 0]])
    want = [[0.52816373, 0.5527904], [0.47183627, 0.4472096]]
    np.testing.assert_allclose(net.predict(X), want, atol=1e-6)
    _, b = net.parameters[1]
    np.testing.assert_array_equal(b, np.array([[0.037258975207805634], [-0.037258975207805634]], "f4"))


@pytest.mark.parametrize("number", ["f4", "f8"])
def test_h05_exact_round_trip(backend, tmp_path, number):
    net = Network([3, 5, 2], dtype=number, seed=0, backend=backend)
    info = np.finfo(number)
    odd = [info.smallest_subnormal, -info.smallest_subnormal, info.tiny, -0.0, 0.0, np.inf, -np.inf, np.nan, info.max]
    odd += [-info.max, info.eps, 1 + info.eps, 1 / 3, np.pi, 1e-30]
    with_odd = [(np.array(odd, number).reshape(5, 3), np.array(odd[:5], number)), net.parameters[1]]
    p, q, r = (tmp_path / name for name in "pqr")
    for parameters in (net.parameters, with_odd):
        net.set_parameters(parameters)
        net.save(p)
        again = fastnn.load(p, backend=backend)
        assert everything_of(again) == everything_of(net)
        again.save(q)
        assert p.read_bytes() == q.read_bytes()
        for other in ("numpy", "auto"):  # over to the other backend and back
            there = fastnn.load(p, backend=other)
            there.save(r)
            assert r.read_bytes() == p.read_bytes()
            assert bits(fastnn.load(r, backend=backend)) == bits(net)
        X = np.arange(12.0).reshape(3, 4) / 5 - 1
        assert again.forward(X).tobytes() == net.forward(X).tobytes()
    negative_zero = net.parameters[0][0][1, 0]
    assert negative_zero == 0
    assert np.signbit(negative_zero)


def test_h06_weights_are_n_out_by_n_in(backend):
    net = affine([[1, 2], [3, 4.0]], [0, 0], backend=backend)
    np.testing.assert_array_equal(net.forward([[1], [10.0]]), [[21], [43]])
    np.testing.assert_array_equal(net.parameters[0][0], [[1, 2], [3, 4]])


def test_h09_two_class_head(backend, dtype):
    z = np.array([[-2, -0.5, 0, 0.5, 2]])
    want = [0.1192029, 0.3775407, 0.5, 0.6224593, 0.8807971]
    one = affine([[1.0]], [0], dtype, ["sigmoid"], backend=backend)
    two = affine([[0.0], [1.0]], [0, 0], dtype, ["softmax"], backend=backend)
    np.testing.assert_allclose(one.predict(z)[0], want, atol=5e-8)
    np.testing.assert_allclose(two.predict(z)[1], want, atol=1e-7)
    np.testing.assert_array_equal(one.predict_classes(z), [0, 0, 1, 1, 1])  # >= 0.5
    np.testing.assert_array_equal(two.predict_classes(z), [0, 0, 0, 1, 1])  # the first maximum
    y = np.array([0, 1, 1, 0, 1])
    assert one.loss(z, y) == pytest.approx(two.loss(z, y), rel=1e-6)


def test_h10_copies(backend, dtype, rng):
    X, y = rng.standard_normal((3, 30)), np.arange(30) % 2
    net = make(backend, dtype)
    net.fit(X, y, epochs=2)
    for b in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert everything_of(b) == everything_of(net)
        p = b.predictor()
        with weights_unchanged(net):
            b.fit(X, y, epochs=1, optimizer=SGD(lr=0.1))
        assert bits(b) != bits(net)
        assert p(X).tobytes() == net.predict(X).tobytes()
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(net, protocol))
        assert again.predict(X).tobytes() == net.predict(X).tobytes()
    p = net.predictor()
    want = p(X).copy()
    net.train_step(X, y, optimizer=SGD(lr=1))
    np.testing.assert_array_equal(p(X), want)


def test_h10_a_copy_in_a_container(backend):
    net = make(backend)
    a, b = copy.deepcopy([net, net])
    assert a is b  # as everywhere in Python
    assert a is not net
    assert bits(a) == bits(net)


def test_h10_a_pickle_holds_weights_and_little_else(backend):
    for sizes in ([3, 2], [200, 300, 10]):
        net = Network(sizes, seed=0, backend=backend)
        net.fit(np.ones((sizes[0], 500)), np.zeros(500, int), batch_size=None)
        assert len(pickle.dumps(net)) <= 4 * net.n_params + 4096


def test_h10_spawned_workers(backend, rng, monkeypatch):
    for key, value in variant_environment(backend).items():
        monkeypatch.setenv(key, value)
    net = Network([3, 5, 2], seed=1, backend=backend)
    Xs = [rng.standard_normal((3, m)) for m in (1, 5, 40)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(net.forward, Xs)
    for A, X in zip(results, Xs, strict=True):
        np.testing.assert_array_equal(A, net.forward(X))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("m.onnx", r"from_onnx\(path\)"),
        ("m.pt", r"from_torch\(torch.load\(path\), activations"),
        ("m.PTH", "from_torch"),
        ("m.keras", r"from_keras\(keras.models.load_model\(path\)\)"),
        ("m.h5", "from_keras"),
        ("m.safetensors", r"from_torch\(safetensors.torch.load_file\(path\), activations"),
    ],
)
def test_a_file_of_another_library_is_told_who_reads_it(tmp_path, name, told):
    for data in (b"\x08\x08\x12\x06fastnn", b"PK\x05\x06" + 18 * b"\0", b"\x80\x04N."):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"not a readable fastnn model: .*; .*write fastnn.exchange.{told}"):
            fastnn.load(tmp_path / name)
    (tmp_path / "m.npz").write_bytes(b"PK\x05\x06" + 18 * b"\0")
    with pytest.raises(ValueError, match=r"'header\.json'$"):
        fastnn.load(tmp_path / "m.npz")


@pytest.mark.parametrize(("name", "told"), [("m.onnx", "to_onnx"), ("m.Keras", "to_keras"), ("m.h5", "to_keras")])
def test_a_name_that_promises_a_file_of_another_library(tmp_path, name, told):
    net = Network([3, 2], seed=0)
    with pytest.warns(fastnn.DataWarning, match=f"only fastnn.load reads; .* write fastnn.exchange.{told}"):
        net.save(tmp_path / name)
    assert fastnn.load(tmp_path / name).sizes == net.sizes
