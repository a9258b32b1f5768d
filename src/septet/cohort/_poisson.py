"""Conditional Poisson sampling: of all laws with given marginals and size, that of most entropy."""

import numpy as np
from numpy.typing import NDArray

from septet._core.errors import InfeasibleError
from septet.cohort._coins import Coins
from septet.cohort._scores import Floats

_MOST = 100_000_000  # numbers in the two tables, 0.8 GB
_ROUNDS = 500
_CLOSE = 1e-12


def conditional_poisson(p: Floats, coins: Coins) -> NDArray[np.intp]:
    """Draw a set of size ``sum(p)`` with marginals `p`; one coin per candidate.

    Independent coins with suitable probabilities q, given that exactly k succeed. q is found by
    repeating: compute the conditional marginals, correct the odds of q by the square root of the
    ratio of the odds wanted to those reached. All operations are ones that IEEE 754 rounds exactly.

    Raises
    ------
    ValueError
        If the tables would hold more than 1e8 numbers.
    InfeasibleError
        If the marginals are not reached to 1e-12 (extreme probabilities).
    """
    rows = np.flatnonzero((p > 0) & (p < 1))
    certain = np.flatnonzero(p == 1)
    if not rows.size:
        return certain
    q, after = calibrate(p[rows])
    taken = flip(q, after, coins.take(rows.size))
    return np.sort(np.concatenate([certain, rows[taken]]))


def calibrate(p: Floats) -> tuple[Floats, Floats]:
    """Return chances q whose coins, given k successes, succeed with `p`, and their table.

    `p` lies strictly between 0 and 1 and adds up to k. See `conditional_poisson`.
    """
    k = round(float(p.sum()))
    if 2 * (p.size + 1) * (k + 1) > _MOST:
        raise ValueError(
            f"method='poisson' keeps tables of n x k numbers; {p.size} x {k} is too many. "
            "method='pivotal' has no such limit."
        )
    q = p.copy()
    for _ in range(_ROUNDS):
        after = successes_after(q, k)
        reached = _marginals(q, k, after)
        if float(np.abs(reached - p).max()) <= _CLOSE:
            return q, after
        # the whole ratio would swing for ever where two share a seat; its root halves the error
        odds = q / (1 - q) * np.sqrt((p / (1 - p)) / (reached / (1 - reached)))
        q = odds / (1 + odds)
    raise InfeasibleError(
        "conditional Poisson sampling did not reach these marginals to 1e-12; "
        "method='pivotal' draws with any."
    )


def flip(q: Floats, after: Floats, words: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Flip the coins one after the other, each given what the rest must still reach."""
    taken = []
    open_seats = after.shape[1] - 1
    for i, word in enumerate(words.tolist()):
        chance = q[i] * after[i + 1, open_seats - 1] / after[i, open_seats] if open_seats else 0.0
        if word < chance * 2.0**64:
            taken.append(i)
            open_seats -= 1
    return np.array(taken, dtype=np.intp)


def successes_after(q: Floats, k: int) -> Floats:
    """Return the table of P(exactly j successes among coins i, i+1, ...), shape (n+1, k+1)."""
    table = np.zeros((q.size + 1, k + 1))
    table[-1, 0] = 1.0
    for i in range(q.size - 1, -1, -1):
        table[i] = (1 - q[i]) * table[i + 1]
        table[i, 1:] += q[i] * table[i + 1, :-1]
    return table


def _marginals(q: Floats, k: int, after: Floats) -> Floats:
    """Return each coin's chance of success given k successes in all."""
    before = np.zeros(k + 1)
    before[0] = 1.0
    out = np.empty(q.size)
    for i in range(q.size):
        out[i] = q[i] * (before[:k] @ after[i + 1, :k][::-1]) if k else 0.0
        before[1:] = before[1:] * (1 - q[i]) + before[:-1] * q[i]
        before[0] *= 1 - q[i]
    return out / after[0, k]
