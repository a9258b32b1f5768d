"""Selection probabilities of candidates spread over a cluster, from sums over its partitions."""

import warnings
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from septet._core import checks
from septet._core.errors import SeptetWarning
from septet._core.extras import needs
from septet.cohort._scores import Floats, Ints, check_scores, check_size, quantise
from septet.cohort._shift import affine
from septet.cohort._tally import Form, Tally, add_bins, count_bins, solve


@dataclass(frozen=True, eq=False)
class PartitionedMarginals:
    """Selection probabilities that stay where the candidates are.

    Attributes
    ----------
    n, k : int
        Number of candidates, size of the cohort.
    shift, scale : fractions.Fraction or None
        As in `Marginals`: the constant of ``clip(s + c, 0, 1)``, or the factor of ``scale * s``.
    p : dask.dataframe.Series
        The probabilities, float64, partition by partition; computed when asked for.
    """

    n: int
    k: int
    shift: Fraction | None
    scale: Fraction | None
    p: Any


def partitioned_probabilities(
    frame: Any, k: int, *, score: str, objective: str = "linear"
) -> PartitionedMarginals:
    """Return what `selection_probabilities` returns, for a frame in many partitions.

    Two passes over the scores: each partition sends back sums of 65,537 bins, then counts of at
    most four bins. The result equals that of the whole in memory bit for bit.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        A candidate per row.
    k : int
        Cohort size.
    score : str
        Column of scores in [0, 1].
    objective : {"linear", "ratio"}, default "linear"
        See `selection_probabilities`.

    Returns
    -------
    PartitionedMarginals

    Raises
    ------
    MissingExtraError
        If dask (extra ``cluster``) is not installed.
    ValueError
        If a score is no probability, the column is missing or k does not fit.

    Warns
    -----
    SeptetWarning
        If candidates of score 0 get a positive probability.

    Examples
    --------
    >>> import dask.dataframe as dd
    >>> import pandas as pd
    >>> people = pd.DataFrame({"score": [0.875, 0.5, 0.25, 0.125]})
    >>> p = partitioned_probabilities(dd.from_pandas(people, npartitions=2), 2, score="score")
    >>> p.shift, p.p.compute().tolist()
    (Fraction(1, 16), [0.9375, 0.5625, 0.3125, 0.1875])
    """
    dask = needs("dask", extra="cluster", purpose="selecting from a dask frame")
    checks.choice("objective", objective, ("linear", "ratio"))
    if score not in frame.columns:
        known = ", ".join(map(repr, frame.columns))
        raise ValueError(f"score={score!r} is no column; there are {known}.")
    parts = frame[score].to_delayed()
    tallies = dask.compute(*[dask.delayed(_tally)(part) for part in parts])
    tallies = [tally for tally in tallies if tally is not None]
    if not tallies:
        raise ValueError("scores must not be empty: there is nobody to choose from.")
    whole = reduce(add, tallies)
    size = check_size(k, whole.n)
    bins = whole.bins(size)
    counted = dask.compute(*[dask.delayed(_count)(part, bins) for part in parts])
    form = solve(whole, size, reduce(add_bins, counted), objective)
    if whole.least == 0 and form.offset > 0:
        warnings.warn(
            f"candidates of score 0 get a positive probability, because k = {size} is more than "
            "the scores add up to.",
            SeptetWarning,
            stacklevel=2,
        )
    p = frame[score].map_partitions(_apply, form, meta=(score, "f8"))
    return PartitionedMarginals(whole.n, size, form.shift, form.scale, p)


def _lattice(part: Any) -> Ints:
    return quantise(check_scores(part.to_numpy(dtype=np.float64)))


def _tally(part: Any) -> Tally | None:
    return Tally.of(_lattice(part)) if len(part) else None


def _count(part: Any, bins: list[int]) -> dict[int, Ints]:
    return count_bins(_lattice(part) if len(part) else np.empty(0, np.int64), bins)


def _apply(part: Any, form: Form) -> Any:
    values: Floats = np.empty(0)
    if len(part):
        values = affine(_lattice(part), form.factor, form.offset, form.total) / form.total
    return type(part)(values, index=part.index, name=part.name)
