"""Environmental sounds: ESC-50, ESC-10 and UrbanSound8K."""

from septet._core.errors import DataError
from septet._core.files import PathLike
from septet.audio.datasets._common import Manifest, assemble, existing, first_of, table_rows


def read_esc50(folder: PathLike, *, only_esc10: bool = False) -> Manifest:
    """Read ESC-50 (2 000 clips of 5 s, 50 classes, 5 folds) from its unpacked archive.

    Parameters
    ----------
    folder : path-like
        Holds ``meta/esc50.csv`` and ``audio/``.
    only_esc10 : bool, default False
        Whether to keep the ten classes of ESC-10 alone.

    Returns
    -------
    Manifest
        Grouped by source recording; :meth:`Manifest.splits` gives the five official folds, the
        fold after the test fold being the validation fold.

    Raises
    ------
    DataError
        If files or columns are missing.

    References
    ----------
    K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015.
    """
    root = existing(folder)
    table = first_of(root, "meta/esc50.csv", "esc50.csv", what="ESC-50 table")
    audio = first_of(root, "audio", "audio/44100", what="folder of ESC-50 clips")
    rows = table_rows(table, required=("filename", "fold", "category", "esc10", "src_file"))
    entries = [
        (audio / row["filename"], row["category"], row["src_file"], row["fold"])
        for row in rows
        if not only_esc10 or row["esc10"].lower() == "true"
    ]
    name = "ESC-10" if only_esc10 else "ESC-50"
    if not entries:
        raise DataError(f"{table} marks no clip of {name}.")
    return assemble(name, entries, sample_rate=44100, seconds=5.0)


def read_urbansound8k(folder: PathLike) -> Manifest:
    """Read UrbanSound8K (8 732 clips of 4 s at most, 10 classes, 10 folds).

    Parameters
    ----------
    folder : path-like
        Holds ``metadata/UrbanSound8K.csv`` and ``audio/fold1`` to ``audio/fold10``.

    Returns
    -------
    Manifest
        Grouped by the recording that a clip was cut from, with the ten official folds.

    Raises
    ------
    DataError
        If files or columns are missing.

    References
    ----------
    J. Salamon, C. Jacoby, J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM
    Multimedia 2014.
    """
    root = existing(folder)
    table = first_of(
        root, "metadata/UrbanSound8K.csv", "UrbanSound8K.csv", what="UrbanSound8K table"
    )
    audio = first_of(root, "audio", "fold1/..", what="folder of UrbanSound8K clips")
    rows = table_rows(table, required=("slice_file_name", "fsID", "fold", "class"))
    entries = [
        (
            audio / f"fold{row['fold']}" / row["slice_file_name"],
            row["class"],
            row["fsID"],
            row["fold"],
        )
        for row in rows
    ]
    return assemble("UrbanSound8K", entries, sample_rate=44100, seconds=4.0)
