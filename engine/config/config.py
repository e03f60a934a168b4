"""Configurations: what a training run is made of, read from YAML and checked before anything is compiled."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.files import read_json
from lenumba.engine.common.html import text_html
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.config.faults import list_faults, nearest, show
from lenumba.engine.config.misfits import config_misfits, fitting_losses
from lenumba.engine.config.recipes import recipe_names, recipe_text
from lenumba.engine.config.sections import OWN_FILES, Data, Loss, Network, Optimizer, Schedule, Train
from lenumba.engine.config.tune import Tune
from lenumba.engine.config.yaml_file import as_trained, check_levels, copied, dump_yaml, load_value, load_yaml
from lenumba.engine.network.augmentation import Augment
from lenumba.engine.network.layers import LAYERS, Strictly
from lenumba.engine.network.layers.table import NESTED, expand_layer

# What misfits of a section, or of one value, also depend on.
JUDGED_WITH = {
    "loss": ("network",),
    "schedule": ("train",),
    "network.input": ("data",),
    "train.best_by": ("data",),
}

Overrides = Iterable[str] | Mapping[str, Any]


class Config(Strictly):
    """A complete training run.

    Raises
    ------
    pydantic.ValidationError
        If a value is wrong; :func:`load_config` turns this into a ConfigError.
    """

    data: Data
    augment: Augment = Augment()
    network: Network
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    train: Train = Train()
    tune: Tune | None = None
    init_from: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        description="Transfer: a run (folder, name in ./runs or 'latest') whose best parameters the network starts "
        "from: the layers whose parameters have the same names and shapes; the others are drawn. Pixels are normalised "
        "by the new images' mean and deviation, not the run's: so also images of another brightness or contrast come "
        "in the range that the taken layers learned from.",
    )

    plots: bool = Field(
        False,
        description="Whether to record histograms of weights and gradients after each epoch, and to draw the run's "
        "plots when it ends (needs pip install 'lenumba[plot]').",
    )
    log: Literal["tensorboard"] | None = Field(
        None,
        description="'tensorboard' also writes event files for TensorBoard to the run folder (needs pip install "
        "'lenumba[tensorboard]').",
    )

    _name: str = PrivateAttr("config")  # what runs of it are called

    @property
    def loss_name(self) -> str:
        """The loss, with ``auto`` resolved."""
        return fitting_losses(self.network, self.data.target)[0] if self.loss.name == "auto" else self.loss.name

    @property
    def floats(self) -> bool:
        """Whether the data are floating-point numbers, taken as they are: signals, or images of them."""
        return self.network.signals or self.data.dtype == "float32"

    def __str__(self) -> str:
        return dump_config(self)

    def _repr_html_(self) -> str:
        return text_html(str(self))

    @model_validator(mode="after")
    def _parts_fit(self) -> "Config":
        if self.data.target == "class":
            return self._checked()
        usual = TARGETS[self.data.target].usual
        changed: dict[str, Any] = {}
        if "best_by" not in self.train.model_fields_set:
            changed["train"] = self.train.model_copy(update={"best_by": usual})
        if self.tune is not None and "metric" not in self.tune.model_fields_set:
            changed["tune"] = self.tune.model_copy(update={"metric": f"val_{usual}"})
        return self.model_copy(update=changed)._checked()

    def _checked(self) -> "Config":
        if faults := list(config_misfits(self)):
            text = "; ".join(f"{path}: {message}" for path, message in faults)
            raise PydanticCustomError("faults", "{text}", {"text": text, "faults": faults})
        return self


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration and where each of its values came from.

    Attributes
    ----------
    name : str
        The recipe's name: its file name without the ending.
    source : str
        What error messages call the file.
    config : Config
        The checked configuration.
    origins : dict
        File and line, or override, by dotted path.
    shipped : bool
        Whether it is a recipe that comes with lenumba.
    """

    name: str
    source: str
    config: Config
    origins: dict[str, str] = field(repr=False, compare=False)
    shipped: bool = False

    @property
    def example_root(self) -> str | None:
        """The path of own files that a shipped recipe only names as an example, where there are none."""
        root = self.config.data.root
        own = self.config.data.name in OWN_FILES and self.origins.get("data.root") != "override data.root"
        return root if self.shipped and own and isinstance(root, str) and not os.path.exists(root) else None

    def where(self, path: str) -> str:
        """Return where a value stands: ``lenet.yaml:12: network.layers.3``, or ``override train.epochs``."""
        return _where(path, self.origins, self.source)

    def only_targets(self, what: str, *targets: str) -> None:
        """Raise ConfigError where the target is none of those that `what` is for; ``class`` where none are named."""
        known = targets or ("class",)
        if self.config.data.target not in known:
            raise self.error(
                "data.target", f"expected {' or '.join(known)} for {what}, found {self.config.data.target}"
            )

    def error(self, path: str, message: str) -> ConfigError:
        """Return the error that a value at a dotted path does not fit, for the caller to raise."""
        return ConfigError(f"{self.where(path)}: {message}")


