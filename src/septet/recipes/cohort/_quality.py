"""Quality: what each mechanism gives up, on made-up scores and on real candidates."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet import cohort, data
from septet.recipes.cohort._optimality import on_lattice

Floats = NDArray[np.float64]
Row = dict[str, Any]


def synthetic(draws: int) -> dict[str, list[Row]]:
    """Two blocks of 200 candidates with 20 seats: skewed scores, then scores below 0.08."""
    rng = np.random.default_rng(7)
    skewed = rng.beta(2, 5, 200)
    narrow = rng.random(200) * 0.08
    return {
        "skewed scores": compare(skewed, 20, draws=draws),
        "scores below 0.08": compare(narrow, 20, draws=draws),
    }


def german_credit(sizes: tuple[int, ...] = (100, 900)) -> dict[str, list[Row]]:
    """1 000 borrowers, scored out of fold by logistic regression; good risks are wanted."""
    table = data.load("german-credit")
    scores = _out_of_fold(table.matrix()[0], table.target)
    return {f"German credit, k = {k}": compare(scores, k, good=table.target) for k in sizes}


def fico(n: int = 5000, k: int = 500) -> dict[str, list[Row]]:
    """Candidates drawn from the published credit-score tables; the score is the chance to repay."""
    people = data.load("fico").sample(n, random_state=0)
    rows = compare(people.repayment_probability, k, good=people.repays, groups=people.groups)
    return {f"credit scores, k = {k} of {n}": rows}


def law_school(k: int = 2000) -> dict[str, list[Row]]:
    """Applicants with the out-of-fold chance to pass the bar examination as score."""
    table = data.load("law-school")
    rows = {}
    for name in table.groups:
        scores = _out_of_fold(table.matrix(exclude=tuple(table.groups))[0], table.target)
        rows[f"law school by {name}, k = {k} of {len(table)}"] = compare(
            scores, k, good=table.target, groups=table.groups[name], exact_walk=False
        )
    return rows


def compare(
    scores: Floats,
    k: int,
    *,
    good: NDArray[Any] | None = None,
    groups: NDArray[np.int64] | None = None,
    draws: int = 0,
    exact_walk: bool = True,
) -> list[Row]:
    """One row a mechanism: utility, ratio and fairness, with the yield of good candidates."""
    scores = on_lattice(scores)
    optimum = np.asarray(cohort.selection_probabilities(scores, k, allow_zero_score=True))
    laws: dict[str, Floats] = {
        "linear optimum": optimum,
        "ratio optimum": np.asarray(
            cohort.selection_probabilities(scores, k, objective="ratio", allow_zero_score=True)
        ),
    }
    if exact_walk:
        laws["permute then classify"] = cohort.permute_then_classify_probabilities(scores, k)
    laws["weighted sampling"] = cohort.weighted_sampling_probabilities(scores, k)
    laws["uniform"] = cohort.uniform_probabilities(scores, k)
    laws["top k"] = cohort.top_k_probabilities(scores, k)
    if draws:
        laws["successive (simulated)"] = simulated(cohort.successive, scores, k, draws)
        laws["first come (simulated)"] = simulated(cohort.first_come, scores, k, draws)
    best = float(scores @ optimum)
    rows = []
    for name, p in laws.items():
        row: Row = {
            "mechanism": name,
            "utility": float(scores @ p),
            "of the optimum": float(scores @ p) / best,
            "smallest p/s": float((p[scores > 0] / scores[scores > 0]).min()),
            "largest violation": violation(scores, p),
        }
        if good is not None:
            row["expected good"] = float(p @ good)
        if groups is not None:
            rates = np.bincount(groups, p) / np.bincount(groups)
            row["selection rates"] = ", ".join(f"{rate:.3f}" for rate in rates)
        rows.append(row)
    return rows


def simulated(
    mechanism: Callable[..., NDArray[np.intp]], scores: Floats, k: int, draws: int
) -> Floats:
    """Frequencies of a mechanism without a closed form."""
    rng = np.random.default_rng(1)
    counts = np.zeros(scores.size)
    for _ in range(draws):
        counts[mechanism(scores, k, random_state=rng)] += 1
    return counts / draws


def violation(scores: Floats, p: Floats) -> float:
    """Largest excess of a difference in chance over that in score, rounding below 1e-12 aside."""
    order = np.argsort(scores, kind="stable")
    rise, fall = (p - scores)[order], (p + scores)[order]
    up = (rise - np.minimum.accumulate(rise)).max()
    down = (np.maximum.accumulate(fall) - fall).max()
    worst = float(max(up, down))
    return worst if worst > 1e-12 else 0.0


def _out_of_fold(matrix: Floats, target: NDArray[np.int64]) -> Floats:
    """Chance of class 1 by logistic regression that never saw the row."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_predict(model, matrix, target, cv=folds, method="predict_proba")[:, 1]
