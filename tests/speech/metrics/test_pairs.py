"""Scores of folders: intervals, paired differences, and what is wrong with a pair."""

import csv

import numpy as np
import pytest
from scipy.signal import lfilter

from septet._core.errors import DataError, SeptetWarning
from septet.signal import write_audio
from septet.speech import metrics


def speech(seed=0, n=24_000):
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 16000
    buzz = np.sign(np.sin(2 * np.pi * (120 + 20 * np.sin(5 * t)) * t))
    return 0.1 * lfilter([1.0], [1, -1.6, 0.8], buzz * (np.sin(9 * t) > -0.4)) / 5 + 1e-4 * (
        rng.normal(size=n)
    )


@pytest.fixture
def folders(tmp_path):
    for k in range(3):
        clean = speech(k)
        noise = np.random.default_rng(k + 9).normal(size=clean.size)
        for name, samples in (
            ("clean", clean),
            ("better", clean + 0.002 * noise),
            ("worse", clean + 0.02 * noise),
        ):
            path = tmp_path / name / f"speaker{k % 2}" / f"u{k}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, samples, 16000, encoding="FLOAT")
    return tmp_path


@pytest.mark.parametrize("shift", [-40, -1, 0, 1, 95, 320])
@pytest.mark.parametrize("gain", [1.0, -0.25])
def test_delay_polarity_and_gain_are_found(shift, gain):
    clean = np.random.default_rng(1).normal(size=8000)
    found = metrics.diagnose(clean, gain * np.roll(clean, shift))
    assert found.shift == shift
    assert found.inverted == (gain < 0)
    assert found.gain_db == pytest.approx(20 * np.log10(abs(gain)), abs=0.5)


def test_alignment_takes_the_delay_out():
    clean = np.random.default_rng(1).normal(size=8000)
    late = np.concatenate([np.zeros(95), clean[:-95]])
    np.testing.assert_array_equal(metrics.aligned(clean, late)[:-95], clean[:-95])
    early = np.concatenate([clean[7:], np.zeros(7)])
    np.testing.assert_array_equal(metrics.aligned(clean, early)[7:], clean[7:])
    # one sample ruins the segmental ratio, which is why it is looked for
    late = np.concatenate([np.zeros(1), clean[:-1]])
    assert metrics.ssnr(clean, late) < 0 < 30 < metrics.ssnr(clean, metrics.aligned(clean, late))


def test_every_recording_is_scored_beside_its_twin(folders):
    found = metrics.score_pairs(folders / "clean", folders / "worse")
    assert found.names == ("speaker0/u0", "speaker0/u2", "speaker1/u1")
    clean = speech(1)
    by_hand = metrics.si_sdr(
        clean, clean + 0.02 * np.random.default_rng(10).normal(size=clean.size)
    )
    assert found.rows[2]["si_sdr"] == pytest.approx(by_hand, abs=1e-3)
    assert found.remarks == ("", "", "")
    for row in found.summary():
        assert row["low"] <= row["mean"] <= row["high"]
        assert (row["n"], row["missing"]) == (3, 0)


def test_two_processes_score_the_same(folders):
    alone = metrics.score_pairs(folders / "clean", folders / "worse")
    assert metrics.score_pairs(folders / "clean", folders / "worse", workers=2) == alone


def test_systems_are_compared_recording_by_recording(folders):
    better = metrics.score_pairs(folders / "clean", folders / "better")
    worse = metrics.score_pairs(folders / "clean", folders / "worse")
    apart = {row["measure"]: row for row in better.minus(worse)}
    assert apart["si_sdr"]["mean"] == pytest.approx(20, abs=0.1)
    assert apart["si_sdr"]["low"] > 19.5
    assert apart["pesq"]["mean"] > 0
    other = metrics.Scores(("x",), better.rows[:1], ("",))
    with pytest.raises(ValueError, match="the same recordings"):
        better.minus(other)


def test_scores_go_to_csv(folders):
    found = metrics.score_pairs(folders / "clean", folders / "worse")
    found.to_csv(folders / "scores.csv")
    with (folders / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(found.names)
    assert float(rows[0]["pesq"]) == pytest.approx(found.rows[0]["pesq"], rel=1e-5)


def test_a_silent_reference_scores_nothing_and_is_said(folders):
    write_audio(folders / "clean" / "speaker0" / "u0.wav", np.zeros(24_000), 16000)
    with pytest.warns(SeptetWarning, match="speaker0/u0 is silent"):
        found = metrics.score_pairs(folders / "clean", folders / "worse")
    assert np.isnan(found.rows[0]["pesq"])
    assert {row["missing"] for row in found.summary()} == {1}


def test_the_bootstrap_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = sum(
        found["low"] <= 0 <= found["high"]
        for found in (metrics.interval(rng.normal(size=30), draws=500) for _ in range(300))
    )
    assert 0.88 <= hits / 300 <= 0.98


def test_what_does_not_belong_together_is_refused(folders):
    clean, worse = folders / "clean", folders / "worse"
    twin = worse / "speaker0" / "u0.wav"
    write_audio(twin, speech()[:-5], 16000)
    with pytest.raises(DataError, match="24000 samples and .* 23995: allow_length_mismatch"):
        metrics.score_pairs(clean, worse)
    cut = metrics.score_pairs(clean, worse, allow_length_mismatch=True)
    assert cut.rows[0]["pesq"] > 4
    write_audio(twin, speech(), 8000)
    with pytest.raises(DataError, match="16000 Hz and .* 8000 Hz"):
        metrics.score_pairs(clean, worse)
    twin.unlink()
    with pytest.raises(DataError, match="speaker0/u0 is in .*clean but not in"):
        metrics.score_pairs(clean, worse)
    with pytest.raises(DataError, match="is no folder"):
        metrics.score_pairs(clean, folders / "nowhere")
    with pytest.warns(SeptetWarning, match="against itself"):
        metrics.score_pairs(clean / "speaker1" / "u1.wav", clean / "speaker1" / "u1.wav")


def test_equal_recordings_have_finite_scores(folders):
    with pytest.warns(SeptetWarning, match="against itself"):
        found = metrics.score_pairs(folders / "clean", folders / "clean")
    row = found.summary()[-1]
    assert row["measure"] == "si_sdr"
    assert 300 < row["low"] <= row["mean"] <= row["high"] < 314
    with pytest.raises(ValueError, match=r"values\[1\] = inf"):
        metrics.interval([1.0, np.inf])


def test_an_enhanced_recording_that_is_silent_is_named(folders):
    write_audio(folders / "worse" / "speaker0" / "u0.wav", np.zeros(24_000), 16000)
    with pytest.raises(DataError, match=r"u0\.wav: enhanced is silent"):
        metrics.score_pairs(folders / "clean", folders / "worse")
    with pytest.raises(ValueError, match="enhanced must not be constant"):
        metrics.si_sdr(speech(), np.zeros(24_000))
