"""Files: any rate, channels and encoding, exact length, whole or not at all."""

import os

import numpy as np
import pytest
import soundfile

from septet._core.errors import DataError, SeptetWarning
from septet.speech import Denoiser, NetworkConfig


@pytest.fixture(scope="module")
def denoiser():
    config = NetworkConfig(
        attention=(2,), channels=(8, 8), output="mask", kernel=5, spectral_norm=False,
        latent="none", initialisation="kaiming", window=4096,
    )  # fmt: skip
    return Denoiser(config.generator(seed=0), config)


def noise(n, channels=1, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=(n, channels))


@pytest.mark.parametrize(
    ("name", "rate", "channels", "encoding"),
    [
        ("a.wav", 16000, 1, "PCM_16"),
        ("a.wav", 8000, 1, "PCM_U8"),
        ("a.wav", 48000, 6, "PCM_24"),
        ("a.wav", 44100, 2, "PCM_32"),
        ("a.wav", 22050, 1, "FLOAT"),
        ("a.wav", 16000, 2, "DOUBLE"),
        ("a.wav", 8000, 1, "ULAW"),
        ("ä b.flac", 16000, 1, "PCM_16"),
        ("a.flac", 16000, 2, "PCM_24"),
        ("a.aiff", 16000, 1, "PCM_S8"),
        ("a.ogg", 16000, 1, "VORBIS"),
    ],
)
@pytest.mark.filterwarnings("ignore:what lies above 8 kHz")
def test_rate_channels_length_and_encoding_are_kept(
    denoiser, tmp_path, name, rate, channels, encoding
):
    source, target = tmp_path / name, tmp_path / f"clean {name}"
    soundfile.write(source, noise(4566, channels), rate, subtype=encoding)
    result = denoiser.enhance_file(source, target)
    before, after = soundfile.info(source), soundfile.info(target)
    assert (after.samplerate, after.channels, after.subtype) == (rate, channels, encoding)
    assert after.frames == before.frames == result.n_samples == 4566
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_integer_samples_pass_through_untouched_where_nothing_is_changed(denoiser, tmp_path, bits):
    encoding = {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}[bits]
    whole = np.random.default_rng(0).integers(-(2**31), 2**31, size=3000) >> (32 - bits)
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(source, (whole << (32 - bits)).astype(np.int32), 16000, subtype=encoding)
    denoiser.enhance_file(source, target, wet=0)
    read = [soundfile.read(path, dtype="int32")[0] for path in (source, target)]
    np.testing.assert_array_equal(*read)


def test_a_file_gives_the_same_samples_as_an_array(denoiser, tmp_path):
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(source, noise(70_000)[:, 0], 16000, subtype="DOUBLE")
    denoiser.enhance_file(source, target)
    whole = denoiser.enhance(soundfile.read(source)[0], 16000)
    np.testing.assert_array_equal(soundfile.read(target)[0], whole)


def test_what_exceeds_full_scale_is_limited_and_counted(denoiser, tmp_path):
    source, target = tmp_path / "a.wav", tmp_path / "b.flac"
    loud = 4 * noise(3000)[:, 0] * 5
    soundfile.write(source, loud, 16000, subtype="FLOAT")
    over = int(np.count_nonzero((loud.astype(np.float32) < -1) | (loud > 1)))
    with pytest.warns(SeptetWarning, match=f"{over} samples were limited"):
        result = denoiser.enhance_file(source, target, wet=0)
    assert result.clipped == over
    # it is limited, not wrapped round
    peak = soundfile.read(target)[0]
    assert np.sign(peak[np.argmax(np.abs(loud))]) == np.sign(loud[np.argmax(np.abs(loud))])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (b"RIFF\x00\x00", "cannot be decoded"),
        (b"not audio at all, but long enough to be looked at", "cannot be decoded"),
    ],
)
def test_a_file_that_is_no_recording_leaves_no_target(denoiser, tmp_path, content, message):
    source = tmp_path / "a.wav"
    source.write_bytes(content)
    with pytest.raises(DataError, match=message):
        denoiser.enhance_file(source, tmp_path / "b.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_damage_inside_leaves_no_target(denoiser, tmp_path):
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(source, noise(20_000), 16000)
    source.write_bytes(source.read_bytes()[:-1000])
    with pytest.raises(DataError, match="cut short"):
        denoiser.enhance_file(source, target)
    samples = noise(6_000)
    samples[5_000] = np.nan
    soundfile.write(source, samples, 16000, subtype="FLOAT")
    with pytest.raises(DataError, match=r"a\.wav: sample 5000 of the stream is not finite"):
        denoiser.enhance_file(source, target)
    soundfile.write(source, np.zeros((0, 1)), 16000)
    with pytest.raises(DataError, match="no samples"):
        denoiser.enhance_file(source, target)
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_an_old_target_survives_a_failure(denoiser, tmp_path):
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    target.write_bytes(b"old")
    soundfile.write(source, np.full((7_000, 1), np.inf), 16000, subtype="FLOAT")
    with pytest.raises(DataError):
        denoiser.enhance_file(source, target)
    assert target.read_bytes() == b"old"


def test_targets_that_cannot_be_are_refused(denoiser, tmp_path):
    source = tmp_path / "a.wav"
    soundfile.write(source, noise(100), 16000)
    with pytest.raises(ValueError, match="the noisy file itself"):
        denoiser.enhance_file(source, source)
    with pytest.raises(ValueError, match="must end in a format"):
        denoiser.enhance_file(source, tmp_path / "b.docx")
    for folder in (tmp_path / "missing", source):  # one that is not there, one that is a file
        with pytest.raises(OSError, match="b.wav"):
            denoiser.enhance_file(source, folder / "b.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error(denoiser, tmp_path):
    source, locked = tmp_path / "a.wav", tmp_path / "locked"
    soundfile.write(source, noise(100), 16000)
    locked.mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        denoiser.enhance_file(source, locked / "b.wav")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    """One minute against three hours of 8-bit audio, peak memory of a fresh process each."""
    import subprocess
    import sys

    code = (
        "import resource, sys, torch; torch.set_num_threads(1)\n"
        "from septet.speech import Denoiser, NetworkConfig\n"
        "c = NetworkConfig(attention=(), channels=(8, 8), output='mask', kernel=5,\n"
        "                  spectral_norm=False, latent='none')\n"
        "Denoiser(c.generator(seed=0), c).enhance_file(sys.argv[1], sys.argv[1] + '.out.wav')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for minutes in (1, 180):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(
            path, "w", samplerate=16000, channels=1, subtype="PCM_U8", format="WAV"
        ) as file:
            for k in range(minutes):
                file.write(noise(960_000, seed=k % 3))
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] <= 1.05 * peaks[0]


def test_an_opus_file_holds_opus_or_is_refused(denoiser, tmp_path):
    source, target = tmp_path / "a.wav", tmp_path / "b.opus"
    soundfile.write(source, noise(5000), 16000)
    assert (
        denoiser.enhance_file(source, target).encoding == soundfile.info(target).subtype == "OPUS"
    )
    target.unlink()
    soundfile.write(source, noise(5000), 11025)
    with pytest.raises(ValueError, match=r"b\.opus cannot hold 1 channels at 11025 Hz as OPUS"):
        denoiser.enhance_file(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
