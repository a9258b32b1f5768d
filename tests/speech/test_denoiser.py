"""The denoiser: one result however it is fed, exact lengths, and refusals that leave no trace."""

import numpy as np
import pytest
import torch

from septet._core.errors import CheckpointError, DataError, SeptetWarning
from septet.speech import Denoiser, NetworkConfig, SelfAttention1d
from septet.speech._storage import load_generator

CHUNKS = (1, 7, 160, 1000, 48000)


@pytest.fixture(scope="module")
def denoiser():
    """A network with the layers of the small preset, untrained but for gates that let through."""
    config = NetworkConfig(
        attention=(2,),
        channels=(8, 16, 16),
        stride=4,
        output="residual",
        spectral_norm=False,
        latent="none",
        initialisation="kaiming",
        window=4096,
    )
    generator = config.generator(seed=0)
    for module in generator.modules():
        if isinstance(module, SelfAttention1d):
            module.beta.data.fill_(0.5)
    return Denoiser(generator, config)


def noise(n, rate=16000, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_stream_gives_the_file_bit_for_bit_however_it_is_cut(denoiser, chunk):
    audio = noise(9_001 if chunk == 1 else 60_001)
    stream = denoiser.stream(16000)
    parts, lag = [], 0
    for start in range(0, audio.size, chunk):
        parts.append(stream.process(audio[start : start + chunk]))
        lag = max(lag, min(start + chunk, audio.size) - sum(map(len, parts)) if chunk > 1 else 0)
    parts.append(stream.flush())
    assert np.array_equal(np.concatenate(parts), denoiser.enhance(audio, 16000))
    assert lag <= stream.latency_samples
    assert stream.flush().size == 0


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("keep_highband", [False, True])
@pytest.mark.filterwarnings("ignore:what lies above 8 kHz")
def test_other_rates_stream_bit_for_bit_too(denoiser, rate, keep_highband):
    audio = noise(rate)
    stream = denoiser.stream(rate, keep_highband=keep_highband)
    parts, taken = [], 0
    for piece in np.array_split(audio, 37):
        parts.append(stream.process(piece))
        taken += piece.size
        assert taken - sum(map(len, parts)) <= stream.latency_samples
    parts.append(stream.flush())
    whole = denoiser.enhance(audio, rate, keep_highband=keep_highband)
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole.shape == audio.shape


@pytest.mark.parametrize("n", [1, 2, 999, 16384, 16385])
def test_length_and_type_are_kept(denoiser, n):
    assert denoiser.enhance(noise(n), 16000).shape == (n,)
    assert denoiser.enhance(noise(2 * n).reshape(2, n), 16000).shape == (2, n)
    for dtype in (np.int16, np.int32, np.uint8, np.float32):
        assert denoiser.enhance(np.full(n, 9, dtype), 16000).dtype == dtype


def test_channels_are_enhanced_for_themselves(denoiser):
    two = noise(40_000).reshape(2, -1)
    both = denoiser.enhance(two, 16000)
    assert np.array_equal(both[1], denoiser.enhance(two[1], 16000))


def test_the_level_of_a_recording_does_not_matter(denoiser):
    audio = noise(20_000)
    loud = denoiser.enhance(30 * audio, 16000)
    np.testing.assert_allclose(loud, 30 * denoiser.enhance(audio, 16000), atol=1e-4)


def test_silence_stays_silent(denoiser):
    assert 20 * np.log10(np.abs(denoiser.enhance(np.zeros(40_000), 16000)).max() + 1e-12) < -60


def test_wet_and_attenuation_limit_mix_the_input_back(denoiser):
    audio = noise(20_000)
    enhanced = denoiser.enhance(audio, 16000)
    assert np.array_equal(denoiser.enhance(audio, 16000, wet=0), audio)
    half = denoiser.enhance(audio, 16000, wet=0.5)
    np.testing.assert_allclose(half, (audio + enhanced) / 2, atol=1e-12)
    limited = denoiser.enhance(audio, 16000, max_attenuation_db=20)
    np.testing.assert_allclose(limited, 0.9 * enhanced + 0.1 * audio, atol=1e-12)


def test_an_offset_is_removed(denoiser):
    audio = noise(48_000)
    with_offset = denoiser.enhance(audio + 0.5, 16000)[32_000:]
    np.testing.assert_allclose(with_offset, denoiser.enhance(audio, 16000)[32_000:], atol=1e-6)


def test_dropping_the_high_band_is_said(denoiser):
    with pytest.warns(SeptetWarning, match="above 8 kHz"):
        denoiser.enhance(noise(100), 48000)


def test_full_scale_is_kept_with_a_count(denoiser):
    square = np.where(np.arange(20_000) // 40 % 2, 32767, -32768).astype(np.int16)
    noisy = denoiser.enhance(square.astype(np.float64) / 32768, 16000)
    over = np.count_nonzero(np.abs(noisy) > 1)
    if over:
        with pytest.warns(SeptetWarning, match="limited to full scale"):
            assert denoiser.enhance(square, 16000).dtype == np.int16


@pytest.mark.parametrize(
    ("audio", "error", "message"),
    [
        (np.zeros(0), ValueError, "empty"),
        (np.array([0.0, np.nan]), ValueError, r"audio\[1\] is not finite"),
        (np.array([[0.0, np.inf]]), ValueError, r"audio\[0, 1\] is not finite"),
        (np.zeros(3, complex), TypeError, "real numbers"),
        (np.float64(1), ValueError, "shape"),
        (np.zeros((1000, 2)), ValueError, "1000 channels"),
        (["a"], TypeError, "real numbers"),
    ],
)
def test_what_is_no_recording_is_refused(denoiser, audio, error, message):
    with pytest.raises(error, match=message):
        denoiser.enhance(audio, 16000)


def test_a_stream_refuses_without_taking_anything_in(denoiser):
    stream = denoiser.stream(16000)
    assert stream.process(np.zeros(0)).size == 0
    stream.process(noise(100))
    with pytest.raises(ValueError, match="sample 101 of the stream"):
        stream.process([0.0, np.nan])
    with pytest.raises(ValueError, match="runs at 16000 Hz"):
        stream.process(noise(10), sample_rate=8000)
    with pytest.raises(ValueError, match="1 channels"):
        stream.process(np.zeros((2, 10)))
    assert stream.flush().size == 100
    with pytest.raises(ValueError, match="flushed"):
        stream.process(noise(1))


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_every_join_of_an_untouched_signal_is_the_signal(overlap):
    config = NetworkConfig(
        attention=(), channels=(4, 4), output="residual", spectral_norm=False, window=256
    )
    net = config.generator(seed=0)
    net.nets[0].up[-1].weight.data.zero_()  # nothing is taken from the input
    net = Denoiser(net, config, overlap=overlap)
    audio = noise(3000)
    from scipy.signal import lfilter

    steady = lfilter([1.0, -1.0], [1.0, -0.999], audio)
    np.testing.assert_allclose(net.enhance(audio, 16000), steady, atol=1e-5)


def test_a_seed_draws_the_latent_and_zero_is_the_default():
    config = NetworkConfig(attention=(), channels=(4, 4), initialisation="kaiming", window=256)
    net = Denoiser(config.generator(seed=0), config)
    audio = noise(1000)
    first = net.enhance(audio, 16000, seed=1)
    assert np.array_equal(first, net.enhance(audio, 16000, seed=1))
    assert not np.array_equal(first, net.enhance(audio, 16000))


def test_saving_and_loading_keeps_every_sample(denoiser, tmp_path):
    path = tmp_path / "net.safetensors"
    denoiser.save(path)
    audio = noise(20_000)
    again = Denoiser.load(path)
    assert np.array_equal(again.enhance(audio, 16000), denoiser.enhance(audio, 16000))
    with pytest.raises(CheckpointError, match="holds another network") as refused:
        load_generator(path, expected=NetworkConfig())
    for network in (denoiser.network, NetworkConfig()):  # both are told
        assert str(network.to_dict()) in str(refused.value)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="no sound safetensors"):
        Denoiser.load(path)
    with pytest.raises(DataError, match="does not exist"):
        Denoiser.load(tmp_path / "none")


def test_a_pickle_is_refused_and_not_executed(tmp_path):
    path = tmp_path / "net.safetensors"
    torch.save({"nets.0.up.0.bias": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="no sound safetensors"):
        Denoiser.load(path)


def test_unknown_choices_are_refused(denoiser):
    with pytest.raises(ValueError, match="overlap must be"):
        Denoiser(denoiser.generator, denoiser.network, overlap=0.3)


def test_a_network_that_is_tried_out_can_be_trained_on(denoiser):
    config = NetworkConfig(attention=(), channels=(4, 4), initialisation="kaiming", window=256)
    net = config.generator(seed=0).train()
    tried = Denoiser(net, config)
    assert net.training  # spectral normalisation stands still otherwise
    before = tried.enhance(noise(1000), 16000, seed=1)
    with torch.no_grad():
        for value in net.parameters():
            value.zero_()
    np.testing.assert_array_equal(tried.enhance(noise(1000), 16000, seed=1), before)


@pytest.mark.parametrize("dtype", [np.int16, complex, bool])
def test_a_stream_takes_floats_only(denoiser, dtype):
    with pytest.raises(TypeError, match=r"floats, 1\.0 being full scale"):
        denoiser.stream(16000).process(np.ones(10, dtype))
