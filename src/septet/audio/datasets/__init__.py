"""Audio data sets from local folders, with their official splits; nothing is downloaded.

Examples
--------
>>> from septet.audio import datasets
>>> sorted(datasets.READERS)  # doctest: +NORMALIZE_WHITESPACE
['csv', 'esc10', 'esc50', 'fma-small', 'folder', 'gtzan', 'speech-commands', 'urbansound8k']
"""

from septet.audio.datasets._common import Manifest, Part, read_csv, read_folder
from septet.audio.datasets._events import read_esc50, read_urbansound8k
from septet.audio.datasets._music import read_fma_small, read_gtzan
from septet.audio.datasets._named import READERS, read_named
from septet.audio.datasets._packages import read_announcers, read_drums
from septet.audio.datasets._scan import Fault, scan, write_faults
from septet.audio.datasets._soundfonts import NoteSet, read_instruments
from septet.audio.datasets._speech import read_speech_commands

__all__ = [
    "READERS",
    "Fault",
    "Manifest",
    "NoteSet",
    "Part",
    "read_announcers",
    "read_csv",
    "read_drums",
    "read_esc50",
    "read_fma_small",
    "read_folder",
    "read_gtzan",
    "read_instruments",
    "read_named",
    "read_speech_commands",
    "read_urbansound8k",
    "scan",
    "write_faults",
]
