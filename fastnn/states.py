"""The saved state of a network, in copies, pickles and files: conversion to and from files, and all checks of it."""

import math

import numpy as np

from . import arrays, norms, optimizers, standardisation, tables
from .schedules import Plateau
from .settings import checked_dropout, checked_dtype, checked_seed, checked_sizes, checked_trainable
from .tables import real_parameter

_MOST_STEPS = 2**62
_STATISTICS = ("mean", "var")
_IN_FILES = ("sizes", "activations", "loss", "dtype", "seed", "epochs_done")  # keys of a header; "optimizer" is extra


def to_file(state, optimizer):
    """Header and arrays of a file: what :func:`fastnn.files.save` takes."""
    header = {key: state[key] for key in _IN_FILES} | {"updates": state["updates"]}
    if any(state["dropout"]):
        header["dropout"] = state["dropout"]
    if not all(state["trainable"]):
        header["trainable"] = state["trainable"]
    arrays = _named("", state["parameters"])
    if any(state["norm"]):
        header["norm"] = state["norm"]
        for i, pair in enumerate(state["running_statistics"], start=1):
            arrays |= {f"{name}{i}": T for name, T in zip(_STATISTICS, pair or (), strict=False)}
    if state["standardisation"]:
        found = zip(standardisation.Standardisation._fields, state["standardisation"], strict=True)
        found = {name: T for name, T in found if T is not None}
        header["standardised"], arrays = list(found), arrays | found
    if optimizer:
        header["optimizer"] = optimizers.spec(state["optimizer"])
        kept = state["optimizer_state"]
        if kept:
            header["steps"], header["optimizer_epochs"] = kept["steps"], kept["epochs"]
            for slot, pairs in enumerate(kept["moments"], start=1):
                arrays |= _named(f"m{slot}_", pairs)
            if "average" in kept:
                arrays |= _named("average_", kept["average"][1])
        if kept and kept["plateau"]:
            header["plateau"] = kept["plateau"]
    return {"format": _format(header), **header}, arrays


# What release 0.1 knew: it reads format 1. A file that it could not run, or would go on with in another way, is 2.
_FIRST_KEYS = {*_IN_FILES, "optimizer", "steps"} | {"updates", "optimizer_epochs"}  # it ignores the last two
_FIRST_NAMES = {"identity", "sigmoid", "tanh", "relu", "softmax", "binary_cross_entropy", "cross_entropy", "mse"}
_FIRST_SETTINGS = {
    "SGD": {"lr", "momentum", "nesterov", "weight_decay"},
    "Adam": {"lr", "betas", "eps", "weight_decay"},
    "AdamW": {"lr", "betas", "eps", "weight_decay"},
}


def _format(header):
    kind, settings = header.get("optimizer", ("SGD", {}))
    is_first = (
        header.keys() <= _FIRST_KEYS
        and all(isinstance(name, str) and name in _FIRST_NAMES for name in (*header["activations"], header["loss"]))
        and settings.keys() <= _FIRST_SETTINGS.get(kind, set())
        and isinstance(settings.get("lr", 0.0), float)
    )
    return 1 if is_first else 2


def from_file(header, arrays):
    """The state that a file holds, in the form that :func:`to_file` takes; it is not checked yet.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a part is missing, or a moment is in the file that does not belong there.
    """
    optimizer = optimizers.from_spec(header["optimizer"]) if "optimizer" in header else None
    norm = norms.checked_norm(header.get("norm"), len(header["sizes"]) - 1)
    names = _names(norm)
    return {
        **{key: header[key] for key in _IN_FILES},
        # Release 0.1 wrote none of these.
        **{key: header[key] for key in ("updates", "dropout", "trainable", "norm") if key in header},
        "activations": [_from_json(a) for a in header["activations"]],
        "loss": _from_json(header["loss"]),
        "standardisation": _standardisation(header.get("standardised"), arrays),
        "optimizer": optimizer,
        "optimizer_state": _optimizer_state(header, arrays, optimizer, names),
        "parameters": [tuple(arrays[name] for name in layer) for layer in names],
        "running_statistics": [
            tuple(arrays[f"{name}{i}"] for name in _STATISTICS) if kind == "batch" else None
            for i, kind in enumerate(norm, start=1)
        ],
    }


def _standardisation(names, named):
    """The standardisation of a file, not checked yet; None if it has none."""
    if names is None:
        return None
    return tuple(named[name] if name in names else None for name in standardisation.Standardisation._fields)


