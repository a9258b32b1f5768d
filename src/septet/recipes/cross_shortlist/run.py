"""Plain and group-robust scores, top k and fair draws: who is chosen."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet import cohort, data, robust
from septet._core import checks
from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured

Floats: TypeAlias = NDArray[np.float64]
Results = dict[str, Any]
ALPHAS = (0.1, 0.03, 0.01, 0.003, 0.001)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A fair shortlist from group-robust scores."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Rows that train, and candidates."""
    table: Literal["adult", "made-up"] = "adult"
    """Candidates; made-up ones need no data."""
    n_train: int = 8000
    """Rows that train the classifiers."""
    n_candidates: int = 1000
    """Candidates to choose from."""
    k: int = 100
    """Candidates to choose."""

    def __post_init__(self) -> None:
        checks.integer("n_train", self.n_train, low=100)
        checks.integer("k", self.k, low=1, high=self.n_candidates)
        if not self.seeds:
            raise ValueError("seeds must not be empty.")


@dataclass(frozen=True)
class People:
    """Standardised features, who is qualified, and each one's group (1: women)."""

    X: Floats
    y: NDArray[np.int64]
    group: NDArray[np.int64]

    def some(self, n: int, rng: np.random.Generator) -> "People":
        """Return n of them at random."""
        rows = rng.permutation(len(self.y))[:n]
        return People(self.X[rows], self.y[rows], self.group[rows])


def run(config: Config, run: Run) -> Results:
    """Choose with every seed; resumable after each."""
    return {"rows": [run.stage(f"seed-{s}", _choose, config, s) for s in config.seeds]}


def _choose(config: Config, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    train, test = _adult() if config.table == "adult" else _made_up(rng)
    train, people = train.some(config.n_train, rng), test.some(config.n_candidates, rng)
    cells = 2 * train.y + train.group
    plain = robust.ERMClassifier().fit(train.X, train.y)
    head = robust.GroupDROClassifierCV(ALPHAS, random_state=seed)
    fair = head.fit(train.X, train.y, groups=cells)
    found: dict[str, Any] = {}
    for name, model in (("plain", plain), ("group-robust", fair)):
        scores = np.clip(model.predict_proba(people.X)[:, 1], 0.0, 1.0)
        top = np.zeros(len(scores))
        top[np.argsort(-scores, kind="stable")[: config.k]] = 1.0
        drawn = np.asarray(cohort.selection_probabilities(scores, config.k))
        worst = robust.worst_group_accuracy(
            people.y, model.predict(people.X), groups=2 * people.y + people.group
        )
        for rule, chances in (("top k", top), ("fair", drawn)):
            found[f"{name}, {rule}"] = {
                **_said(people, chances),
                "excess": _excess(chances, scores),
                "worst": float(worst),
            }
    return found


def _said(people: People, chances: Floats) -> dict[str, float]:
    """Chances of the qualified of each group, and how many qualified are to be expected."""
    qualified = people.y == 1
    women, men = (float(chances[qualified & (people.group == g)].mean()) for g in (1, 0))
    return {"women": women, "men": men, "qualified": float(chances[qualified].sum())}


def _excess(chances: Floats, scores: Floats) -> float:
    """Largest amount by which two chances differ by more than their scores."""
    apart = np.abs(chances[:, None] - chances) - np.abs(scores[:, None] - scores)
    return float(apart.max())


def _adult() -> tuple[People, People]:
    parts = data.load("adult")
    hidden = tuple(parts.train.groups)
    tables = [part.matrix(exclude=hidden)[0] for part in (parts.train, parts.test)]
    mean, scale = tables[0].mean(axis=0), tables[0].std(axis=0)
    scale[scale == 0] = 1.0
    first, second = (
        People((X - mean) / scale, part.target, _women(part))
        for X, part in zip(tables, (parts.train, parts.test), strict=True)
    )
    return first, second


def _women(table: Any) -> NDArray[np.int64]:
    code = table.group_names["sex"].index("female")
    return (table.groups["sex"] == code).astype(np.int64)


def _made_up(rng: np.random.Generator) -> tuple[People, People]:
    """Two groups; a feature that speaks for the larger one only."""

    def some(n: int) -> People:
        group = (rng.random(n) < 0.3).astype(np.int64)
        y = (rng.random(n) < np.where(group, 0.3, 0.5)).astype(np.int64)
        X = rng.normal(size=(n, 3))
        X[:, 0] += 1.5 * (2 * y - 1)
        X[:, 1] += 2.0 * np.where(group, 0, 2 * y - 1)
        return People(X, y, group)

    return some(2000), some(1000)


def _column(results: Results, method: str, key: str) -> list[float]:
    return [row[method][key] for row in results["rows"]]


def excess(results: Results) -> Measure:
    """Worst treatment of two people by the fair probabilities, beyond their scores."""
    worst = max(max(_column(results, f"{n}, fair", "excess")) for n in ("plain", "group-robust"))
    peer = max(_column(results, "plain, top k", "excess"))
    return Measure(worst, n=2 * len(results["rows"]), peer=f"top k {peer:.3f}")


def gap_closed(results: Results) -> Measure:
    """How much nearer women's chances come, in points, with fair draws from both scores."""
    before, after = (_gaps(results, f"{n}, fair") for n in ("plain", "group-robust"))
    top = _gaps(results, "plain, top k").mean()
    peer = f"gap with plain scores {before.mean():.1f}, top k {top:.1f}"
    return measured(list(np.abs(before) - np.abs(after)), unit="points", peer=peer)


def _gaps(results: Results, method: str) -> Floats:
    men, women = (np.array(_column(results, method, sex)) for sex in ("men", "women"))
    return 100 * (men - women)


def price(results: Results) -> Measure:
    """Qualified people that the fair draw from group-robust scores has less than the top k."""
    ours = np.array(_column(results, "group-robust, fair", "qualified"))
    top = np.array(_column(results, "plain, top k", "qualified"))
    return measured(list(top - ours), unit="people", peer=f"top k of plain scores {top.mean():.1f}")


def exhibits(results: Results) -> Iterator[Exhibit]:
    """Tell for every classifier and rule who is chosen."""
    keys = ("women", "men", "qualified", "excess", "worst")
    yield Table(
        "Who is chosen",
        "Mean over seeds. Chances of qualified women and men, qualified people to be expected "
        "among the chosen, worst difference of two chances beyond that of their scores, and the "
        "classifier's accuracy in its worst group.",
        ["scores and rule", "women", "men", "qualified", "excess", "worst group"],
        [
            [method, *(round(float(np.mean(_column(results, method, key))), 3) for key in keys)]
            for method in results["rows"][0]
        ],
    )
    yield Figure(
        "Chances of the qualified",
        "Mean over seeds, by the scores and the rule that choose.",
        lambda figure: _draw(figure, results),
    )


def _draw(figure: Any, results: Results) -> None:
    axes, methods = figure.add_subplot(), list(results["rows"][0])
    for shift, group in ((-0.2, "women"), (0.2, "men")):
        heights = [100 * np.mean(_column(results, method, group)) for method in methods]
        axes.bar(np.arange(len(methods)) + shift, heights, 0.4, label=group)
    axes.set_xticks(range(len(methods)), methods)
    axes.set(ylabel="chance (%)")
    axes.legend()
