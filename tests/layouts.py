"""Arrays in every memory layout that a user may hand over."""

import numpy as np

LAYOUTS = ["C", "F", "strided", "strided F", "reversed", "reversed F", "offset", "offset F", "unaligned"]
SENTINEL = 7.0  # what lies around a view


def frame(shape, dtype, layout):
    """(view, base): a view of that shape and layout, and the memory that it is a part of."""
    n, m = shape
    if layout.endswith("F"):
        view, base = frame((m, n), dtype, layout[:-1].strip() or "C")
        return view.T, base
    if layout == "strided":
        base = np.full((2 * n + 1, 3 * m + 2), SENTINEL, dtype)
        return base[1::2, 2::3][:n, :m], base
    if layout == "offset":  # a row longer than the view, and no element where a vector would start
        base = np.full(n * (m + 3) + 1, SENTINEL, dtype)
        return base[1:].reshape(n, m + 3)[:, :m], base
    if layout == "unaligned":
        raw = np.zeros(n * m * np.dtype(dtype).itemsize + 1, np.uint8)
        return raw[1:].view(dtype).reshape(n, m), raw[:1]
    base = np.full((n, m), SENTINEL, dtype)
    return (base[::-1, ::-1] if layout == "reversed" else base), base


def laid_out(array, layout):
    """A read-only equal of the 2-D `array` in that layout."""
    view, _ = frame(array.shape, array.dtype, layout)
    view[...] = array
    view.flags.writeable = False
    return view


def taken_out(view, base):
    """What was written into a frame's view; nothing may have been written around it."""
    result = view.copy()
    view[...] = SENTINEL
    if base.dtype != np.uint8:
        assert (base == SENTINEL).all(), "written outside of out"
    return result
