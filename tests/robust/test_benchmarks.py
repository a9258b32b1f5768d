"""Folders as the benchmarks' projects publish them, in miniature."""

import json

import numpy as np
import pytest

from septet._core.errors import DataError
from septet.robust import (
    digits_on_photographs,
    group_report,
    load_celeba,
    load_civilcomments,
    load_multinli,
    load_waterbirds,
)

BIRDS = """img_id,img_filename,y,split,place,place_filename
1,001.Albatross/a.jpg,1,0,0,/o/ocean/1.jpg
2,002.Jay/b.jpg,0,0,0,/b/bamboo/1.jpg
3,003.Gull/c.jpg,1,1,1,/l/lake/1.jpg
4,002.Jay/d.jpg,0,2,1,/o/ocean/2.jpg
"""


def test_waterbirds_come_in_their_official_parts(tmp_path):
    (tmp_path / "metadata.csv").write_text(BIRDS)
    birds = load_waterbirds(tmp_path)
    assert [len(part) for part in (birds.train, birds.validation, birds.test)] == [2, 1, 1]
    assert birds.train.inputs == ("001.Albatross/a.jpg", "002.Jay/b.jpg")
    assert birds.train.y.tolist() == [1, 0]
    assert birds.test.attributes["place"].tolist() == [1]
    assert birds.train.groups.tolist() == [[0], [0]]


