"""A stream whose digit changes: how soon an alarm on frozen weights rings, how often in vain."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.spiking import LIF, DriftAlarm, HebbianLayer, HebbianRule

Row = dict[str, Any]
Floats = NDArray[np.float64]

SAMPLES = 10  # of one window of the alarm
DURATION = 350.0
TOTAL_RATE = 1500.0


def change_of_digit(seed: int, windows: int, run_length: float) -> Row:
    """Learn a digit, freeze, calibrate; then watch the same digit, then another one.

    Returns false alarms in `windows` windows of the learned digit, and windows until the alarm for
    each share of foreign digits.
    """
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    shown = np.asarray(X, dtype=np.float64)
    rates = TOTAL_RATE * shown / shown.sum(axis=1, keepdims=True)
    rng = np.random.default_rng([5, seed])
    own, other = rng.choice(10, 2, replace=False)
    mine = rates[y == own]
    layer = HebbianLayer(
        shown.shape[1],
        lif=LIF(tau_s=0.0, threshold=0.3),
        rule=HebbianRule(),
        learning_rate=1.0 / (0.02 * TOTAL_RATE * 500.0),
    )
    layer.learn_poisson(mine[rng.integers(len(mine), size=200)], DURATION, random_state=rng)
    alarm = DriftAlarm(run_length)
    alarm.calibrate([_window(layer, mine, rng) for _ in range(100)])
    false = sum(alarm.update(_window(layer, mine, rng)) for _ in range(windows))
    row = {"digit": int(own), "foreign digit": int(other), "false alarms": false}
    row |= {"windows": windows, "threshold": alarm.threshold_}
    for share in (0.1, 0.3, 1.0):
        row[f"windows until alarm, {share:.0%} foreign"] = _delay(
            alarm, layer, mine, rates[y == other], share, rng
        )
    return row


def _window(layer: HebbianLayer, rows: Floats, rng: np.random.Generator) -> Floats:
    """Promotions of one window of samples."""
    shown = rows[rng.integers(len(rows), size=SAMPLES)]
    return layer.respond_poisson(shown, DURATION, random_state=rng).promoted[0]


def _delay(
    alarm: DriftAlarm,
    layer: HebbianLayer,
    own: Floats,
    other: Floats,
    share: float,
    rng: np.random.Generator,
    most: int = 50,
) -> int:
    for n in range(1, most + 1):
        foreign = rng.random(SAMPLES) < share
        shown = own[rng.integers(len(own), size=SAMPLES)].copy()
        shown[foreign] = other[rng.integers(len(other), size=int(foreign.sum()))]
        if alarm.update(layer.respond_poisson(shown, DURATION, random_state=rng).promoted[0]):
            return n
    return most + 1
