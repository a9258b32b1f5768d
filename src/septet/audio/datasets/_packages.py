"""Tasks from recordings that Linux packages hold, read through :mod:`septet.data`."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from septet import data
from septet._core.errors import DataError
from septet._core.files import PathLike
from septet.audio.datasets._common import Manifest, existing
from septet.signal import AUDIO_SUFFIXES, audio_info

ANNOUNCERS = {
    "en": "Allison Smith",
    "es": "Allison Smith",
    "fr": "June Wallack",
    "it": "Carlo Flora",
    "ru": "announcer of ivrvoice.ru",
}
"""Who speaks which language in the packages: four people, five languages."""

_NO_SPEECH = re.compile(r"(^|/)(silence/|beep|beeperr|ascending-2tone|descending-2tone|.*-2tone)")

# The first rule that fits an instrument's name decides; None leaves it out as none of the seven.
_DRUMS: tuple[tuple[str, str | None], ...] = (
    (r"roll|click|stick|\brim\b|whistle|cow ?bell|bell (hit|mute)|zap|\bfx\b|triangle", None),
    (r"tambourine|clap|conga|bongo|cajon|maraca|snap|djembe|tabla|agogo|clave|block", "hand"),
    (r"sangban|dununba|kenkeni|shake", "hand"),
    (r"\b(open|opened|op|semiopen|semi-open|ohh|swish)\b.*\b(hat|hh|hi-hat)\b", "open hat"),
    (r"\b(hat|hh|hi-hat|hi hat)\b.*\b(open|opened|op|semiopen|semi-open|swish|free)\b", "open hat"),
    (r"\bs?ohh\b|cymbal (open)", "open hat"),
    (r"\b(closed|cl|pedal|foot|chh)\b.*\b(hat|hh|hi-hat)\b", "closed hat"),
    (r"\b(hat|hh|hi-hat|hi hat)\b.*\b(closed|cl|pedal|foot|choke)\b|\bchh\b", "closed hat"),
    (r"cymbal (closed|pedal)", "closed hat"),
    (r"\b(hat|hh|hi-hat)\b", None),
    (r"crash|ride|splash|china|cymbal|paiste bell|\bcup\b", "cymbal"),
    (r"kick|bass ?drum|^bd\b|^drum bass", "kick"),
    (r"snare|^sn\b", "snare"),
    (r"\btom|tom\b", "tom"),
)
_ADDRESS = {"http", "https", "www", "com"}  # an author with and without a home page is one author
DRUM_CLASSES = ("closed hat", "cymbal", "hand", "kick", "open hat", "snare", "tom")


def drum_class(name: str) -> str | None:
    """Return the class of a drum from the name of its instrument, or None if it is none of seven.

    Examples
    --------
    >>> [drum_class(name) for name in ("Hi Hat Opened", "PearlTom2", "Side Stick", "Ride Bell")]
    ['open hat', 'tom', None, 'cymbal']
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|[_\s]+", " ", name).lower().strip()
    for pattern, label in _DRUMS:
        if re.search(pattern, words):
            return label
    return None


def read_drums(hydrogen: PathLike | None = None, sonic_pi: PathLike | None = None) -> Manifest:
    """Read single strokes of seven kinds of drum from the kits of two packages.

    Parameters
    ----------
    hydrogen, sonic_pi : path-like, optional
        Folders of the drum kits and of the samples; by default where ``hydrogen-drumkits`` and
        ``sonic-pi-samples`` of :mod:`septet.data` lie.

    Returns
    -------
    Manifest
        Grouped by the author of a kit: kits of one author share recordings, and the velocity layers
        of a drum are near copies. Classes come from the instruments' names; files that no name
        claims, or two different ones do, and second copies of a file are left out.

    Raises
    ------
    DataError
        If a package is missing; the message says how to fetch it.
    """
    kits = _folder("hydrogen-drumkits", hydrogen)
    samples = _folder("sonic-pi-samples", sonic_pi)
    entries: list[tuple[Path, str, str]] = []
    for description in sorted(kits.glob("*/drumkit.xml")):
        author, named = _kit(description)
        entries += [(path, label, author) for path, label in sorted(named.items())]
    for path in sorted(samples.glob("*.flac")):
        if path.stem.startswith(("bd_", "drum_", "elec_", "sn_", "tabla_")):
            label = drum_class(path.stem)
            if label is not None:
                entries.append((path, label, "sonic-pi"))
    return _manifest("drums", entries, sample_rate=22050, seconds=1.0)


