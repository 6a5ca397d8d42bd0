"""``fastnn predict``: a model and a table in, a CSV file of predictions out."""

import csv
import io
import shlex

import numpy as np

from .. import filesystem
from . import Data, UsageError, places


def lines(say, model, data, output, probabilities, header, delimiter, decimal, encoding, missing):
    """Predict; yield the lines of a CSV file, or write them to `output`."""
    output = None if output == "-" else output
    places.check_output(output, model, data)
    try:
        known = places.model(model)
    except ValueError:
        if data != "-" and places.is_model(data):
            raise UsageError(f"the model goes first: predict {shlex.join([data, model])}") from None
        raise
    if probabilities and known.task != "classification":
        raise UsageError(f"--probabilities: the model predicts numbers, {known.target!r}, and no classes")
    table = places.table(data, header, delimiter, decimal, encoding, missing, known.has_header)
    skipped = [f"{name} (the target)" if name == known.target else name for name in table.names]
    skipped = [name for name in skipped if name.removesuffix(" (the target)") not in known.columns]
    found = [known.predict(table)]
    found = [found[0].tolist() if known.task == "classification" else _short(found[0])]
    names = [known.target]
    if probabilities:
        found += map(_short, known.predict_proba(table).T)
        names += [f"p({label})" for label in known.classes.tolist()]
    if skipped:
        say(f"columns that are not needed: {', '.join(skipped)}")
    rows = [names] * table.has_header + list(zip(*found, strict=True))
    if output is None:
        yield from map(Data, _csv(rows).removesuffix("\n").split("\n"))
    else:
        filesystem.write(output, _csv(rows).encode())
        say(f"{output}: {table.rows} rows")


def _short(values):
    """Numbers of the network with the digits that it has."""
    return list(map(str, values.astype(np.float32)))


def _csv(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
