"""Ways to carry out a step. Each measures all its gradients before it touches anything."""

from typing import Protocol

import torch
from torch import Tensor

from septet.optim import _plain
from septet.optim._base import gathered
from septet.optim._jobs import Job, raised
from septet.optim._rounding import stochastically_rounded


class Path(Protocol):
    """One way to carry out a step for some of its tensors."""

    def measure(self, jobs: list[Job]) -> Tensor:
        """Read the gradients; return one number for each job, finite where the gradient is."""
        ...

    def apply(self, jobs: list[Job]) -> None:
        """Update states and weights; every job has begun its step."""
        ...


class PlainPath:
    """Tensor by tensor, in plain tensor operations: works for everything, oracle of the rest."""

    def __init__(self) -> None:
        self._measured: list[tuple[Tensor, Tensor]] = []

    def measure(self, jobs: list[Job]) -> Tensor:
        """Read the gradients; return one number for each job, finite where the gradient is."""
        self._measured = []
        for job in jobs:
            grad = -raised(job.grad) if job.group["maximize"] else raised(job.grad)
            self._measured.append((grad, _plain.subset_sums(job.rule, grad)))
        return gathered([sums.amax() for _, sums in self._measured])

    def apply(self, jobs: list[Job]) -> None:
        """Update states and weights; every job has begun its step."""
        for job, (grad, sums) in zip(jobs, self._measured, strict=True):
            weight = self._moved(job, grad, sums)
            if job.group["stochastic_rounding"] and job.param.dtype == torch.bfloat16:
                weight = stochastically_rounded(
                    weight, job.group["seed"], job.place, job.state["step"]
                )
            job.param.copy_(weight)
        self._measured = []

    def _moved(self, job: Job, grad: Tensor, sums: Tensor) -> Tensor:
        rule, state, hyper = job.rule, job.state, job.hyper()
        if rule.momentum == "dense":
            state = {**state, "basis": job.basis()}
        numerator = _plain.numerator(rule, grad, state, hyper)
        return _plain.moved(rule, job.param, numerator, sums, state, hyper)
