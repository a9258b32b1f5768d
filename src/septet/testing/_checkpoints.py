"""Promises of checkpoints, checked on any state or folder."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from septet._core.errors import CheckpointError
from septet._core.files import PathLike
from septet.training import State, load_checkpoint, pack, save_checkpoint


def assert_same_state(actual: State, expected: State) -> None:
    """Fail unless two nested states are equal bit for bit: structure, dtypes, NaN payloads.

    The order of a dict's keys does not count.

    Raises
    ------
    AssertionError
        Naming the first difference.
    """
    actual_tree, actual_tensors = pack(actual)
    expected_tree, expected_tensors = pack(expected)
    if actual_tensors.keys() != expected_tensors.keys():
        odd = min(actual_tensors.keys() ^ expected_tensors.keys())
        raise AssertionError(f"only one of the states holds tensor {odd!r}.")
    for name, value in expected_tensors.items():
        other = actual_tensors[name]
        if (other.dtype, other.shape) != (value.dtype, value.shape):
            raise AssertionError(
                f"{name} is {other.dtype} {tuple(other.shape)}; "
                f"expected {value.dtype} {tuple(value.shape)}."
            )
        if not torch.equal(_bits(other), _bits(value)):
            raise AssertionError(f"{name} differs: {other} instead of {value}.")
    if _ordered(actual_tree) != _ordered(expected_tree):
        raise AssertionError(f"scalars differ: {actual_tree} instead of {expected_tree}.")


def assert_round_trip(state: dict[str, State], folder: PathLike) -> None:
    """Fail unless a state comes back from a checkpoint bit for bit."""
    save_checkpoint(folder, state)
    assert_same_state(load_checkpoint(folder), state)


def assert_damage_is_caught(
    folder: PathLike,
    *,
    load: Callable[[Path], dict[str, State]] = load_checkpoint,
    error: type[Exception] | tuple[type[Exception], ...] = CheckpointError,
    n: int = 300,
    seed: int = 0,
) -> None:
    """Fail if a damaged copy of a checkpoint loads as another state or raises a foreign error.

    Each trial flips a bit or byte, cuts, inserts, appends, swaps or zeroes a piece of one file,
    changes a letter or digit near its beginning, or removes it.

    Parameters
    ----------
    folder : path
        Holds a sound checkpoint and nothing else; it is not changed.
    load : callable, optional
        Takes such a folder and returns what it holds; `load_checkpoint` by default. With it any
        other format can be tried.
    error : type of Exception or tuple of them, default CheckpointError
        What `load` may raise for a damaged checkpoint.
    n : int, default 300
        Number of damaged copies.
    seed : int, default 0
        Of the damages.

    Raises
    ------
    AssertionError
        With the trial's number and the damage.
    """
    state = load(Path(folder))
    rng = random.Random(seed)  # noqa: S311 - no secret
    files = {file.name: file.read_bytes() for file in Path(folder).iterdir()}
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / "checkpoint"
        for trial in range(n):
            name, damage = rng.choice(sorted(files)), rng.choice(_DAMAGES)
            shutil.rmtree(copy, ignore_errors=True)
            copy.mkdir()
            for each, content in files.items():
                (copy / each).write_bytes(content)
            damaged = damage(bytearray(files[name]), rng)
            (copy / name).unlink() if damaged is None else (copy / name).write_bytes(damaged)
            what = f"trial {trial}, {damage.__name__.strip('_')} in {name}"
            try:
                loaded = load(copy)
            except error:
                continue
            except Exception as foreign:
                raise AssertionError(f"{what} gave {foreign!r}.") from foreign
            try:
                assert_same_state(loaded, state)
            except AssertionError as difference:
                raise AssertionError(f"{what} went unnoticed: {difference}") from None


def _ordered(tree: Any) -> Any:
    """Return a packed state with the pairs of every dict sorted by key."""
    if isinstance(tree, list):
        return [_ordered(item) for item in tree]
    if isinstance(tree, dict):
        ((kind, value),) = tree.items()
        pairs = sorted(value, key=repr) if kind == "dict" else value
        return {kind: _ordered(pairs)}
    return tree


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _flip_bit(data: bytearray, rng: random.Random) -> bytearray:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def _replace_byte(data: bytearray, rng: random.Random) -> bytearray:
    data[rng.randrange(len(data))] = rng.randrange(256)
    return data


def _cut(data: bytearray, rng: random.Random) -> bytearray:
    return data[: rng.randrange(len(data))]


def _append(data: bytearray, rng: random.Random) -> bytearray:
    return data + rng.randbytes(rng.randint(1, 9))


def _insert(data: bytearray, rng: random.Random) -> bytearray:
    place = rng.randrange(len(data))
    return data[:place] + rng.randbytes(rng.randint(1, 9)) + data[place:]


def _swap(data: bytearray, rng: random.Random) -> bytearray:
    i, j = rng.randrange(len(data)), rng.randrange(len(data))
    data[i], data[j] = data[j], data[i]
    return data


def _zero(data: bytearray, rng: random.Random) -> bytearray:
    place = rng.randrange(len(data))
    length = min(rng.randint(1, 64), len(data) - place)
    data[place : place + length] = bytes(length)
    return data


def _edit(data: bytearray, rng: random.Random) -> bytearray:
    """Change one letter or digit of a header, which leaves the format as it was."""
    places = [i for i in range(min(len(data), 2048)) if chr(data[i]).isalnum() and data[i] < 128]
    if places:
        data[rng.choice(places)] = rng.choice(b"0123456789abcdefxyzABEFX")
    return data


def _remove(data: bytearray, rng: random.Random) -> None:
    return None


_DAMAGES: tuple[Callable[[bytearray, random.Random], bytearray | None], ...] = (
    *(_flip_bit, _replace_byte, _cut, _append, _insert, _swap, _zero, _edit, _remove),
)
