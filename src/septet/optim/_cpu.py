"""The compiled CPU path: tables of addresses for the kernels, and threads to share them."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from septet.optim._jobs import Job
from septet.optim._rule import Rule

_STORED_AS = {torch.float32: np.float32, torch.bfloat16: np.uint16}
_SHARED_FROM = 1 << 16  # with fewer elements a second thread costs more than it saves
_LINE = 16  # float32 numbers in a cache line: two threads never write to the same one


def refusal(rule: Rule, param: Tensor, group: dict[str, Any]) -> str | None:
    """Say why the kernels do not take a parameter; None if they do."""
    if type(param) not in (Tensor, torch.nn.Parameter):
        return f"it is a {type(param).__name__}, not a plain tensor"
    if param.dtype not in _STORED_AS:
        return f"its dtype is {param.dtype}, not float32 or bfloat16"
    if param.dtype == torch.bfloat16 and group["stochastic_rounding"]:
        return "they do not round stochastically"
    if param.dtype == torch.bfloat16 and rule.momentum == "dense":
        return "they need float32 for dense projections"
    subspace = rule.momentum in ("dense", "select")
    if subspace and rule.second_moment and rule.partition in ("each", "blocks"):
        return "they need subset='matrix' beside momentum in a subspace"
    if not param.is_contiguous():
        return "it is not contiguous"
    return None


class Piece(NamedTuple):
    """One row of the kernels' table: a matrix, or a whole tensor seen as one."""

    partition: int
    numerator: int
    rows: int
    columns: int
    size: int
    rank: int
    share: float
    weights: int  # elements of the tensor before this piece, and so on
    momenta: int
    statistics: int
    indices: int