def load_config(name_or_path: "str | Path | Mapping[str, Any] | Config", overrides: Overrides = ()) -> LoadedConfig:
    """Load a shipped recipe by its name, or a file by its path.

    Parameters
    ----------
    name_or_path
        A path if it ends in ``.yaml`` or ``.yml``, contains a path separator, or is no recipe but a file or a run
        folder, for what that run was trained with; or the configuration itself, as YAML would give it.
    overrides
        ``"dotted.key=value"`` strings with YAML values, or a dict of dotted keys and values; later ones win.

    Raises
    ------
    ConfigError
        If the recipe or file does not exist, or for every fault in it: one line each.
    """
    if isinstance(name_or_path, Config):
        return replace(read_config(dump_config(name_or_path), "config", overrides), name=name_or_path._name)
    if isinstance(name_or_path, Mapping):
        return read_config(name_or_path, "config", overrides)
    text = str(name_or_path)
    names = recipe_names()
    is_path = isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")) or "/" in text or os.sep in text
    if not is_path and text in names:
        return replace(read_config(recipe_text(text), f"{text}.yaml", overrides), shipped=True)
    try:
        exists = os.path.exists(text := os.path.expanduser(text))
    except ValueError:  # a zero byte
        exists = False
    if exists:
        if os.path.isfile(os.path.join(text, "config.yaml")):
            text = os.path.join(text, "config.yaml")
        loaded = read_config(Path(text), text, overrides)
        if Path(text).name == "config.yaml":  # a run's: its record has the recipe's name
            recipe = read_json(Path(text).with_name("run.json")).get("recipe")
            return replace(loaded, name=recipe) if isinstance(recipe, str) and Path(recipe).name == recipe else loaded
        return loaded
    what = "file" if is_path else "recipe"
    hint = nearest(Path(text).stem, names)
    raise ConfigError(f"no {what} {text!r}{hint}; the recipes are {', '.join(names)}")


def read_config(
    content: Path | str | bytes | Mapping[str, Any], source: str, overrides: Overrides = ()
) -> LoadedConfig:
    """Read a configuration from a file, YAML as text or bytes, or plain values; ``source`` is its name in messages.

    Raises
    ------
    ConfigError
        For every fault in it: one line each.
    """
    data, lines = (copied(dict(content), source), {}) if isinstance(content, Mapping) else load_yaml(content, source)
    data = as_trained(data, content) if isinstance(content, Path) else data
    origins, faults = {path: f"{source}:{line}" for path, line in lines.items()}, []
    for item in overrides.items() if isinstance(overrides, Mapping) else overrides:
        try:
            key, value = _parse(item) if isinstance(item, str) else (str(item[0]), copied(item[1], str(item[0])))
            set_value(data, origins, key, value)
        except ConfigError as error:
            faults.append(str(error))
    check_levels(data, source)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        explained = list_faults(error, data, config_schema())
        explained += _misfits_of_the_rest(data, {path.partition(".")[0] for path, _ in explained})
        faults += [f"{_where(path, origins, source)}: {message}" for path, message in explained]
    if faults:
        raise ConfigError("\n".join(faults))
    return LoadedConfig(Path(source).stem, source, config, origins)


