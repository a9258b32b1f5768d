"""Subspaces for momentum: orthonormal bases of the smaller side, selections of the larger one."""

import numpy as np
import torch
from torch import Tensor

_OVERSAMPLING = 8
_FLAT = 2  # a matrix longer than this many times its width is reduced by QR before its SVD


def private_generator(*key: int) -> torch.Generator:
    """Return a CPU generator that depends on `key` alone; global random state stays untouched."""
    return torch.Generator().manual_seed(private_seed(*key))


def private_seed(*key: int) -> int:
    """Return a well-mixed seed of 64 bits that depends on `key` alone."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


def new_basis(projection: str, matrix: Tensor, rank: int, generator: torch.Generator) -> Tensor:
    """Return an orthonormal basis of a subspace of the smaller side.

    Parameters
    ----------
    projection : {"svd", "gram", "randomized", "random", "srht"}
    matrix : Tensor of shape (..., m, n), floating point
        The current gradient; ``s = min(m, n)`` is its smaller side.
    rank : int
        Dimension `r` of the subspace, at most `s`.
    generator : torch.Generator
        Source of the random projections; unused by ``"svd"`` and ``"gram"``.

    Returns
    -------
    Tensor of shape (..., s, r)
        Columns are orthonormal. Right singular vectors if ``m >= n``, else left ones.
    """
    wide = matrix if matrix.shape[-2] < matrix.shape[-1] else matrix.mT
    if projection == "svd":
        return _singular_vectors(wide)[..., :rank].contiguous()
    if projection == "gram":
        return _leading_eigenvectors(wide @ wide.mT, rank)
    if projection == "randomized":
        return _range_finder(wide, rank, generator)
    make = srht_basis if projection == "srht" else _haar_basis
    count = wide.shape[:-2].numel()
    bases = [make(wide.shape[-2], rank, generator, matrix.dtype) for _ in range(count)]
    return torch.stack(bases).reshape(*wide.shape[:-1], rank).to(matrix)


def as_drawn(projection: str, basis: Tensor) -> Tensor:
    """Return a basis from a file in the memory layout that `new_basis` gives it.

    Formats such as safetensors keep no strides, and the rounding of products depends on them.
    """
    return basis.mT.contiguous().mT if projection == "gram" else basis


def new_index(projection: str, matrix: Tensor, rank: int, generator: torch.Generator) -> Tensor:
    """Return which rows (``m >= n``) or columns of the larger side carry momentum.

    Parameters
    ----------
    projection : {"uniform", "topk"}
        Without replacement at random, or those with the largest l2 norm.
    matrix : Tensor of shape (..., m, n)
    rank : int
        How many to select.
    generator : torch.Generator
        Source of ``"uniform"``.

    Returns
    -------
    Tensor of shape (..., rank), int32, ascending
    """
    tall = matrix if matrix.shape[-2] >= matrix.shape[-1] else matrix.mT
    if projection == "topk":
        squares = tall.abs().square().sum(-1)
        return squares.topk(rank, dim=-1).indices.sort(dim=-1).values.int()
    batch = tall.shape[:-2]
    picks = [
        torch.randperm(tall.shape[-2], generator=generator)[:rank].sort().values
        for _ in range(batch.numel())
    ]
    return torch.stack(picks).reshape(*batch, rank).to(matrix.device, torch.int32)


def srht_basis(
    size: int, rank: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the transpose of a subsampled randomized Hadamard transform, orthonormal for any size.

    ``P = R H D`` with random signs ``D``, ``rank`` random rows ``R`` and ``H`` orthonormal: block
    diagonal with one normalized Walsh-Hadamard block per binary digit of `size`
    (1376 = 1024 + 256 + 64 + 32), so that no padding is needed.

    Returns
    -------
    Tensor of shape (size, rank)
    """
    rows = torch.randperm(size, generator=generator)[:rank].sort().values
    signs = torch.randint(0, 2, (size,), generator=generator, dtype=dtype).mul_(2).sub_(1)
    basis = torch.zeros(size, rank, dtype=dtype)
    start = 0
    for digit in reversed(range(size.bit_length())):
        block = (size >> digit & 1) << digit
        inside = (rows >= start) & (rows < start + block)
        if block and inside.any():
            here = rows[inside] - start
            basis[start : start + block, inside] = _hadamard_rows(here, digit, dtype).mT
        start += block
    return basis.mul_(signs[:, None])


