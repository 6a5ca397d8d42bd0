"""
ONNX in and out
===============

ONNX is a file format for trained networks, which most tools of machine learning read. ``fastnn.exchange.to_onnx``
writes such a file, and ``from_onnx`` reads one. This page gives a network to ONNX Runtime, compares the outputs and
the time, and takes the network back to train it further.

It needs the packages onnx and onnxruntime.
"""
# Needs: onnx, onnxruntime

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnx
import onnxruntime

import fastnn
from fastnn import datasets

# %%
# A network for the digits. ``adapt`` makes it standardise its inputs.

X, y = datasets.load_digits()
X_train, y_train, X_test, y_test = datasets.shuffled_split(X, y, n_test=360, seed=0)

net = fastnn.Network([64, 64, 10], ["silu", "softmax"], norm="layer", seed=0)
net.adapt(X_train)
net.fit(X_train, y_train, epochs=10, batch_size=32, optimizer=fastnn.Adam(0.003), progress=False)
print(f"test accuracy {net.evaluate(X_test, y_test)['accuracy']:.3f}")

# %%
# Out
# ---
#
# In the file the samples are rows, as users of ONNX expect: the input X is (batch, 64), the output A is (batch,
# 10). The standardisation is in the file, too: Sub subtracts the means, and the scales are part of the first Gemm.

folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "digits.onnx"
fastnn.exchange.to_onnx(net, path)
print("nodes:", ", ".join(node.op_type for node in onnx.load(path).graph.node))
print(f"{path.stat().st_size:,} bytes")

# %%
# ONNX Runtime computes the same outputs, but for rounding.

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1  # its best setting for one small sample
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
rows = np.ascontiguousarray(X_test.T)
(A,) = session.run(None, {"X": rows})
print(f"largest difference: {np.abs(A.T - net.predict(X_test)).max():.1e}")

# %%
# One sample at a time, as an on-line service asks: how long does an answer take? Both have their weights bound
# before the clock starts. For large batches the two come closer to each other, because then the products take most
# of the time.


def microseconds(call, times=2000):
    """The median time of a call."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return 1e6 * np.median(found)


predict, x, row = net.predictor(), X_test[:, :1], rows[:1]
taken = {
    "fastnn predictor": microseconds(lambda: predict(x)),
    "ONNX Runtime": microseconds(lambda: session.run(None, {"X": row})),
}
figure, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
bars = ax.barh(list(taken), list(taken.values()), color=["#0072B2", "#999999"])
ax.bar_label(bars, fmt="%.1f us", padding=4)
ax.margins(x=0.15)
ax.invert_yaxis()
ax.set(xlabel="microseconds for one sample (shorter is better)", title="64-64-10 with layer norm")
plt.show()

# %%
# In
# --
#
# ``from_onnx`` makes a Network of the file, which can be trained on. It reads what torch.onnx and skl2onnx write,
# too. A node that no Network has is refused by its name. The training loss is not in the file; by default it is the
# one that belongs to the output.

same = fastnn.exchange.from_onnx(path)
print(same.summary())
print(f"largest difference: {np.abs(same.predict(X_test) - net.predict(X_test)).max():.1e}")
same.fit(X_train, y_train, epochs=10, batch_size=32, optimizer=fastnn.Adam(0.001), progress=False)
print(f"test accuracy after ten more epochs {same.evaluate(X_test, y_test)['accuracy']:.3f}")

# %%
folder.cleanup()
