"""What a notebook shows while a study goes on: a bar, and the best so far."""

from pathlib import Path
from typing import Any

from lenumba.engine.report.live import Bar, in_notebook
from lenumba.engine.tuning.ledger import Ledger
from lenumba.engine.tuning.search import Hooks


def study_hooks() -> Hooks:
    """Return what follows a study: a bar in a notebook, nothing elsewhere."""
    return LiveStudy().hooks if in_notebook() else Hooks()


class LiveStudy:
    """Follows a study in a notebook."""

    def __init__(self) -> None:
        self.hooks = Hooks(start=self._start, trial=self._trial, progress=self._progress, stage=self._stage)
        self.best = ""

    def _start(self, folder: Path, ledger: Ledger, threads: int) -> None:
        self.sign, self.value = 1 if ledger.space.tune.maximize else -1, float("-inf")
        self.bar = Bar(ledger.total, bar_format="{desc} {n_fmt}/{total_fmt} {bar} {elapsed}")

    def _trial(self, row: dict[str, Any]) -> None:
        if row["value"] is not None and self.sign * row["value"] > self.value:
            self.value = self.sign * row["value"]
            self.best = f", the best {row['value']:.4f} (trial {row['trial']})"

    def _progress(self, counts: dict[str, int], figures: dict[str, Any]) -> None:
        self.bar.to(f"trials{self.best}", counts["finished"] + counts["pruned"])

    def _stage(self, text: str, done: int, total: int) -> None:
        self.bar.bar.total = total
        self.bar.to(text, done)
        if done == total:
            self.bar.close()
