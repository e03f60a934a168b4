"""The comparison of a profile with an earlier one, or with the epochs that a run recorded."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Required

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import read_json
from lenumba.engine.common.kinds import LOOSE, Finite, checked
from lenumba.engine.common.text import table
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.profile.report import disturbance, epoch_row
from lenumba.engine.runs.folders import find_run, load_run_config, read_history
from lenumba.engine.runs.records import read_run_json

LEAST_SLOWDOWN = 0.02  # of an epoch: what is below never counts as a regression, however quiet the machine
LEAST_EPOCHS = 3  # of a run, the first one not counted: fewer tell nothing of its noise
KEPT = "profile.json"  # of a run folder, where somebody kept a profile in it
SAME = ("images", "batch_size", "threads", "forward_multiply_adds")
Profile = Mapping[str, Any]


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Least = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@with_config(LOOSE)
class MeasuredRow(TypedDict, total=False):
    """A kernel's times, in ms an epoch, and their noise as a share of them."""

    name: Required[str]
    ms: Required[Finite]
    median_ms: Finite
    least_ms: Finite
    noise: Required[Least]
    kernel: str


@with_config(LOOSE)
class Measured(TypedDict):
    """A profile, as far as comparing reads it."""

    rows: list[MeasuredRow]
    epoch_ms: Positive
    epochs_ms: Annotated[list[Positive], Field(min_length=1)]
    images: int
    batch_size: int
    threads: int
    forward_multiply_adds: int


def run_of(name: str) -> Path | None:
    """Return the run folder that ``--compare`` names; None where it names a file."""
    return None if Path(name).is_file() or name.endswith(".json") else find_run(name)


def read_earlier(name: str) -> dict[str, Any]:
    """Read a profile that ``--json`` printed: a file, or the one in a run folder, or else that run's epochs.

    Raises
    ------
    ConfigError, DataError
        Where there is nothing of that name, or nothing to compare with in it.
    """
    run = run_of(name)
    path = Path(name) if run is None else run / KEPT
    if run is not None and not path.is_file():
        return recorded_epochs(run)
    profile = read_json(path)
    if not {"rows", "epochs_ms", *SAME} <= profile.keys():
        found = "something else" if path.is_file() else "no file"
        raise DataError(f"{path}: expected a profile that 'lenumba profile --json' wrote, found {found}")
    return checked(TypeAdapter(Measured), profile, path, "write it again with 'lenumba profile --json'")


def recorded_epochs(run: Path) -> dict[str, Any]:
    """Return what a run recorded as a profile without kernels; its first epoch, which starts cold, is left out."""
    facts, epochs = read_run_json(run), [1e3 * line["seconds"] for line in read_history(run)][1:]
    known = {"multiply_adds", "train_images", "threads"} <= facts.keys()
    if len(epochs) < LEAST_EPOCHS or not known:
        raise DataError(f"{run}: expected a run of at least {LEAST_EPOCHS + 1} epochs, found {len(epochs) + 1}")
    return {
        "rows": [],
        "images": facts["train_images"],
        "batch_size": load_run_config(run).config.data.batch_size,
        "threads": facts["threads"],
        "forward_multiply_adds": facts["multiply_adds"],
        "epoch_ms": sorted(epochs)[len(epochs) // 2],
        "epochs_ms": epochs,
    }


def config_of(name: str, changes: list[str]) -> LoadedConfig | None:
    """Return the configuration of the run that ``--compare`` names, for as many threads; None where it is a file."""
    if (run := run_of(name)) is None:
        return None
    return load_run_config(run, [f"train.threads={read_run_json(run).get('threads', 1)}", *changes])


def changed(before: float, after: float) -> float:
    """Return how many times as long something takes."""
    return after / before if before > 0 else math.inf


def compare_profiles(old: Profile, new: Profile) -> tuple[str, list[str]]:
    """Compare two profiles of the same training.

    Returns
    -------
    text, regressions
        A table of ratios new / old with their noise, and the names of what became slower beyond it.
    """
    for key in SAME:
        if old[key] != new[key]:
            raise ConfigError(f"--compare: expected a profile with {key} = {new[key]}, found {old[key]}; measure anew")
    before = {row["name"]: row for row in old["rows"]}
    rows, slower = [], []
    pairs = [("an unprofiled epoch", epoch_row(old), epoch_row(new))]
    pairs += [(row["name"], before[row["name"]], row) for row in new["rows"] if row["name"] in before]
    for name, first, second in sorted(pairs, key=lambda pair: -pair[2]["ms"]):
        # Three times the quartiles' half range of either side: a difference beyond it is rare without a cause. Others
        # lengthen most epochs of a measurement, but seldom all: a slower program's quickest epoch is slower, too.
        noise = 3 * math.hypot(first["noise"], second["noise"])
        before_ms, after_ms = (side.get("median_ms", side["ms"]) for side in (first, second))
        ratio = changed(before_ms, after_ms)
        least = changed(first.get("least_ms", before_ms), second.get("least_ms", after_ms))
        grew = (after_ms - before_ms) / old["epoch_ms"]
        worse = min(ratio, least) > 1 + noise and grew > LEAST_SLOWDOWN and bool(second.get("kernel", True))
        slower += [name] if worse else []
        word = "slower" if worse else "faster" if max(ratio, least) < 1 - noise and -grew > LEAST_SLOWDOWN else ""
        rows.append([name, f"{before_ms:.2f}", f"{after_ms:.2f}", f"{ratio:.3f}", f"± {noise:.3f}", word])
    text = table(["kernel", "old ms", "new ms", "ratio", "noise", ""], rows)
    text += disturbance(old, "the earlier run") + disturbance(new, "this run")
    if not before:
        return (
            f"{text}\nthe run recorded no kernels: put the output of 'lenumba profile --json' there as {KEPT}",
            slower,
        )
    missing = sorted(before.keys() - {row["name"] for row in new["rows"]})
    added = [row["name"] for row in new["rows"] if row["name"] not in before]
    text += "".join(f"\nonly before: {name}" for name in missing) + "".join(f"\nonly now: {name}" for name in added)
    return text, slower
