import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

from septet import cli, recipes
from septet._core.errors import SeptetWarning


@pytest.fixture
def at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_loads_neither_torch_nor_scipy():
    code = (
        "import sys; from septet.cli import main; code = main(['--help']);"
        "assert not {'torch', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules), sys.modules;"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "reproduce" in done.stdout


def test_every_verb_explains_itself(capsys):
    for group in ("house", *cli.GROUPS):
        for verb in cli.commands(group):
            words = [verb] if group == "house" else [group, verb]
            assert cli.main([*words, "--help"]) == cli.OK, words
            assert "usage: septet " + " ".join(words) in capsys.readouterr().out


def test_help_names_what_goes_where(capsys):
    assert cli.main(["robust", "compare", "--help"]) == cli.OK
    assert "[-h] FIRST SECOND ROWS" in capsys.readouterr().out
    assert cli.main(["audio", "predict", "--help"]) == cli.OK
    assert "[-h] MODEL [FILES ...]" in capsys.readouterr().out
    assert cli.main(["speech", "bench", "--help"]) == cli.OK
    assert "[-h] [FOLDER]" in capsys.readouterr().out
    assert cli.main(["robust", "compare", "one"]) == cli.USAGE
    assert "SECOND" in capsys.readouterr().err


def test_the_commands_to_begin_with_exist():
    for name in recipes.names():
        program, *words = shlex.split(recipes.load(name).command)
        verbs = [*cli.commands("house"), *(f"{g} {v}" for g in cli.GROUPS for v in cli.commands(g))]
        assert program == "septet"
        assert any(" ".join(words).startswith(verb) for verb in verbs), words


def test_a_wrong_word_is_a_usage_error_with_a_suggestion(capsys):
    assert cli.main(["reproduse"]) == cli.USAGE
    assert "Did you mean 'reproduce'?" in capsys.readouterr().err
    assert cli.main(["cohrt", "pick"]) == cli.USAGE
    assert "no command 'cohrt'" in capsys.readouterr().err


@pytest.mark.usefixtures("kitchen")
def test_without_arguments_it_shows_one_command_a_method(capsys):
    assert cli.main([]) == cli.OK
    assert "septet reproduce toast" in capsys.readouterr().out


@pytest.mark.usefixtures("kitchen")
def test_reproduce_prints_the_table_and_says_where_the_report_lies(at, capsys):
    assert cli.main(["reproduce", "all"]) == cli.OK
    out, err = capsys.readouterr()
    assert "Toast is brown." in out
    assert "holds" in out
    assert "report: " in err
    assert (at / "runs" / "index.html").exists()


@pytest.mark.usefixtures("kitchen", "at")
def test_a_missed_claim_exits_1_and_json_carries_the_rows(capsys):
    code = cli.main(["reproduce", "toast", "--brownness", "0.5", "--json"])
    assert code == cli.MISSED
    rows = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in rows] == ["does not hold", "does not hold"]
    assert set(rows[0]) >= {"recipe", "scale", "claim", "published", "measured", "peer", "note"}


@pytest.mark.usefixtures("kitchen", "at")
def test_seeds_and_settings_reach_the_recipe(capsys):
    words = ["--seeds", "2", "--butter.grams", "3", "--json"]
    assert cli.main(["reproduce", "toast", *words]) == cli.OK
    assert "n = 2" in json.loads(capsys.readouterr().out)[0]["measured"]


@pytest.mark.usefixtures("kitchen", "at")
def test_an_unknown_setting_is_refused_with_a_suggestion(capsys):
    assert cli.main(["reproduce", "toast", "--brownnes", "1"]) == cli.USAGE
    assert "--brownness" in capsys.readouterr().err


@pytest.mark.usefixtures("kitchen", "at")
def test_a_plan_refuses_what_the_run_would_refuse(capsys):
    assert cli.main(["reproduce", "toast", "--plan", "--brownnes", "1"]) == cli.USAGE
    assert "--brownness" in capsys.readouterr().err
    assert cli.main(["reproduce", "all", "--settings"]) == cli.USAGE
    assert "one recipe, not to all" in capsys.readouterr().err


