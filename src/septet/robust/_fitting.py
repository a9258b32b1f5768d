"""From the arguments of `fit` to a head problem: checks, groups, weights, rows in use."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse
import sklearn
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet.robust._groups import GroupTable, SparseArray
from septet.robust._head_problem import Bias, FloatArray, HeadProblem
from septet.robust._solve import SOLVERS, rotate


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Checked input of `fit`.

    Attributes
    ----------
    X : ndarray of shape (N, d), float32 or float64
        All rows given.
    y : ndarray of shape (N,), intp
        Class codes.
    weight : ndarray of shape (N,), float64
        Sample weights.
    table : GroupTable
        Groups of all rows.
    """

    X: NDArray[np.floating]
    y: NDArray[np.intp]
    weight: FloatArray
    table: GroupTable

    def only(self, index: NDArray[np.intp]) -> "TrainingRows":
        """Return the same rows with the weight of all others set to zero: nothing is copied."""
        weight = np.zeros_like(self.weight)
        weight[index] = self.weight[index]
        return replace(self, weight=weight)


def check_finite(X: NDArray[np.floating]) -> None:
    """Raise with the count and the first place if X has NaN or infinite entries."""
    rows, bad, first = max(1, (1 << 21) // max(1, X.shape[1])), 0, None
    for start in range(0, len(X), rows):
        block = X[start : start + rows]
        with np.errstate(all="ignore"):  # the sum of finite entries may overflow, hence the rest
            if np.isfinite(block.sum()):
                continue
        places = np.argwhere(~np.isfinite(block))
        if len(places) and first is None:
            first = (start + int(places[0][0]), int(places[0][1]))
        bad += len(places)
    if first is not None:
        raise ValueError(
            f"X contains {bad} entries that are NaN or infinite, the first at row {first[0]}, "
            f"column {first[1]}."
        )


def bias_mode(*, fit_intercept: bool, penalize_bias: bool) -> Bias:
    if not fit_intercept:
        return "none"
    return "penalized" if penalize_bias else "free"


def check_solver(alpha: object, solver: object, tol: object, max_iter: object) -> None:
    """Check the settings that every exact head shares."""
    try:
        checks.number("alpha", alpha, above=0)
    except ValueError as error:
        raise ValueError(
            f"{error} Without a penalty separable data have no optimal head; alpha=1e-6 is a "
            "small one."
        ) from None
    checks.choice("solver", solver, SOLVERS)
    checks.number("tol", tol, above=0)
    checks.integer("max_iter", max_iter, low=0)


def group_problem(
    rows: TrainingRows,
    *,
    alpha: float,
    bias: Bias,
    n_classes: int,
    adjustment: float | ArrayLike = 0.0,
) -> tuple[HeadProblem, GroupTable]:
    """Build the worst-group problem over the rows with a known group and positive weight."""
    constants = check_adjustment(adjustment, len(rows.table.keys))
    used, table, totals = used_groups(rows, n_classes)
    constants = constants[[rows.table.keys.index(key) for key in table.keys]]
    share = share_of(table, rows.weight[used], totals)
    X, taken = select_rows(rows.X, used)
    offset = constants / np.sqrt(totals)
    problem = HeadProblem(
        X, rows.y[used], share, offset, float(alpha), n_classes, bias, None, taken
    )
    return problem, table


def weighted_problem(
    rows: TrainingRows,
    row_weights: FloatArray,
    *,
    alpha: float,
    bias: Bias,
    n_classes: int,
    base: FloatArray | None = None,
) -> HeadProblem:
    """Build the problem of one weighted mean over the rows with positive `row_weights`."""
    used = np.flatnonzero(row_weights > 0)
    _need_every_class(rows.y[used], n_classes)
    share = scipy.sparse.csr_array((row_weights[used] / row_weights[used].sum())[:, None])
    X, taken = select_rows(rows.X, used)
    if base is not None:
        base = base[:, used]
    offset = np.zeros(1)
    return HeadProblem(X, rows.y[used], share, offset, float(alpha), n_classes, bias, base, taken)


def used_groups(
    rows: TrainingRows, n_classes: int
) -> tuple[NDArray[np.intp], GroupTable, FloatArray]:
    """Rows with a known group and positive weight, their groups and the groups' total weights."""
    known = rows.table.known
    used = np.flatnonzero(known & (rows.weight > 0))
    if used.size == 0:
        raise ValueError(
            f"no row has a known group and a positive weight ({len(rows.y)} rows, "
            f"{int((~known).sum())} of them of unknown group): a robust head needs group labels."
        )
    _need_every_class(rows.y[used], n_classes)
    table = drop_empty(rows.table.rows(used), rows.weight[used])
    return used, table, table.membership.T @ rows.weight[used]


def drop_empty(table: GroupTable, weight: FloatArray) -> GroupTable:
    """Return the table without the groups whose rows have no weight."""
    occurs = np.flatnonzero(table.membership.T @ weight > 0)
    if len(occurs) == len(table.keys):
        return table
    keys = tuple(table.keys[i] for i in occurs)
    return GroupTable(keys, table.parts, table.membership[:, occurs], table.absent)


def reduce_rows(
    rows: TrainingRows, splits: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
) -> tuple[TrainingRows, list[tuple[NDArray[np.intp], NDArray[np.intp]]], FloatArray | None]:
    """With more features than usable rows, keep these rows only and rotate their features once.

    The splits then count the rows kept. The third value maps the new features to the old ones.
    """
    used = np.flatnonzero(rows.table.known & (rows.weight > 0))
    if rows.X.shape[1] <= used.size or used.size == 0:
        return rows, splits, None
    features, basis = rotate(np.asarray(rows.X[used], dtype=np.float64))
    place = np.full(len(rows.y), -1, dtype=np.intp)
    place[used] = np.arange(used.size)
    kept = [(a[a >= 0], b[b >= 0]) for a, b in ((place[fit], place[sel]) for fit, sel in splits)]
    small = TrainingRows(features, rows.y[used], rows.weight[used], rows.table.rows(used))
    return small, kept, basis


def share_of(table: GroupTable, weight: FloatArray, totals: FloatArray) -> SparseArray:
    """Share of each row in the mean loss of each group."""
    share = (
        scipy.sparse.diags_array(weight) @ table.membership @ scipy.sparse.diags_array(1 / totals)
    )
    return scipy.sparse.csr_array(share)


def select_rows(
    X: NDArray[np.floating], used: NDArray[np.intp]
) -> tuple[NDArray[np.floating], NDArray[np.intp] | None]:
    """Return features in float64 if they fit in scikit-learn's working memory, else as they are.

    The second value says which rows to read where the features stay as they are.
    """
    everything = used.size == len(X)
    if everything and X.dtype == np.float64:
        return X, None
    limit = sklearn.get_config()["working_memory"] * 2**20
    if 8 * used.size * X.shape[1] <= limit:
        return np.ascontiguousarray(X if everything else X[used], dtype=np.float64), None
    return X, None if everything else used


def check_adjustment(adjustment: float | ArrayLike, n_groups: int) -> FloatArray:
    """Return one constant C per group; negative ones are refused."""
    values = np.asarray(adjustment, dtype=np.float64)
    if values.ndim == 0:
        values = np.full(n_groups, float(values))
    if values.shape != (n_groups,):
        raise ValueError(
            f"adjustment must be a number or one per group ({n_groups}); got shape {values.shape}."
        )
    bad = int((~(np.isfinite(values) & (values >= 0))).sum())
    if bad:
        raise ValueError(
            f"adjustment (the constant C) must be finite and not negative; {bad} of "
            f"{n_groups} groups have another value."
        )
    return values


def _need_every_class(y: NDArray[np.intp], n_classes: int) -> None:
    missing = np.setdiff1d(np.arange(n_classes), y)
    if missing.size:
        raise ValueError(
            f"{missing.size} of {n_classes} classes have no row with a known group and a positive "
            f"weight; the first is number {missing[0]} of the sorted classes."
        )


def keys_array(table: GroupTable) -> NDArray[np.object_]:
    """Group keys as a 1-D object array, whatever the keys are."""
    keys = np.empty(len(table.keys), dtype=object)
    keys[:] = table.keys
    return keys


def standardization(features: FloatArray, *, on: bool) -> tuple[FloatArray, FloatArray]:
    """Mean and scale of each column; (0, 1) if off, and scale 1 for a constant column.

    A constant column becomes 0 in the rows that the statistics come from.
    """
    if not on:
        return np.zeros(features.shape[1]), np.ones(features.shape[1])
    center, scale = features.mean(axis=0), features.std(axis=0)
    constant = scale <= 1e-12 * np.maximum(np.abs(center), 1e-300)
    return center, np.where(constant, 1.0, scale)
