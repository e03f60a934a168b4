"""The recipes that are shipped."""

from importlib import resources
from pathlib import Path

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.files import is_file
from lenumba.engine.config.faults import nearest
from lenumba.engine.config.yaml_file import load_yaml


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return names_in("configs")


def example_names() -> list[str]:
    """Return the names of the shipped worked examples."""
    return names_in("configs.worked")


def names_in(package: str) -> list[str]:
    """Return the names of the YAML files of one of our packages."""
    files = resources.files(f"lenumba.{package}").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """Return a shipped recipe as it was written, with its comments.

    Raises
    ------
    ConfigError
        If there is no recipe of that name.
    """
    if name not in (names := recipe_names()):
        raise ConfigError(f"no recipe {name!r}{nearest(name, names)}; the recipes are {', '.join(names)}")
    return resources.files("lenumba.configs").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def example_text(name: str) -> str:
    """Return a shipped worked example as it was written, with its comments."""
    return resources.files("lenumba.configs.worked").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def is_worked(name: str) -> bool:
    """Return whether a name is a worked example's, or a YAML file's whose layers stand at the top."""
    if name in example_names():
        return True
    if not (name.endswith((".yaml", ".yml")) and is_file(name)):
        return False
    data, _ = load_yaml(Path(name).expanduser(), name)
    return "layers" in data and "network" not in data
