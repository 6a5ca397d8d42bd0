"""
A policy in a control loop
==========================

A cart carries a pole, and a small network decides 50 times a second whether to push it to the left or to the right.
In such a loop a network answers one sample at a time, and most of its time is not arithmetic but the way there and
back. Here we train a policy with ``net.backward`` and ``net.update``, and compare the time with the same loop in
PyTorch.

It needs the packages gymnasium and torch.
"""
# Needs: gymnasium, torch

import itertools
import time

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
import torch

import fastnn

# %%
# The policy
# ----------
#
# The input is the state: place and speed of the cart, angle and speed of the pole. The output a is the probability
# of a push to the right. After an episode we know how well each push turned out: its *advantage* G is the reward
# that came later, less what was usual. The method (REINFORCE) makes pushes with a high advantage more probable. Its
# loss for one step is ``-G log a`` if the cart was pushed to the right, and ``-G log(1 - a)`` if to the left.
# fastnn has no such loss, and it need not: we give the derivative by the output, ``dA = -G / a`` or ``G / (1 -
# a)``, and ``backward`` does the rest.
#
# Both libraries get one thread: for so small a network, more threads only wait for each other.

SIZES, RATE = [4, 32, 1], 0.01
fastnn.set_threads(1)


class FastnnPolicy:
    def __init__(self):
        self.net = fastnn.Network(SIZES, ["tanh", "sigmoid"], seed=0)
        self.optimizer = fastnn.Adam(RATE)
        self.predict = self.net.predictor()
        self.out = np.empty((1, 1), np.float32)

    def probability(self, state):
        return self.predict(state[:, np.newaxis], self.out)[0, 0]  # one sample is a column, (4, 1)

    def learn(self, X, pushed_right, G):
        a = self.net.predict(X)
        dA = np.where(pushed_right, -G / a, G / (1 - a))
        gradients, _ = self.net.backward(X, dA)
        self.net.update(gradients, self.optimizer)
        self.predict = self.net.predictor()  # a predictor keeps the weights that it was made with


# %%
# The same in PyTorch, as fast as we could make it: ``inference_mode`` for the answers, functions instead of
# modules, Adam as one fused operation, one conversion for each state. It starts from the same weights.


class TorchPolicy:
    def __init__(self):
        torch.set_num_threads(1)
        start = fastnn.Network(SIZES, ["tanh", "sigmoid"], seed=0).parameters
        arrays = [array for W, b in start for array in (W, b.ravel())]
        self.parameters = [torch.tensor(array, requires_grad=True) for array in arrays]
        self.optimizer = torch.optim.Adam(self.parameters, RATE, fused=True)

    def logits(self, rows):
        W1, b1, W2, b2 = self.parameters
        return torch.nn.functional.linear(torch.tanh(torch.nn.functional.linear(rows, W1, b1)), W2, b2)

    @torch.inference_mode()
    def probability(self, state):
        return torch.sigmoid(self.logits(torch.from_numpy(state))).item()

    def learn(self, X, pushed_right, G):
        rows, targets = torch.from_numpy(X.T), torch.from_numpy(pushed_right.astype(np.float32))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            self.logits(rows)[:, 0], targets, weight=torch.from_numpy(G)
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


# %%
# The loop
# --------
#
# An episode ends when the pole falls or the cart leaves the track, at the latest after 500 steps. After each eight
# episodes there is one update. The training ends when eight episodes together reach 475 steps on average, the
# number that is counted as solved.


def episode(environment, policy, rng, seed):
    """States (4, steps) and pushes of one episode."""
    states, pushes = [], []
    state, _ = environment.reset(seed=seed)
    for draw in rng.random(500):
        push = int(draw < policy.probability(state))
        states.append(state)
        pushes.append(push)
        state, _, fell, too_long, _ = environment.step(push)
        if fell or too_long:
            break
    return np.array(states).T, np.array(pushes)


def advantages(lengths):
    """What came after each step, discounted by 1% a step, less the mean and in standard deviations."""
    most = max(lengths)
    later = np.cumsum(0.99 ** np.arange(most))  # of 1, 2, ... steps still to come
    G = np.concatenate([later[:n][::-1] for n in lengths])
    return ((G - G.mean()) / (G.std() + 1e-6)).astype(np.float32)


def train(policy, most_rounds=70):
    """Mean length of the episodes before each update, all pushes, and the seconds of the whole."""
    environment = gymnasium.make("CartPole-v1", disable_env_checker=True)
    rng, seeds, means, pushes = np.random.default_rng(0), itertools.count(), [], []
    start = time.perf_counter()
    for _ in range(most_rounds):
        played = [episode(environment, policy, rng, next(seeds)) for _ in range(8)]
        lengths = [len(those) for _, those in played]
        means.append(np.mean(lengths))
        pushes += [those for _, those in played]
        if means[-1] >= 475:
            break
        X = np.hstack([states for states, _ in played])
        policy.learn(X, np.concatenate(pushes[-8:]), advantages(lengths))
    return means, pushes, time.perf_counter() - start


def simulate(pushes):
    """The seconds of the simulation alone, which gets the same pushes again. No policy can be faster than that."""
    environment = gymnasium.make("CartPole-v1", disable_env_checker=True)
    start = time.perf_counter()
    for seed, those in enumerate(pushes):
        environment.reset(seed=seed)
        for push in those.tolist():
            environment.step(push)
    return time.perf_counter() - start


# %%
# A step contains the simulation, the answer of the policy, and its share of the updates. Each time is the best of
# three, which are taken by turns: so a machine that is busy for a while is no advantage for one of them.

runs, steps, taken = {}, {}, {"fastnn": [], "torch": [], "simulation alone": []}
for _ in range(3):
    for label, policy in {"fastnn": FastnnPolicy, "torch": TorchPolicy}.items():
        runs[label], pushes, seconds = train(policy())
        steps[label] = sum(map(len, pushes))
        taken[label].append(seconds)
    steps["simulation alone"] = sum(map(len, pushes))
    taken["simulation alone"].append(simulate(pushes))
for label, means in runs.items():
    print(
        f"{label}: {len(means)} rounds, the last with {means[-1]:.0f} steps on average; {steps[label]:,} steps in all"
    )
times = {label: 1e6 / steps[label] * min(seconds) for label, seconds in taken.items()}  # microseconds a step
for label, microseconds in times.items():
    print(f"{label:<17}{microseconds:>6.1f} us a step")

# %%
# Both learn the same. The lines lie on each other until rounding makes the two push differently for the first time.

colours = {"simulation alone": "#999999", "torch": "#D55E00", "fastnn": "#0072B2"}
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for label, line in {"fastnn": "-", "torch": "--"}.items():
    left.plot(np.arange(1, len(runs[label]) + 1), runs[label], line, label=label, color=colours[label])
left.axhline(475, color="0.5", linewidth=1)
left.set(xlabel="round of eight episodes", ylabel="mean length (steps)", title="Learning")
left.legend()
bars = right.barh(list(colours), [times[label] for label in colours], color=list(colours.values()))
right.bar_label(bars, fmt="%.0f us", padding=4)
right.margins(x=0.15)
right.set(xlabel="microseconds a step, all included", title="Wall time (shorter is better)")
plt.show()

# %%
# What is left to gain is the simulation, which is written in Python. If yours is written in C or Cython, it can
# call the network from there: ``fastnn.ckernels`` and ``fastnn.c_function``.
