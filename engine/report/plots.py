"""Plots of a run: PNG or SVG files, drawn by Matplotlib (an extra)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.files import durable
from lenumba.engine.report.canvas import literal, make_figure, save
from lenumba.engine.report.curves import draw_training, read_curve
from lenumba.engine.report.findings import Findings, feature_maps, kernels, look_into
from lenumba.engine.report.palette import COUNTS, SIGNED, SIZES
from lenumba.engine.runs.extras import need

MISTAKES = 24
MOST_MAPS = 64  # of a layer; more would be too small to see


def draw_plots(
    found: Findings, folder: Path, kind: str = "png", image: np.ndarray | None = None
) -> Iterator[tuple[Path, str]]:
    """Draw every plot that the run has something for; yield each file and what it shows.

    Parameters
    ----------
    folder
        Where to; made if need be. Files of the same names are replaced.
    kind
        ``png`` or ``svg``.
    image
        uint8 [H, W, C]: whose feature maps to draw; None: the first test image's.

    Raises
    ------
    DataError
        Where Matplotlib is not installed or the folder cannot be written.
    """
    need("matplotlib", "plot", "plots")
    shown = [*found.dataset.test_images[:1]] if image is None else [image]
    folder.mkdir(parents=True, exist_ok=True)
    table: list[tuple[str, str, bool, Callable[[], Any]]] = [
        ("curves", "loss, accuracy and learning rate of each epoch", bool(found.history), lambda: curves(found)),
        ("confusion", "what was taken for what", not found.absent, lambda: confusion(found)),
        ("kernels", "the kernels of each convolution", bool(kernels(found.model)), lambda: kernel_grid(found)),
        ("features", "what each layer makes of an image", bool(shown), lambda: features(found, shown[0])),
        ("mistakes", "the worst mistakes", len(found.test.mistakes) > 0, lambda: mistakes(found)),
        ("histograms", "weights and gradients over time", bool(found.histograms), lambda: histograms(found)),
    ]
    for name, what, there, draw in table:
        if there:
            path = folder / f"{name}.{kind}"
            with durable(path) as temporary:
                save(draw(), temporary, kind)
            yield path, what


def curves(found: Findings) -> Any:
    """Draw loss, accuracy and learning rate over the epochs."""
    return draw_training(read_curve([found.model.folder]))


def confusion(found: Findings) -> Any:
    """Draw the confusion matrix; mistakes are shaded, as the right ones would drown them."""
    names, matrix = [literal(name) for name in found.model.class_names], found.test.confusion
    size = max(4.0, 0.55 * len(names) + 1.5)
    figure = make_figure(size, size)
    axes = figure.add_subplot()
    wrong = np.where(np.eye(len(names), dtype=bool), 0, matrix)
    axes.imshow(wrong, cmap=COUNTS, vmin=0, vmax=max(1, 1.4 * wrong.max()))
    if len(names) <= 30:
        for (i, j), value in np.ndenumerate(matrix):
            if value:
                dark = i != j and value > 0.8 * wrong.max()
                weight = "bold" if i == j else "normal"
                axes.text(j, i, value, ha="center", va="center", color="w" if dark else "k", weight=weight, fontsize=8)
    turned = {"rotation": 90} if max(map(len, names)) > 3 else {}
    axes.set_xticks(range(len(names)), names, **turned)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="taken for", ylabel="is", title=f"{len(found.test.mistakes)} of {matrix.sum():,} wrong")
    return figure


def kernel_grid(found: Findings) -> Any:
    """Draw each convolution's kernels: a column for each map that it puts out, a row for each map that it reads."""
    layers = kernels(found.model)
    grids = [(name, tile(kernel[:MOST_MAPS, :MOST_MAPS].transpose(1, 0, 2, 3))) for name, kernel in layers]
    return pictures([(f"{name} (negative dark, positive light)", grid) for name, grid in grids], signed=True)


def features(found: Findings, image: np.ndarray) -> Any:
    """Draw an image and what every layer puts out for it."""
    signals = found.model.loaded.config.network.signals
    grids = [("input", image[0].T if signals else image if image.shape[2] == 3 else image[:, :, 0] / 255)]
    for name, maps in feature_maps(found.model, image):
        flat = maps.shape[1:] == (1, 1)
        shown = maps.reshape(1, 1, 1, -1) if flat else maps[np.newaxis, :MOST_MAPS]
        if signals and not flat:  # a row for each map
            shown = shown.transpose(0, 2, 1, 3)
        left_out = "" if flat or len(maps) <= MOST_MAPS else f" (the first {MOST_MAPS} of {len(maps)})"
        grids.append((f"{name}{left_out}", tile(shown)))
    return pictures(grids)


