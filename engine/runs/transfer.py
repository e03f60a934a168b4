"""Transfer learning: parameters that a network takes from a trained run (`init_from`) instead of drawing them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.files import expanded
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.network.network import Network
from lenumba.engine.runs.checkpoint import BEST, Checkpoint
from lenumba.engine.runs.folders import find_run
from lenumba.engine.training.build import check_network, stated_shape
from lenumba.engine.training.trainer import Trainer

LISTED = 6  # tensors that an error names; more would hide what it says


@dataclass(frozen=True)
class Source:
    """A trained run to take parameters from: its folder, and the tensors of its best checkpoint by name."""

    run: Path
    tensors: dict[str, np.ndarray]


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
        folder = find_run(str(expanded(name))).absolute()
    except ConfigError as error:
        raise loaded.error("init_from", str(error)) from None
    return replace(loaded, config=loaded.config.model_copy(update={"init_from": str(folder)}))


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
    source = Source(Path(path), Checkpoint.read(Path(path) / BEST).parameters)
    if stated_shape(loaded.config) is not None:  # so that a misfit shows before anything is loaded or compiled
        fitting(source, check_network(loaded), loaded)
    return source


def fitting(source: Source, network: Network, loaded: LoadedConfig) -> tuple[list[str], list[str]]:
    """Return the names of the parameters to take, whose name and shape are the source's, and of those to draw.

    Raises
    ------
    ConfigError
        Where nothing fits.
    """
    shapes = {name: parameter.shape for name, parameter in network.parameters.items()}
    found = {name: tensor.shape for name, tensor in source.tensors.items()}
    taken = [name for name, shape in shapes.items() if found.get(name) == shape]
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
    views = trainer.network.views(trainer.executor.theta)
    for name in taken:
        views[name][...] = source.tensors[name]
    trainer.best_theta[:] = trainer.executor.theta
    trainer.init_from = {"run": str(source.run), "taken": taken, "drawn": drawn}
