"""to_c: a network as one C file and its header."""

import copy
import os
import re

import numpy as np

from .. import filesystem
from .._version import __version__
from ..settings import check_flag, checked_dtype
from . import c_functions as c
from . import c_int8, plain_layers


def to_c(net, path, *, dtype=None, name="predict", main=False, quantize=None, calibration=None):
    """Write a network as one file of C99 and its header.

    ``void predict(const float *x, float *y)`` computes the outputs y, n_L numbers, of one sample x, n_0 numbers, which
    must not overlap. It uses no heap, no static memory that changes, and of the C library only exp, tanh, log, log1p
    and erf, as far as the network needs them. Standardisation is part of it; dropout has no effect, and the loss is
    not part of it. The file compiles without warnings under ``gcc -std=c99 -Wall -Wextra -Wpedantic -Wconversion``.

    Parameters
    ----------
    net : Network
        Or a fitted estimator that has one.
    path : path-like
        The C file, whose name ends in ".c". The header, ending in ".h", is written beside it.
    dtype : {"float32", "float64"}, optional
        float or double, of numbers and results. Default: the network's dtype.
    name : str
        Of the function: "predict", or a name that begins so and goes on with "_", for programs with several networks.
    main : bool
        True: with a ``main`` that reads rows from stdin, each a line of n_0 numbers that white space or commas
        separate, and writes the outputs.
    quantize : {None, "int8"}
        "int8": weights and the inputs of layers are integers of 8 bits, sums of 32 bits; each row of W has a scale of
        its own, and each layer's input one scale. Biases, activations and norms stay numbers of `dtype`.
    calibration : array_like, (n_0, m), with `quantize`
        Samples such as those to come, by which the scales of the layers' inputs are chosen.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or a weight is not finite; no file is written then.
    OSError
        If a file cannot be written.

    Notes
    -----
    The results differ from `predict` by no more than the two backends differ from each other, those of "int8" by the
    rounding to 255 values. B. Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", 2018. The number of bytes of constants and of the stack is in the C file.

    Examples
    --------
    >>> import os, tempfile
    >>> net = Network([2, 3, 1], seed=0)
    >>> folder = tempfile.mkdtemp()
    >>> to_c(net, os.path.join(folder, "model.c"), main=True)
    >>> sorted(os.listdir(folder))
    ['model.c', 'model.h']
    """
    path, stem = _checked_path(path)
    if not isinstance(name, str) or not re.fullmatch(r"predict(_[A-Za-z0-9_]{1,50})?", name):
        raise ValueError(f'name must be "predict", or begin with "predict_" and be a name in C, got {name!r:.80}')
    check_flag("main", main)
    if quantize not in (None, "int8"):
        raise ValueError(f'quantize must be None or "int8", got {quantize!r:.80}')
    if (quantize is None) != (calibration is None):
        raise ValueError('calibration goes with quantize="int8", and is needed there')
    net = copy.copy(net)  # one state for weights and calibration
    plain = plain_layers.without_batch_norm(plain_layers.of_network(net, "to_c"))
    plain = plain._replace(dtype=plain.dtype if dtype is None else checked_dtype(dtype))
    _check_finite(plain)
    program = Program(plain.dtype, plain.sizes)
    if quantize:
        c_int8.write_layers(program, plain, c_int8.ranges(getattr(net, "network_", net), calibration))
    else:
        write_layers(program, plain)
    if main:
        program.add_main(name)
    source, header = program.source(name, stem), program.header(name)
    filesystem.write(f"{path[:-2]}.h", header.encode())
    filesystem.write(path, source.encode())


