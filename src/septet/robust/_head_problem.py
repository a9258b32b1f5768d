"""The convex problem behind every linear head: objective, gradients, curvature and lower bound.

A head is written in an orthonormal basis of the class contrasts: ``W = U V`` with ``U`` of shape
(K, K - 1) and columns orthogonal to the vector of ones. The shift that softmax cannot see is gone,
``||W|| = ||V||``, and two classes need a single row of parameters. Arrays that hold one number per
class and row are class-major, (K, n), because sums over a short last axis are slow.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import xlogy

from septet.robust._groups import SparseArray

FloatArray: TypeAlias = NDArray[np.float64]
Bias: TypeAlias = Literal["free", "penalized", "none"]

_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class HeadProblem:
    """``max_g [L_g(V, b) + a_g] + (alpha / 2) ||V||^2`` over linear softmax heads.

    Attributes
    ----------
    X : ndarray of shape (N, d), float32 or float64
        Features; may be memory-mapped. Read in blocks of rows, computed with in float64.
    y : ndarray of shape (n,), intp
        Class codes 0 .. K - 1.
    share : scipy.sparse.csr_array of shape (n, G)
        Share of each row in the mean loss of each group; every column sums to one.
    offset : ndarray of shape (G,)
        Constant ``a_g`` added to each group loss.
    alpha : float
        L2 coefficient, above zero.
    n_classes : int
        K.
    bias : {"free", "penalized", "none"}
        Whether the head has a bias and whether the penalty counts it.
    base : ndarray of shape (K - 1, n) or None
        Contrast logits of a fixed head that this one is added to.
    rows : ndarray of shape (n,) or None
        Which rows of X take part; all of them if None.
    """

    X: NDArray[np.floating]
    y: NDArray[np.intp]
    share: SparseArray
    offset: FloatArray
    alpha: float
    n_classes: int
    bias: Bias = "free"
    base: FloatArray | None = None
    rows: NDArray[np.intp] | None = None

    @property
    def n_features(self) -> int:
        return self.X.shape[1]

    @property
    def n_groups(self) -> int:
        return self.share.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the parameters: one row per contrast; the features, then the bias if any."""
        return self.n_classes - 1, self.n_features + (self.bias != "none")

    @cached_property
    def contrasts(self) -> FloatArray:
        """Orthonormal basis U of the vectors orthogonal to ones, shape (K, K - 1)."""
        return contrasts(self.n_classes)

    @cached_property
    def _own_class(self) -> NDArray[np.intp]:
        """Position of each row's own class in a flattened (K, n) array."""
        return self.y * len(self.y) + np.arange(len(self.y))

    @cached_property
    def penalty(self) -> FloatArray:
        """Penalty coefficient of each parameter column."""
        coefficient = np.full(self.shape[1], self.alpha)
        if self.bias == "free":
            coefficient[-1] = 0.0
        return coefficient

    def penalty_of(self, theta: FloatArray) -> float:
        return float(0.5 * (theta * theta).sum(axis=0) @ self.penalty)

    def blocks(self) -> Iterator[tuple[slice, FloatArray]]:
        """Yield the features in float64 blocks of rows; a float64 array is never copied."""
        rows = max(1, _BLOCK_BYTES // (8 * max(1, self.n_features)))
        for start in range(0, len(self.y), rows):
            part = slice(start, start + rows)
            wanted = part if self.rows is None else self.rows[part]
            yield part, np.asarray(self.X[wanted], dtype=np.float64)

    def forward(self, theta: FloatArray) -> FloatArray:
        """Contrast logits (K - 1, n) of parameters, without `base`."""
        d = self.n_features
        out = np.empty((len(theta), len(self.y)))
        for part, block in self.blocks():
            out[:, part] = theta[:, :d] @ block.T
        if self.bias != "none":
            out += theta[:, d:]
        return out

    def logits(self, theta: FloatArray) -> FloatArray:
        """Contrast logits (K - 1, n) of parameters on top of `base`."""
        out = self.forward(theta)
        return out if self.base is None else out + self.base

    def probabilities(self, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Softmax probabilities (K, n) and cross-entropy losses (n,) of contrast logits."""
        full = self.contrasts @ logits
        full -= full.max(axis=0)
        picked = full.ravel()[self._own_class]
        np.exp(full, out=full)
        total = full.sum(axis=0)
        full /= total
        return full, np.log(total) - picked

    def evaluate(self, theta: FloatArray) -> tuple[NDArray[np.bool_], FloatArray]:
        """Whether the head is right on each row, and the losses."""
        probabilities, losses = self.probabilities(self.logits(theta))
        return probabilities.argmax(axis=0) == self.y, losses

    def group_losses(self, losses: FloatArray) -> FloatArray:
        """Mean loss of each group, without its offset."""
        return self.share.T @ losses

    def primal(self, group_losses: FloatArray, theta: FloatArray) -> float:
        return float((group_losses + self.offset).max()) + self.penalty_of(theta)

    def residual(self, probabilities: FloatArray) -> FloatArray:
        """``U^T (pi - e_y)`` of shape (K - 1, n)."""
        return self.contrasts.T @ probabilities - self.contrasts.T[:, self.y]

    def backward(self, columns: FloatArray) -> FloatArray:
        """``sum_i columns[:, i] (x_i, 1)`` as an array of shape (len(columns), width)."""
        d = self.n_features
        out = np.zeros((len(columns), self.shape[1]))
        for part, block in self.blocks():
            out[:, :d] += columns[:, part] @ block
        if self.bias != "none":
            out[:, d] = columns.sum(axis=1)
        return out

    def gradient(self, residual: FloatArray, weights: FloatArray) -> FloatArray:
        """Gradient of the group losses weighted by `weights`, without the penalty."""
        return self.backward(residual * (self.share @ weights))

    def group_gradients(self, residual: FloatArray) -> FloatArray:
        """Gradient of every group loss, shape (G, K - 1, width)."""
        g, k, d = self.n_groups, len(residual), self.n_features
        out = np.zeros((g * k, self.shape[1]))
        for part, block in self.blocks():
            share = self._share_columns(part)
            columns = (share[:, None, :] * residual[None, :, part]).reshape(g * k, len(block))
            out[:, :d] += columns @ block
            if self.bias != "none":
                out[:, d] += columns.sum(axis=1)
        return out.reshape(g, k, self.shape[1])

    def _share_columns(self, part: slice) -> FloatArray:
        if self._dense_share is not None:
            return self._dense_share[:, part]
        return self.share[part].T.toarray()

    @cached_property
    def _dense_share(self) -> FloatArray | None:
        return self.share.T.toarray() if self.n_groups * len(self.y) <= 1 << 21 else None

    def curvature(self, probabilities: FloatArray, weights: FloatArray) -> FloatArray:
        """Hessian of the group losses weighted by `weights`, without the penalty.

        Its rows and columns run over the flattened parameters.
        """
        (k, width), u = self.shape, self.contrasts
        row_weights, mean = self.share @ weights, u.T @ probabilities
        out = np.zeros((k, width, k, width))
        for i in range(k):
            for j in range(i + 1):
                second = (u[:, i] * u[:, j]) @ probabilities - mean[i] * mean[j]
                out[i, :, j, :] = self.gram(row_weights * second, positive=i == j)
                out[j, :, i, :] = out[i, :, j, :]
        return out.reshape(k * width, k * width)

    def gram(self, row_weights: FloatArray, *, positive: bool = True) -> FloatArray:
        """``sum_i w_i (x_i, 1) (x_i, 1)^T``, shape (width, width)."""
        d = self.n_features
        out = np.zeros((self.shape[1], self.shape[1]))
        for part, block in self.blocks():
            w = row_weights[part]
            if positive:  # a product of a matrix with itself takes half the time
                scaled = block * np.sqrt(np.maximum(w, 0.0))[:, None]
                out[:d, :d] += scaled.T @ scaled
            else:
                out[:d, :d] += (block * w[:, None]).T @ block
            if self.bias != "none":
                out[:d, d] += w @ block
        if self.bias != "none":
            out[d, :d] = out[:d, d]
            out[d, d] = row_weights.sum()
        return out

    def lower_bound(self, logits: FloatArray, weights: FloatArray) -> float:
        """Return a lower bound of the optimum, from group weights and the logits of any head.

        The dual probabilities are the head's own, after the bias that balances the classes under
        the weights. What rounding or an early stop leaves of the imbalance is then moved between
        the classes, so that the dual point is feasible and the bound holds.

        Parameters
        ----------
        logits : ndarray of shape (K - 1, n)
            Contrast logits, `base` included.
        weights : ndarray of shape (G,)
            Group weights on the simplex.
        """
        row_weights = self.share @ weights
        probabilities, losses = self.probabilities(logits)
        if self.bias == "free":
            probabilities = self._balance_by_bias(logits, probabilities, losses, row_weights)
            probabilities = self._balance(probabilities, row_weights)
        value = float(weights @ self.offset)
        value -= float(xlogy(probabilities, probabilities).sum(axis=0) @ row_weights)
        residual = self.residual(probabilities) * row_weights
        if self.base is not None:
            value += float((residual * self.base).sum())
        counts = self.penalty > 0
        squares = (self.backward(residual) ** 2).sum(axis=0)
        return value - 0.5 * float((squares[counts] / self.penalty[counts]).sum())

    def _balance_by_bias(
        self,
        logits: FloatArray,
        probabilities: FloatArray,
        losses: FloatArray,
        row_weights: FloatArray,
    ) -> FloatArray:
        """Probabilities after the bias that minimises the weighted loss: a few Newton steps."""
        bias, u, value = np.zeros(len(logits)), self.contrasts, losses @ row_weights
        for _ in range(30):
            gradient = self.residual(probabilities) @ row_weights
            mean = u.T @ probabilities
            second = (u.T * (probabilities @ row_weights)) @ u - (mean * row_weights) @ mean.T
            step = -np.linalg.lstsq(second, gradient, rcond=1e-14)[0]
            if -gradient @ step <= 1e-15 * value:
                break
            size = 1.0
            while size > 1e-4:
                trial, losses = self.probabilities(logits + (bias + size * step)[:, None])
                if losses @ row_weights <= value:
                    break
                size /= 4
            else:
                break
            bias, probabilities, value = bias + size * step, trial, losses @ row_weights
        return probabilities

    def _balance(self, probabilities: FloatArray, row_weights: FloatArray) -> FloatArray:
        """Move probability between the classes of each row until the weighted totals fit."""
        # pairwise sums: an imbalance of rounding is multiplied by the bias in the bound
        have = (probabilities * row_weights).sum(axis=1)
        want = np.array([row_weights[self.y == k].sum() for k in range(self.n_classes)])
        lacking = np.maximum(want - have, 0.0)
        if not lacking.any():
            return probabilities
        kept = probabilities * np.minimum(1.0, want / np.maximum(have, 1e-300))[:, None]
        freed = (probabilities - kept).sum(axis=0)
        return kept + np.outer(lacking / lacking.sum(), freed)


def contrasts(n_classes: int) -> FloatArray:
    """Orthonormal basis of the vectors of length K orthogonal to ones, shape (K, K - 1)."""
    return np.ascontiguousarray(-scipy.linalg.helmert(n_classes).T)
