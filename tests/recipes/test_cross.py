"""The recipes in which two methods meet: what goes into them and what is made of their numbers."""

import numpy as np
import pytest
import torch

from septet import cohort, optim
from septet.recipes.cross_enhancer import run as enhancer
from septet.recipes.cross_gate import run as gate
from septet.recipes.cross_recordings import run as recordings
from septet.recipes.cross_shortlist import run as shortlist

# -- rooms --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts():
    config = recordings.Config(voices="made-up", most=16, agreement=0.75)
    return recordings._parts(config, np.random.default_rng(0))


def test_a_voice_is_trained_mostly_in_its_usual_room_and_tested_in_both_alike(parts):
    shares = []
    for part in parts:
        usual = part.room == recordings._usual_room(part.y)
        shares.append([usual[part.y == voice].mean() for voice in range(4)])
    train, validation, test = np.array(shares)
    np.testing.assert_allclose(train, 0.75, atol=0.05)
    np.testing.assert_allclose([*validation, *test], 0.5, atol=0.1)


def test_every_voice_and_room_occurs_on_every_side(parts):
    for part in parts:
        assert len(np.unique(2 * part.y + part.room)) == 8


@pytest.mark.parametrize("room", [0, 1])
@pytest.mark.parametrize("snr_db", [-5.0, 5.0])
def test_the_voice_lies_above_the_noise_of_the_room_by_the_given_ratio(room, snr_db):
    rng = np.random.default_rng(0)
    voices = np.sin(np.linspace(0, 500, 4000))[None].repeat(3, axis=0)
    noise = recordings._recorded(voices, np.full(3, room), snr_db, rng) - voices
    ratio = 10 * np.log10(np.mean(voices**2, axis=1) / np.mean(noise**2, axis=1))
    np.testing.assert_allclose(ratio, snr_db, atol=1e-3)


def test_one_room_hisses_and_the_other_rumbles():
    silence = np.full((2, 8192), 1e-3)
    heard = recordings._recorded(silence, np.array([0, 1]), -60.0, np.random.default_rng(0))
    spectra = np.abs(np.fft.rfft(heard - heard.mean(axis=1, keepdims=True), axis=1)) ** 2
    low = spectra[:, :400].sum(axis=1) / spectra.sum(axis=1)
    assert low[0] < 0.15
    assert low[1] > 0.9


def heads(worst):
    return {
        name: {"worst": worst[name], "usual": 0.9, "other": 0.5} for name in recordings._SYSTEMS
    }


def test_the_gain_is_the_mean_paired_difference_in_points():
    rows = [
        heads({"plain network": 0.2, "plain network, half": 0.1, "reuse": 0.3, "independent": 0.5}),
        heads({"plain network": 0.4, "plain network, half": 0.3, "reuse": 0.5, "independent": 0.6}),
    ]
    assert recordings.over_plain({"rows": rows}).mean == pytest.approx(25.0)
    measure = recordings.over_reuse({"rows": rows})
    assert measure.mean == pytest.approx(15.0)
    assert "ahead in 2 of 2 seeds" in measure.peer
    assert recordings.usual_rooms({"rows": rows}).mean == pytest.approx(0.0)


# -- the gate -----------------------------------------------------------------------------------


def test_what_goes_through_a_gate_is_told_apart():
    belongs = np.array([True, True, True, True, False, False])
    right = np.array([True, True, False, True, False, False])
    through = np.array([True, True, True, False, True, False])
    said = gate._said(right, through, belongs)
    assert said == {"wrong": 0.5, "known": 0.75, "unknown": 0.5}


def test_wrong_answers_saved_are_those_without_a_gate_less_those_with_it():
    row = {"none": {"wrong": 0.5}, "novelty": {"wrong": 0.2}, "margin": {"wrong": 0.4}}
    measure = gate.wrong_answers_avoided({"rows": [row, row]})
    assert measure.mean == pytest.approx(30.0)
    assert measure.peer == "no gate 50.0, own margin 40.0"


# -- the shortlist ------------------------------------------------------------------------------


def test_fair_chances_never_differ_by_more_than_scores_and_top_k_does():
    scores = np.random.default_rng(0).random(40)
    top = (scores >= np.sort(scores)[-8]).astype(float)
    assert shortlist._excess(np.asarray(cohort.selection_probabilities(scores, 8)), scores) <= 1e-9
    assert shortlist._excess(top, scores) > 0.5


def test_chances_are_told_of_the_qualified_of_each_group():
    people = shortlist.People(np.zeros((4, 1)), np.array([1, 1, 1, 0]), np.array([1, 0, 0, 1]))
    said = shortlist._said(people, np.array([0.5, 1.0, 0.0, 0.25]))
    assert said == {"women": 0.5, "men": 0.5, "qualified": 1.5}


def test_a_gap_is_closed_from_either_side():
    def row(plain, robust):
        found = {"plain, top k": {"women": 0.0, "men": 0.5}}
        for name, women in (("plain", plain), ("group-robust", robust)):
            found[f"{name}, fair"] = {"women": women, "men": 0.5}
        return found

    assert shortlist.gap_closed({"rows": [row(0.2, 0.4)] * 2}).mean == pytest.approx(20.0)
    assert shortlist.gap_closed({"rows": [row(0.2, 0.6)] * 2}).mean == pytest.approx(20.0)
    assert shortlist.gap_closed({"rows": [row(0.5, 0.2)] * 2}).mean == pytest.approx(-30.0)


# -- the enhancer -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", enhancer.OPTIMIZERS)
def test_every_optimizer_keeps_the_state_that_its_name_says(name):
    module = torch.nn.Linear(64, 64, bias=False)
    optimizer = enhancer.optimizer(name, 1e-3, module)
    module(torch.ones(1, 64)).sum().backward()
    optimizer.step()
    numbers = {"RMSprop": 4096, "RMSpropSN": 64, "Adam": 2 * 4096, "AdamSN": 4096 + 64}
    assert optim.state_bytes(optimizer) == pytest.approx(4 * numbers[name], abs=64)


def test_the_rate_with_the_least_loss_wins_and_one_that_diverged_never_does():
    assert enhancer._best((1e-3, 1e-2, 1e-1), [0.5, 0.4, None]) == 1e-2
    assert enhancer._best((1e-3, 1e-2), [None, 0.9]) == 1e-2


def test_the_change_of_loss_is_in_per_cent_of_the_published_optimizer():
    runs = {"RMSprop": [{"loss": 0.5}, {"loss": 0.4}], "AdamSN": [{"loss": 0.4}, {"loss": 0.4}]}
    assert enhancer.loss_change({"runs": runs}).mean == pytest.approx(-10.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"optimizers": ("RMSprop", "Adam")}, "must hold RMSprop and AdamSN"),
        ({"optimizers": ("RMSprop", "AdamSN", "Lion")}, "optimizers must be one of"),
        ({"rates": ()}, "must not be empty"),
    ],
)
def test_settings_that_compare_nothing_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        enhancer.Config(**change)
