"""The streaming engine: one channel at 16 kHz, window by window, in constant memory.

Everything that the library enhances goes through it, files and arrays too, so a stream and a file
give the same samples, bit for bit, however the stream is cut.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter

from septet.speech._signal import EMPHASIS

Signal = NDArray[np.float64]
_BLOCKING = 0.999  # pole of the high-pass that removes an offset: 2.5 Hz at 16 kHz
_NOMINAL = 0.015  # level after emphasis that speech at -26 dBFS has
_SOFTEST = 1e-5


class ChannelEngine:
    """Enhance one channel at 16 kHz as it arrives.

    Parameters
    ----------
    network : callable
        Maps a pre-emphasised window, a tensor of shape (1, 1, T), to the enhanced one.
    window : int
        T.
    fade : int
        Samples that neighbouring windows share, at most T / 2; they are cross-faded with squared
        sines, whose sum is one. 0 joins windows end to end, as the paper's evaluation does.
    normalise : bool
        Whether each window is brought to the level of ordinary speech before the network, and back
        after it.

    Notes
    -----
    Output sample n depends on input up to ``n + window - 1``. Windows are computed one at a time:
    libraries choose other algorithms for other batch sizes, and the sums would differ in the last
    bit.
    """

    def __init__(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        *,
        window: int,
        fade: int,
        normalise: bool,
    ) -> None:
        self._network = network
        self._normalise = normalise
        self._hop = window - fade
        self._taper = _taper(window, fade)
        self._waiting = np.zeros(window)
        self._filled = fade  # the first window begins `fade` samples before the signal
        self._surplus = fade  # output that lies before the signal
        self._tail = np.zeros(fade)
        self._blocker = np.zeros(1)
        self._before = 0.0  # last sample before emphasis
        self._de_emphasis = np.zeros(1)
        self._pending = 0  # samples taken in and not yet given out

    def process(self, samples: Signal) -> Signal:
        """Take in samples, shape (n,), and return those that are ready."""
        self._pending += samples.size
        if not samples.size:
            return np.zeros(0)
        steady, self._blocker = lfilter([1.0, -1.0], [1.0, -_BLOCKING], samples, zi=self._blocker)
        emphasised = steady - EMPHASIS * np.concatenate([[self._before], steady[:-1]])
        self._before = steady[-1]
        return self._finished(self._windows(emphasised))

    def flush(self) -> Signal:
        """Return the rest: as many samples come out in all as went in."""
        parts = [np.zeros(0)]
        while self._pending:
            silence = np.zeros(self._waiting.size - self._filled)
            parts.append(self._finished(self._windows(silence)))
        return np.concatenate(parts)

    def _windows(self, emphasised: Signal) -> Signal:
        """Fill the window as often as the samples suffice; return what is ready."""
        parts = [np.zeros(0)]
        taken = 0
        while taken < emphasised.size:
            part = emphasised[taken : taken + self._waiting.size - self._filled]
            self._waiting[self._filled : self._filled + part.size] = part
            self._filled += part.size
            taken += part.size
            if self._filled == self._waiting.size:
                parts.append(self._window())
        return np.concatenate(parts)

    def _window(self) -> Signal:
        piece = self._enhance(self._waiting) * self._taper
        fade = self._tail.size
        piece[:fade] += self._tail
        self._tail = piece[self._hop :]
        self._waiting[:fade] = self._waiting[self._hop :].copy()
        self._filled = fade
        return piece[: self._hop]

    def _finished(self, ready: Signal) -> Signal:
        """Drop what lies before and after the signal, and undo the emphasis."""
        dropped = min(self._surplus, ready.size)
        self._surplus -= dropped
        ready = ready[dropped : dropped + self._pending]
        self._pending -= ready.size
        if not ready.size:
            return ready
        output, self._de_emphasis = lfilter([1.0], [1.0, -EMPHASIS], ready, zi=self._de_emphasis)
        return output

    def _enhance(self, window: Signal) -> Signal:
        gain = 1.0
        if self._normalise:
            level = max(float(np.sqrt(np.mean(window**2))), _SOFTEST)
            gain = min(_NOMINAL / level, 1 / max(float(np.abs(window).max()), _SOFTEST))
        raw = torch.from_numpy((gain * window).astype(np.float32)).reshape(1, 1, -1)
        with torch.inference_mode():
            output = self._network(raw)
        return output.reshape(-1).double().numpy() / gain


def _taper(window: int, fade: int) -> Signal:
    taper = np.ones(window)
    if fade:
        rise = np.sin(np.pi * (np.arange(fade) + 0.5) / (2 * fade)) ** 2
        taper[:fade] = rise
        taper[window - fade :] = rise[::-1]
    return taper
