"""Has a neuron converged? The constraint on its weights, measured while it learns."""

import warnings
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from septet._core import checks
from septet._core.errors import SeptetError, SeptetWarning
from septet._core.pictures import axes_or_new, figure_of
from septet.spiking.hebbian._state import Watch

Floats: TypeAlias = NDArray[np.float64]

_PILOT = 16  # events after which the memory is first estimated
_LAGGARD = 0.1  # a neuron with fewer events than this, relative to the mean, need not converge
_STILL = 1e-6  # variance, relative to the mean, below which a weight does not move
_EXCESS = 1.2  # of the measured quantiles over those of independent normal weights
_IDENTITY = 1e-8  # a telescoping error above this is a bug, not rounding


class LTDDominatedWarning(SeptetWarning):
    """Demotions outweigh promotions: normalisation amplifies and the weights run away."""


@dataclass(frozen=True)
class MonitorWindow:
    """What one window of one neuron said.

    Attributes
    ----------
    neuron : int
    events : int
        Number of learning events (normalisations) in the window.
    memories : float
        Its length in memories of the weights.
    statistic : float
        Mean over synapses of the squared residual of the constraint over its variance: near 1.1
        after convergence, larger before.
    threshold : float
        What it was held against.
    mean_weights, spread : ndarray of shape (n_inputs,)
        Mean of the weights right after normalisation, and their standard deviation.
    residual : ndarray of shape (n_inputs,)
        Mean weight less normalised mean promotion.
    total_variation : float
        Half the sum of the residual's absolute values. Not free of scale: no tolerance fits all.
    identity_error : float
        Relative error of the identity between weights and promotions that always holds; rounding.
    passed : bool
        Whether the statistic is below the threshold.
    """

    neuron: int
    events: int
    memories: float
    statistic: float
    threshold: float
    mean_weights: Floats = field(repr=False)
    spread: Floats = field(repr=False)
    residual: Floats = field(repr=False)
    total_variation: float
    identity_error: float
    passed: bool


