"""Promises of optimizers, checked on any class that derives from :class:`torch.optim.Optimizer`."""

import copy
import io
import math
import pickle
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from septet.testing._checkpoints import assert_same_state

_SHAPES = ((), (1,), (7,), (5, 3), (3, 5), (4, 4), (2, 3, 4), (3, 2, 2, 3))


@dataclass(frozen=True)
class OptimizerCase:
    """One row of a conformance table.

    Parameters
    ----------
    build : callable
        The class, or a function of parameters and keywords that returns an optimizer.
    kwargs : mapping, optional
        Keywords of every construction.
    state_bytes : callable, optional
        Bytes of state tensors for one parameter, documented or None if nothing is promised.
    nonfinite : {"raise", "skip", "propagate"}, default "propagate"
        What the class promises for a gradient that is not finite: raise before anything changed,
        leave the step out, or compute on.
    takes_complex : bool, default True
        Whether complex weights are taken; if not, they must be refused.
    name : str, optional
        What to call the case; the class's name by default.
    """

    build: Callable[..., Optimizer]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    state_bytes: Callable[[Tensor], int] | None = None
    nonfinite: Literal["raise", "skip", "propagate"] = "propagate"
    takes_complex: bool = True
    name: str = ""

    def __call__(self, params: Iterable[Any], **changed: Any) -> Optimizer:
        """Build the optimizer."""
        return self.build(params, **{**self.kwargs, **changed})

    def __str__(self) -> str:
        """Return the name of the case."""
        return self.name or getattr(self.build, "__name__", str(self.build))


def assert_optimizer_conforms(case: OptimizerCase) -> None:
    """Run every check of :func:`optimizer_checks` on a case.

    Raises
    ------
    AssertionError
        Naming the check and what differed.
    """
    for check in optimizer_checks():
        try:
            check(case)
        except Exception as error:
            raise AssertionError(f"{case}: {check.__name__}: {error}") from error


def optimizer_checks() -> tuple[Callable[[OptimizerCase], None], ...]:
    """Return the checks, each a function of one case, for a test framework to run one by one.

    Examples
    --------
    >>> import torch
    >>> from septet.testing import OptimizerCase, optimizer_checks
    >>> case = OptimizerCase(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9})
    >>> checks = {check.__name__: check for check in optimizer_checks()}
    >>> checks["closure_runs_with_gradients_and_its_loss_comes_back"](case)
    """
    return _CHECKS


def _params(dtype: torch.dtype = torch.float32, shapes: Iterable[Any] = _SHAPES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes
    ]


def _fill(params: Iterable[Tensor], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)


def _advance(params: list[Tensor], optimizer: Optimizer, steps: Iterable[int]) -> None:
    for step in steps:
        _fill(params, step)
        optimizer.step()


def _values(params: Iterable[Tensor]) -> list[Tensor]:
    return [p.detach().clone() for p in params]


def _assert_equal(actual: Iterable[Tensor], expected: Iterable[Tensor], what: str) -> None:
    for number, (a, b) in enumerate(zip(actual, expected, strict=True)):
        if not torch.equal(a, b):
            raise AssertionError(f"{what}: parameter {number} is {a}; expected {b}.")


def _refused(function: Callable[[], Any], *kinds: type[Exception]) -> str:
    try:
        function()
    except kinds as error:
        return str(error)
    raise AssertionError(f"nothing was raised; expected {' or '.join(k.__name__ for k in kinds)}.")


def bad_learning_rate_is_named(case: OptimizerCase) -> None:
    message = _refused(lambda: case(_params(), lr=-1.0), ValueError)
    assert "lr" in message or "learning rate" in message, message
    assert "-1" in message, message


def empty_and_repeated_parameters_are_refused(case: OptimizerCase) -> None:
    _refused(lambda: case([]), ValueError)
    weight = _params()[4]
    groups = [{"params": [weight]}, {"params": [weight]}]
    _refused(lambda: case(groups), ValueError)


def every_shape_moves_and_stays_finite(case: OptimizerCase) -> None:
    params = [*_params(), torch.nn.Parameter(torch.zeros(0, 3))]
    optimizer = case(params)
    before = _values(params)
    _advance(params, optimizer, range(4))
    for p, old in zip(params, before, strict=True):
        assert torch.isfinite(p).all(), f"shape {tuple(p.shape)} is not finite: {p}"
        assert p.numel() == 0 or not torch.equal(p, old), f"shape {tuple(p.shape)} did not move"


def closure_runs_with_gradients_and_its_loss_comes_back(case: OptimizerCase) -> None:
    weight = torch.nn.Parameter(torch.ones(4, 3))
    optimizer = case([weight])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    loss = torch.as_tensor(optimizer.step(closure)).detach().item()  # pyrefly: ignore[no-matching-overload]
    assert loss == 12.0, f"step(closure) must return the loss, 12; got {loss}"


