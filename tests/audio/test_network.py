import pytest
import torch
from torch import nn
from torch.nn import functional

from septet.audio import (
    SIZES,
    AttentionPool,
    MultiViewNet,
    ViewStack,
    blended_loss,
    branch_losses,
    head_probabilities,
)

SHAPES = {"wave": (1, 2000), "mel": (1, 24, 13), "gamma": (1, 16, 13), "cqt": (1, 20, 13)}
BANDS = {"wave": None, "mel": 24, "gamma": 16, "cqt": 20}


def build(size="tiny", views=BANDS, n_classes=3, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MultiViewNet(views, n_classes, size=size, dropout=0.0).double()


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    views = {
        name: torch.randn(n, *shape, generator=generator, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }
    return views, torch.randint(3, (n,), generator=generator)


def gradients(net, loss):
    net.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in net.named_parameters()}


@pytest.mark.parametrize(("size", "limit"), [("tiny", 6e4), ("small", 1e6), ("base", 1e7)])
def test_ready_sizes_have_no_more_parameters_than_they_promise(size, limit):
    net = MultiViewNet.for_stack(ViewStack.standard(22050), 10, size=size)
    assert limit / 10 < sum(p.numel() for p in net.parameters()) < limit


@pytest.mark.parametrize("size", SIZES)
def test_every_branch_classifies_clips_of_any_length(size):
    net = MultiViewNet(BANDS, 5, size=size).eval()
    for n_frames in (1, 2, 50):
        views = {"wave": torch.randn(2, 1, 160 * n_frames)}
        for name, n_bands in BANDS.items():
            if n_bands:
                views[name] = torch.randn(2, 1, n_bands, n_frames)
        logits = net(views)
        assert tuple(logits) == net.branches == (*BANDS, "joint")
        assert all(part.shape == (2, 5) for part in logits.values())


def test_the_gradient_of_the_joint_loss_alone_is_that_of_a_concatenation_network():
    net, (views, targets) = build(), batch()
    one_hot = [0, 0, 0, 0, 1]
    ours = gradients(net, blended_loss(branch_losses(net(views), targets), one_hot))
    embeddings = torch.cat([net.subnetworks[v](views[v]) for v in BANDS], dim=1)
    head = net.heads["joint"]
    plain = functional.cross_entropy(functional.linear(embeddings, head.weight, head.bias), targets)
    expected = gradients(net, plain)
    for name, grad in expected.items():
        if grad is None:
            assert name.startswith("heads.")
            assert not name.startswith("heads.joint")
            assert ours[name] is None or not ours[name].any()
        else:
            torch.testing.assert_close(ours[name], grad, atol=1e-6, rtol=0)


def test_without_weight_on_the_joint_branch_the_subnetworks_learn_as_if_alone():
    net, (views, targets) = build(), batch()
    weights = [0.1, 0.2, 0.3, 0.4, 0.0]
    ours = gradients(net, blended_loss(branch_losses(net(views), targets), weights))
    assert all(ours[f"heads.joint.{part}"] is None or not ours[f"heads.joint.{part}"].any()
               for part in ("weight", "bias"))  # fmt: skip
    for weight, view in zip(weights, BANDS, strict=False):
        logits = net.heads[view](net.subnetworks[view](views[view]))
        alone = gradients(net, functional.cross_entropy(logits, targets))
        for name, grad in alone.items():
            if f".{view}." in name:
                torch.testing.assert_close(ours[name], weight * grad, atol=1e-6, rtol=0)


def test_weights_never_receive_a_gradient():
    net, (views, targets) = build(), batch()
    weights = torch.full((5,), 0.2, requires_grad=True)
    blended_loss(branch_losses(net(views), targets), weights).backward()
    assert weights.grad is None
    with pytest.raises(ValueError, match="5 losses need as many weights; got 4"):
        blended_loss(branch_losses(net(views), targets), weights[:4])
    with pytest.raises(ValueError, match="all weights are 0"):
        blended_loss(branch_losses(net(views), targets), [0] * 5)


def test_a_branch_without_weight_may_be_infinite_and_spoils_no_gradient():
    net, (views, targets) = build(), batch()
    with torch.no_grad():
        net.heads["wave"].weight.fill_(float("inf"))
    losses = branch_losses(net(views), targets)
    assert not torch.isfinite(losses["wave"])
    found = gradients(net, blended_loss(losses, [0, 0.25, 0.25, 0.25, 0.25]))
    for name, grad in found.items():
        if not name.startswith("heads.wave"):
            assert torch.isfinite(grad).all(), name


def test_attention_sums_to_one_over_valid_frames_and_is_zero_on_padding():
    pool = AttentionPool(5, 4).double()
    frames = torch.randn(3, 8, 5, dtype=torch.float64)
    lengths = torch.tensor([8, 3, 1])
    weights = pool.weights(frames, lengths)
    torch.testing.assert_close(weights.sum(1), torch.ones(3, dtype=torch.float64))
    for row, length in zip(weights, lengths, strict=True):
        assert (row[:length] > 0).all()
        assert not row[length:].any()
    torch.testing.assert_close(pool(frames, lengths)[1], pool(frames[1:2, :3])[0])


def test_padding_does_not_reach_the_attention_of_a_network():
    net, (views, _) = build(), batch(2)
    for part in net.subnetworks.values():
        frames = []
        part.pool.register_forward_hook(lambda m, args, out, to=frames: to.append((m, args)))
        view = views[next(name for name, p in net.subnetworks.items() if p is part)]
        part(view, torch.tensor([1.0, 0.4]))
        pool, (hidden, lengths) = frames[0]
        assert lengths[0] == hidden.shape[1]
        assert lengths[1] == -(-2 * hidden.shape[1] // 5)
        assert not pool.weights(hidden, lengths)[1, lengths[1] :].any()


def test_one_view_has_one_branch():
    net = build(views={"mel": 24})
    assert net.branches == ("joint",)
    assert set(net(batch()[0])) == {"joint"}


def test_a_subnetwork_of_ones_own_needs_only_its_width():
    class Mean(nn.Module):
        n_features = 24

        def forward(self, view):
            return view.mean(dim=(1, 3))

    net = MultiViewNet({"mel": Mean(), "cqt": 20}, 3, size="tiny").double()
    assert net(batch()[0])["joint"].shape == (6, 3)
    with pytest.raises(ValueError, match="subnetwork of 'mel' needs an integer attribute n_feat"):
        MultiViewNet({"mel": nn.Linear(2, 2)}, 3)


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_contributions_of_the_views_sum_to_the_joint_logits(size):
    net, (views, _) = build(size), batch()
    embeddings = net.embed(views)
    parts = net.contributions(embeddings)
    assert parts.shape == (6, 4, 3)
    logits = net.classify(embeddings)["joint"] - net.heads["joint"].bias
    torch.testing.assert_close(parts.sum(1), logits - logits.mean(1, keepdim=True))


def test_the_ensemble_is_the_mean_of_all_probabilities():
    logits = build()(batch()[0])
    together = sum(part.softmax(1) for part in logits.values()) / 5
    torch.testing.assert_close(head_probabilities(logits, "ensemble"), together)
    torch.testing.assert_close(head_probabilities(logits), logits["joint"].softmax(1))
    with pytest.raises(ValueError, match="Did you mean 'gamma'"):
        head_probabilities(logits, "gama")


def test_clips_do_not_see_one_another():
    net, (views, _) = build("small"), batch()
    together = net(views)
    alone = net({name: view[2:3] for name, view in views.items()})
    for branch, logits in alone.items():
        torch.testing.assert_close(together[branch][2:3], logits)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MultiViewNet({}, 3), "one view at least"),
        (lambda: MultiViewNet({"joint": 3}, 3), "none 'joint'"),
        (lambda: MultiViewNet({"mel": 3}, 1), "n_classes must be at least 2"),
        (lambda: MultiViewNet({"mel": 3}, 2, size="huge"), "size must be one of"),
        (lambda: MultiViewNet({"mel": 3}, 2, dropout=1), "dropout must be less than 1"),
    ],
)
def test_what_is_no_network_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
