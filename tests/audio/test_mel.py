import librosa
import numpy as np
import pytest
import torch

from septet.audio import LogMel, LogScale, mel_filters, mel_frequencies


def test_the_matrix_has_the_worked_sum_and_peak():
    filters = mel_filters(22050, 2048, 128)
    assert filters.sum() == pytest.approx(11.8866812896, abs=5e-11)
    assert filters[0].max() == pytest.approx(0.0323657064, abs=5e-11)


def test_the_band_edges_are_the_worked_ones():
    edges = mel_frequencies(130)
    worked = [0, 25.79358888, 51.58717776, 10453.79184828, 10735.59756731, 11025]
    np.testing.assert_allclose(edges[[0, 1, 2, -3, -2, -1]], worked, atol=5e-9)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("normalize", [True, False])
def test_the_matrix_equals_librosas(scale, normalize):
    ours = mel_filters(16000, 1024, 40, fmin=100, fmax=7000, scale=scale, normalize=normalize)
    theirs = librosa.filters.mel(
        sr=16000,
        n_fft=1024,
        n_mels=40,
        fmin=100,
        fmax=7000,
        htk=scale == "htk",
        norm="slaney" if normalize else None,
        dtype=np.float64,
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-13)


@pytest.mark.parametrize(("n_mels", "hop"), [(64, 512), (128, 512), (128, 441)])
def test_float32_power_equals_librosas_to_a_millionth(rng, n_mels, hop):
    clip = rng.normal(size=30_000).astype(np.float32)
    ours = LogMel(n_mels=n_mels, hop=hop, log=None)(torch.tensor(clip)[None])[0, 0].numpy()
    theirs = librosa.feature.melspectrogram(
        y=clip, sr=22050, n_fft=2048, hop_length=hop, n_mels=n_mels, pad_mode="constant"
    )
    assert ours.shape == theirs.shape
    assert np.linalg.norm(ours - theirs) < 1e-6 * np.linalg.norm(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)


def test_the_logarithm_equals_librosas_decibels(rng):
    clip = rng.normal(size=9_000).astype(np.float32) * np.linspace(0, 1, 9_000, dtype=np.float32)
    powers = LogMel(log=None)(torch.tensor(clip)[None])
    logs = LogMel(log=LogScale(top_db=30, ref=2.0))(torch.tensor(clip)[None])
    decibels = librosa.power_to_db(powers[0, 0].numpy(), ref=2.0, top_db=30)
    np.testing.assert_allclose(logs[0, 0].numpy() * 10 / np.log(10), decibels, atol=1e-4)
    assert decibels.max() - decibels.min() == pytest.approx(30, abs=1e-4)


def test_magnitudes_are_compressed_to_half_the_logarithm_of_powers():
    tone = torch.sin(torch.arange(4000) / 5)[None]
    views = [LogMel(16000, n_fft=1024, hop=320, n_mels=64, power=p) for p in (1, 2)]
    for view in views:
        view.filters = torch.eye(513)  # one bin each, so that powers are squares of magnitudes
    torch.testing.assert_close(2 * views[0](tone), views[1](tone), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_mels": 128, "n_fft": 256}, "n_mels = 128 leaves .* filters without a bin"),
        ({"fmax": 12000}, "fmax = 12000 Hz is above half the sample rate, 11025"),
        ({"fmin": -1}, "fmin must be at least 0"),
        ({"hop": 4096}, "hop = 4096 leaves gaps"),
        ({"power": 3}, "power must be 1"),
        ({"scale": "bark"}, "scale must be one of"),
    ],
)
def test_impossible_settings_are_refused_by_number(settings, message):
    with pytest.raises(ValueError, match=message):
        LogMel(**settings)


def test_empty_filters_can_be_allowed_and_are_silent():
    view = LogMel(n_mels=128, n_fft=256, hop=128, allow_empty=True, log=None)
    image = view(torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)))
    silent = ~view.filters.any(dim=0)
    assert silent.any()
    assert not image[:, :, silent].any()
    assert image[:, :, ~silent].all()
