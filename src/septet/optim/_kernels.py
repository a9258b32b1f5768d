# pyrefly: ignore-errors
"""CPU kernels: every tensor of a step in one call, split over threads by the caller.

A table row describes one matrix (or vector): where its tensors lie and how it is updated. Kernels
run without the interpreter lock, so plain Python threads share the work. They are compiled for
float32 weights and, read and written as 16-bit patterns, for bfloat16 ones. Sums may be
reassociated, but NaN and infinities are respected.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet._core.compiled import njit as kept_njit
from septet._core.extras import needs

needs("numba", extra="fast", purpose="compiled CPU steps")

from numba import carray, njit, types  # noqa: E402 - only after the check above
from numba.core import cgutils  # noqa: E402
from numba.extending import intrinsic, overload  # noqa: E402

# Columns of the table of integers.
PARTITION, NUMERATOR, PARAM, GRAD, MOMENTUM, SECOND, LARGEST, INDEX = range(8)
ROWS, COLUMNS, SIZE, OFFSET, RANK, DIRECT, OWNER = range(8, 15)
INTEGERS = 15
# Columns of the table of numbers.
LR, BETA1, GAIN, BETA2, REST2, EPS, KEEP, SIGN, SCALE1, SCALE2, SHARE = range(11)
NUMBERS = 11
# Partitions and numerators.
EACH, BY_ROW, BY_COLUMN = range(3)
PLAIN, AVERAGE, SELECT = range(3)

_INNER = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "nsz", "contract"}}
_F32 = np.float32
_ZERO, _ONE = np.float32(0), np.float32(1)


@intrinsic
def _address(_context, integer):
    """Reinterpret an integer as an address."""

    def generate(_target, builder, _signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(integer), generate


# numba passes the context itself, which type checkers do not know.
_at: Any = _address


@intrinsic
def _as_float(_context, bits):
    """Reinterpret 32 bits as a float."""

    def generate(target, builder, signature, arguments):
        return builder.bitcast(arguments[0], target.get_value_type(signature.return_type))

    return types.float32(types.uint32), generate


@intrinsic
def _as_bits(_context, number):
    """Reinterpret a float as 32 bits."""

    def generate(target, builder, signature, arguments):
        return builder.bitcast(arguments[0], target.get_value_type(signature.return_type))

    return types.uint32(types.float32), generate


def _load(array: NDArray, i: int) -> np.float32:
    """Read one number, stored as float32 or as the upper half of one."""
    raise NotImplementedError


def _store(array: NDArray, i: int, value: np.float32) -> None:
    """Write one number; bfloat16 rounds to the nearest, ties to even."""
    raise NotImplementedError


@overload(_load, jit_options=_INNER)
def _load_as_stored(array, i):
    if array.dtype == types.uint16:
        return lambda array, i: _as_float(np.uint32(np.uint32(array[i]) << np.uint32(16)))
    return lambda array, i: array[i]


@overload(_store, jit_options=_INNER)
def _store_as_stored(array, i, value):
    if array.dtype == types.uint16:

        def rounded(array, i, value):
            bits = _as_bits(value)
            bits = np.uint32(bits + np.uint32(0x7FFF) + np.uint32(np.uint32(bits >> 16) & 1))
            array[i] = np.uint16(bits >> 16) if value == value else np.uint16(0x7FC0)

        return rounded

    def direct(array, i, value):
        array[i] = value

    return direct


@njit(**_INNER)
def _row_sums(g, low, high, columns, size, sums):
    """Sum the squares of each row; four rows at a time keep four memory streams busy."""
    whole = min(high, size // columns)
    quarter = max(whole - low, 0) // 4
    for i in range(low, low + quarter):
        a, b, c, d = _ZERO, _ZERO, _ZERO, _ZERO
        ga = g[i * columns : (i + 1) * columns]
        gb = g[(i + quarter) * columns : (i + quarter + 1) * columns]
        gc = g[(i + 2 * quarter) * columns : (i + 2 * quarter + 1) * columns]
        gd = g[(i + 3 * quarter) * columns : (i + 3 * quarter + 1) * columns]
        for j in range(columns):
            a += _load(ga, j) * _load(ga, j)
            b += _load(gb, j) * _load(gb, j)
            c += _load(gc, j) * _load(gc, j)
            d += _load(gd, j) * _load(gd, j)
        sums[i], sums[i + quarter] = a, b
        sums[i + 2 * quarter], sums[i + 3 * quarter] = c, d
    for i in range(low + 4 * quarter, high):
        row = g[i * columns : min((i + 1) * columns, size)]
        total = _ZERO
        for j in range(row.size):
            total += _load(row, j) * _load(row, j)
        sums[i] = total


@njit(**_INNER)
def _column_sums(g, low, high, columns, first, sums):
    """Sum the squares of columns from `first` on over some rows, four rows at a time."""
    width = sums.size
    sums[:] = _ZERO
    quarter = (high - low) // 4
    step = quarter * columns
    for i in range(low, low + quarter):
        at = i * columns + first
        ga, gb = g[at : at + width], g[at + step : at + step + width]
        gc = g[at + 2 * step : at + 2 * step + width]
        gd = g[at + 3 * step : at + 3 * step + width]
        for j in range(width):
            a, b, c, d = _load(ga, j), _load(gb, j), _load(gc, j), _load(gd, j)
            sums[j] += (a * a + b * b) + (c * c + d * d)
    for i in range(low + 4 * quarter, high):
        row = g[i * columns + first : i * columns + first + width]
        for j in range(width):
            sums[j] += _load(row, j) * _load(row, j)


@njit(**_INNER)
def _poison(values):
    """Return zero if every square is finite, else NaN."""
    total = _ZERO
    for j in range(values.size):
        total += (_load(values, j) * _load(values, j)) * _ZERO
    return total


@kept_njit(**_INNER)
def measure(integers, sums, bad, sample, part, parts):
    """Write the squared norms of one thread's share of each gradient.

    `bad` (tables, parts) gets NaN where an uncompressed gradient is not finite.
    """
    for t in range(integers.shape[0]):
        if integers[t, DIRECT]:
            continue
        rows, columns, size = integers[t, ROWS], integers[t, COLUMNS], integers[t, SIZE]
        offset = integers[t, OFFSET]
        g = carray(_at(integers[t, GRAD]), (size,), sample.dtype)
        low, high = rows * part // parts, rows * (part + 1) // parts
        if integers[t, PARTITION] == BY_ROW:
            _row_sums(g, low, high, columns, size, sums[offset : offset + rows])
        elif integers[t, PARTITION] == BY_COLUMN:
            start = offset + part * columns
            _column_sums(g, low, high, columns, 0, sums[start : start + columns])
        else:
            bad[t, part] = _poison(g[low:high])


@kept_njit(**_INNER)
def reduce(integers, numbers, sums, bad, parts):
    """Add up the threads' column sums, apply means, and mark in `bad` what is not finite."""
    for t in range(integers.shape[0]):
        rows, columns = integers[t, ROWS], integers[t, COLUMNS]
        offset = integers[t, OFFSET]
        share = _F32(numbers[t, SHARE])
        if integers[t, PARTITION] == EACH or integers[t, DIRECT]:
            continue
        if integers[t, PARTITION] == BY_ROW:
            mine = sums[offset : offset + rows]
        else:
            mine = sums[offset : offset + columns]
            for k in range(1, parts):
                other = sums[offset + k * columns : offset + (k + 1) * columns]
                for j in range(columns):
                    mine[j] += other[j]
        poison = _ZERO
        for j in range(mine.size):
            poison += mine[j] * _ZERO
            mine[j] *= share
        rest = integers[t, SIZE] - (rows - 1) * columns
        if share != _ONE and rest != columns:  # the shorter last block
            mine[rows - 1] *= _F32(columns) / _F32(rest)
        bad[t, 0] = poison


