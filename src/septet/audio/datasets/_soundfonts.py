"""Notes from sound fonts, played as bare samples: no envelope, no filter, no reverberation."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet import data
from septet._core.errors import DataError
from septet._core.extras import needs
from septet._core.files import PathLike

FAMILIES = (
    "piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass",
    "reed", "pipe",
)  # fmt: skip
"""The first ten families of General MIDI, eight programs each."""

NOTES = (36, 43, 48, 53, 58, 62, 67, 72, 77, 84)
"""MIDI numbers of the notes that are played: C2 to C6 in fourths and fifths."""

_KEY_RANGE, _SAMPLE_ID, _INSTRUMENT, _ROOT_KEY, _MODES = 43, 53, 41, 58, 54
_COARSE, _FINE, _SCALE = 51, 52, 56


@dataclass(frozen=True)
class Zone:
    """A recorded sample and the keys that play it.

    Attributes
    ----------
    samples : ndarray of shape (n,), float32
    sample_rate : int
        In Hz.
    low, high : int
        Keys that it serves.
    root : float
        Key at which it sounds as recorded, with its correction in semitones.
    loop : tuple of int or None
        Start and end of the stretch that repeats.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    low: int
    high: int
    root: float
    loop: tuple[int, int] | None


@dataclass(frozen=True)
class NoteSet:
    """Notes of instruments.

    Attributes
    ----------
    samples : ndarray of shape (n_notes, n_samples), float32
    labels, fonts, presets : ndarray of str
        Family, sound font, and font with program of each note.
    """

    samples: NDArray[np.float32]
    labels: NDArray[np.str_]
    fonts: NDArray[np.str_]
    presets: NDArray[np.str_]


