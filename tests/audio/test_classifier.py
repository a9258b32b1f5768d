import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from audio.toy import CLASSES, RATE, toy
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

from septet._core.errors import CheckpointError, DataError, SeptetWarning
from septet.audio import (
    POLICIES,
    Augmentation,
    FixedPolicy,
    Gammatone,
    MultiViewClassifier,
    MultiViewNet,
    OGRPolicy,
    ViewStack,
    Waveform,
    evaluate,
    group_split,
)
from septet.signal import write_audio
from septet.training import load_checkpoint, read_history

QUICK = {"size": "tiny", "steps": 8, "eval_every": 4, "batch_size": 8, "dropout": 0.0}


def quick(**settings):
    return MultiViewClassifier(RATE, **QUICK | settings)


@pytest.fixture(scope="module")
def fitted():
    return quick(steps=40, eval_every=10, lr=5e-3, batch_size=16).fit(*toy(60))


def same_model(a, b):
    for name, value in a.net_.state_dict().items():
        assert torch.equal(value, b.net_.state_dict()[name]), name


def test_it_learns_what_is_plain_to_hear_by_every_head(fitted):
    clips, labels, _ = toy(45, seed=1)
    assert fitted.score(clips, labels) > 0.9
    for head in ("ensemble", "mel", "gamma", "cqt"):
        assert np.mean(fitted.predict(clips, head=head) == labels) > 0.8
    probabilities = fitted.predict_proba(clips)
    assert probabilities.shape == (45, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert fitted.classes_.tolist() == list(CLASSES)


def test_labels_by_lot_leave_it_at_chance_unless_recordings_leak():
    rng = np.random.default_rng(0)
    times = np.arange(2000) / RATE
    chords = np.sin(2 * np.pi * rng.uniform(200, 3500, (60, 3, 1)) * times).sum(axis=1)
    clips = np.repeat(chords, 3, axis=0) + 0.1 * rng.normal(size=(180, 2000))  # three takes each
    labels = np.repeat(rng.permutation(["a", "b"] * 30), 3)

    def score(groups):
        train, test = group_split(labels, groups, fraction=1 / 3, random_state=0)
        classifier = quick(views=("mel",), steps=80, eval_every=20, lr=5e-3, batch_size=32)
        classifier.fit(clips[train], labels[train], groups[train])
        return classifier.score(clips[test], labels[test])

    assert abs(score(np.repeat(np.arange(60), 3)) - 0.5) < 0.2
    assert score(np.arange(180)) > 0.85


def test_every_branch_can_learn_twenty_clips_by_heart():
    clips, labels, _ = toy(20)
    classifier = quick(
        steps=60, eval_every=60, lr=1e-2, batch_size=20, schedule="constant", policy="uniform"
    ).fit(clips, labels, validation=(clips, labels, ["x"] * 20))
    for head in (*classifier.net_.branches, "ensemble"):
        assert (classifier.predict(clips, head=head) == labels).all(), head


def test_the_joint_classifier_is_linear_in_the_embeddings_of_a_clip(fitted):
    clips, _, _ = toy(9, seed=5)
    features = fitted.transform(clips)
    joint = fitted.net_.heads["joint"]
    logits = torch.from_numpy(features) @ joint.weight.double().T + joint.bias.double()
    expected = fitted.predict_proba(clips, head="joint")
    np.testing.assert_allclose(logits.softmax(1).detach().numpy(), expected, atol=1e-5)


def test_the_embedding_of_a_long_clip_is_the_mean_of_its_segments(fitted):
    (first, second), _, _ = toy(2, seed=6)
    whole = fitted.transform([np.concatenate([first, second])])
    parts = fitted.transform([first, second])
    np.testing.assert_allclose(whole[0], parts.mean(axis=0), atol=1e-5)


def test_the_same_seed_gives_the_same_network_and_another_another():
    first, again, other = (
        quick(random_state=seed, dropout=0.2).fit(*toy(24)) for seed in (3, 3, 4)
    )
    same_model(first, again)
    assert not torch.equal(first.net_.heads["joint"].weight, other.net_.heads["joint"].weight)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("policy", ["loss", "gblend-online"])
def test_a_run_that_was_cut_off_goes_on_to_the_same_end(tmp_path, policy):
    settings = {"policy": policy, "dropout": 0.2, "steps": 12, "eval_every": 2}
    settings["views"] = ("mel", "wave")
    whole = quick(**settings).fit(*toy(24), folder=tmp_path / "whole")

    def cut(record):
        if record["step"] == 8:
            raise StoppedError

    with pytest.raises(StoppedError):
        quick(**settings).fit(*toy(24), folder=tmp_path / "cut", progress=cut)
    assert load_checkpoint(tmp_path / "cut" / "checkpoint")["step"] == 6
    resumed = quick(**settings).fit(*toy(24), folder=tmp_path / "cut")
    same_model(resumed, whole)
    np.testing.assert_array_equal(resumed.policy_.curves.weights, whole.policy_.curves.weights)
    assert resumed.best_step_ == whole.best_step_
    ends = [load_checkpoint(tmp_path / name / "checkpoint") for name in ("whole", "cut")]
    for name, value in ends[0]["net"].items():
        assert torch.equal(value, ends[1]["net"][name])
    histories = [read_history(tmp_path / name / "history.jsonl") for name in ("whole", "cut")]
    strip = [[{**r, "seconds": 0} for r in history] for history in histories]
    assert strip[0] == strip[1]


def test_ctrl_c_leaves_the_best_state_so_far_in_place(tmp_path):
    classifier = quick()

    def press(record):
        if record["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*toy(24), folder=tmp_path, progress=press)
    assert classifier.interrupted_
    assert classifier.best_step_ in (0, 4)
    assert classifier.predict(toy(3)[0]).shape == (3,)
    classifier.fit(*toy(24), folder=tmp_path)
    assert not classifier.interrupted_


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": ("cqt",)}, r"views was \['mel'\] and is \['cqt'\]"),
        ({"sample_rate": 16000}, "sample_rate was 8000 and is 16000"),
        ({"lr": 0.1, "size": "small"}, "lr was None and is 0.1.*size was 'tiny' and is 'small'"),
        ({"labels": ["a", "b", "d"] * 8}, r"classes was \['clicks', 'noise', 'tone'\] and is"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_the_difference(tmp_path, change, message):
    clips, labels, groups = toy(24)
    quick(views=("mel",)).fit(clips, labels, groups, folder=tmp_path)
    labels = change.get("labels", labels)
    other = clone(quick(views=("mel",)))
    other.set_params(**{name: value for name, value in change.items() if name != "labels"})
    with pytest.raises(CheckpointError, match=message):
        other.fit(clips, labels, groups, folder=tmp_path)
    other.fit(clips, labels, groups, folder=tmp_path, fresh=True)


def test_a_saved_model_predicts_the_same(fitted, tmp_path):
    clips = toy(9, seed=2)[0]
    digest = fitted.save(tmp_path / "model")
    assert len(digest) == 64
    loaded = MultiViewClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(clips), fitted.predict_proba(clips))
    np.testing.assert_array_equal(loaded.policy_.curves.weights, fitted.policy_.curves.weights)
    assert loaded.get_params()["sample_rate"] == RATE
    assert loaded.explain(clips) == fitted.explain(clips)
    assert loaded.save(tmp_path / "again") == digest


def test_a_model_with_parts_of_ones_own_is_loaded_with_the_same_parts(tmp_path):
    class Mean(nn.Module):
        n_features = 8

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 8)

        def forward(self, view, valid=None):
            return self.layer(view.mean(dim=(1, 3)))

    def stack(n_bands=16):
        return ViewStack({"own": Gammatone(RATE, n_bands=n_bands), "wave": Waveform(RATE)})

    own = {"own": Mean()}
    classifier = quick(views=stack(), subnetworks=own).fit(*toy(24))
    assert classifier.net_.widths == (8, 32)
    classifier.save(tmp_path)
    loaded = MultiViewClassifier.load(tmp_path, views=stack(), subnetworks=own)
    clips = toy(3)[0]
    np.testing.assert_array_equal(loaded.predict_proba(clips), classifier.predict_proba(clips))
    with pytest.raises(CheckpointError, match="front-ends of its own: pass views="):
        MultiViewClassifier.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"other front-ends: own was 'Gammatone"):
        MultiViewClassifier.load(tmp_path, views=stack(20), subnetworks=own)
    with pytest.raises(CheckpointError, match=r"own subnetworks for \['own'\]"):
        MultiViewClassifier.load(tmp_path, views=stack())


