"""The path of sharded parameters: each process updates its part, and little is exchanged.

Row or column sums are added up only where the summed side is sharded. A projection is local where
the gradient is whole along the projected side. Elsewhere its coordinates, a fraction of the
matrix, are added up, averaged in parts, and handed back.
"""

from typing import Any

import torch
from torch import Tensor

from septet.optim import _plain
from septet.optim._distributed import any_nan, is_sharded, settled
from septet.optim._jobs import Hyper, Job, raised
from septet.optim._paths import PlainPath
from septet.optim._projection import picked, spread
from septet.optim._rule import Rule


def refusal(rule: Rule, param: Any, group: dict[str, Any]) -> str | None:
    """Say what a sharded parameter cannot have; None if all is well."""
    if not is_sharded(param):
        return None
    if group["stochastic_rounding"] and param.dtype == torch.bfloat16:
        return "stochastic_rounding=True needs whole tensors; cut float32 weights instead"
    if rule.partition == "blocks" and rule.block != rule.size:
        return "an integer subset needs whole tensors; use 'matrix', 'tensor' or None"
    if len(rule.view) > 2 and any(p.is_shard() and p.dim > 0 for p in param.placements):
        return "a stack of matrices must be sharded along its first dimension"
    return None


class ShardedPath(PlainPath):
    """Tensor by tensor, in distributed tensor operations."""

    def measure(self, jobs: list[Job]) -> Tensor:
        """Read the gradients; return one number for each job, finite where the gradient is."""
        self._measured = []
        for job in jobs:
            grad = -raised(job.grad) if job.group["maximize"] else raised(job.grad)
            sums = settled(_plain.subset_sums(job.rule, grad), spread=False)
            self._measured.append((grad, sums))
        return any_nan([sums for _, sums in self._measured])

    def _moved(self, job: Job, grad: Tensor, sums: Tensor) -> Tensor:
        rule, state, hyper = job.rule, job.state, job.hyper()
        param: Any = job.param
        for name in ("second_moment", "max_second_moment"):
            if name in rule.state_layout(job.param.dtype) and name not in state:
                state[name] = torch.zeros_like(sums)
        if rule.momentum == "ema" and "momentum" not in state:
            state["momentum"] = torch.zeros_like(job.param)
        if rule.momentum == "dense":
            numerator = _in_basis(job, grad, hyper)
        elif rule.momentum == "select":
            numerator = _in_selection(job, grad, hyper)
        else:
            numerator = _plain.numerator(rule, grad, state, hyper)
        weight: Any = _plain.moved(rule, job.param, numerator, sums, state, hyper)
        # A side of length one may be cut too; where it is broadcast, the result comes out whole.
        return weight.redistribute(placements=param.placements)


def _averaged(job: Job, q: Tensor, hyper: Hyper) -> Tensor:
    """Advance the momentum, which is built here with the placement of its coordinates."""
    if "momentum" not in job.state:
        job.state["momentum"] = torch.zeros_like(q, dtype=job.param.dtype)
    return _plain.averaged(job.state["momentum"], q, hyper.beta1)


def _scales(rule: Rule, hyper: Hyper) -> tuple[float, float]:
    c1 = hyper.correction1
    return (1.0, c1) if rule.whole_numerator else (c1, 1.0)


def _in_basis(job: Job, grad: Any, hyper: Hyper) -> Tensor:
    from torch.distributed.tensor import Replicate, Shard

    rule = job.rule
    inner, outer = _scales(rule, hyper)
    g = grad.reshape(rule.view)
    summed = g.ndim - (1 if rule.tall else 2)
    cut = [p.is_shard(summed) for p in g.placements]
    # Where the summed side is cut, so is the basis (of which each process holds all: no exchange).
    side = g.ndim - 2
    basis: Any = job.basis()
    stack = [p if p.is_shard() and p.dim < side else Replicate() for p in g.placements]
    mine = basis.redistribute(
        placements=[Shard(side) if c else s for c, s in zip(cut, stack, strict=True)]
    )
    q = settled(g @ mine if rule.tall else mine.mT @ g, spread=True)
    difference: Any = _averaged(job, q, hyper) / inner - q
    whole = [Replicate() if c else p for c, p in zip(cut, difference.placements, strict=True)]
    difference = difference.redistribute(placements=whole)
    back = difference @ mine.mT if rule.tall else mine @ difference
    u = g + back.redistribute(placements=g.placements)
    return (u / outer).reshape(rule.shape)


