"""What `septet speech train` does: data, network and loop put together."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from septet import speech
from septet.cli import _console
from septet.speech import metrics
from septet.speech._storage import load_generator
from septet.training import world

_VALIDATED = 24  # recordings of four seconds
_QUICKLY = ("stoi", "si_sdr", "pesq")


def run(
    folder: Path,
    *,
    recipe: str,
    network: str | None,
    width: float,
    pairs: tuple[Path, Path] | None,
    speech_folder: Path | None,
    noise_folder: Path | None,
    steps: int | None,
    batch_size: int | None,
    lr: float | None,
    begin_with: Path | None,
    seed: int | None,
    device: str,
    fresh: bool,
) -> dict[str, Any]:
    """Train and return the facts; empty in all processes but the main one."""
    if (speech_folder is None) != (noise_folder is None):
        raise ValueError("--speech and --noise belong together.")
    chosen = speech.preset(recipe).with_steps(steps)
    if network is not None:
        chosen = replace(chosen, network=speech.family(network, width=width))
    elif width != 1:
        raise ValueError("--width belongs to --network.")
    chosen = replace(
        chosen,
        training=replace(chosen.training, seed=chosen.training.seed if seed is None else seed),
        batch_size=chosen.batch_size if batch_size is None else batch_size,
    )
    if lr is not None:
        chosen = replace(chosen, training=replace(chosen.training, lr=lr))
    initial = None
    if begin_with is not None:
        initial = load_generator(begin_with, expected=chosen.network)[0]
    batches, evaluate = _data(chosen, pairs, speech_folder, noise_folder)
    every = max(1, chosen.training.steps // 24)
    with world() as processes, _console.progress("train") as say:
        trainer, history = speech.train_enhancer(
            chosen.network,
            chosen.training,
            batches,
            folder=folder,
            checkpoint_every=every,
            evaluate=evaluate,
            evaluate_every=None if evaluate is None else 4 * every,
            log_every=max(1, chosen.training.steps // 100),
            fresh=fresh,
            initial=initial,
            progress=(lambda record: say(_line(record))) if processes.is_main else None,
            device=device,
            world=processes,
        )
        if not processes.is_main:
            return {}
    assert isinstance(trainer.result, speech.SASEGANGenerator)
    denoiser = speech.Denoiser(chosen.finished(trainer.result), chosen.network)
    denoiser.notes = {"recipe": recipe, "steps": chosen.training.steps}
    denoiser.notes["seed"] = chosen.training.seed
    target = folder / "model.safetensors"
    denoiser.save(target, half=True)
    last = history[-1] if history else {}
    return {"model": str(target), "bytes": target.stat().st_size, **last}


def _data(
    chosen: speech.Preset,
    pairs: tuple[Path, Path] | None,
    speech_folder: Path | None,
    noise_folder: Path | None,
) -> tuple[Any, Callable[[nn.Module, int], Mapping[str, float]] | None]:
    if pairs is not None:
        windows = speech.PairWindows(
            speech.read_pairs(*pairs),
            window=chosen.network.window,
            batch_size=chosen.batch_size,
            seed=chosen.training.seed,
        )
        return windows, None
    if speech_folder is not None and noise_folder is not None:
        material = speech.Packaged(
            voices=tuple(speech.read_voices(speech_folder)),
            noises=tuple(speech.read_noises(noise_folder)),
            test=(),
            digests={},
        )
        return chosen.mixtures(material), None
    train, validation = chosen.split(speech.packaged_16k(n_test=3))
    return train, _judge(chosen, validation)


def _judge(
    chosen: speech.Preset, validation: speech.Mixtures
) -> Callable[[nn.Module, int], Mapping[str, float]]:
    drawn = [validation.batch(i) for i in range(_VALIDATED)]
    recordings = [tuple(x[0, 0].double().numpy() for x in pair) for pair in drawn]
    heard = [(c, n) for c, n in recordings if (np.abs(c) > 0.01).mean() > 0.1]

    def evaluate(generator: nn.Module, steps: int) -> Mapping[str, float]:
        assert isinstance(generator, speech.SASEGANGenerator)
        was_training = generator.training
        denoiser = speech.Denoiser(chosen.finished(generator), chosen.network)
        rows = []
        for clean, noisy in heard:
            enhanced = denoiser.enhance(noisy, speech.SAMPLE_RATE)
            rows.append([getattr(metrics, name)(clean, enhanced) for name in _QUICKLY])
        generator.train(was_training)
        means = np.mean(rows, axis=0).tolist()
        return {f"validation {k}": v for k, v in zip(_QUICKLY, means, strict=True)}

    return evaluate


def _line(record: Mapping[str, Any]) -> str:
    record = {**record, **record.get("evaluation", {})}
    record.pop("evaluation", None)
    return ", ".join(
        f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in record.items()
    )
