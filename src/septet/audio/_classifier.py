"""The estimator: clips and labels in, a classifier out."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from torch import Tensor, nn

from septet._core import checks
from septet._core.files import PathLike
from septet.audio._augment import Augmentation
from septet.audio._clips import Clips, load_clips
from septet.audio._fit import (
    Fitting,
    MakeOptimizer,
    Problem,
    Schedule,
    branch_outputs,
    clip_means,
)
from septet.audio._material import Material, gather
from septet.audio._named import named_policy
from septet.audio._network import JOINT, MultiViewNet
from septet.audio._persist import load_model, refuse_other_run, save_model, settings_of
from septet.audio._policies import WeightPolicy
from septet.audio._source import ViewSource
from septet.audio._stack import VIEWS, ViewStack
from septet.audio._trust import Decision, decisions
from septet.training import choose_device, derive_seed, seeded, world

_LARGEST_EVALUATION = 2000  # clips of validation, and of the train probe
_PASSES = 15
_MIN_STEPS = 300


class MultiViewClassifier(ClassifierMixin, BaseEstimator):
    """Classify audio clips from several views of each with one network.

    Five classifiers (one for each view and a joint one) learn together; how much each counts is
    renewed while training from its training and validation losses.

    Parameters
    ----------
    sample_rate : int, default 16000
        In Hz; clips of other rates are resampled.
    seconds : float, optional
        Length of the segments that the network sees. Longer clips are cut and decided by the mean
        log-probability of their segments, shorter ones padded. By default that of the longest
        clip, at most 10.
    views : sequence of {"wave", "mel", "gamma", "cqt"}, or ViewStack
        Which views, or front-ends of your own.
    size : {"tiny", "small", "base"} or NetworkSize, default "small"
    subnetworks : mapping from str to Module, optional
        Subnetworks of your own for some views; see :class:`MultiViewNet`.
    policy : str or WeightPolicy, default "loss"
        Name of a policy (see :func:`named_policy`) or a policy for these branches.
    head : str, default "joint"
        What decides: ``"joint"``, a view, or ``"ensemble"``, the mean of all.
    steps : int, optional
        Training steps; by default 15 passes over the clips, 300 at least.
    batch_size : int, default 32
    lr : float, optional
        Learning rate; 1e-4 for ``"base"``, else 1e-3.
    weight_decay : float, default 1e-4
        Of weights, not of biases and normalisation.
    schedule : {"cosine", "constant"}, default "cosine"
        Of the learning rate, the former with warm-up.
    couple : {"loss", "lr"}, default "loss"
        Whether weights multiply the losses (under Adam they then only mix the gradients of a
        subnetwork, whose step keeps its size) or the learning rates.
    dropout : float, default 0.2
    augmentation : Augmentation, optional
        Nothing by default.
    validation_fraction : float, default 0.25
        Part of the clips (whole groups) that is held out if `fit` gets no validation clips.
    eval_every : int, optional
        Steps between evaluations of the branches; by default such that 100 fit in but they take no
        more than about a quarter of the time.
    class_weight : {"balanced"} or None, default "balanced"
    optimizer : callable, optional
        Takes parameter groups and returns a ``torch.optim.Optimizer``; AdamW by default.
    autocast : bool, default False
        Whether the network computes in bfloat16 where that is safe; front-ends never do.
    cache : str, path or None, default "memory"
        Where images are kept so that each is computed once: in memory, in a folder, or not at all.
        Never with an augmentation of waveforms.
    device : str, default "auto"
    on_error : {"raise", "skip"}, default "raise"
        What `fit` does about a bad file; skipping warns with the list.
    min_seconds : float, default 0.0
        A shorter clip counts as bad.
    allow_missing : bool, default False
        Whether the validation clips may lack classes.
    group_check : bool, default True
        Whether a group on both sides of the split is an error.
    random_state : int, default 0

    Attributes
    ----------
    classes_ : ndarray
    net_ : MultiViewNet
        In the state of the best validation score.
    stack_ : ViewStack
    policy_ : WeightPolicy
        With the curves of losses and weights.
    history_ : list of dict
    best_step_, best_score_ : int, float
        When the joint branch had its best balanced accuracy on the validation clips, and that.
    evaluation_share_ : float
        Part of the training time that the evaluations of the branches took.
    interrupted_ : bool
        Whether training was stopped by Ctrl-C; the best state so far is in place then.
    notes_ : tuple of str
        What was padded, cut, resampled or left out.

    Notes
    -----
    Under ``torchrun`` the processes train together: each takes every n-th micro-batch. One process
    with ``accumulate`` of n has the same result but for rounding.

    References
    ----------
    H. Phan et al., "Multi-view Audio and Music Classification", ICASSP 2021.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> times = np.arange(4000) / 8000
    >>> tones = [np.sin(2 * np.pi * f * times) for f in rng.uniform(300, 500, 12)]
    >>> noises = list(rng.normal(size=(12, 4000)))
    >>> classifier = MultiViewClassifier(8000, views=("mel", "wave"), size="tiny", steps=20)
    >>> classifier.fit(tones + noises, ["tone"] * 12 + ["noise"] * 12).predict(noises[:2])
    array(['noise', 'noise'], dtype='<U5')
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        *,
        seconds: float | None = None,
        views: Sequence[str] | ViewStack = VIEWS,
        size: Any = "small",
        subnetworks: Mapping[str, nn.Module] | None = None,
        policy: str | WeightPolicy = "loss",
        head: str = JOINT,
        steps: int | None = None,
        batch_size: int = 32,
        lr: float | None = None,
        weight_decay: float = 1e-4,
        schedule: str = "cosine",
        couple: str = "loss",
        accumulate: int = 1,
        dropout: float = 0.2,
        augmentation: Augmentation | None = None,
        validation_fraction: float = 0.25,
        eval_every: int | None = None,
        class_weight: str | None = "balanced",
        optimizer: MakeOptimizer | None = None,
        autocast: bool = False,
        cache: PathLike | None = "memory",
        device: str = "auto",
        on_error: str = "raise",
        min_seconds: float = 0.0,
        allow_missing: bool = False,
        group_check: bool = True,
        random_state: int = 0,
    ) -> None:
        self.sample_rate = sample_rate
        self.seconds = seconds
        self.views = views
        self.size = size
        self.subnetworks = subnetworks
        self.policy = policy
        self.head = head
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.couple = couple
        self.accumulate = accumulate
        self.dropout = dropout
        self.augmentation = augmentation
        self.validation_fraction = validation_fraction
        self.eval_every = eval_every
        self.class_weight = class_weight
        self.optimizer = optimizer
        self.autocast = autocast
        self.cache = cache
        self.device = device
        self.on_error = on_error
        self.min_seconds = min_seconds
        self.allow_missing = allow_missing
        self.group_check = group_check
        self.random_state = random_state

    def fit(
        self,
        X: Sequence[Any] | NDArray[Any],
        y: ArrayLike,
        groups: ArrayLike | None = None,
        *,
        validation: tuple[Any, ...] | None = None,
        folder: PathLike | None = None,
        fresh: bool = False,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> Self:
        """Learn from labelled clips.

        Parameters
        ----------
        X : sequence of paths or arrays, or ndarray of shape (n_clips, n_samples)
            Clips; arrays are samples at `sample_rate`.
        y : array_like of shape (n_clips,)
            Labels: strings or whole numbers.
        groups : array_like of shape (n_clips,), optional
            Song, recording, kit or speaker of each clip: what must not be on both sides of a
            split. Every clip is its own by default.
        validation : tuple (X, y) or (X, y, groups), optional
            Clips for the weights and the choice of the best state, instead of a part of `X`.
        folder : path-like, optional
            Keeps history and checkpoint there; a run that was stopped goes on exactly.
        fresh : bool, default False
            Start over, whatever `folder` holds.
        progress : callable, optional
            Called with each record of the history.

        Raises
        ------
        DataError
            If a file is bad, a group is on both sides, or a class is missing on one.
        CheckpointError
            If `folder` holds a run of other settings, views, classes or clips.
        ValueError
            If an argument is out of range.
        KeyboardInterrupt
            After Ctrl-C, with the best state so far in place.
        """
        self._check()
        with world(choose_device(self.device)) as here:
            material = self._gather(X, y, groups, validation)
            self.stack_ = self._stack().to(here.device)
            with seeded(self.random_state, "initial"):
                self.net_ = self._network(self.stack_).to(here.device)
            checks.choice("head", self.head, [*self.net_.branches, "ensemble"])
            problem = self._problem(material)
            plan = self._schedule(problem)
            self.policy_ = self._policy(plan)
            config = {} if folder is None else self._config(plan, problem)
            if folder is not None and not fresh:
                refuse_other_run(folder, config)
            fitting = Fitting(
                self.net_, problem, self.policy_, plan, seed=self.random_state, world=here
            )
            self.interrupted_ = True
            try:
                fitting.run(folder=folder, config=config, fresh=fresh, progress=progress)
                self.interrupted_ = False
            finally:
                self._adopt(fitting)
        return self

    def predict(self, X: Sequence[Any] | NDArray[Any], *, head: str | None = None) -> NDArray[Any]:
        """Return the labels (n_clips,) of clips."""
        chosen = self.predict_proba(X, head=head).argmax(axis=1)
        return self.classes_[chosen]

    def predict_proba(
        self, X: Sequence[Any] | NDArray[Any], *, head: str | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities (n_clips, n_classes) of clips, by `head` if it is given.

        Raises
        ------
        DataError
            If a clip is bad.
        NotFittedError
            If there is nothing learned yet.
        """
        self._fitted()
        head = self.head if head is None else head
        checks.choice("head", head, [*self.net_.branches, "ensemble"])
        return self.predict_heads(X)[head]

    def predict_heads(self, X: Sequence[Any] | NDArray[Any]) -> dict[str, NDArray[np.float64]]:
        """Return the probabilities (n_clips, n_classes) by every branch and their mean.

        The mean is called ``"ensemble"``.
        """
        clips, logits, _ = self._logits(X)
        result = {}
        for name, part in logits.items():
            logs = part.double().log_softmax(dim=1).numpy()
            mean = np.exp(clip_means(logs, clips.owner))
            result[name] = mean / mean.sum(axis=1, keepdims=True)
        return result | {"ensemble": np.mean(list(result.values()), axis=0)}

    def transform(self, X: Sequence[Any] | NDArray[Any]) -> NDArray[np.float64]:
        """Return what the joint classifier sees of each clip, for use by another classifier.

        Parameters
        ----------
        X : sequence of paths or arrays, or ndarray of shape (n_clips, n_samples)
            Clips.

        Returns
        -------
        ndarray of shape (n_clips, n_features), float64
            The embeddings of all views side by side, averaged over the segments of a clip.
        """
        clips, _, embeddings = self._logits(X)
        return clip_means(torch.cat([*embeddings.values()], dim=1).numpy(), clips.owner)

    def explain(self, X: Sequence[Any] | NDArray[Any]) -> list[Decision]:
        """Return label, confidence and what each view contributed, for each clip."""
        clips, logits, embeddings = self._logits(X)
        device = next(self.net_.parameters()).device
        with torch.no_grad():
            parts = self.net_.contributions({k: z.to(device) for k, z in embeddings.items()})
        table = parts.double().cpu().numpy()
        return decisions(self.classes_, tuple(embeddings), clips.owner, logits, table)

    def save(self, folder: PathLike) -> str:
        """Save the fitted model; return the SHA-256 of what was saved."""
        self._fitted()
        return save_model(self, folder)

    @classmethod
    def load(
        cls,
        folder: PathLike,
        *,
        device: str = "auto",
        views: ViewStack | None = None,
        subnetworks: Mapping[str, nn.Module] | None = None,
    ) -> Self:
        """Load a saved model.

        Parameters
        ----------
        folder : path-like
        device : str, default "auto"
        views : ViewStack, optional
            If the model was trained with front-ends of your own, the same again.
        subnetworks : mapping from str to Module, optional
            Likewise.

        Raises
        ------
        CheckpointError
            If there is none, it is damaged, it is no model of this kind, or `views` or
            `subnetworks` are not those that it was trained with.
        """
        return load_model(cls, folder, device=device, views=views, subnetworks=subnetworks)

    def _check(self) -> None:
        checks.integer("sample_rate", self.sample_rate, low=1000)
        checks.integer("random_state", self.random_state, low=0)
        checks.integer("batch_size", self.batch_size, low=1)
        checks.integer("accumulate", self.accumulate, low=1)
        checks.choice("schedule", self.schedule, ("cosine", "constant"))
        checks.choice("couple", self.couple, ("loss", "lr"))
        checks.number("weight_decay", self.weight_decay, low=0)
        if self.class_weight is not None:
            checks.choice("class_weight", self.class_weight, ("balanced",))
        for name in ("steps", "eval_every"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), low=1)
        if self.lr is not None:
            checks.number("lr", self.lr, above=0)

    def _stack(self) -> ViewStack:
        if isinstance(self.views, ViewStack):
            return copy.deepcopy(self.views)
        return ViewStack.standard(self.sample_rate, self.views)

    def _network(self, stack: ViewStack) -> MultiViewNet:
        parts: dict[str, Any] = {
            name: getattr(view, "n_bands", None) for name, view in stack.views.items()
        }
        for name, part in (self.subnetworks or {}).items():
            checks.choice("subnetworks", name, parts)
            parts[name] = copy.deepcopy(part)
        return MultiViewNet(parts, len(self.classes_), size=self.size, dropout=self.dropout)

    def _gather(
        self,
        X: Sequence[Any] | NDArray[Any],
        y: ArrayLike,
        groups: ArrayLike | None,
        validation: tuple[Any, ...] | None,
    ) -> Material:
        parts = [(X, y, groups)]
        if validation is not None:
            parts.append((*validation, None)[:3])  # pyrefly: ignore[bad-argument-type]
        material = gather(
            parts,
            self.sample_rate,
            seconds=self.seconds,
            min_seconds=self.min_seconds,
            on_error=self.on_error,
            fraction=self.validation_fraction,
            seed=derive_seed(self.random_state, "split"),
            group_check=self.group_check,
            allow_missing=self.allow_missing,
        )
        self.classes_, self.notes_ = material.classes, material.notes
        return material

    def _problem(self, material: Material) -> Problem:
        clips, targets = material.clips, material.targets
        rng = np.random.default_rng(derive_seed(self.random_state, "probe"))
        training, validation = material.training, material.validation
        if len(validation) > _LARGEST_EVALUATION:
            validation = np.sort(rng.choice(validation, _LARGEST_EVALUATION, replace=False))
            self.notes_ += (f"{len(validation)} validation clips are used",)
        probe = rng.choice(training, min(len(training), len(validation)), replace=False)
        augment = self.augmentation or Augmentation()
        keep = self.cache is not None and not augment.changes_waveforms
        source = ViewSource(
            self.stack_,
            clips.samples,
            keep=keep,
            folder=None if self.cache == "memory" else self.cache,
        )
        train_segments = clips.segments_of(training)
        source.fit(train_segments)
        segment_targets = targets[clips.owner]
        weight = None
        if self.class_weight == "balanced":
            counts = np.bincount(segment_targets[train_segments], minlength=len(self.classes_))
            weight = torch.tensor(counts.sum() / np.maximum(counts, 1) / len(counts))
        self.seconds_ = clips.samples.shape[1] / self.sample_rate
        return Problem(
            source,
            torch.from_numpy(segment_targets),
            clips.owner,
            torch.from_numpy(clips.valid).float(),
            train_segments,
            clips.segments_of(validation),
            clips.segments_of(probe),
            None if weight is None else weight.float(),
        )

    def _schedule(self, problem: Problem) -> Schedule:
        batch = self.batch_size * self.accumulate
        steps = self.steps
        if steps is None:
            steps = max(_MIN_STEPS, math.ceil(_PASSES * len(problem.train) / batch))
        lr = (1e-4 if self.size == "base" else 1e-3) if self.lr is None else self.lr
        every = self.eval_every
        if every is None:  # on as many clips, evaluating costs up to half of a training step
            clips = len(problem.validation) + len(problem.probe)
            every = max(5, steps // 100, math.ceil(1.6 * clips / batch))
        return Schedule(
            steps=steps,
            eval_every=every,
            batch_size=self.batch_size,
            lr=lr,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            couple=self.couple,
            accumulate=self.accumulate,
            augmentation=self.augmentation or Augmentation(),
            make_optimizer=self.optimizer,
            autocast=torch.bfloat16 if self.autocast else None,
        )

    def _policy(self, plan: Schedule) -> WeightPolicy:
        branches = self.net_.branches
        if isinstance(self.policy, str):
            evaluations = plan.steps // plan.eval_every + 1
            return named_policy(self.policy, branches, evaluations=evaluations, steps=plan.steps)
        policy = copy.deepcopy(self.policy)
        if policy.curves.branches != branches:
            raise ValueError(
                f"the policy is for branches {', '.join(policy.curves.branches)}; the network has "
                f"{', '.join(branches)}."
            )
        return policy

    def _config(self, plan: Schedule, problem: Problem) -> dict[str, Any]:
        """Return what a checkpoint must agree with."""
        return settings_of(self) | {
            "classes": self.classes_.tolist(),
            "segment seconds": self.seconds_,
            "digest of the clips": problem.digest(),
            "front-ends": {name: repr(view) for name, view in self.stack_.views.items()},
            "steps": plan.steps,
            "eval_every": plan.eval_every,
        }

    def _adopt(self, fitting: Fitting) -> None:
        self.history_ = fitting.history
        self.best_step_, self.best_score_ = fitting.best.step, fitting.best.score
        if fitting.best.weights is not None:
            self.net_.load_state_dict(fitting.best.weights)
        total = self.history_[-1]["seconds"] if self.history_ else 0.0
        self.evaluation_share_ = fitting.evaluation_seconds / total if total else 0.0
        self.net_.eval()

    def _fitted(self) -> None:
        if not hasattr(self, "net_"):
            raise NotFittedError("fit must be called first, or a model loaded.")

    def _logits(
        self, X: Sequence[Any] | NDArray[Any]
    ) -> tuple[Clips, dict[str, Tensor], dict[str, Tensor]]:
        """Return the clips, the logits and the embeddings of their segments."""
        self._fitted()
        clips = load_clips(X, self.sample_rate, seconds=self.seconds_)
        embeddings, logits = branch_outputs(
            self.net_,
            ViewSource(self.stack_, clips.samples, keep=False),
            np.arange(len(clips.samples)),
            torch.from_numpy(clips.valid).float(),
        )
        return clips, logits, embeddings
