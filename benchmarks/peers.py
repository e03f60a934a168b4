"""Measure lenumba, PyTorch, JAX, Keras and ONNX Runtime on the same network, data, batch size and threads."""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import (
    COLOURS,
    NETWORKS,
    arguments_of,
    cores,
    draw_lines,
    finish,
    lenumba_network,
    load_data,
    markdown_table,
    ratio_spread,
    report_of,
    target_of,
)
from frameworks import MODULES, TRAINS
from frameworks.job import Job
from worker import Worker, installed, write_job

PARITY_STEPS = 20
# The frameworks add in different orders, so their losses differ by rounding, and training amplifies it: where two
# values in a pool's window all but tie, the other one wins. By how much is measured, not guessed: lenumba beside itself
# from weights moved by one unit in the last place. A peer may drift PARITY_FACTOR times as far as the farthest of those
# runs has drifted by the same step. The first steps, which already show the loss, its gradients and the update with
# its momentum, must agree but for rounding.
PARITY_PERTURBATIONS, PARITY_FACTOR = 5, 10
PARITY_FIRST_STEPS, PARITY_ROUNDING = 4, 1e-5
# Keras adds Adam's epsilon before the bias correction, the others behind it: another formula, reported but not judged.
PARITY_EXCEPTIONS = (("Keras", "adamw"),)
PARITY_BATCH = 64
PARITY_RATES = {"sgd": 0.02, "adamw": 0.005}  # large enough for the losses to change visibly within the steps
MEMORY_STEPS, MEMORY_BATCH = 200, 64
MODES = {"train": "training", "infer": "inference"}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="lenet")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="MNIST's four files; without it random images")
    parser.add_argument("--images", type=int, default=10_000, help="images in memory  [10000]")
    parser.add_argument("--optimizer", choices=("sgd", "adamw"), default="sgd")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate; speed does not depend on it  [0.001]")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--frameworks", nargs="+", choices=MODULES, default=list(MODULES))
    parser.add_argument("--threads", type=int, default=cores(), help="threads and CPUs for everybody  [all]")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a slice  [1]")
    parser.add_argument("--repeats", type=int, default=5, help="alternations A B C A B C …  [5]")
    parser.add_argument("--parity", action="store_true", help="first check that all train the same network alike")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw images/s against batch size (PNG or SVG)")
    parser.add_argument(
        "--python", action="append", default=[], metavar="FRAMEWORK=PATH", help="a framework's own interpreter"
    )
    return arguments_of(parser)


def make_job(args: argparse.Namespace, rate: float) -> Job:
    """Return the task: data, and initial weights that lenumba draws."""
    shape, layers, parameters = NETWORKS[args.network]
    images, labels = load_data(args.data, shape, args.images)
    target = target_of(args.network)
    network = lenumba_network(args.network, layers, shape, parameters, target=target)
    labels = labels % network.outputs
    weights = {name: view.copy() for name, view in network.views(network.initial_parameters(0)).items()}
    mean, deviation = images.mean((0, 2, 3)) / 255, images.std((0, 2, 3)) / 255
    return Job(layers, shape, weights, images, labels, mean, deviation, args.optimizer, rate, args.threads, target)


def start_workers(args: argparse.Namespace, folder: Path, interpreters: dict[str, str]) -> dict[str, Worker]:
    """Start a process for each framework that is installed."""
    workers = {}
    for framework in args.frameworks:
        interpreter = interpreters.get(framework, sys.executable)
        if framework not in TRAINS and "infer" not in args.modes:
            continue
        if not installed(framework, interpreter):
            print(f"{framework}: not installed, left out", file=sys.stderr)
            continue
        workers[framework] = Worker(framework, folder, args.threads, interpreter)
    return workers


def check_parity(args: argparse.Namespace, interpreters: dict[str, str]) -> dict[str, float]:
    """Return each framework's largest relative deviation from lenumba's losses; exit where one is too large."""
    losses, drift = {}, np.zeros(PARITY_STEPS)
    with tempfile.TemporaryDirectory() as folder:
        write_job(Path(folder), make_job(args, PARITY_RATES[args.optimizer]))
        for name, worker in start_workers(args, Path(folder), interpreters).items():
            request = {"steps": PARITY_STEPS, "batch": PARITY_BATCH}
            if name in TRAINS:
                losses[name] = np.array(worker.ask("losses", **request))
            if name == "lenumba":
                for seed in range(1, PARITY_PERTURBATIONS + 1):
                    moved = np.array(worker.ask("losses", perturb=seed, **request))
                    drift = np.maximum(drift, np.abs(moved / losses[name] - 1))
            worker.close()
    ours = losses.pop("lenumba")
    allowed = np.maximum(PARITY_ROUNDING, PARITY_FACTOR * np.maximum.accumulate(drift))
    # A batch norm divides by the batch's own deviation, which makes more of rounding: there only the first loss counts.
    sure = 1 if any("norm" in layer for layer in NETWORKS[args.network][1]) else PARITY_FIRST_STEPS
    allowed[:sure] = PARITY_ROUNDING
    print(f"parity: the loss goes from {ours[0]:.4f} to {ours[-1]:.4f} in {PARITY_STEPS} steps; ", end="")
    print(f"one unit in the last place of the weights changes it by {drift.max():.1e}")
    differences = {}
    for name, theirs in losses.items():
        difference = np.abs(theirs / ours - 1)
        differences[name] = float(difference.max())
        first = difference[:sure].max()
        print(f"parity: {name} differs by at most {first:.1e} at first, {difference.max():.1e} later", flush=True)
        if (difference > allowed).any() and (name, args.optimizer) not in PARITY_EXCEPTIONS:
            print(f"lenumba: {ours}\n{name}: {theirs}\nallowed: {allowed}")
            raise SystemExit(f"{name} does not compute the same as lenumba")
    return differences


