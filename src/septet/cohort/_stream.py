"""Fair selection of exactly k from a stream of unknown length, while few people wait."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.files import PathLike
from septet.cohort._certificate import seed_commitment
from septet.cohort._cohort import Cohort
from septet.cohort._coins import seed_text
from septet.cohort._ledger import (
    PENDING,
    REJECTED,
    STATUSES,
    Id,
    Ints,
    Ledger,
    MemoryLedger,
    Person,
)
from septet.cohort._scores import LATTICE, check_scores, quantise
from septet.cohort._store import StoreLedger
from septet.cohort._stream_rule import MOST, knot_lattice
from septet.cohort._stream_run import StreamRun
from septet.cohort._stream_terms import (
    Decision,
    Terms,
    checked_ids,
    same_score,
    without_repeats,
)


class FairStream:
    r"""Choose k people from a stream, individually fairly at whatever moment it ends.

    Everybody waits or is rejected for good; seats are given when the stream is closed. At any time
    a person of score `s` has the chance ``H_c(s)`` of a seat if the stream ended now, the same
    continuous rule for all, which never treats two people more differently than their scores do:

    .. math:: H_c(s) = \min(1, s + c) \quad (c \ge 0)

    while the scores add up to no more than k. Afterwards `c` is negative, and the rule bends at the
    knots ``a_j <= -c <= a_{j+1}`` around ``-c``: it is 0 up to the first, straight between the two,
    and ``s + c`` above. Every arrival lowers `c` or leaves it, so a chance never rises, which is
    why a rejection can be final.

    Parameters
    ----------
    k : int
        Number of seats. It can be reduced later, never raised.
    knots : int or array_like, default 50
        Number of equal cells, or the scores at which the rule may bend: `quantile_knots` of last
        season's scores where scores live in a narrow band, or all possible scores where they are
        discrete, which makes the stream exactly optimal. With one cell it is exactly optimal for
        the ratio utility.
    slack : int, optional
        After so many have joined those who wait, they are thinned out; k by default. 0 tells
        everybody as soon as possible and costs time.
    seed : str or int
        Fixes all coins. Keep it secret until the stream is closed, and publish `commitment` before
        it begins: who knows the seed could time an arrival.
    store : path, optional
        SQLite file to keep everything in; go on after a crash with `FairStream.open`. Without it
        the stream lives in memory.
    reserve : int, default 0
        Number of people beyond k to draw as a reserve list, in an order by lot.

    Attributes
    ----------
    k : int
        Number of seats now.
    pending : tuple of (str or int)
        Who waits, in order of arrival.
    shift : fractions.Fraction
        The `c` of the rule that holds now.
    commitment : str
        SHA-256 of the seed as hexadecimal digits.

    Raises
    ------
    ValueError
        If an argument is out of range.
    FileExistsError
        If `store` exists already.

    Notes
    -----
    Scores are rounded once to multiples of 2**-32, and all sums are integers: `c`, every chance
    and the fairness of all chances are exact fractions, the cohort has exactly k members, and the
    same events and seed give the same cohort on every platform. The weights of those who wait are
    doubles, so that the chance of being drawn equals the promised one to within 2**-40; in
    fractions it equals it exactly, which the tests prove by enumeration.

    After each thinning out at most ``k + 2m - 1`` people wait, where `m` cells of the knots hold
    somebody undecided; `slack` more may join before the next. At least k must wait: the stream
    could end at any moment. The expected total score falls short of the best fair rule's, known
    only afterwards, by at most ``k (w + w**2)``, where `w` is the width of the cell the rule bends
    in at the end, and by nothing while the scores add up to at most k.

    With a reserve, people wait for ``k + reserve`` places. Seats keep the chances of k seats, seats
    and reserve together have those of ``k + reserve``, and after any number of vacancies that do
    not depend on who is on the list the chances are a mean of both and therefore fair.
    Not thread-safe.

    The papers state O(k) pending and the optimality of the ratio utility; their full text could not
    be consulted, and the knots, the constants and the second bound are this library's.

    References
    ----------
    K. Bairaktari, P. Langton, H. L. Nguyen, N. Smedemark-Margulies, J. Ullman: Fair and Useful
    Cohort Selection. TMLR 2023 (arXiv 2009.02207), the streaming problem.

    Examples
    --------
    >>> stream = FairStream(1, knots=2, seed="an example")
    >>> [stream.push(name, score).status for name, score in [("Ada", 0.5), ("Bo", 0.25)]]
    ['pending', 'pending']
    >>> stream.probability(0.5), stream.probability(0.25)
    (0.625, 0.375)
    """

    def __init__(
        self,
        k: int,
        *,
        knots: int | ArrayLike = 50,
        slack: int | None = None,
        seed: str | int,
        store: PathLike | None = None,
        reserve: int = 0,
    ) -> None:
        reserve = checks.integer("reserve", reserve, low=0, high=MOST // 2)
        k = checks.integer("k", k, low=0, high=MOST // 2)
        slack = k + reserve if slack is None else checks.integer("slack", slack, low=0, high=MOST)
        terms = Terms(k, reserve, slack, tuple(knot_lattice(knots).tolist()))
        text = seed_text(seed)
        ledger: Ledger = MemoryLedger()
        if store is not None:
            ledger = StoreLedger.create(store, {"terms": terms.text(), "seed": text})
        self._run = StreamRun(terms, text, ledger)

    @classmethod
    def open(cls, path: PathLike) -> Self:
        """Go on with a stored stream, however its process ended.

        Parameters
        ----------
        path : path
            The `store` it was begun with.

        Raises
        ------
        DataError
            If there is no stream's store at `path`, or another process has it open.
        CheckpointError
            If it is damaged, or a replay does not reproduce its decisions.
        """
        ledger = StoreLedger.open(path)
        stream = cls.__new__(cls)
        try:
            stream._run = StreamRun.resume(ledger)
        except BaseException:
            ledger.release()
            raise
        return stream

    def detach(self) -> None:
        """Let go of the store, without ending the stream: `open` goes on with it later.

        Calls that need the record fail afterwards. Does nothing for a stream in memory.
        """
        self._run.release()

    @property
    def k(self) -> int:
        """Number of seats now."""
        return self._run.seats

    @property
    def commitment(self) -> str:
        """SHA-256 of the seed as hexadecimal digits, to be published before the stream begins."""
        return seed_commitment(self._run.seed)

    @property
    def shift(self) -> Fraction:
        """The `c` of the rule that holds now: exact; 1 as long as everybody can have a seat."""
        return self._run.rule().shift

    @property
    def pending(self) -> tuple[Id, ...]:
        """Who waits, in order of arrival; empty once the stream is closed."""
        return tuple(self._run.ids(self._run.pending()))

    def probability(self, score: float) -> float:
        """Return the chance of a seat that a score has, if the stream ended now.

        It only falls as others arrive; after the close it is what it was at the close.

        Raises
        ------
        ValueError
            If the score is no probability.
        """
        return float(self._run.rule().probability(_lattice([score], None)[0].item()))

    def status(self, id: Id) -> str:  # noqa: A002 - the field's word
        """Return "pending", "rejected", "withdrawn", "accepted" or "reserve".

        Raises
        ------
        ValueError
            If nobody of this id has arrived.
        """
        return STATUSES[self._known(id).status]

    def record(self) -> Iterator[str]:
        """Yield every event as one line of JSON: what `verify` needs beside the certificate.

        ``["arrive",id,z]`` with the score in units of 2**-32, ``["withdraw",id]``,
        ``["reduce",k]`` and ``["close"]``. Their order is that of the events.
        """
        return self._run.ledger.lines()

    def push(self, id: Id, score: float) -> Decision:  # noqa: A002 - the field's word
        """Take one arrival in.

        Parameters
        ----------
        id : str or int
            Who it is; 7 and "7" are different people. The same id with the same score again
            changes nothing and returns what was decided then, and the status now.
        score : float
            Acceptance probability of the person alone, in [0, 1].

        Returns
        -------
        Decision

        Raises
        ------
        ValueError
            If the score is no probability, the id is known with another score, or the stream is
            closed.
        TypeError
            If the id is neither a string nor an integer.
        """
        (who,) = checked_ids([id], self._run.kind)
        z = _lattice([score], [who])
        known = self._run.ledger.find(who)
        if known is None:
            rejected = self._run.arrive([who], z)
            return self._answer(who, REJECTED if who in rejected else PENDING, rejected)
        same_score(who, known.z, int(z[0]))
        rejected = self._run.ledger.decided(known.number, REJECTED)
        return self._answer(who, known.status, rejected)

    def extend(self, ids: Sequence[Id] | NDArray[Any], scores: ArrayLike) -> list[Id]:
        """Take many arrivals in, in order; all of them, or none if one cannot be.

        Parameters
        ----------
        ids : sequence of (str or int), length n
            As for `push`; repeated ones are passed over.
        scores : array_like of shape (n,)
            In [0, 1].

        Returns
        -------
        list of (str or int)
            Who was rejected for good upon these arrivals, in order of the decisions.

        Raises
        ------
        ValueError
            As for `push`, and if the lengths differ.
        """
        names = checked_ids(ids, self._run.kind)
        if len(names) != np.size(scores):
            raise ValueError(f"ids and scores must match; got {len(names)} and {np.size(scores)}.")
        z = _lattice(scores, names)
        known = self._run.ledger.known(names)
        if known or len(set(names)) < len(names):
            names, z = without_repeats(names, z, known)
        return self._run.arrive(names, z) if names else []

    def withdraw(self, id: Id) -> Decision:  # noqa: A002 - the field's word
        """Record that somebody withdraws.

        Who waits stays in the draw as a phantom, for to leave would change the chances of others.
        If the phantom is drawn its seat goes to the reserve list, or stays empty without one. To
        fill it in any other way breaks the guarantee. Who was rejected already stays so; either way
        it is recorded. To withdraw again changes nothing.

        Raises
        ------
        ValueError
            If nobody of this id has arrived or the stream is closed.
        """
        self._known(id)
        (who,) = checked_ids([id], self._run.kind)
        self._run.withdraw(who)
        return self._answer(who, self._known(id).status, [])

    def reduce_k(self, k: int) -> list[Id]:
        """Take seats away.

        Parameters
        ----------
        k : int
            New number of seats. The present number changes nothing.

        Returns
        -------
        list of (str or int)
            Who was rejected for good because of it, in order of arrival.

        Raises
        ------
        ValueError
            If `k` is negative or more than the present number, or the stream is closed.
        """
        return self._run.reduce(checks.integer("k", k, low=0))

    def close(self) -> Cohort:
        """End the stream and give the seats; once more, it returns the same cohort again.

        Returns
        -------
        Cohort
            `ids` ascending: fewer than k if fewer arrived, or if somebody drawn had withdrawn and
            nobody was left in reserve. `reserve` in its order, `certificate`; `rows`, counted in
            order of arrival; and `p` in that order, for up to a million arrivals.

        Raises
        ------
        CheckpointError
            If the store's record is no longer the one that its snapshot was taken of.

        Warns
        -----
        SeptetWarning
            If seats stay empty, or if more than half of them fall into the one cell in which the
            rule bends, so that more knots there would have served better.
        """
        return self._run.close()

    def _answer(self, who: Id, status: int, rejected: list[Id]) -> Decision:
        return Decision(who, STATUSES[status], tuple(rejected), self._run.n_pending())

    def _known(self, who: object) -> Person:
        (name,) = checked_ids([who], self._run.kind)
        person = self._run.ledger.find(name)
        if person is None:
            raise ValueError(f"nobody with the id {who!r} has arrived.")
        return person


def _lattice(scores: ArrayLike, names: Sequence[Id] | None) -> Ints:
    if isinstance(scores, list) and len(scores) == 1 and type(scores[0]) is float:
        if 0 <= scores[0] <= 1:  # the same number, without the fixed costs of arrays
            return np.array([round(scores[0] * LATTICE)])
    elif np.size(scores) == 0:
        return np.empty(0, dtype=np.int64)
    return quantise(check_scores(scores, names))
