"""Picking and certifying: the certificate is redone by code that shares nothing with its maker."""

import ast
import hashlib
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet import cohort
from septet._core.errors import InfeasibleError, SeptetWarning
from septet.cohort import CertificateError, pick, seed_commitment, verify
from septet.cohort._certificate import LISTED, canonical_json
from septet.cohort._marginals import Marginals

SCORES = [0.9, 0.8, 0.6, 0.5, 0.2]
NAMES = ["Zoë", "Ada", "Łukasz", "ada", "Ben"]
ROSTER = dict(zip(NAMES, SCORES, strict=True))
GROUPS = ["a", "b", "a", "b", "a"]
VERIFYING = ("_verify", "_verify_stream", "_plain_coins")


@pytest.fixture
def chosen():
    return pick(SCORES, 2, id=NAMES, seed="a public seed", commit=seed_commitment("a public seed"))


def forged(certificate, **changes):
    """The certificate with other fields and a digest that fits them."""
    fields = {k: v for k, v in {**certificate, **changes}.items() if k != "digest"}
    return fields | {"digest": hashlib.sha256(canonical_json(fields).encode()).hexdigest()}


def rosters(scores, kind):
    n = len(scores)
    ids = list(range(-3, n - 3)) if kind == "int" else [f"id {7 * i % n}-{i}" for i in range(n)]
    return ids, list(zip(ids, scores, [f"g{i % 3}" for i in range(n)], strict=True))


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 12).map(lambda x: x / 12), min_size=1, max_size=12),
    st.data(),
    st.sampled_from(["linear", "ratio"]),
    st.sampled_from(["random", "score", "group", "reserve"]),
    st.sampled_from(["int", "str"]),
)
def test_the_verifier_redoes_every_selection(scores, data, objective, order, kind):
    n = len(scores)
    k = data.draw(st.integers(0, n))
    spare = data.draw(st.integers(0, n - k)) if order == "reserve" else 0
    ids, roster = rosters(scores, kind)
    made = pick(
        scores,
        k,
        id=ids,
        seed=data.draw(st.text(st.characters(codec="utf-8"), min_size=1)),
        objective=objective,
        order="random" if order == "reserve" else order,
        group=[row[2] for row in roster],
        reserve=spare,
        allow_zero_score=True,
    )
    found = verify(made.certificate.json(), data.draw(st.permutations(roster)))
    assert (found.n, found.k, list(found.selected)) == (n, k, made.ids)
    assert list(found.reserve) == made.reserve
    assert len(set(made.ids) | set(made.reserve)) == k + spare


@given(st.permutations(range(5)), st.sampled_from(["pandas", "polars", "pyarrow", "plain"]))
def test_neither_row_order_nor_the_kind_of_frame_matters(order, library):
    expected = pick(SCORES, 2, id=NAMES, seed=7, order="group", group=GROUPS).certificate
    columns = {
        "name": [NAMES[i] for i in order],
        "score": [SCORES[i] for i in order],
        "team": [GROUPS[i] for i in order],
    }
    options = {"seed": 7, "order": "group"}
    if library == "plain":
        made = pick(columns["score"], 2, id=columns["name"], group=columns["team"], **options)
    else:
        frame = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}[library]
        made = pick(frame(columns), 2, id="name", score="score", group="team", **options)
        assert type(made.frame) is type(frame(columns))
        assert sorted(pl.DataFrame(made.frame)["name"].to_list()) == made.ids
    assert made.certificate == expected
    assert made.certificate.json() == expected.json()


def test_the_frame_keeps_row_order_and_every_column():
    frame = pd.DataFrame({"id": [30, 10, 20], "s": [1.0, 1.0, 0.0], "note": ["x", "y", "z"]})
    made = pick(frame, 2, id="id", score="s", seed=1)
    assert made.ids == [10, 30]
    assert made.rows.tolist() == [0, 1]
    assert made.frame["note"].tolist() == ["x", "y"]
    assert made.p.fractions() == [1, 1, 0]


