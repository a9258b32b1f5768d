import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet.signal import resample

RATES = [8000, 11025, 16000, 22050, 44100, 48000]


@given(
    n=st.integers(0, 5000),
    source=st.sampled_from(RATES),
    target=st.sampled_from(RATES),
)
def test_the_length_is_the_ceiling_of_the_exact_one(n, source, target):
    samples = np.zeros(n, np.float32)
    assert resample(samples, source, target).size == int(np.ceil(n * target / source))
    assert resample(samples, source, target, length=7).size == 7


@given(source=st.sampled_from(RATES), target=st.sampled_from(RATES))
def test_a_tone_below_both_nyquists_comes_out_as_the_same_tone(source, target):
    tone = np.sin(2 * np.pi * 1000 / source * np.arange(source))
    expected = np.sin(2 * np.pi * 1000 / target * np.arange(target))
    middle = slice(target // 4, -target // 4)
    np.testing.assert_allclose(resample(tone, source, target)[middle], expected[middle], atol=2e-4)


def test_a_tone_above_the_new_nyquist_disappears():
    tone = np.sin(2 * np.pi * 6000 / 22050 * np.arange(22050))
    assert np.abs(resample(tone, 22050, 8000)[500:-500]).max() < 1e-4


def test_going_there_and_back_lines_up_with_the_original():
    times = np.arange(4001) / 8000
    chirp = np.sin(2 * np.pi * (200 + 3000 * times) * times)  # 200 to 3200 Hz
    slow = resample(chirp, 8000, 44100)
    back = resample(slow, 44100, 8000, length=4001)
    np.testing.assert_allclose(back[100:-100], chirp[100:-100], atol=1e-3)


def test_channels_are_converted_one_by_one(rng):
    both = rng.normal(size=(2, 3, 1000)).astype(np.float32)
    converted = resample(both, 16000, 22050)
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted[1, 2], resample(both[1, 2], 16000, 22050))


@pytest.mark.parametrize(
    ("samples", "rates", "error", "message"),
    [
        (np.array([1, 2, 3]), (8000, 16000), TypeError, "float32 or float64; got int64"),
        (np.array([1.0, np.nan]), (8000, 16000), ValueError, "finite"),
        (np.zeros(3), (0, 16000), ValueError, "source_rate"),
        (np.zeros(3), (8000, -1), ValueError, "target_rate"),
    ],
)
def test_bad_input_is_refused(samples, rates, error, message):
    with pytest.raises(error, match=message):
        resample(samples, *rates)
