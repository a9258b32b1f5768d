"""PESQ, STOI, SI-SDR and the composite opinion scores CSIG, CBAK and COVL."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from septet._core import checks
from septet._core.extras import needs
from septet.speech.metrics._distortion import llr, ssnr, wss


@dataclass(frozen=True)
class Composite:
    """Predicted opinion scores in [1, 5] and the measures that they are made of."""

    csig: float
    """Signal distortion, as heard by a listener who attends to the speech alone."""
    cbak: float
    """Intrusiveness of the background."""
    covl: float
    """Overall quality."""
    pesq: float
    llr: float
    wss: float
    ssnr: float


def pesq(clean: ArrayLike, enhanced: ArrayLike, sample_rate: int = 16000) -> float:
    """Perceptual evaluation of speech quality: wide band at 16 kHz, narrow band at 8 kHz.

    Parameters
    ----------
    clean, enhanced : array_like of shape (n,)
        Signals of equal length.
    sample_rate : {8000, 16000}, default 16000
        In Hz.

    Returns
    -------
    float
        MOS-LQO, about 1 to 4.64.

    Raises
    ------
    ValueError
        If the lengths differ, the rate is another one, or no utterance is found (silence).
    MissingExtraError
        If the package ``pesq`` is not installed.

    References
    ----------
    ITU-T P.862, P.862.1, P.862.2.
    """
    package = needs("pesq", extra="speech-metrics", purpose="PESQ")
    s, e = _pair(clean, enhanced)
    if sample_rate not in (8000, 16000):
        raise ValueError(f"sample_rate must be 8000 or 16000 for PESQ; got {sample_rate}.")
    if not s.any():
        raise ValueError("clean is silent: there is no PESQ of it.")
    if not e.any():
        raise ValueError("enhanced is silent: there is no PESQ of it.")
    try:
        return float(package.pesq(sample_rate, s, e, "wb" if sample_rate == 16000 else "nb"))
    except package.PesqError as error:
        reason = error.args[0] if error.args else type(error).__name__
        reason = reason.decode() if isinstance(reason, bytes) else reason
        raise ValueError(f"clean or enhanced has no PESQ: {reason}.") from None


def stoi(
    clean: ArrayLike, enhanced: ArrayLike, sample_rate: int = 16000, *, extended: bool = False
) -> float:
    """Short-time objective intelligibility in percent.

    Parameters
    ----------
    clean, enhanced : array_like of shape (n,)
        Signals of equal length.
    sample_rate : int, default 16000
        In Hz.
    extended : bool, default False
        Use the extended measure, which also serves for modulated noise.

    Returns
    -------
    float
        Percent; at most 100.

    Raises
    ------
    ValueError
        If the lengths differ, or a signal is shorter than a frame.
    MissingExtraError
        If the package ``pystoi`` is not installed.

    References
    ----------
    C. H. Taal et al.: An algorithm for intelligibility prediction of time-frequency weighted noisy
    speech. IEEE Transactions on Audio, Speech, and Language Processing 19(7), 2011.
    """
    package = needs("pystoi", extra="speech-metrics", purpose="STOI")
    s, e = _pair(clean, enhanced)
    return 100 * float(package.stoi(s, e, sample_rate, extended=extended))


def si_sdr(clean: ArrayLike, enhanced: ArrayLike) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, both signals without their mean.

    It ends at 313 dB either way, which is as far as float64 tells: equal signals have a figure that
    can be averaged.

    Raises
    ------
    ValueError
        If the lengths differ or a signal is constant.

    Examples
    --------
    >>> clean = np.array([1.0, -1.0, 1.0, -1.0])
    >>> round(si_sdr(clean, 3 * clean + [0.3, 0.3, -0.3, -0.3]), 6)
    20.0

    References
    ----------
    J. Le Roux et al.: SDR - half-baked or well done? ICASSP 2019.
    """
    s, e = _pair(clean, enhanced)
    s, e = s - s.mean(), e - e.mean()
    if not s.any():
        raise ValueError("clean must not be constant: there is nothing to scale.")
    if not e.any():
        raise ValueError("enhanced must not be constant: nothing of clean is in it.")
    target = (e @ s) / (s @ s) * s
    distortion = e - target
    least = np.finfo(np.float64).eps ** 2 * (e @ e)
    ratio = max(target @ target, least) / max(distortion @ distortion, least)
    return float(10 * np.log10(ratio))


def composite(
    clean: ArrayLike,
    enhanced: ArrayLike,
    sample_rate: int = 16000,
    *,
    pesq_score: float | None = None,
) -> Composite:
    """Composite opinion scores of Hu and Loizou.

    Parameters
    ----------
    clean, enhanced : array_like of shape (n,)
        Signals of equal length.
    sample_rate : {8000, 16000}, default 16000
        In Hz.
    pesq_score : float, optional
        Use this PESQ instead of computing it.

    Returns
    -------
    Composite

    References
    ----------
    Y. Hu, P. Loizou, 2008 (see `ssnr`).
    """
    quality = pesq(clean, enhanced, sample_rate) if pesq_score is None else float(pesq_score)
    likelihood = llr(clean, enhanced, sample_rate)
    slope = wss(clean, enhanced, sample_rate)
    ratio = ssnr(clean, enhanced, sample_rate)
    csig = 3.093 - 1.029 * likelihood + 0.603 * quality - 0.009 * slope
    cbak = 1.634 + 0.478 * quality - 0.007 * slope + 0.063 * ratio
    covl = 1.594 + 0.805 * quality - 0.512 * likelihood - 0.007 * slope
    scores = [float(np.clip(x, 1, 5)) for x in (csig, cbak, covl)]
    return Composite(scores[0], scores[1], scores[2], quality, likelihood, slope, ratio)


def _pair(clean: ArrayLike, enhanced: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    s, e = checks.vector("clean", clean), checks.vector("enhanced", enhanced)
    if s.size != e.size or s.size == 0:
        raise ValueError(
            f"clean and enhanced must have the same length, at least 1; got {s.size} and {e.size}."
        )
    return s, e
