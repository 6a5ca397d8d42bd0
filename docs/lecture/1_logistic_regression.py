r"""
Logistic regression is a network
================================

Logistic regression is the smallest neural network. It has one layer with one unit. The
unit computes a weighted sum of the features, and the sigmoid function makes a
probability of it.

.. list-table::
   :class: formulas
   :header-rows: 1
   :widths: 50 50

   * - formula
     - fastnn
   * - :math:`z = w_1 x_1 + w_2 x_2 + b, \quad a = \sigma(z) = \dfrac{1}{1 + e^{-z}}`
     - ``net = fastnn.Network([2, 1])``, ``net.predict(X)``
   * - :math:`\mathcal{L}(a, y) = -\left(y \log a + (1 - y) \log(1 - a)\right)`
     - ``loss="binary_cross_entropy"``: the default
   * - :math:`J = \dfrac{1}{m} \sum_{i=1}^{m} \mathcal{L}\left(a^{(i)}, y^{(i)}\right)`
     - ``net.loss(X, y)``
   * - :math:`w \leftarrow w - \alpha\, \dfrac{\partial J}{\partial w}`
     - ``net.fit(X, y, optimizer=fastnn.SGD(lr=alpha))``
"""

import numpy as np

import fastnn
from fastnn import plots

# %%
# The data: two clouds of points
# ------------------------------
# Each sample is a column: ``X`` has 2 rows, the features, and 200 columns, the samples.

rng = np.random.default_rng(1)
y = np.arange(200) % 2
X = rng.standard_normal((2, 200)) + np.where(y == 1, 1.3, -1.3)
X.shape, y.shape

# %%
# The network
# -----------
# ``[2, 1]`` says: 2 inputs, 1 unit. With one output, fastnn takes the sigmoid and the
# binary cross-entropy.

net = fastnn.Network([2, 1], seed=0)
print(net.summary())
ax = plots.network_diagram(net, inputs=["x1", "x2"], outputs=["a"])
ax.figure.suptitle("Logistic regression as a network")

# %%
# Training
# --------
# Each epoch goes through all samples once. The loss becomes smaller from epoch to
# epoch.

history = net.fit(X, y, epochs=30, optimizer=fastnn.SGD(lr=0.1))
ax = history.plot()
ax.set_title("The loss of each epoch")

# %%
# What the network has learned
# ----------------------------
# The decision boundary is where :math:`a = 1/2`. There :math:`z = 0`, so it is the
# straight line :math:`w_1 x_1 + w_2 x_2 + b = 0`.

[(W, b)] = net.parameters
print("W =", W, " b =", b, " accuracy =", net.evaluate(X, y)["accuracy"])

ax = plots.decision_boundary(net, X, y)
ax.set_title("The decision boundary is a straight line")

# %%
# The same numbers by hand
# ------------------------
# Three lines of NumPy compute the same prediction and the same loss.

Z = W @ X + b
A = 1 / (1 + np.exp(-Z))
J = -np.mean(y * np.log(A) + (1 - y) * np.log(1 - A))

print(
    "largest difference of the predictions:", f"{np.abs(A - net.predict(X)).max():.0e}"
)
print("loss by hand:", J.round(6), " by fastnn:", round(net.loss(X, y), 6))
