"""Tab: take the noise out of a recording, hear and see it before and after."""

import tempfile
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from septet._core.pictures import new_figure
from septet.demo._told import told
from septet.signal import read_audio, write_audio
from septet.speech import Denoiser, mix_at_snr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 30.0  # seconds that are drawn; the whole recording is enhanced
_WINDOW = 512  # samples
_FLOOR, _CEILING = -120.0, -40.0  # dB


def made_up_voice(folder: Path) -> str:
    """Write a buzz with syllables in hiss, 2.5 s at 16 kHz, and return its path."""
    rng = np.random.default_rng(3)
    t = np.arange(40_000) / 16_000
    phase = np.cumsum(130 + 40 * np.sin(5 * t)) * 2 * np.pi / 16_000
    voice = np.sum([np.sin(k * phase) / k for k in range(1, 25)], axis=0) * (np.sin(14 * t) > -0.2)
    path = folder / "made-up voice.wav"
    write_audio(path, mix_at_snr(0.05 * voice, rng.normal(size=t.size), 8.0), 16_000)
    return str(path)


def enhance(
    folder: Path, source: str | None, wet: float, keep_highband: bool
) -> tuple[str, "Figure"]:
    """Enhance a recording.

    Parameters
    ----------
    folder : Path
        Where the result may be written.
    source : str or None
        Path of the recording.
    wet : float
        Share of the enhanced signal, from 0 to 1.
    keep_highband : bool
        Pass what lies above 8 kHz instead of dropping it.

    Returns
    -------
    path : str
        Of the enhanced recording, as WAV.
    figure : matplotlib.figure.Figure
        Spectrograms before and after.

    Raises
    ------
    ValueError
        If there is no recording.
    DataError
        If it cannot be read.
    """
    if source is None:
        raise ValueError("Choose, record or make up a recording first.")
    target = Path(tempfile.mkdtemp(dir=folder)) / f"{Path(source).stem} enhanced.wav"
    _denoiser().enhance_file(source, target, wet=wet, keep_highband=keep_highband)
    return str(target), spectrograms(Path(source), target)


def spectrograms(before: Path, after: Path) -> "Figure":
    """Draw the power of two recordings over time and frequency, one above the other."""
    figure = new_figure((8, 5))
    for axes, title, path in zip(
        figure.subplots(2, 1, sharex=True, sharey=True),
        ("as it came", "enhanced"),
        (before, after),
        strict=True,
    ):
        heard = read_audio(path, seconds=_SHOWN)
        samples = np.pad(heard.samples, (0, max(0, _WINDOW + 1 - heard.samples.size)))
        axes.specgram(
            samples + 1e-9,
            NFFT=_WINDOW,
            Fs=heard.sample_rate,
            noverlap=3 * _WINDOW // 4,
            vmin=_FLOOR,
            vmax=_CEILING,
        )
        axes.set(title=title, ylabel="Hz")
    axes.set_xlabel("s")
    return figure


@cache
def _denoiser() -> Denoiser:
    return Denoiser.from_pretrained("small")


def tab(folder: Path) -> None:
    """Lay the tab out."""
    import gradio as gr

    gr.Markdown(
        "A recording of speech in noise comes back without the noise: same length, same loudness. "
        "The model is the small one that comes with the library; it is for speech, not for music."
    )
    with gr.Row():
        with gr.Column():
            source = gr.Audio(
                label="Recording",
                sources=["upload", "microphone"],
                type="filepath",
                editable=False,
                buttons=["download"],
            )
            example = gr.Button("Make up a voice in hiss")
            wet = gr.Slider(0, 1, 1, step=0.05, label="Share of the enhanced signal")
            high = gr.Checkbox(label="Pass what lies above 8 kHz", value=True)
            go = gr.Button("Enhance", variant="primary")
        with gr.Column():
            target = gr.Audio(label="Enhanced", interactive=False, buttons=["download"])
            picture = gr.Plot(label="Before and after")
    example.click(partial(made_up_voice, folder), None, source)
    go.click(told(partial(enhance, folder)), [source, wet, high], [target, picture])
