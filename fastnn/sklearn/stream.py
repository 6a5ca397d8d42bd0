"""Random numbers in scikit-learn's order: starting weights first, then the split, then the order of each epoch."""

import itertools
import numbers

import numpy as np
from sklearn.model_selection import train_test_split

_LOGISTIC, _OTHERS = 2.0, 6.0  # in the bound of the starting weights, sqrt(factor / (n_in + n_out))


def starting_parameters(random_state, sizes, names):
    """W and b of every layer, both from U(-r, r) with r = sqrt(factor / (n_in + n_out)), in float64.

    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.

    Parameters
    ----------
    random_state : numpy.random.RandomState
    sizes : sequence of int
        Units per layer, the input first.
    names : sequence of str
        Of the layers, the activations that their factors are for.

    Returns
    -------
    list of (ndarray (n_l, n_{l-1}), ndarray (n_l,))
    """
    layers = []
    for name, (n_in, n_out) in zip(names, itertools.pairwise(sizes), strict=True):
        r = np.sqrt((_LOGISTIC if name == "sigmoid" else _OTHERS) / (n_in + n_out))
        W = random_state.uniform(-r, r, (n_in, n_out)).T
        layers.append((W, random_state.uniform(-r, r, n_out)))
    return layers


def seed_of(estimator, random_state):
    """The seed of its Network, for what scikit-learn's MLP does not have; drawn only if that is asked for."""
    given = estimator.random_state
    if isinstance(given, numbers.Integral):
        return int(given)
    is_used = estimator.init != "sklearn" or np.any(estimator.dropout)
    return int(random_state.randint(2**31 - 1)) if is_used else None


def split(random_state, count, fraction, stratify):
    """Places of the samples to train on, and of those for validation, of `count` samples."""
    train, kept_back = train_test_split(
        np.arange(count), random_state=random_state, test_size=fraction, stratify=stratify
    )
    if len(kept_back) < 2:
        raise ValueError(
            f"The validation set is too small: validation_fraction={fraction:g} of {count} samples leaves "
            f"{len(kept_back)} to validate with, wanted at least 2"
        )
    return train.astype(np.uint32), kept_back