def _checked_path(path):
    """The path as str, and the name of its file without the suffix."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be that of a C file, got {path!r:.80}")
    path = os.fsdecode(path)
    stem, suffix = os.path.splitext(os.path.basename(path))
    if suffix != ".c" or not stem:
        raise ValueError(f'path must name a file that ends in ".c", got {path!r:.200}')
    if not stem.isprintable() or re.search(r'["\\?*/]', stem):
        raise ValueError(f"the name of the C file is written into an #include, which cannot hold {stem!r:.200}")
    return path, stem


def _check_finite(plain):
    for i, layer in enumerate(plain.layers, start=1):
        named = {"W": layer.W, "b": layer.b} | (layer.norm._asdict() if layer.norm else {})
        for name, T in named.items():
            if isinstance(T, np.ndarray) and not np.isfinite(T).all():
                raise ValueError(f"{name} of layer {i} holds numbers that are not finite; C has no constants for them")


def write_layers(program, plain):
    """The body of predict with weights of `plain.dtype`."""
    centre, plain = plain_layers.centred(plain)
    plain = plain.in_dtype(plain.dtype)
    if centre is not None:
        program.add_constant("centre", centre)
        program.into_buffer(len(centre))
        program.add_line(f"for (size_t i = 0; i < {len(centre)}; i++)\n    {program.here}[i] = x[i] - centre[i];")
    for i, layer in enumerate(plain.layers, start=1):
        n_out, n_in = layer.W.shape
        program.add_function(c.LINEAR)
        program.add_constant(f"W{i}", layer.W)
        program.add_constant(f"b{i}", layer.b)
        before = program.here
        program.into_buffer(n_out, is_last=i == len(plain.layers))
        program.add_line(f"linear(W{i}, b{i}, {n_in}, {n_out}, {before}, {program.here});")
        program.add_rest(i, layer)


class Program:
    """The C text of a network as it is put together.

    `here` is the name of the array with the numbers so far.
    """

    def __init__(self, dtype, sizes):
        self._dtype, self._sizes = dtype, sizes
        self._functions, self._constants, self._lines, self._buffers = [], [], [], {}
        self._bytes, self._main = 0, ""
        self.includes = {"math.h", "stddef.h"}
        self.here = "x"

    def into_buffer(self, n, is_last=False):
        """The numbers go into y, or into that of two buffers where they are not now."""
        self.here = "y" if is_last else "a" if self.here != "a" else "z"
        if not is_last:
            self.add_buffer(self.here, n)

    def add_buffer(self, name, n, type_name="real"):
        """An array of predict's, with room for n numbers at least."""
        self._buffers[name] = type_name, max(n, self._buffers.get(name, (type_name, 0))[1])

    def add_function(self, text):
        """A function, once."""
        if text not in self._functions:
            self._functions.append(text)

    def add_constant(self, name, T):
        """An array of constants: reals, or integers of 8 or 32 bits."""
        T = T.ravel()
        if T.dtype.kind == "f":
            T = plain_layers.cast(T, self._dtype, f"{name} in the C file")
            type_name, numbers = "real", [self.number(x) for x in T.tolist()]
        else:
            type_name, numbers = f"{T.dtype.name}_t", map(str, T.tolist())
        self._bytes += T.nbytes
        self._constants.append(f"static const {type_name} {name}[{T.size}] = {{\n{_wrapped(numbers)}\n}};\n")

    def add_line(self, text):
        """A statement of predict."""
        self._lines.append(f"  {text}")

    def number(self, x):
        """A constant that is read as exactly x, which is a number of the dtype."""
        mantissa, exponent = float(x).hex().split("p")
        return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}{'f' if self._dtype == np.float32 else ''}"

    def add_rest(self, i, layer):
        """Norm and activation of the layer i, in place."""
        n, (name, params) = len(layer.b), layer.activation
        if layer.norm:
            self.add_function(c.LAYER_NORM)
            self.add_constant(f"gamma{i}", layer.norm.gamma)
            self.add_constant(f"beta{i}", layer.norm.beta)
            self.add_line(f"layer_norm(gamma{i}, beta{i}, {n}, {self.here});")
        if name == "identity":
            return
        if name == "softmax":
            self.add_function(c.SOFTMAX)
            self.add_line(f"softmax({self.here}, {n});")
            return
        if name == "gelu":
            name, params = "gelu_tanh" if params["approximate"] else "gelu", {}
        for each in (*c.HELPERS.get(name, ()), name):
            self.add_function(plain_layers.known(c.ELEMENTWISE, each, "to_c"))
        more = "".join(f", {self.number(self._dtype.type(value))}" for value in params.values())
        self.add_line(
            f"for (size_t i = 0; i < {n}; i++)\n    {self.here}[i] = {name}({self.here}[i]{more});",
        )

    def add_main(self, name):
        """A main that reads rows."""
        self.includes.add("stdio.h")
        read, write = ("%f", "%.9g") if self._dtype == np.float32 else ("%lf", "%.17g")
        self._main = c.MAIN.format(n_in=self._sizes[0], n_out=self._sizes[-1], name=name, read=read, write=write)

    @property
    def _real(self):
        return "float" if self._dtype == np.float32 else "double"

    def _title(self):
        return f"A network of {'-'.join(map(str, self._sizes))} units, written by fastnn {__version__}."

    def source(self, name, stem):
        """The C file."""
        stack = sum(n * {"real": self._dtype.itemsize}.get(kind, 1) for kind, n in self._buffers.values())
        arrays = "".join(f"  {kind} {each}[{n}];\n" for each, (kind, n) in self._buffers.items())
        start = (
            f"/* {self._title()}\n   {self._bytes} bytes of constants, {stack} bytes of arrays on the stack. */\n"
            f'#include "{stem}.h"\n\n'
        )
        parts = [
            "\n".join(f"#include <{each}>" for each in sorted(self.includes)),
            f"\ntypedef {self._real} real;\n",
            *self._constants,
            *self._functions,
            f"void {name}(const {self._real} *x, {self._real} *y)\n{{\n{arrays}" + "\n".join(self._lines) + "\n}",
        ]
        text = "\n".join(parts) + "\n" + self._main
        if self._real == "float":
            text = re.sub(r"\b(exp|tanh|log|log1p|erf)\(", r"\1f(", text)
        return start + text

    def header(self, name):
        """The header."""
        guard, n_in, n_out = f"FASTNN_{name.upper()}_H", self._sizes[0], self._sizes[-1]
        return f"""\
/* {self._title()} */
#ifndef {guard}
#define {guard}

#define {name.upper()}_INPUTS {n_in}
#define {name.upper()}_OUTPUTS {n_out}

#ifdef __cplusplus
extern "C" {{
#endif

/* The outputs y[{n_out}] of one sample x[{n_in}]; they must not overlap. */
void {name}(const {self._real} *x, {self._real} *y);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _wrapped(numbers, width=116):
    """The numbers, separated by commas, in lines of at most `width` characters."""
    lines, line = [], " "
    for number in numbers:
        if len(line) + len(number) + 2 > width:
            lines.append(line)
            line = " "
        line += f" {number},"
    return "\n".join([*lines, line])
