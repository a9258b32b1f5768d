"""Small cases worked out by hand, to the printed digits."""

import pytest
import torch

from septet.optim import AdagradNorm, AdagradSN, AdamSN, AdamSNSM, RMSpropSN

G1 = [[1.0, 2.0, 2.0], [0.0, 1.0, -1.0]]
G2 = [[-1.0, 0.0, 1.0], [2.0, 2.0, 0.0]]
VECTORS = [[3.0, 4.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 5.0, 12.0, 0.0, 1.0]]


def after(cls, start, gradients, **options):
    weight = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = cls([weight], **options)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    return weight.detach(), optimizer.state[weight]


def close(actual, expected, digits=10):
    expected = torch.tensor(expected, dtype=torch.float64)
    assert (actual.reshape(expected.shape) - expected).abs().max() < 0.6 * 10**-digits


def zeros(rows, columns):
    return [[0.0] * columns for _ in range(rows)]


def test_adam_sn_shares_a_second_moment_per_column_of_a_wide_matrix():
    weight, state = after(AdamSN, zeros(2, 3), [G1, G2], lr=0.1, eps=1e-8)
    close(
        weight,
        [[-0.09696182, -0.1341033354, -0.1745401069], [-0.0607635807, -0.1166745751, 0.0720740913]],
    )
    close(state["second_moment"], [0.005999, 0.008995, 0.005995])


def test_adam_sn_with_means_in_place_of_sums():
    weight, _ = after(AdamSN, zeros(2, 3), [G1, G2], lr=0.1, eps=1e-8, reduction="mean")
    close(
        weight,
        [
            [-0.1371247203, -0.1896507553, -0.2468369859],
            [-0.0859326797, -0.1650027661, 0.1019281572],
        ],
    )


def test_the_transposed_problem_has_exactly_the_transposed_solution():
    wide, _ = after(AdamSN, zeros(2, 3), [G1, G2], lr=0.1, eps=1e-8)
    columns = [list(zip(*g, strict=True)) for g in (G1, G2)]
    tall, _ = after(AdamSN, zeros(3, 2), columns, lr=0.1, eps=1e-8)
    assert torch.equal(tall.T, wide)


def test_adam_sn_with_decoupled_weight_decay():
    ones = [[1.0] * 3] * 2
    weight, _ = after(AdamSN, ones, [G1, G2], lr=0.1, eps=1e-8, weight_decay=0.5)
    close(
        weight,
        [[0.81053818, 0.7728688006, 0.732432029], [0.8417364193, 0.7880614929, 0.9723380233]],
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, [-0.5] * 6),
        (2, [-0.3, -0.4, -0.1923076923, -0.4615384615, -0.5, -0.3535533906]),
        (3, [-0.3, -0.4, -0.3535533906, -0.4965635332, -0.5, -0.0413802944]),
        (
            6,
            [-0.2941742027, -0.3922322703, -0.1785714286, -0.4285714286, -0.0980580676,
             -0.0357142857],
        ),
    ],
)  # fmt: skip
def test_adagrad_sn_on_a_vector_in_blocks(size, expected):
    weight, _ = after(AdagradSN, [0.0] * 6, VECTORS, lr=0.5, eps=1e-12, subset=size)
    close(weight, expected)


def test_adagrad_sn_accumulates_squared_norms():
    _, state = after(AdagradSN, [0.0] * 6, VECTORS, lr=0.5, eps=1e-12, subset=2)
    close(state["second_moment"], [25, 169, 2])


def test_adagrad_norm_is_adagrad_sn_with_one_subset():
    norm, _ = after(AdagradNorm, [0.0] * 6, VECTORS, lr=0.5, eps=1e-12)
    subset, _ = after(AdagradSN, [0.0] * 6, VECTORS, lr=0.5, eps=1e-12, subset=6)
    assert torch.equal(norm, subset)


def test_rmsprop_sn_has_no_bias_correction():
    weight, _ = after(RMSpropSN, [0.0] * 6, VECTORS, lr=0.1, beta2=0.9, eps=1e-8, subset=2)
    close(
        weight,
        [-0.1897366584, -0.2529822112, -0.1216260636, -0.2919025525, -0.316227756, -0.2294157286],
    )


GRADIENTS = [[[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]], [[0.0, 5.0], [1.0, 0.0], [2.0, 2.0]]]
# top-k picks row 0 at the first step and keeps it
SELECTED = {"lr": 0.1, "eps": 1e-8, "rank": 1, "projection": "topk"}


def test_adam_snsm_with_one_selected_row():
    weight, _ = after(AdamSNSM, zeros(3, 2), GRADIENTS, **SELECTED)
    close(
        weight,
        [
            [-0.0884210525, -0.1705263154],
            # second entry: 0.1 * 2 / (2 + 1e-8), then a zero gradient
            [-0.0632550465, -0.0999999995],
            [-0.1942625665, -0.0942625675],
        ],
    )


def test_the_reference_code_also_divides_the_complement_by_the_bias_correction():
    weight, _ = after(AdamSNSM, zeros(3, 2), GRADIENTS, compat="reference", **SELECTED)
    close(
        weight,
        [
            [-0.0884210525, -0.1705263154],
            [-0.3329212975, -0.9999999950],
            # the two entries differ by the first step alone, 0.1 * 10 / (1 + 1e-8)
            [-1.4961187663, -0.4961187763],
        ],
    )
