"""Band-limited conversion between sample rates."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet._core.extras import needs

Float = TypeVar("Float", np.float32, np.float64)

QUALITIES = ("quick", "low", "medium", "high", "very high")
_SOXR_NAMES = dict(zip(QUALITIES, ("QQ", "LQ", "MQ", "HQ", "VHQ"), strict=True))


def resampled_length(n_samples: int, source_rate: int, target_rate: int) -> int:
    """Return ``ceil(n_samples * target_rate / source_rate)``, computed in whole numbers."""
    return -(-n_samples * target_rate // source_rate)


def resample(
    samples: NDArray[Float],
    source_rate: int,
    target_rate: int,
    *,
    quality: str = "high",
    length: int | None = None,
) -> NDArray[Float]:
    """Convert samples to another rate with a linear-phase, band-limited filter.

    Parameters
    ----------
    samples : ndarray of shape (..., n_samples), float32 or float64
        Finite samples; every leading axis is a channel of its own.
    source_rate, target_rate : int
        Rates in Hz.
    quality : {"quick", "low", "medium", "high", "very high"}, default "high"
        Preset of the SoX resampler; ``"high"`` keeps aliases below about -120 dB.
    length : int, optional
        Number of samples wanted; the end is cut or filled with zeros. By default
        ``ceil(n_samples * target_rate / source_rate)``. Give the original length on the way back
        to get a signal that lines up with the original sample by sample.

    Returns
    -------
    ndarray of shape (..., length)
        Of the dtype of `samples`; a copy, also where the two rates agree.

    Raises
    ------
    TypeError
        If `samples` holds anything but float32 or float64.
    ValueError
        If a rate is not positive, a sample is not finite or the quality is unknown.
    MissingExtraError
        If soxr is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 440 / 8000 * np.arange(8000))
    >>> resample(tone, 8000, 22050).shape
    (22050,)
    """
    source_rate = checks.integer("source_rate", source_rate, low=1)
    target_rate = checks.integer("target_rate", target_rate, low=1)
    checks.choice("quality", quality, QUALITIES)
    samples = np.asarray(samples)
    if samples.dtype not in (np.float32, np.float64):
        raise TypeError(f"samples must be float32 or float64; got {samples.dtype}.")
    if not np.isfinite(samples).all():
        raise ValueError("samples must be finite: a filter spreads one NaN over all of them.")
    wanted = resampled_length(samples.shape[-1], source_rate, target_rate)
    if length is not None:
        wanted = checks.integer("length", length, low=0)
    output = np.zeros((*samples.shape[:-1], wanted), samples.dtype)
    if source_rate == target_rate:
        kept = min(wanted, samples.shape[-1])
        output[..., :kept] = samples[..., :kept]
        return output
    soxr = needs("soxr", extra="audio", purpose="resampling")
    for index in np.ndindex(samples.shape[:-1]):
        channel = np.ascontiguousarray(samples[index])
        converted = soxr.resample(channel, source_rate, target_rate, _SOXR_NAMES[quality])
        kept = min(wanted, converted.size)
        output[index][:kept] = converted[:kept]
    return output
