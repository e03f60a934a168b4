"""Random configurations as YAML, valid or with faults whose places are known.

The text has one value on each line (a layer, with all that it has, is on one), so that each fault has a line.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from drawn_networks import draw_activation, draw_conv, draw_dense, draw_pool, pick

from lenumba.engine.config.config import Config
from lenumba.engine.config.yaml_file import dump_yaml
from lenumba.engine.network.network import Network

Rng = np.random.Generator
SHAPES = {"bars": ((6, 6, 1), 2), "shapes": ((16, 16, 3), 6)}  # data sets that need no files: (H, W, C), classes


@dataclass(frozen=True)
class Drawn:
    """A configuration's data and its text, and the faults that it has, as dotted paths; none if it is valid."""

    data: dict[str, Any]
    text: str
    faults: frozenset[str]

    @property
    def places(self) -> set[tuple[int | None, str]]:
        """The line and path of each fault: of what is missing, the line of what it is missing from, if it has one."""
        lines, found = write(self.data)[1], set()
        for path in self.faults:
            near = path
            while near and near not in lines:
                near = near.rpartition(".")[0]
            found.add((lines.get(near), path))
        return found


def write(data: dict[str, Any]) -> tuple[str, dict[str, int]]:
    """Return the YAML text and the lines of all paths."""
    rows: list[str] = []
    lines: dict[str, int] = {}
    for section, values in data.items():
        if not isinstance(values, dict):
            rows.append(dump_yaml({section: values}).strip())
            lines[section] = len(rows)
            continue
        rows.append(f"{section}:" if values else f"{section}: {{}}")
        lines[section] = len(rows)
        for key, value in values.items():
            if key == "layers" and isinstance(value, list) and value:
                rows.append("  layers:")
                lines["network.layers"] = len(rows)
                for k, layer in enumerate(value):
                    rows.append("    - " + flow(layer))
                    lines[f"network.layers.{k}"] = len(rows)
            else:
                rows.append(f"  {key}: {flow(value)}")
                lines[f"{section}.{key}"] = len(rows)
    return "\n".join(rows) + "\n", lines


