"""Weight policies by name."""

from collections.abc import Callable, Mapping, Sequence

from septet._core import checks
from septet.audio._gblend import GBlendPolicy, ModulationPolicy
from septet.audio._network import JOINT
from septet.audio._ogr import OGRPolicy
from septet.audio._policies import FixedPolicy, WeightPolicy


def _ogr(form: str, *, compat: bool = False) -> Callable[[Sequence[str], int, int], WeightPolicy]:
    def make(branches: Sequence[str], evaluations: int, steps: int) -> WeightPolicy:
        return OGRPolicy.for_evaluations(branches, evaluations, form=form, compat=compat)

    return make


POLICIES: Mapping[str, Callable[[Sequence[str], int, int], WeightPolicy]] = {
    "loss": _ogr("loss"),
    "speed": _ogr("speed"),
    "tangent": _ogr("tangent", compat=True),
    "uniform": lambda branches, evaluations, steps: FixedPolicy(branches),
    "joint": lambda branches, evaluations, steps: FixedPolicy.one_hot(branches, JOINT),
    "gblend": lambda branches, evaluations, steps: GBlendPolicy(
        branches, trial_steps=max(1, steps // 4)
    ),
    "gblend-online": lambda branches, evaluations, steps: GBlendPolicy(
        branches, trial_steps=max(1, steps // 10), every=max(1, steps // 4)
    ),
    "ogm": lambda branches, evaluations, steps: ModulationPolicy(branches),
}
"""Makers of policies from branches, number of planned evaluations and number of steps."""


def named_policy(
    name: str, branches: Sequence[str], *, evaluations: int, steps: int
) -> WeightPolicy:
    """Return a new policy by its name.

    Parameters
    ----------
    name : str
        ``"loss"``, ``"speed"`` and ``"tangent"`` are the forms of :class:`OGRPolicy` (the last with
        ``compat=True``), ``"uniform"`` and ``"joint"`` are fixed (``"joint"`` is the plain
        concatenation network), ``"gblend"`` and ``"gblend-online"`` make trial runs, ``"ogm"``
        modulates gradients.
    branches : sequence of str
        The joint one last.
    evaluations, steps : int
        How many are planned; windows and trial runs are sized accordingly.

    Raises
    ------
    ValueError
        If there is no such policy.

    Examples
    --------
    >>> named_policy("loss", ["mel", "cqt", "joint"], evaluations=60, steps=600).window
    10
    """
    checks.choice("policy", name, POLICIES)
    if len(branches) == 1:
        return FixedPolicy(branches)
    return POLICIES[name](branches, evaluations, steps)
