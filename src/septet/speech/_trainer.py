"""Training of enhancement networks: the two-batch GAN step and the losses beside it."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from septet._core import checks
from septet._core.files import PathLike
from septet.speech._configuration import NetworkConfig
from septet.speech._losses import SpectralDistance, adversarial_loss, chain_l1, discriminator_loss
from septet.speech._mixtures import Batches
from septet.speech._networks import Moments, SEGANDiscriminator
from septet.speech._rmsprop import TFRMSprop
from septet.speech._signal import preemphasis
from septet.training import (
    DivergedError,
    Stateful,
    World,
    derive_seed,
    train,
    warmup_cosine,
)

_SOFTEST = 1e-4
MakeOptimizer = Callable[[nn.Module], Optimizer]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network is trained; the defaults are the paper's recipe."""

    steps: int = 97_400
    """Iterations; each draws two batches if there is a discriminator."""
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    """RMSprop with TensorFlow's semantics, or Adam with betas 0.8 and 0.99."""
    lr: float = 2e-4
    """Learning rate of the generator, and of the discriminator."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Of the generator's learning rate: cosine warms up for 1 % and falls to 2 %."""
    adversarial: float = 1.0
    """Weight of the adversarial loss; 0 trains without a discriminator."""
    adversarial_from: int = 0
    """Step at which the discriminator comes in."""
    l1: float = 100.0
    """Weight of the mean absolute error on pre-emphasised signals."""
    spectral: float = 0.0
    """Weight of `SpectralDistance`."""
    relative: bool = False
    """Whether l1 and spectral are measured with every noisy window brought to unit level."""
    vbn_reference: Literal["current", "fixed"] = "current"
    """Reference of virtual batch norm: the real pairs of the step, or one batch for good."""
    clip_norm: float | None = None
    """Largest norm of the generator's gradient."""
    average: float = 0.0
    """Decay of the running mean of the weights that is handed out in the end; 0 for none."""
    bfloat16: bool = False
    """Whether convolutions are computed in bfloat16; moments and losses never are."""
    seed: int = 0
    """Of the weights, the order and the latents."""

    def __post_init__(self) -> None:
        checks.integer("steps", self.steps, low=0)
        checks.choice("optimizer", self.optimizer, ("rmsprop", "adam"))
        checks.choice("schedule", self.schedule, ("constant", "cosine"))
        checks.choice("vbn_reference", self.vbn_reference, ("current", "fixed"))
        checks.number("lr", self.lr, above=0)
        for name in ("adversarial", "l1", "spectral"):
            checks.number(name, getattr(self, name), low=0)
        checks.number("average", self.average, low=0, below=1)
        checks.integer("adversarial_from", self.adversarial_from, low=0)
        if self.clip_norm is not None:
            checks.number("clip_norm", self.clip_norm, above=0)


