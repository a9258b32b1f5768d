"""Models on disk: what rebuilds a classifier, and what refuses to."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from septet._core.errors import CheckpointError
from septet._core.files import PathLike
from septet.audio._policies import FixedPolicy
from septet.audio._stack import ViewStack
from septet.audio._subnets import NetworkSize
from septet.training import (
    choose_device,
    has_checkpoint,
    load_checkpoint,
    pack,
    save_checkpoint,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from septet.audio._classifier import MultiViewClassifier

    Classifier = TypeVar("Classifier", bound=MultiViewClassifier)

_KIND = "septet.audio.MultiViewClassifier"
_ELSEWHERE = ("device", "cache", "on_error")  # settings that do not change what is learned
_OBJECTS = ("views", "subnetworks", "policy", "optimizer", "size", "augmentation")


def settings_of(classifier: MultiViewClassifier) -> dict[str, Any]:
    """Return the settings that decide what is learned, as plain values."""
    settings = {
        name: value
        for name, value in classifier.get_params(deep=False).items()
        if name not in (*_ELSEWHERE, *_OBJECTS)
    }
    views, size = classifier.views, classifier.size
    settings["views"] = "own" if isinstance(views, ViewStack) else list(views)
    settings["size"] = dataclasses.asdict(size) if isinstance(size, NetworkSize) else size
    settings["policy"] = (
        classifier.policy
        if isinstance(classifier.policy, str)
        else type(classifier.policy).__name__
    )
    settings["subnetworks"] = sorted(classifier.subnetworks or {})
    settings["augmentation"] = repr(classifier.augmentation)
    make = classifier.optimizer
    settings["optimizer"] = None if make is None else getattr(make, "__name__", repr(type(make)))
    return settings


def save_model(classifier: MultiViewClassifier, folder: PathLike) -> str:
    """Write everything that prediction needs, and the curves."""
    return save_checkpoint(
        folder,
        {
            "kind": _KIND,
            "settings": settings_of(classifier),
            "classes": classifier.classes_.tolist(),
            "seconds": classifier.seconds_,
            "front-ends": _front_ends(classifier.stack_),
            "best": {"step": classifier.best_step_, "score": classifier.best_score_},
            "curves": classifier.policy_.curves.state_dict(),
            "notes": list(classifier.notes_),
            "stack": classifier.stack_.state_dict(),
            "net": classifier.net_.state_dict(),
        },
    )


def load_model(
    cls: type[Classifier],
    folder: PathLike,
    *,
    device: str = "auto",
    views: ViewStack | None = None,
    subnetworks: Mapping[str, nn.Module] | None = None,
) -> Classifier:
    """Rebuild a classifier; see :meth:`MultiViewClassifier.load`."""
    saved: dict[str, Any] = load_checkpoint(folder)
    if saved.get("kind") != _KIND:
        raise CheckpointError(f"{folder} holds no audio classifier.")
    settings = dict(saved["settings"])
    _refuse_missing(folder, settings, views, subnetworks)
    if isinstance(settings["size"], dict):
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in settings["size"].items()
        }
        settings["size"] = NetworkSize(**fields)
    else:
        settings["size"] = str(settings["size"])
    settings["views"] = views if settings["views"] == "own" else tuple(settings["views"])
    for name in ("subnetworks", "augmentation", "optimizer"):  # training is over
        settings[name] = None
    own_policy = settings.pop("policy")
    model = cls(**settings | {"subnetworks": subnetworks, "device": device})
    model.policy = own_policy
    model.classes_ = np.array(saved["classes"])
    model.seconds_ = saved["seconds"]
    model.best_step_, model.best_score_ = saved["best"]["step"], saved["best"]["score"]
    model.notes_ = tuple(saved["notes"])
    model.stack_ = model._stack()
    if odd := _differences(saved["front-ends"], _front_ends(model.stack_)):
        raise CheckpointError(f"{folder} was trained with other front-ends: {odd}.")
    model.net_ = model._network(model.stack_)
    _load_weights(folder, model.stack_, saved["stack"])
    _load_weights(folder, model.net_, saved["net"])
    model.policy_ = FixedPolicy(saved["curves"]["branches"])
    model.policy_.curves.load_state_dict(saved["curves"])
    where = choose_device(device)
    model.stack_.to(where).eval()
    model.net_.to(where).eval()
    model.history_, model.interrupted_, model.evaluation_share_ = [], False, 0.0
    return model


def refuse_other_run(folder: PathLike, config: Mapping[str, Any]) -> None:
    """Raise if `folder` holds the checkpoint of a run with another configuration.

    Raises
    ------
    CheckpointError
        Listing every difference.
    """
    place = Path(folder) / "checkpoint"
    if not has_checkpoint(place):
        return
    saved = load_checkpoint(place)["config"]
    plain = unpack(*pack(dict(config)))
    assert isinstance(saved, dict)
    assert isinstance(plain, dict)
    if odd := _differences(saved, plain):
        raise CheckpointError(
            f"{folder} holds another run: {odd}. Use another folder or start over with fresh=True."
        )


def _front_ends(stack: ViewStack) -> dict[str, str]:
    return {name: " ".join(repr(view).split()) for name, view in stack.views.items()}


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name} was {then.get(name)!r} and is {now.get(name)!r}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    )


def _refuse_missing(
    folder: PathLike,
    settings: Mapping[str, Any],
    views: ViewStack | None,
    subnetworks: Mapping[str, nn.Module] | None,
) -> None:
    if settings["views"] == "own" and views is None:
        raise CheckpointError(f"{folder} was trained with front-ends of its own: pass views=.")
    if views is not None and settings["views"] != "own":
        raise CheckpointError(
            f"{folder} was trained with the views {', '.join(settings['views'])}; give no others."
        )
    if sorted(subnetworks or {}) != list(settings["subnetworks"]):
        raise CheckpointError(
            f"{folder} was trained with own subnetworks for {settings['subnetworks']}; "
            f"given are those for {sorted(subnetworks or {})}."
        )


def _load_weights(folder: PathLike, module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        raise CheckpointError(f"{folder} does not fit: {error}") from None
