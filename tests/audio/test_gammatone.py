import gammatone.fftweight
import gammatone.gtgram
import numpy as np
import pytest
import torch

from septet.audio import Gammatone, erb_centres, gammatone_response
from septet.audio._reference import gammatone_energy_by_definition


def test_the_centres_are_the_worked_ones():
    centres = erb_centres(16000, 64)[::-1]
    np.testing.assert_allclose(centres[:2], [7576.107366057, 7174.050752754], atol=5e-10)
    np.testing.assert_allclose(centres[-2:], [65.143641028, 50.0], atol=5e-10)


def test_the_response_is_the_worked_one():
    found = np.abs(gammatone_response([1000.0], [500, 900, 1000, 1100, 2000], 16000))[0]
    worked = [4.599261981e-3, 0.417761061, 1, 0.417733354, 3.321626e-4]
    np.testing.assert_allclose(found, worked, rtol=2e-7)


def test_the_weights_equal_those_of_the_gammatone_package():
    ours = Gammatone(16000, n_fft=1024, hop=320, dtype=torch.float64).weights.numpy().T
    theirs, _ = gammatone.fftweight.fft_weights(1024, 16000, 64, 1, 50, 8000, 513)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_exact_mode_equals_the_gammatone_package(rng, dtype, error):
    clip = rng.normal(size=22050)
    window, hop, _ = gammatone.gtgram.gtgram_strides(22050, 0.025, 0.01, clip.size)
    assert (window, hop) == (551, 221)
    theirs = gammatone.gtgram.gtgram(clip, 22050, 0.025, 0.01, 64, 50)
    view = Gammatone(
        mode="exact", window_length=window, hop=hop, center=False, log=None, dtype=dtype
    )
    ours = view(torch.tensor(clip, dtype=dtype)[None])[0, 0].numpy()
    assert ours.shape == theirs.shape
    assert np.linalg.norm(ours - theirs) < error * np.linalg.norm(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=10 * error)


@pytest.mark.parametrize(
    ("n_samples", "window", "hop"), [(3000, 400, 160), (2000, 64, 64), (2000, 50, 320), (700, 1, 7)]
)
def test_the_exact_mode_equals_its_definition_for_any_window(rng, n_samples, window, hop):
    clip = rng.normal(size=n_samples)
    expected = gammatone_energy_by_definition(clip, 8000, 12, window_length=window, hop=hop)
    settings = {"n_bands": 12, "mode": "exact", "window_length": window, "hop": hop, "log": None}
    view = Gammatone(8000, **settings, center=False, dtype=torch.float64)
    found = view(torch.tensor(clip)[None])[0, 0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    centred = Gammatone(8000, **settings, dtype=torch.float64)
    shifted = torch.nn.functional.pad(torch.tensor(clip), (window // 2, window + hop))[None]
    frames = n_samples // hop + 1
    np.testing.assert_allclose(
        centred(torch.tensor(clip)[None])[0, 0].numpy(),
        view(shifted)[0, 0, :, :frames].numpy(),
        rtol=1e-8,
    )


def test_a_batch_that_exceeds_one_chunk_equals_its_clips(rng, monkeypatch):
    view = Gammatone(8000, n_bands=9, mode="exact", hop=80, window_length=200)
    clips = torch.tensor(rng.normal(size=(5, 6_000)), dtype=torch.float32)
    whole = view(clips)
    monkeypatch.setattr("septet.audio._energy._CHUNK_ELEMENTS", 30_000)
    torch.testing.assert_close(view(clips), whole)
    torch.testing.assert_close(view(clips[2:3]), whole[2:3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fmin": 0}, "fmin must be greater than 0"),
        ({"fmax": 30_000}, "fmax = 30000 Hz is above"),
        ({"mode": "iir"}, "mode must be one of 'fft', 'exact'"),
        ({"hop": 0}, "hop must be at least 1"),
        ({"power": 0}, "power must be 1"),
    ],
)
def test_impossible_settings_are_refused_by_number(settings, message):
    with pytest.raises(ValueError, match=message):
        Gammatone(**settings)


def test_a_clip_shorter_than_a_window_that_must_fit_is_refused():
    view = Gammatone(mode="exact", window_length=551, hop=221, center=False)
    with pytest.raises(ValueError, match="a window has 551 samples, but the clip 550"):
        view(torch.zeros(1, 550))
