"""What notebooks show of a Network and of a History: HTML without scripts, in the colours of the page around it.

Colours of text and background are inherited; lines have colours that can be told apart on white and on black, also by
the colour-blind (M. Okabe and K. Ito, "Color Universal Design", 2008).
"""

import math
from html import escape

import numpy as np

from . import summaries
from .plots.training import suits_log

_TRAINING, _VALIDATION = "#0072B2", "#D55E00"
_WIDTH, _HEIGHT, _MARGIN = 260, 90, 4  # of the picture of the losses, in pixels
_MOST_POINTS = 520  # of a line; more would only make the notebook's file larger


def of_network(net, backend):
    """A table of the layers; `backend` is the name of the network's."""
    header, *rows = summaries.rows(net)
    return f"<div>{_table(header, rows)}<div>{escape(summaries.last_line(net, backend))}</div></div>"


def of_history(history):
    """The numbers of the first, the best and the last epoch, and a picture of the losses."""
    why = f", stopped by {history.stopped}" if history.stopped else ""
    count = len(history.loss)
    title = f"<div>History: {count} epoch{'s' * (count != 1)}, {history.seconds:.2f} s{escape(why)}</div>"
    if not count:
        return f"<div>{title}</div>"
    epochs = {"epoch 1": 0} if count > 1 else {}
    if history.best_epoch is not None:
        epochs[f"best: epoch {history.best_epoch + 1}"] = history.best_epoch
    epochs[f"epoch {count}"] = count - 1
    numbers = {"loss": history.loss, "val_loss": history.val_loss, "lr": history.lr} | history.metrics
    rows = [
        (name, *(f"{values[i]:.4g}" if i < len(values) else "" for i in epochs.values()))
        for name, values in numbers.items()
        if values
    ]
    return f"<div>{title}{_table(('', *epochs), rows)}{_picture(history)}</div>"


def _table(header, rows):
    look = 'style="padding:0.2em 0.6em"'
    head = "".join(f'<th scope="col" {look}>{escape(cell)}</th>' for cell in header)
    body = ""
    for first, *others in rows:
        cells = "".join(f"<td {look}>{escape(cell)}</td>" for cell in others)
        body += f'<tr><th scope="row" {look}>{escape(first)}</th>{cells}</tr>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _picture(history):
    """The losses as lines of an SVG; nothing where there is one epoch, or a loss is not finite."""
    losses = [*history.loss, *history.val_loss]
    if len(history.loss) < 2 or not all(map(math.isfinite, losses)):
        return ""
    is_log = suits_log(losses)
    scaled = math.log if is_log else float
    low, high = scaled(min(losses)), scaled(max(losses))

    def line(values, colour, dashes):
        points = []
        for i in np.linspace(0, len(values) - 1, min(len(values), _MOST_POINTS)).round().astype(int):
            x = _MARGIN + (_WIDTH - 2 * _MARGIN) * i / (len(history.loss) - 1)
            y = _MARGIN + (_HEIGHT - 2 * _MARGIN) * (high - scaled(values[i])) / ((high - low) or 1.0)
            points.append(f"{x:.1f},{y:.1f}")
        look = f'fill="none" stroke="{colour}" stroke-width="1.5"{dashes}'
        return f'<polyline points="{" ".join(points)}" {look}/>'

    lines = line(history.loss, _TRAINING, "")
    key = f'<span style="color:{_TRAINING}">&#9644;</span> training'
    if history.val_loss:
        lines += line(history.val_loss, _VALIDATION, ' stroke-dasharray="5 2"')
        key += f' <span style="color:{_VALIDATION}">&#9644;</span> validation'
    frame = (
        f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}" fill="none" stroke="currentColor" '
        'stroke-opacity="0.3"/>'
    )
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    drawn = f'<svg {size} role="img" aria-label="the losses by epoch">{frame}{lines}</svg>'
    return f"<div>{drawn}</div><div>{key} loss{', on a logarithmic axis' if is_log else ''}</div>"
