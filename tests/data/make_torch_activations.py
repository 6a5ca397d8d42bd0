"""Writes torch_activations.npz: activations and their derivatives by torch, for tests/test_activations.py.

    python tests/data/make_torch_activations.py        # with torch 2.13

A new activation is a line in FUNCTIONS. All are in float64.
"""

import json
from pathlib import Path

import numpy as np
import torch

FUNCTIONS = {
    "sigmoid": ("sigmoid", {}, torch.sigmoid),
    "tanh": ("tanh", {}, torch.tanh),
    "relu": ("relu", {}, torch.relu),
    "leaky_relu": ("leaky_relu", {"slope": 0.01}, torch.nn.LeakyReLU()),
    "elu": ("elu", {"alpha": 1.0}, torch.nn.ELU()),
    "elu 0.3": ("elu", {"alpha": 0.3}, torch.nn.ELU(0.3)),
    "selu": ("selu", {}, torch.nn.SELU()),
    "gelu": ("gelu", {"approximate": 0.0}, torch.nn.GELU()),
    "gelu by tanh": ("gelu", {"approximate": 1.0}, torch.nn.GELU("tanh")),
    "silu": ("silu", {}, torch.nn.SiLU()),
    "softplus": ("softplus", {}, torch.nn.Softplus(threshold=100)),
}


def main():
    """Write the file."""
    z = np.unique(np.concatenate([np.linspace(-12, 12, 97), np.random.default_rng(0).standard_normal(60), [0, -1e-9]]))
    found = {"z": z, "functions": json.dumps({key: [name, given] for key, (name, given, _) in FUNCTIONS.items()})}
    for key, (_, _, function) in FUNCTIONS.items():
        Z = torch.tensor(z, requires_grad=True)
        A = function(Z)
        A.sum().backward()
        found |= {f"{key}: A": A.detach().numpy(), f"{key}: slope": Z.grad.numpy()}
    np.savez_compressed(Path(__file__).parent / "torch_activations.npz", **found)


if __name__ == "__main__":
    main()
