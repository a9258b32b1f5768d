"""The arena: every installed enhancer and ours on the same recordings, in one table."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet._core.errors import DataError
from septet._core.files import PathLike
from septet.signal import read_audio
from septet.speech._denoiser import Denoiser
from septet.speech._packaged import Pair
from septet.speech._peers import Peer
from septet.speech._signal import SAMPLE_RATE
from septet.speech.metrics import MEASURES, Scores, diagnose, scores
from septet.speech.metrics._pairs import _twins, aligned

Signal = NDArray[np.float64]


def arena(
    pairs: Sequence[Pair],
    *,
    denoiser: Denoiser | None = None,
    peers: Sequence[Peer] = (),
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[dict[str, Any]], Mapping[str, Scores]]:
    """Enhance the same recordings with every system and score them.

    Parameters
    ----------
    pairs : sequence of Pair
        Noisy recordings with their clean twins, 16 kHz.
    denoiser : Denoiser, optional
        Ours; by default the model that comes with the library.
    peers : sequence of Peer
        From `installed_peers`.
    say : callable, optional
        Called with a line for every recording.

    Returns
    -------
    table : list of dict
        One row a system: its version, means of the measures, the delay that was taken out
        (median, ms), and CPU seconds per second of audio on one thread, after a warm-up.
    scores : mapping from name to Scores
        The figures of every recording.

    Raises
    ------
    ValueError
        If there is no pair.

    Notes
    -----
    Systems take turns on every recording, so that whatever else the machine does disturbs all
    alike. A delay of up to 60 ms is taken out before scoring.
    """
    if not pairs:
        raise ValueError("pairs must hold one recording at least.")
    ours = Denoiser.from_pretrained() if denoiser is None else denoiser
    systems: dict[str, Callable[[Signal], Signal]] = {"noisy": lambda x: x}
    systems |= {"septet small" if denoiser is None else "septet": _enhanced_by(ours)}
    versions = {"noisy": "–", next(iter(systems.keys() - {"noisy"})): "septet"}
    for peer in peers:
        systems[peer.name] = peer.make()
        versions[peer.name] = peer.version or "–"
    for run in systems.values():  # libraries load and tune themselves on their first call
        run(pairs[0].noisy)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in systems}
    spent = dict.fromkeys(systems, 0.0)
    lags: dict[str, list[int]] = {name: [] for name in systems}
    for i, pair in enumerate(pairs):
        say(f"recording {i + 1} of {len(pairs)}")
        for name, run in systems.items():
            start = time.process_time()
            output = np.asarray(run(pair.noisy), dtype=np.float64)
            spent[name] += time.process_time() - start
            lags[name].append(diagnose(pair.clean, output).shift)
            rows[name].append(scores(pair.clean, aligned(pair.clean, output)))
    seconds = sum(pair.clean.size for pair in pairs) / SAMPLE_RATE
    names = tuple(pair.name for pair in pairs)
    found = {name: Scores(names, tuple(rows[name]), tuple("" for _ in names)) for name in systems}
    table = [
        {
            "system": name,
            "version": versions[name],
            **{m: float(np.nanmean(found[name].column(m))) for m in MEASURES},
            "delay (ms)": 1000 * float(np.median(lags[name])) / SAMPLE_RATE,
            "CPU seconds per second": spent[name] / seconds if name != "noisy" else None,
            "n": len(pairs),
        }
        for name in systems
    ]
    return table, found


def pairs_from_folder(folder: PathLike) -> list[Pair]:
    """Read pairs from the folders ``clean`` and ``noisy`` in `folder`, converted to 16 kHz.

    Raises
    ------
    DataError
        If a recording has no twin or another length than it.
    """
    root = Path(folder)
    pairs = []
    for name, clean, noisy in _twins(root / "clean", root / "noisy"):
        s, n = (
            read_audio(path, sample_rate=SAMPLE_RATE).samples.astype(np.float64)
            for path in (clean, noisy)
        )
        if s.size != n.size:
            raise DataError(f"{clean} has {s.size} samples and {noisy} {n.size} at 16 kHz.")
        pairs.append(Pair(name, name, "", float("nan"), s, n))
    return pairs


def _enhanced_by(denoiser: Denoiser) -> Callable[[Signal], Signal]:
    return lambda x: denoiser.enhance(x, SAMPLE_RATE)
