"""Drawing exactly k candidates with exactly the given marginal probabilities."""

import hashlib
import warnings
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import SeptetWarning
from septet.cohort import _engine, _twins
from septet.cohort._coins import Coins
from septet.cohort._marginals import Marginals
from septet.cohort._poisson import conditional_poisson
from septet.cohort._scores import Floats, Ints

ORDERS = ("random", "given", "score", "group")
METHODS = ("pivotal", "systematic", "poisson")

_FLOAT_LATTICE = 1 << 52  # on which probabilities given as floats are rounded
_WIDE = 1 << 62  # from here on a total leaves the compiled kernels
_WORDS = 1 << 20  # fetched at a time
_TOLERANCE = 1e-6  # by which a float sum may miss a whole number
_NOTABLE = 1e-9  # change of a probability that is worth a warning

Weights: TypeAlias = NDArray[Any]


def draw(
    p: Marginals | ArrayLike,
    *,
    seed: str | int,
    order: str = "random",
    groups: ArrayLike | None = None,
    method: str = "pivotal",
) -> NDArray[np.intp]:
    """Draw a cohort whose members appear with the marginal probabilities `p`, of exact size.

    Parameters
    ----------
    p : Marginals or array_like of shape (n,)
        Selection probabilities. Floats must add up to a whole number within 1e-6; they are rounded
        to multiples of 2**-52 and the sum is made whole by largest remainders.
    seed : str or int
        Public seed. The same seed and probabilities give the same cohort on every platform.
    order : {"random", "given", "score", "group"}, default "random"
        Order in which candidates meet in the draw. Marginals never depend on it; neighbours repel
        each other. "random" makes the joint law nearly neutral, "given" is row order, "score"
        spreads the cohort over the probabilities (every prefix in that order gets the floor or
        ceiling of its expected number), "group" gives every group of `groups` the floor or ceiling
        of its expected number.
    groups : array_like of shape (n,), optional
        Group label of each candidate, strings or integers; for ``order="group"`` only.
    method : {"pivotal", "systematic", "poisson"}, default "pivotal"
        "pivotal" is sequential pivotal sampling (dependent rounding), negatively associated.
        "systematic" takes every ``total``-th point of a line and correlates some pairs strongly.
        "poisson" is conditional Poisson sampling, the law of largest entropy, in floating point
        with memory for n times k numbers; it has no order.

    Returns
    -------
    ndarray of shape (k,), dtype intp
        Row numbers of the cohort, ascending.

    Raises
    ------
    ValueError
        If `p` holds no probabilities or misses a whole sum, or the options do not fit together.

    Warns
    -----
    SeptetWarning
        If making the sum whole changed a probability by more than 1e-9.

    References
    ----------
    J.-C. Deville, Y. Tille: Unequal probability sampling without replacement through a splitting
    method. Biometrika 85 (1998). A. Srinivasan: Distributions on level-sets with applications to
    approximation algorithms. FOCS 2001. S. X. Chen, A. P. Dempster, J. S. Liu: Weighted finite
    population sampling to maximize entropy. Biometrika 81 (1994).

    Examples
    --------
    >>> draw([0.5, 0.25, 0.25, 1.0], seed="a public seed")
    array([0, 3])
    """
    checks.choice("order", order, ORDERS)
    checks.choice("method", method, METHODS)
    weights, total = lattice_weights(p)
    codes = check_groups(groups, order, weights.size)
    coins = Coins.from_seed(seed, _digest(weights, total))
    if method == "poisson":
        if order != "random":
            raise ValueError(f"method='poisson' has no order; got order={order!r}.")
        return conditional_poisson(weights.astype(np.float64) / total, coins)
    chosen = draw_rows(weights, total, coins, order=order, codes=codes, method=method)
    return np.flatnonzero(chosen)


def draw_rows(
    weights: Weights,
    total: int,
    coins: Coins,
    *,
    order: str = "random",
    codes: Ints | None = None,
    method: str = "pivotal",
) -> NDArray[np.bool_]:
    """Draw rows with probabilities ``weights / total`` whose sum is whole; return a mask.

    Rows that are certain take no part and no coins. Every order but "given" takes one word per
    remaining row first, in row order; then come the coins of the draw.
    """
    chosen = np.asarray(weights == total, dtype=bool)
    rows = np.flatnonzero(np.asarray((weights > 0) & (weights < total), dtype=bool))
    words = np.empty(0, np.uint64) if order == "given" else coins.take(rows.size).copy()
    if order == "group" and method == "pivotal":
        if codes is None:
            raise ValueError("order='group' needs groups.")
        _pivotal_by_group(weights, total, rows, words, codes, coins, chosen)
        return chosen
    if order == "random":
        rows = rows[_engine.kernels().order_of(words)]
    elif order == "score":
        rows = rows[np.lexsort((words, weights[rows]))]
    elif order == "group" and codes is not None:
        rows = rows[np.lexsort((words, codes[rows]))]
    if method == "systematic":
        _kernels_for(total).systematic(weights, total, rows, coins.below(total), chosen)
    else:
        _pivotal(weights, total, rows, coins, chosen)
    return chosen


