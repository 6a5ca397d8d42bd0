"""Pickles, copies and files carry what they say: a subclass's attributes, a predictor, the optimizer's state."""

import copy
import io
import multiprocessing
import pickle
import types

import cloudpickle  # which joblib needs
import joblib
import numpy as np
import pytest

import fastnn
from case_helpers import state_of, variant_environment
from fastnn import SGD, Adagrad, Adam, AdamW, NAdam, Network, RMSprop

X = np.random.default_rng(0).standard_normal((3, 40))
Y = np.arange(40) % 2


def by_joblib(thing):
    file = io.BytesIO()
    joblib.dump(thing, file)
    file.seek(0)
    return joblib.load(file)


def by_file(net):
    file = io.BytesIO()
    net.save(file, optimizer=True)
    file.seek(0)
    return fastnn.load(file, net._backend_name)


WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "pickle 2": lambda thing: pickle.loads(pickle.dumps(thing, 2)),
    "joblib": by_joblib,
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


class Named(Network):
    """With settings of its own in both places where Python keeps attributes."""

    __slots__ = ("__hidden", "unit")

    def __init__(self, sizes, name, **kw):
        super().__init__(sizes, **kw)
        self.name, self.unit, self.__hidden = name, "m", 7

    def hidden(self):
        return self.__hidden

    def named(self, A):
        return dict(zip(self.name, A, strict=True))


# --- attributes ---------------------------------------------------------------------------------------------------


def test_attributes_survive(backend, way):
    net = Named([3, 4, 2], ["yes", "no"], seed=1, backend=backend)
    net.fit(X, Y, progress=False)
    net.feature_names, net._note, net.itself = ["a", "b", "c"], {"by": "hand"}, net
    twin = way(net)
    assert type(twin) is Named
    assert state_of(twin)[:2] == state_of(net)[:2]
    assert (twin.name, twin.unit, twin.hidden()) == (["yes", "no"], "m", 7)
    assert (twin.feature_names, twin._note) == (["a", "b", "c"], {"by": "hand"})
    assert twin.itself is (net if way is copy.copy else twin)
    assert (twin.name is net.name) == (way is copy.copy)
    assert twin.named(twin.predict(X)).keys() == {"yes", "no"}
    assert twin.train_step(X, Y) == net.train_step(X, Y)


def test_all_of_its_own_is_known():
    """Else it would be carried twice, or what belongs to one process would be pickled."""
    net = Network([3, 4, 2], seed=1)
    net.fit(X, Y, progress=False)
    net.predictor(), net.save(io.BytesIO()), pickle.dumps(net)
    assert vars(net).keys() == fastnn.network._OWN
    assert net.__getstate__()["attributes"] == {}


def test_a_pickle_of_the_last_release_has_none(backend):
    state = Network([3, 4, 2], seed=1, backend=backend).__getstate__()
    del state["attributes"]
    net = object.__new__(Network)
    net.__setstate__(state)
    net.loss(X, Y)


@pytest.mark.parametrize("attributes", [3, [("a", 1)], {1: 2}])
def test_attributes_of_nonsense(attributes):
    state = Network([3, 4, 2], seed=1).__getstate__()
    with pytest.raises(TypeError, match="attributes must be a dict"):
        object.__new__(Network).__setstate__({**state, "attributes": attributes})


def test_attributes_are_not_in_files(backend):
    net = Network([3, 4, 2], seed=1, backend=backend)
    net.note = "x"
    assert not hasattr(by_file(net), "note")


# --- predictors ---------------------------------------------------------------------------------------------------


def test_a_predictor_survives(backend, dtype, way):
    net = Network([3, 4, 2], seed=1, backend=backend, dtype=dtype, threads=2)
    p = net.predictor()
    want = p(X).tobytes()
    net.set_parameters([(W * 0, b) for W, b in net.parameters])
    twin = way(p)
    assert twin(X).tobytes() == want
    out = np.empty((2, 40), dtype)
    assert twin(X, out=out) is out
    assert out.tobytes() == want
    again = way({"model": [twin, twin]})["model"]
    assert again[0](X).tobytes() == again[1](X).tobytes() == want


