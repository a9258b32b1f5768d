"""The novelty detector: scikit-learn's contract, scores, silence, streams, files."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from septet._core.errors import CheckpointError, DataError, SeptetWarning
from septet.spiking import HebbianRule, SpikingNoveltyDetector, novelty_deviation
from septet.spiking.hebbian._scores import SCORES, largest_deviation

FAST = {"presentation": 100.0, "total_rate": 2000.0, "random_state": 0}


@parametrize_with_checks([SpikingNoveltyDetector(3, epochs=1, signed=True, **FAST)])
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


# These two give negative numbers to every outlier detector, whatever its tags say. Rates have none:
# unless it is told that data are signed, the detector must refuse them.
NEGATIVE = {"check_outliers_train", "check_outliers_fit_predict"}


@parametrize_with_checks([SpikingNoveltyDetector(3, epochs=1, **FAST)])
def test_without_signs_only_negative_numbers_are_refused(estimator, check):
    if check.func.__name__ in NEGATIVE:
        with pytest.raises(ValueError, match=r"Negative values in data passed .* signed=True"):
            check(estimator)
    else:
        check(estimator)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X, y


@pytest.fixture(scope="module")
def zeros(digits):
    X, y = digits
    return SpikingNoveltyDetector(n_neurons=4, **FAST).fit(X[y == 0][:120])


def test_other_digits_score_lower(digits, zeros):
    X, y = digits
    test = np.r_[np.flatnonzero(y == 0)[120:], np.flatnonzero(y != 0)[:200]]
    assert roc_auc_score(y[test] == 0, zeros.score_samples(X[test])) > 0.97
    np.testing.assert_array_equal(
        zeros.decision_function(X[test]), zeros.score_samples(X[test]) - zeros.offset_
    )
    assert set(zeros.predict(X[test])) == {-1, 1}
    share = (zeros.predict(X[y == 0][:120]) == -1).mean()
    assert share == pytest.approx(zeros.contamination, abs=0.02)


def test_scores_depend_on_the_sample_alone(digits, zeros):
    X = digits[0][:90]
    scores = zeros.score_samples(X)
    for n_jobs in (2, 3, -1):
        zeros.set_params(n_jobs=n_jobs)
        np.testing.assert_array_equal(zeros.score_samples(X), scores)
    zeros.set_params(n_jobs=None)
    order = np.random.default_rng(0).permutation(90)
    np.testing.assert_array_equal(zeros.score_samples(X[order]), scores[order])
    alone = np.concatenate([zeros.score_samples(X[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, scores[:5], rtol=1e-12)  # products of other shapes round anew


def test_sparse_and_read_only_input_gives_the_same(digits):
    X = digits[0][:60]
    X.flags.writeable = False
    before = X.copy()
    dense = SpikingNoveltyDetector(n_neurons=2, epochs=1, **FAST).fit(X)
    sparse = clone(dense).fit(scipy.sparse.csr_array(X))
    np.testing.assert_array_equal(dense.weights_, sparse.weights_)
    np.testing.assert_array_equal(
        dense.score_samples(X), sparse.score_samples(scipy.sparse.csr_matrix(X))
    )
    np.testing.assert_array_equal(X, before)


def test_the_compiled_and_the_plain_loop_learn_and_score_the_same(digits):
    X, y = digits
    rows = X[y == 3][:12]
    found = [
        SpikingNoveltyDetector(n_neurons=2, epochs=1, backend=name, **FAST).fit(rows)
        for name in ("numba", "numpy")
    ]
    np.testing.assert_allclose(found[0].weights_, found[1].weights_, atol=1e-13)
    np.testing.assert_allclose(*(f.score_samples(X[:5]) for f in found), rtol=1e-9)


# -- scores --------------------------------------------------------------------------------------


def test_measures_have_their_worked_values():
    x, w = np.array([[0.5, 0.5, 0.0]]), np.array([[0.25, 0.25, 0.5]])
    room = w + 0.1 / 3
    worked = {
        "chi2": ((x - w) ** 2 / room).sum(),
        "kl": 2 * 0.5 * np.log((0.5 + 1e-12) / room[0, 0]),
        "tv": 0.5,
        "l2": np.sqrt(0.0625 + 0.0625 + 0.25),
        "cosine": 1 - 0.25 / (np.sqrt(0.5) * np.sqrt(0.375)),
    }
    for score, value in worked.items():
        assert novelty_deviation(x, w, score)[0, 0] == pytest.approx(value, rel=1e-9)
        assert novelty_deviation(w, w, score)[0, 0] == pytest.approx(
            0.0, abs=0.2 if score == "kl" else 1e-12
        )
    with pytest.raises(ValueError, match="shares have 3 features, weights 2"):
        novelty_deviation(x, [[0.5, 0.5]])


@pytest.mark.parametrize("score", SCORES)
def test_no_sample_scores_beyond_the_largest_value(score, rng):
    weights = rng.dirichlet(np.full(6, 0.5), 3)
    corners = np.eye(6)
    inside = rng.dirichlet(np.full(6, 0.3), 500)
    limit = largest_deviation(weights, score)
    for w in weights:
        most = largest_deviation(w[None], score)
        assert novelty_deviation(inside, w[None], score).max() <= most + 1e-12
        if score != "cosine":  # which is 1 for a right angle, whatever the weights
            assert novelty_deviation(corners, w[None], score).max() == pytest.approx(most)
    assert novelty_deviation(inside, weights, score).min(axis=1).max() <= limit + 1e-12


@pytest.mark.parametrize("score", SCORES)
def test_silent_samples_are_more_novel_than_all_that_spiked(score, digits, zeros):
    X = digits[0][:40].copy()
    X[7] = 0.0
    zeros.set_params(measure=score)
    scores = zeros.score_samples(X)
    assert np.isfinite(scores).all()
    assert scores.argmin() == 7
    assert scores[7] == -largest_deviation(zeros._templates(), score)
    zeros.set_params(score_mode="mean_field")
    assert zeros.score_samples(X)[7] == scores[7]
    zeros.set_params(measure="chi2", score_mode="spiking")


def test_silent_training_samples_are_counted(digits):
    X, y = digits
    rows = X[y == 0][:40].copy()
    rows[[3, 9]] = 0.0
    detector = SpikingNoveltyDetector(n_neurons=2, epochs=1, **FAST).fit(rows)
    assert detector.n_silent_ == 2


def test_residuals_name_the_features_that_violate_the_constraint(digits, zeros):
    X, y = digits
    sample = X[y == 0][125:126].copy()
    sample[0, 0] = 80.0  # a corner that is always empty
    residual = zeros.residuals(sample)
    assert residual.shape == (1, 64)
    assert residual.argmax() == 0
    assert residual.sum() == pytest.approx(0.0, abs=1e-12)
    silent = zeros.residuals(np.zeros((1, 64)))
    np.testing.assert_allclose(silent[0], -zeros._templates()[0])


def test_the_mean_field_is_what_many_spikes_approach(digits):
    X, y = digits
    rows = X[y == 0][:30]
    detector = SpikingNoveltyDetector(n_neurons=1, epochs=1, random_state=0).fit(rows)
    few = detector.score_samples(rows)
    detector.set_params(presentation=20_000.0)
    many = detector.score_samples(rows)
    detector.set_params(score_mode="mean_field")
    limit = detector.score_samples(rows)
    assert np.abs(many - limit).mean() < 0.1 * np.abs(few - limit).mean() + 0.01


def test_one_neuron_learns_the_mean_input(digits):
    X, y = digits
    rows = X[y == 0]
    shares = rows / rows.sum(axis=1, keepdims=True)
    detector = SpikingNoveltyDetector(n_neurons=1, memory=170, random_state=0).fit(rows)
    assert np.abs(detector.weights_[0] - shares.mean(axis=0)).sum() < 0.05


# -- signs ---------------------------------------------------------------------------------------


def test_signed_features_have_an_on_and_an_off_input(digits):
    X, y = digits
    rows = X[y == 0][:60]
    plain = SpikingNoveltyDetector(2, signed=False, **FAST).fit(np.hstack([rows, 0 * rows]))
    for sign in (1.0, -1.0):
        signed = SpikingNoveltyDetector(2, signed=True, **FAST).fit(sign * rows)
        assert signed.n_features_in_ == 64
        on, off = np.hsplit(signed.weights_, 2)
        if sign > 0:
            np.testing.assert_array_equal(signed.weights_, plain.weights_)
            np.testing.assert_array_equal(
                signed.score_samples(X[:9]), plain.score_samples(np.hstack([X[:9], 0 * X[:9]]))
            )
        used, unused = (on, off) if sign > 0 else (off, on)
        assert unused.sum() < 1e-3 * used.sum()
        same, turned = signed.score_samples(sign * rows), signed.score_samples(-sign * rows)
        assert same.min() > turned.max()


def test_signed_residuals_tell_which_way_a_feature_is_off(digits):
    X, y = digits
    centred = X[y == 0] - X[y == 0].mean(axis=0)
    detector = SpikingNoveltyDetector(2, signed=True, **FAST).fit(centred[:120])
    for value in (60.0, -60.0):
        sample = centred[130:131].copy()
        sample[0, 20] = value
        residual = detector.residuals(sample)
        assert residual.shape == (1, 64)
        assert np.abs(residual).argmax() == 20
        assert np.sign(residual[0, 20]) == np.sign(value)


def test_signed_sparse_input_gives_the_same(digits):
    X = digits[0][:40] - 8.0
    X[np.abs(X) < 4.0] = 0.0
    dense = SpikingNoveltyDetector(2, epochs=1, signed=True, **FAST).fit(X)
    sparse = clone(dense).fit(scipy.sparse.csr_matrix(X))
    np.testing.assert_array_equal(dense.weights_, sparse.weights_)
    np.testing.assert_array_equal(
        dense.score_samples(X), sparse.score_samples(scipy.sparse.csr_array(X))
    )


def test_scores_do_not_see_the_sign_of_zero(zeros):
    X = np.ones((2, 64))
    X[:, ::2] = 0.0
    X[1, ::2] = -0.0
    assert len(set(zeros.score_samples(X))) == 1


# -- streams and files ---------------------------------------------------------------------------


def test_a_stream_may_be_cut_anywhere(digits):
    X, y = digits
    rows = X[y == 0][:90]
    whole = SpikingNoveltyDetector(n_neurons=3, **FAST).partial_fit(rows)
    parts = SpikingNoveltyDetector(n_neurons=3, **FAST)
    # what the first call fixes it fixes by its own samples, so the first pieces are equal
    again = SpikingNoveltyDetector(n_neurons=3, **FAST)
    for model, cuts in ((parts, (30, 60, 90)), (again, (30, 41, 77, 90))):
        start = 0
        for end in cuts:
            model.partial_fit(rows[start:end])
            start = end
    np.testing.assert_array_equal(parts.weights_, again.weights_)
    assert parts.threshold_ == again.threshold_
    assert whole.n_samples_seen_ == parts.n_samples_seen_ == 90


def test_learning_goes_on_after_a_save_as_if_there_had_been_none(digits, tmp_path):
    X, y = digits
    rows = X[y == 0][:60]
    rule = HebbianRule(depression=0.2, normalize_every=7)
    detector = SpikingNoveltyDetector(3, rule=rule, homeostasis=0.02, signed=True, **FAST)
    detector.partial_fit(rows[:33])
    detector.save(tmp_path / "détecteur.safetensors")
    loaded = SpikingNoveltyDetector.load(tmp_path / "détecteur.safetensors")
    assert loaded.get_params() == detector.get_params()
    for model in (detector, loaded):
        model.partial_fit(rows[33:])
    np.testing.assert_array_equal(loaded.weights_, detector.weights_)
    np.testing.assert_array_equal(loaded.bias_, detector.bias_)
    np.testing.assert_array_equal(loaded.score_samples(X[:9]), detector.score_samples(X[:9]))
    assert loaded.offset_ == detector.offset_
    assert loaded.n_silent_ == detector.n_silent_


def test_parameters_out_of_a_grid_are_saved_like_any_others(digits, tmp_path):
    X = digits[0][:30]
    rule = HebbianRule(normalize_every=np.int64(2))
    grid = {"n_neurons": np.int64(2), "epochs": np.int64(1), "random_state": np.int64(0)}
    detector = SpikingNoveltyDetector(**(FAST | grid), rule=rule).fit(X)
    detector.save(tmp_path / "detector.safetensors")
    loaded = SpikingNoveltyDetector.load(tmp_path / "detector.safetensors")
    assert loaded.get_params() == detector.get_params()
    np.testing.assert_array_equal(loaded.score_samples(X), detector.score_samples(X))


def test_every_changed_byte_is_noticed(zeros, tmp_path):
    path = tmp_path / "detector.safetensors"
    zeros.save(path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(good), 60, replace=False):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(CheckpointError):
            SpikingNoveltyDetector.load(path)
    path.write_bytes(good[:-3])
    with pytest.raises(CheckpointError):
        SpikingNoveltyDetector.load(path)
    with pytest.raises(DataError, match="does not exist"):
        SpikingNoveltyDetector.load(tmp_path / "none")


# -- what cannot be meant ------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("value", "word"), [(-1.0, "Negative"), (np.nan, "NaN"), (np.inf, "inf")])
def test_bad_entries_are_named_by_row_and_column(value, word, sparse, zeros):
    X = np.ones((5, 64))
    X[3, 17] = value
    given = scipy.sparse.csr_array(X) if sparse else X
    with pytest.raises(ValueError, match=rf"{word}.*X\[3, 17\]"):
        zeros.score_samples(given)
    with pytest.raises(ValueError, match=rf"{word}.*X\[3, 17\]"):
        clone(zeros).fit(given)


def test_an_epoch_without_a_spike_names_threshold_and_potential():
    with pytest.raises(
        RuntimeError, match=r"no neuron fired: the threshold is .* potential .* 0\."
    ):
        SpikingNoveltyDetector(n_neurons=1, **FAST).fit(np.zeros((4, 3)))
    weak = SpikingNoveltyDetector(n_neurons=1, total_rate=0.1, presentation=1.0, random_state=0)
    with pytest.raises(RuntimeError, match="Raise total_rate or presentation"):
        weak.fit(np.ones((4, 3)))


def test_more_neurons_than_samples_are_reduced_aloud():
    X = np.random.default_rng(0).random((3, 5))
    with pytest.warns(SeptetWarning, match="n_neurons = 9 exceeds the 3 samples"):
        detector = SpikingNoveltyDetector(n_neurons=9, epochs=1, **FAST).fit(X)
    assert detector.weights_.shape == (3, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"measure": "x2"}, "measure must be one of"),
        ({"total_rate": 0.0}, "total_rate must be greater than 0"),
        ({"presentation": -1.0}, "presentation must be greater than 0"),
        ({"tau_m": 0.0}, "tau_m must be greater than 0"),
        ({"memory": 0.0}, "memory must be greater than 0"),
        ({"n_neurons": 0}, "n_neurons must be at least 1"),
        ({"contamination": 0.7}, "contamination must be"),
        ({"n_jobs": 0}, "n_jobs must not be 0"),
        ({"score_mode": "mean_field", "rule": HebbianRule(promotion="trigger")}, "mean-field"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SpikingNoveltyDetector(**settings).fit(np.ones((40, 3)))
    with pytest.raises(TypeError, match="signed must be True or False"):
        SpikingNoveltyDetector(signed="on").fit(np.ones((40, 3)))
    with pytest.raises(TypeError, match="rule must be a HebbianRule"):
        SpikingNoveltyDetector(rule="stdp").fit(np.ones((40, 3)))
