"""Starting weights. Drawn in float64 and rounded to the network's dtype; biases start at 0."""

import itertools

import numpy as np

from . import _philox


def _fan(n_out, n_in):
    return n_in + n_out


# name -> function of (draw, n_out, n_in, **parameters); draw.normal() and draw.uniform() give an
# (n_out, n_in) array of N(0, 1) and of U(-1, 1).
_RULES = {
    "zeros": lambda draw, n_out, n_in: np.zeros((n_out, n_in)),
    "normal": lambda draw, n_out, n_in, sd: sd * draw.normal(),
    # X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    # networks", AISTATS 2010.
    "xavier": lambda draw, n_out, n_in, sd: sd * np.sqrt(2 / _fan(n_out, n_in)) * draw.normal(),
    "xavier_uniform": lambda draw, n_out, n_in: np.sqrt(6 / _fan(n_out, n_in)) * draw.uniform(),
    # K. He et al., "Delving deep into rectifiers", ICCV 2015.
    "he": lambda draw, n_out, n_in: np.sqrt(2 / n_in) * draw.normal(),
    "he_uniform": lambda draw, n_out, n_in: np.sqrt(6 / n_in) * draw.uniform(),
    # Y. LeCun et al., "Efficient BackProp", 1998.
    "lecun": lambda draw, n_out, n_in: np.sqrt(1 / n_in) * draw.normal(),
    # A. M. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear
    # neural networks", ICLR 2014.
    "orthogonal": lambda draw, n_out, n_in, gain: gain * _orthogonal(draw.normal()),
}


class _Draw:
    """The random numbers of one layer. They depend only on seed and layer, so that no layer depends on another."""

    def __init__(self, shape, seed, layer):
        self.shape, self.seed, self.layer = shape, seed, layer

    def _shaped(self, generator):
        n = self.shape[0] * self.shape[1]
        return generator(n, self.seed, _philox.WEIGHTS, self.layer).reshape(self.shape)

    def normal(self):
        return self._shaped(_philox.normal)

    def uniform(self):
        return 2 * self._shaped(_philox.uniform) - 1


def _orthogonal(gauss):
    tall = gauss if gauss.shape[0] >= gauss.shape[1] else gauss.T
    Q, R = np.linalg.qr(tall)
    Q = Q * np.where(np.diag(R) < 0, -1.0, 1.0)  # the sign that makes Q uniform over rotations
    return Q if gauss.shape[0] >= gauss.shape[1] else Q.T


def initial_parameters(sizes, spec, seed, dtype):
    """W and b of every layer.

    Parameters
    ----------
    sizes : tuple of int
        n_0 .. n_L.
    spec : Spec
        A row of ``tables.INITIALISERS`` with its parameters.
    seed : int
    dtype : dtype
        What the float64 draws are rounded to.

    Returns
    -------
    list of (ndarray (n_l, n_{l-1}), ndarray (n_l, 1))

    Raises
    ------
    ValueError
        If a parameter makes weights that the dtype cannot hold.
    """
    rule = _RULES[spec.name]
    pairs = []
    with np.errstate(all="ignore"):  # no warnings or errors, whatever the caller's np.errstate is
        for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes), start=1):
            W = rule(_Draw((n_out, n_in), seed, layer), n_out, n_in, **spec.params).astype(dtype)
            if not np.isfinite(W).all():
                raise ValueError(f"init: {spec.public()!r} draws weights that are too large for {dtype}")
            pairs.append((W, np.zeros((n_out, 1), dtype)))
    return pairs
