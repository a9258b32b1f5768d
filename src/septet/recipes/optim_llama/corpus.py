"""A text as windows of symbols: training and validation come from different blocks of it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from septet import data
from septet._core.errors import DataError
from septet.training import SampleOrder

# Newline, tab, the 95 printable ASCII characters, and one symbol for every other byte: one
# vocabulary for all texts, so that a model can go on from one text to another.
_KNOWN = b"\n\t" + bytes(range(32, 127))
N_SYMBOLS = len(_KNOWN) + 1
_SYMBOL_OF_BYTE = np.full(256, N_SYMBOLS - 1, np.uint8)
_SYMBOL_OF_BYTE[list(_KNOWN)] = np.arange(len(_KNOWN))

_BLOCK = 65_536  # bytes, or a twentieth of a short text
_HELD_OUT = 20  # every 20th block is for validation


@dataclass(frozen=True)
class Corpus:
    """Symbols of a text and where its windows begin.

    Attributes
    ----------
    symbols : Tensor of shape (n,), uint8
    training, validation : ndarray of int64
        Starts of the windows, which never leave their block and overlap by one symbol.
    context : int
        Symbols predicted in a window; it holds one more.
    """

    symbols: Tensor
    training: np.ndarray
    validation: np.ndarray
    context: int

    def windows(self, starts: np.ndarray) -> Tensor:
        """Return the windows at `starts`, shape ``(len(starts), context + 1)``, int64."""
        places = torch.from_numpy(starts)[:, None] + torch.arange(self.context + 1)
        return self.symbols[places].long()

    def held_out(self, n_windows: int) -> Tensor:
        """Return so many validation windows, spread evenly over the text."""
        chosen = np.linspace(0, len(self.validation) - 1, n_windows).round().astype(np.int64)
        return self.windows(self.validation[chosen])

    def order(self, seed: int) -> SampleOrder:
        """Return the order in which training windows are seen."""
        return SampleOrder(len(self.training), seed=seed)


def cut(text: bytes, context: int) -> Corpus:
    """Cut a text into windows; the last, shorter block is left out if there are others.

    Raises
    ------
    ValueError
        If a twentieth of the text, which is held out, has fewer than eight windows.
    """
    block = min(_BLOCK, len(text) // _HELD_OUT)
    if block < 8 * context:
        raise ValueError(
            f"the text must have at least {_HELD_OUT * 8 * context} bytes; got {len(text)}."
        )
    n_blocks = len(text) // block
    symbols = _SYMBOL_OF_BYTE[np.frombuffer(text, np.uint8)]
    within = np.arange(0, block - context, context)
    blocks = np.arange(n_blocks)
    held_out = blocks % _HELD_OUT == _HELD_OUT - 1
    starts = [(block * blocks[part, None] + within).ravel() for part in (~held_out, held_out)]
    return Corpus(torch.from_numpy(symbols), starts[0], starts[1], context)


@lru_cache(maxsize=2)
def corpus(name: str, context: int) -> Corpus:
    """Read a data set of text, or the file of that name."""
    if name in data.names():
        return cut(data.load(name).data, context)
    if not Path(name).is_file():
        raise DataError(f"{name} is no file; give a text or fetch a data set.")
    return cut(Path(name).read_bytes(), context)