def _in_selection(job: Job, grad: Any, hyper: Hyper) -> Tensor:
    from torch.distributed.tensor import Partial, Replicate

    rule = job.rule
    inner, outer = _scales(rule, hyper)
    g = grad.reshape(rule.view)
    side = g.ndim - (2 if rule.tall else 1)
    cut = [p.is_shard(side) for p in g.placements]
    chosen = _Cut(job.state["index"], g, side) if any(cut) else _Whole(job.state["index"], g, rule)
    size = list(g.shape)
    size[side] = rule.rank
    summed = [Partial() if c else p for c, p in zip(cut, g.placements, strict=True)]
    q = _assembled(chosen.picked(g.to_local(), rule.rank), g, summed, size)
    kept: Any = _averaged(job, settled(q, spread=True), hyper) / inner
    needed = [Replicate() if c else p for c, p in zip(cut, g.placements, strict=True)]
    kept = kept.redistribute(placements=needed).to_local()
    u = _assembled(chosen.spread(g.to_local(), kept), g, g.placements, list(g.shape))
    return (u / outer).reshape(rule.shape)


def _assembled(part: Tensor, like: Any, placements: Any, size: list[int]) -> Any:
    """Return the distributed tensor of which each process has its `part`."""
    from torch.distributed.tensor import DTensor

    stride = torch.empty(size, device="meta").stride()
    return DTensor.from_local(
        part, like.device_mesh, placements, run_check=False, shape=torch.Size(size), stride=stride
    )


class _Whole:
    """A selection along a side of which each process has all."""

    def __init__(self, index: Any, g: Any, rule: Rule) -> None:
        from torch.distributed.tensor import Replicate

        stacks = index.ndim - 1
        mine = [p if p.is_shard() and p.dim < stacks else Replicate() for p in g.placements]
        self._index = index.redistribute(placements=mine).to_local()
        self._tall = rule.tall

    def picked(self, part: Tensor, _rank: int) -> Tensor:
        return picked(part, self._index, self._tall)

    def spread(self, part: Tensor, kept: Tensor) -> Tensor:
        return spread(part, self._index, kept, self._tall)


class _Cut:
    """A selection along a side of which each process has some rows or columns."""

    def __init__(self, index: Any, g: Any, side: int) -> None:
        from torch.distributed.tensor import DTensor, Replicate, Shard

        mesh, device = g.device_mesh, index.to_local().device
        everything = torch.arange(g.shape[side], device=device)
        placements = [Shard(0) if p.is_shard(side) else Replicate() for p in g.placements]
        whole: Any = DTensor.from_local(
            everything, mesh, [Replicate()] * mesh.ndim, run_check=False
        )
        mine = whole.redistribute(placements=placements).to_local()
        place = torch.full_like(everything, -1)
        place[mine] = torch.arange(mine.numel(), device=device)
        positions = place[index.to_local().long()]
        self._side = side
        self._here = (positions >= 0).nonzero().flatten()
        self._positions = positions[self._here]

    def picked(self, part: Tensor, rank: int) -> Tensor:
        shape = list(part.shape)
        shape[self._side] = rank
        found = part.index_select(self._side, self._positions)
        return part.new_zeros(shape).index_copy(self._side, self._here, found)

    def spread(self, part: Tensor, kept: Tensor) -> Tensor:
        mine = kept.index_select(self._side, self._here)
        return part.index_copy(self._side, self._positions, mine)
