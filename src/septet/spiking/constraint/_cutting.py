"""Cutting planes with any solver: the plain twin of `_compiled.project`."""

from types import ModuleType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.spiking.constraint._rows import DONE, FULL, N_ROWS, OUTSIDE, RANGE, ROUNDS, Limits, Rows
from septet.spiking.constraint._solvers import Solve
from septet.spiking.constraint._timeline import Targets, Timeline
from septet.spiking.neurons._backend import Constants

Floats: TypeAlias = NDArray[np.float64]


def project(
    kernels: ModuleType,
    solve: Solve,
    start: Floats,
    block: NDArray[np.integer],
    line: Timeline,
    targets: Targets,
    lif: Constants,
    limits: Limits,
    ranges: Floats,
    q: int,
    max_rounds: int,
    rows: Rows,
    w: Floats,
) -> tuple[int, int]:
    """Move from `start` to the nearest weights `w` that satisfy all patterns of `block`.

    Solve for the rows known so far, run every pattern with forced resets, add the worst violations
    as rows, repeat. Returns a status and the number of rounds.
    """
    n_intervals = int(np.diff(targets.indptr).max(initial=0)) + 1
    found = np.empty((n_intervals * q, 4))
    for rounds in range(1, max_rounds + 1):
        status = solve(rows, start, w)
        if status != DONE:
            return status, rounds
        n_outside = _add_range_cuts(kernels, w, ranges, rows)
        if n_outside < 0:
            return FULL, rounds
        clean = n_outside == 0
        for p in block:
            allowance = _misses(rows, p, n_intervals)
            n_found = kernels.violations(w, p, line, lif, limits, allowance, q, found)
            if n_found == 0:
                continue
            clean = False
            if rows.counts[N_ROWS] + n_found > rows.bound.size:
                return FULL, rounds
            kernels.add_cuts(w, p, line, targets, lif, limits, found, n_found, rows)
        if clean:
            return DONE, rounds
    return ROUNDS, max_rounds


def _misses(rows: Rows, p: int, n_intervals: int) -> Floats:
    """Return by how much the soft cuts of each interval of a pattern are missed at present."""
    mine = np.flatnonzero((rows.pattern == p) & (rows.interval >= 0))
    mine = mine[mine < rows.counts[N_ROWS]]
    allowance = np.zeros(n_intervals)
    np.add.at(allowance, rows.interval[mine], rows.softness[mine] * rows.multiplier[mine])
    return allowance


def _add_range_cuts(kernels: ModuleType, w: Floats, ranges: Floats, rows: Rows) -> int:
    """Add a row for every weight outside its range; return how many, -1 if there is no room."""
    first = int(rows.counts[N_ROWS])
    for sign, limit in zip((1.0, -1.0), ranges, strict=True):
        outside = np.flatnonzero(sign * (limit - w[: limit.size]) > OUTSIDE)
        new = slice(int(rows.counts[N_ROWS]), int(rows.counts[N_ROWS]) + outside.size)
        if new.stop > rows.bound.size:
            kernels.append(rows, first, w)
            return -1
        rows.matrix[new] = sign * np.eye(w.size)[outside]
        rows.bound[new], rows.kind[new] = sign * limit[outside], RANGE
        rows.pattern[new], rows.time[new], rows.interval[new] = -1, outside, -1
        rows.softness[new] = 0.0
        rows.counts[N_ROWS] = new.stop
    kernels.append(rows, first, w)
    return int(rows.counts[N_ROWS]) - first
