"""Commands for fair cohort selection: pick, verify, audit, stream."""

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from septet._core.pictures import save_figure
from septet.cli import _console

Json = Annotated[bool, tyro.conf.arg(name="json")]
Size = Annotated[int, tyro.conf.arg(aliases=["-k"])]
Output = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]


def pick(
    candidates: tyro.conf.Positional[Path],
    *,
    k: Size,
    score: str = "score",
    id: str = "id",  # noqa: A002 - the field's word
    output: Output = None,
    certificate: Path | None = None,
    seed: str | None = None,
    commit: str | None = None,
    objective: Literal["linear", "ratio"] = "linear",
    reserve: int = 0,
    order: Literal["random", "score", "group"] = "random",
    group: str | None = None,
    plot: Path | None = None,
    as_json: Json = False,
) -> int:
    """Choose exactly k of the CANDIDATES fairly and certify the choice.

    Parameters
    ----------
    candidates
        CSV or Parquet file, a line a candidate.
    k
        How many to choose.
    score
        Column of scores in [0, 1]: the probability of being accepted alone.
    id
        Column of ids, each once; read exactly as written.
    output
        Write the rows of those chosen here (.csv or .parquet).
    certificate
        Write the certificate here, for `septet cohort verify`.
    seed
        Public seed; a fresh one is made if none is given, and stands in the certificate.
    commit
        The seed's commitment as published beforehand; checked and recorded.
    objective
        linear: largest expected score; ratio: largest factor by which nobody's chance falls.
    reserve
        Also draw an ordered reserve list of this length.
    order
        Order in which candidates meet in the draw; group gives every group its expected seats.
    group
        Column of groups, for the report and for --order group.
    plot
        Write a picture of probabilities against scores here (.svg, .png or .pdf).
    as_json
        Print JSON.
    """
    from septet import cohort

    chosen = cohort.pick_file(
        candidates,
        output,
        k,
        score=score,
        id=id,
        objective=objective,
        seed=cohort.new_seed() if seed is None else seed,
        commit=commit,
        reserve=reserve,
        order=order,
        group=group,
    )
    _console.note(f"seed: {chosen.certificate['seed']}")  # first: with it all can be done again
    if certificate is not None:
        chosen.certificate.save(certificate)
    if plot is not None:
        scores = cohort.read_frame(candidates)[score].to_numpy()
        save_figure(cohort.plot_probabilities(scores, k), plot)
    if as_json:
        _console.result(dict(chosen.certificate), as_json=True)
        return 0
    for name in chosen.ids:
        print(name)
    if chosen.p is not None:
        _console.note(str(chosen.report()))
    if chosen.reserve:
        _console.note(f"reserve list, in order: {', '.join(map(str, chosen.reserve))}")
    return 0


def verify(
    certificate: tyro.conf.Positional[Path],
    candidates: tyro.conf.Positional[Path],
    /,
    *,
    score: str = "score",
    id: str = "id",  # noqa: A002 - the field's word
    group: str | None = None,
    as_json: Json = False,
) -> int:
    """Redo a selection from its CERTIFICATE and the CANDIDATES; exit 1 if anything differs.

    Parameters
    ----------
    certificate
        JSON file that `septet cohort pick` wrote.
    candidates
        CSV file of all candidates, in any order; for a stream its store.
    score
        Column of scores.
    id
        Column of ids.
    group
        Column of groups, if the draw was by group.
    as_json
        Print JSON.
    """
    import json

    from septet import cohort
    from septet._core.errors import DataError

    try:
        stated = json.loads(certificate.read_text("utf-8"))
        streamed = str(stated.get("format")).startswith("septet-stream-")
        kind = stated.get("roster", {}).get("ids")
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{certificate} is no certificate: {error!r}.") from None
    columns: dict[str, Any] = {"score": score, "id": id, "group": group}
    try:
        if streamed:  # its store holds the record
            arrivals = cohort.FairStream.open(candidates)
            rows = list(arrivals.record())
            arrivals.detach()
        else:
            rows = cohort.roster_from_csv(candidates, **columns, id_kind=kind)
        found = cohort.verify(certificate, rows)
    except cohort.CertificateError as error:
        _console.note(f"NOT VERIFIED: {error}")
        if as_json:
            _console.result({"verified": False, "reason": str(error)}, as_json=True)
        return 1
    facts = {
        "verified": True,
        "candidates": found.n,
        "k": found.k,
        "seed committed beforehand": found.committed,
        "selected": list(found.selected),
        "reserve": list(found.reserve),
    }
    _console.result(facts, as_json=as_json)
    return 0