def tile(maps: np.ndarray) -> np.ndarray:
    """Return maps [rows, columns, H, W] as one picture with gaps of NaN, one row broken into several if it is long."""
    rows, columns, height, width = maps.shape
    if rows == 1 and width * columns > 4 * 120:
        across = max(1, 4 * 120 // (width + 1))
        padded = np.full((-(-columns // across) * across, height, width), np.nan)
        padded[:columns] = maps[0]
        maps = padded.reshape(-1, across, height, width)
        rows, columns = maps.shape[:2]
    gap = 0 if (height, width) == (1, 1) else 1
    picture = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for (row, column), _ in np.ndenumerate(maps[:, :, 0, 0]):
        top, left = row * (height + gap), column * (width + gap)
        picture[top : top + height, left : left + width] = maps[row, column]
    return picture


def pictures(grids: list[tuple[str, np.ndarray]], *, signed: bool = False) -> Any:
    """Draw pictures below one another, each with its title; those with negative values by SIGNED around 0."""
    heights = [min(2.6, max(0.25, 9.0 * grid.shape[0] / max(grid.shape[1], 30))) for _, grid in grids]
    figure = make_figure(9.5, sum(heights) + 0.45 * len(grids))
    rows = figure.subplots(len(grids), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, grid) in zip(rows, grids, strict=True):
        largest = np.nanmax(np.abs(grid)) or 1
        colour = {"cmap": SIGNED, "vmin": -largest} if signed or np.nanmin(grid) < 0 else {"cmap": SIZES, "vmin": 0}
        shape = {"aspect": "auto"} if grid.shape[0] == 1 else {}
        axes.imshow(grid, vmax=largest, interpolation="nearest", **colour, **shape)
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_axis_off()
    return figure


def mistakes(found: Findings) -> Any:
    """Draw the worst mistakes with what they are, what they were taken for, and both probabilities."""
    worst, outputs = found.test.mistakes[:MISTAKES], found.test.probabilities
    names = [literal(name) for name in found.model.class_names]
    columns = min(8, len(worst))
    rows = -(-len(worst) // columns)
    figure = make_figure(max(3.0, 1.35 * columns), 1.9 * rows)
    for axes in (grid := figure.subplots(rows, columns, squeeze=False)).flat:
        axes.set_axis_off()
    for axes, number in zip(grid.flat, worst, strict=False):
        image = found.dataset.test_images[number]
        if image.dtype == np.uint8:
            axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        else:
            axes.plot(image[0], linewidth=0.8)
        label, guess = found.test.labels[number], found.test.predicted[number]
        shares = [100 * outputs[number, k] for k in (label, guess)]
        text = f"is {names[label]}: {shares[0]:.1f} %\nseems {names[guess]}: {shares[1]:.1f} %"
        axes.set_title(text, fontsize=7)
    return figure


def histograms(found: Findings) -> Any:
    """Draw how each tensor's values, and their gradients, are distributed: time to the right, darker where more lie."""
    weights = [item for item in found.histograms if not item.name.startswith("∂")]
    gradients = {item.name: item for item in found.histograms if item.name.startswith("∂")}
    figure = make_figure(9.5, 1.7 * len(weights))
    for row, weight in zip(figure.subplots(len(weights), 2, squeeze=False), weights, strict=True):
        for axes, item in zip(row, (weight, gradients.get(f"∂L/∂{weight.name}")), strict=True):
            if item is None:
                axes.set_axis_off()
                continue
            extent = (item.epochs[0] - 0.5, item.epochs[-1] + 0.5, item.low, item.high)
            axes.imshow(
                np.sqrt(item.counts.T), origin="lower", extent=extent, aspect="auto", cmap=COUNTS, vmin=0,
                interpolation="nearest",
            )  # fmt: skip
            axes.set_title(item.name, loc="left", fontsize=8)
            axes.tick_params(labelsize=7)
            axes.xaxis.get_major_locator().set_params(integer=True)
    figure.supxlabel("epoch", fontsize=8)
    return figure


def draw_run(folder: Path, drawn: Callable[[Path, str], None] | None = None) -> None:
    """Draw a finished run's plots into its folder ``plots``; call ``drawn(path, what)`` after each."""
    for path, what in draw_plots(look_into(str(folder)), folder / "plots"):
        if drawn:
            drawn(path, what)
