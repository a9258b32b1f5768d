"""Weights from trial runs: G-Blend, and gradient modulation within a step."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from septet._core import checks
from septet._core.errors import CheckpointError
from septet.audio._blending import gblend_weights
from septet.audio._network import JOINT, MultiViewNet
from septet.audio._policies import FixedPolicy


class GBlendPolicy(FixedPolicy):
    """Weights that trial runs of every branch alone suggest, once or again and again.

    Parameters
    ----------
    branches : sequence of str, or int
        Names of the branches, or how many there are.
    trial_steps : int
        Length of a trial run.
    every : int, optional
        Estimate anew every so many steps, from the weights of then (online); by default once
        before training (offline).
    rho : float, default 1e-3
        See :func:`blend_ratios`.

    Attributes
    ----------
    weights : ndarray of shape (n_branches,)
        Equal until the first estimate.

    References
    ----------
    W. Wang, D. Tran, M. Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?",
    CVPR 2020, algorithms 1 (offline) and 2 (online).

    Examples
    --------
    >>> policy = GBlendPolicy(["mel", "joint"], trial_steps=50)
    >>> policy.due(0), policy.due(50)
    (True, False)
    """

    def __init__(
        self,
        branches: Sequence[str] | int,
        *,
        trial_steps: int,
        every: int | None = None,
        rho: float = 1e-3,
    ) -> None:
        super().__init__(branches)
        self.trial_steps = checks.integer("trial_steps", trial_steps, low=1)
        self.every = None if every is None else checks.integer("every", every, low=1)
        self.rho = checks.number("rho", rho, above=0)

    def due(self, step: int) -> bool:
        """Return whether the weights are to be estimated before training step `step`."""
        return step == 0 if self.every is None else step % self.every == 0

    def estimate(
        self, before: tuple[ArrayLike, ArrayLike], after: tuple[ArrayLike, ArrayLike]
    ) -> None:
        """Set the weights from training and validation losses around the trial runs."""
        self._weights = gblend_weights(before, after, rho=self.rho)

    def state_dict(self) -> dict[str, Any]:
        """Return the weights, the settings and the recorded losses."""
        settings = {"trial_steps": self.trial_steps, "every": self.every, "rho": self.rho}
        return {"settings": settings, **super().state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises
        ------
        CheckpointError
            If it belongs to other branches or settings.
        """
        ours = self.state_dict()["settings"]
        if state.get("settings") != ours:
            raise CheckpointError(
                f"the policy was saved with {state.get('settings')}; here: {ours}."
            )
        self.curves.load_state_dict(state["curves"])
        self._weights = checks.vector("weights", state["weights"], size=len(self.curves.branches))


class ModulationPolicy(FixedPolicy):
    """The joint loss alone, with the gradient of views that are ahead held back in every step.

    Parameters
    ----------
    branches : sequence of str
        Names of the branches, ``"joint"`` among them.
    alpha : float, default 0.3
        Strength: a view that is ahead by the ratio r keeps ``1 - tanh(alpha r)`` of its gradient.

    Notes
    -----
    A view's score is the mean probability that its part of the joint logits gives the right class;
    the ratio is against the mean score of the other views, which for two views is the published
    rule. The published noise term is left out.

    References
    ----------
    X. Peng et al., "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022.
    """

    def __init__(self, branches: Sequence[str], *, alpha: float = 0.3) -> None:
        super().__init__(branches, [float(name == JOINT) for name in branches])
        self.alpha = checks.number("alpha", alpha, low=0)


def modulated(
    net: MultiViewNet, embeddings: Mapping[str, Tensor], targets: Tensor, alpha: Tensor | float
) -> dict[str, Tensor]:
    """Return the embeddings with the gradients of views that are ahead held back.

    Parameters
    ----------
    net : MultiViewNet
    embeddings : mapping from str to Tensor
        Of every view.
    targets : Tensor
        Class numbers (batch,) or probabilities (batch, n_classes).
    alpha : float or scalar Tensor
        See :class:`ModulationPolicy`.
    """
    if len(embeddings) < 2:
        return dict(embeddings)
    probabilities = net.contributions(embeddings).detach().softmax(dim=2)
    if targets.ndim == 1:
        targets = targets[:, None] == torch.arange(net.n_classes, device=targets.device)
    scores = (probabilities * targets.to(probabilities.dtype).unsqueeze(1)).sum(dim=(0, 2))
    others = (scores.sum() - scores) / (len(scores) - 1)
    ratio = scores / others
    kept = torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), torch.ones_like(ratio))
    return {
        name: part * kept[i] + part.detach() * (1 - kept[i])
        for i, (name, part) in enumerate(embeddings.items())
    }
