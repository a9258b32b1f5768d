"""Speech enhancement with a self-attention waveform GAN, and the measures that judge it."""

from septet._core.extras import needs

needs("torch", extra="torch", purpose="septet.speech")

from septet.speech._arena import arena, pairs_from_folder  # noqa: E402 - torch comes first
from septet.speech._configuration import NetworkConfig, family  # noqa: E402
from septet.speech._denoiser import Denoiser, pretrained  # noqa: E402
from septet.speech._export import export_onnx  # noqa: E402
from septet.speech._folders import read_noises, read_pairs, read_voices  # noqa: E402
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
from septet.speech._peers import Peer, installed_peers, wiener  # noqa: E402
from septet.speech._presets import Preset, preset  # noqa: E402
from septet.speech._recordings import FileResult  # noqa: E402
from septet.speech._rmsprop import TFRMSprop  # noqa: E402
from septet.speech._signal import (  # noqa: E402
    SAMPLE_RATE,
    active_level,
    deemphasis,
    from_int16,
    mix_at_snr,
    preemphasis,
)
from septet.speech._stream import Stream  # noqa: E402
from septet.speech._tensorflow import (  # noqa: E402
    from_tensorflow,
    tensorflow_names,
    to_tensorflow,
)
from septet.speech._trainer import Trainer, TrainingConfig, train_enhancer  # noqa: E402

__all__ = [
    "SAMPLE_RATE",
    "Denoiser",
    "Down",
    "FileResult",
    "Mixtures",
    "NetworkConfig",
    "Packaged",
    "Pair",
    "PairWindows",
    "Peer",
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
    "arena",
    "deemphasis",
    "export_onnx",
    "family",
    "from_int16",
    "from_tensorflow",
    "installed_peers",
    "mix_at_snr",
    "packaged_16k",
    "pairs_from_folder",
    "preemphasis",
    "preset",
    "pretrained",
    "read_noises",
    "read_pairs",
    "read_voices",
    "tensorflow_names",
    "to_tensorflow",
    "train_enhancer",
    "wiener",
]
