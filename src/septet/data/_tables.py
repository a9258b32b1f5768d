"""Readers of tables: people, what was decided about them, and the groups they belong to."""

import bz2
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet._core.errors import DataError
from septet.data import _sheet
from septet.data._containers import ScoreTables, Split, Table
from septet.data._sheet import Sheet
from septet.data._store import Provenance

Paths = Mapping[str, Path]

# Columns in the order of the file; numbers are marked with a star.
_ADULT = (
    "age* workclass fnlwgt* education education-num* marital-status occupation relationship race "
    "sex capital-gain* capital-loss* hours-per-week* native-country income"
)
_ADULT_RACES = ("Amer-Indian-Eskimo", "Asian-Pac-Islander", "Black", "Other", "White")
_GERMAN = (
    "status duration* credit-history purpose amount* savings employment installment-rate* "
    "personal-status other-debtors residence* property age* other-installments housing "
    "existing-credits* job dependents* telephone foreign-worker class"
)
_GERMAN_STATUS = ("A91", "A92", "A93", "A94", "A95")
_GERMAN_SEX = np.array([1, 0, 1, 1, 0])
_LAW_SCORES = ("LSAT", "UGPA", "ZFYA")
_LAW_RACES = (
    "Amerindian",
    "Asian",
    "Black",
    "Hispanic",
    "Mexican",
    "Other",
    "Puertorican",
    "White",
)
_FICO = {
    "Non- Hispanic white": "white",
    "Black": "black",
    "Hispanic": "hispanic",
    "Asian": "asian",
}
_PERSONAL = {"name", "first", "last", "dob", "c_case_number", "r_case_number", "vr_case_number"}
_COMPAS_NUMBERS = {
    "id",
    "age",
    "juv_fel_count",
    "juv_misd_count",
    "juv_other_count",
    "priors_count",
    "decile_score",
    "v_decile_score",
    "days_b_screening_arrest",
    "c_days_from_compas",
    "r_days_from_arrest",
    "is_recid",
    "is_violent_recid",
    "start",
    "end",
    "event",
}
_COMPAS_GROUPS = {
    "race": ("African-American", "Asian", "Caucasian", "Hispanic", "Native American", "Other"),
    "sex": ("Female", "Male"),
    "age_cat": ("Less than 25", "25 - 45", "Greater than 45"),
}
# Where the official parts of CelebA end, counted in pictures.
_CELEBA_TRAIN, _CELEBA_VALIDATION = 162_770, 182_637
_LOAN_RACES = {"white": "white", "black": "black", "hispan": "hispanic"}
_LOAN_DECISION = {"action", "reject", "approve"}


def read_adult(paths: Paths, provenance: Provenance) -> Split[Table]:
    """Read adult.data and adult.test, which begins with a comment and ends its labels in dots.

    Target: income over 50 000 dollars. Groups: sex and race. A missing category stays ``"?"``.
    """
    with _lines(paths["adult.data"]) as lines:
        train = _read_marked("adult.data", lines, _ADULT)
    with _lines(paths["adult.test"]) as lines:
        comment = next(lines, "")
        if not comment.startswith("|"):
            raise DataError(f"adult.test, row 1: expected a comment; got {comment[:80]!r}.")
        test = _read_marked("adult.test", lines, _ADULT, first_row=2)
    parts = [_columns(sheet, _ADULT, but="income") for sheet in (train, test)]
    categories = _categories(*parts)
    return Split(
        train=_adult(train, parts[0], categories, "", provenance),
        test=_adult(test, parts[1], categories, ".", provenance),
    )


def _adult(
    sheet: Sheet,
    columns: dict[str, NDArray],
    categories: dict[str, tuple[str, ...]],
    end: str,
    provenance: Provenance,
) -> Table:
    return Table(
        columns=columns,
        categories=categories,
        target=sheet.codes("income", (f"<=50K{end}", f">50K{end}")),
        target_names=("at most 50K", "over 50K"),
        groups={
            "sex": sheet.codes("sex", ("Female", "Male")),
            "race": sheet.codes("race", _ADULT_RACES),
        },
        group_names={"sex": ("female", "male"), "race": _ADULT_RACES},
        provenance=provenance,
    )


