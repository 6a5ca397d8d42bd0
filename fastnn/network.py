"""The multilayer perceptron: what a user holds."""

import copy
import itertools

import numpy as np

from . import arrays, hints, one_step, passes, states, tables, training
from . import backend as backends
from .initializers import initial_parameters
from .optimizers import SGD
from .settings import check_flag, checked_dtype, checked_seed, checked_sizes
from .trainable import Trainable

_MOST_THREADS = 256  # OpenMP ends the process when it cannot start a thread


class _Pairs(list):
    """A list that says so where it is called: elsewhere `parameters` is a method."""

    def __call__(self, *args, **kwargs):
        raise TypeError("net.parameters is a list of (W, b), not a method: write it without ()")

    def __reduce__(self):
        return list, (list(self),)  # for those who unpickle it without us


def _defined(cls, name):
    """What a class or its bases have under that name, as it was written."""
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))


@tables.documented
class Network:
    """A multilayer perceptron: Z = W A_prev + b, A = g(Z), layer after layer.

    Columns are samples: X is (n_0, m), predictions are (n_L, m). Data with rows as samples goes
    in as ``rows.T``, which copies nothing.

    Parameters
    ----------
    sizes : sequence of int
        Units per layer, n_0 .. n_L, the input first.
    activations : sequence of str or (str, dict), optional
        One for each layer after the input. By default relu, and at the output what the loss needs,
        or identity; with neither given, sigmoid for one output, softmax for more. The names:

        |activations|.
    loss : str or (str, dict), optional
        The mean over the samples of the sum over the outputs. By default it follows the output
        activation; softmax needs two outputs or more. The names:

        |losses|.
    init : str or (str, dict)
        Of each W, e.g. ``("normal", {"sd": 0.01})``; biases start at 0. The names:

        |initialisers|.
    dtype : {"float32", "float64"}
        Of the weights, of all arithmetic, and of what predictions come back in.
    seed : int, optional
        0 .. 2**64 - 1; the only source of randomness. None: fresh entropy, kept in `seed`.
    backend : {"auto", "numpy", "compiled"}
    threads : int, optional
        Exactly so many (at most 256), wherever the shapes can be split. None: what is fastest, at most
        ``fastnn.get_threads()``.

    Raises
    ------
    ValueError, TypeError
        For a setting that is out of range or does not go with another, named.

    Notes
    -----
    The lecture's notation: M. Nielsen, "Neural Networks and Deep Learning", 2015, chapter 2, with
    samples as columns.

    Examples
    --------
    >>> X = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])  # 2 features, 4 samples
    >>> y = np.array([0, 1, 1, 0])
    >>> net = Network([2, 8, 1], activations=["tanh", "sigmoid"], seed=1)
    >>> history = net.fit(X, y, epochs=2000, batch_size=None, optimizer=SGD(lr=0.5))
    >>> net.predict_classes(X)
    array([0, 1, 1, 0])
    """

    @hints.explained
    def __init__(
        self,
        sizes,
        activations=None,
        loss=None,
        init="xavier",
        dtype="float32",
        seed=None,
        backend="auto",
        threads=None,
    ):
        self._setup(checked_sizes(sizes), activations, loss, checked_dtype(dtype), checked_seed(seed), backend, threads)
        self._trainable.is_chosen = not (activations is None and loss is None)
        init = tables.spec(init, tables.INITIALISERS, "init")
        self._engine.set_parameters(initial_parameters(self._sizes, init, self._seed, self._dtype))

    def _setup(self, sizes, activations, loss, dtype, seed, backend, threads):
        """Everything but the parameters: common to a new network, a loaded one and a copy."""
        self._sizes, self._dtype, self._seed = sizes, dtype, seed
        self._activations, self._loss = tables.network_specs(sizes, activations, loss)
        self._threads = None if threads is None else arrays.whole_number(threads, "threads", 1, _MOST_THREADS)
        self._backend_name, self._backend = backend, backends.get(backend)
        self._engine = self._backend.Engine(sizes, self._activations, self._loss, dtype, self._threads)
        self._guard = self._backend.Guard()
        self._trainable = Trainable(self._engine, self._backend, self._guard, self._loss, seed, sizes)

    def __setattr__(self, name, value):
        if name[:1] != "_":
            own = vars(Network).get(name)
            is_ours = own is not None and not isinstance(own, hints.Elsewhere)
            if is_ours and _defined(type(self), name) is own:  # not where a subclass has made it its own
                what = "a property" if isinstance(own, property) else "a method"
                told = f"; {hints.assignment(name)}" if hints.is_setting_elsewhere(name) else ""
                raise AttributeError(f"{name} is {what} of a Network and cannot be assigned{told}")
            # Not where a subclass has fields of its own: it may call them as it likes.
            is_plain = type(self).__init__ is Network.__init__
            if is_plain and hints.is_setting_elsewhere(name) and not hasattr(type(self), name):
                raise AttributeError(f"{name} cannot be assigned, it would have no effect: {hints.assignment(name)}")
        object.__setattr__(self, name, value)

    def __dir__(self):
        """All names but those that are elsewhere."""
        return [name for name in super().__dir__() if name not in hints.NAMES_ELSEWHERE or name in self.__dict__]

    def __call__(self, *args, **kwargs):
        """Say what to call; elsewhere a network is a function."""
        raise TypeError("a Network is not called: write net.predict(X)")

    # --- what it is ---------------------------------------------------------------------------

    @property
    def sizes(self):
        """Units per layer, the input first."""
        return self._sizes

    @property
    def activations(self):
        """One specification per layer after the input."""
        return tuple(spec.public() for spec in self._activations)

    @property
    def loss_name(self):
        """Specification of the loss."""
        return self._loss.public()

    @property
    def dtype(self):
        """The dtype of weights and results."""
        return self._dtype

    @property
    def seed(self):
        """The seed of weights and of the order of samples, as given or drawn."""
        return self._seed

    @property
    def epochs_done(self):
        """Epochs of :meth:`fit` so far; they number the shuffles, so fit(5) twice equals fit(10)."""
        return self._trainable.epochs_done

    @property
    def n_params(self):
        """Number of weights and biases."""
        return self._trainable.n_params

    @property
    def parameters(self):
        """Snapshots of (W, b) of every layer: list of ((n_l, n_{l-1}), (n_l, 1)), read-only."""
        with self._guard.reading:
            pairs = self._engine.parameters()
        for pair in pairs:
            for array in pair:
                array.flags.writeable = False
        return _Pairs(pairs)

    @hints.explained
    def set_parameters(self, parameters):
        """Replace all weights and biases. The optimizer's state stays.

        Parameters
        ----------
        parameters : sequence of (W, b)
            One pair per layer: W (n_l, n_{l-1}) and b (n_l, 1) or (n_l,), of any real dtype.
            Non-finite values are taken as they are.

        Raises
        ------
        ValueError, TypeError
            If anything does not fit; then nothing has changed.
        """
        layers = list(self._layers())
        try:
            given = [tuple(pair) for pair in parameters]
        except TypeError:
            raise TypeError(f"parameters must be a list of (W, b), one per layer, got {parameters!r:.80}") from None
        if len(given) != len(layers) or any(len(pair) != 2 for pair in given):
            raise ValueError(f"parameters must be {len(layers)} pairs (W, b), one per layer; got {len(given)} entries")
        clean = []
        for i, ((W, b), (n_in, n_out)) in enumerate(zip(given, layers, strict=True)):
            W, b = arrays.real_array(W, f"parameters[{i}] W"), arrays.real_array(b, f"parameters[{i}] b")
            if W.shape != (n_out, n_in):
                hint = "; did you mean W.T?" if W.shape == (n_in, n_out) else ""
                raise ValueError(f"parameters[{i}]: W has shape {W.shape}, wanted ({n_out}, {n_in}){hint}")
            if b.shape not in ((n_out, 1), (n_out,)):
                raise ValueError(f"parameters[{i}]: b has shape {b.shape}, wanted ({n_out}, 1) or ({n_out},)")
            clean.append((self._operand(W, "W"), self._operand(b.reshape(n_out, 1), "b")))
        with self._guard.writing:
            self._trainable.set_parameters(clean)

    def reset_optimizer(self):
        """Drop the optimizer's state, moments and step count: the next step starts it afresh.

        Settings and weights stay.
        """
        with self._guard.writing:
            self._trainable.reset_optimizer()

    def summary(self):
        """A table of the layers, as a string.

        Returns
        -------
        str
        """
        rows = [("layer", "units", "activation", "W", "parameters")]
        for i, ((n_in, n_out), g) in enumerate(zip(self._layers(), self.activations, strict=True), start=1):
            rows.append((str(i), str(n_out), _short(g), f"({n_out}, {n_in})", f"{n_out * (n_in + 1):,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.append(
            f"{self._sizes[0]} inputs, {self.n_params:,} parameters, {self._dtype}, loss {_short(self.loss_name)}, "
            f"{self._backend.NAME} backend"
        )
        return "\n".join(lines)

    def __repr__(self):
        return (
            f"Network({list(self._sizes)}, activations={list(self.activations)}, loss={self.loss_name!r}, "
            f"dtype={self._dtype.name!r}, seed={self._seed})"
        )

    # --- forward ----------------------------------------------------------------------------------

    def predict(self, X, out=None):
        """Outputs A[L]: numbers, for a classifier probabilities.

        For classes there is :meth:`predict_classes`, for the share of right ones :meth:`evaluate`.

        Parameters
        ----------
        X : array_like, (n_0, m)
        out : ndarray, optional
            (n_L, m), of the network's dtype.

        Returns
        -------
        ndarray, (n_L, m)
            A column is NaN where the sample has a NaN, and no other is.

        Raises
        ------
        ValueError, TypeError
            If `X` or `out` does not fit.
        """
        result = self._engine.quick_predict(X, out, self._guard)
        if result is None:
            with self._guard.calling:
                result = passes.predict(self._engine, X, out, self._guard.reading)
        return result

    @hints.explained
    def forward(self, X, cache=False):
        """Outputs A[L], and with `cache` what each layer computed on the way.

        Parameters
        ----------
        X : array_like, (n_0, m)
        cache : bool

        Returns
        -------
        A : ndarray, (n_L, m)
        caches : list of dict, only with `cache`
            Per layer A_prev, W, b, Z and A.
        """
        if not cache:
            return self.predict(X)
        # In predict's layout: BLAS rounds differently by layout.
        A = np.asfortranarray(self._operand(arrays.features(X, self._sizes[0]), "X"))
        with self._guard.reading:
            parameters = self._engine.parameters()
        caches = []
        for (W, b), g in zip(parameters, self._activations, strict=True):
            Z = np.empty((W.shape[0], A.shape[1]), self._dtype, order="F")
            self._backend.linear_forward(W, A, b, tables.IDENTITY, Z)
            A_prev, A = A, np.empty_like(Z)
            self._backend.activation_forward(Z, g, A)
            caches.append({"A_prev": A_prev, "W": W, "b": b, "Z": Z, "A": A})
        return A, caches

    @hints.explained
    def predict_classes(self, X):
        """Class codes.

        Parameters
        ----------
        X : array_like, (n_0, m)

        Returns
        -------
        ndarray of int64
            (m,): the first largest output; for one sigmoid output, 1 where a >= 0.5. For several
            sigmoid outputs (n_L, m) of 0 and 1.

        Raises
        ------
        ValueError
            For a single output that is no sigmoid: there is no class to tell.
        """
        return self._classes(self.predict(X))

    def _classes(self, A):
        if self._activations[-1].name == "sigmoid":
            hits = (A >= 0.5).astype(np.int64)
            return hits[0] if len(A) == 1 else hits
        if len(A) == 1:
            raise ValueError(f"a single {self._activations[-1].name} output tells no class; use predict")
        return A.argmax(axis=0)

    @hints.explained
    def predictor(self):
        """A frozen copy of the network that only predicts.

        Returns
        -------
        callable
            ``p(X, out=None)``, as :meth:`predict` with the weights of now; any number of threads may
            call it. It can be pickled and copied.
        """
        with self._guard.reading:
            engine, settings = self._engine.copy(), self._settings()

        def reduced():
            return _revived_predictor, (settings | {"parameters": engine.parameters()},)

        return self._backend.Predictor(engine, passes.predict, reduced).predict

    # --- losses and gradients ---------------------------------------------------------------------

    @hints.explained
    def loss(self, X, y, sample_weight=None):
        """Mean loss over the samples.

        Parameters
        ----------
        X : array_like, (n_0, m)
        y : array_like
            (n_L, m) values; or (m,): integer codes 0..n_L-1, for one output values.
        sample_weight : array_like, (m,), optional
            The mean is sum(w_i L_i) / sum(w_i).

        Returns
        -------
        float

        Raises
        ------
        ValueError, TypeError
            If shapes do not match, labels are out of range, or there is no sample.
        """
        X, y, sample_weight = self._trainable.data(X, y, sample_weight)
        with self._guard.reading:
            return passes.mean_loss(self._engine, X, y, sample_weight)

    @hints.explained
    def evaluate(self, X, y):
        """Loss and, for the cross-entropies, accuracy: of the classes, where predict gives the outputs.

        Parameters
        ----------
        X : array_like, (n_0, m)
        y : array_like
            As for :meth:`loss`.

        Returns
        -------
        dict
            "loss", and for classifiers "accuracy": the share of samples whose class is right. With
            several sigmoid outputs, of labels (n_L, m) the share of all labels that are right; of
            codes (m,) the share of samples whose largest output is that class's.
        """
        X, y, _ = self._trainable.data(X, y, None)
        with self._guard.reading:
            result = {"loss": passes.mean_loss(self._engine, X, y, None)}
            if tables.LOSSES[self._loss.name].output:
                result["accuracy"] = passes.share_of_hits(self._engine, X, y, self._is_right)
        return result

    def _is_right(self, A, y):
        """Which of the predicted classes, or labels, are those of checked targets."""
        if y.ndim == 1:
            return A.argmax(axis=0) == y
        if self._activations[-1].name == "sigmoid":
            return (A >= 0.5) == (y >= 0.5)
        return A.argmax(axis=0) == y.argmax(axis=0)

    @hints.explained
    def gradients(self, X, y, sample_weight=None):
        """Loss and its gradients.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`loss`.

        Returns
        -------
        loss : float
        gradients : list of (dW, db)
            Per layer (n_l, n_{l-1}) and (n_l, 1). Weight decay is no part of them.
        """
        X, y, sample_weight = self._trainable.data(X, y, sample_weight)
        with self._guard.reading:
            return passes.gradients(self._engine, X, y, sample_weight)

    @hints.explained
    def gradient_check(self, X, y):
        """Compare the gradients with central differences of the loss.

        The network is copied into float64 (its weights are not touched), and every parameter is
        moved both ways by 1e-6 times its scale; beyond 2000 parameters a sample of them.

        Parameters
        ----------
        X, y
            As for :meth:`loss`; a few samples are enough.

        Returns
        -------
        float
            ||g - d|| / (||g|| + ||d||), with g the gradients of this network and d the
            differences: when all is well under 1e-7 in float64, and about the rounding of the
            gradient itself, 1e-6 to 1e-4, in float32; more where a relu sits at its kink. 0 if
            both are 0.
        """
        data = self._trainable.data(X, y, None)
        with self._guard.reading:
            _, gradients = passes.gradients(self._engine, *data)
            parameters = [(W.astype(np.float64), b.astype(np.float64)) for W, b in self._engine.parameters()]
        twin = Network(
            self._sizes, self.activations, self.loss_name, "zeros", "float64", self._seed, self._backend_name
        )
        rng = np.random.Generator(np.random.Philox(self._seed & (2**64 - 1)))
        g, d = [], []
        share = min(1.0, 2000 / self.n_params)
        for pair, gradient in zip(parameters, gradients, strict=True):
            for values, dv in zip(pair, gradient, strict=True):
                for index in np.ndindex(values.shape):
                    if share < 1 and rng.random() > share:
                        continue
                    kept, step = values[index], 1e-6 * max(1.0, abs(values[index]))
                    sides = []
                    for moved in (kept + step, kept - step):
                        values[index] = moved
                        twin.set_parameters(parameters)
                        sides.append(twin.loss(X, y))
                    values[index] = kept
                    g.append(float(dv[index]))
                    d.append((sides[0] - sides[1]) / (2 * step))
        g, d = np.array(g), np.array(d)
        size = np.linalg.norm(g) + np.linalg.norm(d)
        return float(np.linalg.norm(g - d) / size) if size else 0.0

    def collapse(self):
        """The single linear map that a network without hidden nonlinearities amounts to.

        Returns
        -------
        W : ndarray, (n_L, n_0)
        b : ndarray, (n_L, 1)
            With Z[L] = W X + b; an output activation still comes after it.

        Raises
        ------
        ValueError
            If a hidden activation is not the identity.
        """
        for i, g in enumerate(self._activations[:-1]):
            if g.name != "identity":
                raise ValueError(f"activations[{i}] is {g.name}; only hidden identities collapse into one linear map")
        W, b = np.eye(self._sizes[0]), np.zeros((self._sizes[0], 1))
        for W_l, b_l in self.parameters:
            W, b = W_l.astype(np.float64) @ W, W_l.astype(np.float64) @ b + b_l
        return W.astype(self._dtype), b.astype(self._dtype)

    # --- training ---------------------------------------------------------------------------------

    @hints.explained
    def fit(
        self,
        X,
        y,
        epochs=1,
        batch_size=32,
        optimizer=None,
        shuffle=True,
        *,
        sample_weight=None,
        callbacks=(),
        progress=None,
    ):
        """Train on mini-batches; another fit with the same optimizer goes on where this one ended.

        Parameters
        ----------
        X : array_like, (n_0, m)
            Read where it is if float32 or float64, in any layout (``rows.T`` is the quickest);
            other dtypes are cast a slice at a time.
        y : array_like
            (n_L, m) values; or (m,): integer codes 0..n_L-1, for one output values.
        epochs : int
            Passes over the data; 0 is allowed.
        batch_size : int or None
            Samples per update; None, or more than m: all of them. The last batch of an epoch may
            be short, and its mean is over its own samples.
        optimizer : SGD, Adam or AdamW, optional
            None: the network's last one, at first ``SGD()``. Its state (moments and step count)
            is the network's, and train_step shares it: the same object goes on, with a changed lr
            too; another object, or changed momentum, nesterov or betas, starts afresh.
        shuffle : bool
            A new order each epoch, from the network's seed and the epoch's number alone.
        sample_weight : array_like, (m,), optional
            Finite, at least 0. A batch whose weights are all 0 is skipped, and is no step.
        callbacks : callable or sequence of callables
            ``callback(epoch, history)`` after each epoch, counted from 0; True ends training, None
            and False go on, and anything else is a TypeError. They may do anything with the network
            but fit it. What they raise comes out of fit, with the weights of that moment.
        progress : bool, optional
            None: a bar on a terminal, if tqdm is installed. True: always. False: never.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            For data or settings that do not fit, and for weights or moments that are not finite
            already; weights and optimizer are then as before. Non-finite data is found when it
            makes the loss, a weight or a moment non-finite. What a callback, or another thread,
            makes unfit on the way is refused before the next epoch, or slice of 50 ms, with the
            weights of that moment.
        FloatingPointError
            If training diverges: names the epoch and batch; the last finite weights and moments
            are kept.
        RuntimeError
            If any other call uses the network when this one begins, be it only predict or save in
            another thread: let others predict with a :meth:`predictor`, or put one lock around
            both. Once fit runs, other calls wait for the end of its slice, 50 ms at most, or one
            batch; fit and train_step are refused.
        KeyboardInterrupt
            Ctrl-C is served within 0.1 s (or one batch); the weights of that moment are kept.

        Warns
        -----
        DataWarning
            Where the data are legal and seldom meant: values of X above 50, a first epoch whose mean
            loss is above twice that of its first step, codes for several sigmoid outputs, soft labels
            for a network whose loss was not chosen, one-hot rows where columns are wanted.

        Notes
        -----
        What ends fit before its time has the :class:`History` so far as its attribute ``history``.
        """
        return training.fit(
            self._trainable, X, y, epochs, batch_size, optimizer, shuffle, sample_weight, callbacks, progress
        )

    def train_step(self, X, y, optimizer=None):
        """One update on one batch.

        Parameters
        ----------
        X : array_like, (n_0, m)
        y : array_like
            As for :meth:`loss`.
        optimizer : SGD, Adam or AdamW, optional
            None: the network's last one, at first ``SGD()``. As for :meth:`fit`, whose state of
            the optimizer goes on here.

        Returns
        -------
        float
            The loss before the update.

        Raises
        ------
        ValueError, TypeError
            For data or settings that do not fit, and for data, weights or moments that are not
            finite already; weights and optimizer are then unchanged.
        FloatingPointError
            If the loss, a weight or a moment would not be finite; weights and optimizer are then
            unchanged.
        RuntimeError
            If any other call uses the network, as for :meth:`fit`.
        """
        loss = self._engine.quick_step(X, y, optimizer, self._guard)
        return one_step.careful_step(self._trainable, X, y, optimizer) if loss is None else loss

    def _operand(self, array, name):
        return arrays.operand(array, name, 2, self._dtype)

    def _layers(self):
        return itertools.pairwise(self._sizes)

    # --- files and copies -------------------------------------------------------------------------

    @hints.explained
    def save(self, path, optimizer=False):
        """Write the network to a file, for :func:`fastnn.load`.

        Parameters
        ----------
        path : path-like or binary file object
            A path is taken as it is. A file there is replaced in one step or not at all; it keeps
            its mode, its owner where the system lets us set it, and its links. Where that cannot
            be (a device or a pipe; several hard links to it; another's file whose owner only
            writing in place keeps; a folder that nothing can be put into; a mount of its own) it
            is written in place, and a fault in the middle can leave a damaged file.
            An object is written to from where it stands, and is not closed.
        optimizer : bool
            Also the optimizer's settings and state: a loaded network goes on, with
            ``optimizer=None`` or an optimizer of the same kind and settings (lr, eps and
            weight_decay may differ), as this one would.

        Raises
        ------
        OSError
            If it cannot be written, naming `path`.
        TypeError
            If `path` is neither.

        Notes
        -----
        Attributes of your own are not saved here; pickles and copies keep them.
        """
        check_flag("optimizer", optimizer)
        from . import files  # zipfile and hashlib take longer to import than all of fastnn

        files.save(path, *states.to_file(self.__getstate__(), optimizer))

    def __getstate__(self):
        """What a copy, a pickle and a file hold: settings, weights and moments, no scratch memory."""
        with self._guard.reading:
            # A state that the next step would not go on with is not carried along.
            trained = self._trainable
            state = self._settings() | {
                "optimizer": trained.optimizer,
                "optimizer_state": self._engine.optimizer_state() if trained.goes_on() else None,
                "parameters": [tuple(map(np.ascontiguousarray, pair)) for pair in self._engine.parameters()],
            }
        state["losses"] = trained.first_loss, trained.last_loss
        state["attributes"] = states.attributes(super().__getstate__(), _OWN)
        return state

    def _settings(self):
        """What, with the parameters, makes a network that predicts the same."""
        return {
            "sizes": list(self._sizes),
            "activations": self.activations,
            "loss": self.loss_name,
            "dtype": self._dtype.name,
            "seed": self._seed,
            "epochs_done": self._trainable.epochs_done,
            "backend": self._backend_name,
            "threads": self._threads,
        }

    def __setstate__(self, state):
        state, made = states.checked(state), object.__new__(Network)  # whole, or not at all
        made._setup(
            state["sizes"],
            state["activations"],
            state["loss"],
            state["dtype"],
            state["seed"],
            state.get("backend", "auto"),
            state.get("threads"),
        )
        made.set_parameters(state["parameters"])
        trained = made._trainable
        trained.epochs_done = state["epochs_done"]
        trained.first_loss, trained.last_loss = state["losses"]
        trained.optimizer = state.get("optimizer") or SGD()
        if state.get("optimizer_state"):
            made._engine.set_optimizer_state(state["optimizer_state"])
            trained.unclaimed_key = trained.optimizer.key()
        self.__dict__.update(made.__dict__)
        for name, value in state["attributes"].items():
            object.__setattr__(self, name, value)

    def __deepcopy__(self, memo):
        state, twin = self.__getstate__(), object.__new__(type(self))
        memo[id(self)] = twin  # what is copied along may refer to it
        for part in ("optimizer", "attributes"):
            state[part] = copy.deepcopy(state[part], memo)
        twin.__setstate__(state)
        return twin

    def __copy__(self):
        # Weights are never shared; the optimizer is, and its state goes on with that object alone.
        twin = object.__new__(type(self))
        twin.__setstate__(self.__getstate__())
        if self._trainable.unclaimed_key is None:
            trained = twin._trainable
            trained.state_key, trained.unclaimed_key = trained.unclaimed_key, None
        return twin


hints.tell_elsewhere(Network, hints.NAMES_ELSEWHERE, hints.attribute)

# A network's own attributes; all others are the user's, or a subclass's.
_OWN = frozenset(vars(Network([1, 1], init="zeros", seed=0, backend="numpy")))


@hints.explained
def load(path, backend="auto", threads=None):
    """Read a network that :meth:`Network.save` wrote.

    Parameters
    ----------
    path : path-like or binary file object
        An object is read from where it stands to its end.
    backend : {"auto", "numpy", "compiled"}
    threads : int, optional
        As for :class:`Network`.

    Returns
    -------
    Network

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no fastnn model, is damaged, or is of a format this release does not read.
    TypeError
        If `path` is neither a path nor a binary file object.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
    >>> net = Network([2, 3, 1], seed=0)
    >>> net.save(path)
    >>> load(path).sizes
    (2, 3, 1)
    """
    from . import files

    header, arrays = files.load(path)
    try:
        net = object.__new__(Network)
        net.__setstate__({**states.from_file(header, arrays), "backend": backend, "threads": threads})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{files.name_of(path)} is not a readable fastnn model: {error}") from error
    return net


def _revived_predictor(state):
    """The object of a pickle whose method :meth:`Network.predictor` gives."""
    net = object.__new__(Network)
    net.__setstate__(state)
    return net.predictor().__self__


def _short(spec):
    return spec if isinstance(spec, str) else f"{spec[0]} {spec[1]}"
