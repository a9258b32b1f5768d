import bz2
import zipfile

import numpy as np
import pytest

from septet._core.errors import DataError
from septet.data import Provenance, Table, _tables

HERE = Provenance("made up", "0" * 64, {}, {})


@pytest.fixture
def read(tmp_path):
    """Write texts in the packing that their names call for, and read them."""

    def run(reader, texts, **options):
        paths = {}
        for name, text in texts.items():
            path = paths[name] = tmp_path / name
            if name.endswith(".zip"):
                with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr(name.removesuffix(".zip"), text)
            elif name.endswith(".bz2"):
                path.write_bytes(bz2.compress(text.encode()))
            else:
                path.write_bytes(text.encode())
        return reader(paths, HERE, **options)

    return run


def with_cell(text, row, column, cell, delimiter=","):
    """Put `cell` into a row and column, counted from 1."""
    lines = text.splitlines()
    cells = lines[row - 1].split(delimiter)
    cells[column - 1] = cell
    lines[row - 1] = delimiter.join(cells)
    return "\n".join(lines) + "\n"


# German credit

GERMAN = """\
A11 6 A34 A43 1169 A65 A75 4 A93 A101 4 A121 67 A143 A152 2 A173 1 A192 A201 1
A12 48 A32 A43 5951 A61 A73 2 A92 A101 2 A121 22 A143 A152 1 A173 1 A191 A201 2
A14 12 A32 A46 2096 A61 A74 2 A95 A101 3 A121 25 A143 A152 1 A172 2 A191 A201 1
"""


def test_german_credit_gives_risk_sex_and_age(read):
    table = read(_tables.read_german_credit, {"german.data": GERMAN})
    assert len(table) == 3
    assert len(table.columns) == 20
    assert table.columns["amount"].tolist() == [1169, 5951, 2096]
    assert table.columns["purpose"].tolist() == ["A43", "A43", "A46"]
    assert [table.target_names[code] for code in table.target] == [
        "good risk", "bad risk", "good risk",
    ]  # fmt: skip
    assert [table.group_names["sex"][code] for code in table.groups["sex"]] == [
        "male", "female", "female",
    ]  # fmt: skip
    assert table.groups["age"].tolist() == [1, 0, 0]
    assert table.provenance is HERE


@pytest.mark.parametrize(
    ("row", "column", "cell", "said"),
    [
        (2, 5, "many", r"row 2, column 'amount': expected a finite number; got 'many'"),
        (2, 5, "inf", r"row 2, column 'amount': expected a finite number; got 'inf'"),
        (3, 9, "A96", r"row 3, column 'personal-status': expected one of .*; got 'A96'"),
        (1, 21, "3", r"row 1, column 'class': expected one of '1', '2'; got '3'"),
        (2, 7, "A73 A73", "row 2: expected 21 cells; got 22"),
    ],
)
def test_damage_is_named_by_file_row_and_column(row, column, cell, said, read):
    text = with_cell(GERMAN, row, column, cell, " ")
    with pytest.raises(DataError, match=rf"german\.data, {said}"):
        read(_tables.read_german_credit, {"german.data": text})


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_table_is_refused(text, read):
    with pytest.raises(DataError, match=r"german\.data: no row of data"):
        read(_tables.read_german_credit, {"german.data": text})


# Adult

ADULT = """\
39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, United-States, <=50K
50, ?, 83311, Bachelors, 13, Married-civ-spouse, ?, Wife, Black, Female, 0, 0, 13, Cuba, >50K

"""  # noqa: E501 - rows as they are
ADULT_TEST = """\
|1x3 Cross validator
25, Private, 226802, 11th, 7, Never-married, Sales, Own-child, Other, Male, 0, 0, 40, Peru, <=50K.
44, Private, 160323, HS-grad, 10, Divorced, Sales, Husband, White, Male, 7688, 0, 40, ?, >50K.

"""


