"""The packages that only some need: one line says what to install where one is missing."""

import importlib.util

from lenumba.engine.common.errors import DataError
from lenumba.engine.config.config import Config


def need(module: str, extra: str, where: str) -> None:
    """Raise DataError where a module is not installed that comes with an extra of lenumba."""
    if importlib.util.find_spec(module) is None:
        raise DataError(f"{where}: expected the package {module}, found none; pip install 'lenumba[{extra}]'")


def check_extras(config: Config) -> None:
    """Raise DataError where a package is missing that the configuration asks for."""
    if config.plots:
        need("matplotlib", "plot", "plots: true")
    if config.log == "tensorboard":
        need("tensorboardX", "tensorboard", "log: tensorboard")
