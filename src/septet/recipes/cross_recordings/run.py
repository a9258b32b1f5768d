"""Who speaks, in which room: heads on multi-view embeddings, and what the worst group gets."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter

from septet import robust
from septet._core import checks
from septet.audio import MultiViewClassifier
from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured
from septet.recipes._workers import run_all
from septet.recipes.audio._tasks import ANNOUNCEMENT_RATE, announcements

Floats: TypeAlias = NDArray[np.floating]
Results = dict[str, Any]
_SYSTEMS = ("plain network", "plain network, half", "reuse", "independent")
_SHARES = (0.4, 0.2, 0.4)  # of the prompts: for training, validation and test


@dataclass(frozen=True, kw_only=True)
class Config:
    """Worst-group heads on multi-view audio embeddings."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Splits of the prompts, rooms, networks."""
    voices: Literal["announcers", "made-up"] = "announcers"
    """Recordings; made-up ones need no data."""
    most: int = 140
    """Clips of each voice on a side of the split, at most."""
    agreement: float = 0.9
    """Share of a voice's training clips that come from its usual room."""
    snr_db: float = 5.0
    """Level of the voice above the noise of the room, in dB."""
    steps: int = 120
    """Of every network."""
    workers: int = 0
    """Seeds at a time, one thread each; zero takes one per core."""

    def __post_init__(self) -> None:
        checks.integer("most", self.most, low=8)
        checks.number("agreement", self.agreement, above=0.5, below=1)
        if not self.seeds:
            raise ValueError("seeds must not be empty.")


@dataclass(frozen=True)
class Clips:
    """Samples, who speaks (0 to 3) and in which room (0 or 1)."""

    X: Floats
    y: NDArray[np.int64]
    room: NDArray[np.int64]


def run(config: Config, run: Run) -> Results:
    """Train and judge with every seed; resumable after each."""
    jobs = [(f"seed-{seed}", _judged, (config, seed)) for seed in config.seeds]
    return {"rows": list(run_all(run, jobs, config.workers).values())}


