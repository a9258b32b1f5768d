import numpy as np
import pytest
import torch

from septet._core.errors import DataError, SeptetWarning
from septet.audio import Augmentation, Piece, check_classes, check_groups, group_split, load_clips
from septet.signal import write_audio

RATE = 8000


def ramp(n, start=0):
    return (np.arange(start, start + n) / 10_000).astype(np.float32)


def test_short_clips_are_padded_at_the_end_and_counted():
    clips = load_clips([ramp(800), ramp(1600)], RATE)
    assert clips.samples.shape == (2, 1600)
    np.testing.assert_array_equal(clips.samples[0, :800], ramp(800))
    assert not clips.samples[0, 800:].any()
    np.testing.assert_array_equal(clips.valid, [0.5, 1.0])
    assert clips.notes == ("1 of 2 segments were padded with silence",)


def test_long_clips_are_cut_and_a_rest_below_half_is_dropped():
    clips = load_clips([ramp(2500), ramp(2300), ramp(100)], RATE, seconds=0.125)
    np.testing.assert_array_equal(clips.owner, [0, 0, 0, 1, 1, 2])
    np.testing.assert_array_equal(clips.samples[1], ramp(1000, 1000))
    np.testing.assert_array_equal(clips.valid, [1, 1, 0.5, 1, 1, 0.1])
    np.testing.assert_array_equal(clips.segments_of(np.array([0, 2])), [0, 1, 2, 5])
    assert "3 clips were cut into 6 segments" in clips.notes


def test_the_segment_is_as_long_as_the_longest_clip_but_ten_seconds_at_most():
    assert load_clips([ramp(50), ramp(70)], RATE).samples.shape[1] == 70
    assert load_clips([ramp(50), ramp(90_000)], RATE).samples.shape == (2, 80_000)


def test_pieces_of_files_are_clips(tmp_path):
    write_audio(tmp_path / "a.wav", ramp(4000), RATE, encoding="FLOAT")
    pieces = [Piece(tmp_path / "a.wav", 0.125 * i, 0.125) for i in range(4)]
    clips = load_clips(pieces, RATE)
    np.testing.assert_allclose(clips.samples[2], ramp(1000, 2000), atol=1e-6)
    with pytest.raises(DataError, match=r"a\.wav holds no samples after 9 s"):
        load_clips([Piece(tmp_path / "a.wav", 9.0, 1.0)], RATE)


def test_a_lower_sample_rate_is_told_once(tmp_path):
    for name, rate in (("low", 8000), ("lower", 4000), ("high", 44100)):
        write_audio(tmp_path / f"{name}.wav", np.sin(np.arange(rate) / 9), rate)
    paths = sorted(tmp_path.iterdir())
    with pytest.warns(SeptetWarning, match="2 clips have a lower sample rate than 16000") as told:
        clips = load_clips(paths, 16000)
    assert len(told) == 1
    assert clips.samples.shape == (3, 16000)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(0), "clip 1 is empty"),
        (np.array([0, np.nan]), "clip 1 holds samples that are not finite"),
        (ramp(10), r"clip 1 lasts 0\.00125 s; at least 0\.01 s are needed"),
    ],
)
def test_a_bad_clip_raises_or_is_left_out_with_its_name(bad, message):
    source = [ramp(800), bad, ramp(900)]
    with pytest.raises(DataError, match=message):
        load_clips(source, RATE, min_seconds=0.01)
    with pytest.warns(SeptetWarning, match=f"1 bad clips are left out: {message}"):
        clips = load_clips(source, RATE, min_seconds=0.01, on_error="skip")
    np.testing.assert_array_equal(clips.kept, [0, 2])
    assert clips.skipped[0][0] == "clip 1"
    assert len(clips) == 2


def test_nothing_at_all_is_an_error():
    with pytest.raises(ValueError, match="there is no clip"):
        load_clips([], RATE)
    with pytest.warns(SeptetWarning), pytest.raises(DataError, match="none of the 1 clips"):
        load_clips([np.zeros(0)], RATE, on_error="skip")
    with pytest.raises(ValueError, match=r"must be samples \(n,\); got shape \(2, 3\)"):
        load_clips([np.zeros((2, 3))], RATE)


