"""The commands for the worst group: from a file of features to a report in two commands."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from robust.problems import spurious

from septet import cli, robust


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y, a = spurious(400, 4)
    known = np.where(np.arange(400) % 10 == 0, -1, a)
    np.savez("féatures.npz", X=X, y=y, groups=known)
    split = np.array(["train", "train", "val", "test"])[np.arange(400) % 4]
    np.savez("split.npz", X=X, y=y, groups=a, split=split)
    frame = pd.DataFrame(X, columns=list("pqrs")).assign(
        species=np.array(["gull", "tern"])[y], place=np.array(["land", "water"])[a], id="x"
    )
    frame.loc[::10, "place"] = ""
    frame.to_csv("rows.csv", index=False)
    frame.to_parquet("rows.parquet")
    return X, y, a


def printed(capsys):
    return json.loads(capsys.readouterr().out)


def test_two_commands_lead_from_features_to_a_report(rows, capsys):
    words = ["robust", "fit", "féatures.npz", "-o", "model", "--holdout", "0.3"]
    assert cli.main(words) == cli.OK
    out, err = capsys.readouterr()
    assert "y=1, group=0" in out
    assert "proven optimal within" in err
    assert cli.main(["robust", "audit", "model", "féatures.npz"]) == cli.OK
    out = capsys.readouterr().out
    assert "worst-group accuracy" in out
    assert "selected on" in out.lower() or "selected" in out


def test_the_audit_counts_only_rows_that_were_held_out(rows, capsys):
    cli.main(["robust", "fit", "féatures.npz", "-o", "m", "--holdout", "0.3", "--json"])
    facts = printed(capsys)
    cli.main(["robust", "audit", "m", "féatures.npz", "--json"])
    report = printed(capsys)
    assert facts["n"] + sum(group["n"] for group in report["groups"]) == 400
    assert facts["n_unknown"] == 40
    assert all(group["seen"] for group in report["groups"])


def test_a_group_that_the_model_never_saw_is_judged_and_marked(rows, capsys):
    X, y, a = rows
    seen = (y == 0) | (a == 1)  # no row of the second class and the first place
    np.savez("some.npz", X=X[seen], y=y[seen], groups=a[seen])
    np.savez("all.npz", X=X, y=y, groups=a)
    assert cli.main(["robust", "fit", "some.npz", "-o", "m"]) == cli.OK
    capsys.readouterr()
    assert cli.main(["robust", "audit", "m", "all.npz"]) == cli.OK
    lines = [line for line in capsys.readouterr().out.splitlines() if "unseen in training" in line]
    assert len(lines) == 1
    assert "y=1, group=0" in lines[0]


def test_an_audit_of_rows_that_were_fitted_on_is_refused(rows, capsys):
    cli.main(["robust", "fit", "féatures.npz", "-o", "m"])
    assert cli.main(["robust", "audit", "m", "féatures.npz"]) == cli.DATA
    assert "was fitted on every row" in capsys.readouterr().err


def test_a_split_says_which_rows_fit_select_and_judge(rows, capsys):
    X, y, a = rows
    assert cli.main(["robust", "fit", "split.npz", "-o", "m", "--json"]) == cli.OK
    facts = printed(capsys)
    assert (facts["n"], facts["n_selecting"]) == (200, 100)
    cli.main(["robust", "audit", "m", "split.npz", "--json"])
    report = printed(capsys)
    part = np.arange(400) % 4
    fit, select, judge = part < 2, part == 2, part == 3
    model = robust.CRISClassifier(selection="holdout", random_state=0)
    model.fit(X[fit], y[fit], groups=a[fit], validation=(X[select], y[select], a[select]))
    expected = robust.worst_group_accuracy(y[judge], model.predict(X[judge]), groups=a[judge])
    assert report["worst_group_accuracy"] == expected


@pytest.mark.parametrize("method", ["group-dro", "balanced", "dfr", "plain", "logit-adjusted"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_give_the_same_model_by_every_method(rows, capsys, kind, method):
    words = ["--label", "species", "--groups", "place", "--drop", "id", "--method", method]
    model = ["robust", "fit", f"rows.{kind}", "-o", kind, *words, "--holdout", "0.2", "--json"]
    assert cli.main(model) == cli.OK
    facts = printed(capsys)
    assert facts["features"] == list("pqrs")
    assert facts["n_unknown"] == 40
    assert cli.main(["robust", "audit", kind, f"rows.{kind}", "--json"]) == cli.OK
    assert len(printed(capsys)["groups"]) == 4


def test_dfr_is_fitted_on_the_validation_rows_too_and_says_so(rows, capsys):
    cli.main(["robust", "fit", "split.npz", "-o", "m", "--method", "dfr", "--json"])
    facts = printed(capsys)
    assert (facts["n"], facts["n_selecting"]) == (300, 0)
    cli.main(["robust", "audit", "m", "split.npz", "--json"])
    assert printed(capsys)["selected_on"] == "rows among those fitted on"


def test_words_kept_as_bytes_and_minus_one_among_words_are_understood(rows, capsys):
    X, y, a = rows
    place = np.where(np.arange(400) % 10 == 0, b"-1", np.array([b"land", b"s\xc3\xa5"])[a])
    np.savez("bytes.npz", X=X, y=np.array([b"gull", b"tern"])[y], groups=place)
    assert cli.main(["robust", "fit", "bytes.npz", "-o", "m", "--json"]) == cli.OK
    facts = printed(capsys)
    assert facts["n_unknown"] == 40
    assert ["tern", "så"] in [group["key"] for group in facts["groups"]]


def test_nobody_is_advised_to_trust_a_file_that_was_cut_short(rows, capsys):
    Path("cut.npz").write_bytes(Path("split.npz").read_bytes()[:1000])
    Path("odd.npz").write_bytes(b"abc")
    for name in ("cut.npz", "odd.npz"):
        assert cli.main(["robust", "fit", name, "-o", "m"]) == cli.DATA
        err = capsys.readouterr().err
        assert f"{name} is no .npz file" in err
        assert "pickle" not in err


def test_a_table_with_a_column_twice_is_refused(rows, capsys):
    Path("twice.csv").write_text("y,p,p\n0,1,2\n1,2,3\n")
    assert cli.main(["robust", "fit", "twice.csv", "-o", "m"]) == cli.DATA
    assert "has 2 columns 'p'" in capsys.readouterr().err


def test_predictions_are_those_of_the_saved_head(rows, tmp_path, capsys):
    X, _, _ = rows
    words = ["--label", "species", "--groups", "place", "--drop", "id"]
    cli.main(["robust", "fit", "rows.csv", "-o", "m", *words, "--holdout", "0.2"])
    capsys.readouterr()
    assert cli.main(["robust", "predict", "m", "rows.csv"]) == cli.OK
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    head, _ = robust.load_head("m")
    assert [row["predicted"] for row in table] == head.predict(X).tolist()
    cli.main(["robust", "predict", "m", "rows.csv", "-o", "out.csv"])
    with (tmp_path / "out.csv").open() as file:
        assert list(csv.DictReader(file)) == table
    capsys.readouterr()
    cli.main(["robust", "predict", "m", "rows.csv", "--json"])
    np.testing.assert_allclose(printed(capsys)["probabilities"], head.predict_proba(X))


def test_two_models_are_compared_on_rows_that_neither_saw(rows, capsys):
    for method in ("plain", "group-dro"):
        cli.main(["robust", "fit", "split.npz", "-o", method, "--method", method])
    capsys.readouterr()
    words = ["robust", "compare", "plain", "group-dro", "split.npz"]
    assert cli.main(words) == cli.OK
    assert "second minus first" in capsys.readouterr().out
    cli.main([*words, "--json"])
    found = printed(capsys)
    low, high = found["worst_group_interval"]
    assert low <= found["worst_group_difference"] <= high


def test_a_picture_is_drawn(rows, tmp_path):
    cli.main(["robust", "fit", "split.npz", "-o", "m"])
    assert cli.main(["robust", "audit", "m", "split.npz", "--plot", "p.svg"]) == cli.OK
    assert "<svg" in (tmp_path / "p.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["fit", "none.npz", "-o", "m"], cli.DATA, "none.npz does not exist"),
        (["fit", "rows.txt", "-o", "m"], cli.DATA, "expected .npz, .csv or .parquet"),
        (["fit", "rows.csv", "-o", "m"], cli.DATA, "column 'species' holds no numbers"),
        (["fit", "rows.csv", "-o", "m", "--label", "kind"], cli.DATA, "has no 'kind'; it has p, q"),
        (["fit", "split.npz", "-o", "m", "--holdout", "0.1"], cli.USAGE, "a split of its own"),
        (["fit", "féatures.npz", "-o", "m", "--holdout", "1"], cli.USAGE, "holdout must be less"),
        (["audit", "nowhere", "split.npz"], cli.DATA, "nowhere holds no model"),
    ],
)
def test_mistakes_are_named(rows, capsys, words, code, message):
    assert cli.main(["robust", *words]) == code
    assert message in capsys.readouterr().err


def test_damaged_and_foreign_files_are_refused(rows, tmp_path, capsys):
    cli.main(["robust", "fit", "split.npz", "-o", "m"])
    weights = (tmp_path / "m" / "head.safetensors").read_bytes()
    (tmp_path / "m" / "head.safetensors").write_bytes(weights[:-1] + b"\x01")
    assert cli.main(["robust", "audit", "m", "split.npz"]) == cli.DATA
    assert "is damaged" in capsys.readouterr().err
    (tmp_path / "m" / "model.json").write_text('{"schema": "other"}')
    assert cli.main(["robust", "predict", "m", "split.npz"]) == cli.DATA
    assert "describes no head" in capsys.readouterr().err
    (tmp_path / "split.npz").write_bytes(b"PK\x03\x04 no archive")
    assert cli.main(["robust", "fit", "split.npz", "-o", "m"]) == cli.DATA


def test_other_features_are_refused(rows, capsys):
    words = ["--label", "species", "--groups", "place", "--drop", "id"]
    cli.main(["robust", "fit", "rows.csv", "-o", "m", *words])
    frame = pd.read_csv("rows.csv")
    frame[["q", "p", "r", "s", "species", "place", "id"]].to_csv("other.csv", index=False)
    assert cli.main(["robust", "predict", "m", "other.csv"]) == cli.DATA
    assert "feature 'q' is not where" in capsys.readouterr().err
    frame[["p", "species", "place", "id"]].to_csv("other.csv", index=False)
    assert cli.main(["robust", "predict", "m", "other.csv"]) == cli.DATA
    assert "has 1 features; the model takes 4" in capsys.readouterr().err


def test_help_lists_the_verbs(capsys):
    assert cli.main(["robust"]) == cli.OK
    out = capsys.readouterr().out
    assert all(verb in out for verb in ("fit", "predict", "audit", "compare"))
