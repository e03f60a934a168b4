"""Parameters from elsewhere, safetensors or npz, become a run that has trained for no epoch yet."""

import contextlib
import json
import re
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import write_json, write_text
from lenumba.engine.common.progress import Progress
from lenumba.engine.config.config import LoadedConfig, dump_config
from lenumba.engine.data.dataset import Dataset, dataset_spec
from lenumba.engine.data.normalization import Normalization, unmeasured
from lenumba.engine.data.npz import read_weights
from lenumba.engine.data.selection import levels_of, load_data, pixel_statistics, split, stated_classes
from lenumba.engine.network.layers.base import torch_name
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.runs.checkpoint import Checkpoint, make_checkpoints, make_state, read_state
from lenumba.engine.runs.folders import check_new, check_writable, new_folder, portable
from lenumba.engine.runs.tensor_file import checksum, read_tensors
from lenumba.engine.training.build import check_network, stated_shape
from lenumba.engine.training.judging import Judge

FACTS = ("mean", "std", "class_names", "target_mean", "target_deviation")
LEAVES = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"  # of PyTorch's batch norms; a fixed momentum needs none
SHOWN = 20  # misfits that are listed; a foreign file may have thousands of tensors


class Content(NamedTuple):
    """A file's tensors, and what it says on normalisation and classes (see :data:`FACTS`)."""

    tensors: dict[str, np.ndarray]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Imported:
    """The new run folder, and what the user should know of how it was made."""

    path: Path
    notes: list[str]


def import_weights(file: Path, loaded: LoadedConfig, out: Path | None = None) -> Imported:
    """Make a run of a file's parameters and a configuration.

    Parameters
    ----------
    file
        Safetensors with PyTorch's or lenumba's names, a checkpoint of lenumba, or npz with lenumba's names. Tensors of
        other names are matched by their shapes where that leaves no choice.
    out
        The run folder, new or empty; without it ``runs/<recipe>-NNN``.

    Raises
    ------
    ConfigError
        With a line for each tensor that does not fit.
    DataError
        Where the file is damaged, or tells no normalisation and the data set cannot be read.
    """
    check_writable(out)
    content = read_content(file)
    config = loaded.config
    dataset = None
    spec, shape = dataset_spec(config.data.name), stated_shape(config)
    stated_classes(loaded)  # raises where data.classes has one that the data set lacks
    names = spec.class_names or content.facts.get("class_names")
    if spec.class_names and config.data.classes:
        names = [spec.class_names[number] for number in config.data.classes]
    normalized = config.data.normalize != "mean_std" or {"mean", "std"} <= content.facts.keys()
    if config.data.target == "input":
        names = names or ()  # there need not be any
    if shape is None or names is None or not normalized:
        dataset = load_data(loaded)
        shape, names = dataset.image_shape, dataset.class_names
    network = check_network(loaded, shape, len(names))
    counters = [name for name in content.tensors if name.rpartition(".")[2] == COUNTER]
    sources, notes = match(file, {name: content.tensors[name] for name in content.tensors.keys() - counters}, network)
    if counters:
        notes.append(f"left out: {len(counters)} × {COUNTER}, which PyTorch counts beside each batch norm")
    theta = np.zeros(network.size, np.float32)
    for name, view in network.views(theta).items():
        array = as_parameter(f"{file}: {sources[name]}", content.tensors[sources[name]])
        turned = network.parameters[name].flipped and not sources[name].endswith("kernel")
        view[...] = array[..., ::-1, ::-1] if turned else array
    normalization = find_normalization(file, loaded, content.facts, dataset, shape[2])
    judge = find_judge(file, content.facts, network, len(names))
    state = make_state(Progress(), config, normalization, names, shape, None, target=judge.as_dict())
    optimizer = make_optimizer(config.optimizer)
    slots = np.zeros(optimizer.states * network.size, np.float32)
    with new_folder(out, loaded.name) as (folder, _):
        check_new(folder)
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        facts = {"recipe": loaded.name, "epochs": 0, "seed": config.train.seed}
        facts |= {"started": started, "imported": file.name}
        write_json(folder / "run.json", {"status": "starting", **facts})
        for checkpoint in make_checkpoints(folder, network, optimizer, theta, theta, slots, state):
            checkpoint.write()
        write_text(folder / "config.yaml", dump_config(portable(config)))  # last, as it makes the folder a run
        write_json(folder / "run.json", {"status": "imported", **facts})
    return Imported(folder, notes)


