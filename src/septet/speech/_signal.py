"""Signals on their way into and out of the networks: emphasis, levels, 16-bit samples."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter
from torch import Tensor

SAMPLE_RATE = 16000
"""Rate in Hz at which every network of the family works."""
EMPHASIS = 0.95
_ACTIVE = 0.02  # of the peak: quieter samples are pauses


def preemphasis(signal: Tensor) -> Tensor:
    r"""Return :math:`y_0 = x_0,\ y_n = x_n - 0.95\,x_{n-1}` along the last axis.

    Examples
    --------
    >>> [round(x, 6) for x in preemphasis(torch.tensor([1.0, 2.0, 0.0, -1.0, 3.0])).tolist()]
    [1.0, 1.05, -1.9, -1.0, 3.95]
    """
    return torch.cat([signal[..., :1], signal[..., 1:] - EMPHASIS * signal[..., :-1]], dim=-1)


def deemphasis(signal: NDArray[np.floating], before: float = 0.0) -> NDArray[np.float64]:
    r"""Undo `preemphasis`: :math:`x_n = y_n + 0.95\,x_{n-1}` along the last axis.

    Parameters
    ----------
    signal : ndarray of shape (..., n)
    before : float, default 0.0
        The output sample before the first one, where a stream goes on.

    Examples
    --------
    >>> deemphasis(np.array([1.0, 1.05, -1.9])).round(12).tolist()
    [1.0, 2.0, 0.0]
    """
    state = np.full((*signal.shape[:-1], 1), EMPHASIS * before)
    return lfilter([1.0], [1.0, -EMPHASIS], signal, axis=-1, zi=state)[0]


def from_int16(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Map 16-bit samples to [-1, 1] as the code of SEGAN does: ends to ends, 0 to 1.5e-5.

    Examples
    --------
    >>> from_int16(np.array([-32768, 32767], np.int16)).tolist()
    [-1.0, 1.0]
    """
    wide = samples.astype(np.float64)
    return ((2 / 65535) * (wide - 32767) + 1).astype(np.float32)


def active_level(signal: NDArray[np.floating]) -> float:
    """Root mean square of the samples above 2 % of the peak; 0 for silence.

    Examples
    --------
    >>> active_level(np.array([0.0, 0.5, -0.5, 0.0, 0.001]))
    0.5
    """
    loud = np.abs(signal)
    peak = float(loud.max(initial=0.0))
    if peak == 0:
        return 0.0
    active = signal[loud > _ACTIVE * peak].astype(np.float64)
    return float(np.sqrt(np.mean(active**2)))


def mix_at_snr(
    clean: NDArray[np.floating], noise: NDArray[np.floating], snr_db: float
) -> NDArray[np.float64]:
    """Add noise to speech at a ratio that is measured where speech is active.

    Parameters
    ----------
    clean, noise : ndarray of shape (n,)
        Speech, and noise of the same length.
    snr_db : float
        Ratio of the active levels in dB.

    Raises
    ------
    ValueError
        If the lengths differ, or one of them is silent.

    Examples
    --------
    >>> speech, noise = np.sin(np.arange(1000.0)), np.cos(np.arange(1000.0) * 1.7)
    >>> mixed = mix_at_snr(speech, noise, 6.0)
    >>> round(float(20 * np.log10(active_level(speech) / active_level(mixed - speech))), 6)
    6.0
    """
    if clean.shape != noise.shape or clean.ndim != 1:
        raise ValueError(
            f"clean and noise must be 1-D and of one length; got {clean.shape} and {noise.shape}."
        )
    levels = active_level(clean), active_level(noise)
    if not all(levels):
        raise ValueError(f"{'noise' if levels[0] else 'clean'} is silent: it has no level.")
    gain = levels[0] / levels[1] * 10 ** (-snr_db / 20)
    return clean.astype(np.float64) + gain * noise