def _misfits_of_the_rest(data: dict[str, Any], faulty: set[str]) -> Iterator[tuple[str, str]]:
    """Yield how the sections without faults of their own misfit one another, which pydantic leaves out then."""
    dense, given = {"type": "dense", "units": 10, "activation": "softmax"}, data.get("data")
    target = given.get("target", "class") if isinstance(given, dict) else "class"
    if target not in tuple(TARGETS):  # then nobody knows which losses fit
        target, faulty = "class", faulty | {"loss"}
    stand_ins = {"data": {"name": "digits", "target": target}, "network": {"layers": [dense]}}
    rest = stand_ins | {key: data[key] for key in Config.model_fields if key in data and key not in faulty}
    try:
        Config.model_validate(rest)
    except ValidationError as error:
        for path, message in list_faults(error, rest, config_schema()):
            section = path.partition(".")[0]
            if faulty.isdisjoint((section, *JUDGED_WITH.get(section, ()), *JUDGED_WITH.get(path, ()))):
                yield path, message


def _where(path: str, origins: dict[str, str], source: str) -> str:
    nearest_known = path
    while nearest_known and nearest_known not in origins:
        nearest_known = nearest_known.rpartition(".")[0]
    origin = origins.get(nearest_known, source)
    return origin if origin == f"override {path}" else f"{origin}: {path}"


def _parse(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")) or not key.isprintable():
        raise ConfigError(f"override {show(text)}: expected dotted.key=value, such as train.epochs=5")
    return key, load_value(value, f"override {key}")


def set_value(data: dict[str, Any], origins: dict[str, str], key: str, value: Any) -> None:
    """Put a value at a dotted key of plain data, and remember in `origins` that it came from an override.

    Raises
    ------
    ConfigError
        Where the key leads through what is no section, or past the end of a list.
    """
    *parents, last = key.split(".")
    node: Any = data
    path = ""
    for part in [*parents, last]:
        if not isinstance(node, dict | list):
            raise ConfigError(f"override {key}: expected a section at {path}, found {show(node)}")
        if isinstance(node, list) and not (part.isdecimal() and int(part[:9]) < len(node)):
            raise ConfigError(f"override {key}: expected an index below {len(node)} in {path}, found {show(part)}")
        index: Any = int(part) if isinstance(node, list) else part
        path = f"{path}.{part}" if path else part
        if path == key:
            node[index] = value
            break
        if isinstance(node, dict) and part not in node:
            node[index] = {}
            origins[path] = f"override {key}"
        if isinstance(node, list) and path.startswith("network.layers."):
            node[index] = expand_layer(node[index])
        node = node[index]
    for stale in [known for known in origins if known.startswith(f"{key}.")]:
        del origins[stale]
    origins[key] = f"override {key}"


def dump_config(config: Config) -> str:
    """Return the configuration as YAML with every default written out; it loads back as an equal one."""
    return dump_yaml(config.model_dump(exclude={"tune"} if config.tune is None else None))


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration, for editors."""
    schema = Config.model_json_schema()
    for layer in LAYERS.values():
        # Without it, a layer that leaves out its type would match several of the alternatives.
        definition = schema["$defs"][layer.__name__]
        definition["required"] = ["type", *definition.get("required", [])]
        for value in definition["properties"].values():
            if value.get("items") == NESTED:
                value["items"] = schema["$defs"]["Network"]["properties"]["layers"]["items"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "lenumba configuration",
    }
