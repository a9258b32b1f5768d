"""What holds whatever the network is: intervals that cover, and certified heads on a real table."""

from typing import Any

import numpy as np

from septet import data, robust

ACCURACIES, SIZES = (0.97, 0.9, 0.6, 0.75), (2000, 100, 10, 300)


def coverage(simulations: int, seed: int = 0) -> dict[str, float]:
    """Share of simulated evaluations in which all intervals, and the lower bound, hold.

    Four groups of 2 000, 100, 10 and 300 rows with true accuracies 0.97, 0.9, 0.6 and 0.75.
    """
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(4), SIZES)
    y = np.zeros(len(groups), dtype=np.int64)
    joint, single, bound, worst = 0, 0, 0, 0.0
    for _ in range(simulations):
        right = [rng.binomial(n, p) for n, p in zip(SIZES, ACCURACIES, strict=True)]
        guess = np.ones(len(groups), dtype=np.int64)
        starts = np.cumsum((0, *SIZES[:-1]))
        for start, count in zip(starts, right, strict=True):
            guess[start : start + count] = 0
        report = robust.group_report(y, guess, groups, cross_with_label=False)
        truth = list(zip(report.groups, ACCURACIES, strict=True))
        joint += all(r.family_interval[0] <= p <= r.family_interval[1] for r, p in truth)
        single += all(r.interval[0] <= p <= r.interval[1] for r, p in truth)
        bound += report.lower_bound <= min(ACCURACIES)
        worst += report.worst_group_accuracy
    return {
        "simulations": simulations,
        "all at once": joint / simulations,
        "Wilson, each alone": single / simulations,
        "lower bound": bound / simulations,
        "mean of the worst accuracy": worst / simulations,
    }


def celeba(alphas: tuple[float, float] = (1e-4, 1e-2)) -> list[dict[str, Any]]:
    """Blond hair from 35 attributes: plain and worst-group heads, with fewer and fewer labels."""
    parts = data.load("celeba-attributes", target="Blond_Hair", groups=("Male",))
    told = {"Male", "Black_Hair", "Brown_Hair", "Gray_Hair"}
    names = sorted(set(parts.train.columns) - told)
    raw = [
        np.column_stack([part.columns[name] for name in names]).astype(np.float64)
        for part in (parts.train, parts.validation, parts.test)
    ]
    center, scale = raw[0].mean(axis=0), raw[0].std(axis=0)
    train, validation, test = ((x - center) / scale for x in raw)
    of_train, of_validation, of_test = (
        (part.target, part.groups["Male"]) for part in (parts.train, parts.validation, parts.test)
    )
    plain = robust.ERMClassifier(alphas[0]).fit(train, of_train[0])
    heads: list[tuple[str, str, Any]] = [("ERM", "0", plain)]
    full = robust.GroupDROClassifier(alphas[0]).fit(train, of_train[0], groups=of_train[1])
    heads.append(("group DRO head, all of train", str(len(train)), full))
    for fraction in (0.05, 0.2, 1.0):
        rows = robust.sample_labels(*of_validation, fraction, random_state=0)
        head = robust.GroupDROClassifier(alphas[1])
        head.fit(validation[rows], of_validation[0][rows], groups=of_validation[1][rows])
        heads.append((f"group DRO head, {100 * fraction:g} % of validation", str(len(rows)), head))
    out = []
    for name, labels, head in heads:
        report = robust.group_report(of_test[0], head.predict(test), of_test[1])
        out.append(
            {
                "method": name,
                "labels": labels,
                "worst": report.worst_group_accuracy,
                "lower bound": report.lower_bound,
                "average": report.average_accuracy,
                "relative gap": head.duality_gap_ / head.primal_objective_,
            }
        )
    return out
