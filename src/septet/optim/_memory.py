"""Exact bytes: what an optimizer holds, and what each one would hold for a given model."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from septet._core import checks
from septet._core.files import PathLike
from septet.optim._base import state_dtype
from septet.optim._engine import LeanOptimizer
from septet.optim._galore import galore_shapes
from septet.optim._rule import rule_for
from septet.optim._shapes import Shapes, model_shapes

_STEP = 4  # torch's own optimizers keep a float32 step count for each tensor
_BLOCK, _QUANTIZED_FROM = 256, 4096  # 8-bit states: numbers to a scale, smallest tensor


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of all tensors in an optimizer's state.

    Each storage counts once, in full; of a sharded tensor this process's part counts. Works for
    any torch optimizer. Most build their state at the first step.

    Examples
    --------
    >>> import torch
    >>> from septet.optim import AdamSN, state_bytes
    >>> weight = torch.nn.Parameter(torch.zeros(64, 16))
    >>> optimizer = AdamSN([weight])
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> state_bytes(optimizer) == 4 * (64 * 16 + 64)
    True
    """
    storages = {}
    for tensor in _tensors(dict(optimizer.state)):
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        storage = local.untyped_storage()
        storages[storage.device, storage.data_ptr(), storage.nbytes()] = storage.nbytes()
    return sum(storages.values())


def scratch_bytes(optimizer: LeanOptimizer) -> int:
    """Return the bytes of the buffers that an optimizer keeps between steps beside its state.

    The compiled CPU path keeps a float32 number for each subset (one for each thread where
    columns are the subsets) and, for dense projections, one matrix as large as the largest
    momentum. The plain path keeps nothing; it allocates a few tensors of the weight's size.
    """
    return optimizer.kept_scratch_bytes


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


@dataclass(frozen=True)
class PlanRow:
    """What one optimizer keeps for a model.

    Attributes
    ----------
    optimizer : str
    elements : int
        Numbers kept, the way papers count them: step counts and scales left out.
    state_bytes : int
        Bytes that the implementation holds: float32 second moments and bases of half-precision
        weights, int32 indices, step counts and all.
    paper_bytes : int
        `elements` times the bytes of a weight.
    share_of_adam : float
        `elements` over those of Adam.
    note : str
    """

    optimizer: str
    elements: int
    state_bytes: int
    paper_bytes: int
    share_of_adam: float
    note: str = ""


@dataclass(frozen=True)
class MemoryPlan:
    """Optimizer memory for one model.

    Attributes
    ----------
    model : str
    parameters : int
    compressed : int
        Parameters in weights of linear maps, which the lean optimizers compress.
    dtype : str
        Dtype of the weights.
    rank : int
    weight_bytes : int
        Bytes of the weights; gradients take as many again.
    rows : tuple of PlanRow
        One for each optimizer.
    """

    model: str
    parameters: int
    compressed: int
    dtype: str
    rank: int
    weight_bytes: int
    rows: tuple[PlanRow, ...]

    def row(self, optimizer: str) -> PlanRow:
        """Return the row of an optimizer.

        Raises
        ------
        ValueError
            If there is none of that name.
        """
        names = [row.optimizer for row in self.rows]
        return self.rows[names.index(checks.choice("optimizer", optimizer, names))]


def plan(
    model: nn.Module | Mapping[str, tuple[int, ...]] | PathLike | Any,
    *,
    rank: int | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16",
) -> MemoryPlan:
    """Count what each optimizer would keep for a model, without building anything.

    Parameters
    ----------
    model : str, path, torch.nn.Module, mapping or config
        A name such as ``"llama-1b"`` (60m, 130m, 350m, 1b, 3b, 7b), a ``.safetensors`` file or a
        folder of them (only headers are read), a module, a mapping of names to shapes, or a
        Hugging Face configuration of a LLaMA-like model.
    rank : int, optional
        Rank of projections, and number of selected rows or columns. By default the paper's rank
        for a LLaMA name, else a quarter of the most frequent smaller side.
    dtype : {"float32", "bfloat16", "float16"}, default "bfloat16"
        Dtype of the weights.

    Returns
    -------
    MemoryPlan

    Raises
    ------
    ValueError, DataError
        If the model is unknown or a file is damaged.

    Examples
    --------
    >>> from septet.optim import plan
    >>> sizes = plan("llama-1b")
    >>> sizes.row("AdamW").elements / 2 == sizes.parameters
    True
    >>> round(sizes.row("AdamSNSM srht").share_of_adam, 3)
    0.168
    """
    checks.choice("dtype", dtype, ("float32", "bfloat16", "float16"))
    shapes = model_shapes(model)
    chosen = shapes.rank if rank is None else checks.integer("rank", rank, low=1)
    weights = getattr(torch, dtype)
    counted = {name: count(shapes, weights, chosen) for name, (count, _) in _OPTIMIZERS.items()}
    adam = counted["AdamW"][0]
    rows = tuple(
        PlanRow(name, elements, held, elements * weights.itemsize, elements / adam, note)
        for (name, (elements, held)), (_, note) in zip(
            counted.items(), _OPTIMIZERS.values(), strict=True
        )
    )
    return MemoryPlan(
        model=shapes.name,
        parameters=shapes.elements,
        compressed=sum(torch.Size(s).numel() for s in shapes.linear),
        dtype=dtype,
        rank=chosen,
        weight_bytes=shapes.elements * weights.itemsize,
        rows=rows,
    )


