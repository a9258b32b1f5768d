"""Features of a frozen network, and the retrained head: nothing else changes."""

import numpy as np
import pytest
import torch
from robust.networks import network, rows, same, weights
from torch import nn
from torch.utils.data import TensorDataset

from septet.robust import (
    AFRClassifier,
    GroupDROClassifier,
    LinearHead,
    TauNormClassifier,
    extract_features,
    predict_rows,
    retrain_head,
)


def test_features_are_what_the_head_gets_in_evaluation_mode():
    model, (X, _, _) = network(), rows(50)
    model.train()
    features = extract_features(model, X, batch_size=7)
    model.eval()
    with torch.no_grad():
        expected = model[:-1](torch.tensor(X))
        logits = model(torch.tensor(X))
    np.testing.assert_array_equal(features, expected.numpy())
    head = LinearHead(model.fc.weight.detach(), model.fc.bias.detach()).fit()
    np.testing.assert_array_equal(head.predict(features), logits.argmax(dim=1))


def test_extraction_leaves_modes_flags_weights_and_buffers_as_they_were():
    model, (X, _, _) = network(), rows(40)
    model.train()
    model.drop.eval()
    model.first.weight.requires_grad_(False)
    before = weights(model)
    extract_features(model, X)
    assert same(before, weights(model))
    assert model.training
    assert model.norm.training
    assert not model.drop.training
    assert not model.first.weight.requires_grad
    assert model.fc.weight.requires_grad
    assert model.fc._forward_pre_hooks == {}


def test_arrays_tensors_mappings_and_data_sets_give_the_same_features(tmp_path):
    model, (X, y, _) = network(), rows(30)
    expected = extract_features(model, X)
    tensor = torch.tensor(X)

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, values):
            return self.inner(values)

    found = [
        extract_features(model, X.astype(np.float64)),
        extract_features(model, tensor),
        extract_features(model, TensorDataset(tensor, torch.tensor(y)), batch_size=8),
        extract_features(Named(), {"values": tensor}, head="inner.fc"),
        extract_features(model, X, out=tmp_path / "features.npy", batch_size=8),
    ]
    for features in found:
        np.testing.assert_allclose(features, expected, atol=1e-6)
    assert isinstance(found[-1], np.memmap)
    assert [path.name for path in tmp_path.iterdir()] == ["features.npy"]


@pytest.mark.parametrize("classifier", [None, GroupDROClassifier(0.1), TauNormClassifier()])
@pytest.mark.parametrize("standardize", [True, False])
def test_retraining_changes_the_head_and_nothing_else_bit_for_bit(classifier, standardize):
    model, (X, y, a) = network(), rows(200)
    model.train()
    before = weights(model, without=["fc."])
    old = model.fc.weight.clone()
    fitted = retrain_head(model, X, y, a, classifier=classifier, standardize=standardize)
    assert same(before, weights(model, without=["fc."]))
    assert model.training
    assert not torch.equal(old, model.fc.weight)
    features = extract_features(model, X).astype(np.float64)
    if standardize:
        features = (features - features.mean(axis=0)) / features.std(axis=0)
    np.testing.assert_array_equal(predict_rows(model, X), fitted.predict(features))


def test_a_rule_that_starts_from_a_head_gets_the_networks_own():
    model, (X, y, _) = network(), rows(200)
    own = LinearHead(model.fc.weight.detach().clone(), model.fc.bias.detach().clone())
    features = extract_features(model, X).astype(np.float64)
    fitted = retrain_head(model, X, y, classifier=AFRClassifier(alpha=10.0), standardize=False)
    alone = AFRClassifier(own, alpha=10.0).fit(features, y)
    np.testing.assert_allclose(fitted.coef_, alone.coef_, atol=1e-10)


def test_overlapping_groups_retrain_the_head_of_a_network():
    model, (X, y, a) = network(), rows(200)
    membership = np.column_stack([a, 1 - a, y == 0, y == 1]).astype(float)
    features = extract_features(model, X).astype(np.float64)
    rule = GroupDROClassifier(0.1)
    fitted = retrain_head(
        model, X, y, group_membership=membership, classifier=rule, standardize=False
    )
    alone = GroupDROClassifier(0.1).fit(features, y, group_membership=membership)
    np.testing.assert_array_equal(fitted.coef_, alone.coef_)
    assert len(fitted.groups_) == 4


def test_features_that_are_constant_do_no_harm():
    model, (X, y, a) = network(), rows(100)
    with torch.no_grad():
        model.norm.weight[:3] = 0.0
        model.norm.bias[:3] = -1.0  # dead after the rectifier
    fitted = retrain_head(model, X, y, a)
    assert np.isfinite(fitted.coef_).all()
    assert torch.isfinite(model.fc.weight).all()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x) + self.fc(x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X, y: extract_features(network(), X, head="top"), "no layer 'top'; its linear"),
        (
            lambda X, y: extract_features(network(), X, head="norm"),
            "'norm' must be a Linear layer; it is a BatchNorm1d, its linear layers are 'first'",
        ),
        (lambda X, y: extract_features(Twice(), X), "must run once per forward pass; it ran 2"),
        (lambda X, y: extract_features(nn.Sequential(nn.Linear(3, 2)), X[None], head="0"), "2-D"),
        (lambda X, y: extract_features(network(), X[:0]), "X has no rows"),
        (lambda X, y: retrain_head(network(), X, y + 1), r"the numbers 0 to 1.*holds \[1, 2\]"),
        (
            lambda X, y: retrain_head(nn.Sequential(nn.Linear(3, 2, bias=False)), X, y, head="0"),
            "the head has no bias",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    X, y, _ = rows(20)
    with pytest.raises(ValueError, match=message):
        call(X, y)
