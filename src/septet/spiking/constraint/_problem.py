"""One neuron's learning problem: the patterns prepared, and the kernels that work on them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet._core.errors import SeptetError
from septet.spiking.constraint import _cutting, _solvers
from septet.spiking.constraint._certificate import (
    Certificate,
    UnreachableTargetsError,
    certificate_of,
    multipliers_as_proof,
)
from septet.spiking.constraint._rows import (
    BELOW,
    FIRE,
    FULL,
    INFEASIBLE,
    N_ROWS,
    RISE,
    STALLED,
    Limits,
    Rows,
    empty_rows,
    resized,
)
from septet.spiking.constraint._timeline import Targets, timeline
from septet.spiking.neurons import LIF, SpikeBatch
from septet.spiking.neurons._backend import Constants, uses_numba

Floats: TypeAlias = NDArray[np.float64]

SOLVERS = ("auto", "daqp", "piqp", "numba", "numpy")

# Maxima this much above the threshold (as a fraction of it) are not worth a cut.
CUT_TOLERANCE = 1e-6
# How many of the worst maxima of an interval usually become rows in one round.
_CUTS = 3
# Where rounding stops the solver, targets that need weights of a larger norm count as out of reach.
_ABSURD_NORM = 1e4
# A block's store of rows drops cuts with this much slack (thresholds) once it has more rows than
# its targets need times this.
_SLACK, _ROWS_PER_TARGET, _ROWS_AT_LEAST = 0.3, 8, 32


@dataclass
class Projection:
    """Result of one step: the new weights, how many QPs it took, and whether cuts were left."""

    weights: Floats
    rounds: int
    complete: bool


class Problem:
    """Desired trains of one neuron over a batch of patterns.

    Parameters
    ----------
    lif, inputs, targets
        As checked by `check_targets`, of a neuron with threshold 1: the solver's tolerances are
        absolute.
    limits, guard, ranges
        What solutions must keep to; `ranges` is (2, n_units) with the least and largest weights,
        or (2, 0) without.
    solver : str
        One of `SOLVERS`.
    """

    def __init__(
        self,
        lif: LIF,
        inputs: SpikeBatch,
        targets: Targets,
        *,
        limits: Limits,
        guard: float,
        ranges: Floats,
        solver: str,
        min_isi: float,
        neuron: int = 0,
    ) -> None:
        self.lif, self.inputs, self.targets, self.limits = lif, inputs, targets, limits
        self.guard, self.ranges, self.min_isi, self.neuron = guard, ranges, min_isi, neuron
        self.constants = Constants.of(lif)
        self.line = timeline(lif, inputs, targets, guard)
        self.kernels, self._project = _choose(solver)
        n_most = int(np.diff(targets.indptr).max(initial=0))
        self._spikes = np.empty(4 * n_most + 64)
        self.steps = 0

    def store(self, patterns: NDArray[np.integer]) -> Rows:
        """Return a store without rows, as large as some patterns usually need."""
        n = int((self.targets.indptr[patterns + 1] - self.targets.indptr[patterns]).sum())
        return empty_rows(_ROWS_PER_TARGET * n + _ROWS_AT_LEAST, self.inputs.n_units)

    def rows(self, patterns: NDArray[np.integer], start: Floats) -> Rows:
        """Return a store with the rows of the desired spikes of some patterns."""
        rows = self.store(patterns)
        for p in patterns:
            self.add_targets(int(p), rows, start)
        return rows

    def with_room(self, rows: Rows, n: int) -> Rows:
        """Return the store itself, or a larger copy if `n` more rows would not fit."""
        needed = int(rows.counts[N_ROWS]) + n
        return rows if needed <= rows.bound.size else resized(rows, 2 * needed)

    def add_targets(self, p: int, rows: Rows, w: Floats) -> None:
        """Add the rows of the desired spikes of one pattern; there must be room."""
        self.kernels.add_targets(p, self.line, self.targets, self.constants, self.limits, rows, w)

    def spikes(self, w: Floats, p: int) -> Floats | None:
        """Spikes of a free run, or None if they are far more than the desired ones."""
        n = self.kernels.free_run(w, p, self.line, self.constants, self._spikes)
        return None if n < 0 else self._spikes[:n]

    def meets(self, w: Floats, p: int, tolerance: float) -> bool:
        """Whether a free run fires as desired, each spike within `tolerance` ms."""
        got = self.spikes(w, p)
        desired = self.targets.time[self.targets.indptr[p] : self.targets.indptr[p + 1]]
        if got is None or got.size != desired.size:
            return False
        return got.size == 0 or bool(np.abs(got - desired).max() <= tolerance)

    def restart(self, rows: Rows, w: Floats) -> None:
        """Make a store ready for a step from `w`; a large one drops what is far from binding."""
        n_targets = int(np.count_nonzero(rows.kind[: rows.counts[N_ROWS]] <= RISE)) // 2
        most = _ROWS_PER_TARGET * n_targets + _ROWS_AT_LEAST
        self.kernels.restart(rows, w, most, _SLACK * self.lif.threshold)

    def project(
        self,
        patterns: NDArray[np.integer],
        rows: Rows,
        start: Floats,
        max_rounds: int,
        cuts: int = _CUTS,
    ) -> tuple[Projection, Rows]:
        """Move from `start` to the nearest weights that satisfy all `patterns`.

        `rows` must have been restarted there; the store that comes back may be a larger one. Every
        round adds the `cuts` worst maxima of each interval.

        Raises
        ------
        UnreachableTargetsError
            If there are none.
        """
        w, rounds = start.copy(), 0
        while True:
            steps = rows.counts[2]
            status, n = self._project(
                start,
                patterns,
                self.line,
                self.targets,
                self.constants,
                self.limits,
                self.ranges,
                cuts,
                max_rounds - rounds,
                rows,
                w,
            )
            rounds += n
            self.steps += int(rows.counts[2] - steps)
            if status != FULL:
                break
            rows = resized(rows, 2 * rows.bound.size)
            if rounds >= max_rounds:
                break
        if status == INFEASIBLE:
            raise UnreachableTargetsError(self.certificate(rows))
        if status == STALLED:
            multipliers_as_proof(rows)
            certificate = self.certificate(rows)
            if certificate.gap > 0 and certificate.excluded_norm >= _ABSURD_NORM:
                raise UnreachableTargetsError(certificate)
            raise SeptetError(
                "the constraints are too close to dependent for this solver; try another `solver`, "
                "another `margin`, or desired spikes that are further apart."
            )
        return Projection(w, rounds, complete=status == 0), rows

    def certificate(self, rows: Rows) -> Certificate:
        """Return the proof that a projection which ended as infeasible left in its rows."""
        n_targets = self.targets.time.size
        return certificate_of(
            rows, self.neuron, n_targets, self.lif, self.limits, self.guard, self.min_isi
        )

    def single_step(
        self, p: int, rows: Rows, w: Floats, size: Callable[[Floats, Floats], Floats]
    ) -> None:
        """Correct `w` in place at the times an exact step would start from, ignoring interference.

        `size` turns how much each row is missed by and its squared length into a step along it.
        """
        self.kernels.restart(rows, w, 0, -np.inf)
        n_intervals = int(self.targets.indptr[p + 1] - self.targets.indptr[p]) + 1
        found = np.empty((n_intervals * _CUTS, 4))
        n = self.kernels.violations(
            w, p, self.line, self.constants, self.limits, np.zeros(n_intervals), _CUTS, found
        )
        if rows.counts[N_ROWS] + n > rows.bound.size:
            rows = resized(rows, 2 * (rows.bound.size + n))
        if n:
            self.kernels.add_cuts(
                w, p, self.line, self.targets, self.constants, self.limits, found, n, rows
            )
        kind = rows.kind[: rows.counts[N_ROWS]]
        used = np.flatnonzero((kind == FIRE) | (kind == BELOW))
        w += size(rows.violation[used], rows.gram[used, used]) @ rows.matrix[used]

    def margin(self, w: Floats) -> float:
        """Distance in thresholds from the highest potential outside the guard windows.

        Infinite if the potential has no maximum there.
        """
        deep = self.limits._replace(margin=1e6 * self.lif.threshold, guard_margin=0.0)
        highest = -np.inf
        for p in range(len(self.inputs)):
            n_intervals = int(self.targets.indptr[p + 1] - self.targets.indptr[p]) + 1
            found = np.empty((n_intervals, 4))
            n = self.kernels.violations(
                w, p, self.line, self.constants, deep, np.zeros(n_intervals), 1, found
            )
            low = found[:n, 2] < 0
            highest = max(highest, (found[:n, 1] + found[:n, 2])[low].max(initial=-np.inf))
        return float((self.lif.threshold - highest) / self.lif.threshold)


def _choose(solver: str) -> tuple[ModuleType, Callable[..., tuple[int, int]]]:
    """Return the kernels and the projection of a solver."""
    checks.choice("solver", solver, SOLVERS)
    compiled = uses_numba(
        "numba" if solver == "numba" else "numpy" if solver == "numpy" else "auto"
    )
    name = "_compiled" if compiled else "_reference"
    kernels = import_module(f"septet.spiking.constraint.{name}")
    if compiled and solver in {"auto", "numba"}:
        return kernels, kernels.project
    if solver == "auto":
        solver = "daqp" if find_spec("daqp") else "numpy"
    solve = {
        "daqp": _solvers.solve_with_daqp,
        "piqp": _solvers.solve_with_piqp,
        "numpy": _solvers.solve_plainly,
    }[solver]
    return kernels, partial(_cutting.project, kernels, solve)
