"""The gammatone view: the filters that auditory nerve fibres resemble."""

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from septet._core import checks
from septet.audio._energy import FilteredEnergy
from septet.audio._scale import LogScale, as_image, check_clips, check_power, magnitude
from septet.signal import STFT

_EAR_Q = 9.26449  # Glasberg and Moore: quality of the filters at high frequencies
_MIN_BANDWIDTH = 24.7  # and their bandwidth at low ones, in Hz
_ORDER_FACTOR = 1.019  # bandwidth of a fourth-order gammatone against its rectangular one
_ZEROS = tuple(sign * math.sqrt(3 + turn * 2**1.5) for turn in (1, -1) for sign in (1, -1))


def erb_centres(
    sample_rate: int, n_bands: int, *, fmin: float = 50.0, fmax: float | None = None
) -> NDArray[np.float64]:
    """Return centre frequencies in Hz, ascending, equally spaced in equivalent rectangular bands.

    ``cf_i = -c + (fmax + c) exp(i / n (ln(fmin + c) - ln(fmax + c)))`` for i = n ... 1 with
    ``c = 9.26449 * 24.7``: the lowest is `fmin`, the highest one step below `fmax`.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_bands : int
    fmin, fmax : float
        In Hz; `fmax` is half the sample rate by default.

    Raises
    ------
    ValueError
        If a number is out of range or `fmax` exceeds half the sample rate.

    References
    ----------
    M. Slaney, "An Efficient Implementation of the Patterson-Holdsworth Auditory Filter Bank",
    Apple technical report 35, 1993.

    Examples
    --------
    >>> erb_centres(16000, 64)[[0, 1, -1]].round(3)
    array([  50.   ,   65.144, 7576.107])
    """
    sample_rate = checks.integer("sample_rate", sample_rate, low=1)
    n_bands = checks.integer("n_bands", n_bands, low=1)
    fmin = checks.number("fmin", fmin, above=0)
    fmax = checks.number("fmax", sample_rate / 2 if fmax is None else fmax, above=fmin)
    if fmax > sample_rate / 2:
        raise ValueError(f"fmax = {fmax:g} Hz is above half the sample rate, {sample_rate / 2:g}.")
    corner = _EAR_Q * _MIN_BANDWIDTH
    steps = np.arange(n_bands, 0, -1) / n_bands
    ratio = math.log(fmin + corner) - math.log(fmax + corner)
    return -corner + np.exp(steps * ratio) * (fmax + corner)


def gammatone_bandwidth(centres: ArrayLike) -> NDArray[np.float64]:
    """Return the decay rate ``b`` of gammatone filters in radians per second."""
    centres = np.asarray(centres, dtype=np.float64)
    return _ORDER_FACTOR * 2 * np.pi * (centres / _EAR_Q + _MIN_BANDWIDTH)


def gammatone_response(
    centres: ArrayLike, frequencies: ArrayLike, sample_rate: int
) -> NDArray[np.complex128]:
    """Return the response of fourth-order gammatone filters, 1 in magnitude at their centres.

    Each filter is four second-order sections with common poles ``exp((+-2 pi j cf - b) / sr)``.

    Parameters
    ----------
    centres : array_like of shape (n_bands,)
        Centre frequencies in Hz.
    frequencies : array_like of shape (n,)
        Where to evaluate, in Hz.
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray of shape (n_bands, n), complex128

    References
    ----------
    M. Slaney, Apple technical report 35, 1993.

    Examples
    --------
    >>> abs(gammatone_response([1000.0], [900.0, 1000.0], 16000)).round(6)
    array([[0.417761, 1.      ]])
    """
    sample_rate = checks.integer("sample_rate", sample_rate, low=1)
    centres = np.atleast_1d(np.asarray(centres, dtype=np.float64))[:, None]
    frequencies = np.atleast_1d(np.asarray(frequencies, dtype=np.float64))[None, :]
    response = _sections(centres, frequencies, sample_rate)
    gain = np.abs(_sections(centres, centres, sample_rate))
    return np.asarray(response / gain, dtype=np.complex128)


def _sections(
    centres: NDArray[np.float64], frequencies: NDArray[np.float64], sample_rate: int
) -> NDArray[np.complex128]:
    turn = 2 * np.pi * centres / sample_rate
    decay = np.exp(-gammatone_bandwidth(centres) / sample_rate)
    delay = np.exp(-2j * np.pi * frequencies / sample_rate)
    pole = decay * np.exp(1j * turn)
    response: NDArray[np.complex128] = ((1 - pole * delay) * (1 - pole.conj() * delay)) ** -4
    for zero in _ZEROS:
        response = response * (1 - (np.cos(turn) + zero * np.sin(turn)) * decay * delay)
    return response