def test_a_decision_says_which_view_was_trusted(fitted):
    clips, _, _ = toy(9, seed=4)
    for decision, label in zip(fitted.explain(clips), fitted.predict(clips), strict=True):
        assert decision.label == label == decision.labels["joint"]
        assert decision.trusted == max(decision.contributions, key=decision.contributions.get)
        assert set(decision.contributions) == {"wave", "mel", "gamma", "cqt"}
        assert set(decision.labels) == {*fitted.net_.branches, "ensemble"}
        assert 1 / 3 < decision.confidence <= 1


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_trains(policy):
    classifier = quick(views=("mel", "wave"), policy=policy).fit(*toy(24))
    weights = classifier.policy_.curves.weights
    assert weights.shape == (3, 3)
    assert classifier.policy_.curves.steps == [0, 4, 8]
    assert np.isfinite([r["loss"] for r in classifier.history_]).all()


def test_gblend_asks_trial_runs_for_its_weights():
    classifier = quick(views=("mel", "wave"), policy="gblend", steps=24).fit(*toy(24))
    weights = classifier.policy_.curves.weights
    np.testing.assert_array_equal(weights, np.tile(weights[0], (len(weights), 1)))
    assert weights[0].std() > 0.01
    assert weights[0].sum() == pytest.approx(1)


