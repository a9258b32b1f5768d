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
    weights: int  # elements of the tensor before this piece, and so on
    momenta: int
    statistics: int
    indices: int
    share: float


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
            partition, numerator, rows, columns, size, rank,
            number * size, number * kept, number * statistics, number * rank, share,
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


class _Layout:
    """What the tables of a step hold before any address is known; the same at every step.

    Parameters
    ----------
    kernels : module
    jobs : list of Job
    parts : int
        Threads.
    """

    def __init__(self, kernels: Any, jobs: list[Job], parts: int) -> None:
        k = kernels
        self.rules = [job.rule for job in jobs]
        self.direct = [_is_direct(job) for job in jobs]
        self.parts = parts
        per_rule = [pieces(rule) for rule in self.rules]
        table = [piece for some in per_rule for piece in some]
        counts = [len(some) for some in per_rule]
        columns = np.array([piece[:-1] for piece in table], np.int64)
        self.of_job = np.repeat(np.arange(len(jobs)), counts)
        self.starts = np.cumsum([0, *counts[:-1]])
        self.before = columns[:, 6:]  # elements of each tensor that come before a piece
        self.offsets = np.cumsum([0, *(_space(piece, parts, k) for piece in table)]).tolist()
        self.integers = np.zeros((len(table), k.INTEGERS), np.int64)
        fixed = [k.PARTITION, k.NUMERATOR, k.ROWS, k.COLUMNS, k.SIZE, k.RANK]
        self.integers[:, fixed] = columns[:, :6]
        self.integers[:, k.DIRECT] = np.repeat(self.direct, counts)
        self.integers[:, k.OFFSET] = self.offsets[:-1]
        self.integers[:, k.OWNER] = _owners(table, parts, k)
        self.numbers = np.zeros((len(table), k.NUMBERS))
        self.numbers[:, k.SHARE] = [piece.share for piece in table]

    def fits(self, jobs: list[Job], parts: int) -> bool:
        """Whether it still describes these jobs."""
        return (
            parts == self.parts
            and len(jobs) == len(self.rules)
            and all(job.rule is rule for job, rule in zip(jobs, self.rules, strict=True))
            and all(_is_direct(job) == d for job, d in zip(jobs, self.direct, strict=True))
        )

    def point(self, column: int, addresses: list[int], which: int, width: int) -> None:
        """Write one column of addresses; a job without such a tensor has address zero."""
        first = np.array(addresses, np.int64)[self.of_job]
        self.integers[:, column] = (first + self.before[:, which] * width) * (first != 0)


def _owners(table: list[Piece], parts: int, kernels: Any) -> list[int]:
    """Give whole matrices by column to the thread with the least of them; -1: all threads share.

    Only where a matrix is so small a part of the whole that nobody waits long for its thread.
    """
    small = sum(piece.size for piece in table) / (4 * parts)
    load = [0] * parts
    owners = []
    for piece in table:
        alone = piece.partition == kernels.BY_COLUMN and piece.size <= small
        owners.append(load.index(min(load)) if alone else -1)
        if alone:
            load[owners[-1]] += piece.size
    return owners


def _is_direct(job: Job) -> bool:
    """Whether nothing hangs on its gradient being finite, so that it need not be read ahead."""
    return job.group["nonfinite"] == "propagate"


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
        self._layout: _Layout | None = None

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
        layout = self._layout
        if layout is None or not layout.fits(jobs, self._parts):
            layout = self._layout = _Layout(kernels, jobs, self._parts)
        if self._sums.size < layout.offsets[-1]:
            self._sums = np.empty(layout.offsets[-1], np.float32)
        self._grads = [job.grad.contiguous() for job in jobs]
        width = self._sample.itemsize
        layout.point(kernels.GRAD, [grad.data_ptr() for grad in self._grads], 0, width)
        bad = np.zeros((len(layout.integers), self._parts), np.float32)
        if not all(layout.direct):
            self._share(kernels.measure, layout.integers, self._sums, bad, self._sample)
            kernels.reduce(layout.integers, layout.numbers, self._sums, bad, self._parts)
        return torch.from_numpy(np.add.reduceat(bad.sum(1), layout.starts))

    def apply(self, jobs: list[Job]) -> None:
        """Update states and weights; every job has begun its step."""
        kernels, layout = self._kernels, self._layout
        if layout is None:
            raise RuntimeError("measure() comes before apply().")
        self._point(layout, jobs)
        integers, numbers = layout.integers, layout.numbers
        kernels.advance(integers, numbers, self._sums, self._parts)
        self._share(kernels.apply, integers, numbers, self._sums, self._sample)
        for job, grad, row in zip(jobs, self._grads, layout.starts, strict=True):
            if job.rule.momentum == "dense":
                self._add_dense(job, grad, layout.offsets[row:])
        self._grads = []

    def _point(self, layout: _Layout, jobs: list[Job]) -> None:
        """Write where everything lies and the numbers of this step."""
        k, width = self._kernels, self._sample.itemsize
        layout.point(k.PARAM, [job.param.data_ptr() for job in jobs], 0, width)
        momenta = [
            0 if job.rule.momentum == "dense" else _pointer(job.state, "momentum") for job in jobs
        ]
        layout.point(k.MOMENTUM, momenta, 1, width)
        layout.point(k.SECOND, [_pointer(job.state, "second_moment") for job in jobs], 2, 4)
        layout.point(k.LARGEST, [_pointer(job.state, "max_second_moment") for job in jobs], 2, 4)
        layout.point(k.INDEX, [_pointer(job.state, "index") for job in jobs], 3, 4)
        known: dict[Any, tuple[float, ...]] = {}
        values = []
        for job in jobs:  # most of them share their group and their number of steps
            state, rule = job.state, job.rule
            same = (
                id(job.group), state["step"], state.get("refreshed"), rule.momentum,
                rule.second_moment, rule.whole_numerator,
            )  # fmt: skip
            if same not in known:
                known[same] = _numbers(job)
            values.append(known[same])
        layout.numbers[:, : k.SHARE] = np.array(values)[layout.of_job]

    def _share(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Run `kernel` with this thread and helpers, each on its own part."""
        others = [
            _threads(os.getpid(), self._parts).submit(kernel, *arguments, part, self._parts)
            for part in range(1, self._parts)
        ]
        kernel(*arguments, 0, self._parts)
        for other in others:
            other.result()

    def _add_dense(self, job: Job, grad: Tensor, offsets: list[int]) -> None:
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
            steps = torch.from_numpy(self._sums)[offsets[i] :]
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
