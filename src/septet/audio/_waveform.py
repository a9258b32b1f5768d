"""The waveform view: the samples themselves at a common level."""

import torch
from torch import Tensor, nn

from septet._core import checks
from septet.audio._scale import check_clips


class Waveform(nn.Module):
    """The samples of each clip, divided by their peak or root mean square.

    Parameters
    ----------
    sample_rate : int, default 22050
        In Hz; kept for reference.
    norm : {"peak", "rms"} or None, default "rms"
        Level that becomes 1; ``None`` leaves the samples alone. A silent clip stays silent.

    Notes
    -----
    Input is (batch, n_samples), output (batch, 1, n_samples).

    Examples
    --------
    >>> Waveform(norm="peak")(torch.tensor([[0.0, 0.5, -0.25]]))
    tensor([[[ 0.0000,  1.0000, -0.5000]]])
    """

    def __init__(self, sample_rate: int = 22050, *, norm: str | None = "rms") -> None:
        super().__init__()
        self.sample_rate = checks.integer("sample_rate", sample_rate, low=1)
        self.norm = None if norm is None else checks.choice("norm", norm, ("peak", "rms"))

    def forward(self, samples: Tensor) -> Tensor:
        """Return the view (batch, 1, n_samples) of clips (batch, n_samples)."""
        check_clips(samples, samples.dtype)
        if self.norm is None:
            return samples.unsqueeze(1)
        if self.norm == "peak":
            level = samples.abs().amax(dim=1, keepdim=True)
        else:
            mean_square = samples.square().mean(dim=1, keepdim=True)
            level = torch.where(mean_square > 0, mean_square, 1.0).sqrt()
        return (samples / torch.where(level > 0, level, 1.0)).unsqueeze(1)

    def extra_repr(self) -> str:
        """Return the settings for printing."""
        return f"sample_rate={self.sample_rate}, norm={self.norm}"
