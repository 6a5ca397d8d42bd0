r"""
The gradient, step by step
==========================

Training needs the derivative of the loss by each parameter. The chain rule gives it.
For logistic regression it has three links, from the loss back to the weights:

.. math::

   \frac{\partial \mathcal{L}}{\partial a} = -\frac{y}{a} + \frac{1 - y}{1 - a}, \qquad
   \frac{\partial a}{\partial z} = a (1 - a), \qquad
   \frac{\partial z}{\partial w_j} = x_j

The product of the first two is very simple:
:math:`\partial \mathcal{L} / \partial z = a - y`. We write :math:`dZ` for it, and
:math:`dW`, :math:`db` for the derivatives of the mean loss :math:`J`.

.. list-table::
   :class: formulas
   :header-rows: 1
   :widths: 50 50

   * - formula
     - fastnn
   * - :math:`dZ = A - Y`
     - ``kernels.loss_backward(Z, y, "binary_cross_entropy")``
   * - :math:`dW = \dfrac{1}{m}\, dZ\, X^T, \quad db = \dfrac{1}{m} \sum_i dz^{(i)}`
     - ``kernels.linear_backward(dZ, X)``
   * - all of it
     - ``net.gradients(X, y)``
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import kernels

rng = np.random.default_rng(1)
y = np.arange(200) % 2
X = rng.standard_normal((2, 200)) + np.where(y == 1, 1.3, -1.3)
m = X.shape[1]

net = fastnn.Network([2, 1], dtype="float64", seed=0)
[(W, b)] = net.parameters

# %%
# Forward, then backward
# ----------------------

Z = W @ X + b
A = 1 / (1 + np.exp(-Z))
dA = -y / A + (1 - y) / (1 - A)
dZ = dA * A * (1 - A)
print("dZ is A - Y:", np.allclose(dZ, A - y))

dW = dZ @ X.T / m
db = dZ.sum(axis=1, keepdims=True) / m
print("by hand   dW =", dW, " db =", db)

# %%
# Two functions of ``fastnn.kernels`` do these steps. A method of the network does all
# of them.

dZ = kernels.loss_backward(Z, y, "binary_cross_entropy")
dW, db, _ = kernels.linear_backward(dZ, X)
print("kernels   dW =", dW, " db =", db)

J, [(dW, db)] = net.gradients(X, y)
print("network   dW =", dW, " db =", db)

# %%
# The check by differences
# ------------------------
# A derivative is the limit of a quotient. So we can compute it from two values of the
# loss:
#
# .. math:: \frac{\partial J}{\partial w_1} \approx \frac{J(w_1 + \varepsilon) - J(w_1 - \varepsilon)}{2 \varepsilon}
#
# ``net.loss_and_gradient(v, X, y)`` gives the loss for any vector of parameters. Here
# :math:`v = (w_1, w_2, b)`.

v = net.flat_parameters
_, gradient = net.loss_and_gradient(v, X, y)


def difference(epsilon):
    """The quotient for w_1."""
    step = np.array([epsilon, 0, 0])
    J_above, _ = net.loss_and_gradient(v + step, X, y)
    J_below, _ = net.loss_and_gradient(v - step, X, y)
    return (J_above - J_below) / (2 * epsilon)


print("gradient  ", gradient[0])
print("difference", difference(1e-5))

# %%
# How small should :math:`\varepsilon` be? If it is large, the quotient is not yet the
# limit. If it is very small, the rounding of the loss is divided by a very small
# number. Between the two the check is exact to about ten digits.

epsilons = 10.0 ** np.arange(-13, 0.5, 0.5)
errors = [abs(difference(epsilon) - gradient[0]) for epsilon in epsilons]

_, ax = plt.subplots(layout="constrained")
ax.loglog(epsilons, errors, "o-")
ax.set_xlabel("ε")
ax.set_ylabel("error of the difference")
ax.set_title("A step of about 1e-5 is the best")

# %%
# ``net.gradient_check`` does this for all parameters of any network. It returns one
# number: the distance between gradient and differences, divided by the sum of their
# lengths. If it is below ``1e-7``, a gradient in float64 is right.

deep = fastnn.Network(
    [2, 5, 4, 1], ["tanh", "tanh", "sigmoid"], dtype="float64", seed=0
)
print(f"logistic regression: {net.gradient_check(X, y):.0e}")
print(f"three layers:        {deep.gradient_check(X, y):.0e}")

# %%
# Gradient descent
# ----------------
# The gradient points to where the loss rises most. So each step goes the other way:
# :math:`W \leftarrow W - \alpha\, dW`, :math:`b \leftarrow b - \alpha\, db`. The
# picture shows the loss for all pairs of weights, with :math:`b = 0`, and the path of
# 30 steps from a bad start.

net.set_parameters([([[-2.0, 2.5]], [0.0])])
path = [net.flat_parameters]
for _ in range(30):
    net.train_step(X, y, fastnn.SGD(lr=1.0))
    path.append(net.flat_parameters)
path = np.array(path)

w1, w2 = np.meshgrid(np.linspace(-3, 4, 60), np.linspace(-2, 4, 60))
points = zip(w1.ravel(), w2.ravel(), strict=True)
J = np.reshape([net.loss_and_gradient([*p, 0], X, y)[0] for p in points], w1.shape)

_, ax = plt.subplots(layout="constrained")
levels = np.geomspace(0.05, 4, 14)
lines = ax.contour(w1, w2, J, levels=levels, colors="#0072B2", linewidths=1)
ax.clabel(lines, fontsize=8)
ax.plot(path[:, 0], path[:, 1], "o-", color="#D55E00", markersize=4)
ax.set_xlabel("w1")
ax.set_ylabel("w2")
ax.set_title("Gradient descent on the loss of logistic regression")

# sphinx_gallery_thumbnail_number = 2
