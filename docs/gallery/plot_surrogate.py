"""
A surrogate in a simulation loop, and its input gradients
=========================================================

A simulation is exact and slow. A network that has learned its results is called a *surrogate*: it answers in a
microsecond, and it also gives the derivatives of its outputs by its inputs, which a simulation often cannot give.
Here we throw a ball through the air, and search the angle and the speed that hit a target with the least effort.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

# sphinx_gallery_thumbnail_number = 3

# %%
# The simulation
# --------------
#
# A ball with air resistance; wind blows along its way. We follow it in small steps until it falls to the ground.
# The result is the distance in metres. All throws of an array are computed side by side, which is the fairest that
# NumPy can do.


def simulate(angle, speed, wind, dt=0.002):
    """Distance (m) of throws with angle (degrees), speed (m/s) and wind (m/s), arrays of one length."""
    angle, speed, wind = (np.asarray(a, dtype=float) for a in (angle, speed, wind))
    x, z = np.zeros_like(speed), np.zeros_like(speed)
    vx, vz = speed * np.cos(np.radians(angle)), speed * np.sin(np.radians(angle))
    while np.any(flying := z >= 0):
        drag = 0.01 * np.hypot(vx - wind, vz)
        x += flying * vx * dt
        z += flying * vz * dt
        vx -= flying * drag * (vx - wind) * dt
        vz -= flying * (drag * vz + 9.81) * dt
    return x - z * vx / vz  # back to the ground, z = 0


LOW, HIGH = np.array([[15.0, 10.0, -8.0], [75.0, 40.0, 8.0]])  # angle, speed, wind


def draw(m, seed):
    return np.random.default_rng(seed).uniform(LOW, HIGH, (m, 3)).T


X_train, X_test = draw(4000, seed=0), draw(1000, seed=1)  # (3, m)
y_train, y_test = simulate(*X_train), simulate(*X_test)

# %%
# The surrogate
# -------------
#
# ``adapt`` lets it take degrees and metres per second, and answer in metres. tanh and silu are smooth, so that the
# derivatives are smooth, too; relu's derivatives jump.

net = fastnn.Network([3, 48, 48, 1], ["silu", "silu", "identity"], loss="mse", seed=0)
net.adapt(X_train, y_train)
history = net.fit(
    X_train,
    y_train,
    epochs=300,
    batch_size=64,
    optimizer=fastnn.Adam(fastnn.schedules.Cosine(0.005, length=300)),
    progress=False,
)
scores = net.evaluate(X_test, y_test, metrics=["r2", "rmse"])
print(f"root mean square error {scores['rmse']:.3f} m, distances {y_test.min():.0f} to {y_test.max():.0f} m")
fastnn.plots.regression_fit(net, X_test, y_test).set_title("1,000 throws that were not trained on")
plt.show()

# %%
# Input gradients
# ---------------
#
# dA is the derivative of what interests us by the outputs, and ``net.backward(X, dA)`` returns dX, the derivative
# by the inputs. With dA = 1 this is the derivative of the distance itself. We compare it with differences of the
# simulation.

X = draw(1000, seed=2)
_, dX = net.backward(X, np.ones((1, 1000)))

step = np.array([[0.5], [0.1], [0.1]])
exact = np.array(
    [(simulate(*(X + h)) - simulate(*(X - h))) / (2 * h.sum()) for h in step * np.eye(3)[:, :, np.newaxis]]
)
names = ["by the angle (m per degree)", "by the speed (m per m/s)", "by the wind (m per m/s)"]
figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
for ax, name, right, found in zip(axes, names, exact, dX, strict=True):
    ends = [right.min(), right.max()]
    ax.plot(ends, ends, color="0.5", linewidth=1)
    ax.plot(right, found, ".", color="#0072B2", markersize=3)
    ax.set(xlabel="differences of the simulation", title=name)
    print(f"{name}: correlation {np.corrcoef(right, found)[0, 1]:.4f}")
axes[0].set_ylabel("dX of the surrogate")
plt.show()

# %%
# The loop
# --------
#
# The wind changes from throw to throw, and each throw shall come down at 45 m with the least effort. So we minimise
# ``(a - 45)^2 + 0.02 v^2`` over angle and speed: a is the distance and v the speed. In each round the derivative by
# the output is ``dA = 2 (a - 45)``; backward makes of it the derivatives by angle and speed, and we go a step
# downhill. The 200 throws are 200 columns: they are all solved at once.

TARGET, COST, THROWS = 45.0, 0.02, 200
wind = np.random.default_rng(3).uniform(-6, 6, THROWS)
X = np.array([np.full(THROWS, 45.0), np.full(THROWS, 25.0), wind])
predict = net.predictor()
rate = np.array([[0.3], [0.005]])  # degrees and m/s have different scales

misses = []
for _ in range(1000):
    a = predict(X)
    _, dX = net.backward(X, 2 * (a - TARGET))
    dX[1] += 2 * COST * X[1]
    X[:2] -= rate * np.clip(dX[:2], -100, 100)
    X[:2] = np.clip(X[:2].T, LOW[:2], HIGH[:2]).T  # the surrogate knows nothing outside of these bounds
    misses.append(np.abs(a - TARGET).mean())

distance = simulate(*X)
off = np.abs(distance - TARGET).max()
print(f"by the simulation: {distance.mean():.2f} m on average, at most {off:.2f} m off the target")

# %%
# The effort makes all throws a little short; a smaller COST brings them nearer. Against the wind the ball goes
# flatter and faster than with the wind. Each dot is a throw, found by the surrogate; the simulation was not asked.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
left.plot(misses, color="#0072B2")
left.set(
    xlabel="round", ylabel="mean distance from the target (m)", title="200 throws searched at once", ylim=(0, None)
)
dots = right.scatter(X[0], X[1], c=wind, cmap="cividis")
right.set(xlabel="angle (degrees)", ylabel="speed (m/s)", title="The throws that were found")
figure.colorbar(dots, label="wind (m/s), along the throw")
plt.show()

# %%
# Never trust a surrogate outside of the data that it was trained on. This is why the loop above clips the inputs,
# and why the last word is that of the simulation.
