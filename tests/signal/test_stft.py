import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from septet.signal import STFT, frames, n_frames, overlap_add


@given(
    n=st.integers(1, 400),
    n_fft=st.integers(2, 64),
    hop=st.integers(1, 64),
    cut=st.integers(0, 63),
)
def test_it_equals_the_sum_that_defines_it(n, n_fft, hop, cut):
    hop, window_length = min(hop, n_fft), n_fft - min(cut, n_fft - 1)
    x = np.random.default_rng(0).normal(size=n)
    stft = STFT(n_fft, hop, window_length=window_length, dtype=torch.float64)
    padded = np.pad(x, (n_fft // 2, n_fft))
    starts = range(0, n + 1, hop)
    pieces = np.stack([padded[s : s + n_fft] for s in starts])
    offset = np.arange(n_fft) - (n_fft - window_length) // 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * offset / window_length)
    window[(offset < 0) | (offset >= window_length)] = 0
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(n_fft), np.arange(n_fft // 2 + 1)) / n_fft)
    expected = (pieces * window) @ kernel
    found = stft(torch.tensor(x))
    np.testing.assert_allclose(found, expected, atol=1e-10)
    np.testing.assert_allclose(stft.power(torch.tensor(x)), np.abs(expected) ** 2, atol=1e-9)
    assert len(found) == n_frames(n, hop=hop)


def test_it_equals_torch_on_batches(rng):
    x = torch.tensor(rng.normal(size=(3, 5000)))
    stft = STFT(512, 160, window_length=400, dtype=torch.float64)
    window = torch.hann_window(400, dtype=torch.float64)
    expected = torch.stft(
        x, 512, 160, 400, window, pad_mode="constant", return_complex=True
    ).transpose(1, 2)
    torch.testing.assert_close(stft(x), expected)


def test_frames_that_are_not_centred_lie_inside_the_clip():
    stft = STFT(400, 160, center=False)
    assert stft(torch.zeros(2, 1000)).shape == (2, 4, 201)
    assert n_frames(1000, hop=160, length=400, center=False) == 4


def test_its_gradient_is_right(rng):
    stft = STFT(16, 5, dtype=torch.float64)
    x = torch.tensor(rng.normal(size=(2, 40)), requires_grad=True)
    assert torch.autograd.gradcheck(stft.power, x)


@given(n=st.integers(1, 60), length=st.integers(1, 20), hop=st.integers(1, 25))
def test_adding_frames_up_is_the_transpose_of_cutting_them(n, length, hop):
    rng = np.random.default_rng(1)
    n = max(n, length)
    x = torch.tensor(rng.normal(size=(2, n)))
    cut = frames(x, length=length, hop=hop)
    assert cut.shape[-2] == n_frames(n, hop=hop, length=length, center=False)
    y = torch.tensor(rng.normal(size=cut.shape))
    summed = overlap_add(y, hop=hop)
    torch.testing.assert_close((cut * y).sum(), (x[..., : summed.shape[-1]] * summed).sum())
    np.testing.assert_array_equal(frames(x.numpy(), length=length, hop=hop), cut)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: STFT(512, 513), "hop = 513 leaves gaps"),
        (lambda: STFT(512, 128, window_length=513), "window_length = 513 exceeds"),
        (lambda: STFT(1), "n_fft must be at least 2"),
        (lambda: frames(np.zeros(3), length=4, hop=1), "a frame has 4 samples"),
        (lambda: overlap_add(torch.zeros(0, 4), hop=1), "n_frames"),
        (lambda: n_frames(10, hop=2, center=False), "length is needed"),
    ],
)
def test_impossible_settings_are_refused_by_number(call, message):
    with pytest.raises(ValueError, match=message):
        call()