def read_german_credit(paths: Paths, provenance: Provenance) -> Table:
    """Read german.data: 20 attributes, then 1 for good and 2 for bad risk.

    Target: good risk. Groups: sex, read off the personal status, and age up to or over 25 years.
    """
    with _lines(paths["german.data"]) as lines:
        sheet = _read_marked("german.data", lines, _GERMAN, delimiter=" ")
    columns = _columns(sheet, _GERMAN, but="class")
    status = sheet.codes("personal-status", _GERMAN_STATUS)
    return Table(
        columns=columns,
        categories=_categories(columns),
        target=1 - sheet.codes("class", ("1", "2")),
        target_names=("bad risk", "good risk"),
        groups={"sex": _GERMAN_SEX[status], "age": (columns["age"] > 25).astype(np.int64)},
        group_names={"sex": ("female", "male"), "age": ("25 or younger", "over 25")},
        provenance=provenance,
    )


def read_law_school(paths: Paths, provenance: Provenance) -> Table:
    """Read law.csv.zip: entrance score, grades, and race and sex as 0/1 columns.

    Target: passed the bar examination at the first try. Groups: sex and race.
    """
    races = [f"Race_{race}" for race in _LAW_RACES]
    sexes, passed = ["Sex_1", "Sex_2"], ["PF_0", "PF_1"]
    with _lines(paths["law.csv.zip"]) as lines:
        sheet = _sheet.read("law.csv", lines, [*_LAW_SCORES, *races, *sexes, *passed])
    race, sex = sheet.one_hot(races), sheet.one_hot(sexes)
    names = {"sex": ("female", "male"), "race": tuple(name.lower() for name in _LAW_RACES)}
    columns = {name: sheet.numbers(name) for name in _LAW_SCORES}
    columns |= {"sex": np.array(names["sex"])[sex], "race": np.array(names["race"])[race]}
    return Table(
        columns=columns,
        categories=_categories(columns),
        target=sheet.one_hot(passed),
        target_names=("failed", "passed"),
        groups={"sex": sex, "race": race},
        group_names=names,
        provenance=provenance,
    )


def read_admissions(paths: Paths, provenance: Provenance) -> Table:
    """Read admissions.csv.zip: nine entrance examinations of students at a Brazilian university.

    Target: mean grade of the first three semesters of at least 3.0. Group: sex.
    """
    with _lines(paths["admissions.csv.zip"]) as lines:
        sheet = _sheet.read("admissions.csv", lines, ["gender", "gpa"])
    return Table(
        columns={name: sheet.numbers(name) for name in sheet.cells if name != "gpa"},
        categories={},
        target=sheet.codes("gpa", ("0", "1")),
        target_names=("below 3.0", "3.0 or better"),
        groups={"sex": sheet.codes("gender", ("0", "1"))},
        group_names={"sex": ("female", "male")},
        provenance=provenance,
    )


def read_loan_decisions(paths: Paths, provenance: Provenance) -> Table:
    """Read loanapp.csv.bz2: mortgage applications; empty cells become NaN.

    Target: approved. Groups: race (white, black, hispanic) and sex; the decision's own columns
    (``action``, ``reject``, ``approve``) are no features.
    """
    with _lines(paths["loanapp.csv.bz2"]) as lines:
        sheet = _sheet.read("loanapp.csv", lines, ["approve", "male", *_LOAN_RACES])
    features = [name for name in sheet.cells if name not in _LOAN_DECISION]
    return Table(
        columns={name: sheet.numbers(name, missing="") for name in features},
        categories={},
        target=sheet.codes("approve", ("0", "1")),
        target_names=("rejected", "approved"),
        groups={
            "race": sheet.one_hot(tuple(_LOAN_RACES)),
            "sex": sheet.codes("male", ("0", "1", "")),
        },
        group_names={"race": tuple(_LOAN_RACES.values()), "sex": ("female", "male", "unknown")},
        provenance=provenance,
    )