def test_adult_keeps_the_official_parts_apart(read):
    split = read(_tables.read_adult, {"adult.data": ADULT, "adult.test": ADULT_TEST})
    assert split.train.target.tolist() == split.test.target.tolist() == [0, 1]
    assert split.train.columns["age"].tolist() == [39, 50]
    assert split.test.columns["age"].tolist() == [25, 44]
    assert split.train.columns["workclass"].tolist() == ["State-gov", "?"]
    assert split.test.columns["native-country"].tolist() == ["Peru", "?"]
    assert split.train.groups["sex"].tolist() == [1, 0]
    assert [split.test.group_names["race"][i] for i in split.test.groups["race"]] == [
        "Other", "White",
    ]  # fmt: skip
    assert "income" not in split.train.columns
    assert split.validation is None
    assert split.provenance is HERE


def test_both_parts_have_the_same_columns_of_numbers(read):
    split = read(_tables.read_adult, {"adult.data": ADULT, "adult.test": ADULT_TEST})
    train, names = split.train.matrix(exclude=("fnlwgt",))
    test, same_names = split.test.matrix(exclude=("fnlwgt",))
    assert names == same_names
    assert train.shape == test.shape == (2, len(names))
    assert "native-country=Peru" in names
    assert train[:, names.index("native-country=Peru")].tolist() == [0, 0]
    assert test[:, names.index("native-country=Peru")].tolist() == [1, 0]
    assert "fnlwgt" not in names


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"adult.test": ADULT_TEST.partition("\n")[2]}, r"adult\.test, row 1: expected a comment"),
        (
            {"adult.test": ADULT_TEST.replace(">50K.", ">50K")},
            r"adult\.test, row 3, column 'income': expected one of '<=50K\.', '>50K\.'; got '>50K'",
        ),
        (
            {"adult.data": ADULT.replace("Black", "Green")},
            r"adult\.data, row 2, column 'race': .*got 'Green'",
        ),
    ],
)
def test_adult_quirks_are_checked(texts, said, read):
    with pytest.raises(DataError, match=said):
        read(_tables.read_adult, {"adult.data": ADULT, "adult.test": ADULT_TEST, **texts})


# Law school

LAW = """\
LSAT,UGPA,ZFYA,Race_Amerindian,Race_Asian,Race_Black,Race_Hispanic,Race_Mexican,Race_Other,Race_Puertorican,Race_White,Sex_1,Sex_2,PF_0,PF_1
33.0,2.7,1.16,0,0,0,0,0,0,0,1,1,0,0,1
34.0,3.4,-0.15,0,0,1,0,0,0,0,0,0,1,1,0
"""


def test_law_school_joins_its_zeros_and_ones_to_groups(read):
    table = read(_tables.read_law_school, {"law.csv.zip": LAW})
    assert table.columns["ZFYA"].tolist() == [1.16, -0.15]
    assert table.columns["race"].tolist() == ["white", "black"]
    assert table.columns["sex"].tolist() == ["female", "male"]
    assert table.groups["race"].tolist() == [7, 2]
    assert table.groups["sex"].tolist() == [0, 1]
    assert table.target.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("row", "column", "cell", "said"),
    [
        (2, 4, "1", "row 2, column 'Race_Amerindian': expected a single 1 among Race_Amer"),
        (3, 6, "0", "row 3, column 'Race_Amerindian': expected a single 1 among Race_Amer"),
        (3, 13, "2", "row 3, column 'Sex_2': expected one of '0', '1'; got '2'"),
        (1, 3, "other", "row 1: no column 'ZFYA'; got 'LSAT, UGPA, other"),
        (1, 3, "UGPA", "row 1: no column 'ZFYA'"),
    ],
)
def test_law_school_checks_header_and_cells(row, column, cell, said, read):
    with pytest.raises(DataError, match=rf"law\.csv, {said}"):
        read(_tables.read_law_school, {"law.csv.zip": with_cell(LAW, row, column, cell)})


def test_a_damaged_zip_file_is_named(tmp_path):
    path = tmp_path / "law.csv.zip"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"law\.csv\.zip is damaged"):
        _tables.read_law_school({"law.csv.zip": path}, HERE)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("law.csv", LAW)
        archive.writestr("other.csv", LAW)
    with pytest.raises(DataError, match="expected one file inside"):
        _tables.read_law_school({"law.csv.zip": path}, HERE)


# Admissions

