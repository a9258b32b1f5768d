"""Conformance suites that anyone can run on their own classes, states and runs.

Each function raises ``AssertionError`` with what differed; call them from any test framework.
"""

from septet.testing._checkpoints import (
    assert_damage_is_caught,
    assert_round_trip,
    assert_same_state,
)
from septet.testing._determinism import (
    assert_resume_is_exact,
    assert_same_seed_same_checkpoint,
    assert_survives_kills,
)
from septet.testing._optimizers import (
    OptimizerCase,
    assert_optimizer_conforms,
    optimizer_checks,
)

__all__ = [
    "OptimizerCase",
    "assert_damage_is_caught",
    "assert_optimizer_conforms",
    "assert_resume_is_exact",
    "assert_round_trip",
    "assert_same_seed_same_checkpoint",
    "assert_same_state",
    "assert_survives_kills",
    "optimizer_checks",
]
