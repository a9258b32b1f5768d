"""What a decision rests on: the share of each view in the joint branch's choice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from septet.audio._network import JOINT


@dataclass(frozen=True)
class Decision:
    """One clip's label and what spoke for it.

    Attributes
    ----------
    label : object
        What the joint branch decides.
    confidence : float
        Its probability.
    trusted : str
        The view that contributed most.
    contributions : mapping from str to float
        How much each view raises the joint logit of the label above the mean of the other
        classes. They and a constant of the model sum to that margin.
    labels : mapping from str to object
        What every branch, and ``"ensemble"``, decides.
    """

    label: Any
    confidence: float
    trusted: str
    contributions: Mapping[str, float]
    labels: Mapping[str, Any]


def decisions(
    classes: NDArray[Any],
    views: tuple[str, ...],
    owner: NDArray[np.int64],
    logits: Mapping[str, Tensor],
    parts: NDArray[np.float64],
) -> list[Decision]:
    """Return a decision for every clip.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    views : tuple of str
    owner : ndarray of shape (n_segments,)
        Clip of each segment, ascending.
    logits : mapping from str to Tensor of shape (n_segments, n_classes)
    parts : ndarray of shape (n_segments, n_views, n_classes)
        See :meth:`MultiViewNet.contributions`.
    """
    _, place = np.unique(owner, return_inverse=True)
    counts = np.bincount(place)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros((len(counts), *values.shape[1:]))
        np.add.at(total, place, values)
        return total / counts.reshape(-1, *[1] * (values.ndim - 1))

    logs = {name: mean(part.double().log_softmax(1).numpy()) for name, part in logits.items()}
    probabilities = {name: np.exp(part) for name, part in logs.items()}
    probabilities = {n: p / p.sum(axis=1, keepdims=True) for n, p in probabilities.items()}
    together = np.mean(list(probabilities.values()), axis=0)
    choices = {
        name: p.argmax(axis=1) for name, p in (probabilities | {"ensemble": together}).items()
    }
    shares = mean(parts) * len(classes) / (len(classes) - 1)
    result = []
    for clip, chosen in enumerate(choices[JOINT]):
        share = shares[clip, :, chosen]
        result.append(
            Decision(
                label=classes[chosen].item(),
                confidence=float(probabilities[JOINT][clip, chosen]),
                trusted=views[int(share.argmax())],
                contributions=dict(zip(views, share.tolist(), strict=True)),
                labels={name: classes[c[clip]].item() for name, c in choices.items()},
            )
        )
    return result
