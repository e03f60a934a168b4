"""The function to profile and its arguments, as the command line names them."""

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError

NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
FUNCTION = re.compile(rf"(?P<file>.+\.py):(?P<in_file>{NAME})|(?P<module>{NAME}):(?P<in_module>{NAME})")


@dataclass
class Subject:
    """A function and how to make its arguments.

    Attributes
    ----------
    name, function
        As it was named, and what Numba made of it.
    make
        Returns new arguments; None where they cannot be made again.
    arguments, setup
        Their text, for people and for other processes.
    values
        The arguments to begin with.
    """

    name: str
    function: Any
    make: Callable[[], tuple[Any, ...]] | None = None
    arguments: str = ""
    setup: str = ""
    values: tuple[Any, ...] = field(default_factory=tuple)


def names_function(target: str) -> bool:
    """Return whether a text is of the form ``module:function`` or ``FILE.py:function``."""
    return bool(FUNCTION.fullmatch(os.path.expanduser(target))) and not os.path.exists(target)


def find_subject(
    target: str, arguments: str | None = None, setup: str | None = None, names: Mapping[str, Any] | None = None
) -> Subject:
    """Return the function that a text names, with its arguments.

    Without `arguments`, they are what the module's function ``NAME_arguments()`` returns, where there is one.

    Parameters
    ----------
    names
        Values that `setup` and `arguments` may use.

    Raises
    ------
    ConfigError
        Where there is no such function, Numba did not compile it, or its arguments cannot be made.
    """
    module, function = find_function(target)
    name = target.rpartition(":")[2]
    prepared = getattr(module, f"{name}_arguments", None)
    if arguments is None and callable(prepared):
        maker, words = prepared, f"{name}_arguments()"
    else:
        known = vars(module) | {module.__name__.rpartition(".")[2]: module, "np": np} | dict(names or {})
        words = (arguments or "").strip()

        def maker() -> tuple[Any, ...]:
            return evaluate(words, setup or "", known)

    def make() -> tuple[Any, ...]:
        try:
            made = maker()
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:  # the user's function may raise anything
            raise ConfigError(f"{target}: {words} raised {type(error).__name__}: {first_line(error)}") from None
        return made if isinstance(made, tuple) else (made,)

    return Subject(target, function, make, words, setup or "", make())


def find_function(target: str) -> tuple[ModuleType, Any]:
    """Return the module and the function that ``module:function`` or ``FILE.py:function`` names.

    Modules are also looked for in the working directory.

    Raises
    ------
    ConfigError
        Where there is none, or Numba did not compile it.
    """
    name, _, attribute = os.path.expanduser(target).rpartition(":")
    try:
        module = load_file(Path(name)) if name.endswith(".py") else load_module(name)
        value: Any = module
        for part in attribute.split("."):
            value = getattr(value, part)
    except ImportError as error:
        raise ConfigError(f"{target}: expected a module that can be imported from here, found: {error}") from None
    except AttributeError as error:
        raise ConfigError(f"{target}: expected a function in the module, found: {error}") from None
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        raise ConfigError(f"{target}: importing it raised {type(error).__name__}: {first_line(error)}") from None
    check_compiled(target, value)
    return module, value


def check_compiled(name: str, value: Any) -> None:
    """Raise ConfigError where a value is nothing that Numba compiled."""
    from lenumba.kernels.measure.ufuncs import is_compiled

    if not is_compiled(value):
        remedy = "unset NUMBA_DISABLE_JIT" if os.environ.get("NUMBA_DISABLE_JIT") else "decorate it"
        raise ConfigError(
            f"{name}: expected a function with Numba's njit on it, found {type(value).__name__}; {remedy}"
        )


def subject_of(function: Any, values: tuple[Any, ...]) -> Subject:
    """Return a function with the arguments that it is called with.

    Raises
    ------
    ConfigError
        Where Numba did not compile it.
    """
    name = f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', function)}"
    check_compiled(name, function)
    return Subject(name, function, values=values)


@contextmanager
def searched(folder: Path) -> Iterator[None]:
    """Look for modules in a folder, too."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def load_module(name: str) -> ModuleType:
    """Import a module by its name."""
    with searched(Path.cwd()):
        return importlib.import_module(name)


def load_file(path: Path) -> ModuleType:
    """Import a module by its file; one in a package by the package's name, so that its own imports work."""
    if not path.is_file():
        raise ConfigError(f"{path}: expected a Python file, found none; correct the path")
    path = path.resolve()
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts, folder = [folder.name, *parts], folder.parent
    name = ".".join(parts)
    with searched(folder):
        loaded = sys.modules.get(name)
        if loaded is not None and getattr(loaded, "__file__", None) == str(path):
            return loaded
        if len(parts) > 1:
            return importlib.import_module(name)
        name = f"_{name}" if name in sys.modules or name in sys.stdlib_module_names else name
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"no Python in {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def first_line(error: BaseException) -> str:
    """Return an error's first line of text that tells something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Failed in nopython mode")), "no message")


def evaluate(text: str, setup: str, names: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of a Python expression such as ``np.ones(1000), 3``, after the statements in `setup`.

    Raises
    ------
    ConfigError
        Where either is no Python or raises.
    """
    space = dict(names)
    try:
        exec(setup, space)
    except (Exception, SystemExit) as error:  # whatever the user wrote
        raise ConfigError(
            f"--setup: expected statements such as 'x = np.ones(9)', found {setup!r}: {type(error).__name__}: "
            f"{first_line(error)}"
        ) from None
    if not text:
        return ()
    try:
        return tuple(eval(f"({text.rstrip(',')},)", space))
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"--args: expected values such as 'np.ones(1000), 3', found {text!r}: {type(error).__name__}: "
            f"{first_line(error)}"
        ) from None


def file_of(function: Any) -> Path:
    """Return the file of the Python function that Numba compiled."""
    from lenumba.kernels.measure.ufuncs import python_function

    return Path(python_function(function).__code__.co_filename)