def test_predictors_go_to_spawned_workers(either_backend, monkeypatch):
    for key, value in variant_environment(either_backend).items():
        monkeypatch.setenv(key, value)
    p = Network([3, 5, 2], seed=1, backend=either_backend).predictor()
    Xs = [X[:, :m] for m in (1, 5, 40)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for A, some in zip(pool.map(p, Xs), Xs, strict=True):
            np.testing.assert_array_equal(A, p(some))


# --- the optimizer's state ----------------------------------------------------------------------------------------

ALIKE = [
    (Adam(lr=0.01), Adam(lr=0.01)),
    (Adam(lr=0.01), Adam(lr=0.2, weight_decay=0.1, eps=1e-7)),
    (AdamW(lr=0.01), AdamW(lr=0.02, weight_decay=0)),
    (SGD(0.1, momentum=0.9), SGD(0.2, momentum=0.9, weight_decay=0.1)),
    (NAdam(lr=0.01), NAdam(lr=0.02, eps=1e-7, momentum_decay=0.1)),
    (RMSprop(lr=0.01, momentum=0.5), RMSprop(lr=0.02, momentum=0.5, eps=1e-7, weight_decay=0.1)),
    (Adagrad(lr=0.01), Adagrad(lr=0.1, lr_decay=0.1, weight_decay=0.1, eps=1e-7)),
]
APART = [
    (Adam(), Adam(betas=(0.8, 0.999))),
    (Adam(), AdamW()),
    (SGD(momentum=0.9), SGD(momentum=0.8)),
    (SGD(momentum=0.9), SGD(momentum=0.9, nesterov=True)),
    (SGD(momentum=0.9), SGD()),
    (Adam(), NAdam()),
    (NAdam(), NAdam(betas=(0.8, 0.999))),
    (RMSprop(), RMSprop(alpha=0.9)),
    (RMSprop(), RMSprop(momentum=0.5)),
    (RMSprop(), Adagrad()),
]
CARRIERS = {**{name: WAYS[name] for name in WAYS if name != "copy"}, "file": by_file}


def trained(backend, optimizer):
    net = Network([3, 4, 2], seed=1, backend=backend)
    net.fit(X, Y, 2, optimizer=optimizer, progress=False)
    return net


def step(net, optimizer, how):
    if how == "fit":
        net.fit(X, Y, 1, optimizer=optimizer, progress=False)
    else:
        net.train_step(X, Y, optimizer)
    return state_of(net)


def with_settings_of(optimizer, like):
    """A copy of `optimizer` with the lr, weight_decay and eps of `like`: what goes on with a state."""
    twin = copy.copy(optimizer)
    for name, value in like.settings().items():
        setattr(twin, name, value)
    return twin


@pytest.mark.parametrize("how", ["fit", "train_step"])
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("first", ALIKE, ids=[repr(b) for _, b in ALIKE])
def test_the_first_optimizer_of_its_kind_goes_on(either_backend, carrier, how, first):
    before, after = first
    net = trained(either_backend, before)
    twin = CARRIERS[carrier](net)
    for name, value in after.settings().items():  # on the object that it was trained with they are changes
        setattr(before, name, value)
    assert step(twin, after, how) == step(net, before, how)
    assert step(twin, after, how) == step(net, before, how)
    # It is that object's from now on: another one of the same settings starts afresh, as it always would.
    another = copy.copy(after)
    assert step(twin, another, how) == step(net, copy.copy(after), how)
    assert twin.__getstate__()["optimizer_state"]["steps"] == net.__getstate__()["optimizer_state"]["steps"]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_saved_one_goes_on_by_itself_and_is_then_the_only_one(either_backend, carrier):
    net = trained(either_backend, Adam(lr=0.01))
    twin = CARRIERS[carrier](net)
    assert step(twin, None, "train_step") == step(net, None, "train_step")
    assert step(twin, Adam(lr=0.01), "train_step") == step(net, Adam(lr=0.01), "train_step")  # both afresh


@pytest.mark.parametrize("how", ["fit", "train_step"])
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(("before", "after"), APART)
def test_one_of_another_kind_starts_afresh(either_backend, carrier, how, before, after):
    net = trained(either_backend, before)
    twin = CARRIERS[carrier](net)
    assert step(twin, after, how) == step(net, after, how)
    # Nor does the state of before come back.
    assert step(twin, copy.copy(before), how) == step(net, copy.copy(before), how)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_state_that_waits_for_its_optimizer_is_kept_and_dropped_as_any(either_backend, carrier):
    net = trained(either_backend, Adam(lr=0.01))
    carry = CARRIERS[carrier]
    want = step(carry(net), Adam(lr=0.01), "fit")
    assert step(carry(carry(carry(net))), Adam(lr=0.01), "fit") == want
    kept = carry(net)
    with pytest.raises(ValueError, match="X has"):
        kept.fit(np.full((3, 40), np.nan), Y, optimizer=Adam(lr=0.01), progress=False)
    with pytest.raises(ValueError, match="X has"):
        kept.train_step(np.full((3, 40), np.nan), Y, Adam(lr=0.01))
    with pytest.raises(ValueError, match="X has"):
        kept.train_step(np.full((3, 40), np.nan), Y, SGD())
    kept.set_parameters(kept.parameters)
    assert step(kept, Adam(lr=0.01), "fit") == want
    dropped = carry(net)
    dropped.reset_optimizer()
    fresh = copy.copy(net)
    fresh.reset_optimizer()
    assert step(dropped, Adam(lr=0.01), "fit") == step(fresh, Adam(lr=0.01), "fit")


def test_a_network_and_its_optimizer_in_one_object(either_backend):
    optimizer = Adam(lr=0.01)
    job = types.SimpleNamespace(net=trained(either_backend, optimizer), optimizer=optimizer)
    for make in (copy.deepcopy, WAYS["pickle"], WAYS["joblib"]):
        twin = make(job)
        twin.optimizer.lr = 0.5
        other = copy.deepcopy(job.net)
        assert step(twin.net, twin.optimizer, "fit") == step(other, Adam(lr=0.5), "fit")
        assert twin.net._trainable.optimizer is twin.optimizer
        assert job.optimizer.lr == 0.01


def test_a_shallow_copy_shares_the_optimizer(either_backend):
    optimizer = Adam(lr=0.01)
    net = trained(either_backend, optimizer)
    twin = copy.copy(net)
    assert step(copy.copy(net), optimizer, "fit") == step(twin, None, "fit")
    assert twin._trainable.optimizer is optimizer
    assert step(copy.copy(net), Adam(lr=0.01), "fit") != step(copy.copy(net), optimizer, "fit")
    waiting = WAYS["pickle"](net)
    assert step(copy.copy(waiting), Adam(lr=0.01), "fit") == step(waiting, None, "fit")
