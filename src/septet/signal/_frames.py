"""Cutting a signal into overlapping frames and adding frames up again."""

from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet._core import checks

Signal = TypeVar("Signal", NDArray[np.floating], Tensor)


def n_frames(n_samples: int, *, hop: int, length: int | None = None, center: bool = True) -> int:
    """Return how many frames a signal of `n_samples` has.

    Centred frames lie around the samples 0, hop, 2 hop ..., so there are ``n_samples // hop + 1``
    whatever their length; frames that are not centred must lie inside the signal.

    Raises
    ------
    ValueError
        If a number is out of range, or `length` is missing although `center` is False.

    Examples
    --------
    >>> n_frames(16000, hop=320), n_frames(16000, hop=320, length=400, center=False)
    (51, 49)
    """
    n_samples = checks.integer("n_samples", n_samples, low=0)
    hop = checks.integer("hop", hop, low=1)
    if center:
        return n_samples // hop + 1
    if length is None:
        raise ValueError("length is needed to count frames that are not centred.")
    length = checks.integer("length", length, low=1)
    return max(0, (n_samples - length) // hop + 1)


def frames(signal: Signal, *, length: int, hop: int) -> Signal:
    """Return the frames that lie inside a signal, as a view on its memory.

    Parameters
    ----------
    signal : ndarray or Tensor of shape (..., n_samples)
        Any dtype. A tensor keeps its autograd history.
    length, hop : int
        Length of a frame and distance between the starts of two frames, in samples.

    Returns
    -------
    ndarray or Tensor of shape (..., n_frames, length)
        A view: frames overlap in memory, so copy before writing to it. The NumPy view is read-only.

    Raises
    ------
    ValueError
        If `length` or `hop` is not positive, or the signal is shorter than one frame.

    Examples
    --------
    >>> frames(torch.arange(5.0), length=3, hop=1).shape
    torch.Size([3, 3])
    """
    length = checks.integer("length", length, low=1)
    hop = checks.integer("hop", hop, low=1)
    if signal.shape[-1] < length:
        raise ValueError(f"a frame has {length} samples, but the signal {signal.shape[-1]}.")
    if isinstance(signal, Tensor):
        return signal.unfold(-1, length, hop)
    view = np.lib.stride_tricks.sliding_window_view(signal, length, axis=-1)
    return cast(Signal, view[..., ::hop, :])


def overlap_add(pieces: Tensor, *, hop: int) -> Tensor:
    """Add frames up at their places: the transpose of :func:`frames`.

    Parameters
    ----------
    pieces : Tensor of shape (..., n_frames, length)
    hop : int
        Distance between the starts of two frames, in samples.

    Returns
    -------
    Tensor of shape (..., (n_frames - 1) * hop + length)

    Raises
    ------
    ValueError
        If `hop` is not positive or `pieces` has fewer than two axes or no frame.

    Examples
    --------
    >>> overlap_add(torch.ones(3, 4), hop=2)
    tensor([1., 1., 2., 2., 2., 2., 1., 1.])
    """
    hop = checks.integer("hop", hop, low=1)
    if pieces.ndim < 2 or pieces.shape[-2] == 0:
        raise ValueError(f"pieces must be (..., n_frames, length); got {tuple(pieces.shape)}.")
    *lead, count, length = pieces.shape
    size = (count - 1) * hop + length
    places = torch.arange(count, device=pieces.device)[:, None] * hop
    places = (places + torch.arange(length, device=pieces.device)).flatten()
    total = pieces.new_zeros((*lead, size))
    return total.index_add(-1, places, pieces.flatten(-2))
