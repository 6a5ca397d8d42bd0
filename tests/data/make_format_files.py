"""Writes a file of the present format, of each kind, for tests/test_safetensors.py.

    python tests/data/make_format_files.py 2

The number is that of the format. Run once for each format, by its first release; the files are never written again.
format1.npz was written by release 0.1.
"""

import sys
from pathlib import Path

import numpy as np

from fastnn import Adam, Network

FOLDER = Path(__file__).parent


def network(number):
    """A trained network whose file has that format."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 40)) + 5, rng.integers(0, 2, 40)
    more = {} if number == 1 else {"norm": ["batch", "layer"], "dropout": [0.25, 0.0]}
    activations = ["tanh", "relu" if number == 1 else "gelu", "softmax"]
    net = Network([3, 4, 4, 2], activations, dtype="float64", seed=7, **more)
    if number > 1:
        net.adapt(X)
    net.fit(X, y, 2, optimizer=Adam(0.01), progress=False)
    return net


if __name__ == "__main__":
    number = int(sys.argv[1])
    made = network(number)
    for suffix in ("npz", "safetensors"):
        path = FOLDER / f"format{number}.{suffix}"
        if not path.exists():
            made.save(path, optimizer=True)
    X = np.array([[1, -1], [0.5, 2], [-0.25, 0]])
    print(repr(made.predict(X)))
