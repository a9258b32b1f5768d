"""The shipped model beside its peers, a short training, and the study of the family."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from scipy.signal import spectrogram

from septet.recipes import Audio, Exhibit, Figure, Measure, Run, Table
from septet.recipes._workers import run_all
from septet.recipes.speech import _study
from septet.recipes.speech._material import material
from septet.speech import Denoiser, arena, installed_peers, preset, train_enhancer
from septet.speech.metrics import interval, pesq

Results = dict[str, Any]
_OURS = "septet small"
_CLASSICAL = ("noisereduce, stationary", "noisereduce, non-stationary", "WebRTC", "Wiener")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Speech enhancement."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the study."""
    material: Literal["packaged", "synthetic"] = "packaged"
    """Recordings from packages, or made-up sounds that decide nothing."""
    n_test: int = 42
    """Held-out recordings."""
    peers: str = "auto"
    """Which peers: auto for every installed one, none, or names joined by +."""
    training_steps: int = 60
    """Steps of the short training."""
    training_batch: int = 4
    """Its windows per batch."""
    systems: tuple[str, ...] = ()
    """Members of the family in the study."""
    width: float = 0.125
    """Their width, the paper's being one."""
    window: int = 8192
    """Their windows in samples."""
    steps: int = 400
    """Their steps."""
    batch_size: int = 4
    """Their windows per batch."""
    workers: int = 0
    """Trainings of the study at a time, one thread each; zero takes one per core."""


def run(config: Config, run: Run) -> Results:
    """Run every stage, resumable after each."""
    sizes = (config.width, config.window, config.steps, config.batch_size, config.material)
    study = [
        (f"{system}-{seed}", _study.judged, (system, seed, *sizes))
        for seed in config.seeds
        for system in reversed(config.systems)  # the costliest first
    ]
    return {
        "arena": run.stage("arena", _arena, config, run),
        "clean": run.stage("clean", _clean, config),
        "training": run.stage("training", _training, config),
        "material": config.material,
        "study": list(run_all(run, study, config.workers).values()),
    }


def _arena(config: Config, run: Run) -> Results:
    pairs = material(config.material, config.n_test, False).test
    table, found = arena(pairs, peers=installed_peers(config.peers), say=run.say)
    scores = {name: {m: one.column(m).tolist() for m in one.rows[0]} for name, one in found.items()}
    return {"table": table, "scores": scores}


def _clean(config: Config) -> list[float]:
    pairs = material(config.material, config.n_test, False).test
    ours = Denoiser.from_pretrained()
    return [pesq(pair.clean, ours.enhance(pair.clean, 16000)) for pair in pairs[:6]]


def _training(config: Config) -> list[dict[str, float]]:
    """L1 error of a network that begins anew, over that of the noisy signal."""
    chosen = preset("small").with_steps(config.training_steps)
    chosen = replace(chosen, batch_size=config.training_batch)
    batches = chosen.mixtures(material(config.material, 3, ("es",)))
    levels = []
    for t in range(config.training_steps):
        clean, noisy = (x[:, 0, 1:] - 0.95 * x[:, 0, :-1] for x in batches.batch(t))
        scale = noisy.square().mean(dim=-1, keepdim=True).sqrt()
        levels.append(float(((noisy - clean) / scale).abs().mean()))
    _, history = train_enhancer(chosen.network, chosen.training, batches, log_every=1)
    return [
        {"step": row["step"], "l1": row["l1"], "noisy": noisy}
        for row, noisy in zip(history, levels, strict=True)
    ]


# -- measures ------------------------------------------------------------------------------------


def _gain(results: Results, measure: str, other: str = "noisy") -> Measure:
    scores = results["arena"]["scores"]
    found = interval(np.subtract(scores[_OURS][measure], scores[other][measure]))
    ours, theirs = (float(np.nanmean(scores[name][measure])) for name in (_OURS, other))
    return Measure(
        found["mean"], found["low"], found["high"], found["n"], "", f"{other} {theirs:.3f}, "
        f"ours {ours:.3f}"
    )  # fmt: skip


def pesq_gain(results: Results) -> Measure:
    """PESQ over the noisy input's, with the bootstrap interval over recordings."""
    return _gain(results, "pesq")


def si_sdr_gain(results: Results) -> Measure:
    """SI-SDR over the noisy input's in dB."""
    return _gain(results, "si_sdr")


def stoi_gain(results: Results) -> Measure:
    """STOI over the noisy input's in percentage points."""
    return _gain(results, "stoi")


def over_classical(results: Results) -> Measure | None:
    """PESQ over the best of noisereduce, WebRTC and Wiener that took part."""
    scores = results["arena"]["scores"]
    there = [name for name in _CLASSICAL if name in scores]
    if not there:
        return None
    return _gain(results, "pesq", max(there, key=lambda n: float(np.nanmean(scores[n]["pesq"]))))


def over_rnnoise(results: Results) -> Measure | None:
    """PESQ over RNNoise's, if it took part."""
    return _gain(results, "pesq", "RNNoise") if "RNNoise" in results["arena"]["scores"] else None


def clean_pesq(results: Results) -> Measure:
    """PESQ of enhanced clean recordings."""
    found = interval(results["clean"])
    return Measure(found["mean"], found["low"], found["high"], found["n"])