def audit(
    candidates: tyro.conf.Positional[Path],
    *,
    k: Annotated[int | None, tyro.conf.arg(aliases=["-k"])] = None,
    score: str = "score",
    id: str = "id",  # noqa: A002 - the field's word
    p: Annotated[str | None, tyro.conf.arg(aliases=["-p"])] = None,
    group: str | None = None,
    outcome: str | None = None,
    objective: Literal["linear", "ratio"] = "linear",
    plot: Path | None = None,
    as_json: Json = False,
) -> int:
    """Say how fair and how good a selection is, beside what else could be done.

    Parameters
    ----------
    candidates
        CSV or Parquet file, a line a candidate.
    k
        How many are chosen; not needed with -p.
    score
        Column of scores in [0, 1].
    id
        Column of ids.
    p
        Column of selection probabilities to audit; the fair optimum's if missing.
    group
        Column of groups to report by.
    outcome
        Column of what turned out to be true, such as 1 for a loan that was paid back.
    objective
        Which probabilities to compute if there is no -p.
    plot
        Write a picture of probabilities against scores here.
    as_json
        Print JSON.
    """
    from septet import cohort

    frame = cohort.read_frame(candidates, text=[id] if group is None else [id, group])
    report = cohort.audit(
        frame, k, id=id, score=score, p=p, objective=objective, group=group, outcome=outcome
    )
    if plot is not None:
        save_figure(cohort.plot_probabilities(frame[score].to_numpy(), report.k), plot)
    _console.result(report.to_dict() if as_json else report, as_json=as_json)
    return 0 if report.fair else 1


def stream(
    *,
    k: Annotated[int | None, tyro.conf.arg(aliases=["-k"])] = None,
    store: Path | None = None,
    knots: int = 50,
    slack: int | None = None,
    reserve: int = 0,
    seed: str | None = None,
) -> int:
    """Answer arrivals one at a time: JSON lines in on standard input, one answer a line out.

    Requests are {"id": ..., "score": ...}, {"withdraw": id}, {"reduce_k": k} and {"close": true}.
    Exits 3 if a line was answered with an error.

    Parameters
    ----------
    k
        Number of seats; needed to begin a stream.
    store
        SQLite file that keeps everything; if it exists, the stream in it goes on.
    knots
        Number of equal cells of the rule.
    slack
        How many may join before those who wait are thinned out; k by default.
    reserve
        Also draw an ordered reserve list of this length.
    seed
        Secret seed until the stream is closed; a fresh one by default.
    """
    import sys

    from septet import cohort

    if store is not None and store.exists():
        if (k, knots, slack, reserve, seed) != (None, 50, None, 0, None):
            raise ValueError(
                f"{store} holds a stream already: give --store alone to go on with it."
            )
        arrivals = cohort.FairStream.open(store)
    elif k is None:
        raise ValueError("k, the number of seats, is needed to begin a stream: -k 50.")
    else:
        seed = cohort.new_seed() if seed is None else seed
        arrivals = cohort.FairStream(
            k, knots=knots, slack=slack, seed=seed, store=store, reserve=reserve
        )
    _console.note(f"commitment to the seed: {arrivals.commitment}")
    return 3 if cohort.serve(arrivals, sys.stdin.buffer, sys.stdout) else 0


COMMANDS = {"pick": pick, "verify": verify, "audit": audit, "stream": stream}
