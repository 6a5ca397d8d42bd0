"""Threads with 64 kB of stack: those of a caller's own making, and OpenMP's by OMP_STACKSIZE.

That no function needs much: packaging/test_compilers.py, which has the compiler tell.
"""

import pytest

from case_helpers import python
from conftest import COMPILED, SANITIZED, each_isa_slowly

needs_core = pytest.mark.skipif(COMPILED is None or SANITIZED, reason="the extension is not here, or takes more stack")

WORK = """
import os, sys, threading
import numpy as np
import fastnn
from fastnn import Adam, Network, SGD, kernels
from fastnn.tables import ACTIVATIONS, LOSSES
rng = np.random.default_rng(0)

def arrays(n, k, m, dtype, order):
    for shape in ((n, k), (k, m), (n, 1), (n, m)):
        yield np.asarray(rng.standard_normal(shape, "f4"), dtype, order=order)

def work(shapes, threads):
    for n, k, m in shapes:
        for dtype in ("f4", "f8"):
            for order in "FC":
                W, X, b, Z = arrays(n, k, m, dtype, order)
                strided = np.repeat(Z[:, :2000], 2, axis=1)[:, ::2]
                for g in ACTIVATIONS:
                    A = kernels.linear_forward(W, X, b, g)
                    kernels.linear_backward(A, X, W)
                    kernels.activation_backward(A, kernels.activation_forward(Z, g), g, Z=Z)
                    kernels.activation_forward(strided, g)
                kernels.rowsum(Z), kernels.rowsum(strided)
                y = np.arange(m) % n if n > 1 else Z > 0
                targets = {"probabilities": np.abs(Z) / 9, "classes": y, "counts": np.abs(Z)}
                for loss, row in LOSSES.items():
                    target = targets.get(row.targets, Z[: row.target_rows(n)])
                    if n > (row.targets in ("classes", "means")) and (row.targets != "means" or n % 2 == 0):
                        kernels.loss_forward(Z, target, loss)
                        kernels.loss_backward(Z, target, loss)
                for optimizer in (SGD(), Adam()):
                    moments = tuple(np.zeros_like(W) for _ in range(optimizer.slots))
                    kernels.optimizer_update(optimizer, W, W, moments)
            X, y = X.astype("f4"), np.arange(m) % max(n, 2)
            net = Network([k, 40, n, max(n, 2)], seed=0, threads=threads, dtype=dtype)
            net.predict(X), net.loss(X, y), net.gradients(X, y)
            net.update(net.backward(X, net.predict(X))[0])
            net.train_step(X, y, loss=lambda A, y: ((A * A).sum(axis=0), 2 * A))
            net.train_step(X, y), net.train_step(X, y, Adam())
            net.fit(X, y, 1, None, Adam(), progress=False)
            net.fit(X, y, 1, max(m // 2, 1), SGD(momentum=0.9), progress=False)
"""

IN_A_THREAD = (
    WORK
    + """
work([(2, 3, 4)], 1)  # what is imported when it is first needed takes more
threading.stack_size(64 * 1024)
failed = []
def run():
    try:
        work([(1, 1, 1), (3, 5, 1), (2, 3, MOST), (300, 200, 150), (40, 700, 33), (1030, 7, 70), (14, 2100, 5)], 1)
    except BaseException as error:
        failed.append(error)
thread = threading.Thread(target=run)
thread.start()
thread.join()
print(failed or "done")
"""
)

IN_A_TEAM = (
    WORK
    + """
fastnn.set_threads(4)
work([(700, 300, 300), (20, 60, 20_000), (1030, 100, 150)], 4)
print("done")
"""
)


@needs_core
# Where the vectors are largest, the functions need the most.
@each_isa_slowly
@pytest.mark.parametrize("most", ["20_000", pytest.param("100_000", marks=pytest.mark.slow)])
def test_a_thread_of_64_kb(isa, most):
    assert python(IN_A_THREAD.replace("MOST", most), "compiled", FASTNN_ISA=isa).strip() == "done"


@pytest.mark.slow
@needs_core
def test_openmp_threads_of_64_kb():
    assert python(IN_A_TEAM, "compiled", OMP_STACKSIZE="64k", OMP_NUM_THREADS="4").strip() == "done"
