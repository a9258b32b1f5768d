"""A layer of spiking neurons that learns: events in, spikes out, weights normalised on the way."""

import warnings
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import SeptetError, SeptetWarning
from septet._core.random import RandomState, generator
from septet.spiking.hebbian import _state as const
from septet.spiking.hebbian._monitor import ConvergenceMonitor
from septet.spiking.hebbian._rule import HebbianRule
from septet.spiking.hebbian._state import Plan, Recent, State, Tally, Watch
from septet.spiking.neurons import LIF, SpikeBatch
from septet.spiking.neurons._backend import uses_numba

Floats: TypeAlias = NDArray[np.float64]

_NEURON = LIF(tau_s=0.0, threshold=0.35)


class VanishedWeightsError(SeptetError):
    """Depression has left a neuron without any weight, so that there is nothing to normalise."""


@dataclass(frozen=True)
class LayerRun:
    """What came out of running a layer.

    Attributes
    ----------
    spikes : SpikeBatch
        Output spikes, one pattern for each pattern of the input.
    promoted, demoted : ndarray of shape (n_neurons, n_inputs)
        Sums of promotions, and of demotions as the rule states them (before they are cut short at
        weight 0). Zeros unless statistics were asked for.
    clipped : ndarray of int, shape (n_neurons,)
        Number of demotions that were cut short.
    converged : bool
        Whether the run was ended early by the monitor.
    """

    spikes: SpikeBatch
    promoted: Floats
    demoted: Floats
    clipped: NDArray[np.int64]
    converged: bool

    @property
    def promotion(self) -> Floats:
        """Mean promotion of each synapse per output spike of its neuron; NaN for silent neurons."""
        return self._per_spike(self.promoted)

    @property
    def demotion(self) -> Floats:
        """Mean demotion of each synapse per output spike of its neuron; NaN for silent neurons."""
        return self._per_spike(self.demoted)

    def _per_spike(self, sums: Floats) -> Floats:
        n = np.bincount(self.spikes.ids, minlength=len(sums)).astype(np.float64)
        n[n == 0] = np.nan
        return sums / n[:, None]


