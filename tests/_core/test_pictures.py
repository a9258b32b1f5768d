"""Figures, axes and files of drawing functions."""

import pytest

from septet._core.pictures import axes_or_new, figure_of, new_figure, save_figure

pytest.importorskip("matplotlib")


def test_given_axes_are_kept_and_missing_ones_are_made():
    ax = new_figure((3, 2)).add_subplot()
    assert axes_or_new(ax, (9, 9)) is ax
    assert tuple(figure_of(axes_or_new(None, (3, 2))).get_size_inches()) == (3, 2)


def test_the_figure_of_a_part_is_the_whole():
    whole = new_figure((3, 2))
    assert figure_of(whole.subfigures(1, 2)[0].add_subplot()) is whole


@pytest.mark.parametrize("name", ["a.svg", "a.PNG", "ü.pdf"])
def test_the_suffix_says_the_format(tmp_path, name):
    save_figure(new_figure((1, 1)), tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    begins = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[name.split(".")[1].lower()]
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_an_unknown_format_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="a plot must end in one of .*png.*; got .*table.csv"):
        save_figure(new_figure((1, 1)), tmp_path / "table.csv")
    assert not list(tmp_path.iterdir())
