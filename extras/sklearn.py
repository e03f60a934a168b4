"""scikit-learn estimators: small CNNs and dense networks in pipelines, grid searches and cross-validation.

>>> from lenumba.sklearn import LeNetClassifier, LeNetRegressor  # doctest: +SKIP
>>> GridSearchCV(LeNetClassifier(), {"learning_rate": [1e-3, 1e-2]}).fit(images, labels)  # doctest: +SKIP
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lenumba._estimator import (  # it says in one line where scikit-learn is missing
    ClassifierMixin,
    Estimator,
    RegressorMixin,
    check_classification_targets,
    compute_sample_weight,
    plain,
    validate_data,
)
from lenumba.engine.data.balance import image_weights
from lenumba.engine.data.dataset import Dataset


class LeNetClassifier(ClassifierMixin, Estimator):
    """A small network, trained by the compiled engine.

    Parameters
    ----------
    layers
        The layers before the last one, as recipes write them: ``["flatten", {"type": "dense", "units": 32,
        "activation": "relu"}]``; or the name or path of a recipe, whose last layer is left out. The last layer, one
        output a class with softmax, comes by itself. None: convolutions for images, 64 hidden units for tables.
    image_shape
        (H, W) or (H, W, C) of images that come as flat rows; None: flat rows are tables.
    signals
        Whether X is [N, L] or [N, L, channels] of signals: then a kernel, window, stride or padding of one number lies
        along them, and None for `layers` means convolutions along them.
    epochs, batch_size
        Passes over the training samples, and samples in a step.
    optimizer
        ``adamw``, ``adam`` or ``sgd`` (with momentum 0.9).
    learning_rate, weight_decay, label_smoothing
        As in recipes.
    class_weight
        ``balanced``, or a dict of weights by label, 1 where it names none, as everywhere in scikit-learn: what the loss
        of a sample counts. Weights are scaled to a mean of 1, so that they leave the learning rate its meaning.
    schedule
        ``constant``, ``cosine``, ``one_cycle``, ``step`` or ``exponential``.
    random_state
        Seed, random generator or None, as everywhere in scikit-learn.
    n_jobs
        Threads: None is 1, −1 all cores. It never changes a bit of the result.

    Attributes
    ----------
    classes_
        The labels, sorted.
    parameters_
        Arrays by name, such as ``dense1.kernel``.
    loss_curve_
        Each epoch's mean training loss.
    n_features_in_
        Columns of X, or rows of its images.

    Notes
    -----
    X is [N, features], [N, H, W] or [N, H, W, C] of any numeric type, or with `signals` [N, L] or [N, L, channels].
    Each feature of a table, or each channel of images or signals, is brought to mean 0 and deviation 1 in float64 and
    goes to the engine as float32, not in 8 bits.
    """

    def __init__(
        self,
        layers: str | Sequence[Any] | None = None,
        *,
        image_shape: Sequence[int] | None = None,
        signals: bool = False,
        epochs: int = 30,
        batch_size: int = 32,
        optimizer: str = "adamw",
        learning_rate: float = 0.01,
        weight_decay: float = 0.01,
        label_smoothing: float = 0.0,
        class_weight: Any = None,
        schedule: str = "cosine",
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.layers = layers
        self.image_shape = image_shape
        self.signals = signals
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.schedule = schedule
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LeNetClassifier":
        """Train on X [N, features], [N, H, W] or [N, H, W, C] with labels y [N] of any kind.

        Parameters
        ----------
        sample_weight
            [N], at least 0: what each sample's loss counts, beside `class_weight`; also in the means and deviations of
            the features. A sample of weight 0 is as good as absent; one of weight 2 counts as two, but takes the
            place of one in its batch.

        Raises
        ------
        ValueError
            Where X, y or a parameter does not fit; one line for each fault.
        lenumba.engine.common.errors.DivergedError
            Where the loss is not finite any more.
        """
        X, y = validate_data(self, X, y, dtype="numeric", allow_nd=True)
        check_classification_targets(y)
        if (weights := self._weighed(X, sample_weight)) is not None:
            X, y, weights = (values[weights > 0] for values in (X, y, weights))
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y: expected at least 2 classes, found one class, {self.classes_[0]!r}; add others")
        images, labels, names = self._prepare(X, weights), labels.astype(np.int64), tuple(map(str, self.classes_))
        dataset = Dataset("X", images, labels, images[:1], labels[:1], len(names), names, sha256="")
        self._train(dataset, self._counting(y, labels, weights))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return float64 [N, classes], the probability of each class, in the order of `classes_`."""
        outputs = self._outputs(X)
        return outputs / outputs.sum(axis=1, keepdims=True)  # to 1 in float64, too

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each sample: an array [N] of labels as they came in `y`."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _last(self) -> dict[str, Any]:
        return {"type": "dense", "units": len(self.classes_), "activation": "softmax"}

    def _settings(self) -> dict[str, Any]:
        return {"loss.label_smoothing": plain(self.label_smoothing)}

    def _counting(self, y: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """Return float32 [N], what each sample's loss counts, 1 on average; None where all count alike."""
        weights = np.ones(len(y)) if weights is None else weights
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            weights = weights / np.bincount(labels, weights)[labels]
        elif self.class_weight is not None:
            weights = weights * compute_sample_weight(self.class_weight, y)
        if not weights.any():
            raise ValueError("class_weight: expected a weight above zero for a label of y, found zeros")
        weights = weights / weights.mean()
        return None if np.ptp(weights) <= 1e-12 else image_weights(weights, np.arange(len(y)))


class LeNetRegressor(RegressorMixin, Estimator):
    """A small network that learns numbers, trained by the compiled engine.

    Parameters
    ----------
    layers
        As for :class:`LeNetClassifier`; the last layer, one output for each number, comes by itself.
    image_shape, signals, epochs, batch_size, optimizer, learning_rate, weight_decay, schedule, random_state, n_jobs
        As for :class:`LeNetClassifier`.

    Attributes
    ----------
    parameters_, loss_curve_, n_features_in_
        As for :class:`LeNetClassifier`.

    Notes
    -----
    X is as for :class:`LeNetClassifier`, y [N] or [N, K]. Each number is brought to mean 0 and deviation 1 to be
    learned, by the mean squared error; answers are in its own units.
    """

    def __init__(
        self,
        layers: str | Sequence[Any] | None = None,
        *,
        image_shape: Sequence[int] | None = None,
        signals: bool = False,
        epochs: int = 30,
        batch_size: int = 32,
        optimizer: str = "adamw",
        learning_rate: float = 0.01,
        weight_decay: float = 0.01,
        schedule: str = "cosine",
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.layers = layers
        self.image_shape = image_shape
        self.signals = signals
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LeNetRegressor":
        """Train on X [N, features], [N, H, W] or [N, H, W, C] with numbers y [N] or [N, K].

        Parameters
        ----------
        sample_weight
            [N], at least 0: what each sample's loss counts, also in the means and deviations of the features.

        Raises
        ------
        ValueError
            Where X, y or a parameter does not fit; one line for each fault.
        lenumba.engine.common.errors.DivergedError
            Where the loss is not finite any more.
        """
        X, y = validate_data(self, X, y, dtype="numeric", allow_nd=True, multi_output=True, y_numeric=True)
        if (weights := self._weighed(X, sample_weight)) is not None:
            X, y, weights = (values[weights > 0] for values in (X, y, weights))
            weights = weights / weights.mean()
        self._answer_shape = y.shape[1:]
        targets = y.reshape(len(y), -1).astype(np.float64)
        self._numbers = targets.shape[1]
        images, labels = self._prepare(X, weights), np.zeros(len(y), np.int64)
        names = tuple(map(str, range(self._numbers)))
        dataset = Dataset(
            "X", images, labels, images[:1], labels[:1], len(names), names, sha256="",
            train_targets=targets, test_targets=targets[:1],
        )  # fmt: skip
        counting = None if weights is None else image_weights(weights, np.arange(len(y)))
        self._units = self._train(dataset, counting).judge.units
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return float64 [N] or [N, K], as y was, in its units."""
        found = self._units.given(self._outputs(X)) if hasattr(self, "_units") else self._outputs(X)
        return found.reshape(len(found), *self._answer_shape)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _last(self) -> dict[str, Any]:
        return {"type": "dense", "units": self._numbers}

    def _settings(self) -> dict[str, Any]:
        return {"data.target": "numbers"}