class HebbianLayer:
    r"""Leaky integrate-and-fire neurons with delta synapses and normalised plastic weights.

    The potential decays with ``lif.tau_m``, jumps by the weight at every input spike, and is
    compared with the threshold after all inputs of the same time. As it only jumps at inputs,
    simulation from event to event is exact; there is no time step. At an output spike the potential
    is reset, synapses are promoted, and weights are normalised, as `HebbianRule` says.

    Parameters
    ----------
    n_inputs : int
        Number of input lines.
    n_neurons : int, default 1
        Number of neurons.
    lif : LIF, optional
        The neuron; ``LIF(tau_s=0.0, threshold=0.35)`` by default. Delta synapses are required. The
        threshold is in units of weights that sum to 1.
    rule : HebbianRule, optional
        What is learned; ``HebbianRule()`` by default.
    learning_rate : float, default 1e-3
        :math:`\lambda`, weight per promotion. 0 freezes the weights.
    weights : array_like of shape (n_inputs,) or (n_neurons, n_inputs), optional
        Initial weights, at least 0; copied and normalised. Uniform by default.
    competition : {"none", "winner"}, default "none"
        Whether, of neurons that reach their thresholds, only the one furthest above fires and
        learns while all are reset.
    homeostasis : float, default 0.0
        With competition: by how much (relatively) a win raises the winner's threshold, all
        thresholds falling by as much in total.
    on_deadlock : {"renormalize", "raise"}, default "renormalize"
        What to do about a neuron whose weights have shrunk to less than half since its last spike
        50 membrane time constants ago, so that it might never fire again.
    backend : {"auto", "numba", "numpy"}, default "auto"
        Compiled loop or its plain twin; "auto" takes numba where it is installed.

    Attributes
    ----------
    weights : ndarray of shape (n_neurons, n_inputs)
        A copy of the present weights.
    thresholds : ndarray of shape (n_neurons,)
        Present thresholds.

    Raises
    ------
    ValueError
        If an argument cannot be meant.

    References
    ----------
    D. Chu, H. Le Nguyen, arXiv:2012.07664.

    Examples
    --------
    Three inputs under STDP; the order at 12 ms does not matter:

    >>> from septet.spiking import HebbianLayer, HebbianRule, LIF, SpikeBatch
    >>> layer = HebbianLayer(
    ...     3,
    ...     lif=LIF(tau_s=0.0, threshold=0.8),
    ...     rule=HebbianRule(depression=0.5),
    ...     learning_rate=0.1,
    ...     weights=[0.4, 0.35, 0.25],
    ... )
    >>> events = SpikeBatch([0, 5, 10, 12, 12, 30], [0, 1, 0, 2, 1, 0], [0, 6],
    ...                     n_units=3, duration=31.0)
    >>> layer.learn(events).spikes.times.tolist()
    [10.0]
    >>> layer.weights.round(8).tolist()
    [[0.43428109, 0.30023139, 0.15660981]]
    """

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int = 1,
        *,
        lif: LIF = _NEURON,
        rule: HebbianRule | None = None,
        learning_rate: float = 1e-3,
        weights: ArrayLike | None = None,
        competition: str = "none",
        homeostasis: float = 0.0,
        on_deadlock: str = "renormalize",
        backend: str = "auto",
    ) -> None:
        self.n_inputs = checks.integer("n_inputs", n_inputs, low=1)
        self.n_neurons = checks.integer("n_neurons", n_neurons, low=1)
        if not isinstance(lif, LIF) or lif.synapse != "delta":
            raise ValueError(f"lif must be a LIF with delta synapses (tau_s=0); got {lif!r}.")
        self.lif = lif
        self.rule = HebbianRule() if rule is None else rule
        if not isinstance(self.rule, HebbianRule):
            raise TypeError(f"rule must be a HebbianRule; got {type(rule).__name__}.")
        self.learning_rate = checks.number("learning_rate", learning_rate, low=0.0)
        self.competition = checks.choice("competition", competition, ("none", "winner"))
        self.homeostasis = checks.number("homeostasis", homeostasis, low=0.0, below=1.0)
        self.on_deadlock = checks.choice("on_deadlock", on_deadlock, ("renormalize", "raise"))
        self.threshold = lif.threshold
        kernels(backend)  # refuses one that is not there
        self.backend = backend
        self._state = State.at_rest(self._initial(weights))
        self._recent = Recent.none()

    @property
    def weights(self) -> Floats:
        """A copy of the present weights, shape (n_neurons, n_inputs)."""
        return np.ascontiguousarray(self._state.w.T).copy()

    @property
    def thresholds(self) -> Floats:
        """Present thresholds, shape (n_neurons,)."""
        return self.threshold * self._state.bias

    def learn(
        self,
        inputs: SpikeBatch,
        *,
        carry: bool = False,
        monitor: ConvergenceMonitor | None = None,
        statistics: bool = False,
    ) -> LayerRun:
        """Present patterns of events one after another and learn from them.

        Parameters
        ----------
        inputs : SpikeBatch
            Patterns over ``n_inputs`` units. Simultaneous events are one batch.
        carry : bool, default False
            Go on from the potentials and traces at the end of the previous pattern (or call), as in
            one long recording. By default each pattern begins at rest.
        monitor : ConvergenceMonitor, optional
            Watches the weights; learning ends as soon as it says that they have converged.
        statistics : bool, default False
            Count promotions and demotions (slower).

        Returns
        -------
        LayerRun

        Raises
        ------
        ValueError
            If the patterns have another number of units.
        VanishedWeightsError
            If depression leaves a neuron without any weight.
        SeptetError
            On a deadlock, if ``on_deadlock="raise"``.
        """
        self._check_inputs(inputs)
        patterns = []
        for times, ids in inputs:
            order = np.lexsort((ids, times))
            patterns.append((times[order], ids[order].astype(np.int64)))
        kernel = kernels(self.backend).run
        return self._run(patterns, inputs.duration, kernel, carry, monitor, statistics)

    def learn_poisson(
        self,
        rates: ArrayLike,
        duration: float,
        *,
        carry: bool = False,
        monitor: ConvergenceMonitor | None = None,
        statistics: bool = False,
        random_state: RandomState = None,
    ) -> LayerRun:
        """Present independent Poisson trains, generated on the way and never stored.

        Parameters
        ----------
        rates : array_like of shape (n_inputs,) or (n_patterns, n_inputs)
            Rates in Hz.
        duration : float
            Length of every pattern in ms.
        carry, monitor, statistics
            As for `learn`.
        random_state : int, numpy.random.Generator or None, default None
            Source of the trains.

        Returns
        -------
        LayerRun
        """
        array = np.asarray(rates)
        rows = checks.matrix("rates", array[None] if array.ndim == 1 else array)
        if rows.shape[1] != self.n_inputs:
            raise ValueError(f"rates must be of {self.n_inputs} inputs; got {rows.shape[1]}.")
        refuse_negative("rates", rows)
        duration = checks.number("duration", duration, above=0.0)
        seeds = generator(random_state).integers(0, 2**64, len(rows), dtype=np.uint64)
        patterns = [(row / 1000.0, int(seed)) for row, seed in zip(rows, seeds, strict=True)]
        kernel = kernels(self.backend).run_poisson
        return self._run(patterns, duration, kernel, carry, monitor, statistics)

    def respond(self, inputs: SpikeBatch, *, carry: bool = False) -> LayerRun:
        """Present patterns with frozen weights and count what would have been promoted."""
        rate, self.learning_rate = self.learning_rate, 0.0
        try:
            return self.learn(inputs, carry=carry, statistics=True)
        finally:
            self.learning_rate = rate

    def respond_poisson(
        self,
        rates: ArrayLike,
        duration: float,
        *,
        carry: bool = False,
        random_state: RandomState = None,
    ) -> LayerRun:
        """Present Poisson trains with frozen weights and count what would have been promoted."""
        rate, self.learning_rate = self.learning_rate, 0.0
        try:
            return self.learn_poisson(
                rates, duration, carry=carry, statistics=True, random_state=random_state
            )
        finally:
            self.learning_rate = rate

    def rest(self) -> None:
        """Forget potentials and traces; weights and thresholds stay."""
        self._state.rest()
        self._recent = Recent.none()

    # -- inside ------------------------------------------------------------------------------

    def _initial(self, weights: ArrayLike | None) -> Floats:
        shape = (self.n_neurons, self.n_inputs)
        if weights is None:
            w = np.ones(shape)
        else:
            array = np.asarray(weights)
            w = checks.matrix("weights", array[None] if array.ndim == 1 else array).copy()
            if w.shape != shape:
                raise ValueError(f"weights must be of shape {shape}; got {array.shape}.")
            refuse_negative("weights", w)
        norms = np.linalg.norm(w, ord=2 if self.rule.normalization == "l2" else 1, axis=1)
        if not (norms > 0).all():
            k = int(np.flatnonzero(~(norms > 0))[0])
            raise ValueError(f"weights of neuron {k} are all 0; at least one must be positive.")
        return w / norms[:, None]

    def _check_inputs(self, inputs: SpikeBatch) -> None:
        if not isinstance(inputs, SpikeBatch):
            raise TypeError(f"inputs must be a SpikeBatch; got {type(inputs).__name__}.")
        if inputs.n_units != self.n_inputs:
            raise ValueError(f"inputs must be of {self.n_inputs} units; got {inputs.n_units}.")

    def _plan(self) -> Plan:
        return Plan.of(
            self.lif,
            self.rule,
            self.learning_rate,
            winner=self.competition == "winner",
            gain=self.homeostasis,
            threshold=self.threshold,
        )

    def _run(
        self,
        patterns: list[tuple[Any, ...]],
        duration: float,
        kernel: Any,
        carry: bool,
        monitor: ConvergenceMonitor | None,
        statistics: bool,
    ) -> LayerRun:
        plan = self._plan()
        tally = Tally.empty(self.n_inputs, self.n_neurons, self.n_neurons if statistics else 0)
        watch = Watch.empty(self.weights, 0, watched=False)
        if monitor is not None and plan.rate > 0:
            watch = monitor.watch(self.weights, plan.rate)
        trains: list[tuple[Floats, Floats]] = []
        converged = False
        for pattern in patterns:
            if not carry:
                self.rest()
            out_times, out_ids = [], []
            while True:
                status, neuron, times, ids, self._recent = kernel(
                    *pattern, duration, plan, self._state, tally, watch, self._recent
                )
                out_times.append(times)
                out_ids.append(ids)
                self._complain(status, neuron)
                if monitor is not None and plan.rate > 0:
                    monitor.close_windows()
                    converged = monitor.converged
                if status == const.DONE or converged:
                    break
            trains.append((np.concatenate(out_times), np.concatenate(out_ids)))
            self._begin_again(duration)
            if converged:
                break
        spikes = SpikeBatch.from_pairs(trains, n_units=self.n_neurons, duration=duration)
        promoted, demoted = tally.promoted.T, tally.demoted.T
        if not statistics:
            promoted = demoted = np.zeros((self.n_neurons, self.n_inputs))
        return LayerRun(spikes, promoted, demoted, tally.clipped, converged)

    def _begin_again(self, duration: float) -> None:
        """Count times from the beginning of the next pattern."""
        state = self._state
        for moments in (state.fired, state.held, state.clock):
            moments[:] = moments - duration
        state.cursor[:] = 0
        self._recent = Recent(self._recent.times - duration, self._recent.ids)

    def _complain(self, status: int, neuron: int) -> None:
        if status == const.VANISHED:
            raise VanishedWeightsError(
                f"depression has left neuron {neuron} without any weight. Lower the depression "
                f"({self.rule.depression:g}) or the learning rate ({self.learning_rate:g})."
            )
        if status == const.DEADLOCK:
            text = (
                f"the weights of neuron {neuron} have shrunk to less than half since its last "
                f"spike, more than {const.FRAME * self.lif.tau_m:g} ms ago; it might never fire "
                "again. Depression dominates: lower it."
            )
            if self.on_deadlock == "raise":
                raise SeptetError(text)
            warnings.warn(text + " The weights were renormalised.", SeptetWarning, stacklevel=4)


def kernels(backend: str) -> ModuleType:
    """Return the module that holds the learning loop of `backend`."""
    name = "_compiled" if uses_numba(backend) else "_reference"
    return import_module(f"septet.spiking.hebbian.{name}")


def refuse_negative(name: str, array: Floats) -> None:
    """Name the first negative entry of a matrix by row and column."""
    bad = np.argwhere(array < 0)
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} must not be negative; {name}[{row}, {column}] = {array[row, column]:g} "
            f"({len(bad)} such entries)."
        )
