"""What one tensor keeps: its partition, its subspace and the exact shape of its state."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from septet.optim._base import Layout, state_dtype
from septet.optim._options import DENSE


@dataclass(frozen=True)
class Rule:
    """How one tensor is updated; everything here follows from its shape and its group's options.

    Attributes
    ----------
    shape : tuple of int
        Shape of the parameter.
    view : tuple of int
        The shape ``(..., m, n)`` in which it is a matrix or a stack of matrices; ``()`` if it is
        neither (fewer than two dimensions, or empty).
    momentum : {"ema", "dense", "select"} or None
        Kind of numerator.
    second_moment : {"ema", "sum"} or None
        How squares are accumulated.
    partition : {"each", "rows", "columns", "blocks"}
        The subsets that share one second moment.
    block : int
        Coordinates in a subset (the last one of ``"blocks"`` may hold fewer).
    """

    shape: tuple[int, ...]
    view: tuple[int, ...]
    momentum: Literal["ema", "dense", "select"] | None
    second_moment: Literal["ema", "sum"] | None
    partition: Literal["each", "rows", "columns", "blocks"]
    block: int
    projection: str
    rank: int
    mean: bool
    amsgrad: bool
    whole_numerator: bool

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return math.prod(self.shape)

    @property
    def tall(self) -> bool:
        """Whether there are at least as many rows as columns (a square matrix is tall)."""
        return bool(self.view) and self.view[-2] >= self.view[-1]

    def state_layout(self, dtype: torch.dtype) -> Layout:
        """Name, shape and dtype of every state tensor for a parameter of `dtype`."""
        layout: Layout = {}
        if self.momentum == "ema":
            layout["momentum"] = (self.shape, dtype)
        elif self.momentum is not None:
            *batch, m, n = self.view
            along_rows = self.tall == (self.momentum == "select")
            layout["momentum"] = (
                (*batch, *((self.rank, n) if along_rows else (m, self.rank))),
                dtype,
            )
            if self.momentum == "select":
                layout["index"] = ((*batch, self.rank), torch.int32)
            elif self.projection != "srht":
                layout["basis"] = ((*batch, min(m, n), self.rank), state_dtype(dtype))
        if self.second_moment is not None:
            layout["second_moment"] = (self.statistic_shape, state_dtype(dtype))
            if self.amsgrad:
                layout["max_second_moment"] = (self.statistic_shape, state_dtype(dtype))
        return layout

    @property
    def statistic_shape(self) -> tuple[int, ...]:
        """Shape of the second moments, one number per subset."""
        if self.partition == "blocks":
            return (-(-self.size // self.block),)
        if self.partition == "each":
            return self.shape
        *batch, m, n = self.view
        return (*batch, m, 1) if self.partition == "rows" else (*batch, 1, n)


def matrix_view(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape` as ``(..., m, n)``, or ``()`` if the tensor is no matrix.

    Three dimensions are a stack of matrices; four and more (convolutions) are one matrix with an
    output channel per row. Vectors, scalars and empty tensors are never compressed.
    """
    if len(shape) < 2 or 0 in shape:
        return ()
    return shape if len(shape) <= 3 else (shape[0], math.prod(shape[1:]))


def rule_for(shape: tuple[int, ...], options: Mapping[str, Any]) -> Rule:
    """Derive the rule of one tensor from its shape and the options of its group."""
    view = matrix_view(shape)
    second_moment = options["second_moment"]
    partition, block = _partition(shape, view, options["subset"] if second_moment else None)
    momentum, rank = _momentum(view, options)
    return Rule(
        shape=shape,
        view=view,
        momentum=momentum,
        second_moment=second_moment,
        partition=partition,
        block=block,
        projection=options["projection"] if momentum in ("dense", "select") else "",
        rank=rank,
        mean=options["reduction"] == "mean",
        amsgrad=options["amsgrad"],
        whole_numerator=options["compat"] == "reference" and momentum in ("dense", "select"),
    )


def _partition(
    shape: tuple[int, ...], view: tuple[int, ...], subset: str | int | None
) -> tuple[Literal["each", "rows", "columns", "blocks"], int]:
    size = math.prod(shape)
    if subset is None or size == 0:
        return "each", 1
    if subset == "tensor":
        return "blocks", size
    if isinstance(subset, int):
        block = subset if subset > 0 else math.isqrt(size) // -subset
        return "blocks", min(max(block, 1), size)
    if not view:
        return "each", 1
    return ("rows", view[-1]) if view[-2] >= view[-1] else ("columns", view[-2])


def _momentum(
    view: tuple[int, ...], options: Mapping[str, Any]
) -> tuple[Literal["ema", "dense", "select"] | None, int]:
    if options["momentum"] != "subspace":
        return options["momentum"], 0
    rank = options["rank"]
    if not view or rank is None:
        return "ema", 0
    dense = options["projection"] in DENSE
    # A subspace that is the whole space is ordinary momentum: nothing to store or refresh.
    if rank >= (min(view[-2:]) if dense else max(view[-2:])):
        return "ema", 0
    return ("dense" if dense else "select"), rank
