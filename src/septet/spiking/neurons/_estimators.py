"""What every estimator that learns from spikes checks at its door."""

from typing import Any

from septet.spiking.neurons._batch import SpikeBatch
from septet.spiking.neurons._lif import LIF


def neuron(lif: LIF | None) -> LIF:
    """Return the neuron that a parameter `lif` means: None is the default one."""
    if lif is None:
        return LIF()
    if not isinstance(lif, LIF):
        raise TypeError(f"lif must be a LIF or None; got {type(lif).__name__}.")
    return lif


def check_spikes(estimator: Any, X: Any, *, fitted: bool = True) -> SpikeBatch:
    """Return `X` if it is a batch, of the units that a `fitted` estimator knows.

    Other numbers of units are refused in the words of scikit-learn.
    """
    if not isinstance(X, SpikeBatch):
        raise TypeError(f"X must be a SpikeBatch; got {type(X).__name__}.")
    if fitted and X.n_units != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.n_units} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    return X