def read_instruments(
    *,
    sample_rate: int = 16000,
    seconds: float = 1.0,
    timgm: PathLike | None = None,
    musescore: PathLike | None = None,
    freepats: PathLike | None = None,
) -> NoteSet:
    """Play notes of ten families of instruments from three sound fonts.

    Parameters
    ----------
    sample_rate : int, default 16000
        In Hz.
    seconds : float, default 1.0
        Length of a note.
    timgm, musescore, freepats : path-like, optional
        Folders of the fonts; by default where ``timgm6mb-soundfont``, ``musescore-soundfont`` and
        ``freepats`` of :mod:`septet.data` lie.

    Returns
    -------
    NoteSet

    Raises
    ------
    DataError
        If a package is missing (the message says how to fetch it) or a font is damaged.
    """
    places = {
        "timgm": ("timgm6mb-soundfont", timgm),
        "musescore": ("musescore-soundfont", musescore),
        "freepats": ("freepats", freepats),
    }
    rows: list[NDArray[np.float32]] = []
    marks: list[tuple[str, str, str]] = []
    for font, (name, given) in places.items():
        folder = Path(given) if given is not None else data.load(name).folder
        for program, zones in sorted(_programs(folder).items()):
            if program >= 8 * len(FAMILIES):
                continue
            for note in NOTES:
                played = play(zones, note, sample_rate, seconds)
                if played is not None:
                    rows.append(played)
                    marks.append((FAMILIES[program // 8], font, f"{font} {program}"))
    labels, fonts, presets = (np.array(column) for column in zip(*marks, strict=True))
    return NoteSet(np.stack(rows), labels, fonts, presets)


def play(
    zones: list[Zone], note: int, sample_rate: int, seconds: float
) -> NDArray[np.float32] | None:
    """Return a note as the nearest sample at another speed, or None if no zone serves the key.

    The stretch that loops repeats; the last 50 ms fade out. A sample that ends before a quarter of
    the length counts as not there.
    """
    fitting = [zone for zone in zones if zone.low <= note <= zone.high and zone.samples.size > 8]
    if not fitting:
        return None
    zone = min(fitting, key=lambda z: abs(z.root - note))
    step = 2 ** ((note - zone.root) / 12) * zone.sample_rate / sample_rate
    length = round(seconds * sample_rate)
    times = np.arange(length) * step
    table = zone.samples if step <= 1 else _smoothed(zone.samples, step)
    if zone.loop is not None:
        start, end = zone.loop
        after = times >= end
        times[after] = start + (times[after] - start) % (end - start)
        table = np.append(table[:end], table[start])
    sounding = times < table.size - 1
    if sounding.mean() < 0.25:
        return None
    played = np.where(sounding, np.interp(times, np.arange(table.size), table), 0.0)
    fade = min(length, round(0.05 * sample_rate))
    played[length - fade :] *= np.linspace(1, 0, fade)
    peak = np.abs(played).max()
    return (played / peak).astype(np.float32) if peak > 1e-4 else None


def _smoothed(samples: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """Remove what would alias when every `step`-th sample is taken."""
    from scipy.signal import firwin

    kernel = firwin(63, min(0.99, 0.9 / step)).astype(np.float32)
    return np.convolve(samples, kernel, mode="same").astype(np.float32)


def _programs(folder: Path) -> dict[int, list[Zone]]:
    """Return the zones of every program of the font in a folder."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".sf2", ".sf3"):
            return read_soundfont(path)
    patches = sorted(folder.rglob("Tone_000/*.pat"))
    if not patches:
        raise DataError(f"{folder} holds no sound font.")
    return {int(path.name[:3]): read_patch(path) for path in patches}


def read_soundfont(path: PathLike) -> dict[int, list[Zone]]:
    """Read the zones of every program of bank 0 of an SF2 file, or SF3 with Vorbis samples.

    Raises
    ------
    DataError
        If the file is no sound font.
    """
    chunks = _riff_chunks(Path(path).read_bytes())
    try:
        tables = {
            key: list(struct.iter_unpack(layout, chunks[key]))
            for key, layout in (
                ("phdr", "<20sHHHIII"),
                ("pbag", "<HH"),
                ("pgen", "<Hh"),
                ("inst", "<20sH"),
                ("ibag", "<HH"),
                ("igen", "<Hh"),
                ("shdr", "<20sIIIIIBbHH"),
            )
        }
        pool = chunks["smpl"]
    except (KeyError, struct.error) as error:
        raise DataError(f"{path} is no sound font: {error}.") from None
    programs: dict[int, list[Zone]] = {}
    for header, following in zip(tables["phdr"], tables["phdr"][1:], strict=False):
        program, bank, first, stop = header[1], header[2], header[3], following[3]
        if bank != 0:
            continue
        zones: list[Zone] = []
        for generators in _zones(tables["pbag"], tables["pgen"], first, stop):
            if _INSTRUMENT not in generators:
                continue
            outer = _key_range(generators)
            bags = (
                tables["inst"][generators[_INSTRUMENT]],
                tables["inst"][generators[_INSTRUMENT] + 1],
            )
            zones += [
                _zone(inner, outer, tables["shdr"], pool)
                for inner in _zones(tables["ibag"], tables["igen"], bags[0][1], bags[1][1])
                if _SAMPLE_ID in inner
            ]
        programs[program] = zones
    return programs


def _zones(
    bags: list[tuple[Any, ...]], generators: list[tuple[Any, ...]], first: int, stop: int
) -> Iterator[dict[int, int]]:
    """Yield the generators of every zone, over those of the global zone."""
    common: dict[int, int] = {}
    for number in range(first, stop):
        own = dict(generators[bags[number][0] : bags[number + 1][0]])
        if number == first and not {_INSTRUMENT, _SAMPLE_ID} & set(own):
            common = own
            continue
        yield common | own


def _key_range(generators: dict[int, int]) -> tuple[int, int]:
    packed = generators.get(_KEY_RANGE, 127 << 8) & 0xFFFF
    return packed & 0xFF, packed >> 8


def _zone(
    generators: dict[int, int],
    outer: tuple[int, int],
    headers: list[tuple[Any, ...]],
    pool: bytes,
) -> Zone:
    _, start, end, loop, loop_end, rate, root, correction, _, kind = headers[generators[_SAMPLE_ID]]
    inner = _key_range(generators)
    if kind & 0x10:  # a Vorbis stream; loop points count from its start
        soundfile = needs("soundfile", extra="audio", purpose="reading sound fonts")
        samples, _ = soundfile.read(io.BytesIO(pool[start:end]), dtype="float32")
    else:
        whole = np.frombuffer(pool[2 * start : 2 * end], "<i2")
        samples = (whole / 32768).astype(np.float32)
        loop, loop_end = loop - start, loop_end - start
    override = generators.get(_ROOT_KEY, -1)
    tuning = generators.get(_COARSE, 0) + generators.get(_FINE, 0) / 100 + correction / 100
    loops = generators.get(_MODES, 0) & 1 and 0 <= loop < loop_end <= samples.size
    return Zone(
        samples,
        rate,
        max(outer[0], inner[0]),
        min(outer[1], inner[1]),
        (override if override >= 0 else root) - tuning,
        (loop, loop_end) if loops else None,
    )


def _riff_chunks(content: bytes) -> dict[str, bytes]:
    """Return the inner chunks of a RIFF file by name."""
    found: dict[str, bytes] = {}

    def walk(start: int, stop: int) -> None:
        while start + 8 <= stop:
            name = content[start : start + 4].decode("latin-1")
            size = int.from_bytes(content[start + 4 : start + 8], "little")
            begin = start + 8
            if name in ("RIFF", "LIST"):
                walk(begin + 4, min(stop, begin + size))
            else:
                found.setdefault(name, content[begin : begin + size])
            start = begin + size
            if size % 2 and content[start : start + 1] == b"\0":  # some writers leave out padding
                start += 1

    walk(0, len(content))
    return found


def read_patch(path: PathLike) -> list[Zone]:
    """Read the zones of a Gravis patch.

    Raises
    ------
    DataError
        If the file is no patch.
    """
    content = Path(path).read_bytes()
    if content[:12] not in (b"GF1PATCH110\0", b"GF1PATCH100\0"):
        raise DataError(f"{path} is no Gravis patch.")
    count = content[198]
    zones, place = [], 239
    for _ in range(count):
        header = content[place : place + 96]
        size, loop, loop_end = struct.unpack_from("<III", header, 8)
        rate, low, high, root = struct.unpack_from("<HIII", header, 20)
        mode = header[55]
        body = content[place + 96 : place + 96 + size]
        place += 96 + size
        sixteen = bool(mode & 1)
        wave = np.frombuffer(body, "<i2" if sixteen else "i1").astype(np.float32)
        full = 32768.0 if sixteen else 128.0
        if mode & 2:  # unsigned
            wave = np.where(wave < 0, wave + 2 * full, wave) - full
        loop, loop_end = (loop // 2, loop_end // 2) if sixteen else (loop, loop_end)
        loops = bool(mode & 4) and 0 <= loop < loop_end <= wave.size
        zones.append(
            Zone(
                (wave / full).astype(np.float32),
                rate,
                round(_key(low)),
                round(_key(high)),
                _key(root),
                (loop, loop_end) if loops else None,
            )
        )
    return zones


def _key(millihertz: int) -> float:
    """Return the MIDI key of a frequency in thousandths of Hz."""
    return 69 + 12 * np.log2(max(millihertz, 1) / 440_000)