@pytest.mark.usefixtures("kitchen")
def test_a_plan_does_nothing(at, capsys, monkeypatch):
    monkeypatch.setattr("septet.data.available", lambda name: False)
    assert cli.main(["reproduce", "toast", "--scale", "full", "--plan", "--json"]) == cli.OK
    (row,) = json.loads(capsys.readouterr().out)
    assert row["data to fetch"] == ["bread"]
    assert list(at.iterdir()) == []


@pytest.mark.usefixtures("kitchen", "at")
def test_missing_data_exits_3_with_the_command_that_helps(capsys, monkeypatch):
    monkeypatch.setattr("septet.data.available", lambda name: False)
    assert cli.main(["reproduce", "toast", "--scale", "full"]) == cli.DATA
    out, err = capsys.readouterr()
    assert "not run" in out
    assert "septet data fetch bread" in err


@pytest.mark.usefixtures("kitchen", "at")
def test_an_interruption_exits_130_and_the_same_command_goes_on(capsys):
    words = ["reproduce", "toast", "--interrupt-at", "1"]
    assert cli.main(words) == cli.INTERRUPTED
    assert "goes on from here if given again" in capsys.readouterr().err
    assert cli.main(words) == cli.OK


@pytest.mark.usefixtures("kitchen")
def test_a_read_only_folder_is_a_clear_error(at, capsys):
    (at / "runs").write_text("a file stands where the folder should be")
    assert cli.main(["reproduce", "toast"]) == cli.DATA
    assert re.search(r"septet: .*runs", capsys.readouterr().err)


def test_a_users_mistake_shows_no_traceback_unless_asked(capsys, monkeypatch):
    assert cli.main(["reproduce", "nothing-like-it"]) == cli.USAGE
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("SEPTET_DEBUG", "1")
    with pytest.raises(ValueError, match="recipe must be one of"):
        cli.main(["reproduce", "nothing-like-it"])


def test_standard_output_that_was_never_open_is_no_error():
    command = f"{sys.executable} -m septet.cli list >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (cli.OK, "")


def test_results_in_a_pipe_are_utf8_whatever_the_locale():
    command = [sys.executable, "-m", "septet.cli", "data", "ls"]
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=env, capture_output=True)
    assert (done.returncode, done.stderr) == (cli.OK, b"")
    assert "│" in done.stdout.decode("utf-8") or "─" in done.stdout.decode("utf-8")


def test_a_closed_reader_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "septet.cli", "--help"], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert done.returncode == cli.OK
    assert done.stderr == b""


@pytest.mark.filterwarnings("default")
def test_warnings_are_told_without_the_code_that_gave_them(capsys, monkeypatch):
    def warn() -> int:
        """Warn."""
        warnings.warn("mind the step.", SeptetWarning, stacklevel=1)
        warnings.warn("old", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setitem(cli.commands("house"), "warn", warn)
    monkeypatch.setattr(
        warnings, "showwarning", lambda *told: sys.stderr.write(warnings.formatwarning(*told[:4]))
    )
    assert cli.main(["warn"]) == cli.OK
    errors = capsys.readouterr().err
    assert errors.startswith("septet: mind the step.\n")
    assert "test_house.py" in errors
    assert warnings.formatwarning is not cli._warned


def test_doctor_lists_what_is_there_and_json_parses(capsys):
    assert cli.main(["doctor", "--json"]) == cli.OK
    facts = json.loads(capsys.readouterr().out)
    assert set(facts) >= {"septet", "python", "cores", "data cache", "data sets present"}
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    packages = {re.match(r"[\w.-]+", line)[0] for extra in extras for line in extra} - {"septet"}
    assert {"torch", "onnx", "pillow"} < packages
    assert {name.lower() for name in packages} <= {name.lower() for name in facts}
