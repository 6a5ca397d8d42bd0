"""Writes the files of tests/data/onnx: networks by torch.onnx and skl2onnx, and what torch and scikit-learn give.

Run with torch 2.13, onnxscript, scikit-learn 1.9 and skl2onnx 1.20: python tests/data/make_onnx_files.py
"""

import io
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import nn

FOLDER = Path(__file__).parent / "onnx"


def written(name, model):
    """Write a file, without what exporters note about the machine that they ran on."""
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())


def from_torch(expected):
    """Networks with each activation, by both exporters, and in old opsets."""
    torch.manual_seed(0)
    wide = [nn.Flatten(), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.1), nn.Linear(4, 4)]
    wide += [nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3, bias=False), nn.Softmax(1)]
    several = [nn.GELU(), nn.SiLU(), nn.Softplus(), nn.ELU(0.5), nn.SELU(), nn.LeakyReLU(0.1), nn.Sigmoid()]
    deep = [module for g in several for module in (nn.Linear(4, 4), g)]
    models = {
        "torch_norms": nn.Sequential(*wide),
        "torch_activations": nn.Sequential(*deep),
        "torch_gelu_tanh": nn.Sequential(nn.Linear(4, 4), nn.GELU("tanh"), nn.Linear(4, 4)),
    }
    models["torch_norms"](torch.randn(50, 4))  # moves the running statistics
    x = torch.randn(5, 4)
    for name, model in models.items():
        model.eval()
        batch = ({0: torch.export.Dim("batch")},)
        written(name, torch.onnx.export(model, (x,), dynamo=True, dynamic_shapes=batch, verbose=False).model_proto)
        old = io.BytesIO()
        axes = {"x": {0: "batch"}, "y": {0: "batch"}}
        names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
        torch.onnx.export(model, (x,), old, dynamo=False, opset_version=17, **names)
        written(f"{name}_17", onnx.load_model_from_string(old.getvalue()))
        for each in (name, f"{name}_17"):
            expected[f"{each}.X"], expected[f"{each}.A"] = x.numpy().T, model(x).detach().numpy().T


def from_sklearn(expected):
    """Classifiers of two, several and named classes, of labels, with and without ZipMap; regressors."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)).astype(np.float32), rng.integers(0, 3, 60)
    for name, kind, targets, options, settings in (
        ("sklearn_zipmap", MLPClassifier, y, None, {}),
        ("sklearn_binary", MLPClassifier, y > 0, {"zipmap": False}, {"activation": "tanh"}),
        ("sklearn_names", MLPClassifier, np.array(["a", "b", "c"])[y], {"zipmap": False}, {"activation": "logistic"}),
        ("sklearn_labels", MLPClassifier, np.stack([y > 0, y > 1], axis=1).astype(int), {"zipmap": False}, {}),
        ("sklearn_regressor", MLPRegressor, X[:, 0], None, {}),
        ("sklearn_linear", MLPRegressor, X[:, 1], None, {"activation": "identity"}),
    ):
        model = kind(hidden_layer_sizes=(4, 4), max_iter=20, random_state=0, **settings).fit(X, targets)
        written(name, to_onnx(model, X[:1], options=options and {id(model): options}))
        expected[f"{name}.X"] = X[:5].T
        if kind is MLPRegressor:
            expected[f"{name}.A"] = model.predict(X[:5]).reshape(5, -1).T
        else:
            A = model.predict_proba(X[:5]).T
            expected[f"{name}.A"] = A[1:] if name == "sklearn_binary" else A


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    FOLDER.mkdir(exist_ok=True)
    found = {}
    from_torch(found)
    from_sklearn(found)
    np.savez_compressed(FOLDER / "expected.npz", **found)
