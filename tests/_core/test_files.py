import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet._core.errors import DataError
from septet._core.files import member_path, replacing, write_json


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "Prüfung.txt"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), replacing(target) as file:
        file.write(b"half of the n")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["Prüfung.txt"]


def test_a_kill_during_a_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    child = os.fork()
    if child == 0:  # the child dies inside the block, as under kill -9
        with replacing(target) as file:
            file.write(b"new")
            file.flush()
            os._exit(9)
    os.waitpid(child, 0)
    assert target.read_bytes() == b"old"


def test_json_refuses_what_json_cannot_say_and_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"é": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(target, float("nan"))
    assert json.loads(target.read_text("utf-8")) == {"é": 1}


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../../b", "C:/a", "..\\a"])
def test_an_archive_member_that_points_outside_is_refused(name):
    with pytest.raises(DataError, match="points outside"):
        member_path(name)


@given(st.lists(st.text("abc. -_", min_size=1), min_size=1, max_size=4))
def test_an_accepted_member_stays_below_its_folder(parts):
    try:
        path = member_path("/".join(parts))
    except DataError:
        return
    assert not path.is_absolute()
    assert ".." not in path.parts
