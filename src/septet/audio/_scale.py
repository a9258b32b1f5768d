"""What the image views share: the check of their input, magnitudes and the logarithm."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from septet._core import checks


@dataclass(frozen=True)
class LogScale:
    """Logarithmic compression, ``log(max(v, amin) / ref)`` in natural units.

    Parameters
    ----------
    amin : float, default 1e-10
        Smallest power that is told from silence.
    ref : float, default 1.0
        Power that becomes 0.
    top_db : float, optional
        Range in dB below the loudest value of each clip to which quieter values are lifted.

    Notes
    -----
    `amin` and `ref` are powers; for a view of magnitudes their square roots are used, so that its
    logarithm is half that of the view of powers.

    Examples
    --------
    >>> LogScale()(torch.tensor([[0.0, 1.0]]), power=2.0)
    tensor([[-23.0259,   0.0000]])
    """

    amin: float = 1e-10
    ref: float = 1.0
    top_db: float | None = None

    def __post_init__(self) -> None:
        checks.number("amin", self.amin, above=0)
        checks.number("ref", self.ref, above=0)
        if self.top_db is not None:
            checks.number("top_db", self.top_db, above=0)

    def __call__(self, values: Tensor, *, power: float) -> Tensor:
        """Return the logarithm of values (batch, ...) that are magnitudes to the given power."""
        logs = values.clamp_min(self.amin ** (power / 2)).log() - math.log(self.ref) * power / 2
        if self.top_db is None:
            return logs
        loudest = logs.flatten(1).amax(dim=1).view(-1, *[1] * (logs.ndim - 1))
        return torch.maximum(logs, loudest - self.top_db * power / 20 * math.log(10))


def check_power(power: float) -> float:
    """Return the exponent of the magnitude, 1 or 2."""
    if power not in (1, 2):
        raise ValueError(f"power must be 1 (magnitude) or 2 (power); got {power!r}.")
    return float(power)


def check_clips(samples: Tensor, dtype: torch.dtype) -> None:
    """Raise unless `samples` is a batch of clips of the dtype that the front-end computes in.

    Raises
    ------
    TypeError
        If the front-end was cast to half precision, or the clips have another dtype.
    ValueError
        If the shape is not (batch, n_samples) with at least one sample.
    """
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"a front-end needs float32 or float64, but was cast to {dtype}: keep it out of "
            ".half() and .bfloat16() and use torch.autocast for the network."
        )
    if samples.ndim != 2 or samples.shape[1] == 0:
        raise ValueError(
            f"clips must be (batch, n_samples) with a sample at least; got {tuple(samples.shape)}."
            + (" For one clip pass samples[None]." if samples.ndim == 1 else "")
        )
    if samples.dtype != dtype:
        raise TypeError(f"clips must be {dtype} like the front-end; got {samples.dtype}.")


def magnitude(power_values: Tensor) -> Tensor:
    """Return the square root with gradient 0 (not infinity) at 0."""
    silent = power_values <= 0
    return torch.where(silent, 1.0, power_values).sqrt().masked_fill(silent, 0.0)


def as_image(values: Tensor, scale: LogScale | None, power: float) -> Tensor:
    """Turn (batch, frames, bands) into a log-scaled image (batch, 1, bands, frames)."""
    image = values.transpose(1, 2).unsqueeze(1)
    return image if scale is None else scale(image, power=power)