class Trainer:
    """Generator, discriminator and optimizers, and the step that trains them.

    Parameters
    ----------
    network : NetworkConfig
        What to train.
    training : TrainingConfig
        How.
    batches : Batches
        Where windows come from: `Mixtures` or `PairWindows`.
    device : torch.device or str, default "cpu"
        Where.
    world : World, optional
        Processes that train together, each on batches of its own.
    optimizer : callable, optional
        ``optimizer(module)`` builds the optimizer of the generator, and that of the discriminator,
        instead of the one that `training` names. Its own learning rates hold; a schedule scales
        them.

    Attributes
    ----------
    generator, discriminator : nn.Module
        The networks; there is no discriminator if its loss has no weight.

    Notes
    -----
    One iteration draws a batch and updates the discriminator on it, then draws another batch and
    updates the generator, as the authors' code does. With ``vbn_reference="current"`` the pass over
    the reference *is* the pass over the real pairs, so that one of three passes of the
    discriminator is saved.
    """

    def __init__(
        self,
        network: NetworkConfig,
        training: TrainingConfig,
        batches: Batches,
        *,
        device: torch.device | str = "cpu",
        world: World | None = None,
        optimizer: MakeOptimizer | None = None,
    ) -> None:
        if batches.window != network.window:
            raise ValueError(
                f"the network works on windows of {network.window} samples, the batches have "
                f"{batches.window}."
            )
        self.network, self.training, self.batches = network, training, batches
        self.device, self.world = torch.device(device), world or World()
        self._make_optimizer = optimizer or self._named_optimizer
        self.generator = network.generator(derive_seed(training.seed, "generator")).to(device)
        self.optimizer = self._make_optimizer(self.generator)
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self.discriminator: SEGANDiscriminator | None = None
        self.state: dict[str, Stateful] = {
            "generator": self.generator,
            "generator_optimizer": self.optimizer,
        }
        if training.adversarial > 0:
            self._add_discriminator()
        self.average: nn.Module | None = None
        if training.average > 0:
            self.average = network.generator(derive_seed(training.seed, "generator")).to(device)
            self.average.requires_grad_(False)
            self.state["average"] = self.average
        self.spectral = SpectralDistance().to(device)

    def _add_discriminator(self) -> None:
        judge = self.network.discriminator(derive_seed(self.training.seed, "discriminator"))
        self.discriminator = judge.to(self.device)
        self.judge_optimizer = self._make_optimizer(self.discriminator)
        self.state |= {
            "discriminator": self.discriminator,
            "discriminator_optimizer": self.judge_optimizer,
        }
        if self.training.vbn_reference == "fixed":
            clean, noisy = self._draw(0)
            self.reference = nn.Module()
            self.reference.register_buffer("pairs", torch.cat([clean, noisy], dim=1))
            self.state["reference"] = self.reference

    def step(self, t: int) -> dict[str, float]:
        """Do iteration `t` and return its losses."""
        judging = self.discriminator is not None and t >= self.training.adversarial_from
        measures: dict[str, float] = {}
        drawn = t
        if self.discriminator is not None:
            drawn = 2 * t + 1
            if judging:
                measures |= self._judge_step(2 * t)
        measures |= self._generator_step(t, drawn, judging)
        return self.world.mean(measures)

    def _judge_step(self, index: int) -> dict[str, float]:
        assert self.discriminator is not None
        clean, noisy = self._draw(index)
        with self._precision(), torch.no_grad():
            outputs = self.generator.chain(noisy, self._latents(index, len(noisy)))
        with self._precision():
            real, moments = self._real(clean, noisy)
            fakes = self._scores(outputs, noisy, moments)
        loss = discriminator_loss(real.float(), fakes)
        self._update(self.judge_optimizer, self.discriminator, loss, index)
        return {"discriminator": float(loss.detach())}

    def _generator_step(self, t: int, index: int, judging: bool) -> dict[str, float]:
        config = self.training
        clean, noisy = self._draw(index)
        with self._precision():
            outputs = self.generator.chain(noisy, self._latents(index, len(noisy)))
        outputs = [output.float() for output in outputs]
        level = torch.ones(())
        if config.relative:
            level = noisy.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(_SOFTEST)
        scaled, target = [output / level for output in outputs], clean / level
        l1 = chain_l1(scaled, target)
        measures = {"l1": float(l1.detach())}
        loss = config.l1 * l1
        if config.spectral:
            distance = self.spectral(scaled[-1], target)
            measures["spectral"] = float(distance.detach())
            loss = loss + config.spectral * distance
        if judging:
            fooled = self._fooled(outputs, clean, noisy)
            measures["adversarial"] = float(fooled.detach())
            loss = loss + config.adversarial * fooled
        self._set_rate(t)
        self._update(self.optimizer, self.generator, loss, index)
        self._move_average(t)
        return {"loss": float(loss.detach()), **measures}

    def _fooled(self, outputs: Sequence[Tensor], clean: Tensor, noisy: Tensor) -> Tensor:
        assert self.discriminator is not None
        self.discriminator.requires_grad_(False)
        with self._precision():
            with torch.no_grad():
                _, moments = self._real(clean, noisy)
            scores = self._scores(outputs, noisy, moments)
        self.discriminator.requires_grad_(True)
        return adversarial_loss(scores)

    def _real(self, clean: Tensor, noisy: Tensor) -> tuple[Tensor, list[Moments]]:
        """Scores of the real pairs and the moments of the reference batch."""
        assert self.discriminator is not None
        pairs = torch.cat([clean, noisy], dim=1)
        if self.training.vbn_reference == "current":
            return self.discriminator.reference(pairs)
        _, moments = self.discriminator.reference(self.reference.get_buffer("pairs"))
        return self.discriminator(pairs, moments), moments

    def _scores(
        self, outputs: Sequence[Tensor], noisy: Tensor, moments: list[Moments]
    ) -> list[Tensor]:
        assert self.discriminator is not None
        return [
            self.discriminator(torch.cat([output, noisy], dim=1), moments).float()
            for output in outputs
        ]

    def _update(self, optimizer: Optimizer, module: nn.Module, loss: Tensor, index: int) -> None:
        optimizer.zero_grad()
        loss.backward()
        parameters = list(module.parameters())
        self.world.mean_gradients(parameters)
        limit = self.training.clip_norm if module is self.generator else None
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit or math.inf)
        if not math.isfinite(float(loss.detach())) or not bool(torch.isfinite(norm)):
            taken = ", ".join(self.batches.names(index * self.world.size + self.world.rank))
            raise DivergedError(
                f"the loss is {float(loss.detach()):g} and its gradient's norm {float(norm):g} on "
                f"a batch of {taken}."
            )
        optimizer.step()

    def _draw(self, index: int) -> tuple[Tensor, Tensor]:
        """Batch `index` of this process, pre-emphasised inside each window."""
        clean, noisy = self.batches.batch(index * self.world.size + self.world.rank)
        return preemphasis(clean.to(self.device)), preemphasis(noisy.to(self.device))

    def _latents(self, index: int, count: int) -> list[Tensor] | None:
        if self.network.latent == "none":
            return None
        # drawn for the windows of all processes, so that their number changes nothing
        source = torch.Generator(self.device).manual_seed(
            derive_seed(self.training.seed, "latent", index, 0)
        )
        drawn = self.generator.sample_latents(count * self.world.size, self.network.window, source)
        mine = slice(count * self.world.rank, count * (self.world.rank + 1))
        return [latents[mine] for latents in drawn]

    def _precision(self) -> AbstractContextManager[Any]:
        if self.training.bfloat16:
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def _named_optimizer(self, module: nn.Module) -> Optimizer:
        if self.training.optimizer == "rmsprop":
            return TFRMSprop(module.parameters(), self.training.lr)
        return torch.optim.Adam(
            module.parameters(), self.training.lr, betas=(0.8, 0.99), fused=True
        )

    def _set_rate(self, t: int) -> None:
        if self.training.schedule == "cosine":
            factor = warmup_cosine(t, steps=self.training.steps, warmup=0.01, floor=0.02)
            for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor

    @torch.no_grad()
    def _move_average(self, t: int) -> None:
        """Move the running mean; early on it forgets faster, so that the start leaves no trace."""
        if self.average is None:
            return
        keep = min(self.training.average, (1 + t) / (10 + t))
        own = self.generator.state_dict()
        for name, mean in self.average.state_dict().items():
            mean.lerp_(own[name], 1 - keep)

    @property
    def result(self) -> nn.Module:
        """The generator to hand out: the running mean where there is one."""
        return self.generator if self.average is None else self.average


