"""Training with SciPy's L-BFGS-B: solver="lbfgs"."""

import numpy as np
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning

from ..cautions import caution
from .epochs import not_finite


class _Objective:
    """Mean loss and penalty, and their gradient, as functions of all parameters of a network in float64.

    Of several targets it is the sum of their squared errors that is minimised, as by the other solvers. The reported
    loss is scikit-learn's: the mean over the targets.
    """

    def __init__(self, net, task, data, alpha):
        self.net, self.task, self.data = net, task, data
        weight = len(data) if data.weights is None else data.weights.sum()
        is_W = [np.full(T.size, not i) for layer in net.parameters for i, T in enumerate(layer)]
        self.decay = np.concatenate(is_W) * (alpha / weight)
        self.samples = data.X.T, task.targets(data.y, net.dtype), data.weights

    def __call__(self, v):
        loss, gradient = self.net.loss_and_gradient(v, *self.samples)
        return self.task.factor * loss + self._penalty(v), self.task.factor * gradient + self.decay * v

    def _penalty(self, v):
        return float(self.decay @ (v * v)) / 2

    def reported(self, v, value):
        """The loss as scikit-learn reports it, from the parameters and the objective's value."""
        penalty, share = self._penalty(v), self.task.reported_factor / self.task.factor
        return float(share * (value - penalty) + penalty + self.task.constant(self.data.y, self.data.weights))


class _Teller:
    """Prints the loss of each iteration."""

    def __init__(self, objective):
        self.objective, self.count = objective, 0

    def __call__(self, intermediate_result):
        self.count += 1
        loss = self.objective.reported(intermediate_result.x, intermediate_result.fun)
        print(f"Iteration {self.count}, loss = {loss:.8f}")


def minimise(estimator, net, task, data):
    """Train on all samples at once; return the number of iterations, and the loss.

    The arithmetic is that of a twin in float64: near the minimum float32 has not the digits that a line search needs.
    """
    objective = _Objective(net._in_float64(), task, data, estimator.alpha)
    found = optimize.minimize(
        objective,
        net.flat_parameters.astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
        callback=_Teller(objective) if estimator.verbose else None,
    )
    if not (np.isfinite(found.x).all() and np.isfinite(found.fun)):
        raise ValueError(not_finite(estimator))
    net.set_flat_parameters(found.x)
    count = min(int(found.nit), estimator.max_iter)
    if found.status:
        caution(
            f"lbfgs ended after {count} iterations and {found.nfev} evaluations, before it converged "
            f"({found.message}): allow more by max_iter or max_fun, or scale the data",
            ConvergenceWarning,
        )
    return count, objective.reported(found.x, found.fun)
