"""One engine for every combination of a first-moment part and a second-moment part."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from septet.optim._base import (
    FOREIGN_KEYS,
    ExactOptimizer,
    Layout,
    parameter_name,
    tensor_shapes,
)
from septet.optim._choice import Paths, check_path
from septet.optim._jobs import Job
from septet.optim._options import (
    Debias,
    Momentum,
    Nonfinite,
    Projection,
    Refresh,
    SecondMoment,
    Subset,
    checked_group,
)
from septet.optim._paths import Path
from septet.optim._rule import Rule, rule_for

# A group's state has the shape that these options gave it; changing them later needs a rebuild.
_STRUCTURE = (
    "momentum", "second_moment", "subset", "reduction", "rank", "projection", "amsgrad", "compat",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _GroupRules:
    """The rules of one group, and where each tensor stands among those with a subspace."""

    structure: tuple[Any, ...]
    rules: list[Rule]
    dtypes: list[torch.dtype]
    ordinals: list[int]
    of: int

    @classmethod
    def derive(cls, group: dict[str, Any]) -> "_GroupRules":
        """Derive them from the options of a group."""
        params = group["params"]
        rules = [rule_for(tuple(p.shape), group) for p in params]
        subspaces = [r.momentum in ("dense", "select") for r in rules]
        return cls(
            structure=tuple(group[name] for name in _STRUCTURE),
            rules=rules,
            dtypes=[p.dtype for p in params],
            ordinals=[sum(subspaces[:i]) for i in range(len(rules))],
            of=max(1, sum(subspaces)),
        )


class LeanOptimizer(ExactOptimizer):
    r"""Any first-moment part with any second-moment part.

    Each step does :math:`W \leftarrow (1 - \eta\lambda) W - \eta\, u / D` with a numerator `u`
    (the gradient, its moving average, or Subspace-Momentum: the average inside a subspace plus the
    plain gradient outside it) and a denominator `D` (one, or the root of squared gradients that
    are accumulated for each coordinate or, Subset-Norm, for each subset of coordinates).

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or group dicts. Every option below may stand in a group.
    lr : float or Tensor, default 1e-2
        Learning rate. With ``reduction="sum"`` a subset moves by about `lr` in l2 norm, so rates
        are about ten times those of Adam; divide `weight_decay` by the same factor.
    momentum : {None, "ema", "subspace"}, default "subspace"
        Numerator. Tensors that are no matrices use ``"ema"`` in place of ``"subspace"``.
    second_moment : {None, "ema", "sum"}, default "ema"
        Denominator: none, a moving average (Adam, RMSprop) or the sum so far (Adagrad).
    betas : (float, float), default (0.9, 0.999)
        Decay of the momentum and of the second moment.
    eps : float, default 1e-6
        Added to the root of the second moment.
    weight_decay : float, default 0.0
        Decoupled decay, applied before the step as in :class:`torch.optim.AdamW`.
    subset : {"matrix", "tensor", None} or int, default "matrix"
        What shares a second moment. ``"matrix"``: each row of an ``m x n`` matrix if ``m >= n``,
        else each column; vectors stay uncompressed. ``"tensor"``: the whole tensor. None: every
        coordinate has its own. ``k > 0``: blocks of `k` coordinates in row-major order, the last
        one possibly shorter. ``-q < 0``: blocks of ``floor(sqrt(size) / q)``; ``-2`` suits
        parameters that are flattened and concatenated.
    reduction : {"sum", "mean"}, default "sum"
        Sum of squares over a subset (the paper) or their mean (then Adam-sized rates apply).
    rank : int or None, default 128
        Dimension of the subspace (dense projections, at most the smaller side) or number of
        selected rows or columns of the larger side. None, or a rank that is no smaller than the
        side, gives ordinary momentum.
    projection : str, default "svd"
        ``"svd"``, ``"gram"`` (same span, faster), ``"randomized"``: leading singular vectors of
        the current gradient; ``"random"``: a Haar-random basis; ``"srht"``: a subsampled
        randomized Hadamard transform, which stores no basis; ``"uniform"``, ``"topk"``: rows or
        columns of the larger side, at random or by norm.
    update_interval : int, default 200
        Steps between two refreshes of the subspace.
    refresh : {"reset", "keep", "rotate"}, default "reset"
        What becomes of the momentum at a refresh: zeroed (the paper's code), its coordinates
        reused in the new subspace, or projected into it.
    debias : bool or "since_refresh", default True
        Divide moving averages by ``1 - beta**t``. ``"since_refresh"`` counts the momentum's steps
        from its last reset. Sums are never corrected.
    amsgrad : bool, default False
        Use the largest second moment so far (needs ``second_moment="ema"``).
    stagger : bool, default False
        Spread the refreshes of a group's matrices over the interval.
    seed : int, default 0
        Seed of random projections and of stochastic rounding. They depend on it, on a matrix's
        place in its group and on the step count alone; global random state is never touched.
    nonfinite : {"raise", "skip", "propagate"}, default "raise"
        What to do if any gradient (or its square, in float32) is not finite: raise before any
        state or weight changed, leave out the whole step, or compute on.
    stochastic_rounding : bool, default False
        Round bfloat16 weights up or down at random, without bias.
    foreach : bool, optional
        Update tensors of equal shape together. None chooses.
    fused : bool, optional
        Use the library's own kernels. None uses those for the CPU wherever they apply; True also
        asks for the Triton kernel on a GPU, and is refused for parameters that have none.
    compiled : bool, default False
        Compile the update of each shape with :func:`torch.compile`; for devices that have no
        kernels of ours. Changing rates does not compile anew.
    maximize : bool, default False
        Ascend instead of descend.
    capturable, differentiable : bool, default False
        Not supported: True is refused.
    compat : {None, "reference"}, default None
        ``"reference"`` divides the whole Subspace-Momentum numerator by the bias correction, as
        the authors' code does, instead of its momentum alone.

    Raises
    ------
    ValueError
        If an option is unknown or out of range, or does not fit a parameter; the message names it.

    Notes
    -----
    Second moments and bases are float32 for float16 and bfloat16 weights: a bfloat16 average with
    ``beta2 = 0.999`` cannot decay. Momentum has the dtype of the weight. Where the paper says
    nothing, this follows torch (`eps` outside the root, weight decay before the step).

    References
    ----------
    Nguyen, T. H. and Nguyen, H. L. (2025). Lean and Mean Adaptive Optimization via Subset-Norm and
    Subspace-Momentum with Convergence Guarantees. ICML, PMLR 267.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(2, 3))
    >>> optimizer = LeanOptimizer([weight], lr=0.1, momentum=None, second_moment="ema")
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> round(float(weight[0, 0].detach()), 4)  # 0.1 / sqrt(2): a column's entries share one step
    -0.0707
    >>> optimizer.state[weight]["second_moment"].shape
    torch.Size([1, 3])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        *,
        momentum: Momentum = "subspace",
        second_moment: SecondMoment = "ema",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        subset: Subset = "matrix",
        reduction: str = "sum",
        rank: int | None = 128,
        projection: Projection = "svd",
        update_interval: int = 200,
        refresh: Refresh = "reset",
        debias: Debias = True,
        amsgrad: bool = False,
        stagger: bool = False,
        seed: int = 0,
        nonfinite: Nonfinite = "raise",
        stochastic_rounding: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        compiled: bool = False,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        compat: str | None = None,
    ) -> None:
        defaults = {k: v for k, v in locals().items() if k not in ("self", "params", "__class__")}
        checked_group(defaults, defaults, ())
        self._group_rules: list[_GroupRules | None] = []
        self._paths = Paths()
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._paths = Paths()
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)
        # The state was built under these; what is changed from now on can be told from them.
        self._group_rules = [_GroupRules.derive(group) for group in self.param_groups]
        for number, group in enumerate(self.param_groups):
            for place, param in enumerate(group["params"]):
                layout = self._expected_layout(param, group)
                held = tensor_shapes(self.state.get(param, {}))
                if held and held != {name: shape for name, (shape, _) in layout.items()}:
                    raise ValueError(
                        f"options of parameter {parameter_name(group, number, place)} changed "
                        "after its state was built; call rebuild_state() before copying."
                    )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, with any option that differs from the defaults.

        Raises
        ------
        ValueError
            If an option is unknown or bad, or does not fit a parameter; nothing is added then.
        """
        params = param_group["params"]
        if not isinstance(params, Tensor | set):
            param_group = {**param_group, "params": list(params)}
        checked_group({**self.defaults, **param_group}, self.defaults, FOREIGN_KEYS)
        options = {**self.defaults, **param_group}
        params = param_group["params"]
        for i, entry in enumerate([params] if isinstance(params, Tensor) else params):
            param = entry[1] if isinstance(entry, tuple) else entry
            if isinstance(param, Tensor):
                _check_param(f"parameter {i} of the group", param, options)
        super().add_param_group(param_group)

    @torch._disable_dynamo  # addresses and tables are nothing to trace
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model anew and returns the loss; run with gradients enabled.

        Returns
        -------
        object
            What `closure` returned, or None.

        Raises
        ------
        FloatingPointError
            If a gradient is not finite and ``nonfinite="raise"``; nothing has been changed then.
        RuntimeError
            If a gradient is sparse.
        ValueError
            If options that shape the state were changed after it was built.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        work = self._divided(self._jobs())
        if self._all_finite(work):
            for path, jobs in work:
                for job in jobs:
                    job.begin()
                path.apply(jobs)
        return loss

    @property
    def kept_scratch_bytes(self) -> int:
        """Bytes of the buffers kept between steps; see :func:`septet.optim.scratch_bytes`."""
        return self._paths.scratch_bytes

    def rebuild_state(self) -> None:
        """Forget the state of every parameter whose structural options were changed.

        After changing `rank`, `projection`, `subset` or another option that shapes the state in a
        group, call this once; the parameters concerned start again from step zero.
        """
        for number, group in enumerate(self.param_groups):
            for param in group["params"]:
                if param in self.state and self._shapes_differ(number, param, group):
                    del self.state[param]
        self._group_rules = []

    def _shapes_differ(self, number: int, param: Tensor, group: dict[str, Any]) -> bool:
        old = self._group_rules[number] if number < len(self._group_rules) else None
        new = rule_for(tuple(param.shape), group)
        if old is None:
            return False
        place = next(i for i, p in enumerate(group["params"]) if p is param)
        return old.rules[place] != new

    def _expected_layout(self, param: Tensor, group: dict[str, Any]) -> Layout:
        return rule_for(tuple(param.shape), group).state_layout(param.dtype)

    def _rules(self, number: int, group: dict[str, Any]) -> _GroupRules:
        """Return the cached rules of a group, or raise if its structure changed under its state."""
        while len(self._group_rules) <= number:
            self._group_rules.append(None)
        known = self._group_rules[number]
        if known is not None and known.structure == tuple(group[name] for name in _STRUCTURE):
            return known
        fresh = _GroupRules.derive(group)
        if known is not None:
            self._refuse_change(number, group, known, fresh)
        self._group_rules[number] = fresh
        return fresh

    def _refuse_change(
        self, number: int, group: dict[str, Any], known: _GroupRules, fresh: _GroupRules
    ) -> None:
        for param, old, new in zip(group["params"], known.rules, fresh.rules, strict=True):
            if old != new and self.state.get(param):
                changed = ", ".join(
                    f"{name} from {was!r} to {now!r}"
                    for name, was, now in zip(
                        _STRUCTURE, known.structure, fresh.structure, strict=True
                    )
                    if was != now
                )
                raise ValueError(
                    f"group {number}: {changed} changed after its state was built; call "
                    "rebuild_state() to start that state anew, or set it back."
                )

    def _jobs(self) -> list[Job]:
        jobs = []
        for number, group in enumerate(self.param_groups):
            known = self._rules(number, group)
            for i, param in enumerate(group["params"]):
                grad = param.grad
                if grad is None or param.numel() == 0:
                    continue
                rule = known.rules[i]
                if grad.layout != torch.strided:
                    name = parameter_name(group, number, i)
                    raise RuntimeError(
                        f"the gradient of parameter {name} is sparse, which {type(self).__name__} "
                        "does not support; use dense gradients (sparse=False) or give this "
                        "parameter to torch.optim.SparseAdam."
                    )
                if param.shape != rule.shape:
                    name = parameter_name(group, number, i)
                    raise ValueError(
                        f"parameter {name} had shape {rule.shape} when the optimizer was built "
                        f"and now has {tuple(param.shape)}; build a new optimizer."
                    )
                if param.dtype != known.dtypes[i]:
                    name = parameter_name(group, number, i)
                    raise ValueError(
                        f"parameter {name} was {known.dtypes[i]} and is now {param.dtype}; call "
                        "load_state_dict(state_dict()) of this optimizer to convert its state."
                    )
                state = self.state[param]
                ordinal = known.ordinals[i]
                jobs.append(Job(param, grad, state, group, rule, i, ordinal, known.of, number))
        return jobs

    def _divided(self, jobs: list[Job]) -> list[tuple[Path, list[Job]]]:
        """Give each tensor to the fastest path that takes it."""
        work: dict[Path, list[Job]] = {}
        for job in jobs:
            work.setdefault(self._paths.choose(job), []).append(job)
        return list(work.items())

    def _all_finite(self, work: list[tuple[Path, list[Job]]]) -> bool:
        """Whether to go on; every tensor is looked at before the first one is touched."""
        for path, jobs in work:
            peaks = path.measure(jobs)
            if bool(torch.isfinite(peaks).all()):
                continue
            for job, peak in zip(jobs, peaks.tolist(), strict=True):
                if math.isfinite(peak) or job.group["nonfinite"] == "propagate":
                    continue
                if job.group["nonfinite"] == "skip":
                    return False
                raise FloatingPointError(
                    f"the gradient of parameter {job.name} (shape {tuple(job.param.shape)}) is "
                    "not finite, or its square overflows; nothing was changed. Look for the "
                    'cause, clip the gradient, or pass nonfinite="skip" or "propagate".'
                )
        return True


def _check_param(name: str, param: Tensor, options: dict[str, Any]) -> None:
    rule = rule_for(tuple(param.shape), options)
    if param.is_complex() and rule.momentum == "dense":
        raise ValueError(
            f"{name} is complex; projection={rule.projection!r} needs real matrices. Use "
            "'uniform' or 'topk', or rank=None."
        )
    if options["stochastic_rounding"] and param.dtype == torch.float16:
        raise ValueError(f"stochastic_rounding=True needs bfloat16; {name} is {param.dtype}.")
    check_path(name, rule, param, options)
