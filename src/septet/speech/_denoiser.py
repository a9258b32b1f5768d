"""The `Denoiser`: noisy speech in, clean speech out, as arrays, files or a stream."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from septet._core import checks
from septet._core.errors import SeptetWarning
from septet._core.files import PathLike
from septet.speech._configuration import NetworkConfig
from septet.speech._engine import ChannelEngine
from septet.speech._folding import folded
from septet.speech._integers import to_integers
from septet.speech._networks import SASEGANGenerator
from septet.speech._recordings import FileResult, enhance_recording
from septet.speech._signal import SAMPLE_RATE
from septet.speech._storage import load_generator, save_generator
from septet.speech._stream import Mixing, Stream

_BLOCK = 1 << 16
_SHIPPED = Path(__file__).parent / "pretrained"


class Denoiser:
    """Removes noise from speech: same length, same loudness, any sample rate and channel count.

    Parameters
    ----------
    generator : SASEGANGenerator
        A trained network; a folded copy of it is used.
    network : NetworkConfig
        What it was built from.
    overlap : {0.5, 0.25, 0.0}, default 0.5
        Share of a window that it has in common with the next. Overlapping parts are cross-faded;
        0 joins windows end to end, as the paper's evaluation does.
    normalise : bool, default True
        Bring every window to the level of ordinary speech before the network and back afterwards.
        Networks with ``output="residual"`` do that by themselves.
    device : torch.device or str, default "cpu"
        Where the network runs.

    Raises
    ------
    ValueError
        If `overlap` is another number.

    Notes
    -----
    An offset is removed by a high-pass of 2.5 Hz, since a stream has no mean to subtract. The
    latent of the network is zero: draws of it change a trained network's output by a tenth of a
    percent.

    Examples
    --------
    >>> network = NetworkConfig(attention=(), channels=(8, 8), window=256)
    >>> denoiser = Denoiser(network.generator(seed=0), network)  # untrained
    >>> denoiser.enhance(np.zeros(8000), 8000).shape
    (8000,)
    """

    def __init__(
        self,
        generator: SASEGANGenerator,
        network: NetworkConfig,
        *,
        overlap: float = 0.5,
        normalise: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        if overlap not in (0.5, 0.25, 0.0):
            raise ValueError(f"overlap must be 0.5, 0.25 or 0; got {overlap!r}.")
        plain, self.network = folded(generator, network)
        self.generator = plain.to(device)
        self._with_latent: SASEGANGenerator | None = None
        if network.latent == "normal":  # a copy too: whoever trains the original goes on with it
            self._with_latent = copy.deepcopy(generator).to(device).eval()
        self.overlap = overlap
        self.normalise = bool(normalise)
        self.device = torch.device(device)
        self.notes: dict[str, Any] = {}

    @classmethod
    def from_pretrained(cls, name: str = "small", **options: Any) -> Self:
        """Return a denoiser with weights that come with the library.

        Parameters
        ----------
        name : str, default "small"
            See `pretrained`; its model card says what it was trained on and how well it does.
        **options
            Of the constructor.

        Raises
        ------
        ValueError
            If there is no such model.

        Examples
        --------
        >>> denoiser = Denoiser.from_pretrained("small")
        >>> denoiser.enhance(np.zeros(16000), 16000).shape
        (16000,)
        """
        checks.choice("name", name, pretrained())
        return cls.load(_SHIPPED / f"{name}.safetensors", **options)

    @classmethod
    def load(cls, path: PathLike, **options: Any) -> Self:
        """Return a denoiser with the weights of a file that `save` wrote.

        Raises
        ------
        DataError
            If there is no such file.
        CheckpointError
            If it is damaged or holds something else.
        """
        generator, network, notes = load_generator(path)
        loaded = cls(generator, network, **options)
        loaded.notes = notes
        return loaded

    def save(self, path: PathLike, *, half: bool = False) -> None:
        """Write the network to one safetensors file, in half precision if asked."""
        save_generator(path, self.generator, self.network, half=half, notes=self.notes)

    @property
    def latency(self) -> float:
        """Seconds by which a stream's output lags behind its input at 16 kHz."""
        return self.network.window / SAMPLE_RATE

    def enhance(
        self,
        audio: ArrayLike,
        sample_rate: int,
        *,
        wet: float = 1.0,
        max_attenuation_db: float | None = None,
        keep_highband: bool = False,
        seed: int | None = None,
    ) -> NDArray[Any]:
        """Return the recording without its noise.

        Parameters
        ----------
        audio : array_like of shape (n,) or (channels, n)
            Floats, 1.0 being full scale, or integers, which are taken by their own full scale.
        sample_rate : int
            In Hz. The network works at 16 kHz; everything else is converted there and back.
        wet : float, default 1.0
            Share of the enhanced signal; the rest is the input.
        max_attenuation_db : float, optional
            Never lower the noise by more than this many dB.
        keep_highband : bool, default False
            Pass what lies above 8 kHz, at the gain measured below, instead of dropping it.
        seed : int, optional
            Draw the latent from this seed instead of using zeros, for networks that have one.

        Returns
        -------
        ndarray
            Of the shape of `audio`; float64, or float32 for float32 input. Integers come back in
            their own type, limited to full scale (with a warning that counts the samples).

        Raises
        ------
        TypeError
            If `audio` is complex or not numeric.
        ValueError
            If it is empty, has more than two axes or a sample that is not finite.
        """
        floats, restore = _as_float(audio)
        stream = self.stream(
            sample_rate,
            n_channels=1 if floats.ndim == 1 else floats.shape[0],
            wet=wet,
            max_attenuation_db=max_attenuation_db,
            keep_highband=keep_highband,
            seed=seed,
        )
        grid = floats[None] if floats.ndim == 1 else floats
        parts = [
            stream.process(grid[:, start : start + _BLOCK])
            for start in range(0, grid.shape[1], _BLOCK)
        ]
        output = np.concatenate([*parts, stream.flush()], axis=1)
        return restore(output[0] if floats.ndim == 1 else output)

    def enhance_file(
        self,
        source: PathLike,
        target: PathLike,
        *,
        wet: float = 1.0,
        max_attenuation_db: float | None = None,
        keep_highband: bool = False,
        seed: int | None = None,
    ) -> FileResult:
        """Enhance an audio file into another, which appears whole or not at all.

        Rate, channels, length and, where the target's format has it, the encoding stay the same.
        Memory does not grow with the length.

        Parameters
        ----------
        source, target : path
            Two different files; the target's ending chooses its format.
        wet, max_attenuation_db, keep_highband, seed
            As for `enhance`.

        Raises
        ------
        DataError
            If the source is missing, empty, damaged or cut short, or has a sample that is not
            finite; the message names the file.
        ValueError
            If the target is the source or ends in no known format, or a number is out of range.
        MissingExtraError
            If soundfile is not installed.
        """

        def open_stream(rate: int, channels: int) -> Stream:
            return self.stream(
                rate,
                n_channels=channels,
                wet=wet,
                max_attenuation_db=max_attenuation_db,
                keep_highband=keep_highband,
                seed=seed,
            )

        return enhance_recording(open_stream, source, target)

    def stream(
        self,
        sample_rate: int,
        *,
        n_channels: int = 1,
        wet: float = 1.0,
        max_attenuation_db: float | None = None,
        keep_highband: bool = False,
        seed: int | None = None,
    ) -> Stream:
        """Return a stream; it gives the same samples as `enhance`, bit for bit.

        Parameters
        ----------
        sample_rate : int
            In Hz, of what goes in and comes out.
        n_channels : int, default 1
            Channels, each enhanced for itself.
        wet, max_attenuation_db, keep_highband, seed
            As for `enhance`.

        Raises
        ------
        ValueError
            If a number is out of range.
        """
        wet = checks.number("wet", wet, low=0, high=1)
        dry = 1 - wet
        if max_attenuation_db is not None:
            limit = checks.number("max_attenuation_db", max_attenuation_db, low=0)
            dry = max(dry, 10 ** (-limit / 20))
        fade = int(self.overlap * self.network.window)
        run = self._network(seed)

        def engine() -> ChannelEngine:
            return ChannelEngine(
                run,
                window=self.network.window,
                fade=fade,
                normalise=self.normalise and self.network.output == "tanh",
            )

        rate = checks.integer("sample_rate", sample_rate, low=1000)
        if rate > SAMPLE_RATE and not keep_highband:
            warnings.warn(
                f"what lies above 8 kHz of a recording at {rate} Hz is dropped; keep_highband=True "
                "passes it through.",
                SeptetWarning,
                stacklevel=2,
            )
        return Stream(
            engine,
            sample_rate=rate,
            n_channels=checks.integer("n_channels", n_channels, low=1),
            window=self.network.window,
            mixing=Mixing(dry=dry, keep_highband=keep_highband),
        )

    def _network(self, seed: int | None) -> Callable[[Tensor], Tensor]:
        """Return the function of one window; with a seed every window gets the same latent."""
        if seed is not None:
            checks.integer("seed", seed, low=0)
        if seed is None or self._with_latent is None:
            return lambda window: self.generator(window.to(self.device)).cpu()
        source = torch.Generator(self.device).manual_seed(seed)
        full = self._with_latent
        latents = full.sample_latents(1, self.network.window, source)
        return lambda window: full(window.to(self.device), latents).cpu()


