"""Scores of many recordings: per file, their means with intervals, and systems beside each other.

A measure that punishes what nobody hears (a shift by one sample ruins the segmental ratio and
leaves PESQ alone) is only worth something on aligned recordings, so every pair is diagnosed.
"""

import csv
import io
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import correlate

from septet._core import checks
from septet._core.errors import DataError, SeptetWarning
from septet._core.files import PathLike, write_text
from septet.signal import AUDIO_SUFFIXES, audio_info, read_audio
from septet.speech.metrics._composite import composite, si_sdr, stoi

MEASURES = ("pesq", "csig", "cbak", "covl", "ssnr", "stoi", "si_sdr")
"""Names of the measures, in the order in which tables show them."""
_LONGEST_SHIFT = 0.06  # seconds within which a delay is looked for
_RATE = 16000


@dataclass(frozen=True)
class Diagnosis:
    """How a recording lies relative to the clean one.

    Attributes
    ----------
    shift : int
        Samples by which it lags behind (negative: leads), found where the correlation is largest.
    inverted : bool
        Whether its polarity is the opposite.
    gain_db : float
        Level of the clean signal in it.
    """

    shift: int
    inverted: bool
    gain_db: float

    @property
    def remarks(self) -> str:
        """What disturbs sample-wise measures, in words; empty if nothing does."""
        found = []
        if self.shift:
            found.append(f"{'late' if self.shift > 0 else 'early'} by {abs(self.shift)} samples")
        if self.inverted:
            found.append("polarity inverted")
        if abs(self.gain_db) > 3:
            found.append(f"level {self.gain_db:+.1f} dB")
        return ", ".join(found)


def diagnose(clean: ArrayLike, other: ArrayLike, sample_rate: int = _RATE) -> Diagnosis:
    """Find delay (up to 60 ms), polarity and level of a recording relative to the clean one.

    Parameters
    ----------
    clean, other : array_like of shape (n,)
        Signals of equal length.
    sample_rate : int, default 16000
        In Hz.

    Examples
    --------
    >>> clean = np.random.default_rng(0).normal(size=4000)
    >>> diagnose(clean, -0.5 * np.roll(clean, 7)).remarks
    'late by 7 samples, polarity inverted, level -6.0 dB'
    """
    s, e = checks.vector("clean", clean), checks.vector("other", other)
    if s.size != e.size:
        raise ValueError(f"clean and other must have the same length; got {s.size} and {e.size}.")
    if not s.any() or not e.any():
        return Diagnosis(0, False, 0.0)
    reach = min(round(_LONGEST_SHIFT * sample_rate), s.size - 1)
    products = correlate(e, s, method="fft")[s.size - 1 - reach : s.size + reach]
    best = int(np.argmax(np.abs(products)))
    gain = products[best] / (s @ s)
    return Diagnosis(best - reach, bool(gain < 0), float(20 * np.log10(abs(gain) + 1e-12)))


def aligned(clean: ArrayLike, other: ArrayLike, sample_rate: int = _RATE) -> NDArray[np.float64]:
    """Return `other` without its delay of up to 60 ms relative to `clean`, filled up with zeros."""
    e = checks.vector("other", other)
    shift = diagnose(clean, e, sample_rate).shift
    if shift >= 0:
        return np.concatenate([e[shift:], np.zeros(shift)])
    return np.concatenate([np.zeros(-shift), e[:shift]])


def scores(clean: ArrayLike, enhanced: ArrayLike, sample_rate: int = _RATE) -> dict[str, float]:
    """All measures of one recording, by name; NaN throughout where the clean one is silent.

    Parameters
    ----------
    clean, enhanced : array_like of shape (n,)
        Signals of equal length.
    sample_rate : {8000, 16000}, default 16000
        In Hz.
    """
    s = checks.vector("clean", clean)
    if not s.any():
        return dict.fromkeys(MEASURES, float("nan"))
    made = composite(s, enhanced, sample_rate)
    return {
        "pesq": made.pesq,
        "csig": made.csig,
        "cbak": made.cbak,
        "covl": made.covl,
        "ssnr": made.ssnr,
        "stoi": stoi(s, enhanced, sample_rate),
        "si_sdr": si_sdr(s, enhanced),
    }


