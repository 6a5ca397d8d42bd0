"""What a copy, a pickle and a file hold of a network; each is checked before a network is made of it."""

import itertools

import numpy as np

from . import arrays, optimizers
from .settings import checked_dtype, checked_seed, checked_sizes

_MOST_STEPS = 2**62
_IN_FILES = ("sizes", "activations", "loss", "dtype", "seed", "epochs_done")  # of a header; besides, the optimizer's


def to_file(state, optimizer):
    """Header and arrays of a file: what :func:`fastnn.files.save` takes."""
    header = {key: state[key] for key in _IN_FILES}
    arrays = _named("", state["parameters"])
    if optimizer:
        header["optimizer"] = optimizers.spec(state["optimizer"])
        if state["optimizer_state"]:
            header["steps"] = state["optimizer_state"]["steps"]
            for slot, pairs in enumerate(state["optimizer_state"]["moments"], start=1):
                arrays |= _named(f"m{slot}_", pairs)
    return header, arrays


def from_file(header, arrays):
    """The state that :func:`to_file` was given, not checked yet.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a part is missing, or there is one too many.
    """
    optimizer = optimizers.from_spec(header["optimizer"]) if "optimizer" in header else None
    return {
        **{key: header[key] for key in _IN_FILES},
        "activations": [_from_json(a) for a in header["activations"]],
        "loss": _from_json(header["loss"]),
        "optimizer": optimizer,
        "optimizer_state": _optimizer_state(header, arrays, optimizer),
        "parameters": [(arrays[f"W{i}"], arrays[f"b{i}"]) for i in range(1, len(header["sizes"]))],
    }


def _named(prefix, pairs):
    """The arrays of a file, from (W, b) per layer."""
    named = {}
    for i, (W, b) in enumerate(pairs, start=1):
        named[f"{prefix}W{i}"], named[f"{prefix}b{i}"] = W, b
    return named


def _optimizer_state(header, named, optimizer):
    """The optimizer's state in a file, as engines take it; None if it holds none."""
    slots = optimizer.slots if optimizer and "steps" in header else 0
    names = [f"{T}{i}" for i in range(1, len(header["sizes"])) for T in "Wb"]
    wanted = [f"m{slot}_{name}" for slot in range(1, slots + 1) for name in names]
    found = sorted(name for name in named if name.startswith("m"))
    if found != sorted(wanted):
        raise ValueError(f"it has {len(found)} arrays of moments, wanted {', '.join(wanted) or 'none'}")
    if not slots:
        return None
    flat = iter([named[name] for name in wanted])
    moments = [[(next(flat), next(flat)) for _ in header["sizes"][1:]] for _ in range(slots)]
    return {"steps": header["steps"], "moments": moments}


def attributes(default, own):
    """The attributes of an object, as ``object.__getstate__`` gives them, that are not its class's `own`."""
    in_dict, in_slots = default if isinstance(default, tuple) else (default, None)
    return {name: value for name, value in {**(in_dict or {}), **(in_slots or {})}.items() if name not in own}


def checked(state):
    """What a pickle or a file holds, checked before any memory is taken for what it claims.

    Raises
    ------
    ValueError, TypeError
        If a part is missing, or is not what a network has there.
    """
    if not isinstance(state, dict):
        raise TypeError(f"a network's state must be a dict, got {type(state).__name__}")
    wanted = ("sizes", "activations", "loss", "dtype", "seed", "epochs_done", "parameters")
    missing = [key for key in wanted if state.get(key) is None]  # None would ask for defaults
    if missing:
        raise ValueError(f"a network's state must have {', '.join(missing)}")
    sizes, dtype, optimizer = checked_sizes(state["sizes"]), checked_dtype(state["dtype"]), state.get("optimizer")
    _check_shapes("", state["parameters"], sizes, None)
    if optimizer is not None:
        optimizers.check_unpickled(optimizer)
    attributes = state.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(name, str) for name in attributes):
        raise TypeError(f"a network's attributes must be a dict by name, got {attributes!r:.80}")
    return {
        **state,
        "sizes": sizes,
        "dtype": dtype,
        "seed": checked_seed(state["seed"]),
        "epochs_done": arrays.whole_number(state["epochs_done"], "epochs_done", 0, _MOST_STEPS),
        "attributes": attributes,
        "losses": _checked_losses(state.get("losses")),
        "optimizer_state": _checked_moments(state.get("optimizer_state"), optimizer, sizes, dtype),
    }


def _checked_losses(losses):
    """Two numbers, which only a warning hangs on; or none."""
    is_pair = isinstance(losses, tuple) and len(losses) == 2 and all(isinstance(loss, float) for loss in losses)
    return losses if is_pair else (None, None)


def _checked_moments(state, optimizer, sizes, dtype):
    """The optimizer's state as engines take it: they read its arrays where they are."""
    if state is None:
        return None
    slots = optimizer.slots if optimizer else 0
    if not isinstance(state, dict) or not {"steps", "moments"} <= set(state):
        raise ValueError(f"the optimizer's state must be a dict of steps and moments, got {state!r:.80}")
    if not isinstance(state["moments"], (list, tuple)) or len(state["moments"]) != slots or not slots:
        raise ValueError(f"the optimizer's moments must be a list of {slots} for {optimizer!r}")
    for slot, pairs in enumerate(state["moments"], start=1):
        _check_shapes(f"m{slot}_", pairs, sizes, dtype)
    return {
        "steps": arrays.whole_number(state["steps"], "steps", 1, _MOST_STEPS),
        "moments": [
            [tuple(arrays.operand(T, "a moment", 2, dtype) for T in pair) for pair in pairs]
            for pairs in state["moments"]
        ],
    }


def _check_shapes(prefix, pairs, sizes, dtype):
    """Refuse what is not an array of each layer's W and b; with a dtype of another one, too. Names are a file's."""
    layers = list(itertools.pairwise(sizes))
    if not isinstance(pairs, (list, tuple)) or len(pairs) != len(layers):
        raise ValueError(f"{prefix}W1 ..: must be a list of {len(layers)} pairs (W, b), got {pairs!r:.80}")
    for i, (pair, (n_in, n_out)) in enumerate(zip(pairs, layers, strict=True), start=1):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"{prefix}W{i}, {prefix}b{i}: must be a pair (W, b), got {pair!r:.80}")
        for name, T, shape in zip("Wb", pair, ((n_out, n_in), (n_out, 1)), strict=True):
            if not isinstance(T, np.ndarray):
                raise TypeError(f"{prefix}{name}{i} must be an array, got {type(T).__name__}")
            flat = dtype is None and name == "b" and T.shape == (n_out,)  # set_parameters takes that
            if (T.shape != shape and not flat) or dtype not in (None, T.dtype):
                raise ValueError(f"{prefix}{name}{i} is {T.dtype} {T.shape}, wanted {dtype or 'numbers'} {shape}")


def _from_json(spec):
    return tuple(spec) if isinstance(spec, list) else spec
