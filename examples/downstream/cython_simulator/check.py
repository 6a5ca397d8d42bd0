"""That it computes what Python does, and how long a step takes."""

import time

import numpy as np
import simulator

import fastnn

net = fastnn.Network([4, 16, 4], activations=["tanh", "identity"], seed=0)
x, expected = np.full(4, 0.1, "f4"), np.full((4, 1), 0.1, "f4")
simulator.simulate(net.predictor(), x, 100, np.float32(0.01))
for _ in range(100):
    expected += np.float32(0.01) * net.predict(expected)
np.testing.assert_allclose(x, expected[:, 0], rtol=1e-4)

rng = np.random.default_rng(0)
W, rows, b = rng.standard_normal((5, 3)), rng.standard_normal((7, 3)), rng.standard_normal(5)
out = np.empty((7, 5))
simulator.dense_relu(W, rows, b, out)
np.testing.assert_allclose(out, np.maximum(rows @ W.T + b, 0), atol=1e-12)

try:
    simulator.simulate(fastnn.Network([4, 4], dtype="float64", seed=0).predictor(), x, 1, 0.1)
except TypeError as error:
    print("refused:", error)

start = time.perf_counter()
simulator.simulate(net.predictor(), x, 1_000_000, np.float32(1e-6))
print(f"{time.perf_counter() - start:.2f} us a step")
