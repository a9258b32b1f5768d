"""The leaky integrate-and-fire neuron and its postsynaptic potential."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks

# Closer than this (relative) the two exponentials cancel and no longer carry nine digits.
_NEARLY_EQUAL = 1e-6


@dataclass(frozen=True)
class LIF:
    r"""A leaky integrate-and-fire neuron with exponentially decaying synaptic currents.

    Between its own spikes the membrane potential is a weighted sum of postsynaptic potentials,

    .. math::
        V(t) = \sum_i w_i \sum_{t_i < t} K(t - t_i) - \vartheta \sum_{t_s < t} e^{-(t-t_s)/\tau_m},
        \qquad
        K(t) = c\,(e^{-t/\tau_m} - e^{-t/\tau_s}),

    with :math:`c` such that :math:`\max K = 1`. The neuron fires when :math:`V` reaches the
    threshold from below; its potential then restarts from 0 while the synaptic current lives on.
    ``tau_s == tau_m`` is the limit :math:`K(t) = (t/\tau) e^{1-t/\tau}`, and ``tau_s == 0`` the
    delta synapse, whose potential jumps by :math:`w_i` at an input and is compared with the
    threshold after all inputs that arrive at the same time.

    Parameters
    ----------
    tau_m : float, default 20.0
        Membrane time constant in ms, also that of the reset.
    tau_s : float, default 5.0
        Synaptic time constant in ms, at most `tau_m`; 0 for delta synapses.
    threshold : float, default 1.0
        Firing threshold, in the unit of the weights.
    t_ref : float, default 0.0
        Absolute refractory period in ms: for this long after a spike the potential is held at 0.

    Raises
    ------
    ValueError
        If a constant is out of range, `tau_s` exceeds `tau_m` (the two are not interchangeable: the
        reset decays with `tau_m`), or they differ by less than a millionth without being equal.

    References
    ----------
    R. Gütig, H. Sompolinsky, "The tempotron", Nature Neuroscience 9 (2006) 420-428.

    Examples
    --------
    >>> lif = LIF()
    >>> round(lif.psp_peak_time, 6), round(float(lif.psp(lif.psp_peak_time)), 12)
    (9.241962, 1.0)
    """

    tau_m: float = 20.0
    tau_s: float = 5.0
    threshold: float = 1.0
    t_ref: float = 0.0

    def __post_init__(self) -> None:
        for name, limits in (
            ("tau_m", {"above": 0.0}),
            ("tau_s", {"low": 0.0}),
            ("threshold", {"above": 0.0}),
            ("t_ref", {"low": 0.0}),
        ):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), **limits))
        if self.tau_s > self.tau_m:
            raise ValueError(
                f"tau_s must be at most tau_m; got {self.tau_s:g} > {self.tau_m:g} ms. Exchanging "
                "them gives another neuron: its reset would decay with the other constant."
            )
        if 0 < abs(self.tau_m - self.tau_s) < _NEARLY_EQUAL * self.tau_m:
            raise ValueError(
                f"tau_s = {self.tau_s!r} and tau_m = {self.tau_m!r} are too close to be told apart "
                "in float64; make them equal."
            )

    @property
    def synapse(self) -> str:
        """Which kernel the time constants give: ``"delta"``, ``"alpha"`` or ``"double"``."""
        if self.tau_s == 0:
            return "delta"
        return "alpha" if self.tau_s == self.tau_m else "double"

    @cached_property
    def psp_norm(self) -> float:
        """Factor that makes the largest postsynaptic potential of a unit weight 1."""
        if self.synapse == "delta":
            return 1.0
        if self.synapse == "alpha":
            return math.e
        ratio = self.tau_m / self.tau_s
        return ratio ** (ratio / (ratio - 1)) / (ratio - 1)

    @cached_property
    def psp_peak_time(self) -> float:
        """Time in ms from an input to the maximum of its postsynaptic potential."""
        if self.synapse == "delta":
            return 0.0
        if self.synapse == "alpha":
            return self.tau_m
        rate = self.tau_m * self.tau_s / (self.tau_m - self.tau_s)
        return rate * math.log(self.tau_m / self.tau_s)

    def psp(self, lag: ArrayLike) -> NDArray[np.float64]:
        """Postsynaptic potential K of a unit weight, `lag` ms after the input; 0 up to lag 0.

        Examples
        --------
        >>> LIF().psp([0.0, 5.0, 10.0]).round(6)
        array([0.      , 0.869729, 0.997301])
        """
        t = np.asarray(lag, dtype=np.float64)
        s = np.maximum(t, 0.0)
        if self.synapse == "delta":
            value = np.exp(-s / self.tau_m)
        elif self.synapse == "alpha":
            value = self.psp_norm * s / self.tau_m * np.exp(-s / self.tau_m)
        else:
            value = self.psp_norm * (np.exp(-s / self.tau_m) - np.exp(-s / self.tau_s))
        return np.where(t > 0, value, 0.0)

    def psp_slope(self, lag: ArrayLike) -> NDArray[np.float64]:
        """Time derivative of `psp` in 1/ms; 0 up to lag 0."""
        t = np.asarray(lag, dtype=np.float64)
        s = np.maximum(t, 0.0)
        if self.synapse == "delta":
            value = -np.exp(-s / self.tau_m) / self.tau_m
        elif self.synapse == "alpha":
            decay = np.exp(-s / self.tau_m)
            value = self.psp_norm / self.tau_m * (1 - s / self.tau_m) * decay
        else:
            fast = np.exp(-s / self.tau_s) / self.tau_s
            value = self.psp_norm * (fast - np.exp(-s / self.tau_m) / self.tau_m)
        return np.where(t > 0, value, 0.0)

    def reset(self, lag: ArrayLike) -> NDArray[np.float64]:
        """Decay of a reset, ``exp(-lag / tau_m)``, `lag` ms after the spike; 0 up to lag 0."""
        t = np.asarray(lag, dtype=np.float64)
        return np.where(t > 0, np.exp(-np.maximum(t, 0.0) / self.tau_m), 0.0)