def pretrained() -> tuple[str, ...]:
    """Names of the models that come with the library.

    Examples
    --------
    >>> pretrained()
    ('small',)
    """
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.safetensors")))


def _as_float(audio: ArrayLike) -> tuple[NDArray[np.float64], Any]:
    """Return samples as floats and the function that brings the result into their type."""
    array = np.asarray(audio)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"audio must be real numbers; got {array.dtype}.")
    if array.ndim not in (1, 2):
        raise ValueError(f"audio must be (n,) or (channels, n); got shape {array.shape}.")
    if array.size == 0:
        raise ValueError("audio is empty.")
    if array.ndim == 2 and array.shape[0] > 64:
        raise ValueError(
            f"audio has shape {array.shape}: that would be {array.shape[0]} channels; give "
            "(channels, n)."
        )
    if array.dtype.kind == "f":
        floats = array.astype(np.float64)
        bad = np.argwhere(~np.isfinite(floats))
        if len(bad):
            where = ", ".join(str(i) for i in bad[0])
            raise ValueError(f"audio[{where}] is not finite ({len(bad)} such samples).")
        kind = np.float32 if array.dtype == np.float32 else np.float64
        return floats, lambda output: output.astype(kind)
    info = np.iinfo(array.dtype)
    middle = (int(info.max) + int(info.min) + 1) // 2  # 128 for unsigned bytes, else 0
    scale = float(int(info.max) - middle + 1)

    def restore(output: NDArray[np.float64]) -> NDArray[Any]:
        steps, clipped = to_integers(output, scale, middle, array.dtype)
        if clipped:
            warnings.warn(
                f"{clipped} samples were limited to full scale.", SeptetWarning, stacklevel=3
            )
        return steps

    return (array.astype(np.float64) - middle) / scale, restore
