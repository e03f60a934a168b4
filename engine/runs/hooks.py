"""How a caller follows a run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lenumba.engine.training.trainer import EpochRecord, Trainer


@dataclass
class Hooks:
    """How a caller follows a run; each is called from the main thread.

    Attributes
    ----------
    compile
        ``compile(step, done, total)`` while the program is compiled.
    watch
        ``watch(epoch, images_done, mean_loss, accuracy)`` about 20 times a second.
    epoch
        ``epoch(record)`` after each epoch.
    start
        ``start(trainer, folder)`` before the first epoch.
    plot
        ``plot(path, what)`` after each of the plots that a run with ``plots: true`` ends with.
    download_bar
        Whether a download draws a progress bar.
    """

    compile: Callable[[str, int, int], None] | None = None
    watch: Callable[[int, int, float, float], None] | None = None
    epoch: Callable[[EpochRecord], None] | None = None
    start: Callable[[Trainer, Path], None] | None = None
    plot: Callable[[Path, str], None] | None = None
    download_bar: bool = False
