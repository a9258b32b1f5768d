"""What the kernels work on: a plan of plain numbers and arrays that they change in place."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.spiking.hebbian._rule import PROMOTIONS, HebbianRule
from septet.spiking.neurons import LIF

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

BINARY, COUNT, TRACE, NEAREST, TRIGGER = (
    PROMOTIONS.index(name) for name in ("binary", "count", "trace", "nearest", "trigger")
)
# How a kernel ends: the pattern is over; a window of the monitor is complete; a neuron does not
# fire because its weights have shrunk; depression has left no weight to normalise.
DONE, WINDOW, DEADLOCK, VANISHED = range(4)
# A frame of rescaled traces lasts this many time constants, and so does the patience with silence.
FRAME = 50.0
TINY = 1e-300  # traces and potentials below are 0: denormal numbers are slow


class Plan(NamedTuple):
    """Numbers of neuron, rule and layer; times in ms, rates per ms."""

    promotion: int
    tau_m: float
    t_ref: float
    tau_plus: float
    tau_minus: float
    window: float
    depression: float
    depression_power: float
    restart_post: bool
    potentiation_power: float
    w_max: float
    l2: bool
    every: int  # output spikes per normalisation; 0 is once per pattern
    rate: float  # learning rate; 0 freezes the weights
    winner: bool
    gain: float  # of the homeostasis
    threshold: float

    @classmethod
    def of(
        cls,
        lif: LIF,
        rule: HebbianRule,
        rate: float,
        *,
        winner: bool,
        gain: float,
        threshold: float,
    ) -> "Plan":
        """Read the numbers off their descriptions."""
        return cls(
            PROMOTIONS.index(rule.promotion),
            lif.tau_m,
            lif.t_ref,
            rule.tau_plus,
            rule.tau_minus,
            rule.window,
            rule.depression,
            rule.depression_power,
            rule.pairing == "nearest",
            rule.potentiation_power,
            rule.w_max,
            rule.normalization == "l2",
            0 if isinstance(rule.normalize_every, str) else rule.normalize_every,
            rate,
            winner,
            gain,
            threshold,
        )


class State(NamedTuple):
    """A layer between two events. Times count from the beginning of the pattern."""

    w: Floats  # (n_inputs, n_neurons)
    v: Floats  # (n_neurons,) potentials
    bias: Floats  # (n_neurons,) factors of the threshold
    held: Floats  # (n_neurons,) ends of refractory periods
    fired: Floats  # (n_neurons,) times of the last outputs
    pre: Floats  # (n_inputs,) traces of inputs
    post: Floats  # (n_neurons,) traces of outputs
    due: Ints  # (n_neurons,) outputs since the last normalisation
    clock: Floats  # (2,) now; beginning of the frame
    cursor: Ints  # (1,) events done, or random numbers drawn

    @classmethod
    def at_rest(cls, weights: Floats) -> "State":
        """State of a layer with `weights` (n_neurons, n_inputs) that has seen nothing."""
        k, n = weights.shape
        return cls(
            np.array(weights.T, dtype=np.float64, order="C"),
            np.zeros(k),
            np.ones(k),
            np.full(k, -np.inf),
            np.zeros(k),
            np.zeros(n),
            np.zeros(k),
            np.zeros(k, np.int64),
            np.zeros(2),
            np.zeros(1, np.int64),
        )

    def rest(self) -> None:
        """Begin anew at rest; weights, thresholds and what is due stay."""
        for array in (self.v, self.pre, self.post, self.clock, self.cursor):
            array[:] = 0
        self.held[:] = -np.inf


class Tally(NamedTuple):
    """Sums over a run; arrays of no column switch the counting off, of one pool the neurons."""

    promoted: Floats  # (n_inputs, 0, 1 or n_neurons) promotions
    demoted: Floats  # the same shape: demotions as the rule states them, before clipping
    outputs: Ints  # (n_neurons,)
    clipped: Ints  # (n_neurons,) demotions cut short at weight 0

    @classmethod
    def empty(cls, n_inputs: int, n_neurons: int, columns: int) -> "Tally":
        """Nothing counted yet."""
        return cls(
            np.zeros((n_inputs, columns)),
            np.zeros((n_inputs, columns)),
            np.zeros(n_neurons, np.int64),
            np.zeros(n_neurons, np.int64),
        )


class Watch(NamedTuple):
    """Sums over the learning events of a monitor's window; first axis of length 0: not watched."""

    pending: Floats  # (n_neurons, n_inputs) applied since the last normalisation, over the rate
    before: Floats  # weights right after it
    gd: Floats  # sums of g d
    gdw: Floats  # sums of g D w
    w1: Floats  # sums of w
    w2: Floats  # sums of w squared
    gD: Floats  # noqa: N815 - as in the theory: (n_neurons,) sums of g D
    D: Floats  # (n_neurons,) sums of D
    promotions: Floats  # (n_neurons,) sums of all promotions
    events: Ints  # (n_neurons,)
    limit: Ints  # (n_neurons,) events that make a window

    @classmethod
    def empty(cls, weights: Floats, limit: int, *, watched: bool = True) -> "Watch":
        """Watch a layer that has just been normalised, or not at all."""
        k, n = weights.shape if watched else (0, 0)
        return cls(
            pending=np.zeros((k, n)),
            before=np.array(weights[:k], order="C"),
            gd=np.zeros((k, n)),
            gdw=np.zeros((k, n)),
            w1=np.zeros((k, n)),
            w2=np.zeros((k, n)),
            gD=np.zeros(k),
            D=np.zeros(k),
            promotions=np.zeros(k),
            events=np.zeros(k, np.int64),
            limit=np.full(k, limit, np.int64),
        )


@dataclass
class Recent:
    """Input spikes within the coincidence window, oldest first."""

    times: Floats
    ids: Ints

    @classmethod
    def none(cls) -> "Recent":
        """No spike."""
        return cls(np.empty(0), np.empty(0, np.int64))
