"""A plain head whose logits are corrected for class frequency."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from septet._core import checks
from septet.robust._erm import ERMClassifier
from septet.robust._fitting import check_solver
from septet.robust._solve import Solver


class LogitAdjustedClassifier(ERMClassifier):
    r"""Linear softmax head trained with logits shifted by the class frequencies.

    Training adds :math:`\tau \log \pi_y` to the logits; prediction leaves it out. The bias of a
    linear head is free, so this equals plain training followed by :math:`b_k \leftarrow b_k - \tau
    \log \pi_k`, which is how it is computed. Needs no group labels and corrects class imbalance
    only.

    Parameters
    ----------
    alpha : float, default 0.01
        L2 coefficient, above zero.
    tau : float, default 1.0
        Strength of the shift; 0 is plain training. Not negative.
    solver : {"auto", "newton", "multipliers"}, default "auto"
        Method; ``"auto"`` chooses by the work it takes.
    tol : float, default 1e-6
        Relative duality gap at which to stop.
    max_iter : int, default 1000
        Most steps.

    Attributes
    ----------
    class_prior_ : ndarray of shape (K,)
        Weighted class frequencies.
    coef_, intercept_, classes_, primal_objective_, dual_objective_, duality_gap_, n_iter_
        As in `ERMClassifier`; the objective is the one of training.

    References
    ----------
    A. K. Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, equations 9 and 10.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.zeros((4, 1)), [0, 0, 0, 1]
    >>> LogitAdjustedClassifier(tol=1e-12).fit(X, y).predict_proba([[0.0]]).round(4).tolist()
    [[0.5, 0.5]]
    """

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        tau: float = 1.0,
        solver: Solver = "auto",
        tol: float = 1e-6,
        max_iter: int = 1000,
    ) -> None:
        super().__init__(alpha, solver=solver, tol=tol, max_iter=max_iter)
        self.tau = tau

    def fit(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the head.

        Parameters
        ----------
        X : array_like of shape (n, d), float32 or float64
            Features; may be memory-mapped.
        y : array_like of shape (n,)
            Classes.
        sample_weight : array_like of shape (n,), optional
            Non-negative weights, in the loss and in the class frequencies.

        Returns
        -------
        LogitAdjustedClassifier
            Itself.
        """
        check_solver(self.alpha, self.solver, self.tol, self.max_iter)
        checks.number("tau", self.tau, low=0)
        rows = self._check_rows(X, y, sample_weight)
        self._fit_weighted(rows, rows.weight)
        totals = np.bincount(rows.y, weights=rows.weight, minlength=len(self.classes_))
        self.class_prior_ = totals / totals.sum()
        shift = self.tau * np.log(self.class_prior_)
        self.intercept_ = self.intercept_ - (shift[1:] - shift[0] if len(shift) == 2 else shift)
        return self
