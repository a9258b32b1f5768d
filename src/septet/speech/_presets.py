"""Complete recipes: the network, its training and its data, as they were run."""

from dataclasses import dataclass, replace
from typing import Any

from septet._core import checks
from septet.speech._configuration import NetworkConfig, family
from septet.speech._mixtures import Mixtures
from septet.speech._packaged import Packaged
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
    """

    network: NetworkConfig
    training: TrainingConfig
    batch_size: int
    mixing: dict[str, Any]

    def with_steps(self, steps: int | None) -> "Preset":
        """Return the same recipe with another length; None keeps its own."""
        if steps is None:
            return self
        return replace(self, training=replace(self.training, steps=steps))

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
        ``"paper"``: SASEGAN-10 with the published settings. ``"small"``: a member of the
        family that can be trained on a laptop: stride 4, attention at layer 4, the noise estimated
        instead of the speech, a spectral loss beside L1, and no discriminator.

    Raises
    ------
    ValueError
        If there is no such recipe.

    Examples
    --------
    >>> preset("paper").training.l1, preset("small").network.stride
    (100.0, 4)
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
            attention=(4,),
            channels=(16, 32, 64, 96, 128),
            stride=4,
            output="residual",
            spectral_norm=False,
            latent="none",
            initialisation="kaiming",
        ),
        training=TrainingConfig(
            steps=1800,
            optimizer="adam",
            lr=1e-3,
            schedule="cosine",
            adversarial=0.0,
            l1=20.0,
            spectral=1.0,
            relative=True,
            clip_norm=5.0,
            average=0.995,
        ),
        batch_size=4,
        mixing={
            "snr_db": tuple(range(-3, 21)),
            "speeds": (1.0, 1.0, 0.9, 1.1),
            "synthetic": 0.3,
            "varied": True,
            "clean": 0.1,
        },
    )
