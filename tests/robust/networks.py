"""Small networks and rows for the tests of whole trainings."""

import numpy as np
import torch
from robust.problems import spurious
from torch import nn


def network(d=3, k=2, seed=0):
    """Return a network with everything that must not change: buffers, dropout, a frozen layer."""
    torch.manual_seed(seed)
    model = nn.Sequential()
    model.add_module("first", nn.Linear(d, 8))
    model.add_module("norm", nn.BatchNorm1d(8))
    model.add_module("act", nn.ReLU())
    model.add_module("drop", nn.Dropout(0.2))
    model.add_module("fc", nn.Linear(8, k))
    return model


def rows(n, d=3, *, seed=0):
    X, y, a = spurious(n, d, seed=seed)
    return X.astype(np.float32), y, a


def weights(model, *, without=()):
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if not name.startswith(tuple(without) or "-")
    }


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
