"""Each function of fastnn.kernels, on every instruction set of this machine, against the NumPy
expression that it replaces: the same inputs, outputs given where the function takes them, results
compared before anything is timed. README.md beside this file says how to run it.
"""

import pytest

from expressions import CASES, Data, check
from fastnn import backend as backends

COMPILED = backends.default if backends.default.NAME == "compiled" else None
VARIANTS = ["expression", *(COMPILED.isas() if COMPILED else ["numpy"])]
SHAPES = [(32, 64, 32), (128, 784, 128), (10, 128, 128), (512, 512, 256), (256, 17, 1)]  # n_out, n_in, m


@pytest.fixture(params=VARIANTS)
def variant(request):
    """The NumPy expression, or fastnn.kernels with one instruction set forced."""
    if COMPILED is None or request.param == "expression":
        yield request.param
        return
    before = COMPILED.current_isa()
    COMPILED.force_isa(request.param)
    yield request.param
    COMPILED.force_isa(before)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernel(benchmark, variant, case, shape, dtype):
    benchmark.group = f"{case} {'x'.join(map(str, shape))} {dtype}"
    data, (call, expression) = Data(shape, dtype), CASES[case]
    check(case, data, dtype)
    benchmark(expression if variant == "expression" else call, data)