class ConvergenceMonitor:
    r"""Say when weights have converged, from the constraint that then holds between them.

    Between two normalisations, with d the increments applied (over the learning rate
    :math:`\lambda`), D their sum and :math:`g = 1 / (1 + \lambda D)`,

    .. math::
        w' - w = \lambda g (d - D w)
        \quad\Rightarrow\quad
        r = \bar w - \frac{\overline{g d}}{\overline{g D}} \to 0 .

    Over a window of n events the residual r is compared with its standard deviation at
    stationarity, :math:`\sqrt{2 \hat C_{ii}} / (\lambda n \overline{gD})`, with :math:`\hat C` the
    variance of the weights within the window, corrected for their autocorrelation. A neuron counts
    as converged when the mean square of that ratio is below a threshold in consecutive windows.

    Parameters
    ----------
    memories : float, default 20.0
        Length of a window in memories :math:`1 / (\lambda \bar D)` of the weights. Shorter windows
        do not separate convergence from slow progress.
    threshold : float, optional
        Largest statistic of a converged window. By default it follows from the number n of synapses
        whose weights move: 1.2 times the 99.9 % quantile of a mean of n - 1 squared normal numbers
        (4.2 for 8 synapses, 1.8 for 100, 1.4 for 784).
    consecutive : int, default 2
        Windows in a row that must stay below.

    Attributes
    ----------
    windows : list of MonitorWindow
        All windows so far, in the order of their ends.
    converged : bool
        Whether every neuron that takes part is converged. One that has had less than a tenth of the
        average neuron's learning events does not take part.

    References
    ----------
    D. Chu, H. Le Nguyen, arXiv:2012.07664: that the constraint shows convergence. The statistic,
    its correction and the threshold are ours.

    Examples
    --------
    >>> import numpy as np
    >>> from septet.spiking import LIF, ConvergenceMonitor, HebbianLayer
    >>> layer = HebbianLayer(20, lif=LIF(tau_s=0.0, threshold=0.35), learning_rate=0.02)
    >>> monitor = ConvergenceMonitor()
    >>> rates = np.linspace(2.0, 40.0, 20)
    >>> run = layer.learn_poisson(rates, 60_000.0, monitor=monitor, random_state=0)
    >>> monitor.windows[0].passed, monitor.converged
    (False, True)
    """

    def __init__(
        self,
        memories: float = 20.0,
        threshold: float | None = None,
        consecutive: int = 2,
    ) -> None:
        self.memories = checks.number("memories", memories, above=1.0)
        self.threshold = (
            None if threshold is None else checks.number("threshold", threshold, above=0.0)
        )
        self.consecutive = checks.integer("consecutive", consecutive, low=1)
        self.windows: list[MonitorWindow] = []
        self._watch: Watch | None = None
        self._start: Floats = np.empty((0, 0))
        self._rate = 0.0
        self._in_a_row = np.zeros(0, np.int64)
        self._judged = np.zeros(0, np.int64)
        self._warned = False

    @property
    def neurons_converged(self) -> NDArray[np.bool_]:
        """Which neurons are converged, shape (n_neurons,)."""
        return self._in_a_row >= self.consecutive

    @property
    def converged(self) -> bool:
        """Whether every neuron that takes part is converged."""
        if self._watch is None:
            return False
        events = self._judged + self._watch.events
        taking_part = events > _LAGGARD * events.mean()
        return bool(taking_part.any() and self.neurons_converged[taking_part].all())

    def plot(self, ax: Any = None) -> Any:
        """Draw the statistic of every window against the events so far; return the figure."""
        ax = axes_or_new(ax, (6, 3.5))
        for neuron in sorted({w.neuron for w in self.windows}):
            mine = [w for w in self.windows if w.neuron == neuron]
            ends = np.cumsum([w.events for w in mine])
            ax.plot(ends, [w.statistic for w in mine], marker=".", label=f"neuron {neuron}")
            ax.plot(ends, [w.threshold for w in mine], color="grey", ls="--", lw=0.8)
        ax.set(xlabel="learning events", ylabel="statistic", yscale="log")
        return figure_of(ax)

    # -- what the layer calls ----------------------------------------------------------------

    def watch(self, weights: Floats, learning_rate: float) -> Watch:
        """Return the sums that a kernel fills, of a layer with `weights` (n_neurons, n_inputs).

        If the layer has learned without this monitor, or at another rate, since it last looked,
        the windows that were open begin anew.
        """
        watch = self._watch
        if watch is None:
            self._judged = np.zeros(len(weights), np.int64)
        elif watch.before.shape != weights.shape:
            raise ValueError(
                f"this monitor watches weights of shape {watch.before.shape}; got "
                f"{weights.shape}. Use one monitor for each layer."
            )
        elif self._rate == learning_rate and np.allclose(
            watch.before + learning_rate * watch.pending, weights, rtol=0.0, atol=1e-9
        ):
            return watch
        self._watch = Watch.empty(weights, _PILOT)
        self._start = np.array(weights)
        self._rate = learning_rate
        self._in_a_row = np.zeros(len(weights), np.int64)
        return self._watch

    def close_windows(self) -> None:
        """Judge every window that is complete."""
        watch, learning_rate = self._watch, self._rate
        if watch is None:
            return
        for k in np.flatnonzero(watch.events >= watch.limit).tolist():
            n = int(watch.events[k])
            pace = learning_rate * float(watch.D[k]) / n  # memories per event
            if pace <= 0 and not self._warned:
                self._warned = True
                warnings.warn(
                    f"demotions outweigh promotions at neuron {k} ({watch.D[k] / n:.3g} net per "
                    "event): normalisation amplifies differences and the weights run away. Lower "
                    "the depression.",
                    LTDDominatedWarning,
                    stacklevel=4,
                )
            length = max(int(np.ceil(self.memories / pace)), _PILOT) if pace > 0 else n
            if 1.1 * n < length:
                watch.limit[k] = length
                continue
            self._judge(k, n, pace, watch)
            watch.limit[k] = max(length, _PILOT)

    def _judge(self, k: int, n: int, pace: float, watch: Watch) -> None:
        learning_rate = self._rate
        mean = watch.w1[k] / n
        gD = float(watch.gD[k]) / n
        end = watch.before[k]
        change = (end - self._start[k]) / learning_rate
        scale = max(np.abs(watch.gd[k]).max(), np.abs(change).max(), np.finfo(float).tiny)
        identity = float(np.abs(watch.gd[k] - watch.gdw[k] - change).max() / scale)
        if identity > _IDENTITY:
            raise SeptetError(
                f"the weights of neuron {k} do not add up to what was applied (relative error "
                f"{identity:.2g}); this is a defect of the library, please report it."
            )
        residual = mean - watch.gd[k] / watch.gD[k] if gD > 0 else np.full(mean.size, np.inf)
        variance = np.maximum(watch.w2[k] / n - mean**2, 0.0)
        # a weight that hardly moves beside the others, as that of a silent input, has its limit
        moving = variance > _STILL * variance.mean()
        threshold = self.threshold or calibrated_threshold(int(moving.sum()))
        scale = learning_rate * n * gD
        statistic = self._statistic(residual, variance, moving, n * pace, scale)
        passed = statistic < threshold
        self.windows.append(
            MonitorWindow(
                neuron=k,
                events=n,
                memories=n * pace,
                statistic=statistic,
                threshold=threshold,
                mean_weights=mean,
                spread=np.sqrt(variance),
                residual=residual,
                total_variation=float(0.5 * np.abs(residual).sum()),
                identity_error=identity,
                passed=passed,
            )
        )
        self._in_a_row[k] = self._in_a_row[k] + 1 if passed else 0
        self._judged[k] += n
        self._start[k] = end
        for sums in (watch.gd, watch.gdw, watch.w1, watch.w2):
            sums[k] = 0.0
        for sums in (watch.gD, watch.D, watch.promotions, watch.events):
            sums[k] = 0

    @staticmethod
    def _statistic(
        residual: Floats,
        variance: Floats,
        moving: NDArray[np.bool_],
        memories: float,
        scale: float,
    ) -> float:
        if scale <= 0:
            return float("inf")
        if not moving.any():
            return float("inf") if np.abs(residual).max() > 1e-12 else 0.0
        # the variance within a window of a slowly moving weight is too small; by how much is known
        share = (2.0 / memories) * (1.0 - (1.0 - np.exp(-memories)) / memories)
        square = (scale * residual[moving]) ** 2 / (2.0 * variance[moving] / (1.0 - share))
        return float(square.mean())


def calibrated_threshold(n_synapses: int) -> float:
    """Threshold of the statistic of so many synapses; see `ConvergenceMonitor`.

    Examples
    --------
    >>> [round(calibrated_threshold(n), 2) for n in (8, 100, 784)]
    [4.17, 1.8, 1.4]
    """
    freedom = max(n_synapses - 1, 1)
    return float(_EXCESS * 2.0 * gammaincinv(freedom / 2.0, 0.999) / freedom)