@pytest.mark.parametrize("form", ["txt", "csv"])
def test_celeba_is_read_in_both_forms(tmp_path, form):
    names = ["5_o_Clock_Shadow", "Blond_Hair", "Male"]
    values = [
        ("000001.jpg", (-1, 1, -1), 0),
        ("000002.jpg", (1, -1, 1), 1),
        ("3.jpg", (-1, 1, 1), 2),
    ]
    if form == "txt":
        (tmp_path / "Anno").mkdir()
        (tmp_path / "Eval").mkdir()
        lines = [f"{name}  {' '.join(map(str, row))}" for name, row, _ in values]
        text = "\n".join(["3", " ".join(names), *lines])
        (tmp_path / "Anno" / "list_attr_celeba.txt").write_text(text + "\n")
        lines = [f"{name} {part}" for name, _, part in values]
        (tmp_path / "Eval" / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    else:
        lines = [",".join([name, *map(str, row)]) for name, row, _ in values]
        text = "\n".join([",".join(["image_id", *names]), *lines])
        (tmp_path / "list_attr_celeba.csv").write_text(text)
        lines = ["image_id,partition", *(f"{name},{part}" for name, _, part in values)]
        (tmp_path / "list_eval_partition.csv").write_text("\n".join(lines))
    faces = load_celeba(tmp_path)
    assert faces.train.inputs == ("img_align_celeba/000001.jpg",)
    assert (faces.train.y[0], faces.train.attributes["Male"][0]) == (1, 0)
    assert (faces.validation.y[0], faces.validation.attributes["Male"][0]) == (0, 1)
    assert faces.test.class_names == ("not blond hair", "blond hair")
    with pytest.raises(ValueError, match="Did you mean 'Male'"):
        load_celeba(tmp_path, attributes=("male",))


def write_nli(folder):
    entries = {
        "train": [
            ("entailment", "A man eats.", "Somebody eats."),
            ("-", "A man.", "No idea."),
            ("contradiction", "A man eats.", "Nobody eats!"),
        ],
        "dev_matched": [("neutral", "A dog.", "The dog is unknown.")],
        "dev_mismatched": [("contradiction", "A cat.", "It is, no, a dog.")],
    }
    for name, rows in entries.items():
        lines = [
            json.dumps({"gold_label": y, "sentence1": a, "sentence2": b, "pairID": "7n"})
            for y, a, b in rows
        ]
        (folder / f"multinli_1.0_{name}.jsonl").write_text("\n".join(lines) + "\n")


def test_multinli_finds_negations_as_whole_words(tmp_path):
    write_nli(tmp_path)
    pairs = load_multinli(tmp_path)
    assert pairs.train.inputs[1] == ("A man eats.", "Nobody eats!")
    assert pairs.train.y.tolist() == [1, 0]
    assert pairs.train.attributes["negation"].tolist() == [0, 1]
    assert pairs.validation.attributes["negation"].tolist() == [0]  # unknown is no "no"
    assert pairs.test.attributes["negation"].tolist() == [1]


def test_multinli_takes_the_published_random_parts(tmp_path):
    write_nli(tmp_path)
    table = ",gold_label,sentence2_has_negation,split\n0,1,0,2\n2,0,1,0\n3,2,0,0\n4,0,1,1\n"
    (tmp_path / "metadata_random.csv").write_text(table)
    pairs = load_multinli(tmp_path, split="random")
    assert pairs.train.y.tolist() == [0, 2]
    assert pairs.test.inputs == (("A man eats.", "Somebody eats."),)
    (tmp_path / "metadata_random.csv").write_text(table.replace("2,0,1,0", "2,1,1,0"))
    with pytest.raises(DataError, match="row 3: gold_label is not that of the sentences"):
        load_multinli(tmp_path, split="random")
    (tmp_path / "metadata_random.csv").write_text(table.replace("\n2,", "\n1,"))
    with pytest.raises(DataError, match="does not count the labelled pairs"):
        load_multinli(tmp_path, split="random")


def test_civilcomments_have_four_groups_to_train_and_overlapping_ones_to_judge(tmp_path):
    names = ["male", "female", "LGBTQ", "christian", "muslim", "other_religions", "black", "white"]
    header = ["", "comment_text", "split", "toxicity", *names, "identity_any"]
    rows = [
        ["0", '"Well, said"', "train", "0.1", "0.6", "0.7", *["0.0"] * 6, "0.7"],
        ["1", "Rubbish", "train", "0.8", *["0.0"] * 8, "0.0"],
        ["2", "Hm", "val", "0.5", *["0.0"] * 7, "0.5", "0.5"],
        ["3", "So", "test", "0.0", *["0.0"] * 8, "0.0"],
    ]
    text = "\n".join(",".join(row) for row in [header, *rows])
    (tmp_path / "all_data_with_identities.csv").write_text(text + "\n")
    comments = load_civilcomments(tmp_path)
    assert comments.train.inputs == ("Well, said", "Rubbish")
    assert comments.train.y.tolist() == [0, 1]
    assert comments.validation.y.tolist() == [1]
    assert comments.train.attributes["any_identity"].tolist() == [1, 0]
    membership, words = comments.train.overlapping()
    assert membership.shape == (2, 18)
    assert membership[0].nonzero()[0].tolist() == [0, 2, 16]
    assert words[0] == "not toxic, male"
    with pytest.warns(UserWarning, match="no row to judge"):
        report = group_report([0, 1], [0, 0], group_membership=membership)
    assert report.worst_group_accuracy == 1.0  # the toxic comment names nobody


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BIRDS.replace("place,", "where,"), "metadata.csv has no column 'place'"),
        (BIRDS.replace(",1,1,1,", ",1,4,1,"), "row 4, column 'split': expected one of 0, 1, 2"),
        (BIRDS.replace("a.jpg,1,", "a.jpg,x,"), "row 2, column 'y': expected one of 0, 1; got 'x'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, text, message):
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_waterbirds(tmp_path)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (load_waterbirds, "metadata.csv cannot be read: No such file"),
        (load_celeba, "has no list_attr_celeba.txt or list_attr_celeba.csv, nor has its folder"),
        (load_multinli, "multinli_1.0_train.jsonl cannot be read"),
        (load_civilcomments, "all_data_with_identities.csv cannot be read"),
    ],
)
def test_missing_files_are_named(tmp_path, load, message):
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_digits_on_photographs_agree_in_training_only():
    parts = digits_on_photographs(
        n_train=600, n_validation=400, n_test=400, digits="digits", random_state=0
    )
    shares = [float((part.y == part.place).mean()) for part in (parts.train, parts.validation)]
    assert abs(shares[0] - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 600)
    assert abs(shares[1] - 0.5) < 4 * np.sqrt(0.25 / 400)
    assert ((parts.train.digits >= 5) == parts.train.y).all()
    assert 0 <= parts.test.images.min() <= parts.test.images.max() <= 1
    again = digits_on_photographs(
        n_train=600, n_validation=400, n_test=400, digits="digits", random_state=0
    )
    assert np.array_equal(again.test.images, parts.test.images)
    with pytest.raises(ValueError, match="5000 digits are needed; digits has 1797"):
        digits_on_photographs(digits="digits")