ADMISSIONS = """\
gender,physics,biology,history,language,geography,literature,essay,math,chemistry,gpa
0,454.56,511.66,613.97,412.33,560.8,343.35,514.74,420.53,416.85,0
1,482.47,559.99,652.79,393.0,619.2,569.53,520.2,578.77,595.23,1
"""


def test_admissions_give_examinations_and_sex(read):
    table = read(_tables.read_admissions, {"admissions.csv.zip": ADMISSIONS})
    assert list(table.columns)[:3] == ["gender", "physics", "biology"]
    assert table.matrix()[0].shape == (2, 10)
    assert [table.group_names["sex"][code] for code in table.groups["sex"]] == ["female", "male"]
    assert table.target.tolist() == [0, 1]


# Loan decisions

LOANS = """\
loanamt,action,min30,black,hispan,male,reject,approve,white
89,1,,0,0,1,0,1,1
128,3,0,1,0,,1,0,0
50,1,1,0,1,0,0,1,0
"""


def test_loan_decisions_keep_gaps_as_nan_and_hide_the_decision(read):
    table = read(_tables.read_loan_decisions, {"loanapp.csv.bz2": LOANS})
    np.testing.assert_array_equal(table.columns["min30"], [np.nan, 0, 1])
    assert list(table.columns) == ["loanamt", "min30", "black", "hispan", "male", "white"]
    assert [table.group_names["race"][i] for i in table.groups["race"]] == [
        "white", "black", "hispanic",
    ]  # fmt: skip
    assert [table.group_names["sex"][i] for i in table.groups["sex"]] == [
        "male", "unknown", "female",
    ]  # fmt: skip
    assert table.target.tolist() == [1, 0, 1]


def test_a_damaged_bzip2_file_is_named(tmp_path):
    path = tmp_path / "loanapp.csv.bz2"
    path.write_bytes(bz2.compress(LOANS.encode())[:-9])
    with pytest.raises(DataError, match=r"loanapp\.csv\.bz2 is damaged"):
        _tables.read_loan_decisions({"loanapp.csv.bz2": path}, HERE)


# COMPAS

COMPAS_HEADER = (
    "id,name,first,last,compas_screening_date,sex,dob,age,age_cat,race,juv_fel_count,decile_score,"
    "juv_misd_count,juv_other_count,priors_count,days_b_screening_arrest,c_case_number,"
    "c_days_from_compas,c_charge_degree,is_recid,r_case_number,r_days_from_arrest,"
    "is_violent_recid,vr_case_number,decile_score,score_text,v_decile_score,start,end,event,"
    "two_year_recid\n"
)
COMPAS = COMPAS_HEADER + (
    "1,ann made-up,ann,made-up,2013-01-01,Female,1950-01-01,63,Greater than 45,Caucasian,0,1,0,0,2,"
    "-1,SECRET1,1,F,0,SECRET2,,0,SECRET3,1,Low,1,0,327,0,0\n"
    '3,"bob made-up, jr",bob,made-up,2013-01-02,Male,1990-01-01,23,Less than 25,Other,0,9,0,0,0,'
    "45,SECRET4,1,M,1,,,0,,9,High,8,9,159,1,1\n"
    "4,cal made-up,cal,made-up,2013-01-02,Male,1983-01-01,30,25 - 45,Asian,0,5,0,1,4,"
    ",SECRET5,1,M,-1,,,0,,5,Medium,8,9,159,1,1\n"
)


def test_compas_carries_no_name_birthday_or_case_number(read):
    table = read(_tables.read_compas, {"compas-scores-two-years.csv": COMPAS})
    for dropped in ("name", "first", "last", "dob"):
        assert dropped not in table.columns
    assert not [name for name in table.columns if "case_number" in name]
    text = repr([values.tolist() for values in table.columns.values()])
    for secret in ("made-up", "ann", "SECRET", "1950", "1990"):
        assert secret not in text


