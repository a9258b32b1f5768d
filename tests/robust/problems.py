"""Small problems with known answers, shared by the tests of the heads."""

import numpy as np
import scipy.sparse

from septet.robust._head_problem import HeadProblem

TEN_ROWS = np.array(
    [
        (1, 2),
        (0.5, 1.5),
        (1.5, 1),
        (-1, -2),
        (-0.5, -1),
        (-1.5, -1.5),
        (1, -1.5),
        (0.2, -1),
        (-1, 1),
        (-0.4, 1.5),
    ]
)
TEN_CLASSES = np.array([1, 1, 1, 0, 0, 0, 1, 1, 0, 0])
TEN_GROUPS = np.array([3, 3, 3, 0, 0, 0, 2, 2, 1, 1])

NINE_ROWS = np.array([1, 2, 3, -1, -2, -3, 0.5, -0.5, 0.2])[:, None]
NINE_CLASSES = np.array([1, 1, 1, 0, 0, 0, 1, 0, 0])
NINE_GROUPS = np.array([0] * 6 + [1] * 3)


def overlapping_membership() -> np.ndarray:
    membership = np.zeros((10, 3))
    membership[:6, 0] = membership[4:, 1] = membership[::2, 2] = 1
    return membership


def three_classes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    i = np.arange(60)
    y, g = i % 3, (i // 3) % 2
    angle = 2 * np.pi * y / 3
    X = np.column_stack(
        [np.cos(angle) + 0.3 * g * np.cos(i), np.sin(angle) + 0.5 * g * np.sin(3 * i)]
    )
    return X, y, g


def spurious(
    n: int, d: int, *, seed: int = 0, noise: float = 0.1, n_classes: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows whose class goes with an attribute that is easier to see; returns X, y, attribute."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    a = np.where(rng.random(n) < 0.85, y % 2, 1 - y % 2)
    X = rng.normal(size=(n, d))
    X[:, :n_classes] += 1.5 * np.eye(n_classes)[y]
    X[:, n_classes % d] += 3.0 * a
    y = np.where(rng.random(n) < noise, rng.integers(0, n_classes, n), y)
    y[:n_classes] = np.arange(n_classes)
    return X, y, a


def problem(X, y, membership, alpha, *, adjustment=0.0, weight=None, **kwargs) -> HeadProblem:
    membership = np.asarray(membership, dtype=float)
    if membership.ndim == 1:
        membership = np.eye(int(membership.max()) + 1)[membership.astype(int)]
    if weight is not None:
        membership = membership * np.asarray(weight)[:, None]
    totals = membership.sum(axis=0)
    share = scipy.sparse.csr_array(membership / totals)
    y = np.asarray(y)
    n_classes = int(y.max()) + 1
    offset = adjustment / np.sqrt(totals)
    return HeadProblem(np.asarray(X, float), y, share, offset, alpha, n_classes, **kwargs)
