"""Three small tasks of real recordings, and one of made-up sounds, as views in memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet._core.errors import DataError
from septet.audio import ViewStack, load_clips
from septet.audio.datasets import read_announcers, read_drums, read_instruments

_SECONDS = 0.5
ANNOUNCEMENT_RATE = 8000
_LARGEST = {"train": 300, "validation": 160, "test": 400}
_BATCH = 64
_FEWEST, _TRIES = 4, 10_000  # clips of a class on each side of a split; tries to find one


@dataclass(frozen=True)
class Task:
    """Clips of a task.

    Attributes
    ----------
    views : mapping from str to Tensor of shape (n_clips, ...)
        Not normalised.
    labels : ndarray of shape (n_clips,)
        Class numbers.
    groups : ndarray of shape (n_clips,)
        What stays on one side of a split.
    parts : ndarray of shape (n_clips,) or None
        Larger units of which each is the test part in turn, instead of a third of the groups.
    classes : tuple of str
    bands : mapping from str to int or None
        Of each view's image.
    """

    views: Mapping[str, Tensor]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    parts: NDArray[np.str_] | None
    classes: tuple[str, ...]
    bands: Mapping[str, int | None]

    def split(self, seed: int) -> dict[str, NDArray[np.int64]]:
        """Return numbers of the clips for training, validation and test, no group in two of them.

        At most 300, 160 and 400 of them: the question is what to do with little data.
        """
        rng = np.random.default_rng(seed)
        if self.parts is None:
            rest, test = _sides(self.labels, self.groups, 1 / 3, rng)
        else:
            names = np.unique(self.parts)
            chosen = self.parts == names[seed % len(names)]
            rest, test = np.flatnonzero(~chosen), np.flatnonzero(chosen)
        first, second = _sides(self.labels[rest], self.groups[rest], 0.4, rng)
        sides = {"train": rest[first], "validation": rest[second], "test": test}
        return {name: self._some(side, _LARGEST[name], rng) for name, side in sides.items()}

    def _some(
        self, clips: NDArray[np.int64], limit: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return at most `limit` clips, as many of each class as there are or its share allows."""
        if len(clips) <= limit:
            return clips
        share = limit // len(self.classes)
        kept = [
            rng.permutation(clips[self.labels[clips] == c])[:share]
            for c in range(len(self.classes))
        ]
        return np.sort(np.concatenate(kept))