def _names(norm):
    """For each layer the names that its parameters have in a file, such as W1 and b1."""
    return [[f"{T}{i}" for T in norms.NAMES[: 4 if kind else 2]] for i, kind in enumerate(norm, start=1)]


def _named(prefix, layers):
    """Name -> array for a file, such as W1 and b1, from the parameters of each layer."""
    named = {}
    for i, layer in enumerate(layers, start=1):
        named |= {f"{prefix}{T}{i}": array for T, array in zip(norms.NAMES, layer, strict=False)}
    return named


def _optimizer_state(header, named, optimizer, names):
    """The optimizer's state from a file, in the form of Engine.optimizer_state(); None if the file has none."""
    slots = optimizer.slots if optimizer and "steps" in header else 0
    wanted = [f"m{slot}_{name}" for slot in range(1, slots + 1) for layer in names for name in layer]
    found = sorted(name for name in named if name.startswith("m") and not name.startswith("mean"))
    if found != sorted(wanted):
        raise ValueError(f"it has {len(found)} arrays of moments, wanted {', '.join(wanted) or 'none'}")
    average, epochs = optimizer.average if optimizer and "steps" in header else 0.0, header.get("optimizer_epochs")
    if not slots and not average and epochs is None:
        return None
    flat = iter([named[name] for name in wanted])
    moments = [[tuple(next(flat) for _ in layer) for layer in names] for _ in range(slots)]
    state = {"steps": header["steps"], "moments": moments, "epochs": epochs or 0, "plateau": header.get("plateau")}
    if average:
        state["average"] = average, [tuple(named[f"average_{name}"] for name in layer) for layer in names]
    return state


def attributes(default, own):
    """The attributes of the user: those in `default`, the result of ``object.__getstate__``, that are not in `own`."""
    in_dict, in_slots = default if isinstance(default, tuple) else (default, None)
    return {name: value for name, value in {**(in_dict or {}), **(in_slots or {})}.items() if name not in own}


def checked(state):
    """Return the state of a pickle or a file, checked before memory is allocated for the sizes in it.

    Raises
    ------
    ValueError, TypeError
        If a part is missing or invalid.
    """
    if not isinstance(state, dict):
        raise TypeError(f"a network's state must be a dict, got {type(state).__name__}")
    wanted = ("sizes", "activations", "loss", "dtype", "seed", "epochs_done", "parameters")
    missing = [key for key in wanted if state.get(key) is None]  # None would ask for defaults
    if missing:
        raise ValueError(f"a network's state must have {', '.join(missing)}")
    sizes, dtype, optimizer = checked_sizes(state["sizes"]), checked_dtype(state["dtype"]), state.get("optimizer")
    norm = norms.checked_norm(state.get("norm"), len(sizes) - 1)
    _check_shapes("", state["parameters"], norms.shapes(sizes, norm), None)
    statistics = state.get("running_statistics")
    if "batch" in norm or statistics is not None:
        statistics = norms.checked_statistics(statistics, sizes, norm, dtype)
    if optimizer is not None:
        optimizers.check_unpickled(optimizer)
    standards = state.get("standardisation")
    if standards is not None:
        loss = tables.OwnLoss(None) if state["loss"] == tables.OwnLoss.name else state["loss"]
        activations, loss = tables.network_specs(sizes, state["activations"], loss)
        standards = standardisation.checked(standards, sizes, activations[-1].name, loss.name, dtype)
    attributes = state.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(name, str) for name in attributes):
        raise TypeError(f"a network's attributes must be a dict with names as keys, got {attributes!r:.80}")
    return {
        **state,
        "sizes": sizes,
        "dtype": dtype,
        "seed": checked_seed(state["seed"]),
        "epochs_done": arrays.whole_number(state["epochs_done"], "epochs_done", 0, _MOST_STEPS),
        "updates": arrays.whole_number(state.get("updates", 0), "updates", 0, _MOST_STEPS),
        "dropout": list(checked_dropout(state.get("dropout", 0.0), len(sizes) - 1)[:-1]),
        "trainable": list(checked_trainable(state.get("trainable", [True] * (len(sizes) - 1)), len(sizes) - 1)),
        "norm": list(norm[:-1]),
        "running_statistics": statistics,
        "standardisation": standards,
        "attributes": attributes,
        "losses": _checked_losses(state.get("losses")),
        "optimizer_state": _checked_moments(state.get("optimizer_state"), optimizer, norms.shapes(sizes, norm), dtype),
    }


