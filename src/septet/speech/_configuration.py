"""What a network is and how it is trained, as data that fits in a file."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch

from septet._core.errors import CheckpointError
from septet.speech._layers import KERNEL
from septet.speech._networks import (
    CHANNELS,
    WINDOW,
    SASEGANGenerator,
    SEGANDiscriminator,
    check_length,
)
from septet.speech._spectral import HOP


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """A member of the SEGAN family.

    Every field but `window` is an argument of `SASEGANGenerator`; the defaults are the paper's
    SASEGAN-10.
    """

    attention: tuple[int, ...] = (10,)
    """Layers, from 1, that attend; none for SEGAN."""
    channels: tuple[int, ...] = CHANNELS
    """Channels of the encoder."""
    stride: int = 2
    """2 as in the paper, 4 as in SEGAN+."""
    output: Literal["tanh", "residual", "mask"] = "tanh"
    """Signal through a hyperbolic tangent, noise to take from the input, or spectral gains."""
    kernel: int = KERNEL
    """Width of the convolutions."""
    channel_reduction: int = 8
    """Narrowing of queries and keys."""
    value_reduction: int = 8
    """Narrowing of values: 8 in the paper, 2 in its code."""
    memory_reduction: int = 4
    """Pooling of keys and values over time."""
    spectral_norm: bool = True
    """Whether convolutions are spectrally normalised, in both networks."""
    latent: Literal["normal", "none"] = "normal"
    """Whether noise is put before the code."""
    stages: int = 1
    """Length of the chain (ISEGAN, DSEGAN)."""
    tied: bool = True
    """Whether the stages share weights."""
    initialisation: Literal["truncated", "kaiming"] = "truncated"
    """Of the weights."""
    window: int = WINDOW
    """Samples per window, at 16 kHz."""

    def __post_init__(self) -> None:
        check_length(
            self.window,
            len(self.channels),
            self.attention,
            self.memory_reduction,
            self.stride,
            HOP if self.output == "mask" else 1,
        )

    def generator(self, seed: int | None = None) -> SASEGANGenerator:
        """Build the generator, its weights drawn from `seed` (torch's own state without one)."""
        options = asdict(self)
        options.pop("window")
        if seed is None:
            return SASEGANGenerator(**options)
        with torch.random.fork_rng(devices=[]):  # layers draw weights that are then replaced
            return SASEGANGenerator(**options, generator=torch.Generator().manual_seed(seed))

    def discriminator(self, seed: int | None = None) -> SEGANDiscriminator:
        """Build the discriminator for windows of this length."""
        shared = ("channel_reduction", "value_reduction", "memory_reduction", "spectral_norm")
        options: dict[str, Any] = {name: getattr(self, name) for name in (*shared, "stride")}
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                options["generator"] = torch.Generator().manual_seed(seed)
            return SEGANDiscriminator(self.attention, self.channels, window=self.window, **options)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NetworkConfig":
        """Read what `to_dict` returned.

        Raises
        ------
        CheckpointError
            If a key is unknown or missing, or a value is out of range.
        """
        known = {field.name for field in fields(cls)}
        if odd := known ^ set(values):
            raise CheckpointError(
                f"the configuration of a network is not understood: {min(odd)!r}."
            )
        try:
            read: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
            }
            return cls(**read)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"the configuration of a network is wrong: {error}") from error


def family(name: str, *, width: float = 1.0, window: int = WINDOW) -> NetworkConfig:
    """Return a published member of the family by name.

    Parameters
    ----------
    name : str
        ``"segan"`` (no attention, no spectral norm), ``"segan+sn"``, ``"sasegan-L"`` with L from 1
        to 11, ``"sasegan-all"`` (layers 3 to 11), ``"isegan-N"``, ``"dsegan-N"`` (chains of N).
    width : float, default 1.0
        Factor of all channels; each keeps at least 4.
    window : int, default 16384
        Samples per window.

    Raises
    ------
    ValueError
        If there is no such member, or the window does not fit its attention.

    Examples
    --------
    >>> family("sasegan-10").attention, family("segan", width=0.25).channels[:4]
    ((10,), (4, 8, 8, 16))
    """
    channels = tuple(max(4, round(width * c)) for c in CHANNELS)
    common: dict[str, Any] = {"channels": channels, "window": window}
    base, _, number = name.partition("-")
    if min(channels) < 8:  # a reduction must leave at least a channel
        common |= {"channel_reduction": 4, "value_reduction": 4}
    if name == "segan":
        return NetworkConfig(attention=(), spectral_norm=False, **common)
    if name == "segan+sn":
        return NetworkConfig(attention=(), **common)
    if name == "sasegan-all":
        return NetworkConfig(attention=tuple(range(3, 12)), **common)
    if base == "sasegan" and number.isdigit() and 1 <= int(number) <= len(CHANNELS):
        return NetworkConfig(attention=(int(number),), **common)
    if base in ("isegan", "dsegan") and number.isdigit() and int(number) >= 1:
        return NetworkConfig(
            attention=(),
            spectral_norm=False,
            stages=int(number),
            tied=base == "isegan",
            **common,
        )
    raise ValueError(
        "name must be segan, segan+sn, sasegan-1 ... sasegan-11, sasegan-all, isegan-N or "
        f"dsegan-N; got {name!r}."
    )
