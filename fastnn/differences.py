"""Gradients against central differences of the loss: what Network.gradient_check computes."""

import numpy as np

_MOST = 2000  # parameters that are checked; of more a random sample


def relative_error(twin, parameters, gradients, X, y, training=False):
    """||g - d|| / (||g|| + ||d||) of gradients g and differences d; 0 if both are 0.

    Parameters
    ----------
    twin : Network
        In float64; its parameters are changed.
    parameters, gradients : list of tuple of ndarray
        In float64 those at which the gradients were computed, and these, layer by layer.
    X, y : array_like
    training : bool
        Whether the losses are those of the next update, with dropout masks and batch statistics.
    """
    rng = np.random.Generator(np.random.Philox(twin.seed & (2**64 - 1)))
    g, d = [], []
    share = min(1.0, _MOST / twin.n_params)
    for layer, gradient in zip(parameters, gradients, strict=True):
        for values, dv in zip(layer, gradient, strict=True):
            for index in np.ndindex(values.shape):
                if share < 1 and rng.random() > share:
                    continue
                kept, step = values[index], 1e-6 * max(1.0, abs(values[index]))
                sides = []
                for moved in (kept + step, kept - step):
                    values[index] = moved
                    twin.set_parameters(parameters)
                    sides.append(twin.gradients(X, y, training=True)[0] if training else twin.loss(X, y))
                values[index] = kept
                g.append(float(dv[index]))
                d.append((sides[0] - sides[1]) / (2 * step))
    g, d = np.array(g), np.array(d)
    size = np.linalg.norm(g) + np.linalg.norm(d)
    return float(np.linalg.norm(g - d) / size) if size else 0.0
