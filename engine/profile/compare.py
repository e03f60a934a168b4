"""The comparison of a profile with an earlier one, or with the epochs that a run recorded."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import read_json
from lenumba.engine.common.text import table
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.profile.report import disturbance, epoch_row
from lenumba.engine.runs.folders import find_run, load_run_config, read_history

LEAST_SLOWDOWN = 0.02  # of an epoch: what is below never counts as a regression, however quiet the machine
LEAST_EPOCHS = 3  # of a run, the first one not counted: fewer tell nothing of its noise
KEPT = "profile.json"  # of a run folder, where somebody kept a profile in it
SAME = ("images", "batch_size", "threads", "forward_multiply_adds")
Profile = Mapping[str, Any]


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
    return profile


def recorded_epochs(run: Path) -> dict[str, Any]:
    """Return what a run recorded as a profile without kernels; its first epoch, which starts cold, is left out."""
    facts, epochs = read_json(run / "run.json"), [1e3 * line["seconds"] for line in read_history(run)][1:]
    if len(epochs) < LEAST_EPOCHS or "multiply_adds" not in facts:
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
    return load_run_config(run, [f"train.threads={read_json(run / 'run.json').get('threads', 1)}", *changes])


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
        ratio = second["ms"] / first["ms"] if first["ms"] > 0 else math.inf
        # Twice the quartiles' half range of either side: a difference beyond it is rare without a cause.
        noise = 2 * math.hypot(first["noise"], second["noise"])
        grew = (second["ms"] - first["ms"]) / old["epoch_ms"]
        worse = ratio > 1 + noise and grew > LEAST_SLOWDOWN and bool(second.get("kernel", True))
        slower += [name] if worse else []
        word = "slower" if worse else "faster" if ratio < 1 - noise and -grew > LEAST_SLOWDOWN else ""
        rows.append([name, f"{first['ms']:.2f}", f"{second['ms']:.2f}", f"{ratio:.3f}", f"± {noise:.3f}", word])
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
