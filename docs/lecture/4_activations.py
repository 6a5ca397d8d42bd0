r"""
Activations and their derivatives
=================================

The activation :math:`g` is applied to each number of :math:`Z`. The backward pass needs
its derivative: :math:`dZ = dA * g'(Z)`, where :math:`*` multiplies element by element.
For most activations, :math:`g'` is computed from :math:`a = g(z)`, which the forward
pass has kept.

.. list-table::
   :header-rows: 1
   :widths: 22 43 35

   * - name in fastnn
     - activation :math:`g(z)`
     - slope :math:`g'(z)`
   * - ``"sigmoid"``
     - :math:`1 / (1 + e^{-z})`
     - :math:`a (1 - a)`
   * - ``"tanh"``
     - :math:`\tanh z`
     - :math:`1 - a^2`
   * - ``"relu"``
     - :math:`\max(z, 0)`
     - 1 where :math:`z > 0`, else 0
   * - ``"leaky_relu"``
     - :math:`z` where :math:`z > 0`, else :math:`0.01\, z`
     - 1 where :math:`z > 0`, else 0.01
   * - ``"elu"``
     - :math:`z` where :math:`z > 0`, else :math:`e^z - 1`
     - 1 where :math:`z > 0`, else :math:`a + 1`
   * - ``"gelu"``
     - :math:`z\, \Phi(z)`
     - :math:`\Phi(z) + z\, \Phi'(z)`
   * - ``"silu"``
     - :math:`z\, \sigma(z)`
     - :math:`\sigma(z) + z\, \sigma(z) (1 - \sigma(z))`
   * - ``"softplus"``
     - :math:`\log(1 + e^z)`
     - :math:`\sigma(z)`

:math:`\Phi` is the distribution function of the normal distribution.
:class:`fastnn.Network` lists all activations.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastnn import kernels

# %%
# Pictures
# --------
# ``kernels.activation_forward(Z, kind)`` computes :math:`g(Z)`.
# ``kernels.activation_backward(dA, A, kind, Z)`` computes :math:`dA * g'(Z)`; with
# :math:`dA = 1` this is :math:`g'(Z)` itself.

Z = np.linspace(-4, 4, 401)[None, :]
ones = np.ones_like(Z)

names = ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus"]
grid = {"sharex": True, "sharey": True, "layout": "constrained"}
figure, axes = plt.subplots(2, 4, figsize=(9.6, 5), **grid)
for ax, name in zip(axes.flat, names, strict=True):
    A = kernels.activation_forward(Z, name)
    slope = kernels.activation_backward(ones, A, name, Z)
    ax.axhline(0, color="0.8", linewidth=1)
    ax.plot(Z[0], A[0], label="g(z)")
    ax.plot(Z[0], slope[0], "--", label="g'(z)")
    ax.set_title(name)
    ax.set_ylim(-1.3, 3)
axes[0, 0].legend()
_ = figure.supxlabel("z")

# %%
# The derivatives are right
# -------------------------
# The same check as before: differences,
# :math:`g'(z) \approx (g(z + \varepsilon) - g(z - \varepsilon)) / 2 \varepsilon`. The
# points of the check are not 0, because relu has a corner there. fastnn takes 0 for its
# derivative at 0.

epsilon = 1e-6
at = Z + 0.003
for name in names:
    A = kernels.activation_forward(at, name)
    slope = kernels.activation_backward(ones, A, name, at)
    above = kernels.activation_forward(at + epsilon, name)
    below = kernels.activation_forward(at - epsilon, name)
    error = np.abs((above - below) / (2 * epsilon) - slope).max()
    print(f"{name:<11} largest error {error:.0e}")

# %%
# Why gradients vanish
# --------------------
# The slope of the sigmoid is 1/4 at most, and almost 0 where :math:`|z|` is large. The
# backward pass multiplies by one slope for each layer. So after ten layers of sigmoids,
# at most :math:`(1/4)^{10} \approx 10^{-6}` is left of these factors. tanh is better
# near 0, where its slope is 1. relu keeps the gradient as it is wherever :math:`z > 0`.

depth = np.arange(1, 11)
_, ax = plt.subplots(layout="constrained")
at_z = (("sigmoid", 0.0), ("sigmoid", 2.0), ("tanh", 0.5), ("relu", 0.5))
for (name, z), look in zip(at_z, ("o-", "s--", "^-.", "D:"), strict=True):
    at = np.array([[z]])
    A = kernels.activation_forward(at, name)
    slope = kernels.activation_backward([[1.0]], A, name).item()
    ax.semilogy(
        depth, slope**depth, look, label=f"{name} at z = {z:g}: slope {slope:.2f}"
    )
ax.set_xlabel("layers")
ax.set_ylabel("product of the slopes")
ax.legend()
ax.set_title("What is left of a gradient")

# %%
# Softmax
# -------
# A classifier of several classes needs one probability for each class, and their sum
# must be 1. The softmax does this for each column of :math:`Z`:
#
# .. math:: a_j = \frac{e^{z_j}}{\sum_k e^{z_k}}
#
# fastnn subtracts the largest :math:`z` first. The result is the same, and large
# numbers do no harm.

A = kernels.activation_forward(
    np.array([[1.0, 1000.0], [2.0, 1001.0], [3.0, 1002.0]]), "softmax"
)
print(A.round(3))
print("sums of the columns:", A.sum(axis=0).round(12))
