"""The scikit-learn classifier, and the float32 images that it feeds to the engine."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from harness import STILL, make_executor, make_network, random_parameters, run_program
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import check_estimator

from lenumba.engine.training.buffers import planar
from lenumba.sklearn import LeNetClassifier, LeNetRegressor

# Quick to compile; its programs serve several tests.
LINEAR = {"layers": ["flatten"], "random_state": 0}
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "wants a sample of weight 2 to give the bits of one that is there "
    "twice, but sums in float32 have another order then"
}


def digits(count: int = 1797) -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    return found.images[:count], found.target[:count]


def test_scikit_learn_accepts_it():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks that want pandas say that they are skipped
        results = check_estimator(LeNetClassifier(), on_skip=None, expected_failed_checks=EXPECTED, on_fail="raise")
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(EXPECTED)
    passed = {result["check_name"] for result in results if result["status"] == "passed"}
    assert {"check_classifiers_train", "check_estimators_pickle", "check_fit_idempotent"} <= passed
    assert {"check_class_weight_classifiers", "check_sample_weights_shape", "check_sample_weights_list"} <= passed


@pytest.mark.long("compiles for long")
def test_scikit_learn_accepts_the_regressor():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(LeNetRegressor(), on_skip=None, expected_failed_checks=EXPECTED, on_fail="raise")
    passed = {result["check_name"] for result in results if result["status"] == "passed"}
    assert {"check_regressors_train", "check_estimators_pickle", "check_fit_idempotent"} <= passed


def test_regressor_agrees_with_least_squares_where_it_is_that_and_answers_as_y_came():
    rng = np.random.default_rng(0)
    table = rng.normal(5, 2, (300, 7))
    numbers = table @ rng.normal(size=(7, 2)) * [1, 100] + [3, 7000] + 0.1 * rng.normal(size=(300, 2))
    model = LeNetRegressor(**LINEAR, epochs=60, weight_decay=0.0).fit(table, numbers)
    exact = LinearRegression().fit(table, numbers).predict(table)
    spread = numbers.std(axis=0)
    np.testing.assert_allclose(model.predict(table) / spread, exact / spread, atol=2e-3)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(table), model.predict(table))
    alone = clone(model).fit(table, numbers[:, 1])
    assert alone.predict(table).shape == (300,)
    assert alone.score(table, numbers[:, 1]) > 0.999


@pytest.mark.parametrize(("unit", "shape"), [(16, (5, 6, 2)), (1, (5, 6, 2))])
def test_floats_that_are_pixels_give_the_bits_of_the_pixels(unit, shape):
    conv = {"type": "conv", "channels": 2, "kernel_size": 3, "padding": 1}
    layers = [{"type": "flatten"}, {"type": "dense", "units": 3, "activation": "softmax"}]
    layers = [conv, *layers] if unit == 16 else layers  # which packs into margins
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (5 if unit == 1 else 37, *shape), np.uint8), rng.integers(0, 3, 37)
    found = []
    for images in (pixels, pixels.astype(np.float32)):
        network = make_network(layers, shape, batch_size=unit)
        network.pixels = images.dtype.name
        assert network.unit == unit
        executor = make_executor(network, network.compile(STILL), random_parameters(network))
        found.append(run_program(executor, planar(images), labels[: len(images)]))
    assert found[0].loss == found[1].loss
    np.testing.assert_array_equal(found[0].outputs, found[1].outputs)
    for name, gradient in found[0].gradients.items():
        np.testing.assert_array_equal(gradient, found[1].gradients[name])


def test_tables_keep_what_eight_bits_would_lose():
    """A column that takes a huge value once has its classes within one 256th of its range."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    column = labels + rng.uniform(-0.2, 0.2, 400)
    column[0] = 2_000.0
    table = np.stack([column, rng.normal(size=400)], axis=1)
    eight_bits = np.rint((column - column.min()) / np.ptp(column) * 255)
    assert len(np.unique(eight_bits[1:])) == 1
    model = LeNetClassifier(**LINEAR, epochs=200, learning_rate=0.5, weight_decay=0.0, schedule="constant")
    assert model.fit(table, labels).score(table[1:], labels[1:]) > 0.99