# ------------------------------------------------------------------------------------------------- reading files


def read_content(file: Path) -> Content:
    """Read a safetensors or npz file, told apart by their first bytes."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise DataError(f"{file}: expected a safetensors or npz file, found a folder or a device; give the file")
        with file.open("rb") as opened:
            start = opened.read(4)
    except FileNotFoundError:
        raise DataError(f"{file}: expected a safetensors or npz file, found none; correct the path") from None
    return read_npz_content(file) if start[:2] == b"PK" else read_safetensors(file)


def read_npz_content(file: Path) -> Content:
    """Read an npz file: float arrays with a layer's name and kernel, weight or bias; and mean and std."""
    arrays = read_weights(
        file,
        r"(?:[A-Za-z_]\w*(?:\.\w+)*\.(?:kernel|weight|bias|running_mean|running_var)|mean|std|target_mean|target_deviation)",
        ignored=FACTS,
    )
    facts: dict[str, Any] = {name: arrays.pop(name).tolist() for name in FACTS if name in arrays}
    if {"target_mean", "target_deviation"} <= facts.keys():
        facts["target"] = {"mean": facts.pop("target_mean"), "deviation": facts.pop("target_deviation")}
    return Content(arrays, facts)


def read_safetensors(file: Path) -> Content:
    """Read a safetensors file; where it has a checksum of lenumba, that must be right."""
    try:
        tensors, metadata = read_tensors(file)
    except ValueError as error:
        raise DataError(
            f"{file}: expected an intact safetensors or npz file of float32, float16 or float64 tensors, "
            f"found: {error}; save it again"
        ) from None
    if "state" in metadata:
        checkpoint = Checkpoint(file, tensors, read_state(file, tensors, metadata))
        return Content(checkpoint.parameters, {**checkpoint.state, "std": checkpoint.state["deviation"]})
    text = metadata.get("lenumba")
    if text is None:
        return Content(tensors, {})
    if checksum(tensors, text) != metadata.get("sha256"):
        raise DataError(f"{file}: damaged (its SHA-256 does not match); export it again")
    facts, names = None, None
    with contextlib.suppress(ValueError, RecursionError):
        facts = json.loads(text)
        names = facts.get("class_names", []) if isinstance(facts, dict) else None
    if not isinstance(facts, dict) or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file}: expected metadata of lenumba, found others; export it again")
    return Content(tensors, facts)


def as_parameter(where: str, array: np.ndarray) -> np.ndarray:
    """Return an array as float32; raise DataError where it holds something else than finite floats."""
    if array.dtype.kind != "f":
        raise DataError(f"{where}: expected floating-point numbers, found {array.dtype}; convert the tensor")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise DataError(f"{where}: expected finite float32 numbers, found {array[tuple(place)]} at {place}; mend it")
    return array


def find_judge(file: Path, facts: Mapping[str, Any], network: Network, classes: int) -> Judge:
    """Return what the outputs are compared with, in the units that the file tells, if it does."""
    try:
        judge = Judge.told(dict(facts.get("target") or {}), network, classes)
        if judge.units.mean.shape != (network.outputs,) or judge.units.deviation.shape != (network.outputs,):
            raise ValueError
    except (TypeError, ValueError, KeyError):
        raise DataError(
            f"{file}: expected the units of {network.outputs} numbers, found others; export it again"
        ) from None
    return judge


def find_normalization(
    file: Path, loaded: LoadedConfig, facts: Mapping[str, Any], dataset: Dataset | None, channels: int
) -> Normalization:
    """Return the file's normalisation, else the one that training would compute."""
    if {"mean", "std"} <= facts.keys():
        try:
            mean, deviation = (np.array(facts[name], np.float64) for name in ("mean", "std"))
            fits = mean.shape == deviation.shape == (channels,) and bool(np.isfinite([mean, deviation]).all())
        except (ValueError, TypeError):
            fits = False
        if not fits or deviation.min() <= 0:
            found = f"{facts['mean']!s:.40} and {facts['std']!s:.40}"
            raise DataError(
                f"{file}: expected mean and std of {channels} channels, std above 0, found {found}; mend it"
            )
        return Normalization(mean, deviation, levels_of(loaded))
    if dataset is None:
        return unmeasured(loaded.config.data.normalize, channels, levels_of(loaded))
    return pixel_statistics(loaded, dataset, split(loaded, dataset)[0])


