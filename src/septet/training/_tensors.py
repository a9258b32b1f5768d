"""Named tensors in one safetensors file: streamed out, and read back only after strict checks.

The file is an ordinary safetensors file that any reader opens. It is written and read here rather
than through the package of that name because a checkpoint must not need a second copy of itself in
memory, and because duplicates, gaps and trailing bytes must be refused before any data is read.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from io import BufferedReader
from typing import Any

import torch
from torch import Tensor

from septet._core.errors import CheckpointError

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "U16": torch.uint16,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "F32": torch.float32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
}
DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

Layout = dict[str, tuple[torch.dtype, tuple[int, ...]]]
"""Name of each tensor -> its dtype and shape, in the order of the file."""

_HEADER_LIMIT = 100_000_000  # bytes, as in the safetensors format


def layout(tensors: Mapping[str, Tensor]) -> Layout:
    """Return dtype and shape of each tensor in file order: widest elements first, then by name."""
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    return {name: (tensors[name].dtype, tuple(tensors[name].shape)) for name in names}


def chunks(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    """Yield the bytes of the safetensors file that holds `tensors`, one tensor at a time."""
    order = layout(tensors)
    header: dict[str, Any] = {}
    end = 0
    for name, (dtype, shape) in order.items():
        begin, end = end, end + _n_bytes(dtype, shape)
        header[name] = {
            "dtype": DTYPE_NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # keeps every element aligned
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for name in order:
        yield _bytes_of(tensors[name].contiguous())


def read(file: BufferedReader, names: set[str], like: Layout) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a safetensors file and the file's SHA-256.

    Parameters
    ----------
    file : BufferedReader
        Positioned at its beginning.
    names : set of str
        The tensors that must be in the file; no others may be.
    like : Layout
        Those of them whose dtype and shape are known beforehand.

    Raises
    ------
    CheckpointError
        If the header is not exactly what it should be; no data has been read then. The caller
        still has to compare the hash.
    """
    size = os.fstat(file.fileno()).st_size
    start, found = _read_header(file, size)
    _check_names(found, names)
    for name, expected in like.items():
        if found[name] != expected:
            raise CheckpointError(
                f"tensor {name!r} is {_words(found[name])} in the checkpoint and "
                f"{_words(expected)} in what it is loaded into."
            )
    digest = hashlib.sha256(start)
    tensors = {}
    for name, (dtype, shape) in found.items():
        tensor = torch.empty(shape, dtype=dtype)
        view = _bytes_of(tensor)
        if file.readinto(view) != len(view):
            raise CheckpointError(f"the data of tensor {name!r} is cut short.")
        digest.update(view)
        tensors[name] = tensor
    return tensors, digest.hexdigest()


def _read_header(file: BufferedReader, size: int) -> tuple[bytes, Layout]:
    """Return the header's bytes and the layout it describes, which must fill `size` exactly."""
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > min(_HEADER_LIMIT, size - 8):
        raise CheckpointError("the tensor file is shorter than its header says.")
    text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the tensor file's header is damaged: {error}.") from None
    if not isinstance(header, dict):
        raise CheckpointError("the tensor file's header is no table of tensors.")
    found: Layout = {}
    end = 0
    for name, entry in header.items():
        dtype, shape, begin, stop = _entry(name, entry)
        if begin != end or stop - begin != _n_bytes(dtype, shape):
            raise CheckpointError(f"tensor {name!r} does not lie where its shape says.")
        found[name] = dtype, shape
        end = stop
    if 8 + length + end != size:
        raise CheckpointError(
            f"the tensor file has {size} bytes; its header accounts for {8 + length + end}."
        )
    return prefix + text, found


def _entry(name: str, entry: object) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"header entry {name!r} is not that of a tensor.")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    shape, offsets = entry["shape"], entry["data_offsets"]
    if dtype is None or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise CheckpointError(f"header entry {name!r} has no valid dtype, shape or place.")
    if math.prod(max(1, n) for n in shape) >= 2**60:  # also where another extent is zero
        raise CheckpointError(f"header entry {name!r} has an impossible shape.")
    return dtype, tuple(shape), offsets[0], offsets[1]


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _check_names(found: Layout, names: set[str]) -> None:
    for words, odd in (
        ("lacks", names - set(found)),
        ("holds the unknown", set(found) - names),
    ):
        if odd:
            raise CheckpointError(f"the tensor file {words} tensor {min(odd)!r}.")


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, refusing a key that comes twice (for ``object_pairs_hook``)."""
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"duplicate entry {twice!r}")
    return table


def _n_bytes(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * dtype.itemsize


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous CPU tensor, shared."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _words(entry: tuple[torch.dtype, tuple[int, ...]]) -> str:
    return f"{DTYPE_NAMES[entry[0]]} {list(entry[1])}"