def test_agrees_with_logistic_regression_where_it_is_one():
    images, labels = digits(600)
    table = images.reshape(600, -1)
    model = LeNetClassifier(**LINEAR, epochs=60, weight_decay=0.0).fit(table, labels)
    scaled = (table - table.mean(axis=0)) / np.where(table.std(axis=0), table.std(axis=0), 1)
    other = LogisticRegression(C=10.0, max_iter=2000).fit(scaled, labels)
    assert (model.predict(table) == other.predict(scaled)).mean() > 0.98


def test_grid_search_over_twelve_settings_of_images_in_any_form():
    images, labels = digits()
    settings = {"learning_rate": [1e-3, 3e-3, 1e-2], "batch_size": [16, 64], "epochs": [2, 8]}
    search = GridSearchCV(LeNetClassifier(random_state=0), settings, cv=2).fit(images, labels)
    assert len(search.cv_results_["params"]) == 12
    assert search.best_score_ > 0.93
    assert search.best_params_["epochs"] == 8
    best = search.best_estimator_
    for other in (images[..., np.newaxis], images.astype(np.float32), images.astype(np.uint8)):
        np.testing.assert_array_equal(clone(best).fit(other, labels).predict(other), best.predict(images))
    flat = make_pipeline(FunctionTransformer(), clone(best).set_params(image_shape=(8, 8)))
    rows = images.reshape(len(images), -1)
    np.testing.assert_array_equal(flat.fit(rows, labels).predict_proba(rows), best.predict_proba(images))
    assert cross_val_score(clone(best), images, labels, cv=2).mean() > 0.93


def test_labels_of_any_kind_come_back_and_a_pickle_answers_alike():
    images, labels = digits(300)
    names = np.array([f"class {label}" for label in labels])
    model = LeNetClassifier(**LINEAR, epochs=30).fit(images, names)
    assert model.score(images, names) > 0.97
    copy = pickle.loads(pickle.dumps(model))
    probabilities = model.predict_proba(images)
    np.testing.assert_array_equal(copy.predict_proba(images), probabilities)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    threads = LeNetClassifier(**LINEAR, epochs=30, n_jobs=3).fit(images, names)
    np.testing.assert_array_equal(threads.predict_proba(images), probabilities)
    assert model.loss_curve_[0] > model.loss_curve_[-1]
    assert model.parameters_["dense1.kernel"].shape == (10, 64)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 0}, "train.epochs: expected an integer from 1 to 100000, found 0"),
        ({"learning_rate": -1.0}, "optimizer.learning_rate: expected a number > 0, found -1"),
        ({"batch_size": "all"}, 'data.batch_size: expected an integer from 1 to 65536, found "all"'),
        ({"layers": "lenett"}, "did you mean 'lenet'"),
        (
            {"layers": [{"type": "conv", "channels": 2, "kernel_size": 9}]},
            "the 9×9 kernel is larger than its 8×8 input",
        ),
    ],
)
def test_wrong_parameters_are_value_errors_of_one_line(settings, says):
    images, labels = digits(60)
    with pytest.raises(ValueError, match=r"expected|larger|no recipe") as caught:
        LeNetClassifier(**settings).fit(images, labels)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_images_are_value_errors():
    images, labels = digits(60)
    with pytest.raises(ValueError, match=r"X: expected 3×3 values in a row, as image_shape says, found 64"):
        LeNetClassifier(image_shape=(3, 3)).fit(images.reshape(60, -1), labels)
    model = LeNetClassifier(**LINEAR, epochs=1).fit(images, labels)
    with pytest.raises(ValueError, match="expected samples of 8×8 values, as in fit, found 8×7"):
        model.predict(images[:, :, :7])
    with pytest.raises(ValueError, match="expected at least 2 classes"):
        LeNetClassifier().fit(images, np.zeros(60))


def test_recipe_lends_its_layers_but_the_last(tmp_path):
    images, labels = digits(100)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {name: digits}\nnetwork: {layers: [flatten, {type: dense, units: 2}]}\n")
    model = LeNetClassifier(str(recipe), random_state=0, epochs=2).fit(images, labels)
    expected = LeNetClassifier(**LINEAR, epochs=2).fit(images, labels)
    np.testing.assert_array_equal(model.predict_proba(images), expected.predict_proba(images))
    recipe.write_text("data: {name: digits}\nnetwork: {layers: [flatten]}\n")
    with pytest.raises(ValueError, match="ends with a dense layer"):
        model.fit(images, labels)


