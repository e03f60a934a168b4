"""How the command line shows a study: one bar on stderr, one line a trial on stdout."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenumba.commands.display import OnBar, make_bar
from lenumba.engine.tuning.ledger import Ledger
from lenumba.engine.tuning.report import rows, trial_line
from lenumba.engine.tuning.study import Hooks


class StudyDisplay(OnBar):
    """Shows a study; on a terminal a bar moves, elsewhere there are plain lines only.

    Parameters
    ----------
    echo
        Prints a line on stdout.
    silent
        Show nothing.
    """

    def __init__(self, echo: Callable[[str], None], *, silent: bool = False) -> None:
        self._print = echo
        self.hooks = Hooks() if silent else Hooks(self._start, self._trial, self._progress, self._stage)

    def _start(self, folder: Path, ledger: Ledger, threads: int) -> None:
        self.tune, self.best = ledger.space.tune, ""
        self.best_value = 0.0
        counts = ledger.counts()
        self.done = counts["finished"] + counts["pruned"]
        known = f", {self.done} of them done" if self.done else ""
        self._line(
            f"study {folder}: {ledger.total} trials{known}; {ledger.space.tune.sampler}, pruner "
            f"{ledger.space.tune.pruner}, {ledger.jobs} worker{'s' * (ledger.jobs > 1)} with {threads} "
            f"thread{'s' * (threads > 1)} each; trial 0 is the recipe as written"
        )
        for row in rows(ledger):
            self._note_best(row)
        if sys.stderr.isatty():
            form = "{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}"
            self.bar = make_bar(total=ledger.total, initial=self.done, leave=False, dynamic_ncols=True, bar_format=form)
            self.bar.set_description_str("trials")

    def _note_best(self, row: dict[str, Any]) -> None:
        if row["value"] is None:
            return
        sign = 1 if self.tune.maximize else -1
        if not self.best or sign * row["value"] > sign * self.best_value:
            self.best_value, self.best = row["value"], f"best {row['value']:.4f} (trial {row['trial']})"

    def _trial(self, row: dict[str, Any]) -> None:
        self._note_best(row)
        self._line(trial_line(self.tune, row))

    def _progress(self, counts: dict[str, int], figures: dict[str, Any]) -> None:
        if self.bar is not None:
            self.bar.n = counts["finished"] + counts["pruned"]
            compiling = f", compiling {figures['compiling']}" if figures["compiling"] else ""
            self.bar.set_postfix_str(
                f"{self.best or 'none finished'}, {counts['pruned']} pruned, {counts['failed']} failed, "
                f"{figures['images_per_second']:,.0f} images/s{compiling}"
            )

    def _stage(self, text: str, done: int, total: int) -> None:
        if self.bar is not None:
            self.bar.total, self.bar.n = total, done
            self.bar.set_description_str(text)
            self.bar.refresh()
        elif done == total and total:
            self._line(f"{text}: {total} trainings") if text == "finals" else None
