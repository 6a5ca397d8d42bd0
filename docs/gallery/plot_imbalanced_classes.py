"""
Classes of very different size
==============================

One sample in fifty is a fault, the others are fine. A network that always says "fine" is right in 98% of all cases,
and it is useless. This page shows how to train and how to measure in such a case.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets

# sphinx_gallery_thumbnail_number = 2

# %%
# The data: two sensors of a machine. Faults lie on a ring around the normal states, and the two overlap.

m = 40_000
rng = np.random.default_rng(3)
y = (rng.random(m) < 0.02).astype(int)  # 1 is a fault
angle = rng.uniform(0, 2 * np.pi, m)
ring = 2.6 * np.array([np.cos(angle), np.sin(angle)])
X = rng.standard_normal((2, m)) * np.where(y, 0.5, 0.8) + ring * y

X_train, y_train, X_test, y_test = datasets.shuffled_split(X, y, n_test=16_000, seed=0)
print(f"faults: {y_train.sum()} of {len(y_train)} for training, {y_test.sum()} of {len(y_test)} for the test")

# %%
# With ``class_weight="balanced"`` both classes count as much as each other: a fault has weight m / (2 m_fault),
# here about 25, and a normal sample weight m / (2 m_normal), about 0.5. Everything else is the same in the two
# trainings.


def trained(class_weight):
    net = fastnn.Network([2, 32, 1], ["tanh", "sigmoid"], seed=0)
    net.fit(
        X_train,
        y_train,
        epochs=100,
        batch_size=256,
        optimizer=fastnn.Adam(fastnn.schedules.Cosine(0.02, length=100)),
        class_weight=class_weight,
        progress=False,
    )
    return net


nets = {"equal weights": trained(None), "balanced": trained("balanced")}

# %%
# Accuracy hides what we want to know. Recall is the share of the faults that are found; precision is the share of
# the alarms that are faults. ``auc`` asks how well the outputs put the samples in order; it does not depend on a
# threshold.

print(f"{'':<15}{'accuracy':>9}{'recall':>8}{'precision':>10}{'auc':>7}")
for label, net in nets.items():
    found = net.predict_classes(X_test)
    hits = np.sum((found == 1) & (y_test == 1))
    scores = net.evaluate(X_test, y_test, metrics=["auc"])
    recall, precision = hits / y_test.sum(), hits / found.sum()
    print(f"{label:<15}{scores['accuracy']:>9.3f}{recall:>8.2f}{precision:>10.2f}{scores['auc']:>7.3f}")

# %%
# The balanced network has the lower accuracy, and it misses far fewer faults. Whether that is better depends on
# what a missed fault costs, and what a false alarm costs.

figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for ax, (label, net) in zip(axes, nets.items(), strict=True):
    fastnn.plots.confusion_matrix(net, X_test, y_test, classes=["fine", "fault"], ax=ax)
    ax.set_title(label)
plt.show()

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for ax, (label, net) in zip(axes, nets.items(), strict=True):
    fastnn.plots.decision_boundary(net, X_test[:, :3000], y_test[:3000], classes=["fine", "fault"], ax=ax)
    ax.set_title(label)
plt.show()

# %%
# The price of weights
# --------------------
#
# The output of the balanced network is no longer the probability of a fault: it is the probability in a world where
# one sample in two is a fault. To get back, divide the odds by the ratio of the two weights. Then the outputs mean
# what they say.

share = y_train.mean()
ratio = (1 - share) / share  # the weight of a fault over that of a normal sample
a = nets["balanced"].predict(X_test)[0].astype(float)
odds = a / (1 - a) / ratio
corrected = odds / (1 + odds)

print(f"share of faults in the test: {y_test.mean():.4f}")
print(f"mean output, equal weights:  {nets['equal weights'].predict(X_test).mean():.4f}")
print(f"mean output, balanced:       {a.mean():.4f}")
print(f"mean output, corrected:      {corrected.mean():.4f}")

# %%
# A threshold of one's own does the same as a weight, and you may choose it after the training: with equal weights,
# each output above 1 / (1 + ratio) is an alarm. Choose a threshold by data that you have neither trained on nor
# test with.

thresholds = np.geomspace(0.001, 0.9, 200)
figure, ax = plt.subplots(layout="constrained")
for (label, a), colour in zip(
    {"equal weights": nets["equal weights"].predict(X_test)[0], "balanced, corrected": corrected}.items(),
    ["#0072B2", "#D55E00"],
    strict=True,
):
    alarms = a > thresholds[:, np.newaxis]
    hits = (alarms & (y_test == 1)).sum(axis=1)
    ax.plot(hits / y_test.sum(), hits / np.maximum(alarms.sum(axis=1), 1), color=colour, label=label)
ax.set(xlabel="recall", ylabel="precision", title="Every threshold is one point", xlim=(0, 1.02), ylim=(0, 1.02))
ax.legend()
plt.show()
