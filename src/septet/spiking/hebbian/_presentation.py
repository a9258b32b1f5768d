"""Samples as Poisson rates, their seeds, and presenting many of them to frozen weights."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, issparse

from septet.spiking.hebbian._poisson import MIX_1, MIX_2, STEP
from septet.spiking.hebbian._rule import HebbianRule
from septet.spiking.hebbian._state import Plan, Recent, State, Tally, Watch
from septet.spiking.hebbian._theory import weak_coupling_promotions

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


def normalised(rows: Any, norm: str) -> Floats:
    """Rows as a dense array, divided by their norm; rows of zeros stay."""
    dense = rows.toarray() if issparse(rows) else np.array(rows)
    if norm == "none":
        return dense
    length = np.linalg.norm(dense, ord=1 if norm == "l1" else 2, axis=1, keepdims=True)
    return np.divide(dense, length, where=length > 0, out=np.zeros_like(dense))


def on_off(rows: Any) -> Any:
    """Two columns for each: all parts above 0, then all parts below 0, with their sign turned."""
    if issparse(rows):
        return csr_array(hstack([rows.maximum(0), (-rows).maximum(0)]))
    return np.hstack([np.maximum(rows, 0.0), np.maximum(-rows, 0.0)])


def joined(values: Floats, signed: bool) -> Floats:
    """Values of inputs (n, n_inputs) as values of features: ON less OFF."""
    if not signed:
        return values
    on, off = np.hsplit(values, 2)
    return on - off


def potential(rates: Floats, weights: Floats, tau_m: float) -> float:
    """Mean over samples of the largest mean-field potential of a neuron; rates in Hz."""
    return float((rates @ weights.T).max(axis=1).mean() * tau_m / 1000.0)


def promotion_size(rates: Floats, rule: HebbianRule, order: int) -> float:
    """Mean norm of the promotions of an output spike, for weak coupling; rates in Hz."""
    if rule.promotion == "trigger":
        return 1.0
    hebbian = HebbianRule(promotion=rule.promotion, tau_plus=rule.tau_plus, window=rule.window)
    promoted = weak_coupling_promotions(rates, hebbian)
    return float(np.linalg.norm(promoted, ord=order, axis=1).mean())


def content_seeds(rates: Floats, seed: int) -> NDArray[np.uint64]:
    """One seed a row, from its content and `seed` alone; zeros do not count."""
    bits = np.ascontiguousarray(rates + 0.0).view(np.uint64)  # no zero keeps a sign
    place = np.arange(1, rates.shape[1] + 1, dtype=np.uint64) * np.uint64(STEP)
    mixed = _mix(bits ^ place)
    mixed[bits == 0] = 0
    return _mix(mixed.sum(axis=1, dtype=np.uint64) + np.uint64(seed))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(MIX_1)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(MIX_2)
    return value ^ (value >> np.uint64(31))


def respond(
    run: Any,
    rates: Floats,
    seeds: NDArray[np.uint64],
    duration: float,
    plan: Plan,
    weights: Floats,
    bias: Floats,
) -> tuple[Floats, Ints]:
    """Present rows of rates to frozen weights; return net promotions (n, n_inputs), outputs (n,).

    `run` is the loop of either backend. It lets go of the interpreter where it is compiled, so that
    threads may each take some of the rows.
    """
    state = State.at_rest(weights)
    state.bias[:] = bias
    watch = Watch.empty(weights, 0, watched=False)
    net, outputs = np.zeros(rates.shape), np.zeros(len(rates), np.int64)
    for i, (row, seed) in enumerate(zip(rates, seeds, strict=True)):
        state.rest()
        tally = Tally.empty(row.size, len(weights), 1)
        run(row, int(seed), duration, plan, state, tally, watch, Recent.none())
        net[i] = tally.promoted[:, 0] - tally.demoted[:, 0]
        outputs[i] = tally.outputs.sum()
    return net, outputs


def refuse_bad_entries(rows: Any, name: str, *, signed: bool) -> None:
    """Raise for the first entry that is not finite or, unless `signed`, negative."""
    values = rows.data if issparse(rows) else rows
    bad = ~np.isfinite(values)
    if bad.any():
        row, column, value = _first(rows, bad)
        word = "NaN" if np.isnan(value) else "inf"
        raise ValueError(
            f"Input X contains {word}: X[{row}, {column}] = {value} ({int(bad.sum())} entries are "
            "not finite)."
        )
    bad = values < 0
    if bad.any() and not signed:
        row, column, value = _first(rows, bad)
        raise ValueError(
            f"Negative values in data passed to {name}: X[{row}, {column}] = {value:g} "
            f"({int(bad.sum())} such entries). Features are rates; signed=True gives every one an "
            "ON and an OFF input."
        )


def _first(rows: Any, bad: NDArray[np.bool_]) -> tuple[int, int, float]:
    if issparse(rows):
        place = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(rows.indptr, place, "right")) - 1
        return row, int(rows.indices[place]), float(rows.data[place])
    row, column = np.argwhere(bad)[0]
    return int(row), int(column), float(rows[row, column])
