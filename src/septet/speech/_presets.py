"""Complete recipes: the network, its training and its data, as they were run."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from septet._core import checks
from septet.speech._configuration import NetworkConfig, family
from septet.speech._mixtures import Mixtures
from septet.speech._networks import SASEGANGenerator
from septet.speech._packaged import Packaged
from septet.speech._signal import SAMPLE_RATE
from septet.speech._trainer import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A network, how it is trained, and how its batches are made.

    Attributes
    ----------
    network : NetworkConfig
    training : TrainingConfig
    batch_size : int
        Windows per batch.
    mixing : dict
        Options of `Mixtures`, where speech and noise are mixed on the fly.
    opening : float
        Added to the last layer's bias after training: a mask opened wider leaves more of speech
        and of noise. Chosen on validation.
    """

    network: NetworkConfig
    training: TrainingConfig
    batch_size: int
    mixing: dict[str, Any]
    opening: float = 0.0

    def finished(self, generator: SASEGANGenerator) -> SASEGANGenerator:
        """Return a copy with its mask opened as the recipe says."""
        done = deepcopy(generator)
        if self.opening:
            with torch.no_grad():
                for net in done.nets:
                    assert isinstance(net, nn.Module)
                    net.get_parameter(f"up.{len(done.channels) - 1}.bias").add_(self.opening)
        return done

    def with_steps(self, steps: int | None) -> "Preset":
        """Return the same recipe with another length; None keeps its own."""
        if steps is None:
            return self
        return replace(self, training=replace(self.training, steps=steps))

    def split(self, material: Packaged) -> tuple[Mixtures, Mixtures]:
        """Batches to train with, and batches to validate with out of what those never use.

        The last twentieth of every voice and every twelfth noise are for validation, in windows of
        four seconds.
        """
        first, last = zip(*(voice.split(0.95) for voice in material.voices), strict=True)
        rest = [noise for k, noise in enumerate(material.noises) if k % 12 != 11]
        validation = Mixtures(
            last,
            material.noises[11::12],
            window=4 * SAMPLE_RATE,
            batch_size=1,
            seed=1,
            snr_db=(0.0, 5.0, 10.0, 15.0),
        )
        return self.mixtures(replace(material, voices=first, noises=tuple(rest))), validation

    def mixtures(self, material: Packaged) -> Mixtures:
        """Batches for this recipe out of speech and noise."""
        return Mixtures(
            material.voices,
            material.noises,
            window=self.network.window,
            batch_size=self.batch_size,
            seed=self.training.seed,
            **self.mixing,
        )


def preset(name: str) -> Preset:
    """Return a recipe by name.

    Parameters
    ----------
    name : str
        ``"paper"``: SASEGAN-10 with the published settings. ``"small"``: a relative
        that a laptop can train in an hour, which is the model that comes with the library: the
        outermost strided convolutions are fixed Fourier bases and the U-Net, with attention at its
        deepest layer, draws a mask over their output; a spectral loss beside L1, and no
        discriminator.

    Raises
    ------
    ValueError
        If there is no such recipe.

    Examples
    --------
    >>> preset("paper").training.l1, preset("small").network.output
    (100.0, 'mask')
    """
    checks.choice("preset", name, ("paper", "small"))
    if name == "paper":
        return Preset(
            network=family("sasegan-10"),
            training=TrainingConfig(),
            batch_size=50,
            mixing={"snr_db": (0.0, 5.0, 10.0, 15.0)},
        )
    return Preset(
        network=NetworkConfig(
            attention=(3,),
            channels=(192, 192, 192),
            kernel=5,
            output="mask",
            spectral_norm=False,
            latent="none",
            initialisation="kaiming",
        ),
        training=TrainingConfig(
            steps=5000,
            optimizer="adam",
            lr=1e-3,
            schedule="cosine",
            adversarial=0.0,
            l1=3.0,
            spectral=1.0,
            relative=True,
            clip_norm=5.0,
            average=0.999,
        ),
        batch_size=8,
        opening=1.0,
        mixing={
            "snr_db": tuple(range(-3, 21)),
            "speeds": (1.0, 1.0, 0.8, 0.85, 0.9, 1.1),
            "synthetic": 0.3,
            "varied": True,
            "clean": 0.1,
        },
    )
