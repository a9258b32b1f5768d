"""The cohort commands: files in, files out, exit codes."""

import csv
import io
import json

import pytest

from septet import cli

PEOPLE = "id,score,town,paid\n" + "\n".join(
    f"{i:03d},{(i * 37 % 100) / 100},{'north' if i % 3 else 'south'},{i % 2}" for i in range(60)
)


@pytest.fixture
def people(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "péople.csv").write_text(PEOPLE + "\n", "utf-8")
    return tmp_path / "péople.csv"


def pick(people, *more):
    words = ["cohort", "pick", str(people), "-k", "7", "--seed", "1 May"]
    return cli.main([*words, "-o", "short.csv", "--certificate", "cert.json", *more])


def test_a_shortlist_keeps_ids_and_rows_as_written(people, tmp_path, capsys):
    assert pick(people) == cli.OK
    printed = capsys.readouterr().out.split()
    with (tmp_path / "short.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert [row["id"] for row in rows] == printed
    assert all(len(name) == 3 for name in printed)
    assert {row["town"] for row in rows} <= {"north", "south"}


def test_cells_of_the_shortlist_are_copied_as_they_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = ["a,0.90,01234,+49 7", "b,0.50,00001,1e5", "c,.25,,007"]
    (tmp_path / "all.csv").write_text("\n".join(["id,score,zip,tel", *rows]) + "\n", "utf-8")
    for more in ([], ["--group", "zip", "--order", "group"], ["--reserve", "0", "--group", "tel"]):
        words = ["cohort", "pick", "all.csv", "-k", "3", "-o", "short.csv", *more]
        assert cli.main(words) == cli.OK
        with (tmp_path / "short.csv").open() as file:
            assert [",".join(row) for row in list(csv.reader(file))[1:]] == rows


def test_what_a_certificate_needs_to_be_made_again_is_told_before_it_is_written(people, capsys):
    words = ["cohort", "pick", str(people), "-k", "7", "--certificate", "missing/cert.json"]
    assert cli.main(words) == cli.DATA
    assert capsys.readouterr().err.startswith("seed: ")


def test_the_certificate_verifies_whatever_the_order_of_rows(people, capsys):
    assert pick(people) == cli.OK
    header, *rows = people.read_text("utf-8").splitlines()
    people.write_text("\n".join([header, *reversed(rows)]) + "\n", "utf-8")
    assert cli.main(["cohort", "verify", "cert.json", str(people)]) == cli.OK
    assert "verified" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{}", b"PAR1\xff\xfe"])
def test_what_is_no_certificate_or_no_roster_is_told_in_words(people, tmp_path, capsys, content):
    assert pick(people) == cli.OK
    (tmp_path / "bad").write_bytes(content)
    assert cli.main(["cohort", "verify", "bad", str(people)]) in (cli.MISSED, cli.DATA)
    assert "certificate" in capsys.readouterr().err
    assert cli.main(["cohort", "verify", "cert.json", "bad"]) == cli.MISSED
    assert "NOT VERIFIED: bad" in capsys.readouterr().err


def test_a_changed_score_or_certificate_is_found_out(people, tmp_path, capsys):
    assert pick(people) == cli.OK
    people.write_text(people.read_text("utf-8").replace("001,0.37", "001,0.38"), "utf-8")
    assert cli.main(["cohort", "verify", "cert.json", str(people), "--json"]) == cli.MISSED
    out, err = capsys.readouterr()
    assert json.loads(out[out.index("{") :])["verified"] is False
    assert "NOT VERIFIED" in err


def test_an_audit_reports_groups_outcomes_and_unfairness(people, capsys):
    words = ["cohort", "audit", str(people), "-k", "7", "--group", "town", "--outcome", "paid"]
    assert cli.main([*words, "--json"]) == cli.OK
    report = json.loads(capsys.readouterr().out)
    assert report["fair"] is True
    assert {group["label"] for group in report["groups"]} == {"north", "south"}
    assert report["mechanisms"][0]["outcome"] is not None


def test_an_audit_of_unfair_chances_exits_1_and_names_the_pair(people, capsys):
    header, *rows = people.read_text("utf-8").splitlines()
    seventh = sorted((float(row.split(",")[1]) for row in rows), reverse=True)[6]
    chances = [f"{row},{int(float(row.split(',')[1]) >= seventh)}" for row in rows]
    people.write_text("\n".join([f"{header},p", *chances]) + "\n", "utf-8")
    assert cli.main(["cohort", "audit", str(people), "-p", "p"]) == cli.MISSED
    assert "NOT FAIR" in capsys.readouterr().out


def test_a_plot_is_written(people, tmp_path):
    assert pick(people, "--plot", "p.svg") == cli.OK
    assert "<svg" in (tmp_path / "p.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-k", "99"], cli.USAGE, "k = 99"),
        (["-k", "3", "--score", "points"], cli.USAGE, "points"),
        (["-k", "3", "-o", "short.xlsx"], cli.DATA, "must end in .csv or .parquet"),
    ],
)
def test_a_mistake_is_named_and_leaves_no_file(people, tmp_path, capsys, words, code, message):
    assert cli.main(["cohort", "pick", str(people), "--seed", "s", *words]) == code
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [people.name]


