"""Speech enhancement with a self-attention waveform GAN, and the measures that judge it."""

from septet._core.extras import needs

needs("torch", extra="torch", purpose="septet.speech")

from septet.speech._configuration import NetworkConfig, family  # noqa: E402 - torch comes first
from septet.speech._denoiser import Denoiser  # noqa: E402
from septet.speech._layers import (  # noqa: E402
    Down,
    SelfAttention1d,
    Up,
    VirtualBatchNorm1d,
)
from septet.speech._losses import SpectralDistance  # noqa: E402
from septet.speech._mixtures import Mixtures, PairWindows, Voice  # noqa: E402
from septet.speech._networks import SASEGANGenerator, SEGANDiscriminator  # noqa: E402
from septet.speech._packaged import Packaged, Pair, packaged_16k  # noqa: E402
from septet.speech._presets import Preset, preset  # noqa: E402
from septet.speech._rmsprop import TFRMSprop  # noqa: E402
from septet.speech._signal import (  # noqa: E402
    active_level,
    deemphasis,
    from_int16,
    mix_at_snr,
    preemphasis,
)
from septet.speech._stream import Stream  # noqa: E402
from septet.speech._trainer import Trainer, TrainingConfig, train_enhancer  # noqa: E402

__all__ = [
    "Denoiser",
    "Down",
    "Mixtures",
    "NetworkConfig",
    "Packaged",
    "Pair",
    "PairWindows",
    "Preset",
    "SASEGANGenerator",
    "SEGANDiscriminator",
    "SelfAttention1d",
    "SpectralDistance",
    "Stream",
    "TFRMSprop",
    "Trainer",
    "TrainingConfig",
    "Up",
    "VirtualBatchNorm1d",
    "Voice",
    "active_level",
    "deemphasis",
    "family",
    "from_int16",
    "mix_at_snr",
    "packaged_16k",
    "preemphasis",
    "preset",
    "train_enhancer",
]
