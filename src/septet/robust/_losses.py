"""Robust losses for a training loop of one's own."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from septet._core import checks


class GroupDROLoss(nn.Module):
    r"""Worst-group loss with online group weights.

    In training mode every call first moves the weights towards the groups with large losses,

    .. math:: q_g \leftarrow q_g \exp\big(\eta\, (L_g + C_g / \sqrt{n_g})\big), \qquad
        q \leftarrow q / \textstyle\sum_g q_g,

    and returns :math:`\sum_g q_g L_g`, where :math:`L_g` is the mean loss of the batch's rows in
    group g. The adjustment has no gradient and is no part of the value. In evaluation mode the
    weights stay.

    Parameters
    ----------
    group_counts : sequence of int of length G
        Number of training rows in each group, all above zero.
    step_size : float, default 0.01
        Step :math:`\eta` of the weights. Not negative.
    adjustment : float or sequence of float of length G, default 0.0
        Constant C of the adjustment, of any sign.
    weighting : {"exponentiated", "greedy"}, default "exponentiated"
        ``"greedy"`` ranks the groups by their running mean loss instead and puts all weight on the
        worst ones that together hold `fraction` of the training rows: the CVaR over groups.
    fraction : float, default 0.2
        Share of the training rows that ``"greedy"`` concentrates on, in (0, 1].
    min_weight : float, default 0.0
        Share of the greedy weights that stays proportional to the group sizes, in [0, 1].
    decay : float, default 0.1
        Part of a running mean loss that a new batch replaces, in (0, 1].
    absent : {"keep", "shrink"}, default "keep"
        Weight of a group without rows in the batch: stays exactly, the others sharing what they
        had; or its loss counts as 0, as in the reference implementation, and it loses weight to
        them.

    Attributes
    ----------
    weights : Tensor of shape (G,)
        The weights q, a buffer: saved with the module.
    running_losses : Tensor of shape (G,)
        Exponential means of the group losses; NaN for groups not seen yet. A buffer.
    batch_losses : Tensor of shape (G,)
        Group losses of the last batch, NaN where absent; not saved.

    Raises
    ------
    ValueError
        If a count is not positive or a setting is out of range.

    Notes
    -----
    Rows with a negative group are of unknown group and are left out. With an initialised
    `torch.distributed` process group the sums and counts of a batch are added up over the
    processes, so that all hold equal weights; the value is then that of the whole batch and its
    gradient, averaged over the processes as `DistributedDataParallel` does, is that of the whole
    batch too. Half-precision losses are added up in float32.

    References
    ----------
    S. Sagawa et al., "Distributionally Robust Neural Networks", ICLR 2020, algorithm 1, equation 5.

    Examples
    --------
    >>> loss = GroupDROLoss([3498, 184, 56, 1057])
    >>> value = loss(torch.tensor([0.1, 0.5, 1.0, 2.0]), torch.arange(4))
    >>> round(value.item(), 6), [round(q, 6) for q in loss.weights.tolist()]
    (0.905059, [0.248002, 0.248996, 0.250244, 0.252759])
    """

    weights: Tensor
    running_losses: Tensor
    batch_losses: Tensor
    counts: Tensor
    adjustment: Tensor

    def __init__(
        self,
        group_counts: Sequence[int],
        *,
        step_size: float = 0.01,
        adjustment: float | Sequence[float] = 0.0,
        weighting: Literal["exponentiated", "greedy"] = "exponentiated",
        fraction: float = 0.2,
        min_weight: float = 0.0,
        decay: float = 0.1,
        absent: Literal["keep", "shrink"] = "keep",
    ) -> None:
        super().__init__()
        counts = checks.vector("group_counts", list(group_counts))
        if counts.size == 0 or (counts <= 0).any():
            raise ValueError(
                f"group_counts must be positive; {int((counts <= 0).sum())} of them are not."
            )
        self.step_size = checks.number("step_size", step_size, low=0)
        self.weighting = checks.choice("weighting", weighting, ["exponentiated", "greedy"])
        self.fraction = checks.number("fraction", fraction, above=0, high=1)
        self.min_weight = checks.number("min_weight", min_weight, low=0, high=1)
        self.decay = checks.number("decay", decay, above=0, high=1)
        self.absent = checks.choice("absent", absent, ["keep", "shrink"])
        n = counts.size
        constants = np.broadcast_to(np.asarray(adjustment, dtype=np.float64), (n,))
        self.register_buffer("counts", torch.as_tensor(counts))
        self.register_buffer("adjustment", torch.tensor(checks.vector("adjustment", constants)))
        self.register_buffer("weights", torch.full((n,), 1.0 / n, dtype=torch.float64))
        self.register_buffer("running_losses", torch.full((n,), torch.nan, dtype=torch.float64))
        self.register_buffer(
            "batch_losses", torch.full((n,), torch.nan, dtype=torch.float64), persistent=False
        )

    def forward(self, losses: Tensor, groups: Tensor) -> Tensor:
        """Return the robust loss of a batch.

        Parameters
        ----------
        losses : Tensor of shape (n,)
            Loss of each row, with a graph.
        groups : Tensor of shape (n,), integer
            Group of each row; negative where unknown.

        Returns
        -------
        Tensor, scalar
            At least float32.

        Raises
        ------
        ValueError
            If the shapes differ or are not 1-D.
        """
        if losses.ndim != 1 or losses.shape != groups.shape:
            raise ValueError(
                "losses and groups must be 1-D and of one length; got shapes "
                f"{tuple(losses.shape)} and {tuple(groups.shape)}."
            )
        values = losses if losses.dtype == torch.float64 else losses.float()
        known = groups >= 0
        index = torch.where(known, groups, 0).long()
        zeros = values.new_zeros(len(self.counts))
        sums = zeros.index_add(0, index, torch.where(known, values, 0.0))
        present = zeros.index_add(0, index, known.to(values.dtype))
        all_sums, all_present = sums.detach().clone(), present.clone()
        n_processes = _add_up(all_sums, all_present)
        scale = 1.0 / all_present.clamp(min=1.0)
        if self.training:
            self._update((all_sums * scale).double(), all_present > 0)
        weights = self.weights.to(values.dtype) * (all_present > 0)
        share = n_processes * (weights * sums * scale).sum()
        if n_processes == 1:
            return share
        whole = (weights * all_sums * scale).sum()
        return share + (whole - share).detach()

    @property
    def adjusted_loss(self) -> float:
        """Value of the last batch's objective with the adjustment: what the weights climb."""
        known = ~self.batch_losses.isnan()
        scores = self.batch_losses + self.adjustment / self.counts.sqrt()
        return float((self.weights * scores)[known].sum())

    @torch.no_grad()
    def adjust_to_gap(self, validation_losses: Sequence[float] | Tensor) -> None:
        """Set the adjustment to the generalisation gap, so that it adds up to validation losses.

        Parameters
        ----------
        validation_losses : sequence of float of length G
            Mean losses of the groups on validation rows. A group that is not finite here or has not
            been seen in training keeps its constant.
        """
        target = torch.as_tensor(validation_losses, dtype=torch.float64).to(self.adjustment.device)
        constant = (target - self.running_losses) * self.counts.sqrt()
        self.adjustment.copy_(torch.where(constant.isfinite(), constant, self.adjustment))

    @torch.no_grad()
    def _update(self, means: Tensor, present: Tensor) -> None:
        self.batch_losses = torch.where(present, means, torch.nan)
        seen = ~self.running_losses.isnan()
        mixed = torch.lerp(self.running_losses, means, self.decay)
        self.running_losses.copy_(
            torch.where(present, torch.where(seen, mixed, means), self.running_losses)
        )
        if self.weighting == "greedy":
            self.weights.copy_(self._greedy())
            return
        scores = means + self.adjustment / self.counts.sqrt()
        if self.absent == "keep":
            grown = self.weights * torch.where(present, self.step_size * scores, 0.0).exp()
            factor = (self.weights * present).sum() / (grown * present).sum().clamp(min=1e-300)
            grown = torch.where(present, grown * factor, self.weights)
        else:
            grown = self.weights * (self.step_size * scores).exp()
        self.weights.copy_(grown / grown.sum())

    def _greedy(self) -> Tensor:
        """Full weight for the worst groups until they hold `fraction` of the rows."""
        shares = self.counts / self.counts.sum()
        scores = self.running_losses + self.adjustment / self.counts.sqrt()
        order = torch.argsort(scores.nan_to_num(nan=-torch.inf), descending=True, stable=True)
        before = shares[order].cumsum(0) - shares[order]
        taken = (shares[order]).minimum((self.fraction - before).clamp(min=0.0)) / self.fraction
        weights = torch.zeros_like(shares).index_copy(0, order, taken)
        return self.min_weight * shares + (1.0 - self.min_weight) * weights


