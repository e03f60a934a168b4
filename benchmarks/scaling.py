"""Measure how lenumba's training speed changes with threads, batch size, image size and channels."""

import argparse
from pathlib import Path
from statistics import median
from typing import Any

from common import (
    COLOURS,
    FLATTEN,
    LAST,
    RATE,
    Steps,
    arguments_of,
    calibrate,
    conv,
    cores,
    dense,
    finish,
    lenumba_network,
    lenumba_optimizer,
    markdown_table,
    pool,
    report_of,
    spread,
)

BATCHES, SIZES, FACTORS = (1, 16, 32, 64, 128, 256, 1024, 4096), (20, 28, 40, 64), (1, 2, 4, 8)
SWEEPS = {
    "threads": "threads",
    "batch": "batch size",
    "size": "image height and width in pixels",
    "channels": "maps, as a multiple of LeNet's",
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    parser.add_argument("--threads", type=int, default=cores(), help="threads of the other sweeps  [all cores]")
    parser.add_argument("--batch", type=int, default=64, help="batch size of the other sweeps  [64]")
    parser.add_argument("--thread-batches", type=int, nargs="+", default=[64, 256, 1024], help="for the threads sweep")
    parser.add_argument("--images", type=int, default=8192, help="random images in memory  [8192]")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one measurement  [0.5]")
    parser.add_argument("--repeats", type=int, default=5, help="rounds over all points of a sweep  [5]")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw all sweeps (PNG or SVG)")
    return arguments_of(parser)


def make_network(size: int = 28, factor: int = 1, batch: int | None = None) -> Any:
    """Return a LeNet for size × size images with `factor` times as many maps; its convolutions see 4 pixels less."""
    layers = [conv(4 * factor, 5, 0), pool("average"), conv(6 * factor, 5, 0), pool("average")]
    return lenumba_network("scaling", [*layers, FLATTEN, dense(50), LAST], (size, size, 1), batch_size=batch)


class Point:
    """One setting to measure: a network, a batch size and a number of threads."""

    def __init__(self, x: float, network: Any, batch: int, threads: int, images: int, line: str = "lenumba") -> None:
        self.x, self.line, self.network, self.batch = x, line, network, batch
        self.run = Steps(network, lenumba_optimizer("sgd", RATE), batch, threads, images)
        self.speeds: list[float] = []

    def as_dict(self, sweep: str) -> dict[str, Any]:
        """Return the point's results; `gflops` counts the multiply-adds of the three passes, 2 operations each."""
        units = self.network.units
        work = sum(unit.multiply_adds for unit in units)
        trained = [unit for unit in units if unit.parameters]
        first = trained[0].multiply_adds  # nobody needs its input's gradient
        flops = 2 * (3 * work - first) * median(self.speeds)
        return {"sweep": sweep, "line": self.line, "x": self.x, "images_per_second": self.speeds, "gflops": flops / 1e9}


def points_of(sweep: str, args: argparse.Namespace) -> list[Point]:
    """Return what a sweep measures."""
    batch, threads, images = args.batch, args.threads, args.images
    if sweep == "threads":
        counts = sorted({*(2**k for k in range(10) if 2**k <= cores()), cores()})
        return [
            Point(count, make_network(), size, count, images, f"batch {size}")
            for size in args.thread_batches
            for count in counts
        ]
    if sweep == "batch":
        return [Point(size, make_network(batch=size), size, threads, images) for size in BATCHES if size <= images]
    if sweep == "size":
        return [Point(size, make_network(size=size), batch, threads, images) for size in SIZES]
    return [Point(factor, make_network(factor=factor), batch, threads, images) for factor in FACTORS]


def tables(report: dict[str, Any]) -> str:
    """Return the report as Markdown, a table for each sweep."""
    parts = []
    for sweep, label in SWEEPS.items():
        rows = [row for row in report["results"] if row["sweep"] == sweep]
        cells = []
        for row in rows:
            base = next(other for other in rows if other["line"] == row["line"])
            factor = median(row["images_per_second"]) / median(base["images_per_second"])
            speeds = spread(row["images_per_second"], ",.0f")
            cells.append([f"{row['x']:g}", row["line"], speeds, f"{factor:.2f}×", f"{row['gflops']:.0f}"])
        if cells:
            parts.append(markdown_table([label, "", "images/s", "to the first", "GFLOP/s"], cells))
    return "\n\n".join(parts)


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw one panel for each sweep."""
    import matplotlib

    matplotlib.use("agg")
    from common import draw_lines
    from matplotlib import pyplot

    sweeps = [sweep for sweep in SWEEPS if any(row["sweep"] == sweep for row in report["results"])]
    figure, axes = pyplot.subplots(1, len(sweeps), figsize=(4 * len(sweeps), 3.6), squeeze=False, layout="constrained")
    for sweep, axis in zip(sweeps, axes[0], strict=True):
        rows = [row for row in report["results"] if row["sweep"] == sweep]
        lines: dict[str, tuple[list, list]] = {}
        for row in rows:
            x, y = lines.setdefault(row["line"], ([], []))
            x.append(row["x"])
            y.append(median(row["images_per_second"]))
        draw_lines(axis, lines, f"By {sweep}", SWEEPS[sweep])
        if sweep == "threads":
            for k, (x, y) in enumerate(lines.values()):  # dashed: every thread as good as the first
                axis.plot(x, [y[0] * count for count in x], color=COLOURS[k % 7], linestyle="--", alpha=0.5)
    figure.savefig(path, dpi=150)


def main() -> None:
    args = parse()
    results = []
    for sweep in args.sweeps:
        points = points_of(sweep, args)
        steps = [calibrate(point.run, args.seconds) for point in points]
        for _ in range(args.repeats):
            for point, count in zip(points, steps, strict=True):
                point.speeds.append(count * point.batch / point.run(count))
        results += [point.as_dict(sweep) for point in points]
        print(f"{sweep}: {len(points)} points measured", flush=True)
    report = report_of("scaling", args, results)
    if args.plot:
        plot(report, args.plot)
    finish(report, tables(report), args)


if __name__ == "__main__":
    main()
