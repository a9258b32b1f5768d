"""Commands for speech: enhance, stream, score, bench, train, info, export."""

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tyro

from septet.cli import _console

Json = Annotated[bool, tyro.conf.arg(name="json")]
Output = Annotated[str, tyro.conf.arg(aliases=["-o"])]
Folder = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
OptionalOutput = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]


def enhance(
    inputs: tyro.conf.Positional[tuple[str, ...]],
    /,
    *,
    output: Output,
    model: str = "small",
    wet: float = 1.0,
    max_attenuation_db: float | None = None,
    keep_highband: bool = False,
    seed: int | None = None,
    as_json: Json = False,
) -> int:
    """Write recordings without their noise: same length, loudness, rate and channels.

    Parameters
    ----------
    inputs
        Audio files or folders of them; - reads a WAV file from standard input.
    output
        File for one recording, folder for several; - writes a WAV file to standard output.
    model
        Name of a model that comes with the library, or file that `septet speech train` wrote.
    wet
        Share of the enhanced signal; the rest is the input.
    max_attenuation_db
        Never lower the noise by more than this.
    keep_highband
        Pass what lies above 8 kHz at the gain measured below, instead of dropping it.
    seed
        Draw the latent of networks that have one; zero otherwise.
    as_json
        Print JSON.
    """
    denoiser = _denoiser(model)
    options: dict[str, Any] = {
        "wet": wet,
        "max_attenuation_db": max_attenuation_db,
        "keep_highband": keep_highband,
        "seed": seed,
    }
    if output == "-":
        if len(inputs) != 1 or Path(inputs[0]).is_dir():
            raise ValueError("one recording can go to standard output, not several.")
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "out.wav"
            denoiser.enhance_file(_source(inputs[0], folder), target, **options)
            with target.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
        return 0
    jobs = _jobs(inputs, Path(output))
    denoiser.stream(16000, **options)  # a wrong option is one mistake, not one for every file
    rows, failed = [], []
    with tempfile.TemporaryDirectory() as folder:
        for source, target in jobs:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                rows.append(denoiser.enhance_file(_source(source, folder), target, **options))
            except (ValueError, OSError, _septet_error()) as error:
                if len(jobs) == 1:
                    raise
                failed.append(str(error))
                _console.note(f"septet: {error}")
    if as_json:
        _console.result({"written": rows, "failed": failed}, as_json=True)
    else:
        for row in rows:
            print(row.target)
        if len(jobs) > 1:
            _console.note(f"{len(rows)} of {len(jobs)} recordings enhanced.")
    return 3 if failed else 0


def stream(
    *,
    model: str = "small",
    sample_rate: int = 16000,
    channels: int = 1,
    encoding: Literal["s16", "f32"] = "s16",
    wet: float = 1.0,
    max_attenuation_db: float | None = None,
    keep_highband: bool = False,
) -> int:
    """Enhance raw samples from standard input to standard output as they come.

    Samples are little-endian, channels interleaved, as sox, ffmpeg, arecord and aplay pipe them.

    Parameters
    ----------
    model
        Name of a model that comes with the library, or file that `septet speech train` wrote.
    sample_rate
        In Hz.
    channels
        Number of channels.
    encoding
        16-bit integers or 32-bit floats.
    wet
        Share of the enhanced signal.
    max_attenuation_db
        Never lower the noise by more than this.
    keep_highband
        Pass what lies above 8 kHz.
    """
    import numpy as np

    from septet.speech._integers import to_integers

    live = _denoiser(model).stream(
        sample_rate,
        n_channels=channels,
        wet=wet,
        max_attenuation_db=max_attenuation_db,
        keep_highband=keep_highband,
    )
    _console.note(f"latency: {live.latency_samples / sample_rate:.3f} s")
    dtype, scale = (np.dtype("<i2"), 32768.0) if encoding == "s16" else (np.dtype("<f4"), 1.0)
    size, rest, limited = dtype.itemsize * channels, b"", 0

    def send(samples: Any) -> int:
        count, out = 0, samples.T
        if encoding == "s16":
            out, count = to_integers(out, scale, 0, dtype)
        sys.stdout.buffer.write(np.ascontiguousarray(out, dtype).tobytes())
        sys.stdout.buffer.flush()
        return count

    given = cast("io.BufferedReader", sys.stdin.buffer)  # it gives what is there, without waiting
    while piece := given.read1(1 << 16):
        rest += piece
        whole = len(rest) - len(rest) % size
        samples = np.frombuffer(rest[:whole], dtype).astype(np.float64) / scale
        rest = rest[whole:]
        limited += send(live.process(samples.reshape(-1, channels).T))
    limited += send(live.flush())
    if limited:
        _console.note(f"{limited} samples were limited to full scale.")
    if rest:
        raise ValueError(f"the input ended inside a frame: {len(rest)} of {size} bytes.")
    return 0