def read_compas(paths: Paths, provenance: Provenance, *, filtered: bool = False) -> Table:
    """Read compas-scores-two-years.csv without names, dates of birth and case numbers.

    Target: charged again within two years. Groups: race, sex and age. With `filtered` only the
    rows of ProPublica's analysis: screened within 30 days of the arrest, for more than an ordinary
    traffic offence, and with a score.
    """
    with _lines(paths["compas-scores-two-years.csv"]) as lines:
        sheet = _sheet.read(
            "compas-scores-two-years.csv",
            lines,
            [*_COMPAS_GROUPS, *sorted(_COMPAS_NUMBERS | _PERSONAL), "two_year_recid"],
        )
    columns = {
        name: sheet.numbers(name, missing="") if name in _COMPAS_NUMBERS else sheet.words(name)
        for name in sheet.cells
        if name not in _PERSONAL and name != "two_year_recid"
    }
    keep = np.ones(len(sheet), dtype=bool)
    if filtered:
        keep = np.abs(columns["days_b_screening_arrest"]) <= 30
        keep &= (columns["is_recid"] != -1) & (columns["c_charge_degree"] != "O")
        keep &= columns["score_text"] != "N/A"
    columns = {name: values[keep] for name, values in columns.items()}
    return Table(
        columns=columns,
        categories=_categories(columns),
        target=sheet.codes("two_year_recid", ("0", "1"))[keep],
        target_names=("not charged again", "charged again"),
        groups={name: sheet.codes(name, kinds)[keep] for name, kinds in _COMPAS_GROUPS.items()},
        group_names=_COMPAS_GROUPS,
        provenance=provenance,
    )


def read_celeba_attributes(
    paths: Paths,
    provenance: Provenance,
    *,
    target: str = "Blond_Hair",
    groups: tuple[str, ...] = ("Male",),
) -> Split[Table]:
    """Read celeba.csv.zip: 40 attributes, 1 or -1, in the official three parts.

    `target` and `groups` name attributes; all attributes but the target are columns.
    """
    with _lines(paths["celeba.csv.zip"]) as lines:
        header, *rows = lines.read().split()
    names = header.split(",")[1:]
    checks.choice("target", target, names)
    for group in groups:
        checks.choice("groups", group, names)
    values = _attributes("celeba.csv", rows, names)

    def part(rows: slice) -> Table:
        of = {name: values[rows, i] for i, name in enumerate(names)}
        return Table(
            columns={name: column for name, column in of.items() if name != target},
            categories={},
            target=(of[target] > 0).astype(np.int64),
            target_names=_with_and_without(target),
            groups={group: (of[group] > 0).astype(np.int64) for group in groups},
            group_names={group: _with_and_without(group) for group in groups},
            provenance=provenance,
        )

    return Split(
        train=part(slice(_CELEBA_TRAIN)),
        validation=part(slice(_CELEBA_TRAIN, _CELEBA_VALIDATION)),
        test=part(slice(_CELEBA_VALIDATION, None)),
    )


def _attributes(file: str, rows: list[str], names: list[str]) -> NDArray[np.int8]:
    """Read rows ``000001.jpg,1,-1,...``; the pictures must come in order."""
    for i, row in enumerate(rows, start=1):
        if not row.startswith(f"{i:06d}.jpg,"):
            raise DataError(f"{file}, row {i + 1}: expected {i:06d}.jpg; got {row[:11]!r}.")
    if not rows:
        raise DataError(f"{file}: no row of data.")
    cells = [row[11:] for row in rows]
    try:
        values = np.loadtxt(cells, delimiter=",", dtype=np.int8, comments=None, ndmin=2)
    except ValueError:
        raise _first_fault(file, cells, names) from None
    if values.shape != (len(rows), len(names)) or (np.abs(values) != 1).any():
        raise _first_fault(file, cells, names)
    return values


