"""Frame-wise distances between clean and enhanced speech: SSNR, LLR and WSS, all frames at once."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks

_EPS = 2.0**-52
_BAND_CENTRES = np.concatenate(
    [
        np.array([50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717, 904.128]),
        np.array([1020.38, 1148.30, 1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08]),
        np.array([2446.71, 2701.97, 2978.04, 3276.17, 3597.63]),
    ]
)
_BAND_WIDTHS = np.concatenate(
    [
        np.full(7, 70.0),
        np.array([77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823]),
        np.array([168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126]),
        np.array([321.465, 346.136]),
    ]
)
_KEPT = 0.95


def ssnr(clean: ArrayLike, enhanced: ArrayLike, sample_rate: int = 16000) -> float:
    r"""Segmental signal-to-noise ratio in dB.

    The mean over 30 ms frames of
    :math:`10\log_{10}(\sum s^2 / \sum (s-e)^2)`, each frame limited to [-10, 35] dB.

    Parameters
    ----------
    clean, enhanced : array_like of shape (n,)
        Signals; the longer one is cut to the shorter.
    sample_rate : int, default 16000
        In Hz.

    Returns
    -------
    float
        Decibels, in [-10, 35]. No silence is removed and no gain aligned: a shift of one sample or
        a change of polarity ruins this measure while PESQ hardly notices.

    Raises
    ------
    ValueError
        If a signal is not 1-D, not finite or shorter than one frame and a quarter.

    References
    ----------
    Y. Hu, P. Loizou: Evaluation of objective quality measures for speech enhancement. IEEE
    Transactions on Audio, Speech, and Language Processing 16(1), 2008.

    Examples
    --------
    >>> tone = np.sin(np.arange(16000) / 20)
    >>> round(ssnr(tone, 0.9 * tone), 6)
    20.0
    """
    s, e, taper, count = _checked(clean, enhanced, sample_rate)
    error = _energies(s - e, taper, count)
    ratios = 10 * np.log10(_energies(s, taper, count) / (error + _EPS) + _EPS)
    return float(np.clip(ratios, -10, 35).mean())


def llr(clean: ArrayLike, enhanced: ArrayLike, sample_rate: int = 16000) -> float:
    r"""Log-likelihood ratio of the linear predictors of clean and enhanced frames.

    :math:`\ln (a_e R_c a_e^T / a_c R_c a_c^T)`, averaged over the best 95 % of the frames. See
    `ssnr` for parameters and errors; 0 is best.

    Notes
    -----
    The cap of a frame at 2 that some programs have is not used: the composite measures were fitted
    without it.

    Examples
    --------
    >>> speech = np.random.default_rng(0).normal(size=16000)
    >>> llr(speech, speech)
    0.0
    """
    s, e = frames(clean, enhanced, sample_rate)
    order = 10 if sample_rate < 10000 else 16
    lags = _autocorrelation(s, order)
    a_clean = _levinson(lags)
    a_enhanced = _levinson(_autocorrelation(e, order))
    toeplitz = lags[:, np.abs(np.subtract.outer(np.arange(order + 1), np.arange(order + 1)))]

    def energy(a: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.einsum("fi,fij,fj->f", a, toeplitz, a, optimize=True)

    return _trimmed_mean(np.log(energy(a_enhanced) / energy(a_clean)))


def wss(clean: ArrayLike, enhanced: ArrayLike, sample_rate: int = 16000) -> float:
    """Weighted spectral slope distance over 25 critical bands (Klatt), best 95 % of the frames.

    See `ssnr` for parameters and errors; 0 is best.

    Notes
    -----
    The peak that a slope is weighted by is taken one band before the true one, as in the program
    that the composite measures were fitted with.

    Examples
    --------
    >>> speech = np.random.default_rng(0).normal(size=16000)
    >>> wss(speech, speech)
    0.0
    """
    s, e = frames(clean, enhanced, sample_rate)
    slope_s, weight_s = _slopes(_band_energies(s, sample_rate))
    slope_e, weight_e = _slopes(_band_energies(e, sample_rate))
    weight = (weight_s + weight_e) / 2
    distance = (weight * (slope_s - slope_e) ** 2).sum(axis=1) / weight.sum(axis=1)
    return _trimmed_mean(distance)


def frames(
    clean: ArrayLike, enhanced: ArrayLike, sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both signals in Hann-windowed frames of 30 ms every 7.5 ms, shape (frames, window).

    The smallest step of float64 is added to every sample, so that silence has a predictor too.
    """
    *signals, taper, count = _checked(clean, enhanced, sample_rate)
    window, hop = taper.size, taper.size // 4
    cut = (np.lib.stride_tricks.sliding_window_view(x, window)[::hop][:count] for x in signals)
    s, e = (frame * taper for frame in cut)
    return s, e