def measure(workers: dict[str, Worker], mode: str, batch: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Return images/s of every alternation, for each framework."""
    taking_part = {name: worker for name, worker in workers.items() if mode == "infer" or name in TRAINS}
    steps = {
        name: worker.ask("calibrate", mode=mode, batch=batch, seconds=args.seconds)
        for name, worker in taking_part.items()
    }
    speeds: dict[str, list[float]] = {name: [] for name in taking_part}
    for _ in range(args.repeats):
        for name, worker in taking_part.items():
            seconds = worker.ask("slice", mode=mode, batch=batch, steps=steps[name])
            speeds[name].append(steps[name] * batch / seconds)
    return speeds


def measure_memory(args: argparse.Namespace, folder: Path, interpreters: dict[str, str]) -> dict[str, float]:
    """Return each framework's peak memory in MB after training (or answering), in a process that did nothing else."""
    peaks = {}
    for name in args.frameworks:
        interpreter = interpreters.get(name, sys.executable)
        if installed(name, interpreter):
            worker = Worker(name, folder, args.threads, interpreter)
            worker.ask("slice", mode="train" if name in TRAINS else "infer", batch=MEMORY_BATCH, steps=MEMORY_STEPS)
            peaks[name] = worker.ask("memory")
            worker.close()
    return peaks


def tables(report: dict[str, Any]) -> str:
    """Return the report as Markdown: images/s, and how many times as fast lenumba is."""
    parts = []
    arguments, memory = report["arguments"], report["memory_mb"]
    for mode, title in MODES.items():
        rows = [row for row in report["results"] if row["mode"] == mode]
        if not rows:
            continue
        names = list(rows[0]["images_per_second"])
        cells = []
        for row in rows:
            line = [row["batch"]]
            for name in names:
                cell = f"{median(row['images_per_second'][name]):,.0f}"
                if name in row["ratio"]:
                    middle, low, high = row["ratio"][name]
                    cell += f" · {middle:.1f}× ({low:.1f}–{high:.1f})"
                line.append(cell)
            cells.append(line)
        heading = f"{title.capitalize()}, {arguments['network']}, {arguments['threads']} threads"
        if mode == "train":
            heading += f", {arguments['optimizer']}"
        parts.append(f"{heading} (images/s · lenumba's multiple of it):\n\n{markdown_table(['batch', *names], cells)}")
    peaks = [f"{name} {peak:,.0f} MB" for name, peak in memory.items()]
    parts.append(f"Peak memory, batch {MEMORY_BATCH}, data included: {', '.join(peaks)}.")
    return "\n\n".join(parts)


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw images/s against the batch size, training and inference side by side."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    modes = [mode for mode in MODES if any(row["mode"] == mode for row in report["results"])]
    figure, axes = pyplot.subplots(1, len(modes), figsize=(5.5 * len(modes), 4), squeeze=False, layout="constrained")
    for mode, axis in zip(modes, axes[0], strict=True):
        rows = [row for row in report["results"] if row["mode"] == mode]
        batches = [row["batch"] for row in rows]
        lines = {
            name: (batches, [median(row["images_per_second"][name]) for row in rows])
            for name in rows[0]["images_per_second"]
        }
        draw_lines(axis, lines, f"{MODES[mode].capitalize()}, {report['arguments']['network']}", "batch size")
        for k, name in enumerate(lines):
            low = [min(row["images_per_second"][name]) for row in rows]
            high = [max(row["images_per_second"][name]) for row in rows]
            axis.fill_between(batches, low, high, color=COLOURS[k % 7], alpha=0.15)
    figure.savefig(path, dpi=150)


def main() -> None:
    args = parse()
    interpreters = dict(item.split("=", 1) for item in args.python)
    if "lenumba" not in args.frameworks:
        raise SystemExit("--frameworks: lenumba is what the others are compared with; include it")
    parity = check_parity(args, interpreters) if args.parity else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_job(folder, make_job(args, args.rate))
        workers = start_workers(args, folder, interpreters)
        results = []
        for mode in args.modes:
            for batch in args.batches:
                speeds = measure(workers, mode, batch, args)
                ratio = {name: ratio_spread(speeds["lenumba"], s) for name, s in speeds.items() if name != "lenumba"}
                results.append({"mode": mode, "batch": batch, "images_per_second": speeds, "ratio": ratio})
                now = ", ".join(f"{name} {median(values):,.0f}" for name, values in speeds.items())
                print(f"{MODES[mode]}, batch {batch}: {now} images/s", flush=True)
        versions = {key: value for worker in workers.values() for key, value in worker.versions.items()}
        for worker in workers.values():
            worker.close()
        memory = measure_memory(args, folder, interpreters)
    report = report_of("peers", args, results, parity=parity, memory_mb=memory, versions=versions)
    if args.plot:
        plot(report, args.plot)
    finish(report, tables(report), args)


if __name__ == "__main__":
    main()
