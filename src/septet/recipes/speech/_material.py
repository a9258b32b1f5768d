"""Speech and noise for the recipe: real, or made up where nothing is decided."""

import numpy as np
from numpy.typing import NDArray

from septet.speech import Packaged, Pair, Voice, mix_at_snr, packaged_16k


def material(kind: str, n_test: int, train: bool | tuple[str, ...]) -> Packaged:
    """Return the packaged task, or one of buzzes and hisses."""
    if kind == "packaged":
        return packaged_16k(n_test=n_test, train=train)
    hiss = np.random.default_rng(7).normal(size=32_000)
    return Packaged(
        voices=(Voice.join("buzz", [buzz(k, 48_000) for k in range(4)]),),
        noises=(("hiss", (3000 * hiss).astype(np.int16)),),
        test=tuple(_pair(k) for k in range(n_test)),
        digests={},
    )


def _pair(seed: int) -> Pair:
    clean = buzz(seed + 100, 32_000)
    noise = np.random.default_rng(seed).normal(size=clean.size)
    return Pair(f"{seed}", "buzz", "hiss", 5.0, clean, mix_at_snr(clean, noise, 5.0))


def buzz(seed: int, n: int) -> NDArray[np.float64]:
    """Harmonics of a gliding pitch, in syllables."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t)) / 16000
    tone = np.sum([np.sin(k * phase) / k for k in range(1, 12)], axis=0)
    return 0.05 * tone * (np.sin(2 * np.pi * 2.5 * t + seed) > -0.3)
