import numpy as np
import pytest

from septet.robust import GroupDROClassifier, infer_groups, suggest_labels


def pool(rng, shares=(0.45, 0.05, 0.05, 0.45), n=600):
    code = rng.choice(4, n, p=shares)
    y, a = code // 2, code % 2
    X = rng.normal(size=(n, 4))
    X[:, 0] += 2 * y
    X[:, 1] += 3 * a
    return X, y, a


def test_the_plan_fills_up_the_smallest_groups(rng):
    X, y, a = pool(rng)
    known = np.where(rng.random(600) < 0.15, a, -1)
    plan = suggest_labels(X, y, known, budget=40, random_state=0)
    assert len(np.unique(plan.rows)) == 40
    assert (known[plan.rows] == -1).all()
    minority = (a[plan.rows] != y[plan.rows]).mean()
    assert minority > 4 * 0.1  # a random draw finds one in ten
    then = plan.current + np.bincount((2 * y + a)[plan.rows], minlength=4)
    np.testing.assert_allclose(plan.expected, then, atol=10)
    assert "label 40 rows" in str(plan)


def test_with_nothing_known_the_classes_take_turns(rng):
    X, y, a = pool(rng, shares=(0.8, 0.1, 0.05, 0.05))
    for known in (np.full(600, -1), np.where(a == 0, -1, -1), [None] * 600):
        plan = suggest_labels(X, y, known, budget=20, random_state=0)
        assert np.bincount(y[plan.rows]).tolist() == [10, 10]


def test_the_plan_is_seeded_and_the_budget_is_checked(rng):
    X, y, a = pool(rng)
    known = np.where(np.arange(600) < 100, a, -1)
    plans = [suggest_labels(X, y, known, 30, random_state=s).rows.tolist() for s in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]
    with pytest.raises(ValueError, match="budget is 501, but only 500 rows are without a label"):
        suggest_labels(X, y, known, 501)
    with pytest.raises(ValueError, match="budget must be at least 1"):
        suggest_labels(X, y, known, 0)


def test_the_whole_pool_can_be_asked_for(rng):
    X, y, a = pool(rng, n=60)
    known = np.where(np.arange(60) < 50, a, -1)
    assert suggest_labels(X, y, known, 10, random_state=0).rows.tolist() == list(range(50, 60))


def test_inferred_memberships_keep_known_labels_and_sum_to_one_within_the_class(rng):
    X, y, a = pool(rng)
    known = np.where(rng.random(600) < 0.3, a, -1)
    membership, keys = infer_groups(X, y, known)
    np.testing.assert_allclose(membership.sum(axis=1), 1)
    cls = np.array([key[0] for key in keys])
    assert (membership[np.arange(600)[:, None], np.arange(4)] * (cls != y[:, None]) == 0).all()
    true = [keys.index((int(k), int(v))) for k, v in zip(y, a, strict=True)]
    labelled = known >= 0
    assert (membership[labelled, np.array(true)[labelled]] == 1).all()
    assert membership[~labelled, np.array(true)[~labelled]].mean() > 0.8
    head = GroupDROClassifier().fit(X, y, group_membership=membership)
    assert head.n_unknown_ == 0


def test_one_label_cannot_say_anything_about_the_others(rng):
    X, y, _ = pool(rng, n=20)
    with pytest.raises(ValueError, match="at least two different labels"):
        infer_groups(X, y, [0] * 5 + [-1] * 15)
