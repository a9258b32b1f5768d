"""Picking a cohort: probabilities, draw and certificate in one step."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet.cohort._certificate import (
    FORMAT,
    Certificate,
    check_commitment,
    listed_facts,
    probability_facts,
    software,
)
from septet.cohort._cohort import Cohort
from septet.cohort._coins import Coins, seed_text
from septet.cohort._draw import check_groups, draw_rows, group_labels, lattice_weights
from septet.cohort._frames import read_table
from septet.cohort._marginals import Marginals, lattice_scores
from septet.cohort._reserve import draw_with_reserve
from septet.cohort._roster import roster_digest
from septet.cohort._scores import Ints, check_scores, check_size
from septet.cohort._selection import check_zero_scores, exact_marginals

ORDERS = ("random", "score", "group")


def pick(
    candidates: Any,
    k: int,
    *,
    id: Any = None,  # noqa: A002 - the field's word
    score: str | None = None,
    objective: str = "linear",
    seed: str | int,
    commit: str | None = None,
    reserve: int = 0,
    order: str = "random",
    group: Any = None,
    allow_zero_score: bool | None = None,
) -> Cohort:
    """Choose exactly k candidates, individually fairly, and certify it.

    The probabilities are those of `selection_probabilities` in exact mode. Coins are keyed by the
    seed and the roster sorted by id, so that the order of rows never matters.

    Parameters
    ----------
    candidates : frame or array_like of shape (n,)
        A pandas, polars or pyarrow frame (or any other that narwhals reads eagerly), or scores.
    k : int
        Cohort size, from 0 to n.
    id : str or array_like of shape (n,), optional
        Column of ids (the ids themselves for plain scores): all strings or all integers, each
        once. Row numbers if missing, and then the order of rows does matter.
    score : str
        Column of scores in [0, 1]; required for a frame.
    objective : {"linear", "ratio"}, default "linear"
        What the probabilities maximise.
    seed : str or int
        Public seed; see `new_seed`. Whoever chooses it must not be able to choose the outcome:
        commit to it beforehand, or take it from a public source.
    commit : str, optional
        The seed's commitment as published beforehand (`seed_commitment`); checked and recorded.
    reserve : int, default 0
        Number of candidates to draw as an ordered reserve list.
    order : {"random", "score", "group"}, default "random"
        Order in which candidates meet in the draw; see `draw`.
    group : str or array_like of shape (n,), optional
        Column of group labels (the labels themselves for plain scores): used by ``order="group"``
        and shown by `Cohort.report`.
    allow_zero_score : bool, optional
        See `selection_probabilities`.

    Returns
    -------
    Cohort

    Raises
    ------
    TypeError
        If ids are neither all strings nor all integers, or scores are not numbers.
    ValueError
        If a score, an id, k or an option is wrong, or `seed` is not the one committed to.
    InfeasibleError
        If `allow_zero_score` is False and k needs candidates of score 0.

    Notes
    -----
    With a reserve list the cohort has the probabilities of k, cohort and reserve list together have
    those of ``k + reserve``, and after any number of vacancies that do not depend on who is on the
    list the chances are a mean of both and therefore fair. It is drawn in Python integers: seconds
    for 100,000 undecided candidates.

    References
    ----------
    K. Bairaktari, P. Langton, H. L. Nguyen, N. Smedemark-Margulies, J. Ullman: Fair and Useful
    Cohort Selection. TMLR 2023 (arXiv 2009.02207).

    Examples
    --------
    >>> scores, names = [0.875, 0.5, 0.25, 0.125], ["Ada", "Ben", "Cleo", "Dan"]
    >>> cohort = pick(scores, 2, id=names, seed="drawn in public on 1 May")
    >>> cohort.ids, cohort.p.fractions()[0]
    (['Ada', 'Dan'], Fraction(15, 16))
    >>> again = pick(scores[::-1], 2, id=names[::-1], seed="drawn in public on 1 May")
    >>> again.certificate == cohort.certificate
    True
    """
    checks.choice("objective", objective, ("linear", "ratio"))
    checks.choice("order", order, ORDERS)
    seed = seed_text(seed)
    check_commitment(seed, commit)
    table = read_table(candidates, id=id, score=score, group=group)
    values = check_scores(table.scores, table.labels)
    size = check_size(k, values.size)
    spare = checks.integer("reserve", reserve, low=0, high=values.size - size)
    if spare and order != "random":
        raise ValueError(f"a reserve list is drawn in random order only; got order={order!r}.")
    labels = None if table.groups is None else group_labels(table.groups)
    codes = check_groups(labels if order == "group" else None, order, values.size)
    p = exact_marginals(values, size, objective)
    both = exact_marginals(values, size + spare, objective, p.lattice_scores) if spare else None
    check_zero_scores(both or p, allow_zero_score)

    rostered = labels if order == "group" else None
    digest = roster_digest(table.ids, lattice_scores(p), rostered)
    coins = Coins.from_seed(seed, digest)
    chosen, waiting = _draw(p, both, coins, order, codes, table.ids.order)
    fields = (
        probability_facts(p, both)
        | {
            "format": FORMAT,
            "software": software(),
            "roster": {
                "ids": table.ids.kind,
                "groups": rostered is not None,
                "sha256": digest.hex(),
            },
            "seed": seed,
            "commitment": commit,
            "order": order,
            "words": coins.position,
            "selected": sorted(table.ids.pick(chosen)),
            "reserve": table.ids.pick(waiting),
        }
        | listed_facts(p, table.ids.order)
    )
    return Cohort(
        ids=fields["selected"],
        certificate=Certificate(fields),
        p=p,
        rows=chosen,
        frame=table.rows(chosen),
        reserve=fields["reserve"],
        groups=labels,
    )


def _draw(
    p: Marginals,
    both: Marginals | None,
    coins: Coins,
    order: str,
    codes: Ints | None,
    sort: Ints | None,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw in canonical order; return row numbers of the cohort and of the reserve list."""
    weights, total = lattice_weights(p)
    waiting = np.empty(0, dtype=np.intp)
    if both is None:
        grouped = None if codes is None else _sorted(codes, sort)
        drawn = draw_rows(_sorted(weights, sort), total, coins, order=order, codes=grouped)
        chosen = np.flatnonzero(drawn)
    else:
        places, unit = lattice_weights(both)
        chosen, waiting = draw_with_reserve(
            (_sorted(weights, sort), total), (_sorted(places, sort), unit), coins
        )
    if sort is not None:
        chosen, waiting = np.sort(sort[chosen]), sort[waiting]
    return chosen, waiting


def _sorted(values: NDArray[Any], sort: Ints | None) -> NDArray[Any]:
    return values if sort is None else values[sort]
