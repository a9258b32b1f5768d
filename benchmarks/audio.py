"""Front-ends beside librosa, nnAudio and gammatone; the cost of a weight policy.

One thread, batches of eight clips of 5 s at 22.05 kHz in float32 (librosa and gammatone take one
clip at a time, in their own precision). Errors are relative in the Euclidean norm.
"""

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import librosa
import numpy as np
import sidebyside
import torch

from septet import audio
from septet.audio._reference import cqt_by_definition

RATE, SECONDS, CLIPS = 22050, 5, 8


def main() -> list[dict[str, Any]]:
    """Run every comparison."""
    torch.set_num_threads(1)
    clips = np.random.default_rng(0).normal(size=(CLIPS, RATE * SECONDS)).astype(np.float32)
    return [*mel(clips), *constant_q(clips), *hops(clips[0]), *gammatones(clips), policy()]


def mel(clips: np.ndarray) -> list[dict[str, Any]]:
    """Power-mel spectrograms, 2048 / 512 / 128."""
    from nnAudio.features.mel import MelSpectrogram

    batch = torch.from_numpy(clips)
    ours = audio.LogMel(RATE, n_mels=128, log=None)
    settings = {"sr": RATE, "n_fft": 2048, "hop_length": 512, "n_mels": 128}
    theirs = partial(librosa.feature.melspectrogram, **settings, pad_mode="constant")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = MelSpectrogram(**settings, pad_mode="constant", verbose=False)
    ways = {
        "LogMel": lambda: ours(batch),
        (first := sidebyside.versioned("librosa")): lambda: [theirs(y=clip) for clip in clips],
        (second := sidebyside.versioned("nnAudio")): lambda: other(batch),
    }
    seconds = _timed(ways)
    name = f"mel, {CLIPS} clips of {SECONDS} s"
    found, expected = ours(batch)[0, 0].numpy(), theirs(y=clips[0])
    row = sidebyside.ratio(name, seconds, "LogMel", first, floor=2)
    row |= _accuracy(found, expected, limit=1e-6)
    return [row, sidebyside.ratio(name, seconds, "LogMel", second, floor=5)]


def constant_q(clips: np.ndarray) -> list[dict[str, Any]]:
    """Constant-Q magnitudes, 84 bins, 12 an octave from C1."""
    from nnAudio.features.cqt import CQT1992v2, CQT2010v2

    batch = torch.from_numpy(clips)
    ours = audio.CQT(RATE, log=None)
    fmin = audio.C1_HZ
    settings = {"sr": RATE, "hop_length": 512, "fmin": fmin, "n_bins": 84}
    version = sidebyside.versioned("nnAudio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peers: dict[str, Callable[[], Any]] = {
            sidebyside.versioned("librosa"): lambda: np.stack(
                [np.abs(librosa.cqt(clip, **settings, pad_mode="constant")) for clip in clips]
            ),
            f"{version} 1992v2": partial(
                CQT1992v2(**settings, pad_mode="constant", verbose=False), batch
            ),
            f"{version} 2010v2": partial(
                CQT2010v2(**settings, pad_mode="constant", verbose=False), batch
            ),
        }
    ways = {"CQT": lambda: ours(batch), **peers}
    expected = np.abs(cqt_by_definition(clips[0].astype(np.float64), ours.atoms, 512))
    seconds = _timed(ways)
    rows = []
    for peer, way in peers.items():
        floor = 2.0 if "librosa" in peer else 1.0
        row = sidebyside.ratio(
            f"constant-Q, {CLIPS} clips of {SECONDS} s", seconds, "CQT", peer, floor=floor
        )
        row |= _accuracy(ours(batch)[0, 0].numpy(), expected, limit=1e-4)
        row["error of peer"] = _error(_scaled(np.asarray(way())[0], expected), expected)
        rows.append(row)
    return rows


def hops(clip: np.ndarray) -> list[dict[str, Any]]:
    """Constant-Q at several hops against the sum that defines it."""
    rows = []
    for hop in (512, 441, 1148, 377):
        ours = audio.CQT(RATE, hop=hop, log=None)
        found = ours(torch.from_numpy(clip)[None])[0, 0].numpy()
        expected = np.abs(cqt_by_definition(clip.astype(np.float64), ours.atoms, hop))
        row = {"what": f"constant-Q, hop {hop}", "ours": "CQT", "peer": "definition"}
        rows.append(row | _accuracy(found, expected, limit=1e-4))
    return rows


def gammatones(clips: np.ndarray) -> list[dict[str, Any]]:
    """Gammatone spectrograms, 64 bands, 25 / 10 ms, by exact filtering."""
    from gammatone.gtgram import gtgram

    batch = torch.from_numpy(clips)
    ours = audio.Gammatone(RATE, mode="exact", hop=221, window_length=551, center=False, log=None)
    theirs = partial(gtgram, fs=RATE, window_time=0.025, hop_time=0.01, channels=64, f_min=50)
    ways = {
        "Gammatone": lambda: ours(batch),
        (peer := sidebyside.versioned("gammatone")): lambda: [theirs(clip) for clip in clips],
    }
    seconds = _timed(ways, repeats=5)
    row = sidebyside.ratio(
        f"exact gammatone, {CLIPS} clips of {SECONDS} s", seconds, "Gammatone", peer, floor=5
    )
    expected = theirs(clips[0].astype(np.float64))
    row |= _accuracy(ours(batch)[0, 0].numpy(), expected, limit=1e-6)
    return [row]


def policy(updates: int = 500) -> dict[str, Any]:
    """Time of one update of a policy after 500 others, five branches."""
    rng = np.random.default_rng(0)
    weights = audio.OGRPolicy(5, form="speed")
    spent = []
    for _ in range(2 * updates):
        losses = rng.random((2, 5))
        start = time.perf_counter()
        weights.update(*losses)
        spent.append(1e3 * (time.perf_counter() - start))
    ours = float(np.median(spent[updates:]))
    return {"what": "update of a policy", "ours": "OGRPolicy", "ours (ms)": ours, "met": ours <= 1}


def _timed(ways: dict[str, Callable[[], Any]], repeats: int = 9) -> dict[str, list[float]]:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sidebyside.interleaved(ways, repeats=repeats)


def _accuracy(found: np.ndarray, expected: np.ndarray, *, limit: float) -> dict[str, Any]:
    error = _error(found, expected)
    return {"error of ours": error, "error at most": limit, "accurate": error <= limit}


def _error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _scaled(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return a peer's values times the scalar that suits it best: conventions differ."""
    found = np.abs(found)[:, : expected.shape[1]]
    return found * (np.sum(found * expected) / np.sum(found * found))


if __name__ == "__main__":
    sidebyside.show(main())
