"""Suggestions that error messages about data end with: what to write instead. Run only when data are refused."""

import numpy as np

from . import loaders, sparse

_OF_TARGETS = ("y", "validation_data[1]")  # names of arguments


def of_container(value, name, is_item=False):
    """For an object that NumPy cannot read as numbers, or (is_item) such an item of a list; "" if nothing is known."""
    kind = type(value)
    if name == "v" and isinstance(value, (list, tuple)):
        return ": net.flat_parameters is such a vector; of a list of (W, b) write net.set_parameters(v)"
    if getattr(value, "requires_grad", False):
        return f": write {name}.detach()"
    if str(getattr(value, "dtype", "")).endswith("bfloat16"):
        return f": write {name}.float()" if hasattr(value, "float") else f": write {name}.astype('float32')"
    if getattr(getattr(value, "device", None), "type", "cpu") != "cpu":
        return f": write {name}.cpu()"
    if is_item and sparse.is_scipy(value):
        is_column = value.ndim == 2 and value.shape[0] > 1
        join = f"hstack({name})" if is_column else f"vstack({name}).T"
        return f"; sparse samples have to be one matrix: write scipy.sparse.{join}"
    if hasattr(value, "toarray"):
        return f", a sparse matrix: write {name}.toarray()"
    if getattr(value, "is_sparse", False) or repr(getattr(value, "layout", None)).startswith("torch.sparse"):
        return f", a sparse tensor: write {name}.to_dense()"
    if loaders.is_walk(value):
        return f": fit takes the DataLoader itself, without y, net.fit(loader); for all else write {_joined(name)}.T"
    if loaders.is_loader(value) or kind.__name__.endswith("DataLoader"):
        return f": fit takes it without y, net.fit({name}); for all else write {_joined(name)}.T"
    if hasattr(value, "__next__"):
        return f": write np.stack(list({name}), axis=1), where each item is one sample{_of_batches(name)}"
    if kind.__module__.partition(".")[0] == "tqdm":
        return of_container(loaders.source(value), name, is_item) or _of_batches(name)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (list, tuple)):
        is_batch = value[0] and getattr(value[0][0], "ndim", 0) == 2
        return _of_batches(name) if is_batch else ""
    if isinstance(getattr(value, "x", None), np.ndarray):  # what an optimizer of SciPy returns
        return f": write {name}.x"
    if isinstance(value, dict):
        return _of_dict(value, name, is_item)
    if hasattr(value, "timestamp"):
        return ": dates have to be numbers: write t.timestamp()"
    if isinstance(value, (set, frozenset)):
        return f", which has no order, as a list has: write list({name})"
    return ""


def _joined(name):
    """What takes X, or y, of all batches; without an axis batches of rows are joined."""
    return f"np.concatenate([batch[{int(name in _OF_TARGETS)}] for batch in {name}])"


def _of_batches(name):
    start = f"fit takes them without y, net.fit({name}); for all else " if name == "X" else ""
    return f"; of batches (X, y): {start}write {_joined(name)[:-1]}, axis=-1)"


def _of_dict(value, name, is_item):
    if "weight" in name:
        return of_text("", name)
    if hasattr(value, "data"):  # scikit-learn's data sets
        return f": write {name}.data.T"
    if is_item:
        return f": write pandas.DataFrame({name}).T"
    return f": write np.stack(list({name}.values())), where each entry is one feature"


def of_text(text, name):
    """For a string instead of an array."""
    if name in ("X", "y"):
        return f": write np.loadtxt({text!r:.50}, delimiter=',').T"
    if "weight" in name:
        of_fit = ', or class_weight="balanced" in fit' if text == "balanced" else ""
        return f": one number per sample is needed: write np.array([1.0, 5.0])[y] for one weight per class{of_fit}"
    return ""


def of_dtype(dtype, name):
    """For an array with a dtype other than real numbers: complex, dates, structured or raw bytes."""
    if dtype.kind == "c":
        return f": write {name}.real, or np.abs({name})"
    if dtype.kind == "M":
        return f": write np.asarray({name}, 'M8[s]').astype(float) / 86400 (days), and scale the result"
    if dtype.kind == "m":
        return f": write {name} / np.timedelta64(1, 'D'), in days"
    if dtype.kind == "V" and dtype.names:
        return f": write np.stack([{name}[field] for field in {name}.dtype.names])"
    if dtype.kind == "V":
        return f": write {name}.astype('float32')"
    return ""


