import numpy as np
import pytest
import torch

from septet.audio import CQT, VIEWS, Gammatone, LogMel, LogScale, ViewStack, Waveform

IMAGES = {
    "mel": lambda **k: LogMel(8000, n_fft=512, hop=160, n_mels=32, **k),
    "gamma": lambda **k: Gammatone(8000, n_fft=512, hop=160, n_bands=16, **k),
    "gamma exact": lambda **k: Gammatone(8000, n_fft=512, hop=160, n_bands=8, mode="exact", **k),
    "cqt": lambda **k: CQT(8000, hop=160, fmin=220, n_bins=36, **k),
}


@pytest.fixture(params=IMAGES)
def make(request):
    return IMAGES[request.param]


@pytest.fixture
def clips(rng):
    return torch.tensor(rng.normal(size=(3, 4000)), dtype=torch.float64)


def test_every_image_has_the_promised_shape(make, clips):
    view = make(dtype=torch.float64)
    assert view(clips).shape == (3, 1, view.n_bands, 26)
    assert view(clips[:, :1]).shape == (3, 1, view.n_bands, 1)
    assert len(view.centres) == view.n_bands
    assert (np.diff(view.centres) > 0).all()


def test_a_shift_by_one_hop_of_padded_audio_shifts_every_image_by_one_frame(make, clips):
    view = make(log=None, dtype=torch.float64)
    padded = torch.nn.functional.pad(clips, (4800, 4800))
    shifted = torch.roll(padded, 160, dims=1)
    torch.testing.assert_close(view(shifted)[..., 1:], view(padded)[..., :-1], atol=1e-9, rtol=1e-9)


def test_a_batch_equals_its_clips(make, clips):
    view = make(dtype=torch.float64)
    alone = torch.cat([view(clip[None]) for clip in clips])
    torch.testing.assert_close(view(clips), alone, atol=1e-9, rtol=0)