def l1_ratio(results: Results) -> Measure:
    """L1 error over the noisy signal's in the last fifth of the short training."""
    rows = results["training"]
    last = rows[-max(1, len(rows) // 5) :]
    return Measure(sum(r["l1"] for r in last) / sum(r["noisy"] for r in last), n=len(last))


def _apart(results: Results, first: str, second: str) -> Measure | None:
    found = _study.gain(results["study"], first, second, "pesq")
    if found is None:
        return None
    beside = []
    for name, unit in (("stoi", "STOI {:+.2f} points"), ("si_sdr", "SI-SDR {:+.2f} dB")):
        other = _study.gain(results["study"], first, second, name)
        assert other is not None
        beside.append(unit.format(other["mean"]) + " [{low:.2f}, {high:.2f}]".format(**other))
    return Measure(found["mean"], found["low"], found["high"], found["n"], peer="; ".join(beside))


def attention_gain(results: Results) -> Measure | None:
    """PESQ of SASEGAN-10 over SEGAN with spectral normalisation, paired."""
    return _apart(results, "sasegan-10", "segan+sn")


def everywhere_gain(results: Results) -> Measure | None:
    """PESQ of SASEGAN-All over SEGAN with spectral normalisation, paired."""
    return _apart(results, "sasegan-all", "segan+sn")


def normalisation_gain(results: Results) -> Measure | None:
    """PESQ of SEGAN with spectral normalisation over SEGAN, paired."""
    return _apart(results, "segan+sn", "segan")


def published_gain(results: Results) -> Measure | None:
    """PESQ of SASEGAN-10 over SEGAN without spectral normalisation: the two changes together."""
    return _apart(results, "sasegan-10", "segan")


def adversary_gain(results: Results) -> Measure | None:
    """PESQ of SEGAN over the same network trained by L1 alone, paired."""
    return _apart(results, "segan", "l1-only")


def seed_spread(results: Results) -> Measure | None:
    """Standard deviation over seeds of a system's mean PESQ."""
    found = _study.seed_spread(results["study"], "pesq")
    return None if found is None else Measure(found, n=len(results["study"]))


def kept(results: Results) -> Results:
    """Return the tables for the documentation."""
    rows = [
        {k: float(np.mean(v)) if isinstance(v, list) else v for k, v in row.items()}
        for row in results["study"]
    ]
    return {"arena": results["arena"]["table"], "study": rows}


# -- exhibits ------------------------------------------------------------------------------------


def exhibits(results: Results) -> Iterator[Exhibit]:
    """Yield tables, spectrograms before and after, and recordings to listen to."""
    table = results["arena"]["table"]
    yield Table(
        "Systems on the same recordings",
        "Means over held-out recordings; CPU seconds per second of audio on one thread.",
        list(table[0]),
        [[_short(value) for value in row.values()] for row in table],
    )
    pair = material(results["material"], 3, False).test[2]
    enhanced = Denoiser.from_pretrained().enhance(pair.noisy, 16000)
    sounds = {"noisy": pair.noisy, "enhanced": enhanced, "clean": pair.clean}
    yield Figure(
        "Before and after",
        "Power in dB of one held-out recording: as it came, enhanced, and clean.",
        partial(_draw_spectrograms, sounds),
        (7.0, 6.0),
    )
    for name, samples in sounds.items():
        yield Audio(name.capitalize(), f"Recording {pair.name}, {pair.noise}.", _wav(samples))
    yield Figure(
        "A short training",
        "L1 error of every batch, of the noisy windows themselves and after enhancement.",
        partial(_draw_training, results["training"]),
    )
    if results["study"]:
        yield _study_table(results["study"])


def _study_table(rows: list[dict[str, Any]]) -> Table:
    columns = ["system", "seed", "pesq", "stoi", "si_sdr", "largest gate", "l1"]
    shown = [
        [_short(float(np.mean(r[c])) if isinstance(r[c], list) else r[c]) for c in columns]
        for r in rows
    ]
    return Table(
        "The family at a small width",
        "Means over recordings; the gate is the largest |β| of the attention layers.",
        columns,
        shown,
    )


def _short(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _draw_spectrograms(sounds: dict[str, Any], figure: Any) -> None:
    for ax, (name, samples) in zip(
        figure.subplots(len(sounds), 1, sharex=True), sounds.items(), strict=True
    ):
        frequencies, times, powers = spectrogram(samples, 16_000, nperseg=512, noverlap=384)
        levels = 10 * np.log10(np.maximum(powers, 1e-12))
        ax.pcolormesh(times, frequencies, levels, vmin=-120, vmax=-40, rasterized=True)
        ax.set(ylabel="Hz", title=name)
    ax.set_xlabel("s")


def _draw_training(rows: list[dict[str, float]], figure: Any) -> None:
    axes = figure.add_subplot()
    steps = [row["step"] for row in rows]
    axes.plot(steps, [row["noisy"] for row in rows], lw=1, label="noisy")
    axes.plot(steps, [row["l1"] for row in rows], lw=1.5, label="enhanced")
    axes.set(xlabel="step", ylabel="L1 error", ylim=(0, None))
    axes.legend()


def _wav(samples: Any) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), 16000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
