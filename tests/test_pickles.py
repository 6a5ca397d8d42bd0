"""States that no network wrote: a pickle is checked as a file is, and class codes as an index that is ours alone."""

import copy
import pickle
import random

import numpy as np
import pytest

import fastnn
from case_helpers import state_of
from fastnn import SGD, Adam, Network, RMSprop, arrays, kernels, optimizers

OPTIMIZERS = [SGD(0.05, 0.9), RMSprop(momentum=0.9), *(optimizer() for optimizer in optimizers.OPTIMIZERS)]
ODD = [
    None, True, -1, 0, 1, 2.5, 10**30, float("nan"), "", "relu", b"x", [], (), {}, [None], [1, 2], {"a": 1}, object(),
    np.zeros(3), np.zeros((5, 3)), np.zeros((3, 5), "f4"), np.zeros((5, 3), "f2"), np.zeros((5, 3), "i4"),
    np.zeros((5, 3), "c8"), np.zeros((0, 0)), np.zeros((5, 3), object), np.full((5, 3), "a"), np.zeros(()),
    [np.zeros((5, 3), "f4")], SGD(), SGD(momentum=0.5), Adam(),
]  # fmt: skip


def trained(backend, optimizer):
    net = Network([3, 5, 2], dtype="float32", seed=1, backend=backend)
    rng = np.random.default_rng(0)
    net.fit(rng.standard_normal((3, 8)), np.arange(8) % 2, 2, 4, optimizer)
    return net


def places(part, path=()):
    """The path of each thing within a state."""
    yield path
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, (list, tuple)) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(part, path, new):
    """A copy with another thing at that place; ... there: with nothing."""
    if not path:
        return new
    key, *rest = path
    twin = dict(part) if isinstance(part, dict) else list(part)
    if not rest and new is ...:
        del twin[key]
    else:
        twin[key] = changed(part[key], rest, new)
    return tuple(twin) if isinstance(part, tuple) else twin


class Forged:
    """Pickles as a network with that state."""

    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return object.__new__, (Network,), self.state


def check_state(net, other, state):
    """Refused with nothing changed, also in another network, or a network that works."""
    before, fresh = state_of(other), object.__new__(Network)
    try:
        fresh.__setstate__(state)
    except (ValueError, TypeError):
        assert not vars(fresh)
        if state is not None:  # pickle itself then has nothing to set
            with pytest.raises((ValueError, TypeError)):
                pickle.loads(pickle.dumps(Forged(state)))
        with pytest.raises((ValueError, TypeError)):
            other.__setstate__(state)
        assert state_of(other) == before
        return False
    again = pickle.loads(pickle.dumps(fresh))
    assert state_of(again) == state_of(fresh)
    moments = state_of(fresh)[3]
    assert moments in (b"", state_of(net)[3]) or len(moments) == len(state_of(net)[3])
    return True


def test_a_state_with_anything_in_any_place(either_backend):
    rng, refused, total = random.Random(0), 0, 0
    other = trained(either_backend, SGD())
    for optimizer in OPTIMIZERS:
        net = trained(either_backend, optimizer)
        state = net.__getstate__()
        for path in places(state):
            for new in (..., *rng.sample(ODD, 5)):
                if path or new is not ...:
                    total += 1
                    refused += not check_state(net, other, changed(state, path, new))
    assert refused > 0.7 * total