Count: TypeAlias = Callable[[Shapes, torch.dtype, int], tuple[int, int]]


def _lean(*, basis: bool = True, **options: Any) -> Count:
    """Count the state of the engine from the very layouts that it allocates."""
    common = {"reduction": "sum", "amsgrad": False, "compat": None, "subset": "matrix"}

    def count(shapes: Shapes, dtype: torch.dtype, rank: int) -> tuple[int, int]:
        elements = held = 0
        for group, extra in ((shapes.linear, {}), (shapes.dense, {"subset": None, "rank": None})):
            for shape in group:
                rule = rule_for(shape, {**common, "rank": rank, **options, **extra})
                for name, (size, kind) in rule.state_layout(dtype).items():
                    if basis or name != "basis":
                        elements += torch.Size(size).numel()
                        held += torch.Size(size).numel() * kind.itemsize
        return elements, held

    return count


def _per_tensor(elements: Callable[[tuple[int, ...], bool], int]) -> Count:
    """Count for one of torch's optimizers, whose state has the dtype of the weight."""

    def count(shapes: Shapes, dtype: torch.dtype, _rank: int) -> tuple[int, int]:
        total = shapes.total(elements)
        return total, total * dtype.itemsize + _STEP * shapes.tensors

    return count


def _sgd(shapes: Shapes, dtype: torch.dtype, _rank: int) -> tuple[int, int]:
    return shapes.elements, shapes.elements * dtype.itemsize


def _adafactor(shape: tuple[int, ...], _linear: bool) -> int:
    size = torch.Size(shape).numel()
    return size // shape[-1] + size // shape[-2] if len(shape) > 1 and size else size


def _adamw_8bit(shapes: Shapes, _dtype: torch.dtype, _rank: int) -> tuple[int, int]:
    def held(shape: tuple[int, ...], _linear: bool) -> int:
        size = torch.Size(shape).numel()
        return 2 * (size + 4 * -(-size // _BLOCK)) if size >= _QUANTIZED_FROM else 8 * size

    return 2 * shapes.elements, shapes.total(held)


def _muon(shapes: Shapes, dtype: torch.dtype, _rank: int) -> tuple[int, int]:
    linear = sum(torch.Size(s).numel() for s in shapes.linear)
    dense = shapes.elements - linear
    total = linear + 2 * dense
    return total, total * dtype.itemsize + _STEP * len(shapes.dense)


def _galore(shapes: Shapes, dtype: torch.dtype, rank: int) -> tuple[int, int]:
    def elements(shape: tuple[int, ...], linear: bool) -> int:
        kept = galore_shapes(shape, rank if linear else None)
        return sum(torch.Size(s).numel() for s in kept.values())

    total = shapes.total(elements)
    return total, total * state_dtype(dtype).itemsize


_SM = {"momentum": "subspace", "second_moment": "ema"}
_OPTIMIZERS: dict[str, tuple[Count, str]] = {
    "AdamW": (_per_tensor(lambda shape, _: 2 * torch.Size(shape).numel()), "torch"),
    "AdamW 8-bit": (_adamw_8bit, "formula: one byte a number, a float32 scale for every 256"),
    "SGD with momentum": (_sgd, "torch"),
    "Muon": (_muon, "torch; AdamW on what is not compressed"),
    "Adafactor": (_per_tensor(_adafactor), "torch; no momentum"),
    "GaLore": (_galore, "stored basis included"),
    "AdamSN": (_lean(momentum="ema", second_moment="ema", projection="svd"), ""),
    "RMSpropSN": (_lean(momentum=None, second_moment="ema", projection="svd"), ""),
    "AdamSNSM svd": (_lean(**_SM, projection="svd"), "stored basis included"),
    "AdamSNSM svd, moments only": (
        _lean(**_SM, projection="svd", basis=False), "as published; the basis is kept all the same",
    ),
    "AdamSNSM srht": (_lean(**_SM, projection="srht"), "basis drawn from its seed, not stored"),
    "AdamSNSM topk": (_lean(**_SM, projection="topk"), "rows or columns; indices included"),
}  # fmt: skip
