"""The classifier: scikit-learn's own checks, every rule, decoders, and what is refused."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from septet.spiking import (
    LIF,
    GaussianReceptiveFieldEncoder,
    RuleLearner,
    SpikeBatch,
    SpikeCountLearner,
    SpikeTrainLearner,
    SpikingClassifier,
    SpikingConvolution,
    van_rossum,
    victor_purpura,
)


@parametrize_with_checks([SpikingClassifier(), SpikingClassifier("tempotron")])
def test_it_is_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "estimator", [SpikeTrainLearner(), SpikeCountLearner(), RuleLearner(), SpikingConvolution()]
)
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_cloneable,
    ],
    ids=lambda check: check.__name__,
)
def test_those_that_learn_from_spikes_pass_the_checks_that_need_no_arrays(estimator, check):
    """Scikit-learn's other checks fit arrays, of which these cannot know the times."""
    check(type(estimator).__name__, estimator)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    return X[::2], names[::2], X[1::2], names[1::2]


@pytest.mark.parametrize(
    ("rule", "settings", "at_least"),
    [
        ("lcl", {}, 0.93),
        ("lcl", {"coding": "count", "soft_C": 1.0, "block_size": 10, "max_epochs": 5}, 0.85),
        ("lcl", {"coding": "train", "soft_C": 1.0, "max_epochs": 3}, 0.85),
        ("tempotron", {}, 0.9),
        ("mst", {}, 0.85),
        ("eml", {}, 0.85),
        ("emlc", {}, 0.85),
        ("correlation", {}, 0.4),
        ("fp", {"max_epochs": 100}, 0.7),
        ("htp", {"max_epochs": 100}, 0.7),
        ("elearning", {"max_epochs": 100}, 0.7),
        ("resume", {"max_epochs": 100}, 0.7),
        ("psd", {"max_epochs": 100}, 0.7),
        ("span", {"max_epochs": 100, "learning_rate": 1e-4}, 0.7),
        ("empd", {"max_epochs": 100}, 0.7),
    ],
)
def test_every_rule_tells_irises_apart(rule, settings, at_least, iris):
    X, y, X_test, y_test = iris
    model = SpikingClassifier(rule, random_state=0, **settings).fit(X, y)
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert model.coef_.shape == (3, 32)
    assert model.score(X_test, y_test) >= at_least


class TestSpikesAsInput:
    @pytest.fixture
    def spikes(self, iris):
        X, y, X_test, _ = iris
        encoder = GaussianReceptiveFieldEncoder().fit(X)
        return encoder.transform(X), y, encoder.transform(X_test)

    def test_encoded_data_give_what_the_built_in_encoder_gives(self, iris, spikes):
        X, y, X_test, _ = iris
        inside = SpikingClassifier(random_state=0).fit(X, y)
        outside = SpikingClassifier(random_state=0).fit(spikes[0], y)
        assert np.array_equal(inside.coef_, outside.coef_)
        assert inside.predict(X_test).tolist() == outside.predict(spikes[2]).tolist()
        assert outside.spikes(spikes[2]).n_units == 3

    @pytest.mark.parametrize("decoder", ["peak", "count"])
    def test_the_winner_has_the_highest_score(self, spikes, decoder):
        model = SpikingClassifier(decoder=decoder, random_state=0).fit(*spikes[:2])
        scores = model.decision_function(spikes[2])
        assert scores.shape == (75, 3)
        assert (model.classes_[scores.argmax(axis=1)] == model.predict(spikes[2])).all()

    def test_more_spikes_win_and_the_highest_potential_breaks_ties(self, spikes):
        model = SpikingClassifier(decoder="count", random_state=0).fit(*spikes[:2])
        counts = model.spikes(spikes[2]).counts()
        peaks = model.set_params(decoder="peak").decision_function(spikes[2])
        scores = model.set_params(decoder="count").decision_function(spikes[2])
        order = np.lexsort((peaks, counts), axis=1)
        assert (scores.argsort(axis=1) == order).all()

    @pytest.mark.parametrize("decoder", ["van_rossum", "victor_purpura"])
    def test_the_nearest_trains_over_all_neurons_win(self, spikes, decoder):
        targets = SpikeBatch.from_lists(
            [[[20.0, 50.0], []], [[], [30.0]], [[], []]], duration=spikes[0].duration
        )
        model = SpikingClassifier(
            coding="train", decoder=decoder, targets=targets, soft_C=1.0, max_epochs=1
        )
        model.set_params(random_state=0).fit(*spikes[:2])
        distance = {"van_rossum": van_rossum, "victor_purpura": victor_purpura}[decoder]
        fired = model.spikes(spikes[2][:9])
        expected = [
            [-sum(map(distance, fired.trains(p), targets.trains(c))) for c in range(3)]
            for p in range(9)
        ]
        np.testing.assert_array_equal(model.decision_function(spikes[2][:9]), expected)
        assert model.decision_function(spikes[2][:0]).shape == (0, 3)

    def test_two_classes_have_one_score(self, spikes):
        X, y, X_test = spikes
        two = y != "setosa"
        model = SpikingClassifier(random_state=0).fit(X[np.flatnonzero(two)], y[two])
        assert model.decision_function(X_test).shape == (75,)

    def test_one_kind_of_input_is_not_taken_for_the_other(self, iris, spikes):
        X, y, X_test, _ = iris
        with pytest.raises(TypeError, match="was fitted to a SpikeBatch; got an array"):
            SpikingClassifier().fit(*spikes[:2]).predict(X_test)
        model = SpikingClassifier().fit(X, y)
        with pytest.raises(TypeError, match="fitted to arrays and encodes them"):
            model.predict(spikes[2])
        with pytest.raises(ValueError, match="X has 3 features.*expecting 4"):
            model.predict(X_test[:, :3])
        with pytest.raises(ValueError, match="one label per pattern: 75 and 74"):
            SpikingClassifier().fit(spikes[0], y[1:])
        with pytest.raises(ValueError, match=r"at least two classes are needed; got one"):
            SpikingClassifier().fit(spikes[0], ["setosa"] * 75)


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"rule": "lcll"}, ValueError, "Did you mean 'lcl'"),
        ({"rule": "eml", "coding": "train"}, ValueError, "learns coding='count'; got 'train'"),
        ({"decoder": "van_rossum"}, ValueError, "needs coding=\"train\"; got 'peak'"),
        ({"targets": []}, ValueError, 'targets need coding="train"'),
        ({"coding": "train", "targets": [[1.0]]}, TypeError, "targets must be a SpikeBatch"),
        (
            {"coding": "train", "targets": SpikeBatch.from_lists([[[1.0]]], duration=80.0)},
            ValueError,
            "one pattern per class: 3 classes, 1 patterns",
        ),
        ({"lif": LIF(tau_s=0.0)}, ValueError, "needs synaptic currents"),
        ({"lif": "LIF"}, TypeError, "lif must be a LIF or None; got str"),
        ({"soft_C": 0.0}, ValueError, "soft_C must be greater than 0"),
        ({"margin": 1.0}, ValueError, "margin must be less than 1"),
        ({"max_epochs": 0}, ValueError, "max_epochs must be at least 1"),
    ],
)
def test_what_cannot_be_meant_is_named(iris, settings, error, match):
    X, y, _, _ = iris
    with pytest.raises(error, match=match):
        SpikingClassifier(**settings).fit(X, y)
