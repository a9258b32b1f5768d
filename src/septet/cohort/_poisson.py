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
    repeating: compute the conditional marginals, correct the odds of q by the ratio of the odds
    wanted to those reached. Only sums, products and quotients are used.

    Raises
    ------
    ValueError
        If the tables would hold more than 1e8 numbers.
    InfeasibleError
        If the marginals are not reached to 1e-12 (extreme probabilities).
    """
    rows = np.flatnonzero((p > 0) & (p < 1))
    certain = np.flatnonzero(p == 1)
    k = round(float(p.sum())) - certain.size
    if not rows.size:
        return certain
    if 2 * (rows.size + 1) * (k + 1) > _MOST:
        raise ValueError(
            f"method='poisson' keeps tables of n x k numbers; {rows.size} x {k} is too many. "
            "method='pivotal' has no such limit."
        )
    wanted = p[rows]
    q = wanted.copy()
    for _ in range(_ROUNDS):
        after = successes_after(q, k)
        reached = _marginals(q, k, after)
        if float(np.abs(reached - wanted).max()) <= _CLOSE:
            break
        odds = q / (1 - q) * (wanted / (1 - wanted)) / (reached / (1 - reached))
        q = odds / (1 + odds)
    else:
        raise InfeasibleError(
            "conditional Poisson sampling did not reach these marginals to 1e-12; "
            "method='pivotal' draws with any."
        )
    taken = []
    open_seats = k
    for i, word in enumerate(coins.take(rows.size).tolist()):
        chance = q[i] * after[i + 1, open_seats - 1] / after[i, open_seats] if open_seats else 0.0
        if word < chance * 2.0**64:
            taken.append(rows[i])
            open_seats -= 1
    return np.sort(np.concatenate([certain, np.array(taken, dtype=np.intp)]))


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
