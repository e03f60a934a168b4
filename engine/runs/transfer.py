"""Transfer learning: parameters that a network takes from a trained run (`init_from`) instead of drawing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.network.network import Network
from lenumba.engine.runs.folders import find_run, lasting
from lenumba.engine.runs.trained import read_trained
from lenumba.engine.training.build import check_network, stated_shape
from lenumba.engine.training.trainer import Trainer

LISTED = 6  # tensors that an error names; more would hide what it says


@dataclass(frozen=True)
class Source:
    """A trained run to take parameters from.

    Attributes
    ----------
    run
        Its folder.
    tensors
        Those of its best checkpoint, by name.
    convolved
        The names of the kernels that true convolutions slide, rotated by 180° against those of correlations.
    """

    run: Path
    tensors: dict[str, np.ndarray]
    convolved: frozenset[str]

    def give(self, network: Network, taken: Sequence[str], views: Mapping[str, np.ndarray]) -> None:
        """Copy tensors into views of a network's parameters, so that its layers do what the run's did."""
        for name in taken:
            turned = network.parameters[name].flipped != (name in self.convolved)
            views[name][...] = self.tensors[name][..., ::-1, ::-1] if turned else self.tensors[name]


def absolute_source(loaded: LoadedConfig) -> LoadedConfig:
    """Return the configuration with `init_from` as an absolute path, so that 'latest' keeps meaning the same run.

    Raises
    ------
    ConfigError
        Where there is no such run.
    """
    if (name := loaded.config.init_from) is None:
        return loaded
    try:
        folder = lasting(str(find_run(name)))
    except ConfigError as error:
        raise loaded.error("init_from", str(error)) from None
    return replace(loaded, config=loaded.config.model_copy(update={"init_from": folder}))


def read_source(loaded: LoadedConfig) -> Source | None:
    """Read the run that `init_from` names; None where it names none.

    Raises
    ------
    ConfigError
        Where there is no such run, or nothing of it fits the network.
    DataError
        Where its checkpoint is missing or damaged.
    """
    if (path := absolute_source(loaded).config.init_from) is None:
        return None
    trained = read_trained(Path(path))
    convolved = frozenset(name for name, parameter in trained.network.parameters.items() if parameter.flipped)
    source = Source(Path(path), trained.parameters, convolved)
    if stated_shape(loaded.config) is not None:  # so that a misfit shows before anything is loaded or compiled
        fitting(source, check_network(loaded), loaded)
    return source


def fitting(source: Source, network: Network, loaded: LoadedConfig) -> tuple[list[str], list[str]]:
    """Return the names of the parameters to take and of those to draw.

    A layer is taken where the source has all of its parameters, by name and shape, those of its own norm included: half
    a layer would be worth nothing, and statistics are those of what a norm was trained behind.

    Raises
    ------
    ConfigError
        Where nothing fits.
    """
    shapes = {name: parameter.shape for name, parameter in network.parameters.items()}
    found = {name: tensor.shape for name, tensor in source.tensors.items()}
    layers = {f"{unit.name}.{parameter.name}": unit.path for unit in network.units for parameter in unit.parameters}
    misfits = {layers[name] for name, shape in shapes.items() if found.get(name) != shape}
    taken = [name for name in shapes if layers[name] not in misfits]
    if not taken:
        raise loaded.error(
            "init_from",
            f"expected parameters of the same name and shape, such as {describe(shapes)}, in {source.run}, "
            f"found {describe(found)}; choose another run or make the layers alike",
        )
    return taken, [name for name in shapes if name not in taken]


def describe(shapes: dict[str, tuple[int, ...]]) -> str:
    """Write names and shapes, at most a few of them: conv1.kernel 4×1×5×5, conv1.bias 4."""
    texts = [f"{name} {'×'.join(map(str, shape))}" for name, shape in shapes.items()]
    return ", ".join([*texts[:LISTED], *["…"][: len(texts) > LISTED]]) or "none at all"


def take_over(trainer: Trainer, source: Source | None) -> None:
    """Put the source's fitting parameters into a trainer that has not begun, and note them in `trainer.init_from`.

    The optimiser starts afresh, and pixels are normalised by the new images' mean and deviation: both belong to the
    data at hand.

    Raises
    ------
    ConfigError
        Where nothing fits.
    """
    if source is None:
        return
    taken, drawn = fitting(source, trainer.network, trainer.loaded)
    source.give(trainer.network, taken, trainer.network.views(trainer.executor.theta))
    trainer.best_theta[:] = trainer.executor.theta
    trainer.init_from = {"run": str(source.run), "taken": taken, "drawn": drawn}
