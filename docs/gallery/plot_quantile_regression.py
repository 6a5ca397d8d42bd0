"""
Regression on a table, with quantiles
=====================================

How long will a delivery take? A single number is only half of the answer: we also want to know how far off it may
be. Here one network predicts three quantiles of the same target: in 5%, 50% and 95% of all cases the delivery takes
at most so long.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets

# sphinx_gallery_thumbnail_number = 3

# %%
# The data
# --------
#
# We make a table of 10,000 deliveries, so that we know the truth. Its columns have very different units. The delays
# are not symmetric, and they grow with the distance: so no single "plus or minus" is right for all rows.

m = 10_000
rng = np.random.default_rng(0)
distance = rng.gamma(2.0, 4.0, m)  # km
weight = rng.uniform(100, 20_000, m)  # g
hour = rng.uniform(8, 20, m)  # of the day
rain = rng.random(m) < 0.25
X = np.array([distance, weight, hour, rain])  # (4, m): columns are samples

typical = 10 + 2.5 * distance + weight / 4000 + 12 * np.exp(-((hour - 17.5) ** 2)) + 0.8 * rain * distance
minutes = typical + (1 + 0.25 * distance) * rng.gamma(3, 0.75, m)

X_train, y_train, X_test, y_test = datasets.shuffled_split(X, minutes, n_test=3000, seed=0)

# %%
# The network
# -----------
#
# There is one output for each level. With the loss ``quantile``, the error y - a of an output with level q costs q
# for each minute that it is too low, and 1 - q for each minute that it is too high. The cheapest number is then the
# quantile. ``adapt`` measures the mean and the scale of each column and of the target; from then on the network
# standardises by itself. So it takes kilometres and grams as they are, and it answers in minutes.

levels = [0.05, 0.5, 0.95]
net = fastnn.Network([4, 64, 32, len(levels)], loss=("quantile", {"levels": levels}), seed=0)
net.adapt(X_train, y_train)
history = net.fit(
    X_train,
    y_train,
    epochs=200,
    batch_size=64,
    optimizer=fastnn.Adam(fastnn.schedules.Cosine(0.003, length=200)),
    validation_split=0.1,
    early_stopping=fastnn.EarlyStopping(patience=30),
    progress=False,
)
print(f"{len(history.loss)} epochs, the best was epoch {history.best_epoch + 1}")
fastnn.plots.loss_curve(history).set_title("Loss of the standardised network")
plt.show()

# %%
# Are the quantiles right?
# ------------------------
#
# We count on deliveries that the network has not seen. Of these, a share of about q should take less time than the
# quantile of level q.

low, middle, high = net.predict(X_test)
for level, a in zip(levels, (low, middle, high), strict=True):
    print(f"level {level:.2f}: {np.mean(y_test <= a):.3f} of the deliveries take at most so long")
print(f"between the outer two levels: {np.mean((low <= y_test) & (y_test <= high)):.3f}, wanted 0.900")
print(f"mean absolute error of the middle level: {np.abs(middle - y_test).mean():.2f} minutes")
print(f"mean absolute error of a constant: {np.abs(np.median(y_train) - y_test).mean():.2f} minutes")

# %%
# Each delivery is a point below, its bar reaches from the first to the last level. Long deliveries have longer
# bars.

some = slice(0, 200)
ax = fastnn.plots.regression_fit(net, X_test[:, some], y_test[some])
ax.set(title="200 deliveries that were not trained on", xlabel="true minutes", ylabel="predicted minutes")
plt.show()

# %%
# What the network has learned about one column: we hold the others fixed, and let the hour run. The dotted lines
# are the true quantiles. We know them because we made the data: they are those of a gamma distribution, here from
# 100,000 draws.

hours = np.linspace(8, 20, 121)
grid = np.array([np.full(121, 8.0), np.full(121, 5000.0), hours, np.zeros(121)])  # 8 km, 5 kg, no rain
low, middle, high = net.predict(grid)
true_typical = 10 + 2.5 * 8 + 5000 / 4000 + 12 * np.exp(-((hours - 17.5) ** 2))
true = true_typical + (1 + 0.25 * 8) * np.quantile(rng.gamma(3, 0.75, 100_000), levels)[:, np.newaxis]

figure, ax = plt.subplots(layout="constrained")
ax.fill_between(hours, low, high, color="#0072B2", alpha=0.25, label="levels 0.05 to 0.95")
ax.plot(hours, middle, color="#0072B2", label="level 0.5")
ax.plot(hours, true.T, ":", color="#D55E00", label=["true quantiles", None, None])
ax.set(title="8 km, 5 kg, no rain", xlabel="hour of the day", ylabel="minutes")
ax.legend(loc="upper left")
plt.show()
