"""What decides a training's result, where two configurations differ in that, and what may change when a run goes on."""

import contextlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import Config, LoadedConfig
from lenumba.engine.config.sections import OWN_FILES
from lenumba.engine.config.yaml_file import load_value
from lenumba.engine.runs.folders import load_run_config, portable

#: What may change when a run goes on: how long it trains, and where and how fast.
RESUMABLE = ("train.epochs", "train.patience", "train.threads", "data.root")


def deciding(config: Config) -> dict[str, Any]:
    """Return what decides a training's bits, as plain values that JSON gives back unchanged."""
    values = portable(config).model_dump(mode="json", exclude={"tune": True, "plots": True, "log": True})
    del values["train"]["threads"]
    if isinstance(weights := values["loss"]["class_weight"], dict):  # as pairs, since a class may come or go
        values["loss"]["class_weight"] = sorted(weights.items())
    return json.loads(json.dumps(values))


def differences(old: Any, new: Any, path: str = "", *, whole: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted path, old value, new value) where two plain configurations differ.

    What only one of them has is passed over: another version has more to say, or a value of another type has. With
    `whole` it counts, against None.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            if whole or (key in old and key in new):
                yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key, whole=whole)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and nested(old + new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{path}.{index}", whole=whole)
    elif old != new:
        yield path, old, new


def nested(items: Sequence[Any]) -> bool:
    """Return whether a list's items have parts of their own, which can be told apart by name."""
    return all(isinstance(item, Mapping | list) for item in items)


def check_overrides(overrides: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise ConfigError where an override would make a run another one."""
    for item in overrides:
        key = item.partition("=")[0]
        if "=" in item and key not in allowed:
            *others, last = allowed
            may = f"{', '.join(others)} and {last}" if others else last
            raise ConfigError(f"override {key}: a run keeps it; only {may} may change here, or start a new run")


def training_on(folder: Path, loaded: LoadedConfig) -> str:
    """Return the rest of a line that says that a run's data are others: the command that starts a run from this one.

    Files that `data.root` was to be changed to are joined with the run's own.
    """
    before, after = (as_list(found.config.data.root) for found in (load_run_config(folder), loaded))
    added = [root for root in after if root not in before and os.path.exists(os.path.expanduser(root))]
    if added and loaded.config.data.name not in OWN_FILES:
        return ""
    roots = ", ".join(quoted(root) for root in (*before, *added))
    command = ["lenumba", "train", str(folder), *([f"data.root=[{roots}]"] if added else [])]
    what = "to train on with both" if added else "or train on with what is there"
    return f"; {what}: {shlex.join([*command, f'init_from={folder}'])}"


def quoted(text: str) -> str:
    """Return a text as an item of a YAML list, in quotes where it needs them."""
    with contextlib.suppress(ConfigError):
        if load_value(f"[{text}]", "") == [text]:
            return text
    return json.dumps(text, ensure_ascii=False)


def as_list(root: str | Sequence[str] | None) -> list[str]:
    """Return the paths of `data.root`."""
    return [] if root is None else [root] if isinstance(root, str) else [*root]
