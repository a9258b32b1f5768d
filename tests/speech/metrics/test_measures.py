"""The measures against worked numbers, a frame-by-frame twin and their own definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.speech import metrics
from septet.speech.metrics._distortion import frames
from septet.speech.metrics._reference import reference_llr, reference_ssnr, reference_wss


@pytest.fixture(scope="module")
def worked_pair():
    draws = np.random.RandomState(0)
    n = np.arange(16000)
    voice = (
        0.3 * np.sin(2 * np.pi * 200 * n / 16000) * (1 + 0.5 * np.sin(2 * np.pi * 3 * n / 16000))
    )
    clean = voice + 0.1 * np.sin(2 * np.pi * 1500 * n / 16000) + 0.01 * draws.randn(16000)
    return clean, clean + 0.05 * draws.randn(16000)


def test_composite_gives_the_worked_numbers(worked_pair):
    found = metrics.composite(*worked_pair, pesq_score=2.0)
    assert found.llr == pytest.approx(0.382921, abs=5e-7)
    assert found.wss == pytest.approx(36.557595, abs=5e-7)
    assert found.ssnr == pytest.approx(12.645140, abs=5e-7)
    assert found.csig == pytest.approx(3.575956, abs=5e-7)
    assert found.cbak == pytest.approx(3.130741, abs=5e-7)
    assert found.covl == pytest.approx(2.752041, abs=5e-7)


def test_a_second_has_129_frames(worked_pair):
    assert len(frames(*worked_pair, 16000)[0]) == 129


def test_identical_signals_get_the_best_of_everything(worked_pair):
    clean, _ = worked_pair
    found = metrics.composite(clean, clean, pesq_score=4.644)
    assert (found.llr, found.wss, found.ssnr) == (0, 0, 35)
    assert (found.csig, found.cbak, found.covl) == (5, 5, 5)
    assert metrics.si_sdr(clean, 2 * clean) > 100


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rate=st.sampled_from([8000, 11025, 16000]))
def test_all_frames_at_once_equal_one_frame_after_another(seed, rate):
    rng = np.random.default_rng(seed)
    clean = np.cumsum(rng.normal(size=3000)) * 0.01 + rng.normal(size=3000)
    enhanced = clean + 0.3 * rng.normal(size=3000)
    for fast, slow in (
        (metrics.ssnr, reference_ssnr),
        (metrics.llr, reference_llr),
        (metrics.wss, reference_wss),
    ):
        assert fast(clean, enhanced, rate) == pytest.approx(slow(clean, enhanced, rate), abs=1e-9)


def test_silence_has_finite_distances():
    speech = np.random.default_rng(0).normal(size=4000)
    assert np.isfinite(metrics.llr(np.zeros(4000), speech))
    assert np.isfinite(metrics.wss(speech, np.zeros(4000)))


def test_si_sdr_ignores_gain_and_offset():
    rng = np.random.default_rng(1)
    clean, noise = rng.normal(size=(2, 4000))
    mixed = clean + 0.1 * noise
    assert metrics.si_sdr(clean, mixed) == pytest.approx(20, abs=0.3)
    assert metrics.si_sdr(clean, 5 * mixed + 3) == pytest.approx(metrics.si_sdr(clean, mixed))


def test_pesq_and_stoi_are_those_of_their_packages(worked_pair):
    import pesq
    import pystoi

    clean, noisy = worked_pair
    assert metrics.pesq(clean, noisy) == pesq.pesq(16000, clean, noisy, "wb")
    assert metrics.stoi(clean, noisy) == pytest.approx(100 * pystoi.stoi(clean, noisy, 16000))


@pytest.mark.parametrize("measure", [metrics.ssnr, metrics.llr, metrics.wss])
@pytest.mark.parametrize(
    ("clean", "enhanced", "message"),
    [
        (np.zeros(100), np.zeros(100), "at least 600 samples"),
        (np.zeros((2, 4000)), np.zeros(4000), "clean must be 1-D"),
        (np.zeros(4000), np.full(4000, np.nan), r"enhanced\[0\]"),
    ],
)
def test_signals_that_cannot_be_measured_are_named(measure, clean, enhanced, message):
    with pytest.raises(ValueError, match=message):
        measure(clean, enhanced)


def test_measures_of_whole_signals_want_equal_lengths():
    for measure in (metrics.pesq, metrics.stoi, metrics.si_sdr):
        with pytest.raises(ValueError, match="same length"):
            measure(np.ones(4000), np.ones(3999))
    with pytest.raises(ValueError, match="clean must not be constant"):
        metrics.si_sdr(np.ones(10), np.arange(10.0))
    with pytest.raises(ValueError, match="sample_rate must be 8000 or 16000"):
        metrics.pesq(np.ones(4000), np.ones(4000), 44100)
    with pytest.raises(ValueError, match="clean is silent"):
        metrics.pesq(np.zeros(16000), np.zeros(16000))
