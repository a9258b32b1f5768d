"""Subnetworks: from one view of a clip to its embedding."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from septet._core import checks

_GROUP = 8  # channels that are normalised together
_SLOPE = 0.3  # of the leaky rectifiers on waveforms


@dataclass(frozen=True)
class NetworkSize:
    """How large the subnetworks are.

    Attributes
    ----------
    embedding : int
        Length of a view's embedding; even if `recurrent`.
    channels : tuple of int
        Of the convolution blocks on images.
    wave_channels, wave_kernels, wave_strides : tuple of int
        Of the convolutions on waveforms.
    attention : int
        Units of the attention that pools over time.
    recurrent : bool
        Whether images pass two-dimensional convolutions and a recurrent layer, or else
        one-dimensional convolutions over time alone.
    """

    embedding: int
    channels: tuple[int, ...]
    wave_channels: tuple[int, ...]
    wave_kernels: tuple[int, ...]
    wave_strides: tuple[int, ...]
    attention: int
    recurrent: bool


SIZES = {
    "tiny": NetworkSize(32, (32, 32), (16, 32, 32), (64, 8, 4), (32, 8, 4), 16, False),
    "small": NetworkSize(
        64, (16, 32, 64), (32, 32, 64, 64), (64, 9, 9, 9), (16, 4, 4, 2), 32, True
    ),
    "base": NetworkSize(
        128, (64, 128, 256), (64, 64, 128, 256), (64, 15, 9, 9), (8, 4, 4, 2), 64, True
    ),
}
"""Ready sizes: fewer than 60 000, a million and ten million parameters for ten classes."""


class AttentionPool(nn.Module):
    """Weighted mean over time whose weights are learned.

    ``a = softmax_t(u^T tanh(W h_t + b))``, ``z = sum_t a_t h_t``.

    Parameters
    ----------
    n_features : int
        Of each frame.
    size : int, default 32
        Length of u.

    Examples
    --------
    >>> pool = AttentionPool(4)
    >>> frames = torch.randn(2, 7, 4)
    >>> pool(frames).shape, pool.weights(frames, torch.tensor([7, 3]))[1, 3:].sum().item()
    (torch.Size([2, 4]), 0.0)
    """

    def __init__(self, n_features: int, size: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_features, size)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the means (batch, n_features) of frames (batch, time, n_features).

        Frames from ``lengths[i]`` on are padding of clip i and get weight 0.
        """
        return (self.weights(frames, lengths).unsqueeze(2) * frames).sum(dim=1)

    def weights(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the weights (batch, time), of sum 1 over the valid frames of each clip."""
        scores = self.score(self.hidden(frames).tanh()).squeeze(2)
        if lengths is not None:
            times = torch.arange(frames.shape[1], device=frames.device)
            scores = scores.masked_fill(times >= lengths[:, None], float("-inf"))
        return scores.softmax(dim=1)


class TimeConvolutions(nn.Module):
    """Image subnetwork without recurrence: convolutions over time, then attention pooling.

    Parameters
    ----------
    n_bands : int
        Of the image.
    embedding : int, default 32
        Length of the output.
    channels : sequence of int
        Of the convolutions: the first over 4 frames in steps of 4, the others over 3 in steps of 1.
    attention : int, default 16
    dropout : float, default 0.0
    """

    def __init__(
        self,
        n_bands: int,
        *,
        embedding: int = 32,
        channels: Sequence[int] = (32, 32),
        attention: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_bands
        for index, n in enumerate(channels):
            kernel, stride, padding = (3, 1, 1) if index else (4, 4, 0)
            layers += [nn.Conv1d(width, n, kernel, stride, padding), _normalization(n), nn.ReLU()]
            layers.append(nn.Dropout1d(dropout))
            width = n
        self.layers = nn.Sequential(*layers)
        self.pool = AttentionPool(width, attention)
        self.output = nn.Linear(width, embedding)
        self.n_features = embedding

    def forward(self, view: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the embeddings (batch, embedding) of images (batch, 1, bands, frames)."""
        missing = -view.shape[3] % 4
        frames = self.layers(functional.pad(view.squeeze(1), (0, missing))).transpose(1, 2)
        return self.output(self.pool(frames, valid_frames(valid, frames.shape[1])))


class ConvolutionalRecurrent(nn.Module):
    """Image subnetwork: convolution blocks, a bidirectional recurrent layer, attention pooling.

    Each block is two 3 by 3 convolutions with group normalisation and ReLU, then dropout; the first
    of them halves frequency and, in all blocks but the last, time.

    Parameters
    ----------
    n_bands : int
        Of the image.
    embedding : int, default 64
        Length of the output, even.
    channels : sequence of int
        Of the blocks.
    attention : int, default 32
    dropout : float, default 0.2

    Notes
    -----
    Group rather than batch normalisation, so that a loss in evaluation mode means the same before
    the first step as later (weight policies compare the two), and that clips, processes and
    micro-batches do not see one another. Dropout leaves out whole channels: neighbouring places of
    one tell nearly the same, and one random number for each channel costs nothing.
    """

    def __init__(
        self,
        n_bands: int,
        *,
        embedding: int = 64,
        channels: Sequence[int] = (16, 32, 64),
        attention: int = 32,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width, bands = 1, checks.integer("n_bands", n_bands, low=1)
        for index, n in enumerate(channels):
            steps = (2, 2) if index < len(channels) - 1 else (2, 1)
            for inputs, stride in ((width, steps), (n, 1)):
                layers.append(nn.Conv2d(inputs, n, 3, stride, padding=1, bias=False))
                layers += [_normalization(n), nn.ReLU()]
            layers.append(nn.Dropout2d(dropout))
            width, bands = n, -(-bands // 2)
        self.layers = nn.Sequential(*layers)
        self.recurrent = nn.GRU(width * bands, embedding // 2, batch_first=True, bidirectional=True)
        self.pool = AttentionPool(embedding, attention)
        self.n_features = embedding

    def forward(self, view: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the embeddings (batch, embedding) of images (batch, 1, bands, frames)."""
        frames = self.layers(view).flatten(1, 2).transpose(1, 2)
        frames, _ = self.recurrent(frames)
        return self.pool(frames, valid_frames(valid, frames.shape[1]))


class WaveEncoder(nn.Module):
    """Waveform subnetwork: strided convolutions with leaky rectifiers, then attention pooling.

    Parameters
    ----------
    embedding : int, default 64
        Length of the output, even if `recurrent`.
    channels, kernels, strides : sequence of int
        Of the convolutions.
    attention : int, default 32
    dropout : float, default 0.2
    recurrent : bool, default True
        Whether a bidirectional recurrent layer or a linear one makes the embedding.
    """

    def __init__(
        self,
        *,
        embedding: int = 64,
        channels: Sequence[int] = (32, 32, 64, 64),
        kernels: Sequence[int] = (64, 9, 9, 9),
        strides: Sequence[int] = (16, 4, 4, 2),
        attention: int = 32,
        dropout: float = 0.2,
        recurrent: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for n, kernel, stride in zip(channels, kernels, strides, strict=True):
            convolution = nn.Conv1d(width, n, kernel, stride, padding=kernel // 2)
            nn.init.zeros_(convolution.bias)  # pyrefly: ignore[bad-argument-type]
            layers += [convolution, _normalization(n), nn.LeakyReLU(_SLOPE), nn.Dropout1d(dropout)]
            width = n
        self.layers = nn.Sequential(*layers)
        self.recurrent: nn.GRU | None = None
        if recurrent:
            self.recurrent = nn.GRU(width, embedding // 2, batch_first=True, bidirectional=True)
            width = embedding
        self.pool = AttentionPool(width, attention)
        self.output = nn.Identity() if recurrent else nn.Linear(width, embedding)
        self.n_features = embedding

    def forward(self, view: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the embeddings (batch, embedding) of waveforms (batch, 1, samples)."""
        frames = self.layers(view).transpose(1, 2)
        if self.recurrent is not None:
            frames, _ = self.recurrent(frames)
        return self.output(self.pool(frames, valid_frames(valid, frames.shape[1])))


def subnetwork(n_bands: int | None, size: NetworkSize, dropout: float) -> nn.Module:
    """Build the subnetwork of a size for an image of `n_bands`, or for a waveform if None."""
    if n_bands is None:
        return WaveEncoder(
            embedding=size.embedding,
            channels=size.wave_channels,
            kernels=size.wave_kernels,
            strides=size.wave_strides,
            attention=size.attention,
            dropout=dropout,
            recurrent=size.recurrent,
        )
    make = ConvolutionalRecurrent if size.recurrent else TimeConvolutions
    return make(
        n_bands,
        embedding=size.embedding,
        channels=size.channels,
        attention=size.attention,
        dropout=dropout,
    )


def valid_frames(valid: Tensor | None, n_frames: int) -> Tensor | None:
    """Return how many of `n_frames` are no padding, given the valid fractions of the clips."""
    if valid is None:
        return None
    counts = (valid.double() * n_frames - 1e-6).ceil().long()  # a whole clip is n_frames, rounded
    return counts.clamp(1, n_frames)


def _normalization(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, channels // _GROUP), channels)
