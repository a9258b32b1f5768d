"""The linear constraints of a block of patterns, and the state of the solver that works on them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Kinds of rows: the potential stands at the threshold, rises through it, stays below it; a weight
# keeps to its range (then `time` is its index).
FIRE, RISE, BELOW, RANGE = range(4)

# A weight further outside its range is brought back.
OUTSIDE = 1e-12

# What a kernel comes back with.
DONE, FULL, INFEASIBLE, STALLED, ROUNDS = range(5)


class Limits(NamedTuple):
    """What a solution must keep to, in the unit of the potential and ms.

    `margin` is kept at all times outside the guard windows, `guard_margin` at the maxima inside
    them; `min_slope` is the least slope at a desired spike; a maximum that is higher by at most
    `tolerance` does not count as a violation. The softness of the rows at desired spikes and below
    the threshold is 0 where they must hold.
    """

    margin: float
    guard_margin: float
    min_slope: float
    tolerance: float
    fire_softness: float
    below_softness: float


class Rows(NamedTuple):
    """Rows ``matrix @ w >= bound`` (``==`` where ``kind`` is FIRE), with room to grow.

    `pattern` and `time` say where a row comes from; `interval` counts the desired spikes before a
    BELOW row and is -1 for others. A row with softness ``1 / C`` may be missed by ``xi`` at a cost
    of ``C / 2 * xi ** 2``; the BELOW rows of one interval share their ``xi``, so that its cost does
    not grow with the number of cuts. `gram` holds the inner products of the rows, plus the softness
    where two rows share their miss.

    The dual active-set method keeps its state beside them: `multiplier` and `violation` of each
    row, the indices of the `active` rows, and the Cholesky `factor` of their Gram matrix. `counts`
    holds the number of rows, of active rows, of steps taken, and the row that proved the problem
    infeasible: that row, less `ray` times the active rows, is 0.
    `change`, `work`, `rest` and `state` are scratch; `change` is 0 between uses.
    """

    matrix: NDArray[np.float64]
    bound: NDArray[np.float64]
    kind: NDArray[np.int8]
    pattern: NDArray[np.int64]
    time: NDArray[np.float64]
    interval: NDArray[np.int64]
    softness: NDArray[np.float64]
    gram: NDArray[np.float64]
    multiplier: NDArray[np.float64]
    violation: NDArray[np.float64]
    active: NDArray[np.int64]
    factor: NDArray[np.float64]
    ray: NDArray[np.float64]
    change: NDArray[np.float64]
    work: NDArray[np.float64]
    rest: NDArray[np.float64]
    state: NDArray[np.int8]
    counts: NDArray[np.int64]


# Positions in `Rows.counts`.
N_ROWS, N_ACTIVE, N_STEPS, CULPRIT = range(4)


def empty_rows(capacity: int, n_inputs: int) -> Rows:
    """Return a store without rows that has room for `capacity` of them."""
    return Rows(
        matrix=np.zeros((capacity, n_inputs)),
        bound=np.zeros(capacity),
        kind=np.zeros(capacity, dtype=np.int8),
        pattern=np.zeros(capacity, dtype=np.int64),
        time=np.zeros(capacity),
        interval=np.zeros(capacity, dtype=np.int64),
        softness=np.zeros(capacity),
        gram=np.zeros((capacity, capacity)),
        multiplier=np.zeros(capacity),
        violation=np.zeros(capacity),
        active=np.zeros(capacity, dtype=np.int64),
        factor=np.zeros((capacity, capacity)),
        ray=np.zeros(capacity),
        change=np.zeros(capacity),
        work=np.zeros(capacity),
        rest=np.zeros(n_inputs),
        state=np.zeros(capacity, dtype=np.int8),
        counts=np.zeros(4, dtype=np.int64),
    )


def shared_misses(rows: Rows) -> NDArray[np.int64]:
    """Return for every row the number of its miss: one for the cuts of an interval, else its own.

    Rows that must hold have -1.
    """
    n = rows.counts[N_ROWS]
    own = np.where(rows.interval[:n] < 0, np.arange(n), -1)
    key = np.column_stack([own, rows.pattern[:n], rows.interval[:n]])
    number = np.unique(key, axis=0, return_inverse=True)[1].reshape(n)
    return np.where(rows.softness[:n] > 0, number, -1)


def resized(rows: Rows, capacity: int) -> Rows:
    """Return a copy with room for `capacity` rows."""
    new = empty_rows(capacity, rows.matrix.shape[1])
    n = rows.counts[N_ROWS]
    for name, old in rows._asdict().items():
        target = getattr(new, name)
        if name in {"counts", "rest"}:
            target[:] = old
        elif name in {"gram", "factor"}:
            target[:n, :n] = old[:n, :n]
        else:
            target[:n] = old[:n]
    return new
