"""What is worth recording of a run beside its results: sizes, versions, machine."""

import contextlib
import platform
import resource
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.training.trainer import Trainer


def describe_run(trainer: Trainer, loaded: LoadedConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Return what run.json tells beside the results."""
    return {
        "recipe": loaded.name,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": trainer.network.parameter_count,
        "multiply_adds": sum(unit.layer.multiply_adds(unit.shape) for unit in trainer.network.units),
        "train_images": len(trainer.train_indices),
        "validation_images": len(trainer.val_indices),
        "compile_s": trainer.compile_seconds,
        "compiled": not trainer.cached,
        "threads": trainer.executor.threads,
        "seed": trainer.config.train.seed,
        "data_sha256": trainer.dataset.sha256,
        **({} if trainer.init_from is None else {"init_from": trainer.init_from}),
        "overrides": list(overrides),
        "versions": versions(),
        "cpu": cpu_name(),
    }


def versions() -> dict[str, str]:
    """Return the versions that results may depend on."""
    return {
        "lenumba": version("lenumba"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba", "llvmlite")},
    }


def cpu_name() -> str:
    """Return the processor's name as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_rss_mb() -> float:
    """Return the process's peak resident memory in MB (10⁶ bytes)."""
    with contextlib.suppress(OSError):
        # Not getrusage where it can be avoided: on Linux that starts from the parent process's peak.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
