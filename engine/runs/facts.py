"""What is worth recording of a run beside its results: sizes, versions, machine."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from lenumba.engine.common.host import cpu_name, versions
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.training.trainer import Trainer


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
        **({} if trainer.init_from is None else {"init_from": trainer.init_from}),
        "overrides": list(overrides),
        **({} if locks else {"locked": False}),
        "versions": versions(),
        "cpu": cpu_name(),
    }
