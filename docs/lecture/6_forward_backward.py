r"""
Forward and backward, with caches
=================================

The forward pass goes from the inputs to the loss. Each layer keeps its arrays in a
*cache*. The backward pass goes from the loss to the inputs, and uses them.

.. list-table::
   :class: formulas
   :header-rows: 1
   :widths: 50 50

   * - formula, for layer :math:`l`
     - ``fastnn.kernels``
   * - :math:`Z^{[l]} = W^{[l]} A^{[l-1]} + b^{[l]}`
     - ``Z = linear_forward(W, A_prev, b)``
   * - :math:`A^{[l]} = g(Z^{[l]})`
     - ``A = activation_forward(Z, g)``
   * - :math:`dZ^{[L]} = A^{[L]} - Y` (cross-entropy)
     - ``dZ = loss_backward(Z, y, loss)``
   * - :math:`dW^{[l]} = \dfrac{1}{m}\, dZ^{[l]} A^{[l-1]T}`
     - ``dW, db, dA_prev =``
   * - :math:`db^{[l]} = \dfrac{1}{m} \sum_i dZ^{[l](i)}`
     - ``linear_backward(dZ, A_prev, W)``
   * - :math:`dA^{[l-1]} = W^{[l]T} dZ^{[l]}`
     - computes all three
   * - :math:`dZ^{[l-1]} = dA^{[l-1]} * g'(Z^{[l-1]})`
     - ``dZ = activation_backward(dA, A, g, Z)``
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import kernels

rng = np.random.default_rng(0)
m = 6
X, y = rng.standard_normal((4, m)), rng.integers(0, 3, m)
net = fastnn.Network([4, 5, 3], ["tanh", "softmax"], dtype="float64", seed=0)

# %%
# Forward
# -------
# ``net.forward(X, cache=True)`` returns the outputs and one cache for each layer.

A, caches = net.forward(X, cache=True)
for layer, cache in enumerate(caches, start=1):
    shapes = [f"{name} {array.shape}" for name, array in cache.items()]
    print(f"layer {layer}:", ", ".join(shapes))
print("outputs:", A.shape, " sums of the columns:", A.sum(axis=0).round(12))

# %%
# The same by hand, one call for each formula:

A_prev = X
for (W, b), g in zip(net.parameters, net.activations, strict=True):
    Z = kernels.linear_forward(W, A_prev, b)
    A_prev = kernels.activation_forward(Z, g)
print("the same outputs:", np.allclose(A_prev, A))

# %%
# Backward
# --------
# The loop goes through the layers from the last to the first. Each derivative has the
# shape of its array: :math:`dW` that of :math:`W`, :math:`dA` that of :math:`A`.

gradients = []
dZ = kernels.loss_backward(caches[-1]["Z"], y, "cross_entropy")
for layer in (2, 1):
    cache = caches[layer - 1]
    dW, db, dA_prev = kernels.linear_backward(dZ, cache["A_prev"], cache["W"])
    gradients.insert(0, (dW, db))
    print(f"layer {layer}: dZ {dZ.shape}, dW {dW.shape}, db {db.shape}")
    if layer > 1:
        before = caches[layer - 2]
        g = net.activations[layer - 2]
        dZ = kernels.activation_backward(dA_prev, before["A"], g, before["Z"])

# %%
# ``net.gradients`` does all of this in one call, and gives the same numbers. The picture
# shows the whole step: forward on the left, downwards, and backward on the right, upwards.
# The cache of a layer connects the two.

J, by_network = net.gradients(X, y)
for layer in (1, 2):
    (dW, db), (its_dW, its_db) = gradients[layer - 1], by_network[layer - 1]
    print(f"layer {layer}:", np.allclose(dW, its_dW), np.allclose(db, its_db))
# sphinx_gallery_start_ignore


def box(ax, x, y, text, colour):
    """One step of the computation."""
    style = {"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": "0.4"}
    middle = {"ha": "center", "va": "center"}
    ax.text(x, y, text, bbox=style, fontsize=10, linespacing=1.5, **middle)


def arrow(ax, start, end, **more):
    """From one step to the next."""
    look = {"arrowstyle": "-|>", "color": "0.3", "shrinkA": 0, "shrinkB": 0, **more}
    ax.annotate("", end, start, arrowprops=look)


_, ax = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
forward, backward, loss = "#d6e9f5", "#fbe0d0", "#e8e8e8"
box(ax, 0, 3, "X (4, 6)", loss)
box(ax, 0, 2, "Z = W X + b, A = tanh(Z)\nW (5, 4)   A (5, 6)", forward)
box(ax, 0, 1, "Z = W A + b, A = softmax(Z)\nW (3, 5)   A (3, 6)", forward)
box(ax, 0.5, 0, "loss J", loss)
box(ax, 1, 1, "dZ = A - Y (3, 6)\ndW (3, 5)   db (3, 1)", backward)
box(ax, 1, 2, "dZ = dA * tanh'(Z) (5, 6)\ndW (5, 4)   db (5, 1)", backward)
for start, end in (
    ((0, 2.83), (0, 2.26)),
    ((0, 1.74), (0, 1.26)),
    ((0, 0.74), (0.38, 0.05)),
    ((0.62, 0.05), (1, 0.74)),
    ((1, 1.26), (1, 1.74)),
):
    arrow(ax, start, end)
for y in (2, 1):
    arrow(ax, (0.43, y), (0.6, y), linestyle="dashed")
    ax.text(0.5, y + 0.08, "cache", fontsize=10, ha="center")
ax.text(1.03, 1.5, "dA (5, 6)", fontsize=10, va="center")
ax.set_xlim(-0.45, 1.45)
ax.set_ylim(-0.25, 3.2)
ax.axis("off")
ax.set_title("One step of a network 4-5-3 with m = 6 samples")
# sphinx_gallery_end_ignore

# %%
# A published example
# -------------------
# Exercises that go with the lecture have published results. For these arrays they give
# :math:`Z = (3.26295337, -1.23429987)`. The tests of fastnn compare all ten published
# results, to eight decimals (``tests/test_lecture.py``).

A_prev = [
    [1.6243453636632417, -0.6117564136500754],
    [-0.5281717522634557, -1.0729686221561705],
    [0.8654076293246785, -2.3015386968802827],
]
W = [[1.74481176421648, -0.7612069008951028, 0.31903909605709857]]
b = [[-0.2493703754774101]]
print(kernels.linear_forward(W, A_prev, b))
