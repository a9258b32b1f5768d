"""The short-time Fourier transform that front-ends share."""

import numpy as np
import torch
from torch import Tensor, nn

from septet._core import checks
from septet.signal._frames import frames


class STFT(nn.Module):
    """Short-time Fourier transform with centred frames and zero padding.

    ``X[f, n] = sum_t w[t] x[n hop + t - n_fft // 2] exp(-2 pi j f t / n_fft)``, x being zero
    outside the clip; a window shorter than `n_fft` stands in the middle of the frame.

    Parameters
    ----------
    n_fft : int, default 2048
        Length of the transform in samples.
    hop : int, default 512
        Distance between two frames in samples; at most `n_fft`.
    window_length : int, optional
        Length of the periodic Hann window in samples, `n_fft` by default.
    center : bool, default True
        Whether frame n lies around sample ``n hop`` (``n_samples // hop + 1`` frames) or begins
        there (only frames inside the clip).
    device, dtype
        Of the window; float32 by default. The input must have the same dtype.

    Raises
    ------
    ValueError
        If a number is out of range, `hop` > `n_fft` or `window_length` > `n_fft`.

    Notes
    -----
    Frames come out time first, as they lie in memory, because every front-end multiplies along
    frequency next. While an ONNX graph is exported, the transform is two real matrix products
    (complex numbers do not exist there); the figures agree to rounding.

    Examples
    --------
    >>> stft = STFT(n_fft=8, hop=4, dtype=torch.float64)
    >>> stft(torch.ones(1, 16, dtype=torch.float64)).shape
    torch.Size([1, 5, 5])
    """

    window: Tensor

    def __init__(
        self,
        n_fft: int = 2048,
        hop: int = 512,
        *,
        window_length: int | None = None,
        center: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.n_fft = checks.integer("n_fft", n_fft, low=2)
        self.hop = checks.integer("hop", hop, low=1)
        length = self.n_fft if window_length is None else window_length
        self.window_length = checks.integer("window_length", length, low=1)
        self.center = bool(center)
        if self.hop > self.n_fft:
            raise ValueError(f"hop = {self.hop} leaves gaps between frames of n_fft = {n_fft}.")
        if self.window_length > self.n_fft:
            raise ValueError(f"window_length = {self.window_length} exceeds n_fft = {n_fft}.")
        window = np.zeros(self.n_fft)
        start = (self.n_fft - self.window_length) // 2
        window[start : start + self.window_length] = hann(self.window_length)
        self.register_buffer(
            "window", torch.tensor(window, dtype=dtype, device=device), persistent=False
        )

    def forward(self, samples: Tensor) -> Tensor:
        """Return the complex transform of shape (..., n_frames, n_fft // 2 + 1)."""
        return torch.fft.rfft(self._windowed(samples))

    def power(self, samples: Tensor) -> Tensor:
        """Return ``|X|^2``, real, of shape (..., n_frames, n_fft // 2 + 1)."""
        if torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting():
            real, imaginary = self._real_products(self._windowed(samples))
        else:
            spectrum = torch.view_as_real(self(samples))
            real, imaginary = spectrum.unbind(-1)
        return real.square() + imaginary.square()

    def extra_repr(self) -> str:
        """Return the settings for printing."""
        return (
            f"n_fft={self.n_fft}, hop={self.hop}, window_length={self.window_length}, "
            f"center={self.center}"
        )

    def _windowed(self, samples: Tensor) -> Tensor:
        if self.center:
            half = self.n_fft // 2
            samples = nn.functional.pad(samples, (half, self.n_fft - half))
        return frames(samples, length=self.n_fft, hop=self.hop) * self.window

    def _real_products(self, pieces: Tensor) -> tuple[Tensor, Tensor]:
        bins = torch.arange(self.n_fft // 2 + 1, dtype=torch.float64, device=pieces.device)
        times = torch.arange(self.n_fft, dtype=torch.float64, device=pieces.device)
        angle = torch.outer(times, bins).remainder(self.n_fft) * (2 * torch.pi / self.n_fft)
        return pieces @ angle.cos().to(pieces.dtype), pieces @ angle.sin().neg().to(pieces.dtype)


def hann(length: int) -> np.ndarray:
    """Return the periodic Hann window ``(1 - cos(2 pi t / length)) / 2`` as float64."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
