"""A nested state as JSON plus named tensors, and back, bit for bit."""

import math
import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from septet._core.errors import CheckpointError
from septet.training._tensors import DTYPE_NAMES

State: TypeAlias = Any
"""Nested dicts, lists and tuples of tensors, arrays, strings, numbers, booleans and None."""


def pack(state: State) -> tuple[Any, dict[str, Tensor]]:
    """Separate a nested state into a JSON value and the tensors that it refers to by name.

    JSON's own values stand for themselves. Everything else is an object with one key, its kind:
    ``{"tensor": name}``, ``{"complex": name}`` (stored as pairs of reals), ``{"array": name}``
    (numpy), ``{"dict": [[key, value], ...]}`` (keys may be integers), ``{"tuple": [...]}`` and
    ``{"float": bits}`` for NaN and the infinities.

    Parameters
    ----------
    state : nested dict, list, tuple
        Such as any ``state_dict()``: keys are strings or integers, leaves are tensors of any dtype
        that safetensors knows (or complex), numpy arrays, strings, numbers, booleans and None.

    Returns
    -------
    tree : JSON value
        The structure and the scalars.
    tensors : dict of str to Tensor
        On the CPU, detached. CPU tensors are not copied: pack, write, then go on.

    Raises
    ------
    TypeError
        If a leaf is of another type; the message names where it is.

    Examples
    --------
    >>> tree, tensors = pack({"lr": 0.1, "m": torch.ones(2)})
    >>> tree
    {'dict': [['lr', 0.1], ['m', {'tensor': 'm'}]]}
    >>> unpack(tree, tensors)["m"]
    tensor([1., 1.])
    """
    tensors: dict[str, Tensor] = {}
    return _pack(state, "", tensors), tensors


def unpack(tree: Any, tensors: Mapping[str, Tensor]) -> State:
    """Rebuild the state that `pack` took apart.

    Raises
    ------
    CheckpointError
        If the JSON value is none that `pack` makes.
    """
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    if isinstance(tree, list):
        return [unpack(item, tensors) for item in tree]
    try:
        ((kind, value),) = tree.items()
        return _REBUILD[kind](value, tensors)
    except (
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        raise CheckpointError(f"the state holds something unknown: {tree!r:.80}.") from error


def tensor_names(tree: Any) -> set[str]:
    """Return the names of all tensors that a packed state refers to.

    Raises
    ------
    CheckpointError
        If a name stands twice.
    """
    names: set[str] = set()
    open_values = [tree]
    while open_values:
        value = open_values.pop()
        if isinstance(value, list):
            open_values.extend(value)
        elif isinstance(value, dict):
            for kind, inner in value.items():
                if kind in ("tensor", "complex", "array") and isinstance(inner, str):
                    if inner in names:
                        raise CheckpointError(f"the state refers to tensor {inner!r} twice.")
                    names.add(inner)
                else:
                    open_values.append(inner)
    return names


def _pack(value: State, where: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        number = float(value)
        return number if math.isfinite(number) else {"float": struct.pack(">d", number).hex()}
    if isinstance(value, Mapping):
        return {"dict": [_pack_item(key, item, where, tensors) for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_pack(item, _join(where, i), tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, np.ndarray):
        try:
            # Torch shares memory that is in order, in the machine's byte order and not read-only.
            array = np.require(value, value.dtype.newbyteorder("="), ["C", "W"])
            tensor = torch.from_numpy(array).reshape(value.shape)
        except TypeError:
            raise TypeError(f"{where or 'state'} has dtype {value.dtype}; not storable.") from None
        return {"array": _add(tensor, where, tensors)}
    if isinstance(value, Tensor):
        return _pack_tensor(value, where, tensors)
    raise TypeError(
        f"{where or 'state'} is of type {type(value).__name__}; a checkpoint holds dicts, lists, "
        "tuples, tensors, arrays, strings, numbers, booleans and None."
    )


def _pack_item(key: object, item: State, where: str, tensors: dict[str, Tensor]) -> list[Any]:
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise TypeError(f"{where or 'state'} has the key {key!r}; keys are strings or integers.")
    return [key, _pack(item, _join(where, key), tensors)]


def _pack_tensor(value: Tensor, where: str, tensors: dict[str, Tensor]) -> dict[str, str]:
    if type(value) not in (Tensor, torch.nn.Parameter) or value.layout != torch.strided:
        raise TypeError(
            f"{where or 'state'} is a {type(value).__name__} with layout {value.layout}; a "
            "checkpoint holds plain dense tensors (gather sharded ones first, see "
            "torch.distributed.checkpoint.state_dict)."
        )
    plain = value.detach().cpu().resolve_conj().resolve_neg()
    if plain.is_complex():
        return {"complex": _add(torch.view_as_real(plain), where, tensors)}
    return {"tensor": _add(plain, where, tensors)}


def _add(tensor: Tensor, where: str, tensors: dict[str, Tensor]) -> str:
    if tensor.dtype not in DTYPE_NAMES:
        raise TypeError(f"{where or 'state'} has dtype {tensor.dtype}; not storable.")
    name = base = where or "state"
    repeat = 1
    while name in tensors or name == "__metadata__":  # reserved by the file format
        repeat += 1
        name = f"{base}#{repeat}"
    tensors[name] = tensor
    return name


def _join(where: str, key: int | str) -> str:
    return f"{where}/{key}" if where else str(key)


def _rebuild_dict(pairs: list[Any], tensors: Mapping[str, Tensor]) -> dict[Any, Any]:
    table = {key: unpack(item, tensors) for key, item in pairs}
    if len(table) < len(pairs) or not all(type(key) in (int, str) for key in table):
        raise ValueError("keys")
    return table


_REBUILD = {
    "tensor": lambda name, tensors: tensors[name],
    "complex": lambda name, tensors: torch.view_as_complex(tensors[name]),
    "array": lambda name, tensors: tensors[name].numpy(),
    "float": lambda bits, _: struct.unpack(">d", bytes.fromhex(bits))[0],
    "tuple": lambda items, tensors: tuple(unpack(items, tensors)),
    "dict": _rebuild_dict,
}
