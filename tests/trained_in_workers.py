"""Work for the processes of a pool, in a module that imports little."""

import numpy as np

from fastnn import Adam, Network


def trained(seed):
    """The weights of a small network, as bytes."""
    rng = np.random.default_rng(seed)
    net = Network([20, 60, 4], seed=seed)
    net.fit(rng.standard_normal((20, 300)).astype("f4"), np.arange(300) % 4, 3, optimizer=Adam(), progress=False)
    return b"".join(a.tobytes() for pair in net.parameters for a in pair)
