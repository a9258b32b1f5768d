"""Training the networks of one seed and judging every head on top of them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from septet import robust
from septet.recipes.robust._heads import Features, Row, on_erm, on_split, row

Parts = robust.DigitsOnPhotographs


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all jobs of a run share."""

    digits: str
    sizes: tuple[int, int, int]
    epochs: int
    folder: str

    def parts(self, seed: int) -> Parts:
        """Draw the data of a seed."""
        train, validation, test = self.sizes
        return robust.digits_on_photographs(
            n_train=train,
            n_validation=validation,
            n_test=test,
            digits=self.digits,  # pyrefly: ignore[bad-argument-type] - the settings check it
            random_state=seed,
        )

    def training(self) -> robust.NetworkSettings:
        """Return the settings of every training, but for its decay."""
        return robust.NetworkSettings(epochs=self.epochs)

    def place(self, seed: int, name: str) -> Path:
        """Return the folder of a training's checkpoint."""
        return Path(self.folder) / f"{name}-{seed}"


def network(seed: int) -> nn.Sequential:
    """Three convolutions with batch normalisation, a hidden layer of 64 and the head ``fc``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential()
        for i, (before, after) in enumerate(((3, 8), (8, 16), (16, 32))):
            model.add_module(f"convolution{i}", nn.Conv2d(before, after, 3, padding=1))
            model.add_module(f"norm{i}", nn.BatchNorm2d(after))
            model.add_module(f"rectifier{i}", nn.ReLU())
            model.add_module(f"pool{i}", nn.MaxPool2d(2))
        model.add_module("flat", nn.Flatten())
        model.add_module("hidden", nn.Linear(288, 64))
        model.add_module("rectifier", nn.ReLU())
        model.add_module("fc", nn.Linear(64, 2))
    return model


def run_job(name: str, seed: int, setting: Setting) -> list[Row]:
    """Train what `name` says and return one row for every method judged on the test part."""
    torch.set_num_threads(1)
    parts = setting.parts(seed)
    if name == "erm":
        return _erm(parts, seed, setting)
    if name.startswith("split"):
        return _split(parts, seed, setting, float(name.removeprefix("split-")))
    if name == "jtt":
        return _jtt(parts, seed, setting)
    return _end_to_end(parts, seed, setting, name)


def _erm(parts: Parts, seed: int, setting: Setting) -> list[Row]:
    model = network(seed)
    train, validation = parts.train, parts.validation
    robust.fit_network(
        model,
        train.images,
        train.y,
        validation=(validation.images, validation.y),
        settings=setting.training(),
        folder=setting.place(seed, "erm"),
        random_state=seed,
    )
    plain = row("ERM", "0", parts.test, robust.predict_rows(model, parts.test.images))
    return [plain, *on_erm(_features(model, parts, np.arange(len(train))), seed)]


def _split(parts: Parts, seed: int, setting: Setting, retrain: float) -> list[Row]:
    train, validation = parts.train, parts.validation
    split = robust.cris_split(train.y, train.place, retrain_fraction=retrain, random_state=seed)
    one = split.phase_one
    model = network(seed)
    early = network(seed)
    robust.fit_network(
        early,
        train.images[one],
        train.y[one],
        settings=replace(setting.training(), epochs=max(1, setting.epochs // 5)),
        random_state=seed,
    )
    robust.fit_network(
        model,
        train.images[one],
        train.y[one],
        validation=(validation.images, validation.y),
        settings=setting.training(),
        folder=setting.place(seed, f"split-{retrain:g}"),
        random_state=seed,
    )
    guess = robust.predict_rows(early, train.images)
    layer = model.get_submodule("fc")
    weight, bias = (value.detach().double().numpy() for value in layer.parameters())
    head = robust.LinearHead(weight, bias).fit()
    return on_split(_features(model, parts, one), split, retrain, guess, head)


def _end_to_end(parts: Parts, seed: int, setting: Setting, rule: str) -> list[Row]:
    """Train by a rule that uses all group labels; group DRO gets two decays to choose from."""
    train, validation = parts.train, parts.validation
    decays = (1e-4, 1e-2) if rule == "group-dro" else (1e-4,)
    found = []
    for decay in decays:
        model = network(seed)
        history = robust.fit_network(
            model,
            train.images,
            train.y,
            train.place,
            rule=rule,  # pyrefly: ignore[bad-argument-type] - one of the rules by construction
            validation=(validation.images, validation.y, validation.place),
            settings=replace(setting.training(), weight_decay=decay),
            folder=setting.place(seed, f"{rule}-{decay:g}"),
            random_state=seed,
        )
        score = max(record["validation"] for record in history if "validation" in record)
        found.append((score, -decay, robust.predict_rows(model, parts.test.images)))
    words = {"reweight": "RW", "subsample": "SS", "group-dro": "group DRO"}[rule]
    labels = f"{len(train)} + {len(validation)}"
    return [row(f"{words} end to end", labels, parts.test, max(found, key=lambda x: x[:2])[2])]


def _jtt(parts: Parts, seed: int, setting: Setting) -> list[Row]:
    train, validation = parts.train, parts.validation
    model = network(seed)
    robust.fit_jtt(
        model,
        train.images,
        train.y,
        validation=(validation.images, validation.y, validation.place),
        first_epochs=(1, 3),
        factors=(5, 20),
        settings=setting.training(),
        random_state=seed,
    )
    guess = robust.predict_rows(model, parts.test.images)
    return [row("JTT", f"0 + {len(validation)}", parts.test, guess)]


def _features(model: nn.Module, parts: Parts, trained_on: NDArray[np.intp]) -> Features:
    """Features of all parts, standardised by the rows that trained the network."""
    train, validation, test = parts.train, parts.validation, parts.test
    raw = [
        robust.extract_features(model, part.images).astype(np.float64)
        for part in (train, validation, test)
    ]
    center, scale = raw[0][trained_on].mean(axis=0), raw[0][trained_on].std(axis=0)
    scale[scale == 0] = 1.0
    scaled = [(part - center) / scale for part in raw]
    return Features(scaled[0], scaled[1], scaled[2], train, validation, test, center, scale)
