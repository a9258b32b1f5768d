"""Readers by name, for the command line."""

from collections.abc import Callable, Mapping
from functools import partial

from septet._core import checks
from septet._core.files import PathLike
from septet.audio.datasets._common import Manifest, read_csv, read_folder
from septet.audio.datasets._events import read_esc50, read_urbansound8k
from septet.audio.datasets._music import read_fma_small, read_gtzan
from septet.audio.datasets._speech import read_speech_commands

READERS: Mapping[str, Callable[[PathLike], Manifest]] = {
    "csv": read_csv,
    "esc10": partial(read_esc50, only_esc10=True),
    "esc50": read_esc50,
    "fma-small": read_fma_small,
    "folder": read_folder,
    "gtzan": read_gtzan,
    "speech-commands": read_speech_commands,
    "urbansound8k": read_urbansound8k,
}
"""Every data set that is read from a folder or table alone."""


def read_named(name: str, place: PathLike) -> Manifest:
    """Read the data set called `name` from a folder (or table, for ``"csv"``).

    Raises
    ------
    DataError
        If files are missing there.
    ValueError
        If there is no such data set.
    """
    checks.choice("data set", name, READERS)
    return READERS[name](place)
