"""The worst-group head beside a modelling language with an interior-point solver, and PyPI's dro.

Times are CPU seconds of this process, all threads. `dro` brings many packages that its linear
models do not use; ``pip install --no-deps dro==0.4.3`` is enough here.
"""

import statistics
import sys
import time
import types
from collections.abc import Callable
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

import numpy as np
import sidebyside
from numpy.typing import NDArray

from septet import robust

Problem = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]
HALF_OF_WATERBIRDS, HALF_OF_CELEBA_VALIDATION = (1749, 92, 28, 529), (4268, 4138, 1437, 91)

SMALL = (
    ((100, 20, 30, 50), 16, 2),
    ((60, 10, 8, 70), 300, 2),
    ((80, 10, 60, 20, 70, 9), 24, 3),
)


def main() -> list[dict[str, Any]]:
    """Run every comparison; each row states its floor and whether it was met."""
    return [modelling(), package(), large(), many_classes(), path(), *gaps()]


def features(sizes: tuple[int, ...], d: int, *, n_classes: int = 2, seed: int = 0) -> Problem:
    """Rows whose attribute is easier to see than their class; groups of the given sizes."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    y, a = groups // 2 % n_classes, groups % 2
    X = np.maximum(rng.normal(size=(len(y), d)) @ (rng.normal(size=(d, d)) / np.sqrt(d)), 0.0)
    X += 0.4 * rng.normal(size=(n_classes, d))[y] + 0.8 * rng.normal(size=(2, d))[a]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return X, y, a


def cpu(function: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    """CPU seconds of each call, and the last result."""
    seconds, found = [], None
    for _ in range(repeats):
        start = time.process_time()
        found = function()
        seconds.append(time.process_time() - start)
    return seconds, found


def row(what: str, ours: list[float], floor: str, met: bool, **more: Any) -> dict[str, Any]:
    """Return a row with the median of our CPU seconds."""
    base = {"what": what, "CPU s": statistics.median(ours), "n": len(ours)}
    return base | more | {"floor": floor, "met": met}


def modelling(d: int = 512, alpha: float = 1e-2) -> dict[str, Any]:
    """2 398 rows, 512 features, 4 groups: the same problem written down for CLARABEL."""
    import cvxpy as cp

    X, y, a = features(HALF_OF_WATERBIRDS, d)
    sign, group = 2 * y - 1, 2 * y + a
    w, b, worst = cp.Variable(d), cp.Variable(), cp.Variable()
    losses = cp.logistic(-cp.multiply(sign, X @ w + b))
    limits = [cp.sum(losses[group == g]) / int((group == g).sum()) <= worst for g in range(4)]
    program = cp.Problem(cp.Minimize(worst + alpha / 4 * cp.sum_squares(w)), limits)
    theirs, _ = cpu(lambda: program.solve(solver=cp.CLARABEL), 1)
    # the value of the point it found, not the one it states
    margins = sign * (X @ w.value + b.value)
    value = max(np.logaddexp(0, -margins[group == g]).mean() for g in range(4))
    value += alpha / 4 * float(w.value @ w.value)
    ours, head = cpu(lambda: robust.GroupDROClassifier(alpha).fit(X, y, groups=a), 5)
    times = theirs[0] / statistics.median(ours)
    apart = (head.primal_objective_ - value) / value
    return row(
        f"worst-group head, {len(y)} x {d}, 4 groups",
        ours,
        "20 times less, objective not above by 1e-6",
        times >= 20 and apart <= 1e-6,
        peer=f"{sidebyside.versioned('cvxpy')}, {sidebyside.versioned('clarabel')}",
        **{"peer CPU s": theirs[0], "times less": times, "apart": apart},
    ) | {"gap": head.duality_gap_ / head.primal_objective_}


def package(n: int = 1200, d: int = 20) -> dict[str, Any]:
    """A problem that both can state: unpenalised, groups by a column that is a feature too."""
    what = f"worst-group head without penalty, {n} x {d}"
    peer_class = _dro()
    if peer_class is None:
        return {"what": what, "peer": "dro is not installed: pip install --no-deps dro==0.4.3"}
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, d))
    X[:, -1] = rng.random(n) < 0.1
    y = (X[:, 0] + (2 * X[:, -1] - 1) * X[:, 1] + 2 * rng.normal(size=n) > 0).astype(np.int64)
    theirs, their = cpu(lambda: peer_class(d, d - 1, model_type="logistic").fit(X, 2.0 * y - 1), 3)
    head = robust.GroupDROClassifier(1e-10, cross_with_label=False, tol=1e-7)
    ours, found = cpu(lambda: head.fit(X, y, groups=X[:, -1].astype(int)), 3)
    apart = (found.primal_objective_ - their["robust_loss"]) / their["robust_loss"]
    times = statistics.median(theirs) / statistics.median(ours)
    return row(
        what,
        ours,
        "not slower, objective not above by 1e-6",
        times >= 1 and apart <= 1e-6,
        peer=f"dro {metadata.version('dro')}",
        **{"peer CPU s": statistics.median(theirs), "times less": times, "apart": apart},
    ) | {"gap": found.duality_gap_ / found.primal_objective_}


def _dro() -> Any:
    """Class of the peer; its package imports neural networks and trees that are not needed."""
    spec = find_spec("dro")
    if spec is None or spec.submodule_search_locations is None:
        return None
    shell = types.ModuleType("dro")
    shell.__path__ = list(spec.submodule_search_locations)
    linear = types.ModuleType("dro.linear_model")
    linear.__path__ = [f"{place}/linear_model" for place in shell.__path__]
    sys.modules |= {"dro": shell, "dro.linear_model": linear}
    return import_module("dro.linear_model.group_dro").GroupDRO


def large(d: int = 512) -> dict[str, Any]:
    """9 934 rows, 512 features, 4 groups."""
    X, y, a = features(HALF_OF_CELEBA_VALIDATION, d)
    ours, head = cpu(lambda: robust.GroupDROClassifier(1e-2).fit(X, y, groups=a), 3)
    gap = head.duality_gap_ / head.primal_objective_
    return row(
        f"worst-group head, {len(y)} x {d}, 4 groups",
        ours,
        "3 CPU s",
        statistics.median(ours) <= 3 and gap <= 1e-6,
        gap=gap,
    )


def many_classes(n: int = 10_000, d: int = 512, k: int = 10) -> dict[str, Any]:
    """Ten classes, twenty groups, to a relative gap of 1e-4."""
    sizes = (int(0.9 * n / k), n // k - int(0.9 * n / k)) * k
    X, y, a = features(sizes, d, n_classes=k)
    ours, head = cpu(lambda: robust.GroupDROClassifier(1e-2, tol=1e-4).fit(X, y, groups=a), 3)
    gap = head.duality_gap_ / head.primal_objective_
    return row(
        f"worst-group head, {n} x {d}, {k} classes, {2 * k} groups",
        ours,
        "15 CPU s to 1e-4",
        statistics.median(ours) <= 15 and gap <= 1e-4,
        gap=gap,
    )


def path(d: int = 512, n_alphas: int = 30) -> dict[str, Any]:
    """Thirty penalties, each from where the last ones point, against one cold solve."""
    from septet.robust._fitting import group_problem
    from septet.robust._solve import solve, solve_path

    X, y, a = features(HALF_OF_WATERBIRDS, d)
    head = robust.GroupDROClassifier()
    rows = head._check_rows(X, y, None, a)
    alphas = np.geomspace(1.0, 1e-3, n_alphas)
    problem, _ = group_problem(rows, alpha=1e-2, bias="free", n_classes=2)
    cold, whole, gap = [], [], 0.0
    for _ in range(3):
        seconds, _ = cpu(lambda: solve(problem), 1)
        cold += seconds
        seconds, found = cpu(lambda: solve_path(problem, alphas), 1)
        whole += seconds
        gap = max(gap, *(solution.gap / solution.primal for solution in found))
    times = statistics.median(np.array(whole) / np.array(cold))
    return row(
        f"{n_alphas} penalties from 1 to 0.001, {len(y)} x {d}",
        whole,
        "4 times one cold solve",
        times <= 4 and gap <= 1e-6,
        peer="one cold solve",
        **{"peer CPU s": statistics.median(cold), "times more": float(times)},
    ) | {"gap": gap}


def gaps() -> list[dict[str, Any]]:
    """Largest relative duality gaps over sizes, classes, penalties and both methods."""
    out = []
    for solver in ("newton", "multipliers"):
        worst, seconds, n = 0.0, [], 0
        for sizes, d, k in SMALL:
            X, y, a = features(sizes, d, n_classes=k, seed=d)
            for alpha in (1.0, 0.1, 1e-2, 1e-3, 1e-4):
                head = robust.GroupDROClassifier(alpha, solver=solver)  # pyrefly: ignore
                spent, _ = cpu(lambda head=head, X=X, y=y, a=a: head.fit(X, y, groups=a), 1)
                worst = max(worst, head.duality_gap_ / head.primal_objective_)
                seconds += spent
                n += 1
        out.append(
            row(f"{n} small problems, {solver}", seconds, "gap 1e-6", worst <= 1e-6, gap=worst)
        )
    return out


if __name__ == "__main__":
    sidebyside.show(main())