def groups_keep_their_own_rates_and_can_be_added_later(case: OptimizerCase) -> None:
    still, moving, late = _params(shapes=[(4, 3), (4, 3), (3,)])
    optimizer = case([{"params": [still], "lr": 0.0}, {"params": [moving]}])
    before = _values([still, moving, late])
    _advance([still, moving], optimizer, range(2))
    optimizer.add_param_group({"params": [late]})
    _advance([still, moving, late], optimizer, range(2, 4))
    _assert_equal([still], before[:1], "a group with lr=0 moved")
    for p, old in zip((moving, late), before[1:], strict=True):
        assert not torch.equal(p, old), "a group did not move"


def named_parameters_are_taken(case: OptimizerCase) -> None:
    named, plain = _params(), _params()
    optimizers = [case([(f"p{i}", p) for i, p in enumerate(named)]), case(plain)]
    for params, optimizer in zip((named, plain), optimizers, strict=True):
        _advance(params, optimizer, range(3))
    _assert_equal(named, plain, "names changed the result")


def parameters_without_gradient_rest_and_may_join_later(case: OptimizerCase) -> None:
    params = _params(shapes=[(4, 3), (4, 3)])
    optimizer = case(params)
    before = _values(params)
    for step in range(4):
        _fill(params, step)
        if step < 2:
            params[1].grad = None
        optimizer.step()
        if step < 2:
            _assert_equal(params[1:], before[1:], "a parameter without gradient moved")
    assert not torch.equal(params[1], before[1]), "a parameter did not move once it had a gradient"


def gradients_and_global_random_state_are_left_alone(case: OptimizerCase) -> None:
    params = _params()
    optimizer = case(params)

    def watched() -> tuple[Any, ...]:
        legacy = str(np.random.get_state())  # noqa: NPY002 - the state to be watched
        return torch.get_rng_state().tolist(), legacy, random.getstate()

    before = watched()
    for step in range(3):
        _fill(params, step)
        grads = [p.grad.clone() for p in params if p.grad is not None]
        optimizer.step()
        _assert_equal([p.grad for p in params if p.grad is not None], grads, "a gradient changed")
    assert watched() == before, "a global random state changed"


def sparse_gradients_are_refused_before_anything_changed(case: OptimizerCase) -> None:
    dense, table = _params(shapes=[(4, 3), (5, 2)])
    optimizer = case([dense, table])
    before = _values([dense, table])
    dense.grad = torch.ones(4, 3)
    table.grad = torch.ones(5, 2).to_sparse()
    message = _refused(optimizer.step, RuntimeError)
    assert "sparse" in message, message
    _assert_equal([dense, table], before, "a weight moved before the error")


def complex_weights_move_or_are_refused(case: OptimizerCase) -> None:
    weight = torch.nn.Parameter(torch.ones(4, 3, dtype=torch.complex64))

    def train() -> None:
        optimizer = case([weight])
        weight.grad = torch.full((4, 3), 3 + 4j, dtype=torch.complex64)
        optimizer.step()

    if case.takes_complex:
        train()
        assert torch.isfinite(torch.view_as_real(weight)).all(), weight
        moved = weight.detach() - 1
        assert (moved.abs() > 0).all(), "complex weights did not move"
    else:
        message = _refused(train, ValueError, RuntimeError, TypeError)
        assert "complex" in message or "real" in message, message


def maximizing_is_minimizing_the_negative(case: OptimizerCase) -> None:
    params, mirrored = _params(), _params()
    optimizer = case(params)
    if "maximize" not in optimizer.defaults:
        return
    other = case(mirrored, maximize=True)
    for step in range(4):
        _fill(params, step)
        for p, q in zip(params, mirrored, strict=True):
            q.grad = None if p.grad is None else -p.grad
        optimizer.step()
        other.step()
    for p, q in zip(params, mirrored, strict=True):
        torch.testing.assert_close(q, p)


def ways_of_computing_agree(case: OptimizerCase) -> None:
    params = _params()
    optimizer = case(params)
    _advance(params, optimizer, range(5))
    for option in ("foreach", "fused"):
        for value in (False, True):
            if option not in optimizer.defaults:
                continue
            others = _params()
            changed = {option: value}
            try:
                other = case(others, **changed)
            except ValueError as error:
                if option not in str(error):
                    raise AssertionError(f"{option}={value} was refused without its name") from None
                continue
            _advance(others, other, range(5))
            for p, q in zip(others, params, strict=True):
                torch.testing.assert_close(
                    p, q, rtol=5e-6, atol=5e-6, msg=lambda m, c=changed: f"{c}: {m}"
                )


def a_compiled_step_is_the_eager_one(case: OptimizerCase) -> None:
    params, others = _params(shapes=[(5, 3), (7,)]), _params(shapes=[(5, 3), (7,)])
    optimizer, other = case(params), case(others)
    step = torch.compile(other.step, backend="eager")
    for number in range(3):
        for group in (*optimizer.param_groups, *other.param_groups):
            group["lr"] = 0.1 / (number + 1)
        _fill(params, number)
        _fill(others, number)
        optimizer.step()
        step()
    for p, q in zip(others, params, strict=True):
        torch.testing.assert_close(p, q, rtol=5e-6, atol=5e-6)


