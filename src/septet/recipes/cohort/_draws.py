"""The laws of the draws: what was drawn against what was promised."""

from itertools import combinations
from typing import Any

import numpy as np

from septet import cohort

EXAMPLES = (
    ([0.9, 0.5, 0.3, 0.1], 2),
    ([0.9, 0.8, 0.6, 0.5, 0.2], 2),
    ([0.9, 0.9, 0.9, 0.0, 0.0], 3),
    ([0.2, 0.1, 0.05, 0.05, 0.0], 2),
    ([0.6, 0.6, 0.6, 0.6], 1),
)


def draw_many(example: int, draws: int, seed: int) -> dict[str, Any]:
    """Standardised deviations of the counts from the promised chances in an example."""
    s, k = EXAMPLES[example]
    p = cohort.selection_probabilities(s, k, allow_zero_score=True)
    joint, wrong = np.zeros((len(s), len(s))), 0
    for i in range(draws):
        chosen = cohort.draw(p, seed=f"{seed}/{i}")
        wrong += chosen.size != k
        joint[np.ix_(chosen, chosen)] += 1
    chance = np.asarray(p)
    pairs = [
        _excess(joint[i, j], chance[i] * chance[j], draws)
        for i, j in combinations(range(len(s)), 2)
    ]
    counts, rng = np.zeros(len(s)), np.random.default_rng((seed, example))
    for _ in range(draws):
        counts[cohort.permute_then_classify(s, k, random_state=rng)] += 1
    law = cohort.permute_then_classify_probabilities(s, k)
    return {
        "pivotal": _deviation(np.diag(joint), chance, draws),
        "pairs": max(pairs),
        "permute_then_classify": _deviation(counts, law, draws),
        "wrong_sizes": wrong,
        "draws": draws,
    }


def weighted_sampling_threshold(instances: int, seed: int) -> int:
    """Instances in which the stated condition for its fairness and the fact disagree."""
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(instances):
        n = int(rng.integers(2, 12))
        k = int(rng.integers(1, n + 1))
        s = rng.random(n) * rng.choice([0.1, 0.3, 1.0])
        p = cohort.weighted_sampling_probabilities(s, k)
        excess = np.abs(np.subtract.outer(p, p)) - np.abs(np.subtract.outer(s, s))
        wrong += bool(excess.max() <= 1e-12) != bool(s.sum() >= (n - k) / (n - 1))
    return wrong


def _deviation(counts: np.ndarray, p: np.ndarray, draws: int) -> float:
    spread = np.sqrt(draws * p * (1 - p))
    sure = spread == 0
    if (counts[sure] != draws * p[sure]).any():
        return float("inf")
    return float(np.abs((counts - draws * p)[~sure] / spread[~sure]).max(initial=0.0))


def _excess(count: float, bound: float, draws: int) -> float:
    """Standard deviations by which a pair appears more often than independence would have it."""
    return float((count - draws * bound) / np.sqrt(draws * max(bound * (1 - bound), 1e-9)))
