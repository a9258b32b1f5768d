"""Individually fair selection of exactly k candidates, offline and as a stream.

Needs numpy alone; numba (extra ``fast``) makes it fast, frames and files come through narwhals
and pyarrow (extra ``frames``).
"""

from typing import TYPE_CHECKING, Any

from septet.cohort._audit import AuditReport, Group, Mechanism, audit
from septet.cohort._baselines import (
    first_come,
    permute_then_classify,
    permute_then_classify_probabilities,
    successive,
    top_k,
    top_k_probabilities,
    uniform,
    uniform_probabilities,
    weighted_sampling,
    weighted_sampling_probabilities,
)
from septet.cohort._certificate import Certificate, new_seed, seed_commitment
from septet.cohort._cluster import PartitionedMarginals, partitioned_probabilities
from septet.cohort._cohort import Cohort
from septet.cohort._draw import draw
from septet.cohort._files import pick_file
from septet.cohort._marginals import Marginals
from septet.cohort._pick import pick
from septet.cohort._plot import plot_probabilities
from septet.cohort._read import read_frame, write_frame
from septet.cohort._selection import selection_probabilities
from septet.cohort._serve import serve
from septet.cohort._stream import FairStream
from septet.cohort._stream_rule import quantile_knots
from septet.cohort._stream_terms import Decision
from septet.cohort._verify import CertificateError, Verification, roster_from_csv, verify
from septet.cohort._verify_stream import verify_stream

if TYPE_CHECKING:
    from septet.cohort._selector import FairCohortSelector

__all__ = [
    "AuditReport",
    "Certificate",
    "CertificateError",
    "Cohort",
    "Decision",
    "FairCohortSelector",
    "FairStream",
    "Group",
    "Marginals",
    "Mechanism",
    "PartitionedMarginals",
    "Verification",
    "audit",
    "draw",
    "first_come",
    "new_seed",
    "partitioned_probabilities",
    "permute_then_classify",
    "permute_then_classify_probabilities",
    "pick",
    "pick_file",
    "plot_probabilities",
    "quantile_knots",
    "read_frame",
    "roster_from_csv",
    "seed_commitment",
    "selection_probabilities",
    "serve",
    "successive",
    "top_k",
    "top_k_probabilities",
    "uniform",
    "uniform_probabilities",
    "verify",
    "verify_stream",
    "weighted_sampling",
    "weighted_sampling_probabilities",
    "write_frame",
]


def __getattr__(name: str) -> Any:
    if name == "FairCohortSelector":  # scikit-learn is slow to load and not needed for the rest
        from septet.cohort._selector import FairCohortSelector

        return FairCohortSelector
    raise AttributeError(f"module 'septet.cohort' has no attribute {name!r}")