def test_integer_ids_of_any_integer_type_are_the_same():
    made = [
        pick(pd.DataFrame({"id": np.array([3, 1, 2], dtype=t), "s": [0.5, 0.6, 0.7]}), 1, **o)
        for t in ("int64", "int8", "uint32")
        for o in [{"id": "id", "score": "s", "seed": 1}]
    ]
    made.append(
        pick(pa.table({"id": [3, 1, 2], "s": [0.5, 0.6, 0.7]}), 1, id="id", score="s", seed=1)
    )
    made.append(pick([0.5, 0.6, 0.7], 1, id=[3, 1, 2], seed=1))
    assert len({m.certificate.json() for m in made}) == 1


FREE = {"software", "commitment"}  # which code ran, and whether a commitment was published


@pytest.mark.parametrize("reserve", [0, 2])
@pytest.mark.parametrize("objective", ["linear", "ratio"])
def test_any_changed_field_is_rejected(reserve, objective):
    made = pick(SCORES, 2, id=NAMES, seed="s", objective=objective, reserve=reserve).certificate
    others = pick(SCORES, 3, id=NAMES, seed="t", objective="linear").certificate
    verify(made, ROSTER)
    for key in made:
        for value in [*mutations(made[key]), others[key]]:
            if value == made[key] and type(value) is type(made[key]):
                continue
            with pytest.raises(CertificateError):
                verify({**made, key: value}, ROSTER)
            if key in FREE or key == "digest":
                continue
            with pytest.raises(CertificateError):
                verify(forged(made, **{key: value}), ROSTER)
        left_out = {name: value for name, value in made.items() if name != key}
        with pytest.raises(CertificateError):
            verify(left_out, ROSTER)
    with pytest.raises(CertificateError, match="fields are not those of its format"):
        verify(forged(made, extra=1), ROSTER)


def mutations(value):
    if isinstance(value, bool):
        return [not value, int(value)]
    if isinstance(value, int):
        return [value + 1, -value - 1, float(value), str(value), None, True]
    if isinstance(value, str):
        return [value + "0", value[:-1], value.swapcase(), "", None, 0]
    if isinstance(value, list):
        changed = [
            [*value[:i], m, *value[i + 1 :]] for i, x in enumerate(value) for m in mutations(x)
        ]
        return [*changed, value[::-1], value[:-1], [*value, *value[:1]], None, {}]
    if isinstance(value, dict):
        return [{**value, k: m} for k, x in value.items() for m in mutations(x)] + [{}, None]
    return [0, "", "0/1", [], False]


def test_white_space_and_the_order_of_keys_are_free(chosen, tmp_path):
    fields = json.loads(chosen.certificate.json())
    loose = json.dumps(dict(reversed(fields.items())), indent=4)
    (tmp_path / "c.json").write_text(loose, "utf-8")
    chosen.certificate.save(tmp_path / "saved.json")
    for form in (loose, loose.encode(), tmp_path / "c.json", tmp_path / "saved.json", fields):
        assert verify(form, ROSTER).committed


def test_changed_rosters_are_rejected(chosen):
    for change in (
        {"Ada": 0.8 - 2.0**-32},
        {"Ben": 0.3},
        {"Eve": 0.4},
    ):
        with pytest.raises(CertificateError, match="does not fit this roster: .*roster"):
            verify(chosen.certificate, ROSTER | change)
    with pytest.raises(CertificateError, match="does not fit"):
        verify(chosen.certificate, {k: v for k, v in ROSTER.items() if k != "Ben"})


@pytest.mark.parametrize(
    ("roster", "message"),
    [
        ([("a", 0.5), ("a", 0.6), ("b", 0.5)], "has 'a' twice"),
        ([(1, 0.5), (2, 0.6), (3, 0.5)], "ids are of kind 'str'.*has 1"),
        ({"a": 1.5, "b": 0.5, "c": 0.5}, "score of 'a' is 1.5"),
        ([], "the roster is empty"),
        ([("a", 0.5)], "k = 2 with 0 in reserve does not fit 1 candidates"),
    ],
)
def test_a_roster_that_cannot_be_read_is_explained(chosen, roster, message):
    with pytest.raises(CertificateError, match=message):
        verify(chosen.certificate, roster)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"format": "other"}', "format is 'other'"),
        ('{"k": 1, "k": 2}', "a key occurs twice"),
        ('{"k": NaN}', "NaN is no number of JSON"),
        (b"\xff", "not JSON"),
    ],
)
def test_what_is_no_certificate_is_explained(text, message):
    with pytest.raises(CertificateError, match=message):
        verify(text, ROSTER)


