"""``fastnn inspect``: what a model file holds."""

from ..tabular import TabularModel
from ..tabular.encoding import Numbers
from . import places, train


def lines(say, model):
    """Yield the report of a model."""
    known = places.any_model(model)
    if not isinstance(known, TabularModel):
        yield from known.summary().splitlines()
        return
    yield from train.report(known)
    yield f"trained    {known.rows} rows, {known.network.epochs_done} epochs"
    yield ""
    yield f"{'column':<24}{'inputs':>6}  how it is read"
    for encoder in known.encoders:
        yield f"{encoder.name:<24}{len(encoder.inputs):>6}  {_how(encoder)}"
    yield ""
    yield from known.network.summary().splitlines()
    if known.notes:
        yield ""
        yield from known.notes


def _how(encoder):
    missing = ", and whether it is missing" if encoder.has_missing else ""
    if isinstance(encoder, Numbers):
        return f"number, {encoder.fill:g} if missing{missing}"
    shown = ", ".join(encoder.categories[:6]) + (", ..." if len(encoder.categories) > 6 else "")
    return f"one of {shown}{missing}"
