"""The constant-Q view: bands that are equally wide on the musical scale."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import fft, next_fast_len
from torch import Tensor, nn
from torch.nn import functional

from septet._core import checks
from septet.audio._scale import LogScale, as_image, check_clips, check_power, magnitude
from septet.signal import frames
from septet.signal._stft import hann

C1_HZ = 32.703195662574829
"""The C three octaves below middle C, in equal temperament with A at 440 Hz."""

# Costs on one core, in multiply-adds of a strided convolution: of a folded product of spectra and
# of a sample that passes through the transform. They only choose between two ways to one result.
_COST_OF_PRODUCT = 20.0
_COST_OF_TRANSFORM = 100.0


@dataclass(frozen=True)
class Atoms:
    """The windowed complex exponentials that a constant-Q transform correlates with.

    Attributes
    ----------
    frequencies : ndarray of shape (n_bins,)
        In Hz, ``f_k = fmin 2^(k / bins_per_octave)``.
    lengths : ndarray of shape (n_bins,)
        ``N_k = filter_scale / alpha * sample_rate / f_k`` in samples, not rounded.
    sample_rate : int
        In Hz.
    """

    frequencies: NDArray[np.float64]
    lengths: NDArray[np.float64]
    sample_rate: int

    def support(self, k: int) -> tuple[int, int]:
        """Return the first sample of atom `k` and the one after its last, around its centre."""
        half = self.lengths[k] / 2
        return math.floor(-half), math.floor(half)

    def atom(self, k: int) -> NDArray[np.complex128]:
        """Return atom `k`: a periodic Hann window times the exponential, scaled by sqrt(N_k)."""
        first, stop = self.support(k)
        window = hann(stop - first)
        phase = 2j * np.pi * self.frequencies[k] / self.sample_rate * np.arange(first, stop)
        return np.exp(phase) * (window * (math.sqrt(self.lengths[k]) / window.sum()))


def constant_q_atoms(
    sample_rate: int = 22050,
    *,
    n_bins: int = 84,
    bins_per_octave: int = 12,
    fmin: float = C1_HZ,
    filter_scale: float = 1.0,
) -> Atoms:
    """Return the atoms of a constant-Q transform, lowest first.

    ``alpha = (r - 1) / (r + 1)`` with ``r = 2^(2 / bins_per_octave)`` is the relative bandwidth.

    Raises
    ------
    ValueError
        If a number is out of range or the highest band reaches above half the sample rate.

    Examples
    --------
    >>> constant_q_atoms(22050).lengths[[0, 12, 83]].round(3)
    array([11685.756,  5842.878,    96.724])
    """
    sample_rate = checks.integer("sample_rate", sample_rate, low=1)
    n_bins = checks.integer("n_bins", n_bins, low=1)
    bins_per_octave = checks.integer("bins_per_octave", bins_per_octave, low=1)
    fmin = checks.number("fmin", fmin, above=0)
    filter_scale = checks.number("filter_scale", filter_scale, above=0)
    frequencies = fmin * 2.0 ** (np.arange(n_bins) / bins_per_octave)
    edge = frequencies[-1] * (1 + 1 / bins_per_octave)
    if edge >= sample_rate / 2:
        fitting = int(np.sum(frequencies * (1 + 1 / bins_per_octave) < sample_rate / 2))
        raise ValueError(
            f"bin {n_bins - 1} of the constant-Q transform reaches up to {edge:.1f} Hz, but half "
            f"the sample rate is {sample_rate / 2:g} Hz: n_bins = {fitting} fit."
        )
    ratio = 2 ** (2 / bins_per_octave)
    alpha = (ratio - 1) / (ratio + 1)
    lengths = filter_scale / alpha * sample_rate / frequencies
    if lengths[-1] < 2:
        raise ValueError(
            f"filter_scale = {filter_scale:g} leaves atoms of {lengths[-1]:.2g} samples."
        )
    return Atoms(frequencies, lengths, sample_rate)


class CQT(nn.Module):
    """Constant-Q spectrogram of a batch of clips at any hop.

    ``Q[k, n] = sum_t x[n hop + t] conj(a_k[t])``, x being zero outside the clip.

    Parameters
    ----------
    sample_rate : int, default 22050
        In Hz.
    hop : int, default 512
        Distance between frames in samples; any whole number.
    n_bins, bins_per_octave, fmin, filter_scale
        Of the atoms; see :func:`constant_q_atoms`. 84 bins, 12 an octave, from C1 by default.
    tolerance : float, default 1e-5
        Bins of an atom's spectrum below this fraction of its largest are left out where an octave
        is folded; octaves that are correlated directly are exact.
    method : {"auto", "fold", "direct"}, default "auto"
        ``"direct"`` multiplies frames with atoms, cheap where atoms are short; ``"fold"``
        multiplies spectra and folds the products to the frame rate, cheap where bands are narrow;
        ``"auto"`` takes the cheaper one for each octave.
    power : {1, 2}, default 1
        Magnitude or power.
    log : LogScale or None, default LogScale()
        Compression; ``None`` returns the values themselves.
    device, dtype
        Of the buffers; float32 by default. They are computed in float64.

    Attributes
    ----------
    atoms : Atoms
    centres : ndarray of shape (n_bins,)
        In Hz.

    Raises
    ------
    ValueError
        If a setting is out of range; the message names the number.

    Notes
    -----
    Input is (batch, n_samples), output (batch, 1, n_bins, n_samples // hop + 1). Sampling a
    correlation every `hop` samples is folding its spectrum modulo the number of frames of a block,
    so that one real transform of the clip serves all bins and no recursion over octaves restricts
    the hop. The clip passes in blocks of fixed length: kernels do not depend on its length.

    References
    ----------
    J. C. Brown, "Calculation of a constant Q spectral transform", J. Acoust. Soc. Am. 89, 1991;
    J. C. Brown and M. S. Puckette, "An efficient algorithm for the calculation of a constant Q
    transform", J. Acoust. Soc. Am. 92, 1992.

    Examples
    --------
    >>> CQT(hop=441)(torch.zeros(2, 22050)).shape
    torch.Size([2, 1, 84, 51])
    """

    def __init__(
        self,
        sample_rate: int = 22050,
        *,
        hop: int = 512,
        n_bins: int = 84,
        bins_per_octave: int = 12,
        fmin: float = C1_HZ,
        filter_scale: float = 1.0,
        tolerance: float = 1e-5,
        method: str = "auto",
        power: float = 1.0,
        log: LogScale | None = LogScale(),  # noqa: B008 - frozen
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.atoms = constant_q_atoms(
            sample_rate,
            n_bins=n_bins,
            bins_per_octave=bins_per_octave,
            fmin=fmin,
            filter_scale=filter_scale,
        )
        self.hop = checks.integer("hop", hop, low=1)
        self.tolerance = tolerance = checks.number("tolerance", tolerance, low=0, below=1)
        checks.choice("method", method, ("auto", "fold", "direct"))
        self.sample_rate, self.n_bands = sample_rate, n_bins
        self.centres = self.atoms.frequencies
        self.power = check_power(power)
        self.log = log
        octaves = [
            range(start, min(start + bins_per_octave, n_bins))
            for start in range(0, n_bins, bins_per_octave)
        ]
        self._block = _Block.around(self.atoms.lengths[0], self.hop)
        n_folded = 0 if method == "direct" else len(octaves)
        folded = [_folded_kernel(self.atoms, octaves[0], self._block, tolerance)][:n_folded]
        if method == "auto":
            n_folded = _cheapest_split(self.atoms, octaves, folded[0], self._block)
        folded = folded[:n_folded] + [
            _folded_kernel(self.atoms, octave, self._block, tolerance)
            for octave in octaves[1:n_folded]
        ]
        self._rows = [(kernel.first_row, kernel.rows) for kernel in folded]
        self._starts: list[int] = []
        constants = {f"fold_{i}": kernel.values for i, kernel in enumerate(folded)}
        for i, octave in enumerate(octaves[len(folded) :]):
            start, values = _direct_kernel(self.atoms, octave)
            self._starts.append(start)
            constants[f"direct_{i}"] = values
        for name, values in constants.items():
            self.register_buffer(
                name, torch.tensor(values, dtype=dtype, device=device), persistent=False
            )

    def forward(self, samples: Tensor) -> Tensor:
        """Return the image (batch, 1, n_bins, frames) of clips (batch, n_samples)."""
        check_clips(samples, next(self.buffers()).dtype)
        count = samples.shape[1] // self.hop + 1
        parts = [self._folded(samples, count)] if self._rows else []
        parts += [self._direct(samples, count, i) for i in range(len(self._starts))]
        values = torch.cat(parts, dim=1)
        values = values if self.power == 2 else magnitude(values)
        return as_image(values.transpose(1, 2), self.log, self.power)

    def extra_repr(self) -> str:
        """Return the settings for printing."""
        return (
            f"sample_rate={self.sample_rate}, hop={self.hop}, n_bins={self.n_bands}, from "
            f"{self.centres[0]:.6g} to {self.centres[-1]:.6g} Hz, longest atom "
            f"{self.atoms.lengths[0]:.6g}, tolerance={self.tolerance:g}, power={self.power:g}, "
            f"log={self.log}, octaves_folded={len(self._rows)}, octaves_direct={len(self._starts)}"
        )

    def _direct(self, samples: Tensor, count: int, index: int) -> Tensor:
        """Return the powers (batch, bins, frames) of one octave, by correlation."""
        kernel, start = self.get_buffer(f"direct_{index}"), self._starts[index]
        width = kernel.shape[1]
        right = (count - 1) * self.hop + width + start - samples.shape[1]
        padded = functional.pad(samples, (-start, right))
        if samples.device.type == "cpu":
            pairs = functional.conv1d(padded[:, None], kernel[:, None], stride=self.hop)
        else:  # where convolutions may round to fewer bits than matrix products do
            pieces = frames(padded, length=width, hop=self.hop)
            pairs = (pieces @ kernel.T).transpose(1, 2)
        real, imaginary = pairs.chunk(2, dim=1)
        return real.square() + imaginary.square()

    def _folded(self, samples: Tensor, count: int) -> Tensor:
        """Return the powers (batch, bins, frames) of the folded octaves."""
        block = self._block
        n_blocks = math.ceil(count / block.frames)
        left, step = block.margin * self.hop, block.frames * self.hop
        right = (n_blocks - 1) * step + block.length - left - samples.shape[1]
        pieces = frames(functional.pad(samples, (left, right)), length=block.length, hop=step)
        rows = self._spectrum_rows(torch.fft.rfft(pieces).flatten(0, 1))
        top = min(first for first, _ in self._rows)
        parts = []
        for i, (first, n_rows) in enumerate(self._rows):
            kernel = torch.view_as_complex(self.get_buffer(f"fold_{i}"))
            parts.append(torch.bmm(rows[..., first - top : first - top + n_rows], kernel))
        series = torch.fft.ifft(torch.cat(parts, dim=2), dim=0) / self.hop
        series = series[block.margin : block.margin + block.frames]
        real, imaginary = torch.view_as_real(series).unbind(-1)
        power = (real.square() + imaginary.square()).permute(1, 2, 0)
        power = power.unflatten(0, (samples.shape[0], n_blocks)).transpose(1, 2).flatten(2)
        return power[:, :, :count]

    def _spectrum_rows(self, spectrum: Tensor) -> Tensor:
        """Lay a one-sided spectrum out as (period, blocks, rows): a fold sums over rows."""
        period, half = self._block.period, self._block.length // 2
        lowest = min(first for first, _ in self._rows) * period
        stop = max(first + n_rows for first, n_rows in self._rows) * period
        below = min(half, max(0, -lowest))
        mirrored = spectrum[:, 1 : below + 1].flip(1).conj()
        above = spectrum[:, max(0, lowest) : stop]
        two_sided = torch.cat([mirrored, above], dim=1)
        missing = stop - lowest - two_sided.shape[1]
        left = max(0, -lowest - half)
        two_sided = functional.pad(two_sided, (left, missing - left))
        return two_sided.unflatten(1, (-1, period)).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class _Block:
    """A stretch of clip that is transformed at once.

    `period` frames are `length` samples; the first `margin` of them and those after the next
    `frames` are spoilt by wrapping around.
    """

    period: int
    margin: int
    hop: int

    @classmethod
    def around(cls, longest: float, hop: int) -> "_Block":
        margin = math.ceil(longest / 2 / hop)
        return cls(int(next_fast_len(max(8 * margin, 16))), margin, hop)

    @property
    def length(self) -> int:
        return self.period * self.hop

    @property
    def frames(self) -> int:
        return self.period - 2 * self.margin + 1


@dataclass(frozen=True)
class _FoldedKernel:
    first_row: int
    rows: int
    values: NDArray[np.float64]  # (period, rows, bins, 2)


def _folded_kernel(atoms: Atoms, octave: range, block: _Block, tolerance: float) -> _FoldedKernel:
    """Return the conjugate spectra of an octave's atoms, over the rows where they matter."""
    length, period = block.length, block.period
    signals = np.zeros((len(octave), length), np.complex128)
    for row, k in zip(signals, octave, strict=True):
        first, stop = atoms.support(k)
        row[np.arange(first, stop) % length] = atoms.atom(k)
    spectra = fft(signals)
    size = np.abs(spectra)
    (kept,) = (size > tolerance * size.max(axis=1, keepdims=True)).any(axis=0).nonzero()
    kept = np.where(kept > (length - 1) // 2, kept - length, kept)  # negative frequencies below 0
    first_row = int(kept.min()) // period
    rows = int(kept.max()) // period + 1 - first_row
    signed = np.arange(first_row * period, (first_row + rows) * period)
    table = spectra[:, signed % length].conj()
    table[:, (signed < -(length // 2)) | (signed > (length - 1) // 2)] = 0  # no bin twice
    values = table.reshape(len(octave), rows, period).transpose(2, 1, 0)
    return _FoldedKernel(first_row, rows, np.stack([values.real, values.imag], axis=-1))


def _direct_kernel(atoms: Atoms, octave: range) -> tuple[int, NDArray[np.float64]]:
    """Return where an octave's atoms begin and their (2 bins, width) real and imaginary parts."""
    start, stop = atoms.support(octave[0])
    table = np.zeros((len(octave), stop - start), np.complex128)
    for row, k in zip(table, octave, strict=True):
        first, end = atoms.support(k)
        row[first - start : end - start] = atoms.atom(k).conj()
    return start, np.concatenate([table.real, table.imag])


def _cheapest_split(
    atoms: Atoms, octaves: list[range], lowest: _FoldedKernel, block: _Block
) -> int:
    """Return how many octaves, from the lowest, are cheaper to fold than to correlate."""
    blocks = atoms.sample_rate / (block.frames * block.hop)  # all costs are for a second of clip
    product = _COST_OF_PRODUCT * blocks * lowest.rows * block.period
    fold = [product * len(octave) * 2.0**i for i, octave in enumerate(octaves)]
    frames_a_second = atoms.sample_rate / block.hop
    direct = [2 * len(octave) * atoms.lengths[octave[0]] * frames_a_second for octave in octaves]
    transform = _COST_OF_TRANSFORM * blocks * block.length
    costs = [sum(direct)]
    costs += [transform + sum(fold[:n]) + sum(direct[n:]) for n in range(1, len(octaves) + 1)]
    return int(np.argmin(costs))
