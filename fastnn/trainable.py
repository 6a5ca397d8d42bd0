"""The part of a network that training changes: weights, the optimizer and its moments, and the number of epochs."""

import numpy as np

from . import arrays, cautions, norms, own_loss, passes, standardisation, tables
from .optimizers import SGD
from .schedules import Progress
from .tables import OwnLoss


class Trainable:
    """What training uses and changes of a network; a snapshot of it can be taken and restored.

    Parameters
    ----------
    engine : Engine
    backend : module
    guard : Guard
        Says which calls may use the engine at the same time.
    loss : Spec or OwnLoss
    activations : tuple of Spec
    seed : int
    sizes : tuple of int
    norm : tuple of str or None
        For each layer None, "layer" or "batch".
    """

    def __init__(self, engine, backend, guard, loss, activations, seed, sizes, norm):
        self.engine, self.backend, self.guard = engine, backend, guard
        self.loss, self.output, self.seed, self.sizes = loss, activations[-1].name, seed, sizes
        self.activations, self.norm, self.shapes = activations, norm, norms.shapes(sizes, norm)
        self.checked_loss = None  # the function of the last train_step(loss=f)
        self.has_batch_norm = "batch" in norm
        self.is_own = engine.has_own_loss = isinstance(loss, OwnLoss)
        self.loss_row = tables.loss_row(loss.name)
        self.takes_codes = self.loss_row.takes_codes
        # Number of weights and biases, of gamma and beta.
        self.n_params = sum(n * m for layer in self.shapes for n, m in layer)
        self.is_other_in_training = False  # whether dropout or batch norm make the loss in training another one
        self.is_chosen = True  # whether the user gave activations or loss; for a loaded network True: no warnings
        self.optimizer = SGD()
        # The key() of an optimizer state that was loaded from a pickle or a file. The first optimizer with this key()
        # that is used continues with the state. Until then state_key is None.
        self.unclaimed_key = None
        self.epochs_done = 0
        # Of the optimizer's state, for schedules: epochs that ended with it, and how far a Plateau has come.
        self.state_epochs, self.plateau = 0, None
        # The loss before all training and that of the last epoch; None after weights were set in another way.
        self.first_loss = self.last_loss = None
        self.frozen = (False,) * (len(sizes) - 1)  # for each layer whether training leaves it as it is
        self.is_frozen = False  # whether all layers are
        self.restarts = 0  # number of updates one after another that each started a new state of the optimizer
        self.changes = 0  # number of changes to weights or optimizer other than by training

    # `optimizer` and `state_key` are stored in the engine, because its quick_step needs them.

    @property
    def optimizer(self):
        """The last optimizer that was used."""
        return self.engine.optimizer

    @optimizer.setter
    def optimizer(self, optimizer):
        self.engine.optimizer = optimizer

    @property
    def state_key(self):
        """The optimizer's key() when its state was started; None if there is no state, or it is unclaimed."""
        return self.engine.state_key

    @state_key.setter
    def state_key(self, key):
        self.engine.state_key = key

    def data(self, X, y, sample_weight, names=("X", "y", "sample_weight")):
        """X, targets and weights of samples, checked; `names` are those of the arguments, for errors."""
        if self.is_own:
            return self._own_data(X, y, sample_weight, names)
        codes = self.engine.quick_codes(X, y) if self.takes_codes else None
        if codes is None:
            X = arrays.features(X, self.sizes[0], names[0], engine=self.engine)
            m = arrays.samples(X.shape[1], names[0])
            codes = self.backend.quick_codes(y, self.sizes[-1], m) if self.takes_codes else None
        if codes is None:
            y = arrays.targets(y, self.sizes[-1], m, self.loss.name, names[1])
            y = arrays.readable_targets(X, y, standardisation.dtype_of(self.engine))
        else:
            y = codes
        if sample_weight is not None:
            sample_weight = arrays.weights_of_samples(sample_weight, X.shape[1], names[2])
        return X, y, sample_weight

    def _own_data(self, X, y, sample_weight, names):
        X = arrays.features(X, self.sizes[0], names[0], engine=self.engine)
        m = arrays.samples(X.shape[1], names[0])
        if sample_weight is not None:
            sample_weight = arrays.weights_of_samples(sample_weight, m, names[2])
        return X, own_loss.targets(y, m, names[1]), sample_weight

    def set_parameters(self, parameters):
        """Replace the weights and biases by `parameters`, already checked; the optimizer's state stays."""
        self.changes += 1
        self.first_loss = self.last_loss = None
        self.engine.set_parameters(parameters)

    def freeze(self, frozen):
        """Set for each layer whether training leaves it as it is."""
        self.changes += 1
        self.engine.freeze(frozen)
        self.frozen, self.is_frozen = frozen, all(frozen)

    def refuse_all_frozen(self):
        """Raise ValueError if there is no layer to train."""
        if self.is_frozen:
            raise ValueError("trainable is False for all layers: there is nothing to train; set net.trainable")

    def set_running_statistics(self, statistics):
        """Replace the running statistics of batch norm, already checked."""
        self.changes += 1
        self.first_loss = self.last_loss = None
        self.engine.set_running_statistics(statistics)

    def standardise(self, found):
        """Read X and y, and write predictions, as a Standardisation says."""
        self.changes += 1
        self.first_loss = self.last_loss = None
        self.engine.standardise(*found.of_engine(self.loss.name, self.sizes[-1]))

    @property
    def standardisation(self):
        """The Standardisation of X and y; None: the network reads them as they are."""
        return standardisation.of_standards(self.engine.standards)

    def reset_optimizer(self):
        """Drop the optimizer's state; its settings and the weights stay."""
        self.changes += 1
        self.state_key = self.unclaimed_key = None  # before the next line, because Ctrl-C may come in between
        self.engine.start_optimizer(0)

    def make_current(self, optimizer):
        """Use `optimizer` from now on. Return True if a new state was started, False if the old one continues."""
        key, engine = optimizer.key(), self.engine
        if optimizer is engine.optimizer and key == engine.state_key:
            return False
        if key == self.unclaimed_key:
            self.optimizer, self.state_key, self.unclaimed_key = optimizer, key, None
            return False
        self.state_key = self.unclaimed_key = None  # no valid state until the last line; Ctrl-C may come before it
        self.engine.start_optimizer(optimizer.slots, optimizer.average)
        self.state_epochs, self.plateau = 0, None
        self.optimizer, self.state_key = optimizer, key
        return True

    def goes_on(self):
        """Whether the next step with the last optimizer would continue the present optimizer state."""
        return self.optimizer.key() in (self.state_key, self.unclaimed_key)

    def optimizer_state(self):
        """The optimizer's state for copies, pickles and files; None if the next step would start a new one anyway.

        Returns
        -------
        dict or None
            "steps" and "moments" as Engine.optimizer_state() gives them; "epochs" that ended with the state; "plateau":
            None, or [best, waited, factor] of Progress.
        """
        steps = self.engine.steps()
        if not steps or not self.goes_on():
            return None
        state = self.engine.optimizer_state() or {"steps": steps, "moments": []}
        plateau = self.plateau if self.plateau and self.plateau.schedule == self.optimizer.lr else None
        return state | {"epochs": self.state_epochs, "plateau": plateau and list(plateau[1:])}

    def set_optimizer_state(self, state):
        """Continue with a state of :meth:`optimizer_state`, which the first optimizer of the same key() claims."""
        self.engine.set_optimizer_state(state)
        self.unclaimed_key, self.state_epochs = self.optimizer.key(), state["epochs"]
        self.plateau = Progress(self.optimizer.lr, *state["plateau"]) if state["plateau"] else None

    def progress_of(self, plateau):
        """How far a Plateau has come with the present state."""
        is_same = self.plateau is not None and self.plateau.schedule == plateau
        return self.plateau if is_same else Progress(plateau)

    def snapshot(self, spare=None):
        """A copy of everything that training changes, for :meth:`go_back`; `spare`, an old one, is overwritten."""
        engine = self.engine
        weights = engine.snapshot(spare and spare[0])
        of_optimizer = engine.optimizer, engine.state_key, self.unclaimed_key, self.state_epochs, self.plateau
        return weights, *of_optimizer, engine.standards

    def go_back(self, snapshot):
        """Restore a snapshot."""
        self.state_key = self.unclaimed_key = None
        self.engine.restore(snapshot[0])
        _, self.optimizer, self.state_key, self.unclaimed_key, self.state_epochs, self.plateau, standards = snapshot
        if standards is not self.engine.standards:
            self.engine.standardise(*(standards or (None,) * 6))

    def version(self):
        """A value that changes whenever the weights or the optimizer's state change."""
        return self.changes, self.engine.steps()

    def refuse_non_finite(self, moments=True):
        """Raise ValueError if a weight, a bias or (with `moments`) a moment is not finite before training."""
        if self.engine.is_finite():
            return
        state = self.engine.optimizer_state() if moments else None
        wanted = [("", norms.NAMES, self.engine.parameters(), "set_parameters() replaces the weights")]
        running = [pair or () for pair in self.engine.running_statistics()]
        wanted.append(("the running ", ("mean", "var"), running, "set_running_statistics() replaces them"))
        for slot, layers in enumerate(state["moments"] if state else (), start=1):
            what = f"the optimizer's moment {slot} of "
            wanted.append((what, norms.NAMES, layers, "reset_optimizer() drops the moments"))
        for what, names, layers, remedy in wanted:
            for i, layer in enumerate(layers, start=1):
                for name, T in zip(names, layer, strict=False):
                    found = arrays.first_non_finite(T, self.engine.dtype, None)
                    if found:
                        raise ValueError(
                            f"{what}{name} of layer {i} has {found}; training needs finite numbers: {remedy}"
                        )

    def loss_before(self, X, y, sample_weight, samples=None):
        """The loss before this fit, for cautions.of_rise: that of the last epoch, but at least 5% of the very first.

        A smaller loss is not compared with, because its rise would be harmless. None if it is not known, and the loss
        in training is another one, because of dropout or batch norm.
        """
        if self.is_own or (self.last_loss is None and self.is_other_in_training):
            return None
        if self.last_loss is None:
            some = cautions.some(X, y, sample_weight, samples)
            loss = passes.mean_loss(self.engine, *some) if some else 0.0
            self.first_loss = self.last_loss = loss if loss < np.inf else 0.0
        least = 0.05 * (self.first_loss or 0.0)
        return self.last_loss if self.last_loss > least else least
