"""Short trainings that use, together, everything that decides a bit of the weights, and what each of them gives.

They go through the package's surface alone, so that they mean the same wherever the modules lie. They leave out what
chooses images or settings by rules of its own: `data.samples`, folders without a test part, the samplers that learn.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

import lenumba

Bits = dict[str, str]
Case = Callable[[int], Bits]  # the number of threads → what it gives; works in the current folder, which is empty

# Of an epoch's record, without the times, which no two trainings have in common, and what the rest says of classes.
TOLD = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")
DIGITS = {"data.name": "digits", "train.epochs": 1}  # as large as MNIST's, but drawn
DIRECT, FAST = {"network.convolution": "direct"}, {"network.convolution": "auto"}
PART = {"data.validation": 0.1}  # where the recipe sets aside as many of MNIST's images as are drawn in all


def conv(channels: int, size: Any, **more: Any) -> dict[str, Any]:
    return {"type": "conv", "channels": channels, "kernel_size": size, **more}


def dense(units: int, activation: str = "none", **more: Any) -> dict[str, Any]:
    return {"type": "dense", "units": units, "activation": activation, **more}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def bits_of(record: dict[str, Any], history: list[dict[str, Any]]) -> Bits:
    """Return the hashes of a run's weights, last and best, and of every number that it tells."""
    epochs = [{key: line[key] for key in TOLD} for line in history]
    told = [epochs, record["test_loss"], record["test_accuracy"], record["best_epoch"]]
    return {
        "weights": record["weights_sha256"],
        "best": record["best_weights_sha256"],
        "metrics": sha256(json.dumps(told).encode()),
    }


def bits_in(folder: str | Path) -> Bits:
    """Return the hashes of a run by what its folder holds."""
    record = json.loads(Path(folder, "run.json").read_text())
    lines = Path(folder, "metrics.jsonl").read_text().splitlines()
    return bits_of(record, [json.loads(line) for line in lines])


def train(recipe: str = "tiny15", changes: dict[str, Any] | None = None, threads: int = 1, out: str = "run") -> Bits:
    given = {"train.epochs": 2, **DIRECT, **(changes or {}), "train.threads": threads}
    result = lenumba.train(recipe, given, out=out)
    assert bits_in(out) == bits_of(result.summary, result.history)
    return bits_in(out)


