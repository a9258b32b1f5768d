"""From a folder of 1 000 clips of one second to a trained model and its report.

The clips are made up (tones, noises, clicks, chirps under noise); what is timed is the command with
its defaults, and how much of the training its evaluations of the branches take.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sidebyside

from septet.signal import write_audio

RATE, CLIPS = 16000, 1000
KINDS = ("chirp", "clicks", "noise", "tone")


def main() -> list[dict[str, Any]]:
    """Write the folder and train."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_clips(folder / "clips")
        command = [sys.executable, "-m", "septet.cli", "audio", "train"]
        start = time.perf_counter()
        done = subprocess.run(
            [*command, str(folder / "clips"), str(folder / "model"), "--json"],
            check=True,
            stdout=subprocess.PIPE,  # progress is for whoever waits
            text=True,
        )
        seconds = time.perf_counter() - start
        result = json.loads(done.stdout)
        report = (folder / "model" / "report.html").stat().st_size
    return [
        {
            "what": f"{CLIPS} clips to a model and a report of {report // 1000} kB",
            "seconds": round(seconds, 1),
            "floor": 300,
            "met": seconds < 300,
        },
        {
            "what": "share of the branches' evaluations in that training",
            "seconds": result["share of evaluations"],
            "floor": 0.25,
            "met": result["share of evaluations"] <= 0.25,
        },
        {"what": "test balanced accuracy", "seconds": result["test balanced accuracy"]},
    ]


def write_clips(folder: Path) -> None:
    """Write as many clips of every kind, in folders named after the kinds."""
    rng = np.random.default_rng(0)
    times = np.arange(RATE) / RATE
    for number in range(CLIPS):
        kind = KINDS[number % len(KINDS)]
        pitch = rng.uniform(200, 2000)
        if kind == "tone":
            clip = np.sin(2 * np.pi * pitch * times)
        elif kind == "chirp":
            clip = np.sin(2 * np.pi * pitch * times * (1 + rng.uniform(0.5, 1.5) * times))
        elif kind == "noise":
            clip = rng.normal(size=RATE) / 4
        else:
            clip = np.zeros(RATE)
            clip[rng.integers(RATE, size=20)] = 1.0
        clip = rng.uniform(0.05, 0.5) * clip + 0.02 * rng.normal(size=RATE)
        (folder / kind).mkdir(parents=True, exist_ok=True)
        write_audio(folder / kind / f"{number:04d}.wav", np.clip(clip, -1, 1), RATE)


if __name__ == "__main__":
    sidebyside.show(main())
