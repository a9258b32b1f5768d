from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from septet.robust._simplex import maximise_on_simplex

floats = st.floats(-5, 5).map(lambda x: round(x, 3))


def best_by_enumeration(linear, quadratic):
    """Try the stationary point of every support."""
    n, best = len(linear), -np.inf
    for size in range(1, n + 1):
        for support in map(list, combinations(range(n), size)):
            system = np.ones((size + 1, size + 1))
            system[:size, :size] = quadratic[np.ix_(support, support)] + 1e-12 * np.eye(size)
            system[size, size] = 0
            q = np.linalg.lstsq(system, np.append(linear[support], 1.0), rcond=None)[0][:size]
            if (q >= -1e-9).all():
                value = linear[support] @ q - q @ quadratic[np.ix_(support, support)] @ q / 2
                best = max(best, value)
    return best


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(
            arrays(float, n, elements=floats), arrays(float, (n, 3), elements=floats)
        )
    )
)
def test_the_weights_are_on_the_simplex_and_as_good_as_any_support(case):
    linear, root = case
    quadratic = root @ root.T
    q = maximise_on_simplex(linear, quadratic)
    assert (q >= 0).all()
    assert abs(q.sum() - 1) < 1e-12
    value = linear @ q - q @ quadratic @ q / 2
    scale = 1 + np.abs(linear).max() + np.abs(quadratic).max()
    assert value >= best_by_enumeration(linear, quadratic) - 1e-8 * scale


def test_two_equal_groups_share_the_weight_of_one():
    q = maximise_on_simplex(np.zeros(3), np.array([[2.0, 2, 0], [2, 2, 0], [0, 0, 2]]))
    assert abs(q[2] - 0.5) < 1e-9
    assert abs(q[0] + q[1] - 0.5) < 1e-9


def test_a_single_group_has_all_the_weight():
    assert maximise_on_simplex(np.array([-3.0]), np.array([[0.0]])).tolist() == [1.0]