def flow(value: Any) -> str:
    """Write a value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    return dump_yaml({"x": value}).removeprefix("x: ").strip()


def draw_valid(rng: Rng, layers: list[dict] | None = None, name: str | None = None) -> dict[str, Any]:
    """Draw a configuration without faults, of random layers or the given ones."""
    name = name or pick(rng, *SHAPES)
    batch = int(rng.integers(1, 65))
    data = {"name": name, "batch_size": batch, "samples": int(rng.integers(150, 400))}
    data["validation"] = pick(rng, 0, 0.1, 0.25, int(rng.integers(1, 60)))
    data["normalize"] = pick(rng, "none", "mean_std")
    layers = draw_layers(rng, name) if layers is None else layers
    last = layers[-1]["activation"]
    losses = {
        "softmax": ("auto", "sparse_categorical_cross_entropy", "categorical_cross_entropy"),
        "sigmoid": ("auto", "binary_cross_entropy", "mean_squared_error"),
    }
    loss = {"name": pick(rng, *losses.get(last, ("auto", "mean_squared_error")))}
    if "cross_entropy" in loss["name"]:
        loss["label_smoothing"] = pick(rng, 0.0, 0.1)
    optimizer = {"name": "sgd", "learning_rate": 0.01, "momentum": pick(rng, 0.0, 0.9), "nesterov": rng.random() < 0.3}
    if rng.random() < 0.5:
        optimizer = {
            "name": pick(rng, "adam", "adamw"),
            "learning_rate": 1e-3,
            "weight_decay": pick(rng, 0.0, 0.01),
            "beta1": 0.9,
        }
    epochs = int(rng.integers(1, 6))
    schedule = {"name": pick(rng, "constant", "step", "exponential", "piecewise", "cosine", "one_cycle")}
    schedule |= {"final_fraction": pick(rng, 0.0, 0.1), "boundaries": [2, 3], "values": [1.0, 0.5, 0.1]}
    schedule |= {"warmup_epochs": pick(rng, 0.0, 1.0), "step_epochs": int(rng.integers(1, 4))}
    train = {"epochs": epochs, "seed": int(rng.integers(2**62)), "threads": pick(rng, None, 1, 2)}
    network: dict[str, Any] = {"input": list(SHAPES[name][0])} if rng.random() < 0.3 else {}
    sections = {"loss": loss, "optimizer": optimizer, "schedule": schedule, "train": train}
    kept = {key: plain(values) for key, values in sections.items() if rng.random() < 0.8}
    return {"data": plain(data), "network": network | {"layers": plain(layers)}} | kept


def draw_every_option(rng: Rng) -> dict[str, Any]:
    """Draw a configuration without faults that also clips, averages, distorts and drops out, each in half of them."""

    def some(**options: Any) -> dict[str, Any]:
        return {key: value for key, value in options.items() if rng.random() < 0.5}

    drawn = draw_valid(rng)
    optimizer = drawn.setdefault("optimizer", {})
    optimizer |= some(max_norm=pick(rng, 0.01, 0.3, 3.0), average=pick(rng, 0.5, 0.99), weight_decay=0.01)
    drawn["augment"] = some(shift=1.0, rotation=10.0, scale=0.1, shear=0.1) if rng.random() < 0.5 else {}
    if drawn["augment"]:
        drawn["augment"] |= some(elastic=1.0, erasing=0.3, noise=0.1, brightness=0.2)
    layers = drawn["network"]["layers"]
    if rng.random() < 0.5:
        layers.insert(len(layers) - 1, {"type": "dropout", "rate": pick(rng, 0.1, 0.5)})
    if rng.random() < 0.3:
        drawn["data"]["batch_size"] = int(rng.integers(1, 9))  # images one by one
    if drawn["augment"]:
        drawn["augment"] |= some(flip=pick(rng, "horizontal", "vertical", "both"))
    balanced: tuple[dict, str] = pick(rng, (drawn["data"], "sampling"), (drawn.setdefault("loss", {}), "class_weight"))
    if rng.random() < 0.5:
        balanced[0][balanced[1]] = "balanced"
    return drawn


def draw_layers(rng: Rng, name: str) -> list[dict]:
    """Draw layers that fit the data set's images, each until it fits."""

    def fits(layers: list[dict]) -> bool:
        try:
            config = Config.model_validate({"data": {"name": name}, "network": {"layers": plain(layers)}})
            Network(config.network.layers, SHAPES[name][0], loss=config.loss_name)
        except ValueError:
            return False
        return True

    kind = pick(rng, "softmax", "softmax", "softmax", "sigmoid", "tanh")
    last = {"type": "dense", "units": SHAPES[name][1], "activation": kind}
    layers: list[dict] = []
    for _ in range(rng.integers(0, 4)):
        here = None
        while here is None or not fits([*layers, here, {"type": "flatten"}, last]):
            maker: Callable[[Rng], dict] = pick(rng, draw_conv, draw_conv, draw_pool, draw_activation)
            here = maker(rng)  # of another kind, too: behind a global pool there are no maps
        layers.append(here)
    layers.append({"type": "flatten"})
    layers += [pick(rng, draw_dense, draw_activation)(rng) for _ in range(rng.integers(0, 3))]
    return [*layers, last]


