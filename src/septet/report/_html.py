"""Assemble a run folder's result, exhibits and environment into a page."""

import base64
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from septet._core.errors import DataError, SeptetWarning
from septet._core.extras import needs
from septet._core.files import write_text

_MARKS = {"holds": "✓", "does not hold": "✗", "not run": "–", "not judged": "·"}


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a finished run folder and return its path.

    Raises
    ------
    DataError
        If the folder holds no finished run, or a damaged one.
    MissingExtraError
        If jinja2 is not installed.
    """
    with _reading(folder):
        run = _read(folder) | {"exhibits": _exhibits(folder / "exhibits")}
        run["config"] = (folder / "config.toml").read_text("utf-8")
    page = _template("report.html.jinja").render(**run, marks=_MARKS)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def write_index(root: Path) -> Path:
    """Write ``index.html`` over every finished run below `root` and return its path.

    It shows claims, drawings and sounds; tables stand in the reports that it links.

    Warns
    -----
    SeptetWarning
        If a run is damaged; it is left out.
    """
    runs = []
    for result in sorted(root.glob("*/*/result.json")):
        try:
            with _reading(result.parent):
                run = _read(result.parent)
                shown = _exhibits(result.parent / "exhibits", f"run{len(runs)}-")
        except DataError as error:
            warnings.warn(f"{error} The index leaves it out.", SeptetWarning, stacklevel=2)
            continue
        run["exhibits"] = [exhibit for exhibit in shown if exhibit["kind"] != "table"]
        run["link"] = (result.parent / "report.html").relative_to(root).as_posix()
        runs.append(run)
    write_text(root / "index.html", _template("index.html.jinja").render(runs=runs, marks=_MARKS))
    return root / "index.html"


def _read(folder: Path) -> dict[str, Any]:
    result = json.loads((folder / "result.json").read_text("utf-8"))
    environment = json.loads((folder / "environment.json").read_text("utf-8"))
    shown = {key: result[key] for key in ("title", "summary", "rows")}
    return shown | {"environment": environment}


def _exhibits(folder: Path, prefix: str = "") -> list[dict[str, Any]]:
    exhibits = json.loads((folder / "exhibits.json").read_text("utf-8"))
    for exhibit in exhibits:
        if exhibit["kind"] == "figure":
            text = (folder / exhibit["file"]).read_text("utf-8")
            exhibit["svg"] = _distinct_ids(text, prefix + exhibit["file"].partition(".")[0])
        elif exhibit["kind"] == "audio":
            sound = (folder / exhibit["file"]).read_bytes()
            exhibit["data"] = base64.b64encode(sound).decode("ascii")
    return exhibits


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Say of a run folder what is wrong with its files."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(
            f"{folder} holds no finished run: septet reproduce NAME makes one, "
            "and goes on where an interrupted one stopped."
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{folder} is damaged ({type(error).__name__}): {error}.") from None


def _template(name: str) -> Any:
    jinja2 = needs("jinja2", extra="report", purpose="writing the report")
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True).get_template(name)


def _distinct_ids(svg: str, prefix: str) -> str:
    """Make the ids of one drawing its own, as several share a page."""
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>f{prefix}-", svg)
