"""The study: five members of the family at a small width, several seeds, the same recordings."""

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from septet.recipes.speech._material import material
from septet.speech import (
    Denoiser,
    Mixtures,
    NetworkConfig,
    Packaged,
    SelfAttention1d,
    TrainingConfig,
    family,
    train_enhancer,
)
from septet.speech.metrics import pesq, si_sdr, stoi

Row = dict[str, Any]
_SPEAKERS = ("en", "ru", "cs-man")
_JUDGED = 15
_DRAWS = 4000


def judged(
    system: str, seed: int, width: float, window: int, steps: int, batch_size: int, kind: str
) -> Row:
    """Train a system with a seed; return its scores on every recording."""
    torch.set_num_threads(1)
    network = member(system, width, window)
    found = _material(kind)
    batches = Mixtures(found.voices, found.noises, window=window, batch_size=batch_size, seed=seed)
    training = TrainingConfig(
        steps=steps,
        optimizer="adam",
        lr=1e-3,
        schedule="cosine",
        adversarial=0.0 if system == "l1-only" else 1.0,
        seed=seed,
    )
    trainer, history = train_enhancer(network, training, batches, log_every=max(1, steps // 10))
    gates = [m.beta.item() for m in trainer.generator.modules() if isinstance(m, SelfAttention1d)]
    denoiser = Denoiser(trainer.generator, network)
    rows = []
    for pair in found.test:
        enhanced = denoiser.enhance(pair.noisy, 16000)
        rows.append([f(pair.clean, enhanced) for f in (pesq, stoi, si_sdr)])
    columns = np.array(rows).T.tolist()
    return {
        "system": system,
        "seed": seed,
        "pesq": columns[0],
        "stoi": columns[1],
        "si_sdr": columns[2],
        "largest gate": max(map(abs, gates), default=None),
        "l1": history[-1]["l1"],
    }


@cache
def _material(kind: str) -> Packaged:
    """Decoded once in every process."""
    return material(kind, _JUDGED, _SPEAKERS)


def member(system: str, width: float, window: int) -> NetworkConfig:
    """Return a system's network; without its adversary SEGAN is the same network."""
    return family("segan" if system == "l1-only" else system, width=width, window=window)


def gain(rows: list[Row], first: str, second: str, measure: str) -> dict[str, Any] | None:
    """Gain of one system over another, with an interval over seeds *and* recordings.

    Every recording is compared with itself. The bootstrap draws seeds and, for all of them alike,
    recordings: 45 differences out of three seeds are not 45 independent ones.

    Examples
    --------
    >>> rows = [{"system": s, "seed": k, "pesq": [1.0 + (s == "b"), 2.0 + (s == "b")]}
    ...         for s in "ab" for k in range(3)]
    >>> gain(rows, "b", "a", "pesq")
    {'mean': 1.0, 'low': 1.0, 'high': 1.0, 'n': 3}
    >>> gain(rows, "b", "c", "pesq") is None
    True
    """
    ours, theirs = (_by_seed(rows, system, measure) for system in (first, second))
    if ours.shape != theirs.shape or not ours.size:
        return None
    apart = ours - theirs
    rng = np.random.default_rng(0)
    seeds = rng.integers(apart.shape[0], size=(_DRAWS, apart.shape[0], 1))
    recordings = rng.integers(apart.shape[1], size=(_DRAWS, 1, apart.shape[1]))
    low, high = np.quantile(apart[seeds, recordings].mean(axis=(1, 2)), [0.025, 0.975])
    return {
        "mean": float(apart.mean()),
        "low": float(low),
        "high": float(high),
        "n": apart.shape[0],
    }


def seed_spread(rows: list[Row], measure: str) -> float | None:
    """Standard deviation of a system's mean from seed to seed, pooled over the systems.

    Examples
    --------
    >>> rows = [{"system": "a", "seed": k, "pesq": [1.0 + 0.1 * k]} for k in range(3)]
    >>> round(seed_spread(rows, "pesq"), 6)
    0.1
    """
    systems = sorted({row["system"] for row in rows})
    means = [_by_seed(rows, system, measure).mean(axis=1) for system in systems]
    spreads = [np.var(each, ddof=1) for each in means if each.size > 1]
    return float(np.sqrt(np.mean(spreads))) if spreads else None


def _by_seed(rows: list[Row], system: str, measure: str) -> NDArray[np.float64]:
    """Values of one system, shape (seeds, recordings)."""
    mine = sorted((row for row in rows if row["system"] == system), key=lambda row: row["seed"])
    return np.array([row[measure] for row in mine], dtype=np.float64)
