"""Experiments: one folder each, with its settings, its code, its claims and what they mean.

A recipe folder holds

``config.toml``
    Title and one line about the recipe; for every scale its data sets, expected seconds and
    memory, and the settings that differ from the defaults of ``Config``.
``run.py``
    ``Config`` (a frozen dataclass whose field comments document the settings), ``run(config, run)``
    which returns the results as plain JSON values, one function for every measure that a claim
    names, and optionally ``exhibits(results)``: the figures, tables and sounds of the report.
``claims.toml``
    What the paper says, the measure that tests it, and what must come out at each scale.
``README.md``
    What is run and how to read it.
"""

from septet._core.exhibits import Audio, Exhibit, Figure, Table
from septet.recipes._claims import Claim, Measure, Row, Verdict, measured
from septet.recipes._recipe import SCALES, Recipe, Scale, load, names
from septet.recipes._run import Outcome, Run, reproduce

__all__ = [
    "SCALES",
    "Audio",
    "Claim",
    "Exhibit",
    "Figure",
    "Measure",
    "Outcome",
    "Recipe",
    "Row",
    "Run",
    "Scale",
    "Table",
    "Verdict",
    "load",
    "measured",
    "names",
    "reproduce",
]
