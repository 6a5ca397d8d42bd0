"""That it finds the line that it was given, and predicts what Python does."""

import estimator
import numpy as np

import fastnn

rng = np.random.default_rng(0)
rows = rng.standard_normal((100, 3))
values = rows @ [1.0, -2.0, 0.5] + 4.0
weights = estimator.fit(rows, values, 3, 500, 0.1)
np.testing.assert_allclose(weights, [1.0, -2.0, 0.5, 4.0], atol=1e-8)

net = fastnn.Network([3, 8, 2], seed=0)
handle = fastnn.predictor_handle(net.predictor())
x = rng.standard_normal(3).astype("f4")
out = np.frombuffer(estimator.predict(handle.address, x, handle.n_out), "f4")
np.testing.assert_array_equal(out, net.predict(x[:, np.newaxis])[:, 0])
print("weights", np.round(weights, 3))