@njit(**_INNER)
def _step(v, top, j, square, lr, beta2, rest2, scale, eps):
    """Advance one second moment (none where `v` is empty) and return the step size."""
    if not v.size:
        return lr
    value = beta2 * v[j] + rest2 * square
    v[j] = value
    if top.size:
        value = value if value > top[j] or value != value else top[j]
        top[j] = value
    root = np.sqrt(value * scale) + eps
    return lr / root if root != _ZERO else _ZERO


@njit(**_INNER)
def _moments(table, low, high):
    """Return the second moments from `low` to `high`, and the largest so far; empty if none."""
    count = high - low if table[SECOND] else 0
    tops = high - low if table[LARGEST] else 0
    v = carray(_at(table[SECOND] + 4 * low), (count,), np.float32)
    return v, carray(_at(table[LARGEST] + 4 * low), (tops,), np.float32)


@njit(**_INNER)
def _advance(table, numbers, low, steps):
    """Advance some shared second moments, from `low` on, and turn the sums into step sizes."""
    lr, eps, scale = _F32(numbers[LR]), _F32(numbers[EPS]), _F32(numbers[SCALE2])
    beta2, rest2 = _F32(numbers[BETA2]), _F32(numbers[REST2])
    v, top = _moments(table, low, low + steps.size)
    for j in range(steps.size):
        steps[j] = _step(v, top, j, steps[j], lr, beta2, rest2, scale, eps)