def _hadamard_rows(rows: Tensor, digits: int, dtype: torch.dtype) -> Tensor:
    """Rows of the normalized Hadamard matrix of order ``2**digits``, as a Kronecker product."""
    out = torch.full((rows.numel(), 1), 2.0 ** (-digits / 2), dtype=dtype)
    for digit in range(digits):
        lower = 1.0 - 2.0 * (rows >> digit & 1).to(dtype)
        out = torch.cat([out, out * lower[:, None]], dim=1)
    return out


def _haar_basis(size: int, rank: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    gaussian = torch.randn(size, rank, generator=generator, dtype=dtype)
    q, r = torch.linalg.qr(gaussian)
    return q * r.diagonal().sign()  # without the signs, QR's convention would skew the draw


def _singular_vectors(wide: Tensor) -> Tensor:
    """Left singular vectors of a wide matrix."""
    if wide.shape[-1] > _FLAT * wide.shape[-2]:
        wide = torch.linalg.qr(wide.mT, mode="r").R.mT
    return torch.linalg.svd(wide, full_matrices=False).U


def _leading_eigenvectors(gram: Tensor, rank: int) -> Tensor:
    return torch.linalg.eigh(gram).eigenvectors[..., -rank:].flip(-1)


def _range_finder(wide: Tensor, rank: int, generator: torch.Generator) -> Tensor:
    """Randomized range finder with one power step, then the best `rank` directions in its range."""
    *batch, size, length = wide.shape
    width = min(rank + _OVERSAMPLING, size)
    shape = (*batch, length, width)
    omega = torch.randn(shape, generator=generator, dtype=torch.float32).to(wide)
    q = torch.linalg.qr(wide @ omega).Q
    q = torch.linalg.qr(wide @ (wide.mT @ q)).Q
    small = q.mT @ wide
    return q @ _leading_eigenvectors(small @ small.mT, rank)


def rotated(momentum: Tensor, old: Tensor, new: Tensor, *, tall: bool) -> Tensor:
    """Re-express `momentum` in a new subspace: ``P_new (P_old* L)``.

    Parameters
    ----------
    momentum : Tensor
        Coordinates in the old subspace.
    old, new : Tensor
        Bases of shape (..., s, r), or ascending indices of shape (..., r).
    tall : bool
        Whether the matrix has at least as many rows as columns.
    """
    if old.is_floating_point():
        turn = (old.mT @ new).to(momentum.dtype)
        return momentum @ turn if tall else turn.mT @ momentum
    # Where each new index stood among the old ones; those that are new start from zero.
    place = torch.searchsorted(old, new).clamp_(max=old.shape[-1] - 1)
    stayed = (old.gather(-1, place) == new).to(momentum.dtype)
    shape = momentum.shape
    if tall:
        return momentum.gather(-2, place[..., :, None].expand(shape)) * stayed[..., :, None]
    return momentum.gather(-1, place[..., None, :].expand(shape)) * stayed[..., None, :]


def picked(matrix: Tensor, index: Tensor, tall: bool) -> Tensor:
    """Return the selected rows (`tall`) or columns."""
    where, dim = _positions(matrix, index, tall)
    return matrix.gather(dim, where)


def spread(matrix: Tensor, index: Tensor, values: Tensor, tall: bool) -> Tensor:
    """Return `matrix` with its selected rows (`tall`) or columns replaced by `values`."""
    where, dim = _positions(matrix, index, tall)
    return matrix.scatter(dim, where, values)


def _positions(matrix: Tensor, index: Tensor, tall: bool) -> tuple[Tensor, int]:
    *batch, m, n = matrix.shape
    r = index.shape[-1]
    if tall:
        return index.long()[..., :, None].expand(*batch, r, n), -2
    return index.long()[..., None, :].expand(*batch, m, r), -1
