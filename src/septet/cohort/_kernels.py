"""The compiled kernels; `_twins` says in plain Python what each of them does.

Importing this module needs numba (extra ``fast``). All kernels release the interpreter lock.
"""

import numpy as np

from septet._core.compiled import njit

_jit, _within = njit(nogil=True), njit(nogil=True, inline="always")

_HALF = np.uint64(2**32 - 1)
_LIMB = np.int64(2**31 - 1)


@_jit
def count_between(z, low, high):
    inside, total, ones = 0, 0, 0
    for value in z:
        live = (value > low) & (value < high)
        inside += live
        total += value * live
        ones += value >= high
    return inside, total, ones


@_jit
def clip_count(s, shift):
    inside, ones, total, lost = 0, 0, 0.0, 0.0
    for value in s:
        moved = value + shift
        if moved >= 1:
            ones += 1
        elif moved > 0:
            inside += 1
            fresh = total + value  # Neumaier's sum: scores are never negative
            lost += (total - fresh) + value if total >= value else (value - fresh) + total
            total = fresh
    return inside, total + lost, ones


@_jit
def affine_clip(z, factor, offset, top, out):
    for i in range(z.size):
        out[i] = min(max(factor * z[i] + offset, 0), top)


@_jit
def dot_parts(x, y):
    a0, a1, b0, b1 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    for i in range(x.size):
        factor = np.uint64(x[i])
        low = factor * np.uint64(y[i] & _LIMB)
        high = factor * np.uint64(y[i] >> 31)
        a0 += low & _HALF
        a1 += low >> np.uint64(32)
        b0 += high & _HALF
        b1 += high >> np.uint64(32)
    return a0, a1, b0, b1


@_jit
def order_of(words):
    n = words.size
    bits = 1
    while (n >> bits) > 8:  # about eight words a bucket
        bits += 1
    shift = np.uint64(64 - bits)
    ends = np.zeros((1 << bits) + 1, dtype=np.int64)
    for word in words:
        ends[np.int64(word >> shift) + 1] += 1
    for b in range(1 << bits):
        ends[b + 1] += ends[b]
    keys = np.empty(n, dtype=np.uint64)
    order = np.empty(n, dtype=np.int64)
    for i in range(n):
        b = np.int64(words[i] >> shift)
        keys[ends[b]] = words[i]
        order[ends[b]] = i
        ends[b] += 1
    for i in range(1, n):  # buckets are in place: a stable insertion sort finishes
        key, row = keys[i], order[i]
        j = i
        while j > 0 and keys[j - 1] > key:
            keys[j], order[j] = keys[j - 1], order[j - 1]
            j -= 1
        keys[j], order[j] = key, row
    return order


@_within
def _below(words, used, bound):
    t = np.uint64(bound)
    refused = (np.uint64(0) - t) % t  # 2**64 mod t
    while used < words.size:
        word = words[used]
        used += 1
        if refused == 0 or word < np.uint64(0) - refused:
            return np.int64(word % t), used
    return np.int64(-1), used


@_jit
def pivotal(weights, total, order, words, state, chosen):
    place, carrier, a = state[0], state[1], state[2]
    used = 0
    while place < order.size:
        row = order[place]
        b = weights[row]
        if carrier < 0:
            carrier, a = row, b
            place += 1
            continue
        t = a + b
        value, used = _below(words, used, t if t <= total else 2 * total - t)
        if value < 0:
            break
        place += 1
        if t < total:
            a = t
            if value < b:
                carrier = row
        elif t == total:
            chosen[row if value < b else carrier] = True
            carrier, a = np.int64(-1), np.int64(0)
        else:
            if value < total - a:
                chosen[row] = True
            else:
                chosen[carrier] = True
                carrier = row
            a = t - total
    state[0], state[1], state[2] = place, carrier, a
    return used


@_jit
def systematic(weights, total, order, start, chosen):
    reached = np.int64(0)
    for row in order:
        end = reached + weights[row]
        chosen[row] = (reached <= start and start < end) or start + total < end
        reached = end if end < total else end - total


@_jit
def _push(heap, size, node, key, sign):
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if sign * key[heap[parent]] <= sign * key[node]:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = node


@_jit
def _pop(heap, size, key, sign):
    size -= 1
    node = heap[size]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and sign * key[heap[child + 1]] < sign * key[heap[child]]:
            child += 1
        if sign * key[node] <= sign * key[heap[child]]:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = node
    return size


@_jit
def _trim(heap, size, mass, key, sign, amount):
    while True:
        node = heap[0]
        taken = min(mass[node], amount)
        mass[node] -= taken
        amount -= taken
        if amount == 0:
            return key[node], size
        size = _pop(heap, size, key, sign)


@_jit
def chain(gains, gaps, top, low, high):
    n = gains.size
    sums = np.cumsum(gains)
    key = np.zeros(n + 1)
    key[1:] = sums
    mass = np.zeros(n + 1, dtype=np.int64)
    mass[0] = top
    upward, downward = np.zeros(n + 1, dtype=np.int64), np.zeros(n + 1, dtype=np.int64)
    up, down = 1, 1
    left, right, x = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n - 1):
        node = i + 1
        mass[node] = 2 * gaps[i]
        _push(upward, up, node, key, 1.0)
        _push(downward, down, node, key, -1.0)
        left[i], up = _trim(upward, up + 1, mass, key, 1.0, gaps[i])
        right[i], down = _trim(downward, down + 1, mass, key, -1.0, gaps[i])
    x[n - 1] = sums[n - 1]
    for i in range(n - 2, -1, -1):
        x[i] = min(max(x[i + 1], left[i]), right[i])
    before = 0.0
    for i in range(n):
        low[i], high[i] = 0, top
        if i > 0:
            side, gap = np.int64(np.sign(before - sums[i - 1])), gaps[i - 1]
            low[i] = max(low[i - 1] + (side * gap if side != 0 else -gap), 0)
            high[i] = min(high[i - 1] + (side * gap if side != 0 else gap), top)
        if x[i] > before:
            low[i] = top
        elif x[i] < before:
            high[i] = 0
        before = x[i]
    for i in range(n - 2, -1, -1):
        side, gap = np.int64(np.sign(x[i] - sums[i])), gaps[i]
        if side != 0:
            low[i] = low[i + 1] - side * gap
            high[i] = high[i + 1] - side * gap
        else:
            low[i] = max(low[i], low[i + 1] - gap)
            high[i] = min(high[i], high[i + 1] + gap)
