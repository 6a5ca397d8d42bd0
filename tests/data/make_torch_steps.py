"""Writes torch_steps.npz: 50 steps of torch.optim's optimizers, for tests/test_optimizers.py, which needs no torch.

    python tests/data/make_torch_steps.py        # with torch 2.13

runs        float64: two small networks, the whole data in each step; the weights after steps 1, 10 and 50.
rule        float32: 50 given gradients of one array W, and W after steps 1, 10 and 50. The gradient of step t is
            scale rows[t], with powers of two in `scale`: a form that a layer can be made to have exactly.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import torch

AFTER = (1, 10, 50)
OPTIMIZERS = [  # kind, settings: names and meanings are torch's and fastnn's alike
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.03}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.05}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.01}),
    ("NAdam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.05, "momentum_decay": 0.5}),
    ("NAdam", {"lr": 0.01, "betas": (0.99, 0.9), "momentum_decay": 0.0}),
    ("RMSprop", {"lr": 0.005}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.05}),
    ("RMSprop", {"lr": 0.002, "alpha": 0.95, "weight_decay": 0.01, "momentum": 0.9}),
    ("Adagrad", {"lr": 0.05}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.02, "weight_decay": 0.05, "eps": 1e-3}),
]
NETWORKS = [  # sizes, activations, loss
    ([5, 7, 3], ["tanh", "softmax"], "cross_entropy"),
    ([4, 9, 6, 2], ["sigmoid", "relu", "identity"], "mse"),
]
ACTIVATIONS = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "identity": lambda Z: Z,
    "softmax": lambda Z: Z,  # with its loss
}
LOSSES = {
    "cross_entropy": lambda Z, y: torch.nn.functional.cross_entropy(Z.T, y),
    "mse": lambda A, y: ((A - y) ** 2).sum(dim=0).mean(),
}


def steps(optimizer, tensors, gradients):
    """Copies of the tensors after the steps of AFTER; `gradients` fills their .grad."""
    kind, settings = optimizer
    torch_optimizer = getattr(torch.optim, kind)(tensors, **settings)
    copies = []
    for t in range(1, max(AFTER) + 1):
        torch_optimizer.zero_grad()
        gradients(t - 1)
        torch_optimizer.step()
        if t in AFTER:
            copies.append([T.detach().numpy().copy() for T in tensors])
    return copies


def run(optimizer, network, start, X, y):
    """The parameters of a network after the steps of AFTER."""
    _, activations, loss = network
    tensors = [torch.tensor(T, requires_grad=True) for T in start]
    X, y = torch.tensor(X), torch.tensor(y)

    def gradients(t):
        A = X
        for W, b, g in zip(tensors[::2], tensors[1::2], activations, strict=True):
            A = ACTIVATIONS[g](W @ A + b)
        LOSSES[loss](A, y).backward()

    return steps(optimizer, tensors, gradients)


def rule(optimizer, start, scale, rows):
    """W after the steps of AFTER with given gradients."""
    W = torch.tensor(start, requires_grad=True)

    def gradients(t):
        W.grad = torch.tensor(scale * rows[t])

    return [copy for (copy,) in steps(optimizer, [W], gradients)]


def main():
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # NAdam multiplies its momenta in this dtype
    rng = np.random.default_rng(7)
    arrays = {"optimizers": json.dumps(OPTIMIZERS), "networks": json.dumps(NETWORKS), "after": np.array(AFTER)}
    for n, network in enumerate(NETWORKS):
        sizes, _, loss = network
        start = []
        for n_in, n_out in itertools.pairwise(sizes):
            start += [rng.standard_normal((n_out, n_in)) / np.sqrt(n_in), 0.1 * rng.standard_normal((n_out, 1))]
        X = rng.standard_normal((sizes[0], 20))
        y = rng.integers(0, sizes[-1], 20) if loss == "cross_entropy" else rng.standard_normal((sizes[-1], 20))
        arrays |= {f"run{n}_X": X, f"run{n}_y": y} | {f"run{n}_start{i}": T for i, T in enumerate(start)}
        for o, optimizer in enumerate(OPTIMIZERS):
            for i, after in enumerate(zip(*run(optimizer, network, start, X, y), strict=True)):
                arrays[f"run{n}_{o}_{i}"] = np.stack(after)
    start = rng.standard_normal((9, 21)).astype("f4")
    scale = 2.0 ** rng.integers(-3, 4, (9, 1)).astype("f4")
    rows = rng.standard_normal((50, 21)) * 10.0 ** rng.uniform(-5, 0.5, 21)
    rows[:, 0] = 0  # never a gradient
    rows[:, 1] *= rng.random(50) < 0.1  # seldom
    rows[:, 2] *= 1e-20  # lost beside eps
    rows[:, 3] = 1e-8 * rng.standard_normal(50)  # as small as eps
    rows[25:, 4] = 0  # no more
    rows[:, 5] *= 10.0 ** rng.uniform(-4, 1, 50)  # from step to step
    rows = rows.astype("f4")
    arrays |= {"rule_start": start, "rule_scale": scale, "rule_rows": rows}
    for o, optimizer in enumerate(OPTIMIZERS):
        arrays[f"rule_{o}"] = np.stack(rule(optimizer, start, scale, rows))
    np.savez_compressed(Path(__file__).with_name("torch_steps.npz"), **arrays)


if __name__ == "__main__":
    main()
