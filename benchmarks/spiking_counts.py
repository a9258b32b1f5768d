"""Desired numbers of spikes: ours beside EML, at five step sizes, on random patterns.

Three classes want one, two and three times `step` spikes from 200 inputs of 5 Hz in 500 ms. Ours
runs in four ways that were worth trying; every run ends when all counts are right or its time,
processor time of one thread, is used up.
"""

import time
from typing import Any

import numpy as np
import sidebyside

from septet.spiking import RuleLearner, SpikeCountLearner, random_associations

SECONDS = 4.0
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
OURS: dict[str, dict[str, Any]] = {
    "one by one": {},
    "two thirds of the way": {"relax": 0.67},
    "one by one, softer": {"soft_C": 10.0},
    "blocks of 10, much softer": {"block_size": 10, "soft_C": 1.0},
}


def main() -> list[dict[str, Any]]:
    """Run every task."""
    return [row for step, n in ((1, 60), (1, 120), (5, 60)) for row in compare(step, n)]


def compare(step: int, n_patterns: int) -> list[dict[str, Any]]:
    """All ways of ours, and the best of EML's step sizes."""
    inputs, _ = random_associations(n_patterns, 200, 0, random_state=0)
    wanted = step * (np.arange(n_patterns) % 3 + 1)
    RuleLearner("eml", max_epochs=1, random_state=0).fit(inputs, wanted)  # compile
    SpikeCountLearner(max_epochs=1, random_state=0).fit(inputs[:3], wanted[:3])
    what = f"{n_patterns} patterns of {step}, {2 * step} or {3 * step} spikes"
    rivals = [
        run(f"EML, rate {rate:g}", inputs, wanted, RuleLearner("eml", learning_rate=rate))
        for rate in RATES
    ]
    best = max(rivals, key=lambda row: (row["right"], -row["ours (ms)"]))
    ours = [run(f"ours, {k}", inputs, wanted, SpikeCountLearner(**v)) for k, v in OURS.items()]
    return [{"what": what, **row} for row in (best, *ours)]


def run(name: str, inputs: Any, wanted: Any, learner: Any) -> dict[str, Any]:
    """Train one learner; say how many counts are right."""
    learner.set_params(max_epochs=100_000, max_seconds=SECONDS, random_state=0)
    began = time.thread_time()
    learner.fit(inputs, wanted)
    seconds = time.thread_time() - began
    right = learner.predict(inputs).counts()[:, 0] == wanted
    return {
        "ours": name,
        "ours (ms)": 1e3 * seconds,
        "epochs": learner.n_epochs_,
        "right": float(right.mean()),
    }


if __name__ == "__main__":
    sidebyside.show(main())
