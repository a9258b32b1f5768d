"""The fixed Fourier basis: an exact inverse, and a mask that changes nothing where it is open."""

import numpy as np
import pytest
import torch

from septet.speech import Denoiser, NetworkConfig
from septet.speech._spectral import BANDS, FRAME, HOP, Bands, FourierBasis


@pytest.mark.parametrize("n", [512, 1024, 16384])
def test_synthesis_undoes_analysis(n):
    basis = FourierBasis()
    x = torch.randn(3, 1, n)
    spectra = basis.analysis(x)
    assert spectra.shape == (3, 2, FRAME // 2 + 1, n // HOP)
    torch.testing.assert_close(basis.synthesis(spectra), x, atol=1e-5, rtol=0)


def test_analysis_is_the_windowed_fourier_transform():
    x = torch.randn(1, 1, 2048)
    found = FourierBasis().analysis(x)[0, :, :, 5].numpy()
    start = 5 * HOP - (FRAME - HOP) // 2
    piece = x[0, 0, start : start + FRAME].numpy() * np.hanning(FRAME + 1)[:-1] ** 0.5
    wanted = np.fft.rfft(piece) / FRAME**0.5
    np.testing.assert_allclose(found[0] + 1j * found[1], wanted, atol=1e-5)


def test_gains_of_bands_are_interpolated_between_their_centres():
    bands = Bands()
    place = np.arcsinh(np.arange(257) / 48) / np.arcsinh(256 / 48) * (BANDS - 1)
    gains = np.random.default_rng(0).uniform(size=BANDS)
    found = bands.gains(torch.tensor(gains, dtype=torch.float32)[None, :, None])
    np.testing.assert_allclose(
        found[0, :, 0].numpy(), np.interp(place, np.arange(BANDS), gains), atol=1e-5
    )


def test_features_are_the_height_above_the_floor_and_the_floor():
    """Eight frames of one power, two of them a hundred times stronger."""
    spectra = torch.ones(1, 2, 257, 8) / 2**0.5
    spectra[..., 3:5] *= 10
    above, floor = Bands().features(spectra).unflatten(1, (2, BANDS)).unbind(1)
    torch.testing.assert_close(floor, torch.ones_like(floor), atol=1e-4, rtol=0)
    wanted = torch.tensor([0.0, 0, 0, 1, 1, 0, 0, 0])  # 20 dB are one unit
    torch.testing.assert_close(above, wanted.expand_as(above), atol=1e-4, rtol=0)


def test_the_height_above_the_floor_does_not_know_the_colour_of_the_noise():
    bands = Bands()
    spectra = torch.randn(1, 2, 257, 32)
    colour = torch.linspace(0, 3, 257).exp()[:, None]
    plain, coloured = (bands.features(x)[:, :BANDS] for x in (spectra, colour * spectra))
    torch.testing.assert_close(plain, coloured, atol=0.1, rtol=0)


def masking(**options):
    return NetworkConfig(
        attention=(2,), channels=(8, 8), output="mask", kernel=5, spectral_norm=False,
        latent="none", initialisation="kaiming", window=4096, **options,
    )  # fmt: skip


def test_an_open_mask_returns_the_input():
    network = masking()
    net = network.generator(seed=0)
    net.nets[0].up[-1].bias.data.fill_(40.0)
    x = torch.randn(2, 1, 4096)
    torch.testing.assert_close(net(x), x, atol=1e-5, rtol=0)


def test_a_mask_never_raises_the_energy_of_a_frame_and_leaves_silence_silent():
    network = masking()
    net = network.generator(seed=0)
    x = torch.randn(2, 1, 4096)
    assert net(x).square().sum() < x.square().sum()
    assert not net(torch.zeros(1, 1, 4096)).any()
    silent = Denoiser(net, network).enhance(np.zeros(10_000), 16000)
    assert not silent.any()


def test_the_level_of_the_input_does_not_matter():
    net = masking().generator(seed=0)
    x = torch.randn(1, 1, 4096)
    torch.testing.assert_close(net(1000 * x), 1000 * net(x), rtol=1e-4, atol=1e-2)


def test_the_legal_windows_count_in_frames():
    with pytest.raises(ValueError, match="multiple of 2048 samples"):
        NetworkConfig(attention=(2,), channels=(8, 8), output="mask", kernel=5, window=3072)


@pytest.mark.parametrize("kernel", [2, 4, 30])
def test_an_even_kernel_is_refused(kernel):
    with pytest.raises(ValueError, match="kernel must be"):
        NetworkConfig(kernel=kernel).generator(seed=0)
