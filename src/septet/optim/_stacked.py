"""The path of many small tensors: those of equal shape are stacked and updated together."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from septet.optim import _plain
from septet.optim._base import gathered
from septet.optim._jobs import Hyper, Job, raised
from septet.optim._rounding import stochastically_rounded
from septet.optim._rule import Rule

_LARGEST = 1 << 20  # beyond so many elements a tensor keeps a device busy by itself
_BACKEND = "inductor"
_TOGETHER = 1 << 24  # elements in a stack, which bounds the scratch


def stackable(job: Job, *, compiled: bool) -> bool:
    """Whether a tensor gains from this path and its subsets would not straddle tensors.

    Small tensors gain from company, all of them from compilation.
    """
    rule = job.rule
    whole = rule.partition != "blocks" or rule.size % rule.block == 0
    return whole and (compiled or rule.size <= _LARGEST)


class StackedPath:
    """One batched update for all tensors of a shape, by the operations of the plain path.

    With ``compiled=True`` that update goes through :func:`torch.compile`, once for each shape.

    Scratch within a step: stacks of weights, gradients and states of at most 2**24 elements each.
    """

    def __init__(self) -> None:
        self._batches: list[tuple[list[Job], Tensor, Tensor]] = []

    def measure(self, jobs: list[Job]) -> Tensor:
        """Read the gradients; return one number for each job, finite where the gradient is."""
        self._batches = []
        peaks: dict[int, Tensor] = {}
        for batch in _batches(jobs):
            grads = raised(torch.stack([job.grad for job in batch]))
            if batch[0].group["maximize"]:
                grads = -grads
            sums = _plain.subset_sums(_stacked(batch[0].rule, len(batch)), grads)
            self._batches.append((batch, grads, sums))
            tops = sums.reshape(len(batch), -1).amax(1)
            peaks |= {id(job): top for job, top in zip(batch, tops, strict=True)}
        return gathered([peaks[id(job)] for job in jobs])

    def apply(self, jobs: list[Job]) -> None:
        """Update states and weights; every job has begun its step."""
        for batch, grads, sums in self._batches:
            hypers = [job.hyper() for job in batch]
            # Counts may differ where a tensor was frozen for a while: then each goes alone.
            if all(hyper == hypers[0] for hyper in hypers):
                self._update(batch, grads, sums)
            else:
                parts = sums.reshape(len(batch), -1)
                for i, job in enumerate(batch):
                    self._update([job], grads[i : i + 1], parts[i : i + 1])
        self._batches = []

    @staticmethod
    def _update(batch: list[Job], grads: Tensor, sums: Tensor) -> None:
        rule, hyper = _stacked(batch[0].rule, len(batch)), batch[0].hyper()
        layout = rule.state_layout(batch[0].param.dtype)
        names = [name for name in layout if name != "basis"]
        state = {
            name: torch.stack([job.state[name] for job in batch]).reshape(layout[name][0])
            for name in names
        }
        if rule.momentum == "dense":
            state["basis"] = torch.stack([job.basis() for job in batch])
        weights = torch.stack([job.param for job in batch])
        sums = sums.reshape(rule.statistic_shape)
        if batch[0].group["compiled"]:
            # As tensors, numbers that change from step to step do not call for another compilation.
            changing: list[Any] = [torch.tensor(x, dtype=torch.float64) for x in hyper]
            moved = _compiled(rule)(grads, sums, weights, state, Hyper(*changing))
        else:
            moved = _moved(rule, grads, sums, weights, state, hyper)
        new = list(moved.unbind())
        if batch[0].group["stochastic_rounding"] and weights.dtype == torch.bfloat16:
            new = [
                stochastically_rounded(weight, job.group["seed"], job.place, job.state["step"])
                for job, weight in zip(batch, new, strict=True)
            ]
        torch._foreach_copy_([job.param for job in batch], new)
        for name in names:
            if name != "index":
                shape = batch[0].state[name].shape
                parts = state[name].reshape(len(batch), *shape).unbind()
                torch._foreach_copy_([job.state[name] for job in batch], list(parts))


def _moved(
    rule: Rule, grads: Tensor, sums: Tensor, weights: Tensor, state: dict[str, Any], hyper: Hyper
) -> Tensor:
    numerator = _plain.numerator(rule, grads, state, hyper)
    return _plain.moved(rule, weights, numerator, sums, state, hyper)


@cache
def _compiled(rule: Rule) -> Callable[..., Tensor]:
    """Compile the update of one shape."""

    def step(
        grads: Tensor, sums: Tensor, weights: Tensor, state: dict[str, Any], hyper: Hyper
    ) -> Tensor:
        return _moved(rule, grads, sums, weights, state, hyper)

    # Compilations are counted and limited per code object, so each rule gets one of its own.
    code = step.__code__.replace(co_name=f"step_{abs(hash(rule))}")
    own = FunctionType(code, step.__globals__, code.co_name, None, step.__closure__)
    return torch.compile(own, dynamic=False, backend=_BACKEND)


def _batches(jobs: list[Job]) -> list[list[Job]]:
    """Group jobs that one batched update serves, in stacks of bounded size."""
    groups: dict[tuple[object, ...], list[Job]] = {}
    for job in jobs:
        key = (job.rule, job.param.dtype, job.grad.dtype, job.param.device, id(job.group))
        groups.setdefault(key, []).append(job)
    result = []
    for group in groups.values():
        count = max(1, _TOGETHER // group[0].rule.size)
        result += [group[i : i + count] for i in range(0, len(group), count)]
    return result


def _stacked(rule: Rule, count: int) -> Rule:
    """Return the rule of `count` tensors of a rule, stacked along a new first dimension."""
    view = (count, *rule.view) if rule.view else ()
    return replace(rule, shape=(count, *rule.shape), view=view)
