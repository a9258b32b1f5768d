"""The counter-based coin stream: every random decision of a selection can be looked up and redone.

A selection is drawn from one endless sequence of 64-bit words, which is a pure function of a
public seed string and of the 32-byte digest of what is drawn from (the canonical roster, or the
description of a stream). The words are those of Philox 4x64-10 (Salmon et al. 2011). All
integers are little-endian:

* ``key = SHA-256(seed in UTF-8 || digest)``, 32 bytes;
* Philox key ``(k0, k1)`` = bytes 0-7 and 8-15, upper counter words ``(c2, c3)`` = bytes 16-23
  and 24-31;
* word number ``i`` (from 0) is output ``i mod 4`` of the block with the counter
  ``(i div 4 + 1, 0, c2, c3)``.

A uniform integer below ``t`` takes one word ``w`` per attempt: it is accepted if
``w < 2**64 - (2**64 mod t)`` and then is ``w mod t``; a refused word is used up. Beyond
``t = 2**64`` an attempt takes the fewest words whose range holds ``t``, lowest first.
"""

import hashlib
from typing import Self

import numpy as np
from numpy.typing import NDArray

from septet._core import checks

_WORD = 1 << 64
_AHEAD = 256  # words fetched at a time when coins are asked for one by one


def seed_text(seed: str | int) -> str:
    """Return the public seed as the text that is hashed; an integer stands for its digits.

    Raises
    ------
    TypeError
        If `seed` is neither a string nor an integer.
    ValueError
        If `seed` is empty, or holds a lone surrogate, which no UTF-8 text can.
    """
    if not isinstance(seed, str):
        if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer):
            raise TypeError(f"seed must be a string or an integer; got {type(seed).__name__}.")
        return str(int(seed))
    if not seed:
        raise ValueError("seed must not be empty: publish a text that nobody could choose alone.")
    try:
        seed.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"seed must be encodable as UTF-8: {error}.") from None
    return seed


def coin_key(seed: str | int, digest: bytes) -> bytes:
    """Return ``SHA-256(seed in UTF-8 || digest)``, the 32 bytes that fix a coin stream.

    Raises
    ------
    ValueError
        If `digest` is not 32 bytes long.
    """
    if len(digest) != 32:
        raise ValueError(f"digest must be 32 bytes, a SHA-256; got {len(digest)}.")
    return hashlib.sha256(seed_text(seed).encode("utf-8") + digest).digest()


class Coins:
    """Words and fair integers of one coin stream, with the position of the next word.

    Parameters
    ----------
    key : bytes
        The 32 bytes of `coin_key`.
    position : int, default 0
        Number of words already used up.

    Raises
    ------
    ValueError
        If `key` is not 32 bytes long or `position` is negative.

    Notes
    -----
    Kernels take words in blocks: `peek` shows the next ones without using them up, and `advance`
    says afterwards how many were used. Equal positions mean equal futures, on every platform.

    References
    ----------
    J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel Random Numbers: As Easy as
    1, 2, 3. SC 2011.

    Examples
    --------
    >>> coins = Coins.from_seed("lottery of 2024-05-01", bytes(32))
    >>> [coins.below(6) for _ in range(8)], coins.position
    ([1, 5, 0, 0, 0, 4, 3, 0], 8)
    >>> coins.seek(5)
    >>> coins.below(6)
    4
    """

    def __init__(self, key: bytes, position: int = 0) -> None:
        if len(key) != 32:
            raise ValueError(f"key must be 32 bytes, a SHA-256; got {len(key)}.")
        self._key = bytes(key)
        self._words = np.frombuffer(key, dtype="<u8").astype(np.uint64)
        self.seek(position)

    @classmethod
    def from_seed(cls, seed: str | int, digest: bytes) -> Self:
        """Return the coins of a public seed and of the digest of what is drawn from."""
        return cls(coin_key(seed, digest))

    @property
    def key(self) -> bytes:
        """The 32 bytes that fix the stream."""
        return self._key

    @property
    def position(self) -> int:
        """Number of words used up so far."""
        return self._end - (self._buffer.size - self._cursor)

    def seek(self, position: int) -> None:
        """Go to a position, forwards or backwards, in constant time."""
        position = checks.integer("position", position, low=0)
        block, skip = divmod(position, 4)
        limbs = [block % _WORD, block // _WORD, int(self._words[2]), int(self._words[3])]
        # NumPy counts one up before it makes its first block
        self._source = np.random.Philox(
            key=self._words[:2].copy(), counter=np.array(limbs, dtype=np.uint64)
        )
        self._source.random_raw(skip, output=False)
        self._end = position
        self._buffer = np.empty(0, dtype=np.uint64)
        self._cursor = 0

    def peek(self, count: int) -> NDArray[np.uint64]:
        """Return the next `count` words, shape (count,), without using them up."""
        missing = count - (self._buffer.size - self._cursor)
        if missing > 0:
            fresh = np.asarray(self._source.random_raw(missing), dtype=np.uint64)
            rest = self._buffer[self._cursor :]
            self._buffer = np.concatenate([rest, fresh]) if rest.size else fresh
            self._cursor = 0
            self._end += missing
        return self._buffer[self._cursor : self._cursor + count]

    def advance(self, count: int) -> None:
        """Use up `count` words that `peek` has shown (or any others)."""
        count = checks.integer("count", count, low=0)
        if self._cursor + count <= self._buffer.size:
            self._cursor += count
            if self._cursor == self._buffer.size:  # let go of what may be a large block
                self._buffer, self._cursor = self._buffer[:0].copy(), 0
        else:
            self.seek(self.position + count)

    def take(self, count: int) -> NDArray[np.uint64]:
        """Return the next `count` words, shape (count,), and use them up."""
        words = self.peek(count)
        self.advance(count)
        return words

    def below(self, bound: int) -> int:
        """Return a uniform integer at least 0 and below `bound`, by rejection.

        Raises
        ------
        ValueError
            If `bound` is not positive.
        """
        if bound < 1:
            raise ValueError(f"bound must be at least 1; got {bound}.")
        words = max(1, -(-(bound - 1).bit_length() // 64))
        span = 1 << 64 * words
        accepted = span - span % bound
        while True:
            value = self._integer(words)
            if value < accepted:
                return value % bound

    def _integer(self, words: int) -> int:
        if self._buffer.size - self._cursor < words:
            self.peek(max(words, _AHEAD))
        start = self._cursor
        self._cursor += words
        if words == 1:
            return int(self._buffer[start])
        return int.from_bytes(self._buffer[start : self._cursor].astype("<u8").tobytes(), "little")
