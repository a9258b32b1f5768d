"""Every optimizer keeps every promise, and the checks notice a broken one."""

import pytest
import torch
from conformance.optimizers import CASES

from septet.testing import OptimizerCase, assert_optimizer_conforms, optimizer_checks


@pytest.mark.parametrize("check", optimizer_checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_promise_is_kept(case, check):
    check(case)


class Careless(torch.optim.SGD):
    """Changes the gradient that it was given."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.mul_(0.5)
        return super().step(closure)


def test_the_checks_run_on_foreign_optimizers_and_name_the_broken_promise():
    with pytest.raises(AssertionError, match="Careless: gradients_and_global.*a gradient changed"):
        assert_optimizer_conforms(OptimizerCase(Careless, {"lr": 0.1}))


def test_the_checks_catch_a_state_that_loading_rounds():
    adam = OptimizerCase(RoundedAdam, {"lr": 0.1})
    checks = {check.__name__: check for check in optimizer_checks()}
    with pytest.raises(AssertionError, match="torch.bfloat16, parameter 0"):
        checks["state_survives_a_file_bit_for_bit"](adam)


class RoundedAdam(torch.optim.Optimizer):
    """Keeps a float32 statistic and leaves loading to the base class."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    total = self.state[p].get("sum", 0.0)
                    self.state[p]["sum"] = total + p.grad.float().square().sum()
                    p.sub_(group["lr"] * p.grad)
