"""Generator and discriminator of the SEGAN family, from plain SEGAN to attention everywhere."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from septet._core import checks
from septet.speech._layers import KERNEL, Down, SelfAttention1d, Up, VirtualBatchNorm1d, normalised
from septet.speech._spectral import BANDS, HOP, Bands, FourierBasis

CHANNELS = (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024)
WINDOW = 16384
_OPEN = 2.0  # an untrained mask lets 88 % through
_SOFTEST = 1e-4  # level below which a window is not raised further: silence stays silence
Moments: TypeAlias = tuple[Tensor, Tensor, int]
Normaliser: TypeAlias = Callable[[VirtualBatchNorm1d, Tensor], Tensor]


class SASEGANGenerator(nn.Module):
    r"""U-Net over waveforms with light self-attention: noisy speech in, enhanced speech out.

    Parameters
    ----------
    attention : iterable of int, default (10,)
        Encoder layers l, counted from 1 as in the paper, that are followed by self-attention, each
        with its partner in the decoder (the deepest layer has none). Empty: plain SEGAN.
    channels : sequence of int, default (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024)
        Channels of the encoder's layers; each layer divides the length by `stride`.
    stride : int, default 2
        2 as in the paper, 4 as in SEGAN+.
    output : {"tanh", "residual", "mask"}, default "tanh"
        What the last layer gives: the enhanced signal through a hyperbolic tangent, as in the
        paper; an estimate of the noise, to be taken from the input; or gains for the input's
        spectrum, the U-Net then working on 96 `Bands` of frames of 512 samples, 128 apart, of a
        fixed `FourierBasis` where the others work on samples. The last two see the window at unit
        level, so that they behave the same for loud and soft recordings, and begin as networks
        that change little.
    kernel : int, default 31
        Width of the convolutions, in samples or frames.
    channel_reduction, value_reduction, memory_reduction : int, default 8, 8, 4
        See `SelfAttention1d`.
    spectral_norm : bool, default True
        Normalise every convolution by its largest singular value.
    latent : {"normal", "none"}, default "normal"
        Whether a latent of the code's shape is put before the code. The trained network hardly
        listens to it; enhancement uses zeros unless a latent is given.
    stages : int, default 1
        Number of generators in a chain, each enhancing the output of the one before.
    tied : bool, default True
        Whether the stages share their weights (ISEGAN) or not (DSEGAN).
    initialisation : {"truncated", "kaiming"}, default "truncated"
        Normal weights of deviation 0.02 cut at two deviations and slopes that start at 0, as in
        the authors' code; or weights that keep the signal's power from layer to layer and slopes
        of 0.1, with which small networks learn in a fraction of the steps.
    generator : torch.Generator, optional
        Source of the initial weights; without it torch's global one.

    Raises
    ------
    ValueError
        If a layer of `attention` does not exist or a number is out of range.

    Notes
    -----
    Skip connections leave before the non-linearity and before attention, as in the authors' code.
    Input and output are pre-emphasised (see `preemphasis`) and have shape (B, 1, T) with T a
    multiple of :math:`2^{\text{layers}}`, and such that every attended length is a multiple of
    `memory_reduction`.

    References
    ----------
    H. Phan et al.: Self-Attention Generative Adversarial Network for Speech Enhancement. ICASSP
    2021. Chains: H. Phan et al., IEEE Signal Processing Letters, 2020.

    Examples
    --------
    >>> net = SASEGANGenerator(channels=(4, 8, 8), attention=(2,))
    >>> net(torch.zeros(2, 1, 64)).shape
    torch.Size([2, 1, 64])
    """

    def __init__(
        self,
        attention: Iterable[int] = (10,),
        channels: Sequence[int] = CHANNELS,
        *,
        stride: int = 2,
        output: Literal["tanh", "residual", "mask"] = "tanh",
        kernel: int = KERNEL,
        channel_reduction: int = 8,
        value_reduction: int = 8,
        memory_reduction: int = 4,
        spectral_norm: bool = True,
        latent: Literal["normal", "none"] = "normal",
        stages: int = 1,
        tied: bool = True,
        initialisation: Literal["truncated", "kaiming"] = "truncated",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        checks.choice("initialisation", initialisation, ("truncated", "kaiming"))
        self.stages = checks.integer("stages", stages, low=1)
        self.channels = _channels(channels)
        self.attention = _layers(attention, len(self.channels))
        self.stride = _stride(stride)
        self.output = checks.choice("output", output, ("tanh", "residual", "mask"))
        self.hop = HOP if output == "mask" else 1
        self.memory_reduction = memory_reduction
        self.latent = checks.choice("latent", latent, ("normal", "none"))
        attend = partial(
            SelfAttention1d,
            channel_reduction=channel_reduction,
            value_reduction=value_reduction,
            memory_reduction=memory_reduction,
            generator=generator,
        )
        layer = {"stride": stride, "kernel": _kernel(kernel, stride), "generator": generator}
        self.nets = nn.ModuleList(
            _UNet(
                *((2 * BANDS, BANDS) if output == "mask" else (1, 1)),
                self.channels,
                self.attention,
                latent == "normal",
                attend,
                layer,
            )
            for _ in range(1 if tied else stages)
        )
        self.basis = FourierBasis() if output == "mask" else None
        self.bands = Bands() if output == "mask" else None
        if initialisation == "kaiming":
            _kaiming(self.nets, generator)
        if spectral_norm:
            _normalise(self, generator)

    def forward(self, noisy: Tensor, latents: Sequence[Tensor] | None = None) -> Tensor:
        """Enhance `noisy`, shape (B, 1, T); without latents they are zero."""
        return self.chain(noisy, latents)[-1]

    def chain(self, noisy: Tensor, latents: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Outputs of all stages, each of shape (B, 1, T)."""
        check_length(
            noisy.shape[-1],
            len(self.channels),
            self.attention,
            self.memory_reduction,
            self.stride,
            self.hop,
        )
        outputs: list[Tensor] = []
        for n in range(self.stages):
            net = self.nets[n % len(self.nets)]
            latent = None if latents is None else latents[n]
            outputs.append(self._stage(net, outputs[-1] if outputs else noisy, latent))
        return outputs

    def _stage(self, net: nn.Module, x: Tensor, latent: Tensor | None) -> Tensor:
        if self.output == "tanh":
            return torch.tanh(net(x, latent))
        level = x.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(_SOFTEST)
        if self.basis is None or self.bands is None:
            return x - level * net(x / level, latent)
        spectra = self.basis.analysis(x)
        features = self.bands.features(spectra / level.unsqueeze(-1))
        gains = self.bands.gains(torch.sigmoid(net(features, latent) + _OPEN))
        return self.basis.synthesis(gains.unsqueeze(1) * spectra)

    def sample_latents(
        self, batch: int, length: int = WINDOW, generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """Normal latents for every stage, each of shape (batch, channels[-1], T / 2^layers)."""
        if self.latent == "none":
            return []
        like = next(self.parameters())
        shape = (batch, self.channels[-1], length // (self.hop * self.stride ** len(self.channels)))
        return [
            torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
            for _ in range(self.stages)
        ]


class _UNet(nn.Module):
    def __init__(
        self,
        taken_in: int,
        given_out: int,
        channels: Sequence[int],
        attention: Sequence[int],
        latent: bool,
        attend: "partial[SelfAttention1d]",
        layer: dict[str, Any],
    ) -> None:
        super().__init__()
        depth = len(channels)
        self.latent = latent
        self.down = nn.ModuleList(Down(a, b, **layer) for a, b in pairwise((taken_in, *channels)))
        self.down_slope = nn.ModuleList(nn.PReLU(c, init=0.0) for c in channels)
        self.encoder_attention = nn.ModuleDict({str(i): attend(channels[i - 1]) for i in attention})
        code = channels[-1] * (2 if latent else 1)
        mirrored = channels[-2::-1]
        taken = (code, *(2 * c for c in mirrored))
        self.up = nn.ModuleList(
            Up(a, b, **layer) for a, b in zip(taken, (*mirrored, given_out), strict=True)
        )
        self.up_slope = nn.ModuleList(nn.PReLU(c, init=0.0) for c in mirrored)
        self.decoder_attention = nn.ModuleDict(
            {str(i): attend(2 * channels[i - 1]) for i in attention if i < depth}
        )

    def forward(self, x: Tensor, latent: Tensor | None) -> Tensor:
        skips: list[Tensor] = []
        for i, (down, slope) in enumerate(zip(self.down, self.down_slope, strict=True), start=1):
            x = down(x)
            skips.append(x)
            x = slope(x)
            if str(i) in self.encoder_attention:
                x = self.encoder_attention[str(i)](x)
        skips.pop()
        if self.latent:
            x = torch.cat([torch.zeros_like(x) if latent is None else latent, x], dim=1)
        for up, slope in zip(self.up[:-1], self.up_slope, strict=True):
            partner = str(len(skips))
            x = torch.cat([slope(up(x)), skips.pop()], dim=1)
            if partner in self.decoder_attention:
                x = self.decoder_attention[partner](x)
        return self.up[-1](x)


class SEGANDiscriminator(nn.Module):
    """Judge of pairs (candidate, noisy) with virtual batch norm; least-squares scores.

    Parameters
    ----------
    attention, channels, stride, spectral_norm, generator
        As for `SASEGANGenerator`.
    channel_reduction, value_reduction, memory_reduction : int, default 8, 8, 4
        See `SelfAttention1d`.
    window : int, default 16384
        Length T of the signals, which fixes the last linear layer.

    Notes
    -----
    The last two layers are not spectrally normalised.

    Examples
    --------
    >>> judge = SEGANDiscriminator(channels=(4, 8), attention=(), window=64)
    >>> scores, moments = judge.reference(torch.zeros(3, 2, 64))
    >>> judge(torch.zeros(5, 2, 64), moments).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        attention: Iterable[int] = (10,),
        channels: Sequence[int] = CHANNELS,
        *,
        window: int = WINDOW,
        stride: int = 2,
        channel_reduction: int = 8,
        value_reduction: int = 8,
        memory_reduction: int = 4,
        spectral_norm: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        channels = _channels(channels)
        layers = _layers(attention, len(channels))
        check_length(window, len(channels), layers, memory_reduction, _stride(stride))
        self.down = nn.ModuleList(
            Down(a, b, stride=stride, generator=generator) for a, b in pairwise((2, *channels))
        )
        self.norm = nn.ModuleList(VirtualBatchNorm1d(c, generator=generator) for c in channels)
        self.attention = nn.ModuleDict(
            {
                str(i): SelfAttention1d(
                    channels[i - 1],
                    channel_reduction=channel_reduction,
                    value_reduction=value_reduction,
                    memory_reduction=memory_reduction,
                    generator=generator,
                )
                for i in layers
            }
        )
        if spectral_norm:
            _normalise(self, generator)
        self.squeeze = nn.Conv1d(channels[-1], 1, 1, bias=False)
        self.score = nn.Linear(window // stride ** len(channels), 1)
        for weight in (self.squeeze.weight, self.score.weight):
            nn.init.xavier_uniform_(weight, generator=generator)
        nn.init.zeros_(self.score.bias)

    def reference(self, pairs: Tensor) -> tuple[Tensor, list[Moments]]:
        """Score the reference batch, shape (n, 2, T); also return its moments at every layer.

        With the current real batch as reference these scores are the real ones, which saves a pass.
        """
        moments: list[Moments] = []

        def norm(layer: VirtualBatchNorm1d, x: Tensor) -> Tensor:
            out, own = layer.reference(x)
            moments.append(own)
            return out

        return self._pass(pairs, norm), moments

    def forward(self, pairs: Tensor, moments: Sequence[Moments]) -> Tensor:
        """Score pairs, shape (B, 2, T), by the reference moments; the scores have shape (B, 1)."""
        remaining = iter(moments)
        return self._pass(pairs, lambda layer, x: layer(x, next(remaining)))

    def _pass(self, x: Tensor, norm: Normaliser) -> Tensor:
        for i, (down, layer) in enumerate(zip(self.down, self.norm, strict=True), start=1):
            assert isinstance(layer, VirtualBatchNorm1d)
            x = F.leaky_relu(norm(layer, down(x)), 0.3)
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
        return self.score(self.squeeze(x).flatten(1))


def check_length(
    length: int,
    depth: int,
    attention: Iterable[int],
    memory_reduction: int,
    stride: int = 2,
    hop: int = 1,
) -> None:
    """Raise unless a window of `length` samples fits the layers and their attention."""
    step = hop * math.lcm(stride**depth, *(memory_reduction * stride**layer for layer in attention))
    if length < step or length % step:
        raise ValueError(
            f"the window must be a multiple of {step} samples with attention at "
            f"{sorted(attention) or 'no layer'}; got {length}."
        )


def _stride(stride: int) -> int:
    if checks.integer("stride", stride, low=2, high=30) % 2:
        raise ValueError(f"stride must be even; got {stride}.")
    return stride


def _kernel(kernel: int, stride: int) -> int:
    if checks.integer("kernel", kernel, low=stride + 1) % 2 == 0:
        raise ValueError(f"kernel must be odd; got {kernel}.")
    return kernel


def _channels(channels: Sequence[int]) -> tuple[int, ...]:
    widths = tuple(checks.integer("channels", c, low=1) for c in channels)
    if len(widths) < 2:
        raise ValueError(f"channels must name at least two layers; got {widths}.")
    return widths


def _layers(attention: Iterable[int], depth: int) -> tuple[int, ...]:
    return tuple(sorted({checks.integer("attention", i, low=1, high=depth) for i in attention}))


def _kaiming(nets: nn.ModuleList, generator: torch.Generator | None) -> None:
    """Weights of variance 2 / inputs and slopes of 0.1; the last layer begins ten times smaller."""
    for layer in nets.modules():
        if isinstance(layer, nn.PReLU):
            nn.init.constant_(layer.weight, 0.1)
        elif isinstance(layer, Down | Up):
            inputs = layer.weight[0].numel()
            if isinstance(layer, Up):  # every output sample is reached by kernel / stride taps
                inputs = layer.weight.shape[0] * layer.weight.shape[2] / layer.stride
            nn.init.normal_(layer.weight, std=(2 / inputs) ** 0.5, generator=generator)
    for net in nets:
        assert isinstance(net, _UNet)
        with torch.no_grad():
            net.up[-1].get_parameter("weight").mul_(0.1)


def _normalise(module: nn.Module, generator: torch.Generator | None) -> None:
    """Normalise every convolution, the vectors of the power iteration drawn from `generator`."""
    layers = [m for m in module.modules() if isinstance(m, Down | Up | nn.Conv1d)]
    with torch.random.fork_rng(devices=[], enabled=generator is not None):
        if generator is not None:
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        for layer in layers:
            normalised(layer)