@dataclass(frozen=True)
class Scores:
    """Scores of one system over many recordings.

    Attributes
    ----------
    names : tuple of str
        Of the recordings.
    rows : tuple of mapping
        The measures of each, NaN where there is none.
    remarks : tuple of str
        What the diagnosis of each found; empty if nothing.
    """

    names: tuple[str, ...]
    rows: tuple[Mapping[str, float], ...]
    remarks: tuple[str, ...] = field(default=())

    def column(self, measure: str) -> NDArray[np.float64]:
        """One measure of every recording."""
        return np.array([row[measure] for row in self.rows])

    def summary(self, *, seed: int = 0, confidence: float = 0.95) -> list[dict[str, Any]]:
        """Mean of every measure with its bootstrap interval over recordings.

        Recordings without a figure are left out and counted under ``"missing"``.
        """
        return [
            {"measure": m, **interval(self.column(m), seed=seed, confidence=confidence)}
            for m in MEASURES
        ]

    def minus(
        self, other: "Scores", *, seed: int = 0, confidence: float = 0.95
    ) -> list[dict[str, Any]]:
        """Mean differences to another system on the same recordings, with paired intervals.

        Raises
        ------
        ValueError
            If the recordings are not the same.
        """
        if self.names != other.names:
            odd = sorted(set(self.names) ^ set(other.names)) or ["their order"]
            raise ValueError(f"both systems must have scored the same recordings; apart: {odd[0]}.")
        return [
            {
                "measure": m,
                **interval(self.column(m) - other.column(m), seed=seed, confidence=confidence),
            }
            for m in MEASURES
        ]

    def to_csv(self, path: PathLike | None = None) -> str:
        """Return one line a recording as CSV, and write it to `path` if given."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", *MEASURES, "remarks"])
        for name, row, remark in zip(self.names, self.rows, self.remarks, strict=True):
            writer.writerow([name, *(f"{row[m]:.6g}" for m in MEASURES), remark])
        if path is not None:
            write_text(path, text.getvalue())
        return text.getvalue()


def interval(
    values: ArrayLike, *, seed: int = 0, confidence: float = 0.95, draws: int = 4000
) -> dict[str, Any]:
    """Mean with its percentile bootstrap interval; values that are NaN are left out and counted.

    Examples
    --------
    >>> found = interval([1.0, 1.0, 1.0, float("nan")])
    >>> found["mean"], found["low"], found["n"], found["missing"]
    (1.0, 1.0, 3, 1)
    """
    confidence = checks.number("confidence", confidence, above=0, below=1)
    every = np.asarray(values, dtype=np.float64)
    kept = checks.vector("values", every[~np.isnan(every)])
    if not kept.size:
        return {"mean": None, "low": None, "high": None, "n": 0, "missing": every.size}
    picked = np.random.default_rng(seed).integers(kept.size, size=(draws, kept.size))
    tails = (1 - confidence) / 2
    low, high = np.quantile(kept[picked].mean(axis=1), [tails, 1 - tails])
    return {
        "mean": float(kept.mean()),
        "low": float(low),
        "high": float(high),
        "n": int(kept.size),
        "missing": int(every.size - kept.size),
    }


def score_pairs(
    clean: PathLike,
    enhanced: PathLike,
    *,
    allow_length_mismatch: bool = False,
    align: bool = False,
    workers: int = 1,
) -> Scores:
    """Score every recording of a folder beside its clean twin of the same name.

    Parameters
    ----------
    clean, enhanced : path
        Folders, searched with what lies below them, or two files. Endings may differ. Both of a
        pair must have one rate; other rates than 8 and 16 kHz are converted to 16 kHz.
    allow_length_mismatch : bool, default False
        Cut the longer of a pair instead of refusing it.
    align : bool, default False
        Take out delays of up to 60 ms before scoring.
    workers : int, default 1
        Processes.

    Returns
    -------
    Scores
        Recordings in the order of their names. A silent clean recording scores NaN and is said.

    Raises
    ------
    DataError
        If a recording has no twin or cannot be read, rates or lengths differ, or there is none.
    """
    pairs = _twins(Path(clean), Path(enhanced))
    jobs = [(name, c, e, allow_length_mismatch, align) for name, c, e in pairs]
    workers = checks.integer("workers", workers, low=1)
    if workers == 1 or len(jobs) == 1:
        done = [_score(job) for job in jobs]
    else:
        with ProcessPoolExecutor(min(workers, len(jobs))) as pool:
            done = list(pool.map(_score, jobs))
    for name, row, _ in done:
        if np.isnan(row["pesq"]):
            warnings.warn(
                f"{name} is silent in the clean folder: no score.", SeptetWarning, stacklevel=2
            )
    return Scores(
        tuple(name for name, _, _ in done),
        tuple(row for _, row, _ in done),
        tuple(remark for _, _, remark in done),
    )


def _score(job: tuple[str, Path, Path, bool, bool]) -> tuple[str, dict[str, float], str]:
    name, clean, enhanced, cut, align = job
    s, e, rate = _read_pair(clean, enhanced, cut)
    found = diagnose(s, e, rate)
    if align and found.shift:
        e = aligned(s, e, rate)
    try:
        return name, scores(s, e, rate), found.remarks
    except ValueError as error:
        raise DataError(f"{enhanced}: {error}") from None


def _read_pair(
    clean: Path, enhanced: Path, cut: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    if clean.resolve() == enhanced.resolve():
        warnings.warn(f"{clean} is scored against itself.", SeptetWarning, stacklevel=4)
    rates = [audio_info(path).sample_rate for path in (clean, enhanced)]
    if rates[0] != rates[1]:
        raise DataError(f"{clean} has {rates[0]} Hz and {enhanced} {rates[1]} Hz.")
    rate = rates[0] if rates[0] in (8000, _RATE) else _RATE
    s, e = (read_audio(p, sample_rate=rate).samples.astype(np.float64) for p in (clean, enhanced))
    if s.size != e.size:
        if not cut:
            raise DataError(
                f"{clean} has {s.size} samples and {enhanced} {e.size}: allow_length_mismatch "
                "(--allow-length-mismatch) cuts the longer one."
            )
        s, e = (x[: min(s.size, e.size)] for x in (s, e))
    return s, e, rate


def _twins(clean: Path, enhanced: Path) -> list[tuple[str, Path, Path]]:
    if clean.is_file() and enhanced.is_file():
        return [(clean.stem, clean, enhanced)]
    wanted, found = _by_name(clean), _by_name(enhanced)
    if odd := sorted(wanted.keys() ^ found.keys()):
        where, lacking = (clean, enhanced) if odd[0] in wanted else (enhanced, clean)
        raise DataError(f"{odd[0]} is in {where} but not in {lacking} ({len(odd)} such names).")
    return [(name, wanted[name], found[name]) for name in sorted(wanted)]


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.")
    named: dict[str, Path] = {}
    for path in audio_files(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in named:
            raise DataError(f"{folder} has two recordings {name}: {named[name].name}, {path.name}.")
        named[name] = path
    if not named:
        raise DataError(f"{folder} holds no recording.")
    return named


def audio_files(folder: Path) -> Iterable[Path]:
    """Recordings in a folder and below it, by their names."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
