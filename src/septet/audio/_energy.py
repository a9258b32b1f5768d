"""Energy of filtered clips in sliding windows, by overlapping transforms."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from septet._core import checks
from septet.signal import frames

_DECAYS = 40.0  # (b t)^3 exp(-b t) is below 1e-12 of its peak from here on
_MIN_BLOCK = 4096  # shorter transforms waste too much on their overlap
_CHUNK_ELEMENTS = 1 << 17  # of a product that still lies in the processor's cache


class FilteredEnergy(nn.Module):
    """Mean square of a bank of filters' outputs in a window at every hop.

    Filters with alike decays share a transform: slow ones need long blocks, fast ones do not.

    Parameters
    ----------
    response : callable
        Takes frequencies in Hz (n,) and returns the complex responses (n_bands, n).
    decay : ndarray of shape (n_bands,)
        Decay rate of each impulse response in 1/s.
    sample_rate, hop, window_length : int
        In Hz and samples.
    center : bool
        Whether frame n lies around sample ``n hop`` or begins there.
    device, dtype
        Of the buffers.
    """

    def __init__(
        self,
        response: Callable[[NDArray[np.float64]], NDArray[np.complex128]],
        *,
        decay: NDArray[np.float64],
        sample_rate: int,
        hop: int,
        window_length: int,
        center: bool,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.hop = checks.integer("hop", hop, low=1)
        self.window_length = checks.integer("window_length", window_length, low=1)
        self.center = center
        tail = np.ceil(_DECAYS / decay * sample_rate)
        self.blocks: list[tuple[int, int]] = []  # (transform length, hops that it yields)
        for bands in _alike(tail):
            longest = int(tail[bands].max())
            length = 1 << math.ceil(math.log2(max(_MIN_BLOCK, 3 * longest, longest + hop)))
            hops = (length - longest) // hop
            frequencies = np.arange(length // 2 + 1, dtype=np.float64) * (sample_rate / length)
            kernel = torch.view_as_real(torch.tensor(response(frequencies)[bands]))
            name = f"response_{len(self.blocks)}"
            self.register_buffer(name, kernel.to(device=device, dtype=dtype), persistent=False)
            self.blocks.append((length, hops))

    @property
    def dtype(self) -> torch.dtype:
        """Of the buffers."""
        return self.get_buffer("response_0").dtype

    def forward(self, samples: Tensor) -> Tensor:
        """Return the mean squares (batch, frames, bands) of clips (batch, n_samples)."""
        whole, rest = divmod(self.window_length, self.hop)
        before = self.window_length // 2 if self.center else 0
        if self.center:
            count = samples.shape[1] // self.hop + 1
        else:
            if samples.shape[1] < self.window_length:
                raise ValueError(
                    f"a window has {self.window_length} samples, but the clip {samples.shape[1]}."
                )
            count = (samples.shape[1] - self.window_length) // self.hop + 1
        n_hops = count + whole
        parts = [
            self._sums(samples, index, before, n_hops, rest) for index in range(len(self.blocks))
        ]
        full = torch.cat([part[0] for part in parts], dim=1)
        started = torch.cat([part[1] for part in parts], dim=1)
        energy = started[:, :, whole : whole + count]
        if whole:
            energy = energy + full.unfold(2, whole, 1).sum(-1)[:, :, :count]
        return (energy / self.window_length).transpose(1, 2)

    def extra_repr(self) -> str:
        """Return the settings for printing."""
        return f"hop={self.hop}, window_length={self.window_length}, center={self.center}"

    def _sums(
        self, samples: Tensor, index: int, before: int, n_hops: int, rest: int
    ) -> tuple[Tensor, Tensor]:
        """Return the energy of each hop and of its first `rest` samples, (batch, bands, hops)."""
        (length, hops), response = self.blocks[index], self._response(index)
        step = hops * self.hop
        n_blocks = math.ceil(n_hops / hops)
        left = before + length - step  # only the end of a block is free of wrapped-around output
        right = (n_blocks - 1) * step + length - left - samples.shape[1]
        padded = functional.pad(samples, (left, right))
        spectrum = torch.fft.rfft(frames(padded, length=length, hop=step)).flatten(0, 1)
        rows, columns = _chunks(spectrum, response)
        full, started = [], []
        for some in spectrum.split(rows):
            pairs = []
            for bands in response.split(columns):
                product = some.unsqueeze(1) * bands
                output = torch.fft.irfft(product, length)[..., length - step :]
                square = output.square().unflatten(-1, (hops, self.hop))
                pairs.append((square.sum(-1), square[..., :rest].sum(-1)))
            full.append(torch.cat([pair[0] for pair in pairs], dim=1))
            started.append(torch.cat([pair[1] for pair in pairs], dim=1))
        shape = (samples.shape[0], n_blocks)
        whole, part = (
            torch.cat(sums).unflatten(0, shape).transpose(1, 2).flatten(2)[:, :, :n_hops]
            for sums in (full, started)
        )
        return whole, part

    def _response(self, index: int) -> Tensor:
        return torch.view_as_complex(self.get_buffer(f"response_{index}"))


def _alike(tails: NDArray[np.floating]) -> list[slice]:
    """Cut neighbouring bands into runs whose tails differ by a factor of four at most."""
    cuts = [0]
    for band in range(1, tails.size):
        run = tails[cuts[-1] : band + 1]
        if run.max() > 4 * run.min():
            cuts.append(band)
    return [slice(a, b) for a, b in itertools.pairwise([*cuts, tails.size])]


def _chunks(spectrum: Tensor, response: Tensor) -> tuple[int, int]:
    """Return how many rows and bands to take at once; an accelerator prefers many."""
    limit = _CHUNK_ELEMENTS if spectrum.device.type == "cpu" else 64 * _CHUNK_ELEMENTS
    rows = max(1, min(spectrum.shape[0], limit // spectrum.shape[1]))
    return rows, max(1, limit // (rows * spectrum.shape[1]))
