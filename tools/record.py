"""Keep results for the documentation: of finished runs, or of a benchmark that is run now.

python tools/record.py runs/cohort/full ...     keeps docs/results/cohort.full.json
python tools/record.py cohort cohort_stream     runs and keeps benchmarks/results/cohort.json, ...
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bootstrap import PYTHON, ROOT

SAID = ("python", "versions", "platform", "processor", "cores", "threads", "git")


def main() -> None:
    """Keep what each word names."""
    for word in sys.argv[1:]:
        path = Path(word)
        print(keep_run(path) if path.is_dir() else keep_benchmark(word))


def keep_run(folder: Path) -> Path:
    """Copy the verdicts of a finished run."""
    from septet import recipes

    result = json.loads((folder / "result.json").read_text("utf-8"))
    here = json.loads((folder / "environment.json").read_text("utf-8"))
    name, scale = folder.resolve().parts[-2:]
    path = ROOT / "docs" / "results" / f"{name}.{scale}.json"
    value = {"scale": scale, "environment": said(here), "rows": result["rows"]}
    kept = getattr(
        recipes.load(name).module, "kept", None
    )  # what a recipe's figures are drawn from
    return write(path, value | ({"kept": kept(result["results"])} if kept else {}))


def keep_benchmark(name: str) -> Path:
    """Run a benchmark and keep its rows."""
    from septet._core.runs import environment

    command = [str(PYTHON), "-m", "septet.cli", "bench", name, "--json"]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True)
    rows = json.loads(done.stdout)
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    return write(path, {"environment": said(environment()), "rows": rows})


def said(here: dict[str, Any]) -> dict[str, Any]:
    """Leave out what does not tell how a figure came about."""
    return {key: here[key] for key in SAID}


def write(path: Path, value: dict[str, Any]) -> Path:
    """Write one file of results."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return path


if __name__ == "__main__":
    main()
