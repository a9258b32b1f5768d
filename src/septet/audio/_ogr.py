"""The overfitting-to-generalisation ratio as a weight policy."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import CheckpointError, SeptetError, SeptetWarning
from septet.audio._blending import blend_ratios, normalize_weights
from septet.audio._curves import BranchCurves
from septet.audio._policies import loss_table

FORMS = ("loss", "tangent", "speed")
_DEFAULT_RHO = {"loss": 1e-3, "speed": 1.0}
_COMPAT_EPS = 1e-6


class OGRPolicy:
    """Weights from how much each branch generalises and overfits, renewed at every evaluation.

    A branch whose validation loss falls gains weight; one whose gap between validation and
    training loss grows loses it: ``w_k`` is proportional to ``max(0, G_k / (O_k^2 + eps))``.

    Parameters
    ----------
    branches : sequence of str, or int
        Names of the branches, or how many there are.
    form : {"loss", "speed", "tangent"}, default "loss"
        * ``"loss"``: changes since the first evaluation, ``G = U(0) - U(n)`` and
          ``O = (U(n) - T(n)) - (U(0) - T(0))``, T and U being training and validation loss.
        * ``"speed"``: slopes t and v of the smoothed curves now, ``G = max(0, -v)``,
          ``O = v - t``.
        * ``"tangent"``: slopes against each branch's steepest descent so far; needs ``compat``.
    rho : float, optional
        Regulariser relative to the median of ``|O|``; 0.001 for ``"loss"`` (nearly the pure ratio),
        1 for ``"speed"`` (bounded contrast). See :func:`blend_ratios`.
    eps : float, optional
        Absolute regulariser instead; the weights then depend on the scale of the losses.
    smooth, window : int, default 20
        Evaluations that are averaged, and smoothed ones a slope is fitted to.
    warmup : int, default 20
        Weights stay equal up to and including evaluation number `warmup`, the first being 0.
    ema : float, default 0.0
        How much of the previous weights is kept, in [0, 1).
    compat : bool, default False
        Follow the public code of a sister method to the letter: see Notes.
    renormalize : bool, optional
        Whether weights sum to 1 after the smallest were raised to 1e-5; as a rule they do, with
        `compat` they do not.

    Attributes
    ----------
    weights : ndarray of shape (n_branches,)
    curves : BranchCurves
        What was seen and decided, for data frames and plots.
    gain, overfit : ndarray of shape (n_branches,)
        G and O of the last update.

    Raises
    ------
    ValueError
        If a setting is out of range, both `rho` and `eps` are given, or ``form="tangent"`` comes
        without ``compat=True``.

    Notes
    -----
    ``form="tangent"`` takes ``G = v - v_ref`` and ``O = (v - t) - (v_ref - t_ref)``, where the
    reference of a branch is its steepest validation descent so far, as the public code of
    XSleepNet computes it, with absolute ``eps = 1e-6``. By that sign a branch that descends more
    steeply than ever has weight 0, and one whose validation loss rises keeps its weight: on
    plain curves of an overfitting branch the rule hands that branch everything. It is there for
    comparison only.

    Losses must be means, not sums, of evaluation mode without augmentation. A branch with a loss
    that is not finite has weight 0, with a warning, until its losses are finite again.

    References
    ----------
    H. Phan et al., "Multi-view Audio and Music Classification", ICASSP 2021 (the idea of adapting
    the blend to both losses); H. Phan et al., "XSleepNet", TPAMI 44(9), 2022, with its public code
    (forms ``"loss"`` and ``"tangent"``); W. Wang et al., CVPR 2020 (the ratio). ``"speed"``, the
    relative regulariser and the renormalisation are ours.

    Examples
    --------
    >>> policy = OGRPolicy(["mel", "wave", "joint"], warmup=0)
    >>> policy.update([2.0, 2.0, 2.0], [2.0, 2.0, 2.0])
    array([0.33333333, 0.33333333, 0.33333333])
    >>> policy.update([1.4, 0.2, 1.3], [1.5, 1.9, 1.5]).round(3)  # the waveform overfits
    array([0.8  , 0.001, 0.2  ])
    """

    def __init__(
        self,
        branches: Sequence[str] | int,
        *,
        form: str = "loss",
        rho: float | None = None,
        eps: float | None = None,
        smooth: int = 20,
        window: int = 20,
        warmup: int = 20,
        ema: float = 0.0,
        compat: bool = False,
        renormalize: bool | None = None,
    ) -> None:
        self.curves = BranchCurves(branches)
        self.form = checks.choice("form", form, FORMS)
        if form == "tangent" and not compat:
            raise ValueError(
                'form="tangent" gives an overfitting branch the weight of the others; pass '
                'compat=True to compare with it, or use form="loss" or "speed".'
            )
        if rho is not None and eps is not None:
            raise ValueError("give either rho or eps, not both.")
        if compat and rho is None and eps is None:
            eps = _COMPAT_EPS
        self.eps = None if eps is None else checks.number("eps", eps, low=0)
        rho = _DEFAULT_RHO.get(form) if rho is None and eps is None else rho
        self.rho = None if rho is None else checks.number("rho", rho, above=0)
        self.smooth = checks.integer("smooth", smooth, low=1)
        self.window = checks.integer("window", window, low=2)
        self.warmup = checks.integer("warmup", warmup, low=0)
        self.ema = checks.number("ema", ema, low=0, below=1)
        self.compat = bool(compat)
        self.renormalize = not compat if renormalize is None else bool(renormalize)
        count = len(self.curves.branches)
        self._weights = np.full(count, 1 / count)
        # all (2, branches), training above validation
        self._first = np.full((2, count), np.nan)
        self._smoothed: list[NDArray[np.float64]] = []
        self._reference: NDArray[np.float64] | None = None  # slopes
        self._ill = np.zeros(count, bool)
        self.gain = self.overfit = np.zeros(count)

    @classmethod
    def for_evaluations(
        cls, branches: Sequence[str] | int, evaluations: int, **settings: Any
    ) -> Self:
        """Build a policy whose windows suit the number of evaluations that are planned.

        With 100 or more they are 20; with fewer a sixth of the evaluations, 3 at least.
        """
        evaluations = checks.integer("evaluations", evaluations, low=1)
        width = 20 if evaluations >= 100 else max(3, evaluations // 6)
        windows: dict[str, Any] = {"smooth": width, "window": width, "warmup": width}
        return cls(branches, **windows | settings)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Current weights (n_branches,), not negative."""
        return self._weights.copy()

    def update(
        self, train: ArrayLike, validation: ArrayLike, *, step: int | None = None
    ) -> NDArray[np.float64]:
        """Take the losses of an evaluation and return the weights from here on.

        Parameters
        ----------
        train, validation : array_like of shape (n_branches,)
            Mean losses of each branch on the train probe and the validation split.
        step : int, optional
            Number of training steps so far, for the history; the evaluation's number by default.

        Returns
        -------
        ndarray of shape (n_branches,)

        Raises
        ------
        ValueError
            If the losses are not one number for each branch.
        SeptetError
            If no branch has finite losses.
        """
        index = len(self.curves)
        step = index if step is None else step
        losses = loss_table(train, validation, len(self.curves.branches))
        ill = np.asarray(~np.isfinite(losses).all(axis=0), dtype=bool)
        self._report(ill, step)
        losses[:, ill] = np.nan
        self._first = np.where(np.isnan(self._first), losses, self._first)
        self._smoothed.append(self._mean_of_last(losses))
        target = self._target(index, losses, ~ill)
        weights = self.ema * self._weights + (1 - self.ema) * target
        # what a moving average remembers of a branch must not outlive its losses
        self._weights = normalize_weights(weights, allowed=~ill) if ill.any() else weights
        self.curves.append(step, losses[0], losses[1], self._weights)
        return self.weights

    def state_dict(self) -> dict[str, Any]:
        """Return all curves, references and settings."""
        return {
            "settings": self._settings(),
            "curves": self.curves.state_dict(),
            "current": self.weights,
            "first": self._first.copy(),
            "smoothed": np.array(self._smoothed).reshape(-1, 2, self._weights.size),
            "reference": None if self._reference is None else self._reference.copy(),
            "ill": self._ill.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises
        ------
        CheckpointError
            If it belongs to other branches or settings; the message lists the differences.
        """
        ours, theirs = self._settings(), state["settings"]
        odd = [f"{key} = {theirs.get(key)!r}, here {ours[key]!r}" for key in ours
               if theirs.get(key) != ours[key]]  # fmt: skip
        if odd:
            raise CheckpointError(f"the policy was saved with {'; '.join(odd)}.")
        self.curves.load_state_dict(state["curves"])
        self._weights = np.array(state["current"], dtype=np.float64)
        self._first = np.array(state["first"], dtype=np.float64)
        self._smoothed = list(np.asarray(state["smoothed"], dtype=np.float64))
        reference = state["reference"]
        self._reference = None if reference is None else np.array(reference, dtype=np.float64)
        self._ill = np.array(state["ill"], dtype=bool)

    def _settings(self) -> dict[str, Any]:
        names = ("form", "rho", "eps", "smooth", "window", "warmup", "ema", "compat", "renormalize")
        return {name: getattr(self, name) for name in names}

    def _report(self, ill: NDArray[np.bool_], step: int) -> None:
        if ill.all():
            raise SeptetError(
                f"loss is not finite at step {step}: no branch is left to learn from."
            )
        if new := [self.curves.branches[k] for k in np.flatnonzero(ill & ~self._ill)]:
            warnings.warn(
                f"step {step}: the loss of {', '.join(new)} is not finite; weight 0 until it is.",
                SeptetWarning,
                stacklevel=3,
            )
        self._ill = ill

    def _target(
        self, index: int, losses: NDArray[np.float64], allowed: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the weights that the last point calls for."""
        if self.form == "loss":
            (train0, validation0), (train, validation) = self._first, losses
            self.gain = validation0 - validation
            self.overfit = (validation - train) - (validation0 - train0)
        elif index == 0:
            return normalize_weights(np.zeros(allowed.size), allowed=allowed)
        elif self.form == "speed":
            training, validating = self._slopes()
            self.gain, self.overfit = np.maximum(0.0, -validating), validating - training
        elif index > self.warmup:
            self.gain, self.overfit = self._against_reference()
        if index <= self.warmup:
            return normalize_weights(np.zeros(allowed.size), allowed=allowed)
        gain, overfit = (np.where(allowed, x, np.nan) for x in (self.gain, self.overfit))
        raw = blend_ratios(gain, overfit, rho=self.rho, eps=self.eps)
        known = allowed & ~np.isnan(raw)
        return normalize_weights(
            np.where(known, raw, 0.0), allowed=allowed, renormalize=self.renormalize
        )

    def _mean_of_last(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean (2, branches) of the last points, leaving out what is not finite."""
        points = [*self.curves.last(self.smooth - 1), losses]
        known = np.sum([~np.isnan(point) for point in points], axis=0)
        total = np.nansum(points, axis=0)
        return np.where(known > 0, total / np.maximum(known, 1), np.nan)

    def _slopes(self, *, before: int = 0) -> NDArray[np.float64]:
        """Return slopes (2, branches) of the smoothed curves' end, `before` points ago."""
        stop = len(self._smoothed) - before
        return slopes(np.stack(self._smoothed[max(0, stop - self.window) : stop]))

    def _against_reference(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return G and O of the tangent form, then move the references of record descents."""
        if self._reference is None:
            self._reference = self._slopes(before=1)
        training, validating = now = self._slopes()
        training0, validating0 = self._reference
        gain = validating - validating0
        overfit = (validating - training) - (validating0 - training0)
        record = ~(validating >= validating0)  # also where the reference is not known
        self._reference = np.where(record, now, self._reference)
        return gain, overfit


def slopes(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return least-squares slopes along the first axis, over the values that are not NaN."""
    known = ~np.isnan(points)
    times = np.arange(len(points), dtype=np.float64).reshape(-1, *[1] * (points.ndim - 1))
    count = np.maximum(known.sum(axis=0), 1)
    times = np.where(known, times - np.where(known, times, 0).sum(axis=0) / count, 0)
    values = np.where(known, points, 0)
    spread = (times**2).sum(axis=0)
    fitted = (times * values).sum(axis=0) / np.where(spread > 0, spread, 1)
    return np.where(known.sum(axis=0) >= min(2, len(points)), fitted, np.nan)
