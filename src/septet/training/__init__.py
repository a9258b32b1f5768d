"""Training that resumes bit for bit: loop, checkpoints, history, seeds, device, processes."""

from septet._core.extras import needs

needs("torch", extra="torch", purpose="training")

from septet.training._checkpoints import (  # noqa: E402 - torch is asked for first
    checkpoint_digest,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from septet.training._history import append_history, cut_history, read_history  # noqa: E402
from septet.training._loop import Stateful, train  # noqa: E402
from septet.training._packing import State, pack, unpack  # noqa: E402
from septet.training._seeds import Generators, SampleOrder, derive_seed, seeded  # noqa: E402
from septet.training._sharding import shard  # noqa: E402
from septet.training._steps import DivergedError, gradient_step, warmup_cosine  # noqa: E402
from septet.training._world import World, choose_device, world  # noqa: E402

__all__ = [
    "DivergedError",
    "Generators",
    "SampleOrder",
    "State",
    "Stateful",
    "World",
    "append_history",
    "checkpoint_digest",
    "choose_device",
    "cut_history",
    "derive_seed",
    "gradient_step",
    "has_checkpoint",
    "load_checkpoint",
    "pack",
    "read_history",
    "save_checkpoint",
    "seeded",
    "shard",
    "train",
    "unpack",
    "warmup_cosine",
    "world",
]
