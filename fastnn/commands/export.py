"""``fastnn export``: a model file as ONNX, as C, or for PyTorch."""

import os

from ..tabular import TabularModel
from . import places

_SUFFIXES = {"onnx": ".onnx", "c": ".c", "torch": ".pt"}


def lines(say, model, to, output):
    """Write the file; yield its name."""
    output = os.path.splitext(model)[0] + _SUFFIXES[to] if output is None else output
    places.check_output(output, model)
    known = places.any_model(model)
    try:
        import fastnn.exchange as exchange
    except ImportError as error:
        raise ImportError(f"this release of fastnn cannot export: {error}") from None
    net = known
    if isinstance(known, TabularModel):
        net = known.network
        say(f"inputs ({len(known.inputs)}): {', '.join(known.inputs)}")
        say(f"outputs: {_outputs(known)}")
    if to == "torch":
        module = exchange.to_torch(net)  # which says what to install if torch is missing
        import torch

        torch.save(module, output)
    else:
        {"onnx": exchange.to_onnx, "c": exchange.to_c}[to](net, output)
    yield output


def _outputs(model):
    if model.task == "regression":
        return model.target
    labels = model.classes.tolist()
    return ", ".join(f"p({label})" for label in labels[len(labels) == 2 :])  # of two classes that of the second
