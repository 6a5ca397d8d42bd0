"""``fastnn train``: a table in, a model and its score out."""

import time

from ..tabular import TabularModel
from . import UsageError, places


def lines(say, data, target, output, plot, header, delimiter, decimal, encoding, missing, **settings):
    """Train, and yield the report."""
    given = {name: value for name, value in settings.items() if value is not None}
    try:
        model = TabularModel(**given)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from None
    places.check_model(output, data)
    places.check_picture(plot, data, output=output)
    table = places.table(data, header, delimiter, decimal, encoding, missing)
    columns = len(table.names)
    names = "" if table.has_header else f"; no header, columns are called 0 to {columns - 1}"
    say(f"{table.source}: {table.rows} row{'s' * (table.rows != 1)}, {columns} column{'s' * (columns != 1)}{names}")
    start = time.perf_counter()
    model.fit(table, target)
    seconds = time.perf_counter() - start
    for note in model.notes:
        say(note)
    if output is not None:
        model.save(output)
    if plot is not None:
        from . import pictures

        pictures.of_training(model, plot)
    yield from report(model)
    first = f" (chosen in a first training of {len(model.history.loss)})"
    yield f"trained    {model.rows} rows, {model.network.epochs_done} epochs{first}, {seconds:.2f} s"
    if output is None:
        say("the model is not kept; -o model.npz does")
    else:
        yield f"model      {output}"


def report(model):
    """Yield what a model predicts, and how well."""
    of = ""
    if model.task == "classification":
        labels = model.classes.tolist()
        of = f", {len(labels)} classes: {', '.join(map(str, labels[:10]))}{', ...' if len(labels) > 10 else ''}"
    yield f"task       {model.task} of {model.target}{of}"
    score = model.score
    if not score:
        yield "score      not measured"
    elif model.task == "classification":
        yield f"accuracy   {score['accuracy']:.4f}, on {model.tested_rows} rows that were not trained on"
        yield f"baseline   {score['baseline_accuracy']:.4f}, of the most frequent class"
    else:
        yield f"rmse       {score['rmse']:.4g}, on {model.tested_rows} rows that were not trained on"
        yield f"baseline   {score['baseline_rmse']:.4g}, of the mean"
        yield f"r2         {score['r2']:.4f}"
