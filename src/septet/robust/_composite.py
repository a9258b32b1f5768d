"""Digits on photographs: a small image task with a background that goes with the class."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from septet import data
from septet._core import checks
from septet._core.random import RandomState, generator
from septet.data import Images, Provenance

_SIDE = 28
# Vertical strips of the photographs for train, validation and test, as parts of the width.
_STRIPS = ((0.0, 0.6), (0.6, 0.8), (0.8, 1.0))


@dataclass(frozen=True)
class GroupedImages:
    """Images with a class and an attribute that goes with it more or less.

    Attributes
    ----------
    images : ndarray of shape (n, 3, 28, 28), float32
        Red, green and blue from 0 to 1.
    y : ndarray of shape (n,), int64
        1 for the digits from 5 on.
    place : ndarray of shape (n,), int64
        Background: 0 temple, 1 flower.
    digits : ndarray of shape (n,), int64
        The digit drawn.
    provenance : tuple of Provenance
        Which bytes digits and photographs were read from.
    """

    images: NDArray[np.float32]
    y: NDArray[np.int64]
    place: NDArray[np.int64]
    digits: NDArray[np.int64]
    provenance: tuple[Provenance, ...]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class DigitsOnPhotographs:
    """The three parts of the task; made by `digits_on_photographs`.

    Attributes
    ----------
    train, validation, test : GroupedImages
        Background and class go together in `train` only.
    """

    train: GroupedImages
    validation: GroupedImages
    test: GroupedImages


def digits_on_photographs(
    *,
    n_train: int = 3000,
    n_validation: int = 800,
    n_test: int = 1200,
    agreement: float = 0.95,
    digits: Literal["mnist-5k", "digits"] = "mnist-5k",
    random_state: RandomState = None,
) -> DigitsOnPhotographs:
    """Draw a handwritten digit onto crops of two photographs; the class is whether it is 5 or more.

    In the training part the background agrees with the class as often as `agreement` says, in the
    other parts it is independent of it. Digits and strips of the photographs of the three parts are
    disjoint.

    Parameters
    ----------
    n_train, n_validation, n_test : int
        Rows of the parts.
    agreement : float, default 0.95
        Chance that the background is that of the class in training.
    digits : {"mnist-5k", "digits"}, default "mnist-5k"
        Data set of the digits; ``"digits"`` comes with scikit-learn and has 1 797.
    random_state : int, numpy.random.Generator or None, default None
        Source of every choice.

    Returns
    -------
    DigitsOnPhotographs
        The three parts.

    Raises
    ------
    ValueError
        If there are not enough digits.
    DataError
        If a data set is not here; the message ends with the command that fetches it.

    Notes
    -----
    The ink is light on a crop of mean luminance below one half and dark on others.

    Examples
    --------
    >>> parts = digits_on_photographs(
    ...     n_train=200, n_validation=20, n_test=20, digits="digits", random_state=0
    ... )
    >>> parts.train.images.shape, float((parts.train.y == parts.train.place).mean()) > 0.9
    ((200, 3, 28, 28), True)
    """
    checks.choice("digits", digits, ["mnist-5k", "digits"])
    checks.number("agreement", agreement, low=0, high=1)
    sizes = [
        checks.integer(name, size, low=1)
        for name, size in (("n_train", n_train), ("n_validation", n_validation), ("n_test", n_test))
    ]
    rng = generator(random_state)
    drawn, pictures = data.load(digits), data.load("photographs")
    if sum(sizes) > len(drawn):
        raise ValueError(f"{sum(sizes)} digits are needed; {digits} has {len(drawn)}.")
    photographs = [pictures.images[name] / 255.0 for name in ("temple", "flower")]
    masks = _masks(drawn)
    order = rng.permutation(len(drawn))
    parts, start = [], 0
    for size, strip, chance in zip(sizes, _STRIPS, (agreement, 0.5, 0.5), strict=True):
        rows = order[start : start + size]
        start += size
        y = (drawn.labels[rows] >= 5).astype(np.int64)
        place = np.where(rng.random(size) < chance, y, 1 - y)
        images = np.stack(
            [
                _compose(masks[row], photographs[where], strip, rng)
                for row, where in zip(rows, place, strict=True)
            ]
        )
        found = (drawn.provenance, pictures.provenance)
        parts.append(GroupedImages(images, y, place, drawn.labels[rows], found))
    return DigitsOnPhotographs(*parts)


def _masks(drawn: Images) -> NDArray[np.float64]:
    """Opacity of the ink, 28 by 28: small images are enlarged threefold and framed."""
    masks = drawn.images / drawn.images.max()
    if masks.shape[1] == _SIDE:
        return masks
    times = _SIDE // masks.shape[1]
    frame = (_SIDE - times * masks.shape[1]) // 2
    large = masks.repeat(times, axis=1).repeat(times, axis=2)
    return np.pad(large, ((0, 0), (frame, frame), (frame, frame)))


def _compose(
    mask: NDArray[np.float64],
    photograph: NDArray[np.float64],
    strip: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Put grey ink on a random crop of a strip."""
    height, width, _ = photograph.shape
    left, right = (round(part * width) for part in strip)
    top = rng.integers(0, height - _SIDE + 1)
    side = rng.integers(left, right - _SIDE + 1)
    crop = photograph[top : top + _SIDE, side : side + _SIDE]
    ink = rng.uniform(0.7, 1.0) if crop.mean() < 0.5 else rng.uniform(0.0, 0.3)
    image = crop * (1 - mask[..., None]) + ink * mask[..., None]
    return image.transpose(2, 0, 1).astype(np.float32)
