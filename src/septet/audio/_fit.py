"""Training a multi-view network: losses, evaluations, the best state, trial runs."""

import copy
import hashlib
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import AdamW, Optimizer

from septet._core.errors import SeptetWarning
from septet._core.files import PathLike
from septet.audio._augment import Augmentation
from septet.audio._gblend import GBlendPolicy, ModulationPolicy, modulated
from septet.audio._network import JOINT, MultiViewNet, blended_loss, branch_losses
from septet.audio._policies import WeightPolicy
from septet.audio._source import ViewSource, batches
from septet.training import (
    SampleOrder,
    World,
    derive_seed,
    gradient_step,
    train,
    warmup_cosine,
)

MakeOptimizer = Callable[[list[dict[str, Any]]], Optimizer]


@dataclass(frozen=True)
class Problem:
    """What is learned: segments with their views, targets and parts.

    Attributes
    ----------
    source : ViewSource
    targets : Tensor of shape (n_segments,), int64
    owner : ndarray of shape (n_segments,)
        Clip of each segment.
    valid : Tensor of shape (n_segments,)
    train, validation, probe : ndarray
        Numbers of the segments.
    class_weight : Tensor of shape (n_classes,) or None
    """

    source: ViewSource
    targets: Tensor
    owner: NDArray[np.int64]
    valid: Tensor
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    probe: NDArray[np.int64]
    class_weight: Tensor | None = None

    def digest(self) -> str:
        """Return a digest of samples, targets and parts: a run must not go on with others."""
        found = hashlib.sha256()
        tensors = (self.source.samples, self.targets)
        for part in (*(t.numpy() for t in tensors), self.owner, self.train, self.validation):
            found.update(np.ascontiguousarray(part).data)
        return found.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how it is learned; see :class:`MultiViewClassifier`."""

    steps: int
    eval_every: int
    batch_size: int = 32
    lr: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    couple: str = "loss"
    clip_norm: float | None = None
    accumulate: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    make_optimizer: MakeOptimizer | None = None
    autocast: torch.dtype | None = None


class Best:
    """The network's state at the best validation score so far; of equal ones the later."""

    def __init__(self) -> None:
        self.score = -math.inf
        self.step = -1
        self.weights: dict[str, Tensor] | None = None

    def offer(self, score: float, step: int, net: MultiViewNet) -> None:
        """Keep the network's state if the score is at least as good."""
        if score >= self.score:
            state = {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}
            self.score, self.step, self.weights = score, step, state

    def state_dict(self) -> dict[str, Any]:
        """Return score, step and state."""
        return {"score": self.score, "step": self.step, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.score, self.step = float(state["score"]), int(state["step"])
        self.weights = state["weights"]


class Fitting:
    """One training run.

    Parameters
    ----------
    net : MultiViewNet
    problem : Problem
    policy : WeightPolicy
    schedule : Schedule
    seed : int
    world : World

    Attributes
    ----------
    best : Best
    history : list of dict
        What :func:`septet.training.train` recorded.
    evaluation_seconds : float
        Time spent on evaluations of the branches.
    """

    def __init__(
        self,
        net: MultiViewNet,
        problem: Problem,
        policy: WeightPolicy,
        schedule: Schedule,
        *,
        seed: int,
        world: World | None = None,
    ) -> None:
        self.net, self.problem, self.policy, self.plan = net, problem, policy, schedule
        self.seed, self.world = seed, world or World()
        self.best = Best()
        self.history: list[dict[str, Any]] = []
        self.evaluation_seconds = 0.0
        self._order = SampleOrder(len(problem.train), seed=derive_seed(seed, "order"))
        self._ill: set[str] = set()

    def run(
        self,
        *,
        folder: PathLike | None = None,
        config: Mapping[str, Any] | None = None,
        fresh: bool = False,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Train to the end, going on from the checkpoint in `folder` if there is one."""
        plan = self.plan
        optimizer = self._optimizer(self.net)
        cosine = plan.schedule == "cosine"
        update = gradient_step(
            lambda i: self._loss(self.net, self._loss_weights(), i),
            optimizer,
            accumulate=plan.accumulate,
            clip_norm=plan.clip_norm,
            schedule=(lambda t: warmup_cosine(t, steps=plan.steps)) if cosine else None,
            autocast=plan.autocast,
            world=self.world,
        )

        def step(t: int) -> dict[str, float]:
            if isinstance(self.policy, GBlendPolicy) and self.policy.due(t):
                self._trial(self.policy)
            if t == 0:
                self.evaluate(0)
            if plan.couple == "lr":
                self._scale_rates(optimizer)
            self.net.train()
            return update(t)

        state = {"net": self.net, "optimizer": optimizer, "policy": self.policy, "best": self.best}
        self.history = train(
            step,
            state,
            steps=plan.steps,
            folder=folder,
            checkpoint_every=max(plan.eval_every, plan.steps // 10),
            evaluate=self.evaluate,
            evaluate_every=plan.eval_every,
            log_every=plan.eval_every,
            seed=derive_seed(self.seed, "dropout"),
            config=config,
            fresh=fresh,
            progress=progress,
            world=self.world,
        )

    def evaluate(self, step: int) -> dict[str, float]:
        """Evaluate all branches, renew the weights, keep the state if it is the best so far."""
        start = time.perf_counter()
        training, _ = self._branch_losses(self.net, self.problem.probe)
        validation, score = self._branch_losses(self.net, self.problem.validation)
        self.policy.update(training, validation, step=step)
        self.best.offer(score, step, self.net)
        self.evaluation_seconds += time.perf_counter() - start
        names = self.net.branches
        measures = {"balanced_accuracy": score}
        for key, losses in (("train", training), ("validation", validation)):
            measures |= {f"{key}_{n}": float(x) for n, x in zip(names, losses, strict=True)}
        return measures | {
            f"weight_{n}": float(w) for n, w in zip(names, self.policy.weights, strict=True)
        }

    @torch.no_grad()
    def _branch_losses(
        self, net: MultiViewNet, indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], float]:
        """Return the mean loss of every branch and the balanced accuracy of the joint one."""
        _, logits = branch_outputs(net, self.problem.source, indices, self.problem.valid)
        targets = self.problem.targets[torch.from_numpy(indices)]
        weight = self.problem.class_weight
        losses = branch_losses(logits, targets, class_weight=weight)
        table = np.array([float(loss) for loss in losses.values()])
        owner = self.problem.owner[indices]
        clips, first = np.unique(owner, return_index=True)
        decided = clip_means(logits[JOINT].log_softmax(1).numpy(), owner).argmax(1)
        return table, balanced_accuracy(targets.numpy()[first], decided) if len(clips) else 0.0

    def _loss_weights(self) -> NDArray[np.float64]:
        """Return the policy's weights, or equal ones where they act on the learning rates."""
        weights = self.policy.weights
        return weights if self.plan.couple == "loss" else np.full_like(weights, 1 / len(weights))

    def _loss(self, net: MultiViewNet, weights: NDArray[np.float64], i: int) -> Tensor:
        """Return the blended loss of micro-batch `i`."""
        problem, augment = self.problem, self.plan.augmentation
        places = self._order.take(i * self.plan.batch_size, self.plan.batch_size)
        indices = problem.train[places]
        device = problem.source.device
        targets = problem.targets[torch.from_numpy(indices)].to(device)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "augmentation", i))
        with torch.no_grad(), torch.autocast(targets.device.type, enabled=False):
            if augment.changes_waveforms:
                samples, targets = augment.waveforms(
                    problem.source.clips(indices), targets, net.n_classes, generator
                )
                views = problem.source.stack(samples)
            else:
                views = problem.source.views(indices)
            views = augment.images(views, generator)
        valid = problem.valid[torch.from_numpy(indices)].to(device)
        if augment.shift or augment.mixup:  # sound may now lie where the clip's own padding was
            valid = torch.ones_like(valid)
        embeddings = net.embed(views, valid)
        if isinstance(self.policy, ModulationPolicy):
            embeddings = modulated(net, embeddings, targets, self.policy.alpha)
        weight = problem.class_weight
        weight = None if weight is None else weight.to(device)
        losses = branch_losses(net.classify(embeddings), targets, class_weight=weight)
        return blended_loss(losses, self._without_ill(losses, weights))

    def _without_ill(
        self, losses: Mapping[str, Tensor], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Take the weight from branches whose loss in this batch is not finite, with a warning."""
        finite = torch.stack([x.detach() for x in losses.values()]).isfinite().tolist()
        ill = {name: float(not sound) for name, sound in zip(losses, finite, strict=True)}
        ill = self.world.mean(ill)  # every process must leave out the same
        sound = np.array([not ill[name] for name in losses])
        if sound.all() or not (weights * sound).any():
            return weights
        if new := {name for name in losses if ill[name]} - self._ill:
            warnings.warn(
                f"the training loss of {', '.join(sorted(new))} is not finite in some batch and is "
                "left out there.",
                SeptetWarning,
                stacklevel=2,
            )
            self._ill |= new
        return weights * sound

    def _optimizer(self, net: MultiViewNet) -> Optimizer:
        """Return an optimizer with two groups for every branch, with and without decay."""
        groups = []
        for name in dict.fromkeys((*net.subnetworks, *net.branches)):
            parts = [part[name] for part in (net.subnetworks, net.heads) if name in part]
            parameters = [p for part in parts for p in part.parameters()]
            for decay in (True, False):
                some = [p for p in parameters if (p.ndim > 1) == decay]
                if some:
                    rate = self.plan.weight_decay if decay else 0.0
                    groups.append({"params": some, "weight_decay": rate, "branch": name})
        if self.plan.make_optimizer is not None:
            return self.plan.make_optimizer(groups)
        return AdamW(groups, lr=self.plan.lr)

    def _scale_rates(self, optimizer: Optimizer) -> None:
        """Give every branch's parameters the learning rate ``K w`` times the usual one."""
        weights = dict(zip(self.net.branches, self.policy.weights, strict=True))
        for group in optimizer.param_groups:
            usual = group.setdefault("usual_lr", float(group["lr"]))
            branch = group["branch"] if group["branch"] in weights else JOINT
            group["initial_lr"] = usual * len(weights) * float(weights[branch])

    def _trial(self, policy: GBlendPolicy) -> None:
        """Train every branch alone for a while, from the network's state, and set the weights."""
        before = self._both_losses(self.net)
        n = len(self.net.branches)
        alone = np.r_[np.ones(n - 1), 0.0]  # subnetworks share nothing: all views at once
        joint = np.r_[np.zeros(n - 1), 1.0]
        after = np.where(joint == 1, self._trained(joint, policy), self._trained(alone, policy))
        policy.estimate(before, (after[0], after[1]))

    def _trained(self, weights: NDArray[np.float64], policy: GBlendPolicy) -> NDArray[np.float64]:
        net = copy.deepcopy(self.net).train()
        first = self.plan.steps * self.plan.accumulate * self.world.size  # no batch of the run
        update = gradient_step(
            lambda i: self._loss(net, weights, first + i),
            self._optimizer(net),
            accumulate=self.plan.accumulate,
            autocast=self.plan.autocast,
            world=self.world,
        )
        train(update, {"net": net}, steps=policy.trial_steps, log_every=10**9, world=self.world)
        return np.stack(self._both_losses(net))

    def _both_losses(self, net: MultiViewNet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        training, _ = self._branch_losses(net, self.problem.probe)
        validation, _ = self._branch_losses(net, self.problem.validation)
        return training, validation


@torch.no_grad()
def branch_outputs(
    net: MultiViewNet, source: ViewSource, indices: NDArray[np.int64], valid: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return embeddings and logits of segments in evaluation mode, on the CPU, in float32."""
    was_training = net.training
    net.eval()
    embeddings, logits = [], []
    for some in batches(indices):
        fraction = valid[torch.from_numpy(some)].to(source.device)
        embeddings.append(net.embed(source.views(some), fraction))
        logits.append(net.classify(embeddings[-1]))
    net.train(was_training)
    return _joined(embeddings), _joined(logits)


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name].float().cpu() for part in parts]) for name in parts[0]}


def clip_means(values: NDArray[np.floating], owner: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of rows of values over the segments of each clip, clips ascending."""
    clips, place = np.unique(owner, return_inverse=True)
    total = np.zeros((len(clips), values.shape[1]))
    np.add.at(total, place, values)
    return total / np.bincount(place)[:, None]


def balanced_accuracy(truth: NDArray[Any], decided: NDArray[Any]) -> float:
    """Return the mean recall over the classes that occur."""
    return float(np.mean([np.mean(decided[truth == c] == c) for c in np.unique(truth)]))
