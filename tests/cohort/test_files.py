"""Selecting from files in chunks: the same cohort and certificate as in memory."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from septet._core.errors import DataError, InfeasibleError, SeptetWarning
from septet.cohort import _files, pick, pick_file, read_frame, verify


@pytest.fixture(autouse=True)
def tiny_chunks(monkeypatch):
    """Let a small file take several chunks, ranges of ids and ranges of words."""
    monkeypatch.setattr(_files, "_ROWS", 64)
    monkeypatch.setattr(_files, "_SORTED", 100)
    monkeypatch.setattr(_files, "_ACTIVE", 50)


def candidates(rng, n, kind):
    ids = {
        "rows": None,
        "ascending": np.arange(n) * 3 - 50,
        "shuffled": rng.permutation(n) - 20,
        "text": [f"p{i:05d} ü" for i in range(n)],
    }[kind]
    columns = {"score": rng.beta(2, 5, n), "note": [f"note, {i}" for i in range(n)]}
    return pd.DataFrame(columns if ids is None else {"id": ids} | columns)


SIZES = [(0, "linear"), (30, "linear"), (30, "ratio"), (400, "linear")]
KINDS = [("csv", "rows"), ("csv", "text"), ("parquet", "rows"), ("parquet", "text")]
KINDS += [("parquet", "ascending"), ("parquet", "shuffled")]  # ids of a CSV file are text


@pytest.mark.parametrize(("suffix", "kind"), KINDS)
@pytest.mark.parametrize(("k", "objective"), SIZES)
def test_chunks_give_the_cohort_and_the_certificate_of_the_whole(
    kind, suffix, k, objective, rng, tmp_path
):
    frame = candidates(rng, 400, kind)
    source, target = tmp_path / f"all.{suffix}", tmp_path / f"some.{suffix}"
    if suffix == "csv":
        frame.to_csv(source, index=False)
    else:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        parquet.write_table(table, source, row_group_size=90)
    column = None if kind == "rows" else "id"
    options = {"id": column, "score": "score", "objective": objective, "seed": "s"}
    chunked = pick_file(source, target, k, in_memory=False, **options)
    whole = pick(read_frame(source, text=[column] if column else []), k, **options)
    assert chunked.ids == whole.ids
    assert chunked.rows.tolist() == whole.rows.tolist()
    assert chunked.certificate.json() == whole.certificate.json()
    assert read_frame(target)["note"].to_pylist() == whole.frame["note"].to_pylist()
    assert pick_file(source, None, k, **options).certificate == whole.certificate
    names = range(400) if column is None else frame["id"].tolist()
    assert verify(chunked.certificate, zip(names, frame["score"].tolist(), strict=True)).k == k


@pytest.mark.parametrize("in_memory", [True, False])
def test_cells_of_several_lines_are_whole_however_large_the_file(tmp_path, in_memory):
    rows = [f'{i:05d},{i % 100 / 100},"two lines,\nof {"text" * 10}"' for i in range(30_000)]
    source, target = tmp_path / "all.csv", tmp_path / "some.csv"
    source.write_text("\n".join(["id,score,note", *rows]) + "\n", "utf-8")
    pick_file(source, target, 5, id="id", score="score", seed=1, in_memory=in_memory)
    assert set(read_frame(target)["note"].to_pylist()) == {f"two lines,\nof {'text' * 10}"}


def test_what_needs_the_whole_file_is_not_done_in_chunks(tmp_path):
    path = written(tmp_path, id=[3, 1, 2], s=[0.5, 0.25, 0.75], g=["x", "y", "x"])
    options = {"id": "id", "score": "s", "seed": 1, "reserve": 1}
    frame = read_frame(path)
    assert pick_file(path, None, 1, **options).certificate == pick(frame, 1, **options).certificate
    with pytest.raises(ValueError, match="in_memory must not be False"):
        pick_file(path, None, 1, in_memory=False, **options)


def written(tmp_path, **columns):
    path = tmp_path / "all.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


S = [0.5] * 100
TEXT = [f"{i:03d}" for i in range(98)]
BAD = [
    ({"id": [*range(99), 5], "s": S}, ValueError, "id 5 occurs more than once .rows 5 and 99"),
    ({"id": [*TEXT, "097", "097"], "s": S}, DataError, "'097' in row 98 occurs twice"),
    ({"id": ["b", "a"] * 50, "s": S}, DataError, "text ids must ascend .*'a' in row 1 is out"),
    ({"id": [1.0] * 100, "s": S}, TypeError, "column 'id' holds double"),
    ({"id": [None, *range(99)], "s": S}, ValueError, "ids are missing in 1 rows from row 0 on"),
    ({"id": [""] + ["a"] * 99, "s": S}, ValueError, "the id in row 0 is empty"),
    ({"id": range(100), "s": [None, *S[1:]]}, ValueError, "score is missing in 1 rows"),
    ({"id": range(100), "s": [2.0, *S[1:]]}, ValueError, "divide them by 100"),
    ({"id": range(100), "t": S}, ValueError, "has no column 's'; there are 'id', 't'"),
]


@pytest.mark.parametrize(("columns", "error", "message"), BAD)
def test_bad_files_are_explained(columns, error, message, tmp_path):
    path = written(tmp_path, **{k: pa.array(list(v)) for k, v in columns.items()})
    with pytest.raises(error, match=message):
        pick_file(path, None, 3, id="id", score="s", seed=1, in_memory=False)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(DataError, match="none.csv does not exist"):
        pick_file(tmp_path / "none.csv", None, 3, score="s", seed=1, in_memory=False)
    (tmp_path / "latin.csv").write_bytes(b"id,s,gr\xf6\xdfe\na,0.5,3\n")
    for in_memory in (True, False):
        with pytest.raises(DataError, match="latin.csv cannot be read as csv"):
            pick_file(tmp_path / "latin.csv", None, 1, score="s", seed=1, in_memory=in_memory)
    (tmp_path / "empty.csv").write_text("id,s\n")
    with pytest.raises(ValueError, match="nobody to choose from"):
        pick_file(tmp_path / "empty.csv", None, 0, score="s", seed=1)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        pick_file(tmp_path / "bad.parquet", None, 3, score="s", seed=1, in_memory=False)
    with pytest.raises(DataError, match=r"must end in .csv or .parquet"):
        pick_file(tmp_path / "all.xls", None, 3, score="s", seed=1, in_memory=False)


def test_zero_scores_are_treated_as_in_memory(tmp_path):
    path = written(tmp_path, s=[0.9] * 3 + [0.0] * 2)
    options = {"score": "s", "seed": 1, "in_memory": False}
    with pytest.warns(SeptetWarning, match="2 candidates of score 0"):
        pick_file(path, None, 3, **options)
    with pytest.raises(InfeasibleError, match="largest feasible k is 3"):
        pick_file(path, None, 3, allow_zero_score=False, **options)
    assert len(pick_file(path, None, 4, allow_zero_score=True, **options)) == 4
