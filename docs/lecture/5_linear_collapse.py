r"""
Why linear activations collapse
===============================

What happens without a nonlinear activation? Then each layer is a linear map, and a
chain of linear maps is again a linear map:

.. math::

   Z^{[2]} = W^{[2]} \left(W^{[1]} X + b^{[1]}\right) + b^{[2]} = W X + b
   \qquad \text{with} \qquad W = W^{[2]} W^{[1]}, \quad b = W^{[2]} b^{[1]} + b^{[2]}

So the deepest network with linear activations can do no more than one layer. The
activation ``"identity"`` is :math:`g(z) = z`, and ``net.collapse()`` computes this
:math:`W` and :math:`b`.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import plots

# %%
# Four layers that are one
# ------------------------

sizes = [2, 20, 20, 10, 1]
linear = fastnn.Network(sizes, ["identity"] * 3 + ["sigmoid"], seed=0)
print("parameters of the network:", linear.n_params)

W, b = linear.collapse()
print("parameters of the linear map:", W.size + b.size)

X = np.random.default_rng(0).uniform(-1, 1, (2, 5))
print("network:   ", linear.predict(X))
print("linear map:", 1 / (1 + np.exp(-(W @ X + b))))

# %%
# The picture
# -----------
# A ring around a disc: no straight line separates them. Both networks have the same
# sizes and are trained in the same way. Only their activations are different.

rng = np.random.default_rng(0)
y = np.arange(400) % 2
radius = np.where(y == 1, 1.2, 0.5) + 0.15 * rng.standard_normal(400)
angle = rng.uniform(0, 2 * np.pi, 400)
X = np.array([radius * np.cos(angle), radius * np.sin(angle)])

_, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, g in zip(axes, ("identity", "tanh"), strict=True):
    net = fastnn.Network(sizes, [g, g, g, "sigmoid"], seed=0)
    net.fit(X, y, epochs=100, optimizer=fastnn.Adam(lr=0.01))
    plots.decision_boundary(net, X, y, ax=ax)
    ax.get_legend().remove()
    accuracy = net.evaluate(X, y)["accuracy"]
    ax.set_title(f"hidden activations {g}: accuracy {accuracy:.2f}")

# %%
# A network with a nonlinear hidden activation is no linear map, and fastnn says so.

try:
    net.collapse()
except ValueError as error:
    print(error)