def _first_fault(file: str, rows: list[str], names: list[str]) -> DataError:
    for number, row in enumerate(rows, start=2):
        cells = row.split(",")
        if len(cells) != len(names):
            return DataError(f"{file}, row {number}: expected {len(names)} attributes.")
        for name, cell in zip(names, cells, strict=True):
            if cell not in {"1", "-1"}:
                return DataError(
                    f"{file}, row {number}, column {name!r}: expected 1 or -1; got {cell!r}."
                )
    return DataError(f"{file} is damaged.")


def _with_and_without(attribute: str) -> tuple[str, str]:
    words = attribute.replace("_", " ").lower()
    return f"not {words}", words


def read_fico(paths: Paths, provenance: Provenance) -> ScoreTables:
    """Read the three tables; the performance table holds defaults in per cent."""
    totals = _score_sheet(paths, "totals.csv", "Kind")
    cdf = _score_sheet(paths, "transrisk_cdf_by_race_ssa.csv", "Score")
    bad = _score_sheet(paths, "transrisk_performance_by_race_ssa.csv", "Score")
    scores, shares = cdf.numbers("Score"), _percent(cdf)
    if not np.array_equal(scores, bad.numbers("Score")) or (np.diff(scores) <= 0).any():
        raise DataError(f"{bad.file}: expected the ascending scores of {cdf.file}.")
    if (np.diff(shares, axis=0) < 0).any() or (shares[-1] != 1).any():
        raise DataError(f"{cdf.file}: expected cumulative shares that rise to 100.")
    return ScoreTables(
        scores=scores,
        cdf=shares,
        default_rate=_percent(bad),
        totals=np.array([totals.numbers(group)[0] for group in _FICO]).astype(np.int64),
        group_names=tuple(_FICO.values()),
        provenance=provenance,
    )


def _score_sheet(paths: Paths, file: str, first: str) -> Sheet:
    with _lines(paths[file]) as lines:
        return _sheet.read(file, lines, [first, *_FICO])


def _percent(sheet: Sheet) -> NDArray[np.float64]:
    columns = []
    for group in _FICO:
        values = sheet.numbers(group)
        bad = (values < 0) | (values > 100)
        if bad.any():
            raise sheet.wrong(int(np.argmax(bad)), group, "a percentage")
        columns.append(values / 100)
    return np.stack(columns, axis=1)


def _read_marked(
    file: str, lines: Iterator[str], layout: str, *, delimiter: str = ",", first_row: int = 1
) -> Sheet:
    names = layout.replace("*", "").split()
    return _sheet.read(file, lines, names, header=False, delimiter=delimiter, first_row=first_row)


def _columns(sheet: Sheet, layout: str, *, but: str) -> dict[str, NDArray]:
    return {
        name.rstrip("*"): sheet.numbers(name[:-1]) if name.endswith("*") else sheet.words(name)
        for name in layout.split()
        if name != but
    }


def _categories(*parts: dict[str, NDArray]) -> dict[str, tuple[str, ...]]:
    """All strings that occur in each column of strings, over all parts of a split."""
    return {
        name: tuple(sorted({str(value) for part in parts for value in np.unique(part[name])}))
        for name, values in parts[0].items()
        if values.dtype.kind == "U"
    }


@contextmanager
def _lines(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open a table as lines of text: plain, packed with bzip2, or the only file in a zip file."""
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            if path.suffix == ".bz2":
                file = stack.enter_context(bz2.open(file))
            elif path.suffix == ".zip":
                archive = stack.enter_context(zipfile.ZipFile(file))
                if len(archive.namelist()) != 1:
                    raise DataError(f"{path.name}: expected one file inside.")
                file = stack.enter_context(archive.open(archive.namelist()[0]))
            yield io.TextIOWrapper(file, "utf-8", newline="")  # pyrefly: ignore[bad-argument-type]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} is damaged: {error}") from error
