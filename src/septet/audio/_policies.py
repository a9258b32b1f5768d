"""Weight policies: losses of the branches in, weights of the branches out."""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import CheckpointError
from septet.audio._curves import BranchCurves


class WeightPolicy(Protocol):
    """What a training loop needs of a policy."""

    curves: BranchCurves

    @property
    def weights(self) -> NDArray[np.float64]:
        """Current weights (n_branches,), not negative, of sum 1."""

    def update(
        self, train: ArrayLike, validation: ArrayLike, *, step: int | None = None
    ) -> NDArray[np.float64]:
        """Take the losses of an evaluation and return the weights from here on."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state."""


class FixedPolicy:
    """Weights that never change: plain sums of losses, or one branch alone.

    Parameters
    ----------
    branches : sequence of str, or int
        Names of the branches, or how many there are.
    weights : array_like, optional
        Not negative, with a positive sum; they are scaled to sum 1. Equal ones by default.

    Raises
    ------
    ValueError
        If a weight is negative or they sum to 0.

    Examples
    --------
    >>> FixedPolicy.one_hot(["mel", "cqt", "joint"], "joint").weights
    array([0., 0., 1.])
    """

    def __init__(self, branches: Sequence[str] | int, weights: ArrayLike | None = None) -> None:
        self.curves = BranchCurves(branches)
        count = len(self.curves.branches)
        values = (
            np.ones(count) if weights is None else checks.vector("weights", weights, size=count)
        )
        if (values < 0).any() or values.sum() <= 0:
            raise ValueError(f"weights must not be negative nor all 0; got {values}.")
        self._weights = values / values.sum()

    @classmethod
    def one_hot(cls, branches: Sequence[str], branch: str) -> Self:
        """Build the policy that gives one branch all the weight."""
        checks.choice("branch", branch, branches)
        return cls(branches, [float(name == branch) for name in branches])

    @property
    def weights(self) -> NDArray[np.float64]:
        """Current weights (n_branches,)."""
        return self._weights.copy()

    def update(
        self, train: ArrayLike, validation: ArrayLike, *, step: int | None = None
    ) -> NDArray[np.float64]:
        """Record the losses of an evaluation; return the weights, which stay."""
        losses = loss_table(train, validation, len(self.curves.branches))
        step = len(self.curves) if step is None else step
        self.curves.append(step, losses[0], losses[1], self._weights)
        return self.weights

    def state_dict(self) -> dict[str, Any]:
        """Return the weights and the recorded losses."""
        return {"weights": self.weights, "curves": self.curves.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises
        ------
        CheckpointError
            If it belongs to other branches or weights.
        """
        self.curves.load_state_dict(state["curves"])
        if not np.array_equal(state["weights"], self._weights):
            raise CheckpointError(
                f"the policy was saved with weights {state['weights']}; here: {self._weights}."
            )


def loss_table(train: ArrayLike, validation: ArrayLike, count: int) -> NDArray[np.float64]:
    """Return (2, branches) losses, training first, or raise if they are not one for each."""
    table = np.array([np.asarray(x, np.float64) for x in (train, validation)])
    if table.shape != (2, count):
        raise ValueError(
            f"train and validation must hold {count} losses each, one for a branch; got shapes "
            f"{np.shape(train)} and {np.shape(validation)}."
        )
    return table