def of_strings(name):
    """For an array of strings."""
    if name in _OF_TARGETS:
        return f": write {_encoded(name)} for codes"
    return f": encode them first: digits by np.asarray({name}, float), classes as one row of 0 and 1 for each class"


def _encoded(name):
    """A line of Python that makes codes of `name`, an expression; np.unique takes lists and the like, too."""
    plain = _plain(name)
    return f"classes, {plain if plain.isidentifier() else 'codes'} = np.unique({plain}, return_inverse=True)"


def _plain(name):
    """The expression without the np.asarray() that other advice needs."""
    return name.removeprefix("np.asarray(").removesuffix(")")


def turned(name):
    """``X.T``; for an object without .T, such as a list, ``np.asarray(X).T`` as well."""
    plain = _plain(name)
    return f"{plain}.T" + (f", or for a list {name}.T" if plain != name else "")


def of_features(X, n_in, name):
    """For an array of numbers whose shape is not (n_in, m); `name` is the expression for it."""
    if X.ndim == 1 and X.shape[0] == n_in:  # a sparse array has no len()
        return f"; one sample is a column: write {name}[:, None]"
    if X.ndim == 1 and n_in == 1:
        return f"; samples of one feature are a row: write {name}[None, :]"
    if X.ndim == 2 and X.shape[1] == n_in:
        return f"; did you mean {turned(name)}?"
    if X.ndim > 2 and np.prod(X.shape[1:]) == n_in:
        return f"; write {name}.reshape(len({name}), -1).T"
    if name.endswith(("X", "X)")) and X.ndim == 2 and X.shape[0] != n_in and min(X.shape) > 0:
        return f"; for {X.shape[0]} features write Network([{X.shape[0]}, ...])"
    return ""


def of_shape(y, n_out, m, name, loss=None):
    """For targets whose shape is neither (n_out, m) nor, for class codes, (m,).

    `loss` is the name of one whose targets have n_out rows though the network has another number of outputs.
    """
    if y.shape == (m, n_out):
        return f": columns are samples; did you mean {turned(name)}?"
    if loss and y.ndim and y.shape[-1] == m:
        return {
            "quantile": ": the outputs are the levels of one target",
            "gaussian_nll": ": half of the outputs are means, each of one row of y; the others are log-variances",
        }[loss]
    if y.ndim == 2 and y.shape in ((m, 1), (1, m)) and n_out > 1:
        return f": class codes must be 1-D; write {name}.ravel()"
    if y.ndim == 2 and y.shape[1] == m:
        return f": {y.shape[0]} rows need {y.shape[0]} outputs; write Network([..., {y.shape[0]}])"
    if y.ndim == 2 and y.shape[0] == m:
        return f": for {y.shape[1]} targets per sample write {name}.T and Network([..., {y.shape[1]}])"
    if y.ndim and m in y.shape:
        return ""
    return f": X has {m} samples (columns), {name} has {y.shape[-1] if y.ndim else 'none'}"


def of_codes(y, n_out, name):
    """For integers that are not the codes 0 .. n_out - 1."""
    found = np.unique(y)
    if len(found) > n_out:
        return f": {len(found)} classes need {len(found)} outputs; write Network([..., {len(found)}])"
    if found[0] >= 1 and found[-1] == n_out:
        return f": write {name} - 1"
    if n_out == 2 and found.tolist() == [-1, 1]:
        return f": write ({name} + 1) // 2"
    return f": for codes write {_encoded(name)}, once, of all the labels"


def of_values(y, n_out, loss, name):
    """For targets whose values a loss does not accept."""
    if loss == "poisson":
        return ': counts, or rates; for a regression of any values write Network(sizes, loss="mse")'
    finite = y[np.isfinite(y)] if y.dtype.kind == "f" else y.ravel()
    found = np.unique(finite)
    regression = 'for a regression write Network(sizes, loss="mse")'
    if n_out > 1 or not len(found) or (found != np.floor(found)).any():
        return f"; {regression}"
    if found.tolist() == [-1, 1]:
        return f": write ({name} + 1) // 2"
    if found.tolist() == [1, 2]:
        return f": write {name} - 1"
    if found.tolist() == [0, 255]:
        return f": write {name} > 0"
    if 2 < len(found) <= 100 and len(found) < len(finite):
        return f"; {len(found)} classes need {len(found)} outputs: write Network([..., {len(found)}]); {regression}"
    return f"; {regression}"
