"""The loop: resumable bit for bit after a kill, an interrupt or a divergence."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol

import torch
from torch import nn

from septet._core.checks import integer
from septet._core.errors import CheckpointError
from septet._core.files import PathLike
from septet.training._checkpoints import has_checkpoint, load_checkpoint, save_checkpoint
from septet.training._history import (
    append_history,
    cut_history,
    first_records,
    flush_history,
)
from septet.training._packing import State, pack, unpack
from septet.training._seeds import seeded
from septet.training._sharding import load_states, outlines, whole, whole_states
from septet.training._steps import DivergedError
from septet.training._world import World

_OWN_KEYS = {"step", "n_records", "config"}


class Stateful(Protocol):
    """What can be saved and restored: modules, optimizers, schedulers, `Generators`, ..."""

    def state_dict(self) -> Any:
        """Return the state as nested dicts, lists, tensors, strings and numbers."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Restore what `state_dict` returned."""


def train(
    step: Callable[[int], Mapping[str, float]],
    state: Mapping[str, Stateful],
    *,
    steps: int,
    folder: PathLike | None = None,
    checkpoint_every: int | None = None,
    evaluate: Callable[[int], Mapping[str, float]] | None = None,
    evaluate_every: int | None = None,
    log_every: int = 1,
    seed: int | None = None,
    config: Mapping[str, State] | None = None,
    fresh: bool = False,
    progress: Callable[[dict[str, Any]], None] | None = None,
    world: World | None = None,
) -> list[dict[str, Any]]:
    """Run `step` until `steps` are done, going on from the checkpoint in `folder` if there is one.

    A run that was killed, interrupted or resumed ends in the same state, bit for bit, as one that
    was not, provided that `step` depends on nothing but its argument and what is in `state`.
    Ctrl-C lets the current step end and saves a checkpoint first; a second one stops at once.

    Parameters
    ----------
    step : callable
        ``step(t)`` does step ``t`` (from 0) and returns its measures, ``"loss"`` among them; see
        `gradient_step`.
    state : mapping of str to Stateful
        Everything that changes during training, by name.
    steps : int
        Length of the run.
    folder : path, optional
        Holds ``history.jsonl`` and ``checkpoint/``; made if absent. Without it nothing is written.
    checkpoint_every : int, optional
        Save after every so many steps. A finished or interrupted run always saves.
    evaluate : callable, optional
        ``evaluate(n)`` returns measures of the state after ``n`` steps, without changing it.
    evaluate_every : int, optional
        Evaluate after every so many steps. A finished run always evaluates.
    log_every : int, default 1
        A record is made after every so many steps and of every evaluation.
    seed : int, optional
        If given, torch's global generators are set from (seed, process, step) before each step, so
        that dropout resumes exactly, and are left as they were before the call.
    config : mapping, optional
        What the run was made with; a checkpoint made with anything else is refused.
    fresh : bool, default False
        Start over, removing what an earlier run left in `folder`.
    progress : callable, optional
        Called with each record.
    world : World, optional
        The processes that train together; the main one writes. Default this one alone.

    Returns
    -------
    list of dict
        The history: records ``{"step": steps done, **measures, "seconds": time spent so far}``,
        with ``"evaluation": {...}`` where there was one.

    Raises
    ------
    DivergedError
        If the loss is not finite, or the weights are not when they would be saved. The checkpoint
        saved last stays.
    CheckpointError
        If the checkpoint in `folder` is damaged or belongs to another run.
    KeyboardInterrupt
        After the checkpoint was saved.

    Examples
    --------
    >>> from septet.training import gradient_step
    >>> model = nn.Linear(1, 1, bias=False)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> step = gradient_step(lambda i: (model.weight - 1).square().sum(), optimizer)
    >>> history = train(step, {"model": model, "optimizer": optimizer}, steps=50)
    >>> history[-1]["step"], round(model.weight.item(), 3)
    (50, 1.0)
    """
    integer("steps", steps, low=0)
    integer("log_every", log_every, low=1)
    for name, every in (("checkpoint_every", checkpoint_every), ("evaluate_every", evaluate_every)):
        if every is not None:
            integer(name, every, low=1)
    if reserved := _OWN_KEYS & set(state):
        raise ValueError(f"state must not use the name {min(reserved)!r}; the loop does.")
    run = _Run(state, Path(folder) if folder is not None else None, config or {}, world or World())
    done = run.begin(fresh)
    if done > steps:
        raise CheckpointError(
            f"{folder} holds a run of {done} steps; {steps} were asked for. Use another folder or "
            "start over."
        )

    def due(every: int | None) -> bool:
        return done == steps or (every is not None and done % every == 0)

    with _deferred_interrupt() as pressed:
        while done < steps:
            record: dict[str, Any] = {"step": done + 1}
            with seeded(seed, "step", run.world.rank, done):
                record |= run.checked(step, done)
            done += 1
            if evaluate is not None and due(evaluate_every):
                with seeded(seed, "evaluation", run.world.rank, done):
                    record["evaluation"] = dict(evaluate(done))
            if due(log_every) or "evaluation" in record:
                run.record(record, progress)
            stopping = run.world.any(bool(pressed))
            if due(checkpoint_every) or stopping:
                run.save(done)
            if stopping:
                raise KeyboardInterrupt(f"stopped after step {done}; run again to go on.")
        if pressed:  # while the last checkpoint was written
            raise KeyboardInterrupt("the run is complete.")
    return run.history


