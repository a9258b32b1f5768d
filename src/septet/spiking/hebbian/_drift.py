"""Has the input changed? Promotions at frozen weights against those of a calibrated past."""

from typing import Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, stdtrit

from septet._core import checks

Floats: TypeAlias = NDArray[np.float64]

_FEWEST = 20  # windows that a calibration needs
_ROOM = 0.1  # of the mean variance, added to every synapse's own
_CONFIDENCE = 0.95  # with which the spread of the statistic is not underestimated


class DriftAlarm:
    r"""Raise an alarm when promotions at frozen weights no longer are what they were.

    While the input stays what it was, the share of promotions that each synapse gets in a window
    fluctuates about a constant. From B windows of normal input the alarm learns its mean and
    variance; the statistic of a later window x is

    .. math::
        T = \frac1N \sum_i \frac{(x_i - \bar x_i)^2}{s_i^2 + 0.1\, \overline{s^2}}, \qquad
        \overline{s^2} = \frac1N \sum_i s_i^2 ,

    where the second term makes room for synapses that were hardly ever promoted.

    Its distribution is estimated from the calibration windows, each held against the others, as a
    log-normal one (a gamma distribution has too light a tail for correlated synapses), with a
    spread that the true one exceeds in one of twenty calibrations. The threshold is its quantile at
    :math:`1 - 1/L`, so that false alarms come once in about L windows, with few windows rather more
    seldom.

    Parameters
    ----------
    run_length : float, default 500.0
        L, mean number of windows between false alarms. The distribution must be trusted beyond the
        windows that were seen where L exceeds B.

    Attributes
    ----------
    threshold_ : float
    mean_, variance_ : ndarray of shape (n_inputs,)
        Of the shares in normal windows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> alarm = DriftAlarm(run_length=500.0).calibrate(rng.poisson(50.0, (40, 10)))
    >>> bool(alarm.update(rng.poisson(50.0, 10))), bool(alarm.update(np.arange(10)))
    (False, True)
    """

    def __init__(self, run_length: float = 500.0) -> None:
        self.run_length = checks.number("run_length", run_length, above=1.0)
        self.statistics: list[float] = []
        self.alarms: list[int] = []

    def calibrate(self, promotions: ArrayLike) -> Self:
        """Learn from windows of normal input what is normal.

        Parameters
        ----------
        promotions : array_like of shape (n_windows, n_inputs)
            Sums (or means) of promotions, a row a window; at least 20.
        """
        rows = checks.matrix("promotions", promotions)
        if len(rows) < _FEWEST:
            raise ValueError(f"promotions must be of {_FEWEST} windows or more; got {len(rows)}.")
        shares = self._shares(rows)
        n = len(shares)
        self.mean_ = shares.mean(axis=0)
        self.variance_ = shares.var(axis=0, ddof=1)
        if not self.variance_.any():
            raise ValueError("promotions do not vary between windows; nothing can be calibrated.")
        # each window against all others: their means and variances follow from the whole's
        away = shares - self.mean_
        others = ((n - 1) * self.variance_ - n / (n - 1) * away**2) / (n - 2)
        own = [
            self._statistic(n / (n - 1) * gap, np.maximum(variance, 0.0))
            for gap, variance in zip(away, others, strict=True)
        ]
        self.threshold_ = self._quantile(np.array(own))
        return self

    def update(self, promotions: ArrayLike) -> bool:
        """Judge one more window of promotions, shape (n_inputs,); True is an alarm."""
        if not hasattr(self, "threshold_"):
            raise ValueError("calibrate the alarm with windows of normal input first.")
        row = checks.vector("promotions", promotions, size=self.mean_.size)
        (share,) = self._shares(row[None])
        self.statistics.append(self._statistic(share - self.mean_, self.variance_))
        rings = self.statistics[-1] > self.threshold_
        if rings:
            self.alarms.append(len(self.statistics) - 1)
        return rings

    @staticmethod
    def _statistic(away: Floats, variance: Floats) -> float:
        return float((away**2 / (variance + _ROOM * variance.mean())).mean())

    @staticmethod
    def _shares(rows: Floats) -> Floats:
        totals = rows.sum(axis=1, keepdims=True)
        if not (totals > 0).all():
            bad = int(np.flatnonzero(~(totals[:, 0] > 0))[0])
            raise ValueError(
                f"promotions[{bad}] adds up to {totals[bad, 0]:g}; it must be positive."
            )
        return rows / totals

    def _quantile(self, own: Floats) -> float:
        logs, free = np.log(np.maximum(own, 1e-3 * own.mean())), len(own) - 1
        largest = np.sqrt(free / chdtri(free, _CONFIDENCE)) * float(logs.std(ddof=1))
        reach = stdtrit(free, 1.0 - 1.0 / self.run_length) * np.sqrt(1.0 + 1.0 / len(own))
        return float(np.exp(logs.mean() + reach * largest))
