"""Ways to carry out a step. Each measures all its gradients before it touches anything."""

import warnings
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor

from septet._core.errors import SeptetWarning
from septet._core.extras import needs
from septet.optim import _cpu, _plain
from septet.optim._jobs import Job, raised
from septet.optim._rounding import stochastically_rounded
from septet.optim._rule import Rule


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
        return torch.stack([sums.amax().double() for _, sums in self._measured])

    def apply(self, jobs: list[Job]) -> None:
        """Update states and weights; every job has begun its step."""
        for job, (grad, sums) in zip(jobs, self._measured, strict=True):
            state = job.state
            if job.rule.momentum == "dense":
                state = {**state, "basis": job.basis()}
            weight = _plain.update(job.rule, job.param, grad, sums, state, job.hyper())
            if job.group["stochastic_rounding"] and job.param.dtype == torch.bfloat16:
                weight = stochastically_rounded(
                    weight, job.group["seed"], job.place, job.state["step"]
                )
            job.param.copy_(weight)
        self._measured = []


class Paths:
    """The paths of one optimizer, and which tensor takes which."""

    def __init__(self) -> None:
        self._plain = PlainPath()
        self._cpu: dict[torch.dtype, _cpu.CpuPath] = {}

    @property
    def scratch_bytes(self) -> int:
        """Bytes of all buffers that are kept between steps."""
        return sum(path.scratch_bytes for path in self._cpu.values())

    def choose(self, job: Job) -> Path:
        """Return the fastest path that takes this tensor."""
        param, group = job.param, job.group
        if group["fused"] is False or group["foreach"] or param.device.type != "cpu":
            return self._plain
        if job.grad.dtype != param.dtype or type(job.grad) is not Tensor:
            return self._plain
        if _cpu.refusal(job.rule, param, group) is not None or not _compiler_is_there():
            return self._plain
        if param.dtype not in self._cpu:
            self._cpu[param.dtype] = _cpu.CpuPath(param.dtype)
        return self._cpu[param.dtype]


def check_fused(name: str, rule: Rule, param: Tensor, group: dict[str, Any]) -> None:
    """Raise if ``fused=True`` was asked for and a parameter cannot have it.

    Raises
    ------
    ValueError
        Says why.
    MissingExtraError
        If there is no compiler.
    """
    if not group["fused"] or param.numel() == 0:
        return
    if param.device.type != "cpu":
        raise ValueError(f"fused=True works on the CPU; {name} is on {param.device}.")
    reason = _cpu.refusal(rule, param, group)
    if reason:
        raise ValueError(f"fused=True does not take {name}: {reason}. Leave fused unset.")
    needs("numba", extra="fast", purpose="fused=True")


@cache
def _compiler_is_there() -> bool:
    if find_spec("numba") is not None:
        return True
    warnings.warn(
        "numba is not installed, so steps on the CPU take about twice as long: "
        'pip install "septet[fast]", or pass fused=False to be content without it.',
        SeptetWarning,
        stacklevel=5,
    )
    return False
