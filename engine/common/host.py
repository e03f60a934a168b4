"""The machine and the process: cores, versions, processor, memory."""

import contextlib
import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path


def available_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
