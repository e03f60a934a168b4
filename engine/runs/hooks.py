"""How a caller follows a run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lenumba.engine.common.progress import EpochRecord
from lenumba.engine.training.trainer import Trainer


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
    note
        ``note(line)`` where there is something that people should know, such as why the training ended early.
    finished
        ``finished(folder)`` at the end of a run with ``plots: true``, to draw them.
    download_bar
        Whether a download draws a progress bar.
    """

    compile: Callable[[str, int, int], None] | None = None
    watch: Callable[[int, int, float, float], None] | None = None
    epoch: Callable[[EpochRecord], None] | None = None
    start: Callable[[Trainer, Path], None] | None = None
    note: Callable[[str], None] | None = None
    finished: Callable[[Path], None] | None = None
    download_bar: bool = False
