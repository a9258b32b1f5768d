"""Many training runs at once: one network whose parameters have a leading axis of runs."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from septet._core import checks
from septet.audio._curves import BranchCurves
from septet.audio._fit import balanced_accuracy
from septet.audio._gblend import ModulationPolicy, modulated
from septet.audio._network import MultiViewNet
from septet.audio._policies import WeightPolicy
from septet.audio._stack import MIN_STD
from septet.training import SampleOrder, derive_seed, seeded, warmup_cosine

_EVALUATED = 32  # clips of each run that pass the network together: more do not fit the cache


@dataclass(frozen=True)
class RunPlan:
    """One of many runs: which clips it learns from and how its branches are weighted.

    Attributes
    ----------
    train, validation, test : ndarray of int64
        Numbers of the clips.
    policy : WeightPolicy
        Updated in place.
    seed : int
        Of the network's first state and the order of the clips.
    each_best : bool, default False
        Keep every branch at its own best validation score rather than all at the joint one's: for
        subnetworks that are trained as if alone.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    policy: WeightPolicy
    seed: int
    each_best: bool = False


@dataclass(frozen=True)
class RunOutcome:
    """What came out of a run.

    Attributes
    ----------
    best, last : mapping from str to ndarray of shape (n_test, n_classes)
        Probabilities of the test clips by every branch, from the best and the last state.
    best_step : int
        Of the joint branch.
    curves : BranchCurves
    """

    best: Mapping[str, NDArray[np.float32]]
    last: Mapping[str, NDArray[np.float32]]
    best_step: int
    curves: BranchCurves