def test_a_missing_or_damaged_file_is_a_data_error(tmp_path, capsys):
    assert cli.main(["cohort", "pick", str(tmp_path / "no.csv"), "-k", "1"]) == cli.DATA
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 but not really")
    assert cli.main(["cohort", "pick", str(tmp_path / "bad.parquet"), "-k", "1"]) == cli.DATA
    assert "cannot be read as parquet" in capsys.readouterr().err


def serve(monkeypatch, capsys, lines, *words):
    text = "".join(line + "\n" for line in lines).encode("utf-8")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    code = cli.main(["cohort", "stream", *words])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_stream_answers_line_by_line_and_goes_on_from_its_store(tmp_path, monkeypatch, capsys):
    store = ["--store", str(tmp_path / "s.db")]
    arrivals = [json.dumps({"id": f"{i}", "score": i / 20}) for i in range(20)]
    begin = ["-k", "3", "--seed", "secret"]
    code, answers = serve(monkeypatch, capsys, arrivals[:9], *begin, *store)
    assert code == cli.OK
    assert [answer["id"] for answer in answers] == [str(i) for i in range(9)]
    code, answers = serve(monkeypatch, capsys, [*arrivals[9:], '{"close": true}'], *store)
    assert len(answers[-1]["cohort"]) == 3
    _, whole = serve(monkeypatch, capsys, [*arrivals, '{"close": true}'], *begin)
    assert answers[-1]["cohort"] == whole[-1]["cohort"]
    assert answers[-1]["certificate"] == whole[-1]["certificate"]


def test_a_closed_stream_verifies_from_its_store(tmp_path, monkeypatch, capsys):
    store = str(tmp_path / "s.db")
    lines = [*(json.dumps({"id": f"{i}", "score": i / 9}) for i in range(9)), '{"close": true}']
    _, answers = serve(monkeypatch, capsys, lines, "-k", "2", "--seed", "s", "--store", store)
    path = tmp_path / "cert.json"
    path.write_text(json.dumps(answers[-1]["certificate"]), "utf-8")
    assert cli.main(["cohort", "verify", str(path), store]) == cli.OK
    changed = answers[-1]["certificate"] | {"k": 3}
    path.write_text(json.dumps(changed), "utf-8")
    assert cli.main(["cohort", "verify", str(path), store]) == cli.MISSED


def test_a_wrong_line_is_answered_and_the_exit_code_tells(monkeypatch, capsys):
    lines = ['{"id": "a", "score": 7}', '{"id": "a", "score": 0.5}']
    code, (wrong, right) = serve(monkeypatch, capsys, lines, "-k", "1")
    assert code == cli.DATA
    assert wrong["error"].startswith("line 1: ")
    assert right["status"] == "pending"


def test_a_stored_stream_keeps_its_terms(tmp_path, monkeypatch, capsys):
    store = ["--store", str(tmp_path / "s.db")]
    assert serve(monkeypatch, capsys, [], "-k", "1", *store)[0] == cli.OK
    for more in (["-k", "1"], ["--knots", "9"], ["--slack", "0"], ["--seed", "s"]):
        assert serve(monkeypatch, capsys, [], *more, *store)[0] == cli.USAGE


def test_a_score_beyond_all_doubles_ends_no_stream(monkeypatch, capsys):
    lines = ['{"id": "a", "score": 1' + "0" * 400 + "}", '{"id": "a", "score": 0.5}']
    code, (wrong, right) = serve(monkeypatch, capsys, lines, "-k", "1")
    assert code == cli.DATA
    assert "beyond all doubles" in wrong["error"]
    assert right["status"] == "pending"


def test_a_stream_needs_k_to_begin(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli.main(["cohort", "stream"]) == cli.USAGE
    assert "-k 50" in capsys.readouterr().err
