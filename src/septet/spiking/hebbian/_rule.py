"""Hebbian and spike-timing-dependent rules with weight normalisation, as one description."""

from dataclasses import dataclass

from septet._core import checks

PROMOTIONS = ("binary", "count", "trace", "nearest", "trigger")
PAIRINGS = ("all", "nearest")
NORMALIZATIONS = ("l1", "l2")


@dataclass(frozen=True, kw_only=True)
class HebbianRule:
    r"""How synapses are promoted and demoted, and how their weights are normalised.

    At every output spike synapse i is promoted by :math:`m_i \ge 0`; with a depression
    :math:`A_- > 0` (spike-timing-dependent plasticity, STDP) every input spike demotes its synapse
    by :math:`q_i = A_-\, y\, (N w_i)^\mu`, where y is the trace of output spikes. With the learning
    rate :math:`\lambda`, the weights are divided by their norm at every output spike (or more
    rarely), which for the L1 norm reads

    .. math::
        w \leftarrow \frac{w + \lambda d}{1 + \lambda D}, \qquad D = \sum_i d_i,

    d being all that was applied since the previous normalisation, promotions less demotions.

    Parameters
    ----------
    promotion : {"trace", "binary", "count", "nearest", "trigger"}, default "trace"
        What :math:`m_i` is at an output spike at t: the sum of ``exp(-(t - s) / tau_plus)`` over
        all earlier spikes s of input i; 1 if there was one within the last `window`; the number of
        them; that exponential of the last spike alone; or 1 for the input whose arrival crossed the
        threshold (shared equally by simultaneous arrivals).
    depression : float, default 0.0
        :math:`A_-`, depression relative to potentiation. 0 is Hebbian learning.
    pairing : {"all", "nearest"}, default "all"
        Whether the trace y adds up all output spikes or restarts from 1 at each.
    depression_power : float, default 0.0
        :math:`\mu`: 0 is additive depression (clipped where a weight would become negative), 1
        multiplicative, anything between a power law.
    potentiation_power : float, default 0.0
        Promotions are multiplied by ``(1 - w / w_max) ** potentiation_power``.
    w_max : float, default 1.0
        Soft upper bound of the weights, used if `potentiation_power` is positive.
    tau_plus, tau_minus : float, default 20.0
        Time constants in ms of the traces of inputs and outputs.
    window : float, default 20.0
        Length in ms of the coincidence window of "binary" and "count", open at its older end.
    normalization : {"l1", "l2"}, default "l1"
        The norm that is kept at 1.
    normalize_every : int or "sample", default 1
        Number of output spikes between normalisations, or once at the end of every pattern.

    Raises
    ------
    ValueError
        If a number is out of range or a name unknown.

    References
    ----------
    D. Chu, H. Le Nguyen, "Constraints on Hebbian and STDP learned weights of a spiking neuron",
    Neural Networks 135 (2021), arXiv:2012.07664. The paper's own choice among these rules could not
    be read; "binary" is the one in which a promotion probability is literally a probability.

    Examples
    --------
    >>> HebbianRule(promotion="binary").plastic_depression
    False
    >>> HebbianRule(depression=0.3, depression_power=1.0).plastic_depression
    True
    """

    promotion: str = "trace"
    depression: float = 0.0
    pairing: str = "all"
    depression_power: float = 0.0
    potentiation_power: float = 0.0
    w_max: float = 1.0
    tau_plus: float = 20.0
    tau_minus: float = 20.0
    window: float = 20.0
    normalization: str = "l1"
    normalize_every: int | str = 1

    def __post_init__(self) -> None:
        checks.choice("promotion", self.promotion, PROMOTIONS)
        checks.choice("pairing", self.pairing, PAIRINGS)
        checks.choice("normalization", self.normalization, NORMALIZATIONS)
        for name in ("depression", "depression_power", "potentiation_power"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), low=0.0))
        for name in ("w_max", "tau_plus", "tau_minus", "window"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), above=0.0))
        if isinstance(self.normalize_every, str):
            checks.choice("normalize_every", self.normalize_every, ("sample",))
        else:
            checks.integer("normalize_every", self.normalize_every, low=1)

    @property
    def plastic_depression(self) -> bool:
        """Whether there is depression: STDP rather than Hebbian learning."""
        return self.depression > 0

    @property
    def windowed(self) -> bool:
        """Whether promotions look at the spikes within `window` rather than at traces."""
        return self.promotion in ("binary", "count")