def read_announcers(folders: dict[str, PathLike] | None = None) -> Manifest:
    """Read telephone announcements by four people in five languages.

    Parameters
    ----------
    folders : dict from str to path-like, optional
        Folder of each language; by default where ``asterisk-en-wav`` and its like of
        :mod:`septet.data` lie.

    Returns
    -------
    Manifest
        Labelled by announcer and grouped by the prompt: what is said, which has the same name in
        every language. English and Spanish are one woman's: her two readings of a prompt stay on
        one side of a split. Announcers differ by voice, language and recording alike. Tones,
        silence and second copies are left out.

    Raises
    ------
    DataError
        If a package is missing; the message says how to fetch it.
    """
    folders = folders or {}
    entries = []
    for language, announcer in ANNOUNCERS.items():
        root = _folder(f"asterisk-{language}-wav", folders.get(language))
        for path in sorted(root.rglob("*.wav")):
            prompt = path.relative_to(root).with_suffix("").as_posix()
            if not _NO_SPEECH.search(prompt):
                entries.append((path, announcer, prompt))
    return _manifest("announcers", entries, sample_rate=8000, seconds=1.0)


def _folder(name: str, given: PathLike | None) -> Path:
    return existing(given) if given is not None else data.load(name).folder


def _kit(description: Path) -> tuple[str, dict[Path, str]]:
    """Return a kit's author and the class of each of its files that has just one."""
    try:
        root = ElementTree.fromstring(description.read_bytes())  # noqa: S314 - verified by hash
    except ElementTree.ParseError as error:
        raise DataError(f"{description} is no XML: {error}.") from None
    for element in root.iter():  # some kits name a schema, some do not
        element.tag = element.tag.rpartition("}")[2]
    author = (root.findtext("author") or description.parent.name).lower().partition("<")[0]
    words = re.findall(r"[a-z]+", author.replace("emillo.net", "emillo"))
    named: dict[Path, set[str | None]] = {}
    for instrument in root.iter("instrument"):
        label = drum_class(instrument.findtext("name") or "")
        for tag in instrument.iter("filename"):
            path = description.parent / (tag.text or "")
            if path.is_file() and path.suffix.lower() in AUDIO_SUFFIXES:
                named.setdefault(path, set()).add(label)
    sure = {path: next(iter(labels)) for path, labels in named.items() if len(labels) == 1}
    labels = {path: label for path, label in sure.items() if label is not None}
    return " ".join(word for word in words if word not in _ADDRESS), labels


def _manifest(
    name: str,
    entries: Iterable[tuple[Path, str, str]],
    *,
    sample_rate: int,
    seconds: float,
) -> Manifest:
    """Return the manifest of entries (path, label, group) without second copies and empty files."""
    seen: dict[str, Path] = {}
    kept, faults = [], []
    for path, label, group in entries:
        if audio_info(path).n_samples == 0:
            faults.append((str(path), "holds no samples"))
            continue
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest in seen:
            faults.append((str(path), f"is a second copy of {seen[digest]}"))
            continue
        seen[digest] = path
        kept.append((path, label, group))
    if not kept:
        raise DataError(f"{name}: no file was found.")
    paths, labels, groups = zip(*kept, strict=True)
    return Manifest(
        name, paths, labels, groups, ("",) * len(kept), sample_rate, seconds, tuple(faults)
    )
