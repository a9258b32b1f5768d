"""Selecting from a file of any length in bounded memory, with the certificate of `pick`.

The file is read twice: once for ids and scores, which go to a scratch folder in the order of the
canonical roster, and once for the rows of those chosen. In between, four kinds of passes over the
scratch files compute what `pick` computes in memory.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet._core.errors import DataError
from septet._core.files import PathLike
from septet.cohort import _engine
from septet.cohort._certificate import (
    FORMAT,
    LISTED,
    Certificate,
    check_commitment,
    fraction_text,
    software,
)
from septet.cohort._cohort import Cohort
from septet.cohort._coins import Coins, seed_text
from septet.cohort._pick import pick
from septet.cohort._read import open_rows, read_frame, write_pieces
from septet.cohort._roster import record_bytes, roster_header
from septet.cohort._scores import LATTICE, Ints, check_scores, check_size, quantise
from septet.cohort._selection import refuse_zero_scores
from septet.cohort._shift import affine, exact_dot
from septet.cohort._tally import Form, Tally, add_bins, count_bins, solve

_ROWS = 1 << 20  # of the file and of the scratch files at a time
_SORTED = 1 << 22  # rows sorted in memory at a time
_ACTIVE = 1 << 22  # undecided rows whose order is sorted in memory at a time
_MOST = 1 << 61  # total weight up to which the compiled draw works
_SMALL = 64 << 20  # bytes up to which a file is simply read


def pick_file(
    source: PathLike,
    target: PathLike | None,
    k: int,
    *,
    score: str,
    id: str | None = None,  # noqa: A002 - the field's word
    objective: str = "linear",
    seed: str | int,
    commit: str | None = None,
    allow_zero_score: bool | None = None,
    reserve: int = 0,
    order: str = "random",
    group: str | None = None,
    in_memory: bool | None = None,
) -> Cohort:
    r"""Choose exactly k rows of a CSV or Parquet file and write them to another.

    The same cohort and certificate as ``pick(read_frame(source), ...)``; beyond 64 MB in chunks, so
    that memory does not grow with the file (scratch space on disk does, by 24 bytes a row).

    Parameters
    ----------
    source : path
        ``.csv`` or ``.parquet`` file with a row per candidate.
    target : path or None
        Where the rows of those chosen go, in their order in the source; nowhere if None. Cells of
        a CSV file are copied as they are written: ``007`` stays ``007``.
    k : int
        Cohort size.
    score, id : str
        Columns, as for `pick`. Ids of a CSV file are taken as text, exactly as written. In chunks,
        text ids must be in ascending order; integers may come in any.
    objective, seed, commit, allow_zero_score
        As for `pick`.
    reserve, order, group
        As for `pick`; only where the file is read whole.
    in_memory : bool, optional
        Read the file whole or in chunks; by its size if missing, whole if one of the three above
        asks for it.

    Returns
    -------
    Cohort
        With `ids`, `rows` and `certificate`; `p` and `frame` only if read whole.

    Raises
    ------
    DataError
        If the file is missing, damaged or of another kind, or text ids are out of order.
    ValueError, TypeError
        As `pick`.
    MissingExtraError
        If pyarrow (extra ``frames``) is not installed.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "all.csv").write_text("id,score\nAda,1\nBen,0.5\nCleo,0\n")
    >>> source, target = folder / "all.csv", folder / "some.csv"
    >>> cohort = pick_file(source, target, 1, id="id", score="score", seed=1)
    >>> cohort.ids, target.read_text().splitlines()[1:]
    (['Ada'], ['"Ada","1"'])
    """
    checks.choice("objective", objective, ("linear", "ratio"))
    seed = seed_text(seed)
    check_commitment(seed, commit)
    source, whole = Path(source), bool(reserve) or order != "random" or group is not None
    if in_memory is None:
        in_memory = whole or not source.exists() or source.stat().st_size <= _SMALL
    options: dict[str, Any] = {"objective": objective, "allow_zero_score": allow_zero_score}
    if in_memory:
        options |= {"reserve": reserve, "order": order, "group": group}
        frame = read_frame(source, text=[name for name in (id, group) if name is not None])
        cohort = pick(frame, k, id=id, score=score, seed=seed, commit=commit, **options)
        if target is not None:
            _chosen_rows(source, target, np.asarray(cohort.rows, dtype=np.int64), None)
        return cohort
    if whole:
        raise ValueError("in_memory must not be False with reserve, order or group.")
    with tempfile.TemporaryDirectory(prefix="septet-") as folder:
        roster = _spool(source, Path(folder), id, score)
        return _pick(roster, source, target, k, seed, commit, **options)


@dataclass(frozen=True)
class _Column:
    """A column of int64 in a scratch file, read a piece at a time.

    Not mapped into memory: pages of a mapped file count as the process's own.
    """

    path: Path
    size: int

    def __getitem__(self, part: slice) -> Ints:
        return np.fromfile(self.path, np.int64, part.stop - part.start, offset=8 * part.start)

    def at(self, places: NDArray[np.intp]) -> Ints:
        """Return the values at ascending places."""
        found = [np.empty(0, np.int64)]
        for part in _slices(self.size):
            first, last = np.searchsorted(places, [part.start, part.stop])
            if last > first:
                found.append(self[part][places[first:last] - part.start])
        return np.concatenate(found)


@dataclass(frozen=True)
class _Roster:
    """The canonical roster on disk: lattice scores, ids and row numbers in canonical order.

    `ids` and `rows` are None where they are the row numbers in order; text ids stay in the source.
    """

    kind: str
    z: _Column
    ids: _Column | None
    rows: _Column | None
    tally: Tally
    names: tuple[Path, str] | None

    def chunks(self) -> Iterator[slice]:
        """Yield consecutive slices of the roster."""
        yield from _slices(self.z.size)


def _slices(n: int) -> Iterator[slice]:
    for start in range(0, n, _ROWS):
        yield slice(start, min(start + _ROWS, n))


def _pick(
    roster: _Roster,
    source: Path,
    target: PathLike | None,
    k: int,
    seed: str,
    commit: str | None,
    *,
    objective: str,
    allow_zero_score: bool | None,
) -> Cohort:
    n = roster.z.size
    size = check_size(k, n)
    bins = roster.tally.bins(size)
    fine = count_bins(np.empty(0, np.int64), bins)
    for part in roster.chunks():
        fine = add_bins(fine, count_bins(roster.z[part], bins))
    form = solve(roster.tally, size, fine, objective)
    if form.offset > 0 and roster.tally.least == 0 and size:
        zeros = sum(int(np.count_nonzero(roster.z[part] == 0)) for part in roster.chunks())
        total = roster.tally.total / LATTICE
        refuse_zero_scores(zeros, n, size, total, allow_zero_score)
    digest = _digest(roster)
    coins = Coins.from_seed(seed, digest)
    places, active, dot = _draw(roster, form, coins)
    rows = places if roster.rows is None else roster.rows.at(places)
    names = _chosen_rows(source, target, np.sort(rows), roster.names)
    if roster.names is not None:
        ids: list[Any] = sorted(names)
    else:
        ids = (places if roster.ids is None else roster.ids.at(places)).tolist()
    fields = {
        "format": FORMAT,
        "software": software(),
        "n": n,
        "k": size,
        "objective": objective,
        "shift": fraction_text(form.shift),
        "scale": fraction_text(form.scale),
        "reserve_shift": None,
        "reserve_scale": None,
        "active": active,
        "utility": fraction_text(Fraction(dot, LATTICE * form.total)),
        "ratio": fraction_text(_ratio(form, roster.tally)),
        "max_violation": "0/1",
        "uniform_utility": fraction_text(Fraction(size * roster.tally.total, LATTICE * n)),
        "top_k_utility": fraction_text(Fraction(roster.tally.largest(size, fine), LATTICE)),
        "roster": {"ids": roster.kind, "groups": False, "sha256": digest.hex()},
        "seed": seed,
        "commitment": commit,
        "order": "random",
        "words": coins.position,
        "selected": ids,
        "reserve": [],
    }
    if n <= LISTED:
        fields |= _listed(roster, form)
    else:
        fields |= {"probabilities": None, "tight_pairs": None}
    return Cohort(ids=ids, certificate=Certificate(fields), rows=np.sort(rows))


def _draw(roster: _Roster, form: Form, coins: Coins) -> tuple[NDArray[np.intp], int, int]:
    """Draw in canonical order; return the places chosen, the active count and the utility's sum.

    The undecided rows meet in ascending order of their words. They are sorted a range of words at
    a time; the words of all rows are simply made again for every range.
    """
    if form.total >= _MOST:
        raise ValueError("more than 2**29 undecided candidates cannot be drawn from a file.")
    certain: list[NDArray[np.intp]] = []
    active, dot = 0, 0
    for part in roster.chunks():
        z = roster.z[part]
        weights = affine(z, form.factor, form.offset, form.total)
        active += int(np.count_nonzero((weights > 0) & (weights < form.total)))
        dot += exact_dot(z, weights)
        certain.append(np.flatnonzero(weights == form.total) + part.start)
    ranges = max(1, -(-active // _ACTIVE))
    order = Coins(coins.key)
    coins.seek(active)
    chosen = certain
    carrier, carried = -1, 0
    for r in range(ranges):
        low, high = (r << 64) // ranges, ((r + 1) << 64) // ranges
        order.seek(0)
        places, weights, words = _in_range(roster, form, order, low, high)
        places = np.concatenate([[carrier], places])
        weights = np.concatenate([[carried], weights])
        by_word = _engine.kernels().order_of(words) + 1  # place 0 is the carrier's
        taken = np.zeros(places.size, dtype=bool)
        state = np.array([0, 0 if carrier >= 0 else -1, carried])
        kernel = _engine.kernels().pivotal
        while state[0] < by_word.size:
            ahead = coins.peek(min(by_word.size - int(state[0]) + 64, _ROWS))
            coins.advance(int(kernel(weights, form.total, by_word, ahead, state, taken)))
        chosen.append(places[taken].astype(np.intp))
        carrier, carried = (int(places[state[1]]), int(state[2])) if state[1] >= 0 else (-1, 0)
    return np.sort(np.concatenate(chosen)), active, dot


def _in_range(
    roster: _Roster, form: Form, order: Coins, low: int, high: int
) -> tuple[Ints, Ints, NDArray[np.uint64]]:
    """Return place, weight and word of the undecided rows with low <= word < high."""
    found: list[tuple[Any, Any, Any]] = []
    for part in roster.chunks():
        weights = affine(roster.z[part], form.factor, form.offset, form.total)
        places = np.flatnonzero((weights > 0) & (weights < form.total))
        words = order.take(places.size)
        kept = (words >= np.uint64(low)) & (words <= np.uint64(high - 1))
        found.append((places[kept] + part.start, weights[places[kept]], words[kept]))
    places, weights, words = (np.concatenate(column) for column in zip(*found, strict=True))
    return places, weights, words


def _digest(roster: _Roster) -> bytes:
    digest = hashlib.sha256(roster_header(roster.kind, groups=False))
    if roster.names is None:
        for part in roster.chunks():
            ids = np.arange(part.start, part.stop) if roster.ids is None else roster.ids[part]
            digest.update(record_bytes(ids, roster.z[part]))
    else:
        path, column = roster.names
        for start, table in open_rows(path, [column], text=[column], rows=_ROWS):
            names = table.column(column).to_pylist()
            digest.update(record_bytes(names, roster.z[slice(start, start + len(names))]))
    return digest.digest()


def _ratio(form: Form, tally: Tally) -> Fraction | None:
    if form.scale is not None:
        return form.scale
    if not tally.most:
        return None
    z = tally.most if form.offset >= 0 else tally.least_positive
    weight = min(max(form.factor * z + form.offset, 0), form.total)
    return Fraction(weight * LATTICE, form.total * z)


def _listed(roster: _Roster, form: Form) -> dict[str, Any]:
    z = roster.z[slice(0, roster.z.size)]
    weights = affine(z, form.factor, form.offset, form.total).tolist()
    steps = np.unique(z).tolist()
    value = {x: min(max(form.factor * x + form.offset, 0), form.total) for x in steps}
    tight = sum((value[b] - value[a]) * LATTICE == (b - a) * form.total for a, b in pairwise(steps))
    return {
        "probabilities": [fraction_text(Fraction(x, form.total)) for x in weights],
        "tight_pairs": tight,
    }


def _chosen_rows(
    source: Path, target: PathLike | None, rows: Ints, names: tuple[Path, str] | None
) -> list[str]:
    """Write the chosen rows and return their text ids, if ids are text."""
    found: list[str] = []
    text = [] if names is None else [names[1]]
    if target is None and names is None:
        return found
    columns = None if target is not None else text
    parts = _parts(source, columns, text, rows, found)
    if target is None:
        for _ in parts:
            pass
    else:
        write_pieces(parts, target)
    return found


def _parts(
    source: Path, columns: list[str] | None, text: list[str], rows: Ints, found: list[str]
) -> Iterator[Any]:
    for start, table in open_rows(source, columns, text=text, rows=_ROWS):
        first, last = np.searchsorted(rows, [start, start + table.num_rows])
        kept = table.take(rows[first:last] - start)
        if text:
            found += kept.column(text[0]).to_pylist()
        yield kept


def _spool(source: Path, folder: Path, id: str | None, score: str) -> _Roster:  # noqa: A002
    """Read ids and scores into scratch files, sorted by id, and tally the scores."""
    columns = [score] if id is None else [id, score]
    text = [] if id is None else [id]
    tally: Tally | None = None
    kind, ascending, last = "int", True, None
    with (folder / "z").open("wb") as scores, (folder / "id").open("wb") as ids:
        for start, table in open_rows(source, columns, text=text, rows=_ROWS):
            z = quantise(check_scores(_numbers(table, score, start)))
            tally = Tally.of(z) if tally is None else tally + Tally.of(z)
            scores.write(z.tobytes())
            if id is None:
                continue
            names = _names(table, id, start)
            kind = "str" if isinstance(names, list) else "int"
            if kind == "int":
                ids.write(np.asarray(names).tobytes())
            ascending, last = _still_ascending(names, ascending, last, start)
    if tally is None:
        raise ValueError("scores must not be empty: there is nobody to choose from.")
    z = _Column(folder / "z", tally.n)
    if id is None or kind == "str":
        names = (source, id) if id is not None else None
        return _Roster(kind, z, None, None, tally, names)
    values = _Column(folder / "id", tally.n)
    if ascending:
        return _Roster(kind, z, values, None, tally, None)
    return _sort(folder, z, values, tally)


def _still_ascending(names: Any, ascending: bool, last: Any, start: int) -> tuple[bool, Any]:
    if isinstance(names, list):
        for i, name in enumerate(names):
            if last is not None and name <= last:
                what = "occurs twice" if name == last else "is out of order"
                raise DataError(
                    f"text ids must ascend in a file that is read in chunks: {name!r} in row "
                    f"{start + i} {what}. Sort the file by id, or use in_memory=True."
                )
            last = name
        return ascending, last
    rising = (last is None or names[0] > last) and bool((names[1:] > names[:-1]).all())
    return ascending and rising, names[-1]


def _sort(folder: Path, z: _Column, ids: _Column, tally: Tally) -> _Roster:
    """Sort (id, z, row) by id through files: first into ranges of ids, then each range."""
    buckets = max(1, -(-ids.size // _SORTED))
    step = max(1, ids.size // 65_536)
    sample = np.sort(np.concatenate([ids[part][::step] for part in _slices(ids.size)]))
    edges = sample[np.arange(1, buckets) * sample.size // buckets]
    paths = [folder / f"range {i}" for i in range(buckets)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for part in _slices(ids.size):
            rows = np.arange(part.start, part.stop)
            records = np.column_stack([ids[part], z[part], rows])
            place = np.searchsorted(edges, records[:, 0], side="right")
            for i in np.unique(place).tolist():
                files[i].write(records[place == i].tobytes())
    names = [folder / f"sorted {name}" for name in ("ids", "z", "rows")]
    with ExitStack() as stack:
        files = [stack.enter_context(name.open("wb")) for name in names]
        for path in paths:
            records = np.fromfile(path, dtype=np.int64).reshape(-1, 3)
            path.unlink()
            records = records[np.argsort(records[:, 0], kind="stable")]
            _refuse_twice(records)
            for column, file in enumerate(files):
                file.write(records[:, column].tobytes())
    columns = [_Column(name, ids.size) for name in names]
    return _Roster("int", columns[1], columns[0], columns[2], tally, None)


def _refuse_twice(records: Ints) -> None:
    twice = np.flatnonzero(records[1:, 0] == records[:-1, 0])
    if twice.size:
        first, second = sorted(records[twice[0] : twice[0] + 2, 2].tolist())
        raise ValueError(
            f"id {records[twice[0], 0]} occurs more than once (rows {first} and {second}): "
            "every candidate needs an id of their own."
        )


def _numbers(table: Any, score: str, start: int) -> Any:
    column = table.column(score)
    if column.null_count:
        row = start + int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise ValueError(f"score is missing in {column.null_count} rows from row {row} on.")
    try:
        return column.cast("float64").to_numpy()
    except ValueError as error:
        raise TypeError(f"column {score!r} must hold numbers: {error}.") from None


def _names(table: Any, id: str, start: int) -> Any:  # noqa: A002
    """Return a chunk's ids, as int64 or as a list of text."""
    column = table.column(id)
    if column.null_count:
        row = start + int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise ValueError(f"ids are missing in {column.null_count} rows from row {row} on.")
    kind = str(column.type)
    if kind in ("string", "large_string", "string_view"):
        names = column.to_pylist()
        if "" in names:
            raise ValueError(f"the id in row {start + names.index('')} is empty.")
        return names
    if kind.startswith(("int", "uint")):
        return column.cast("int64").to_numpy()
    raise TypeError(f"ids must be all strings or all integers; column {id!r} holds {kind}.")
