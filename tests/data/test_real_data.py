"""The real data sets: fetched with the ordinary clients, and what is known about each."""

import numpy as np
import pytest

from septet import data

pytestmark = [pytest.mark.net, pytest.mark.timeout(900)]


def real(name, **options):
    if not data.available(name):
        data.fetch(name, accept_licence=True)
    return data.load(name, **options)


def counts(table, group):
    return dict(
        zip(table.group_names[group], np.bincount(table.groups[group]).tolist(), strict=True)
    )


@pytest.mark.parametrize("name", data.names())
def test_each_set_is_fetched_from_nothing_and_verified(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SEPTET_CACHE", str(tmp_path))
    monkeypatch.delenv("SEPTET_DATA", raising=False)
    data.fetch(name, accept_licence=True)
    assert data.verify(name).name == name
    assert data.load(name).provenance.name == name


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_image_sets_have_their_official_sizes(name):
    split = real(name)
    assert split.train.images.shape == (60_000, 28, 28)
    assert split.test.images.shape == (10_000, 28, 28)
    assert set(split.train.labels) == set(split.test.labels) == set(range(10))


def test_mnist_begins_as_everybody_knows():
    split = real("mnist")
    assert split.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert split.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(split.train.labels)[1] == 6742


def test_fashion_mnist_has_as_many_of_each_class():
    split = real("fashion-mnist")
    assert set(np.bincount(split.train.labels)) == {6000}
    assert split.train.class_names[split.train.labels[0]] == "ankle boot"


def test_the_small_mnist_is_part_of_the_large_one():
    small, large = real("mnist-5k"), real("mnist")
    assert np.bincount(small.labels).tolist() == [500] * 10
    known = {image.tobytes() for image in large.train.images}
    assert sum(image.tobytes() in known for image in small.images) == 5000


def test_adult_has_its_published_sizes_and_shares():
    split = real("adult")
    assert [len(split.train), len(split.test)] == [32_561, 16_281]
    assert split.train.target.sum() == 7841
    assert split.test.target.sum() == 3846
    assert counts(split.train, "sex") == {"female": 10_771, "male": 21_790}


def test_german_credit_has_700_good_risks():
    table = real("german-credit")
    assert len(table) == 1000
    assert table.target.sum() == 700
    assert counts(table, "sex") == {"female": 310, "male": 690}
    assert counts(table, "age") == {"25 or younger": 190, "over 25": 810}


def test_compas_has_the_rows_of_the_published_analysis():
    assert len(real("compas")) == 7214
    table = real("compas", filtered=True)
    assert len(table) == 6172
    assert counts(table, "race")["African-American"] == 3175
    assert counts(table, "race")["Caucasian"] == 2103
    assert table.target.sum() == 2809


def test_celeba_has_the_published_group_sizes():
    """Dark-haired women and men, blond women and men: as in the distributionally robust papers."""
    split = real("celeba-attributes")
    sizes = [
        np.bincount(2 * part.target + part.groups["Male"]).tolist()
        for part in (split.train, split.validation, split.test)
    ]
    assert sizes == [
        [71_629, 66_874, 22_880, 1387],
        [8535, 8276, 2874, 182],
        [9767, 7535, 2480, 180],
    ]


def test_law_school_and_admissions_have_their_sizes():
    law, admissions = real("law-school"), real("admissions")
    assert [len(law), len(admissions)] == [21_791, 43_303]
    assert counts(law, "race")["white"] == 18_285
    assert admissions.target.mean() == pytest.approx(20_263 / 43_303)


def test_loan_decisions_have_their_sizes():
    table = real("loan-decisions")
    assert len(table) == 1989
    assert counts(table, "race") == {"white": 1681, "black": 197, "hispanic": 111}
    assert table.target.sum() == 1745
    assert len(table.columns) == 56


def test_nearly_all_low_scores_default_and_hardly_any_high_score_does():
    """The column called performance counts defaults: it falls with the score."""
    tables = real("fico")
    assert tables.cdf.shape == tables.default_rate.shape == (198, 4)
    assert tables.totals.tolist() == [133_165, 18_274, 14_702, 7906]
    assert (tables.default_rate[0] > 0.94).all()
    assert (tables.default_rate[-1] < 0.01).all()
    shares = np.diff(tables.cdf, axis=0, prepend=0)
    repaid = (shares * (1 - tables.default_rate)).sum(axis=0)
    assert list(np.argsort(repaid)) == [1, 2, 0, 3]  # black, hispanic, white, asian
    people = tables.sample(100_000, random_state=0)
    for code in range(4):
        assert abs(people.repays[people.groups == code].mean() - repaid[code]) < 0.02


def test_the_dictionary_has_its_size_and_is_english():
    train, held_out = real("gcide").split()
    assert len(train) + len(held_out) == 39_952_321
    assert len(held_out) == 1_997_616
    assert b" the " in held_out


def test_texts_without_a_pin_are_about_as_long_as_said():
    assert 40e6 < len(real("torch-source").data) < 60e6
    assert 8e6 < len(real("python-docs").data) < 20e6


def test_pictures_have_their_sizes():
    assert {p.shape for p in real("textures").images.values()} == {(512, 512)}
    assert {p.shape for p in real("photographs").images.values()} == {(427, 640, 3)}
    faces = real("lfw-subset")
    assert faces.labels.sum() == 100
    assert 0 <= faces.images.min() < faces.images.max() <= 1


@pytest.mark.parametrize(
    ("language", "n"), [("en", 568), ("es", 527), ("fr", 561), ("it", 599), ("ru", 576)]
)
def test_announcements_have_as_many_files_in_both_formats(language, n):
    plain, wide = real(f"asterisk-{language}-wav"), real(f"asterisk-{language}-g722")
    assert len(plain) == len(wide) == n
    assert [p.removesuffix(".wav") for p in plain.paths] == [
        p.removesuffix(".g722") for p in wide.paths
    ]


def test_drums_come_in_fourteen_kits():
    kits = real("hydrogen-drumkits")
    assert sum(path.endswith("/drumkit.xml") for path in kits.paths) == 14
    assert sum(path.endswith((".wav", ".flac", ".aiff")) for path in kits.paths) == 754


def test_the_game_voices_name_their_speakers():
    for name in ("fillets-cs", "fillets-nl"):
        paths = real(name).paths
        assert any("-v-" in path for path in paths)
        assert any("-m-" in path for path in paths)
