"""Plots of a run: PNG or SVG files, drawn by Matplotlib (an extra)."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lenumba.engine.common.files import durable
from lenumba.engine.common.targets import panels
from lenumba.engine.report.canvas import literal, make_figure, save
from lenumba.engine.report.charts import Chart, Group, charts_of
from lenumba.engine.report.curves import draw_training, read_curve
from lenumba.engine.report.findings import Findings, feature_maps, kernels, look_into, reconstructions, worst_of
from lenumba.engine.report.palette import COUNTS, SEVERAL, SIGNED, SIZES
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
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawing in drawings(found, image).items():
        if drawing.there:
            path = folder / f"{name}.{kind}"
            with durable(path) as temporary:
                save(drawing.draw(), temporary, kind)
            yield path, drawing.what


class Drawing(NamedTuple):
    """A plot: what it shows, whether the run has something for it, and what draws it."""

    what: str
    there: bool
    draw: Callable[[], Any]


def drawings(found: Findings, image: np.ndarray | None = None) -> dict[str, Drawing]:
    """Return what is drawn of a run, by the files' names; `image` as for :func:`draw_plots`."""
    shown = [*found.dataset.test_images[:1]] if image is None else [image]
    labels = [panel.label.removesuffix(" in %") for panel in panels(found.history)]
    return {
        "curves": Drawing(
            f"{', '.join(labels)} and learning rate of each epoch", bool(found.history), lambda: curves(found)
        ),
        **(class_drawings if found.model.network.target == "class" else target_drawings)(found),
        "kernels": Drawing("the kernels of each convolution", bool(kernels(found.model)), lambda: kernel_grid(found)),
        "features": Drawing("what each layer makes of an image", bool(shown), lambda: features(found, shown[0])),
        "mistakes": Drawing("the worst mistakes", len(worst_of(found, MISTAKES)) > 0, lambda: mistakes(found)),
        "histograms": Drawing("weights and gradients over time", bool(found.histograms), lambda: histograms(found)),
    }


def class_drawings(found: Findings) -> dict[str, Drawing]:
    """Return what is drawn of answers that are classes."""
    return {"confusion": Drawing("what was taken for what", not found.absent, lambda: confusion(found))}


def target_drawings(found: Findings) -> dict[str, Drawing]:
    """Return what is drawn of answers that are no classes: their charts."""
    return {
        name: Drawing(group.what, True, functools.partial(draw_charts, group))
        for name, group in charts_of(found.test).items()
    }


def draw_charts(group: Group) -> Any:
    """Draw charts in rows."""
    count = len(group.charts)
    columns = min(group.across, count)
    rows = -(-count // columns)
    figure = make_figure(3.7 * columns, 3.2 * rows + 0.3 * bool(group.note))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    for axes, chart in zip(grid.flat, group.charts, strict=False):
        draw_chart(axes, chart)
    if group.note:
        figure.suptitle(literal(group.note), fontsize=9)
    return figure


def draw_chart(axes: Any, chart: Chart) -> None:
    """Draw one chart."""
    for number, (name, points) in enumerate(chart.series.items()):
        x, y = np.array(points).T
        look: dict[str, Any] = {"color": SEVERAL[number], "label": literal(name) or None}
        if chart.form == "points":
            axes.plot(x, y, linestyle="", marker="o", markersize=3, markeredgewidth=0, alpha=0.6, **look)
        elif chart.form == "bars":
            axes.stairs(y[:-1], x, fill=True, alpha=0.5, hatch=("", "//")[number % 2], **look)
        else:
            axes.plot(x, y, linestyle=("-", "--")[number % 2], **look)
    if chart.ideal:
        axes.plot(*np.array(chart.ideal).T, color="0.4", linestyle=":")
    if chart.unit:
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set(xlabel=literal(chart.x), ylabel=literal(chart.y))
    axes.set_title(literal(chart.title), fontsize=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if any(chart.series):
        axes.legend(frameon=False, fontsize=8)


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
    """Draw the worst mistakes with what they are and what they were taken for; reconstructions below their inputs."""
    worst = worst_of(found, MISTAKES)
    rebuilt = reconstructions(found, worst)
    columns = min(8, len(worst))
    each = 1 if rebuilt is None else 2
    rows = -(-len(worst) // columns) * each
    titles = [literal("\n".join(found.test.lines(number))) for number in worst]
    height = 1.9 + 0.16 * max(0, max(title.count("\n") for title in titles) - 1) if rebuilt is None else 1.65
    figure = make_figure(max(3.0, 1.35 * columns), height * rows)
    for axes in (grid := figure.subplots(rows, columns, squeeze=False)).flat:
        axes.set_axis_off()
    for place, number in enumerate(worst):
        row, column = each * (place // columns), place % columns
        show_input(grid[row, column], found.dataset.test_images[number])
        grid[row, column].set_title(titles[place], fontsize=7)
        if rebuilt is not None:
            show_input(grid[row + 1, column], rebuilt[place])
            grid[row + 1, column].set_title("given back as", fontsize=7)
    return figure


def show_input(axes: Any, image: np.ndarray) -> None:
    """Draw an image, or a signal as curves."""
    if image.dtype == np.uint8:
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    elif len(image) > 1:
        axes.imshow(image[:, :, 0], cmap=SIGNED)
    else:
        axes.plot(image[0], linewidth=0.8)


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
