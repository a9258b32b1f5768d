"""Train for the worst group with `GroupDROLoss`: in a plain loop, or in Lightning.

    python examples/worst_group.py --folder runs/worst-group
    python examples/worst_group.py --folder runs/worst-group --loop lightning

The class of a row shows weakly in one feature and, in 95 rows of 100, strongly in another that has
nothing to do with it. Plain training follows the strong one and fails on the two small groups.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from septet.robust import GroupDROLoss


@dataclass(frozen=True)
class Settings:
    """How to train."""

    folder: Path
    """Gets ``accuracies.json``."""
    loop: Literal["plain", "lightning"] = "plain"
    loss: Literal["mean", "worst-group"] = "worst-group"
    epochs: int = 30
    seed: int = 0


def rows(n: int, agreement: float, seed: int) -> TensorDataset:
    """Draw features, classes and groups (twice the class plus the spurious attribute)."""
    source = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (n,), generator=source)
    agrees = torch.rand(n, generator=source) < agreement
    spurious = torch.where(agrees, y, 1 - y)
    X = torch.randn(n, 6, generator=source)
    X[:, 0] += 1.5 * y
    X[:, 1] += 4.0 * spurious
    return TensorDataset(X, y, 2 * y + spurious)


def row_losses(model: nn.Module, X: Tensor, y: Tensor) -> Tensor:
    """Return the loss of every row."""
    return nn.functional.cross_entropy(model(X), y, reduction="none")


def robust_loss(settings: Settings, training: TensorDataset) -> GroupDROLoss:
    """Return the loss; with steps of size 0 and weights by size it is the plain mean."""
    counts = torch.bincount(training.tensors[2], minlength=4)
    loss = GroupDROLoss(counts.tolist(), step_size=0.1 if settings.loss == "worst-group" else 0.0)
    if settings.loss == "mean":
        loss.weights.copy_(counts / counts.sum())
    return loss


def train_plainly(settings: Settings, model: nn.Module, training: TensorDataset) -> None:
    """Train in a loop of one's own: the loss takes the rows' losses and groups."""
    loss = robust_loss(settings, training)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loader = batches(settings, training)
    for _ in range(settings.epochs):
        for X, y, group in loader:
            optimizer.zero_grad()
            loss(row_losses(model, X, y), group).backward()
            optimizer.step()


def train_in_lightning(settings: Settings, model: nn.Module, training: TensorDataset) -> None:
    """Train in Lightning: the loss is a module, so its weights are saved with the checkpoint."""
    import lightning.pytorch as pl

    class Robust(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.loss = robust_loss(settings, training)

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            X, y, group = batch
            return self.loss(row_losses(self.model, X, y), group)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=0.02)

    pl.Trainer(
        max_epochs=settings.epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        default_root_dir=settings.folder,
    ).fit(Robust(), batches(settings, training))


def batches(settings: Settings, training: TensorDataset) -> DataLoader:
    """Return batches in an order that the seed decides."""
    source = torch.Generator().manual_seed(settings.seed)
    return DataLoader(training, batch_size=100, shuffle=True, generator=source)


def accuracies(model: nn.Module, test: TensorDataset) -> Iterator[float]:
    """Yield the accuracy of each group."""
    X, y, groups = test.tensors
    with torch.no_grad():
        right = model(X).argmax(1) == y
    for group in range(4):
        yield float(right[groups == group].float().mean())


def main(settings: Settings) -> list[float]:
    """Train, print and keep the accuracies of the four groups."""
    torch.manual_seed(settings.seed)
    model = nn.Linear(6, 2)
    training, test = rows(2000, 0.95, settings.seed), rows(4000, 0.5, settings.seed + 1)
    fit = train_plainly if settings.loop == "plain" else train_in_lightning
    fit(settings, model, training)
    found = list(accuracies(model, test))
    settings.folder.mkdir(parents=True, exist_ok=True)
    (settings.folder / "accuracies.json").write_text(json.dumps(found), "utf-8")
    print("accuracy by group:", ", ".join(f"{a:.3f}" for a in found), f"worst: {min(found):.3f}")
    return found


if __name__ == "__main__":
    main(tyro.cli(Settings))
