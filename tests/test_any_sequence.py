"""Any calls in any order: the compiled network, with one thread and more, and the NumPy one stay one network."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import fastnn
import reference as ref
from case_helpers import HEADS, OF_ANY_UNITS, bits, state_of
from conftest import COMPILED, alone
from fastnn import SGD, Adagrad, Adam, AdamW, NAdam, Network, RMSprop
from fastnn.schedules import InverseScaling

pytestmark = alone

OPTIMIZERS = [
    SGD(lr=5e-3), SGD(lr=5e-4, momentum=0.9), SGD(lr=5e-4, momentum=0.8, nesterov=True, weight_decay=1e-3),
    Adam(lr=1e-3), AdamW(lr=2e-3, weight_decay=0.1), NAdam(lr=1e-3), RMSprop(lr=1e-4),
    RMSprop(lr=1e-4, momentum=0.5), Adagrad(lr=1e-3, eps=1e-6),
    None, SGD(lr=InverseScaling(5e-3, 0.3, per="step")), Adam(lr=InverseScaling(1e-3, 0.3, per="step")),
]  # fmt: skip


def pull(A, y):
    """A loss of one's own, for any outputs."""
    return 0.1 * y * (A**2).sum(axis=0), 0.2 * y * A


# By what steps may grow apart in float64; at rates that are too much for the data they would grow apart by themselves.
APART = 1e-9


