"""From files of rows to a saved head and back: what the command line does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet._core.errors import DataError
from septet._core.files import PathLike
from septet._core.random import generator
from septet.robust._compare import Comparison, compare_models
from septet.robust._cris import CRISClassifier
from septet.robust._dfr import DFRClassifier
from septet.robust._erm import ERMClassifier, GroupBalancedClassifier
from septet.robust._files import Rows, load_head, read_rows, save_head
from septet.robust._fixed_head import LinearHead, full_rows, unscale
from septet.robust._group_dro_cv import GroupDROClassifierCV
from septet.robust._group_report import GroupReport
from septet.robust._groups import GroupTable, read_groups
from septet.robust._logit_adjusted import LogitAdjustedClassifier
from septet.robust._report import group_report
from septet.robust._search import GroupSearchCV
from septet.robust._selection import patterns, stratified_holdout

METHODS = ("group-dro", "balanced", "dfr", "plain", "logit-adjusted")


def fit_file(
    path: PathLike,
    folder: PathLike,
    *,
    method: str = "group-dro",
    label: str = "y",
    groups: Sequence[str] = (),
    drop: Sequence[str] = (),
    holdout: float = 0.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Fit a head on the rows of a file and save it; return what is saved beside the weights.

    Rows whose ``split`` is validation select (``"dfr"`` sets rows aside by itself and is fitted on
    these too), rows whose split is test are left out. Without a split, `holdout` leaves out that
    part of each group, for `audit_file`.

    Parameters
    ----------
    path, label, groups, drop
        As in `read_rows`.
    folder : path
        Where the head is saved.
    method : {"group-dro", "balanced", "dfr", "plain", "logit-adjusted"}, default "group-dro"
        Rule; all choose their penalty by the worst group.
    holdout : float, default 0.0
        In [0, 1).
    seed : int, default 0
        Rows held out, and folds.

    Returns
    -------
    dict
        Facts: method, groups with their numbers of rows, certificate, features, file.

    Raises
    ------
    DataError
        If the file lacks classes.
    ValueError
        As in the heads; also if `holdout` is asked of a file that has a split.
    """
    checks.choice("method", method, METHODS)
    rows = read_rows(path, label=label, groups=groups, drop=drop)
    if rows.y is None:
        raise DataError(f"{path} has no {label!r}: classes are needed to fit.")
    table = read_groups(rows.groups, rows.y)
    fraction = checks.number("holdout", holdout, low=0, below=1)
    if fraction > 0 and rows.split is not None:
        raise ValueError(f"{path} has a split of its own: holdout is for files without one.")
    kept, selecting = _parts(rows, table, fraction, seed)
    if method == "dfr":  # which sets rows aside by itself, and would not look at these
        kept, selecting = np.union1d(kept, selecting), selecting[:0]
    model = CRISClassifier(
        head=_rule(method), selection="holdout" if selecting.size else "cv", random_state=seed
    )
    labels = None if rows.groups is None else rows.groups[kept]
    chosen_by = None
    if selecting.size:
        given = rows.y if rows.groups is None else rows.groups
        chosen_by = rows.X[selecting], rows.y[selecting], given[selecting]
    model.fit(rows.X[kept], rows.y[kept], groups=labels, validation=chosen_by)
    raw = unscale(*full_rows(model.head_), model.center_, model.scale_)
    used = table.rows(kept)
    facts: dict[str, Any] = {
        "method": method,
        "n": len(kept),
        "n_selecting": len(selecting),
        "n_unknown": model.n_unknown_,
        "groups": [
            {"key": _listed(key), "name": name, "n": int(n)}
            for key, name, n in zip(used.keys, used.names, used.counts, strict=True)
        ],
        "settings": _chosen(model.head_),
        "features": list(rows.features),
        "label": label,
        "group_columns": list(groups),
        "dropped": list(drop),
        "file_sha256": rows.sha256,
        "holdout": fraction,
        "seed": seed,
    }
    save_head(LinearHead(*raw, model.classes_).fit(), folder, facts)
    return facts


def audit_file(folder: PathLike, path: PathLike, *, confidence: float = 0.95) -> GroupReport:
    """Report on every group of a file's rows that the saved head was not fitted on.

    Of a file with a split these are the test rows. Of the very file that the head was fitted on
    they are the rows that were held out.

    Raises
    ------
    DataError
        If all rows of the file were fitted on, or the file does not fit the head.
    """
    head, facts, rows, index = _to_judge(folder, path)
    y, groups = _known(rows, index)
    # classes and labels as JSON keeps them, so that keys of training and of this file agree
    training = {_key(group["key"]): group["n"] for group in facts["groups"]}
    losses = None
    if set(np.unique(y).tolist()) <= set(head.classes_.tolist()):
        place = np.searchsorted(head.classes_, y)
        losses = -head.predict_log_proba(rows.X[index])[np.arange(len(index)), place]
    known = read_groups(groups, y)
    usable = training if set(training) & set(known.keys) else None
    return group_report(
        y,
        head.predict(rows.X[index]),
        groups,
        losses=losses,
        training=usable,
        confidence=confidence,
        selected_on="validation rows of the split"
        if facts["n_selecting"]
        else "rows among those fitted on",
    )


