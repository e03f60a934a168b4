"""How much memory a training needs and how much there is, so that one that cannot end is not begun."""

import contextlib
import math
import os
import sys
from pathlib import Path

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import Optimizer
from lenumba.engine.training.judging import CHUNK
from lenumba.kernels.compile.native import is_cached

MB = 1_000_000
# Measured on Linux x86-64: LLVM at work; Numba beside it, and what it allocates for each byte of a program's text.
LLVM, NUMBA, COMPILING = 10 * MB, 60 * MB, 6_000
STACK = 8 << 20  # bytes of address space for each thread
NO_LIMIT = 1 << 60  # cgroups and rlimits write "none" as a number near 2⁶³

REMEDIES = {
    "data": "use fewer images (data.samples)",
    "buffers": "lower train.threads, or make the layers smaller",
    "parameters": "make the layers smaller",
    "program": "free some memory, or raise the limit",
}


def training_needs(
    network: Network, optimizer: Optimizer, dataset: Dataset, threads: int, batch_size: int, validation: int
) -> dict[str, int]:
    """Estimate the bytes that training takes beyond those that the process, with the data read, has already.

    Returns
    -------
    dict
        By the keys of REMEDIES: copies of the images and the outputs for the larger of both evaluations; the workers'
        buffers; parameters, optimiser state, the shards' gradients, and copies while a checkpoint is written; LLVM,
        and Numba with all that it makes where the program is not cached.
    """
    size = 4 * network.size
    shards = min(-(-batch_size // network.unit), network.max_shards)
    images, evaluated = len(dataset.train_labels) + len(dataset.test_labels), max(validation, len(dataset.test_labels))
    if network.target == "input":  # their errors alone are kept
        evaluated = min(evaluated, CHUNK)
    outputs = evaluated * (4 * network.outputs + 8) + 16 * (evaluated // network.unit)
    # theta, best, decay and the state stay. Drawing the largest tensor takes float64 temporaries of it; writing a
    # checkpoint copies all that it holds, and the largest tensor once more to hash it.
    held = size * (2 + optimizer.states) + size // 16
    largest = 4 * max((unit.parameter_count for unit in network.units), default=0)
    copies = max(6 * largest, held + largest)
    source = network.source(optimizer)
    numba = 0 if "numba" in sys.modules else NUMBA
    compiling = 0 if is_cached(source) else numba + COMPILING * len(source.text)
    blocks = -(-batch_size // network.unit) if network.sees_batch else 0
    layout, workers = network.layout, max(threads, blocks)
    return {
        # Counted, as nobody looks at the test images before the end; four arrays of int64 order an epoch.
        "data": images * math.prod(dataset.image_shape) * dataset.train_images.itemsize
        + 4 * 8 * len(dataset.train_labels)
        + outputs,
        "buffers": 4 * (layout.filled * workers + (layout.size - layout.filled) * threads),
        "parameters": held + shards * size + copies,
        "program": LLVM + compiling,
    }


def check_memory(
    network: Network, optimizer: Optimizer, dataset: Dataset, threads: int, batch_size: int, validation: int
) -> None:
    """Raise DataError where a training needs more memory than there is, naming the figures and the largest part."""
    needs = training_needs(network, optimizer, dataset, threads, batch_size, validation)
    resident = sum(needs.values())
    address_space = resident + threads * STACK
    for where, (there, counts_addresses) in available_memory().items():
        needed = address_space if counts_addresses else resident
        if needed > there:
            largest = max(needs, key=lambda part: needs[part])
            parts = ", ".join(f"{name} {written(needs[name])}" for name in sorted(needs, key=lambda k: -needs[k]))
            raise DataError(
                f"memory: expected {written(needed)} for this training ({parts}), found {written(max(there, 0))} left "
                f"({where}); {REMEDIES[largest]}"
            )


def written(size: int) -> str:
    """Write bytes as people do."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


# ----------------------------------------------------------------------------------------------- how much there is


def available_memory(root: Path = Path("/")) -> dict[str, tuple[int, bool]]:
    """Return the bytes that this process may still take, by what limits them, and whether it is address space.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are.
    """
    found = {f"{name} in {where}": (size, False) for name, where, size in system_memory(root)}
    used = numbers_of(root / "proc/self/status")
    with contextlib.suppress(ImportError):
        import resource

        for name, key, label in (("RLIMIT_AS", "VmSize", "ulimit -v"), ("RLIMIT_DATA", "VmData", "ulimit -d")):
            limit = resource.getrlimit(getattr(resource, name))[0]
            if 0 <= limit < NO_LIMIT and key in used:
                found[f"the limit of {written(limit)}, {label}"] = (limit - used[key], True)
    return found


def system_memory(root: Path) -> list[tuple[str, str, int]]:
    """Return (what, where, bytes left) of the machine and of every control group with a limit around the process."""
    found = []
    if "MemAvailable" in (memory := numbers_of(root / "proc/meminfo")):
        found.append(("MemAvailable", "/proc/meminfo", memory["MemAvailable"]))
    for line in text_of(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            base, limit, usage, cache = root / "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, limit, usage = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        folder = base / path.lstrip("/")
        for place in (folder, *folder.parents):
            if not place.is_relative_to(base):
                break
            most, now = text_of(place / limit).strip(), text_of(place / usage).strip()
            if most.isdecimal() and now.isdecimal() and int(most) < NO_LIMIT:
                # Files that were read and may be forgotten count as used, but are the first to go.
                left = int(most) - int(now) + numbers_of(place / "memory.stat").get(cache, 0)
                found.append((limit, "/" + os.path.relpath(place, root), left))
    return found


def text_of(path: Path) -> str:
    """Return a file's text, empty where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def numbers_of(path: Path) -> dict[str, int]:
    """Return the numbers of a file of lines such as "MemAvailable: 1234 kB" or "inactive_file 1234", in bytes."""
    found = {}
    for line in text_of(path).splitlines():
        name, *words = line.replace(":", " ").split()[:3] or [""]
        if words and words[0].isdecimal():
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found
