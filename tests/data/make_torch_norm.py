"""Writes torch_norm.npz: 50 steps of networks with torch's LayerNorm and BatchNorm1d, for tests/test_norm.py.

    python tests/data/make_torch_norm.py        # with torch 2.13

float64. Batches of 8, 8, 8 and 5 of 29 samples, in the given order, again and again. Of each run: the parameters and
running statistics at the start and after steps 1, 10 and 50; the loss of each step (in training mode, before its
update); at the end the outputs in evaluation mode, and loss and gradients of the first batch in training mode.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import torch

AFTER = (1, 10, 50)
SAMPLES, BATCH = 29, 8
RUNS = [  # sizes, hidden activations, norm of each hidden layer, optimizer
    ([5, 9, 7, 3], ["tanh", "relu"], ["layer", "layer"], ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01})),
    ([5, 9, 7, 3], ["tanh", "relu"], ["batch", "batch"], ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01})),
    ([5, 9, 7, 3], ["sigmoid", "tanh"], ["batch", "layer"], ("SGD", {"lr": 0.2})),
    ([5, 9, 7, 3], ["relu", "sigmoid"], ["layer", None], ("Adam", {"lr": 0.01})),
    ([5, 40, 3], ["relu"], ["batch"], ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True})),
]


def network(sizes, activations, norms, rng):
    layers = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        layers.append(torch.nn.Linear(n_in, n_out, dtype=torch.float64))
        with torch.no_grad():
            layers[-1].weight[:] = torch.tensor(rng.standard_normal((n_out, n_in)) / np.sqrt(n_in))
            layers[-1].bias[:] = torch.tensor(0.1 * rng.standard_normal(n_out))
        if i == len(sizes) - 2:
            break
        if norms[i]:
            kind = torch.nn.LayerNorm if norms[i] == "layer" else torch.nn.BatchNorm1d
            layers.append(kind(n_out, dtype=torch.float64))
            with torch.no_grad():
                layers[-1].weight[:] = torch.tensor(1 + 0.3 * rng.standard_normal(n_out))
                layers[-1].bias[:] = torch.tensor(0.3 * rng.standard_normal(n_out))
        layers.append({"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}[activations[i]]())
    return torch.nn.Sequential(*layers)


def state(net):
    """All parameters, and the running statistics, as one flat list in the order of the layers."""
    found = []
    for layer in net:
        found += [T.detach().numpy().copy() for T in layer.parameters()]
        if isinstance(layer, torch.nn.BatchNorm1d):
            found += [layer.running_mean.numpy().copy(), layer.running_var.numpy().copy()]
    return found


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(11)
    X = rng.standard_normal((SAMPLES, 5)) * [1, 3, 0.3, 1, 1] + [0, 1, 0, -2, 0]
    y = rng.integers(0, 3, SAMPLES)
    arrays = {"runs": json.dumps(RUNS), "after": np.array(AFTER), "batch": BATCH, "X": X.T, "y": y}
    X, y = torch.tensor(X), torch.tensor(y)
    for r, (sizes, activations, norms, (kind, settings)) in enumerate(RUNS):
        net = network(sizes, activations, norms, rng)
        arrays |= {f"{r}_0_{i}": T for i, T in enumerate(state(net))}
        optimizer = getattr(torch.optim, kind)(net.parameters(), **settings)
        losses, starts = [], range(0, SAMPLES, BATCH)
        for step in range(max(AFTER)):
            batch = slice(starts[step % len(starts)], starts[step % len(starts)] + BATCH)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(X[batch]), y[batch])
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
            if step + 1 in AFTER:
                arrays |= {f"{r}_{step + 1}_{i}": T for i, T in enumerate(state(net))}
        net.eval()
        arrays[f"{r}_outputs"] = torch.softmax(net(X), dim=1).detach().numpy().T
        net.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(X[:BATCH]), y[:BATCH])
        loss.backward()
        arrays |= {f"{r}_gradient{i}": T.grad.numpy().copy() for i, T in enumerate(net.parameters())}
        arrays[f"{r}_losses"] = np.array([*losses, loss.item()])
    np.savez_compressed(Path(__file__).with_name("torch_norm.npz"), **arrays)


if __name__ == "__main__":
    main()
