"""Writes torch_training.npz: 50 steps of training with torch, for tests/test_torch_training.py, which needs no torch.

    python tests/data/make_torch_training.py        # with torch 2.13

Each case is a small network in float64 that is trained in batches, in the given order. The file has the loss of each
step before its update, and the parameters after steps 1, 10 and 50. Masks of dropout are those that fastnn draws:
`kept` computes them here a second time, from their definition alone.

A new option of training is a case, at the end of CASES, and what torch calls it in `forward`, `loss_of` or `train`.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import torch

AFTER = (1, 10, 50)
SAMPLES, BATCH = 23, 5  # the last batch of an epoch has 3
# What fastnn takes: see tests/test_torch_training.py. "y": codes, probabilities of classes, labels of 0 and 1, numbers
# within 0..1, or any numbers.
CASES = {
    "label smoothing": {
        "sizes": [5, 7, 3],
        "activations": ["tanh", "softmax"],
        "loss": ["cross_entropy", {"label_smoothing": 0.1}],
        "y": "codes",
        "optimizer": ["SGD", {"lr": 0.1, "momentum": 0.9}],
    },
    "soft labels": {
        "sizes": [5, 7, 4],
        "activations": ["relu", "softmax"],
        "loss": ["cross_entropy", {}],
        "y": "probabilities",
        "optimizer": ["Adam", {"lr": 0.01}],
    },
    "smoothed soft labels": {
        "sizes": [5, 7, 4],
        "activations": ["sigmoid", "softmax"],
        "loss": ["cross_entropy", {"label_smoothing": 0.3}],
        "y": "probabilities",
        "optimizer": ["NAdam", {"lr": 0.01}],
    },
    "pos_weight": {
        "sizes": [5, 7, 3],
        "activations": ["tanh", "sigmoid"],
        "loss": ["binary_cross_entropy", {"pos_weight": 2.5}],
        "y": "labels",
        "optimizer": ["SGD", {"lr": 0.1}],
    },
    "pos_weight below 1, one output": {
        "sizes": [5, 7, 1],
        "activations": ["relu", "sigmoid"],
        "loss": ["binary_cross_entropy", {"pos_weight": 0.3}],
        "y": "labels",
        "optimizer": ["Adagrad", {"lr": 0.05}],
    },
    "pos_weight and smoothed soft labels": {
        "sizes": [5, 7, 3],
        "activations": ["relu", "sigmoid"],
        "loss": ["binary_cross_entropy", {"label_smoothing": 0.2, "pos_weight": 4.0}],
        "y": "shares",
        "optimizer": ["RMSprop", {"lr": 0.005}],
    },
    "dropout": {
        "sizes": [5, 19, 11, 3],
        "activations": ["relu", "tanh", "softmax"],
        "loss": ["cross_entropy", {}],
        "y": "codes",
        "dropout": [0.2, 0.5],
        "seed": 3,
        "optimizer": ["SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}],
    },
    "dropout, a long seed": {
        "sizes": [5, 19, 11, 2],
        "activations": ["sigmoid", "relu", "sigmoid"],
        "loss": ["binary_cross_entropy", {"label_smoothing": 0.1, "pos_weight": 1.5}],
        "y": "labels",
        "dropout": [0.0, 0.3],
        "seed": 2**63 + 12345678901,
        "optimizer": ["AdamW", {"lr": 0.01, "weight_decay": 0.1}],
    },
    "dropout, mse": {
        "sizes": [5, 17, 2],
        "activations": ["tanh", "identity"],
        "loss": ["mse", {}],
        "y": "values",
        "dropout": [0.1],
        "seed": 0,
        "optimizer": ["RMSprop", {"lr": 0.002, "momentum": 0.9}],
    },
    "clip_norm": {
        "sizes": [5, 17, 9, 3],
        "activations": ["relu", "tanh", "softmax"],
        "loss": ["cross_entropy", {}],
        "y": "codes",
        "optimizer": ["SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}],
        "more": {"clip_norm": 0.5},
    },
    "clip_value, clip_norm, decay_b": {
        "sizes": [5, 17, 2],
        "activations": ["tanh", "identity"],
        "loss": ["mse", {}],
        "y": "values",
        "optimizer": ["AdamW", {"lr": 0.01, "weight_decay": 0.2}],
        "more": {"clip_value": 0.1, "clip_norm": 0.3, "decay_b": False},
    },
    "clip_value, coupled decay without b": {
        "sizes": [5, 17, 2],
        "activations": ["sigmoid", "identity"],
        "loss": ["mse", {}],
        "y": "values",
        "optimizer": ["SGD", {"lr": 0.05, "weight_decay": 0.2}],
        "more": {"clip_value": 0.05, "decay_b": False},
    },
    "a frozen layer": {
        "sizes": [5, 17, 9, 3],
        "activations": ["relu", "tanh", "softmax"],
        "loss": ["cross_entropy", {}],
        "y": "codes",
        "trainable": [True, False, True],
        "optimizer": ["Adam", {"lr": 0.01, "weight_decay": 0.1}],
        "more": {"clip_norm": 0.2},
    },
    "the first layer frozen": {
        "sizes": [5, 17, 9, 3],
        "activations": ["relu", "tanh", "softmax"],
        "loss": ["cross_entropy", {}],
        "y": "codes",
        "trainable": [False, True, True],
        "optimizer": ["SGD", {"lr": 0.1}],
    },
    "l1": {
        "sizes": [5, 9, 2],
        "activations": ["sigmoid", "identity"],
        "loss": ["mse", {}],
        "y": "values",
        "optimizer": ["Adagrad", {"lr": 0.05, "lr_decay": 0.01, "weight_decay": 0.1}],
        "more": {"l1": 0.02, "clip_norm": 0.6},
    },
}
ACTIVATIONS = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "identity": lambda Z: Z,
}


# --- the masks of dropout ------------------------------------------------------------------------------


def philox(counter, key):
    """Philox4x32-10 of J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def kept(rate, n, m, seed, layer, update):
    """The factors of n units of m samples: 0, or 1 over the share that is kept.

    Rates are multiples of 1/65536. A unit has 16 bits, and is kept if they are not below the rate. They are the low or
    the high half of a word of Philox, whose key is the seed. The units of a batch have numbers, where each sample's
    begin at a multiple of 16. Of each 128 units the first 64 have low halves, and each 16 have a word of the same place
    from 16 counters. The counter is followed by the number of the update, and 4 says that it is for dropout.
    """
    dropped = round(rate * 65536)
    factors = np.zeros((n, m))
    for j, i in itertools.product(range(n), range(m)):
        block, unit = divmod(i * ((n + 15) // 16 * 16) + j, 128)
        counter = (16 * block + unit % 16, 0, update & 0xFFFFFFFF, 4 + (layer << 8) + ((update >> 32) << 20))
        word = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))[unit % 64 // 16]
        if (word >> 16 * (unit // 64)) & 0xFFFF >= dropped:
            factors[j, i] = 65536 / (65536 - dropped)
    return torch.tensor(factors)


# --- training ------------------------------------------------------------------------------------------


def forward(case, tensors, X, update):
    """Z of the last layer."""
    A, rates = X, [*case.get("dropout", []), 0, 0, 0]
    for layer, (W, b, g) in enumerate(zip(tensors[::2], tensors[1::2], case["activations"], strict=True)):
        Z = W @ A + b
        if layer < len(case["activations"]) - 1:
            A = ACTIVATIONS[g](Z)
            if rates[layer]:
                A = A * kept(rates[layer], *A.shape, case["seed"], layer, update)
    return Z


def loss_of(case, Z, y):
    """The mean over the samples of the loss, which is summed over the outputs."""
    name, parameters = case["loss"]
    if name == "cross_entropy":
        return torch.nn.functional.cross_entropy(Z.T, y if y.ndim == 1 else y.T, **parameters)
    if name == "mse":
        return ((ACTIVATIONS[case["activations"][-1]](Z) - y) ** 2).sum(dim=0).mean()
    smoothing = parameters.get("label_smoothing", 0.0)  # torch has none here: this is Keras's
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        Z,
        y * (1 - smoothing) + smoothing / 2,
        pos_weight=torch.tensor(parameters.get("pos_weight", 1.0)),
        reduction="none",
    )
    return losses.sum(dim=0).mean()


def train(case, start, X, y):
    """The losses before each step, and copies of the parameters after the steps of AFTER."""
    trainable, more = case.get("trainable", [True] * len(case["activations"])), case.get("more", {})
    tensors = [torch.tensor(T, requires_grad=trainable[i // 2]) for i, T in enumerate(start)]
    trained = [T for T in tensors if T.requires_grad]
    X, y = torch.tensor(X), torch.tensor(y)
    kind, settings = case["optimizer"]
    groups = [{"params": trained}]
    if not more.get("decay_b", True):
        groups = [{"params": tensors[::2]}, {"params": tensors[1::2], "weight_decay": 0.0}]
    optimizer = getattr(torch.optim, kind)(groups, **settings)
    losses, copies, batches = [], [], -(-SAMPLES // BATCH)
    for update in range(max(AFTER)):
        batch = slice(update % batches * BATCH, (update % batches + 1) * BATCH)
        loss = loss_of(case, forward(case, tensors, X[:, batch], update), y[..., batch])
        optimizer.zero_grad()
        loss.backward()
        if "clip_value" in more:
            torch.nn.utils.clip_grad_value_(trained, more["clip_value"])
        if "clip_norm" in more:
            torch.nn.utils.clip_grad_norm_(trained, more["clip_norm"])
        if "l1" in more:
            for W in tensors[::2]:
                W.grad += more["l1"] * torch.sign(W.detach())
        optimizer.step()
        losses.append(loss.item())
        if update + 1 in AFTER:
            copies.append([T.detach().numpy().copy() for T in tensors])
    return losses, copies


def targets(kind, n, rng):
    """y of a case."""
    if kind == "codes":
        return rng.integers(0, n, SAMPLES)
    if kind == "probabilities":
        return rng.dirichlet(np.ones(n), SAMPLES).T.copy()
    if kind == "labels":
        return rng.integers(0, 2, (n, SAMPLES)).astype(float)
    return rng.random((n, SAMPLES)) if kind == "shares" else rng.standard_normal((n, SAMPLES))


def main():
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    arrays = {"cases": json.dumps(CASES), "after": np.array(AFTER), "batch": BATCH}
    for number, (name, case) in enumerate(CASES.items()):
        rng = np.random.default_rng(number)  # so that a new case changes no other
        sizes, start = case["sizes"], []
        for n_in, n_out in itertools.pairwise(sizes):
            start += [rng.standard_normal((n_out, n_in)) / np.sqrt(n_in), 0.1 * rng.standard_normal((n_out, 1))]
        X, y = rng.standard_normal((sizes[0], SAMPLES)), targets(case["y"], sizes[-1], rng)
        losses, copies = train(case, start, X, y)
        arrays |= {f"{name}: X": X, f"{name}: y": y, f"{name}: losses": np.array(losses)}
        for i, (T, after) in enumerate(zip(start, zip(*copies, strict=True), strict=True)):
            arrays |= {f"{name}: start {i}": T, f"{name}: after {i}": np.stack(after)}
    np.savez_compressed(Path(__file__).with_name("torch_training.npz"), **arrays)


if __name__ == "__main__":
    main()
