r"""
Cat or not: an image classifier
===============================

The lecture ends with a network that says whether an image shows a cat. We do the same
with images of clothes: *is this a coat, or not?* The images are a part of
Fashion-MNIST. This page needs Debian's package ``dataset-fashion-mnist``
(``apt-get install dataset-fashion-mnist``). Where it is missing, the page shows the
code only.

The steps are the lecture's:

1. Make one column of each image: :math:`28 \times 28` pixels become :math:`n_0 = 784`
   features. Scale them to the range 0 to 1.
2. Start the weights at random.
3. Repeat: forward pass, loss, backward pass, update. ``net.fit`` is this loop.
4. Predict, and measure the accuracy on images that the network has not seen.
"""
# Needs: dataset-fashion-mnist

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, plots

# %%
# The data
# --------
# Half of our images are coats (class 4), the others show the nine other kinds of
# clothes. We take only a small number of them: 2000 to learn from, 1000 to test.

X_train, y_train, X_test, y_test = datasets.load_fashion_mnist()


def coat_or_not(X, y, m):
    """m images, scaled, by turns a coat and something else; y is 1 for a coat."""
    is_coat = y == 4
    coats, others = np.flatnonzero(is_coat), np.flatnonzero(~is_coat)
    places = np.stack([coats[: m // 2], others[: m // 2]], axis=1).ravel()
    return X[:, places] / np.float32(255), (y[places] == 4).astype(int)


X_train, y_train = coat_or_not(X_train, y_train, 2000)
X_test, y_test = coat_or_not(X_test, y_test, 1000)
print("X_train", X_train.shape, " X_test", X_test.shape)

# %%


def show(images, titles, heading):
    """Ten images in two rows."""
    figure, axes = plt.subplots(2, 5, figsize=(8, 3.8), layout="constrained")
    for ax, image, title in zip(axes.flat, images.T, titles, strict=True):
        ax.imshow(image.reshape(28, 28), cmap="gray_r")
        ax.set_title(title, fontsize=9)
        ax.axis("off")
    figure.suptitle(heading)


NAMES = np.array(["not a coat", "coat"])
show(X_train[:, :10], NAMES[y_train[:10]], "Ten of the images to learn from")

# %%
# Three networks
# --------------
# Logistic regression, a network with two layers, and the lecture's deep network with
# four layers. All have one output with the sigmoid: the probability of a coat.
# ``early_stopping`` ends the training when the loss of the 20% of images that are kept
# aside no longer becomes smaller, and goes back to the best weights.

networks = {
    "logistic regression": [784, 1],
    "2 layers": [784, 7, 1],
    "4 layers": [784, 20, 7, 5, 1],
}
histories = {}
for name, sizes in networks.items():
    net = networks[name] = fastnn.Network(sizes, seed=1)
    histories[name] = net.fit(
        X_train,
        y_train,
        epochs=200,
        optimizer=fastnn.Adam(lr=1e-3),
        validation_split=0.2,
        early_stopping=15,
    )
    of_training = net.evaluate(X_train, y_train)["accuracy"]
    of_test = net.evaluate(X_test, y_test)["accuracy"]
    print(f"{name:<20} accuracy: training {of_training:.3f}, test {of_test:.3f}")

ax = plots.loss_curve(histories)
ax.set_title("Training and validation loss")

# %%
# What it gets wrong
# ------------------
# These are test images on which the deep network is sure, and wrong.

net = networks["4 layers"]
probability = net.predict(X_test)[0]
wrong = np.flatnonzero(net.predict_classes(X_test) != y_test)
worst = wrong[np.argsort(-np.abs(probability[wrong] - 0.5))][:10]
show(
    X_test[:, worst],
    [f"{NAMES[y_test[i]]}\nP(coat) = {probability[i]:.2f}" for i in worst],
    "Wrong answers: what it is, and what the network says",
)

# %%
# What the units look at
# ----------------------
# The weights of the first layer, as images: one for each of the 7 hidden units of the
# network with two layers. Blue is one sign, orange is the other.

ax = plots.weights_as_images(networks["2 layers"])
ax.set_title("Weights of the first layer")

# %%
# An image of your own would be predicted in the same way: 28 x 28 grey pixels, scaled
# to 0..1, as one column.

image = X_test[:, [0]]
print(f"P(coat) = {net.predict(image).item():.2f}")
print("answer:", NAMES[net.predict_classes(image)[0]], " truth:", NAMES[y_test[0]])

# sphinx_gallery_thumbnail_number = 3
