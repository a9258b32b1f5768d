"""Several views of the same clips, sharing what they can, on one scale."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from septet._core import checks
from septet.audio._cqt import C1_HZ, CQT
from septet.audio._gammatone import Gammatone
from septet.audio._mel import LogMel
from septet.audio._scale import check_clips
from septet.audio._waveform import Waveform

VIEWS = ("wave", "mel", "gamma", "cqt")
"""Names of the four standard views, in the order of the joint embedding."""

MIN_STD = 1e-5
"""A band that varies less over the whole training set is constant: silence."""


class ViewStack(nn.Module):
    """Named front-ends that turn clips into a dictionary of views.

    Front-ends whose transforms agree share one. Images are shifted and scaled band by band with
    statistics that :meth:`fit` takes from the training clips and ``state_dict`` carries.

    Parameters
    ----------
    views : mapping from str to Module
        Each takes clips (batch, n_samples) and returns a waveform (batch, 1, n_samples) or an
        image (batch, 1, bands, frames).

    Raises
    ------
    ValueError
        If `views` is empty or a name cannot be part of an attribute's name.

    Notes
    -----
    The front-ends compute in their own dtype also inside ``torch.autocast``: powers and logarithms
    of sixteen bits are useless.

    Examples
    --------
    >>> stack = ViewStack.standard(16000)
    >>> {name: tuple(view.shape) for name, view in stack(torch.zeros(2, 16000)).items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'wave': (2, 1, 16000), 'mel': (2, 1, 64, 51), 'gamma': (2, 1, 64, 51),
     'cqt': (2, 1, 84, 51)}
    """

    def __init__(self, views: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not views:
            raise ValueError("views must name one front-end at least.")
        for name in views:
            if not name.isidentifier():
                raise ValueError(f"a view's name must be an identifier; got {name!r}.")
        self.views = nn.ModuleDict(views)
        for name, view in views.items():
            if (n_bands := getattr(view, "n_bands", None)) is None:
                continue
            like = next(view.buffers())
            self.register_buffer(f"mean_{name}", like.new_zeros(n_bands))
            self.register_buffer(f"std_{name}", like.new_ones(n_bands))

    @classmethod
    def standard(
        cls,
        sample_rate: int,
        views: Sequence[str] = VIEWS,
        *,
        n_fft: int | None = None,
        hop: int | None = None,
        n_mels: int = 64,
        n_gammatones: int = 64,
        n_bins: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """Build the standard views for a sample rate.

        Parameters
        ----------
        sample_rate : int
            In Hz.
        views : sequence of {"wave", "mel", "gamma", "cqt"}
            Which and in which order.
        n_fft, hop : int, optional
            In samples. By default 1024 and 320 at 16 kHz and 2048 and 512 at 22.05 kHz, in
            proportion at other rates.
        n_mels, n_gammatones : int, default 64
        n_bins : int, optional
            Of the constant-Q view from C1, twelve an octave; by default 84 or as many as lie below
            half the sample rate.
        device, dtype
            Of the buffers.
        """
        sample_rate = checks.integer("sample_rate", sample_rate, low=1000)
        for name in views:
            checks.choice("view", name, VIEWS)
        usual_fft, usual_hop = usual_frames(sample_rate)
        n_fft = usual_fft if n_fft is None else n_fft
        hop = usual_hop if hop is None else hop
        if n_bins is None:
            fitting = 12 * np.log2(sample_rate / 2 / (C1_HZ * (1 + 1 / 12)))
            n_bins = min(84, int(np.ceil(fitting)))
        common: dict[str, Any] = {"hop": hop, "device": device, "dtype": dtype}
        make = {
            "wave": lambda: Waveform(sample_rate),
            "mel": lambda: LogMel(sample_rate, n_fft=n_fft, n_mels=n_mels, **common),
            "gamma": lambda: Gammatone(sample_rate, n_fft=n_fft, n_bands=n_gammatones, **common),
            "cqt": lambda: CQT(sample_rate, n_bins=n_bins, **common),
        }
        return cls({name: make[name]() for name in views})

    def forward(self, samples: Tensor) -> dict[str, Tensor]:
        """Return the views of clips (batch, n_samples), images normalised."""
        with torch.autocast(samples.device.type, enabled=False):
            return self.normalize(self.raw(samples))

    def raw(self, samples: Tensor) -> dict[str, Tensor]:
        """Return the views before normalisation."""
        spectra: dict[tuple[int, int, int, bool], Tensor] = {}
        result = {}
        for name, view in self.views.items():
            if not isinstance(view, LogMel | Gammatone) or view.stft is None:
                result[name] = view(samples)
                continue
            stft = view.stft
            check_clips(samples, stft.window.dtype)
            key = (stft.n_fft, stft.hop, stft.window_length, stft.center)
            if key not in spectra:
                spectra[key] = stft.power(samples)
            result[name] = view.from_power(spectra[key])
        return result

    def normalize(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return views with images shifted and scaled band by band."""
        return {name: self._normalized(name, view) for name, view in raw.items()}

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> Self:
        """Set each band's mean and standard deviation from batches of training clips.

        Raises
        ------
        ValueError
            If there is no batch.
        """
        return self.fit_views(self.raw(samples) for samples in batches)

    @torch.no_grad()
    def fit_views(self, batches: Iterable[Mapping[str, Tensor]]) -> Self:
        """Set each band's mean and standard deviation from batches of views.

        Raises
        ------
        ValueError
            If there is no batch.
        """
        count: dict[str, int] = {}
        mean: dict[str, Tensor] = {}
        spread: dict[str, Tensor] = {}
        for views in batches:
            for name, view in views.items():
                if view.ndim != 4:
                    continue
                values = view.double().transpose(0, 2).flatten(1)
                n, centre = values.shape[1], values.mean(dim=1)
                squares = (values - centre[:, None]).square().sum(dim=1)
                seen = count.get(name, 0)
                if seen:  # merge two groups of values, Chan et al. 1979
                    step = centre - mean[name]
                    squares += spread[name] + step.square() * (seen * n / (seen + n))
                    centre = mean[name] + step * (n / (seen + n))
                count[name], mean[name], spread[name] = seen + n, centre, squares
        images = [name for name in self.views if hasattr(self, f"mean_{name}")]
        if images and not count:
            raise ValueError("batches is empty: nothing to take statistics from.")
        for name in images:
            std = (spread[name] / count[name]).sqrt()
            self.get_buffer(f"mean_{name}").copy_(mean[name])
            self.get_buffer(f"std_{name}").copy_(std.where(std > MIN_STD, 1.0))
        return self

    def _normalized(self, name: str, view: Tensor) -> Tensor:
        if view.ndim != 4 or not hasattr(self, f"mean_{name}"):
            return view
        mean, std = self.get_buffer(f"mean_{name}"), self.get_buffer(f"std_{name}")
        return (view - mean[:, None]) / std[:, None]


def usual_frames(sample_rate: int) -> tuple[int, int]:
    """Return the transform length and hop that are usual at a sample rate, in samples."""
    base, n_fft, hop = (16000, 1024, 320) if sample_rate % 8000 == 0 else (22050, 2048, 512)
    return max(2, round(n_fft * sample_rate / base)), max(1, round(hop * sample_rate / base))
