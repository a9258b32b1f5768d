"""Deep feature reweighting: sparse heads of group-balanced subsets, averaged."""

import warnings
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.robust._erm import balanced_subset
from septet.robust._fitting import TrainingRows, keys_array, standardization, used_groups
from septet.robust._l1 import SparseHead, fit_l1
from septet.robust._linear_head import LinearHeadBase
from septet.robust._selection import (
    SELECTIONS,
    Selection,
    best_setting,
    check_settings,
    make_splits,
    scores_by_group,
)


class DFRClassifier(LinearHeadBase):
    """Average of L1-penalised heads, each fitted on a fresh group-balanced subset.

    The penalty is chosen by the worst group: heads are fitted on a balanced subset of one part of
    the rows and judged on the other part.

    Parameters
    ----------
    Cs : sequence of float, default (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
        Inverse strengths of the penalty to choose from, as in scikit-learn.
    n_refits : int, default 10
        Number of subsets whose heads are averaged.
    holdout : float, default 0.5
        Fraction of each group that judges the penalties.
    standardize : bool, default True
        Whether features are first scaled to mean 0 and variance 1 over the rows of known group; a
        constant column becomes 0.
    selection : {"accuracy", "loss"}, default "accuracy"
        Which worst-group score decides; the other one breaks ties, then the larger C.
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    tol : float, default 1e-4
        Relative duality gap of each sparse head.
    max_iter : int, default 5000
        Most iterations of each sparse head.
    random_state : int, numpy.random.Generator or None, default None
        Subsets and held-out rows.

    Attributes
    ----------
    C_ : float
        The penalty chosen.
    selection_accuracy_, selection_loss_ : ndarray of shape (n_Cs, G)
        Scores of each group on the held-out part; the chosen one's minimum is no estimate.
    duality_gaps_ : ndarray of shape (n_refits,)
        Relative duality gap of each averaged head.
    coef_, intercept_, classes_, groups_, n_unknown_, n_iter_
        As in `GroupDROClassifier`; the averaged head takes features as given, not standardised.

    Raises
    ------
    ValueError
        In `fit`, as `GroupDROClassifier`; also if rows are in more than one group.

    Notes
    -----
    There is no `sample_weight`: a subset keeps or drops whole rows. The bias is not penalised,
    unlike in the solver that the reference code calls.

    References
    ----------
    P. Kirichenko, P. Izmailov, A. G. Wilson, "Last Layer Re-Training is Sufficient for Robustness
    to Spurious Correlations", ICLR 2023, section 4 and appendix B.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, place = np.repeat([0, 1], 40), np.tile([0, 1], 40)
    >>> X = rng.normal(size=(80, 3)) + np.column_stack([2 * y, 2 * place, y * 0])
    >>> head = DFRClassifier(random_state=0).fit(X, y, groups=place)
    >>> head.duality_gaps_.shape, bool(head.duality_gaps_.max() <= 1e-4)
    ((10,), True)
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(
        self,
        Cs: Sequence[float] = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01),
        *,
        n_refits: int = 10,
        holdout: float = 0.5,
        standardize: bool = True,
        selection: Selection = "accuracy",
        cross_with_label: bool = True,
        unknown_group: object = -1,
        tol: float = 1e-4,
        max_iter: int = 5000,
        random_state: RandomState = None,
    ) -> None:
        self.Cs = Cs
        self.n_refits = n_refits
        self.holdout = holdout
        self.standardize = standardize
        self.selection = selection
        self.cross_with_label = cross_with_label
        self.unknown_group = unknown_group
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, *, groups: ArrayLike | None = None) -> Self:
        """Choose the penalty and average the heads of balanced subsets.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Features.
        y : array_like of shape (n,)
            Classes.
        groups : array_like of shape (n,) or (n, n_attributes), optional
            Group labels, with unknown ones allowed; the classes are the groups without them.

        Returns
        -------
        DFRClassifier
            Itself.
        """
        Cs = check_settings("Cs", self.Cs)
        checks.number("the smallest of Cs", min(Cs), above=0)
        n_refits = checks.integer("n_refits", self.n_refits, low=1)
        checks.choice("selection", self.selection, SELECTIONS)
        rng = generator(self.random_state)
        rows = self._check_rows(X, y, groups=groups)
        self.n_unknown_ = int((~rows.table.known).sum())
        used, table, _ = used_groups(rows, len(self.classes_))
        codes, y_used = table.codes, rows.y[used]
        features = np.asarray(rows.X[used], dtype=np.float64)
        center, scale = standardization(features, on=self.standardize)
        features = (features - center) / scale
        known = TrainingRows(features, y_used, rows.weight[used], table)
        self._select(known, codes, Cs, rng)
        subsets = [balanced_subset(codes, rng) for _ in range(n_refits)]
        heads = [self._sparse(known, subset, self.C_) for subset in subsets]
        coef = np.mean([head.coef for head in heads], axis=0) / scale
        bias = np.mean([head.intercept for head in heads], axis=0) - coef @ center
        self.coef_, self.intercept_ = coef, bias
        self.groups_ = keys_array(table)
        self.duality_gaps_ = np.array([head.relative_gap for head in heads])
        self.n_iter_ = max(1, max(head.n_iter for head in heads))
        if (worst := self.duality_gaps_.max()) > self.tol:
            warnings.warn(
                f"DFRClassifier stopped after {self.n_iter_} iterations with a certified relative "
                f"duality gap of {worst:.2e} (tol={self.tol:g}); raise max_iter.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _select(
        self,
        rows: TrainingRows,
        codes: NDArray[np.intp],
        Cs: list[float],
        rng: np.random.Generator,
    ) -> None:
        """Judge a head for each penalty on held-out rows and set the choice."""
        [(fit, select)] = make_splits(checks.number("holdout", self.holdout), rows, rng)
        subset = fit[balanced_subset(codes[fit], rng)]
        heads = [self._sparse(rows, subset, C) for C in Cs]
        sums = [scores_by_group(head.coef, head.intercept, rows, select) for head in heads]
        right, loss, total = (np.array(values) for values in zip(*sums, strict=True))
        with np.errstate(invalid="ignore"):
            self.selection_accuracy_, self.selection_loss_ = right / total, loss / total
        best = best_setting(
            self.selection_accuracy_, self.selection_loss_, self.selection, [-C for C in Cs]
        )
        self.C_ = Cs[best]

    def _sparse(self, rows: TrainingRows, subset: NDArray[np.intp], C: float) -> SparseHead:
        return fit_l1(
            np.asarray(rows.X[subset], dtype=np.float64),
            rows.y[subset],
            len(self.classes_),
            C=C,
            tol=self.tol,
            max_iter=self.max_iter,
        )
