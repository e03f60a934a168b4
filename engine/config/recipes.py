"""The recipes that are shipped."""

from importlib import resources

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.faults import nearest


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
