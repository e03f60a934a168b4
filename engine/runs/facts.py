"""What is worth recording of a run beside its results: sizes, versions, machine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lenumba.engine.common.files import write_json
from lenumba.engine.common.host import cpu_name, versions
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.survey import survey
from lenumba.engine.training.trainer import Trainer


@dataclass(frozen=True)
class RunRecord:
    """A run's ``run.json``, written anew whenever its status changes.

    Attributes
    ----------
    started
        When the run began, by ``time.monotonic()``: its earlier parts count as if they came just before this one.
    facts
        What is known of it from the beginning (see :func:`describe_run`).
    """

    folder: Path
    started: float
    facts: dict[str, Any]

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return time.monotonic() - self.started

    def write(self, status: str, **found: Any) -> dict[str, Any]:
        """Write the file, and return its contents: the status, what was found, and the facts."""
        summary = {"status": status, **found, **self.facts}
        write_json(self.folder / "run.json", summary)
        return summary


def describe_run(trainer: Trainer, loaded: LoadedConfig, overrides: Sequence[str], *, locks: bool) -> dict[str, Any]:
    """Return what run.json tells beside the results; `locks`: whether the folder's file system has them."""
    return {
        "recipe": loaded.name,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": trainer.network.parameter_count,
        "multiply_adds": trainer.network.multiply_adds,
        "train_images": len(trainer.train_indices),
        "validation_images": len(trainer.val_indices),
        "compile_s": trainer.compile_seconds,
        "compiled": not trainer.cached,
        "threads": trainer.executor.threads,
        "seed": trainer.config.train.seed,
        "data_sha256": trainer.dataset.sha256,
        "notes": trainer.notes,
        **({} if trainer.class_weights is None else {"class_weights": trainer.class_weights}),
        "data": survey(trainer.dataset, trainer.train_indices, trainer.val_indices),
        **({} if trainer.dataset.decided is None else {"decisions": dict(trainer.dataset.decided)}),
        **({} if trainer.init_from is None else {"init_from": trainer.init_from}),
        "overrides": list(overrides),
        **({} if locks else {"locked": False}),
        "versions": versions(),
        "cpu": cpu_name(),
    }
