"""Individually fair selection of exactly k candidates, offline and as a stream.

Needs numpy alone; numba (extra ``fast``) makes it fast, frames and files come through narwhals
and pyarrow (extra ``frames``).
"""

from septet.cohort._marginals import Marginals
from septet.cohort._selection import selection_probabilities

__all__ = ["Marginals", "selection_probabilities"]