def test_weights_may_scale_learning_rates_instead_of_losses():
    frozen = FixedPolicy(["mel", "cqt", "joint"], [1, 0, 1])
    views = ("mel", "cqt")
    start = quick(views=views, policy=frozen, lr=1e-12).fit(*toy(24))
    coupled = quick(views=views, policy=frozen, couple="lr", weight_decay=0.0).fit(*toy(24))
    for name, value in coupled.net_.state_dict().items():
        moved = not torch.allclose(value, start.net_.state_dict()[name], atol=1e-9)
        assert moved == (".cqt." not in name), name


def test_one_view_needs_no_policy():
    classifier = quick(views=("mel",)).fit(*toy(24))
    assert classifier.net_.branches == ("joint",)
    np.testing.assert_array_equal(classifier.policy_.curves.weights, 1)


def test_a_policy_for_other_branches_is_refused():
    with pytest.raises(ValueError, match="branches mel, joint; the network has mel, cqt, joint"):
        quick(views=("mel", "cqt"), policy=OGRPolicy(["mel", "joint"])).fit(*toy(24))


def test_a_branch_that_is_not_finite_is_left_out_with_a_warning_and_recovers(monkeypatch):
    from septet.audio import _fit

    calls = []
    plain = _fit.branch_losses

    def sick(logits, targets, **settings):
        losses = plain(logits, targets, **settings)
        calls.append(1)
        if 8 <= len(calls) < 14:
            losses["mel"] = losses["mel"] * float("nan")
        return losses

    monkeypatch.setattr(_fit, "branch_losses", sick)
    policy = OGRPolicy(["mel", "cqt", "joint"], warmup=0)
    with pytest.warns(SeptetWarning, match=r"loss of mel is not finite"):
        classifier = quick(views=("mel", "cqt"), policy=policy, steps=20).fit(*toy(24))
    mel = classifier.policy_.curves.weights[:, 0]
    assert (mel == 0).any()
    assert mel[-1] > 0
    for name, value in classifier.net_.state_dict().items():
        assert torch.isfinite(value).all(), name


