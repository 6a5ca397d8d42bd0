"""The class Network, which is the public interface of a multilayer perceptron, and load()."""

import copy
import itertools

import numpy as np

from . import arrays, flat, hints, linear_map, norms, own_loss, passes, standardisation, states, summaries, tables
from . import backend as backends
from .initializers import initial_parameters
from .metrics import predicted_classes
from .network_learning import Network as Learner
from .optimizers import SGD
from .settings import check_flag, checked_dropout, checked_dtype, checked_seed, checked_sizes, checked_trainable
from .trainable import Trainable


class _Pairs(list):
    """A list whose call raises an explanation, because in other libraries `parameters` is a method."""

    def __call__(self, *args, **kwargs):
        raise TypeError("net.parameters is a list of (W, b), not a method: write it without ()")

    def __reduce__(self):
        return list, (list(self),)  # pickled as a plain list, which can be loaded without fastnn


def _defined(cls, name):
    """The raw attribute `name` of a class or of its first base that defines it (descriptors are not called)."""
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))


@tables.documented
class Network(Learner):
    """A multilayer perceptron: Z = W A_prev + b, A = g(Z), layer after layer.

    Columns are samples: X is (n_0, m), predictions are (n_L, m). Data with rows as samples goes
    in as ``rows.T``, which copies nothing.

    Parameters
    ----------
    sizes : sequence of int
        Units per layer, n_0 .. n_L, the input first.
    activations : sequence of str or (str, dict), optional
        One for each layer after the input. Default: relu in hidden layers; at the output the
        activation that `loss` needs (else identity), or without `loss` sigmoid for one output and
        softmax for several. softmax needs two outputs or more. The names:

        |activations|
    loss : str, (str, dict) or callable, optional
        Summed over the outputs, averaged over the samples. The default depends on the output
        activation: its cross-entropy for sigmoid and softmax, else mse. The names:

        |losses|

        A callable is a loss of your own, f(A, y) -> (losses, dA), for any output activation (default:
        identity). It gets the outputs A (n_L, m) of some samples and their targets: y, (m,) or (k, m), may
        hold anything. It returns the loss of each sample (m,), and its derivative by the sample's
        outputs, dA (n_L, m), without 1/m: :meth:`gradient_check` finds a wrong dA. We apply sample_weight. It
        may be called more than once for a sample. It may write to A, but not to y, which may be a part of your
        array. Other threads may use the network while it runs; it may use it too, but not train or change it. If it
        raises an exception, its batch has changed nothing. Files do not store it, see :func:`load`.
    init : str or (str, dict)
        How each W is drawn, e.g. ``("normal", {"sd": 0.01})``; biases start at 0. The names:

        |initialisers|
    dtype : {"float32", "float64"}
        The dtype of the weights, of the arithmetic and of predictions.
    seed : int, optional
        0 .. 2**64 - 1; decides the starting weights and the order of samples. None: drawn at
        random; the attribute `seed` has it.
    backend : {"auto", "numpy", "compiled"}
        "auto": the compiled backend if it is there, else NumPy.
    threads : int, optional
        Use exactly this many threads (at most 256) wherever the shapes can be split. None: the
        number that is fastest, at most ``fastnn.get_threads()``. NumPy's backend ignores it.
    dropout : float or sequence of float
        A rate p for all hidden layers, or one for each, at least 0 and below 1. fit and train_step
        make each output of the layer 0 with probability p, and divide the others by 1 - p (p is
        rounded to 1/65536); all else computes without dropout. The masks depend on the seed, the
        number of updates of the network so far, the layer, the unit and the sample's place in the
        batch: they are the same in both backends and for any number of threads.
    norm : {None, "layer", "batch"} or sequence of them
        For all hidden layers, or one for each: Z is normalised before the activation,
        zhat = (Z - mean) / sqrt(var + 1e-5) and A = g(gamma zhat + beta). Such a layer has the
        parameters (W, b, gamma, beta), gamma (n_l, 1) at first 1 and beta (n_l, 1) at first 0, wherever
        others have (W, b). "layer": mean and variance of each sample, over the units of the layer.
        "batch": those of each unit; in fit and train_step over the samples of the batch (weights of
        samples do not count here), and otherwise the :attr:`running_statistics`. A batch of one
        sample and a frozen layer use these, too. A sample of a batch then depends on the others of that batch.

    Raises
    ------
    ValueError, TypeError
        For a setting that is out of range or cannot be combined with another; the message names it.

    Notes
    -----
    The notation is that of M. Nielsen, "Neural Networks and Deep Learning", 2015, chapter 2, with
    samples as columns. The norms are those of S. Ioffe and C. Szegedy, "Batch Normalization", 2015,
    and of J. L. Ba et al., "Layer Normalization", 2016, with PyTorch's constants. In a hidden layer
    the norm comes first, then the activation, then dropout. In float32 the squares that batch norm sums up
    are infinite from ``|Z - mean|`` of about 3e18 on; such an update is refused.

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
        *,
        dropout=0.0,
        norm=None,
    ):
        seed, sizes = checked_seed(seed), checked_sizes(sizes)
        if callable(loss):
            loss = own_loss.checked(loss)
        self._setup(sizes, activations, loss, checked_dtype(dtype), seed, backend, threads, dropout, norm)
        self._trainable.is_chosen = not (activations is None and loss is None)
        init = tables.spec(init, tables.INITIALISERS, "init")
        parameters = initial_parameters(self._sizes, init, self._seed, self._dtype)
        for i, (n, kind) in enumerate(zip(sizes[1:], self._norm, strict=True)):
            if kind:
                parameters[i] = (*parameters[i], np.ones((n, 1), self._dtype), np.zeros((n, 1), self._dtype))
        self._engine.set_parameters(parameters)

    def _setup(self, sizes, activations, loss, dtype, seed, backend, threads, dropout, norm):
        """Set everything but the parameters; used for a new network, a loaded one and a copy."""
        self._sizes, self._dtype, self._seed = sizes, dtype, seed
        self._activations, self._loss = tables.network_specs(sizes, activations, loss)
        engine_loss = tables.of_engine(self._loss)
        self._threads = backends.checked_threads(threads)
        self._backend_name, self._backend = backend, backends.get(backend)
        self._dropout = checked_dropout(dropout, len(sizes) - 1)
        self._norm = norms.checked_norm(norm, len(sizes) - 1)
        settings = sizes, self._activations, engine_loss, dtype, self._threads, self._dropout, seed, self._norm
        self._engine = self._backend.Engine(*settings)
        self._guard = self._backend.Guard()
        self._trainable = Trainable(
            self._engine, self._backend, self._guard, self._loss, self._activations, seed, sizes, self._norm
        )
        self._trainable.is_other_in_training = any(self._dropout) or "batch" in self._norm

    def __setattr__(self, name, value):
        if name[:1] != "_":
            own = vars(Network).get(name) or vars(Learner).get(name)
            is_ours = own is not None and not isinstance(own, hints.Elsewhere)
            is_fixed = is_ours and getattr(own, "fset", None) is None
            if is_fixed and _defined(type(self), name) is own:  # a subclass may redefine it
                what = "a property" if isinstance(own, property) else "a method"
                told = f"; {hints.assignment(name)}" if hints.is_setting_elsewhere(name) else ""
                raise AttributeError(f"{name} is {what} of a Network and cannot be assigned{told}")
            # A subclass with its own __init__ may name its attributes as it likes.
            is_plain = type(self).__init__ is Network.__init__
            if is_plain and hints.is_setting_elsewhere(name) and not hasattr(type(self), name):
                raise AttributeError(f"{name} cannot be assigned, it would have no effect: {hints.assignment(name)}")
        object.__setattr__(self, name, value)

    def __dir__(self):
        """All names except those of other libraries, which exist only to raise a suggestion."""
        return [name for name in super().__dir__() if name not in hints.NAMES_ELSEWHERE or name in self.__dict__]

    def __call__(self, *args, **kwargs):
        """Raise an error that names predict; in other libraries a network is called as a function."""
        raise TypeError("a Network is not called: write net.predict(X)")

    # --- properties and parameters ------------------------------------------------------------

    @property
    def sizes(self):
        """Units per layer, the input first."""
        return self._sizes

    @property
    def activations(self):
        """For each layer after the input the activation's name, or (name, parameters)."""
        return tuple(spec.public() for spec in self._activations)

    @property
    def loss_name(self):
        """The loss's name, or (name, parameters) if it has parameters; "custom" for a loss of one's own."""
        return tables.shortest(self._loss, tables.LOSSES)

    @property
    def dtype(self):
        """The dtype of weights and results."""
        return self._dtype

    @property
    def seed(self):
        """The seed of the starting weights and of the order of samples, as given or drawn."""
        return self._seed

    @property
    def dropout(self):
        """For each hidden layer the share of outputs that training makes 0; read-only."""
        return self._dropout[:-1]

    @property
    def trainable(self):
        """For each layer whether fit and train_step change it; assign a list of bool.

        A frozen layer keeps its parameters and their moments: it has no weight decay, and its gradient
        does not count in clip_norm. With batch norm it uses and keeps its running statistics, in
        training, too. gradients() computes the gradients of all layers.
        """
        return tuple(not frozen for frozen in self._trainable.frozen)

    @trainable.setter
    def trainable(self, value):
        frozen = tuple(not each for each in checked_trainable(value, len(self._sizes) - 1))
        with self._guard.writing:
            self._trainable.freeze(frozen)

    @property
    def norm(self):
        """For each hidden layer None, "layer" or "batch"; read-only."""
        return self._norm[:-1]

    @property
    def running_statistics(self):
        """For each layer with batch norm a snapshot of (mean, var), each (n_l, 1); None for the others.

        They are what the layer uses in evaluation mode. Each update moves them by a tenth of the way to
        the mean and the unbiased variance of its batch; at first they are 0 and 1.
        """
        with self._guard.reading:
            statistics = self._engine.running_statistics()
        for pair in filter(None, statistics):
            for array in pair:
                array.flags.writeable = False
        return statistics

    @hints.explained
    def set_running_statistics(self, statistics):
        """Replace the running statistics of batch norm. All else stays.

        Parameters
        ----------
        statistics : sequence of None or (mean, var)
            One entry per layer, as :attr:`running_statistics` gives them; mean and var are (n_l, 1) or
            (n_l,), of any real dtype. Non-finite values are taken as they are.

        Raises
        ------
        ValueError, TypeError
            If a shape, a type or the number of entries is wrong, or a variance is negative; the
            network is then unchanged.

        Examples
        --------
        >>> net = Network([3, 2, 1], norm="batch", seed=0)
        >>> net.set_running_statistics([([0.5, 0.0], [4.0, 1.0]), None])
        >>> net.running_statistics[0][1].ravel()
        array([4., 1.], dtype=float32)
        """
        clean = norms.checked_statistics(statistics, self._sizes, self._norm, self._dtype)
        with self._guard.writing:
            self._trainable.set_running_statistics(clean)

    @property
    def standardisation(self):
        """What :meth:`adapt` measured: None, or (x_mean, x_scale, y_mean, y_scale), read-only snapshots in float64.

        The first two are (n_0, 1), of the features; the others (k, 1), of the k targets, or None if adapt got no y.
        """
        found = self._trainable.standardisation
        return found and found.read_only()

    @property
    def epochs_done(self):
        """Epochs of :meth:`fit` so far. Each epoch's shuffle depends on its number: so fit(5) twice equals fit(10)."""
        return self._trainable.epochs_done

    @property
    def n_params(self):
        """Number of weights and biases, and of gamma and beta of norms."""
        return self._trainable.n_params

    @property
    def parameters(self):
        """Snapshots of (W, b) of every layer: list of ((n_l, n_{l-1}), (n_l, 1)), read-only.

        A layer with a norm has (W, b, gamma, beta), the last two (n_l, 1).
        """
        with self._guard.reading:
            pairs = self._engine.parameters()
        for pair in pairs:
            for array in pair:
                array.flags.writeable = False
        return _Pairs(pairs)

    @hints.explained
    def set_parameters(self, parameters):
        """Replace all weights and biases. The optimizer's state and running statistics stay.

        Parameters
        ----------
        parameters : sequence of (W, b)
            One pair per layer: W (n_l, n_{l-1}) and b (n_l, 1) or (n_l,), of any real dtype; for a layer
            with a norm (W, b, gamma, beta), the last two as b. Non-finite values are taken as they are.

        Raises
        ------
        ValueError, TypeError
            If a shape, a type or the number of pairs is wrong; the network is then unchanged.
        """
        layers, words, kind = list(self._layers()), norms.in_words(self._norm), "tuples" if any(self._norm) else "pairs"
        try:
            given = [tuple(layer) for layer in parameters]
        except TypeError:
            got = hints.shown(parameters)
            got += "; of a vector write net.set_flat_parameters(v)" if hasattr(parameters, "__array__") else ""
            raise TypeError(f"parameters must be a list of {words}, one per layer, got {got}") from None
        if len(given) != len(layers):
            raise ValueError(f"parameters must be {len(layers)} {kind} {words}, one per layer; got {len(given)}")
        clean = [self._checked_layer(i, *each) for i, each in enumerate(zip(given, layers, strict=True))]
        with self._guard.writing:
            self._trainable.set_parameters(clean)

    @property
    def flat_parameters(self):
        """All parameters as one vector (P,), a copy in the network's dtype; :meth:`set_flat_parameters` replaces them.

        Writing to the copy does not change the network. The order is layer after layer W in C order, b, and
        with a norm gamma and beta, those of frozen layers included: P is :attr:`n_params`.

        Examples
        --------
        >>> net = Network([2, 1], ["identity"], init="zeros", seed=0)
        >>> net.set_flat_parameters([1.0, 2.0, 0.5])
        >>> net.flat_parameters
        array([1. , 2. , 0.5], dtype=float32)
        >>> net.parameters[0][0]
        array([[1., 2.]], dtype=float32)
        """
        with self._guard.reading:
            layers = self._engine.parameters()
        return flat.vector(layers, self._dtype)

    @hints.explained
    def set_flat_parameters(self, v):
        """Replace all parameters by a vector. The optimizer's state and running statistics stay.

        Parameters
        ----------
        v : array_like, (P,)
            In the order of :attr:`flat_parameters`, of any real dtype. Non-finite values are taken as they are.

        Raises
        ------
        ValueError, TypeError
            If the shape or the type is wrong; the network is then unchanged.
        """
        layers = flat.layers_of(flat.checked(v, self.n_params), self._trainable)
        with self._guard.writing:
            self._trainable.set_parameters(layers)

    def _checked_layer(self, i, layer, sizes):
        """The parameters of one layer as an engine takes them."""
        n_in, n_out = sizes
        if len(layer) != (4 if self._norm[i] else 2):
            told = f": norm is {list(self.norm)}" if any(self._norm) else ""
            raise ValueError(f"parameters[{i}] has {len(layer)} arrays, wanted {norms.in_words(self._norm, i)}{told}")
        named = dict(zip(norms.NAMES, layer, strict=False))
        columns = {name: arrays.real_array(T, f"parameters[{i}] {name}") for name, T in named.items()}
        W = columns.pop("W")
        if W.shape != (n_out, n_in):
            hint = "; did you mean W.T?" if W.shape == (n_in, n_out) else ""
            raise ValueError(f"parameters[{i}]: W has shape {W.shape}, wanted ({n_out}, {n_in}){hint}")
        for name, b in columns.items():
            if b.shape not in ((n_out, 1), (n_out,)):
                raise ValueError(f"parameters[{i}]: {name} has shape {b.shape}, wanted ({n_out}, 1) or ({n_out},)")
        return self._operand(W, "W"), *(self._operand(b.reshape(n_out, 1), name) for name, b in columns.items())

    def reset_optimizer(self):
        """Drop the optimizer's state (moments and step count); the next step starts with a new one.

        The optimizer's settings and the weights stay.
        """
        with self._guard.writing:
            self._trainable.reset_optimizer()

    def averaged(self):
        """A network with the averages of the weights that an optimizer with `average` keeps.

        Returns
        -------
        Network
            A copy of this network with these weights, without optimizer state.

        Raises
        ------
        ValueError
            If no average is kept: the last optimizer has average=0, or its state was dropped.

        Notes
        -----
        B. T. Polyak and A. B. Juditsky, "Acceleration of stochastic approximation by averaging", 1992, in the form of
        an exponential moving average.

        Examples
        --------
        >>> net = Network([1, 1], ["identity"], init="zeros", dtype="float64", seed=0)
        >>> loss = net.train_step([[1.0]], [1.0], SGD(lr=0.5, average=0.75))
        >>> net.predict([[1.0]]), net.averaged().predict([[1.0]])
        (array([[2.]]), array([[0.5]]))
        """
        with self._guard.reading:
            average = self._engine.average() if self._engine.steps() else None
        if average is None:
            raise ValueError("no average is kept: train with an optimizer that has one, such as Adam(average=0.99)")
        twin = object.__new__(type(self))
        twin.__setstate__({**self.__getstate__(), "parameters": average, "optimizer_state": None})
        return twin

    def summary(self):
        """A table of the layers, as a string.

        Returns
        -------
        str
        """
        return summaries.of_network(self, self._backend.NAME)

    def _repr_html_(self):
        from . import notebooks

        return notebooks.of_network(self, self._backend.NAME)

    def _dropout_in_words(self):
        return f", dropout={list(self.dropout)}" if any(self.dropout) else ""

    def _norm_in_words(self):
        return f", norm={list(self.norm)}" if any(self.norm) else ""

    def __repr__(self):
        return (
            f"Network({list(self._sizes)}, activations={list(self.activations)}, loss={self.loss_name!r}, "
            f"dtype={self._dtype.name!r}, seed={self._seed}{self._dropout_in_words()}{self._norm_in_words()})"
        )

    # --- forward ----------------------------------------------------------------------------------

    def predict(self, X, out=None):
        """Outputs A[L] of the last layer; for a classifier they are probabilities.

        See :meth:`predict_classes` for classes, :meth:`evaluate` for the accuracy.

        Parameters
        ----------
        X : array_like or SciPy's sparse matrix or array, (n_0, m)
            A sparse X is never copied to an array, here and in all methods that take an X, but for
            ``forward(X, cache=True)``, which refuses it.
        out : ndarray, optional
            (n_L, m), of the network's dtype.

        Returns
        -------
        ndarray, (n_L, m)
            A sample that has a NaN gives a column of NaN; other columns are not affected.

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
        """Outputs A[L], and with `cache` also the intermediate arrays of each layer.

        Parameters
        ----------
        X : array_like or sparse, (n_0, m)
        cache : bool
            True: return `caches` as well; X must then be an array.

        Returns
        -------
        A : ndarray, (n_L, m)
        caches : list of dict, only with `cache`
            Per layer A_prev, W, b, Z and A; with a norm gamma and beta, too. Z is before the norm, which
            is in evaluation mode.
        """
        if cache is not False:
            check_flag("cache", cache)
        if not cache:
            return self.predict(X)
        # In the layout that predict uses, because BLAS rounds differently in another layout.
        X = arrays.features(X, self._sizes[0])
        with self._guard.reading:
            parameters, engine = self._engine.parameters(), self._engine.copy() if any(self._norm) else None
            standards = self._engine.standards
        with np.errstate(all="ignore"):
            A = np.asfortranarray(self._operand(standardisation.of_samples(standards, X), "X"))
        caches = []
        for i, (layer, g) in enumerate(zip(parameters, self._activations, strict=True)):
            W, b = layer[:2]
            Z = np.empty((W.shape[0], A.shape[1]), self._dtype, order=self._backend.ORDER)
            self._backend.linear_forward(W, A, b, tables.IDENTITY, Z)
            Y = engine.normalised(i, Z) if self._norm[i] else Z
            A_prev, A = A, np.empty_like(Y)
            self._backend.activation_forward(Y, g, A)
            caches.append({"A_prev": A_prev, **dict(zip(norms.NAMES, layer, strict=False)), "Z": Z, "A": A})
        return standardisation.in_units(standards, A), caches

    @hints.explained
    def predict_classes(self, X):
        """The predicted class of each sample.

        Parameters
        ----------
        X : array_like or sparse, (n_0, m)

        Returns
        -------
        ndarray of int64
            (m,): the index of the largest output, the first one if several are equal; for a single
            sigmoid output 1 where a >= 0.5, else 0. For several sigmoid outputs (n_L, m) of 0 and 1.

        Raises
        ------
        ValueError
            If the outputs determine no class: values of a regression (a loss that is no cross-entropy, with
            outputs that are neither sigmoid nor softmax), or a single output that is not a sigmoid.
        """
        return predicted_classes(self.predict(X), self._activations[-1].name, self._loss)

    @hints.explained
    def predictor(self):
        """A frozen copy of the network that only predicts.

        Returns
        -------
        callable
            ``p(X, out=None)`` works as :meth:`predict`, always with the present weights. Any number of
            threads may call it at once. It can be pickled and copied.
        """
        with self._guard.reading:
            engine, settings = self._engine.copy(), self._settings()

        def reduced():
            more = {"parameters": engine.parameters(), "running_statistics": engine.running_statistics()}
            return _revived_predictor, (settings | more,)

        return self._backend.Predictor(engine, passes.predict, reduced).predict

    def collapse(self):
        """The single linear map that equals a network whose hidden activations are all identity.

        Returns
        -------
        W : ndarray, (n_L, n_0)
        b : ndarray, (n_L, 1)
            Z[L] = W X + b; the output activation is not part of the map. Batch norm is folded in, in
            evaluation mode.

        Raises
        ------
        ValueError
            If a hidden activation is not the identity, or a hidden layer has layer norm.
        """
        return linear_map.collapsed(self._trainable)

    def _in_float64(self):
        """A network of the same kind in float64, with other weights, to check gradients with."""
        loss = self._loss.function if self._trainable.is_own else self.loss_name
        settings = self._sizes, self.activations, loss, "zeros", "float64", self._seed, self._backend_name
        twin = Network(*settings, dropout=self.dropout or 0.0, norm=self.norm)
        twin._engine.set_updates(self._engine.updates())  # on which the next update's masks depend
        twin.set_running_statistics(self._engine.running_statistics())
        twin.trainable = self.trainable  # a frozen layer uses its own statistics
        if self._trainable.standardisation:
            twin._trainable.standardise(self._trainable.standardisation)
        return twin

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
            No suffix is added to a path; one that ends in ".safetensors" makes a file of that format,
            if the package safetensors is installed, any other one an .npz file. An existing file is
            replaced as a whole or not at all; it keeps its mode, its links and, where the system
            allows it, its owner. Where this is impossible (a device or a pipe; a file with several
            hard links; a file of another owner that we cannot give to a new file; a folder in which
            we cannot create files; a file that is a mount point), the file is written in place, and
            a failure during the write can damage it. A file object is written to from its current
            position, and is not closed.
        optimizer : bool
            True: also save the optimizer's settings and state. A loaded network then continues
            training as this one would, with ``optimizer=None`` or with an optimizer of the same
            kind and settings (those may differ whose change starts no new state, such as lr).

        Raises
        ------
        OSError
            If it cannot be written; the error names `path`.
        TypeError
            If `path` is neither a path nor a binary file object.
        ValueError
            With `optimizer`, if its lr is a function, which a file cannot store.

        Warns
        -----
        DataWarning
            If `path` ends as another library's files do: ".onnx", ".keras", ".h5".

        Notes
        -----
        Attributes that you added to the network are not saved in a file; pickles and copies keep them.
        """
        check_flag("optimizer", optimizer)
        from . import files  # zipfile and hashlib take longer to import than all of fastnn

        files.save(path, *states.to_file(self.__getstate__(), optimizer))

    def __getstate__(self):
        """The state for copies, pickles and files: settings, weights and moments, no scratch memory."""
        with self._guard.reading:
            trained = self._trainable
            state = self._settings() | {
                "optimizer": trained.optimizer,
                "optimizer_state": trained.optimizer_state(),
                "parameters": [tuple(map(np.ascontiguousarray, pair)) for pair in self._engine.parameters()],
                "running_statistics": self._engine.running_statistics(),
            }
        state["losses"] = trained.first_loss, trained.last_loss
        if trained.is_own:
            state["loss_function"] = self._loss.function
        state["attributes"] = states.attributes(super().__getstate__(), _OWN)
        return state

    def _settings(self):
        """The settings that, with the parameters, make a network with the same predictions."""
        return {
            "sizes": list(self._sizes),
            "activations": self.activations,
            "loss": self.loss_name,
            "dtype": self._dtype.name,
            "seed": self._seed,
            "epochs_done": self._trainable.epochs_done,
            "backend": self._backend_name,
            "threads": self._threads,
            "dropout": list(self._dropout[:-1]),
            "norm": list(self._norm[:-1]),
            "updates": self._engine.updates(),
            "trainable": list(self.trainable),
            "standardisation": self.standardisation,
        }

    def __setstate__(self, state):
        state, made = states.checked(state), object.__new__(Network)  # `self` changes only after all has succeeded
        is_own = state["loss"] == tables.OwnLoss.name
        loss = state["loss"]
        if is_own:
            loss = own_loss.checked(state.get("loss_function")) or tables.OwnLoss(None)
        made._setup(
            state["sizes"],
            state["activations"],
            loss,
            state["dtype"],
            state["seed"],
            state.get("backend", "auto"),
            state.get("threads"),
            state.get("dropout", 0.0),
            state.get("norm"),
        )
        made.set_parameters(state["parameters"])
        if state["running_statistics"]:
            made.set_running_statistics(state["running_statistics"])
        if state["standardisation"]:
            made._trainable.standardise(state["standardisation"])
        made._engine.set_updates(state["updates"])
        made.trainable = state["trainable"]
        trained = made._trainable
        trained.epochs_done = state["epochs_done"]
        trained.first_loss, trained.last_loss = state["losses"]
        trained.optimizer = state.get("optimizer") or SGD()
        if state.get("optimizer_state"):
            trained.set_optimizer_state(state["optimizer_state"])
        self.__dict__.update(made.__dict__)
        for name, value in state["attributes"].items():
            object.__setattr__(self, name, value)

    def __deepcopy__(self, memo):
        state, twin = self.__getstate__(), object.__new__(type(self))
        memo[id(self)] = twin  # attributes that are copied too may refer to this network
        for part in ("optimizer", "attributes"):
            state[part] = copy.deepcopy(state[part], memo)
        twin.__setstate__(state)
        return twin

    def __copy__(self):
        # A shallow copy shares the optimizer object but not the weights; only that object continues the copied state.
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
def load(path, backend="auto", threads=None, *, loss=None):
    """Read a network that :meth:`Network.save` wrote.

    Parameters
    ----------
    path : path-like or binary file object
        A file object is read from its current position to its end.
    backend, threads
        As for :class:`Network`.
    loss : callable, optional
        The loss of a network that was made with a loss of one's own: files do not store it. Without it
        the network only predicts.

    Returns
    -------
    Network

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no fastnn model, is damaged, has a format that this release cannot read, or an argument does not fit.
    TypeError
        If `path` is neither a path nor a binary file object, or `loss` is no function.

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

    function = own_loss.checked(loss).function if loss is not None else None
    backends.check(backend, threads)  # first: an error about them is not about the file
    header, arrays = files.load(path)
    if function is not None and header.get("loss") != tables.OwnLoss.name:
        raise ValueError(
            f"loss: the network in {files.name_of(path)} has the loss {header.get('loss')!r}; write "
            "train_step(..., loss=f) for another one"
        )
    try:
        net = object.__new__(Network)
        state = states.from_file(header, arrays) | {"backend": backend, "threads": threads, "loss_function": function}
        net.__setstate__(state)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{files.name_of(path)} is not a readable fastnn model: {error}") from error
    return net


def _revived_predictor(state):
    """Unpickle a predictor: return the Predictor object whose method :meth:`Network.predictor` returns."""
    net = object.__new__(Network)
    net.__setstate__(state)
    return net.predictor().__self__
