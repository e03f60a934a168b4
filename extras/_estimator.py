"""What the scikit-learn estimators share: samples become images, parameters a checked configuration."""

import math
import operator
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError, in_python
from lenumba.engine.common.host import available_threads
from lenumba.engine.config.config import LoadedConfig, load_config, read_config
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
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise DataError(
        f"lenumba.sklearn: expected scikit-learn 1.6 or later, found none that fits ({error}); "
        "pip install 'lenumba[sklearn]'"
    ) from None

__all__ = [
    "ClassifierMixin",
    "Estimator",
    "RegressorMixin",
    "check_classification_targets",
    "compute_sample_weight",
    "plain",
    "validate_data",
]

COLUMNS = 16  # a table is filled up with zeros to a multiple: tables of about one width share a compiled program
CHUNK = 1024  # samples
MAX_SEED = 2**31 - 1
SKELETON = "data: {name: npz, root: arrays in memory, validation: 0, normalize: none}\nnetwork: {layers: []}\n"


class Estimator(BaseEstimator):
    """A small network with scikit-learn's methods; subclasses say what it learns."""

    layers: Any
    image_shape: Any
    signals: bool
    epochs: Any
    batch_size: Any
    optimizer: Any
    learning_rate: Any
    weight_decay: Any
    schedule: Any
    random_state: Any
    n_jobs: Any

    def _last(self) -> dict[str, Any]:
        """Return the last layer, as recipes write it."""
        raise NotImplementedError

    def _settings(self) -> dict[str, Any]:
        """Return what else the configuration says, by dotted keys."""
        return {}

    def _weighed(self, X: np.ndarray, sample_weight: Any) -> np.ndarray | None:
        """Return checked weights float64 [N], or None where none are given."""
        if sample_weight is None:
            return None
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weights.min() < 0 or weights.max() == 0:
            raise ValueError("sample_weight: expected weights of at least zero, and not all of them zero")
        return weights

    def _prepare(self, X: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Return samples as normalised images float32 [N, H, W, C], and remember how."""
        self._row_shape = X.shape[1:]
        images = self._as_images(X)
        self._mean, self._deviation = self._statistics(images, weights)
        # What is constant but for rounding stays near 0 instead of becoming noise.
        constant = self._deviation <= 1e-12 * np.abs(self._mean)
        self._deviation = np.where(constant, 1.0, self._deviation)
        return self._normalized(images)

    def _train(self, dataset: Dataset, counting: np.ndarray | None) -> Trainer:
        """Train on a data set of normalised images; `counting` float32 [N] is what each sample's loss counts."""
        try:
            self._loaded = self._configuration(dataset.train_images)
            trainer = Trainer(self._loaded, dataset, weights=counting)
        except (ConfigError, DataError) as error:
            raise ValueError(in_python(str(error))) from None
        trainer.executor.normalize(unmeasured("raw", trainer.network.input_shape[0]))
        self.loss_curve_ = [record.train_loss for record in trainer.epochs()]
        self.parameters_ = {name: view.copy() for name, view in trainer.network.views(trainer.best_theta).items()}
        self._executor: Executor | None = trainer.executor
        self._weighted = counting is not None  # its program serves an unpickled copy, too
        return trainer

    def _outputs(self, X: Any) -> np.ndarray:
        """Return the network's outputs, float64 [N, outputs]."""
        check_is_fitted(self, "parameters_")
        X = validate_data(self, X, dtype="numeric", allow_nd=True, reset=False)
        if X.shape[1:] != self._row_shape:
            expected, found = ("×".join(map(str, shape)) for shape in (self._row_shape, X.shape[1:]))
            raise ValueError(f"X: expected samples of {expected} values, as in fit, found {found}")
        images, executor = planar(self._normalized(self._as_images(X))), self._ready()
        truth = executor.network.no_labels(len(images))
        return executor.evaluate(images, truth, np.arange(len(images)))[1].astype(np.float64)

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
        layers.append(self._last())
        generator = check_random_state(self.random_state)
        size = plain(self.batch_size)
        overrides = {
            "network.input": given,
            "network.layers": layers,
            "data.batch_size": min(size, count) if isinstance(size, int) else size,
            "optimizer.name": self.optimizer,
            "optimizer.learning_rate": plain(self.learning_rate),
            "optimizer.weight_decay": plain(self.weight_decay),
            "schedule.name": self.schedule,
            "train.epochs": plain(self.epochs),
            "train.seed": int(generator.randint(MAX_SEED)),
            "train.threads": thread_count(self.n_jobs),
            **self._settings(),
        }
        return read_config(SKELETON, type(self).__name__, overrides)

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
