"""Write the pages that consist of kept results: the paper index and the benchmarks."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from septet import recipes

ROOT = Path(__file__).parent.parent
MARKS = {"holds": "✓ holds", "does not hold": "✗ does not hold"}


def write_all(folder: Path) -> None:
    """Write every page into `folder`."""
    folder.mkdir(exist_ok=True)
    for page in (papers, benchmarks):
        (folder / f"{page.__name__}.md").write_text("\n".join(page()) + "\n", "utf-8")


def papers() -> Iterator[str]:
    """Every claim: as published, where it is tested and what came out."""
    yield "# Paper index"
    yield ""
    yield "Each claim is tested by the recipe that it stands under. The figures are those of the"
    yield "kept runs at the scale named; a claim without one was not run there."
    for name in recipes.names():
        recipe = recipes.load(name)
        kept = newest(name)
        about = f"`septet reproduce {name}`. {recipe.summary}"
        yield from ("", f"## {recipe.title}", "", about, "")
        if kept:
            here = kept["environment"]
            yield f"Kept run: scale `{kept['scale']}`, {here['processor']}, {here['cores']} cores."
            yield ""
        rows = {row["claim"]: row for row in kept["rows"]} if kept else {}
        yield from table(
            {
                "claim": claim.says,
                "as published": claim.published,
                "measured": rows.get(claim.id, {}).get("measured") or "–",
                "best peer": rows.get(claim.id, {}).get("peer") or "–",
                "verdict": verdict(rows.get(claim.id)),
            }
            for claim in recipe.claims
        )


def newest(name: str) -> dict[str, Any] | None:
    """Read the kept run of a recipe at its largest scale."""
    for scale in ("full", "laptop"):
        path = ROOT / "docs" / "results" / f"{name}.{scale}.json"
        if path.exists():
            return json.loads(path.read_text("utf-8"))
    return None


def verdict(row: Mapping[str, Any] | None) -> str:
    """Say whether a claim held, with the note of a known miss."""
    if row is None:
        return "not run"
    text = MARKS.get(row["verdict"], row["verdict"])
    return f"{text}: {row['note']}" if row["note"] else text


def benchmarks() -> Iterator[str]:
    """Every kept benchmark, a table each."""
    yield "# Benchmarks"
    yield ""
    yield "Each table comes from one run in which all ways took turns. `septet bench NAME` makes it"
    yield "anew."
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        kept = json.loads(path.read_text("utf-8"))
        here = kept["environment"]
        yield from ("", f"## {path.stem}", "")
        yield f"{here['processor']}, {here['cores']} cores, Python {here['python']}."
        yield ""
        yield from table(kept["rows"])


def table(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Lay rows out as a Markdown table."""
    rows = list(rows)
    columns: Sequence[str] = list(dict.fromkeys(key for row in rows for key in row))
    yield "| " + " | ".join(columns) + " |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        yield "| " + " | ".join(cell(row.get(key)) for key in columns) + " |"


def cell(value: Any) -> str:
    """Write one value so that it cannot break the table."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
