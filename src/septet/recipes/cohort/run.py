"""Fair cohort selection: guarantees T1-T13 of its theory, and its quality on data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured
from septet.recipes.cohort import _draws, _optimality, _quality


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fair cohort selection."""

    seeds: tuple[int, ...] = (0,)
    instances: int = 400
    """Random instances, of up to 25 candidates, that are solved by linear programmes too."""
    draws: int = 200_000
    """Draws of each example whose frequencies are compared with the promised chances."""
    german_credit: bool = False
    """Also rank the 1 000 borrowers of the German credit data."""
    fico: bool = False
    """Also candidates drawn from published credit-score tables."""
    law_school: bool = False
    """Also 21 791 law students."""


Results = dict[str, Any]


def run(config: Config, run: Run) -> Results:
    """Run every stage, resumable after each."""
    optimality: list[dict[str, float]] = []
    draws: list[dict[str, float]] = []
    wrong = 0
    for seed in config.seeds:
        optimality += run.stage(f"optimality-{seed}", _optimality.compare, config.instances, seed)
        draws.append(run.stage(f"draws-{seed}", _draws.draw_many, config.draws, seed))
        wrong += run.stage(
            f"threshold-{seed}", _draws.weighted_sampling_threshold, 10 * config.instances, seed
        )
    tables = run.stage("synthetic", _quality.synthetic, min(config.draws, 20_000))
    if config.german_credit:
        tables |= run.stage("german-credit", _quality.german_credit)
    if config.fico:
        tables |= run.stage("fico", _quality.fico)
    if config.law_school:
        tables |= run.stage("law-school", _quality.law_school)
    return {"optimality": optimality, "draws": draws, "threshold": wrong, "tables": tables}


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
    return Measure(wrong, n=5 * int(results["draws"][0]["draws"]) * len(results["draws"]))


def threshold_errors(results: Results) -> Measure:
    """Instances in which weighted sampling is fair although it should not be, or the reverse."""
    return measured(float(results["threshold"]))


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
    for title, rows in results["tables"].items():
        columns = list(rows[0])
        caption = "Utility is the expected total score; violation is what fairness does not allow."
        yield Table(title, caption, columns, [[row[c] for c in columns] for row in rows])
