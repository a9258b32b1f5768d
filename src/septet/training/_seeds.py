"""Every random stream of a run, from one seed."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from septet._core.checks import integer
from septet._core.errors import CheckpointError


def derive_seed(seed: int, *path: str | int) -> int:
    """Return the seed of the stream called `path`: independent of all others, stable for good.

    Parameters
    ----------
    seed : int
        The run's seed, not negative.
    *path : str or int
        The stream's name, such as ``"dropout", 3``.

    Returns
    -------
    int
        In [0, 2**63): the leading bits of a SHA-256.

    Examples
    --------
    >>> derive_seed(0, "epoch", 1) != derive_seed(0, "epoch", 2)
    True
    """
    text = repr((integer("seed", seed, low=0), *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Generators:
    """Named torch and numpy generators of one seed, saved and restored together.

    Each is made when first asked for and is the same object from then on. Which others exist, and
    in which order they were made, does not change what it draws.

    Parameters
    ----------
    seed : int
        Not negative.

    Attributes
    ----------
    seed : int
        The seed given.

    Examples
    --------
    >>> generators = Generators(7)
    >>> saved = generators.state_dict()
    >>> first = torch.rand(2, generator=generators.torch("noise"))
    >>> generators.load_state_dict(saved)
    >>> bool((torch.rand(2, generator=generators.torch("noise")) == first).all())
    True
    """

    def __init__(self, seed: int) -> None:
        self.seed = integer("seed", seed, low=0)
        self._torch: dict[str, torch.Generator] = {}
        self._numpy: dict[str, np.random.Generator] = {}

    def torch(self, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        """Return the torch generator called `name`; `device` counts when it is first asked for."""
        if name not in self._torch:
            made = torch.Generator(device)
            self._torch[name] = made.manual_seed(derive_seed(self.seed, "torch", name))
        return self._torch[name]

    def numpy(self, name: str) -> np.random.Generator:
        """Return the numpy generator called `name`."""
        if name not in self._numpy:
            self._numpy[name] = np.random.default_rng(derive_seed(self.seed, "numpy", name))
        return self._numpy[name]

    def state_dict(self) -> dict[str, Any]:
        """Return the seed and the state of every generator made so far."""
        return {
            "seed": self.seed,
            "torch": {
                name: {"device": made.device.type, "state": made.get_state()}
                for name, made in sorted(self._torch.items())
            },
            "numpy": {name: made.bit_generator.state for name, made in sorted(self._numpy.items())},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put every generator into its saved state; those not yet made then start anew.

        Raises
        ------
        CheckpointError
            If the state belongs to another seed.
        """
        if state["seed"] != self.seed:
            raise CheckpointError(
                f"the generators were saved with seed {state['seed']}; this run has {self.seed}."
            )
        for name, made in self._torch.items():
            made.manual_seed(derive_seed(self.seed, "torch", name))
        for name, made in self._numpy.items():
            fresh = np.random.default_rng(derive_seed(self.seed, "numpy", name))
            made.bit_generator.state = fresh.bit_generator.state
        for name, saved in state["torch"].items():
            self.torch(name, saved["device"]).set_state(saved["state"])
        for name, saved in state["numpy"].items():
            self.numpy(name).bit_generator.state = saved


class SampleOrder:
    """The order in which samples are seen: each epoch a new permutation, a function of the seed.

    Position ``p`` of the endless stream belongs to epoch ``p // n_samples``, so a run can resume
    anywhere without saving anything, and eight micro-batches of one sample see the same samples as
    one batch of eight. A batch may straddle two epochs; none is dropped.

    Parameters
    ----------
    n_samples : int
        At least 1.
    seed : int
        Not negative.
    shuffle : bool, default True
        If false every epoch is in the order 0, 1, ....

    Examples
    --------
    >>> order = SampleOrder(5, seed=0)
    >>> sorted(int(i) for i in order.take(0, 5))
    [0, 1, 2, 3, 4]
    >>> bool((order.take(3, 4)[2:] == order.take(5, 2)).all())
    True
    """

    def __init__(self, n_samples: int, *, seed: int, shuffle: bool = True) -> None:
        self.n_samples = integer("n_samples", n_samples, low=1)
        self.seed = integer("seed", seed, low=0)
        self.shuffle = shuffle
        self._last: tuple[int, NDArray[np.int64]] | None = None

    def epoch(self, number: int) -> NDArray[np.int64]:
        """Return the order of epoch `number` (from 0): a permutation of all samples."""
        if self._last is None or self._last[0] != number:
            order = np.arange(self.n_samples)
            if self.shuffle:
                np.random.default_rng(derive_seed(self.seed, "epoch", number)).shuffle(order)
            order.flags.writeable = False
            self._last = number, order
        return self._last[1]

    def take(self, start: int, count: int) -> NDArray[np.int64]:
        """Return the samples at positions ``start ... start + count - 1`` of the stream."""
        parts = []
        while count > 0:
            number, offset = divmod(start, self.n_samples)
            part = self.epoch(number)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)


@contextmanager
def seeded(seed: int | None, *path: str | int) -> Iterator[None]:
    """Lend torch's global generators to the stream `path`; afterwards they are as before.

    For modules such as ``nn.Dropout`` that draw from nothing else. With ``seed=None`` nothing is
    done.
    """
    if seed is None:
        yield
        return
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(cuda):
        torch.manual_seed(derive_seed(seed, *path))
        yield
