"""The table of optimizers: adding one means adding a row."""

import math

from septet.optim import (
    SGDSM,
    AdagradNorm,
    AdagradSN,
    AdagradSNSM,
    AdamSM,
    AdamSN,
    AdamSNSM,
    GaLore,
    LeanOptimizer,
    RMSpropSN,
)
from septet.testing import OptimizerCase


def matrices(p):
    """Count, rows and columns of the matrices in a parameter; None if it is none."""
    if p.ndim < 2:
        return None
    if p.ndim == 3:
        return tuple(p.shape)
    return 1, p.shape[0], p.numel() // p.shape[0]


def subsets(p):
    """Second moments under the paper's partition: the larger side of each matrix."""
    found = matrices(p)
    return found[0] * max(found[1:]) if found else p.numel()


def subspace(p, rank, *, dense=True, stored=True):
    """Bytes of momentum in a subspace, its basis or its indices."""
    found = matrices(p)
    if found is None:
        return p.numel() * p.itemsize
    count, small, large = found[0], min(found[1:]), max(found[1:])
    if rank >= (small if dense else large):
        return p.numel() * p.itemsize
    if not dense:
        return count * rank * (small * p.itemsize + 4)
    return count * rank * (large * p.itemsize + (4 * small if stored else 0))


def galore(p, rank):
    found = matrices(p)
    if found is None or rank >= min(found[1:]):
        return 8 * p.numel()
    count, small, large = found[0], min(found[1:]), max(found[1:])
    return 4 * count * rank * (2 * large + small)


def row(build, state_bytes, **options):
    kwargs = {"lr": 0.05, **options}
    shown = [
        str(options[k]) for k in ("projection", "refresh", "subset", "momentum") if k in options
    ]
    return OptimizerCase(
        build,
        kwargs,
        state_bytes=state_bytes,
        nonfinite="raise",
        takes_complex=kwargs.get("projection") in ("uniform", "topk", None)
        and build not in (GaLore, SGDSM, AdagradSNSM),
        name="-".join([build.__name__, *shown]),
    )


SHORT = {"rank": 2, "update_interval": 3}

CASES = [
    row(AdagradNorm, lambda p: 4),
    row(AdagradSN, lambda p: 4 * subsets(p)),
    row(AdagradSN, lambda p: 4 * math.ceil(p.numel() / 4), subset=4),
    row(RMSpropSN, lambda p: 4 * subsets(p)),
    row(AdamSN, lambda p: p.numel() * p.itemsize + 4 * subsets(p)),
    row(AdamSN, lambda p: p.numel() * (p.itemsize + 4), subset=None),
    row(SGDSM, lambda p: subspace(p, 2), projection="gram", **SHORT),
    row(AdagradSNSM, lambda p: subspace(p, 2) + 4 * subsets(p), projection="random", **SHORT),
    row(AdamSM, lambda p: subspace(p, 2) + 4 * p.numel(), projection="svd", **SHORT),
    *[
        row(
            AdamSNSM,
            lambda p, projection=projection: 4 * subsets(p)
            + subspace(
                p, 2, dense=projection not in ("uniform", "topk"), stored=projection != "srht"
            ),
            projection=projection,
            refresh=refresh,
            **SHORT,
        )
        for projection, refresh in (
            ("svd", "reset"), ("randomized", "keep"), ("srht", "rotate"), ("uniform", "rotate"),
            ("topk", "reset"),
        )
    ],
    row(LeanOptimizer, lambda p: p.numel() * p.itemsize, momentum="ema", second_moment=None),
    row(GaLore, lambda p: galore(p, 2), projection="svd", **SHORT),
]  # fmt: skip