def score(
    clean: tyro.conf.Positional[Path],
    enhanced: tyro.conf.Positional[Path],
    /,
    *,
    against: Path | None = None,
    output: OptionalOutput = None,
    allow_length_mismatch: bool = False,
    align: bool = False,
    workers: int = 1,
    seed: int = 0,
    as_json: Json = False,
) -> int:
    """Score ENHANCED recordings beside their CLEAN twins of the same names.

    Parameters
    ----------
    clean
        Folder or file.
    enhanced
        Folder or file.
    against
        Another system's folder: differences to it with paired intervals.
    output
        Write one line a recording here, as CSV.
    allow_length_mismatch
        Cut the longer of a pair instead of refusing it.
    align
        Take out delays of up to 60 ms before scoring.
    workers
        Processes.
    seed
        Of the bootstrap.
    as_json
        Print JSON.
    """
    from septet.speech import metrics

    options: dict[str, Any] = {
        "allow_length_mismatch": allow_length_mismatch,
        "align": align,
        "workers": workers,
    }
    found = metrics.score_pairs(clean, enhanced, **options)
    if output is not None:
        found.to_csv(output)
    rows = found.summary(seed=seed)
    if against is not None:
        other = metrics.score_pairs(clean, against, **options)
        for row, apart in zip(rows, found.minus(other, seed=seed), strict=True):
            row |= {f"difference {key}": apart[key] for key in ("mean", "low", "high")}
    remarks = {n: r for n, r in zip(found.names, found.remarks, strict=True) if r}
    if as_json:
        _console.result({"summary": rows, "remarks": remarks}, as_json=True)
        return 0
    _console.table(rows)
    for name, remark in list(remarks.items())[:10]:
        _console.note(f"{name}: {remark}" + (", taken out" if align and "by" in remark else ""))
    if len(remarks) > 10:
        _console.note(f"... and {len(remarks) - 10} more")
    return 0


def bench(
    folder: tyro.conf.Positional[Path | None] = None,
    /,
    *,
    peers: str = "auto",
    model: str | None = None,
    n_test: int = 42,
    as_json: Json = False,
) -> int:
    """Run every installed enhancer and ours on the same recordings: one table.

    Parameters
    ----------
    folder
        Folder with the folders clean and noisy; the held-out set packaged-16k by default.
    peers
        auto for every installed one, none, or names such as wiener+rnnoise.
    model
        File that `septet speech train` wrote, instead of the model that comes with the library.
    n_test
        Recordings of packaged-16k.
    as_json
        Print JSON.
    """
    from septet import speech

    pairs = (
        speech.packaged_16k(n_test=n_test, train=False).test
        if folder is None
        else speech.pairs_from_folder(folder)
    )
    with _console.progress("bench") as say:
        table, _ = speech.arena(
            pairs,
            denoiser=None if model is None else _denoiser(model),
            peers=speech.installed_peers(peers),
            say=say,
        )
    _console.table(table, as_json=as_json)
    return 0


