"""Views of files as arrays on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from septet._core import checks
from septet._core.errors import DataError
from septet._core.files import PathLike, replacing
from septet.audio._stack import ViewStack
from septet.signal import AUDIO_SUFFIXES, read_audio


@torch.no_grad()
def write_features(
    source: PathLike,
    target: PathLike,
    *,
    view: str = "mel",
    sample_rate: int = 16000,
    progress: Callable[[str], None] | None = None,
) -> dict[str, tuple[int, int]]:
    """Write a view of a file, or of every audio file below a folder, as float32 ``.npy``.

    Parameters
    ----------
    source : path-like
        Audio file or folder.
    target : path-like
        File to write, or folder that gets the same tree.
    view : {"mel", "gamma", "cqt"}, default "mel"
        Of :meth:`ViewStack.standard`, not normalised.
    sample_rate : int, default 16000
        Rate in Hz that files are converted to.
    progress : callable, optional
        Called with the name of each file.

    Returns
    -------
    dict from str to (int, int)
        Bands and frames of each file that was written.

    Raises
    ------
    DataError
        If a file is bad or a folder holds none.
    """
    checks.choice("view", view, ("mel", "gamma", "cqt"))
    source, target = Path(source), Path(target)
    if source.is_dir():
        files = sorted(p for p in source.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
        if not files:
            raise DataError(f"{source} holds no file with the ending of an audio file.")
        pairs = [(p, (target / p.relative_to(source)).with_suffix(".npy")) for p in files]
    else:
        pairs = [(source, target)]
    if len({goal for _, goal in pairs}) < len(pairs):
        raise DataError(f"{source} holds files that differ in their ending only.")
    stack = ViewStack.standard(sample_rate, (view,))
    shapes = {}
    for path, goal in pairs:
        if progress is not None:
            progress(str(path))
        samples = read_audio(path, sample_rate=sample_rate).samples
        image = stack.raw(torch.from_numpy(samples)[None])[view][0, 0].numpy()
        goal.parent.mkdir(parents=True, exist_ok=True)
        with replacing(goal) as file:
            np.save(file, image)
        shapes[str(goal)] = (image.shape[0], image.shape[1])
    return shapes
