"""Every system on some splits of a task: one pass of many runs, then balanced accuracies."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.audio import (
    JOINT,
    FixedPolicy,
    ModulationPolicy,
    MultiViewNet,
    OGRPolicy,
    RunOutcome,
    RunPlan,
    WeightPolicy,
    gblend_weights,
    train_runs,
)
from septet.recipes.audio._tasks import Task, load_task

VIEWS = ("wave", "mel", "gamma", "cqt")
BRANCHES = (*VIEWS, JOINT)
_ALONE = [1.0, 1.0, 1.0, 1.0, 0.0]
_JOINT_ONLY = [0.0, 0.0, 0.0, 0.0, 1.0]

FORMS: Mapping[str, Mapping[str, Any]] = {
    "loss": {"form": "loss"},
    "loss, rho 1": {"form": "loss", "rho": 1.0},
    "speed": {"form": "speed"},
    "tangent, compat": {"form": "tangent", "compat": True},
}
"""Adaptive policies that need nothing but losses."""

WEIGHTED = ("uniform", *FORMS, "gblend", "ogm")
"""Networks of which both the joint and the ensemble head are scored."""


def study(
    task_name: str,
    seeds: Sequence[int],
    *,
    steps: int,
    lr: float,
    eval_every: int,
    batch_size: int,
    at_once: int,
    systems: Sequence[str],
    shuffled: bool = False,
) -> list[dict[str, Any]]:
    """Train every system on the split of every seed.

    Parameters
    ----------
    task_name : str
    seeds : sequence of int
        A split, a first state and an order of clips for each.
    steps, lr, eval_every, batch_size, at_once
        See :func:`septet.audio.train_runs`.
    systems : sequence of str
        Of ``"alone"``, ``"concat"`` and ``WEIGHTED``.
    shuffled : bool, default False
        Permute the labels of training and validation clips: nothing is left to learn.

    Returns
    -------
    list of dict
        For each seed its balanced accuracies by system, at the best and the last state, and the
        weights over time.
    """
    task = load_task(task_name)
    results = []
    # shuffled labels differ from split to split, so that only one can be learned in a pass
    for some in [[seed] for seed in seeds] if shuffled else [list(seeds)]:
        splits = {seed: task.split(seed) for seed in some}
        labels = _shuffled(task.labels, splits[some[0]], some[0]) if shuffled else task.labels
        trials = {}
        if "gblend" in systems:
            trials = _trial_weights(task, labels, splits, steps // 4, lr, batch_size, at_once)
        evaluations = steps // eval_every + 1
        keys = [(seed, name) for seed in some for name in systems]
        plans = [
            RunPlan(
                splits[seed]["train"],
                splits[seed]["validation"],
                splits[seed]["test"],
                policy=_policy(name, evaluations, trials.get(seed)),
                seed=seed,
                each_best=name == "alone",
            )
            for seed, name in keys
        ]
        outcomes = train_runs(
            lambda: _network(task),
            task.views,
            labels,
            plans,
            steps=steps,
            lr=lr,
            eval_every=eval_every,
            batch_size=batch_size,
            at_once=at_once,
        )
        found = dict(zip(keys, outcomes, strict=True))
        for seed in some:
            mine = {name: found[seed, name] for name in systems}
            results.append(_record(seed, splits[seed], mine, task.labels))
    return results


def _shuffled(
    labels: NDArray[np.int64], split: Mapping[str, NDArray[np.int64]], seed: int
) -> NDArray[np.int64]:
    """Return labels that are permuted over the training and validation clips of a split."""
    learned = np.concatenate([split["train"], split["validation"]])
    changed = labels.copy()
    changed[learned] = np.random.default_rng(seed).permutation(changed[learned])
    return changed


def _record(
    seed: int,
    split: Mapping[str, NDArray[np.int64]],
    found: Mapping[str, RunOutcome],
    labels: NDArray[np.int64],
) -> dict[str, Any]:
    """Return what is kept of a split."""
    return {
        "seed": seed,
        "sizes": [len(side) for side in split.values()],
        "accuracy": _accuracies(found, labels[split["test"]]),
        "weights": {
            name: outcome.curves.weights.round(4).tolist()
            for name, outcome in found.items()
            if name in FORMS
        },
        "steps": next(iter(found.values())).curves.steps,
    }


def _network(task: Task) -> MultiViewNet:
    return MultiViewNet(task.bands, len(task.classes), size="tiny", dropout=0.0)


def _policy(name: str, evaluations: int, trial: NDArray[np.float64] | None) -> WeightPolicy:
    if name in FORMS:
        return OGRPolicy.for_evaluations(BRANCHES, evaluations, **FORMS[name])
    if name == "ogm":
        return ModulationPolicy(BRANCHES)
    fixed = {
        "alone": _ALONE,
        "concat": _JOINT_ONLY,
        "uniform": [1.0] * 5,
        "gblend": trial,
    }
    return FixedPolicy(BRANCHES, fixed[name])


def _trial_weights(
    task: Task,
    labels: NDArray[np.int64],
    splits: Mapping[int, Mapping[str, NDArray[np.int64]]],
    steps: int,
    lr: float,
    batch_size: int,
    at_once: int,
) -> dict[int, NDArray[np.float64]]:
    """Return G-Blend's weights for each split, from runs of every branch alone."""
    plans = [
        RunPlan(
            split["train"],
            split["validation"],
            split["test"],
            policy=FixedPolicy(BRANCHES, weights),
            seed=seed,
        )
        for seed, split in splits.items()
        for weights in (_ALONE, _JOINT_ONLY)
    ]
    outcomes = train_runs(
        lambda: _network(task),
        task.views,
        labels,
        plans,
        steps=max(1, steps),
        eval_every=max(1, steps),
        lr=lr,
        batch_size=batch_size,
        at_once=at_once,
    )
    result = {}
    for seed, alone, joint in zip(splits, outcomes[::2], outcomes[1::2], strict=True):
        train, validation = (
            np.where(np.arange(5) < 4, getattr(alone.curves, side), getattr(joint.curves, side))
            for side in ("train", "validation")
        )
        result[seed] = gblend_weights((train[0], validation[0]), (train[-1], validation[-1]))
    return result


def _accuracies(
    found: Mapping[str, RunOutcome], truth: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """Return balanced accuracies of all systems at the best and the last state."""
    result: dict[str, dict[str, float]] = {}
    for state in ("best", "last"):
        for name, outcome in found.items():
            probabilities = getattr(outcome, state)
            decisions: dict[str, NDArray[np.floating]] = {}
            if name == "alone":
                decisions = {view: probabilities[view] for view in VIEWS}
                logs = [np.log(np.maximum(probabilities[view], 1e-30)) for view in VIEWS]
                decisions["late, product"] = np.sum(logs, axis=0)
                decisions["late, mean"] = np.mean([probabilities[v] for v in VIEWS], axis=0)
            elif name in WEIGHTED:
                decisions[f"{name}: joint"] = probabilities[JOINT]
                together = np.mean([probabilities[b] for b in BRANCHES], axis=0)
                if name != "ogm":  # its views have no classifiers of their own
                    decisions[f"{name}: ensemble"] = together
            else:
                decisions[name] = probabilities[JOINT]
            for system, table in decisions.items():
                result.setdefault(system, {})[state] = _balanced(truth, table.argmax(axis=1))
    return result


def _balanced(truth: NDArray[np.int64], decided: NDArray[np.int64]) -> float:
    return float(np.mean([np.mean(decided[truth == c] == c) for c in np.unique(truth)]))