def train_enhancer(
    network: NetworkConfig,
    training: TrainingConfig,
    batches: Batches,
    *,
    folder: PathLike | None = None,
    checkpoint_every: int | None = None,
    evaluate: Callable[[nn.Module, int], Mapping[str, float]] | None = None,
    evaluate_every: int | None = None,
    log_every: int = 10,
    fresh: bool = False,
    progress: Callable[[dict[str, Any]], None] | None = None,
    initial: nn.Module | None = None,
    device: torch.device | str = "cpu",
    world: World | None = None,
    optimizer: MakeOptimizer | None = None,
) -> tuple[Trainer, list[dict[str, Any]]]:
    """Train a network, going on from the checkpoint in `folder` if there is one.

    Parameters
    ----------
    network, training, batches, device, world, optimizer
        See `Trainer`.
    folder, checkpoint_every, evaluate_every, log_every, fresh, progress
        See `septet.training.train`.
    initial : SASEGANGenerator, optional
        Begin with the weights of this network, built from the same `network`, instead of new ones.
    evaluate : callable, optional
        ``evaluate(generator, steps)`` returns measures of the generator that would be handed out.

    Returns
    -------
    trainer : Trainer
        With the trained networks.
    history : list of dict
        The records.

    Raises
    ------
    DivergedError
        If a loss or gradient is not finite; the message names what the batch was made of, and the
        checkpoint saved last stays.
    CheckpointError
        If the checkpoint in `folder` is damaged or was made with another configuration, batch size
        or, as far as the names in the first batch tell, other recordings.

    Examples
    --------
    >>> import numpy as np
    >>> from septet.speech import Mixtures, Voice
    >>> rng = np.random.default_rng(0)
    >>> voice = Voice.join("a", [rng.normal(size=4000)])
    >>> hiss = ("hiss", (3000 * rng.normal(size=999)).astype(np.int16))
    >>> network = NetworkConfig(attention=(), channels=(8, 8), window=256)
    >>> batches = Mixtures([voice], [hiss], window=256, batch_size=2)
    >>> trainer, history = train_enhancer(network, TrainingConfig(steps=2), batches, log_every=1)
    >>> sorted(history[-1])
    ['adversarial', 'discriminator', 'l1', 'loss', 'seconds', 'step']
    """
    trainer = Trainer(network, training, batches, device=device, world=world, optimizer=optimizer)
    if initial is not None:
        for module in (trainer.generator, trainer.average):
            if module is not None:
                module.load_state_dict(initial.state_dict())
    history = train(
        trainer.step,
        trainer.state,
        steps=training.steps,
        folder=folder,
        checkpoint_every=checkpoint_every,
        evaluate=None if evaluate is None else partial(evaluate, trainer.result),
        evaluate_every=evaluate_every,
        log_every=log_every,
        seed=training.seed,
        config={
            "network": network.to_dict(),
            "training": asdict(training),
            **({"optimizer": type(trainer.optimizer).__name__} if optimizer else {}),
            **({} if folder is None else _marks(batches)),
        },
        fresh=fresh,
        progress=progress,
        world=world,
    )
    return trainer, history


def _marks(batches: Batches) -> dict[str, Any]:
    """Return what tells batches from others, by the first one."""
    clean, _ = batches.batch(0)
    return {"batch_size": len(clean), "first batch of": batches.names(0)}
