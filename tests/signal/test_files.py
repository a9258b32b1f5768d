import numpy as np
import pytest
import soundfile

from septet._core.errors import DataError
from septet.signal import audio_info, read_audio, write_audio

RATE = 8000


@pytest.fixture
def tone():
    return 0.5 * np.sin(2 * np.pi * 440 / RATE * np.arange(RATE))


@pytest.mark.parametrize(
    ("name", "encoding", "error"),
    [
        ("a.wav", "PCM_U8", 1 / 100),
        ("a.wav", "PCM_16", 1 / 30_000),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 1e-7),
        ("a.flac", None, 1 / 30_000),
        ("a.aiff", None, 1 / 30_000),
        ("a.ogg", None, 0.05),
        ("a.mp3", None, 0.05),
    ],
)
def test_a_tone_survives_each_format(tmp_path, tone, name, encoding, error):
    path = tmp_path / "Töne, 音" / name
    path.parent.mkdir()
    write_audio(path, tone, RATE, encoding=encoding)
    read = read_audio(path)
    assert read.sample_rate == RATE
    assert read.samples.dtype == np.float32
    assert np.sqrt(np.mean((read.samples[: tone.size] - tone) ** 2)) < error


def test_mono_is_the_mean_of_the_channels(tmp_path, tone):
    path = tmp_path / "six.wav"
    channels = np.stack([tone * k / 6 for k in range(6)])
    write_audio(path, channels, RATE, encoding="FLOAT")
    np.testing.assert_allclose(read_audio(path).samples, channels.mean(0), atol=1e-7)
    np.testing.assert_allclose(read_audio(path, mono=False).samples, channels, atol=1e-7)


def test_a_part_is_the_same_part_of_the_whole(tmp_path, tone):
    path = tmp_path / "a.wav"
    write_audio(path, tone, RATE)
    whole = read_audio(path).samples
    part = read_audio(path, start=0.25, seconds=0.5)
    np.testing.assert_array_equal(part.samples, whole[2000:6000])
    assert part.seconds == 0.5
    assert read_audio(path, start=0.75, seconds=9).samples.size == 2000


def test_reading_at_another_rate_keeps_the_tone(tmp_path, tone):
    path = tmp_path / "a.wav"
    write_audio(path, tone, RATE, encoding="FLOAT")
    read = read_audio(path, sample_rate=22050)
    assert (read.sample_rate, read.source_rate, read.samples.size) == (22050, RATE, 22050)
    expected = 0.5 * np.sin(2 * np.pi * 440 / 22050 * np.arange(22050))
    np.testing.assert_allclose(read.samples[1000:-1000], expected[1000:-1000], atol=1e-4)


def test_the_header_alone_says_how_long_and_what(tmp_path, tone):
    write_audio(tmp_path / "a.flac", np.stack([tone, tone]), RATE, encoding="PCM_24")
    info = audio_info(tmp_path / "a.flac")
    assert (info.seconds, info.n_channels, info.container) == (1.0, 2, "FLAC")
    assert info.encoding == "PCM_24"


def spoil_missing(path):
    pass


def spoil_empty(path):
    path.touch()


def spoil_folder(path):
    path.mkdir()


def spoil_link(path):
    path.symlink_to(path.with_name("nowhere.wav"))


def spoil_text(path):
    path.write_text("this is no sound")


def spoil_no_samples(path):
    soundfile.write(path, np.zeros(0), RATE)


def spoil_cut(path):
    soundfile.write(path, np.zeros(1000), RATE)
    path.write_bytes(path.read_bytes()[:1000])


def spoil_nan(path):
    samples = np.zeros(1000)
    samples[17] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_missing, "does not exist"),
        (spoil_empty, "0 bytes"),
        (spoil_folder, "is no file"),
        (spoil_link, "link to nowhere"),
        (spoil_text, "cannot be decoded .*b'this is no s'"),
        (spoil_no_samples, "holds no samples"),
        (spoil_cut, "cut short: 956 of 2000 bytes"),
        (spoil_nan, "not finite, the first at index 17"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it_and_its_fault(tmp_path, spoil, message):
    path = tmp_path / "bad.wav"
    spoil(path)
    with pytest.raises(DataError, match=f"bad.wav.*{message}"):
        read_audio(path)


def test_a_flac_that_was_cut_is_an_error(tmp_path, rng):
    path = tmp_path / "bad.flac"
    soundfile.write(path, rng.uniform(-0.5, 0.5, 50_000), RATE)
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(DataError, match=r"bad\.flac"):
        read_audio(path)


def test_reading_beyond_the_end_is_an_error(tmp_path, tone):
    write_audio(tmp_path / "a.wav", tone, RATE)
    with pytest.raises(DataError, match="no samples after 2 s"):
        read_audio(tmp_path / "a.wav", start=2)


@pytest.mark.parametrize(
    ("samples", "encoding", "message"),
    [
        ([0.0, 1.5], None, "reach 1.5"),
        ([0.0, np.inf], None, "finite"),
        (np.zeros((1, 1, 1)), None, "shape"),
        ([0.0], "VORBIS", "cannot hold VORBIS"),
    ],
)
def test_what_no_file_can_hold_is_refused_and_nothing_written(tmp_path, samples, encoding, message):
    with pytest.raises(ValueError, match=message):
        write_audio(tmp_path / "a.wav", samples, RATE, encoding=encoding)
    assert not list(tmp_path.iterdir())


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"FLAC.*WAV"):
        write_audio(tmp_path / "a.txt", [0.0], RATE)


@pytest.mark.parametrize("size", [0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_header_that_was_written_to_a_pipe_promises_nothing(tmp_path, tone, size):
    path = tmp_path / "piped.wav"  # by sox, arecord and ffmpeg
    write_audio(path, tone, RATE)
    content = path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + size.to_bytes(4, "little") + content[at + 4 :])
    assert read_audio(path).samples.size == tone.size


@pytest.mark.parametrize(
    ("name", "container", "encoding"),
    [("a.aif", "AIFF", "PCM_16"), ("a.oga", "OGG", "VORBIS"), ("a.OPUS", "OGG", "OPUS")],
)
def test_other_usual_endings_name_their_formats(tmp_path, tone, name, container, encoding):
    write_audio(tmp_path / name, tone, RATE)
    info = audio_info(tmp_path / name)
    assert (info.container, info.encoding) == (container, encoding)
