"""Fair cohort selection: guarantees T1-T13 of its theory, and its quality on data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from septet._core import checks
from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured
from septet.recipes._workers import run_all
from septet.recipes.cohort import _draws, _optimality, _quality, _streams


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fair cohort selection."""

    seeds: tuple[int, ...] = (0,)
    instances: int = 400
    """Random instances, of up to 25 candidates, that are solved by linear programmes too."""
    draws: int = 200_000
    """Draws of each example whose frequencies are compared with the promised chances."""
    arrivals: int = 600
    """Length of the streams that are run to their end under six laws and three orders."""
    stream_seats: tuple[int, ...] = (10,)
    """Numbers of seats of these streams."""
    stream_cells: tuple[int, ...] = (1, 50)
    """Numbers of cells of their knots."""
    enumerated: int = 40
    """Random streams of at most five arrivals, of which all outcomes of all coins are counted."""
    german_credit: bool = False
    """Also rank the 1 000 borrowers of the German credit data."""
    fico: bool = False
    """Also candidates drawn from published credit-score tables."""
    law_school: bool = False
    """Also 21 791 law students."""
    workers: int = 0
    """Examples that are drawn from at a time; zero takes one per core."""

    def __post_init__(self) -> None:
        for name in ("instances", "draws", "arrivals", "enumerated"):
            checks.integer(name, getattr(self, name), low=1)
        for name in ("seeds", "stream_seats", "stream_cells"):
            if not getattr(self, name):
                raise ValueError(f"{name} must not be empty.")


Results = dict[str, Any]


def run(config: Config, run: Run) -> Results:
    """Run every stage, resumable after each."""
    optimality: list[dict[str, float]] = []
    wrong = 0
    for seed in config.seeds:
        optimality += run.stage(f"optimality-{seed}", _optimality.compare, config.instances, seed)
        wrong += run.stage(
            f"threshold-{seed}", _draws.weighted_sampling_threshold, 10 * config.instances, seed
        )
    jobs = [
        (f"draws-{seed}-{i}", _draws.draw_many, (i, config.draws, seed))
        for seed in config.seeds
        for i in range(len(_draws.EXAMPLES))
    ]
    draws = list(run_all(run, jobs, config.workers).values())
    streams, laws = [], []
    for seed in config.seeds:
        streams += run.stage(
            f"streams-{seed}",
            _streams.compare,
            config.arrivals,
            config.stream_seats,
            config.stream_cells,
            min(config.stream_seats),
            seed,
        )
        laws.append(run.stage(f"laws-{seed}", _streams.enumerate_laws, 5, config.enumerated, seed))
    waiting = run.stage("waiting", _streams.waiting_over_time, config.arrivals, 20, 10, 20)
    tables = run.stage("synthetic", _quality.synthetic, min(config.draws, 20_000))
    if config.german_credit:
        tables |= run.stage("german-credit", _quality.german_credit)
    if config.fico:
        tables |= run.stage("fico", _quality.fico)
    if config.law_school:
        tables |= run.stage("law-school", _quality.law_school)
    return {
        "optimality": optimality,
        "draws": draws,
        "threshold": wrong,
        "streams": streams,
        "laws": laws,
        "waiting": waiting,
        "tables": tables,
    }


def _worst(results: Results, *names: str) -> Measure:
    gaps = [max(entry[name] for name in names) for entry in results["optimality"]]
    return Measure(max(gaps), n=len(gaps), peer="HiGHS, all pairs")


def linear_gap(results: Results) -> Measure:
    """Largest difference in utility from the linear programme over all pairs."""
    return _worst(results, "linear")


def ratio_gap(results: Results) -> Measure:
    """Largest difference in the ratio from the max-min linear programme."""
    return _worst(results, "ratio")


def monotone_gap(results: Results) -> Measure:
    """Largest loss under another utility that rises with the score."""
    return _worst(results, "monotone")


def chain_gap(results: Results) -> Measure:
    """Largest difference between neighbour constraints and all pairs, arbitrary utility."""
    return _worst(results, "chain")


def projection_gap(results: Results) -> Measure:
    """Largest failure of the optimality condition of the nearest point."""
    gaps = [entry["projection"] for entry in results["optimality"]]
    return Measure(max(gaps), n=len(gaps))


def violation(results: Results) -> Measure:
    """Largest difference of chances beyond that of scores, in exact arithmetic."""
    gaps = [entry["violation"] for entry in results["optimality"]]
    return Measure(max(gaps), n=len(gaps))


def walk_excess(results: Results) -> Measure:
    """Largest advantage of permute-then-classify over the optimum, in utility or ratio."""
    return _worst(results, "ptc_utility", "ptc_ratio")


def pivotal_deviation(results: Results) -> Measure:
    """Largest standardised deviation of a member's frequency from its chance."""
    worst = [entry["pivotal"] for entry in results["draws"]]
    return Measure(max(worst), n=int(results["draws"][0]["draws"]), unit="sd")


def pair_excess(results: Results) -> Measure:
    """Largest standardised excess of a pair's frequency over the product of chances."""
    worst = [entry["pairs"] for entry in results["draws"]]
    return Measure(max(worst), n=int(results["draws"][0]["draws"]), unit="sd")


def walk_deviation(results: Results) -> Measure:
    """Largest standardised deviation of permute-then-classify from its closed form."""
    worst = [entry["permute_then_classify"] for entry in results["draws"]]
    return Measure(max(worst), n=int(results["draws"][0]["draws"]), unit="sd")


