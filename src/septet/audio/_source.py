"""Views of segments by number: computed on the fly, or once and kept in memory or on disk."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet._core.files import PathLike, replacing
from septet.audio._stack import ViewStack

_BATCH = 64


class ViewSource:
    """Views of a set of segments.

    Parameters
    ----------
    stack : ViewStack
        On the device that views are wanted on.
    samples : ndarray of shape (n_segments, n_samples), float32
    keep : bool
        Whether images are computed once (float16) and kept; waveforms never are.
    folder : path-like, optional
        Keep them there in memory-mapped files, named after the samples and the front-ends.
    """

    def __init__(
        self,
        stack: ViewStack,
        samples: NDArray[np.float32],
        *,
        keep: bool,
        folder: PathLike | None = None,
    ) -> None:
        self.stack = stack
        self.samples = torch.from_numpy(samples)
        self.device = next(stack.buffers()).device if list(stack.buffers()) else None
        self._kept: dict[str, NDArray[np.float16]] = {}
        if keep:
            self._keep(None if folder is None else Path(folder))

    def __len__(self) -> int:
        return len(self.samples)

    def clips(self, indices: NDArray[np.int64]) -> Tensor:
        """Return segments (batch, n_samples) on the device."""
        return self.samples[torch.from_numpy(indices)].to(self.device)

    def raw(self, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the views of segments before normalisation."""
        if not self._kept:
            return self.stack.raw(self.clips(indices))
        result = {}
        for name, view in self.stack.views.items():
            if name in self._kept:
                part = torch.from_numpy(self._kept[name][indices])
                result[name] = part.to(self.device, torch.float32)
            else:
                result[name] = view(self.clips(indices))
        return result

    def views(self, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the normalised views of segments."""
        return self.stack.normalize(self.raw(indices))

    def fit(self, indices: NDArray[np.int64]) -> None:
        """Set the normalisation from segments: those of the training split."""
        self.stack.fit_views(self.raw(part) for part in batches(indices))

    @torch.no_grad()
    def _keep(self, folder: Path | None) -> None:
        every = np.arange(len(self.samples))
        shapes = {
            name: view.shape[1:] for name, view in self.raw(every[:1]).items() if view.ndim == 4
        }
        if not shapes:
            return
        if folder is None:
            tables = {n: np.empty((len(every), *s), np.float16) for n, s in shapes.items()}
            self._fill(tables)
            self._kept = tables
            return
        folder.mkdir(parents=True, exist_ok=True)
        paths = {name: folder / f"{name}-{self._digest(name)}.npy" for name in shapes}
        if not all(path.exists() for path in paths.values()):
            tables = {n: np.empty((len(every), *s), np.float16) for n, s in shapes.items()}
            self._fill(tables)
            for name, path in paths.items():
                with replacing(path) as file:
                    np.save(file, tables[name])
        self._kept = {name: np.load(path, mmap_mode="r") for name, path in paths.items()}

    def _fill(self, tables: dict[str, NDArray[np.float16]]) -> None:
        for part in batches(np.arange(len(self.samples))):
            for name, view in self.stack.raw(self.clips(part)).items():
                if name in tables:
                    tables[name][part] = view.cpu().numpy()

    def _digest(self, name: str) -> str:
        digest = hashlib.sha256(repr(self.stack.views[name]).encode())
        for buffer in self.stack.views[name].buffers():
            digest.update(buffer.cpu().numpy().tobytes())
        digest.update(str(tuple(self.samples.shape)).encode())
        digest.update(self.samples.numpy().data)
        return digest.hexdigest()[:24]


def batches(indices: NDArray[np.int64], size: int = _BATCH) -> Iterator[NDArray[np.int64]]:
    """Yield the indices in parts of a size."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
