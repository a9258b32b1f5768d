"""A fixed Fourier basis as the outermost layer: the network then draws a mask over its output.

What the network sees and draws is bands, as wide as an ear's: it then has few weights that could
learn the noises of the training set by heart, and beside every band it sees that band's own floor
over the window, which for most noises is the noise.
"""

import math

import torch
from torch import Tensor, nn

FRAME = 512
HOP = 128
BINS = FRAME // 2 + 1
BANDS = 96
_LINEAR_UNTIL = 48.0  # bins, 1.5 kHz: bands have one width below and widen in proportion above
_QUIETEST = 1e-5  # power relative to the window's mean that counts as nothing, -50 dB
_LOWEST = 4  # the floor of a band is the mean of the lowest fourth of its frames


class FourierBasis(nn.Module):
    r"""First and last strided convolution with weights that are sines: analysis and synthesis.

    A window of T samples becomes T / 128 frames of 512 samples, frame n beginning at sample
    ``128 n - 192``, under a root-Hann window; `synthesis` is the exact inverse of `analysis` on
    frames that were not changed.

    Notes
    -----
    Both are matrix products with the real and the imaginary part side by side, so that nothing
    complex stands in an exported graph.

    Examples
    --------
    >>> basis = FourierBasis()
    >>> x = torch.randn(2, 1, 1024)
    >>> basis.analysis(x).shape
    torch.Size([2, 2, 257, 8])
    >>> torch.allclose(basis.synthesis(basis.analysis(x)), x, atol=1e-5)
    True
    """

    forward_basis: Tensor
    backward_basis: Tensor
    taper_power: Tensor

    def __init__(self) -> None:
        super().__init__()
        taper = torch.hann_window(FRAME, dtype=torch.float64).sqrt()
        spectra = torch.fft.rfft(torch.diag(taper), norm="ortho")  # (time, frequency)
        both = torch.stack([spectra.real, spectra.imag], dim=1).flatten(1)
        twice = torch.full((BINS,), 2.0, dtype=torch.float64)  # for negative frequencies
        twice[[0, -1]] = 1.0
        self.register_buffer("forward_basis", both.float(), persistent=False)
        self.register_buffer(
            "backward_basis", (both * twice.repeat(2)).T.float().contiguous(), persistent=False
        )
        self.register_buffer("taper_power", taper.square().float(), persistent=False)

    def analysis(self, x: Tensor) -> Tensor:
        """Spectra of `x`, shape (B, 1, T): real and imaginary part, shape (B, 2, 257, T / 128)."""
        aside = (FRAME - HOP) // 2
        framed = nn.functional.pad(x.squeeze(1), (aside, aside)).unfold(-1, FRAME, HOP)
        return (framed @ self.forward_basis).unflatten(-1, (2, -1)).permute(0, 2, 3, 1)

    def synthesis(self, spectra: Tensor) -> Tensor:
        """Signal of shape (B, 1, T) from spectra of shape (B, 2, 257, T / 128)."""
        framed = spectra.permute(0, 3, 1, 2).flatten(2) @ self.backward_basis
        power = self.taper_power.expand(1, framed.shape[1], FRAME)
        return (_overlapped(framed) / _overlapped(power)).unsqueeze(1)


class Bands(nn.Module):
    r"""From spectra to the features of bands, and from gains of bands to gains of bins.

    The centres of the bands lie evenly on the scale :math:`\operatorname{asinh}(k/48)` of bins k:
    38 Hz apart below 1.5 kHz and 210 Hz at 8 kHz. Bins between two centres belong to both bands in
    shares that sum to one, as in linear interpolation.

    Examples
    --------
    >>> bands = Bands()
    >>> bands.features(torch.randn(2, 2, 257, 16)).shape
    torch.Size([2, 192, 16])
    >>> torch.allclose(bands.gains(torch.ones(2, 96, 16)), torch.ones(2, 257, 16))
    True
    """

    shares: Tensor
    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        scale = torch.asinh(torch.arange(BINS, dtype=torch.float64) / _LINEAR_UNTIL)
        place = scale / scale[-1] * (BANDS - 1)
        apart = (place[:, None] - torch.arange(BANDS, dtype=torch.float64)).abs()
        shares = (1 - apart).clamp_min(0)  # (bins, bands)
        self.register_buffer("shares", shares.float(), persistent=False)
        self.register_buffer("means", (shares / shares.sum(0)).T.float(), persistent=False)

    def features(self, spectra: Tensor) -> Tensor:
        """Return logarithms of band powers and of their floors, shape (B, 192, n).

        `spectra` has shape (B, 2, 257, n) and is that of a window of unit level.
        """
        power = self.means @ spectra.square().sum(dim=1)
        # an affine map of the decibels that keeps them near unit range
        level = 0.5 * torch.log10(power + _QUIETEST) + 1
        lowest = level.topk(math.ceil(level.shape[-1] / _LOWEST), dim=-1, largest=False)
        floor = lowest.values.mean(dim=-1, keepdim=True)
        return torch.cat([level - floor, floor.expand_as(level)], dim=1)

    def gains(self, of_bands: Tensor) -> Tensor:
        """Interpolate gains of bands, shape (B, 96, n), to gains of bins, shape (B, 257, n)."""
        return self.shares @ of_bands


def _overlapped(framed: Tensor) -> Tensor:
    """Add up frames, shape (B, n, 512), at distances of 128; return (B, 128 n) from sample 192."""
    pieces = framed.unflatten(-1, (FRAME // HOP, HOP))
    last = FRAME // HOP - 1
    moved = [nn.functional.pad(pieces[:, :, k], (0, 0, k, last - k)) for k in range(FRAME // HOP)]
    aside = (FRAME - HOP) // 2
    return torch.stack(moved).sum(dim=0).flatten(1)[:, aside:-aside]
