"""Peers and the arena: found where installed, aligned, scored on the same recordings."""

import numpy as np
import pytest

from septet._core.errors import DataError
from septet.signal import write_audio
from septet.speech import (
    Denoiser,
    NetworkConfig,
    Pair,
    arena,
    installed_peers,
    pairs_from_folder,
    wiener,
)
from septet.speech._peers import PEERS


def babble(seconds=3.0, seed=0):
    """Something with pauses that PESQ takes for speech."""
    rng = np.random.default_rng(seed)
    n = int(16000 * seconds)
    t = np.arange(n) / 16000
    voiced = np.sign(np.sin(2 * np.pi * 140 * t)) * (np.sin(2 * np.pi * 1.3 * t) > -0.3)
    return 0.05 * voiced + 1e-4 * rng.normal(size=n)


def pair(seed=0):
    clean = babble(seed=seed)
    noise = 0.02 * np.random.default_rng(seed + 1).normal(size=clean.size)
    return Pair(f"pair{seed}", "x", "white", 5.0, clean, clean + noise)


def test_the_wiener_filter_lowers_steady_noise_and_keeps_the_length():
    one = pair()
    quiet = slice(0, 3000)
    still = np.concatenate([np.zeros(8000), one.clean])
    noise = 0.02 * np.random.default_rng(5).normal(size=still.size)
    enhanced = wiener(still + noise)
    assert enhanced.shape == still.shape
    assert np.std(enhanced[quiet]) < 0.3 * np.std(noise[quiet])
    assert np.std(enhanced - still) < np.std(noise)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_installed_peer_returns_as_many_finite_samples(peer):
    if peer.version is None:
        with pytest.raises(ValueError, match=r"is not installed: pip install"):
            installed_peers(peer.name.split(",")[0])
        return
    one = pair()
    output = peer.make()(one.noisy)
    assert output.shape == one.noisy.shape
    assert np.isfinite(output).all()
    assert 1e-5 < np.std(output) < 0.2  # some take a buzz for noise


def test_names_choose_peers_and_unknown_ones_are_refused():
    assert [p.name for p in installed_peers("wiener")] == ["Wiener"]
    assert installed_peers("none") == ()
    with pytest.raises(ValueError, match="of Wiener, noisereduce, WebRTC"):
        installed_peers("spleeter")


def test_the_arena_shows_ours_the_input_and_every_peer_on_the_same_recordings():
    network = NetworkConfig(
        attention=(), channels=(8, 8), output="mask", kernel=5, spectral_norm=False, latent="none"
    )
    ours = Denoiser(network.generator(seed=0), network)
    table, found = arena([pair(0), pair(1)], denoiser=ours, peers=installed_peers("wiener"))
    assert [row["system"] for row in table] == ["noisy", "septet", "Wiener"]
    assert all(row["n"] == 2 for row in table)
    assert found["Wiener"].names == ("pair0", "pair1")
    assert table[1]["CPU seconds per second"] > 0
    # an untrained mask lets nearly everything through: it scores as the input does
    assert table[1]["si_sdr"] == pytest.approx(table[0]["si_sdr"], abs=1.0)


def test_pairs_are_read_from_two_folders(tmp_path):
    for name in ("clean", "noisy"):
        (tmp_path / name).mkdir()
        write_audio(tmp_path / name / "a.wav", babble(0.5), 16000)
    assert [p.name for p in pairs_from_folder(tmp_path)] == ["a"]
    write_audio(tmp_path / "noisy" / "a.wav", babble(0.4), 16000)
    with pytest.raises(DataError, match="8000 samples and .* 6400 at 16 kHz"):
        pairs_from_folder(tmp_path)