def test_a_group_on_both_sides_is_an_error_that_names_it():
    clips, labels, groups = toy(24)
    validation = toy(12, seed=1)[0], toy(12)[1], ["kit A", "g3", "kit B"] * 4
    with pytest.raises(DataError, match="1 groups are in both training and validation: g3"):
        quick().fit(clips, labels, groups, validation=validation)
    quick(group_check=False).fit(clips, labels, groups, validation=validation)


def test_a_class_that_is_missing_on_one_side_is_an_error_with_a_table():
    clips, labels, _ = toy(24)
    validation = (
        [c for c, k in zip(clips, labels, strict=True) if k != "tone"],
        [k for k in labels if k != "tone"],
    )
    with pytest.raises(DataError, match=r"training  validation\ntone +8 +0"):
        quick().fit(clips, labels, validation=validation)
    quick(allow_missing=True).fit(clips, labels, validation=validation)


def test_long_clips_are_decided_by_the_mean_of_their_segments():
    classifier = quick(seconds=0.25, views=("mel",), steps=30).fit(*toy(24))
    assert classifier.seconds_ == 0.25
    short, _, _ = toy(6, seed=1)
    long = [np.concatenate([clip, clip, clip[:100]]) for clip in short]
    alone = classifier.predict_proba(short)
    np.testing.assert_allclose(classifier.predict_proba(long), alone, atol=1e-5)


def test_files_of_any_rate_and_arrays_give_about_the_same(fitted, tmp_path):
    clips, _, _ = toy(3, seed=1)
    paths = []
    for i, clip in enumerate(clips):
        paths.append(tmp_path / f"{i}.wav")
        write_audio(paths[-1], clip, RATE, encoding="FLOAT")
    np.testing.assert_array_equal(fitted.predict_proba(paths), fitted.predict_proba(clips))


def test_bad_files_raise_or_are_left_out_with_a_list(tmp_path):
    clips, labels, groups = toy(24)
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    items, labels, groups = [*clips, bad], [*labels, "tone"], [*groups, "g99"]
    with pytest.raises(DataError, match=r"bad\.wav cannot be decoded"):
        quick().fit(items, labels, groups)
    with pytest.warns(SeptetWarning, match=r"1 bad clips are left out: .*bad\.wav"):
        classifier = quick(on_error="skip").fit(items, labels, groups)
    assert any("bad.wav" in note for note in classifier.notes_)


def test_images_are_kept_in_a_folder_and_found_again(tmp_path):
    first = quick(cache=tmp_path).fit(*toy(24))
    kept = sorted(tmp_path.iterdir())
    assert [path.name.split("-")[0] for path in kept] == ["cqt", "gamma", "mel"]
    times = [path.stat().st_mtime_ns for path in kept]
    again = quick(cache=tmp_path).fit(*toy(24))
    same_model(first, again)
    assert [path.stat().st_mtime_ns for path in kept] == times
    same_model(first, quick().fit(*toy(24)))
    exact = quick(cache=None).fit(*toy(24))
    for name, value in exact.net_.state_dict().items():
        torch.testing.assert_close(value, first.net_.state_dict()[name], atol=0.03, rtol=0)


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(shift=0.2, gain_db=6),
        Augmentation(mixup=0.3),
        Augmentation(time_masks=2, band_masks=1),
    ],
)
def test_it_learns_from_changed_clips_too(augmentation):
    classifier = quick(augmentation=augmentation, steps=40, lr=5e-3).fit(*toy(36))
    clips, labels, _ = toy(30, seed=1)
    assert classifier.score(clips, labels) > 0.6


def test_bfloat16_learns_about_the_same():
    half = quick(autocast=True, steps=40, lr=5e-3).fit(*toy(36))
    clips, labels, _ = toy(30, seed=1)
    assert half.score(clips, labels) > 0.6
    assert half.net_.heads["joint"].weight.dtype == torch.float32


