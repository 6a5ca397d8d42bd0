"""What training changes of a network: weights and moments, whose the moments are, how many epochs there were."""

import numpy as np

from . import arrays, cautions, passes
from .optimizers import SGD


class Trainable:
    """A network as training sees it; all of it can be put back.

    Parameters
    ----------
    engine : Engine
    backend : module
    guard : Guard
        For turns at the engine.
    loss : Spec
    seed : int
    sizes : tuple of int
    """

    def __init__(self, engine, backend, guard, loss, seed, sizes):
        self.engine, self.backend, self.guard = engine, backend, guard
        self.loss, self.seed, self.sizes = loss, seed, sizes
        self.is_chosen = True  # activations or loss; what comes from a file was right once
        self.optimizer = SGD()
        # The key() of a state that came with a pickle or a file, where its optimizer is another object: the first one
        # given that has it goes on. Until then state_key is None.
        self.unclaimed_key = None
        self.epochs_done = 0
        # Before all training, and of the last epoch; as long as nothing but training has changed the weights.
        self.first_loss = self.last_loss = None
        self.changes = 0  # of weights or optimizer, but by training

    # At the engine, whose quick step asks for them.

    @property
    def optimizer(self):
        """The last one."""
        return self.engine.optimizer

    @optimizer.setter
    def optimizer(self, optimizer):
        self.engine.optimizer = optimizer

    @property
    def state_key(self):
        """The optimizer's key() when its state was started; None: there is no state."""
        return self.engine.state_key

    @state_key.setter
    def state_key(self, key):
        self.engine.state_key = key

    @property
    def n_params(self):
        """Number of weights and biases."""
        return sum(n_out * (n_in + 1) for n_in, n_out in zip(self.sizes, self.sizes[1:], strict=False))

    def data(self, X, y, sample_weight):
        """X, targets and weights of samples, checked."""
        X = arrays.features(X, self.sizes[0])
        m = arrays.samples(X.shape[1])
        codes = self.backend.quick_codes(y, self.sizes[-1], m)
        if codes is None:
            y = arrays.targets(y, self.sizes[-1], m, self.loss.name)
            y = arrays.readable_targets(X, y, self.engine.dtype)
        else:
            y = codes
        return X, y, arrays.weights_of_samples(sample_weight, m)

    def set_parameters(self, parameters):
        """Take checked ones; the optimizer's state stays."""
        self.changes += 1
        self.first_loss = self.last_loss = None
        self.engine.set_parameters(parameters)

    def reset_optimizer(self):
        """Drop the state, and nothing else."""
        self.changes += 1
        self.state_key = self.unclaimed_key = None  # first: Ctrl-C may come in between
        self.engine.start_optimizer(0)

    def make_current(self, optimizer):
        """Train with `optimizer` from here on. True if its state starts afresh, False if it goes on."""
        key = optimizer.key()
        if optimizer is self.optimizer and key == self.state_key:
            return False
        if key == self.unclaimed_key:
            self.optimizer, self.state_key, self.unclaimed_key = optimizer, key, None
            return False
        self.state_key = self.unclaimed_key = None  # while it has none: Ctrl-C may come in between
        self.engine.start_optimizer(optimizer.slots)
        self.optimizer, self.state_key = optimizer, key
        return True

    def goes_on(self):
        """Whether the next step by the last optimizer would go on with the state that there is."""
        return self.optimizer.key() in (self.state_key, self.unclaimed_key)

    def snapshot(self):
        """What a call that fails has to put back."""
        return self.engine.snapshot(), self.optimizer, self.state_key, self.unclaimed_key

    def go_back(self, snapshot):
        """Put it back."""
        self.state_key = self.unclaimed_key = None
        self.engine.restore(snapshot[0])
        _, self.optimizer, self.state_key, self.unclaimed_key = snapshot

    def version(self):
        """Another value when somebody has changed the network, or trained it."""
        return self.changes, self.engine.steps()

    def refuse_non_finite(self, moments=True):
        """Refuse to train weights that are not finite already, or moments: as they were set, or loaded."""
        if self.engine.is_finite():
            return
        state = self.engine.optimizer_state() if moments else None
        wanted = [("", self.engine.parameters(), "set_parameters() replaces the weights")]
        for slot, pairs in enumerate(state["moments"] if state else (), start=1):
            wanted.append((f"the optimizer's moment {slot} of ", pairs, "reset_optimizer() drops the moments"))
        for what, pairs, remedy in wanted:
            for i, pair in enumerate(pairs, start=1):
                for name, T in zip("Wb", pair, strict=True):
                    found = arrays.first_non_finite(T, self.engine.dtype, None)
                    if found:
                        raise ValueError(
                            f"{what}{name} of layer {i} has {found}; training needs finite numbers: {remedy}"
                        )

    def loss_before(self, X, y, sample_weight):
        """Of the epoch before, or a small part of what it was at first: less than that counts for nothing."""
        if self.last_loss is None:
            some = cautions.some(X, y, sample_weight)
            loss = passes.mean_loss(self.engine, *some) if some else 0.0
            self.first_loss = self.last_loss = loss if loss < np.inf else 0.0
        return max(self.last_loss, 0.05 * (self.first_loss or 0.0))
