"""A run's network with its trained parameters, read and checked; nothing is compiled."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.network.network import Network
from lenumba.engine.runs.checkpoint import Checkpoint
from lenumba.engine.runs.folders import load_run_config
from lenumba.engine.training.build import build_network


@dataclass(frozen=True)
class Trained:
    """A run's network with the parameters that it answers with, nothing compiled.

    Attributes
    ----------
    theta
        float32 [network.size].
    image_shape
        (height, width, channels).
    """

    loaded: LoadedConfig
    network: Network
    theta: np.ndarray
    normalization: Normalization
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """float32 views by the parameters' names, such as ``conv1.kernel``, in the configured orientation."""
        return self.network.views(self.theta)


def read_trained(folder: Path, checkpoint: str = "best", overrides: Sequence[str] = ()) -> Trained:
    """Read a run's ``"best"`` or ``"last"`` checkpoint.

    Raises
    ------
    DataError, ConfigError
        Where the folder holds no intact run.
    """
    loaded = load_run_config(folder, overrides)
    held = Checkpoint.read(folder / f"{checkpoint}.safetensors")
    network = build_network(loaded, held.image_shape)
    theta = np.zeros(network.size, np.float32)
    held.fill(network, theta, held.judged)
    return Trained(loaded, network, theta, held.normalization, held.class_names, held.image_shape)
