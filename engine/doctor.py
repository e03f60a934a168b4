"""What `lenumba doctor` looks at: one finding a check, each in one line."""

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.host import available_threads, cpu_name, versions
from lenumba.engine.config.sections import IN_MEMORY, OWN_FILES
from lenumba.engine.data.dataset import DATASETS, load_dataset
from lenumba.engine.data.download import SOURCES, cache_folder, find_folder
from lenumba.engine.training.memory import available_memory, written
from lenumba.kernels.compile import native, target

Level = Literal["ok", "warn", "fail"]
Notify = Callable[[str], None]
LISTED = 3  # damaged programs that are named
LITTLE_MEMORY = 1 << 30  # bytes; lenet on MNIST takes a third of it while it is compiled


@dataclass(frozen=True)
class Finding:
    """What a check found; `warn`: it works, but slower or not for long."""

    check: str
    level: Level
    text: str


def examine(notify: Notify) -> Iterator[Finding]:
    """Run all checks, yielding their findings; `notify` is told of what takes long."""
    for name, check in CHECKS.items():
        try:
            for level, text in check(notify):
                yield Finding(name, level, text)
        except Exception as error:  # a broken installation is what this is for
            yield Finding(name, "fail", " ".join(f"{type(error).__name__}: {error}".split()))


def check_versions(notify: Notify) -> Iterator[tuple[Level, str]]:
    """Tell the versions, and what is missing."""
    yield "ok", ", ".join(f"{name} {number}" for name, number in versions().items())
    missing = []
    for requirement in requires("lenumba") or []:
        name = requirement.partition(";")[0].strip()
        name = name[: next((k for k, letter in enumerate(name) if not (letter.isalnum() or letter in "-_.")), None)]
        if "extra ==" not in requirement:
            try:
                version(name)
            except PackageNotFoundError:
                missing.append(name)
    if missing:
        yield "fail", f"missing: {', '.join(missing)}; run: {sys.executable} -m pip install {' '.join(missing)}"


def check_cpu(notify: Notify) -> Iterator[tuple[Level, str]]:
    """Tell the processor and how wide its vectors are."""
    bits = target.vector_bits()
    text = f"{cpu_name()}, compiled for {target.cpu_target()[0]}, vectors of {bits} bits"
    forced = [name for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES") if os.environ.get(name)]
    text += f", forced by {' and '.join(forced)}" if forced else ""
    yield ("ok", text) if bits > 128 or target.has("neon") else ("warn", f"{text}: slower than they could be")


def check_threads(notify: Notify) -> Iterator[tuple[Level, str]]:
    """Tell how many threads a training takes, and whether a quota allows for fewer."""
    threads, cores = available_threads(), os.cpu_count()
    text = f"{threads} by default, of {cores} cores"
    if (quota := cpu_quota()) is not None and quota < threads:
        yield "warn", f"{text}, but a control group allows for {quota:g}; set train.threads={max(1, int(quota))}"
    else:
        yield "ok", text


def cpu_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many cores the outermost control group may use, or None where there is no limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except OSError:
            return None
    return int(quota) / int(period) if quota.isdecimal() else None


def check_memory(notify: Notify) -> Iterator[tuple[Level, str]]:
    """Tell how much memory a training may take, and what limits it."""
    there = available_memory()
    if not there:
        yield "warn", "cannot tell how much is available on this system: trainings are not checked for it"
        return
    where = min(there, key=lambda name: there[name][0])
    left = there[where][0]
    yield ("ok" if left >= LITTLE_MEMORY else "warn"), f"{written(max(left, 0))} available ({where})"


def check_cache(notify: Notify) -> Iterator[tuple[Level, str]]:
    """Tell where compiled programs are kept, and whether each is whole."""
    root = native.cache_root()
    if not root.exists():
        yield "ok", f"{root}: empty"
        return
    try:
        native.open_private_folder(root)
    except OSError as error:
        yield "warn", f"not used: {error}; every start compiles anew"
        return
    entries = sorted(root.glob("*/program.o"))
    damaged, foreign = [], []
    for entry in entries:
        try:
            native.check_private(entry.parent)
            content = entry.read_bytes()
        except OSError as error:
            foreign.append(str(error))
            continue
        if content[:64] != native.entry_digest(entry, content[64:]):
            damaged.append(entry.parent.name)
    size = sum(path.stat().st_size for path in root.glob("*/*") if path.is_file())
    yield "ok", f"{root}: {len(entries)} programs, {written(size)}, {len(entries) - len(damaged) - len(foreign)} whole"
    if damaged:
        more = f" and {len(damaged) - LISTED} more" if len(damaged) > LISTED else ""
        names = ", ".join(damaged[:LISTED]) + more
        yield "warn", f"damaged or of another version, compiled again when they are needed: {names}"
    for text in foreign:
        yield "warn", text


def check_data(notify: Notify) -> Iterator[tuple[Level, str]]:
    """Tell where each data set would come from."""
    for name in SOURCES:
        try:
            if (folder := find_folder(name)) is None:
                yield "ok", f"{name}: not here; the first training downloads it to {cache_folder(name)}"
                continue
            dataset = load_dataset(name, folder)
            counts = f"{len(dataset.train_labels):,} training and {len(dataset.test_labels):,} test images"
            yield "ok", f"{name}: {folder}, {counts}, whole"
        except DataError as error:
            yield "fail", f"{name}: {error}"
    drawn = [name for name in DATASETS if name not in SOURCES and name not in (*OWN_FILES, IN_MEMORY)]
    yield "ok", f"{', '.join(drawn)}: drawn, no files needed; {', '.join(OWN_FILES)}: your own, in data.root"


def check_kernels(notify: Notify) -> Iterator[tuple[Level, str]]:
    """Compare every kernel with its plain twin."""
    start = time.perf_counter()
    from lenumba.engine.explain.cases import all_cases
    from lenumba.engine.explain.selftest import run_case

    outcomes, compiling = [], 0.0
    for case in all_cases():
        began = time.perf_counter()
        outcome = run_case(case, functools.partial(announce, notify, case.name))
        compiling += 0 if outcome.cached else time.perf_counter() - began
        outcomes.append(outcome)
    took = time.perf_counter() - start
    kernels = frozenset().union(*(outcome.kernels for outcome in outcomes))
    faults = [outcome.fault for outcome in outcomes if outcome.fault]
    for fault in faults:
        yield "fail", fault
    if not faults:
        error = max(outcome.error for outcome in outcomes)
        took_what = f"{took:.1f} s" + (f", {compiling:.1f} s of them compiling, once" if compiling else "")
        yield "ok", f"{len(kernels)} agree with their plain twins, largest difference {error:.0e}; {took_what}"


def announce(notify: Notify, name: str, step: str, done: int, total: int) -> None:
    """Tell that a self-test's program is being compiled, when that begins."""
    if done == 0:
        notify(f"compiling the self-test '{name}', once")


CHECKS: dict[str, Callable[[Notify], Iterator[tuple[Level, str]]]] = {
    "versions": check_versions,
    "cpu": check_cpu,
    "threads": check_threads,
    "memory": check_memory,
    "cache": check_cache,
    "data": check_data,
    "kernels": check_kernels,
}