def test_compas_gives_groups_and_what_happened(read):
    table = read(_tables.read_compas, {"compas-scores-two-years.csv": COMPAS})
    assert table.target.tolist() == [0, 1, 1]
    assert table.columns["decile_score"].tolist() == [1, 9, 5]
    assert [table.group_names["race"][i] for i in table.groups["race"]] == [
        "Caucasian", "Other", "Asian",
    ]  # fmt: skip
    assert table.groups["age_cat"].tolist() == [2, 0, 1]
    assert np.isnan(table.columns["days_b_screening_arrest"][2])


def test_compas_filtered_keeps_the_rows_of_the_published_analysis(read):
    table = read(_tables.read_compas, {"compas-scores-two-years.csv": COMPAS}, filtered=True)
    assert table.columns["id"].tolist() == [1]
    assert len(table) == len(table.groups["race"]) == len(table.columns["sex"]) == 1


def test_two_different_columns_of_one_name_are_refused(read):
    text = with_cell(COMPAS, 4, 25, "6")
    with pytest.raises(DataError, match="two different columns are both named 'decile_score'"):
        read(_tables.read_compas, {"compas-scores-two-years.csv": text})


# CelebA

CELEBA = """\
filename,Blond_Hair,Male,Smiling
000001.jpg,-1,1,1
000002.jpg,1,-1,-1
000003.jpg,1,1,-1
000004.jpg,-1,-1,1
000005.jpg,1,-1,1
"""


@pytest.fixture
def small_celeba(monkeypatch):
    monkeypatch.setattr(_tables, "_CELEBA_TRAIN", 2)
    monkeypatch.setattr(_tables, "_CELEBA_VALIDATION", 4)


def test_celeba_comes_in_the_official_three_parts(read, small_celeba):
    split = read(_tables.read_celeba_attributes, {"celeba.csv.zip": CELEBA})
    assert [len(split.train), len(split.validation), len(split.test)] == [2, 2, 1]
    assert split.validation.target.tolist() == [1, 0]
    assert split.validation.groups["Male"].tolist() == [1, 0]
    assert split.train.columns["Smiling"].tolist() == [1, -1]
    assert list(split.train.columns) == ["Male", "Smiling"]
    assert split.train.group_names["Male"] == ("not male", "male")


def test_celeba_without_rows_is_refused(read):
    with pytest.raises(DataError, match="no row of data"):
        read(_tables.read_celeba_attributes, {"celeba.csv.zip": CELEBA.splitlines()[0]})


def test_celeba_lets_target_and_groups_be_chosen(read, small_celeba):
    choice = {"target": "Smiling", "groups": ("Male", "Blond_Hair")}
    split = read(_tables.read_celeba_attributes, {"celeba.csv.zip": CELEBA}, **choice)
    assert split.train.target.tolist() == [1, 0]
    assert split.train.groups["Blond_Hair"].tolist() == [0, 1]
    with pytest.raises(ValueError, match="target must be one of .*Did you mean 'Smiling'"):
        read(_tables.read_celeba_attributes, {"celeba.csv.zip": CELEBA}, target="smiling")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("000003.jpg", "000004.jpg", r"row 4: expected 000003\.jpg; got '000004\.jpg"),
        ("3.jpg,1,1,-1", "3.jpg,1,0,-1", r"row 4, column 'Male': expected 1 or -1; got '0'"),
        ("3.jpg,1,1,-1", "3.jpg,1,x,-1", r"row 4, column 'Male': expected 1 or -1; got 'x'"),
        ("3.jpg,1,1,-1", "3.jpg,1,1", r"row 4: expected 3 attributes"),
    ],
)
def test_celeba_checks_names_and_values(old, new, said, read):
    text = CELEBA.replace(old, new)
    with pytest.raises(DataError, match=rf"celeba\.csv, .*{said}"):
        read(_tables.read_celeba_attributes, {"celeba.csv.zip": text})


# Credit scores

FICO = {
    "totals.csv": "Kind,Non- Hispanic white,Black,Hispanic,Asian\nSSA,600,200,150,50\n\n",
    "transrisk_cdf_by_race_ssa.csv": (
        "Score,Non- Hispanic white,Black,Hispanic,Asian\r\n"
        "0,10,40,25,0.00\r\n50.5,50,80,50,50\r\n100,100.00,100,100,100\r\n"
    ),
    "transrisk_performance_by_race_ssa.csv": (
        "Score,Non- Hispanic white,Black,Hispanic,Asian\r\n"
        "0,90,99,95,80\r\n50.5,20,30,25,15\r\n100,0,1,2,3\r\n"
    ),
}


