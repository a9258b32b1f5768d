"""The loss curves of the branches, which weight policies read and reports draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import CheckpointError
from septet._core.pictures import axes_or_new, figure_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class BranchCurves:
    """Training and validation losses and weights of named branches, one point an evaluation.

    Parameters
    ----------
    branches : sequence of str, or int
        Names of the branches, or how many there are.

    Attributes
    ----------
    branches : tuple of str
    steps : list of int
        Number of training steps before each evaluation.

    Examples
    --------
    >>> curves = BranchCurves(["mel", "joint"])
    >>> curves.append(0, [2.0, 2.1], [2.2, 2.3], [0.5, 0.5])
    >>> curves.to_dict()["branch"]
    ['mel', 'joint']
    """

    def __init__(self, branches: Sequence[str] | int) -> None:
        self.branches = branch_names(branches)
        self.steps: list[int] = []
        self._train: list[NDArray[np.float64]] = []
        self._validation: list[NDArray[np.float64]] = []
        self._weights: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def train(self) -> NDArray[np.float64]:
        """Mean losses on the train probe, (points, branches); not finite ones as NaN."""
        return self._table(self._train)

    @property
    def validation(self) -> NDArray[np.float64]:
        """Mean losses on the validation split, (points, branches)."""
        return self._table(self._validation)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weights chosen after each evaluation, (points, branches)."""
        return self._table(self._weights)

    def append(
        self, step: int, train: ArrayLike, validation: ArrayLike, weights: ArrayLike
    ) -> None:
        """Add a point."""
        self.steps.append(int(step))
        for rows, row in (
            (self._train, train),
            (self._validation, validation),
            (self._weights, weights),
        ):
            rows.append(np.array(row, dtype=np.float64))

    def last(self, count: int) -> list[NDArray[np.float64]]:
        """Return up to `count` last points, each (2, branches): training above validation."""
        start = max(0, len(self) - count)
        pairs = zip(self._train[start:], self._validation[start:], strict=True)
        return [np.stack(pair) for pair in pairs]

    def to_dict(self) -> dict[str, list[Any]]:
        """Return columns, a row for every point and branch: ``pandas.DataFrame`` takes them."""
        points, names = len(self), self.branches
        return {
            "step": [step for step in self.steps for _ in names],
            "branch": list(names) * points,
            "train_loss": self.train.ravel().tolist(),
            "validation_loss": self.validation.ravel().tolist(),
            "weight": self.weights.ravel().tolist(),
        }

    def to_frame(self, backend: str = "pandas") -> Any:
        """Return the columns as a data frame of ``"pandas"``, ``"polars"`` or ``"pyarrow"``.

        Raises
        ------
        ModuleNotFoundError
            If the backend is not installed.
        """
        import narwhals

        return narwhals.from_dict(self.to_dict(), backend=backend).to_native()  # type: ignore[arg-type]

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the weights as a stack over the steps; return the matplotlib figure.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        ax = axes_or_new(ax, (6.4, 4.8))
        ax.stackplot(self.steps, self.weights.T, labels=self.branches)
        ax.set(xlabel="step", ylabel="weight", ylim=(0, 1), xlim=(self.steps[0], self.steps[-1]))
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        return figure_of(ax)

    def state_dict(self) -> dict[str, Any]:
        """Return everything as lists and arrays."""
        return {
            "branches": list(self.branches),
            "steps": list(self.steps),
            "train": self.train,
            "validation": self.validation,
            "weights": self.weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises
        ------
        CheckpointError
            If the state belongs to other branches.
        """
        if tuple(state["branches"]) != self.branches:
            raise CheckpointError(
                f"the curves were saved for branches {', '.join(state['branches'])}; "
                f"here they are {', '.join(self.branches)}."
            )
        self.steps = [int(step) for step in state["steps"]]
        self._train = list(np.asarray(state["train"], dtype=np.float64))
        self._validation = list(np.asarray(state["validation"], dtype=np.float64))
        self._weights = list(np.asarray(state["weights"], dtype=np.float64))

    def _table(self, rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.branches))


def branch_names(branches: Sequence[str] | int) -> tuple[str, ...]:
    """Return the names given, or as many numbers as names.

    Raises
    ------
    ValueError
        If there is no branch or a name occurs twice.
    """
    if isinstance(branches, int | np.integer):
        count = checks.integer("branches", branches, low=1)
        return tuple(str(index) for index in range(count))
    if isinstance(branches, str):
        raise TypeError(f"branches must be a sequence of names or a number; got {branches!r}.")
    names = tuple(branches)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"branches must be one name at least, each once; got {names}.")
    return names
