"""What the benchmarks share: networks, data, statistics, tables, plots and the record of the machine."""

import argparse
import gzip
import importlib.metadata
import json
import os
import platform
import struct
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Okabe and Ito's palette: told apart with every kind of colour blindness. Markers differ as well, for print in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*"
BUSY_LIMIT = 0.2
PACKAGES = ("lenumba", "numpy", "numba", "llvmlite", "torch", "jax", "keras", "tensorflow", "onnxruntime")

RATE = 1e-3  # the learning rate of what is timed

Layers = list[dict[str, Any]]


def conv(channels: int, size: int, padding: int) -> dict[str, Any]:
    return {"type": "conv", "channels": channels, "kernel_size": size, "padding": padding, "activation": "relu"}


def dense(units: int, activation: str = "relu") -> dict[str, Any]:
    return {"type": "dense", "units": units, "activation": activation}


def pool(kind: str) -> dict[str, Any]:
    return {"type": f"{kind}_pool", "size": 2}


def norm(
    channels: int, size: int | list[int], stride: int = 1, padding: int | list[int] = 0, **more: Any
) -> dict[str, Any]:
    """Return a convolution with a batch norm behind it."""
    layer = {"type": "conv", "channels": channels, "kernel_size": size, "stride": stride, "padding": padding}
    return {**layer, "norm": "batch", "activation": "relu", **more}


def separable(channels: int, stride: int = 1) -> Layers:
    """Return a depthwise convolution and one of single pixels, each with its norm."""
    depthwise = {"type": "depthwise_conv", "kernel_size": 3, "stride": stride, "padding": 1, "norm": "batch"}
    return [{**depthwise, "activation": "relu"}, norm(channels, 1)]


def block(channels: int, stride: int = 1) -> dict[str, Any]:
    """Return a residual of two convolutions; where it makes maps smaller, its shortcut has one of single pixels."""
    way = [norm(channels, 3, stride, 1), norm(channels, 3, 1, 1, activation="none")]
    short = [{"type": "conv", "channels": channels, "kernel_size": 1, "stride": stride}] if stride > 1 else []
    return {"type": "residual", "layers": way, "shortcut": short, "activation": "relu"}


FLATTEN = {"type": "flatten"}
LAST = dense(10, "softmax")
TWELVE = dense(12, "softmax")
MEAN = {"type": "global_average_pool"}
MOBILE = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]

# Image shape (height, width, channels), layers, and the number of parameters that they must come to.
NETWORKS: dict[str, tuple[tuple[int, int, int], Layers, int]] = {
    "lenet": (
        (28, 28, 1),
        [conv(4, 5, 0), pool("average"), conv(6, 5, 0), pool("average"), FLATTEN, dense(50), LAST],
        6_070,
    ),
    "lenet5": (
        (28, 28, 1),
        [conv(6, 5, 2), pool("average"), conv(16, 5, 0), pool("average"), FLATTEN, dense(120), dense(84), LAST],
        61_706,
    ),
    "conv98k": (
        (32, 32, 3),
        [*(layer for maps in (16, 32, 32) for layer in (conv(maps, 3, 1), pool("max"))), FLATTEN, dense(160), LAST],
        98_026,
    ),
    "conv976k": (
        (32, 32, 3),
        [
            conv(32, 3, 1),
            *(layer for maps in (32, 64, 64) for layer in (conv(maps, 3, 1), pool("max"))),
            FLATTEN,
            dense(880),
            LAST,
        ],
        976_378,
    ),
    # The reference networks of MLPerf Tiny, with borders as wide on both sides: then every framework pads alike. The
    # last one's outputs are taken for classes here.
    "ic-resnet8": ((32, 32, 3), [norm(16, 3, 1, 1), block(16), block(32, 2), block(64, 2), MEAN, LAST], 78_666),
    "kws-dscnn": (
        (49, 10, 1),
        [
            norm(64, [10, 4], 2, [5, 1]),
            *(layer for _ in range(4) for layer in separable(64)),
            MEAN,
            dense(12, "softmax"),
        ],
        24_908,
    ),
    "vww-mobilenet": (
        (96, 96, 3),
        [norm(8, 3, 2, 1), *(layer for each in MOBILE for layer in separable(*each)), MEAN, dense(2, "softmax")],
        221_794,
    ),
    "ad-autoencoder": (
        (1, 1, 640),
        [
            *({**dense(units), "norm": "batch"} for units in (128, 128, 128, 128, 8, 128, 128, 128, 128)),
            dense(640, "none"),
        ],
        269_992,
    ),
}
OF_INPUT = ("ad-autoencoder",)  # give the input itself, and train by the mean squared error to it