# ------------------------------------------------------------------------------------------------ which tensor is which


def match(file: Path, tensors: Mapping[str, np.ndarray], network: Network) -> tuple[dict[str, str], list[str]]:
    """Return the file's name of each parameter, and notes; raise ConfigError listing what does not fit."""
    wanted = {name: parameter.shape for name, parameter in network.parameters.items()}
    own, torch = {name: name for name in wanted}, {name: torch_name(name) for name in wanted}
    naming = max(own, torch, key=lambda names: len(set(names.values()) & tensors.keys()))
    faults = [
        f"{file}: {source}: expected {written(wanted[name])}, found {written(tensors[source].shape)}"
        if source in tensors
        else f"{file}: expected {source} {written(wanted[name])}, found none"
        for name, source in naming.items()
        if source not in tensors or tensors[source].shape != wanted[name]
    ]
    surplus = [name for name in tensors if name not in naming.values()]
    faults += [f"{file}: {name} {written(tensors[name].shape)}: no layer of the network takes it" for name in surplus]
    if not faults:
        return naming, []
    by_shape = match_by_shape(tensors, network)
    if by_shape is None:
        more = [f"{file}: {len(faults) - SHOWN} more do not fit"] if len(faults) > SHOWN else []
        raise ConfigError("\n".join([*faults[:SHOWN], *more]))
    pairs = {module_of(source): module_of(name) for name, source in by_shape.items()}
    text = ", ".join(f"{theirs} is {ours}" for theirs, ours in pairs.items())
    return by_shape, [f"other names in the file, matched by order and shape: {text}"]


def match_by_shape(tensors: Mapping[str, np.ndarray], network: Network) -> dict[str, str] | None:
    """Return the file's name of each parameter as the shapes tell, or None where they leave none or several choices.

    Safetensors keeps no order of tensors, so layers of equal shapes are told apart by their numbers alone.
    """
    ours = by_signature({name: parameter.shape for name, parameter in network.parameters.items()})
    theirs = by_signature({name: array.shape for name, array in tensors.items()})
    if ours is None or theirs is None or {k: len(v) for k, v in ours.items()} != {k: len(v) for k, v in theirs.items()}:
        return None
    found = {}
    for signature, modules in ours.items():
        candidates = theirs[signature]
        if len({re.sub(r"\d+", "#", candidate) for candidate in candidates}) > 1:
            return None
        candidates.sort(key=lambda module: [int(number) for number in re.findall(r"\d+", module)])
        for module, candidate in zip(modules, candidates, strict=True):
            for name in network.parameters:
                if module_of(name) == module:
                    leaf = torch_name(name).rpartition(".")[2]
                    leaves = ("weight", "kernel") if leaf == "weight" else (leaf,)
                    found[name] = next(source for leaf in leaves if (source := f"{candidate}.{leaf}") in tensors)
    return {name: found[name] for name in network.parameters}


def by_signature(shapes: Mapping[str, tuple[int, ...]]) -> dict[tuple, list[str]] | None:
    """Group modules by the shapes of their tensors; None where a tensor is none of LEAVES."""
    modules: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        leaf = torch_name(name).rpartition(".")[2]
        if "." not in name or leaf not in LEAVES:
            return None
        modules.setdefault(module_of(name), {})[leaf] = shape
    groups: dict[tuple, list[str]] = {}
    for module, tensors in modules.items():
        groups.setdefault(tuple(sorted(tensors.items())), []).append(module)
    return groups


def module_of(name: str) -> str:
    """Return the layer's part of a tensor's name."""
    return name.rpartition(".")[0]


def written(shape: tuple[int, ...]) -> str:
    """Write a shape as people do."""
    return "×".join(map(str, shape)) or "a single number"
