"""How the command line shows a run while it goes on: one bar on stderr, one line an epoch on stdout."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from lenumba.engine.common.files import read_json
from lenumba.engine.common.progress import EpochRecord
from lenumba.engine.common.targets import TARGETS, WORDS
from lenumba.engine.data.survey import survey_lines
from lenumba.engine.runs.figures import CompareHooks, SeedFigures, TargetFigures
from lenumba.engine.runs.run import Hooks
from lenumba.engine.training.trainer import Trainer

COLUMNS = "epoch  train loss  accuracy  val loss  accuracy  learning rate  images/s"
PLAIN = "epoch  train loss  val loss  learning rate  images/s"  # where answers are not right or wrong


def make_bar(**options: Any) -> Any:
    """Return a bar of tqdm, which is imported only where one is drawn: that takes a while."""
    from tqdm import tqdm

    return tqdm(**options)


class OnBar:
    """A context with a bar on stderr, or none, that is gone at its end."""

    bar: Any = None  # a tqdm
    _print: Callable[[str], None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def echo(self, text: str) -> None:
        """Print a line; one that nobody can read any more must not end what is shown."""
        with contextlib.suppress(OSError):
            self._print(text)

    def _line(self, text: str) -> None:
        if self.bar is not None:
            self.bar.clear()
        self.echo(text)
        if self.bar is not None:
            self.bar.refresh()


class TrainingDisplay(OnBar):
    """Shows compilation, epochs and the running epoch's loss, accuracy and speed.

    On a terminal a bar moves; elsewhere there are plain lines only.

    Parameters
    ----------
    echo
        Prints a line on stdout.
    silent
        Show nothing.
    """

    def __init__(self, echo: Callable[[str], None], *, silent: bool = False) -> None:
        self._print, self.silent = echo, silent
        self.terminal, self.metric = sys.stderr.isatty(), ""
        self.sample = "IMAGE.png"  # what the network may be asked about next
        if silent:
            self.hooks = Hooks(finished=draw_plots)
        else:
            self.hooks = Hooks(
                self._compile, self._watch, self._epoch, self._start, self._line, self._finished, download_bar=True
            )

    def _compile(self, step: str, done: int, total: int) -> None:
        if not self.terminal:
            if done == 0:
                self.echo("compiling the network; the next start finds it in the cache")
            return
        if self.bar is None:
            self.bar = make_bar(total=total, leave=False, bar_format="{desc:<34} {n_fmt}/{total_fmt} |{bar}| {elapsed}")
        self.bar.n = done
        self.bar.set_description_str(f"compiling {step}")

    def _start(self, trainer: Trainer, folder: Path) -> None:
        self._close()
        self.metric, self.answers = shown_metric(trainer.config.train.best_by), TARGETS[trainer.network.target].answers
        if trainer.config.floats:
            self.sample = "ROWS.csv" if trainer.config.network.signals else "FEATURES.npy"
        cpu = f"{trainer.executor.threads} thread{'s' if trainer.executor.threads > 1 else ''}"
        for note in trainer.notes:
            self.echo(f"note: {note}")
        for line in survey_lines(read_json(folder / "run.json").get("data", {})):
            self.echo(line)
        self.echo(
            f"{trainer.loaded.name}: {trainer.network.parameter_count:,} parameters, "
            f"{len(trainer.train_indices):,} training and {len(trainer.val_indices):,} validation images, {cpu}\n"
            f"{origin(trainer)}run folder {folder}\n"
            f"{COLUMNS if self.answers else PLAIN}{self.metric and '  ' + WORDS[self.metric]}"
        )
        self.images, self.epochs = len(trainer.train_indices), trainer.config.train.epochs
        if self.terminal:
            self.bar = make_bar(
                total=self.epochs * self.images,
                initial=trainer.progress.epoch * self.images,
                unit=" images",
                unit_scale=True,
                leave=False,
                dynamic_ncols=True,
            )

    def _watch(self, epoch: int, images: int, loss: float, accuracy: float) -> None:
        if self.bar is not None:
            self.bar.set_description_str(f"epoch {epoch}/{self.epochs}", refresh=False)
            right = f", accuracy {100 * accuracy:.2f} %" if self.answers else ""
            self.bar.set_postfix_str(f"loss {loss:.4f}{right}", refresh=False)
            self.bar.update((epoch - 1) * self.images + images - self.bar.n)

    def _epoch(self, record: EpochRecord) -> None:
        loss, accuracy = record.validated("loss"), record.validated("accuracy")
        cells = [f"{record.train_loss:10.4f}", "       –" if loss is None else f"{loss:8.4f}"]
        if record.train_accuracy is not None:
            cells.insert(1, f"{100 * record.train_accuracy:6.2f} %")
            cells.append("       –" if accuracy is None else f"{100 * accuracy:6.2f} %")
        self._line(
            f"{record.epoch:5d}  {'  '.join(cells)}  {record.learning_rate:13.6f}  {record.images_per_second:8,.0f}"
            f"{self._told(record)}"
        )

    def _told(self, record: EpochRecord) -> str:
        """Return what the best epoch is chosen by, where the other columns do not have it."""
        value = record.validated(self.metric) if self.metric else None
        return "" if value is None else f"  {value:{len(WORDS[self.metric])}.4f}"

    def _finished(self, folder: Path) -> None:
        draw_plots(folder, lambda path, what: self._line(f"{path}  {what}"))


def shown_metric(best_by: str) -> str:
    """Return a metric that is told beside accuracy and loss as epochs are chosen by it; empty for these two."""
    return "" if best_by in ("accuracy", "loss") else best_by


def draw_plots(folder: Path, drawn: Callable[[Path, str], None] | None = None) -> None:
    """Draw a finished run's plots; Matplotlib and the modules that draw are imported only then."""
    from lenumba.engine.report.plots import draw_run

    draw_run(folder, drawn)


