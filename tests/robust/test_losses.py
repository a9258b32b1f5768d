"""Losses and samplers for one's own loop: the worked updates, absent groups, several processes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from robust import loss_processes
from robust.problems import spurious
from torch import nn

from septet.robust import CVaRLoss, GroupDROClassifier, GroupDROLoss, group_balanced_sampler

COUNTS = (3498, 184, 56, 1057)
LOSSES = torch.tensor([0.1, 0.5, 1.0, 2.0], dtype=torch.float64)
ALL = torch.arange(4)


def test_the_weights_follow_the_worked_update():
    loss = GroupDROLoss(COUNTS)
    value = loss(LOSSES, ALL)
    expected = (0.248001708805, 0.248995702302, 0.250243798454, 0.252758790440)
    np.testing.assert_allclose(loss.weights, expected, atol=1e-12)
    assert value.item() == pytest.approx(0.905059401364, abs=1e-12)
    for _ in range(99):
        loss(LOSSES, ALL)
    expected = (0.08593042097, 0.128193124282, 0.211354730761, 0.574521723987)
    np.testing.assert_allclose(loss.weights, expected, atol=1e-11)


def test_the_adjustment_moves_the_weights_and_is_no_part_of_the_value():
    loss = GroupDROLoss(COUNTS, adjustment=5.0)
    value = loss(LOSSES, ALL)
    expected = (0.247420729373, 0.249119050937, 0.251118861934, 0.252341357756)
    np.testing.assert_allclose(loss.weights, expected, atol=1e-12)
    assert value.item() == pytest.approx(0.905103175851, abs=1e-12)
    assert loss.adjusted_loss == pytest.approx(1.224440340708, abs=1e-12)


def test_an_absent_group_loses_weight_as_in_the_reference_or_keeps_it():
    losses, groups = LOSSES[[0, 1, 3]], torch.tensor([0, 1, 3])
    shrink = GroupDROLoss(COUNTS, absent="shrink")
    shrink(losses, groups)
    expected = (0.248620766408, 0.249617241094, 0.248372269910, 0.253389722588)
    np.testing.assert_allclose(shrink.weights, expected, atol=1e-12)
    keep = GroupDROLoss(COUNTS)
    keep(losses, groups)
    assert keep.weights[2].item() == pytest.approx(0.25, abs=1e-15)
    assert keep.weights.sum().item() == pytest.approx(1.0, abs=1e-15)
    assert (keep.weights[3] / keep.weights[0]).item() == pytest.approx(np.exp(0.01 * 1.9))
    assert keep.batch_losses.isnan().tolist() == [False, False, True, False]


def test_greedy_weights_go_to_the_worst_groups_up_to_the_fraction():
    loss = GroupDROLoss(COUNTS, weighting="greedy", fraction=0.2)
    loss(LOSSES, ALL)
    assert loss.weights.tolist() == [0, 0, 0, 1]
    wider = GroupDROLoss(COUNTS, weighting="greedy", fraction=0.25, min_weight=0.1)
    wider(LOSSES, ALL)
    shares = np.array(COUNTS) / sum(COUNTS)
    rest = 0.25 - shares[3] - shares[2]
    greedy = np.array([0, rest, shares[2], shares[3]]) / 0.25
    np.testing.assert_allclose(wider.weights, 0.1 * shares + 0.9 * greedy, atol=1e-12)


def test_running_losses_start_at_the_first_value_and_then_decay():
    loss = GroupDROLoss((1, 1), decay=0.1)
    loss(torch.tensor([1.0, 3.0]), torch.tensor([0, 0]))
    assert loss.running_losses.tolist()[0] == 2.0
    assert loss.running_losses[1].isnan()
    loss(torch.tensor([1.0, 7.0]), torch.tensor([0, 1]))
    np.testing.assert_allclose(loss.running_losses, [1.9, 7.0])


def test_the_adjustment_can_follow_the_generalisation_gap():
    loss = GroupDROLoss((4, 100, 9), adjustment=0.5)
    loss(torch.tensor([1.0, 3.0]), torch.tensor([0, 1]))
    loss.adjust_to_gap([2.0, 2.5, 1.0])
    np.testing.assert_allclose(loss.adjustment, [2.0, -5.0, 0.5])


def test_the_gradient_is_that_of_the_weighted_group_means():
    logits = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits.requires_grad_()
    groups = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1, -1, -1, 0])
    rows = logits.square().sum(dim=1)
    loss = GroupDROLoss((5, 5, 5))
    value = loss(rows, groups)
    means = [rows[groups == g].mean() for g in range(3)]
    expected = sum(q * m for q, m in zip(loss.weights.tolist(), means, strict=True))
    assert value.item() == pytest.approx(expected.item())
    ours = torch.autograd.grad(value, logits, retain_graph=True)[0]
    torch.testing.assert_close(ours, torch.autograd.grad(expected, logits)[0])
    assert (ours[9:11] == 0).all()  # rows of unknown group


def test_evaluation_leaves_the_weights_alone_and_the_state_is_saved():
    loss = GroupDROLoss(COUNTS)
    loss(LOSSES, ALL)
    before = loss.weights.clone()
    loss.eval()
    loss(LOSSES, ALL)
    assert torch.equal(loss.weights, before)
    other = GroupDROLoss(COUNTS)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.weights, before)
    assert torch.equal(other.running_losses, loss.running_losses)


def test_half_precision_losses_are_added_up_in_single_precision():
    losses = torch.full((4096,), 0.1, dtype=torch.bfloat16)
    value = GroupDROLoss((1,))(losses, torch.zeros(4096, dtype=torch.int64))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(float(losses[0]), rel=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        model = nn.Linear(4, 2)
        rows = nn.functional.cross_entropy(
            model(torch.ones(6, 4)), torch.tensor([0, 1] * 3), reduction="none"
        )
        value = GroupDROLoss((3, 3))(rows, torch.tensor([0, 1] * 3))
    value.backward()
    assert model.weight.grad is not None
    assert value.dtype == torch.float32


def test_a_batch_of_unknown_rows_costs_nothing():
    rows = torch.ones(3, requires_grad=True)
    loss = GroupDROLoss((1, 1))
    loss(rows, torch.full((3,), -1)).backward()
    assert rows.grad is not None
    assert rows.grad.tolist() == [0, 0, 0]
    assert loss.weights.tolist() == [0.5, 0.5]


def test_training_with_the_loss_serves_the_worst_group():
    X, y, a = spurious(400, 3, noise=0.1)
    exact = GroupDROClassifier(0.1).fit(X, y, groups=a)
    rows, classes = torch.tensor(X), torch.tensor(y)
    codes = torch.tensor(2 * y + a)
    model = nn.Linear(3, 2).double()
    loss = GroupDROLoss(np.bincount(codes).tolist(), step_size=0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        losses = nn.functional.cross_entropy(model(rows), classes, reduction="none")
        (loss(losses, codes) + 0.05 * model.weight.square().sum()).backward()
        optimizer.step()
    with torch.no_grad():
        losses = nn.functional.cross_entropy(model(rows), classes, reduction="none")
        worst = max(losses[codes == g].mean().item() for g in range(4))
        objective = worst + 0.05 * model.weight.square().sum().item()
    assert exact.dual_objective_ <= objective <= 1.02 * exact.primal_objective_


def test_two_processes_give_what_one_gives(tmp_path):
    script = str(Path(__file__).with_name("loss_processes.py"))
    done = subprocess.run([sys.executable, script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    value, weights, gradient = loss_processes.compute(slice(None))
    for rank in range(2):
        theirs = json.loads((tmp_path / f"{rank}.json").read_text())
        assert theirs[0] == pytest.approx(value, abs=1e-12)
        np.testing.assert_allclose(theirs[1], weights, atol=1e-14)
        assert theirs[2] == pytest.approx(gradient.item(), abs=1e-6)


def test_the_worst_part_of_a_batch_may_end_within_a_row():
    losses = torch.tensor([1.0, 4.0, 2.0, 3.0], requires_grad=True)
    value = CVaRLoss(0.625)(losses)  # two and a half rows
    assert value.item() == pytest.approx((4 + 3 + 0.5 * 2) / 2.5)
    value.backward()
    assert losses.grad is not None
    np.testing.assert_allclose(losses.grad, np.array([0, 1, 0.5, 1]) / 2.5)
    assert CVaRLoss(1.0)(losses).item() == 2.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GroupDROLoss([3, 0]), "group_counts must be positive; 1 of them"),
        (lambda: GroupDROLoss([3], step_size=-1), "step_size must be at least 0"),
        (lambda: GroupDROLoss([3], weighting="gready"), "Did you mean 'greedy'"),
        (lambda: GroupDROLoss([3])(torch.ones(2), torch.ones(3)), r"\(2,\) and \(3,\)"),
        (lambda: CVaRLoss(0), "fraction must be greater than 0"),
        (lambda: CVaRLoss(0.5)(torch.ones(0)), "not empty"),
        (lambda: group_balanced_sampler([-1, -1]), "no row has a known group"),
        (lambda: group_balanced_sampler([0, 1], method="subsample", n_samples=3), "n_samples is"),
    ],
)
def test_bad_settings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_sampler_draws_every_group_equally_often():
    groups = np.repeat([0, 1, 2, -1], [1000, 100, 10, 50])
    sampler = group_balanced_sampler(groups, generator=torch.Generator().manual_seed(0))
    rows = np.array(list(sampler))
    assert len(rows) == len(sampler) == 1110
    share = np.bincount(groups[rows], minlength=3) / 1110
    np.testing.assert_allclose(share, 1 / 3, atol=5 * np.sqrt(2 / 9 / 1110))
    again = group_balanced_sampler(groups, generator=torch.Generator().manual_seed(0))
    assert list(again) == rows.tolist()


def test_subsampling_draws_other_rows_in_every_epoch():
    y, a = np.array([0] * 30 + [1] * 30), np.array([0] * 25 + [1] * 10 + [0] * 25)
    sampler = group_balanced_sampler(
        a, y, method="subsample", generator=torch.Generator().manual_seed(0)
    )
    epochs = [np.array(list(sampler)) for _ in range(2)]
    for rows in epochs:
        assert len(set(rows.tolist())) == len(rows) == len(sampler) == 20
        assert np.bincount((2 * y + a)[rows]).tolist() == [5] * 4
    assert set(epochs[0].tolist()) != set(epochs[1].tolist())
    loader = torch.utils.data.DataLoader(torch.arange(60), batch_size=4, sampler=sampler)
    assert sum(len(batch) for batch in loader) == 20
