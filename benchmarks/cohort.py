"""Fair cohort selection beside its peers: exact-size sampling, linear programming, NumPy's draw.

`cps-sampling` and ours draw a set of exact size with exact inclusion probabilities, but not of the
same law: theirs has the largest entropy and can be drawn again cheaply once designed.
"""

import json
import resource
import subprocess
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import sidebyside
from scipy.optimize import linprog
from scipy.sparse import diags_array, vstack

from septet import cohort

LARGE, SEATS = 10_000_000, 100_000


def main() -> list[dict[str, Any]]:
    """Run every comparison."""
    return [*exact_size(), chain(), large()]


def exact_size(n: int = 25_000, k: int = 1_000) -> list[dict[str, Any]]:
    """A set of exact size from given probabilities: from nothing, and drawn once more."""
    import cps_sampling

    peer = sidebyside.versioned("cps-sampling")
    p = cohort.selection_probabilities(np.random.default_rng(0).beta(2, 5, n), k, exact=False)
    chances = np.asarray(p)
    cps_sampling.ConditionalPoisson(np.full(50, 0.5), 25).sample(0)  # compile
    design = cps_sampling.ConditionalPoisson(chances, k)
    ways = {
        "draw": partial(cohort.draw, chances, seed="s"),
        peer: lambda: cps_sampling.ConditionalPoisson(chances, k).sample(0),
    }
    whole = sidebyside.interleaved(ways, repeats=5)
    again = sidebyside.interleaved(ways | {peer: partial(design.sample, 0)}, repeats=25)
    name = f"draw {k} of {n} with given probabilities"
    return [
        sidebyside.ratio(name, whole, "draw", peer, floor=1000),
        sidebyside.ratio(f"{name}, design at hand", again, "draw", peer),
    ]


def chain(n: int = 10_000) -> dict[str, Any]:
    """The best fair probabilities: closed form, and a solver that is told of neighbours only."""
    s = np.sort(np.random.default_rng(1).random(n))
    k = n // 10
    rise = diags_array([-np.ones(n), np.ones(n)], offsets=[0, 1], shape=(n - 1, n))
    peer = f"HiGHS ({sidebyside.versioned('scipy')})"
    solve = partial(
        linprog,
        -s,
        A_ub=vstack([rise, -rise]).tocsr(),
        b_ub=np.tile(np.diff(s), 2),
        A_eq=np.ones((1, n)),
        b_eq=[k],
        bounds=(0, 1),
        method="highs",
    )
    ours = partial(cohort.selection_probabilities, s, k)
    gap = abs(-solve().fun - float(ours().utility))
    if gap > 1e-5:
        raise RuntimeError(f"the two disagree by {gap} in utility.")
    seconds = sidebyside.interleaved({"closed form": ours, peer: solve}, repeats=5, warm_up=0)
    name = f"fair probabilities, n = {n}, neighbour constraints"
    return sidebyside.ratio(name, seconds, "closed form", peer, floor=1000)


def large() -> dict[str, Any]:
    """`pick` with its certificate at ten million scores, and the memory of a process doing it."""
    s = np.random.default_rng(2).random(LARGE)
    weights = s / s.sum()
    peer = f"choice(replace=False, p) ({sidebyside.versioned('numpy')})"
    ways = {
        "pick": lambda: cohort.pick(s, SEATS, seed="s").certificate.json(),
        peer: lambda: np.random.default_rng(3).choice(LARGE, SEATS, replace=False, p=weights),
    }
    row = sidebyside.ratio(
        f"choose {SEATS} of {LARGE}", sidebyside.interleaved(ways, repeats=5), "pick", peer
    )
    apart = json.loads(
        subprocess.run(
            [sys.executable, __file__, "--alone"], capture_output=True, text=True, check=True
        ).stdout
    )
    # the floors: 3 s, 1.5 GB with the 80 MB of scores and the interpreter
    return row | {
        "peak GB": apart["gb"],
        "floor": "3 s, 1.5 GB",
        "met": row["ours (ms)"] <= 3000 and apart["gb"] <= 1.5,
    }


def alone() -> None:
    """Pick at full size in a process of its own; print seconds and peak memory."""
    s = np.random.default_rng(2).random(LARGE)
    start = time.perf_counter()
    cohort.pick(s, SEATS, seed="s").certificate.json()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(json.dumps({"seconds": seconds, "gb": round(peak, 3)}))


if __name__ == "__main__":
    if "--alone" in sys.argv:
        alone()
    else:
        sidebyside.show(main())