def origin(trainer: Trainer) -> str:
    """Return the lines that tell which parameters a run that begins takes from another one, empty for none."""
    if trainer.init_from is None or trainer.progress.epoch or trainer.progress.batch:
        return ""
    run, taken, drawn = trainer.init_from["run"], trainer.init_from["taken"], trainer.init_from["drawn"]
    return f"taken from {run}: {', '.join(taken)}\ndrawn: {', '.join(drawn) or 'none'}\n"


class ComparisonDisplay(OnBar):
    """Shows on stderr how far a comparison is: one bar over all trainings, plain lines where it is no terminal.

    Parameters
    ----------
    echo
        Prints a line on stderr.
    silent
        Show nothing.
    """

    def __init__(self, echo: Callable[[str], None], *, silent: bool = False) -> None:
        self._print, self.bar = echo, None if silent or not sys.stderr.isatty() else self._make_bar()
        self.hooks = CompareHooks(finished=draw_plots)
        if not silent:
            self.hooks = CompareHooks(self._compile, self._watch, self._done, download_bar=True, finished=draw_plots)

    def _make_bar(self) -> Any:
        form = "{desc:<34} {percentage:3.0f} % |{bar}| {elapsed}<{remaining}"
        return make_bar(total=1.0, leave=False, dynamic_ncols=True, bar_format=form)

    def _compile(self, step: str, done: int, total: int) -> None:
        if self.bar is not None:
            self.bar.set_description_str(f"compiling {step} ({done}/{total})")

    def _watch(self, name: str, seed: int, fraction: float) -> None:
        if self.bar is not None:
            self.bar.set_description_str(f"{name}, seed {seed}", refresh=False)
            self.bar.update(fraction - self.bar.n)

    def _done(self, name: str, result: SeedFigures | TargetFigures, number: int, count: int) -> None:
        if self.bar is not None:
            self.bar.update(number / count - self.bar.n)
            return
        self.echo(f"{number}/{count}  {name}, seed {result.seed}: {result.told}, {result.seconds:.1f} s")


class StepBar(OnBar):
    """A bar on stderr for steps with names, called as ``bar(step, done, total)``; none where that is no terminal."""

    def __call__(self, step: str, done: float, total: float) -> None:
        """Show that a step begins, `done` of `total` before it."""
        if self.bar is None:
            if not sys.stderr.isatty():
                return
            self.bar = make_bar(leave=False, dynamic_ncols=True, bar_format="{desc:<34} {percentage:3.0f} % |{bar}|")
        self.bar.total, self.bar.n = total, done
        self.bar.set_description_str(step)