def test_no_group_is_on_both_sides_and_classes_are_shared_out(rng):
    groups = rng.integers(30, size=400)
    labels = (groups + rng.integers(3, size=400)) % 4
    for seed in range(10):
        first, second = group_split(labels, groups, fraction=0.3, random_state=seed)
        assert not set(groups[first]) & set(groups[second])
        assert sorted([*first, *second]) == list(range(400))
        for label in range(4):
            share = np.mean(labels[second] == label) * len(second) / np.sum(labels == label)
            assert 0.2 < share < 0.4
    again = group_split(labels, groups, fraction=0.3, random_state=9)
    np.testing.assert_array_equal(again[1], second)


def test_every_class_is_on_both_sides_where_that_can_be():
    labels = [0] * 20 + [1, 1]
    groups = ["a", "b"] * 10 + ["c", "d"]
    first, second = group_split(labels, groups, fraction=0.25, random_state=0)
    assert {labels[i] for i in first} == {labels[i] for i in second} == {0, 1}


def test_a_split_needs_two_groups():
    with pytest.raises(ValueError, match="two groups at least"):
        group_split([0, 1, 0], ["a"] * 3)
    with pytest.raises(ValueError, match="equally long; got 3, 2"):
        group_split([0, 1, 0], ["a", "b"])


def test_groups_that_are_on_two_sides_are_named():
    check_groups({"train": ["a", "b"], "test": ["c"]})
    with pytest.raises(DataError, match="2 groups are in both train and test: a, b"):
        check_groups({"train": ["b", "a", "x"], "validation": ["c"], "test": ["a", "b"]})


def test_missing_classes_are_listed_in_a_table():
    parts = {"train": np.array(["a", "a", "b"]), "test": np.array(["a"])}
    with pytest.raises(DataError, match=r"train  test\nb +1 +0\n?$"):
        check_classes(["a", "b"], parts)
    check_classes(["a"], parts)
    with pytest.raises(DataError):  # one training clip is too few, whatever is allowed
        check_classes(["a", "b"], parts, allow_missing=True)


def test_shift_and_gain_rotate_and_scale():
    generator = torch.Generator().manual_seed(0)
    clips = torch.rand(50, 100, generator=generator)
    targets = torch.arange(50) % 2
    found, same = Augmentation(shift=0.1, gain_db=6).waveforms(clips, targets, 2, generator)
    assert torch.equal(same, targets)
    gains = found.norm(dim=1) / clips.norm(dim=1)
    assert 0.5 < gains.min() < 0.7 < 1.4 < gains.max() < 2.0
    for row, clip, gain in zip(found, clips, gains, strict=True):
        fits = [torch.allclose(row, gain * torch.roll(clip, k), atol=1e-5) for k in range(-10, 11)]
        assert any(fits)


def test_mixup_mixes_waveforms_and_targets_with_one_share():
    generator = torch.Generator().manual_seed(0)
    clips = torch.eye(4)
    found, soft = Augmentation(mixup=0.5).waveforms(clips, torch.arange(4), 4, generator)
    torch.testing.assert_close(found, soft)
    torch.testing.assert_close(soft.sum(1), torch.ones(4))
    assert not torch.equal(soft, clips)


def test_masks_hide_stretches_of_images_only():
    generator = torch.Generator().manual_seed(0)
    views = {"mel": torch.ones(20, 1, 30, 40), "wave": torch.ones(20, 1, 100)}
    found = Augmentation(time_masks=1, mask_part=0.5).images(views, generator)
    assert torch.equal(found["wave"], views["wave"])
    columns = found["mel"].amax(dim=2)[:, 0]
    assert torch.equal(found["mel"], columns[:, None, None].expand_as(found["mel"]))
    hidden = (columns == 0).sum(1)
    assert 0 < hidden.max() <= 20
    for row in columns:
        assert (row.diff() != 0).sum() <= 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shift": 1.5}, "shift must be at most 1"),
        ({"gain_db": -1}, "gain_db must be at least 0"),
        ({"mask_part": 0}, "mask_part must be greater than 0"),
    ],
)
def test_impossible_augmentations_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**settings)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, complex, bool])
def test_samples_of_another_full_scale_are_refused(dtype):
    with pytest.raises(TypeError, match=r"clip 1 must be floats, 1\.0 being full scale; got"):
        load_clips([ramp(10), np.ones(10, dtype)], RATE)


def test_masks_are_counted_in_whole_numbers():
    with pytest.raises(TypeError, match="time_masks must be an integer"):
        Augmentation(time_masks=1.5)
