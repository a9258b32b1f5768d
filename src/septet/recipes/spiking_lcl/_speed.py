"""How many passes and seconds rules need until every train is right."""

import time
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from septet._core.errors import SeptetWarning
from septet.spiking import RuleLearner, SpikeTrainLearner, random_associations

Row = dict[str, Any]

# Five step sizes per rule, a factor of about three apart, with the usual best in the middle.
RATES = {
    "elearning": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "fp": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "htp": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "resume": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "psd": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    "span": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "empd": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
}
# Ours has no step size. It either keeps what earlier patterns demanded, or only moves to the
# nearest weights that suit the pattern at hand.
OURS = {"lcl": "incremental", "lcl, pattern by pattern": "online"}
UNIFORM_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def learn(
    rule: str,
    rate: float | None,
    n_inputs: int,
    n_patterns: int,
    n_spikes: int,
    seed: int,
    max_seconds: float,
    max_epochs: int,
) -> Row:
    """Train one neuron. Epochs are None if not all trains came right.

    Seconds are of this thread's processor time, which a busy machine does not stretch; the check of
    the arguments, and for ours the closing run of what was learned, are part of them.
    """
    inputs, targets = random_associations(n_patterns, n_inputs, n_spikes, random_state=seed)
    row: Row = {"rule": rule, "rate": rate, "patterns": n_patterns, "spikes": n_spikes}
    row |= {"load": n_patterns * n_spikes / n_inputs, "seed": seed}
    began = time.thread_time()
    if rule in OURS:
        exact = SpikeTrainLearner(mode=OURS[rule], max_epochs=max_epochs, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SeptetWarning)  # said by the row
            report = exact.fit(inputs, targets).report_
        return row | {
            "epochs": report.epochs if report.exact else None,
            "seconds": time.thread_time() - began,
            "updates": report.updates,
            "quadratic programmes": report.qp_solves,
        }
    local = RuleLearner(
        rule,
        learning_rate=rate,
        max_epochs=max_epochs,
        max_seconds=max_seconds,
        random_state=seed,
    ).fit(inputs, targets)
    epochs = local.n_epochs_ if local.converged_ else None
    return row | {"epochs": epochs, "seconds": time.thread_time() - began}


def race(
    n_patterns: int,
    n_spikes: int,
    seed: int,
    rules: Sequence[str],
    n_inputs: int,
    max_seconds: float,
    max_epochs: int,
) -> list[Row]:
    """Ours at its defaults and all rules at all their rates, on one task."""
    task = (n_inputs, n_patterns, n_spikes, seed, max_seconds, max_epochs)
    # ours last: where nothing is compiled yet, another process compiles it meanwhile
    others = [_warm((rule, rate, *task)) for rule in rules for rate in RATES[rule]]
    return [_warm((rule, None, *task)) for rule in OURS] + others


_compiled: set[str] = set()


def _warm(run: tuple[Any, ...]) -> Row:
    """Compile a rule before its first run in this process, so that it is not timed."""
    if run[0] not in _compiled:
        learn(run[0], run[1], 100, 2, 2, 0, 1.0, 2)
        _compiled.add(run[0])
    return learn(*run)


def ablation(
    n_inputs: int, n_patterns: int, n_spikes: int, seed: int, max_epochs: int
) -> list[Row]:
    """Exact, diagonal and uniform steps along the same directions."""
    ways: list[tuple[str, float | None]] = [("exact", None), ("diagonal", None)]
    ways += [("uniform", rate) for rate in UNIFORM_RATES]
    inputs, targets = random_associations(n_patterns, n_inputs, n_spikes, random_state=seed)
    rows = []
    for step, rate in ways:
        learner = SpikeTrainLearner(
            mode="online",
            step=step,
            learning_rate=rate or 0.01,
            max_epochs=max_epochs,
            random_state=seed,
        )
        start = time.thread_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SeptetWarning)
            report = learner.fit(inputs, targets).report_
        rows.append(
            {
                "rule": step,
                "rate": rate,
                "seed": seed,
                "epochs": report.epochs if report.exact else None,
                "most epochs": max_epochs,
                "wrong trains": report.n_wrong_count,
                "seconds": time.thread_time() - start,
            }
        )
    return rows


def best(rows: Iterable[Row], by: str) -> Row | None:
    """A rule's best rate: the one with most seeds solved, of these the least median of `by`.

    Returns the rate, how many of how many seeds were solved, and medians over those.
    """
    by_rate: dict[float | None, list[Row]] = {}
    for row in rows:
        by_rate.setdefault(row["rate"], []).append(row)
    found: list[Row] = []
    for rate, mine in by_rate.items():
        solved = [row for row in mine if row["epochs"] is not None]
        if solved:
            found.append(
                {
                    "rate": rate,
                    "solved": len(solved),
                    "of": len(mine),
                    "epochs": float(np.median([row["epochs"] for row in solved])),
                    "seconds": float(np.median([row["seconds"] for row in solved])),
                }
            )
    return min(found, key=lambda each: (-int(each["solved"]), each[by]), default=None)