def _judged(config: Config, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    train, validation, test = _parts(config, np.random.default_rng(seed))

    def network(rows: Any) -> MultiViewClassifier:
        model = MultiViewClassifier(
            ANNOUNCEMENT_RATE, size="tiny", steps=config.steps, dropout=0.0, random_state=seed
        )
        return model.fit(train.X[rows], train.y[rows], validation=(validation.X, validation.y))

    split = robust.cris_split(train.y, train.room, retrain_fraction=0.5, random_state=seed)
    whole, half = network(slice(None)), network(split.phase_one)
    inputs, selecting, judged = (half.transform(part.X) for part in (train, validation, test))

    def head(rows: NDArray[np.intp]) -> NDArray[Any]:
        model = robust.CRISClassifier(random_state=seed)
        groups = {
            "groups": train.room[rows],
            "validation": (selecting, validation.y, validation.room),
        }
        return model.fit(inputs[rows], train.y[rows], **groups).predict(judged)

    guesses = (
        whole.predict(test.X),
        half.predict(test.X),
        head(split.phase_one),
        head(split.retraining),
    )
    return {name: _said(test, guess) for name, guess in zip(_SYSTEMS, guesses, strict=True)}


def _said(test: Clips, guess: NDArray[Any]) -> dict[str, float]:
    usual = test.room == _usual_room(test.y)
    return {
        "worst": float(robust.worst_group_accuracy(test.y, guess, groups=2 * test.y + test.room)),
        "usual": float((guess == test.y)[usual].mean()),
        "other": float((guess == test.y)[~usual].mean()),
    }


def _parts(config: Config, rng: np.random.Generator) -> list[Clips]:
    """Training clips mostly from each voice's usual room; validation and test from both alike.

    What is said is on one side only.
    """
    samples, voices, prompts = _made_up() if config.voices == "made-up" else _announcers()
    rank = rng.permutation(prompts.max() + 1)[prompts] / (prompts.max() + 1)
    sides = np.searchsorted(np.cumsum(_SHARES)[:-1], rank, side="right")
    parts = []
    for side, share in enumerate((config.agreement, 0.5, 0.5)):
        rows, usual = [], []
        for voice in range(4):
            some = rng.permutation(np.flatnonzero((sides == side) & (voices == voice)))
            rows.append(some[: config.most])
            usual.append(np.arange(len(rows[-1])) < share * len(rows[-1]))
        clips, y = samples[np.concatenate(rows)], voices[np.concatenate(rows)]
        room = np.where(np.concatenate(usual), _usual_room(y), 1 - _usual_room(y))
        parts.append(Clips(_recorded(clips, room, config.snr_db, rng), y, room))
    return parts


def _usual_room(voice: NDArray[np.int64]) -> NDArray[np.int64]:
    return voice % 2


def _recorded(
    voices: Floats, room: NDArray[np.int64], snr_db: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Voices with the noise of a room: a hiss in one, a rumble in the other."""
    hiss = rng.normal(size=voices.shape)
    noise = np.where(room[:, None] == 0, hiss, lfilter([1.0], [1.0, -0.98], hiss, axis=1))
    levels = [np.sqrt(np.mean(x**2, axis=1, keepdims=True)) for x in (voices, noise)]
    return (voices + noise * levels[0] / levels[1] * 10 ** (-snr_db / 20)).astype(np.float32)


@cache
def _announcers() -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    _, samples, names, prompts = announcements()
    voices, groups = (np.unique(x, return_inverse=True)[1] for x in (names, prompts))
    return samples, voices, groups


def _made_up() -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Four buzzes of different pitch, each with forty prompts."""
    rng = np.random.default_rng(0)
    voices, prompts = (x.ravel() for x in np.indices((4, 40)))
    times = np.arange(ANNOUNCEMENT_RATE // 4) / ANNOUNCEMENT_RATE
    pitch = 100 * 1.3**voices * rng.normal(1, 0.03, len(voices))
    harmonics = np.arange(1, 9)[:, None, None]
    samples = (np.sin(2 * np.pi * harmonics * pitch[:, None] * times) / harmonics).sum(axis=0)
    return samples, voices, prompts


def _column(results: Results, system: str, key: str) -> Floats:
    return 100 * np.array([row[system][key] for row in results["rows"]])


def _gain(results: Results, over: str, key: str = "worst") -> Measure:
    ours, theirs = _column(results, "independent", key), _column(results, over, key)
    ahead = f"ahead in {(ours > theirs).sum()} of {len(ours)} seeds"
    return measured(list(ours - theirs), unit="points", peer=f"{over} {theirs.mean():.1f}; {ahead}")


def over_plain(results: Results) -> Measure:
    """Worst-group accuracy of the head of independent rows over the plain network's."""
    return _gain(results, "plain network")


def over_reuse(results: Results) -> Measure:
    """Worst-group accuracy of the head of independent rows over that of the network's own rows."""
    return _gain(results, "reuse")


def usual_rooms(results: Results) -> Measure:
    """Accuracy in usual rooms over the plain network's: what robustness costs, if negative."""
    return _gain(results, "plain network", "usual")


def exhibits(results: Results) -> Iterator[Exhibit]:
    """Yield the accuracies of every system as a table, and seed by seed as a picture."""
    keys = ("worst", "usual", "other")
    yield Table(
        "Who speaks",
        "Test accuracy in per cent, mean over seeds: of the worst of eight groups (who speaks, in "
        "which room), in usual rooms and in the others.",
        ["system", "worst group", "usual rooms", "other rooms"],
        [
            [name, *(round(float(_column(results, name, key).mean()), 1) for key in keys)]
            for name in _SYSTEMS
        ],
    )
    yield Figure(
        "The worst group, seed by seed",
        "One line a seed: the same split, rooms and clips for every system.",
        lambda figure: _draw(figure, results),
    )


def _draw(figure: Any, results: Results) -> None:
    axes = figure.add_subplot()
    for values in np.transpose([_column(results, name, "worst") for name in _SYSTEMS]):
        axes.plot(_SYSTEMS, values, "o-", alpha=0.6)
    axes.set(ylabel="accuracy of the worst group (%)")
