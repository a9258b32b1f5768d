"""How much refreshing every subspace once in 200 steps adds to the mean step of AdamSNSM.

The linear matrices of LLaMA-60M, rank 128, float32: refreshing at every step against never, in
turns.
"""

from __future__ import annotations

from typing import Any

import torch
from optim import NEVER, RANK, step_of
from sidebyside import interleaved, show

from septet.optim import AdamSNSM

INTERVAL = 200


def main() -> list[dict[str, Any]]:
    """Time every projection; one row for each."""
    rows = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        rows += refreshes(threads)
    torch.set_num_threads(before)
    return rows


def refreshes(threads: int) -> list[dict[str, Any]]:
    """How much refreshing every matrix once in 200 steps adds to the mean step."""
    rows = []
    for projection in ("svd", "gram", "randomized", "random", "topk"):
        options = {"lr": 1e-3, "rank": RANK, "projection": projection}
        ways = {
            "always": step_of(lambda p, o=options: AdamSNSM(p, update_interval=1, **o)),
            "never": step_of(lambda p, o=options: AdamSNSM(p, update_interval=NEVER, **o)),
        }
        seconds = interleaved(ways, repeats=3)
        always, never = (sorted(seconds[name])[1] for name in ways)
        share = (always - never) / INTERVAL / never
        rows.append(
            {
                "what": f"refresh, {threads} thread{'s' if threads > 1 else ''}",
                "ours": f"AdamSNSM {projection}",
                "ours (ms)": 1e3 * always,
                "peer": "the same without refresh",
                "peer (ms)": 1e3 * never,
                "share of the mean step": share,
                "floor": 0.1,
                "met": share <= 0.1,
            }
        )
    return rows


if __name__ == "__main__":
    show(main())
