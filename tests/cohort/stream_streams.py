"""Score streams of all tempers, an engine to run them, the offline optimum as fractions."""

import copy
from fractions import Fraction

import numpy as np

from septet.cohort._coins import Coins
from septet.cohort._stream_reference import PlainEngine, coin_from
from septet.cohort._stream_rule import LATTICE, knot_lattice


def lattice(scores):
    return [round(float(s) * LATTICE) for s in scores]


def engine_for(k, knots, slack=0, seed="test"):
    coins = Coins.from_seed(seed, bytes(32))
    return PlainEngine(k, knot_lattice(knots).tolist(), slack, coin_from(coins)), coins


def orders(n, rng):
    """Streams of lattice scores that are hard in different ways, by name."""
    smooth = lattice(rng.beta(2, 5, n))
    return {
        "ascending": sorted(smooth),
        "descending": sorted(smooth, reverse=True),
        "random": smooth,
        "constant": lattice([0.37]) * n,
        "two-point": lattice(rng.choice([0.2, 0.9], n)),
        "zigzag": [sorted(smooth)[i // 2 if i % 2 else -1 - i // 2] for i in range(n)],
        "extremes": lattice(rng.choice([0.0, 1.0, 0.5], n)),
        "narrow": lattice(rng.random(n) * 0.02),
        "few values": lattice(rng.integers(0, 6, n) / 5),
    }  # fmt: skip


def adversarial(k, cells, n, seed):
    """Each next score is whichever leaves the most people waiting."""
    engine, _ = engine_for(k, cells)
    rng = np.random.default_rng(seed)
    stream = []
    for number in range(n):

        def waiting_after(z, number=number):
            trial = copy.deepcopy(engine)
            trial.flip = engine.flip
            coins = engine.flip.__closure__[0].cell_contents
            position = coins.position
            trial.arrive(number, z)
            coins.seek(position)
            return len(trial.waiting)

        options = [int(z) for z in rng.integers(1, LATTICE, 12)]
        stream.append(max(options, key=waiting_after))
        engine.arrive(number, stream[-1])
    return stream


def shift_optimum(z, k):
    """Best fair rule for linear utility and its shift, exactly: try how many are at 1 or at 0."""
    ranked, n = sorted(z), len(z)
    for m in range(n):
        if sum(z) <= k * LATTICE:  # the highest m are lifted to 1
            c = Fraction((k - m) * LATTICE - sum(ranked[: n - m]), n - m)
            found = ranked[n - m - 1] + c <= LATTICE
        else:  # the lowest m fall to 0
            c = Fraction(k * LATTICE - sum(ranked[m:]), n - m)
            found = ranked[m] + c >= 0
        if found:
            break
    p = [min(max((value + c) / LATTICE, Fraction(0)), Fraction(1)) for value in z]
    assert sum(p) == k
    return p, c / LATTICE


def utility(p, z):
    return sum(a * Fraction(b, LATTICE) for a, b in zip(p, z, strict=True))