def copies_go_on_like_the_original(case: OptimizerCase) -> None:
    for clone in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):  # noqa: S301 - just dumped
        params = _params()
        optimizer = case(params)
        _advance(params, optimizer, range(3))
        other_params, other = clone((params, optimizer))
        _advance(params, optimizer, range(3, 6))
        _advance(other_params, other, range(3, 6))
        _assert_equal(other_params, params, "a copy went another way")


def state_survives_a_file_bit_for_bit(case: OptimizerCase) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        params, optimizer, other = _reloaded(case, dtype)
        for number, (p, q) in enumerate(zip(params, _group_params(other), strict=True)):
            try:
                assert_same_state(dict(other.state[q]), dict(optimizer.state[p]))
            except AssertionError as error:
                raise AssertionError(f"{dtype}, parameter {number}: {error}") from None


def a_resumed_run_is_the_uninterrupted_one(case: OptimizerCase) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        params, optimizer, other = _reloaded(case, dtype)
        others = _group_params(other)
        _advance(params, optimizer, range(3, 10))
        _advance(others, other, range(3, 10))
        _assert_equal(others, params, f"{dtype}: a resumed run went another way")


def _reloaded(case: OptimizerCase, dtype: torch.dtype) -> tuple[list[Tensor], Optimizer, Optimizer]:
    """Three steps, then a second optimizer that loads the first one's state from a file."""
    params, others = _params(dtype), _params(dtype)
    optimizer = case(params)
    _advance(params, optimizer, range(3))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    for p, q in zip(params, others, strict=True):
        q.data.copy_(p.data)
    other = case(others)
    other.load_state_dict(torch.load(file, weights_only=True))
    return params, optimizer, other


def _group_params(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def state_takes_the_documented_bytes(case: OptimizerCase) -> None:
    if case.state_bytes is None:
        return
    for dtype in (torch.float32, torch.bfloat16):
        for p in _params(dtype):
            optimizer = case([p])
            _advance([p], optimizer, range(2))
            tensors = [t for t in optimizer.state[p].values() if isinstance(t, Tensor)]
            held = sum(t.untyped_storage().nbytes() for t in tensors)
            wanted = case.state_bytes(p)
            assert held == wanted, (
                f"{held} bytes for {dtype} {tuple(p.shape)}; documented {wanted}."
            )


def gradients_that_are_not_finite_meet_the_promise(case: OptimizerCase) -> None:
    for bad in (math.nan, math.inf):
        params = _params()
        optimizer = case(params)
        _advance(params, optimizer, range(2))
        before, state = _values(params), copy.deepcopy(optimizer.state_dict()["state"])
        _fill(params, 2)
        grad = params[3].grad
        assert grad is not None
        grad[1, 1] = bad
        if case.nonfinite == "raise":
            _refused(optimizer.step, FloatingPointError, ValueError, RuntimeError)
        else:
            optimizer.step()
        if case.nonfinite == "propagate":
            assert not torch.isfinite(params[3]).all(), "a bad gradient left no trace"
            continue
        _assert_equal(params, before, "a weight changed in spite of a bad gradient")
        assert_same_state(
            {str(k): dict(v) for k, v in optimizer.state_dict()["state"].items()},
            {str(k): dict(v) for k, v in state.items()},
        )


def gradient_scaling_skips_overflows_and_else_changes_nothing(case: OptimizerCase) -> None:
    params, others = _params(), _params()
    optimizer, other = case(params), case(others)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step in range(3):
        _fill(params, step)
        _fill(others, step)
        for q in others:
            assert q.grad is not None
            q.grad *= 4.0
            if step == 1:
                q.grad.fill_(math.inf)
        scaler.scale(torch.zeros(()))  # creates its state
        scaler.step(other)
        scaler.update(4.0)
        if step != 1:
            optimizer.step()
    _assert_equal(others, params, "scaling changed the result")


def schedulers_and_step_hooks_work(case: OptimizerCase) -> None:
    params = _params()
    optimizer = case(params)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: float(epoch == 0))
    _advance(params, optimizer, [0])
    assert calls == ["before", "after"], calls
    scheduler.step()
    before = _values(params)
    _advance(params, optimizer, [1])
    _assert_equal(params, before, "a weight moved at learning rate zero")


_CHECKS: tuple[Callable[[OptimizerCase], None], ...] = (
    bad_learning_rate_is_named,
    empty_and_repeated_parameters_are_refused,
    every_shape_moves_and_stays_finite,
    closure_runs_with_gradients_and_its_loss_comes_back,
    groups_keep_their_own_rates_and_can_be_added_later,
    named_parameters_are_taken,
    parameters_without_gradient_rest_and_may_join_later,
    gradients_and_global_random_state_are_left_alone,
    sparse_gradients_are_refused_before_anything_changed,
    complex_weights_move_or_are_refused,
    maximizing_is_minimizing_the_negative,
    ways_of_computing_agree,
    a_compiled_step_is_the_eager_one,
    copies_go_on_like_the_original,
    state_survives_a_file_bit_for_bit,
    a_resumed_run_is_the_uninterrupted_one,
    state_takes_the_documented_bytes,
    gradients_that_are_not_finite_meet_the_promise,
    gradient_scaling_skips_overflows_and_else_changes_nothing,
    schedulers_and_step_hooks_work,
)
