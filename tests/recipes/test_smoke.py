"""Every recipe of the library runs at smoke scale, tells everything, and ends the same twice."""

import json

import pytest
from crash.kill_recipe import untimed

from septet import data
from septet.recipes import load, names, reproduce
from septet.report import write_report


@pytest.mark.parametrize("name", names())
def test_the_smoke_scale_runs_and_is_reproducible(name, tmp_path):
    recipe = load(name)
    missing = [each for each in recipe.scale("smoke").data if not data.available(each)]
    assert not missing, "the smoke scale must need no fetched data"
    folders = [
        reproduce(recipe, "smoke", recipe.config("smoke"), tmp_path / run).folder for run in "ab"
    ]
    first, second = (json.loads((f / "result.json").read_text("utf-8")) for f in folders)
    assert first["rows"]
    assert {row["verdict"] for row in first["rows"]} <= {"not judged", "not run"}
    assert untimed(first) == untimed(second)
    for name in ("config.toml", "environment.json", "history.jsonl", "exhibits/exhibits.json"):
        assert (folders[0] / name).exists()
    assert write_report(folders[0]).stat().st_size > 1000


@pytest.mark.parametrize("name", names())
def test_claims_speak_of_measures_that_exist_and_scales_that_run(name):
    recipe = load(name)
    assert len({claim.id for claim in recipe.claims}) == len(recipe.claims)
    for claim in recipe.claims:
        assert callable(getattr(recipe.module, claim.measure)), claim.id
        assert set(claim.expect) <= set(recipe.scales), claim.id
    for scale in recipe.scales:
        recipe.config(scale)
        assert set(recipe.scale(scale).data) <= set(data.names())
    assert recipe.scale("laptop").seconds <= 90
