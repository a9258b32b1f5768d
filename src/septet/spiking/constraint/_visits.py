"""In which order patterns are learned, and what is remembered from one to the next."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.spiking.constraint._certificate import Certificate
from septet.spiking.constraint._problem import Problem
from septet.spiking.constraint._rows import Rows

Floats: TypeAlias = NDArray[np.float64]

# Steps that ignore interference may diverge; they end once a weight is this large.
_RUNAWAY = 1e100


@dataclass
class Tally:
    """What has been done so far, over all neurons."""

    rounds: int = 0
    epochs: int = 0
    updates: int = 0
    steps: int = 0
    margin: float = np.inf
    certificates: list[Certificate] = field(default_factory=list)


def visit_blocks(
    problem: Problem,
    start: Floats,
    rng: np.random.Generator,
    tally: Tally,
    *,
    size: int,
    step: Callable[[Floats, Floats], Floats] | None,
    relax: float,
    tol_ms: float,
    max_epochs: int,
    max_rounds: int,
) -> Floats:
    """Visit blocks of patterns in random order until an epoch changes nothing.

    Each time, go to the nearest weights that satisfy the block; or, with `step`, correct without
    regard to interference.
    """
    n_patterns = len(problem.inputs)
    order = np.arange(n_patterns) if size >= n_patterns else rng.permutation(n_patterns)
    blocks = [np.sort(order[i : i + size]) for i in range(0, n_patterns, size)]
    stores: list[Rows | None] = [None] * len(blocks)
    w = start.copy()
    for _ in range(max_epochs):
        tally.epochs += 1
        changed = False
        for b in rng.permutation(len(blocks)):
            block = blocks[b]
            fresh = stores[b] is None
            if not (fresh and len(blocks) == 1) and all(
                problem.meets(w, int(p), tol_ms) for p in block
            ):
                continue
            rows = stores[b] = stores[b] or problem.rows(block, w)
            changed = True
            tally.updates += 1
            if step is not None:
                before = w.copy()
                with np.errstate(over="ignore", invalid="ignore"):
                    problem.single_step(int(block[0]), rows, w, step)
                if not np.abs(w).max() < _RUNAWAY:
                    return before
                continue
            problem.restart(rows, w)
            result, stores[b] = problem.project(block, rows, w, max_rounds)
            tally.rounds += result.rounds
            w += relax * (result.weights - w)
            if len(blocks) == 1 and result.complete and relax == 1.0:
                return w  # all constraints hold: a second pass would find nothing to do
        if not changed:
            break
    return w


def visit_incrementally(
    problem: Problem,
    start: Floats,
    rng: np.random.Generator,
    tally: Tally,
    *,
    tol_ms: float,
    max_epochs: int,
    max_rounds: int,
) -> Floats:
    """Visit patterns in random order, adding to one problem what they demand.

    The nearest weights to the same start are looked for every time, so that each solution goes on
    from the multipliers of the last. Rows stay, so few are taken in at a time: only the worst
    maximum of an interval.
    """
    indptr, n_patterns, w = problem.targets.indptr, len(problem.inputs), start.copy()
    rows = problem.store(np.arange(n_patterns))
    known = np.zeros(n_patterns, dtype=bool)
    for _ in range(max_epochs):
        tally.epochs += 1
        updates = tally.updates
        for p in rng.permutation(n_patterns):
            if problem.meets(w, int(p), tol_ms):
                continue
            if not known[p]:
                known[p] = True
                rows = problem.with_room(rows, 2 * int(indptr[p + 1] - indptr[p]))
                problem.add_targets(int(p), rows, w)
            result, rows = problem.project(np.array([p]), rows, start, max_rounds, cuts=1)
            tally.updates += 1
            tally.rounds += result.rounds
            w = result.weights
        if tally.updates == updates:
            break
    return w
