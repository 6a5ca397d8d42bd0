r"""
How weights start
=================

Before training, weights are random numbers. How large they are decides whether a deep
network learns at all. This page compares four starts: zeros, numbers that are too
large, numbers that are too small, and Xavier's.

.. list-table::
   :class: formulas
   :header-rows: 1
   :widths: 50 50

   * - start of each :math:`W^{[l]}`; each :math:`b^{[l]}` is 0
     - fastnn
   * - :math:`W = 0`
     - ``Network(sizes, init="zeros")``
   * - :math:`W \sim N(0, 1)`
     - ``init="normal"``
   * - :math:`W \sim N(0, 0.01)`: the standard deviation is 0.01
     - ``init=("normal", {"sd": 0.01})``
   * - :math:`W \sim N\left(0, \sqrt{2 / (n_{l-1} + n_l)}\right)`: Xavier
     - ``init="xavier"``: the default

The second number of :math:`N` is the standard deviation, here and in fastnn.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, plots

X, y = datasets.load_digits()
split = datasets.shuffled_split(X / 8 - 1, y, n_test=360, seed=0)
X_train, y_train, X_test, y_test = split

STARTS = {
    "zeros": "zeros",
    "N(0, 1)": "normal",
    "N(0, 0.01)": ("normal", {"sd": 0.01}),
    "Xavier": "xavier",
}


def network(start):
    """Four layers, the hidden ones with tanh."""
    sizes, activations = [64, 80, 80, 80, 10], ["tanh", "tanh", "tanh", "softmax"]
    return fastnn.Network(sizes, activations, init=STARTS[start], seed=0)


def histograms(start):
    """Activations A in the first row, gradients dW in the second."""
    figure, axes = plt.subplots(2, 4, figsize=(9.6, 4.6), layout="constrained")
    net = network(start)
    plots.activation_histograms(net, X_train[:, :400], ax=axes[0])
    plots.gradient_histograms(net, X_train[:, :400], y_train[:400], ax=axes[1])
    figure.suptitle(f"{start}: activations A (top), gradients dW (bottom)")


# %%
# Zeros: all units of a layer stay the same
# -----------------------------------------
# With :math:`W = 0` all units of a layer compute the same number, and get the same
# gradient. So they stay equal for ever: a layer of 80 units works as one. With tanh it
# is worse: all hidden activations are 0, and so are almost all gradients. Only the last
# biases learn.

net = network("zeros")
_, gradients = net.gradients(X_train, y_train)
for layer, (dW, db) in enumerate(gradients, start=1):
    largest = np.abs(dW).max(), np.abs(db).max()
    print("layer {}: largest |dW| {:.1e}, largest |db| {:.1e}".format(layer, *largest))

# %%
# With the sigmoid, whose value at 0 is 1/2, the layers do learn, but their units stay
# the same. The picture shows the weights of the first layer after training: one image
# of 8 x 8 pixels for each hidden unit. On the left all units are equal.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, start in zip(axes, ("zeros", "xavier"), strict=True):
    net = fastnn.Network([64, 12, 10], ["sigmoid", "softmax"], init=start, seed=0)
    net.fit(X_train, y_train, epochs=20, optimizer=fastnn.SGD(lr=0.5))
    plots.weights_as_images(net, ax=ax)
    ax.set_title(
        f"start {start}: accuracy {net.evaluate(X_test, y_test)['accuracy']:.2f}"
    )

# %%
# N(0, 1): too large
# ------------------
# A sum of 80 numbers of size 1 has a size of about :math:`\sqrt{80} \approx 9`. There
# tanh is -1 or 1, and its slope is almost 0. The layers are *saturated*.

histograms("N(0, 1)")

# %%
# N(0, 0.01): too small
# ---------------------
# Each layer makes the numbers smaller, by about :math:`0.01 \sqrt{80} \approx 0.09`. So
# the activations shrink from layer to layer (look at the numbers on the axis), and the
# gradients shrink on their way back.

histograms("N(0, 0.01)")

# %%
# Xavier: all layers alike
# ------------------------
# Xavier's start keeps the size of the numbers, forward and backward. It is from X.
# Glorot and Y. Bengio, *Understanding the difficulty of training deep feedforward
# neural networks*, 2010.

histograms("Xavier")

# %%
# What this means for training
# ----------------------------
# The same network, the same data, the same optimizer; only the start is different. With
# zeros and with N(0, 0.01), nothing is learned: the two curves lie on each other. N(0,
# 1) fits the training images in the end, but gets many of the test images wrong.

histories = {}
for start in STARTS:
    net = network(start)
    histories[start] = net.fit(
        X_train, y_train, epochs=30, optimizer=fastnn.SGD(lr=0.05)
    )
    print(f"{start:<11} accuracy {net.evaluate(X_test, y_test)['accuracy']:.3f}")

ax = plots.loss_curve(histories)
ax.set_title("The start decides how fast a network learns")

# sphinx_gallery_thumbnail_number = 4