def target_of(network: str) -> str:
    """Return what a network of NETWORKS is trained to give."""
    return "input" if network in OF_INPUT else "class"


def lenumba_network(
    name: str,
    layers: Layers,
    shape: tuple[int, int, int],
    parameters: int | None = None,
    batch_size: int | None = None,
    target: str = "class",
    convolution: str = "auto",
    answers: bool = False,
) -> Any:
    """Return the lenumba.engine.network.network.Network of a list of layers; `parameters` is what it must come to."""
    from pydantic import TypeAdapter

    from lenumba.engine.network.layers import Layer
    from lenumba.engine.network.network import Network

    adapter = TypeAdapter(Layer)
    checked = [adapter.validate_python(layer) for layer in layers]
    more = {"batch_size": batch_size, "target": target, "convolution": convolution, "answers": answers}
    network = Network(checked, shape, name=name, **more)
    if parameters not in (None, network.parameter_count):
        raise AssertionError(f"{name}: expected {parameters} parameters, found {network.parameter_count}")
    return network


def lenumba_optimizer(name: str, rate: float) -> Any:
    """Return lenumba's optimiser, without weight decay (see the fairness notes in README.md)."""
    from lenumba.engine.config.sections import Optimizer
    from lenumba.engine.network.optimizers import make_optimizer

    return make_optimizer(Optimizer(name=name, learning_rate=rate, momentum=0.9, weight_decay=0.0))


# ------------------------------------------------------------------------------------------------------------- data


def read_idx(path: Path) -> np.ndarray:
    """Read one IDX file of bytes, compressed or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        content = file.read()
    axes = content[3]
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_mnist(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return MNIST's training images uint8 [N, 28, 28] and labels uint8 [N], then the same for the test."""
    parts = []
    for stem in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        found = [folder / name for name in (stem, f"{stem}.gz") if (folder / name).exists()]
        if not found:
            raise SystemExit(f"{folder}: expected {stem} or {stem}.gz; --data is a folder with MNIST's four files")
        parts.append(read_idx(found[0]))
    return tuple(parts)


def with_room(images: np.ndarray) -> np.ndarray:
    """Return a copy of bytes with 16 more readable ones behind them, as lenumba's packing needs."""
    room = np.zeros(images.size + 16, np.uint8)
    room[: images.size] = images.ravel()
    return room[: images.size].reshape(images.shape)


