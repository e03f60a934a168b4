"""A run's network with its trained parameters, read and checked; nothing is compiled."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.dataset import Dataset, dataset_spec
from lenumba.engine.data.images import prepare_digit
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.data.selection import load_judged
from lenumba.engine.data.signal_files import read_signal
from lenumba.engine.network.network import Network
from lenumba.engine.runs.checkpoint import Checkpoint
from lenumba.engine.runs.folders import load_run_config
from lenumba.engine.training.build import build_network
from lenumba.engine.training.judging import Judge


@dataclass(frozen=True)
class Trained:
    """A run's network with the parameters that it answers with, nothing compiled.

    Attributes
    ----------
    theta
        float32 [network.size].
    image_shape
        (height, width, channels).
    trained_on
        SHA-256 of the training data; None for an imported network.
    judge
        What its outputs are compared with, and in which units.
    """

    loaded: LoadedConfig
    network: Network
    theta: np.ndarray
    normalization: Normalization
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    trained_on: str | None
    judge: Judge

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """float32 views by the parameters' names, such as ``conv1.kernel``, in the configured orientation."""
        return self.network.views(self.theta)

    @property
    def shows_digits(self) -> bool:
        """Whether pictures of digits are prepared as MNIST's were, since the training images were, too."""
        return dataset_spec(self.loaded.config.data.name).prepare is prepare_digit

    def read_picture(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Return a picture as an image uint8 [H, W, C], prepared as the training images were; or raise DataError.

        Where the network is for signals, or images of floating-point numbers, the row of a file as float32.
        """
        if self.loaded.config.floats:
            return read_signal(str(path), self.image_shape, self.loaded.config.data.target_columns)
        return dataset_spec(self.loaded.config.data.name).prepare(path, self.image_shape)

    def test_data(self) -> Dataset:
        """Load what the configuration names, with the network's own classes: its test set is what to judge.

        Raises
        ------
        ConfigError, DataError
            As :func:`lenumba.engine.data.selection.load_judged` does.
        """
        return load_judged(self.loaded, self.class_names, self.image_shape, self.trained_on)


def read_trained(
    folder: Path, checkpoint: str = "best", overrides: Sequence[str] = (), answers: int | None = None
) -> Trained:
    """Read a run's ``"best"`` or ``"last"`` checkpoint; with `answers`, a network for so many images at a time.

    Raises
    ------
    DataError, ConfigError
        Where the folder holds no intact run.
    """
    loaded = load_run_config(folder, overrides)
    held = Checkpoint.read(folder / f"{checkpoint}.safetensors")
    network = build_network(loaded, held.image_shape, answers=answers)
    theta = np.zeros(network.size, np.float32)
    held.fill(network, theta, held.judged)
    trained_on = held.state["data_sha256"]
    names, judge = held.class_names, held.judge(network)
    return Trained(loaded, network, theta, held.normalization, names, held.image_shape, trained_on, judge)