def lattice_weights(p: Marginals | ArrayLike) -> tuple[Weights, int]:
    """Return probabilities as whole multiples of a common unit whose sum is whole.

    Returns
    -------
    weights : ndarray of shape (n,)
    total : int
        ``weights / total`` are the probabilities.
    """
    if isinstance(p, Marginals) and p.numerators is not None and p.denominator is not None:
        return p.numerators, p.denominator
    values = checks.probabilities("p", np.asarray(p))
    k = round(float(values.sum()))
    miss = float(values.sum()) - k
    if abs(miss) > _TOLERANCE:
        raise ValueError(
            f"p must add up to a whole number, the cohort size; got {values.sum():.9g}. "
            "selection_probabilities gives probabilities that do."
        )
    return _make_whole(values, k), _FLOAT_LATTICE


def check_groups(groups: ArrayLike | None, order: str, n: int) -> Ints | None:
    """Return group codes in the order of the labels as text, or None if none are needed."""
    if (order == "group") != (groups is not None):
        raise ValueError(
            "order='group' needs groups, one label per candidate, and only it takes them; got "
            f"order={order!r} and groups {'missing' if groups is None else 'given'}."
        )
    if groups is None:
        return None
    labels = group_labels(groups)
    if len(labels) != n:
        raise ValueError(f"groups must have {n} entries, one per candidate; got {len(labels)}.")
    place = {label: code for code, label in enumerate(sorted(set(labels)))}
    return np.array([place[label] for label in labels], dtype=np.int64)


def group_labels(groups: ArrayLike) -> list[str]:
    """Return group labels as text; integers stand for their digits.

    Raises
    ------
    TypeError
        If a label is neither a string nor an integer (a missing value, for one).
    """
    labels = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)  # pyrefly: ignore
    for i, label in enumerate(labels):
        if isinstance(label, bool) or not isinstance(label, str | int | np.integer):
            raise TypeError(
                f"groups[{i}] = {label!r}: a group label must be a string or an integer; give "
                "missing ones a label of their own."
            )
    return [str(label) for label in labels]


def _make_whole(values: Floats, k: int) -> Ints:
    """Round to the lattice and spread what the sum misses over the rows that are not certain."""
    scaled = values * _FLOAT_LATTICE  # exact: a power of two
    weights = np.floor(scaled).astype(np.int64)
    remainder = scaled - weights
    rows = np.flatnonzero((weights > 0) & (weights < _FLOAT_LATTICE))
    missing = k * _FLOAT_LATTICE - sum(int(part.sum()) for part in _parts(weights))
    first = missing
    while missing:
        # room to move towards the sum; the largest remainders move first
        sign = 1 if missing > 0 else -1
        room = _FLOAT_LATTICE - weights[rows] if sign > 0 else weights[rows]
        movable = rows[room > 0]  # never empty: with all of them at their limit the sum is passed
        movable = movable[np.argsort(-sign * remainder[movable], kind="stable")]
        share, rest = divmod(abs(missing), movable.size)
        step = np.full(movable.size, share, dtype=np.int64)
        step[:rest] += 1
        limit = _FLOAT_LATTICE - weights[movable] if sign > 0 else weights[movable]
        step = np.minimum(step, limit)
        weights[movable] += sign * step
        missing -= sign * int(step.sum())
    if first:
        changed = float(np.abs(weights / _FLOAT_LATTICE - values).max())
        if changed > _NOTABLE:
            warnings.warn(
                f"p added up to {values.sum():.12g}; making that {k} changed a probability by up "
                f"to {changed:.3g}.",
                SeptetWarning,
                stacklevel=4,
            )
    return weights


def _parts(weights: Ints) -> list[Ints]:
    return [weights[i : i + 1024] for i in range(0, weights.size, 1024)]


def _kernels_for(total: int) -> Any:
    return _twins if total >= _WIDE else _engine.kernels()


def _pivotal(
    weights: Weights, total: int, rows: Ints, coins: Coins, chosen: NDArray[np.bool_]
) -> tuple[int, int]:
    """Visit `rows` in order; return the carrier that is left (-1 for none) and its weight."""
    state = np.array([0, -1, 0], dtype=object if total >= _WIDE else np.int64)
    kernel = _kernels_for(total).pivotal
    while state[0] < rows.size:
        words = coins.peek(min(rows.size - int(state[0]) + 64, _WORDS))
        coins.advance(int(kernel(weights, total, rows, words, state, chosen)))
    return int(state[1]), int(state[2])


def _pivotal_by_group(
    weights: Weights,
    total: int,
    rows: Ints,
    words: NDArray[np.uint64],
    codes: Ints,
    coins: Coins,
    chosen: NDArray[np.bool_],
) -> None:
    """Visit each group's rows by their words, then the rows left over by theirs."""
    by_group = np.lexsort((words, codes[rows]))
    ends = np.flatnonzero(np.diff(codes[rows[by_group]])) + 1
    left: list[tuple[int, int, int]] = []
    for part in np.split(by_group, ends) if by_group.size else []:
        carrier, weight = _pivotal(weights, total, rows[part], coins, chosen)
        if carrier >= 0:
            left.append((int(words[np.searchsorted(rows, carrier)]), carrier, weight))
    left.sort()
    remaining = weights.copy()
    for _, carrier, weight in left:
        remaining[carrier] = weight
    _pivotal(remaining, total, np.array([row for _, row, _ in left], np.int64), coins, chosen)


def _digest(weights: Weights, total: int) -> bytes:
    """Return what a draw without a roster is keyed by: the probabilities themselves."""
    text = hashlib.sha256(f"septet draw 1\n{total}\n".encode())
    if weights.dtype == object:
        text.update("\n".join(map(str, weights.tolist())).encode())
    else:
        text.update(weights.astype("<i8", copy=False).data)
    return text.digest()
