"""A run that is interrupted between epochs, saved, loaded and continued has the bits of the unbroken one."""

import copy
import pickle

import numpy as np
import pytest

import fastnn
from case_helpers import bits
from conftest import BACKENDS
from fastnn import SGD, Adam, AdamW, Network
from fastnn.callbacks import Checkpoint

VARIANTS = BACKENDS  # what is tested here is around the kernels

RNG = np.random.default_rng(55)
M = 90
X, CODES = RNG.standard_normal((8, M)), RNG.integers(0, 3, M)
ODD = np.arange(1, M, 2)

# name -> settings of the network, the optimizer, arguments of fit
RUNS = {
    "plain": ({}, lambda: SGD(0.1), {}),
    "dropout": ({"dropout": [0.2, 0.5]}, lambda: Adam(1e-2), {}),
    "layer norm": ({"norm": "layer"}, lambda: Adam(1e-2), {}),
    "batch norm": ({"norm": "batch", "dropout": 0.2}, lambda: SGD(0.1, momentum=0.9), {}),
    "losses": ({"loss": ("cross_entropy", {"label_smoothing": 0.1})}, lambda: SGD(0.1, momentum=0.9), {}),
    "clipping": ({}, lambda: SGD(0.1, clip_norm=0.2, clip_value=0.1), {}),
    "penalties": ({}, lambda: AdamW(1e-2, weight_decay=0.1, l1=0.01, decay_b=False), {}),
    "average": ({}, lambda: SGD(0.1, average=0.9), {}),
    "schedule": ({}, lambda: SGD(fastnn.schedules.Cosine(0.2, length=4, warmup=1)), {}),
    "steps": ({}, lambda: Adam(fastnn.schedules.Step(0.02, every=7, factor=0.5, per="step")), {}),
    "plateau": ({}, lambda: SGD(fastnn.schedules.Plateau(0.5, 0.5, patience=0, monitor="loss")), {}),
    "nadam": ({}, lambda: fastnn.NAdam(1e-2), {}),
    "rmsprop": ({}, lambda: fastnn.RMSprop(1e-2, momentum=0.5), {}),
    "adagrad": ({}, lambda: fastnn.Adagrad(1e-2, lr_decay=0.1), {}),
    "frozen": ({"trainable": [True, False, True]}, lambda: Adam(1e-2, clip_norm=0.1), {}),
    "samples": ({}, lambda: Adam(1e-2), {"samples": ODD}),
    "split": ({"dropout": 0.3}, lambda: Adam(1e-2), {"validation_split": 0.2, "metrics": ["accuracy"]}),
    "weights": ({}, lambda: Adam(1e-2), {"class_weight": "balanced", "sample_weight": np.arange(M) % 4}),
    "diagnostics": ({"dropout": 0.3}, lambda: Adam(1e-2), {"diagnostics": True}),
    "all": (
        {
            "norm": "batch",
            "dropout": 0.3,
            "trainable": [False, True, True],
            "loss": ("cross_entropy", {"label_smoothing": 0.1}),
        },
        lambda: fastnn.RMSprop(fastnn.schedules.OneCycle(1e-2, length=5), clip_norm=0.5, l1=0.01, average=0.8),
        {"validation_split": 0.2, "class_weight": "balanced", "diagnostics": True},
    ),
}


def net_of(backend, settings):
    settings = dict(settings)
    trainable = settings.pop("trainable", None)
    net = Network([8, 20, 17, 3], ["relu", "tanh", "softmax"], seed=3, backend=backend, **settings)
    if trainable:
        net.trainable = trainable
    return net


@pytest.mark.parametrize("name", RUNS)
def test_a_run_in_parts_has_the_bits_of_the_whole(backend, tmp_path, name):
    settings, optimizer, arguments = RUNS[name]
    how = {"batch_size": 16, "progress": False, **arguments}
    whole, parts, path = net_of(backend, settings), net_of(backend, settings), tmp_path / "net.npz"
    whole_history = whole.fit(X, CODES, 5, optimizer=optimizer(), **how)
    parts.fit(X, CODES, 2, optimizer=optimizer(), callbacks=Checkpoint(path, every=2), **how)
    others = [fastnn.load(path, backend), pickle.loads(pickle.dumps(parts)), copy.deepcopy(parts), copy.copy(parts)]
    for optimizer_again, net in zip((None, optimizer(), None, None), others, strict=True):
        history = net.fit(X, CODES, 3, optimizer=optimizer_again, **how)
        assert bits(net) == bits(whole)
        assert history.loss == whole_history.loss[2:]
        assert history.val_loss == whole_history.val_loss[2:]
        assert net.epochs_done == 5
        if "average" in repr(net.__getstate__()["optimizer"]):
            assert bits(net.averaged()) == bits(whole.averaged())