def train(
    *,
    output: Folder,
    recipe: str = "small",
    network: str | None = None,
    width: float = 1.0,
    pairs: tuple[Path, Path] | None = None,
    speech: Path | None = None,
    noise: Path | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    begin_with: Path | None = None,
    seed: int | None = None,
    device: str = "cpu",
    fresh: bool = False,
    as_json: Json = False,
) -> int:
    """Train a network; the same command goes on where it stopped, bit for bit.

    Data are --pairs CLEAN NOISY (as VoiceBank-DEMAND has them), --speech with --noise mixed on the
    fly, or else the set packaged-16k. Several processes: torchrun -m septet.cli speech train ...

    Parameters
    ----------
    output
        Folder for checkpoints, history and, in the end, model.safetensors.
    recipe
        small, or paper for the published settings.
    network
        Another member of the family: segan, segan+sn, sasegan-1 to sasegan-11, sasegan-all,
        isegan-2, dsegan-2 and so on.
    width
        Factor of that member's channels.
    pairs
        Folders of clean and noisy recordings of the same names.
    speech
        Folder of clean speech, a folder a speaker.
    noise
        Folder of noises.
    steps
        Iterations instead of the recipe's own.
    batch_size
        Windows per batch instead of the recipe's own.
    lr
        Learning rate instead of the recipe's own.
    begin_with
        Begin with the weights of this file, which holds the same network.
    seed
        Of everything that is drawn, instead of the recipe's own.
    device
        Where, such as cpu or cuda.
    fresh
        Start over instead of going on.
    as_json
        Print JSON.
    """
    from septet.cli._speech_training import run

    facts = run(
        output,
        recipe=recipe,
        network=network,
        width=width,
        pairs=pairs,
        speech_folder=speech,
        noise_folder=noise,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        begin_with=begin_with,
        seed=seed,
        device=device,
        fresh=fresh,
    )
    if facts:
        _console.result(facts, as_json=as_json)
    return 0


def info(model: tyro.conf.Positional[str] = "small", /, *, as_json: Json = False) -> int:
    """Tell what a MODEL is, how large, and how it was trained.

    Parameters
    ----------
    model
        Name of a model that comes with the library, or file that `septet speech train` wrote.
    as_json
        Print JSON.
    """
    denoiser = _denoiser(model)
    count = sum(p.numel() for p in denoiser.generator.parameters())
    facts = {"model": model, "parameters": count, "latency (s)": denoiser.latency}
    facts |= denoiser.network.to_dict() | {"notes": denoiser.notes}
    if not as_json:
        facts |= denoiser.notes
        del facts["notes"]
    _console.result(facts, as_json=as_json)
    return 0


def export(
    model: tyro.conf.Positional[str],
    target: tyro.conf.Positional[Path],
    /,
    *,
    as_json: Json = False,
) -> int:
    """Write the network of a MODEL as ONNX graph TARGET, compared with the network itself.

    Parameters
    ----------
    model
        Name of a model that comes with the library, or file that `septet speech train` wrote.
    target
        File to write.
    as_json
        Print JSON.
    """
    from septet import speech

    _console.result(speech.export_onnx(_denoiser(model), target), as_json=as_json)
    return 0


COMMANDS = {
    "enhance": enhance,
    "stream": stream,
    "score": score,
    "bench": bench,
    "train": train,
    "info": info,
    "export": export,
}


def _denoiser(model: str) -> Any:
    from septet import speech

    if model in speech.pretrained():
        return speech.Denoiser.from_pretrained(model)
    if not Path(model).is_file():
        known = ", ".join(speech.pretrained())
        raise ValueError(f"model must be {known} or a file; got {model!r}.")
    return speech.Denoiser.load(model)


def _septet_error() -> type[Exception]:
    from septet._core.errors import SeptetError

    return SeptetError


def _source(word: str, folder: str) -> Path:
    """Return the path of a recording; standard input is kept in a file, since WAV needs seeking."""
    if word != "-":
        return Path(word)
    path = Path(folder) / "standard-input"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _jobs(inputs: tuple[str, ...], output: Path) -> list[tuple[str, Path]]:
    """Pair every recording with its target."""
    from septet.speech.metrics._pairs import audio_files

    if len(inputs) == 1 and not Path(inputs[0]).is_dir() and not output.is_dir():
        return [(inputs[0], output)]
    jobs: list[tuple[str, Path]] = []
    for word in inputs:
        root = Path(word)
        if not root.is_dir():
            jobs.append((word, output / ("standard-input.wav" if word == "-" else root.name)))
            continue
        inside = output.resolve()
        found = [p for p in audio_files(root) if not p.resolve().is_relative_to(inside)]
        if not found:
            raise ValueError(f"{root} holds no recording.")
        jobs += [(str(path), output / path.relative_to(root)) for path in found]
    targets = [target for _, target in jobs]
    if twice := next((t for t in targets if targets.count(t) > 1), None):
        raise ValueError(f"two recordings would be written to {twice}.")
    return jobs
