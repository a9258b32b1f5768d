"""Weigh the branches of a network by what they generalise: `OGRPolicy` in a plain loop, Lightning.

    python examples/blend_branches.py --folder runs/blend
    python examples/blend_branches.py --folder runs/blend --loop lightning

Two views of the same rows: one carries the class, the other is noise with as many columns as there
are rows to learn by heart. A third branch sees both. Each has a loss; their weighted sum is
trained, and the weights follow every evaluation: the noise loses its say.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from septet.audio import OGRPolicy

BRANCHES = ("signal", "noise", "joint")


@dataclass(frozen=True)
class Settings:
    """How to train."""

    folder: Path
    """Gets ``weights.json``, the weights after every epoch."""
    loop: Literal["plain", "lightning"] = "plain"
    epochs: int = 20
    seed: int = 0


class TwoViews(nn.Module):
    """A head for each view and one for both."""

    def __init__(self, n_signal: int, n_noise: int) -> None:
        super().__init__()
        self.signal, self.noise = nn.Linear(n_signal, 2), nn.Linear(n_noise, 2)
        self.joint = nn.Linear(n_signal + n_noise, 2)

    def losses(self, signal: Tensor, noise: Tensor, y: Tensor) -> Tensor:
        """Return the mean loss of each branch, shape (3,)."""
        outputs = (
            self.signal(signal),
            self.noise(noise),
            self.joint(torch.cat([signal, noise], 1)),
        )
        return torch.stack([nn.functional.cross_entropy(output, y) for output in outputs])


def rows(n: int, seed: int) -> TensorDataset:
    """Draw both views and the classes."""
    source = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (n,), generator=source)
    signal = torch.randn(n, 4, generator=source) + y[:, None]
    return TensorDataset(signal, torch.randn(n, 200, generator=source), y)


@torch.no_grad()
def evaluate(model: TwoViews, part: TensorDataset) -> list[float]:
    """Return the branches' losses on a part of the rows."""
    return model.losses(*part.tensors).tolist()


def train_plainly(
    settings: Settings, model: TwoViews, policy: OGRPolicy, parts: dict[str, TensorDataset]
) -> None:
    """Train in a loop of one's own."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(settings.epochs):
        weights = torch.as_tensor(policy.weights, dtype=torch.float32)
        for batch in batches(settings, parts["training"]):
            optimizer.zero_grad()
            (weights @ model.losses(*batch)).backward()
            optimizer.step()
        policy.update(evaluate(model, parts["training"]), evaluate(model, parts["validation"]))


def train_in_lightning(
    settings: Settings, model: TwoViews, policy: OGRPolicy, parts: dict[str, TensorDataset]
) -> None:
    """Train in Lightning: a callback keeps the policy, also in the checkpoint."""
    import lightning.pytorch as pl

    class Blend(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            weights = torch.as_tensor(policy.weights, dtype=torch.float32)
            return weights @ self.model.losses(*batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=0.02)

    class Weigh(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            policy.update(evaluate(model, parts["training"]), evaluate(model, parts["validation"]))

        def state_dict(self) -> dict[str, Any]:
            return policy.state_dict()

        def load_state_dict(self, state: dict[str, Any]) -> None:
            policy.load_state_dict(state)

    pl.Trainer(
        max_epochs=settings.epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[Weigh()],
        enable_progress_bar=False,
        default_root_dir=settings.folder,
    ).fit(Blend(), batches(settings, parts["training"]))


def batches(settings: Settings, part: TensorDataset) -> DataLoader:
    """Return batches in an order that the seed decides."""
    source = torch.Generator().manual_seed(settings.seed)
    return DataLoader(part, batch_size=50, shuffle=True, generator=source)


def main(settings: Settings) -> dict[str, float]:
    """Train, print and keep the weights."""
    torch.manual_seed(settings.seed)
    parts = {"training": rows(200, settings.seed), "validation": rows(400, settings.seed + 1)}
    model = TwoViews(4, 200)
    policy = OGRPolicy(BRANCHES, smooth=3, window=3, warmup=3)
    fit = train_plainly if settings.loop == "plain" else train_in_lightning
    fit(settings, model, policy, parts)
    history = policy.curves.state_dict()
    settings.folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(history["weights"].tolist())
    (settings.folder / "weights.json").write_text(text, "utf-8")
    found = dict(zip(BRANCHES, policy.weights.tolist(), strict=True))
    print("weights:", ", ".join(f"{name} {weight:.3f}" for name, weight in found.items()))
    return found


if __name__ == "__main__":
    main(tyro.cli(Settings))