def plain(value: Any) -> Any:
    """Return a value as YAML has it: lists instead of tuples, Python's numbers instead of NumPy's."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


# --------------------------------------------------------------------------------------------------------- faults

# Values that a key must not have.
WRONG: dict[str, tuple[Any, ...]] = {
    "data.name": ("mnits", 3, None, "", "x" * 60),
    "data.batch_size": (0, -1, 65537, 1.5, "many", True, None, [64]),
    "data.validation": (-1, 1.0, -0.5, "half", None, True),
    "data.normalize": ("mean", 1, None),
    "data.sampling": ("even", 1, None),
    "data.samples": (0, -5, 2.5, "all", False),
    "data.root": (3, True, "x" * 2000),
    "data.samples_per_class": (0, "few"),
    "data.classes": ([0], [0, 1000], [0, "1"], 3),
    "network.input": ([28, 28, 1, 1], [0, 28, 1], [28, 28, 2000], "28x28", [6.0, 6, 1]),
    "loss.name": ("cross_entropy", 1, None),
    "loss.label_smoothing": (1.0, -0.1, "a bit", None),
    "loss.class_weight": ("even", 1, ["balanced"]),
    "optimizer.name": ("adamax", "SGD", None),
    "optimizer.learning_rate": (0.0, -1, "fast", None, [0.1], True),
    "optimizer.momentum": (1.0, -0.1, "x"),
    "optimizer.nesterov": (1, "yes", None),
    "optimizer.weight_decay": (-1.0, "x"),
    "optimizer.beta1": (1.0, 2, "x"),
    "optimizer.beta2": (1.5, None),
    "optimizer.epsilon": (0, -1e-8),
    "schedule.name": ("linear", 0),
    "schedule.warmup_epochs": (-1, "x"),
    "schedule.step_epochs": (0, 1.5),
    "schedule.step_factor": (0, 1.1),
    "schedule.final_fraction": (2, -0.1),
    "schedule.gamma": (0, 1.1, "x"),
    "schedule.boundaries": ([0], [1.5], 3, "x"),
    "schedule.values": ([0], [1.5], "x"),
    "train.epochs": (0, 100_001, 2.0, "ten", None),
    "train.seed": (-1, 0.5, "x"),
    "train.threads": (0, 1025, "all"),
    "train.best_by": ("f1", None, 1),
    "init_from": ("", 3, ["a"]),
}
WRONG_IN_LAYER: dict[str, dict[str, tuple[Any, ...]]] = {
    "conv": {
        "channels": (0, 1025, 1.5, "x", None),
        "kernel_size": (0, 65, [5], [1, 2, 3], "5x5", None),
        "stride": (0, [1, 0], "x"),
        "padding": ("full", -1, [1, 2, 3], 65),
        "bias": (1, "no"),
        "activation": ("relú", 3, "swish"),
        "orientation": ("up",),
        "initializer": ("random",),
        "trainable": ("no", 0),
    },
    "average_pool": {"size": (0, None, "x"), "stride": (-1,), "padding": ("same", -2), "count_padding": (1, "no")},
    "global_average_pool": {"name": ("1x", 3)},
    "global_max_pool": {"name": ("1x", 3)},
    "max_pool": {"size": (0, [2], 2.0), "stride": (0,), "padding": (65,)},
    "dense": {"units": (0, 65537, "ten", None), "bias": ("true-ish",), "activation": ("soft max",), "trainable": (2,)},
    "activation": {"function": ("reul", None)},
    "flatten": {},
}
SECTIONS = ("data", "network", "loss", "optimizer", "schedule", "train")


# The sections that must be right by themselves for a misfit to show.
JUDGED_WITH = {"loss.name": ("loss", "network"), "schedule.warmup_epochs": ("schedule", "train")}


def spoil(rng: Rng, valid: dict[str, Any]) -> Drawn:
    """Return a configuration with one to four faults, none of which hides another."""
    data, faults = deepcopy(valid), set()
    broken, judged = set(), set()  # sections with faults of their own, and those that misfits need whole
    for _ in range(rng.integers(1, 5)):
        maker = pick(rng, wrong_value, wrong_value, wrong_layer, wrong_layer, unknown_key, missing_key, misfit, misfit)
        changed = deepcopy(data)
        path = maker(rng, changed)
        if not path or any(related(path, other) for other in faults):
            continue
        section = path.partition(".")[0]
        needed = set(JUDGED_WITH.get(path, (section,)))
        if needed & broken if maker is misfit else section in judged:
            continue
        if maker is misfit:
            judged |= needed
        else:
            broken.add(section)
        data = changed
        faults.add(path)
    if not faults:
        data["train"] = {"epochs": 0}
        faults.add("train.epochs")
    return Drawn(data, write(data)[0], frozenset(faults))


def related(path: str, other: str) -> bool:
    """Return whether two faults touch: the same value or layer, or sections that are judged together."""
    first, second = path.split("."), other.split(".")
    if first[:2] == second[:2] == ["network", "layers"]:
        return len(first) < 3 or len(second) < 3 or first[2] == second[2]
    shorter = min(len(first), len(second))
    return first[:shorter] == second[:shorter]


def wrong_value(rng: Rng, data: dict[str, Any]) -> str:
    path = pick(rng, *WRONG)
    values = WRONG[path]
    section, _, key = path.partition(".")
    value = deepcopy(values[rng.integers(len(values))])
    if key:
        data.setdefault(section, {})[key] = value
    else:
        data[section] = value
    return path


def wrong_layer(rng: Rng, data: dict[str, Any]) -> str | None:
    layers = data.get("network", {}).get("layers")
    if not layers:
        return None
    k = int(rng.integers(len(layers)))
    wrong = WRONG_IN_LAYER.get(layers[k]["type"], {})
    action = rng.integers(4)
    if action == 0:
        layers[k]["type"] = pick(rng, "convolution", "pool", "Dense", 3, None)
        return f"network.layers.{k}.type"
    if action == 1:
        layers[k][f"un{k}known"] = 1
        return f"network.layers.{k}.un{k}known"
    if not wrong:
        return None
    key = pick(rng, *wrong)
    layers[k][key] = deepcopy(wrong[key][rng.integers(len(wrong[key]))])
    return f"network.layers.{k}.{key}"


def unknown_key(rng: Rng, data: dict[str, Any]) -> str:
    section = pick(rng, "", *SECTIONS)
    key = pick(rng, "epoch", "lr", "learning-rate", "Name", "x" * 60, "optimiser", "extra")
    if not section:
        data[key] = pick(rng, 1, "x", {"a": 1}, None)
        return key
    data.setdefault(section, {})[key] = pick(rng, 1, "x", None)
    return f"{section}.{key}"


def missing_key(rng: Rng, data: dict[str, Any]) -> str | None:
    path = pick(rng, "data", "network", "data.name", "network.layers", "layer")
    if path == "layer":
        needed = {"conv": "channels", "dense": "units", "average_pool": "size", "max_pool": "size"}
        needed["activation"] = "function"
        layers = data.get("network", {}).get("layers") or []
        chosen = [k for k, layer in enumerate(layers) if layer["type"] in needed]
        if not chosen:
            return None
        k = int(pick(rng, *chosen))
        if layers[k].pop(needed[layers[k]["type"]], None) is None:
            return None
        return f"network.layers.{k}.{needed[layers[k]['type']]}"
    section, _, key = path.partition(".")
    if key and section in data and len(data[section]) > 1:
        return path if data[section].pop(key, None) is not None else None
    return path if not key and data.pop(section, None) is not None else None


def misfit(rng: Rng, data: dict[str, Any]) -> str | None:
    """Values that are right by themselves, but do not fit others of the same or of another section."""
    layers = data.get("network", {}).get("layers") or []
    kind = rng.integers(6)
    if "data" not in data:
        return None
    if kind == 0 and "train" in data:
        data.setdefault("schedule", {})["warmup_epochs"] = 1000.5
        return "schedule.warmup_epochs"
    if kind == 1 and len(layers) > 1 and layers[0].get("type") in ("conv", "dense"):
        layers[0]["activation"] = "softmax"
        return "network.layers.0.activation"
    if kind == 2 and layers and layers[-1].get("activation") == "softmax":
        data["loss"] = {"name": "mean_squared_error"}
        return "loss.name"
    if kind == 3:
        data["data"]["image_size"] = [28, 28, 1]
        return "data.image_size"
    if kind == 4 and isinstance(data["data"].get("samples"), int):
        data["data"]["validation"] = 10_000
        return "data.validation"
    if kind == 5:
        data["data"]["classes"] = [0, 1, 0]
        return "data.classes.2"
    return None