class CVaRLoss(nn.Module):
    """Mean of the largest losses of a batch: robustness without group labels.

    Parameters
    ----------
    fraction : float
        Share of the batch that counts, in (0, 1]; 1 is the plain mean. Where it is no whole number
        of rows, the last row counts in part.

    Raises
    ------
    ValueError
        If `fraction` is out of range.

    Notes
    -----
    Under several processes each takes the worst rows of its own part of the batch.

    References
    ----------
    D. Levy, Y. Carmon, J. C. Duchi, A. Sidford, "Large-Scale Methods for Distributionally Robust
    Optimization", NeurIPS 2020, section 2.

    Examples
    --------
    >>> CVaRLoss(0.5)(torch.tensor([1.0, 4.0, 2.0, 3.0])).item()
    3.5
    """

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = checks.number("fraction", fraction, above=0, high=1)

    def forward(self, losses: Tensor) -> Tensor:
        """Return the mean of the largest `losses` (n,).

        Raises
        ------
        ValueError
            If `losses` is not 1-D or is empty.
        """
        if losses.ndim != 1 or losses.numel() == 0:
            raise ValueError(f"losses must be 1-D and not empty; got shape {tuple(losses.shape)}.")
        values = losses if losses.dtype == torch.float64 else losses.float()
        size = self.fraction * len(values)
        ranked = values.sort(descending=True).values
        places = torch.arange(len(values), device=values.device, dtype=values.dtype)
        return (ranked * (size - places).clamp(0.0, 1.0)).sum() / size


def _add_up(*tensors: Tensor) -> int:
    """Sum tensors over the processes in place; return how many processes there are."""
    if not (dist.is_available() and dist.is_initialized()):
        return 1
    size = dist.get_world_size()
    if size > 1:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))
    return size
