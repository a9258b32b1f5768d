"""The study: five members of the family at a small width, several seeds, the same recordings."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from septet.recipes.speech._material import material
from septet.speech import (
    Denoiser,
    Mixtures,
    NetworkConfig,
    SelfAttention1d,
    TrainingConfig,
    family,
    train_enhancer,
)
from septet.speech.metrics import pesq, si_sdr, stoi

Row = dict[str, Any]
_SPEAKERS = ("en", "ru", "nl-woman", "cs-man")
_JUDGED = 15


def study(
    systems: tuple[str, ...],
    seeds: tuple[int, ...],
    *,
    width: float,
    window: int,
    steps: int,
    batch_size: int,
    workers: int,
    kind: str,
) -> list[Row]:
    """Train and judge every system with every seed."""
    jobs = [(system, seed) for seed in seeds for system in systems]
    one = partial(
        _judged, width=width, window=window, steps=steps, batch_size=batch_size, kind=kind
    )
    if workers == 1:
        return [one(job) for job in jobs]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return list(pool.map(one, jobs))


def _judged(
    job: tuple[str, int], *, width: float, window: int, steps: int, batch_size: int, kind: str
) -> Row:
    torch.set_num_threads(1)
    system, seed = job
    network = member(system, width, window)
    found = material(kind, _JUDGED, _SPEAKERS)
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


def member(system: str, width: float, window: int) -> NetworkConfig:
    """Return a system's network; without its adversary SEGAN is the same network."""
    return family("segan" if system == "l1-only" else system, width=width, window=window)


def difference(rows: list[Row], first: str, second: str, measure: str) -> list[float] | None:
    """Differences of one measure, recording by recording and seed by seed; None if not run."""
    table = {(row["system"], row["seed"]): row[measure] for row in rows}
    seeds = sorted({seed for system, seed in table if system == first})
    if not seeds or any((second, seed) not in table for seed in seeds):
        return None
    pairs = [np.subtract(table[first, seed], table[second, seed]) for seed in seeds]
    return np.mean(pairs, axis=0).tolist() if len(pairs) == 1 else np.concatenate(pairs).tolist()