@cache
def pieces(rule: Rule) -> tuple[Piece, ...]:
    """Cut a tensor into what one table row can describe."""
    kernels = import_module("septet.optim._kernels")
    subspace = rule.momentum in ("dense", "select")
    numerator = {"ema": kernels.AVERAGE, "select": kernels.SELECT}.get(
        rule.momentum or "", kernels.PLAIN
    )
    share = 1 / rule.block if rule.mean else 1.0

    def piece(partition: int, rows: int, columns: int, size: int, number: int) -> Piece:
        rank = rule.rank if rule.momentum == "select" else 0
        statistics = rows if partition == kernels.BY_ROW else columns
        kept = rank * min(rows, columns) if rank else size
        return Piece(
            partition, numerator, rows, columns, size, rank, share,
            number * size, number * kept, number * statistics, number * rank,
        )  # fmt: skip

    if not subspace and (rule.second_moment is None or rule.partition == "each"):
        return (piece(kernels.EACH, rule.size, 1, rule.size, 0),)
    if rule.partition == "blocks" and rule.second_moment:
        return (piece(kernels.BY_ROW, rule.statistic_shape[0], rule.block, rule.size, 0),)
    m, n = rule.view[-2:]
    if rule.tall and not subspace:
        return (piece(kernels.BY_ROW, rule.size // n, n, rule.size, 0),)
    partition = kernels.BY_ROW if rule.tall else kernels.BY_COLUMN
    return tuple(piece(partition, m, n, m * n, i) for i in range(rule.size // (m * n)))


class CpuPath:
    """Carries out all tensors of one dtype in a few kernel calls.

    Scratch kept between steps: a float32 number for each subset (and thread, where columns are
    the subsets); for dense projections also one matrix as large as the largest momentum.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._kernels: Any = import_module("septet.optim._kernels")
        self._sample = np.empty(0, _STORED_AS[dtype])
        self._sums = np.empty(0, np.float32)
        self._product = torch.empty(0)
        self._parts = 1
        self._grads: list[Tensor] = []
        self._offsets: list[int] = []
        self._integers = np.empty((0, 0), np.int64)
        self._numbers = np.empty((0, 0))

    @property
    def scratch_bytes(self) -> int:
        """Bytes of the buffers that are kept between steps."""
        return self._sums.nbytes + self._product.untyped_storage().nbytes()

    def measure(self, jobs: list[Job]) -> Tensor:
        """Read the gradients; return one number for each job, finite where the gradient is."""
        kernels = self._kernels
        self._parts = 1
        if sum(job.rule.size for job in jobs) >= _SHARED_FROM:
            self._parts = torch.get_num_threads()
        self._grads = [job.grad.contiguous() for job in jobs]
        table = [piece for job in jobs for piece in pieces(job.rule)]
        counts = [len(pieces(job.rule)) for job in jobs]
        # Where nothing hangs on the gradients being finite, they need not be read ahead.
        direct = [job.group["nonfinite"] == "propagate" for job in jobs]
        self._fill_measured(table, counts, direct)
        bad = np.zeros((len(table), self._parts), np.float32)
        if not all(direct):
            self._share(kernels.measure, self._integers, self._sums, bad, self._sample)
            kernels.reduce(self._integers, self._numbers, self._sums, bad, self._parts)
        starts = np.cumsum([0, *counts[:-1]])
        return torch.from_numpy(np.add.reduceat(bad.sum(1), starts))

    def apply(self, jobs: list[Job]) -> None:
        """Update states and weights; every job has begun its step."""
        kernels = self._kernels
        self._fill_applied(jobs)
        kernels.advance(self._integers, self._numbers, self._sums, self._parts)
        self._share(kernels.apply, self._integers, self._numbers, self._sums, self._sample)
        row = 0
        for job, grad in zip(jobs, self._grads, strict=True):
            if job.rule.momentum == "dense":
                self._add_dense(job, grad, row)
            row += len(pieces(job.rule))
        self._grads = []

    def _fill_measured(self, table: list[Piece], counts: list[int], direct: list[bool]) -> None:
        k = self._kernels
        addresses = np.repeat([grad.data_ptr() for grad in self._grads], counts)
        columns = np.array(
            [(p.partition, p.numerator, p.rows, p.columns, p.size, p.rank, p.weights)
             for p in table]
        )  # fmt: skip
        integers = np.zeros((len(table), k.INTEGERS), np.int64)
        integers[:, [k.PARTITION, k.NUMERATOR, k.ROWS, k.COLUMNS, k.SIZE, k.RANK]] = columns[:, :6]
        integers[:, k.DIRECT] = np.repeat(direct, counts)
        integers[:, k.GRAD] = addresses + columns[:, 6] * self._sample.itemsize
        spaces = [_space(piece, self._parts, k) for piece in table]
        offsets = np.cumsum([0, *spaces])
        integers[:, k.OFFSET] = offsets[:-1]
        self._offsets = offsets.tolist()
        if self._sums.size < offsets[-1]:
            self._sums = np.empty(offsets[-1], np.float32)
        self._integers = integers
        self._numbers = np.zeros((len(table), k.NUMBERS))
        self._numbers[:, k.SHARE] = [piece.share for piece in table]

    def _fill_applied(self, jobs: list[Job]) -> None:
        k = self._kernels
        integers, numbers, width = self._integers, self._numbers, self._sample.itemsize
        row = 0
        for job in jobs:
            state = job.state
            param = job.param.data_ptr()
            momentum = _pointer(state, "momentum") if job.rule.momentum != "dense" else 0
            second, largest = _pointer(state, "second_moment"), _pointer(state, "max_second_moment")
            index = _pointer(state, "index")
            values = _numbers(job)
            for piece in pieces(job.rule):
                integers[row, k.PARAM : k.INDEX + 1] = (
                    param + piece.weights * width,
                    integers[row, k.GRAD],
                    momentum + piece.momenta * width if momentum else 0,
                    second + piece.statistics * 4 if second else 0,
                    largest + piece.statistics * 4 if largest else 0,
                    index + piece.indices * 4 if index else 0,
                )
                numbers[row, : k.SHARE] = values
                row += 1

    def _share(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Run `kernel` with this thread and helpers, each on its own part."""
        others = [
            _threads(os.getpid(), self._parts).submit(kernel, *arguments, part, self._parts)
            for part in range(1, self._parts)
        ]
        kernel(*arguments, 0, self._parts)
        for other in others:
            other.result()

    def _add_dense(self, job: Job, grad: Tensor, row: int) -> None:
        """Add what momentum in a dense subspace changes: ``-step * P*(L/c1 - P g)``.

        The kernel has taken the plain gradient step, so nothing of the weight's size is needed.
        """
        rule, hyper = job.rule, job.hyper()
        inner = 1.0 if rule.whole_numerator else hyper.correction1
        m, n = rule.view[-2:]
        weights = job.param.detach().view(-1, m, n)
        grads = grad.view(-1, m, n)
        momenta = job.state["momentum"].view(-1, *job.state["momentum"].shape[-2:])
        bases = job.basis()
        bases = bases.reshape(-1, *bases.shape[-2:])
        if self._product.numel() < momenta[0].numel():
            self._product = torch.empty(momenta[0].numel())
        q = self._product[: momenta[0].numel()].view(momenta.shape[-2:])
        for i, (w, g, momentum, basis) in enumerate(
            zip(weights, grads, momenta, bases, strict=True)
        ):
            steps = torch.from_numpy(self._sums)[self._offsets[row + i] :]
            torch.mm(g, basis, out=q) if rule.tall else torch.mm(basis.mT, g, out=q)
            if job.group["maximize"]:
                q.neg_()
            momentum.lerp_(q, 1 - hyper.beta1)
            q.neg_().add_(momentum, alpha=1 / inner)
            if rule.tall:
                w.addmm_(q.mul_(steps[:m, None]), basis.mT, alpha=-1)
            else:
                w.addmm_(basis, q.mul_(steps[:n]), alpha=-1)


def _space(piece: Piece, parts: int, kernels: Any) -> int:
    """Float32 numbers that a piece needs for its sums and steps, rounded up to cache lines."""
    if piece.partition == kernels.EACH:
        return 0
    if piece.partition == kernels.BY_ROW:
        size = piece.rows
    else:
        size = parts * piece.columns + (1 + parts) * piece.rank
    return -(-size // _LINE) * _LINE


def _pointer(state: dict[str, Any], name: str) -> int:
    tensor = state.get(name)
    return 0 if tensor is None else tensor.data_ptr()


def _numbers(job: Job) -> tuple[float, ...]:
    """Numbers of one step in the order of the kernels' table."""
    h, rule = job.hyper(), job.rule
    sign = -1.0 if job.group["maximize"] else 1.0
    outer, inner = (h.correction1, 1.0) if rule.whole_numerator else (1.0, h.correction1)
    sums = rule.second_moment == "sum"
    return (
        h.lr / outer,
        h.beta1,
        sign * (1 - h.beta1),
        1.0 if sums else h.beta2,
        1.0 if sums else 1 - h.beta2,
        h.eps,
        1 - h.lr * h.weight_decay,
        sign,
        1 / inner,
        1 / h.correction2,
    )


@cache
def _threads(_process: int, count: int) -> ThreadPoolExecutor:
    """Helpers of this process; a forked child gets its own."""
    return ThreadPoolExecutor(count - 1, thread_name_prefix="septet-optim")
