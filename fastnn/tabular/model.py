"""The class TabularModel: from a table with numbers, text and missing cells to predictions."""

import numpy as np

from .. import cautions, files, hints, states
from ..network import Network
from . import archive, settings
from .encoding import refuse_far, refuse_infinite
from .reading import as_table
from .training import Fitted, train


class _Score(dict):
    """A dict whose call raises an explanation, because estimators of scikit-learn have a method `score`."""

    def __call__(self, *args, **kwargs):
        raise TypeError("model.score is a dict, from the training; of another table write model.evaluate(table)")

    def __reduce__(self):
        return dict, (dict(self),)  # pickled as a plain dict


class TabularModel:
    """A network for tables as people have them: it learns what to do with each column, and keeps it.

    Columns of numbers and of true and false become one input each, which the network standardises; columns of
    text become one input for each category, 1 or 0. A missing number is taken as the median of its column, and where
    training rows lack some, another input says which; a missing text is a category of its own. Columns that are the
    same in all rows, or are missing in all, text that differs from row to row, and a column without a name that numbers
    the rows are left out; dates are refused. :attr:`notes` says what was done.

    Parameters
    ----------
    task : {"auto", "classification", "regression"}
        "auto": classification if the target is text, true and false, or at most 20 different whole numbers with at
        least 5 rows each on average; else regression.
    hidden : sequence of int
        Units of the hidden layers, which are relu. ``()`` gives a linear model.
    epochs : int
        The most passes over the data; of the first network, if there is a second one (see `refit`).
    batch_size : int
    lr : float
        The learning rate of :class:`fastnn.AdamW`.
    weight_decay : float, optional
        Of the optimizer, too. None: 200 / rows, at most 1; as that of a prior, it weighs less the more rows there are.
    dropout : float
        Of all hidden layers.
    patience : int
        Epochs without a gain in the validation rows after which training ends: of the loss, or in a classification
        of the mean squared error of the probabilities (Brier's score).
    validation_split : float
        The share of the rows (without those of `test_split`) that decides when training ends. 0: all `epochs` run.
    test_split : float
        The share of the rows that are kept for :attr:`score` alone. 0: there is no score.
    refit : bool
        True: train a second network with all rows for 1.5 times the epochs that were best for the first one, and keep
        that. The score is the first one's. False: keep the first.
    categorical : str or sequence of str
        Columns of numbers below 2^53 that are categories, such as codes.
    drop : str or sequence of str
        Columns not to learn from, such as numbers of rows, or what is known only after the target.
    seed : int or None
        Decides the rows of each part, and all else that is random: the same seed, settings and table give the same
        model. None: drawn, see :attr:`settings`.

    Raises
    ------
    ValueError, TypeError
        For a setting that is out of range; the message names it.

    Notes
    -----
    A table may be anything that :func:`read_table` takes, or its result: a path to a CSV or Parquet file, a data
    frame of pandas or polars, a dict of columns, a list of dicts, an array with named fields. Names of columns are
    strings; a file without a header has the columns "0", "1" and so on. Columns that are not needed are skipped.

    The loss is cross-entropy, or the squared error of the standardised target. The network computes in float32: values
    that are predicted have seven digits.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = {"size": rng.uniform(40, 200, 200), "place": rng.choice(["town", "land"], 200)}
    >>> table["price"] = 2000 * table["size"] * np.where(table["place"] == "town", 2, 1)
    >>> model = TabularModel().fit(table, "price")
    >>> model.task, model.score["r2"] > 0.99
    ('regression', True)
    >>> model.predict({"size": [100, 100], "place": ["town", "land"]}).round(-4)
    array([400000., 200000.])
    """

    @hints.explained
    def __init__(
        self,
        *,
        task="auto",
        hidden=(64, 32),
        epochs=300,
        batch_size=32,
        lr=1e-3,
        weight_decay=None,
        dropout=0.0,
        patience=20,
        validation_split=0.15,
        test_split=0.2,
        refit=True,
        categorical=(),
        drop=(),
        seed=0,
    ):
        given = {name: value for name, value in locals().items() if name != "self"}
        self._settings, self._fitted = settings.checked(given), None

    @property
    def settings(self):
        """The settings, as a dict."""
        return self._settings._asdict()

    @property
    def task(self):
        """What the model does, "classification" or "regression"; before :meth:`fit` the setting."""
        return self._settings.task if self._fitted is None else self._fitted.target.task

    @property
    def target(self):
        """The name of the column that is predicted."""
        return self._known.target_name

    @property
    def columns(self):
        """The names of the columns that a table must have for :meth:`predict`."""
        return [encoder.name for encoder in self._known.encoders]

    @property
    def encoders(self):
        """How each of these columns is read: :class:`~fastnn.tabular.encoding.Numbers` or ``Categories``."""
        return list(self._known.encoders)

    @property
    def inputs(self):
        """The names of the network's inputs, in order: such as "size", "size is missing", "place=town"."""
        return [name for encoder in self._known.encoders for name in encoder.inputs]

    @property
    def classes(self):
        """The classes, in the order of :meth:`predict_proba`; None for a regression."""
        return getattr(self._known.target, "labels", None) and np.array(self._known.target.labels)

    @property
    def network(self):
        """The :class:`fastnn.Network`; its X is (inputs, m), see :attr:`inputs`, and it standardises by itself."""
        return self._known.network

    @property
    def score(self):
        """What :meth:`evaluate` gives for the rows of `test_split`, for a network that has not seen them."""
        return _Score(self._known.score)

    @property
    def rows(self):
        """The number of rows of the table of :meth:`fit` that have a target."""
        return self._known.rows

    @property
    def tested_rows(self):
        """The number of those rows that :attr:`score` is of."""
        return self._known.tested_rows

    @property
    def tested(self):
        """Targets and predictions of these rows, a pair of arrays; None without such rows, and after :meth:`load`."""
        return self._known.tested

    @property
    def notes(self):
        """What was done with the table, a list of sentences."""
        return list(self._known.notes)

    @property
    def history(self):
        """The :class:`fastnn.History` of the network that was measured; None after :meth:`load`."""
        return self._known.history

    @property
    def has_header(self):
        """False if the table was a file without a line of names."""
        return self._known.has_header

    @property
    def _known(self):
        if self._fitted is None:
            raise RuntimeError("this TabularModel has learned nothing yet: call fit(table, target) first")
        return self._fitted

    @hints.explained
    def fit(self, table, target, *, progress=None):
        """Train on a table, anew each time.

        Parameters
        ----------
        table : path, data frame, dict, list of dict, ndarray or Table
        target : str or int
            The name of the column to predict.
        progress : bool, optional
            As for :meth:`fastnn.Network.fit`.

        Returns
        -------
        TabularModel
            This one.

        Raises
        ------
        ValueError, TypeError
            If the table cannot be read or learned from, or has no such column; the model is then as before.
        OSError
            If a file cannot be read.

        Examples
        --------
        >>> table = {"x": np.arange(60) % 7, "y": np.where(np.arange(60) % 7 < 3, "low", "high")}
        >>> model = TabularModel(epochs=30).fit(table, "y")
        >>> model.classes
        array(['high', 'low'], dtype='<U4')
        """
        if not isinstance(target, (str, int, np.integer)) or isinstance(target, bool):
            told = "" if isinstance(target, (bool, type(None))) else ": put the target into the table, as a column"
            raise TypeError(f"target must be the name of a column of the table, got {type(target).__name__}{told}")
        self._fitted = train(as_table(table), str(target), self._settings, progress)
        return self

    def predict(self, table):
        """The classes or values of the rows of a table.

        Parameters
        ----------
        table : path, data frame, dict, list of dict, ndarray or Table
            Needs the :attr:`columns`; the target and others are skipped.

        Returns
        -------
        ndarray, (m,)
            Classes as they were in the target: strings, integers, floats or booleans; or values in float64.

        Raises
        ------
        ValueError, TypeError
            If the table cannot be read, lacks a column, has text where numbers were in training, or a number that is
            too far from these.

        Warns
        -----
        DataWarning
            For categories that were not in training, whose inputs are all 0, and for missing numbers where none was
            missing in training.

        Examples
        --------
        >>> table = {"x": np.arange(60) % 7, "y": np.arange(60) % 7 < 3}
        >>> TabularModel(epochs=30, lr=0.01).fit(table, "y").predict({"x": [0, 6]})
        array([ True, False])
        """
        known, X = self._inputs(self._table(table))
        return known.target.named(known.target.found(known.network, X))

    def predict_proba(self, table):
        """The probability of each class for the rows of a table.

        Parameters
        ----------
        table
            As for :meth:`predict`.

        Returns
        -------
        ndarray, (m, classes)
            One row for each row of the table, one column for each of :attr:`classes`.

        Raises
        ------
        ValueError
            For a regression; and as :meth:`predict`.

        Examples
        --------
        >>> table = {"x": np.arange(60) % 7, "y": np.arange(60) % 7 < 3}
        >>> TabularModel(epochs=30, lr=0.01).fit(table, "y").predict_proba({"x": [0, 6]}).round()
        array([[0., 1.],
               [1., 0.]], dtype=float32)
        """
        if self._known.target.task != "classification":
            raise ValueError("a regression has no classes: write predict(table)")
        known, X = self._inputs(self._table(table))
        return known.target.probabilities(known.network.predict(X))

    def encode(self, table):
        """The inputs of the network for the rows of a table, such as for a network that was exported.

        Parameters
        ----------
        table
            As for :meth:`predict`.

        Returns
        -------
        X : ndarray of float64, (inputs, m)
            One row for each of :attr:`inputs`, not standardised: the network does that.

        Raises
        ------
        ValueError, TypeError
            As :meth:`predict`.

        Examples
        --------
        >>> table = {"x": np.arange(60) % 7, "place": ["town", "land"] * 30, "y": np.arange(60) % 7 < 3}
        >>> model = TabularModel(epochs=1).fit(table, "y")
        >>> model.inputs
        ['x', 'place=land', 'place=town']
        >>> model.encode({"x": [5, 6], "place": ["town", "land"]})
        array([[5., 6.],
               [0., 1.],
               [1., 0.]])
        """
        return self._inputs(self._table(table))[1]

    def evaluate(self, table):
        """Compare predictions with the target of a table that has one.

        Parameters
        ----------
        table
            As for :meth:`predict`, with the target; rows without one do not count.

        Returns
        -------
        dict of str to float
            "accuracy", and "baseline_accuracy" of always predicting the class that was most frequent in training. Or
            "r2", "rmse" (the root of the mean squared error), and "baseline_rmse" of always predicting the mean in
            training.

        Raises
        ------
        ValueError, TypeError
            If the table has no target; and as :meth:`predict`.

        Examples
        --------
        >>> table = {"x": np.arange(60) % 7, "y": np.arange(60) % 7 < 3}
        >>> TabularModel(epochs=30, lr=0.01).fit(table, "y").evaluate(table)
        {'accuracy': 1.0, 'baseline_accuracy': 0.55}
        """
        table, known = self._table(table), self._known
        target = table.column(known.target_name)
        rows = np.flatnonzero(~target.missing())
        if not len(rows):
            raise ValueError(f"the table has no row with a target {target.name!r}")
        held = ("number", "boolean") if known.target.task == "regression" else ("number", "boolean", "text")
        if target.kind not in held:
            what = "numbers" if known.target.task == "regression" else "classes"
            raise ValueError(f"target {target.name!r} held {what} in training, and now {target.first()}")
        if known.target.task == "regression":
            refuse_infinite(target)
        known, X = self._inputs(table)
        return known.target.score(target.at(rows), known.target.found(known.network, X[:, rows]))

    def _table(self, table):
        """A table to predict: a file has a header if, and only if, that of :meth:`fit` had one."""
        return as_table(table, self._known.has_header)  # not found: names may be numbers, as pandas writes them

    def _inputs(self, table):
        """What was learned, and X of a table; a DataWarning for each column with something new."""
        known = self._known
        there = set(table.names)
        missing = [encoder.name for encoder in known.encoders if encoder.name not in there]
        if missing:
            raise ValueError(_of_missing(missing, table, self.columns))
        X, notes = known.inputs(table)
        refuse_far(known.encoders, X, known.network)
        for note in notes:
            cautions.caution(note)
        return known, X

    def save(self, path):
        """Write all that predictions need to a file; :func:`fastnn.load` reads the network in it.

        Parameters
        ----------
        path : path-like or binary file object
            As for :meth:`fastnn.Network.save`.

        Raises
        ------
        OSError
            If it cannot be written; an old file is then as before.

        Examples
        --------
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
        >>> table = {"x": np.arange(60) % 7, "y": np.arange(60) % 7 < 3}
        >>> TabularModel(epochs=30, lr=0.01).fit(table, "y").save(path)
        >>> TabularModel.load(path).predict({"x": [0, 6]})
        array([ True, False])
        """
        known = self._known
        header, arrays = states.to_file(known.network.__getstate__(), False)
        header |= {"format": archive.FORMAT, "table": archive.to_header(known, self._settings._asdict())}
        files.save(path, header, arrays)

    @classmethod
    def load(cls, path):
        """Read a model that :meth:`save` wrote. Nothing in the file is run.

        Parameters
        ----------
        path : path-like or binary file object

        Returns
        -------
        TabularModel

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no such model, or is damaged.
        """
        header, arrays = files.load(path)
        try:
            if "table" not in header:
                raise ValueError("it is a network without a table: read it with fastnn.load")
            parts = archive.from_header(header["table"])
            network = object.__new__(Network)
            network.__setstate__(states.from_file(header, arrays))
            archive.check_network(parts["encoders"], parts["target"], network)
            model = cls(**parts.pop("settings"))
            model._fitted = Fitted(network=network, **parts)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"{files.name_of(path)} is not a readable model of a table: {error}") from None
        return model

    def __repr__(self):
        if self._fitted is None:
            return f"<TabularModel: not fitted, {self._settings}>"
        known, count = self._fitted, len(self._fitted.encoders)
        columns = f"{count} column{'s' * (count > 1)}"
        score = "".join(f", {name} {value:.4g}" for name, value in known.score.items())
        return f"<TabularModel: {self.task} of {known.target_name!r} from {columns}{score}>"


def _of_missing(missing, table, needed):
    """The message that a table lacks columns; it names those of the others that may be meant."""
    where, names = table.source or "the table", ", ".join(map(repr, missing))
    others = [name for name in table.names if name not in needed]
    plain = {name.strip().casefold(): name for name in others}
    meant = [plain.get(name.strip().casefold()) for name in missing]
    what = "a column" if len(missing) == 1 else f"{len(missing)} columns"
    told = ""
    if len(missing) == 1:
        told = hints.did_you_mean(missing[0], others)
    elif all(meant):
        found = ", ".join(map(repr, meant))
        told = f"; it has {found}: write the names as in training, with the same capitals and spaces"
    if not told and not set(needed) & set(table.names):
        shown = ", ".join(map(repr, table.names[:12])) + (", ..." if len(table.names) > 12 else "")
        told = f"; it has {shown}" + ("" if table.has_header else ", as it has no line of names")
    return f"{where} lacks {what} that the model needs: {names}{told}"
