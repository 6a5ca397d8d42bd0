"""The single linear map that a network without nonlinear hidden layers is."""

import numpy as np

from . import norms, standardisation


def collapsed(trainable):
    """:meth:`Network.collapse`."""
    for i, g in enumerate(trainable.activations[:-1]):
        if g.name != "identity":
            raise ValueError(f"activations[{i}] is {g.name}; only hidden identities collapse into one linear map")
    if "layer" in trainable.norm:
        i = trainable.norm.index("layer")
        raise ValueError(f"norm[{i}] is layer, which is not linear; only batch norm collapses into a linear map")
    engine, n_in = trainable.engine, trainable.sizes[0]
    with trainable.guard.reading:
        layers = list(zip(engine.parameters(), engine.running_statistics(), strict=True))
        standards = engine.standards
    W, b = np.eye(n_in), np.zeros((n_in, 1))
    for parameters, running in layers:
        W_l, b_l = norms.folded(parameters, running) if running else parameters
        W, b = W_l.astype(np.float64) @ W, W_l.astype(np.float64) @ b + b_l
    W, b = standardisation.folded(W, b, standards)
    return W.astype(engine.dtype), b.astype(engine.dtype)
