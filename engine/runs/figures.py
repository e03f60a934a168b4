"""What several trainings bring together: figures over seeds, and how a caller follows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lenumba.engine.common.statistics import standard_error
from lenumba.engine.common.targets import WORDS
from lenumba.engine.config.config import LoadedConfig


@dataclass(frozen=True)
class Figure:
    """A figure over several seeds: `mean`, and its standard `error` (None for one seed, which tells nothing of it)."""

    mean: float
    error: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Return mean and standard error (the sample's deviation / √n) of one value per seed."""
        return cls(fmean(values), standard_error(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class SeedFigures:
    """What every training with a seed tells.

    Attributes
    ----------
    seconds
        Of training alone, without compilation and validation.
    test_accuracy
        Share of right answers on the test set with the best epoch's parameters.
    """

    seed: int
    seconds: float
    test_accuracy: float

    @property
    def told(self) -> str:
        """What the test has shown, in words."""
        return f"test accuracy {100 * self.test_accuracy:.2f} %"


@dataclass(frozen=True)
class TargetFigures:
    """What a training with a seed tells whose target is no class: `figures` are those of the test set, by name."""

    seed: int
    seconds: float
    figures: dict[str, float]

    @property
    def told(self) -> str:
        """What the test has shown, in words."""
        return "test " + ", ".join(f"{WORDS.get(name, name)} {value:.4f}" for name, value in self.figures.items())


@dataclass
class CompareHooks:
    """How a caller follows a comparison.

    Attributes
    ----------
    compile
        ``compile(step, done, total)`` while a program is compiled.
    watch
        ``watch(name, seed, fraction)`` about 20 times a second: which training runs, and how much of all is done.
    done
        ``done(name, result, number, count)`` after each of `count` trainings; SeedFigures, or TargetFigures.
    download_bar
        Whether a download draws a progress bar.
    finished
        ``finished(folder)`` at the end of a run with ``plots: true``, where trainings have run folders.
    """

    compile: Callable[[str, int, int], None] | None = None
    watch: Callable[[str, int, float], None] | None = None
    done: Callable[[str, Any, int, int], None] | None = None
    download_bar: bool = False
    finished: Callable[[Path], None] | None = None


def with_seed(loaded: LoadedConfig, seed: int) -> LoadedConfig:
    """Return the configuration with another seed."""
    train = loaded.config.train.model_copy(update={"seed": seed})
    return replace(loaded, config=loaded.config.model_copy(update={"train": train}))


def cell(figure: Figure, scale: float = 100.0, digits: int = 2) -> str:
    """Write a figure, scaled, as mean ± standard error."""
    error = "" if figure.error is None else f" ± {scale * figure.error:.{digits}f}"
    return f"{scale * figure.mean:.{digits}f}{error}"
