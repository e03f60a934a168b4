"""Measure the time from starting the process to 98 % right answers on MNIST, for lenumba and PyTorch."""

import argparse
import math
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import (
    NETWORKS,
    arguments_of,
    cores,
    finish,
    lenumba_network,
    markdown_table,
    read_mnist,
    report_of,
    with_room,
)

# configs/lenet.yaml; all 60 000 images are trained on, because the question is the test accuracy.
BATCH, PEAK_RATE, DECAY, WARMUP_EPOCHS = 64, 5e-3, 0.01, 1
NAMES = {"lenumba": "lenumba", "torch": "PyTorch"}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="MNIST's four files")
    parser.add_argument("--network", choices=("lenet", "lenet5"), default="lenet")
    parser.add_argument("--target", type=float, default=0.98, help="test accuracy to reach  [0.98]")
    parser.add_argument("--epochs", type=int, default=5, help="length of the schedule  [5]")
    parser.add_argument("--threads", type=int, default=cores(), help="threads and CPUs for both  [all]")
    parser.add_argument(
        "--repeats", type=int, default=3, help="processes of each, in turn, each with its own seed  [3]"
    )
    parser.add_argument("--frameworks", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--driver", nargs=3, metavar=("NAME", "START_NS", "SEED"), help=argparse.SUPPRESS)
    return arguments_of(parser) if "--driver" not in sys.argv else parser.parse_args()


def learning_rate(step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the rate of a step counted from 0: linear warm-up, then half a cosine down to zero."""
    warmup = WARMUP_EPOCHS * steps_per_epoch
    if step < warmup:
        return PEAK_RATE * (step + 1) / warmup
    progress = (step - warmup) / max(1, epochs * steps_per_epoch - warmup)
    return PEAK_RATE * (1 + math.cos(math.pi * progress)) / 2


class WithLenumba:
    """lenumba: the program comes from the cache, the images stay bytes."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        from lenumba.engine.config.sections import Optimizer
        from lenumba.engine.data.normalization import Normalization
        from lenumba.engine.network.optimizers import make_optimizer
        from lenumba.engine.training.executor import Executor

        images, labels, test_images, test_labels = read_mnist(args.data)
        self.images, self.labels = with_room(images.reshape(-1, 1, 28, 28)), labels.astype(np.int64)
        self.test_images, self.test_labels = with_room(test_images.reshape(-1, 1, 28, 28)), test_labels.astype(np.int64)
        normalization = Normalization(*np.reshape(pixel_statistics(images), (2, 1)))
        shape, layers, parameters = NETWORKS[args.network]
        network = lenumba_network(args.network, layers, shape, parameters)
        self.optimizer = make_optimizer(Optimizer(name="adamw", learning_rate=PEAK_RATE, weight_decay=DECAY))
        program = network.compile(self.optimizer)
        self.executor = Executor(network, program, self.optimizer, normalization=normalization, threads=args.threads)
        self.executor.theta[:] = network.initial_parameters(seed)

    def train(self, order: np.ndarray, rates: list[float], first: int) -> None:
        """Train one epoch in the given order."""
        hyper = self.optimizer.hyper(np.array(rates), first + 1)
        self.executor.train(self.images, self.labels, order, BATCH, hyper)

    def accuracy(self) -> float:
        """Return the share of right answers on the test images."""
        outputs = self.executor.evaluate(self.test_images, self.test_labels, np.arange(len(self.test_labels)))[1]
        return float((outputs.argmax(1) == self.test_labels).mean())


class WithTorch:
    """PyTorch: float32 images in memory, batches gathered in the epoch's order, fused AdamW, kernels alone decay."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        import torch
        from frameworks.job import Job
        from frameworks.with_torch import Builder

        self.torch = torch
        torch.manual_seed(seed)
        torch.set_num_threads(args.threads)
        torch.set_flush_denormal(True)
        images, labels, test_images, test_labels = read_mnist(args.data)
        mean, deviation = pixel_statistics(images)
        shape, layers, _ = NETWORKS[args.network]
        self.images, self.test_images = (
            torch.from_numpy(part.astype(np.float32))
            .div_(255 * deviation)
            .sub_(mean / deviation)
            .reshape(-1, 1, 28, 28)
            for part in (images, test_images)
        )
        self.labels, self.test_labels = (torch.from_numpy(part.astype(np.int64)) for part in (labels, test_labels))
        shapes = kernel_shapes(args.network)
        job = Job(layers, shape, shapes, images, labels, np.zeros(1), np.ones(1), "adamw", PEAK_RATE, args.threads)
        self.model = Builder(job).chain(layers, shape[2])[0]
        kernels, biases = [], []
        for parameter in self.model.parameters():
            if parameter.ndim == 1:
                torch.nn.init.zeros_(parameter)
                biases.append(parameter)
            else:
                torch.nn.init.xavier_uniform_(parameter)
                kernels.append(parameter)
        groups = [{"params": kernels, "weight_decay": DECAY}, {"params": biases, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, PEAK_RATE, fused=True)
        self.loss = torch.nn.CrossEntropyLoss()

    def train(self, order: np.ndarray, rates: list[float], first: int) -> None:
        """Train one epoch in the given order."""
        order = self.torch.from_numpy(order)
        for k, rate in enumerate(rates):
            batch = order[k * BATCH : (k + 1) * BATCH]
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.model(self.images[batch]), self.labels[batch]).backward()
            self.optimizer.step()

    def accuracy(self) -> float:
        """Return the share of right answers on the test images, 1000 at a time."""
        with self.torch.inference_mode():
            right = sum(
                int((self.model(x).argmax(1) == y).sum())
                for x, y in zip(self.test_images.split(1000), self.test_labels.split(1000), strict=True)
            )
        return right / len(self.test_labels)


def kernel_shapes(name: str) -> dict[str, np.ndarray]:
    """Return empty kernels by name: Builder reads the dense layers' inputs from them."""
    shape, layers, _ = NETWORKS[name]
    channels, height, width = shape[2], shape[0], shape[1]
    kernels, inputs, number = {}, 0, 0
    for layer in layers:
        if layer["type"] == "conv":
            change = 2 * layer["padding"] - layer["kernel_size"] + 1
            channels, height, width = layer["channels"], height + change, width + change
        elif layer["type"] == "flatten":
            inputs = channels * height * width
        elif layer["type"] == "dense":
            number += 1
            kernels[f"dense{number}.kernel"] = np.empty((layer["units"], inputs), np.float32)
            inputs = layer["units"]
        else:
            height, width = height // layer["size"], width // layer["size"]
    return kernels


def pixel_statistics(images: np.ndarray) -> tuple[float, float]:
    """Return the pixels' mean and deviation in [0, 1], from their histogram: quick and exact."""
    counts, values = np.bincount(images.ravel(), minlength=256), np.arange(256) / 255
    mean = (counts * values).sum() / images.size
    return float(mean), float(((counts * (values - mean) ** 2).sum() / images.size) ** 0.5)


def drive(args: argparse.Namespace) -> None:
    """Train in this process and print, epoch by epoch, the seconds since the parent's clock and the accuracy."""
    name, start_ns, seed = args.driver[0], int(args.driver[1]), int(args.driver[2])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    contestant = {"lenumba": WithLenumba, "torch": WithTorch}[name](args, seed)
    generator, count = np.random.default_rng(seed), len(contestant.labels)
    steps = -(-count // BATCH)
    for epoch in range(args.epochs):
        first = epoch * steps
        rates = [learning_rate(first + k, steps, args.epochs) for k in range(steps)]
        contestant.train(generator.permutation(count), rates, first)
        accuracy = contestant.accuracy()
        print((time.monotonic_ns() - start_ns) / 1e9, accuracy, flush=True)
        if accuracy >= args.target:
            return


def race(name: str, seed: int, args: argparse.Namespace) -> list[list[float]]:
    """Run one process; return seconds and accuracy after each epoch."""
    command = [sys.executable, str(Path(__file__).resolve()), "--data", str(args.data), "--network", args.network]
    command += ["--target", str(args.target), "--epochs", str(args.epochs), "--threads", str(args.threads)]
    command += ["--driver", name, str(time.monotonic_ns()), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return [[float(field) for field in line.split()] for line in done.stdout.splitlines()]


def tables(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    target, rows = report["arguments"]["target"], []
    for name, races in report["results"].items():
        reached = [epochs[-1][0] for epochs in races if epochs[-1][1] >= target]
        time_text = f"{median(reached):.1f} ({min(reached):.1f}–{max(reached):.1f})" if reached else "–"
        first = median(epochs[0][0] for epochs in races)
        later = [b[0] - a[0] for epochs in races for a, b in pairwise(epochs)]
        an_epoch = f"{median(later):.2f}" if later else "–"
        rows.append([NAMES[name], time_text, f"{len(reached)} of {len(races)}", f"{first:.1f}", an_epoch])
    head = ["", f"s to {100 * target:g} %", "reached", "s to the end of epoch 1", "s an epoch"]
    return f"{report['arguments']['network']} on MNIST, batch {BATCH}, AdamW:\n\n{markdown_table(head, rows)}"


def main() -> None:
    args = parse()
    if args.driver:
        drive(args)
        return
    results: dict[str, list] = {name: [] for name in args.frameworks}
    for name in args.frameworks:
        race(name, 0, args)  # not counted: fills the program cache and the system's copies of the files
    for seed in range(args.repeats):
        for name in args.frameworks:
            results[name].append(race(name, seed, args))
            seconds, accuracy = results[name][-1][-1]
            print(f"{NAMES[name]}, seed {seed}: {100 * accuracy:.2f} % after {seconds:.1f} s", flush=True)
    report = report_of("time_to_accuracy", args, results)
    finish(report, tables(report), args)


if __name__ == "__main__":
    main()
