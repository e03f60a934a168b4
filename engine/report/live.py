"""What a notebook shows while something is trained: a bar, and the curves after each epoch."""

import sys
from pathlib import Path
from typing import Any

from lenumba.engine.common.html import curves_html, heading_html
from lenumba.engine.common.progress import EpochRecord
from lenumba.engine.common.targets import WORDS, panels, written
from lenumba.engine.report.plots import draw_run
from lenumba.engine.runs.figures import CompareHooks
from lenumba.engine.runs.hooks import Hooks
from lenumba.engine.training.trainer import Trainer


def in_notebook() -> bool:
    """Return whether this is Python in a notebook; nothing is imported to find out."""
    python = sys.modules.get("IPython")
    return python is not None and hasattr(python.get_ipython(), "kernel")


def training_hooks(quiet: bool = False) -> Hooks:
    """Return what follows a training: a bar and curves in a notebook, nothing elsewhere, or where it is to be quiet."""
    return LiveTraining().hooks if in_notebook() and not quiet else Hooks(finished=draw_run)


def comparison_hooks() -> CompareHooks:
    """Return what follows a comparison: a bar in a notebook, nothing elsewhere."""
    return LiveComparison().hooks if in_notebook() else CompareHooks()


class Bar:
    """A bar of tqdm, the notebook's where its widgets are installed; made when it is first moved."""

    def __init__(self, total: float, **options: Any) -> None:
        try:
            from tqdm.notebook import tqdm

            self.bar = tqdm(total=total, leave=False, **options)
        except ImportError:  # ipywidgets
            from tqdm import tqdm as plain

            self.bar = plain(total=total, leave=False, **options)

    def to(self, text: str, done: float) -> None:
        """Move the bar."""
        self.bar.set_description_str(text, refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()


class LiveTraining:
    """Follows a training in a notebook."""

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []
        self.hooks = Hooks(
            compile=self._compile, watch=self._watch, epoch=self._epoch, start=self._start, note=self._note,
            finished=draw_run,
        )  # fmt: skip
        self.bar: Bar | None = None
        self.compiling: Bar | None = None

    def _compile(self, step: str, done: int, total: int) -> None:
        self.compiling = self.compiling or Bar(total, bar_format="{desc} {n_fmt}/{total_fmt} {bar}")
        self.compiling.to(f"compiling {step}", done)

    def _start(self, trainer: Trainer, folder: Path) -> None:
        from IPython.display import HTML, display

        if self.compiling is not None:
            self.compiling.close()
        self.title, self.epochs, self.images = str(folder), trainer.config.train.epochs, len(trainer.train_indices)
        for note in trainer.notes:
            self._note(note)
        self.place = display(HTML(heading_html(self.title, {})), display_id=True)
        self.bar = Bar(self.epochs * self.images, unit=" images", unit_scale=True)
        self.bar.to("", trainer.progress.epoch * self.images)

    def _watch(self, epoch: int, images: int, loss: float, accuracy: float) -> None:
        if self.bar is not None:
            self.bar.to(f"epoch {epoch}/{self.epochs}, loss {loss:.4f}", (epoch - 1) * self.images + images)

    def _epoch(self, record: EpochRecord) -> None:
        from IPython.display import HTML

        self.history.append(record.as_dict())
        told = {"epoch": f"{record.epoch} of {self.epochs}", "training loss": f"{record.train_loss:.4f}"}
        for panel in panels([record.as_dict()])[1:]:
            if (value := record.validated(panel.figure)) is not None:
                told[f"validation {WORDS[panel.figure]}"] = written(panel.figure, value)
        self.place.update(HTML(heading_html(self.title, told) + curves_html(self.history, self.epochs)))
        if record.epoch == self.epochs and self.bar is not None:
            self.bar.close()

    def _note(self, line: str) -> None:
        from IPython.display import HTML, display

        if self.bar is not None:
            self.bar.close()
        display(HTML(heading_html("note:", {}).replace("</p>", f"{line}</p>")))


class LiveComparison:
    """Follows a comparison in a notebook."""

    def __init__(self) -> None:
        self.hooks = CompareHooks(compile=self._compile, watch=self._watch, done=self._done)
        self.bar = Bar(1.0, bar_format="{desc} {percentage:3.0f} % {bar} {elapsed}<{remaining}")

    def _compile(self, step: str, done: int, total: int) -> None:
        self.bar.to(f"compiling {step} ({done}/{total})", self.bar.bar.n)

    def _watch(self, name: str, seed: int, fraction: float) -> None:
        self.bar.to(f"{name}, seed {seed}", fraction)

    def _done(self, name: str, result: object, number: int, count: int) -> None:
        self.bar.to(name, number / count)
        if number == count:
            self.bar.close()