def _sides(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    fraction: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a random split by groups with every class on both sides and about that fraction.

    The best such split, as :func:`septet.audio.group_split` gives it, would be the same every time
    where there are few groups.

    Raises
    ------
    DataError
        If none was found.
    """
    names, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group)
    n_classes = labels.max() + 1
    for _ in range(_TRIES):
        order = rng.permutation(len(names))
        taken = order[: int(np.searchsorted(np.cumsum(sizes[order]), fraction * len(labels))) + 1]
        second = np.isin(group, taken)
        counts = [np.bincount(labels[side], minlength=n_classes) for side in (second, ~second)]
        if np.min(counts) >= _FEWEST and abs(second.mean() - fraction) < 0.1:
            return np.flatnonzero(~second), np.flatnonzero(second)
    raise DataError(f"no split in {_TRIES} has {_FEWEST} clips of every class on both sides.")


def _views(
    samples: NDArray[np.float32], sample_rate: int
) -> tuple[dict[str, Tensor], dict[str, int | None]]:
    stack = ViewStack.standard(sample_rate)
    with torch.no_grad():
        batches = [
            stack.raw(torch.from_numpy(samples[start : start + _BATCH]))
            for start in range(0, len(samples), _BATCH)
        ]
    views = {name: torch.cat([batch[name] for batch in batches]) for name in stack.views}
    return views, {name: getattr(view, "n_bands", None) for name, view in stack.views.items()}


def _task(
    samples: NDArray[np.float32],
    sample_rate: int,
    labels: NDArray[np.str_],
    groups: NDArray[np.str_],
    parts: NDArray[np.str_] | None = None,
) -> Task:
    views, bands = _views(samples, sample_rate)
    classes, numbers = np.unique(labels, return_inverse=True)
    return Task(views, numbers, groups, parts, tuple(str(c) for c in classes), bands)


def drums() -> Task:
    """Strokes of seven kinds of drum; authors of kits stay on one side."""
    manifest = read_drums()
    clips = load_clips(manifest.clips, 16000, seconds=_SECONDS, on_error="raise")
    first = np.unique(clips.owner, return_index=True)[1]  # the stroke, not its reverberation
    return _task(clips.samples[first], 16000, np.array(manifest.labels), np.array(manifest.groups))


def announcements() -> tuple[list[int], NDArray[np.float32], NDArray[np.str_], NDArray[np.str_]]:
    """Return the loudest half second of every telephone announcement that is as long.

    Returns
    -------
    numbers : list of int
        Places in the manifest.
    samples : ndarray of shape (n, 4000), float32
    names, prompts : ndarray of shape (n,)
        Who speaks, and what.
    """
    manifest = read_announcers()
    numbers, rows = [], []
    length = round(_SECONDS * ANNOUNCEMENT_RATE)
    for number, path in enumerate(manifest.clips):
        whole = load_clips([path], ANNOUNCEMENT_RATE, longest=60.0, on_error="raise").samples[0]
        if whole.size < length:
            continue
        energy = np.cumsum(np.concatenate([[0.0], whole.astype(np.float64) ** 2]))
        starts = np.arange(0, whole.size - length + 1, 400)
        start = starts[np.argmax(energy[starts + length] - energy[starts])]
        rows.append(whole[start : start + length])
        numbers.append(number)
    names, prompts = (np.array(x)[numbers] for x in (manifest.labels, manifest.groups))
    return numbers, np.stack(rows), names, prompts


def announcers() -> Task:
    """Half a second of telephone announcements by four people, under as much white noise."""
    numbers, samples, names, prompts = announcements()
    rows = []
    for number, crop in zip(numbers, samples, strict=True):
        noise = np.random.default_rng(number).normal(size=crop.size)
        level = np.sqrt(np.mean(crop.astype(np.float64) ** 2))
        rows.append((crop + level * noise).astype(np.float32))
    return _task(np.stack(rows), ANNOUNCEMENT_RATE, names, prompts)


def instruments() -> Task:
    """Notes of ten families of instruments; each of three sound fonts is the test part in turn."""
    notes = read_instruments(sample_rate=16000, seconds=_SECONDS)
    return _task(notes.samples, 16000, notes.labels, notes.presets, notes.fonts)


def sounds(n: int = 90) -> Task:
    """Made-up tones, noises and clicks, for trying the recipe out."""
    rng = np.random.default_rng(0)
    times = np.arange(2000) / 8000
    labels = np.array(["clicks", "noise", "tone"] * (n // 3))
    rows = []
    for label in labels:
        if label == "tone":
            samples = np.sin(2 * np.pi * rng.uniform(300, 1500) * times)
        elif label == "noise":
            samples = rng.normal(size=times.size) / 4
        else:
            samples = np.zeros(times.size)
            samples[rng.integers(times.size, size=8)] = 1.0
        rows.append(samples * rng.uniform(0.1, 0.5) + 0.02 * rng.normal(size=times.size))
    groups = np.array([f"g{i // 3}" for i in range(len(labels))])
    return _task(np.array(rows, np.float32), 8000, labels, groups)


TASKS: Mapping[str, Callable[[], Task]] = {
    "announcers": announcers,
    "drums": drums,
    "instruments": instruments,
    "sounds": sounds,
}


@cache
def load_task(name: str) -> Task:
    """Return a task, read and turned into views once in a process."""
    return TASKS[name]()
