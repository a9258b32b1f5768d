"""The coin stream once more, from its description alone and with the standard library only.

The verifier runs on this module, which shares no line with the one that draws. `_coins.py`
describes the bytes.
"""

import hashlib
import struct

_MASK = (1 << 64) - 1
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the four 64-bit outputs of Philox 4x64 with ten rounds.

    Examples
    --------
    >>> [f"{word:016x}" for word in philox((0, 0, 0, 0), (0, 0))]
    ['16554d9eca36314c', 'db20fe9d672d0fdc', 'd7e772cee186176b', '7e68b68aec7ba23b']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        left, right = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (right >> 64) ^ c1 ^ k0,
            right & _MASK,
            (left >> 64) ^ c3 ^ k1,
            left & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


class PlainCoins:
    """Words and fair integers of the coin stream of a seed and a 32-byte digest.

    Parameters
    ----------
    seed : str
        The public seed.
    digest : bytes
        SHA-256 of what is drawn from, 32 bytes.

    Attributes
    ----------
    position : int
        Number of words used up; may be set.

    Examples
    --------
    >>> coins = PlainCoins("lottery of 2024-05-01", bytes(32))
    >>> coins.below(6), coins.position
    (1, 1)
    """

    def __init__(self, seed: str, digest: bytes) -> None:
        key = hashlib.sha256(seed.encode("utf-8") + digest).digest()
        self._k0, self._k1, self._c2, self._c3 = struct.unpack("<4Q", key)
        self._block = -1
        self._outputs = (0, 0, 0, 0)
        self.position = 0

    def word(self) -> int:
        """Return the next word and use it up."""
        block, lane = divmod(self.position, 4)
        if block != self._block:
            low = block + 1
            counter = (low & _MASK, low >> 64, self._c2, self._c3)
            self._outputs = philox(counter, (self._k0, self._k1))
            self._block = block
        self.position += 1
        return self._outputs[lane]

    def below(self, bound: int) -> int:
        """Return a uniform integer at least 0 and below `bound`."""
        words = 1
        while 1 << 64 * words < bound:
            words += 1
        span = 1 << 64 * words
        while True:
            value = sum(self.word() << 64 * lane for lane in range(words))
            if value < span - span % bound:
                return value % bound