def _checked(
    clean: ArrayLike, enhanced: ArrayLike, sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]:
    """Both signals as `frames` sees them, the window, and the number of frames."""
    sample_rate = checks.integer("sample_rate", sample_rate, low=8000)
    signals = [checks.vector("clean", clean), checks.vector("enhanced", enhanced)]
    n = min(signals[0].size, signals[1].size)
    window = int(np.floor(0.030 * sample_rate + 0.5))
    hop = window // 4
    count = int(n / hop - window / hop)
    if count < 1:
        raise ValueError(
            f"clean and enhanced must share at least {window + hop} samples "
            f"({1000 * (window + hop) / sample_rate:.1f} ms); got {n}."
        )
    taper = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, window + 1) / (window + 1)))
    s, e = (x[:n] + _EPS for x in signals)
    return s, e, taper, count


def _energies(
    x: NDArray[np.float64], taper: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Energy of every windowed frame: each sample is squared once, not once a frame."""
    hop = taper.size // 4
    parts = -(-taper.size // hop)
    squares = np.zeros((count + parts - 1) * hop)
    some = x[: squares.size]
    np.square(some, out=squares[: some.size])
    weights = np.zeros(parts * hop)
    weights[: taper.size] = taper**2
    shares = squares.reshape(-1, hop) @ weights.reshape(parts, hop).T
    return np.sum([shares[i : i + count, i] for i in range(parts)], axis=0)


def _autocorrelation(frame: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    n = frame.shape[1]
    lags = [np.einsum("fi,fi->f", frame[:, : n - k], frame[:, k:]) for k in range(order + 1)]
    return np.stack(lags, axis=1)


def _levinson(lags: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prediction-error filters [1, -a] of all frames; shape (frames, order + 1)."""
    count, width = lags.shape
    a = np.zeros((count, width))
    a[:, 0] = 1
    error = lags[:, 0].copy()
    for i in range(1, width):
        reflection = -np.einsum("fj,fj->f", a[:, :i], lags[:, i:0:-1]) / error
        a[:, 1 : i + 1] += reflection[:, None] * a[:, i - 1 :: -1]
        error *= 1 - reflection**2
    return a


@lru_cache(maxsize=8)
def _band_filters(sample_rate: int, bins: int) -> NDArray[np.float64]:
    centre = np.floor(_BAND_CENTRES / (sample_rate / 2) * bins)[:, None]
    width = (_BAND_WIDTHS / (sample_rate / 2) * bins)[:, None]
    normalisation = np.log(_BAND_WIDTHS[0]) - np.log(_BAND_WIDTHS)[:, None]
    filters = np.exp(-11 * ((np.arange(bins) - centre) / width) ** 2 + normalisation)
    filters[filters <= np.exp(-30 / (2 * 2.303))] = 0
    return filters


def _band_energies(frame: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """Energies of the critical bands in dB, shape (frames, 25)."""
    size = 1 << int(2 * frame.shape[1] - 1).bit_length()
    power = np.abs(np.fft.rfft(frame, size)[:, : size // 2]) ** 2
    return 10 * np.log10(np.maximum(power @ _band_filters(sample_rate, size // 2).T, 1e-10))


def _slopes(energy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spectral slopes and their weights, each of shape (frames, 24)."""
    slope = np.diff(energy, axis=1)
    bands = slope.shape[1]
    rising = slope > 0
    index = np.arange(bands)
    # first falling slope at or after each band, and last rising slope at or before it
    after = np.where(rising, bands, index)
    after = np.minimum.accumulate(after[:, ::-1], axis=1)[:, ::-1]
    before = np.maximum.accumulate(np.where(rising, index, -1), axis=1)
    peak_band = np.where(rising, after - 1, before + 1)
    peak = np.take_along_axis(energy, peak_band, axis=1)
    level = energy[:, :-1]
    loudest = energy.max(axis=1, keepdims=True)
    return slope, 20 / (20 + loudest - level) / (1 + peak - level)


def _trimmed_mean(values: NDArray[np.float64]) -> float:
    keep = int(np.floor(_KEPT * values.size + 0.5))
    return float(np.sort(values)[: max(keep, 1)].mean())