def load_data(folder: Path | None, shape: tuple[int, int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [N, C, H, W] and int64 [N]: MNIST from `folder` where it fits, else random images."""
    height, width, channels = shape
    if folder and shape == (28, 28, 1):
        images, labels, _, _ = read_mnist(folder)
        return with_room(images[:count].reshape(-1, 1, 28, 28)), labels[:count].astype(np.int64)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, channels, height, width), np.uint8)
    return with_room(images), generator.integers(0, 10, count)


# ------------------------------------------------------------------------------------------------------- statistics


def spread(values: Sequence[float], digits: str = ".3g") -> str:
    """Write `median (min–max)`."""
    return f"{median(values):{digits}} ({min(values):{digits}}–{max(values):{digits}})"


def ratio_spread(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return [median, min, max] of ours/theirs, pair by pair: neighbours in time share the machine's mood."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return [median(ratios), min(ratios), max(ratios)]


def calibrate(run: Callable[[int], float], seconds: float) -> int:
    """Return how many steps take about `seconds`; `run(steps)` returns the seconds that it took.

    The first call is not counted: it may compile, and it fills the caches.
    """
    run(2)
    steps = 1
    while (took := run(steps)) < min(seconds, 0.3) / 2:
        steps = max(2 * steps, int(steps * seconds / 4 / max(took, 1e-6))) if took < seconds / 50 else 2 * steps
    return max(1, round(steps * seconds / took))


def timed(action: Callable[[], Any]) -> float:
    """Return the wall seconds that a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


class Steps:
    """Training steps on random images, to be timed: `steps(count)` returns the seconds of so many.

    Each call begins at the initial weights (see worker.py), where it is not told to go on. `more` goes to the executor.
    """

    def __init__(self, network: Any, optimizer: Any, batch: int, threads: int, images: int, **more: Any) -> None:
        from lenumba.engine.data.normalization import Normalization
        from lenumba.engine.training.executor import Executor

        self.network, self.optimizer, self.batch = network, optimizer, batch
        self.images, self.labels = load_data(None, network.image_shape, images)
        third = Normalization(*np.full((2, network.image_shape[2]), 1 / 3))
        program = network.compile(optimizer)
        self.executor = Executor(network, program, optimizer, normalization=third, threads=threads, **more)

    def __call__(self, count: int, fresh: bool = True) -> float:
        """Return the seconds of `count` steps."""
        if fresh:
            self.executor.theta[:], self.executor.state[:] = self.network.initial_parameters(0), 0
        order = np.arange(count * self.batch) % len(self.labels)
        hyper = self.optimizer.hyper(np.full(count, RATE), 1)
        return timed(lambda: self.executor.train(self.images, self.labels, order, self.batch, hyper))


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> float:
    """Return this process's peak resident memory in MB (10⁶ bytes).

    From VmHWM where there is one: on Linux getrusage's ru_maxrss also counts what the parent held at the fork.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


# ---------------------------------------------------------------------------------------------------------- reports


def busy_cpus(seconds: float = 0.5) -> float:
    """Return how many CPUs are busy with other work just now (0 where the system does not tell)."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0

    def used() -> int:
        fields = [int(field) for field in stat.read_text().splitlines()[0].split()[1:]]
        return sum(fields[:8]) - fields[3] - fields[4]  # without idle and waiting for a disk

    before = used()
    time.sleep(seconds)
    return (used() - before) / os.sysconf("SC_CLK_TCK") / seconds


def cpu_name() -> str:
    """Return the processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def environment(versions: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what a figure is worth nothing without: processor, cores, versions, date."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": found | (versions or {}),
        "date": time.strftime("%Y-%m-%d"),
    }


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table: first column left, the others right-aligned, padded so that it reads as text too."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = ["| " + " | ".join(pad(cell, widths[k], k) for k, cell in enumerate(row)) + " |" for row in cells]
    rule = "|" + "|".join("-" * (width + 2) if k == 0 else "-" * (width + 1) + ":" for k, width in enumerate(widths))
    return "\n".join([lines[0], f"{rule}|", *lines[1:]])


def pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def arguments_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add what every benchmark offers, and parse."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure and the machine's description")
    args = parser.parse_args()
    args.busy = round(busy_cpus(), 2)
    if args.busy > BUSY_LIMIT:
        print(
            f"warning: {args.busy} CPUs are busy with other work: these figures will be worth little", file=sys.stderr
        )
    return args


def finish(report: dict[str, Any], table: str, args: argparse.Namespace) -> None:
    """Print the table and write the JSON file."""
    print(f"\n{table}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def report_of(benchmark: str, args: argparse.Namespace, results: Any, **more: Any) -> dict[str, Any]:
    """Return the JSON form that report.py reads; paths stay out of it."""
    given = {key: value for key, value in vars(args).items() if not isinstance(value, Path) and key != "python"}
    return (
        {"benchmark": benchmark, "environment": environment(more.pop("versions", None)), "arguments": given}
        | more
        | {"results": results}
    )


def draw_lines(axes: Any, lines: dict[str, tuple[Sequence[float], Sequence[float]]], title: str, label: str) -> None:
    """Draw one line for each name on logarithmic axes."""
    for k, (name, (x, y)) in enumerate(lines.items()):
        axes.plot(x, y, color=COLOURS[k % 7], marker=MARKERS[k % 7], label=name)
    axes.set(title=title, xlabel=label, ylabel="images/s", xscale="log", yscale="log")
    ticks = sorted({value for x, _ in lines.values() for value in x})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False, fontsize="small")
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
