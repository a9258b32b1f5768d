# ruff: noqa: ANN001, ANN202 - Triton infers the types from the arguments
# pyrefly: ignore-errors
"""The compiled GPU path, on request (``fused=True``): one Triton kernel a tensor.

Norms come from torch's own reduction and the step sizes of a matrix from a few small vector
operations; the kernel then reads weight, gradient and momentum once and writes them once.
"""

from typing import Any

import torch
from torch import Tensor

from septet.optim._base import gathered
from septet.optim._distributed import is_sharded
from septet.optim._jobs import Hyper, Job
from septet.optim._rule import Rule

try:  # comes with torch for CUDA; without it `refusal` says so
    import triton
    from triton import language as tl
except ImportError:
    triton = None

_BLOCK = 1024


def refusal(rule: Rule, param: Tensor, group: dict[str, Any]) -> str | None:
    """Say why the kernel does not take a parameter; None if it does."""
    if triton is None:
        return "Triton is not installed"
    if is_sharded(param) or type(param) not in (Tensor, torch.nn.Parameter):
        return f"it is a {type(param).__name__}, not a plain tensor"
    if param.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"its dtype is {param.dtype}"
    if group["stochastic_rounding"] and param.dtype == torch.bfloat16:
        return "the kernel does not round stochastically"
    if rule.momentum == "dense":
        return "the kernel does not project onto dense bases"
    if rule.second_moment and rule.partition == "blocks":
        return "the kernel needs subset='matrix' or None"
    if len(rule.view) > 2:
        return "it is a stack of matrices"
    if not param.is_contiguous():
        return "it is not contiguous"
    return None


if triton is not None:

    @triton.jit
    def _step(
        p_at, g_at, m_at, step_at, slot_at, columns, rank, keep, sign, scale, beta1, gain,
        STEP: tl.constexpr, NUMERATOR: tl.constexpr, SLOT_BY_ROW: tl.constexpr,
        BLOCK: tl.constexpr,
    ):  # fmt: skip
        """Update one block of one row.

        STEP says whether step sizes are per row (0), column (1) or coordinate (2); NUMERATOR
        whether there is no momentum (0), all of it (1) or some rows or columns of it (2).
        """
        row = tl.program_id(0).to(tl.int64)
        j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        mask = j < columns
        here = row * columns + j
        p = tl.load(p_at + here, mask=mask, other=0.0).to(tl.float32)
        g = tl.load(g_at + here, mask=mask, other=0.0).to(tl.float32)
        if STEP == 0:
            step = tl.load(step_at + row)
        elif STEP == 1:
            step = tl.load(step_at + j, mask=mask, other=0.0)
        else:
            step = tl.load(step_at + here, mask=mask, other=0.0)
        u = sign * g
        if NUMERATOR == 1:
            m = tl.load(m_at + here, mask=mask, other=0.0).to(tl.float32)
            m = beta1 * m + gain * g
            tl.store(m_at + here, m.to(m_at.dtype.element_ty), mask=mask)
            u = scale * m
        if NUMERATOR == 2:
            if SLOT_BY_ROW:
                slot = tl.load(slot_at + row).to(tl.int64) + tl.zeros_like(here)
                at = slot * columns + j
            else:
                slot = tl.load(slot_at + j, mask=mask, other=-1).to(tl.int64)
                at = row * rank + slot
            inside = mask & (slot >= 0)
            m = tl.load(m_at + at, mask=inside, other=0.0).to(tl.float32)
            m = beta1 * m + gain * g
            tl.store(m_at + at, m.to(m_at.dtype.element_ty), mask=inside)
            u = tl.where(inside, scale * m, u)
        tl.store(p_at + here, (keep * p - step * u).to(p_at.dtype.element_ty), mask=mask)


class TritonPath:
    """Tensor by tensor: a norm, a few small operations, one kernel.

    Scratch within a step: the norms, and for uncompressed tensors their squares.
    """

    def __init__(self) -> None:
        self._sums: list[Tensor] = []

    def measure(self, jobs: list[Job]) -> Tensor:
        """Read the gradients; return one number for each job, finite where the gradient is."""
        self._sums = [_sums(job) for job in jobs]
        return gathered([sums.amax() for sums in self._sums])

    def apply(self, jobs: list[Job]) -> None:
        """Update states and weights; every job has begun its step."""
        for job, sums in zip(jobs, self._sums, strict=True):
            _update(job, sums)
        self._sums = []


def _sums(job: Job) -> Tensor:
    rule = job.rule
    if rule.second_moment is None or rule.partition == "each":
        return job.grad.float().square()
    dim = -1 if rule.partition == "rows" else -2
    matrix = job.grad.reshape(rule.view)
    norms = torch.linalg.vector_norm(matrix, dim=dim, keepdim=True, dtype=torch.float32)
    return norms.square_().div_(rule.block) if rule.mean else norms.square_()


def _steps(job: Job, sums: Tensor, hyper: Hyper) -> Tensor:
    """Advance the second moments and return the step sizes."""
    rule, state = job.rule, job.state
    lr = hyper.lr / hyper.correction1 if rule.whole_numerator else hyper.lr
    if rule.second_moment is None:
        return torch.full((1,), lr, device=sums.device)
    v = state["second_moment"]
    if rule.second_moment == "sum":
        v.add_(sums)
    else:
        v.mul_(hyper.beta2).add_(sums, alpha=1 - hyper.beta2)
    if rule.amsgrad:
        v = torch.maximum(state["max_second_moment"], v, out=state["max_second_moment"])
    root = (v / hyper.correction2).sqrt_().add_(hyper.eps)
    return torch.where(root == 0, 0.0, lr / root)


def _update(job: Job, sums: Tensor) -> None:
    rule, state, hyper = job.rule, job.state, job.hyper()
    steps = _steps(job, sums, hyper)
    rows, columns = rule.view or (1, rule.size)
    if rule.second_moment is None:
        steps, kind = steps.expand(rows).contiguous(), 0
    else:
        kind = {"rows": 0, "columns": 1, "each": 2}[rule.partition]
    slot = steps
    if rule.momentum == "select":
        slot = torch.full((max(rows, columns),), -1, dtype=torch.int32, device=sums.device)
        places = torch.arange(rule.rank, dtype=torch.int32, device=sums.device)
        slot[state["index"].long()] = places
    sign = -1.0 if job.group["maximize"] else 1.0
    inner = 1.0 if rule.whole_numerator else hyper.correction1
    _step[rows, triton.cdiv(columns, _BLOCK)](
        job.param, job.grad.contiguous(), state.get("momentum", steps), steps, slot,
        columns, rule.rank, 1 - hyper.lr * hyper.weight_decay, sign, 1 / inner,
        hyper.beta1, sign * (1 - hyper.beta1),
        STEP=kind, NUMERATOR={None: 0, "ema": 1, "select": 2}[rule.momentum],
        SLOT_BY_ROW=rule.tall, BLOCK=_BLOCK,
    )  # fmt: skip