def test_the_gradient_with_respect_to_the_clip_is_right(make):
    x = torch.randn(1, 330, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    view = make(log=LogScale(amin=1e-12), dtype=torch.float64)
    x.requires_grad_()
    assert torch.autograd.gradcheck(view, x, fast_mode=True, atol=1e-4)


def test_silence_has_a_finite_image_and_gradient(make):
    silence = torch.zeros(1, 800, dtype=torch.float64, requires_grad=True)
    for power in (1, 2):
        image = make(dtype=torch.float64, power=power)(silence)
        image.sum().backward()
        assert torch.isfinite(image).all()
        assert torch.isfinite(silence.grad).all()


def test_a_graph_compiles_whole_and_gives_the_same(make, clips):
    view = make()
    compiled = torch.compile(view, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(clips.float()), view(clips.float()))


def test_casting_the_module_keeps_complex_constants(make, clips):
    view = make()
    before = view(clips.float())
    torch.testing.assert_close(view.to(torch.float64)(clips).float(), before, atol=1e-4, rtol=1e-4)
    with pytest.raises(TypeError, match=r"cast to torch\.bfloat16: keep it out"):
        view.to(torch.bfloat16)(clips)


def test_clips_of_another_shape_or_dtype_are_refused(make):
    view = make()
    with pytest.raises(ValueError, match=r"pass samples\[None\]"):
        view(torch.zeros(100))
    with pytest.raises(ValueError, match=r"got \(2, 0\)"):
        view(torch.zeros(2, 0))
    with pytest.raises(TypeError, match=r"must be torch\.float32 .*; got torch\.float64"):
        view(torch.zeros(1, 100, dtype=torch.float64))


@pytest.mark.parametrize("norm", ["peak", "rms", None])
def test_the_waveform_has_its_level_and_silence_stays_silence(clips, norm):
    view = Waveform(norm=norm)
    loud = view(clips)
    level = {"peak": loud.abs().amax(-1), "rms": loud.square().mean(-1).sqrt()}.get(norm)
    if norm is None:
        assert torch.equal(loud[:, 0], clips)
    else:
        torch.testing.assert_close(level, torch.ones_like(level))
        torch.testing.assert_close(view(clips / 7), loud)
    assert torch.equal(view(torch.zeros(1, 5)), torch.zeros(1, 1, 5))


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_the_standard_views_exist_at_usual_rates_and_share_their_frames(sample_rate):
    stack = ViewStack.standard(sample_rate)
    views = stack(torch.randn(2, sample_rate, generator=torch.Generator().manual_seed(0)))
    assert list(views) == list(VIEWS)
    assert views["wave"].shape == (2, 1, sample_rate)
    assert len({views[name].shape[-1] for name in ("mel", "gamma", "cqt")}) == 1
    assert 40 <= views["mel"].shape[-1] <= 52


def test_views_that_share_a_transform_equal_the_views_alone(clips, monkeypatch):
    stack = ViewStack.standard(16000, ("mel", "gamma"))
    calls = []
    power = type(stack.views["mel"].stft).power
    monkeypatch.setattr(
        type(stack.views["mel"].stft), "power", lambda *a: calls.append(1) or power(*a)
    )
    views = stack(clips.float())
    assert len(calls) == 1
    for name in ("mel", "gamma"):
        torch.testing.assert_close(views[name], stack.views[name](clips.float()))


def test_normalisation_makes_training_bands_zero_mean_and_unit_spread(clips):
    stack = ViewStack.standard(16000)
    batches = [clips[:1].float(), clips[1:].float() * 3]
    stack.fit(batches)
    together = {
        name: torch.cat([stack(batch)[name] for batch in batches])
        for name in ("mel", "gamma", "cqt")
    }
    for view in together.values():
        bands = view.transpose(0, 2).flatten(1)
        torch.testing.assert_close(bands.mean(1), torch.zeros(len(bands)), atol=1e-4, rtol=0)
        torch.testing.assert_close(bands.std(1), torch.ones(len(bands)), atol=2e-2, rtol=0)
    again = ViewStack.standard(16000)
    again.load_state_dict(stack.state_dict())
    torch.testing.assert_close(again(batches[0]), stack(batches[0]))


def test_a_band_that_never_varies_stays_finite():
    stack = ViewStack.standard(16000).fit([torch.zeros(2, 3200)])
    for view in stack(torch.zeros(2, 3200)).values():
        assert torch.isfinite(view).all()
        assert not view.any()


def test_autocast_leaves_the_front_ends_alone(clips):
    stack = ViewStack.standard(16000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views = stack(clips.float())
    torch.testing.assert_close(views, stack(clips.float()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ViewStack({}), "one front-end at least"),
        (lambda: ViewStack({"a b": Waveform()}), "must be an identifier"),
        (lambda: ViewStack.standard(16000, ("mels",)), "Did you mean 'mel'"),
        (lambda: ViewStack.standard(16000).fit([]), "batches is empty"),
    ],
)
def test_what_is_no_stack_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_exported_program_computes_the_same_without_complex_numbers(clips):
    for make in (IMAGES["mel"], IMAGES["gamma"]):
        view = make()
        program = torch.export.export(view, (clips.float(),))
        assert "fft" not in str(program.graph)
        torch.testing.assert_close(
            program.module()(clips.float()), view(clips.float()), atol=1e-4, rtol=1e-5
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["mel", "gamma"])
def test_an_onnx_graph_gives_the_same_for_any_batch_and_length(name, clips, tmp_path):
    import onnxruntime

    view = IMAGES[name]().eval()
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=512)
    program = torch.onnx.export(
        view, (clips.float(),), dynamo=True, dynamic_shapes=({0: batch, 1: length},)
    )
    program.save(tmp_path / "view.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "view.onnx")
    for n_clips, n_samples in ((3, 4000), (2, 2345)):
        some = clips[:n_clips, :n_samples].float()
        (found,) = session.run(None, {session.get_inputs()[0].name: some.numpy()})
        np.testing.assert_allclose(found, view(some).numpy(), atol=1e-4)


@pytest.mark.parametrize("view", ["mel", "gamma", "cqt", "wave"])
def test_a_single_clip_is_refused_by_every_view_alike(view):
    stack = ViewStack.standard(16000, (view,))
    with pytest.raises(ValueError, match=r"For one clip pass samples\[None\]"):
        stack(torch.zeros(8000))


def test_clips_of_another_dtype_are_refused_where_a_transform_is_shared():
    with pytest.raises(TypeError, match=r"clips must be torch\.float32"):
        ViewStack.standard(16000, ("mel", "gamma"))(torch.zeros(1, 8000, dtype=torch.float64))
