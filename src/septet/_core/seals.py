"""Digests inside files, by which any damage shows before a number is used."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

_ENTRY = "sha256"


def content_digest(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of a text and of named arrays: their names, dtypes, shapes and bits.

    Examples
    --------
    >>> import numpy as np
    >>> one, other = ({"w": np.arange(3)}, {"w": np.arange(3.0)})
    >>> content_digest("", one) == content_digest("", other)
    False
    """
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name} {array.dtype} {array.shape}\0".encode() + array.tobytes())
    return digest.hexdigest()


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with an entry ``sha256``: the digest of all its others.

    It covers values, not how they are written: white space and the order of keys may change.

    Raises
    ------
    ValueError
        If `value` has such an entry already, or holds NaN or an infinity.

    Examples
    --------
    >>> whole = sealed({"w": [0.5, -0.25]})
    >>> is_sealed(whole), is_sealed(whole | {"w": [0.5, 0.25]}), is_sealed({})
    (True, False, False)
    """
    if _ENTRY in value:
        raise ValueError(f"value must not have an entry {_ENTRY!r}.")
    plain = json.loads(json.dumps(value, allow_nan=False))  # as it will be read back
    return {_ENTRY: _digest(plain), **plain}


def is_sealed(value: Any) -> bool:
    """Return whether `value` is a JSON object whose ``sha256`` fits its other entries."""
    if not isinstance(value, dict):
        return False
    others = {key: item for key, item in value.items() if key != _ENTRY}
    return value.get(_ENTRY) == _digest(others)


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
