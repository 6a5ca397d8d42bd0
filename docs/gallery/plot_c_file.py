"""
A network as a C file, for a small device
=========================================

``fastnn.exchange.to_c`` writes a trained network as one C file and its header. The file needs no library but that
of C, no heap and no operating system: it can go into a microcontroller. This page writes such a file, compiles it,
and compares what it says.

It needs a C compiler; without one, the C program is written and not run.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets

compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
if compiler is None:
    print("This machine has no C compiler: what needs one is left out below.")

# %%
# A small network
# ---------------
#
# It reads digits of 8 x 8 pixels. ``adapt`` makes the network standardise its inputs: this step is in the C file,
# too.

X, y = datasets.load_digits()  # pixels 0 to 16, as a camera gives them
X_train, y_train, X_test, y_test = datasets.shuffled_split(X, y, n_test=360, seed=0)

net = fastnn.Network([64, 24, 10], seed=0)
net.adapt(X_train)
net.fit(X_train, y_train, epochs=40, batch_size=32, optimizer=fastnn.Adam(0.003), progress=False)
print(net.summary())
print(f"test accuracy {net.evaluate(X_test, y_test)['accuracy']:.3f}")

# %%
# The C file
# ----------
#
# The function ``predict`` computes the outputs y of one sample x. With ``main=True`` the file also has a program
# around it, which reads samples from its standard input, one row each, and prints the outputs.

folder = Path(tempfile.mkdtemp())
fastnn.exchange.to_c(net, folder / "digits.c", main=True)
print((folder / "digits.h").read_text())

# %%
# The part of the C file that computes. The constants are above it, and ``main`` is below it.

source = (folder / "digits.c").read_text()
print(source[source.index("void predict") : source.index("int main")])

# %%
# Compile it and run it
# ---------------------


def outputs(c_file, X):
    """What the compiled file computes, (n_L, m)."""
    program = c_file.with_suffix("")
    subprocess.run([compiler, "-std=c99", "-O2", "-o", program, c_file, "-lm"], check=True)
    rows = "\n".join(" ".join(f"{x:g}" for x in sample) for sample in X.T)
    printed = subprocess.run([program], input=rows, capture_output=True, text=True, check=True).stdout
    return np.array([line.replace(",", " ").split() for line in printed.splitlines()], dtype=float).T


if compiler:
    A = outputs(folder / "digits.c", X_test)
    print(f"largest difference of a probability: {np.abs(A - net.predict(X_test)).max():.1e}")
    print(f"test accuracy of the C program: {np.mean(A.argmax(axis=0) == y_test):.3f}")

# %%
# Whole numbers of 8 bits
# -----------------------
#
# With ``quantize="int8"`` weights and inputs are whole numbers of 8 bits. They take a quarter of the memory, and
# small processors compute with them faster. The scales of the layers' inputs are chosen by samples such as those to
# come: ``calibration``.

fastnn.exchange.to_c(net, folder / "digits_int8.c", main=True, quantize="int8", calibration=X_train)

if compiler:
    A_int8 = outputs(folder / "digits_int8.c", X_test)
    print(f"largest difference of a probability: {np.abs(A_int8 - net.predict(X_test)).max():.3f}")
    print(f"test accuracy of the C program: {np.mean(A_int8.argmax(axis=0) == y_test):.3f}")

# %%
# How much memory does the device need? Each file says it in a comment.

for name in ("digits.c", "digits_int8.c"):
    lines = (folder / name).read_text().splitlines()
    print(name, *[line.strip(" */") for line in lines if "bytes" in line][:1], sep=": ")

# %%
# Which digits are the hard ones? The picture shows the images on which the program with 8 bits is wrong; without a
# compiler, those on which the network is wrong.

found = A_int8.argmax(axis=0) if compiler else net.predict_classes(X_test)
wrong = np.flatnonzero(found != y_test)[:8]
figure, axes = plt.subplots(1, 8, figsize=(11, 2), layout="constrained")
for ax in axes:
    ax.set_axis_off()
for ax, i in zip(axes, wrong, strict=False):
    ax.imshow(X_test[:, i].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{y_test[i]}, read as {found[i]}", fontsize=9)
plt.show()

# %%
shutil.rmtree(folder)
