"""TabularModel, with its defaults, against scikit-learn's usual pipeline with its defaults, on real tables."""

import time

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


def compared(name):
    """Scores and seconds of ours, of theirs, and of theirs with a scaled target, (3, seeds) each."""
    file, target, drop = DATA[name]
    table = read_table(TABLES / file)
    y = table.column(target).values
    is_classes = len(np.unique(y)) < 20
    scores, seconds = np.empty((3, len(SEEDS))), np.empty((3, len(SEEDS)))
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(table.rows)
        test, train = order[: table.rows // 4], order[table.rows // 4 :]
        of_train, of_test = (Table([table.column(each).at(rows) for each in table.names]) for rows in (train, test))
        start = time.perf_counter()
        ours = TabularModel(drop=drop, seed=seed).fit(of_train, target)
        found, spent = [ours.predict(of_test)], [time.perf_counter() - start]
        for scales_target in (False, True):
            model, rows = pipeline(table, target, drop, is_classes, seed, scales_target)
            start = time.perf_counter()
            found.append(model.fit(rows[train], y[train]).predict(rows[test]))
            spent.append(time.perf_counter() - start)
        scores[:, seed], seconds[:, seed] = [score(y[test], each, is_classes) for each in found], spent
    return scores, seconds


@pytest.mark.parametrize("name", DATA)
def test_no_worse_and_faster(name):
    (ours, *others), seconds = compared(name)
    for theirs, spent, of in zip(others, seconds[1:], ("", " with a scaled target"), strict=True):
        difference = ours - theirs
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        both = f"{name}{of}: ours {ours.mean():.3f}, theirs {theirs.mean():.3f}"
        told = f"{both}, difference {difference.mean():+.3f} +- {error:.3f}, seconds {seconds[0].mean():.2f}"
        told = f"{told}, {spent.mean():.2f}"
        print(told)  # shown by -rP
        assert difference.mean() >= -2 * error, told
        if fastnn.info()["backend"] == "compiled":
            assert seconds[0].sum() < spent.sum(), told
