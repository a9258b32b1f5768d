import math

import pytest

from septet._core.errors import CheckpointError
from septet.training import append_history, cut_history, read_history


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "history.jsonl"
    for step in (1, 2, 3):
        append_history(path, {"step": step, "note": "ä\u2028\n"})
    return path


def test_records_come_back_in_order(path):
    assert [record["step"] for record in read_history(path)] == [1, 2, 3]
    assert read_history(path)[0]["note"] == "ä\u2028\n"


def test_every_torn_last_line_is_left_out_and_cut(path):
    whole = path.read_bytes()
    second_end = whole.index(b"\n", whole.index(b"\n") + 1) + 1
    for end in range(second_end, len(whole)):
        path.write_bytes(whole[:end])
        assert [record["step"] for record in read_history(path)] == [1, 2]
        cut_history(path, 2)
        assert path.read_bytes() == whole[:second_end]


def test_later_records_are_dropped_on_resume(path):
    assert [record["step"] for record in cut_history(path, 1)] == [1]
    append_history(path, {"step": 2})
    assert [record["step"] for record in read_history(path)] == [1, 2]


def test_a_history_shorter_than_the_checkpoint_says_is_refused(path):
    with pytest.raises(CheckpointError, match=r"holds 3 records; .* saved after 4"):
        cut_history(path, 4)


@pytest.mark.parametrize("line", [b"{\n", b"[1]\n", b"\xff\n", b"\n"])
def test_a_damaged_line_in_the_middle_is_named(path, line):
    path.write_bytes(line + path.read_bytes())
    with pytest.raises(CheckpointError, match="line 1 is no JSON object"):
        read_history(path)


def test_numbers_that_json_lacks_are_written_as_words(tmp_path):
    path = tmp_path / "history.jsonl"
    append_history(path, {"loss": math.nan, "more": {"a": [-math.inf, 1.0]}})
    assert read_history(path) == [{"loss": "nan", "more": {"a": ["-inf", 1.0]}}]


def test_an_absent_history_is_empty(tmp_path):
    assert read_history(tmp_path / "none") == []
    assert cut_history(tmp_path / "none", 0) == []
    assert not (tmp_path / "none").exists()
