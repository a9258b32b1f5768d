"""The small concave quadratic programme over the simplex that each Newton step of a head solves."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FloatArray = NDArray[np.float64]


def maximise_on_simplex(linear: _FloatArray, quadratic: _FloatArray) -> _FloatArray:
    """Return the weights q on the simplex that maximise ``linear @ q - q @ quadratic @ q / 2``.

    A primal active-set method: the support grows by the entry with the largest gradient and
    shrinks whenever the solution on the support would turn a weight negative.

    Parameters
    ----------
    linear : ndarray of shape (G,), float64
        Linear gain of each entry.
    quadratic : ndarray of shape (G, G), float64
        Symmetric positive semi-definite curvature. A singular one is allowed.

    Returns
    -------
    ndarray of shape (G,), float64
        Non-negative weights that sum to one.

    Examples
    --------
    >>> maximise_on_simplex(np.array([1.0, 1.0, 0.0]), np.eye(3)).tolist()
    [0.5, 0.5, 0.0]
    """
    n = linear.size
    scale = max(float(np.abs(linear).max()), float(np.abs(quadratic).max()), 1e-300)
    # the ridge makes the equations on a support solvable when two groups have equal gradients
    curvature = quadratic / scale + 1e-14 * np.eye(n)
    gain = linear / scale
    weights = np.zeros(n)
    weights[np.argmax(gain - np.diag(curvature) / 2)] = 1.0
    for _ in range(20 * n + 20):
        support = np.flatnonzero(weights)
        target = np.zeros(n)
        target[support], level = _stationary(gain[support], curvature[np.ix_(support, support)])
        negative = support[target[support] <= 0]
        if negative.size:
            steps = weights[negative] / (weights[negative] - target[negative])
            first = negative[np.argmin(steps)]
            weights += steps.min() * (target - weights)
            weights[first] = 0.0
            continue
        weights = target
        excess = gain - curvature @ weights - level
        excess[support] = -np.inf
        best = int(np.argmax(excess))
        if excess[best] <= 1e-13:
            break
        weights[best] = 1e-300  # enters the support; the next target gives it its weight
    weights = np.maximum(weights, 0.0)
    return weights / weights.sum()


def _stationary(gain: _FloatArray, curvature: _FloatArray) -> tuple[_FloatArray, float]:
    """Solve the optimality conditions on one support: weights that sum to one, and the level."""
    m = gain.size
    system = np.ones((m + 1, m + 1))
    system[:m, :m] = curvature
    system[m, m] = 0.0
    solution: Any = np.linalg.solve(system, np.append(gain, 1.0))
    return solution[:m], float(solution[m])