class Calls(RuleBasedStateMachine):
    @initialize(
        sizes=st.lists(st.integers(1, 20), min_size=2, max_size=4),
        loss=st.sampled_from(sorted(HEADS)),
        hidden=st.sampled_from(OF_ANY_UNITS),
        seed=st.integers(0, 2**64 - 1),
        threads=st.integers(2, 5),
    )
    def begin(self, sizes, loss, hidden, seed, threads):
        sizes = sizes if HEADS[loss] in OF_ANY_UNITS else [*sizes[:-1], max(2, sizes[-1])]
        sizes = [*sizes[:-1], sizes[-1] + (not ref.LOSSES[loss].fits(sizes[-1]))]
        activations = [hidden] * (len(sizes) - 2) + [HEADS[loss]]
        self.kinds = [("numpy", None)] + ([("compiled", 1), ("compiled", threads)] if COMPILED else [])
        self.nets = [
            Network(sizes, activations, loss, dtype="float64", seed=seed, backend=backend, threads=n)
            for backend, n in self.kinds
        ]

    def data(self, seed, m, form):
        net, rng = self.nets[0], np.random.default_rng(seed)
        X = np.array(rng.standard_normal((net.sizes[0], m)), order=form[0])
        known = ref.LOSSES[net.loss_name if isinstance(net.loss_name, str) else net.loss_name[0]]
        if known.targets == "classes":
            y = rng.integers(0, net.sizes[-1], m)
        elif not known.is_of_classes:
            y = known.some_targets(rng, net.sizes[-1], m)
        else:
            y = rng.integers(0, 2, (net.sizes[-1], m)).astype(form[1:])
        return X, y

    def together(self, call):
        """The results of the same call of all."""
        return [call(net) for net in self.nets]

    @rule(
        seed=st.integers(0, 99), m=st.integers(1, 60), form=st.sampled_from(["Cf8", "Fi4", "Fu1"]),
        epochs=st.integers(0, 3), batch=st.sampled_from([1, 7, 32, None]), shuffle=st.booleans(),
        weighted=st.booleans(), optimizer=st.sampled_from(OPTIMIZERS),
    )  # fmt: skip
    def fit(self, seed, m, form, epochs, batch, shuffle, weighted, optimizer):
        X, y = self.data(seed, m, form)
        w = np.random.default_rng(seed).uniform(0.5, 2, m) if weighted else None
        kw = {"optimizer": optimizer, "shuffle": shuffle, "sample_weight": w, "progress": False}
        histories = self.together(lambda net: net.fit(X, y, epochs, batch, **kw))
        for history in histories[1:]:
            np.testing.assert_allclose(history.loss, histories[0].loss, rtol=1e-8, atol=1e-12)
            assert history.loss == histories[1].loss

    @rule(seed=st.integers(0, 99), m=st.integers(1, 40), optimizer=st.sampled_from(OPTIMIZERS))
    def train_step(self, seed, m, optimizer):
        X, y = self.data(seed, m, "Ff8")
        losses = self.together(lambda net: net.train_step(X, y, optimizer))
        np.testing.assert_allclose(losses, losses[0], rtol=1e-8, atol=1e-12)
        assert len(set(losses[1:])) <= 1

    @rule(seed=st.integers(0, 99), m=st.integers(1, 40), optimizer=st.sampled_from(OPTIMIZERS))
    def step_with_a_loss_of_its_own(self, seed, m, optimizer):
        X, w = self.data(seed, m, "Ff8")[0], np.random.default_rng(seed).uniform(0.5, 2, m)
        weights = w if seed % 2 else None
        losses = self.together(lambda net: net.train_step(X, w, optimizer, pull, weights))
        np.testing.assert_allclose(losses, losses[0], rtol=1e-8, atol=1e-12)

    @rule(seed=st.integers(0, 99), m=st.integers(1, 40), optimizer=st.sampled_from(OPTIMIZERS), training=st.booleans())
    def backward_and_update(self, seed, m, optimizer, training):
        X = self.data(seed, m, "Ff8")[0]
        dA = 0.1 * np.random.default_rng(seed).standard_normal((self.nets[0].sizes[-1], m))
        found = self.together(lambda net: net.backward(X, dA, training))
        for net, (gradients, dX) in zip(self.nets, found, strict=True):
            np.testing.assert_allclose(dX, found[0][1], rtol=1e-7, atol=1e-9)
            net.update(gradients, optimizer)

    @rule(seed=st.integers(0, 99), m=st.integers(1, 70))
    def read(self, seed, m):
        X, y = self.data(seed, m, "Cf8")
        outputs = self.together(lambda net: net.predict(X))
        for (backend, _), net, A in zip(self.kinds, self.nets, outputs, strict=True):
            np.testing.assert_allclose(A, outputs[0], rtol=1e-7, atol=1e-9)
            np.testing.assert_array_equal(net.predictor()(X), A)
            if backend == "compiled":
                np.testing.assert_array_equal(A, outputs[1])
                np.testing.assert_array_equal(net.predict(X[:, -1:]), A[:, -1:])
        np.testing.assert_allclose(
            *zip(*self.together(lambda net: (net.loss(X, y), net.gradients(X, y)[0])), strict=True)
        )

    @rule(seed=st.integers(0, 99))
    def set_parameters(self, seed):
        rng = np.random.default_rng(seed)
        new = [
            (0.5 * rng.standard_normal(W.shape), 0.1 * rng.standard_normal(b.shape)) for W, b in self.nets[0].parameters
        ]
        self.together(lambda net: net.set_parameters(new))

    @rule()
    def reset_optimizer(self):
        self.together(lambda net: net.reset_optimizer())

    @rule(how=st.sampled_from(["file", "copy", "pickle", "other backend"]))
    def replace(self, how):
        """What goes on from here is a copy, which the original no longer has part in."""
        before = [state_of(net) for net in self.nets]
        old = self.nets
        self.nets = [self.replaced(net, how, *kind) for net, kind in zip(old, self.kinds, strict=True)]
        assert [state_of(net) for net in self.nets] == before
        for net in old:
            net.set_parameters([(np.zeros_like(W), b) for W, b in net.parameters])
        assert [state_of(net) for net in self.nets] == before

    def replaced(self, net, how, backend, threads):
        if how == "copy":
            return copy.deepcopy(net)
        if how == "pickle":
            return pickle.loads(pickle.dumps(net))
        path = self.folder / "net"
        net.save(path, optimizer=True)
        if how == "other backend" and COMPILED:  # there and back
            other = fastnn.load(path, backend="numpy" if backend == "compiled" else "compiled")
            other.save(path, optimizer=True)
        return fastnn.load(path, backend=backend, threads=threads)

    @rule(what=st.integers(0, 5), seed=st.integers(0, 99))
    def refused(self, what, seed):
        X, y = self.data(seed, 9, "Cf8")
        assume(what or self.nets[0].sizes[0] > 1)
        bad = X.copy()
        bad[-1, 3] = np.nan
        calls = [
            lambda net: net.fit(bad, y, 2, 4),
            lambda net: net.fit(X[1:], y),
            lambda net: net.train_step(bad, y, SGD(lr=0.1)),
            lambda net: net.train_step(X, y[..., :-1]),
            lambda net: net.set_parameters(net.parameters[:-1]),
            lambda net: net.fit(X, y, batch_size=0),
        ]
        before = [state_of(net) for net in self.nets]
        for net in self.nets:
            with pytest.raises(ValueError):
                calls[what](net)
        assert [state_of(net) for net in self.nets] == before

    @invariant()
    def one_network(self):
        if not hasattr(self, "nets"):
            return
        first, *compiled = self.nets
        assert len({net.epochs_done for net in self.nets}) == 1
        assert len({bits(net) for net in compiled}) <= 1
        for net in compiled:
            for p, q in zip(net.parameters, first.parameters, strict=True):
                for a, b in zip(p, q, strict=True):
                    np.testing.assert_allclose(a, b, rtol=0, atol=APART * max(1, np.abs(b).max()))


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    Calls.folder = tmp_path


TestAnySequence = Calls.TestCase
# Not made shorter where it fails: that takes minutes, and the sequence is short already.
TestAnySequence.settings = settings(stateful_step_count=15, phases=[Phase.generate])
