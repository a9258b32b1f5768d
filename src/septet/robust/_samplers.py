"""Samplers that show every group alike."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Sampler

from septet._core import checks
from septet.robust._groups import read_groups


def group_balanced_sampler(
    groups: ArrayLike,
    y: ArrayLike | None = None,
    *,
    method: Literal["reweight", "subsample"] = "reweight",
    n_samples: int | None = None,
    unknown_group: object = -1,
    generator: torch.Generator | None = None,
) -> "GroupBalancedSampler":
    """Return a sampler for `torch.utils.data.DataLoader` that balances the groups.

    Parameters
    ----------
    groups : array_like of shape (n,) or (n, n_attributes)
        Group labels. Rows of unknown group are never drawn.
    y : array_like of shape (n,), optional
        Classes; groups are then combinations of class and label.
    method : {"reweight", "subsample"}, default "reweight"
        Draw with replacement, every group equally likely; or draw without replacement as many rows
        of each group as the smallest has, anew in every epoch.
    n_samples : int, optional
        Length of an epoch of ``"reweight"``; by default the number of rows of known group.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    generator : torch.Generator, optional
        Source of the draws; torch's global one by default.

    Returns
    -------
    GroupBalancedSampler
        Yields indices of rows.

    Raises
    ------
    ValueError
        If no row has a known group, or `n_samples` is given for ``"subsample"``.

    Examples
    --------
    >>> sampler = group_balanced_sampler([0, 0, 0, 0, 1], method="subsample")
    >>> rows = list(sampler)
    >>> len(rows), 4 in rows
    (2, True)
    """
    checks.choice("method", method, ["reweight", "subsample"])
    table = read_groups(groups, y, cross_with_label=y is not None, unknown_group=unknown_group)
    if not table.known.any():
        raise ValueError(f"no row has a known group ({table.membership.shape[0]} rows).")
    if method == "subsample" and n_samples is not None:
        raise ValueError('n_samples is for method="reweight"; the smallest group sets it here.')
    if n_samples is not None:
        checks.integer("n_samples", n_samples, low=1)
    return GroupBalancedSampler(table.codes, method == "reweight", n_samples, generator)


class GroupBalancedSampler(Sampler[int]):
    """Made by `group_balanced_sampler`."""

    def __init__(
        self,
        codes: np.ndarray,
        replacement: bool,
        n_samples: int | None,
        generator: torch.Generator | None,
    ) -> None:
        counts = np.bincount(codes[codes >= 0])
        self.codes = torch.as_tensor(codes)
        self.weights = torch.as_tensor(np.where(codes >= 0, 1.0 / counts[codes], 0.0))
        self.smallest = int(counts.min())
        self.replacement = replacement
        self.n_samples = n_samples or int((codes >= 0).sum())
        self.n_groups = len(counts)
        self.generator = generator

    def __len__(self) -> int:
        return self.n_samples if self.replacement else self.smallest * self.n_groups

    def __iter__(self) -> Iterator[int]:
        if self.replacement:
            # one draw per row by the inverse of the cumulative weights: no limit on their number
            edges = self.weights.cumsum(0)
            places = torch.rand(len(self), dtype=torch.float64, generator=self.generator)
            rows = torch.searchsorted(edges, places * edges[-1], right=True)
        else:
            order = torch.randperm(len(self.codes), generator=self.generator)
            kept = [order[self.codes[order] == g][: self.smallest] for g in range(self.n_groups)]
            rows = torch.cat(kept)
            rows = rows[torch.randperm(len(rows), generator=self.generator)]
        yield from rows.tolist()
