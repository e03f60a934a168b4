"""What a study tries: ranges and choices by dotted key, checked against the configuration before anything runs."""

import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
from pydantic import ValidationError

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import Config, LoadedConfig, config_schema, set_value
from lenumba.engine.config.faults import list_faults, nearest, show
from lenumba.engine.network.losses import LOSSES, losses_for
from lenumba.engine.tuning.dimension import Dimension, SpaceFaultError, parse_choices, parse_range, same

SPACE_KEY = 0x7370616365  # "space": keeps the trials' random streams apart from others with the same seed
MAX_GRID = 1_000_000_000
SECTIONS = ("augment", "network", "loss", "optimizer", "schedule", "train", "data")
# These would change what the validation accuracy means, or nothing that it could show.
FIXED = {
    "train.seed": "a seed is no setting; 'tune.seeds' repeats each trial with several",
    "train.threads": "threads never change a result",
    "train.best_by": "what is best is no setting; 'tune.metric' tells it",
    "init_from": "a study begins every trial from the same run",
}
TUNABLE_DATA = ("data.batch_size", "data.normalize", "data.sampling")


class Space:
    """The space of a configuration's study.

    Parameters
    ----------
    loaded
        A configuration with a ``tune`` section.

    Raises
    ------
    ConfigError
        One line for each fault: unknown keys, empty ranges, values that the configuration does not take.
    """

    def __init__(self, loaded: LoadedConfig) -> None:
        if loaded.config.tune is None:
            raise ConfigError(
                f"{loaded.source}: expected a section 'tune', found none; 'lenumba configs show lenet-tune' has one"
            )
        self.loaded, self.tune = loaded, loaded.config.tune
        self.base = loaded.config.model_dump(mode="json", exclude={"tune"})
        self.seed = loaded.config.train.seed
        self.tested = self.tune.tested(loaded.config.data.target)
        faults: list[str] = []
        self.dimensions: list[Dimension] = []
        schema = config_schema()
        if not self.tune.space:
            faults.append(f"{loaded.where('tune.space')}: expected at least one key, found none")
        for key, entry in self.tune.space.items():
            try:
                self.dimensions.append(self._dimension(key, entry, schema))
            except SpaceFaultError as fault:
                part = f".{fault.part}" if fault.part else ""
                faults.append(f"{loaded.where(f'tune.space.{key}{part}')}: {fault}")
        if self.tune.metric == "seconds_to_accuracy" and self.tune.target is None:
            faults.append(f"{loaded.where('tune.target')}: expected the accuracy to reach, such as 0.98, found null")
        if self.tested not in ("accuracy", loaded.config.train.best_by):
            faults.append(
                f"{loaded.where('train.best_by')}: expected {self.tested}, as tune.metric is {self.tune.metric}, "
                f"found {loaded.config.train.best_by}: it chooses the weights that are tested"
            )
        if not loaded.config.data.validation:
            faults.append(
                f"{loaded.where('data.validation')}: expected images set aside for validation, found 0; "
                "a study decides by them"
            )
        if self.tune.sampler == "grid" and not faults:
            faults += self._grid_faults()
        if faults:
            raise ConfigError("\n".join(faults))
        self.recipe = {d.key: lookup(self.base, d.key) for d in self.dimensions}

    def _grid_faults(self) -> Iterator[str]:
        for dimension in self.dimensions:
            if dimension.count() is None or dimension.log:
                where = self.loaded.where(f"tune.space.{dimension.key}")
                yield f"{where}: expected a list, or low, high and step, for the sampler grid; found a continuous range"
        if not any(d.count() is None for d in self.dimensions) and self.grid_size() > MAX_GRID:
            yield f"{self.loaded.where('tune.space')}: expected a grid of at most {MAX_GRID:,} points, found more"

    def _dimension(self, key: str, entry: Any, schema: dict[str, Any]) -> Dimension:
        section = key.partition(".")[0]
        if section not in SECTIONS and key not in FIXED:
            raise SpaceFaultError(
                f"unknown key{nearest(section, SECTIONS) or '; its sections are ' + ', '.join(SECTIONS)}"
            )
        if key in FIXED or (section == "data" and key not in TUNABLE_DATA):
            raise SpaceFaultError(
                FIXED.get(key, f"a study compares on the same data; only {', '.join(TUNABLE_DATA)} may vary")
            )
        if isinstance(entry, list):
            dimension = parse_choices(key, entry)
            samples: list[tuple[object, Any]] = list(enumerate(entry))
        elif isinstance(entry, dict):
            dimension = parse_range(key, entry, whole=False)
            samples = [(name, entry[name]) for name in ("low", "high")]
        else:
            raise SpaceFaultError(f"expected a list of values, or 'low' and 'high', found {show(entry)}")
        for part, value in samples:
            if messages := self._refusals(key, value, schema):
                raise SpaceFaultError(messages[0], part if isinstance(entry, dict) or len(entry) > 1 else "")
        if isinstance(entry, dict):
            whole = all(isinstance(entry[name], int) for name in ("low", "high")) and bool(
                self._refusals(key, entry["low"] + 0.5, schema)
            )
            dimension = parse_range(key, entry, whole=whole)
        own = lookup(self.base, key)
        if isinstance(own, int) and not isinstance(own, bool) and not dimension.choices and not dimension.whole:
            own = float(own)
        if self.tune.metric == "val_loss" and len(kernels := self._losses(key, dimension)) > 1:
            raise SpaceFaultError(
                f"expected one loss, as metric is val_loss, found values that lead to {' and '.join(kernels)}; "
                "set tune.metric to val_accuracy"
            )
        if not dimension.holds(own):
            raise SpaceFaultError(
                f"expected to hold the recipe's own value {show(own)}, as trial 0 is the recipe as written; "
                "widen it or change the value"
            )
        return dimension

    def _refusals(self, key: str, value: Any, schema: dict[str, Any]) -> list[str]:
        """Return why the configuration does not take a value at a key, whatever its other values are."""
        data = deepcopy(self.base)
        try:
            set_value(data, {}, key, deepcopy(value))
            Config.model_validate(data)
        except ConfigError as error:
            return [str(error).removeprefix(f"override {key}: ")]
        except ValidationError as error:
            if any(item["type"] == "faults" for item in error.errors()):  # other values may make it right
                return []
            explained = list_faults(error, data, schema)
            return [text for path, text in explained if f"{key}.".startswith(f"{path}.") or path.startswith(f"{key}.")]
        return []

    def _losses(self, key: str, dimension: Dimension) -> list[str]:
        """Return the losses that a key's values lead to, by themselves."""
        layers = self.base["network"]["layers"]
        if key == "loss.name":
            names = [self.loaded.config.loss_name if name == "auto" else name for name in dimension.choices]
        elif key in (f"network.layers.{len(layers) - 1}.{field}" for field in ("activation", "function")):
            names = [losses_for(activation)[0] for activation in dimension.choices]
        else:
            names = []
        return sorted({LOSSES[name].kernel.replace("_", " ") for name in names})

    def grid_size(self) -> int:
        """Return the number of points of the grid."""
        return math.prod(d.count() or 1 for d in self.dimensions)

    @property
    def limit(self) -> int | None:
        """How many different trials there are; None where there is no end."""
        return self.grid_size() if self.tune.sampler == "grid" else None

    def sample(self, slot: int) -> dict[str, Any] | None:
        """Return the values of trial `slot`, a function of seed and slot; None where the sampler learns from others."""
        if slot == 0:
            return dict(self.recipe)
        if self.tune.sampler == "random":
            generator = np.random.Generator(np.random.Philox(key=np.array([self.seed, SPACE_KEY + slot], np.uint64)))
            return {d.key: d.draw(float(generator.random())) for d in self.dimensions}
        return self._grid_point(slot) if self.tune.sampler == "grid" else None

    def _grid_point(self, slot: int) -> dict[str, Any]:
        """Return point `slot` of the grid in an order that spreads a part of it evenly; point 0 is the recipe."""
        size, own = self.grid_size(), 0
        for d in self.dimensions:
            own = own * (d.count() or 1) + next(
                k for k in range(d.count() or 1) if (d.choices and same(d.point(k), self.recipe[d.key]))
                or (not d.choices and abs(d.point(k) - self.recipe[d.key]) <= 1e-8 * (d.step or 1))
            )  # fmt: skip
        stride = max(1, round(size * 0.618))
        while math.gcd(stride, size) != 1:
            stride += 1
        index, values = (own + slot * stride) % size, {}
        for d in reversed(self.dimensions):
            index, position = divmod(index, d.count() or 1)
            values[d.key] = d.point(position)
        return {d.key: values[d.key] for d in self.dimensions}

    def config(self, values: Mapping[str, Any], name: str, seed: int | None = None) -> LoadedConfig:
        """Return the recipe with other values, as trial `name`.

        Raises
        ------
        ConfigError
            In one line, where they do not fit each other.
        """
        return apply(self.base, values, name, self.loaded.name, seed)


def apply(base: dict[str, Any], values: Mapping[str, Any], source: str, name: str, seed: int | None) -> LoadedConfig:
    """Return a plain configuration with values replaced by dotted key."""
    data = deepcopy(base)
    for key, value in values.items():
        set_value(data, {}, key, deepcopy(value))
    if seed is not None:
        data["train"]["seed"] = seed
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        lines = [f"{path}: {text}" for path, text in list_faults(error, data, config_schema())]
        raise ConfigError(f"{source}: {'; '.join(lines)}") from None
    return LoadedConfig(name, source, config, {})


def lookup(data: Any, key: str) -> Any:
    """Return the value at a dotted key of plain data."""
    for part in key.split("."):
        data = data[int(part)] if isinstance(data, list) else data[part]
    return data
