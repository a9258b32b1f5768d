"""Commands for optimizer memory: what each would hold for a model, and how they train."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from septet.cli import _console

Json = Annotated[bool, tyro.conf.arg(name="json")]
_GIB = 2**30


def memory(
    *,
    model: str = "llama-1b",
    rank: int | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16",
    as_json: Json = False,
) -> int:
    """Count what every optimizer would keep for a model.

    Parameters
    ----------
    model
        llama-60m, -130m, -350m, -1b, -3b or -7b, a .safetensors file, or a folder of them; only
        headers are read.
    rank
        Rank of projections and number of selected rows; by default the paper's for a LLaMA, else
        a quarter of the most frequent smaller side.
    dtype
        Dtype of the weights.
    as_json
        Print JSON.
    """
    from septet import optim

    found = optim.plan(model, rank=rank, dtype=dtype)
    if as_json:
        _console.result(found, as_json=True)
        return 0
    _console.table(
        [
            {
                "optimizer": row.optimizer,
                "state, GiB": round(row.state_bytes / _GIB, 3),
                "as papers count, GiB": round(row.paper_bytes / _GIB, 3),
                "% of Adam's numbers": round(100 * row.share_of_adam, 1),
                "note": row.note,
            }
            for row in found.rows
        ]
    )
    _console.note(
        f"{found.model}: {found.parameters} parameters, {found.compressed} of them compressed at "
        f"rank {found.rank}; weights in {found.dtype} take {found.weight_bytes / _GIB:.3f} GiB, "
        "gradients as much again"
    )
    return 0


def compare(
    text: tyro.conf.Positional[Path | None] = None,
    /,
    *,
    methods: tuple[str, ...] = ("adam", "adam-two-rates", "adam-snsm", "lean-gram", "rmsprop-sn"),
    steps: int = 100,
    seed: int = 0,
    as_json: Json = False,
) -> int:
    """Train a small LLaMA on TEXT with several optimizers, one after another.

    Every optimizer sees the same first weights and the same samples, at the rates that the recipe
    optim.llama tuned for it. One seed is an impression, no evidence: `septet reproduce optim.llama`
    has the study.

    Parameters
    ----------
    text
        File to learn, byte by byte; the data set gcide if none is given.
    methods
        Optimizers; the first one's state is what the others' is compared with.
    steps
        Steps of each run.
    seed
        Seed of the weights and of the order of samples.
    as_json
        Print JSON.
    """
    from septet.recipes.optim_llama.quick import quick_comparison

    with _console.progress("optim compare") as say:
        rows = quick_comparison(text, methods=methods, steps=steps, seed=seed, say=say)
    _console.table(rows, as_json=as_json)
    return 0


COMMANDS = {"memory": memory, "compare": compare}
