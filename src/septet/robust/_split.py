"""Which rows train the network, which retrain its head and which select."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.robust._groups import GroupTable, read_groups
from septet.robust._selection import (
    IndexArray,
    patterns,
    stratified_holdout,
    warn_of_single_rows,
)


@dataclass(frozen=True, eq=False)
class CRISSplit:
    """Disjoint rows for the phases of CRIS, together all rows; made by `cris_split`.

    Attributes
    ----------
    phase_one : ndarray of intp
        Rows that train the network. Their group labels are not looked at.
    phase_one_selection : ndarray of intp
        Rows without group label that only select the network, by average accuracy.
    retraining : ndarray of intp
        Rows with group label that retrain the head.
    selection : ndarray of intp
        Rows with group label that select the head by its worst group, and the network as well.
    """

    phase_one: IndexArray
    phase_one_selection: IndexArray
    retraining: IndexArray
    selection: IndexArray


def cris_split(
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    group_membership: ArrayLike | None = None,
    retrain_fraction: float = 0.5,
    selection_fraction: float = 0.0,
    validation_fraction: float = 0.0,
    cross_with_label: bool = True,
    unknown_group: object = -1,
    random_state: RandomState = None,
) -> CRISSplit:
    """Split rows for training a network and retraining its head on independent rows.

    Parameters
    ----------
    y : array_like of shape (n,)
        Classes.
    groups : array_like of shape (n,) or (n, n_attributes), optional
        Group labels, unknown ones allowed; rows of unknown group train the network.
    group_membership : array_like of shape (n, G), optional
        Multi-hot or soft memberships instead of labels.
    retrain_fraction : float, default 0.5
        The paper's p: part of the rows with group label (after selection rows are set aside) that
        retrains the head, in (0, 1]. The other part trains the network. A split of n rows gives the
        network ``int(n * (1 - p))`` of them, shared out over the groups in proportion.
    selection_fraction : float, default 0.0
        Part of each group that is set aside for selection, in [0, 1).
    validation_fraction : float, default 0.0
        Part of each class among the rows of unknown group that is set aside to select the network,
        in [0, 1).
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    random_state : int, numpy.random.Generator or None, default None
        Which rows go where.

    Returns
    -------
    CRISSplit
        Four arrays of row numbers, each ascending.

    Raises
    ------
    ValueError
        If no row has a group label, nothing is left for the network, or a fraction is out of range.

    Warns
    -----
    SeptetWarning
        If a group has a single row: it retrains the head and cannot be validated.

    Notes
    -----
    The reference implementation splits without regard to groups and ignores its seed.

    References
    ----------
    T. H. Nguyen, H. R. Zhang, H. L. Nguyen, "Improved Group Robustness via Classifier Retraining on
    Independent Splits", TMLR 2023, algorithm 1, lines 1 and 2.

    Examples
    --------
    >>> y, place = [0, 0, 0, 0, 1, 1, 1, 1] * 2, [0, 0, 1, 1] * 4
    >>> split = cris_split(y, place, retrain_fraction=0.5, random_state=0)
    >>> len(split.phase_one), len(split.retraining)
    (8, 8)
    """
    if groups is None and group_membership is None:
        raise ValueError(
            "no group labels were given: pass groups for at least some rows (-1 where unknown), or "
            "label a few rows of each group first; suggest_labels says which."
        )
    table = read_groups(
        groups,
        y,
        membership=group_membership,
        cross_with_label=cross_with_label,
        unknown_group=unknown_group,
    )
    split = split_table(
        table,
        y,
        retrain_fraction=retrain_fraction,
        selection_fraction=selection_fraction,
        validation_fraction=validation_fraction,
        rng=generator(random_state),
    )
    if not split.phase_one.size:
        raise ValueError(
            "no row is left to train the network: lower retrain_fraction (it is "
            f"{retrain_fraction:g}) or add rows without group label."
        )
    return split


def split_table(
    table: GroupTable,
    y: ArrayLike,
    *,
    retrain_fraction: float,
    selection_fraction: float,
    validation_fraction: float,
    rng: np.random.Generator,
) -> CRISSplit:
    """Do what `cris_split` says, for groups that were read; perhaps no row trains the network."""
    p = checks.number("retrain_fraction", retrain_fraction, above=0, high=1)
    selecting = checks.number("selection_fraction", selection_fraction, low=0, below=1)
    validating = checks.number("validation_fraction", validation_fraction, low=0, below=1)
    codes = patterns(table)
    known = codes >= 0
    if not known.any():
        raise ValueError(
            f"none of the {len(codes)} rows has a group label: label a few rows of each group; "
            "suggest_labels says which."
        )
    warn_of_single_rows(table, "goes to retraining")
    chosen = np.zeros(len(codes), dtype=bool)
    if selecting > 0:
        chosen = stratified_holdout(codes, selecting, rng)
    to_network = _share_out(np.where(chosen, -1, codes), p, rng)
    validation = np.zeros(len(codes), dtype=bool)
    if validating > 0:
        classes = np.unique(np.asarray(y), return_inverse=True)[1]
        validation = stratified_holdout(np.where(known, -1, classes), validating, rng)
    phase_one = to_network | ~(known | validation)
    return CRISSplit(
        phase_one=np.flatnonzero(phase_one),
        phase_one_selection=np.flatnonzero(validation),
        retraining=np.flatnonzero(known & ~chosen & ~to_network),
        selection=np.flatnonzero(chosen),
    )


def sample_labels(
    y: ArrayLike,
    groups: ArrayLike,
    fraction: float,
    *,
    cross_with_label: bool = True,
    unknown_group: object = -1,
    random_state: RandomState = None,
) -> IndexArray:
    """Draw the rows that keep their group label when only a part of them is paid for.

    Parameters
    ----------
    y : array_like of shape (n,)
        Classes.
    groups : array_like of shape (n,) or (n, n_attributes)
        Group labels.
    fraction : float
        Part of each group, in (0, 1]; rounded up per group.
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    random_state : int, numpy.random.Generator or None, default None
        Source of the draw.

    Returns
    -------
    ndarray of intp
        Row numbers, ascending.

    Raises
    ------
    ValueError
        If `fraction` is out of range or a row is in more than one group.

    Notes
    -----
    The reference implementation takes the first rows of each group instead of random ones.

    Examples
    --------
    >>> groups = [0] * 467 + [1] * 466 + [2] * 133 + [3] * 133  # Waterbirds, validation
    >>> len(sample_labels([0] * 1199, groups, 0.05))  # 24 + 24 + 7 + 7
    62
    """
    fraction = checks.number("fraction", fraction, above=0, high=1)
    rng = generator(random_state)
    codes = read_groups(
        groups, y, cross_with_label=cross_with_label, unknown_group=unknown_group
    ).codes
    kept = []
    for code in range(int(codes.max(initial=-1)) + 1):
        members = np.flatnonzero(codes == code)
        # a product such as 0.05 * 20 must not be rounded up past the whole number it means
        count = int(np.ceil(round(fraction * members.size, 9)))
        kept.append(rng.choice(members, count, replace=False))
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, dtype=np.intp)


def pseudo_groups(y: ArrayLike, y_pred: ArrayLike) -> NDArray[np.int64]:
    """Number groups by class and by whether an early model is wrong: ``2 y + [y_pred != y]``.

    Errors of a model that has not memorised its training rows are mostly rows of minority groups.

    Parameters
    ----------
    y : array_like of shape (n,)
        Classes.
    y_pred : array_like of shape (n,)
        Predictions, best for rows the model was not trained on.

    Returns
    -------
    ndarray of shape (n,), int64
        Twice the class's place in sorted order, plus one for an error; use them with
        ``cross_with_label=False``.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> pseudo_groups(["a", "b", "c", "c"], ["a", "c", "c", "a"]).tolist()
    [0, 3, 4, 5]
    """
    truth, guess = np.asarray(y), np.asarray(y_pred)
    if truth.ndim != 1 or truth.shape != guess.shape:
        raise ValueError(
            f"y and y_pred must be 1-D and of one length; got {truth.shape} and {guess.shape}."
        )
    codes = np.unique(truth, return_inverse=True)[1]
    return (2 * codes + (truth != guess)).astype(np.int64)


def _share_out(codes: IndexArray, p: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mark ``int(n (1 - p))`` of the n rows with a code, spread over the codes in proportion.

    Every code keeps at least one row unmarked.
    """
    counts = np.bincount(codes[codes >= 0], minlength=int(codes.max(initial=-1)) + 1)
    quota = (1 - p) * counts
    marked = np.minimum(np.floor(quota + 1e-9), np.maximum(counts - 1, 0)).astype(np.intp)
    total = int(counts.sum() * (1 - p) + 1e-9)
    # largest remainders first; a code without a row to spare is passed over
    for code in np.argsort(-(quota - marked), kind="stable"):
        if marked.sum() >= total:
            break
        if marked[code] < counts[code] - 1:
            marked[code] += 1
    chosen = np.zeros(len(codes), dtype=bool)
    for code, count in enumerate(marked):
        chosen[rng.permutation(np.flatnonzero(codes == code))[:count]] = True
    return chosen
