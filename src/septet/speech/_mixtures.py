"""Training windows: pairs of recordings cut up, or speech and noise mixed on the fly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter
from torch import Tensor

from septet._core import checks
from septet.signal import resample
from septet.speech._signal import active_level, from_int16
from septet.training import SampleOrder, derive_seed

SPEECH_LEVEL = 0.05  # active level of every utterance, -26 dBFS
_BABBLE_VOICES = 6


class Batches(Protocol):
    """Where training batches come from: a function of the index, so that a run can resume."""

    window: int

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Clean and noisy windows of batch `index`, each of shape (B, 1, T)."""

    def names(self, index: int) -> list[str]:
        """Where the windows of batch `index` come from."""


class PairWindows:
    """Windows of paired recordings, half overlapping, in shuffled order.

    Parameters
    ----------
    pairs : sequence of (name, clean, noisy)
        16-bit recordings at 16 kHz of one length each, as NumPy arrays of shape (n,), int16.
    window : int, default 16384
        Length in samples. The incomplete last window of a recording is dropped.
    hop : int, optional
        Distance between windows; half a window by default.
    batch_size : int, default 50
        Windows per batch.
    seed : int, default 0
        Of the order.

    Raises
    ------
    ValueError
        If the two recordings of a pair differ in length, or no pair is as long as one window.

    Examples
    --------
    >>> ramp = np.arange(100, dtype=np.int16)
    >>> windows = PairWindows([("ramp", ramp, ramp)], window=40, batch_size=2)
    >>> len(windows), windows.batch(0)[0].shape
    (4, torch.Size([2, 1, 40]))
    """

    def __init__(
        self,
        pairs: Sequence[tuple[str, NDArray[np.int16], NDArray[np.int16]]],
        *,
        window: int = 16384,
        hop: int | None = None,
        batch_size: int = 50,
        seed: int = 0,
    ) -> None:
        self.window = checks.integer("window", window, low=2)
        self.batch_size = checks.integer("batch_size", batch_size, low=1)
        hop = window // 2 if hop is None else checks.integer("hop", hop, low=1)
        self._pairs = list(pairs)
        self._places: list[tuple[int, int]] = []
        for i, (name, clean, noisy) in enumerate(self._pairs):
            if clean.shape != noisy.shape or clean.ndim != 1:
                raise ValueError(
                    f"{name}: clean has shape {clean.shape} and noisy {noisy.shape}; they must be "
                    "1-D and agree."
                )
            self._places += [(i, start) for start in range(0, clean.size - window + 1, hop)]
        if not self._places:
            raise ValueError(f"no pair is as long as one window of {window} samples.")
        self._order = SampleOrder(len(self._places), seed=seed)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._places)

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Clean and noisy windows of batch `index`, each of shape (B, 1, T), float32."""
        clean, noisy = [], []
        for i, start in self._chosen(index):
            _, c, n = self._pairs[i]
            clean.append(from_int16(c[start : start + self.window]))
            noisy.append(from_int16(n[start : start + self.window]))
        return torch.from_numpy(np.stack(clean))[:, None], torch.from_numpy(np.stack(noisy))[
            :, None
        ]

    def names(self, index: int) -> list[str]:
        """Return the names of the pairs in batch `index`."""
        return sorted({self._pairs[i][0] for i, _ in self._chosen(index)})

    def _chosen(self, index: int) -> list[tuple[int, int]]:
        taken = self._order.take(index * self.batch_size, self.batch_size)
        return [self._places[k] for k in taken]


@dataclass(frozen=True)
class Voice:
    """The utterances of one speaker, one after the other, all at the same active level.

    Attributes
    ----------
    name : str
    samples : ndarray of shape (n,), int16
        At 16 kHz.
    weight : float
        How often the voice is drawn, relative to others.
    """

    name: str
    samples: NDArray[np.int16]
    weight: float = 1.0

    @classmethod
    def join(
        cls, name: str, utterances: Sequence[NDArray[np.floating]], weight: float = 1.0
    ) -> "Voice":
        """Bring utterances to -26 dBFS of active level and join them; silent ones are left out."""
        levelled = [levelled_int16(x) for x in utterances if active_level(x) > 0]
        if not levelled:
            raise ValueError(f"{name} has no utterance that is not silent.")
        return cls(name, np.concatenate(levelled), weight)

    def split(self, share: float) -> tuple["Voice", "Voice"]:
        """Return the first `share` of the samples and the rest as two voices."""
        cut = int(share * self.samples.size)
        return replace(self, samples=self.samples[:cut]), replace(self, samples=self.samples[cut:])


def levelled_int16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    """Bring a recording to an active level of -26 dBFS, or to full scale if that comes first."""
    loud = samples * (SPEECH_LEVEL / active_level(samples))
    peak = float(np.abs(loud).max())
    if peak > 1:
        loud = loud / peak
    return np.round(loud * 32767).astype(np.int16)


class Mixtures:
    """Speech with noise, mixed on the fly with a controlled ratio on active speech.

    Every window is drawn anew: a voice, a place in it, a speed; a noise, which is a recording or
    the sum of two (each played at another speed), coloured random noise or babble of six voices;
    short random filters for both, as other microphones would be; and a ratio. A share of windows is
    left clean, so that the network learns to leave clean speech alone.

    Parameters
    ----------
    voices : sequence of Voice
        Speakers.
    noises : sequence of (name, samples)
        Recordings of noise at 16 kHz, int16, of any length of at least one sample.
    window : int, default 16384
        Length in samples.
    batch_size : int, default 8
        Windows per batch.
    snr_db : sequence of float, default (0, 5, 10, 15)
        Ratios to draw from.
    speeds : sequence of float, default (1.0,)
        Speeds of the speech to draw from.
    synthetic : float, default 0.0
        Share of windows with coloured noise or babble instead of a recording.
    varied : bool, default False
        Whether recordings of noise are played at random speeds, a quarter of them in twos, and
        speech and noise go through random filters.
    clean : float, default 0.0
        Share of windows without noise.
    seed : int, default 0
        Of everything drawn.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> voice = Voice.join("a", [rng.normal(size=4000)])
    >>> hiss = ("hiss", (3000 * rng.normal(size=999)).astype(np.int16))
    >>> clean, noisy = Mixtures([voice], [hiss], window=1024, batch_size=3).batch(0)
    >>> clean.shape, bool((clean == noisy).any())
    (torch.Size([3, 1, 1024]), False)
    """

    def __init__(
        self,
        voices: Sequence[Voice],
        noises: Sequence[tuple[str, NDArray[np.int16]]],
        *,
        window: int = 16384,
        batch_size: int = 8,
        snr_db: Sequence[float] = (0.0, 5.0, 10.0, 15.0),
        speeds: Sequence[float] = (1.0,),
        synthetic: float = 0.0,
        varied: bool = False,
        clean: float = 0.0,
        seed: int = 0,
    ) -> None:
        if not voices or not noises:
            raise ValueError("at least one voice and one noise are needed.")
        self.window = checks.integer("window", window, low=2)
        self.batch_size = checks.integer("batch_size", batch_size, low=1)
        self.snr_db = tuple(snr_db)
        self.speeds = tuple(speeds)
        self.synthetic = checks.number("synthetic", synthetic, low=0, high=1)
        self.clean = checks.number("clean", clean, low=0, high=1)
        self.varied = varied
        self.seed = seed
        self._voices, self._noises = list(voices), list(noises)
        weights = np.array([voice.weight for voice in voices])
        self._odds = weights / weights.sum()

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Clean and noisy windows of batch `index`, each of shape (B, 1, T), float32."""
        rows = [self._window(index, row) for row in range(self.batch_size)]
        clean, noisy = (np.stack([row[k] for row in rows]).astype(np.float32) for k in (0, 1))
        return torch.from_numpy(clean)[:, None], torch.from_numpy(noisy)[:, None]

    def names(self, index: int) -> list[str]:
        """Return the voices and noises of batch `index`."""
        return sorted(
            {name for row in range(self.batch_size) for name in self._window(index, row)[2]}
        )

    def _window(
        self, index: int, row: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[str, str]]:
        rng = np.random.default_rng(derive_seed(self.seed, "window", index, row))
        voice = self._voices[rng.choice(len(self._voices), p=self._odds)]
        speech = self._speech(voice, rng)
        if rng.random() < self.clean:
            return speech, speech, (voice.name, "nothing")
        name, noise = self._noise(rng)
        level = np.sqrt(np.mean(noise**2)) + 1e-9
        gain = SPEECH_LEVEL / level * 10 ** (-rng.choice(self.snr_db) / 20)
        return speech, speech + gain * noise, (voice.name, name)

    def _speech(self, voice: Voice, rng: np.random.Generator) -> NDArray[np.float64]:
        speed = rng.choice(self.speeds)
        if speed == 1:
            speech = _cut(voice.samples, self.window, rng)
        else:
            piece = _cut(voice.samples, int(self.window * speed) + 2, rng)
            rate = round(1000 * speed)
            speech = resample(piece, rate, 1000, quality="medium", length=self.window)
        if not self.varied:
            return speech
        coloured = _filtered(speech, rng)
        loudness = np.sqrt(np.mean(speech**2) / (np.mean(coloured**2) + 1e-12))
        return coloured * loudness

    def _noise(self, rng: np.random.Generator) -> tuple[str, NDArray[np.float64]]:
        if rng.random() < self.synthetic:
            if rng.random() < 0.5:
                return "coloured noise", _coloured(self.window, rng)
            return "babble", self._babble(rng)
        name, noise = self._recorded(rng)
        if self.varied and rng.random() < 0.25:
            second, other = self._recorded(rng)
            name, noise = f"{name} and {second}", noise + rng.uniform(0.3, 1.0) * other
        return name, noise

    def _recorded(self, rng: np.random.Generator) -> tuple[str, NDArray[np.float64]]:
        name, samples = self._noises[rng.integers(len(self._noises))]
        if not self.varied:
            return name, _cut(samples, self.window, rng)
        speed = 2 ** rng.uniform(-0.5, 0.5)
        piece = _cut(samples, int(self.window * speed) + 2, rng)
        noise = np.interp(np.arange(self.window) * speed, np.arange(piece.size), piece)
        return name, _filtered(noise, rng)

    def _babble(self, rng: np.random.Generator) -> NDArray[np.float64]:
        chosen = rng.choice(len(self._voices), size=_BABBLE_VOICES, p=self._odds)
        cut = (_cut(self._voices[k].samples, self.window, rng) for k in chosen)
        return np.sum([rng.uniform(0.5, 1.0) * piece for piece in cut], axis=0)


def _cut(samples: NDArray[np.int16], length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Cut a random piece; what is shorter goes round."""
    start = int(rng.integers(max(1, samples.size - length + 1)))
    if samples.size >= length:
        return samples[start : start + length] / 32768.0
    start = int(rng.integers(samples.size))
    return np.take(samples, np.arange(start, start + length), mode="wrap") / 32768.0


def _filtered(samples: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `samples` after a short random filter."""
    taps = rng.normal(size=6) * 0.5 ** np.arange(6)
    taps[0] = 1
    return np.asarray(lfilter(taps, 1.0, samples))


def _coloured(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random noise whose spectrum falls by up to 9 dB per octave, in parts slowly modulated."""
    spectrum = np.fft.rfft(rng.normal(size=length))
    tilt = np.maximum(np.arange(spectrum.size), 20.0) ** -rng.uniform(0, 1.5)
    noise = np.fft.irfft(spectrum * tilt, length)
    if rng.random() < 0.5:
        depth, rate = rng.uniform(0, 0.9), rng.uniform(0.5, 8)
        phase = rng.uniform(0, 2 * np.pi)
        noise *= 1 + depth * np.sin(2 * np.pi * rate * np.arange(length) / 16000 + phase)
    return noise
