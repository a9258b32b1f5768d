"""The named members of the family: each fixes the two parts and the paper's defaults."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, TypedDict, Unpack

from torch import Tensor
from torch.optim.optimizer import ParamsT

from septet._core.errors import CheckpointError
from septet.optim._engine import LeanOptimizer
from septet.optim._options import Debias, Nonfinite, Projection, Refresh, Subset


class CommonOptions(TypedDict, total=False):
    """Options of every class; see :class:`LeanOptimizer`."""

    seed: int
    nonfinite: Nonfinite
    stochastic_rounding: bool
    foreach: bool | None
    fused: bool | None
    compiled: bool
    maximize: bool
    capturable: bool
    differentiable: bool


class SubsetOptions(TypedDict, total=False):
    """Options of shared second moments; see :class:`LeanOptimizer`."""

    subset: Subset
    reduction: Literal["sum", "mean"]


class SubspaceOptions(TypedDict, total=False):
    """Options of momentum in a subspace; see :class:`LeanOptimizer`."""

    rank: int | None
    projection: Projection
    update_interval: int
    refresh: Refresh
    stagger: bool
    compat: Literal["reference"] | None


class _SubsetKeywords(CommonOptions, SubsetOptions, total=False):
    amsgrad: bool
    debias: Debias


class _SumKeywords(CommonOptions, SubsetOptions, total=False):
    pass


class _NormKeywords(CommonOptions, total=False):
    pass


class _SubspaceKeywords(CommonOptions, SubspaceOptions, total=False):
    debias: Debias


class _AdaptiveSubspaceKeywords(CommonOptions, SubspaceOptions, total=False):
    amsgrad: bool
    debias: Debias


class _BothKeywords(CommonOptions, SubsetOptions, SubspaceOptions, total=False):
    amsgrad: bool
    debias: Debias


class _SumSubspaceKeywords(CommonOptions, SubsetOptions, SubspaceOptions, total=False):
    debias: Debias


class _Named(LeanOptimizer):
    """Fixes some options and accepts only those that mean something for the class."""

    _fixed: ClassVar[Mapping[str, Any]]
    _keywords: ClassVar[type]

    def _build(
        self, params: ParamsT, lr: float | Tensor, options: Mapping[str, Any], **own: Any
    ) -> None:
        known = self._keywords.__annotations__
        for name in options:
            if name not in known:
                near = get_close_matches(name, sorted(known), n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise TypeError(f"{type(self).__name__} has no option {name!r}.{hint}")
        super().__init__(params, lr, **self._fixed, **options, **own)

    def _check_fits(self, state_dict: dict[str, Any]) -> None:
        super()._check_fits(state_dict)
        for group in state_dict["param_groups"]:
            for name in ("momentum", "second_moment"):
                if group.get(name, self._fixed[name]) != self._fixed[name]:
                    raise CheckpointError(
                        f"the saved optimizer has {name}={group[name]!r}, and "
                        f"{type(self).__name__} has {name}={self._fixed[name]!r}; load it into "
                        "the class that saved it, or into LeanOptimizer."
                    )


class AdamSN(_Named):
    r"""Adam with one second moment per row or column (Subset-Norm).

    .. math::
        m \leftarrow \beta_1 m + (1-\beta_1) g,\quad
        v_i \leftarrow \beta_2 v_i + (1-\beta_2)\textstyle\sum_{j\in\Psi_i} g_j^2,\quad
        w_j \leftarrow (1-\eta\lambda) w_j
        - \eta\,\frac{m_j/(1-\beta_1^t)}{\sqrt{v_{\psi(j)}/(1-\beta_2^t)}+\epsilon}

    An ``m x n`` matrix keeps ``mn + max(m, n)`` numbers; Adam keeps ``2mn``.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or group dicts.
    lr : float or Tensor, default 1e-2
        About ten times a good rate of Adam (the paper used 5e-2 for a LLaMA of 60M).
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-6
    weight_decay : float, default 0.0
        Decoupled; multiplied by `lr`, so divide it by the factor by which `lr` grew.
    **options
        `subset`, `reduction`, `debias`, `amsgrad` and the common options of
        :class:`LeanOptimizer`.

    Raises
    ------
    ValueError, TypeError
        If an option is bad, or means nothing for this class.

    References
    ----------
    Nguyen and Nguyen (2025), ICML, PMLR 267, Subset-Norm.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(64, 256)
    >>> optimizer = AdamSN(model.parameters(), lr=1e-2)
    >>> model(torch.ones(1, 64)).sum().backward()
    >>> optimizer.step()
    >>> optimizer.state[model.weight]["second_moment"].shape
    torch.Size([256, 1])
    """

    _fixed: ClassVar = {"momentum": "ema", "second_moment": "ema"}
    _keywords: ClassVar = _SubsetKeywords

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Unpack[_SubsetKeywords],
    ) -> None:
        self._build(params, lr, options, betas=betas, eps=eps, weight_decay=weight_decay)


class RMSpropSN(_Named):
    """RMSprop with one second moment per row or column: no momentum, almost no state.

    An ``m x n`` matrix keeps ``max(m, n)`` numbers, about one percent of Adam's state.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or group dicts.
    lr : float or Tensor, default 1e-2
    beta2 : float, default 0.999
        Decay of the second moment.
    eps : float, default 1e-6
    weight_decay : float, default 0.0
        Decoupled, times `lr`.
    **options
        `subset`, `reduction`, `debias` (default False, as in RMSprop), `amsgrad` and the common
        options of :class:`LeanOptimizer`.

    Raises
    ------
    ValueError, TypeError
        If an option is bad, or means nothing for this class.

    References
    ----------
    Nguyen and Nguyen (2025), ICML, PMLR 267, Subset-Norm.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(4, 4))
    >>> optimizer = RMSpropSN([weight], lr=1e-2)
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> optimizer.state[weight]["second_moment"].numel()
    4
    """

    _fixed: ClassVar = {"momentum": None, "second_moment": "ema"}
    _keywords: ClassVar = _SubsetKeywords

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        *,
        beta2: float = 0.999,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Unpack[_SubsetKeywords],
    ) -> None:
        options.setdefault("debias", False)
        betas = (0.0, beta2)
        self._build(params, lr, options, betas=betas, eps=eps, weight_decay=weight_decay)


class AdagradSN(_Named):
    r"""Adagrad with one accumulated squared norm per row or column: the variant with the theory.

    .. math::
        v_i \leftarrow v_i + \textstyle\sum_{j\in\Psi_i} g_j^2,\qquad
        w_j \leftarrow w_j - \eta\, g_j / (\sqrt{v_{\psi(j)}}+\epsilon)

    No subset ever moves farther than `lr` in l2 norm in one step.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or group dicts.
    lr : float or Tensor, default 1e-2
    eps : float, default 1e-6
    weight_decay : float, default 0.0
        Decoupled, times `lr`.
    **options
        `subset`, `reduction` and the common options of :class:`LeanOptimizer`.

    Raises
    ------
    ValueError, TypeError
        If an option is bad, or means nothing for this class.

    Notes
    -----
    Never bias-corrected: the reference code's default multiplies the step by zero here.

    References
    ----------
    Nguyen and Nguyen (2025), ICML, PMLR 267, Subset-Norm.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(4))
    >>> weight.grad = torch.tensor([3.0, 4.0, 0.0, 0.0])
    >>> AdagradSN([weight], lr=0.5, subset=2).step()
    >>> [round(x, 4) for x in weight.tolist()]
    [-0.3, -0.4, 0.0, 0.0]
    """

    _fixed: ClassVar = {"momentum": None, "second_moment": "sum", "debias": False}
    _keywords: ClassVar = _SumKeywords

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        *,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Unpack[_SumKeywords],
    ) -> None:
        self._build(params, lr, options, eps=eps, weight_decay=weight_decay)


class AdagradNorm(_Named):
    r"""Adagrad with a single accumulated squared norm per tensor (AdaGrad-Norm).

    .. math:: b^2 \leftarrow b^2 + \|g\|^2,\qquad w \leftarrow w - \eta\, g / (b + \epsilon)

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or group dicts.
    lr : float or Tensor, default 1e-2
    eps : float, default 1e-6
    weight_decay : float, default 0.0
        Decoupled, times `lr`.
    **options
        The common options of :class:`LeanOptimizer`.

    Raises
    ------
    ValueError, TypeError
        If an option is bad, or means nothing for this class.

    References
    ----------
    Ward, R., Wu, X. and Bottou, L. (2019). AdaGrad stepsizes: sharp convergence over nonconvex
    landscapes. ICML.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> AdagradNorm([weight], lr=0.5).step()
    >>> [round(x, 4) for x in weight.tolist()]
    [-0.3, -0.4]
    """

    _fixed: ClassVar = {
        "momentum": None, "second_moment": "sum", "subset": "tensor", "debias": False,
    }  # fmt: skip
    _keywords: ClassVar = _NormKeywords

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        *,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Unpack[_NormKeywords],
    ) -> None:
        self._build(params, lr, options, eps=eps, weight_decay=weight_decay)


class SGDSM(_Named):
    r"""SGD with momentum kept only inside a subspace (Subspace-Momentum).

    .. math::
        L \leftarrow \beta_1 L + (1-\beta_1) P g,\qquad
        w \leftarrow w - \eta\,(P^* L + g - P^* P g)

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or group dicts.
    lr : float or Tensor, default 1e-3
    beta1 : float, default 0.9
        Decay of the momentum, a moving average (divide SGD's rate for heavy balls by
        ``1 - beta1``).
    weight_decay : float, default 0.0
        Decoupled, times `lr`.
    **options
        `rank`, `projection`, `update_interval`, `refresh`, `stagger`, `debias` (default False),
        `compat` and the common options of :class:`LeanOptimizer`.

    Raises
    ------
    ValueError, TypeError
        If an option is bad, or means nothing for this class.

    References
    ----------
    Nguyen and Nguyen (2025), ICML, PMLR 267, Subspace-Momentum.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(8, 4))
    >>> optimizer = SGDSM([weight], lr=0.1, rank=2, projection="gram")
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> optimizer.state[weight]["momentum"].shape
    torch.Size([8, 2])
    """

    _fixed: ClassVar = {"momentum": "subspace", "second_moment": None}
    _keywords: ClassVar = _SubspaceKeywords

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        beta1: float = 0.9,
        weight_decay: float = 0.0,
        **options: Unpack[_SubspaceKeywords],
    ) -> None:
        options.setdefault("debias", False)
        self._build(params, lr, options, betas=(beta1, 0.0), weight_decay=weight_decay)


class AdamSM(_Named):
    """Adam's second moment for every coordinate, momentum kept only inside a subspace.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or group dicts.
    lr : float or Tensor, default 1e-3
        A rate of Adam's size.
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-6
    weight_decay : float, default 0.0
        Decoupled, times `lr`.
    **options
        `rank`, `projection`, `update_interval`, `refresh`, `stagger`, `debias`, `amsgrad`,
        `compat` and the common options of :class:`LeanOptimizer`.

    Raises
    ------
    ValueError, TypeError
        If an option is bad, or means nothing for this class.

    References
    ----------
    Nguyen and Nguyen (2025), ICML, PMLR 267, Subspace-Momentum.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(8, 4))
    >>> optimizer = AdamSM([weight], rank=2, projection="topk")
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> optimizer.state[weight]["momentum"].shape  # two of the eight rows
    torch.Size([2, 4])
    """

    _fixed: ClassVar = {"momentum": "subspace", "second_moment": "ema", "subset": None}
    _keywords: ClassVar = _AdaptiveSubspaceKeywords

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Unpack[_AdaptiveSubspaceKeywords],
    ) -> None:
        self._build(params, lr, options, betas=betas, eps=eps, weight_decay=weight_decay)


class AdamSNSM(_Named):
    """Adam with shared second moments and momentum kept only inside a subspace.

    An ``m x n`` matrix keeps ``max(m, n)`` second moments and ``rank * max(m, n)`` momentum
    numbers, plus ``rank * min(m, n)`` for a stored basis; with ``projection="uniform"`` or
    ``"topk"`` it keeps ``rank * min(m, n)`` and the indices.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or group dicts, such as
        :func:`septet.optim.param_groups` builds for a transformer.
    lr : float or Tensor, default 1e-2
        About ten times a good rate of Adam (the paper used 5e-2 for a LLaMA of 60M).
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-6
    weight_decay : float, default 0.0
        Decoupled; multiplied by `lr`, so divide it by the factor by which `lr` grew.
    **options
        `subset`, `reduction`, `rank`, `projection`, `update_interval`, `refresh`, `stagger`,
        `debias`, `amsgrad`, `compat` and the common options of :class:`LeanOptimizer`.

    Raises
    ------
    ValueError, TypeError
        If an option is bad, or means nothing for this class.

    Notes
    -----
    Defaults follow the paper. On a small LLaMA (300 steps, five seeds) ``projection="gram"``,
    ``refresh="rotate"``, ``update_interval=20`` and a rank of a fifth of the smaller side did
    best at a fifth of Adam's state: level with Adam that has a tuned rate of its own for
    embedding and norms. Long runs want a longer interval.

    References
    ----------
    Nguyen and Nguyen (2025), ICML, PMLR 267.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(64, 256, bias=False)
    >>> optimizer = AdamSNSM(model.parameters(), lr=1e-2, rank=16, projection="gram")
    >>> model(torch.ones(1, 64)).sum().backward()
    >>> optimizer.step()
    >>> {name: tuple(x.shape) for name, x in sorted(optimizer.state[model.weight].items())
    ...  if isinstance(x, torch.Tensor)}
    {'basis': (64, 16), 'momentum': (256, 16), 'second_moment': (256, 1)}
    """

    _fixed: ClassVar = {"momentum": "subspace", "second_moment": "ema"}
    _keywords: ClassVar = _BothKeywords

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Unpack[_BothKeywords],
    ) -> None:
        self._build(params, lr, options, betas=betas, eps=eps, weight_decay=weight_decay)


class AdagradSNSM(_Named):
    """Adagrad with shared accumulators and momentum kept only inside a subspace.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or group dicts.
    lr : float or Tensor, default 1.0
        The paper's rate for a LLaMA of 60M.
    beta1 : float, default 0.9
        Decay of the momentum.
    eps : float, default 1e-6
    weight_decay : float, default 0.0
        Decoupled, times `lr`.
    **options
        `subset`, `reduction`, `rank`, `projection`, `update_interval`, `refresh`, `stagger`,
        `debias` (default False), `compat` and the common options of :class:`LeanOptimizer`.

    Raises
    ------
    ValueError, TypeError
        If an option is bad, or means nothing for this class.

    References
    ----------
    Nguyen and Nguyen (2025), ICML, PMLR 267.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(8, 4))
    >>> optimizer = AdagradSNSM([weight], rank=2, projection="uniform")
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> optimizer.state[weight]["index"].dtype
    torch.int32
    """

    _fixed: ClassVar = {"momentum": "subspace", "second_moment": "sum"}
    _keywords: ClassVar = _SumSubspaceKeywords

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        *,
        beta1: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Unpack[_SumSubspaceKeywords],
    ) -> None:
        options.setdefault("debias", False)
        betas = (beta1, 0.0)
        self._build(params, lr, options, betas=betas, eps=eps, weight_decay=weight_decay)
