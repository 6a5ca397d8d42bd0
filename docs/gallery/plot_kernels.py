"""
fastnn.kernels inside another package's code
============================================

``fastnn.kernels`` has the operations of one layer as functions of arrays. An author of another package can use them
without a ``Network``. This page writes an autoencoder with *tied* weights, which no ``Network`` can be: its second
layer has the first one's weights, transposed. The forward pass, the backward pass and the update are a dozen calls.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, kernels

# sphinx_gallery_thumbnail_number = 2

# %%
# The formulas
# ------------
#
# The encoder is ``A1 = tanh(W X + b1)``, the decoder ``A2 = W^T A1 + b2``. The loss of a sample is the sum of the
# squared differences between A2 and X, and the derivative is ``dZ2 = 2 (A2 - X)``. W takes part twice, so its
# gradient is the sum of two products. Each line below is one of these formulas.
#
# All arrays that a step needs are made once. Each function writes into the ``out=`` that it is given, and so a step
# makes no new large array.


class TiedAutoencoder:
    """Columns of X (n, m) are samples; `n_code` numbers stand for each of them."""

    def __init__(self, n, n_code, m, seed=0):
        W = np.random.default_rng(seed).normal(0, np.sqrt(2 / (n + n_code)), (n_code, n))
        self.W, self.b1, self.b2 = W.astype(np.float32), empty((n_code, 1)), empty((n, 1))
        self.b1[:], self.b2[:] = 0, 0
        self.A1, self.dZ1 = empty((n_code, m)), empty((n_code, m))
        self.A2, self.dZ2 = empty((n, m)), empty((n, m))
        self.dW, self.dW2T, self.db1, self.db2 = (
            empty((n_code, n)),
            empty((n, n_code)),
            empty((n_code, 1)),
            empty((n, 1)),
        )
        self.moments = [(np.zeros_like(P), np.zeros_like(P)) for P in (self.W, self.b1, self.b2)]  # of Adam
        self.steps = 0

    def forward(self, X):
        kernels.linear_forward(self.W, X, self.b1, "tanh", out=self.A1)
        return kernels.linear_forward(self.W.T, self.A1, self.b2, out=self.A2)

    def backward(self, X):
        """dW, db1, db2 of the samples of the last forward pass."""
        kernels.loss_backward(self.A2, X, "mse", out=self.dZ2)
        # With activation="tanh" the third result is not dA1 but dZ1 = dA1 * g'(Z1), in the same pass.
        out = (self.dW2T, self.db2, self.dZ1)
        kernels.linear_backward(self.dZ2, self.A1, self.W.T, out=out, activation="tanh")
        kernels.linear_backward(self.dZ1, X, out=(self.dW, self.db1, None))
        self.dW += self.dW2T.T
        return self.dW, self.db1, self.db2

    def step(self, X, optimizer):
        loss = kernels.loss_forward(self.forward(X), X, "mse")
        self.steps += 1
        for P, dP, moments in zip((self.W, self.b1, self.b2), self.backward(X), self.moments, strict=True):
            kernels.optimizer_update(optimizer, P, dP, moments, self.steps, out=(P, *moments))
        return loss


def empty(shape):
    return np.empty(shape, np.float32)


# %%
# Are the gradients right?
# ------------------------
#
# Whoever writes a backward pass should check it by differences of the loss. Here for three weights, in float64: the
# kernels take any real dtype.

X, _ = datasets.load_digits()
X = X / 16
m = 64

small = TiedAutoencoder(64, 12, m)
batch = X[:, :m].astype(np.float64)
W, b1, b2 = (P.astype(np.float64) for P in (small.W, small.b1, small.b2))


def loss(W):
    A1 = kernels.linear_forward(W, batch, b1, "tanh")
    return kernels.loss_forward(kernels.linear_forward(W.T, A1, b2), batch, "mse")


small.forward(X[:, :m])
dW = small.backward(X[:, :m])[0]
for i, j in [(0, 20), (5, 35), (11, 42)]:
    h = np.zeros_like(W)
    h[i, j] = 1e-6
    print(f"dW[{i}, {j}]: {dW[i, j]:+.6f}, by differences {(loss(W + h) - loss(W - h)) / 2e-6:+.6f}")

# %%
# Train it
# --------
#
# The optimizers are those of fastnn; their moments are arrays of ours.

codes = TiedAutoencoder(64, 12, m)
adam = fastnn.Adam(0.003)
rng = np.random.default_rng(0)
losses = []
for _ in range(60):
    order = rng.permutation(X.shape[1])
    batches = [np.asfortranarray(X[:, order[i : i + m]]) for i in range(0, len(order) - m + 1, m)]
    losses.append(np.mean([codes.step(batch, adam) for batch in batches]))

figure, ax = plt.subplots(layout="constrained")
ax.plot(np.arange(1, 61), losses, color="#0072B2")
ax.set(xlabel="epoch", ylabel="mean loss", ylim=(0, None), title="Tied autoencoder, 64 to 12 to 64")
plt.show()

# %%
# The first row of pictures are digits, the second what the twelve numbers keep of them.

codes.forward(np.asfortranarray(X[:, :m]))
figure, axes = plt.subplots(2, 10, figsize=(11, 2.6), layout="constrained")
for i, (above, below) in enumerate(axes.T):
    for ax, image in ((above, X[:, i]), (below, codes.A2[:, i])):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set_axis_off()
figure.suptitle("Digits, and what is left of them after 12 numbers")
plt.show()

# %%
# Arrays of other libraries
# -------------------------
#
# The kernels read the memory of other libraries where it is, such as that of a torch tensor on the CPU, and write
# into it as ``out=``. With ``copy="never"`` they refuse what they would have to copy: so you notice a wrong dtype
# before it costs time.

try:
    kernels.linear_forward(codes.W, X[:, :m].astype(np.float64), codes.b1, copy="never")
except ValueError as error:
    print(error)
