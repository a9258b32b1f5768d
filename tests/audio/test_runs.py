import numpy as np
import pytest
import torch
from audio.toy import CLASSES, RATE, toy

from septet.audio import (
    FixedPolicy,
    ModulationPolicy,
    MultiViewNet,
    OGRPolicy,
    RunPlan,
    ViewStack,
    group_split,
    train_runs,
)
from septet.audio._fit import Fitting, Problem, Schedule, branch_outputs
from septet.audio._runs import _balance, _probe
from septet.audio._source import ViewSource
from septet.training import seeded

VIEWS = ("wave", "mel", "cqt")
BRANCHES = (*VIEWS, "joint")
SETTINGS = {"steps": 10, "eval_every": 3, "batch_size": 8, "lr": 3e-3}


@pytest.fixture(scope="module")
def data():
    clips, labels, _ = toy(45)
    stack = ViewStack.standard(RATE, VIEWS)
    samples = np.stack(clips)
    views = stack.raw(torch.from_numpy(samples))
    return stack, samples, views, np.searchsorted(CLASSES, labels)


def net(stack):
    return MultiViewNet.for_stack(stack, 3, size="tiny", dropout=0.0)


def plan(labels, seed, policy, **settings):
    rest, test = group_split(labels, fraction=0.3, random_state=seed)
    train, validation = group_split(labels[rest], fraction=0.3 + seed / 100, random_state=seed)
    return RunPlan(rest[train], rest[validation], test, policy, seed, **settings)


def plans(labels):
    return [
        plan(labels, 0, OGRPolicy(BRANCHES, warmup=0)),
        plan(labels, 1, FixedPolicy(BRANCHES)),
        plan(labels, 2, FixedPolicy(BRANCHES, [1, 1, 1, 0]), each_best=True),
        plan(labels, 3, ModulationPolicy(BRANCHES, alpha=0.5)),
    ]


def test_a_run_among_many_equals_the_run_alone_in_an_ordinary_loop(data):
    stack, samples, views, labels = data
    outcomes = train_runs(lambda: net(stack), views, labels, plans(labels), **SETTINGS, at_once=3)
    for one, found in zip(plans(labels), outcomes, strict=True):
        source = ViewSource(stack, samples, keep=False)
        source.fit(one.train)
        weight = _balance(torch.from_numpy(labels[one.train]), 3)
        problem = Problem(
            source,
            torch.from_numpy(labels),
            np.arange(45),
            torch.ones(45),
            one.train,
            one.validation,
            _probe(one),
            weight,
        )
        with seeded(one.seed, "initial"):
            network = net(stack)
        schedule = Schedule(
            steps=10, eval_every=3, batch_size=8, lr=3e-3, weight_decay=1e-4, schedule="constant"
        )
        alone = Fitting(network, problem, one.policy, schedule, seed=one.seed)
        alone.run()
        assert found.curves.steps == one.policy.curves.steps == [0, 3, 6, 9, 10]
        for curve in ("train", "validation", "weights"):
            np.testing.assert_allclose(
                getattr(found.curves, curve), getattr(one.policy.curves, curve), atol=2e-3
            )
        _, logits = branch_outputs(network, source, one.test, problem.valid)
        for branch, part in logits.items():
            np.testing.assert_allclose(found.last[branch], part.softmax(1).numpy(), atol=2e-3)
        if not one.each_best:
            assert found.best_step == alone.best.step
            network.load_state_dict(alone.best.weights)
            _, logits = branch_outputs(network, source, one.test, problem.valid)
            for branch, part in logits.items():
                np.testing.assert_allclose(found.best[branch], part.softmax(1).numpy(), atol=2e-3)


def test_branches_that_are_kept_apart_are_each_at_their_own_best(data):
    stack, _, views, labels = data
    alone = FixedPolicy(BRANCHES, [1, 1, 1, 0])
    settings = SETTINGS | {"steps": 12, "lr": 1e-2}
    (together,) = train_runs(
        lambda: net(stack), views, labels, [plan(labels, 5, alone, each_best=True)], **settings
    )
    for view in VIEWS:
        only = FixedPolicy.one_hot(BRANCHES, view)
        (single,) = train_runs(
            lambda: net(stack), views, labels, [plan(labels, 5, only, each_best=True)], **settings
        )
        np.testing.assert_allclose(together.best[view], single.best[view], atol=2e-3)
        np.testing.assert_allclose(together.last[view], single.last[view], atol=2e-3)


def test_runs_learn(data):
    stack, _, views, labels = data
    settings = {"steps": 60, "eval_every": 20, "lr": 1e-2, "schedule": "cosine"}
    seen = []
    (found,) = train_runs(
        lambda: net(stack),
        views,
        labels,
        [plan(labels, 0, FixedPolicy(BRANCHES))],
        **settings,
        progress=lambda done, of: seen.append((done, of)),
    )
    test = plan(labels, 0, FixedPolicy(BRANCHES)).test
    assert np.mean(found.best["joint"].argmax(1) == labels[test]) > 0.8
    assert seen[-1] == (60, 60)


@pytest.mark.parametrize("name", ["steps", "eval_every", "batch_size", "at_once"])
def test_impossible_settings_are_refused(data, name):
    stack, _, views, labels = data
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        train_runs(lambda: net(stack), views, labels, [], **SETTINGS | {name: 0})
