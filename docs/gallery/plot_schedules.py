"""
Early stopping and schedules compared
=====================================

When should a training end, and how should its learning rate fall? Here the same network learns the handwritten
digits in seven ways, from the same weights and with the same order of samples: only the learning rate differs.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, schedules

X, y = datasets.load_digits()
X_train, y_train, X_test, y_test = datasets.shuffled_split(X / 16, y, n_test=601, seed=0)
# A third set: early stopping must not look at the data that we test with.
X_train, y_train, X_val, y_val = datasets.shuffled_split(X_train, y_train, n_test=300, seed=1)

# %%
# The schedules
# -------------
#
# A schedule stands in the place of the number ``lr``. Its time is counted in epochs, also within an epoch.

EPOCHS = 60
rates = {
    "constant": 0.1,
    "Step": schedules.Step(0.2, every=15, factor=0.3),
    "Exponential": schedules.Exponential(0.2, factor=0.95),
    "InverseScaling": schedules.InverseScaling(0.3, power=0.5),
    "Cosine": schedules.Cosine(0.3, length=EPOCHS, warmup=3),
    "OneCycle": schedules.OneCycle(0.2, length=EPOCHS),
    "Plateau": schedules.Plateau(0.2, factor=0.3, patience=4),
}


def trained(lr, **options):
    net = fastnn.Network([64, 64, 32, 10], dropout=0.1, seed=0)
    history = net.fit(
        X_train,
        y_train,
        epochs=EPOCHS,
        batch_size=32,
        optimizer=fastnn.SGD(lr, momentum=0.5),
        validation_data=(X_val, y_val),
        progress=False,
        **options,
    )
    return net, history


runs = {label: trained(lr) for label, lr in rates.items()}

# %%
# ``History.lr`` is the learning rate of the last step of each epoch.

lines = ["-", "--", "-.", ":", "-", "--", "-."]
colours = ["#999999", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"]
epochs = np.arange(1, EPOCHS + 1)
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for (label, (_, history)), line, colour in zip(runs.items(), lines, colours, strict=True):
    left.plot(epochs, history.lr, line, color=colour, label=label)
    right.plot(epochs, history.val_loss, line, color=colour, label=label)
left.set(xlabel="epoch", ylabel="learning rate", title="What each schedule does")
right.set(xlabel="epoch", ylabel="validation loss", title="What comes of it", yscale="log")
right.legend(ncols=2)
plt.show()

# %%
# The table shows the last epoch. Some differences are no larger than those between two seeds: before you choose a
# schedule, run the script with other seeds, and with your data.

print(f"{'':<16}{'training loss':>14}{'validation loss':>16}{'test accuracy':>14}")
for label, (net, history) in runs.items():
    accuracy = net.evaluate(X_test, y_test)["accuracy"]
    print(f"{label:<16}{history.loss[-1]:>14.4f}{history.val_loss[-1]:>16.4f}{accuracy:>14.3f}")

# %%
# Early stopping
# --------------
#
# With few samples and no dropout a network soon knows its training data by heart. From then on the validation loss
# rises, and ``early_stopping`` ends the training: when the validation loss was no better for `patience` epochs, fit
# goes back to the weights of the best epoch.


def fitted(early_stopping):
    net = fastnn.Network([64, 128, 10], seed=0)
    history = net.fit(
        X_train[:, :300],  # few samples, so that it happens soon
        y_train[:300],
        epochs=150,
        batch_size=32,
        optimizer=fastnn.Adam(0.003),
        validation_data=(X_val, y_val),
        early_stopping=early_stopping,
        progress=False,
    )
    scores = net.evaluate(X_test, y_test)
    print(
        f"early_stopping={early_stopping}: {len(history.loss)} epochs, test loss {scores['loss']:.4f}, "
        f"accuracy {scores['accuracy']:.3f}"
    )
    return history


histories = {"to the end": fitted(None), "patience 10": fitted(10)}

# %%
# The dot is the best epoch, whose weights the network has after early stopping.

fastnn.plots.loss_curve(histories, log=True).set_title("300 training images")
plt.show()
