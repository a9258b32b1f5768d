"""Checkpoints: whole or absent, verified before use, nothing in them that could be executed."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from septet._core.errors import CheckpointError
from septet._core.files import PathLike, replacing
from septet.training._packing import State, pack, tensor_names, unpack
from septet.training._tensors import Layout, chunks, layout, read, unique_keys

_SCHEMA = "septet.checkpoint"
_VERSION = 1
_STATE_FILE = "state.json"
_SEAL = b'{"sha256": "'  # then 64 hexadecimal digits: the hash of every byte that follows them


def save_checkpoint(folder: PathLike, state: Mapping[str, State]) -> str:
    """Save a nested state so that the folder always holds one whole checkpoint.

    The tensors go into a safetensors file named after its SHA-256, then ``state.json``, which holds
    everything else and names that hash, takes the place of the old one in a single rename. Killed
    at any moment, the folder holds the previous checkpoint or the new one. The files depend on
    nothing but the state, so equal states give equal files.

    Parameters
    ----------
    folder : path
        Made if absent. Nothing else should write there; other safetensors files in it are removed.
    state : mapping
        Nested dicts, lists and tuples of tensors, arrays, strings, numbers, booleans and None, such
        as ``{"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 7}``.

    Returns
    -------
    str
        The SHA-256 of the checkpoint, 64 hexadecimal digits: equal for equal states only.

    Raises
    ------
    TypeError
        If the state holds anything else; nothing has been written then.

    Examples
    --------
    >>> import tempfile, torch
    >>> folder = tempfile.mkdtemp()
    >>> digest = save_checkpoint(folder, {"w": torch.tensor([1.0, 2.0]), "loss": float("nan")})
    >>> load_checkpoint(folder)
    {'w': tensor([1., 2.]), 'loss': nan}
    """
    folder = Path(folder)
    tree, tensors = pack(dict(state))
    size, data_digest = _measure(tensors)
    body = {
        "schema": _SCHEMA,
        "version": _VERSION,
        "tensors": {"bytes": size, "sha256": data_digest},
        "state": tree,
    }
    text = b'",\n' + json.dumps(body, indent=1, allow_nan=False).encode()[2:] + b"\n"
    digest = hashlib.sha256(text).hexdigest()

    folder.mkdir(parents=True, exist_ok=True)
    data_file = folder / _data_name(data_digest)
    with replacing(data_file) as file:
        for chunk in chunks(tensors):
            file.write(chunk)
    _flush_folder(folder)
    with replacing(folder / _STATE_FILE) as file:
        file.write(_SEAL + digest.encode() + text)
    _flush_folder(folder)
    for left in [*folder.glob("*.safetensors"), *folder.glob(".*.part")]:
        if left != data_file:  # of the previous checkpoint, or of a writer that was killed
            left.unlink(missing_ok=True)
    return digest


def load_checkpoint(
    folder: PathLike, *, like: Mapping[str, State] | None = None
) -> dict[str, State]:
    """Load the state that `save_checkpoint` saved, bit for bit, with its tensors on the CPU.

    Size, header, names, shapes and dtypes are checked before any data is read, and hashes cover
    every byte, so a damaged checkpoint gives an error, never other numbers.

    Parameters
    ----------
    folder : path
        Where `save_checkpoint` wrote.
    like : mapping, optional
        States whose tensors the checkpoint must hold under the same key with the same names, dtypes
        and shapes, such as ``{"model": model.state_dict()}``.

    Returns
    -------
    dict
        The state.

    Raises
    ------
    CheckpointError
        If there is no checkpoint, it is damaged, of a newer version, or unlike `like`.
    """
    folder = Path(folder)
    body = _read_state(folder)
    entry = body["tensors"]
    data_file = folder / _data_name(entry["sha256"])
    names = tensor_names(body["state"])
    try:
        with data_file.open("rb") as file:
            if (size := os.fstat(file.fileno()).st_size) != entry["bytes"]:
                raise CheckpointError(f"it has {size} bytes instead of {entry['bytes']}.")
            tensors, digest = read(file, names, _expected(like or {}, names))
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: {data_file.name} is missing.") from None
    except CheckpointError as error:
        raise CheckpointError(f"{data_file}: {error}") from None
    if digest != entry["sha256"]:
        raise CheckpointError(f"{data_file} is damaged: its SHA-256 is not the recorded one.")
    state = unpack(body["state"], tensors)
    if not isinstance(state, dict):
        raise CheckpointError(f"{folder / _STATE_FILE} holds no state.")
    return state


def checkpoint_digest(folder: PathLike) -> str:
    """Return the SHA-256 that `save_checkpoint` returned: equal for equal states only.

    Raises
    ------
    CheckpointError
        If there is no checkpoint or its ``state.json`` is damaged.
    """
    return _read_state(Path(folder))["digest"]


def has_checkpoint(folder: PathLike) -> bool:
    """Return whether a checkpoint, sound or damaged, lies in `folder`."""
    return (Path(folder) / _STATE_FILE).exists()


def _read_state(folder: Path) -> dict[str, Any]:
    """Return the verified content of ``state.json`` and, as ``digest``, its hash."""
    path = folder / _STATE_FILE
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"there is no checkpoint in {folder}.") from None
    digest, text = raw[len(_SEAL) : len(_SEAL) + 64], raw[len(_SEAL) + 64 :]
    if raw[: len(_SEAL)] != _SEAL or hashlib.sha256(text).hexdigest().encode() != digest:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the recorded one.")
    try:
        body = json.loads(raw, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from None
    version = body.get("version")
    if body.get("schema") != _SCHEMA or type(version) is not int:
        raise CheckpointError(f"{path} is no checkpoint of this library.")
    if version > _VERSION:
        raise CheckpointError(
            f"{path} has version {version}; this installation reads up to version {_VERSION}. "
            "Upgrade septet to load it."
        )
    if set(body) != {"sha256", "schema", "version", "tensors", "state"} or not _is_entry(
        body["tensors"]
    ):
        raise CheckpointError(f"{path} lacks an entry or has an unknown one.")
    return {**body, "digest": digest.decode()}


def _is_entry(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"bytes", "sha256"}
        and isinstance(value["sha256"], str)
        and len(value["sha256"]) == 64
        and set(value["sha256"]) <= set("0123456789abcdef")
    )


def _expected(like: Mapping[str, State], names: set[str]) -> Layout:
    """Return how the tensors of `like` look; the checkpoint must have the same ones."""
    tensors = pack(dict(like))[1]
    for key in like:
        here = {name for name in names if name == key or name.startswith(f"{key}/")}
        wanted = {name for name in tensors if name == key or name.startswith(f"{key}/")}
        for words, odd in (("lacks", wanted - here), ("holds the unknown", here - wanted)):
            if odd:
                raise CheckpointError(f"the checkpoint {words} tensor {min(odd)!r}.")
    return layout(tensors)


def _measure(tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    for chunk in chunks(tensors):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def _data_name(digest: str) -> str:
    return f"{digest[:16]}.safetensors"


def _flush_folder(folder: Path) -> None:
    """Make renames in `folder` last through a power failure; Windows has no such call."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
