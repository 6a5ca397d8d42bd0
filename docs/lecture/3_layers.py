r"""
Networks with two layers, and with L layers
===========================================

A network is a chain of layers. Each layer does what logistic regression does, with
several units at once and with an activation :math:`g` of its own. The outputs of one
layer are the inputs of the next.

.. list-table::
   :class: formulas
   :header-rows: 1
   :widths: 50 50

   * - formula
     - fastnn
   * - :math:`Z^{[1]} = W^{[1]} X + b^{[1]}, \quad A^{[1]} = \tanh(Z^{[1]})`
     - ``net = Network([2, 4, 1], ["tanh", "sigmoid"])``
   * - :math:`Z^{[2]} = W^{[2]} A^{[1]} + b^{[2]}, \quad A^{[2]} = \sigma(Z^{[2]})`
     - ``A = net.forward(X)``
   * - :math:`Z^{[l]} = W^{[l]} A^{[l-1]} + b^{[l]}, \quad A^{[l]} = g(Z^{[l]})`, :math:`l = 1 \ldots L`
     - ``Network([n_0, n_1, ..., n_L])``
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import plots

# %%
# Two layers
# ----------
# The input is not counted as a layer. So this network has two layers: a hidden layer
# with 4 units, and the output. A blue or orange line is a weight; the colour is its
# sign, the width its size.

two = fastnn.Network([2, 4, 1], ["tanh", "sigmoid"], seed=3)
print(two.summary())
ax = plots.network_diagram(two, inputs=["x1", "x2"], outputs=["a"])
ax.figure.suptitle("A network with 2 layers")

# %%
# L layers
# --------
# A longer list of sizes is a deeper network. The shape of each :math:`W^{[l]}` is
# :math:`(n_l, n_{l-1})`, the units of its layer times the units of the layer before.

deep = fastnn.Network([2, 8, 8, 4, 1], ["tanh", "tanh", "tanh", "sigmoid"], seed=3)
for layer, (W, b) in enumerate(deep.parameters, start=1):
    print(f"layer {layer}: W {W.shape}, b {b.shape}")

ax = plots.network_diagram(deep, inputs=["x1", "x2"], outputs=["a"])
ax.figure.suptitle("A network with L = 4 layers")

# %%
# What more layers can do
# -----------------------
# A straight line cannot separate two spirals. So logistic regression fails. Four hidden
# units draw a simple curve, which is wrong for a few points. The network with four
# layers follows the spirals.

rng = np.random.default_rng(0)
y = np.arange(300) % 2
turn = np.sqrt(rng.random(300)) * 2 * np.pi
X = np.array([np.cos(turn + np.pi * y), np.sin(turn + np.pi * y)]) * turn / 3
X += 0.06 * rng.standard_normal((2, 300))

networks = {
    "no hidden layer": fastnn.Network([2, 1], seed=3),
    "2 layers, 4 hidden units": two,
    "4 layers, 20 hidden units": deep,
}
_, axes = plt.subplots(1, 3, figsize=(9.6, 3.6), layout="constrained")
for ax, (name, net) in zip(axes, networks.items(), strict=True):
    net.fit(X, y, epochs=600, optimizer=fastnn.Adam(lr=0.01))
    plots.decision_boundary(net, X, y, ax=ax)
    ax.get_legend().remove()
    accuracy = net.evaluate(X, y)["accuracy"]
    ax.set_title(f"{name}\naccuracy {accuracy:.2f}", fontsize="medium")

# sphinx_gallery_thumbnail_number = 2
