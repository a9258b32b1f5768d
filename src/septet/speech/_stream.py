"""A stream at any sample rate: converted to 16 kHz, enhanced, mixed, converted back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import lfilter

from septet._core.extras import needs
from septet.speech._engine import ChannelEngine, Signal
from septet.speech._signal import SAMPLE_RATE

# More than both converters together hold back: some of it is time, some a number of samples.
_CONVERTER_SECONDS, _CONVERTER_SAMPLES = 0.1, 1500
_SMOOTHING = 0.995  # pole of the energies that the high band's gain is measured by: 12 ms


@dataclass(frozen=True)
class Mixing:
    """What is added to the enhanced signal.

    Attributes
    ----------
    dry : float
        Share of the input.
    keep_highband : bool
        Whether what lies above 8 kHz passes at the gain measured below.
    """

    dry: float = 0.0
    keep_highband: bool = False


class Stream:
    """Noisy samples in, enhanced samples out, later by `latency_samples`.

    Made by `Denoiser.stream`. As many samples come out as went in, once `flush` was called.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    n_channels : int
        Channels.
    latency_samples : int
        After n samples went in, at least n minus this many have come out.

    Examples
    --------
    >>> from septet.speech import Denoiser, NetworkConfig
    >>> network = NetworkConfig(attention=(), channels=(8, 8), window=256)
    >>> stream = Denoiser(network.generator(seed=0), network).stream(16000)
    >>> stream.process(np.zeros(1000)).size, stream.flush().size, stream.flush().size
    (768, 232, 0)
    """

    def __init__(
        self,
        engine: Callable[[], ChannelEngine],
        *,
        sample_rate: int,
        n_channels: int,
        window: int,
        mixing: Mixing,
    ) -> None:
        self.sample_rate = sample_rate
        self.n_channels = n_channels
        self.latency_samples = -(-window * sample_rate // SAMPLE_RATE)
        if sample_rate != SAMPLE_RATE:
            self.latency_samples += int(_CONVERTER_SECONDS * sample_rate) + _CONVERTER_SAMPLES
        self._lanes = [_Lane(engine(), sample_rate, mixing) for _ in range(n_channels)]
        self._taken = 0
        self._given = 0
        self._flat = n_channels == 1
        self._closed = False

    def process(self, samples: ArrayLike, sample_rate: int | None = None) -> Signal:
        """Take in a piece of any length and return what is ready.

        Parameters
        ----------
        samples : array_like of shape (n,) or (channels, n)
            Floats, 1.0 being full scale; n may be 0. A stream of one channel takes and returns
            1-D arrays, or 2-D ones if it is given such.
        sample_rate : int, optional
            If given, it must be the stream's own.

        Returns
        -------
        ndarray of float64, shape (m,) or (channels, m)
            The next m enhanced samples.

        Raises
        ------
        TypeError
            If the samples are no floats.
        ValueError
            If the stream was flushed, or the rate, the number of channels or a sample is wrong;
            nothing has been taken in then.
        """
        if self._closed:
            raise ValueError("this stream was flushed: make a new one.")
        if sample_rate is not None and sample_rate != self.sample_rate:
            raise ValueError(
                f"the stream runs at {self.sample_rate} Hz; got samples at {sample_rate} Hz."
            )
        piece = np.asarray(samples)
        if piece.dtype.kind != "f":
            raise TypeError(f"samples must be floats, 1.0 being full scale; got {piece.dtype}.")
        piece = piece.astype(np.float64, copy=False)
        self._flat = piece.ndim == 1
        grid = piece[None] if piece.ndim == 1 else piece
        if grid.ndim != 2 or grid.shape[0] != self.n_channels:
            raise ValueError(
                f"samples must have {self.n_channels} channels; got shape {piece.shape}."
            )
        if not np.isfinite(grid).all():
            where = self._taken + int(np.argwhere(~np.isfinite(grid))[0][1])
            raise ValueError(f"sample {where} of the stream is not finite.")
        self._taken += grid.shape[1]
        ready = [lane.process(row) for lane, row in zip(self._lanes, grid, strict=True)]
        return self._give(np.stack(ready))

    def flush(self) -> Signal:
        """Return the remaining samples; a second call returns none."""
        ready = np.zeros((self.n_channels, 0))
        if not self._closed:
            self._closed = True
            missing = self._taken - self._given
            ready = np.stack([_fitted(lane.flush(), missing) for lane in self._lanes])
        return self._give(ready)

    def _give(self, ready: Signal) -> Signal:
        self._given += ready.shape[1]
        return ready[0] if self._flat and self.n_channels == 1 else ready


class _Lane:
    """One channel from its own rate to 16 kHz and back."""

    def __init__(self, engine: ChannelEngine, sample_rate: int, mixing: Mixing) -> None:
        self._engine = engine
        self._mixing = mixing
        self._down = _converter(sample_rate, SAMPLE_RATE)
        self._up = _converter(SAMPLE_RATE, sample_rate)
        self._waiting = np.zeros(0)  # input at 16 kHz whose enhanced twin is not ready
        self._high = None
        if mixing.keep_highband and sample_rate > SAMPLE_RATE:
            self._high = _HighBand(sample_rate)

    def process(self, samples: Signal) -> Signal:
        if self._high is not None:
            self._high.take(samples)
        return self._finish(self._low(self._down(samples, False)), False)

    def flush(self) -> Signal:
        first = self._low(self._down(np.zeros(0), True))
        rest = self._mixed(self._engine.flush())
        low = tuple(np.concatenate(pair) for pair in zip(first, rest, strict=True))
        return self._finish((low[0], low[1]), True)

    def _low(self, samples: Signal) -> tuple[Signal, Signal]:
        self._waiting = np.concatenate([self._waiting, samples])
        return self._mixed(self._engine.process(samples))

    def _mixed(self, enhanced: Signal) -> tuple[Signal, Signal]:
        """Return the mixture and the input that it came from, both at 16 kHz."""
        noisy = self._waiting[: enhanced.size]
        self._waiting = self._waiting[enhanced.size :]
        if self._mixing.dry:
            enhanced = (1 - self._mixing.dry) * enhanced + self._mixing.dry * noisy
        return enhanced, noisy

    def _finish(self, low: tuple[Signal, Signal], last: bool) -> Signal:
        enhanced, noisy = low
        output = self._up(enhanced, last)
        if self._high is not None:
            output = output + self._high.give(enhanced, noisy, output.size, last)
        return output


class _HighBand:
    """What lies above 8 kHz, at the gain that the enhancement has below."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._up = _converter(SAMPLE_RATE, sample_rate)
        self._input = np.zeros(0)
        self._gains = np.zeros(0)
        self._given = 0
        self._first = 0  # 16 kHz index of the first gain kept
        self._states = [np.zeros(1), np.zeros(1)]

    def take(self, samples: Signal) -> None:
        self._input = np.concatenate([self._input, samples])

    def give(self, enhanced: Signal, noisy: Signal, count: int, last: bool) -> Signal:
        energies = []
        for k, signal in enumerate((enhanced, noisy)):
            if signal.size:
                smooth, self._states[k] = lfilter(
                    [1 - _SMOOTHING], [1.0, -_SMOOTHING], signal**2, zi=self._states[k]
                )
                energies.append(smooth)
        if energies:
            gain = np.sqrt(np.minimum(1.0, energies[0] / (energies[1] + 1e-12)))
            self._gains = np.concatenate([self._gains, gain])
        low = self._up(noisy, last)[:count]
        original = _fitted(self._input[:count], low.size)
        self._input = self._input[count:]
        places = (self._given + np.arange(low.size)) * SAMPLE_RATE // self._rate - self._first
        self._given += low.size
        factors = self._gains[np.minimum(places, self._gains.size - 1)] if low.size else low
        spent = max(0, self._given * SAMPLE_RATE // self._rate - self._first)
        spent = min(spent, max(0, self._gains.size - 1))
        self._gains, self._first = self._gains[spent:], self._first + spent
        return _fitted(factors * (original - low), count)


def _converter(source: int, target: int) -> Callable[[Signal, bool], Signal]:
    """Return the function that converts the next piece of a signal."""
    if source == target:
        return lambda samples, last: samples
    soxr = needs("soxr", extra="audio", purpose="enhancing at another rate than 16 kHz")
    stream: Any = soxr.ResampleStream(source, target, 1, dtype="float64", quality="HQ")

    def convert(samples: Signal, last: bool) -> Signal:
        return stream.resample_chunk(np.ascontiguousarray(samples), last=last)

    return convert


def _fitted(signal: Signal, size: int) -> Signal:
    """Cut or fill up with zeros: converters may end a sample early or late."""
    return np.concatenate([signal[:size], np.zeros(max(0, size - signal.size))])
