"""One network on several views of a clip, with a classifier for each view and one for all."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from septet._core import checks
from septet.audio._stack import ViewStack
from septet.audio._subnets import SIZES, NetworkSize, subnetwork

JOINT = "joint"
"""Name of the branch that sees all views."""


class MultiViewNet(nn.Module):
    """Subnetworks for several views with a classifier each, and a joint one on all embeddings.

    ``z_v = f_v(X_v)``, ``logit_v = A_v z_v + b_v``, ``logit_joint = A concat(z) + b``.

    Parameters
    ----------
    views : mapping from str to (int or None or Module)
        For each view the number of bands of its image, None for a waveform, or a subnetwork of
        your own: a module with an attribute ``n_features`` that takes the view and, optionally,
        the valid fraction of each clip, and returns embeddings (batch, n_features).
    n_classes : int
        2 at least.
    size : {"tiny", "small", "base"} or NetworkSize, default "small"
        Of the subnetworks that are not given.
    dropout : float, default 0.2
        In the subnetworks that are not given.

    Attributes
    ----------
    branches : tuple of str
        The views in order, then ``"joint"``; with one view only ``"joint"``, since a second
        classifier on the same embedding would be the same.

    Raises
    ------
    ValueError
        If there is no view, one is called ``"joint"`` or a number is out of range.

    References
    ----------
    H. Phan et al., "Multi-view Audio and Music Classification", ICASSP 2021 (the topology; the
    subnetworks are ours, after the same authors' other networks).

    Examples
    --------
    >>> net = MultiViewNet({"wave": None, "mel": 64}, n_classes=3, size="tiny")
    >>> views = {"wave": torch.randn(2, 1, 8000), "mel": torch.randn(2, 1, 64, 51)}
    >>> {branch: tuple(logits.shape) for branch, logits in net(views).items()}
    {'wave': (2, 3), 'mel': (2, 3), 'joint': (2, 3)}
    """

    def __init__(
        self,
        views: Mapping[str, int | nn.Module | None],
        n_classes: int,
        *,
        size: str | NetworkSize = "small",
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not views or JOINT in views:
            raise ValueError(
                f"views must name one view at least and none {JOINT!r}; got {[*views]}."
            )
        self.n_classes = checks.integer("n_classes", n_classes, low=2)
        dropout = checks.number("dropout", dropout, low=0, below=1)
        if isinstance(size, str):
            size = SIZES[checks.choice("size", size, SIZES)]
        self.subnetworks = nn.ModuleDict({
            name: view if isinstance(view, nn.Module) else subnetwork(view, size, dropout)
            for name, view in views.items()
        })  # fmt: skip
        widths = {name: _width(name, part) for name, part in self.subnetworks.items()}
        self.widths = tuple(widths.values())
        single = widths if len(widths) > 1 else {}
        heads = {name: nn.Linear(width, n_classes) for name, width in single.items()}
        self.heads = nn.ModuleDict(heads | {JOINT: nn.Linear(sum(self.widths), n_classes)})

    @classmethod
    def for_stack(
        cls,
        stack: ViewStack,
        n_classes: int,
        *,
        size: str | NetworkSize = "small",
        dropout: float = 0.2,
    ) -> Self:
        """Build a network for the views of a :class:`ViewStack`."""
        bands = {name: getattr(view, "n_bands", None) for name, view in stack.views.items()}
        return cls(bands, n_classes, size=size, dropout=dropout)

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the classifiers, the joint one last."""
        return tuple(self.heads)

    def forward(
        self, views: Mapping[str, Tensor], valid: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the logits (batch, n_classes) of every branch.

        Parameters
        ----------
        views : mapping from str to Tensor
            As :class:`ViewStack` returns them.
        valid : Tensor of shape (batch,), optional
            Part of each clip, from its start, that is no padding, in (0, 1].
        """
        return self.classify(self.embed(views, valid))

    def embed(self, views: Mapping[str, Tensor], valid: Tensor | None = None) -> dict[str, Tensor]:
        """Return the embedding (batch, n_features) of every view."""
        extra = () if valid is None else (valid,)
        return {name: part(views[name], *extra) for name, part in self.subnetworks.items()}

    def classify(self, embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits of every branch from the embeddings of every view."""
        joint = torch.cat([embeddings[name] for name in self.subnetworks], dim=1)
        return {
            name: head(joint if name == JOINT else embeddings[name])
            for name, head in self.heads.items()
        }

    def contributions(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Return what each view adds to the joint logits, (batch, views, n_classes).

        They and the bias sum to the joint logits. Each view's part has mean 0 over the classes,
        which changes no probability.
        """
        weight = self.heads[JOINT].weight
        parts = weight.split(list(self.widths), dim=1)  # pyrefly: ignore[not-callable]
        logits = [
            embeddings[name] @ part.T for name, part in zip(self.subnetworks, parts, strict=True)
        ]
        table = torch.stack(logits, dim=1)
        return table - table.mean(dim=2, keepdim=True)


def head_probabilities(logits: Mapping[str, Tensor], head: str = JOINT) -> Tensor:
    """Return the probabilities (batch, n_classes) of one branch or of all together.

    Parameters
    ----------
    logits : mapping from str to Tensor
        Of every branch.
    head : str, default "joint"
        A branch, or ``"ensemble"`` for the mean of all branches' probabilities.

    Raises
    ------
    ValueError
        If there is no such head.
    """
    checks.choice("head", head, [*logits, "ensemble"])
    if head == "ensemble":
        return torch.stack([part.softmax(dim=-1) for part in logits.values()]).mean(dim=0)
    return logits[head].softmax(dim=-1)


def branch_losses(
    logits: Mapping[str, Tensor],
    targets: Tensor,
    *,
    class_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> dict[str, Tensor]:
    """Return the mean cross-entropy, a scalar, of every branch.

    Parameters
    ----------
    logits : mapping from str to Tensor of shape (batch, n_classes)
    targets : Tensor
        Class numbers (batch,) or probabilities (batch, n_classes).
    class_weight : Tensor of shape (n_classes,), optional
    label_smoothing : float, default 0.0
    """
    return {
        name: functional.cross_entropy(
            part, targets, weight=class_weight, label_smoothing=label_smoothing
        )
        for name, part in logits.items()
    }


def blended_loss(
    losses: Mapping[str, Tensor], weights: Sequence[float] | NDArray | Tensor
) -> Tensor:
    """Return ``sum_k w_k L_k`` over the branches; the weights are constants.

    Branches of weight 0 are left out rather than multiplied, so that one whose loss is not finite
    spoils no gradient of the others.

    Parameters
    ----------
    losses : mapping from str to Tensor
        As :func:`branch_losses` returns them.
    weights : sequence of float, ndarray or Tensor
        In the order of `losses`; one above 0 at least.

    Raises
    ------
    ValueError
        If there are not as many weights as losses, or all are 0.

    Examples
    --------
    >>> blended_loss({"mel": torch.tensor(2.0), "joint": torch.tensor(float("nan"))}, [1.0, 0.0])
    tensor(2.)
    """
    if len(weights) != len(losses):
        raise ValueError(f"{len(losses)} losses need as many weights; got {len(weights)}.")
    constants = torch.as_tensor(weights, dtype=torch.float64).detach().tolist()
    parts = [loss * w for loss, w in zip(losses.values(), constants, strict=True) if w > 0]
    if not parts:
        raise ValueError("all weights are 0: there is nothing to learn from.")
    return torch.stack(parts).sum()


def _width(name: str, part: nn.Module) -> int:
    width = getattr(part, "n_features", None)
    if not isinstance(width, int):
        raise ValueError(f"the subnetwork of {name!r} needs an integer attribute n_features.")
    return width
