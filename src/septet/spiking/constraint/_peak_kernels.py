"""Compiled kernels of learning from the highest potential. `_peaks` says what they are for."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.spiking.constraint._active_set import product
from septet.spiking.constraint._compiled import psp_rows
from septet.spiking.constraint._rule_kernels import run_with_peak
from septet.spiking.constraint._timeline import Timeline
from septet.spiking.neurons._backend import Constants
from septet.spiking.neurons._jit import compiled

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.integer]


@compiled
def heights(weights: Floats, line: Timeline, lif: Constants, out: Floats) -> None:
    """Write the highest potential without resets of every pattern and neuron."""
    none = np.empty(0)
    for p in range(out.shape[0]):
        for k in range(out.shape[1]):
            v = run_with_peak(weights[k], p, line, lif, False, none)[2]
            out[p, k] = v if v > -np.inf else 0.0


@compiled
def rows_at_peaks(w: Floats, block: Ints, line: Timeline, lif: Constants, rows: Floats) -> Floats:
    """Write the postsynaptic potentials at each pattern's highest potential; return the latter."""
    none, when = np.empty(0), np.empty(1)
    high = np.zeros(block.size)
    for i in range(block.size):
        _, t, v, _ = run_with_peak(w, block[i], line, lif, False, none)
        rows[i] = 0.0
        if t >= 0:
            when[0], high[i] = t, v
            psp_rows(block[i], line, lif, when, rows[i : i + 1], rows[:0])
    return high


@compiled
def ascend(rows: Floats, bound: Floats, soft_C: float, w: Floats, tolerance: float) -> int:
    """Move `w` to the minimum of ``|w - start|^2 / 2 + C / 2 sum_j max(0, bound_j - rows_j w)^2``.

    Coordinate ascent on the multipliers; the penalty keeps their curvature away from 0. Returns the
    number of sweeps.
    """
    n = bound.size
    multiplier, square = np.zeros(n), np.empty(n)
    for j in range(n):
        square[j] = product(rows, j, rows[j])
    for sweep in range(200):
        largest = 0.0
        for j in range(n):
            if square[j] == 0.0:
                continue
            miss = bound[j] - product(rows, j, w) - multiplier[j] / soft_C
            new = max(0.0, multiplier[j] + miss / (square[j] + 1 / soft_C))
            step = new - multiplier[j]
            if step != 0.0:
                multiplier[j] = new
                for i in range(w.size):
                    w[i] += step * rows[j, i]
                largest = max(largest, abs(step) * (square[j] + 1 / soft_C))
        if largest <= tolerance:
            return sweep + 1
    return 200