@pytest.mark.parametrize(
    ("path", "new", "told"),
    [
        (("optimizer_state", "moments", 0, 0, 0), np.zeros((1, 1), "f4"), "m1_W1"),
        (("optimizer_state", "moments", 1, 1, 1), np.zeros((2, 1)), "m2_b2"),
        (("optimizer_state", "moments", 1, 0, 0), np.zeros((3, 5), "f4"), "m2_W1"),
        (("optimizer_state", "moments", 0, 0, 0), np.zeros((5, 3), object), "m1_W1"),
        (("optimizer_state", "moments", 0), [], "m1_W1"),
        (("optimizer_state", "moments", 1), ..., "moments"),
        (("optimizer_state", "steps"), -1, "steps"),
        (("optimizer_state", "steps"), 2**63, "steps"),
        (("optimizer_state", "steps"), ..., "steps"),
        (("optimizer",), SGD(momentum=0.9), "moments"),
        (("optimizer",), "Adam", "optimizer"),
        (("sizes",), [3, 10**7, 2], "W1"),  # no memory is taken for those
        (("parameters", 0, 0), np.zeros((5, 4), "f4"), "W1"),
        (("epochs_done",), 2**64, "epochs_done"),
        (("seed",), None, "seed"),
        (("loss",), ..., "loss"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(either_backend, path, new, told):
    state = changed(trained(either_backend, Adam()).__getstate__(), path, new)
    with pytest.raises((ValueError, TypeError), match=told):
        object.__new__(Network).__setstate__(state)


@pytest.mark.parametrize(
    ("slot", "value"), [("_lr", "0.1"), ("_lr", -1.0), ("_betas", (0.9,)), ("_betas", (0.9, 2.0)), ("_eps", 0.0)]
)
def test_an_optimizer_whose_settings_were_never_checked(either_backend, slot, value):
    optimizer = Adam()
    state = trained(either_backend, optimizer).__getstate__() | {"optimizer_state": None}
    setattr(optimizer, slot, value)
    with pytest.raises((ValueError, TypeError), match=slot[1:]):
        object.__new__(Network).__setstate__(state)
    delattr(optimizer, slot)
    with pytest.raises(ValueError, match=slot):
        object.__new__(Network).__setstate__(state)


def test_moments_that_lie_anywhere_are_the_same(either_backend):
    net = trained(either_backend, Adam())
    state = net.__getstate__()
    records = np.zeros((5, 3), [("odd", "i1"), ("number", "f4")])
    records["number"] = state["optimizer_state"]["moments"][1][0][0]
    twin = object.__new__(Network)
    twin.__setstate__(changed(state, ("optimizer_state", "moments", 1, 0, 0), records["number"]))
    assert state_of(twin) == state_of(net) == state_of(copy.copy(net))


# --- class codes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", ">i4", "u4", "i8", "u8", "bool"])
def test_codes_are_a_copy(dtype):
    y = np.zeros(7, dtype)
    for given in (y, y[::2], memoryview(y) if dtype != ">i4" else y):
        codes = arrays.targets(given, 3, len(given), "cross_entropy")
        assert codes.dtype == np.int32
        assert codes.flags.c_contiguous
        assert not np.shares_memory(codes, y)


class Scribbling:
    """A backend in front of which someone else changes the class codes, after they were checked."""

    def __init__(self, backend, y):
        self.backend, self.y = backend, y

    def __getattr__(self, name):
        self.y[:] = 2  # still beside the two rows, and not yet outside of what may be read
        return getattr(self.backend, name)


@pytest.mark.parametrize("weighted", [False, True])
def test_codes_that_another_thread_changes(backend, monkeypatch, weighted):
    Z, w = np.asfortranarray(np.arange(12.0).reshape(2, 6)), np.ones(6) if weighted else None
    for number, function in enumerate((fastnn.kernels.loss_forward, fastnn.kernels.loss_backward)):
        careful = kernels._careful["loss_backward" if number else "loss_forward"]
        want = careful(Z, np.zeros(6, np.int32), "cross_entropy", w)
        y = np.zeros(6, np.int32)
        with monkeypatch.context() as m:
            m.setattr(kernels, "_backend", Scribbling(kernels._backend, y))
            np.testing.assert_array_equal(careful(Z, y, "cross_entropy", w), want)
            assert y.any()
        np.testing.assert_array_equal(function(Z, np.zeros(6, np.int32), "cross_entropy", w), want)
