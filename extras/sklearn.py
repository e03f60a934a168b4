"""A scikit-learn classifier: small CNNs and dense networks in pipelines, grid searches and cross-validation.

>>> from lenumba.sklearn import LeNetClassifier  # doctest: +SKIP
>>> GridSearchCV(LeNetClassifier(), {"learning_rate": [1e-3, 1e-2]}).fit(images, labels)  # doctest: +SKIP
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.host import available_threads
from lenumba.engine.config.config import LoadedConfig, load_config, read_config
from lenumba.engine.data.balance import image_weights
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.normalization import unmeasured
from lenumba.engine.network.layers import Dense
from lenumba.engine.network.layers.usual import image_layers, signal_layers
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.build import build_network
from lenumba.engine.training.executor import Executor
from lenumba.engine.training.trainer import Trainer

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise DataError(
        f"lenumba.sklearn: expected scikit-learn 1.6 or later, found none that fits ({error}); "
        "pip install 'lenumba[sklearn]'"
    ) from None

COLUMNS = 16  # a table is filled up with zeros to a multiple: tables of about one width share a compiled program
CHUNK = 1024  # samples
MAX_SEED = 2**31 - 1
SKELETON = "data: {name: npz, root: arrays in memory, validation: 0, normalize: none}\nnetwork: {layers: []}\n"


class LeNetClassifier(ClassifierMixin, BaseEstimator):
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
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
            if weights.min() < 0 or weights.max() == 0:
                raise ValueError("sample_weight: expected weights of at least zero, and not all of them zero")
            X, y, weights = (values[weights > 0] for values in (X, y, weights))
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y: expected at least 2 classes, found one class, {self.classes_[0]!r}; add others")
        self._row_shape = X.shape[1:]
        images = self._as_images(X)
        self._mean, self._deviation = self._statistics(images, weights)
        # What is constant but for rounding stays near 0 instead of becoming noise.
        constant = self._deviation <= 1e-12 * np.abs(self._mean)
        self._deviation = np.where(constant, 1.0, self._deviation)
        images = self._normalized(images)
        try:
            self._loaded = self._configuration(images)
            counting = self._counting(y, labels, weights)
            trainer = Trainer(self._loaded, self._dataset(images, labels.astype(np.int64)), weights=counting)
        except (ConfigError, DataError) as error:
            raise ValueError(str(error)) from None
        trainer.executor.normalize(unmeasured("raw", trainer.network.input_shape[0]))
        self.loss_curve_ = [record.train_loss for record in trainer.epochs()]
        self.parameters_ = {name: view.copy() for name, view in trainer.network.views(trainer.best_theta).items()}
        self._executor: Executor | None = trainer.executor
        self._weighted = counting is not None  # its program serves an unpickled copy, too
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return float64 [N, classes], the probability of each class, in the order of `classes_`."""
        check_is_fitted(self, "parameters_")
        X = validate_data(self, X, dtype="numeric", allow_nd=True, reset=False)
        if X.shape[1:] != self._row_shape:
            expected, found = ("×".join(map(str, shape)) for shape in (self._row_shape, X.shape[1:]))
            raise ValueError(f"X: expected samples of {expected} values, as in fit, found {found}")
        images = planar(self._normalized(self._as_images(X)))
        order = np.arange(len(images))
        outputs = self._ready().evaluate(images, np.zeros(len(images), np.int64), order)[1].astype(np.float64)
        return outputs / outputs.sum(axis=1, keepdims=True)  # to 1 in float64, too

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each sample: an array [N] of labels as they came in `y`."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_executor" in state:
            state["_executor"] = None  # machine code and its buffers: made again when they are needed
        return state

    def _is_table(self) -> bool:
        return len(self._row_shape) == 1 and self.image_shape is None and not self.signals

    def _as_images(self, rows: np.ndarray) -> np.ndarray:
        """Return [N, H, W, C] of any type; a table [N, features] becomes [N, 1, columns, 1], filled up with zeros."""
        count = len(rows)
        if self._is_table():
            features = rows.shape[1]
            images = np.zeros((count, -(-features // COLUMNS) * COLUMNS), rows.dtype)
            images[:, :features] = rows
            return images[:, np.newaxis, :, np.newaxis]
        if self.signals:
            if self.image_shape is not None:
                raise ValueError("image_shape: expected None beside signals=True, found one; leave it out")
            if rows.ndim > 3:
                raise ValueError(f"X: expected signals [N, L] or [N, L, channels], found {rows.ndim} axes")
            return rows.reshape(count, 1, rows.shape[1], -1)
        shape = rows.shape[1:] if rows.ndim > 2 else tuple(map(operator.index, self.image_shape or ()))
        if len(shape) not in (2, 3) or min(shape) < 1:
            where = "X" if rows.ndim > 2 else "image_shape"
            raise ValueError(f"{where}: expected images of (H, W) or (H, W, C), found {list(shape)}")
        if math.prod(shape) != math.prod(rows.shape[1:]):
            expected, found = "×".join(map(str, shape)), rows.shape[1]
            raise ValueError(f"X: expected {expected} values in a row, as image_shape says, found {found}")
        return rows.reshape(count, *shape, *(1,) * (3 - len(shape)))

    def _statistics(self, images: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return float64 mean and deviation of each feature of a table, or of each channel of images."""
        axes = (0,) if self._is_table() else (0, 1, 2)
        if weights is None:
            return images.mean(axis=axes, dtype=np.float64), images.std(axis=axes, dtype=np.float64)
        mean = np.average(images.mean(axis=axes[1:], dtype=np.float64), axis=0, weights=weights)
        squares = ((images - mean) ** 2).mean(axis=axes[1:])
        return mean, np.sqrt(np.average(squares, axis=0, weights=weights))

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

    def _normalized(self, images: np.ndarray) -> np.ndarray:
        """Return float32, computed in float64 by and by, which takes less memory."""
        result = np.empty(images.shape, np.float32)
        for start in range(0, len(images), CHUNK):
            part = slice(start, start + CHUNK)
            result[part] = (images[part] - self._mean) / self._deviation
        return result

    def _configuration(self, images: np.ndarray) -> LoadedConfig:
        """Return the parameters as a checked configuration."""
        count, shape = len(images), images.shape[1:]
        layers: list[Any]
        given = list(shape[1:]) if self.signals else None  # network.input
        if isinstance(self.layers, str):
            *before, last = load_config(self.layers).config.network.layers
            if not isinstance(last, Dense):
                raise ConfigError(f"layers: expected a recipe that ends with a dense layer, found {self.layers!r}")
            layers = [layer.model_dump() for layer in before]
        else:
            usual = signal_layers(shape[1]) if self.signals else image_layers(*shape)
            layers = usual if self.layers is None else [*self.layers]
        layers.append({"type": "dense", "units": len(self.classes_), "activation": "softmax"})
        generator = check_random_state(self.random_state)
        size = plain(self.batch_size)
        overrides = {
            "network.input": given,
            "network.layers": layers,
            "data.batch_size": min(size, count) if isinstance(size, int) else size,
            "loss.label_smoothing": plain(self.label_smoothing),
            "optimizer.name": self.optimizer,
            "optimizer.learning_rate": plain(self.learning_rate),
            "optimizer.weight_decay": plain(self.weight_decay),
            "schedule.name": self.schedule,
            "train.epochs": plain(self.epochs),
            "train.seed": int(generator.randint(MAX_SEED)),
            "train.threads": thread_count(self.n_jobs),
        }
        return read_config(SKELETON, type(self).__name__, overrides)

    def _dataset(self, images: np.ndarray, labels: np.ndarray) -> Dataset:
        names = tuple(map(str, self.classes_))
        return Dataset("X", images, labels, images[:1], labels[:1], len(names), names, sha256="")

    def _ready(self) -> Executor:
        """Return the executor of fit, or after unpickling a new one."""
        if self._executor is None:
            shape = self._as_images(np.zeros((1, *self._row_shape))).shape[1:]
            network = build_network(self._loaded, shape, "float32", weighted=self._weighted)
            optimizer = make_optimizer(self._loaded.config.optimizer)
            threads = thread_count(self.n_jobs)
            executor = Executor(
                network,
                network.compile(optimizer),
                optimizer,
                normalization=unmeasured("raw", shape[2]),
                threads=threads,
            )
            for name, view in network.views(executor.theta).items():
                view[...] = self.parameters_[name]
            self._executor = executor
        return self._executor


def thread_count(n_jobs: int | None) -> int:
    """Return scikit-learn's n_jobs as a number of threads: None is 1, −1 all cores, −2 all but one."""
    jobs = 1 if n_jobs is None else operator.index(n_jobs)
    return max(1, available_threads() + 1 + jobs) if jobs < 0 else jobs


def plain(value: Any) -> Any:
    """Return NumPy's scalars, of which parameter grids are made, as Python's."""
    return value.item() if isinstance(value, np.generic) else value
