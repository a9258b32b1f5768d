"""The shapes of a model, from a name, a module, a configuration or the headers of a checkpoint."""

import json
import os
import re
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from septet._core import checks
from septet._core.errors import DataError, SeptetWarning
from septet._core.files import PathLike
from septet.optim._groups import param_groups

Shape = tuple[int, ...]

# hidden, feed-forward, layers, rank; vocabulary 32000, head and embedding apart
LLAMA = {
    "llama-60m": (512, 1376, 8, 128),
    "llama-130m": (768, 2048, 12, 256),
    "llama-350m": (1024, 2736, 24, 256),
    "llama-1b": (2048, 5461, 24, 512),
    "llama-3b": (2560, 6848, 32, 640),
    "llama-7b": (4096, 11008, 32, 1024),
}
_VOCABULARY = 32_000
_LARGEST_HEADER = 100 << 20
_EMBEDDING = re.compile(r"embed|wte|wpe|position|(^|\.)tok", re.IGNORECASE)


@dataclass(frozen=True)
class Shapes:
    """Shapes of a model's trainable tensors: weights of linear maps, and the rest."""

    name: str
    linear: tuple[Shape, ...]
    dense: tuple[Shape, ...]
    rank: int

    @property
    def elements(self) -> int:
        """Number of parameters."""
        return self.total(lambda shape, _: torch.Size(shape).numel())

    @property
    def tensors(self) -> int:
        """Number of tensors."""
        return len(self.linear) + len(self.dense)

    def total(self, count: Callable[[Shape, bool], int]) -> int:
        """Sum `count(shape, is_linear)` over all tensors."""
        return sum(count(s, True) for s in self.linear) + sum(count(s, False) for s in self.dense)


def model_shapes(model: nn.Module | Mapping[str, Shape] | PathLike | Any) -> Shapes:
    """Return the shapes of whatever describes a model.

    Raises
    ------
    ValueError
        If a name is unknown.
    TypeError
        If it is nothing that has shapes.
    DataError
        If a file is no readable safetensors file.
    """
    if isinstance(model, nn.Module):
        return _of_module(model)
    if isinstance(model, Mapping):
        return _of_names("model", {name: tuple(shape) for name, shape in model.items()})
    if isinstance(model, str) and (model in LLAMA or _is_no_path(model)):
        d, f, layers, rank = LLAMA[checks.choice("model", model, LLAMA)]
        return _llama(model, d, f, layers, _VOCABULARY, rank=rank)
    if isinstance(model, str | os.PathLike):
        return _of_names(Path(model).name, _checkpoint(Path(model)))
    if hasattr(model, "hidden_size") and hasattr(model, "num_hidden_layers"):
        return _of_config(model)
    raise TypeError(
        "model must be a name, a module, a mapping of names to shapes, a safetensors file or "
        f"folder, or a configuration with hidden_size; got {type(model).__name__}."
    )


def _is_no_path(name: str) -> bool:
    path = Path(name)
    return path.name == name and not path.suffix and not path.exists()


def _of_module(model: nn.Module) -> Shapes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeptetWarning)  # about ties, which change no count
        groups = param_groups(model, 0.0)
    lists: dict[bool, list[Shape]] = {True: [], False: []}
    for group in groups:
        lists["subset" not in group] += [tuple(p.shape) for _, p in group["params"]]
    return _shapes(type(model).__name__, lists[True], lists[False])


def _of_names(name: str, tensors: Mapping[str, Shape]) -> Shapes:
    """Take every matrix whose name is not that of an embedding for a linear map."""
    linear = [s for n, s in tensors.items() if len(s) == 2 and not _EMBEDDING.search(n)]
    dense = [s for n, s in tensors.items() if len(s) != 2 or _EMBEDDING.search(n)]
    return _shapes(name, linear, dense)


def _of_config(config: Any) -> Shapes:
    d, f = config.hidden_size, config.intermediate_size
    heads = getattr(config, "num_attention_heads", 1)
    groups = getattr(config, "num_key_value_heads", None) or heads
    return _llama(
        getattr(config, "model_type", "model"),
        d,
        f,
        config.num_hidden_layers,
        config.vocab_size,
        keys=d * groups // heads,
        tied=getattr(config, "tie_word_embeddings", False),
    )


def _llama(
    name: str,
    d: int,
    f: int,
    layers: int,
    vocabulary: int,
    *,
    keys: int | None = None,
    tied: bool = False,
    rank: int | None = None,
) -> Shapes:
    keys = d if keys is None else keys
    attention: list[Shape] = [(d, d), (keys, d), (keys, d), (d, d)]
    forward: list[Shape] = [(f, d), (f, d), (d, f)]
    dense: list[Shape] = [(vocabulary, d), *[(d,)] * (2 * layers + 1)]
    linear: list[Shape] = (attention + forward) * layers
    if not tied:
        linear.append((vocabulary, d))
    return _shapes(name, linear, dense, rank)


def _shapes(
    name: str, linear: Sequence[Shape], dense: Sequence[Shape], rank: int | None = None
) -> Shapes:
    if rank is None:
        sides = Counter(min(shape) for shape in linear if min(shape) > 0)
        rank = max(1, sides.most_common(1)[0][0] // 4) if sides else 1
    return Shapes(name, tuple(linear), tuple(dense), rank)


def _checkpoint(path: Path) -> dict[str, Shape]:
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no .safetensors file.")
    tensors: dict[str, Shape] = {}
    for file in files:
        tensors |= _header(file)
    return tensors


def _header(path: Path) -> dict[str, Shape]:
    """Read names and shapes only: eight bytes of length, then JSON."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LARGEST_HEADER:
                raise ValueError("its header is too long")
            entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        if not all(type(n) is int and n >= 0 for shape in shapes.values() for n in shape):
            raise ValueError("a shape is not made of whole numbers")
    except (
        struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError,
    ) as error:  # fmt: skip
        raise DataError(f"{path} is no safetensors file: {error}.") from None
    return shapes
