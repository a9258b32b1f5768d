"""Training whole networks: rules, choice of the epoch, and going on after a stop."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from robust.networks import network, rows, same, weights

from septet.robust import (
    NetworkSettings,
    fit_jtt,
    fit_network,
    predict_rows,
    upweighted_rows,
    worst_group_accuracy,
)
from septet.robust._network import RULES

SHORT = NetworkSettings(epochs=3, batch_size=32, lr=0.05, fraction=0.8)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_learns(rule):
    model, (X, y, a) = network(), rows(300)
    before = weights(model)
    fit_network(model, X, y, a, rule=rule, settings=SHORT)
    assert not same(before, weights(model))
    assert model.training
    assert (predict_rows(model, X) == y).mean() > 0.7


@pytest.mark.parametrize("rule", ["reweight", "subsample", "group-dro"])
def test_rows_of_unknown_group_are_never_drawn_by_a_rule_that_uses_groups(rule):
    X, y, a = rows(200)
    a[::3] = -1
    first, second = network(), network()
    fit_network(first, X, y, a, rule=rule, settings=SHORT)
    X[::3] = np.nan
    fit_network(second, X, y, a, rule=rule, settings=SHORT)
    assert same(weights(first), weights(second))


def test_the_network_ends_as_it_was_after_the_first_of_its_best_epochs():
    X, y, a = rows(300)
    held = rows(200, seed=1)
    model = network()
    settings = NetworkSettings(epochs=8, batch_size=32, lr=0.1)
    history = fit_network(model, X, y, a, rule="group-dro", validation=held, settings=settings)
    scores = [record["validation"] for record in history if "validation" in record]
    assert len(scores) == 8
    reached = worst_group_accuracy(held[1], predict_rows(model, held[0]), groups=held[2])
    assert reached == max(scores)
    shorter = network()
    best = NetworkSettings(epochs=1 + int(np.argmax(scores)), batch_size=32, lr=0.1)
    fit_network(shorter, X, y, a, rule="group-dro", settings=best)
    assert same(weights(shorter), weights(model))


@pytest.mark.parametrize("rule", ["erm", "group-dro"])
def test_a_run_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(tmp_path, rule):
    X, y, a = rows(200)
    held = rows(100, seed=1)
    whole = network()
    fit_network(whole, X, y, a, rule=rule, validation=held, settings=SHORT)

    calls = 0

    def stop(parameters):
        optimizer = torch.optim.SGD(
            parameters, lr=SHORT.lr, momentum=SHORT.momentum, weight_decay=SHORT.weight_decay
        )
        inner = optimizer.step

        def step():
            nonlocal calls
            calls += 1
            if calls == 12:  # in the second epoch
                raise RuntimeError("power cut")
            inner()

        optimizer.step = step
        return optimizer

    stopped = network()
    cut = NetworkSettings(**vars(SHORT) | {"optimizer": stop})
    arguments = {"rule": rule, "validation": held, "folder": tmp_path}
    with pytest.raises(RuntimeError, match="power cut"):
        fit_network(stopped, X, y, a, settings=cut, **arguments)
    again = network(seed=5)
    fit_network(again, X, y, a, settings=SHORT, **arguments)
    assert same(weights(whole), weights(again))


def test_one_seed_gives_one_network_and_other_peoples_generators_stay():
    X, y, _ = rows(100)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    models = [network() for _ in range(3)]
    torch.manual_seed(3)
    for model, seed in zip(models, (0, 0, 1), strict=True):
        fit_network(model, X, y, settings=SHORT, random_state=seed)
    assert torch.equal(torch.rand(1), expected)
    assert same(weights(models[0]), weights(models[1]))
    assert not same(weights(models[0]), weights(models[2]))


def test_just_train_twice_repeats_what_the_first_network_got_wrong():
    X, y, _ = rows(300)
    held = rows(200, seed=1)
    model = network()
    start = deepcopy(model)
    found = fit_jtt(model, X, y, validation=held, first_epochs=(1,), factors=(3,), settings=SHORT)
    first = deepcopy(start)
    fit_network(first, X, y, settings=NetworkSettings(**vars(SHORT) | {"epochs": 1}))
    wrong = np.flatnonzero(predict_rows(first, X) != y)
    assert found["errors"] == len(wrong) > 0
    repeated = upweighted_rows(300, wrong, 3)
    assert np.bincount(repeated)[wrong].tolist() == [3] * len(wrong)
    second = deepcopy(start)
    fit_network(
        second, X[repeated], y[repeated], validation=held, select_by="worst", settings=SHORT
    )
    assert same(weights(model), weights(second))


def test_without_a_factor_wrong_rows_weigh_about_as_much_as_all():
    rows_ = upweighted_rows(100, np.arange(7))
    assert np.bincount(rows_)[:7].tolist() == [14] * 7
    assert np.bincount(rows_)[7:].tolist() == [1] * 93


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rule": "gdro"}, "Did you mean 'group-dro'|rule must be one of"),
        ({"rule": "group-dro"}, "rule 'group-dro' needs groups"),
        ({"rule": "reweight", "groups": [-1] * 20}, r"no row has a known group \(20 rows\)"),
        ({"y": np.zeros(19, int)}, r"one class per row: got shape \(19,\) for 20 rows"),
        ({"y": np.full(20, 0.5)}, "whole numbers from 0"),
        ({"select_by": "worst"}, "select_by needs validation rows"),
        ({"settings": NetworkSettings(lr=0)}, "lr must be greater than 0"),
        ({"settings": NetworkSettings(epochs=0)}, "epochs must be at least 1"),
    ],
)
def test_bad_input_is_named(kwargs, message):
    X, y, _ = rows(20)
    with pytest.raises(ValueError, match=message):
        fit_network(network(), X, **{"y": y} | kwargs)


def test_worst_group_selection_needs_groups():
    X, y, _ = rows(20)
    with pytest.raises(ValueError, match="needs the groups of the validation rows"):
        fit_network(network(), X, y, validation=(X, y), select_by="worst")
