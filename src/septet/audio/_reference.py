"""Plain versions of the front-ends, as their definitions read: the oracles of the fast ones."""

import numpy as np
from numpy.typing import NDArray

from septet.audio._cqt import Atoms
from septet.audio._gammatone import erb_centres, gammatone_response


def cqt_by_definition(
    samples: NDArray[np.float64], atoms: Atoms, hop: int
) -> NDArray[np.complex128]:
    """Return ``Q[k, n] = sum_t x[n hop + t] conj(a_k[t])`` of a clip (n_samples,)."""
    count = samples.size // hop + 1
    margin = int(atoms.lengths[0]) // 2 + 2
    padded = np.pad(samples, margin)
    table = np.empty((atoms.lengths.size, count), np.complex128)
    for k in range(atoms.lengths.size):
        first, stop = atoms.support(k)
        atom = atoms.atom(k).conj()
        for n in range(count):
            begin = n * hop + first + margin
            table[k, n] = padded[begin : begin + stop - first] @ atom
    return table


def gammatone_energy_by_definition(
    samples: NDArray[np.float64],
    sample_rate: int,
    n_bands: int,
    *,
    window_length: int,
    hop: int,
    fmin: float = 50.0,
) -> NDArray[np.float64]:
    """Return the root mean square (bands, frames) of each filtered clip in windows inside it."""
    centres = erb_centres(sample_rate, n_bands, fmin=fmin)
    length = samples.size + sample_rate  # a second is longer than any of the responses
    frequencies = np.arange(length // 2 + 1) * (sample_rate / length)
    spectrum = np.fft.rfft(samples, length)
    outputs = np.fft.irfft(
        spectrum * gammatone_response(centres, frequencies, sample_rate), length
    )[:, : samples.size]
    starts = range(0, samples.size - window_length + 1, hop)
    windows = [np.mean(outputs[:, s : s + window_length] ** 2, axis=1) for s in starts]
    return np.sqrt(np.stack(windows, axis=1))
