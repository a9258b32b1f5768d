"""Choosing settings by the worst group: folds that respect groups, and scores of held-out rows."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.model_selection import BaseCrossValidator

from septet._core import checks
from septet._core.errors import SeptetWarning
from septet.robust._fitting import TrainingRows
from septet.robust._groups import GroupTable

FloatArray: TypeAlias = NDArray[np.float64]
IndexArray: TypeAlias = NDArray[np.intp]
Split: TypeAlias = tuple[IndexArray, IndexArray]
CrossValidation: TypeAlias = (
    int | float | BaseCrossValidator | Iterable[tuple[ArrayLike, ArrayLike]]
)
Selection: TypeAlias = Literal["accuracy", "loss"]
SELECTIONS = ("accuracy", "loss")


def patterns(table: GroupTable) -> IndexArray:
    """Code of each row's set of groups: rows with the same groups are exchangeable; -1 unknown."""
    matrix = table.membership.tocsr().sorted_indices()
    sets = [
        tuple(matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]].tolist())
        for i in range(matrix.shape[0])
    ]
    order = {found: code for code, found in enumerate(sorted(set(sets) - {()}))}
    return np.array([order.get(found, -1) for found in sets], dtype=np.intp)


def stratified_folds(codes: IndexArray, n_folds: int, rng: np.random.Generator) -> IndexArray:
    """Deal the rows of each code to folds in random order; returns -1 for rows never held out.

    A code with a single row stays out of every fold, because holding it out would leave nothing to
    learn it from. Dealing goes on where the last code stopped, so that fold sizes differ by one.
    """
    folds = np.full(len(codes), -1, dtype=np.intp)
    dealt = 0
    for code in range(int(codes.max(initial=-1)) + 1):
        members = rng.permutation(np.flatnonzero(codes == code))
        if members.size > 1:
            folds[members] = (dealt + np.arange(members.size)) % n_folds
            dealt += members.size
    return folds


def stratified_holdout(
    codes: IndexArray, fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mark about `fraction` of the rows of each code, at least one and never all of them."""
    marked = np.zeros(len(codes), dtype=bool)
    for code in range(int(codes.max(initial=-1)) + 1):
        members = rng.permutation(np.flatnonzero(codes == code))
        if members.size > 1:
            count = min(max(1, round(fraction * members.size)), members.size - 1)
            marked[members[:count]] = True
    return marked


def make_splits(
    cv: CrossValidation,
    rows: TrainingRows,
    rng: np.random.Generator,
) -> list[Split]:
    """Pairs of fitting and selection rows from folds, a held-out fraction or given splits."""
    if isinstance(cv, Iterable):
        given = [(np.asarray(a), np.asarray(b)) for a, b in cv]
    elif hasattr(cv, "split"):
        given = list(cv.split(rows.X, rows.y))
    else:
        return _own_splits(cast("float", cv), rows, rng)
    everything = np.arange(len(rows.y))
    return [(everything[a].astype(np.intp), everything[b].astype(np.intp)) for a, b in given]


def _own_splits(cv: float, rows: TrainingRows, rng: np.random.Generator) -> list[Split]:
    codes = patterns(rows.table)
    warn_of_single_rows(rows.table, "is fitted on")
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        n_folds = checks.integer("cv", cv, low=2)
        folds = stratified_folds(codes, n_folds, rng)
        held_out = [folds == k for k in range(n_folds) if (folds == k).any()]
    else:
        held_out = [stratified_holdout(codes, checks.number("cv", cv, above=0, below=1), rng)]
    if not any(mask.any() for mask in held_out):
        raise ValueError("no group has two rows: nothing can be held out to select on.")
    return [(np.flatnonzero(~mask), np.flatnonzero(mask)) for mask in held_out]


def warn_of_single_rows(table: GroupTable, use: str) -> None:
    """Warn of groups with one row, which `use` says what becomes of."""
    single = np.flatnonzero(np.bincount(table.membership.indices, minlength=len(table.keys)) == 1)
    if single.size:
        names = "; ".join(table.names[i] for i in single[:3])
        warnings.warn(
            f"{single.size} group{'s have' if single.size > 1 else ' has'} one row only ({names}): "
            f"it {use} and cannot be validated.",
            SeptetWarning,
            stacklevel=4,
        )


def best_setting(
    accuracy: FloatArray,
    loss: FloatArray,
    selection: Selection,
    rank: Sequence[float] | None = None,
) -> int:
    """Index of the setting with the best worst group; ties go to the other score, then by rank.

    Parameters
    ----------
    accuracy, loss : ndarray of shape (n_settings, G)
        Scores of the groups; NaN for groups without rows.
    selection : {"accuracy", "loss"}
        What decides.
    rank : sequence of float, optional
        The setting with the smallest one wins where both scores are equal; by default the first.
    """
    worst_accuracy, worst_loss = np.nanmin(accuracy, axis=1), np.nanmax(loss, axis=1)
    # sums in another order must not decide a tie
    first, second = np.round(-worst_accuracy, 12), np.round(worst_loss, 12)
    if selection == "loss":
        first, second = second, first
    return int(np.lexsort((range(len(first)) if rank is None else rank, second, first))[0])


def check_settings(name: str, values: Sequence[float]) -> list[float]:
    """Return a list of numbers that is not empty."""
    found = [checks.number(f"{name}[{i}]", value) for i, value in enumerate(values)]
    if not found:
        raise ValueError(f"{name} must not be empty.")
    return found


def scores_by_group(
    coef: FloatArray, intercept: FloatArray, rows: TrainingRows, index: IndexArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sums per group over some rows: weight of the right ones, weighted loss, weight.

    Parameters
    ----------
    coef, intercept : ndarray of shape (K, d) and (K,), or (1, d) and (1,)
        A head; a single row is the logit of the second class.
    rows : TrainingRows
        All rows.
    index : ndarray
        The rows to judge on.
    """
    X, y = np.asarray(rows.X[index], dtype=np.float64), rows.y[index]
    scores = X @ coef.T + intercept
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    log_p = log_softmax(scores, axis=1)
    sums = rows.table.membership[index].T * rows.weight[index]
    right = sums @ (log_p.argmax(axis=1) == y).astype(np.float64)
    return right, -sums @ log_p[np.arange(len(y)), y], sums.sum(axis=1)