def test_a_certificate_of_plain_scores_is_verified_from_plain_scores():
    made = pick(SCORES, 2, seed=1)
    assert verify(made.certificate, SCORES).selected == tuple(made.rows.tolist())
    assert verify(made.certificate, np.array(SCORES)).k == 2
    assert verify(made.certificate, dict(enumerate(SCORES))).n == 5


def test_the_verifier_uses_the_standard_library_and_the_plain_coins_alone():
    """Nothing but the layout is shared with the code that draws."""
    for name in VERIFYING:
        tree = ast.parse(Path(cohort.__file__).with_name(f"{name}.py").read_text("utf-8"))
        imported = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module)
        own = {m for m in imported if m.startswith("septet")}
        assert own <= {"septet._core.errors", *(f"septet.cohort.{m}" for m in VERIFYING)}
        assert not {"numpy", "numba", "scipy"} & imported


def test_the_certificate_says_what_was_computed():
    made = pick([0.875, 0.5, 0.25, 0.125], 2, id=list("dcba"), seed="s").certificate
    assert made["shift"] == "1/16"
    assert made["probabilities"] == ["3/16", "5/16", "9/16", "15/16"]
    assert made["utility"] == str(Fraction("77/64"))
    assert (made["ratio"], made["active"], made["tight_pairs"]) == ("15/14", 4, 3)
    assert (made["max_violation"], made["uniform_utility"]) == ("0/1", "7/8")
    assert made["top_k_utility"] == "11/8"
    assert (made["n"], made["k"], made["seed"], made["commitment"]) == (4, 2, "s", None)
    ratio = pick([1.0, 0.5], 1, seed="s", objective="ratio").certificate
    assert (ratio["shift"], ratio["scale"], ratio["ratio"]) == (None, "2/3", "2/3")


def test_long_rosters_are_certified_without_listing_everybody(rng):
    scores = rng.random(LISTED + 1)
    made = pick(scores, 100, seed=1)
    assert made.certificate["probabilities"] is None
    assert made.certificate["tight_pairs"] is None
    assert list(verify(made.certificate, scores).selected) == made.ids


def test_the_draw_follows_the_certified_probabilities():
    counts = dict.fromkeys(NAMES, 0)
    draws = 1_500
    for seed in range(draws):
        for name in pick(SCORES, 2, id=NAMES, seed=seed).ids:
            counts[name] += 1
    p = pick(SCORES, 2, id=NAMES, seed=0).p
    for name, q in zip(NAMES, p, strict=True):
        assert abs(counts[name] - draws * q) <= 4.5 * np.sqrt(draws * q * (1 - q))


def test_a_commitment_is_checked_and_recorded(chosen):
    assert chosen.certificate["commitment"] == seed_commitment("a public seed")
    assert hashlib.sha256(b"a public seed").hexdigest() == seed_commitment("a public seed")
    with pytest.raises(ValueError, match="seed is not the one committed to"):
        pick(SCORES, 2, seed="another", commit=seed_commitment("a public seed"))
    assert len({cohort.new_seed() for _ in range(10)}) == 10


def test_the_reserve_list_moves_up_by_lot():
    order = {}
    for seed in range(600):
        made = pick([0.5] * 4, 1, seed=seed, reserve=2)
        order[tuple(made.reserve)] = order.get(tuple(made.reserve), 0) + 1
    assert len(order) == 12
    assert max(abs(count - 50) for count in order.values()) < 4.5 * np.sqrt(50)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (["a", "b", "a", "c", "b"], ValueError, r"2 ids occur more than once \('a', 'b'; .* 0, 2"),
        ([1, 2, 3, 2, 5], ValueError, r"1 ids occur more than once \(2; the first in rows 1, 3"),
        (["a", None, "", "c", "d"], ValueError, r"2 of 5 ids are missing or empty \(row 1, row 2"),
        ([1, "1", 2, 3, 4], TypeError, "all strings or all integers.*int, str"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], TypeError, "got float"),
        ([True, False, 1, 2, 3], TypeError, "got bool, int"),
        ([1, 2, 3], ValueError, "ids must have 5 entries, one per candidate; got 3"),
        ([2**63, 1, 2, 3, 4], ValueError, "must fit 64 bits"),
        (["\ud800", "b", "c", "d", "e"], ValueError, r"ids\[0\] cannot be encoded as UTF-8"),
    ],
)
def test_ids_are_taken_exactly_or_not_at_all(ids, error, message):
    with pytest.raises(error, match=message):
        pick(SCORES, 2, id=ids, seed=1)