def predict_file(folder: PathLike, path: PathLike) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return predicted classes (n,) and probabilities (n, K) for all rows of a file.

    Raises
    ------
    DataError
        If the file's features are not the head's.
    """
    head, facts = load_head(folder)
    rows = _read_like(facts, path, head)
    return head.predict(rows.X), head.predict_proba(rows.X)


def compare_files(
    first: PathLike, second: PathLike, path: PathLike, *, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Compare two saved heads on the rows of a file that neither was fitted on, second minus first.

    Raises
    ------
    DataError
        If there are no such rows, or the file does not fit a head.
    """
    one, _, rows, index = _to_judge(first, path)
    two, facts, _, other = _to_judge(second, path)
    index = np.intersect1d(index, other)
    if not index.size:
        raise DataError(f"{path}: every row was fitted on by one of the two models.")
    y, groups = _known(rows, index)
    again = _read_like(facts, path, two)
    return compare_models(
        y,
        one.predict(rows.X[index]),
        two.predict(again.X[index]),
        groups,
        confidence=confidence,
        random_state=seed,
    )


def _rule(method: str) -> Any:
    alphas = {"alpha": GroupDROClassifierCV().alphas}
    return {
        "group-dro": GroupDROClassifierCV(),
        "balanced": GroupSearchCV(GroupBalancedClassifier(), alphas),
        "dfr": DFRClassifier(),
        "plain": GroupSearchCV(ERMClassifier(), alphas),
        "logit-adjusted": GroupSearchCV(LogitAdjustedClassifier(), alphas),
    }[method]


def _parts(
    rows: Rows, table: GroupTable, fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows that are fitted on, and rows that select."""
    if rows.split is not None:
        return np.flatnonzero(rows.split == "train"), np.flatnonzero(rows.split == "validation")
    out = _held_out(table, fraction, seed)
    return np.flatnonzero(~out), np.empty(0, dtype=np.intp)


def _held_out(table: GroupTable, fraction: float, seed: int) -> NDArray[np.bool_]:
    codes = patterns(table)
    if fraction == 0:
        return np.zeros(len(codes), dtype=bool)
    return stratified_holdout(codes, fraction, generator(seed))


def _read_like(facts: dict[str, Any], path: PathLike, head: LinearHead) -> Rows:
    rows = read_rows(
        path,
        label=facts["label"],
        groups=facts["group_columns"],
        drop=[name for name in facts["dropped"] if Path(path).suffix.lower() != ".npz"],
    )
    if rows.X.shape[1] != head.n_features_in_:
        raise DataError(
            f"{path} has {rows.X.shape[1]} features; the model takes {head.n_features_in_}."
        )
    if rows.features and facts["features"] and list(rows.features) != facts["features"]:
        odd = next(a for a, b in zip(rows.features, facts["features"], strict=True) if a != b)
        raise DataError(f"{path}: feature {odd!r} is not where the model was fitted with it.")
    return rows


def _to_judge(
    folder: PathLike, path: PathLike
) -> tuple[LinearHead, dict[str, Any], Rows, NDArray[np.intp]]:
    """Load a head and the rows of a file; say which of these it may be judged by."""
    head, facts = load_head(folder)
    rows = _read_like(facts, path, head)
    if rows.y is None:
        raise DataError(f"{path} has no {facts['label']!r}: classes are needed to judge.")
    if rows.split is not None and (rows.split == "test").any():
        return head, facts, rows, np.flatnonzero(rows.split == "test")
    if rows.sha256 != facts["file_sha256"]:
        return head, facts, rows, np.arange(len(rows.X))
    out = _held_out(read_groups(rows.groups, rows.y), facts["holdout"], facts["seed"])
    if not out.any():
        raise DataError(
            f"the model was fitted on every row of {path}: fit with a holdout, give the file a "
            "split with test rows, or judge by another file."
        )
    return head, facts, rows, np.flatnonzero(out)


def _known(rows: Rows, index: NDArray[np.intp]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if rows.y is None:
        raise DataError("classes are needed.")
    return rows.y[index], None if rows.groups is None else rows.groups[index]


def _chosen(head: Any) -> dict[str, Any]:
    """Return the settings chosen and the certificate, of whatever head."""
    names = {
        "alpha": "alpha_",
        "C": "C_",
        "group_weights": "group_weights_",
        "group_losses": "group_losses_",
        "objective": "primal_objective_",
        "duality_gap": "duality_gap_",
    }
    chosen = dict(getattr(head, "best_params_", {}))
    final = getattr(head, "best_estimator_", head)
    for name, attribute in names.items():
        if hasattr(final, attribute):
            chosen[name] = np.asarray(getattr(final, attribute)).tolist()
    return chosen


def _listed(key: Any) -> Any:
    return list(key) if isinstance(key, tuple) else key


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key
