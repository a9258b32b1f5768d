"""Losses: least-squares adversarial, L1, and a spectral distance at several resolutions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from septet.signal import STFT


def discriminator_loss(real: Tensor, fakes: Sequence[Tensor]) -> Tensor:
    r"""Return :math:`E(D(x,\tilde x)-1)^2` plus the mean over stages of :math:`E\,D(\hat x)^2`.

    Parameters
    ----------
    real : Tensor of shape (B, 1)
        Scores of real pairs.
    fakes : sequence of Tensor of shape (B, 1)
        Scores of every stage's output.

    Examples
    --------
    >>> round(discriminator_loss(torch.tensor([0.9, 0.5]), [torch.tensor([0.2, -0.1])]).item(), 6)
    0.155
    """
    fooled = torch.stack([fake.square().mean() for fake in fakes]).mean()
    return (real - 1).square().mean() + fooled


def adversarial_loss(fakes: Sequence[Tensor]) -> Tensor:
    r"""Return the mean over stages of :math:`E(D(\hat x, \tilde x) - 1)^2`."""
    return torch.stack([(fake - 1).square().mean() for fake in fakes]).mean()


def chain_l1(outputs: Sequence[Tensor], clean: Tensor) -> Tensor:
    r"""Return :math:`\sum_n 2^{n-N} E|\hat x_n - x|` over the stages n = 1..N."""
    stages = len(outputs)
    parts = [
        2.0 ** (n - stages) * (output - clean).abs().mean() for n, output in enumerate(outputs, 1)
    ]
    return torch.stack(parts).sum()


class SpectralDistance(nn.Module):
    r"""Distance of compressed spectra, averaged over several resolutions.

    With :math:`X^c = |X|^c\,X/|X|` it is the mean over resolutions of
    :math:`(1-a)\,E\,(|X|^c-|Y|^c)^2 + a\,E\,|X^c-Y^c|^2`: magnitudes as an ear weighs them, and a
    part that knows the phase.

    Parameters
    ----------
    sizes : sequence of int, default (256, 1024)
        Lengths of the windows in samples; each advances by a quarter.
    compression : float, default 0.3
        The exponent c.
    complex_share : float, default 0.3
        The share a.

    Examples
    --------
    >>> x = torch.randn(2, 1, 4096)
    >>> round(SpectralDistance()(x, x).item(), 6)
    0.0
    """

    def __init__(
        self,
        sizes: Sequence[int] = (256, 1024),
        *,
        compression: float = 0.3,
        complex_share: float = 0.3,
    ) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(STFT(size, size // 4) for size in sizes)
        self.compression = compression
        self.complex_share = complex_share

    def forward(self, output: Tensor, clean: Tensor) -> Tensor:
        """Return the distance of two batches of signals, shape (B, 1, T), as a scalar."""
        parts = [self._distance(transform, output, clean) for transform in self.transforms]
        return torch.stack(parts).mean()

    def _distance(self, transform: nn.Module, output: Tensor, clean: Tensor) -> Tensor:
        a, b = (torch.view_as_real(transform(x)) for x in (output, clean))
        # the floor keeps the gradient of a power below one finite
        powers = [x.square().sum(dim=-1) + 1e-8 for x in (a, b)]
        scales = [p ** ((self.compression - 1) / 2) for p in powers]
        loud, target = (p.sqrt() * scale for p, scale in zip(powers, scales, strict=True))
        magnitudes = (loud - target).square()
        # |X^c - Y^c|^2 is the difference of the magnitudes plus what the phases add
        agreement = loud * target - (a * b).sum(dim=-1) * scales[0] * scales[1]
        return magnitudes.mean() + 2 * self.complex_share * agreement.mean()
