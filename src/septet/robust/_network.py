"""Training a whole network: the first phase, the baselines and the ablations of the second."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from septet._core import checks
from septet._core.files import PathLike
from septet.robust._features import Inputs, call, count_rows, place_of, predict_rows, take_rows
from septet.robust._groups import read_groups
from septet.robust._losses import CVaRLoss, GroupDROLoss
from septet.robust._report import worst_group_accuracy
from septet.robust._samplers import GroupBalancedSampler
from septet.training import SampleOrder, derive_seed, gradient_step, train

Rule: TypeAlias = Literal["erm", "reweight", "subsample", "group-dro", "cvar"]
RULES = ("erm", "reweight", "subsample", "group-dro", "cvar")
Validation: TypeAlias = tuple[Inputs, ArrayLike] | tuple[Inputs, ArrayLike, ArrayLike]
OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

_GROUPED = ("reweight", "subsample", "group-dro")


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """How a network is trained.

    Attributes
    ----------
    epochs : int
        Passes over the rows; an epoch has ``ceil(n / batch_size)`` steps.
    batch_size : int
        Rows per step.
    lr, momentum, weight_decay : float
        Of stochastic gradient descent; the decay acts on all parameters.
    optimizer : callable, optional
        ``optimizer(parameters)`` returns another optimizer to use instead.
    clip_norm : float, optional
        Largest Euclidean norm of a gradient.
    schedule : callable, optional
        ``schedule(step)`` multiplies the learning rate.
    step_size : float
        Step of the group weights of ``"group-dro"``.
    adjustment : float or sequence of float
        Constant C of the adjustment of ``"group-dro"``.
    fraction : float
        Share of each batch that counts for ``"cvar"``.
    """

    epochs: int = 15
    batch_size: int = 64
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    optimizer: OptimizerFactory | None = None
    clip_norm: float | None = None
    schedule: Callable[[int], float] | None = None
    step_size: float = 0.01
    adjustment: float | Sequence[float] = 0.0
    fraction: float = 0.2

    def check(self) -> None:
        """Raise if a number is out of range."""
        checks.integer("epochs", self.epochs, low=1)
        checks.integer("batch_size", self.batch_size, low=1)
        checks.number("lr", self.lr, above=0)
        checks.number("momentum", self.momentum, low=0, below=1)
        checks.number("weight_decay", self.weight_decay, low=0)

    def numbers(self) -> dict[str, Any]:
        """What a checkpoint remembers of the settings."""
        return {k: v for k, v in vars(self).items() if isinstance(v, int | float | str)}

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Build the optimizer for the parameters that ask for gradients."""
        wanted = [p for p in model.parameters() if p.requires_grad]
        if self.optimizer is not None:
            return self.optimizer(wanted)
        return torch.optim.SGD(
            wanted, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )


def fit_network(
    model: nn.Module,
    X: Inputs,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    rule: Rule = "erm",
    validation: Validation | None = None,
    select_by: Literal["average", "worst"] | None = None,
    settings: NetworkSettings | None = None,
    cross_with_label: bool = True,
    unknown_group: object = -1,
    folder: PathLike | None = None,
    random_state: int = 0,
) -> list[dict[str, Any]]:
    r"""Train all weights of a network in place and leave it as it was after its best epoch.

    Parameters
    ----------
    model : nn.Module
        Network that maps rows to K logits. It stays on its device.
    X : Tensor, ndarray, or mapping of str to either
        Rows; a mapping is passed by keyword.
    y : array_like of shape (n,)
        Classes, numbers from 0 to K - 1.
    groups : array_like of shape (n,) or (n, n_attributes), optional
        Group labels, needed by the rules that use them; these never draw a row of unknown group.
    rule : {"erm", "reweight", "subsample", "group-dro", "cvar"}, default "erm"
        The mean loss; the mean loss over draws with equally likely groups; over as many rows of
        each group as the smallest has, drawn anew in every epoch; online group DRO over draws with
        equally likely groups; the mean of the largest losses of a batch.
    validation : (X, y) or (X, y, groups), optional
        Rows that choose the epoch; the last epoch is kept without them. Of epochs that are equally
        good the first is kept.
    select_by : {"average", "worst"}, optional
        Accuracy that chooses; by default of the worst group if the rule uses groups and the
        validation rows have them.
    settings : NetworkSettings, optional
        Epochs, batch size, learning rate and so on.
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    folder : path, optional
        Holds history and checkpoint of every epoch: the same call goes on where it was stopped and
        ends in the same weights, bit for bit.
    random_state : int, default 0
        Order of the rows and what layers such as dropout draw.

    Returns
    -------
    list of dict
        History: one record a step with ``loss``, and the validation accuracy at the end of epochs.

    Raises
    ------
    ValueError
        If a class is no output of the network, a rule lacks its groups, or lengths differ.

    References
    ----------
    T. H. Nguyen, H. R. Zhang, H. L. Nguyen, "Improved Group Robustness via Classifier Retraining on
    Independent Splits", TMLR 2023, algorithm 1, line 3.
    S. Sagawa et al., "Distributionally Robust Neural Networks", ICLR 2020, algorithm 1.

    Examples
    --------
    >>> rows = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]])
    >>> model = nn.Linear(1, 2)
    >>> history = fit_network(model, rows, [0, 0, 1, 1], settings=NetworkSettings(lr=0.5))
    >>> len(history), model(rows).argmax(dim=1).tolist()
    (15, [0, 0, 1, 1])
    """
    checks.choice("rule", rule, RULES)
    settings = settings or NetworkSettings()
    settings.check()
    classes = _check_classes(X, y)
    codes = np.arange(len(classes))
    if rule in _GROUPED:
        if groups is None:
            raise ValueError(f"rule {rule!r} needs groups.")
        table = read_groups(
            groups, classes, cross_with_label=cross_with_label, unknown_group=unknown_group
        )
        codes = table.codes
        if not table.known.any():
            raise ValueError(f"no row has a known group ({len(codes)} rows); {rule!r} needs some.")
    order = _order(rule, codes, checks.integer("random_state", random_state, low=0))
    loss = _loss(rule, codes, settings)
    judge = _judge(model, validation, select_by, rule, cross_with_label, unknown_group)
    per_epoch = -(-order.n_samples // settings.batch_size)
    optimizer = settings.make_optimizer(model)
    targets, members = torch.as_tensor(classes), torch.as_tensor(codes)
    device = place_of(model)

    def batch_loss(i: int) -> Tensor:
        index = order.take(i * settings.batch_size, settings.batch_size)
        rows = torch.from_numpy(np.array(index))
        logits = call(model, take_rows(X, rows, model))
        losses = cross_entropy(logits, targets[rows].to(device), reduction="none")
        return losses.mean() if loss is None else loss(losses, members[rows].to(device))

    best = _Best()
    update = gradient_step(
        batch_loss, optimizer, clip_norm=settings.clip_norm, schedule=settings.schedule
    )

    def step(t: int) -> dict[str, float]:
        model.train()
        measures = update(t)
        if judge is not None and (t + 1) % per_epoch == 0:
            measures["validation"] = judge()
            best.offer(measures["validation"], (t + 1) // per_epoch, model)
        return measures

    training = model.training
    history = train(
        step,
        {"model": model, "optimizer": optimizer, "best": best}
        | ({"loss": loss} if isinstance(loss, GroupDROLoss) else {}),
        steps=settings.epochs * per_epoch,
        folder=folder,
        checkpoint_every=per_epoch,
        seed=random_state,
        config=settings.numbers() | {"rule": rule, "rows": len(classes), "seed": random_state},
    )
    if best.weights:
        model.load_state_dict(best.weights)
    model.train(training)
    return history


def fit_jtt(
    model: nn.Module,
    X: Inputs,
    y: ArrayLike,
    *,
    validation: tuple[Inputs, ArrayLike, ArrayLike],
    first_epochs: Sequence[int] = (1, 2, 5),
    factors: Sequence[int] = (5, 20, 50),
    settings: NetworkSettings | None = None,
    random_state: int = 0,
) -> dict[str, float]:
    """Just train twice: train briefly, then train afresh with the rows it got wrong repeated.

    Every number of epochs and every factor is tried; the worst group of the validation rows
    chooses. No group label is used in training.

    Parameters
    ----------
    model : nn.Module
        Untrained network; it ends with the chosen weights.
    X, y
        As in `fit_network`.
    validation : (X, y, groups)
        Rows that choose settings and epoch.
    first_epochs : sequence of int, default (1, 2, 5)
        Lengths of the first training.
    factors : sequence of int, default (5, 20, 50)
        How often a row that was wrong is shown in the second.
    settings : NetworkSettings, optional
        Of both trainings, but for the first one's epochs.
    random_state : int, default 0
        Order of the rows.

    Returns
    -------
    dict
        ``first_epochs``, ``factor``, ``errors`` (rows repeated) and ``validation`` (worst-group
        accuracy) of the chosen network.

    Raises
    ------
    ValueError
        If nothing is to be tried, or as in `fit_network`.

    References
    ----------
    E. Z. Liu et al., "Just Train Twice: Improving Group Robustness without Training Group
    Information", ICML 2021, algorithm 1.

    Examples
    --------
    >>> rows = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]])
    >>> classes, place = [0, 0, 1, 1], [0, 1, 0, 1]
    >>> model = nn.Linear(1, 2)
    >>> found = fit_jtt(model, rows, classes, validation=(rows, classes, place))
    >>> found["factor"] in (5, 20, 50)
    True
    """
    settings = settings or NetworkSettings()
    if not first_epochs or not factors:
        raise ValueError("first_epochs and factors must not be empty.")
    classes, start = _check_classes(X, y), deepcopy(model.state_dict())
    best = _Best()
    chosen: dict[str, float] = {}
    trained = deepcopy(model)
    for epochs in first_epochs:
        trained.load_state_dict(start)
        brief = NetworkSettings(**vars(settings) | {"epochs": epochs})
        fit_network(trained, X, classes, settings=brief, random_state=random_state)
        wrong = np.flatnonzero(predict_rows(trained, X) != classes)
        for factor in factors:
            rows = upweighted_rows(len(classes), wrong, factor)
            index = torch.from_numpy(rows)
            trained.load_state_dict(start)
            history = fit_network(
                trained,
                take_rows(X, index, model),
                classes[rows],
                validation=validation,
                select_by="worst",
                settings=settings,
                random_state=random_state,
            )
            score = max(record["validation"] for record in history if "validation" in record)
            if best.offer(score, len(chosen), trained):
                chosen = {
                    "first_epochs": epochs,
                    "factor": factor,
                    "errors": len(wrong),
                    "validation": score,
                }
    model.load_state_dict(best.weights)
    return chosen


def upweighted_rows(
    n: int, wrong: NDArray[np.intp], factor: int | None = None
) -> NDArray[np.int64]:
    """Return the rows 0 .. n - 1, each of `wrong` repeated until it occurs `factor` times.

    Without a factor the rows that were wrong are repeated until they weigh about as much as all.
    """
    times = max(1, n // max(1, len(wrong))) if factor is None else factor
    checks.integer("factor", times, low=1)
    return np.concatenate([np.arange(n), np.repeat(wrong, times - 1)]).astype(np.int64)


class _Best:
    """The weights after the best epoch so far; part of the checkpoint."""

    def __init__(self) -> None:
        self.score, self.epoch = -1.0, 0
        self.weights: dict[str, Tensor] = {}

    def offer(self, score: float, epoch: int, model: nn.Module) -> bool:
        if score <= self.score:
            return False
        self.score, self.epoch = score, epoch
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.score, self.epoch = state["score"], state["epoch"]
        self.weights = dict(state["weights"])


class _BalancedOrder(SampleOrder):
    """An endless stream of rows in which every group is alike; a function of the seed."""

    def __init__(self, sampler: GroupBalancedSampler, seed: int) -> None:
        super().__init__(len(sampler), seed=seed)
        self._sampler = sampler

    def epoch(self, number: int) -> NDArray[np.int64]:
        """Return the rows of epoch `number` (from 0)."""
        if self._last is None or self._last[0] != number:
            seed = derive_seed(self.seed, "epoch", number)
            self._sampler.generator = torch.Generator().manual_seed(seed)
            self._last = number, np.array(list(self._sampler), dtype=np.int64)
        return self._last[1]


def _order(rule: Rule, codes: NDArray[np.intp], seed: int) -> SampleOrder:
    if rule in _GROUPED:
        sampler = GroupBalancedSampler(codes, rule != "subsample", None, None)
        return _BalancedOrder(sampler, seed)
    return SampleOrder(len(codes), seed=seed)


def _loss(
    rule: Rule, codes: NDArray[np.intp], settings: NetworkSettings
) -> Callable[[Tensor, Tensor], Tensor] | None:
    if rule == "group-dro":
        counts = np.bincount(codes[codes >= 0]).tolist()
        return GroupDROLoss(counts, step_size=settings.step_size, adjustment=settings.adjustment)
    if rule == "cvar":
        worst = CVaRLoss(settings.fraction)
        return lambda losses, _: worst(losses)
    return None


def _judge(
    model: nn.Module,
    validation: Validation | None,
    select_by: str | None,
    rule: Rule,
    cross_with_label: bool,
    unknown_group: object,
) -> Callable[[], float] | None:
    """Make the function that returns the accuracy which chooses the epoch."""
    if validation is None:
        if select_by is not None:
            raise ValueError("select_by needs validation rows.")
        return None
    X, y, groups = validation if len(validation) == 3 else (*validation, None)
    if select_by is None:
        select_by = "worst" if rule in _GROUPED and groups is not None else "average"
    checks.choice("select_by", select_by, ["average", "worst"])
    if select_by == "worst" and groups is None:
        raise ValueError('select_by="worst" needs the groups of the validation rows.')
    classes = _check_classes(X, y)

    def judge() -> float:
        guess = predict_rows(model, X)
        if select_by == "average":
            return float((guess == classes).mean())
        return worst_group_accuracy(
            classes,
            guess,
            groups=groups,
            cross_with_label=cross_with_label,
            unknown_group=unknown_group,
        )

    return judge


def _check_classes(X: Inputs, y: ArrayLike) -> NDArray[np.int64]:
    classes = np.asarray(y)
    if classes.ndim != 1 or len(classes) != count_rows(X):
        raise ValueError(
            f"y must have one class per row: got shape {classes.shape} for {count_rows(X)} rows."
        )
    if classes.dtype.kind not in "iu" or (classes.size and classes.min() < 0):
        raise ValueError("y must be whole numbers from 0, the outputs of the network.")
    return classes.astype(np.int64)
