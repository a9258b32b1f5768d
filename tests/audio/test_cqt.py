import math

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.audio import C1_HZ, CQT, constant_q_atoms
from septet.audio._reference import cqt_by_definition

METHODS = ["auto", "fold", "direct"]


def brute(clip, view):
    return np.abs(cqt_by_definition(np.asarray(clip, float), view.atoms, view.hop))


def test_the_lengths_are_the_worked_ones():
    lengths = constant_q_atoms(22050).lengths[[0, 12, 83]]
    worked = [11685.756034557, 5842.878017279, 96.723650377]
    np.testing.assert_allclose(lengths, worked, atol=5e-10)


def test_the_lengths_and_frequencies_are_librosas():
    atoms = constant_q_atoms(22050, bins_per_octave=24, n_bins=168)
    frequencies = librosa.cqt_frequencies(n_bins=168, fmin=C1_HZ, bins_per_octave=24)
    lengths, _ = librosa.filters.wavelet_lengths(freqs=frequencies, sr=22050)
    np.testing.assert_allclose(atoms.frequencies, frequencies)
    np.testing.assert_allclose(atoms.lengths, lengths)


@pytest.mark.parametrize(("method", "tolerance"), [("direct", 0.5), ("fold", 0.0), ("auto", 0.0)])
def test_a_cosine_gives_the_worked_values_with_its_negative_frequency(method, tolerance):
    clip = np.cos(2 * np.pi * 440 * np.arange(44100) / 22050)
    view = CQT(
        n_bins=48, fmin=55, method=method, tolerance=tolerance, log=None, dtype=torch.float64
    )
    found = view(torch.tensor(clip)[None])[0, 0, 35:38, 43].numpy()
    np.testing.assert_allclose(found, [7.226328396, 14.735645624, 7.461288398], atol=5e-10)
    alone = math.sqrt(view.atoms.lengths[36]) / 2
    assert alone == pytest.approx(14.735577812, abs=5e-10)


@pytest.mark.parametrize("method", METHODS)
def test_an_impulse_shows_the_window_of_each_atom(method):
    n0, hop = 9000, 512
    clip = np.zeros(20_000)
    clip[n0] = 1
    view = CQT(hop=hop, method=method, tolerance=0, log=None, dtype=torch.float64)
    found = view(torch.tensor(clip)[None])[0, 0].numpy()
    expected = np.zeros_like(found)
    for k in range(84):
        first, stop = view.atoms.support(k)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(stop - first) / (stop - first))
        for n in range(found.shape[1]):
            offset = n0 - n * hop
            if first <= offset < stop:
                scale = math.sqrt(view.atoms.lengths[k]) / window.sum()
                expected[k, n] = window[offset - first] * scale
    np.testing.assert_allclose(found, expected, atol=1e-9 * expected.max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", [(22050, 512), (22050, 441), (20011, 1148), (3000, 512)])
def test_it_equals_the_sum_that_defines_it(rng, case, method):
    n_samples, hop = case
    clip = rng.normal(size=n_samples)
    for tolerance in (1e-3, 1e-5):
        view = CQT(
            hop=hop,
            fmin=110,
            n_bins=48,
            tolerance=tolerance,
            method=method,
            log=None,
            dtype=torch.float64,
        )
        expected = brute(clip, view)
        found = view(torch.tensor(clip)[None])[0, 0].numpy()
        assert np.abs(found - expected).max() <= 10 * tolerance * expected.max()


@pytest.mark.parametrize("hop", [512, 441, 1148, 377])
def test_the_default_is_within_a_ten_thousandth_of_the_definition_in_float32(rng, hop):
    clip = rng.normal(size=33_075).astype(np.float32)
    view = CQT(hop=hop, log=None)
    expected = brute(clip, view)
    found = view(torch.tensor(clip)[None])[0, 0].numpy()
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


def test_the_default_takes_the_cheaper_method_for_each_octave():
    assert "octaves_folded=4, octaves_direct=3" in repr(CQT())
    assert "octaves_direct=0" in repr(CQT(fmin=110, n_bins=24, hop=32))  # many frames share a fold
    assert "octaves_folded=0" in repr(CQT(hop=16_384))


@settings(max_examples=25)
@given(
    n_samples=st.integers(1, 3000),
    hop=st.integers(1, 700),
    bins_per_octave=st.integers(1, 24),
    octaves=st.floats(0.01, 4),
    filter_scale=st.floats(0.3, 2),
    method=st.sampled_from(METHODS),
)
def test_any_setting_agrees_with_the_definition(
    n_samples, hop, bins_per_octave, octaves, filter_scale, method
):
    n_bins = max(1, int(octaves * bins_per_octave))
    view = CQT(
        8000,
        hop=hop,
        fmin=1900 / 2**octaves,
        n_bins=n_bins,
        bins_per_octave=bins_per_octave,
        filter_scale=filter_scale,
        method=method,
        log=None,
        dtype=torch.float64,
    )
    clip = np.random.default_rng(n_samples).normal(size=n_samples)
    expected = brute(clip, view)
    found = view(torch.tensor(clip)[None])[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max() + 1e-12)


def test_half_the_amplitude_gives_exactly_half_the_magnitude(rng):
    clip = torch.tensor(rng.normal(size=(1, 12_000)), dtype=torch.float32)
    view = CQT(log=None)
    assert torch.equal(view(clip / 2), view(clip) / 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": 8000}, r"bin 83 .* reaches up to 4280.* Hz, but half .* n_bins = 82 fit"),
        ({"fmin": 0}, "fmin must be greater than 0"),
        ({"hop": 0}, "hop must be at least 1"),
        ({"tolerance": 1}, "tolerance must be less than 1"),
        ({"tolerance": -1e-3}, "tolerance must be at least 0"),
        ({"method": "octaves"}, "method must be one of"),
        ({"filter_scale": 0.01}, r"filter_scale = 0\.01 leaves atoms of"),
    ],
)
def test_impossible_settings_are_refused_by_number(settings, message):
    with pytest.raises(ValueError, match=message):
        CQT(**settings)
