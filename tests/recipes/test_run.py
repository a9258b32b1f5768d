import json
import tomllib

import pytest

from septet._core.errors import DataError, SeptetError
from septet.recipes import load, names, reproduce
from septet.recipes._recipe import build

pytestmark = pytest.mark.usefixtures("kitchen")


@pytest.fixture
def toast():
    return load("toast")


def test_recipes_are_found_by_their_folder_and_a_wrong_name_is_corrected():
    assert names() == ["toast"]
    with pytest.raises(ValueError, match="got 'toasts'. Did you mean 'toast'?"):
        load("toasts")


def test_a_run_folder_tells_everything(toast, tmp_path):
    outcome = reproduce(toast, "laptop", toast.config("laptop"), tmp_path)
    folder = tmp_path / "toast" / "laptop"
    assert outcome.folder == folder
    settings = tomllib.loads((folder / "config.toml").read_text())["settings"]
    assert settings == {
        "seeds": [0, 1, 2],
        "butter": {"grams": 5.0},
        "interrupt_at": -1,
        "brownness": 1.0,
    }
    environment = json.loads((folder / "environment.json").read_text())
    assert set(environment) >= {"python", "versions", "cores", "threads", "git", "data", "source"}
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in history] == ["slice-0", "slice-1", "slice-2"]
    exhibits = json.loads((folder / "exhibits" / "exhibits.json").read_text())
    assert [e["kind"] for e in exhibits] == ["figure", "table", "audio"]


def test_the_rows_carry_claim_measure_peer_and_verdict(toast, tmp_path):
    brown, up = reproduce(toast, "laptop", toast.config("laptop"), tmp_path).rows
    assert (brown.verdict, brown.peer, brown.missed) == ("holds", "oven 0.8", False)
    assert brown.measured.startswith("1.01 [")
    assert brown.expected == "at most 1.1 and at least 0.9"
    assert (up.verdict, up.note, up.missed) == ("does not hold", "it never does", False)


def test_a_missed_claim_without_a_known_reason_is_a_miss(toast, tmp_path):
    config = build(toast.module.Config, {"brownness": 0.5}, "test")
    outcome = reproduce(toast, "laptop", config, tmp_path)
    assert outcome.missed
    assert outcome.rows[0].verdict == "does not hold"


def test_the_smoke_scale_decides_nothing(toast, tmp_path):
    outcome = reproduce(toast, "smoke", toast.config("smoke"), tmp_path)
    assert {row.verdict for row in outcome.rows} == {"not judged"}


def test_an_interrupted_run_goes_on_where_it_stopped_and_ends_the_same(toast, tmp_path):
    config = build(toast.module.Config, {"seeds": [0, 1, 2], "interrupt_at": 1}, "test")
    with pytest.raises(KeyboardInterrupt):
        reproduce(toast, "laptop", config, tmp_path / "a")
    said: list[str] = []
    reproduce(toast, "laptop", config, tmp_path / "a", say=said.append)
    assert said == ["slice-1", "slice-2", "drawing figures"]
    (tmp_path / "b/toast/laptop").mkdir(parents=True)
    (tmp_path / "b/toast/laptop/tripped").touch()
    reproduce(toast, "laptop", config, tmp_path / "b")
    results = [(tmp_path / x / "toast/laptop/result.json").read_bytes() for x in "ab"]
    assert results[0] == results[1]


def test_a_finished_run_is_not_run_again(toast, tmp_path):
    first = reproduce(toast, "laptop", toast.config("laptop"), tmp_path)
    said: list[str] = []
    assert reproduce(toast, "laptop", toast.config("laptop"), tmp_path, say=said.append) == first
    assert said == []


def test_other_settings_never_overwrite_a_run_unless_asked(toast, tmp_path):
    reproduce(toast, "laptop", toast.config("laptop"), tmp_path)
    other = build(toast.module.Config, {"seeds": [7]}, "test")
    with pytest.raises(SeptetError, match="other settings: add --fresh"):
        reproduce(toast, "laptop", other, tmp_path)
    outcome = reproduce(toast, "laptop", other, tmp_path, fresh=True)
    assert outcome.rows[0].measured == "1.07 shades, n = 1"


def test_a_run_by_other_code_is_kept_aside(toast, tmp_path):
    folder = reproduce(toast, "laptop", toast.config("laptop"), tmp_path).folder
    path = folder / "environment.json"
    path.write_text(path.read_text().replace('"source": "', '"source": "0ldc0de0'))
    said: list[str] = []
    reproduce(toast, "laptop", toast.config("laptop"), tmp_path, say=said.append)
    assert said[0] == "a run by other code was moved to earlier/laptop-0ldc0de0"
    assert (tmp_path / "toast/earlier/laptop-0ldc0de0/result.json").exists()


def test_missing_data_makes_every_claim_not_run_and_says_the_command(toast, tmp_path, monkeypatch):
    monkeypatch.setattr("septet.data.available", lambda name: False)
    outcome = reproduce(toast, "full", toast.config("full"), tmp_path)
    assert outcome.reason == "data missing: septet data fetch bread"
    assert {row.verdict for row in outcome.rows} == {"not run"}
    assert not (tmp_path / "toast").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": [0]}, "unknown setting 'seed'. Did you mean 'seeds'?"),
        ({"seeds": 3}, "seeds must be a list; got 3"),
        ({"interrupt_at": 1.5}, "interrupt_at must be int; got 1.5"),
        ({"interrupt_at": True}, "interrupt_at must be int; got True"),
        ({"butter": {"gram": 1}}, "butter: unknown setting 'gram'. Did you mean 'grams'?"),
    ],
)
def test_a_wrong_setting_is_named(toast, settings, message):
    with pytest.raises(DataError) as caught:
        build(toast.module.Config, settings, "recipe toast")
    assert message in str(caught.value)
