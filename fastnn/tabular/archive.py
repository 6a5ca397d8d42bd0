"""A TabularModel in a file: that of its network, whose header has one more entry, "table"; and all checks of it.

So :func:`fastnn.load` reads the network of such a file, too.
"""

import math

from .encoding import Categories, Numbers
from .targets import Classes, Values

FORMAT = 2  # of the whole file; release 0.1 reads 1, and would take the network for all there is
_KINDS = ("text", "number", "boolean")


def to_header(fitted, settings):
    """The entry of the header.

    Parameters
    ----------
    fitted : Fitted
    settings : dict
        Of the model; JSON can represent them.
    """
    target = fitted.target
    of_target = {"name": fitted.target_name}
    if isinstance(target, Classes):
        of_target |= {"labels": list(target.labels), "kind": target.kind, "most_frequent": target.most_frequent}
    else:
        of_target |= {"mean": target.mean}
    return {
        "columns": [{"is": type(each).__name__, **each._asdict()} for each in fitted.encoders],
        "target": of_target,
        "score": fitted.score,
        "rows": fitted.rows,
        "tested_rows": fitted.tested_rows,
        "notes": fitted.notes,
        "has_header": fitted.has_header,
        "settings": settings,
    }


def from_header(header):
    """Encoders, target and the rest from the entry of a header, checked.

    Returns
    -------
    dict
        encoders, target_name, target, score, rows, tested_rows, notes, has_header, settings.

    Raises
    ------
    ValueError
        If a part is missing or is not what :func:`to_header` writes.
    """
    _check("table", header, dict)
    columns = _part(header, "columns", list)
    encoders = [_encoder(_checked("a column", column, dict)) for column in columns]
    of_target = _part(header, "target", dict)
    names = [encoder.name for encoder in encoders] + [_part(of_target, "name", str)]
    if len(set(names)) < len(names) or not encoders:
        raise ValueError("its columns must have different names, and there must be one")
    target, score = _target(of_target), _part(header, "score", dict)
    if score and set(score) != set(target.scores):
        raise ValueError(f"its scores must be {', '.join(target.scores)}, got {', '.join(score):.80}")
    for value in score.values():
        _check("a score", value, float)
    return {
        "encoders": encoders,
        "target_name": of_target["name"],
        "target": target,
        "score": score,
        "rows": _part(header, "rows", int),
        "tested_rows": _part(header, "tested_rows", int),
        "notes": [_checked("a note", note, str) for note in _part(header, "notes", list)],
        "has_header": _part(header, "has_header", bool),
        "settings": _part(header, "settings", dict),
    }


def check_network(encoders, target, net):
    """Raise ValueError if the network does not fit the columns and the target."""
    wanted = sum(len(encoder.inputs) for encoder in encoders), target.outputs
    if (net.sizes[0], net.sizes[-1]) != wanted:
        raise ValueError(f"its network has sizes {list(net.sizes)}, and its columns need {wanted[0]} .. {wanted[1]}")
    output = "identity" if isinstance(target, Values) else "sigmoid" if target.outputs == 1 else "softmax"
    if net.activations[-1] != output:
        raise ValueError(f"its network has the output {net.activations[-1]!r}, and its target needs {output!r}")
    loss = {"identity": "mse", "sigmoid": "binary_cross_entropy", "softmax": "cross_entropy"}[output]
    if net.loss_name != loss:
        raise ValueError(f"its network has the loss {net.loss_name!r}, and its target needs {loss!r}")


def _encoder(column):
    name, kind = _part(column, "name", str), _part(column, "is", str)
    has_missing = _part(column, "has_missing", bool)
    if kind == "Numbers":
        fill = _part(column, "fill", float)
        if not math.isfinite(fill):
            raise ValueError(f"column {name!r}: fill must be finite, got {fill}")
        return Numbers(name, fill, has_missing)
    if kind != "Categories":
        raise ValueError(f"a column is {kind!r:.40}, wanted Numbers or Categories")
    categories = [_checked("a category", each, str) for each in _part(column, "categories", list)]
    if len(set(categories)) < len(categories) or not categories:
        raise ValueError(f"column {name!r}: its categories must differ, and there must be one")
    return Categories(name, tuple(categories), has_missing, _kind(column))


def _target(target):
    if "labels" not in target:
        mean = _part(target, "mean", float)
        if not math.isfinite(mean):
            raise ValueError(f"the target's mean must be finite, got {mean}")
        return Values(mean)
    kind, labels = _kind(target), _part(target, "labels", list)
    wanted = {"text": (str,), "number": (int, float), "boolean": (bool,)}[kind]
    for label in labels:
        if type(label) not in wanted or (type(label) is int and abs(label) >= 2**63) or label != label:
            raise ValueError(f"label {label!r:.40} is no {kind}")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ValueError(f"the target has {len(labels)} labels; wanted two or more that differ")
    most_frequent = _part(target, "most_frequent", int)
    if not 0 <= most_frequent < len(labels):
        raise ValueError(f"most_frequent must be within 0..{len(labels) - 1}, got {most_frequent}")
    return Classes(tuple(labels), kind, most_frequent)


def _kind(part):
    kind = _part(part, "kind", str)
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(_KINDS)}, got {kind!r:.40}")
    return kind


def _part(part, key, kind):
    if key not in part:
        raise ValueError(f"it lacks {key!r}")
    return _checked(key, part[key], kind)


def _checked(name, value, kind):
    _check(name, value, kind)
    return value


def _check(name, value, kind):
    if type(value) is not kind:
        raise ValueError(f"{name} must be a {kind.__name__}, got {value!r:.60}")
