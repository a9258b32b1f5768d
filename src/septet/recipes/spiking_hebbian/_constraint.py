"""Weights against promotions: learned by one run, promotions measured on frozen weights by others.

On the very events that taught the weights the constraint holds by construction, whatever the rule.
So promotions are measured again with the weights frozen at their mean and on fresh trains. Two
replicas of everything give the size of what is left: the product of their residuals has no share of
noise, as the noise of one knows nothing of the other's.

On the teaching events, noise has one source: the weights end elsewhere than they began. By how much
that moves the residual, the identity says, and so much is taken away. It shrinks as the run gets
longer, but small learning rates would need runs of millions of spikes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.recipes.spiking_hebbian._convergence import neuron, rates
from septet.spiking import (
    ConvergenceMonitor,
    HebbianLayer,
    HebbianRule,
    SpikeBatch,
    stdp_constraint,
)

Row = dict[str, Any]
Floats = NDArray[np.float64]

INPUTS = 100
HEBBIAN = ("binary", "count", "trace", "nearest")
PATTERN = 5000.0  # ms that are presented at a time


def hebbian(promotion: str, learning_rate: float, n_spikes: int) -> Row:
    """Residual of a Hebbian rule at one learning rate."""
    rule = HebbianRule(promotion=promotion)
    pairs, trained = [], []
    for replica in range(2):
        mean, taught, spread, facts = learned(rule, learning_rate, n_spikes, replica)
        frozen, _ = promoted(rule, mean, n_spikes, replica)
        up = np.array(facts["up"])
        trained.append(float(np.abs(mean + facts["way"] - up / up.sum()).sum()))
        pairs.append((mean, frozen / frozen.sum(), taught - facts["way"], spread))
    return {
        "rule": promotion,
        "learning rate": learning_rate,
        "same events": float(np.mean(trained)),
        "same events, exact form": float(np.mean([np.abs(m - t).sum() for m, _, t, _ in pairs])),
        **_sizes([m - f for m, f, _, _ in pairs]),
        "sd(w) / w": float(np.mean([s for *_, s in pairs])),
    }


def approach(memory: float = 400.0, samples: int = 80) -> Row:
    """Weights of some inputs on their way, and the shares of promotions that they settle at.

    `memory` is in output spikes; every sample is half a second, some forty of them.
    """
    rule = HebbianRule()
    shown = rates(INPUTS, np.random.default_rng(0))
    layer = HebbianLayer(
        INPUTS, lif=neuron(), rule=rule, learning_rate=1.0 / (memory * shown.sum() * 0.020)
    )
    rng = np.random.default_rng(2)
    some = np.argsort(shown)[:: INPUTS // 8]
    curves, spikes, promotions = [layer.weights[0, some].tolist()], [0], np.zeros(INPUTS)
    for sample in range(samples):
        run = layer.learn_poisson(shown, 500.0, carry=True, statistics=True, random_state=rng)
        curves.append(layer.weights[0, some].tolist())
        spikes.append(spikes[-1] + run.spikes.n_spikes)
        if sample >= samples // 2:
            promotions += run.promoted[0]
    shares = promotions / promotions.sum()
    return {"spikes": spikes, "weights": curves, "shares": shares[some].tolist()}


def _sizes(residuals: list[Floats]) -> Row:
    """How large a residual is that was measured twice, with and without noise."""
    a, b = residuals
    return {
        "frozen, fresh": float(0.5 * (np.abs(a).sum() + np.abs(b).sum())),
        "noise of it": float(np.abs(a - b).sum() / np.sqrt(2.0)),
        "without noise (L2)": float(np.sqrt(max(float(a @ b), 0.0))),
    }


def learned(
    rule: HebbianRule, learning_rate: float, n_spikes: int, replica: int
) -> tuple[Floats, Floats, float, Row]:
    """Learn until there are `n_spikes` after a start-up.

    Returns the mean weights, the shares of what was applied at the same events, the relative spread
    of the weights, and facts: promotions and demotions per spike, and the way that the weights have
    gone over the length of the run in memories.
    """
    layer = HebbianLayer(INPUTS, lif=neuron(), rule=rule, learning_rate=learning_rate)
    shown = rates(INPUTS, np.random.default_rng(0))
    rng = np.random.default_rng([1, replica])
    burn_in = 10.0 / (learning_rate * 30.0)  # memories, if about 30 are promoted net per spike
    seen = 0
    while seen < burn_in:
        seen += layer.learn_poisson(shown, PATTERN, carry=True, random_state=rng).spikes.n_spikes
    monitor, start = ConvergenceMonitor(consecutive=10**9), layer.weights[0]
    up, down = np.zeros(INPUTS), np.zeros(INPUTS)
    spikes = clipped = 0
    while spikes < n_spikes:
        run = layer.learn_poisson(
            shown, PATTERN, carry=True, monitor=monitor, statistics=True, random_state=rng
        )
        up, down = up + run.promoted[0], down + run.demoted[0]
        spikes += run.spikes.n_spikes
        clipped += int(run.clipped.sum())
    parts = [
        (w.events, w.mean_weights, w.mean_weights - w.residual, w.spread**2)
        for w in monitor.windows
    ]
    rest = monitor._watch  # the window that is still open
    if rest is not None and rest.events[0] > 0:
        n = int(rest.events[0])
        open_mean = rest.w1[0] / n
        variance = np.maximum(rest.w2[0] / n - open_mean**2, 0.0)
        parts.append((n, open_mean, rest.gd[0] / rest.gD[0], variance))
    counts, *columns = zip(*parts, strict=True)
    mean, taught, within = (np.average(rows, axis=0, weights=counts) for rows in columns)
    facts = {"up": (up / spikes).tolist(), "down": (down / spikes).tolist()}
    facts["clipped per spike"] = clipped / spikes
    # a memory is 1 / (rate D); the identity weighs events by g D with g = 1 / (1 + rate D)
    length = sum(w.memories / (1.0 + w.memories / w.events) for w in monitor.windows)
    length += learning_rate * float(rest.gD[0]) if rest is not None else 0.0
    facts["way"] = (layer.weights[0] - start) / length
    return mean, taught, float(np.mean(np.sqrt(within) / np.maximum(mean, 1e-12))), facts


def promoted(
    rule: HebbianRule, weights: Floats, n_spikes: int, replica: int
) -> tuple[Floats, Floats]:
    """Mean promotion and demotion per output spike, of frozen weights on fresh trains."""
    layer = HebbianLayer(INPUTS, lif=neuron(), rule=rule, learning_rate=0.0, weights=weights)
    shown = rates(INPUTS, np.random.default_rng(0))
    rng = np.random.default_rng([2, replica])
    up, down, spikes = np.zeros(INPUTS), np.zeros(INPUTS), 0
    while spikes < n_spikes:
        run = layer.respond_poisson(shown, PATTERN, carry=True, random_state=rng)
        up, down = up + run.promoted[0], down + run.demoted[0]
        spikes += run.spikes.n_spikes
    return up / spikes, down / spikes


def stdp(depression: float, learning_rate: float, n_spikes: int) -> Row:
    """Residual of STDP by three forms of the constraint."""
    rule = HebbianRule(depression=depression)
    nominal, applied, frozen, active = [], [], [], []
    facts: Row = {}
    for replica in range(2):
        mean, taught, _, facts = learned(rule, learning_rate, n_spikes, replica)
        up, down = np.array(facts["up"]), np.array(facts["down"])
        rested = mean + facts["way"]
        nominal.append(float(np.abs(rested - (up - down) / (up - down).sum()).sum()))
        active.append(float(np.abs(rested - stdp_constraint(up, down)).sum()))
        applied.append(float(np.abs(rested - taught).sum()))
        up, down = promoted(rule, mean, n_spikes, replica)
        frozen.append(mean - stdp_constraint(up, down))
    return {
        "depression": depression,
        "learning rate": learning_rate,
        "clipped per spike": facts["clipped per spike"],
        "nominal": float(np.mean(nominal)),
        "active set": float(np.mean(active)),
        "applied": float(np.mean(applied)),
        **_sizes(frozen),
    }


def pinned(n_patterns: int) -> Row:
    """Half of the inputs lead a recurring pattern, half lag by 5 ms and are pinned at 0."""
    rng = np.random.default_rng(3)
    n, period = 40, 100.0
    rule = HebbianRule(depression=0.8)
    layer = HebbianLayer(n, lif=neuron(0.3), rule=rule, learning_rate=2e-4)
    up, down, spikes = np.zeros(n), np.zeros(n), 0
    for part in range(2):  # the first lets the weights settle
        pairs = []
        for _ in range(n_patterns):
            times = 40.0 + rng.normal(0.0, 1.0, n)
            times[n // 2 :] += 5.0
            order = np.argsort(times)
            pairs.append((times[order], order))
        batch = SpikeBatch.from_pairs(pairs, n_units=n, duration=period)
        run = layer.learn(batch, carry=True, statistics=True)
        if part:
            up, down, spikes = run.promoted[0], run.demoted[0], run.spikes.n_spikes
    w = layer.weights[0]
    net = (up - down) / spikes
    return {
        "leading": float(w[: n // 2].mean()),
        "lagging": float(w[n // 2 :].mean()),
        "error, active set": float(np.abs(w - stdp_constraint(up, down)).sum()),
        "error, difference": float(np.abs(w - net / net.sum()).sum()),
    }