def test_any_optimizer_may_do_the_steps():
    def sgd(groups):
        return torch.optim.SGD(groups, lr=0.05, momentum=0.9)

    classifier = quick(optimizer=sgd).fit(*toy(24))
    assert np.isfinite(classifier.history_[-1]["loss"])


def test_nothing_is_predicted_before_something_is_learned():
    with pytest.raises(NotFittedError):
        quick().predict(toy(3)[0])
    with pytest.raises(NotFittedError):
        quick().save("nowhere")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"couple": "rate"}, "couple must be one of"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"policy": "best"}, "policy must be one of"),
        ({"lr": -1}, "lr must be greater than 0"),
        ({"class_weight": "even"}, "class_weight must be"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        quick(**settings).fit(*toy(24))


def test_labels_and_groups_must_be_as_many_as_clips():
    clips, labels, groups = toy(24)
    with pytest.raises(ValueError, match="24 clips need as many labels"):
        quick().fit(clips, labels[:-1])
    with pytest.raises(ValueError, match="24 clips need as many groups"):
        quick().fit(clips, labels, groups[:-1])
    with pytest.raises(ValueError, match="two classes at least"):
        quick().fit(clips, ["a"] * 24)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path):
    script = str(Path(__file__).with_name("two_processes.py"))
    done = subprocess.run(
        [sys.executable, script, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names = ("one/model", "two/model0", "two/model1")
    one, *two = (load_checkpoint(tmp_path / name) for name in names)
    for other in two:
        for name, value in one["net"].items():
            torch.testing.assert_close(other["net"][name], value, rtol=1e-4, atol=1e-6)
        for curve in ("train", "validation", "weights"):
            np.testing.assert_allclose(
                other["curves"][curve], one["curves"][curve], rtol=1e-4, atol=1e-6
            )


def test_a_run_does_not_go_on_with_other_clips(tmp_path):
    clips, labels, groups = toy(24)
    quick(views=("mel",)).fit(clips, labels, groups, folder=tmp_path)
    quick(views=("mel",)).fit(clips, labels, groups, folder=tmp_path)
    with pytest.raises(CheckpointError, match="digest of the clips was"):
        quick(views=("mel",)).fit(toy(24, seed=1)[0], labels, groups, folder=tmp_path)


def test_a_head_that_is_not_there_is_refused_before_training():
    def never(record):
        raise AssertionError(record)

    with pytest.raises(ValueError, match="head must be one of 'joint', 'ensemble'; got 'mel'"):
        quick(views=("mel",), head="mel").fit(*toy(24), progress=never)


def test_evaluation_names_a_head_that_is_not_there(fitted):
    clips, labels, _ = toy(3)
    other = copy.copy(fitted).set_params(head="ear")
    with pytest.raises(ValueError, match=r"head must be one of .*got 'ear'"):
        evaluate(other, clips, labels)


def test_trial_runs_train_branches_alone_however_weights_are_coupled():
    weights = [
        quick(views=("mel", "wave"), policy="gblend", steps=24, couple=couple)
        .fit(*toy(24))
        .policy_.weights
        for couple in ("loss", "lr")
    ]
    np.testing.assert_array_equal(*weights)


def test_sound_that_was_moved_into_the_padding_is_heard(monkeypatch):
    heard = []
    plain = MultiViewNet.embed

    def embed(self, views, valid=None):
        heard.append((self.training, valid))
        return plain(self, views, valid)

    monkeypatch.setattr(MultiViewNet, "embed", embed)
    clips, labels, groups = toy(24)
    clips = [clip[:1000] if i % 2 else clip for i, clip in enumerate(clips)]
    quick(views=("mel",), augmentation=Augmentation(shift=1.0)).fit(clips, labels, groups)
    assert all((valid == 1).all() for training, valid in heard if training)
    assert any((valid < 1).any() for training, valid in heard if not training)


def test_validation_clips_may_not_be_none_at_all():
    with pytest.raises(DataError, match="one in every other part"):
        quick(allow_missing=True).fit(*toy(24), validation=([], []))
