"""TabularModel, with its defaults, against scikit-learn's usual pipeline with its defaults, on real tables."""

import time
import warnings

import numpy as np
import pytest

import fastnn
from fastnn.tabular import Table, TabularModel, read_table
from tables_of_people import TABLES

sklearn = pytest.importorskip("sklearn")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SEEDS = range(5)
# File, target, and columns that contain the answer or are no property of the sample.
DATA = {
    "airfoil": ("airfoil_self_noise.dat", "TARGET", ()),
    "autos": ("auto_imports.csv", "25", ()),
    "horses": ("horse-colic.csv", "23", ("2", "24", "25", "26")),
    "wines": ("winequality-red.csv", "11", ()),
}


def pipeline(table, target, drop, is_classes, seed, scales_target):
    """Median for missing numbers, scaler, one-hot encoder, MLP: all with scikit-learn's defaults."""
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    names = [name for name in table.names if name not in (target, *drop)]
    texts = [i for i, name in enumerate(names) if table.column(name).kind == "text"]
    numbers = [i for i in range(len(names)) if i not in texts]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("texts", encoder, texts),
        ]
    )
    model = make_pipeline(columns, (MLPClassifier if is_classes else MLPRegressor)(random_state=seed))
    if scales_target and not is_classes:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    rows = np.empty((table.rows, len(names)), object)
    for i, name in enumerate(names):
        rows[:, i] = table.column(name).values
    return model, rows


def score(y, found, is_classes):
    """Accuracy, or r2."""
    return (found == y).mean() if is_classes else 1 - np.square(y - found).sum() / np.square(y - y.mean()).sum()


def compared(name, scales_target):
    """Scores and seconds of both, (2, seeds) each."""
    file, target, drop = DATA[name]
    table = read_table(TABLES / file)
    y = table.column(target).values
    is_classes = len(np.unique(y)) < 20
    scores, seconds = np.empty((2, len(SEEDS))), np.empty((2, len(SEEDS)))
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(table.rows)
        test, train = order[: table.rows // 4], order[table.rows // 4 :]
        parts = [Table([table.column(each).at(rows) for each in table.names]) for rows in (train, test)]
        model, rows = pipeline(table, target, drop, is_classes, seed, scales_target)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it did not converge
            model.fit(rows[train], y[train])
        middle = time.perf_counter()
        ours = TabularModel(drop=drop, seed=seed).fit(parts[0], target)
        seconds[:, seed] = time.perf_counter() - middle, middle - start
        found = ours.predict(parts[1]), model.predict(rows[test])
        scores[:, seed] = [score(y[test], each, is_classes) for each in found]
    return scores, seconds


@pytest.mark.parametrize("scales_target", [False, True])
@pytest.mark.parametrize("name", DATA)
def test_no_worse_and_faster(name, scales_target):
    (ours, theirs), seconds = compared(name, scales_target)
    difference = ours - theirs
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    both = f"{name}: ours {ours.mean():.3f}, theirs {theirs.mean():.3f}"
    told = f"{both}, difference {difference.mean():+.3f} +- {error:.3f}, seconds {seconds.mean(axis=1).round(2)}"
    print(told)  # shown by -rP
    assert difference.mean() >= -2 * error, told
    if fastnn.info()["backend"] == "compiled":
        assert seconds[0].sum() < seconds[1].sum(), told
