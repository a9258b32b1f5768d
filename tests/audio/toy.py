"""Clips whose class is plain to hear: tones, noises and clicks at 8 kHz."""

import numpy as np

RATE = 8000
CLASSES = ("clicks", "noise", "tone")


def clip(kind, rng, seconds=0.25):
    times = np.arange(round(seconds * RATE)) / RATE
    if kind == "tone":
        samples = np.sin(2 * np.pi * rng.uniform(300, 1500) * times)
    elif kind == "noise":
        samples = rng.normal(size=times.size) / 4
    else:
        samples = np.zeros(times.size)
        samples[rng.integers(times.size, size=8)] = rng.choice([-1, 1], 8)
    return (samples * rng.uniform(0.1, 0.5) + 1e-4 * rng.normal(size=times.size)).astype(np.float32)


def toy(n, seed=0, seconds=0.25):
    """Return n clips, their labels and groups of three neighbours."""
    rng = np.random.default_rng(seed)
    labels = [CLASSES[i % 3] for i in range(n)]
    return [clip(kind, rng, seconds) for kind in labels], labels, [f"g{i // 3}" for i in range(n)]
