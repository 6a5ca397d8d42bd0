"""Normalisation layers: their names, constants and checks, and the scale and shift that one is in evaluation mode.

A layer with a norm computes Z = W A_prev + b, zhat = (Z - mean) / sqrt(var + EPS), A = g(gamma zhat + beta).
"layer": mean and variance of each sample, over the units of the layer. "batch": of each unit, in training over the
samples of the batch, otherwise the running ones.
"""

import numpy as np

from . import arrays, hints

NORMS = (None, "layer", "batch")  # their places are the codes in csrc/fastnn.h
EPS = 1e-5  # PyTorch's
MOMENTUM = 0.1  # PyTorch's: running = (1 - MOMENTUM) running + MOMENTUM new
_STATISTICS = ("mean", "var")
NAMES = ("W", "b", "gamma", "beta")  # of a layer's parameters; without a norm the first two


def checked_norm(norm, layers):
    """Return `norm` as a tuple with None, "layer" or "batch" for each of the `layers`; None for the output."""
    if norm is None or isinstance(norm, str):
        kinds, names = [norm] * (layers - 1), ["norm"] * (layers - 1)
        if layers == 1 and norm is not None:
            raise ValueError(f"norm is for hidden layers, and this network has none: got {norm!r:.80}")
    elif isinstance(norm, (list, tuple)):
        kinds, names = list(norm), [f"norm[{i}]" for i in range(len(norm))]
        if len(kinds) != layers - 1:
            raise ValueError(f"norm has {len(kinds)} entries, wanted {layers - 1}: one for each hidden layer")
    else:
        raise TypeError(f'norm must be None, "layer", "batch", or a list of them, got {norm!r:.80}')
    for kind, name in zip(kinds, names, strict=True):
        if not (kind is None or isinstance(kind, str)):
            raise TypeError(f'{name} must be None, "layer" or "batch", got {kind!r:.80}')
        if kind not in NORMS:
            told = hints.did_you_mean(kind, ["layer", "batch"])
            raise ValueError(f'{name} must be None, "layer" or "batch", got {kind!r:.80}{told}')
    return (*(None if kind is None else str(kind) for kind in kinds), None)


def shapes(sizes, norm):
    """For each layer the shapes of its parameters: those of W and b, and with a norm of gamma and beta."""
    layers = zip(sizes, sizes[1:], norm, strict=False)
    return [((n_out, n_in), *[(n_out, 1)] * (3 if kind else 1)) for n_in, n_out, kind in layers]


def in_words(norm, i=None, prefix=""):
    """How an error calls the parameters that a layer has: "(W, b)" or "(W, b, gamma, beta)"; without `i` of any."""
    has_norm = any(norm) if i is None else norm[i]
    return f"({', '.join(prefix + name for name in NAMES[: 4 if has_norm else 2])})"


def checked_statistics(statistics, sizes, norm, dtype):
    """Return running statistics as a list of None or (mean, var), of arrays (n, 1) of `dtype` that an engine can read.

    Raises
    ------
    ValueError, TypeError
        If a shape, a type or the number of entries is wrong, or a variance is negative.
    """
    if not isinstance(statistics, (list, tuple)):
        raise TypeError(f"statistics must be a list of None or (mean, var), one per layer, got {statistics!r:.80}")
    if len(statistics) != len(norm):
        raise ValueError(f"statistics has {len(statistics)} entries, wanted {len(norm)}, one per layer")
    clean = []
    for i, (given, kind, n) in enumerate(zip(statistics, norm, sizes[1:], strict=True)):
        if kind != "batch":
            if given is not None:
                raise ValueError(f"statistics[{i}] must be None: this layer has no batch norm")
            clean.append(None)
            continue
        if not isinstance(given, (list, tuple)) or len(given) != 2:
            raise ValueError(f"statistics[{i}] must be a pair (mean, var), got {given!r:.80}")
        mean, var = (_column(T, f"statistics[{i}] {name}", n) for T, name in zip(given, _STATISTICS, strict=True))
        clean.append((mean, var))
        if (var < 0).any():
            raise ValueError(f"statistics[{i}] var has a negative variance; it must be at least 0")
    return [pair and tuple(arrays.operand(T, "statistics", 2, dtype) for T in pair) for pair in clean]


def _column(array, name, n):
    array = arrays.real_array(array, name)
    if array.shape not in ((n, 1), (n,)):
        raise ValueError(f"{name} has shape {array.shape}, wanted ({n}, 1) or ({n},)")
    return array.reshape(n, 1)


def folded(parameters, statistics):
    """W and b, in float64, of a layer whose Z are gamma zhat + beta: a batch norm with these running statistics."""
    W, b, gamma, beta = (T.astype(np.float64) for T in parameters)
    mean, var = (T.astype(np.float64) for T in statistics)
    scale = gamma / np.sqrt(var + EPS)
    return scale * W, scale * (b - mean) + beta