@njit(**_INNER)
def _set_apart(index, first, stop, steps, inside):
    """Move the steps of selected columns to `inside`: the gradient acts on the others only."""
    for s in range(np.searchsorted(index, first), np.searchsorted(index, stop)):
        inside[s] = steps[index[s]]
        steps[index[s]] = _ZERO


@kept_njit(**_INNER)
def advance(integers, numbers, sums, parts):
    """Advance the shared second moments and turn the sums into step sizes, in place."""
    for t in range(integers.shape[0]):
        if integers[t, PARTITION] == EACH or integers[t, DIRECT]:
            continue
        rows, columns, rank = integers[t, ROWS], integers[t, COLUMNS], integers[t, RANK]
        offset = integers[t, OFFSET]
        count = rows if integers[t, PARTITION] == BY_ROW else columns
        steps = sums[offset : offset + count]
        _advance(integers[t], numbers[t], 0, steps)
        if integers[t, NUMERATOR] == SELECT and integers[t, PARTITION] == BY_COLUMN:
            index = carray(_at(integers[t, INDEX]), (rank,), np.int32)
            start = offset + parts * columns
            _set_apart(index, 0, columns, steps, sums[start : start + rank])


@njit(**_INNER)
def _plain_row(p, g, ahead, step, keep):
    """Update a row; return the sum of squares of the row `ahead`, read on the way."""
    total = _ZERO
    for j in range(p.size):
        _store(p, j, keep * _load(p, j) - step * _load(g, j))
        total += _load(ahead, j) * _load(ahead, j)
    return total


@njit(**_INNER)
def _average_row(p, g, m, ahead, step, keep, beta1, gain):
    """Update a row and its momentum; return the sum of squares of the row `ahead`."""
    total = _ZERO
    for j in range(p.size):
        x = beta1 * _load(m, j) + gain * _load(g, j)
        _store(m, j, x)
        _store(p, j, keep * _load(p, j) - step * x)
        total += _load(ahead, j) * _load(ahead, j)
    return total


@njit(**_INNER)
def _square_sum(row):
    total = _ZERO
    for j in range(row.size):
        total += _load(row, j) * _load(row, j)
    return total


@njit(**_INNER)
def _plain_columns(p, g, steps, sign, keep):
    for j in range(p.size):
        _store(p, j, keep * _load(p, j) - sign * steps[j] * _load(g, j))