class _Run:
    """What one call of `train` reads and writes."""

    def __init__(
        self,
        state: Mapping[str, Stateful],
        folder: Path | None,
        config: Mapping[str, State],
        world: World,
    ) -> None:
        self.state = state
        self.folder = folder
        self.config = unpack(*pack(dict(config)))  # as it comes back from a checkpoint
        self.world = world
        self.history: list[dict[str, Any]] = []
        self.saved: int | None = None
        self.started = time.perf_counter()

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {name: item for name, item in self.state.items() if isinstance(item, nn.Module)}

    def begin(self, fresh: bool) -> int:
        """Load the checkpoint, or make the folder ready for a new run; return the steps done."""
        done = 0
        if self.folder is not None and not fresh and has_checkpoint(self.folder / "checkpoint"):
            done = self._load(self.folder)
        elif self.folder is not None and self.world.is_main:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "checkpoint" / "state.json").unlink(missing_ok=True)
            (self.folder / "history.jsonl").unlink(missing_ok=True)
        self.world.wait()
        if done == 0:
            self.world.share(self.modules.values())
        spent = self.history[-1]["seconds"] if self.history else 0.0
        self.started = time.perf_counter() - spent
        return done

    def checked(self, step: Callable[[int], Mapping[str, float]], done: int) -> dict[str, float]:
        """Do one step and return its measures, or say where the last good state lies."""
        try:
            measures = dict(step(done))
            if not math.isfinite(measures.get("loss", 0.0)):
                raise DivergedError(f"the loss is {measures['loss']}.")
        except DivergedError as error:
            self._diverged(done + 1, error)
        return measures

    def record(
        self, record: dict[str, Any], progress: Callable[[dict[str, Any]], None] | None
    ) -> None:
        record["seconds"] = round(time.perf_counter() - self.started, 3)
        self.history.append(record)
        if self.folder is not None and self.world.is_main:
            append_history(self.folder / "history.jsonl", record)
        if progress is not None:
            progress(record)

    def save(self, done: int) -> None:
        """Save a checkpoint, unless the weights are not finite."""
        if self.folder is None:
            return
        for name, module in self.modules.items():
            for part, value in module.named_parameters():
                if not bool(whole(torch.isfinite(value).all())):
                    self._diverged(done, DivergedError(f"{name}.{part} holds NaN or infinity."))
        states = whole_states(self.state)
        if self.world.is_main:
            flush_history(self.folder / "history.jsonl")
            own = {"step": done, "n_records": len(self.history), "config": self.config}
            save_checkpoint(self.folder / "checkpoint", own | states)
        self.saved = done
        self.world.wait()

    def _load(self, folder: Path) -> int:
        like = {name: outlines(module) for name, module in self.modules.items()}
        saved = load_checkpoint(folder / "checkpoint", like=like)
        if odd := (_OWN_KEYS | set(self.state)) ^ set(saved):
            raise CheckpointError(
                f"{folder}: the run and its checkpoint do not both hold {min(odd)!r}."
            )
        for key in sorted(set(saved["config"]) | set(self.config)):
            then, now = saved["config"].get(key), self.config.get(key)
            if then != now:
                raise CheckpointError(
                    f"{folder} holds a run with {key} = {then!r}; now it is {now!r}. Use another "
                    "folder or start over."
                )
        read = cut_history if self.world.is_main else first_records
        self.history = read(folder / "history.jsonl", saved["n_records"])
        load_states(self.state, saved)
        self.saved = saved["step"]
        return saved["step"]

    def _diverged(self, step: int, error: DivergedError) -> NoReturn:
        if self.folder is not None and self.world.is_main:
            line = {"step": step, "event": "diverged", "message": str(error)}
            append_history(self.folder / "history.jsonl", line)
        kept = "No checkpoint was saved."
        if self.saved is not None:
            kept = f"The checkpoint after step {self.saved} is kept in {self.folder}."
        raise DivergedError(f"step {step}: {error} {kept} Try a lower learning rate.") from error


@contextmanager
def _deferred_interrupt() -> Iterator[list[int]]:
    """Collect the first SIGINT in a list instead of raising; a second one raises at once.

    Elsewhere than in the main thread signals cannot be caught and the list stays empty.
    """
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