def test_missing_scikit_learn_is_one_line_and_costs_lenumba_nothing(tmp_path):
    text = "import sys; sys.modules['sklearn.base'] = None\nimport lenumba\nimport lenumba.sklearn"
    result = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=tmp_path)
    assert "pip install 'lenumba[sklearn]'" in result.stderr.splitlines()[-1]
    text = "import lenumba, sys; assert 'sklearn' not in sys.modules; import sklearn.base; print(sklearn.__file__)"
    root = lenumba_root()
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=root, check=True).stdout
    assert not found.startswith(str(root))


def lenumba_root() -> str:
    import lenumba

    return lenumba.__path__[0]


def flowers(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A table of three classes, 80, 15 and 5 % of it, that overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, 400, p=[0.8, 0.15, 0.05])
    return rng.normal(size=(400, 4)) + 1.2 * np.eye(3, 4)[labels], labels


WHOLE = {**LINEAR, "batch_size": 10_000, "epochs": 40, "weight_decay": 0.0}  # one batch an epoch


def test_weights_are_repetitions_where_an_epoch_is_one_batch():
    table, labels = flowers()
    counts = np.random.default_rng(1).integers(0, 4, 400)
    weighted = LeNetClassifier(**WHOLE).fit(table, labels, sample_weight=counts)
    repeated = LeNetClassifier(**WHOLE).fit(table.repeat(counts, axis=0), labels.repeat(counts))
    np.testing.assert_allclose(weighted.predict_proba(table), repeated.predict_proba(table), atol=1e-4)
    assert weighted.loss_curve_ == pytest.approx(repeated.loss_curve_, rel=1e-5)
    alike = LeNetClassifier(**WHOLE).fit(table, labels, sample_weight=np.full(400, 7.5))
    np.testing.assert_array_equal(
        alike.predict_proba(table), LeNetClassifier(**WHOLE).fit(table, labels).predict_proba(table)
    )


def test_class_weights_are_sample_weights_and_agree_with_logistic_regression():
    table, labels = flowers()
    names = np.array(["ok", "scratch", "dent"])[labels]
    settings = {**WHOLE, "epochs": 400, "learning_rate": 0.05}
    balanced = LeNetClassifier(**settings, class_weight="balanced").fit(table, names)
    by_hand = compute_sample_weight("balanced", names)
    same = LeNetClassifier(**settings).fit(table, names, sample_weight=None)
    weights = {name: len(names) / (3 * (names == name).sum()) for name in set(names)}
    named = LeNetClassifier(**settings, class_weight=weights).fit(table, names)
    np.testing.assert_allclose(named.predict_proba(table), balanced.predict_proba(table), atol=1e-4)
    # Scaling the features is a matter of optimisation alone.
    peer = LogisticRegression(C=np.inf, max_iter=5000).fit(table, names, sample_weight=by_hand)
    np.testing.assert_allclose(balanced.predict_proba(table), peer.predict_proba(table), atol=0.01)
    fresh, truth = flowers(1)
    truth = np.array(["ok", "scratch", "dent"])[truth]
    recalls = [recall_score(truth, model.predict(fresh), average="macro") for model in (same, balanced)]
    assert recalls[1] > recalls[0] + 0.05


def test_weighted_model_answers_alike_after_pickling():
    images, labels = digits(300)
    model = LeNetClassifier(**LINEAR, epochs=3, class_weight={3: 10.0}).fit(images, labels)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(images), model.predict_proba(images))


@pytest.mark.parametrize(
    ("settings", "weights", "says"),
    [
        ({}, -np.ones(60), "sample_weight: expected weights of at least zero"),
        ({}, np.ones(59), "sample_weight"),
        ({"class_weight": "even"}, None, "balanced"),
        ({"class_weight": dict.fromkeys(range(10), 0.0)}, None, "class_weight: expected a weight above zero"),
    ],
)
def test_wrong_weights_are_value_errors(settings, weights, says):
    images, labels = digits(60)
    with pytest.raises(ValueError, match=says):
        LeNetClassifier(**LINEAR, **settings).fit(images, labels, sample_weight=weights)