def train_runs(
    make_net: Callable[[], MultiViewNet],
    views: Mapping[str, Tensor],
    labels: NDArray[np.int64],
    plans: Sequence[RunPlan],
    *,
    steps: int,
    eval_every: int,
    batch_size: int = 32,
    lr: float = 1e-3,
    weight_decay: float = 1e-4,
    schedule: str = "constant",
    at_once: int = 20,
    progress: Callable[[int, int], None] | None = None,
) -> list[RunOutcome]:
    """Train a network for every plan, many in one pass; each result is as if trained alone.

    Parameters
    ----------
    make_net : callable
        Builds a network, drawing its first state from torch's global generator. The network must be
        made of operations that :func:`torch.vmap` batches, without dropout: ``size="tiny"`` is.
    views : mapping from str to Tensor of shape (n_clips, ...)
        Views of all clips, images not normalised: that is done for every run with its own
        training clips.
    labels : ndarray of shape (n_clips,)
        Class numbers.
    plans : sequence of RunPlan
    steps, eval_every, batch_size, lr, weight_decay, schedule
        See :class:`MultiViewClassifier`; losses are balanced over the classes.
    at_once : int, default 20
        Runs in one pass.
    progress : callable, optional
        Called with how many of how many steps are done, of all passes.

    Returns
    -------
    list of RunOutcome

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    checks.choice("schedule", schedule, ("constant", "cosine"))
    for name, value in (("steps", steps), ("eval_every", eval_every), ("batch_size", batch_size)):
        checks.integer(name, value, low=1)
    checks.integer("at_once", at_once, low=1)
    outcomes: list[RunOutcome] = []
    passes = math.ceil(len(plans) / at_once)
    for number in range(passes):
        some = plans[number * at_once : (number + 1) * at_once]
        runs = _Pass(make_net, views, labels, some, lr=lr, weight_decay=weight_decay)
        for t in range(steps):
            if t % eval_every == 0:
                runs.evaluate(t)
            factor = warmup_cosine(t, steps=steps) if schedule == "cosine" else 1.0
            runs.step(t, batch_size, lr * factor)
            if progress is not None:
                progress(number * steps + t + 1, passes * steps)
        runs.evaluate(steps)
        outcomes += runs.outcomes()
    return outcomes


class _Modulating(nn.Module):
    """A network that holds back the gradients of views that are ahead if it has the targets."""

    def __init__(self, net: MultiViewNet) -> None:
        super().__init__()
        self.net = net

    def forward(
        self,
        views: Mapping[str, Tensor],
        targets: Tensor | None = None,
        alpha: Tensor | float = 0.0,
    ) -> dict[str, Tensor]:
        embeddings = self.net.embed(views)
        if targets is not None:
            embeddings = modulated(self.net, embeddings, targets, alpha)
        return self.net.classify(embeddings)


class _Pass:
    """Some runs that share every operation."""

    def __init__(
        self,
        make_net: Callable[[], MultiViewNet],
        views: Mapping[str, Tensor],
        labels: NDArray[np.int64],
        plans: Sequence[RunPlan],
        *,
        lr: float,
        weight_decay: float,
    ) -> None:
        self.views, self.plans = views, plans
        self.labels = torch.from_numpy(np.asarray(labels, dtype=np.int64))
        nets = []
        for plan in plans:
            with seeded(plan.seed, "initial"):
                nets.append(_Modulating(make_net()))
        self.branches = nets[0].net.branches
        self.base = copy.deepcopy(nets[0]).to("meta").eval()
        stacked, _ = stack_module_state(nets)
        self.params = {name: value.detach().requires_grad_() for name, value in stacked.items()}
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p], "weight_decay": weight_decay if p.ndim > 2 else 0.0}
                for p in self.params.values()
            ],
            lr=lr,
        )
        n_classes = nets[0].net.n_classes
        self.class_weight = torch.stack([_balance(self.labels[p.train], n_classes) for p in plans])
        self.scale = {n: _statistics(v, plans) for n, v in views.items() if v.ndim == 4}
        self.orders = [SampleOrder(len(p.train), seed=derive_seed(p.seed, "order")) for p in plans]
        self.alpha = torch.tensor([
            p.policy.alpha if isinstance(p.policy, ModulationPolicy) else 0.0 for p in plans
        ])  # fmt: skip
        self.probes = [_probe(plan) for plan in plans]
        self.best = {name: value.detach().clone() for name, value in self.params.items()}
        self.best_scores = np.full((len(plans), len(self.branches)), -np.inf)
        self.best_steps = np.zeros(len(plans), int)
        self._gradients = vmap(grad(self._loss))
        self._forward = vmap(lambda params, some: functional_call(self.base, params, (some,)))

    def step(self, t: int, batch_size: int, lr: float) -> None:
        """Do one step of every run."""
        places = [order.take(t * batch_size, batch_size) for order in self.orders]
        indices = np.stack([p.train[i] for p, i in zip(self.plans, places, strict=True)])
        weights = torch.tensor(np.stack([p.policy.weights for p in self.plans])).float()
        gradients = self._gradients(
            {name: value.detach() for name, value in self.params.items()},
            self._gather(indices),
            self.labels[torch.from_numpy(indices)],
            weights,
            self.class_weight,
            self.alpha,
        )
        for name, value in self.params.items():
            value.grad = gradients[name]
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()

    def evaluate(self, step: int) -> None:
        """Evaluate all branches of every run, renew the weights and keep the best states."""
        training = self._outputs(self.params, self.probes)
        validation = self._outputs(self.params, [plan.validation for plan in self.plans])
        improved = np.zeros_like(self.best_scores, dtype=bool)
        for r, plan in enumerate(self.plans):
            losses = [
                self._losses(r, logits[r], clips)
                for logits, clips in ((training, self.probes[r]), (validation, plan.validation))
            ]
            plan.policy.update(losses[0], losses[1], step=step)
            truth = self.labels[torch.from_numpy(plan.validation)].numpy()
            scores = np.array([
                balanced_accuracy(truth, validation[r][name].argmax(1).numpy())
                for name in self.branches
            ])  # fmt: skip
            improved[r] = scores >= self.best_scores[r]
            self.best_scores[r] = np.maximum(scores, self.best_scores[r])
            if improved[r, -1]:
                self.best_steps[r] = step
            if not plan.each_best:
                improved[r] = improved[r, -1]
        for name, value in self.params.items():
            branch = name.split(".")[2]  # net.subnetworks.mel..., net.heads.joint...
            column = self.branches.index(branch) if branch in self.branches else -1
            chosen = torch.from_numpy(improved[:, column])
            chosen = chosen.view(-1, *[1] * (value.ndim - 1))
            self.best[name] = torch.where(chosen, value.detach(), self.best[name])

    def outcomes(self) -> Iterator[RunOutcome]:
        """Yield what came out of every run."""
        tests = [plan.test for plan in self.plans]
        best, last = self._outputs(self.best, tests), self._outputs(self.params, tests)
        for r, plan in enumerate(self.plans):
            yield RunOutcome(
                {name: logits.softmax(1).numpy() for name, logits in best[r].items()},
                {name: logits.softmax(1).numpy() for name, logits in last[r].items()},
                int(self.best_steps[r]),
                plan.policy.curves,
            )

    def _loss(
        self,
        params: dict[str, Tensor],
        views: dict[str, Tensor],
        targets: Tensor,
        weights: Tensor,
        class_weight: Tensor,
        alpha: Tensor,
    ) -> Tensor:
        """Return the blended loss of one run."""
        logits = functional_call(self.base, params, (views, targets, alpha))
        share = class_weight[targets]
        losses = [
            -(share * part.log_softmax(1).gather(1, targets[:, None])[:, 0]).sum() / share.sum()
            for part in logits.values()
        ]
        return (torch.stack(losses) * weights).sum()

    def _gather(self, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the normalised views (runs, clips, ...) of clips (runs, clips)."""
        places = torch.from_numpy(indices)
        result = {}
        for name, view in self.views.items():
            some = view[places].float()
            if name in self.scale:
                mean, std = self.scale[name]
                some = (some - mean[:, None, None, :, None]) / std[:, None, None, :, None]
            result[name] = some
        return result

    @torch.no_grad()
    def _outputs(
        self, params: Mapping[str, Tensor], clips: Sequence[NDArray[np.int64]]
    ) -> list[dict[str, Tensor]]:
        """Return the logits of every run's clips, by branch."""
        longest = max(len(some) for some in clips)
        table = np.stack([np.resize(some, longest) for some in clips])
        plain = {name: value.detach() for name, value in params.items()}
        parts = [
            self._forward(plain, self._gather(table[:, start : start + _EVALUATED]))
            for start in range(0, longest, _EVALUATED)
        ]
        logits = {name: torch.cat([part[name] for part in parts], dim=1) for name in self.branches}
        return [
            {name: part[r, : len(some)] for name, part in logits.items()}
            for r, some in enumerate(clips)
        ]

    def _losses(
        self, r: int, logits: Mapping[str, Tensor], clips: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        targets = self.labels[torch.from_numpy(clips)]
        weight = self.class_weight[r]
        return np.array([
            float(torch.nn.functional.cross_entropy(part, targets, weight=weight))
            for part in logits.values()
        ])  # fmt: skip


def _balance(targets: Tensor, n_classes: int) -> Tensor:
    counts = torch.bincount(targets, minlength=n_classes)
    return (counts.sum() / counts.clamp_min(1) / n_classes).float()


def _probe(plan: RunPlan) -> NDArray[np.int64]:
    """Return as many training clips as there are validation clips."""
    rng = np.random.default_rng(derive_seed(plan.seed, "probe"))
    return rng.choice(plan.train, min(len(plan.train), len(plan.validation)), replace=False)


def _statistics(view: Tensor, plans: Sequence[RunPlan]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (runs, bands) over each run's training clips."""
    mean = view.double().mean(dim=(1, 3))  # of each clip and band
    square = view.double().square().mean(dim=(1, 3))
    means, stds = [], []
    for plan in plans:
        some = torch.from_numpy(plan.train)
        centre = mean[some].mean(dim=0)
        std = (square[some].mean(dim=0) - centre.square()).clamp_min(0).sqrt()
        means.append(centre)
        stds.append(std.where(std > MIN_STD, 1.0))
    return torch.stack(means).float(), torch.stack(stds).float()
