"""Data sets by name, verified by SHA-256, never fetched unless asked for.

`names` lists them, `describe` tells licence, citation and size, `fetch` brings one onto this
machine, `load` reads it.

Examples
--------
>>> from septet import data
>>> digits = data.load("digits")
>>> len(digits), digits.provenance.sha256[:16]
(1797, '09f66e6debdee2cd')
"""

from septet.data._containers import (
    Candidates,
    Files,
    Images,
    Pictures,
    ScoreTables,
    Split,
    Table,
    Text,
)
from septet.data._fetch import fetch
from septet.data._load import load
from septet.data._numbers import Numbers, read_numbers
from septet.data._registry import DataSet, Member, Package, describe, names
from septet.data._store import (
    Provenance,
    available,
    cache_folder,
    digest,
    digests,
    locate,
    verify,
)

__all__ = [
    "Candidates",
    "DataSet",
    "Files",
    "Images",
    "Member",
    "Numbers",
    "Package",
    "Pictures",
    "Provenance",
    "ScoreTables",
    "Split",
    "Table",
    "Text",
    "available",
    "cache_folder",
    "describe",
    "digest",
    "digests",
    "fetch",
    "load",
    "locate",
    "names",
    "read_numbers",
    "verify",
]
