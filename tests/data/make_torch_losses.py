"""Writes torch_losses.npz: losses and their derivatives by torch, for tests/test_losses.py.

    python tests/data/make_torch_losses.py        # with torch 2.13

A new loss is a line in FUNCTIONS: from outputs A and targets Y, both with samples as rows, the loss of each output. All
are in float64, the derivatives those of the sum over outputs and samples.
"""

import json
from pathlib import Path

import numpy as np
import torch

M, UNITS = 40, 6
LEVELS = [0.05, 0.2, 0.5, 0.6, 0.9, 0.99]


def quantile(levels):
    """The pinball loss, which torch does not have, for torch's derivative."""
    q = torch.tensor(levels, dtype=torch.float64)
    return lambda A, Y: torch.maximum(q * (Y - A), (q - 1) * (Y - A))


def gaussian_nll(A, Y):
    """Means, then log-variances; torch takes variances, and keeps them above eps."""
    mean, s = A.chunk(2, dim=1)
    return torch.nn.GaussianNLLLoss(full=False, eps=1e-12, reduction="none")(mean, Y, s.exp())


# key -> loss, its parameters, rows of Y, torch's function
FUNCTIONS = {
    "mse": ("mse", {}, UNITS, torch.nn.MSELoss(reduction="none")),
    "mae": ("mae", {}, UNITS, torch.nn.L1Loss(reduction="none")),
    "huber": ("huber", {"delta": 1.0}, UNITS, torch.nn.HuberLoss(reduction="none")),
    "huber 0.3": ("huber", {"delta": 0.3}, UNITS, torch.nn.HuberLoss(reduction="none", delta=0.3)),
    "quantile": ("quantile", {}, 1, quantile([(i + 1) / (UNITS + 1) for i in range(UNITS)])),
    "quantile of levels": ("quantile", {"levels": LEVELS}, 1, quantile(LEVELS)),
    "poisson": ("poisson", {}, UNITS, torch.nn.PoissonNLLLoss(log_input=True, full=False, reduction="none")),
    "gaussian_nll": ("gaussian_nll", {}, UNITS // 2, gaussian_nll),
}


def main():
    """Write the file."""
    rng = np.random.default_rng(0)
    Z = 2 * rng.standard_normal((UNITS, M))
    Y = np.abs(2 * rng.standard_normal((UNITS, M)))  # not negative, for poisson
    Y[0, 0] = 0
    found = {"Z": Z, "Y": Y, "functions": json.dumps({key: row[:3] for key, row in FUNCTIONS.items()})}
    for key, (_, _, rows, function) in FUNCTIONS.items():
        A = torch.tensor(Z.T.copy(), requires_grad=True)
        losses = function(A, torch.tensor(Y[:rows].T.copy())).sum(dim=1)
        losses.sum().backward()
        found |= {f"{key}: losses": losses.detach().numpy(), f"{key}: dZ": A.grad.numpy().T}
    np.savez_compressed(Path(__file__).parent / "torch_losses.npz", **found)


if __name__ == "__main__":
    main()