def _checked_losses(losses):
    """(first loss, last loss), or (None, None) if they are invalid: only a DataWarning depends on them."""
    is_pair = isinstance(losses, tuple) and len(losses) == 2 and all(isinstance(loss, float) for loss in losses)
    return losses if is_pair else (None, None)


def _checked_moments(state, optimizer, shapes, dtype):
    """The optimizer's state, checked and converted to arrays that an engine can read in place; None for None."""
    if state is None:
        return None
    slots, share = (optimizer.slots, optimizer.average) if optimizer else (0, 0.0)
    if not isinstance(state, dict) or not {"steps", "moments"} <= set(state):
        raise ValueError(f"the optimizer's state must be a dict of steps and moments, got {state!r:.80}")
    if not isinstance(state["moments"], (list, tuple)) or len(state["moments"]) != slots or not optimizer:
        raise ValueError(f"the optimizer's moments must be a list of {slots} for {optimizer!r}")
    for slot, pairs in enumerate(state["moments"], start=1):
        _check_shapes(f"m{slot}_", pairs, shapes, dtype)
    clean = {
        "steps": arrays.whole_number(state["steps"], "steps", 1, _MOST_STEPS),
        "moments": [_operands(pairs, dtype) for pairs in state["moments"]],
        "epochs": arrays.whole_number(state.get("epochs", 0), "epochs", 0, _MOST_STEPS),
        "plateau": _checked_plateau(state.get("plateau"), optimizer),
    }
    if ("average" in state) != bool(share):
        raise ValueError(f"the optimizer's state must have an average if, and only if, {optimizer!r} has one")
    if share:
        if not isinstance(state["average"], tuple) or len(state["average"]) != 2 or state["average"][0] != share:
            raise ValueError(f"the optimizer's average must be a pair ({share}, averages)")
        _check_shapes("average_", state["average"][1], shapes, dtype)
        clean["average"] = share, _operands(state["average"][1], dtype)
    return clean


def _operands(pairs, dtype):
    return [tuple(arrays.operand(T, "a moment", 2, dtype) for T in pair) for pair in pairs]


def _checked_plateau(plateau, optimizer):
    """[best, waited, factor] of a Plateau, checked; None for None."""
    if plateau is None:
        return None
    is_of_plateau = isinstance(plateau, (list, tuple)) and len(plateau) == 3 and type(optimizer.lr) is Plateau
    if not is_of_plateau or not isinstance(plateau[0], float) or math.isnan(plateau[0]):
        raise ValueError(f"plateau must be [best, waited, factor] of a Plateau, got {plateau!r:.80}")
    waited = arrays.whole_number(plateau[1], "plateau[1]", 0, optimizer.lr.patience)
    return [plateau[0], waited, real_parameter(plateau[2], "plateau[2]", high=1.0)]


def _check_shapes(prefix, given, shapes, dtype):
    """Check that `given` has arrays of the right shapes for each layer, and of `dtype` unless it is None.

    Messages use the names that arrays have in a file, such as m1_W1.
    """
    if not isinstance(given, (list, tuple)) or len(given) != len(shapes):
        raise ValueError(f"{prefix}W1 ..: must be a list of {len(shapes)} pairs (W, b), got {given!r:.80}")
    for i, (layer, wanted) in enumerate(zip(given, shapes, strict=True), start=1):
        names = [f"{prefix}{T}{i}" for T in norms.NAMES[: len(wanted)]]
        if not isinstance(layer, (list, tuple)) or len(layer) != len(wanted):
            what = f"a tuple ({', '.join(norms.NAMES[: len(wanted)])})"
            raise ValueError(f"{', '.join(names)}: must be {what}, got {layer!r:.80}")
        for name, T, shape in zip(names, layer, wanted, strict=True):
            if not isinstance(T, np.ndarray):
                raise TypeError(f"{name} must be an array, got {type(T).__name__}")
            # set_parameters accepts columns as vectors
            flat = dtype is None and not name.startswith(f"{prefix}W") and T.shape == shape[:1]
            if (T.shape != shape and not flat) or dtype not in (None, T.dtype):
                raise ValueError(f"{name} is {T.dtype} {T.shape}, wanted {dtype or 'numbers'} {shape}")


def _from_json(spec):
    return tuple(spec) if isinstance(spec, list) else spec
