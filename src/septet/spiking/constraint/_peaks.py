"""Class targets: fire somewhere for one's own class, stay well below the threshold for others."""

from functools import partial
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet.spiking.constraint import _rule_reference as plain
from septet.spiking.constraint._timeline import timeline
from septet.spiking.neurons import LIF, SpikeBatch
from septet.spiking.neurons._backend import Constants, uses_numba
from septet.spiking.neurons._simulate import layer_weights

Floats: TypeAlias = NDArray[np.float64]

# A sweep that moves no potential by more than this (thresholds) was the last.
_TOLERANCE = 1e-4
# Standard deviation of the weights to begin with, in thresholds.
_INITIAL = 1e-4
# Without any weights there is no highest potential; equal ones put it where most inputs are.
_START = 1e-6


def peak_potentials(
    lif: LIF, inputs: SpikeBatch, weights: ArrayLike, *, backend: str = "auto"
) -> Floats:
    """Return the largest maximum over time of each neuron's potential if it never reset.

    Parameters
    ----------
    lif : LIF
        The neuron model, with synaptic currents (``tau_s > 0``).
    inputs : SpikeBatch
        Input patterns.
    weights : array_like of shape (n_neurons, n_units) or (n_units,)
        Weights of the layer.
    backend : {"auto", "numba", "numpy"}, default "auto"
        Compiled or plain.

    Returns
    -------
    ndarray of shape (n_patterns, n_neurons)
        A neuron fires if it is at least the threshold; 0 for a potential without any maximum.

    Examples
    --------
    >>> from septet.spiking import LIF, SpikeBatch, peak_potentials
    >>> inputs = SpikeBatch.from_lists([[[0.0], []], [[], []]], duration=20.0)
    >>> peak_potentials(LIF(), inputs, [[0.5, 1.0], [3.0, 1.0]])
    array([[0.5, 3. ],
           [0. , 0. ]])
    """
    if lif.tau_s == 0:
        raise ValueError("peak potentials need synaptic currents (tau_s > 0).")
    w = layer_weights(weights, inputs.n_units)
    out = np.empty((len(inputs), len(w)))
    _kernels(lif, inputs, backend).heights(w, out)
    return out


def learn_peaks(
    lif: LIF,
    inputs: SpikeBatch,
    fires: NDArray[np.bool_],
    *,
    margin: float,
    soft_C: float,
    block_size: int,
    max_epochs: int,
    average: bool,
    backend: str,
    rng: np.random.Generator,
) -> tuple[Floats, list[int]]:
    """Find weights with which neurons fire for some patterns and stay silent for the others.

    For a block of patterns the smallest change is solved for that takes the highest potential of
    each to its side of the threshold, `margin` away; a miss `xi` costs ``C / 2 * xi ** 2``. The
    times of the maxima are those under the present weights.

    Parameters
    ----------
    lif, inputs
        The neuron, and its patterns.
    fires : ndarray of shape (n_patterns, n_neurons)
        Which neurons shall fire.
    margin, soft_C
        Distance from the threshold, in thresholds, and the penalty of missing it.
    block_size, max_epochs
        Patterns solved for at once, and passes over all of them.
    average : bool
        Return the mean of the weights after every block instead of the last ones.
    backend, rng
        Kernels, and the source of the order of patterns.

    Returns
    -------
    weights : ndarray of shape (n_neurons, n_units)
        Starting from next to 0.
    errors : list of int
        Wrong answers met in each pass, before correction.
    """
    kernels = _kernels(lif, inputs, backend)
    n_patterns, n_neurons = fires.shape
    weights = np.full((n_neurons, inputs.n_units), _START * lif.threshold)
    total, n_blocks = np.zeros_like(weights), 0
    rows = np.empty((min(block_size, n_patterns), inputs.n_units))
    errors: list[int] = []
    while len(errors) < max_epochs and (not errors or errors[-1] > 0):
        order, n_wrong = rng.permutation(n_patterns), 0
        for first in range(0, n_patterns, block_size):
            block = order[first : first + block_size]
            x = rows[: block.size]
            for k, w in enumerate(weights):
                high = kernels.rows_at_peaks(w, block, x)
                sign = np.where(fires[block, k], 1.0, -1.0)
                n_wrong += int(np.count_nonzero((high >= lif.threshold) != fires[block, k]))
                x *= sign[:, None]
                bound = (sign + margin) * lif.threshold
                kernels.ascend(x, bound, soft_C, w, _TOLERANCE * lif.threshold)
            total += weights
            n_blocks += 1
        errors.append(n_wrong)
    return (total / n_blocks if average else weights), errors


def _kernels(lif: LIF, inputs: SpikeBatch, backend: str) -> Any:
    """Return `heights`, `rows_at_peaks` and `ascend`, compiled or plain."""
    if not uses_numba(backend):
        return SimpleNamespace(
            heights=partial(_plain_heights, lif, inputs),
            rows_at_peaks=partial(_plain_rows, lif, inputs),
            ascend=_plain_ascend,
        )
    from septet.spiking.constraint import _peak_kernels as kernels

    line, constants = timeline(lif, inputs, None, 0.0), Constants.of(lif)
    return SimpleNamespace(
        heights=lambda w, out: kernels.heights(w, line, constants, out),
        rows_at_peaks=lambda w, block, x: kernels.rows_at_peaks(w, block, line, constants, x),
        ascend=kernels.ascend,
    )


def _plain_heights(lif: LIF, inputs: SpikeBatch, weights: Floats, out: Floats) -> None:
    for p in range(len(inputs)):
        for k, w in enumerate(weights):
            high = plain.maxima(plain.Pattern(lif, inputs, p), w, np.zeros(0))[1]
            out[p, k] = high.max() if high.size else 0.0


def _plain_rows(
    lif: LIF, inputs: SpikeBatch, w: Floats, block: NDArray[np.integer], rows: Floats
) -> Floats:
    high = np.zeros(block.size)
    for i, p in enumerate(block):
        pattern = plain.Pattern(lif, inputs, int(p))
        times, heights = plain.maxima(pattern, w, np.zeros(0))
        rows[i] = 0.0
        if times.size:
            high[i] = heights.max()
            rows[i] = pattern.x(times[[heights.argmax()]])[0]
    return high


def _plain_ascend(rows: Floats, bound: Floats, soft_C: float, w: Floats, tolerance: float) -> int:
    """Move `w` to the nearest weights at which misses of `rows` are worth their penalty."""
    multiplier = np.zeros(bound.size)
    square = np.einsum("ji,ji->j", rows, rows)
    for sweep in range(200):
        largest = 0.0
        for j in np.flatnonzero(square):
            curvature = square[j] + 1 / soft_C
            miss = bound[j] - rows[j] @ w - multiplier[j] / soft_C
            new = max(0.0, multiplier[j] + miss / curvature)
            w += (new - multiplier[j]) * rows[j]
            largest = max(largest, abs(new - multiplier[j]) * curvature)
            multiplier[j] = new
        if largest <= tolerance:
            return sweep + 1
    return 200