class Gammatone(nn.Module):
    """Gammatone spectrogram of a batch of clips.

    Parameters
    ----------
    sample_rate : int, default 22050
        In Hz.
    n_bands : int, default 64
    fmin, fmax : float
        Range of the centres in Hz, 50 to half the sample rate by default.
    mode : {"fft", "exact"}, default "fft"
        ``"fft"`` weights the bins of a short-time transform with the filters' magnitudes;
        ``"exact"`` filters the clip and takes the energy of each band in a sliding window.
    n_fft, hop : int, default 2048 and 512
        Transform length (mode ``"fft"``) and distance between frames, in samples.
    window_length : int, optional
        Of the transform's Hann window (``"fft"``) or the energy window (``"exact"``), in samples;
        `n_fft` by default.
    center : bool, default True
        Whether frame n lies around sample ``n hop`` or begins there.
    power : {1, 2}, default 1
        Magnitudes or powers: ``W |STFT|`` or ``W |STFT|^2``, root or mean of the squares.
    log : LogScale or None, default LogScale()
        Compression; ``None`` returns the values themselves.
    device, dtype
        Of the buffers; float32 by default. They are computed in float64.

    Attributes
    ----------
    centres : ndarray of shape (n_bands,)
        In Hz, ascending.

    Raises
    ------
    ValueError
        If a setting is out of range; the message names the number.

    Notes
    -----
    Input is (batch, n_samples), output (batch, 1, n_bands, n_samples // hop + 1) if centred. The
    exact mode follows the infinite response by overlapping transforms long enough that what is cut
    off lies below 1e-12 of the filter's peak.

    References
    ----------
    M. Slaney, Apple technical report 35, 1993; R. D. Patterson et al., "An efficient auditory
    filterbank based on the gammatone function", APU report 2341, 1988.

    Examples
    --------
    >>> Gammatone(16000, n_fft=1024, hop=320)(torch.zeros(2, 16000)).shape
    torch.Size([2, 1, 64, 51])
    """

    weights: Tensor

    def __init__(
        self,
        sample_rate: int = 22050,
        *,
        n_bands: int = 64,
        fmin: float = 50.0,
        fmax: float | None = None,
        mode: str = "fft",
        n_fft: int = 2048,
        hop: int = 512,
        window_length: int | None = None,
        center: bool = True,
        power: float = 1.0,
        log: LogScale | None = LogScale(),  # noqa: B008 - frozen
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.centres = erb_centres(sample_rate, n_bands, fmin=fmin, fmax=fmax)
        self.sample_rate, self.n_bands = sample_rate, n_bands
        self.mode = checks.choice("mode", mode, ("fft", "exact"))
        self.power = check_power(power)
        self.log = log
        self.hop = checks.integer("hop", hop, low=1)
        self.stft: STFT | None = None
        self.energy: FilteredEnergy | None = None
        if mode == "exact":
            self.energy = FilteredEnergy(
                lambda frequencies: gammatone_response(self.centres, frequencies, sample_rate),
                decay=gammatone_bandwidth(self.centres),
                sample_rate=sample_rate,
                hop=hop,
                window_length=n_fft if window_length is None else window_length,
                center=center,
                device=device,
                dtype=dtype,
            )
            return
        self.stft = STFT(
            n_fft, hop, window_length=window_length, center=center, device=device, dtype=dtype
        )
        bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
        weights = np.abs(gammatone_response(self.centres, bins, sample_rate)).T
        self.register_buffer(
            "weights", torch.tensor(weights, dtype=dtype, device=device), persistent=False
        )

    def forward(self, samples: Tensor) -> Tensor:
        """Return the image (batch, 1, n_bands, frames) of clips (batch, n_samples)."""
        if self.energy is not None:
            check_clips(samples, self.energy.dtype)
            values = self.energy(samples)
            values = values if self.power == 2 else magnitude(values)
            return as_image(values, self.log, self.power)
        assert self.stft is not None
        check_clips(samples, self.weights.dtype)
        return self.from_power(self.stft.power(samples))

    def from_power(self, power: Tensor) -> Tensor:
        """Return the image of a power spectrogram (batch, frames, bins) of the same transform."""
        values = power if self.power == 2 else magnitude(power)
        return as_image(values @ self.weights, self.log, self.power)

    def extra_repr(self) -> str:
        """Return the settings for printing."""
        return (
            f"sample_rate={self.sample_rate}, n_bands={self.n_bands}, from {self.centres[0]:.6g} "
            f"to {self.centres[-1]:.6g} Hz, mode={self.mode}, power={self.power:g}, log={self.log}"
        )
