"""Proofs that desired trains are out of reach, checkable without the solver that found them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from septet._core.errors import InfeasibleError
from septet.spiking.constraint._rows import (
    CULPRIT,
    FIRE,
    N_ACTIVE,
    N_ROWS,
    RANGE,
    Limits,
    Rows,
)
from septet.spiking.constraint._targets import TargetTrains, check_targets
from septet.spiking.neurons import LIF, SpikeBatch, psp

_WORDS = {
    "fire": "fire at {:g} ms",
    "rise": "rise fast enough at {:g} ms",
    "below": "stay below the threshold at {:g} ms",
    "least": "weight {:g} not below its range",
    "most": "weight {:g} not above its range",
}


@dataclass(frozen=True)
class Certificate:
    """A Farkas certificate: multipliers under which the requirements add up to a contradiction.

    With rows ``a_j w >= b_j`` (``==`` for a desired spike, whose multiplier may be negative) and
    multipliers ``y``, the sum ``sum_j y_j a_j`` vanishes while ``sum_j y_j b_j`` is positive. The
    requirements listed are irreducible: without any one of them the rest can be met. Where they are
    too close to dependent for that, the sum only is so small that smaller weights than
    `excluded_norm` are ruled out. Weights and potentials are counted in thresholds.

    Attributes
    ----------
    neuron : int
        The neuron it is about.
    kinds : tuple of str
        What each requirement is: ``"fire"``, ``"rise"`` (slope at a desired spike), ``"below"``
        (stay below the threshold), ``"least"`` or ``"most"`` (ends of a weight's range).
    patterns : ndarray of int, shape (n,)
        Pattern of each requirement, -1 for the range of a weight.
    times : ndarray of shape (n,)
        Its time in ms; for a range, the index of the weight.
    bounds : ndarray of shape (n,)
        Its ``b``.
    multipliers : ndarray of shape (n,)
        The proof; absolute values sum to 1.
    gap : float
        ``sum_j y_j b_j``: by less than this the requirements cannot all be missed at once (minimal
        uniform slack).
    residual : float
        Norm of ``sum_j y_j a_j``, 0 up to rounding.
    n_targets, n_inputs : int
        Desired spikes of the whole problem, and inputs: more spikes than inputs can hardly ever be
        met.
    """

    neuron: int
    kinds: tuple[str, ...]
    patterns: NDArray[np.int64]
    times: NDArray[np.float64]
    bounds: NDArray[np.float64]
    multipliers: NDArray[np.float64]
    gap: float
    residual: float
    n_targets: int
    n_inputs: int
    lif: LIF
    limits: Limits
    guard: float
    min_isi: float

    @property
    def excluded_norm(self) -> float:
        """Weights of a smaller Euclidean norm than this cannot meet the requirements."""
        return self.gap / self.residual if self.residual > 0 else np.inf

    def __str__(self) -> str:
        wanted: dict[int, list[str]] = {}
        for kind, p, t in zip(self.kinds, self.patterns, self.times, strict=True):
            wanted.setdefault(int(p), []).append(_WORDS[kind].format(t))
        lines = [
            ("" if p < 0 else f"pattern {p}: ") + ", ".join(words)
            for p, words in sorted(wanted.items())
        ]
        load = ""
        if self.n_targets > self.n_inputs:
            load = f" There are {self.n_targets} desired spikes for {self.n_inputs} inputs."
        return (
            f"Neuron {self.neuron}: no weights of a norm below {self.excluded_norm:.3g} can do "
            f"what these {len(self.kinds)} requirements ask together, even if each is missed by "
            f"{self.gap:.3g}; each of them is needed for that. "
            f"{'; '.join(lines)}.{load}"
        )

    def check(self, inputs: SpikeBatch, targets: TargetTrains) -> float:
        """Recompute the proof from the patterns alone and return the norm below which it holds.

        Nothing of the solver or its kernels is used: every row is built from the definition of the
        postsynaptic potential. Only the ends of weights' ranges are taken from `bounds`.

        Raises
        ------
        ValueError
            If the multipliers prove nothing for these patterns and targets.
        """
        mine = check_targets(self.lif, inputs, targets, self.min_isi)[self.neuron]
        total, gap = np.zeros(inputs.n_units), 0.0
        for kind, p, t, b, y in zip(
            self.kinds, self.patterns, self.times, self.bounds, self.multipliers, strict=True
        ):
            if kind != "fire" and y < 0:
                raise ValueError(f"the multiplier of a {kind} requirement is negative: {y!r}.")
            if p < 0:
                row, bound = np.zeros(inputs.n_units), float(b)
                row[int(t)] = 1.0 if kind == "least" else -1.0
            else:
                desired = mine.time[mine.indptr[p] : mine.indptr[p + 1]]
                row, bound = self._row(inputs, int(p), desired, kind, float(t))
            total += y * row
            gap += y * bound
        residual = float(np.linalg.norm(total))
        if gap <= 0 or residual > 1e-3 * gap:
            raise ValueError(f"no proof: the gap is {gap:.3g}, the residual {residual:.3g}.")
        return gap / residual if residual > 0 else np.inf

    def _row(
        self, inputs: SpikeBatch, p: int, desired: NDArray[np.float64], kind: str, t: float
    ) -> tuple[NDArray[np.float64], float]:
        """Return one requirement as ``row @ w >= bound``, from first principles."""
        if kind != "below" and t not in desired:
            raise ValueError(f"pattern {p} has no desired spike at {t!r} ms.")
        lif, slope = self.lif, kind == "rise"
        row = psp(lif, inputs, p, [t], slope=slope)[0]
        before = desired[desired < t]
        resets = lif.threshold * np.exp(-(t - before) / lif.tau_m).sum()
        if lif.t_ref > 0:  # the potential was set to 0 and built up anew from there
            resets = 0.0
            if before.size:
                restart = before[-1] + lif.t_ref
                if t <= restart:
                    raise ValueError(f"pattern {p} is refractory at {t!r} ms.")
                left = psp(lif, inputs, p, [restart])[0] * np.exp(-(t - restart) / lif.tau_m)
                row = row + left / lif.tau_m if slope else row - left
        if kind == "fire":
            return row, lif.threshold + resets
        if kind == "rise":
            return row, self.limits.min_slope - resets / lif.tau_m
        after = desired[desired >= t]
        guarded = after.size > 0 and t > after[0] - self.guard
        ceiling = self.limits.guard_margin if guarded else self.limits.margin
        return -row, -(lif.threshold - ceiling + resets)


class UnreachableTargetsError(InfeasibleError):
    """No weights produce the desired trains; `certificate` proves it and names what conflicts.

    Attributes
    ----------
    certificate : Certificate
    """

    def __init__(self, certificate: Certificate) -> None:
        super().__init__(str(certificate))
        self.certificate = certificate

    def __reduce__(self) -> tuple[type["UnreachableTargetsError"], tuple[Certificate]]:
        return type(self), (self.certificate,)


def multipliers_as_proof(rows: Rows) -> None:
    """Write the present multipliers where a solver leaves its proof.

    They are optimal for the rows that they weigh: no weights nearer to the start than the present
    ones meet these, which proves the less the nearer these weights are.
    """
    weighed = np.flatnonzero(rows.multiplier[: rows.counts[N_ROWS]])
    y = rows.multiplier[weighed]
    largest = int(np.abs(y).argmax()) if y.size else 0
    culprit = int(weighed[largest]) if y.size else 0
    others = np.delete(weighed, largest) if y.size else weighed
    rows.counts[N_ACTIVE], rows.counts[CULPRIT] = others.size, culprit
    rows.violation[culprit] = rows.multiplier[culprit]
    rows.active[: others.size] = others
    rows.ray[: others.size] = -rows.multiplier[others] / rows.multiplier[culprit]


def certificate_of(
    rows: Rows, neuron: int, n_targets: int, lif: LIF, limits: Limits, guard: float, min_isi: float
) -> Certificate:
    """Read the proof off the rows of a solver that stopped at an infeasible problem."""
    n, culprit = int(rows.counts[N_ACTIVE]), int(rows.counts[CULPRIT])
    sign = 1.0 if rows.violation[culprit] >= 0 else -1.0
    index = np.append(rows.active[:n], culprit)
    y = np.append(-sign * rows.ray[:n], sign)
    y[(rows.kind[index] != FIRE) & (y < 0)] = 0.0
    names = np.array(["fire", "rise", "below", "least"], dtype=object)[rows.kind[index]]
    lowest = rows.matrix[index].min(axis=1)
    names[(rows.kind[index] == RANGE) & (lowest < 0)] = "most"
    kept = np.abs(y) > 1e-12
    order = np.lexsort((rows.time[index[kept]], rows.pattern[index[kept]]))
    index, names, y = index[kept][order], names[kept][order], y[kept][order] / np.abs(y).sum()
    return Certificate(
        neuron=neuron,
        kinds=tuple(names),
        patterns=rows.pattern[index].copy(),
        times=rows.time[index].copy(),
        bounds=rows.bound[index].copy(),
        multipliers=y,
        gap=float(y @ rows.bound[index]),
        residual=float(np.linalg.norm(y @ rows.matrix[index])),
        n_targets=n_targets,
        n_inputs=rows.matrix.shape[1],
        lif=lif,
        limits=limits,
        guard=guard,
        min_isi=min_isi,
    )
