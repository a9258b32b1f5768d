import re
import shutil

import pytest

from septet._core.errors import DataError, SeptetWarning
from septet.recipes import load, reproduce
from septet.report import write_index, write_report

pytestmark = pytest.mark.usefixtures("kitchen")


@pytest.fixture
def folder(tmp_path):
    toast = load("toast")
    return reproduce(toast, "laptop", toast.config("laptop"), tmp_path).folder


def test_the_report_is_one_self_contained_file_without_script(folder):
    page = write_report(folder).read_text("utf-8")
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "<svg" in page
    assert 'src="data:audio/wav;base64,UklGRg=="' in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_drawings_take_the_ink_of_the_page_and_keep_their_ids_apart(folder):
    page = write_report(folder).read_text("utf-8")
    assert "currentColor" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:href="|url\()#([^")]+)', page)
    assert set(references) <= set(ids)


def test_every_claim_stands_with_its_verdict(folder):
    page = write_report(folder).read_text("utf-8")
    assert "Toast is brown." in page
    assert "✓ holds" in page
    assert "✗ does not hold" in page
    assert "it never does" in page


def test_the_index_links_every_finished_run(folder, tmp_path):
    write_report(folder)
    page = write_index(tmp_path).read_text("utf-8")
    (link,) = re.findall(r'<a href="([^"]+)"', page)
    assert (tmp_path / link).exists()
    assert "<svg" in page
    assert 'src="data:audio/wav;base64,' in page


def test_the_index_keeps_the_drawings_of_all_runs_apart(folder, tmp_path):
    shutil.copytree(folder, folder.parent.parent / "bread" / "laptop")
    page = write_index(tmp_path).read_text("utf-8")
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0


def test_the_index_leaves_out_a_damaged_run_and_says_so(folder, tmp_path):
    write_report(folder)
    other = folder.parent.parent / "bread" / "laptop"
    other.mkdir(parents=True)
    (other / "result.json").write_text("{}")
    with pytest.warns(SeptetWarning, match="bread/laptop .* The index leaves it out"):
        page = write_index(tmp_path).read_text("utf-8")
    assert len(re.findall(r'<a href="([^"]+)"', page)) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", b""),
        ("result.json", b"[]"),
        ("result.json", b"{}"),
        ("result.json", b"[" * 100_000),
        ("environment.json", b"{"),
        ("exhibits/exhibits.json", b"[1]"),
        ("exhibits/00.svg", b"\xff"),
        ("config.toml", b"\xff"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_damaged_run_is_told(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        write_report(folder)


def test_an_unfinished_run_has_no_report(tmp_path):
    with pytest.raises(DataError, match="holds no finished run"):
        write_report(tmp_path)