@njit(**_INNER)
def _average_columns(p, g, m, steps, scale, keep, beta1, gain):
    for j in range(p.size):
        x = beta1 * _load(m, j) + gain * _load(g, j)
        _store(m, j, x)
        _store(p, j, keep * _load(p, j) - scale * steps[j] * x)


@njit(**_INNER)
def _select_columns(p, g, m, index, first, stop, new, steps, scale, keep, beta1, gain):
    """Advance the momentum of selected columns; their new weights go to `new`."""
    for s in range(first, stop):
        j = index[s]
        x = beta1 * _load(m, s) + gain * _load(g, j)
        _store(m, s, x)
        new[s] = keep * _load(p, j) - scale * steps[s] * x


@njit(**_INNER)
def _each(p, g, m, v, top, numbers, averaging):
    """Update a flat stretch whose coordinates have a second moment each."""
    lr, eps, keep = _F32(numbers[LR]), _F32(numbers[EPS]), _F32(numbers[KEEP])
    beta1, gain, sign = _F32(numbers[BETA1]), _F32(numbers[GAIN]), _F32(numbers[SIGN])
    beta2, rest2 = _F32(numbers[BETA2]), _F32(numbers[REST2])
    scale1, scale2 = _F32(numbers[SCALE1]), _F32(numbers[SCALE2])
    for j in range(p.size):
        x = _load(g, j)
        step = _step(v, top, j, x * x, lr, beta2, rest2, scale2, eps)
        if averaging:
            x = beta1 * _load(m, j) + gain * x
            _store(m, j, x)
            x *= scale1
        else:
            x *= sign
        _store(p, j, keep * _load(p, j) - step * x)


@njit(**_INNER)
def _by_row(table, numbers, p, g, m, index, steps, low, high):
    """Update some rows; of a direct table, measure each one while the row before is updated."""
    lr, eps, scale2 = _F32(numbers[LR]), _F32(numbers[EPS]), _F32(numbers[SCALE2])
    beta2, rest2, share = _F32(numbers[BETA2]), _F32(numbers[REST2]), _F32(numbers[SHARE])
    keep, sign, scale1 = _F32(numbers[KEEP]), _F32(numbers[SIGN]), _F32(numbers[SCALE1])
    beta1, gain = _F32(numbers[BETA1]), _F32(numbers[GAIN])
    columns, direct, average = table[COLUMNS], table[DIRECT], table[NUMERATOR] == AVERAGE
    v, top = _moments(table, low, high)
    s = np.searchsorted(index, low)
    total = _square_sum(g[low * columns : min((low + 1) * columns, p.size)]) if direct else _ZERO
    for i in range(low, high):
        start, stop = i * columns, min((i + 1) * columns, p.size)
        step = steps[i]
        if direct:
            short = _F32(columns) / _F32(stop - start)  # of a mean over a shorter last block
            square = total * share * (short if share != _ONE else _ONE)
            step = _step(v, top, i - low, square, lr, beta2, rest2, scale2, eps)
            steps[i] = step  # momentum in a dense subspace needs it afterwards
        until = min(stop + columns, p.size) if i + 1 < high else stop
        ahead = g[stop:until] if until - stop == stop - start else g[start:stop]
        row, change = p[start:stop], g[start:stop]
        selected = s < index.size and index[s] == i
        if average or selected:
            at = start if average else s * columns
            kept = m[at : at + stop - start]
            total = _average_row(row, change, kept, ahead, step * scale1, keep, beta1, gain)
            s += 1
        else:
            total = _plain_row(row, change, ahead, step * sign, keep)
        if until - stop != stop - start:
            total = _square_sum(g[stop:until])