def test_ids_that_became_floats_in_a_table_are_refused():
    frame = pd.DataFrame({"id": [1, 2, None], "s": [0.1, 0.2, 0.3]})
    with pytest.raises(ValueError, match="1 of 3 ids are missing"):
        pick(frame, 1, id="id", score="s", seed=1)
    with pytest.raises(TypeError, match="got float"):
        pick(frame.assign(id=[1.0, 2.0, 3.0]), 1, id="id", score="s", seed=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"score": "scoer"}, ValueError, "score='scoer' is no column; there are 'id', 's', 't'"),
        ({}, ValueError, "score= must name the column of scores, one of 'id', 's', 't'"),
        ({"score": "t"}, TypeError, "column 't' must hold numbers"),
        ({"score": "s", "id": "x"}, ValueError, "id='x' is no column"),
        ({"score": "s", "id": [1, 2, 3]}, TypeError, "id must name a column .*; got list"),
        ({"score": "s", "order": "given"}, ValueError, "order must be one of"),
        ({"score": "s", "order": "group"}, ValueError, "order='group' needs groups"),
        ({"score": "s", "reserve": 9}, ValueError, "reserve must be from 0 to 1; got 9"),
        ({"score": "s", "reserve": 1, "order": "score"}, ValueError, "in random order only"),
        ({"score": "s", "objective": "lin"}, ValueError, "objective must be one of"),
    ],
)
def test_options_of_pick_are_checked(options, error, message):
    frame = pd.DataFrame({"id": [1, 2, 3], "s": [0.5, 0.5, 0.5], "t": ["x", "y", "z"]})
    with pytest.raises(error, match=message):
        pick(frame, 2, seed=1, **options)


def test_column_names_without_a_frame_are_refused():
    with pytest.raises(TypeError, match="column names need a frame .*got list"):
        pick(SCORES, 2, id="name", seed=1)
    with pytest.raises(ValueError, match="group must have 2 entries, one per candidate; got 1"):
        pick([0.25, 0.5], 1, group=["a"], seed=1)


def test_messages_about_scores_name_candidates_by_id():
    with pytest.raises(ValueError, match=r"1 of 3 scores are missing or infinite \('b'\)"):
        pick([0.1, np.nan, 0.3], 1, id=["a", "b", "c"], seed=1)
    frame = pl.DataFrame({"id": ["a", "b", "c"], "s": [0.1, None, 0.3]})
    with pytest.raises(ValueError, match=r"missing or infinite \('b'\)"):
        pick(frame, 1, id="id", score="s", seed=1)


def test_zero_scores_are_treated_as_by_selection_probabilities():
    with pytest.warns(SeptetWarning, match="2 candidates of score 0"):
        pick([0.9, 0.9, 0, 0], 2, seed=1)
    with pytest.raises(InfeasibleError, match="largest feasible k is 2"):
        pick([0.9, 0.9, 0, 0], 2, seed=1, allow_zero_score=False)
    with pytest.warns(SeptetWarning, match="k = 3 is more"):
        pick([1.0, 1.0, 0, 0], 2, seed=1, reserve=1)


def test_a_cohort_reports_on_itself(chosen):
    report = chosen.report()
    assert (report.n, report.k, report.fair) == (5, 2, True)
    assert isinstance(chosen.p, Marginals)
    assert len(chosen) == 2
    made = pick(SCORES, 2, seed=1, group=GROUPS).report()
    assert sum(group.selected for group in made.groups) == 2
