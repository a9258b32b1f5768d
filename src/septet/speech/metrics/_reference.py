"""The frame-wise measures once more, one frame and one band at a time, as their papers tell them.

Slow on purpose: an oracle for tests and the opponent in benchmarks.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from septet.speech.metrics._distortion import _BAND_CENTRES, _BAND_WIDTHS, frames

Frame = NDArray[np.float64]


def reference_ssnr(clean: Frame, enhanced: Frame, sample_rate: int = 16000) -> float:
    """Segmental signal-to-noise ratio, frame by frame."""
    total = 0.0
    s, e = frames(clean, enhanced, sample_rate)
    for i in range(len(s)):
        noise = float(np.sum((s[i] - e[i]) ** 2))
        ratio = 10 * math.log10(float(np.sum(s[i] ** 2)) / (noise + 2**-52) + 2**-52)
        total += min(max(ratio, -10.0), 35.0)
    return total / len(s)


def reference_llr(clean: Frame, enhanced: Frame, sample_rate: int = 16000) -> float:
    """Log-likelihood ratio, frame by frame."""
    order = 10 if sample_rate < 10000 else 16
    found = []
    s, e = frames(clean, enhanced, sample_rate)
    for i in range(len(s)):
        lags, a_clean = _predictor(s[i], order)
        _, a_enhanced = _predictor(e[i], order)
        toeplitz = np.array(
            [[lags[abs(j - k)] for k in range(order + 1)] for j in range(order + 1)]
        )
        found.append(
            math.log((a_enhanced @ toeplitz @ a_enhanced) / (a_clean @ toeplitz @ a_clean))
        )
    return _best(found)


def reference_wss(clean: Frame, enhanced: Frame, sample_rate: int = 16000) -> float:
    """Weighted spectral slope, frame by frame and band by band."""
    s, e = frames(clean, enhanced, sample_rate)
    filters = _filters(s.shape[1], sample_rate)
    found = []
    for i in range(len(s)):
        slopes_s, weights_s = _slopes(_energies(s[i], filters))
        slopes_e, weights_e = _slopes(_energies(e[i], filters))
        top = bottom = 0.0
        for band in range(len(slopes_s)):
            weight = (weights_s[band] + weights_e[band]) / 2
            top += weight * (slopes_s[band] - slopes_e[band]) ** 2
            bottom += weight
        found.append(top / bottom)
    return _best(found)


def _best(values: Sequence[float]) -> float:
    keep = math.floor(0.95 * len(values) + 0.5)
    return float(np.mean(sorted(values)[:keep]))


def _predictor(frame: Frame, order: int) -> tuple[Frame, Frame]:
    """Lags of a frame and its prediction-error filter by the recursion of Levinson and Durbin."""
    lags = np.array([float(frame[: frame.size - k] @ frame[k:]) for k in range(order + 1)])
    a = [1.0]
    error = lags[0]
    for i in range(1, order + 1):
        reflection = -sum(a[j] * lags[i - j] for j in range(i)) / error
        padded = [*a, 0.0]
        a = [padded[j] + reflection * padded[i - j] for j in range(i + 1)]
        error *= 1 - reflection**2
    return lags, np.array(a)


def _filters(window: int, sample_rate: int) -> list[Frame]:
    bins = 2 ** math.ceil(math.log2(2 * window)) // 2
    made = []
    for centre, width in zip(_BAND_CENTRES, _BAND_WIDTHS, strict=True):
        middle = math.floor(centre / (sample_rate / 2) * bins)
        wide = width / (sample_rate / 2) * bins
        shape = np.exp(-11 * ((np.arange(bins) - middle) / wide) ** 2 + math.log(70 / width))
        made.append(np.where(shape > math.exp(-30 / (2 * 2.303)), shape, 0.0))
    return made


def _energies(frame: Frame, filters: list[Frame]) -> list[float]:
    bins = filters[0].size
    power = np.abs(np.fft.fft(frame, 2 * bins)[:bins]) ** 2
    return [10 * math.log10(max(float(power @ shape), 1e-10)) for shape in filters]


def _slopes(energy: list[float]) -> tuple[list[float], list[float]]:
    slope = [energy[i + 1] - energy[i] for i in range(len(energy) - 1)]
    loudest = max(energy)
    weights = []
    for i in range(len(slope)):
        n = i
        if slope[i] > 0:
            while n < len(slope) and slope[n] > 0:
                n += 1
            peak = energy[n - 1]
        else:
            while n >= 0 and slope[n] <= 0:
                n -= 1
            peak = energy[n + 1]
        weights.append(20 / (20 + loudest - energy[i]) / (1 + peak - energy[i]))
    return slope, weights