@njit(**_INNER)
def _by_column(
    p, g, m, index, steps, inside, new, low, high, columns, first, stop, numerator, numbers
):
    """Update columns `first` to `stop` of some rows."""
    keep, sign, scale = _F32(numbers[KEEP]), _F32(numbers[SIGN]), _F32(numbers[SCALE1])
    beta1, gain = _F32(numbers[BETA1]), _F32(numbers[GAIN])
    rank = index.size
    s, end = np.searchsorted(index, first), np.searchsorted(index, stop)
    mine = steps[first:stop]
    for i in range(low, high):
        at, until = i * columns + first, i * columns + stop
        if numerator == AVERAGE:
            _average_columns(p[at:until], g[at:until], m[at:until], mine, scale, keep, beta1, gain)
            continue
        row, change = p[i * columns : (i + 1) * columns], g[i * columns : (i + 1) * columns]
        kept = m[i * rank : (i + 1) * rank]
        _select_columns(row, change, kept, index, s, end, new, inside, scale, keep, beta1, gain)
        _plain_columns(p[at:until], g[at:until], mine, sign, keep)
        for k in range(s, end):
            _store(row, index[k], new[k])


@njit(**_INNER)
def _column_steps(table, numbers, g, first, stop, index, steps, inside):
    """Measure some columns and turn their sums into step sizes."""
    share = _F32(numbers[SHARE])
    _column_sums(g, 0, table[ROWS], table[COLUMNS], first, steps[first:stop])
    for j in range(first, stop):
        steps[j] *= share
    _advance(table, numbers, first, steps[first:stop])
    if table[NUMERATOR] == SELECT:
        _set_apart(index, first, stop, steps, inside)


@kept_njit(**_INNER)
def apply(integers, numbers, sums, sample, part, parts):
    """Update one thread's share of every weight and momentum.

    Direct tables were not measured before; their squares are summed here, just ahead of use.
    Tables run backwards: the gradients that were measured last may still be in the cache.
    """
    for t in range(integers.shape[0] - 1, -1, -1):
        rows, columns, size = integers[t, ROWS], integers[t, COLUMNS], integers[t, SIZE]
        rank, offset, numerator = integers[t, RANK], integers[t, OFFSET], integers[t, NUMERATOR]
        low, high = rows * part // parts, rows * (part + 1) // parts
        p = carray(_at(integers[t, PARAM]), (size,), sample.dtype)
        g = carray(_at(integers[t, GRAD]), (size,), sample.dtype)
        kept = size if numerator == AVERAGE else rank * (size // max(rows, columns))
        m = carray(_at(integers[t, MOMENTUM]), (kept,), sample.dtype)
        index = carray(_at(integers[t, INDEX]), (rank,), np.int32)
        if integers[t, PARTITION] == BY_ROW:
            steps = sums[offset : offset + rows]
            if high > low:
                _by_row(integers[t], numbers[t], p, g, m, index, steps, low, high)
        elif integers[t, PARTITION] == BY_COLUMN:
            steps = sums[offset : offset + columns]
            start = offset + parts * columns
            inside = sums[start : start + rank]
            new = sums[start + (1 + part) * rank : start + (2 + part) * rank]
            if not integers[t, DIRECT]:
                _by_column(
                    p, g, m, index, steps, inside, new, low, high, columns, 0, columns,
                    numerator, numbers[t],
                )  # fmt: skip
                continue
            # Nobody waits for the sums of others: a thread has whole matrices or, of large ones,
            # some columns, which are slower to read than whole rows.
            owner = integers[t, OWNER]
            if owner >= 0 and owner != part:
                continue
            first = 0 if owner >= 0 else columns * part // parts
            stop = columns if owner >= 0 else columns * (part + 1) // parts
            _column_steps(integers[t], numbers[t], g, first, stop, index, steps, inside)
            _by_column(
                p, g, m, index, steps, inside, new, 0, rows, columns, first, stop,
                numerator, numbers[t],
            )  # fmt: skip
        else:
            v, top = _moments(integers[t], low, high)
            averaging = numerator == AVERAGE
            mine = m[low:high] if averaging else m
            _each(p[low:high], g[low:high], mine, v, top, numbers[t], averaging)
