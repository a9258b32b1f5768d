"""Random changes of training clips that do not change their class."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from septet._core import checks


@dataclass(frozen=True)
class Augmentation:
    """What is done to training clips; nothing by default, and never to validation clips.

    Parameters
    ----------
    shift : float, default 0.0
        Largest rotation in time, as a part of the segment, either way.
    gain_db : float, default 0.0
        Largest change of level in dB, either way.
    mixup : float, default 0.0
        Shape of the beta distribution that the share of a second clip is drawn from; the mixture
        is made of waveforms, before all views, with one share for all of them.
    time_masks, band_masks : int, default 0
        Stretches of frames and of bands that are set to 0 (the mean) in each image.
    mask_part : float, default 0.2
        Longest stretch as a part of the image.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or not whole where it counts something.

    References
    ----------
    D. S. Park et al., "SpecAugment", Interspeech 2019; H. Zhang et al., "mixup: Beyond Empirical
    Risk Minimization", ICLR 2018.

    Examples
    --------
    >>> Augmentation(shift=0.1, time_masks=1).changes_waveforms
    True
    """

    shift: float = 0.0
    gain_db: float = 0.0
    mixup: float = 0.0
    time_masks: int = 0
    band_masks: int = 0
    mask_part: float = 0.2

    def __post_init__(self) -> None:
        for part in fields(self):
            checks.number(part.name, getattr(self, part.name), low=0)
        for name in ("time_masks", "band_masks"):
            checks.integer(name, getattr(self, name))
        checks.number("shift", self.shift, high=1)
        checks.number("mask_part", self.mask_part, above=0, high=1)

    @property
    def changes_waveforms(self) -> bool:
        """Whether views must be computed anew in every epoch."""
        return bool(self.shift or self.gain_db or self.mixup)

    def waveforms(
        self, samples: Tensor, targets: Tensor, n_classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return changed clips (batch, n_samples) and their targets.

        Targets are class numbers (batch,), or probabilities (batch, n_classes) with `mixup`.
        """
        n_clips, length = samples.shape

        def uniform() -> Tensor:
            return 2 * torch.rand(n_clips, 1, generator=generator).to(samples) - 1

        if self.shift:
            offsets = (uniform() * self.shift * length).round().long()
            times = torch.arange(length, device=samples.device)
            samples = samples.gather(1, (times + offsets) % length)
        if self.gain_db:
            samples = samples * 10 ** (uniform() * self.gain_db / 20)
        if not self.mixup:
            return samples, targets
        share = torch._sample_dirichlet(
            torch.full((n_clips, 2), self.mixup, dtype=torch.float64), generator
        )[:, :1].to(samples)
        other = torch.randperm(n_clips, generator=generator).to(samples.device)
        soft = functional.one_hot(targets, n_classes).to(samples.dtype)
        mixed = share * samples + (1 - share) * samples[other]
        return mixed, share * soft + (1 - share) * soft[other]

    def images(self, views: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return normalised views with stretches of frames and bands masked."""
        result = dict(views)
        for name, view in views.items():
            if view.ndim != 4:
                continue
            hidden = torch.zeros(view.shape[0], 1, *view.shape[2:], dtype=torch.bool)
            for axis, count in ((3, self.time_masks), (2, self.band_masks)):
                for _ in range(count):
                    hidden |= _stretch(hidden.shape, axis, self.mask_part, generator)
            result[name] = view.masked_fill(hidden.to(view.device), 0.0)
        return result


def _stretch(shape: torch.Size, axis: int, part: float, generator: torch.Generator) -> Tensor:
    """Return a mask with one random stretch along `axis` in each image."""
    size = shape[axis]
    drawn = torch.rand(2, shape[0], 1, 1, 1, generator=generator)
    length = (drawn[0] * part * size).round()
    start = (drawn[1] * (size - length)).floor()
    places = torch.arange(size).view([-1 if i == axis else 1 for i in range(4)])
    return (places >= start) & (places < start + length)
