"""A fixed Fourier basis as the outermost layer: the network then draws a mask over its output."""

import torch
from torch import Tensor, nn

FRAME = 512
HOP = 128


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
        twice = torch.full((FRAME // 2 + 1,), 2.0, dtype=torch.float64)  # for negative frequencies
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


def _overlapped(framed: Tensor) -> Tensor:
    """Add up frames, shape (B, n, 512), at distances of 128; return (B, 128 n) from sample 192."""
    pieces = framed.unflatten(-1, (FRAME // HOP, HOP))
    last = FRAME // HOP - 1
    moved = [nn.functional.pad(pieces[:, :, k], (0, 0, k, last - k)) for k in range(FRAME // HOP)]
    aside = (FRAME - HOP) // 2
    return torch.stack(moved).sum(dim=0).flatten(1)[:, aside:-aside]
