"""The mel view: power in triangular bands that are narrow where the ear is sharp."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from septet._core import checks
from septet.audio._scale import LogScale, as_image, check_clips, check_power, magnitude
from septet.signal import STFT

_HZ_PER_MEL = 200 / 3  # Slaney's scale below its corner
_CORNER_HZ = 1000.0
_CORNER_MEL = _CORNER_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27  # and above


def mel_frequencies(
    n: int, *, fmin: float = 0.0, fmax: float = 11025.0, scale: str = "slaney"
) -> NDArray[np.float64]:
    """Return `n` frequencies in Hz, equally spaced on the mel scale from `fmin` to `fmax`.

    Parameters
    ----------
    n : int
    fmin, fmax : float
        In Hz.
    scale : {"slaney", "htk"}, default "slaney"
        Slaney's scale is linear below 1 kHz and logarithmic above; HTK's is
        ``2595 log10(1 + f / 700)``.

    Returns
    -------
    ndarray of shape (n,), float64

    Examples
    --------
    >>> mel_frequencies(4, fmax=8000).round(2)
    array([   0.  , 1005.65, 2836.4 , 8000.  ])
    """
    n = checks.integer("n", n, low=2)
    fmin = checks.number("fmin", fmin, low=0)
    fmax = checks.number("fmax", fmax, above=fmin)
    if checks.choice("scale", scale, ("slaney", "htk")) == "htk":
        low, high = (2595 * np.log10(1 + f / 700) for f in (fmin, fmax))
        return 700 * (10 ** (np.linspace(low, high, n) / 2595) - 1)

    def to_mel(hertz: float) -> float:
        if hertz < _CORNER_HZ:
            return hertz / _HZ_PER_MEL
        return float(_CORNER_MEL + np.log(hertz / _CORNER_HZ) / _LOG_STEP)

    mels = np.linspace(to_mel(fmin), to_mel(fmax), n)
    above = _CORNER_HZ * np.exp(_LOG_STEP * (mels - _CORNER_MEL))
    return np.where(mels < _CORNER_MEL, mels * _HZ_PER_MEL, above)


def mel_filters(
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    *,
    fmin: float = 0.0,
    fmax: float | None = None,
    scale: str = "slaney",
    normalize: bool = True,
    allow_empty: bool = False,
) -> NDArray[np.float64]:
    """Return the matrix of triangular mel filters.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_fft : int
        Length of the transform whose bins are weighted.
    n_mels : int
        Number of filters.
    fmin, fmax : float
        Lower edge of the first and upper edge of the last triangle in Hz; `fmax` is half the
        sample rate by default.
    scale : {"slaney", "htk"}, default "slaney"
        See :func:`mel_frequencies`.
    normalize : bool, default True
        Whether each triangle has height ``2 / (upper - lower edge)``, area 1 in Hz, or height 1.
    allow_empty : bool, default False
        Whether triangles that fall between two bins are accepted; they are always silent.

    Returns
    -------
    ndarray of shape (n_mels, n_fft // 2 + 1), float64

    Raises
    ------
    ValueError
        If a number is out of range, `fmax` exceeds half the sample rate, or a triangle is empty.
    """
    sample_rate = checks.integer("sample_rate", sample_rate, low=1)
    n_fft = checks.integer("n_fft", n_fft, low=2)
    n_mels = checks.integer("n_mels", n_mels, low=1)
    fmax = sample_rate / 2 if fmax is None else fmax
    if fmax > sample_rate / 2:
        raise ValueError(f"fmax = {fmax:g} Hz is above half the sample rate, {sample_rate / 2:g}.")
    edges = mel_frequencies(n_mels + 2, fmin=fmin, fmax=fmax, scale=scale)
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    filters = np.maximum(0, np.minimum(rising, falling))
    empty = np.flatnonzero(~filters.any(axis=1))
    if empty.size and not allow_empty:
        raise ValueError(
            f"n_mels = {n_mels} leaves {empty.size} filters without a bin of n_fft = {n_fft}, "
            f"the first is number {empty[0]}: use fewer filters or a longer transform."
        )
    return filters * (2 / (upper - lower)) if normalize else filters


class LogMel(nn.Module):
    """Log-mel spectrogram of a batch of clips, ``log(M |STFT|^2)``.

    Parameters
    ----------
    sample_rate : int, default 22050
        In Hz.
    n_fft, hop, window_length, center
        Of the transform, in samples; see :class:`septet.signal.STFT`.
    n_mels, fmin, fmax, scale, normalize, allow_empty
        Of the filters; see :func:`mel_filters`.
    power : {2, 1}, default 2
        Whether powers or magnitudes are summed.
    log : LogScale or None, default LogScale()
        Compression; ``None`` returns the sums themselves.
    device, dtype
        Of the buffers; float32 by default. They are computed in float64.

    Attributes
    ----------
    filters : Tensor of shape (n_fft // 2 + 1, n_mels)
    centres : ndarray of shape (n_mels,)
        Peak of each filter in Hz.

    Raises
    ------
    ValueError
        If a setting is out of range; the message names the number.

    Notes
    -----
    Input is (batch, n_samples), output (batch, 1, n_mels, n_samples // hop + 1). Everything is
    differentiable with respect to the samples.

    References
    ----------
    M. Slaney, "Auditory Toolbox", Interval Research technical report 1998-010, 1998.

    Examples
    --------
    >>> LogMel(16000, n_fft=1024, hop=320, n_mels=64)(torch.zeros(2, 16000)).shape
    torch.Size([2, 1, 64, 51])
    """

    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 22050,
        *,
        n_fft: int = 2048,
        hop: int = 512,
        window_length: int | None = None,
        center: bool = True,
        n_mels: int = 64,
        fmin: float = 0.0,
        fmax: float | None = None,
        scale: str = "slaney",
        normalize: bool = True,
        allow_empty: bool = False,
        power: float = 2.0,
        log: LogScale | None = LogScale(),  # noqa: B008 - frozen
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        filters = mel_filters(
            sample_rate,
            n_fft,
            n_mels,
            fmin=fmin,
            fmax=fmax,
            scale=scale,
            normalize=normalize,
            allow_empty=allow_empty,
        )
        self.sample_rate, self.n_bands = sample_rate, n_mels
        self.scale, self.normalize = scale, normalize
        self.power = check_power(power)
        self.log = log
        self.centres = mel_frequencies(
            n_mels + 2, fmin=fmin, fmax=fmax or sample_rate / 2, scale=scale
        )[1:-1]
        self.stft = STFT(
            n_fft, hop, window_length=window_length, center=center, device=device, dtype=dtype
        )
        self.hop = self.stft.hop
        self.register_buffer(
            "filters", torch.tensor(filters.T.copy(), dtype=dtype, device=device), persistent=False
        )

    def forward(self, samples: Tensor) -> Tensor:
        """Return the image (batch, 1, n_mels, frames) of clips (batch, n_samples)."""
        check_clips(samples, self.filters.dtype)
        return self.from_power(self.stft.power(samples))

    def from_power(self, power: Tensor) -> Tensor:
        """Return the image of a power spectrogram (batch, frames, bins) of the same transform."""
        values = power if self.power == 2 else magnitude(power)
        return as_image(values @ self.filters, self.log, self.power)

    def extra_repr(self) -> str:
        """Return the settings for printing."""
        return (
            f"sample_rate={self.sample_rate}, n_mels={self.n_bands}, from {self.centres[0]:.6g} to "
            f"{self.centres[-1]:.6g} Hz, scale={self.scale}, normalize={self.normalize}, "
            f"power={self.power:g}, log={self.log}"
        )