def wrong_sizes(results: Results) -> Measure:
    """Draws whose size was not exactly k."""
    wrong = sum(entry["wrong_sizes"] for entry in results["draws"])
    return Measure(wrong, n=int(results["draws"][0]["draws"]) * len(results["draws"]))


def threshold_errors(results: Results) -> Measure:
    """Instances in which weighted sampling is fair although it should not be, or the reverse."""
    return measured(float(results["threshold"]))


def stream_law_errors(results: Results) -> Measure:
    """Chances in a stream, all coins enumerated in fractions, that are not the promised ones."""
    wrong = sum(entry["wrong"] for entry in results["laws"])
    return Measure(wrong, n=sum(entry["compared"] for entry in results["laws"]))


def stream_violation(results: Results) -> Measure:
    """Largest difference of chances in a stream beyond that of scores, in exact arithmetic."""
    return _of_streams(results, "violation")


def waiting_over_bound(results: Results) -> Measure:
    """Most people who ever waited in a stream, over k + 2 cells - 1 + slack."""
    shares = [entry["peak"] / entry["bound"] for entry in results["streams"]]
    return Measure(max(shares), n=len(shares))


def stream_ratio_shortfall(results: Results) -> Measure | None:
    """Largest shortfall of a one-cell stream from the best ratio, in exact arithmetic."""
    gaps = [entry["ratio shortfall"] for entry in results["streams"] if entry["cells"] == 1]
    return Measure(max(gaps), n=len(gaps), peer="offline optimum") if gaps else None


def stream_loss_over_bound(results: Results) -> Measure:
    """Largest loss of total score in a stream, over k (w + w^2), w the width of its last cell."""
    return _of_streams(results, "loss over bound")


def stream_quality(results: Results) -> Measure | None:
    """Smallest share of the offline optimum that streams with 50 cells reach, spread scores."""
    shares = [
        entry["of the optimum"]
        for entry in results["streams"]
        if entry["cells"] == 50 and entry["law"] != "narrow band"
    ]
    return Measure(min(shares), n=len(shares), peer="offline optimum 1") if shares else None


def stream_replays(results: Results) -> Measure:
    """Streams whose cohort the plain verifier does not reproduce from seed and record."""
    wrong = sum(not entry["replayed"] for entry in results["streams"])
    return Measure(wrong, n=len(results["streams"]))


def _of_streams(results: Results, name: str) -> Measure:
    values = [entry[name] for entry in results["streams"]]
    return Measure(max(values), n=len(values))


def _row(results: Results, table: str, mechanism: str) -> dict[str, Any] | None:
    rows = results["tables"].get(table, [])
    return next((row for row in rows if row["mechanism"] == mechanism), None)


def walk_quality(results: Results) -> Measure | None:
    """Utility of permute-then-classify as a share of the optimum, skewed scores."""
    row = _row(results, "skewed scores", "permute then classify")
    return measured(row["of the optimum"], peer="optimum 1") if row else None


def kept_of_top_k(results: Results) -> Measure | None:
    """Utility of the fair optimum as a share of what unfair top k reaches, German credit."""
    best = _row(results, "German credit, k = 100", "linear optimum")
    top = _row(results, "German credit, k = 100", "top k")
    walk = _row(results, "German credit, k = 100", "permute then classify")
    if best is None or top is None or walk is None:
        return None
    peer = f"permute then classify {walk['utility'] / top['utility']:.3f}"
    return measured(best["utility"] / top["utility"], peer=peer)


def exhibits(results: Results) -> Iterator[Exhibit]:
    """Chances against scores, and a table for every pool of candidates."""

    def draw(figure: Any) -> None:
        import numpy as np

        from septet import cohort

        scores = np.random.default_rng(7).beta(2, 5, 200)
        cohort.plot_probabilities(scores, 20, ax=figure.add_subplot())

    yield Figure(
        "Chance of a seat against score",
        "200 candidates, 20 seats. The fair optimum rises exactly as fast as the score until it is "
        "certain; top k turns a hair's breadth into yes and no.",
        draw,
    )
    waiting = results["waiting"]

    def draw_waiting(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.plot(range(1, len(waiting) + 1), waiting, label="waiting", linewidth=1.0)
        axes.axhline(20 + 2 * 10 - 1 + 20, label="bound", linestyle="--", color="#c44e52")
        axes.axhline(20, label="seats", linestyle=":", color="#55a868")
        axes.set(xlabel="arrivals", ylabel="people who wait", ylim=(0, None))
        axes.legend()

    yield Figure(
        "How many people wait in a stream",
        "20 seats, 10 cells, slack 20. However long the stream, no more wait than the bound says; "
        "at least as many as there are seats must wait, because it could end at any moment.",
        draw_waiting,
    )
    streams = _streams.summary(results["streams"])
    yield Table(
        "Streams against the offline optimum",
        "The worst over six laws of the scores and three orders of arrival. The ratio is promised "
        "to be optimal with one cell only.",
        list(streams[0]),
        [list(row.values()) for row in streams],
    )
    for title, rows in results["tables"].items():
        columns = list(rows[0])
        caption = "Utility is the expected total score; violation is what fairness does not allow."
        yield Table(title, caption, columns, [[row[c] for c in columns] for row in rows])
