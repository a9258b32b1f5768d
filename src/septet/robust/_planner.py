"""Which rows to label next, and what the labels at hand say about the other rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.robust._erm import GroupBalancedClassifier
from septet.robust._groups import GroupKey, read_groups
from septet.robust._head_problem import FloatArray


@dataclass(frozen=True, eq=False)
class LabelPlan:
    """Rows whose group to find out next; made by `suggest_labels`.

    Attributes
    ----------
    rows : ndarray of shape (budget,), intp
        Indices of the rows, ascending.
    groups : tuple of hashable
        Groups that the labels may turn out to be.
    current : ndarray of shape (G,), int64
        Rows with a label now.
    expected : ndarray of shape (G,), float64
        Rows with a label after the plan, on average; the current ones if nothing is known yet.
    """

    rows: NDArray[np.intp]
    groups: tuple[GroupKey, ...]
    current: NDArray[np.int64]
    expected: FloatArray

    def __str__(self) -> str:
        lines = [f"label {len(self.rows)} rows; per group now -> then, on average"]
        lines += [
            f"  {group}: {now} -> {then:.1f}"
            for group, now, then in zip(self.groups, self.current, self.expected, strict=True)
        ]
        return "\n".join(lines)


def suggest_labels(
    X: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike,
    budget: int,
    *,
    alpha: float = 1e-3,
    unknown_group: object = -1,
    random_state: RandomState = None,
) -> LabelPlan:
    """Choose the rows whose group label would help a worst-group head most.

    The error of a worst-group head on group g falls with the number of its labelled rows, so the
    plan raises the smallest groups first until `budget` is spent. A head trained on the labels at
    hand says which rows are likely in them. Rows are drawn at random in proportion to that
    probability, so that the labelled rows of a group stay close to a random sample of it.

    Parameters
    ----------
    X : array_like of shape (n, d)
        Features of all rows.
    y : array_like of shape (n,)
        Classes of all rows.
    groups : array_like of shape (n,) or (n, n_attributes)
        Labels so far; unknown ones mark the rows to choose from. With none known, or one value
        only, rows are drawn evenly from the classes.
    budget : int
        Number of rows to choose.
    alpha : float, default 1e-3
        L2 coefficient of the head that predicts the labels; standardise the features.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    random_state : int, numpy.random.Generator or None, default None
        Source of the draws.

    Returns
    -------
    LabelPlan
        The rows, and how many labels each group has now and then.

    Raises
    ------
    ValueError
        If fewer than `budget` rows are without a label, or lengths differ.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, place = np.repeat([0, 1], 100), np.repeat([0, 1, 0, 1], [90, 10, 10, 90])
    >>> X = rng.normal(size=(200, 2)) * 0.3 + np.column_stack([y, place])
    >>> known = np.where(rng.random(200) < 0.2, place, -1)
    >>> plan = suggest_labels(X, y, known, budget=10, random_state=0)
    >>> bool((place[plan.rows] != y[plan.rows]).mean() > 0.7)  # the share of all rows is 0.1
    True
    """
    budget = checks.integer("budget", budget, low=1)
    rng = generator(random_state)
    features, classes = checks.matrix("X", X), np.asarray(y)
    table = read_groups(groups, classes, unknown_group=unknown_group)
    pool = np.flatnonzero(~table.known)
    if budget > pool.size:
        raise ValueError(f"budget is {budget}, but only {pool.size} rows are without a label.")
    posterior = _posterior(features, classes, groups, unknown_group, alpha)
    if posterior is None:
        current = np.array([(table.codes == g).sum() for g in range(len(table.keys))], np.int64)
        rows = _evenly(classes[pool], budget, rng)
        return LabelPlan(np.sort(pool[rows]), table.keys, current, current.astype(float))
    keys, chances = posterior
    current = np.array(
        [(table.codes == table.keys.index(k)).sum() if k in table.keys else 0 for k in keys],
        dtype=np.int64,
    )
    rows = _draw(chances[pool], _needs(current, chances[pool].sum(axis=0), budget), budget, rng)
    expected = current + chances[pool[rows]].sum(axis=0)
    return LabelPlan(np.sort(pool[rows]), keys, current, expected)


def infer_groups(
    X: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike,
    *,
    alpha: float = 1e-3,
    unknown_group: object = -1,
) -> tuple[FloatArray, tuple[GroupKey, ...]]:
    """Give rows of unknown group soft memberships, learned from the rows of known group.

    A group-balanced head predicts the label from the features; the memberships of a row are its
    probabilities times the label's frequency in the row's class. Pass them on as
    `group_membership`: then, and only then, rows without a label take part in fitting a head.

    Parameters
    ----------
    X : array_like of shape (n, d)
        Features.
    y : array_like of shape (n,)
        Classes.
    groups : array_like of shape (n,) or (n, n_attributes)
        Labels, unknown ones among them.
    alpha : float, default 1e-3
        L2 coefficient of the head that predicts the labels; standardise the features.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.

    Returns
    -------
    membership : ndarray of shape (n, G)
        One for the known group of a row, else probabilities that sum to one.
    keys : tuple of tuple
        Class and label of each column.

    Raises
    ------
    ValueError
        If the known rows have fewer than two labels, or lengths differ.

    Examples
    --------
    >>> X, y = [[-1.0], [1.0], [-1.1], [0.9]], [0, 0, 0, 0]
    >>> membership, keys = infer_groups(X, y, ["a", "b", None, None], alpha=1e-4)
    >>> keys, membership.round(1).tolist()
    (((0, 'a'), (0, 'b')), [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    """
    features, classes = checks.matrix("X", X), np.asarray(y)
    posterior = _posterior(features, classes, groups, unknown_group, alpha)
    if posterior is None:
        raise ValueError("rows of at least two different labels must be known to infer the others.")
    keys, chances = posterior
    table = read_groups(groups, classes, unknown_group=unknown_group)
    known = np.flatnonzero(table.known)
    column = np.array([keys.index(key) for key in table.keys])
    chances[known] = np.eye(len(keys))[column[table.codes[known]]]
    return chances, keys


def _posterior(
    X: FloatArray, y: NDArray[np.generic], groups: ArrayLike, unknown_group: object, alpha: float
) -> tuple[tuple[GroupKey, ...], FloatArray] | None:
    """Probability of every (class, label) for every row; None without two known labels."""
    labels = read_groups(groups, y, cross_with_label=False, unknown_group=unknown_group)
    if len(labels.keys) < 2:
        return None
    codes = labels.codes
    known = codes >= 0
    # balanced over class and label, so that the class alone tells nothing
    head = GroupBalancedClassifier(alpha)
    head.fit(X[known], codes[known], groups=np.unique(y, return_inverse=True)[1][known])
    chance = head.predict_proba(X)
    names, of_row = np.unique(y, return_inverse=True)
    n = np.zeros((len(names), len(labels.keys)))
    np.add.at(n, (of_row[known], codes[known]), 1.0)
    frequency = (n + 1.0) / (n + 1.0).sum(axis=1, keepdims=True)
    chance *= frequency[of_row]
    chance /= chance.sum(axis=1, keepdims=True)
    keys = tuple(
        (name, *(key if isinstance(key, tuple) else (key,)))
        for name in names.tolist()
        for key in labels.keys
    )
    full = np.zeros((len(y), len(names), len(labels.keys)))
    full[np.arange(len(y)), of_row] = chance
    return keys, full.reshape(len(y), -1)


def _needs(current: NDArray[np.int64], available: FloatArray, budget: int) -> FloatArray:
    """Spread the budget so that the smallest groups end up as equal as what is left allows."""
    low, high = 0.0, float(current.max() + budget)
    for _ in range(60):
        level = (low + high) / 2
        wanted = np.minimum(np.maximum(level - current, 0.0), available)
        low, high = (level, high) if wanted.sum() < budget else (low, level)
    return np.minimum(np.maximum(high - current, 0.0), available)


def _draw(
    chances: FloatArray, wanted: FloatArray, budget: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw rows for the groups in turns, without replacement, in proportion to their chances."""
    left = np.ones(len(chances), dtype=bool)
    rows = np.empty(budget, dtype=np.intp)
    wanted = wanted.copy()
    for i in range(budget):
        weights = np.where(left, chances[:, int(np.argmax(wanted))], 0.0)
        if weights.sum() <= 0.0:
            weights = left.astype(np.float64)
        row = int(rng.choice(len(chances), p=weights / weights.sum()))
        rows[i], left[row] = row, False
        wanted -= chances[row]
    return rows


def _evenly(
    classes: NDArray[np.generic], budget: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw rows from the classes in turns."""
    order = rng.permutation(len(classes))
    turn = np.empty(len(classes), dtype=np.intp)
    for name in np.unique(classes):
        members = order[classes[order] == name]
        turn[members] = np.arange(len(members))
    return order[np.argsort(turn[order], kind="stable")][:budget]
