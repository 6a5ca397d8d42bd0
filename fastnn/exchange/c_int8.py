"""The layers of a C file with integers of 8 bits: to_c(quantize="int8").

A layer's input a is stored as q = round(a / s) + zero, one s and zero for all units; row i of W as round(W / s_i). So
Z = s s_i sum(W q) - s s_i zero sum(W) + b. B. Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", 2018.
"""

import numpy as np

from . import c_functions as c
from . import plain_layers

_COLUMNS = 1024  # samples whose activations are in memory at once
_MOST_INPUTS = 2**31 // (256 * 127)  # of a layer: its sums stay within 32 bits


def ranges(net, X):
    """For each layer the least and the greatest number that it gets as input from samples X (n_0, m), 0 included."""
    X = np.asarray(X)
    if X.dtype.kind not in "fiub" or X.ndim != 2 or X.shape[0] != net.sizes[0] or not X.shape[1]:
        told = "; did you mean calibration.T?" if X.ndim == 2 and X.shape[1] == net.sizes[0] else ""
        raise ValueError(f"calibration must be samples ({net.sizes[0]}, m) of numbers, got {X.dtype} {X.shape}{told}")
    found = np.zeros((len(net.sizes) - 1, 2))
    for k in range(0, X.shape[1], _COLUMNS):
        if not np.isfinite(X[:, k : k + _COLUMNS]).all():
            raise ValueError("calibration holds numbers that are not finite")
        _, caches = net.forward(X[:, k : k + _COLUMNS], cache=True)
        for i, cache in enumerate(caches):
            found[i] = min(found[i, 0], cache["A_prev"].min()), max(found[i, 1], cache["A_prev"].max())
    if not np.isfinite(found).all():
        raise ValueError("calibration gives activations that are not finite")
    return found


def write_layers(program, plain, found):
    """The body of predict; `found` are the ranges."""
    program.includes.add("stdint.h")
    program.add_function(c.QUANTISED)
    plain = _standardised(program, plain)
    plain.in_dtype(plain.dtype)  # refuses numbers that are too large
    for i, (layer, (low, high)) in enumerate(zip(plain.layers, found, strict=True), start=1):
        n_out, n_in = layer.W.shape
        if n_in > _MOST_INPUTS:
            raise ValueError(f"layer {i} has {n_in} inputs; sums of 32 bits hold {_MOST_INPUTS} products of int8")
        s = max((high - low) / 255, float(np.finfo(plain.dtype).tiny)) if high > low else 1.0  # 1 / s must be finite
        zero = round(-128 - low / s)
        scales = np.abs(layer.W.astype(np.float64)).max(axis=1) / 127
        scales[scales == 0] = 1.0
        W = np.rint(layer.W / scales[:, np.newaxis]).astype(np.int8)
        program.add_constant(f"W{i}", W)
        program.add_constant(f"start{i}", -zero * W.sum(axis=1, dtype=np.int32))
        program.add_constant(f"scale{i}", s * scales)
        program.add_constant(f"b{i}", layer.b)
        program.add_buffer("q", n_in, "int8_t")
        program.add_line(f"quantised({program.here}, {n_in}, {program.number(plain.dtype.type(1 / s))}, {zero}, q);")
        program.into_buffer(n_out, is_last=i == len(plain.layers))
        program.add_line(f"linear_int8(W{i}, start{i}, scale{i}, b{i}, {n_in}, {n_out}, q, {program.here});")
        program.add_rest(i, layer)


def _standardised(program, plain):
    """Standardise x in numbers of the dtype, because features of all sizes would share one scale of 8 bits."""
    if plain.x_mean is None:
        return plain
    inverse = 1 / plain_layers.scale_within(plain)
    centre, plain = plain_layers.centred(plain, has_centre=True)
    first = plain.layers[0]._replace(W=plain.layers[0].W / inverse)
    n = len(centre)
    program.add_constant("centre", centre)
    program.add_constant("inverse_scale", inverse)
    program.into_buffer(n)
    here = f"{program.here}[i] = (x[i] - centre[i]) * inverse_scale[i];"
    program.add_line(f"for (size_t i = 0; i < {n}; i++)\n    {here}")
    return plain._replace(layers=[first, *plain.layers[1:]])
