"""An independent statement of the method in NumPy: one tensor, loops where loops are clearest."""

from itertools import product

import numpy as np


def subsets(shape, subset):
    """Label of the subset of each coordinate, as an array of `shape`."""
    size = int(np.prod(shape))
    if subset == "tensor":
        return np.zeros(shape, int)
    if isinstance(subset, int):
        block = subset if subset > 0 else max(1, int(np.sqrt(size) / -subset))
        return np.arange(size).reshape(shape) // block
    if subset is None or len(shape) < 2:
        return np.arange(size).reshape(shape)
    if len(shape) >= 4:
        matrix = (shape[0], size // shape[0])
        return subsets(matrix, "matrix").reshape(shape)
    labels = np.empty(shape, int)
    *batch, m, n = shape
    for where in product(*map(range, batch)):
        base = np.ravel_multi_index(where, batch) * max(m, n) if batch else 0
        for i, j in product(range(m), range(n)):
            labels[(*where, i, j)] = base + (i if m >= n else j)
    return labels


def run(gradients, options, projector=None, start=None):
    """Weights after all steps.

    `projector(t)` gives the d x d projection matrix of step t (None: momentum everywhere), and
    `resets` are the steps at which momentum is zeroed first.
    """
    w = np.zeros_like(gradients[0]) if start is None else start.copy()
    labels = subsets(w.shape, options["subset"]).ravel()
    count = labels.max() + 1
    sizes = np.bincount(labels)
    v, top, m = np.zeros(count), np.zeros(count), np.zeros(w.size)
    beta1, beta2 = options["betas"]
    for t, gradient in enumerate(gradients, 1):
        g = (-gradient if options["maximize"] else gradient).ravel()
        pi = np.eye(w.size) if projector is None else projector(t)
        if t in options.get("resets", ()):
            m[:] = 0
        m = beta1 * m + (1 - beta1) * (pi @ g)
        c1 = 1 - beta1**t if options["debias"] else 1
        c2 = 1 - beta2**t if options["debias"] and options["second_moment"] == "ema" else 1
        u = g if options["momentum"] is None else m / c1 + g - pi @ g
        squares = np.bincount(labels, g * g, count)
        if options["reduction"] == "mean":
            squares /= sizes
        if options["second_moment"] == "sum":
            v += squares
        else:
            v = beta2 * v + (1 - beta2) * squares
        top = np.maximum(top, v) if options["amsgrad"] else v
        d = np.sqrt(top / c2) + options["eps"] if options["second_moment"] else np.ones(count)
        w = w * (1 - options["lr"] * options["weight_decay"])
        w = w - options["lr"] * (u / d[labels]).reshape(w.shape)
    return w