def test_credit_scores_are_shares_between_zero_and_one(read):
    tables = read(_tables.read_fico, FICO)
    assert tables.scores.tolist() == [0, 50.5, 100]
    assert tables.group_names == ("white", "black", "hispanic", "asian")
    assert tables.cdf[1].tolist() == [0.5, 0.8, 0.5, 0.5]
    assert tables.default_rate[0].tolist() == [0.9, 0.99, 0.95, 0.8]
    assert tables.totals.tolist() == [600, 200, 150, 50]


def test_sampled_people_follow_the_tables(read):
    tables = read(_tables.read_fico, FICO)
    people = tables.sample(200_000, random_state=0)
    share = np.bincount(people.groups, minlength=4) / len(people)
    np.testing.assert_allclose(share, [0.6, 0.2, 0.15, 0.05], atol=0.005)
    for code in range(4):
        here = people.groups == code
        for score, expected in zip(tables.scores, tables.cdf[:, code], strict=True):
            assert abs((people.scores[here] <= score).mean() - expected) < 0.012
            with_score = here & (people.scores == score)
            if with_score.any():
                row = list(tables.scores).index(score)
                promised = 1 - tables.default_rate[row, code]
                assert set(people.repayment_probability[with_score]) == {promised}
                assert abs(people.repays[with_score].mean() - promised) < 0.03
    assert not ((people.groups == 3) & (people.scores == 0)).any()  # its share there is 0


def test_the_same_seed_draws_the_same_people(read):
    tables = read(_tables.read_fico, FICO)
    one, two, other = (tables.sample(50, random_state=seed) for seed in (7, 7, 8))
    for name in ("scores", "repayment_probability", "repays", "groups"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.scores != other.scores).any()
    with pytest.raises(ValueError, match="n must be at least 1"):
        tables.sample(0)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("transrisk_cdf_by_race_ssa.csv", "50,80", "50,30", "cumulative shares that rise to 100"),
        ("transrisk_cdf_by_race_ssa.csv", "100.00", "99.00", "cumulative shares that rise to 100"),
        ("transrisk_cdf_by_race_ssa.csv", "10,40", "10,400", "row 2, column 'Black': .*'400'"),
        ("transrisk_performance_by_race_ssa.csv", "50.5", "51", "expected the ascending scores"),
        ("totals.csv", "Asian", "Martian", "no column 'Asian'"),
        ("totals.csv", "600", "?", "row 2, column 'Non- Hispanic white': .*got '\\?'"),
    ],
)
def test_credit_score_tables_are_checked(file, old, new, said, read):
    texts = {**FICO, file: FICO[file].replace(old, new, 1)}
    with pytest.raises(DataError, match=f"{file}.*{said}"):
        read(_tables.read_fico, texts)


# Tables of numbers


def make_table(**columns):
    categories = {
        name: tuple(sorted(set(values)))
        for name, values in columns.items()
        if isinstance(values[0], str)
    }
    arrays = {name: np.array(values) for name, values in columns.items()}
    zeros = np.zeros(len(next(iter(arrays.values()))), dtype=np.int64)
    return Table(arrays, categories, zeros, ("no", "yes"), {}, {}, HERE)


def test_categories_become_columns_of_zero_and_one():
    table = make_table(colour=["red", "blue", "red"], size=[1.5, 2.5, 3.5])
    numbers, names = table.matrix()
    assert names == ["colour=blue", "colour=red", "size"]
    assert numbers.tolist() == [[0, 1, 1.5], [1, 0, 2.5], [0, 1, 3.5]]
    assert table.matrix(exclude=("colour", "size"))[0].shape == (3, 0)
    with pytest.raises(ValueError, match="Did you mean 'colour'"):
        table.matrix(exclude=("color",))


def test_free_text_is_not_turned_into_numbers():
    table = make_table(note=[f"note {i}" for i in range(201)])
    with pytest.raises(ValueError, match="column 'note' has 201 categories"):
        table.matrix()
