import re
import tomllib
from importlib import resources

import pytest

from septet import data
from septet.data import _load, _registry

ALL = [data.describe(name) for name in data.names()]
each_set = pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.name)


@each_set
def test_each_set_says_what_it_is_on_what_terms_and_how_to_cite_it(entry):
    for text in (entry.title, entry.licence, entry.citation):
        assert text.strip() == text
        assert text
    assert not re.search(r"\s{2}", entry.title + entry.citation)


@each_set
def test_each_set_can_be_read(entry):
    folders = [member for member in entry.members if member.is_folder]
    assert (entry.name in _load.READERS) != (len(folders) == 1)


@each_set
def test_each_member_is_pinned_unless_it_changes_with_its_source(entry):
    for member in entry.members:
        changing = entry.name in {"python-docs", "torch-source"}
        assert (member.sha256 is None) == changing
        assert member.size > 0
        assert re.fullmatch(r"[\w.-]+", member.name)


@each_set
def test_each_member_has_a_source(entry):
    assert entry.packages or all(member.address for member in entry.members)
    for package in entry.packages:
        assert (package.client == "apt") == (package.version is None) or entry.name in {
            "digits",
            "photographs",
            "torch-source",
        }
        for member in entry.members:
            assert not package.path_of(member).startswith("/")
            assert ".." not in package.path_of(member)


@each_set
def test_upstream_addresses_are_encrypted_and_belong_to_the_sets_home(entry):
    for member in entry.members:
        if member.address:
            host = member.address.split("/")[2]
            assert member.address.startswith("https://")
            assert host == entry.home.split("/")[2]


def test_no_two_members_claim_the_same_digest_with_different_sizes():
    sizes = {}
    for entry in ALL:
        for member in entry.members:
            if member.sha256:
                assert sizes.setdefault(member.sha256, member.size) == member.size


def test_every_reader_has_its_set():
    assert set(_load.READERS) | set(_load.JOINED) <= set(data.names())


def test_the_registry_is_sorted():
    text = resources.files("septet.data").joinpath("registry.toml").read_text("utf-8")
    assert list(tomllib.loads(text)) == data.names()


ENTRY = """
[made-up]
title = "t"
licence = "l"
citation = "c"
members = [{ name = "a", size = 1, sha256 = "%s" }]
packages = [{ client = "pip", name = "made", path = "made/{name}" }]
"""


def test_a_registry_entry_is_read():
    entry = _registry.parse(ENTRY % ("0" * 64))["made-up"]
    assert entry.size == 1
    assert entry.packages[0].path_of(entry.members[0]) == "made/a"
    assert str(entry.packages[0]) == "pip package made"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('title = "t"', 'title = "t"\ncolour = "red"', TypeError),
        ("size = 1", "size = 1, bytes = 1", TypeError),
        ('licence = "l"', "", TypeError),
        ("0" * 64, "0" * 63, ValueError),
        ('"pip"', '"cargo"', ValueError),
    ],
)
def test_a_registry_entry_with_other_keys_or_values_is_refused(old, new, error):
    with pytest.raises(error):
        _registry.parse((ENTRY % ("0" * 64)).replace(old, new))
