"""What a selection returns: who was chosen, with which probabilities, and the proof."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.cohort._certificate import Certificate
from septet.cohort._marginals import Marginals


@dataclass(frozen=True, eq=False)
class Cohort:
    """A cohort of exactly k and what is needed to explain and check it.

    Attributes
    ----------
    ids : list of str or int
        Who was chosen, in ascending order of id.
    certificate : Certificate
        For `verify`, and to publish.
    p : Marginals or None
        Selection probabilities in row order; None where they are not kept (streams).
    rows : ndarray of shape (k,), dtype intp, or None
        Row numbers of those chosen, ascending.
    frame : frame or None
        Their rows, in row order and in the library that the candidates came in.
    reserve : list of str or int
        The reserve list, in the order in which it moves up.
    groups : list of str or None
        Group label of every candidate in row order, if groups were given.
    """

    ids: list[str] | list[int]
    certificate: Certificate
    p: Marginals | None = None
    rows: NDArray[np.intp] | None = None
    frame: Any = None
    reserve: list[str] | list[int] = field(default_factory=list)
    groups: list[str] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def report(self) -> Any:
        """Return an `AuditReport` of the selection; printing it shows a table.

        Raises
        ------
        ValueError
            If the probabilities were not kept.
        """
        from septet.cohort._audit import audit

        if self.p is None:
            raise ValueError("this cohort keeps no probabilities: audit(scores, ...) can be used.")
        return audit(self.p, group=self.groups, chosen=self.rows)
