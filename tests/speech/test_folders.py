"""Training data out of folders."""

import numpy as np
import pytest

from septet._core.errors import DataError
from septet.signal import write_audio
from septet.speech import Mixtures, PairWindows, read_noises, read_pairs, read_voices


def tone(n=9000, seed=0):
    return 0.2 * np.sin(np.arange(n) / 9 + seed)


def test_pairs_of_the_same_names_become_windows(tmp_path):
    """As VoiceBank-DEMAND comes: 48 kHz, two folders, the same file names."""
    for k in range(3):
        for folder, level in (("clean_trainset_28spk_wav", 1.0), ("noisy_trainset_28spk_wav", 0.5)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_audio(tmp_path / folder / f"p226_00{k}.wav", level * tone(30_000), 48000)
    pairs = read_pairs(tmp_path / "clean_trainset_28spk_wav", tmp_path / "noisy_trainset_28spk_wav")
    assert [name for name, _, _ in pairs] == ["p226_000", "p226_001", "p226_002"]
    assert pairs[0][1].dtype == np.int16
    assert pairs[0][1].size == 10_000
    np.testing.assert_allclose(pairs[0][1], 2.0 * pairs[0][2], atol=2)
    assert len(PairWindows(pairs, window=4096, batch_size=2)) == 9


def test_speakers_are_folders_and_noises_are_files(tmp_path):
    for speaker in ("anna", "bert"):
        (tmp_path / "speech" / speaker).mkdir(parents=True)
        for k in range(2):
            write_audio(tmp_path / "speech" / speaker / f"{k}.flac", tone(seed=k), 16000)
    (tmp_path / "noise").mkdir()
    hiss = np.random.default_rng(0).normal(size=4000).clip(-3, 3) / 10
    write_audio(tmp_path / "noise" / "hiss.wav", hiss, 16000)
    write_audio(tmp_path / "noise" / "nothing.wav", np.zeros(100), 16000)
    voices, noises = read_voices(tmp_path / "speech"), read_noises(tmp_path / "noise")
    assert [(v.name, v.samples.size) for v in voices] == [("anna", 18_000), ("bert", 18_000)]
    assert [name for name, _ in noises] == ["hiss"]
    clean, noisy = Mixtures(voices, noises, window=1024, batch_size=2).batch(0)
    assert clean.shape == noisy.shape == (2, 1, 1024)


def test_pairs_that_do_not_agree_are_refused(tmp_path):
    for name, n, rate in (("clean", 9000, 16000), ("noisy", 8000, 16000)):
        (tmp_path / name).mkdir()
        write_audio(tmp_path / name / "a.wav", tone(n), rate)
    with pytest.raises(DataError, match="9000 samples and .* 8000"):
        read_pairs(tmp_path / "clean", tmp_path / "noisy")
    cut = read_pairs(tmp_path / "clean", tmp_path / "noisy", allow_length_mismatch=True)
    assert cut[0][1].size == cut[0][2].size == 8000
    write_audio(tmp_path / "noisy" / "a.wav", tone(18_000), 32000)
    with pytest.raises(DataError, match="16000 Hz and .* 32000 Hz"):
        read_pairs(tmp_path / "clean", tmp_path / "noisy")
    with pytest.raises(DataError, match="holds no recording"):
        read_voices(_empty(tmp_path))


def _empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"