def command(*arguments: object) -> str:
    from lenumba.cli import main

    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def training(recipe: str = "tiny15", **changes: Any) -> Case:
    """Return the case of a training; `optimizer__name` stands for `optimizer.name`."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return lambda threads: train(recipe, dotted, threads)


# -------------------------------------------------------------------------------------------------- whole stories


def two_seeds(threads: int) -> Bits:
    command("train", "tiny15", "train.epochs=1", "--seeds", 2, "--threads", threads, "--out", "both", "-q")
    parts = {seed: bits_in(f"both/seed-{seed}") for seed in (0, 1)}
    return {f"{key}, seed {seed}": value for seed, part in parts.items() for key, value in part.items()}


def resumed(threads: int) -> Bits:
    train(changes={"train.epochs": 1, "optimizer.name": "adamw"}, threads=threads)
    command("train", "--resume", "run", "train.epochs=2", "--threads", threads, "-q")
    return bits_in("run")


def transferred(threads: int) -> Bits:
    train(changes={"train.epochs": 1}, threads=threads, out="source")
    # With another name the output layer is drawn, the convolution is taken and stays as it is.
    head = {"network.layers.3.name": "head", "network.layers.0.trainable": False}
    return train(changes={"init_from": "source", "train.seed": 1, **head}, threads=threads)


def imported(threads: int) -> Bits:
    values = np.arange(15, dtype=np.float32) / 16 - 0.5
    kernels = {"conv1.kernel": values[:9].reshape(1, 1, 3, 3), "dense1.kernel": values[10:14].reshape(1, 4)}
    np.savez("weights.npz", **kernels, **{"conv1.bias": values[9:10], "dense1.bias": values[14:]})
    command("import", "weights.npz", "--config", "tiny15", "--out", "run")
    command("train", "--resume", "run", "train.epochs=20", "--threads", threads, "-q")
    return bits_in("run")


def study(threads: int) -> Bits:
    space = {"optimizer.learning_rate": {"low": 1e-3, "high": 0.1, "log": True}, "data.batch_size": [16, 32]}
    tune = {"metric": "val_loss", "sampler": "random", "pruner": "none", "trials": 3, "finalists": 1, "space": space}
    found = lenumba.tune("tiny15", {"train.epochs": 2, "train.threads": threads, "tune": tune})
    trials = [[row[key] for key in ("trial", "state", "params", "values", "curves")] for row in found.trials]
    finals = [found.summary["finals"][key] for key in ("seeds", "values", "test_accuracy")]
    told = json.dumps([found.summary["best"], trials, finals])
    return {"study": sha256(told.encode())} | train(str(found.best_config), threads=threads)


def probabilities(threads: int) -> Bits:
    """The outputs of a LeNet for images that are no digits, so that hardly any probability is near 0 or 1."""
    lenumba.train("quickstart", {"train.epochs": 1, "train.threads": threads, **DIRECT}, out="run")
    images = (np.arange(37 * 28 * 28) * 7919 % 251).astype(np.uint8).reshape(37, 28, 28)  # 2 blocks of 16, and 5
    found = {name: lenumba.load("run", name, threads).predict_proba(images) for name in ("best", "last")}
    return {f"{name} probabilities": sha256(outputs.tobytes()) for name, outputs in found.items()}


def own_npz(threads: int) -> Bits:
    images = (np.arange(288 * 36) * 7919 % 251).astype(np.uint8).reshape(288, 6, 6)
    labels = images[:, 0, 0].astype(np.int64) // 8 % 2
    parts = {"x_train": images[:256], "y_train": labels[:256], "x_test": images[256:], "y_test": labels[256:]}
    np.savez("own.npz", **parts)
    return train(changes={"data.name": "npz", "data.root": "own.npz"}, threads=threads)


# ---------------------------------------------------------------------------------------------------- the networks

# Both strides, every padding and hidden activation, inside a layer and as one, windows that overlap.
LAYERS = [
    conv(2, [3, 2], stride=[1, 2], padding="same", activation="leaky_relu", initializer="he_normal"),
    {"type": "max_pool", "size": 3, "stride": 2, "padding": 1},
    conv(2, 2, padding=[1, 0, 2, 1], orientation="convolution", activation="sigmoid", bias=False),
    {"type": "average_pool", "size": 2, "stride": [2, 1], "padding": [0, 1]},
    {"type": "activation", "function": "tanh"},
    "flatten",
    dense(4, "relu", initializer="glorot_normal", bias=False),
    dense(2, "softmax"),
]
# For images one by one, which have kernels of their own.
SINGLE = [
    conv(2, 3, padding="same", stride=[1, 2], activation="relu"),
    {"type": "max_pool", "size": [2, 1]},
    conv(2, 2, orientation="convolution", trainable=False, activation="tanh"),
    {"type": "average_pool", "size": 2},
    "flatten",
    dense(4, "leaky_relu"),
    dense(2, "softmax"),
]
DROPOUT = [{"type": "dropout", "rate": 0.25}, "flatten", {"type": "dropout", "rate": 0.5}, dense(1, "sigmoid")]
LINE = ["flatten", dense(1, "sigmoid")]  # the least to compile
EDGE = [[[[1, 0, -1], [2, 0, -2], [1, 0, -1]]]]


def outputs(units: int, activation: str, loss: str, **more: Any) -> Case:
    """Return the case of a network that is its output layer."""
    more = {"optimizer__learning_rate": 0.003} | more
    return training(network__layers=["flatten", dense(units, activation)], loss__name=loss, **more)


ADAMW = {"optimizer__name": "adamw", "optimizer__learning_rate": 0.01}

# The networks that take longest to compile come first, and trainings that share a program after the one they share
# it with: two processes that work off the list wait least that way.
CASES: dict[str, Case] = {
    "recipe lenet5": lambda threads: train("lenet5", DIGITS | PART, threads),
    "recipe fashion": lambda threads: train("fashion", DIGITS | PART, threads),
    "recipe lenet": lambda threads: train("lenet", DIGITS | PART, threads),
    "recipe lenet5, fast": lambda threads: train("lenet5", DIGITS | PART | FAST, threads),
    "recipe lenet, fast": lambda threads: train("lenet", DIGITS | PART | FAST, threads),
    "recipe colour": training("colour"),
    "recipe lenet-best": lambda threads: train("lenet-best", DIGITS, threads),
    "recipe digits8x8": training("digits8x8"),
    "recipe two-pool": lambda threads: train("two-pool", DIGITS | PART, threads),
    "recipe lenet-transfer": lambda threads: train(
        "lenet-transfer", DIGITS | {"data.samples_per_class": None}, threads
    ),
    "recipe edges": lambda threads: train("edges", DIGITS | PART, threads),
    "recipe mlp-wide": lambda threads: train("mlp-wide", DIGITS | PART, threads),
    "recipe mlp": lambda threads: train("mlp", DIGITS | PART, threads),
    "recipe tiny15": training(train__epochs=20),
    "recipe quickstart": training("quickstart"),
    "recipe lenet-tune": lambda threads: train("lenet-tune", DIGITS | PART, threads),
    "layers of every kind": training(network__layers=LAYERS),
    "single images": training(network__layers=SINGLE, data__batch_size=1, **ADAMW),
    "distortions of other kinds": training(
        network__layers=LINE, augment__elastic=1.0, augment__erasing=0.5, augment__noise=0.1
    ),
    "shift": training(network__layers=LINE, augment__shift=1.5),
    "dropout": training(network__layers=DROPOUT),
    "adamw": training(**ADAMW, optimizer__weight_decay=0.1, optimizer__beta1=0.8, optimizer__epsilon=1e-4),
    "nesterov, clipped": training(optimizer__nesterov=True, optimizer__max_norm=0.05),
    "averaged": training(optimizer__average=0.99),
    "convolution of given kernel": training(
        network__layers__0__orientation="convolution", network__layers__0__kernel=EDGE
    ),
    **{
        f"initializer {name}": training(network__layers__0__initializer=name)
        for name in ("glorot_normal", "he_uniform", "he_normal", "zeros")
    },
    "binary cross-entropy of two outputs": outputs(2, "sigmoid", "binary_cross_entropy", loss__label_smoothing=0.1),
    "categorical cross-entropy": outputs(2, "softmax", "categorical_cross_entropy", loss__label_smoothing=0.1),
    "squared error": outputs(2, "none", "mean_squared_error"),
    "squared error of tanh": outputs(2, "tanh", "mean_squared_error"),
    "squared error of sigmoid": outputs(1, "sigmoid", "mean_squared_error"),
    "distortions of every kind": training(
        network__layers=LINE,
        **{f"augment__{name}": 0.1 for name in ("scale", "shear", "brightness", "elastic", "noise")},
        **{"augment__shift": 1.0, "augment__rotation": 10.0, "augment__erasing": 0.5, "augment__erasing_size": 0.3},
    ),
    "rotation": training(network__layers=LINE, augment__rotation=20.0),
    "scale": training(network__layers=LINE, augment__scale=0.2),
    "shear": training(network__layers=LINE, augment__shear=0.2),
    "brightness": training(network__layers=LINE, augment__brightness=0.3),
    "sparse categorical cross-entropy": outputs(2, "softmax", "sparse_categorical_cross_entropy"),
    "label smoothing": training(loss__label_smoothing=0.1),
    "plain descent": training(optimizer__momentum=0.0, optimizer__weight_decay=0.01),
    "constant with warm-up": training(schedule__warmup_epochs=0.5),
    "step": training(schedule__name="step", schedule__step_epochs=1, schedule__step_factor=0.3),
    "cosine": training(schedule__name="cosine", schedule__warmup_epochs=0.5, schedule__final_fraction=0.1),
    "one cycle": training(schedule__name="one_cycle"),
    "early end": training(train__patience=1, train__min_delta=0.5, train__epochs=9),
    "pixels as they are": training(data__normalize="none"),
    "first images of each class": training(data__samples_per_class=300),
    "last batch of one image": training(data__validation=207),
    "last batch full": training(data__validation=208),
    "no validation": training(data__validation=0),
    "batches of 33": training(data__batch_size=33),
    "batches of 1024": training(data__batch_size=1024, optimizer__learning_rate=0.1),
    "large seed": training(train__seed=2**63 - 1),
    "two seeds": two_seeds,
    "resumed": resumed,
    "transferred": transferred,
    "imported": imported,
    "own npz": own_npz,
    "study": study,
    "probabilities": probabilities,
}


def compute(name: str, threads: int) -> Bits:
    """Return what a case gives, worked out in a folder that is gone afterwards."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="lenumba-bits-") as folder:
        os.chdir(folder)
        try:
            return CASES[name](threads)
        finally:
            os.chdir(before)
