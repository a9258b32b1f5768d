"""The plain engine of a stream: the method as one would write it on paper.

It serves single arrivals, and it is the oracle of the compiled engine, which makes the same
decisions bit for bit. Sums and rules are integers. Only the weights of those who wait are
numbers of a kind that is chosen: `float` in service, `fractions.Fraction` where a test wants the
exact law. In floats every operation is one IEEE 754 operation on doubles, in the order written
here, so that all platforms agree.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.cohort._coins import Coins
from septet.cohort._stream_rule import ALL_STAY, LATTICE, NOBODY, Rule, cell_of

Number: TypeAlias = Any  # float or Fraction
TINY = 2.0**-40  # a float weight this close to 0 or 1 counts as 0 or 1
_COIN = 1 << 62


@dataclass(slots=True, eq=False)
class Waiting:
    """One person who is neither rejected nor accepted yet."""

    number: int
    z: int
    weight: Number  # lambda: starts at 1, keeps its expectation, times p is the chance to be drawn
    p: Number = 0
    full: bool = False

    @property
    def drawn(self) -> Number:
        """Chance of being drawn if the stream ended now, given all coins so far."""
        return self.weight * self.p


def coin_from(coins: Coins) -> Callable[[float], bool]:
    """Return a coin that is True with the probability it is given, to within 2**-62."""

    def flip(probability: float) -> bool:
        return coins.below(_COIN) < int(probability * _COIN)

    return flip


class PlainEngine:
    """Who waits and who is rejected, arrival by arrival, with the weights of those who wait.

    Parameters
    ----------
    seats : int
        Size of the cohort.
    knots : sequence of int
        Increasing lattice points from 0 to `LATTICE`.
    slack : int
        The waiting are thinned out when more than this many have joined since the last time.
    flip : callable
        ``flip(q)`` is True with probability `q`.
    exact : bool, default False
        Count with fractions instead of floats.

    Attributes
    ----------
    waiting : list of Waiting
        In order of arrival.
    """

    def __init__(
        self,
        seats: int,
        knots: Sequence[int],
        slack: int,
        flip: Callable[[Number], bool],
        *,
        exact: bool = False,
    ) -> None:
        self.seats, self.knots, self.slack, self.flip = seats, list(knots), slack, flip
        self.ratio = Fraction if exact else _float_ratio
        self._tiny = 0 if exact else TINY
        self.arrived = self.joined = 0
        self.counts = [0] * (len(self.knots) - 1)  # of all arrivals, by cell
        self.sums = [0] * (len(self.knots) - 1)
        self.cutting = False  # whether c < 0
        self.capped: list[int] = []  # heap of the scores with probability 1, while c >= 0
        self.n_free = self.sum_free = 0  # the others, while c >= 0
        self.cell = 0  # that holds -c, once c < 0
        self.n_above = self.sum_above = 0  # arrivals in the cells above it
        self.waiting: list[Waiting] = []

    def arrive(self, number: int, z: int) -> list[int]:
        """Take one arrival in; return the numbers of those who are rejected now."""
        self.arrived += 1
        cell = cell_of(self.knots, z)
        self.counts[cell] += 1
        self.sums[cell] += z
        if not self.cutting:
            if self.seats:
                heapq.heappush(self.capped, z)
        elif cell > self.cell:
            self.n_above += 1
            self.sum_above += z
        self._settle()
        if self.rule().hopeless(z):
            return [number]
        self.waiting.append(Waiting(number, z, self.ratio(1, 1)))
        self.joined += 1
        return self.compress() if self.joined > self.slack else []

    def reduce(self, seats: int) -> list[int]:
        """Take seats away; return the numbers of those who are rejected now."""
        self.seats = seats
        self._settle()
        return self.compress()

    def rule(self) -> Rule:
        """Return the rule that holds now."""
        if self.seats == 0:
            return NOBODY
        if self.arrived <= self.seats:
            return ALL_STAY
        if not self.cutting:
            return Rule(dead=-1, bend=0, rise=self._lift(), run=self.n_free)
        rise, run = self._slope()
        return Rule(self.knots[self.cell], self.knots[self.cell + 1], rise, run)

    def _lift(self) -> int:
        return (self.seats - len(self.capped)) * LATTICE - self.sum_free

    def _slope(self) -> tuple[int, int]:
        """Rise and run of the rule in the cell it bends in."""
        dead, bend = self.knots[self.cell : self.cell + 2]
        rise = self.seats * LATTICE + bend * self.n_above - self.sum_above
        run = (bend - dead) * self.n_above + self.sums[self.cell] - dead * self.counts[self.cell]
        return rise, run

    def _settle(self) -> None:
        """Find the regime and the cell of the rule after a change of the sums or of the seats."""
        if self.arrived <= self.seats or self.seats == 0:
            return
        if not self.cutting:
            while self.capped and not (
                self.n_free and self.capped[0] * self.n_free + self._lift() >= LATTICE * self.n_free
            ):
                self.sum_free += heapq.heappop(self.capped)
                self.n_free += 1
            if self._lift() >= 0:
                return
            self.cutting = True
            self.n_above = self.arrived - self.counts[0]
            self.sum_above = sum(self.sums) - self.sums[0]
        while self._slope()[0] <= 0:
            self.cell += 1
            self.n_above -= self.counts[self.cell]
            self.sum_above -= self.sums[self.cell]

    def compress(self) -> list[int]:
        """Thin out the waiting, keeping all chances; return the numbers of those who go."""
        self.joined = 0
        if self.arrived <= self.seats:
            return []
        p = chances(self.rule(), [person.z for person in self.waiting], self.ratio)
        movable: dict[int, list[Waiting]] = {}
        for person, person.p in zip(self.waiting, p, strict=True):
            if self._moves(person):
                self._meet(movable.setdefault(cell_of(self.knots, person.z), []), person)
        rejected = [person.number for person in self.waiting if person.weight == 0]
        self.waiting = [person for person in self.waiting if person.weight != 0]
        return rejected

    def _moves(self, person: Waiting) -> bool:
        """Mark somebody with no chance or a sure seat; say whether it is neither."""
        if person.drawn <= self._tiny:
            person.weight = self.ratio(0, 1)
        person.full = person.drawn >= 1 - self._tiny
        return not person.full and person.weight != 0

    def _meet(self, pair: list[Waiting], new: Waiting) -> None:
        """Let `new` meet the two or fewer of its cell that may move; at most two remain so."""
        for old in pair:
            if old.z == new.z:
                pair.remove(old)
                pair += self._move([old, new], [1, -1])
                return
        if len(pair) < 2:
            pair.append(new)
            return
        a, b = pair
        pair[:] = self._move([a, b, new], [b.z - new.z, new.z - a.z, a.z - b.z])

    def _move(self, people: list[Waiting], direction: list[int]) -> list[Waiting]:
        """Move weights along a line, fairly, until one is 0 or full; return who may move on.

        The sum of the weights and that of weight times score stay, each weight in expectation.
        """
        ahead, first = _reach(people, direction)
        back, last = _reach(people, [-v for v in direction])
        if self.flip(back / (ahead + back)):
            step, settled = ahead, first
        else:
            step, settled = -back, last
        for i, (person, v) in enumerate(zip(people, direction, strict=True)):
            if i != settled:
                person.weight = person.weight + step * v
            elif (v > 0) == (step > 0):
                person.weight = 1 / person.p
            else:
                person.weight = self.ratio(0, 1)
        people[settled].full = people[settled].weight != 0
        return [p for i, p in enumerate(people) if i != settled and self._moves(p)]

    def finish(self) -> tuple[list[int], list[int]]:
        """End the stream: return the numbers of the cohort, and of all rejected now, ascending."""
        rejected = self.compress()
        if self.arrived <= self.seats:
            return [person.number for person in self.waiting], rejected
        full = [person.number for person in self.waiting if person.full]
        loose = [person for person in self.waiting if not person.full]
        chosen = full + pivotal(
            [(p.number, p.drawn) for p in loose], self.seats - len(full), self.flip, self._tiny
        )
        rejected += {person.number for person in loose}.difference(chosen)
        self.waiting = [person for person in self.waiting if person.number in set(chosen)]
        return sorted(chosen), sorted(rejected)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that changes, as arrays; the coins are not part of it."""
        totals = [
            self.seats, self.arrived, self.joined, int(self.cutting), self.cell,
            self.n_free, self.sum_free, self.n_above, self.sum_above,
        ]  # fmt: skip
        return {
            "totals": np.array(totals, dtype=np.int64),
            "counts": np.array(self.counts, dtype=np.int64),
            "sums": np.array(self.sums, dtype=np.int64),
            "capped": np.array(sorted(self.capped), dtype=np.int64),
            "numbers": np.array([person.number for person in self.waiting], dtype=np.int64),
            "scores": np.array([person.z for person in self.waiting], dtype=np.int64),
            "weights": np.array([person.weight for person in self.waiting], dtype=np.float64),
        }

    def load(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over a state that `state` returned."""
        totals = [int(value) for value in state["totals"]]
        self.seats, self.arrived, self.joined, cutting, self.cell = totals[:5]
        self.n_free, self.sum_free, self.n_above, self.sum_above = totals[5:]
        self.cutting = bool(cutting)
        self.counts, self.sums = state["counts"].tolist(), state["sums"].tolist()
        self.capped = state["capped"].tolist()  # ascending is a heap
        columns = (state[name].tolist() for name in ("numbers", "scores", "weights"))
        self.waiting = [Waiting(*row) for row in zip(*columns, strict=True)]


def chances(rule: Rule, scores: Sequence[int], ratio: Callable[[int, int], Number]) -> list[Number]:
    """Return the probabilities that a rule gives to lattice scores, as numbers of one kind."""
    height = ratio(rule.rise, rule.run)
    foot = (rule.bend - rule.dead) * height
    return [
        ratio(0, 1)
        if z <= rule.dead
        else (z - rule.dead) * height / LATTICE
        if z < rule.bend
        else min(ratio(1, 1), (z - rule.bend + foot) / LATTICE)
        for z in scores
    ]


def _float_ratio(numerator: int, denominator: int) -> float:
    return float(numerator) / float(denominator)  # two roundings, as the kernel does


def _reach(people: list[Waiting], direction: list[int]) -> tuple[Number, int]:
    """How far weights can go along a direction, and who stops them; the first one of equals."""
    steps = [
        (1 / person.p - person.weight) / v if v > 0 else person.weight / -v
        for person, v in zip(people, direction, strict=True)
    ]
    step = min(steps)
    return step, steps.index(step)


def pivotal(
    people: list[tuple[int, Number]], seats: int, flip: Callable[[Number], bool], tiny: Number
) -> list[int]:
    """Draw `seats` of the people with the chances given, which add up to `seats`.

    Parameters
    ----------
    people : list of (int, number)
        Number and chance of each person, the chance strictly between 0 and 1.
    seats : int
        How many to draw.
    flip : callable
        ``flip(q)`` is True with probability `q`.
    tiny : number
        A sum this close to 1 counts as 1, and what rounding leaves at the end is settled so
        that the number is right.
    """
    chosen: list[int] = []
    carrier: tuple[int, Number] | None = None
    for number, chance in people:
        if carrier is None:
            carrier = (number, chance)
            continue
        other, weight = carrier
        total = weight + chance
        if abs(total - 1) <= tiny:
            chosen.append(number if flip(chance / total) else other)
            carrier = None
        elif total < 1:
            carrier = (number if flip(chance / total) else other, total)
        elif flip((1 - weight) / (2 - total)):
            chosen.append(number)
            carrier = (other, total - 1)
        else:
            chosen.append(other)
            carrier = (number, total - 1)
    if carrier is not None and len(chosen) < seats:
        chosen.append(carrier[0])
    return chosen
