"""Learning curves: of one training, of a configuration's seeds, and of several side by side, named by what differs."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.files import durable, expanded
from lenumba.engine.common.targets import panels
from lenumba.engine.common.text import short_names
from lenumba.engine.report.canvas import literal, make_figure, save
from lenumba.engine.report.palette import SEVERAL
from lenumba.engine.runs.changes import deciding, differences
from lenumba.engine.runs.compare import SUMMARY
from lenumba.engine.runs.extras import need
from lenumba.engine.runs.folders import RUNS, find_run, load_run_config, read_history, seed_folders
from lenumba.engine.runs.records import read_run_json

LONGEST = 40  # characters of a value in a label
History = list[dict[str, Any]]


@dataclass(frozen=True)
class Curve:
    """What is drawn in one colour: a run, or the mean of a configuration's seeds.

    Attributes
    ----------
    name
        What the legend calls it.
    histories
        The epochs of each seed, one dict an epoch.
    best
        The epoch whose weights were kept; None where that is not known, and of several seeds.
    """

    name: str
    histories: tuple[History, ...]
    best: int | None = None

    @property
    def length(self) -> int:
        """How many epochs all seeds have."""
        return min(map(len, self.histories))

    def values(self, key: str) -> np.ndarray:
        """Return float64 [seeds, epochs] of a key; NaN where an epoch has none."""
        rows = [[line.get(key) for line in item[: self.length]] for item in self.histories]
        return np.array([[math.nan if value is None else value for value in row] for row in rows], float)


def read_curve(folders: Sequence[Path], name: str = "") -> Curve:
    """Read a run's epochs, or those of a configuration's seeds; DataError where one of them has none."""
    histories = tuple(map(read_history, folders))
    for folder, history in zip(folders, histories, strict=True):
        if not history:
            raise DataError(f"{folder}: expected an epoch in metrics.jsonl, found none; train it, or remove the folder")
    best = read_run_json(folders[0]).get("best_epoch") if len(folders) == 1 else None
    return Curve(name or folders[0].name, histories, best or None)


def own_folder(name: str) -> Path | None:
    """Return the folder that a name means where it holds several runs: seeds, or a comparison; else None."""
    seeds, groups = seed_folders(name), find_several(name)
    return seeds[0].parent if seeds else groups[0][1][0].parent.parent if groups else None


def find_several(name: str) -> list[tuple[str, list[Path]]]:
    """Return the configurations of a folder of ``compare --out``, and each one's run folders; empty for all others."""
    folder = next((path for path in (expanded(name), RUNS / name) if (path / SUMMARY).is_file()), None)
    groups = [] if folder is None else [(path.name, seed_folders(str(path))) for path in folder.iterdir()]
    trained = [(label, seeds) for label, seeds in groups if seeds]
    return sorted(trained, key=lambda item: (item[1][0] / "config.yaml").stat().st_mtime_ns)  # as they were given


def names_of(groups: Sequence[Sequence[Path]]) -> list[str]:
    """Name trainings, each one's run folders, by the settings in which they differ, else by recipe or folder."""
    loaded = [load_run_config(folders[0]) for folders in groups]
    configs = [deciding(item.config) for item in loaded]
    for config in configs if max(map(len, groups)) > 1 else ():
        del config["train"]["seed"]
    keys: dict[str, None] = {}
    for config in configs[1:]:
        keys |= dict.fromkeys(key for key, *_ in differences(configs[0], config, whole=True))
    recipes = [item.name for item in loaded]
    several = any(key.startswith("network") for key in keys)
    short = [] if several else [key for key in keys if all(len(written(config, key)) <= LONGEST for config in configs)]
    parts = [[recipe] if several else [] for recipe in recipes]
    for key, label in zip(short, short_names([key.removesuffix(".name") for key in short]), strict=True):
        for part, config in zip(parts, configs, strict=True):
            part.append(f"{label}={written(config, key)}")
    names = [", ".join(part) for part in parts]
    paths = [folders[0].parent if len(folders) > 1 else folders[0] for folders in groups]
    tails = ["/".join(path.parts[-1 if len({p.name for p in paths}) == len(paths) else -2 :]) for path in paths]
    return [
        name if name and names.count(name) == 1 else f"{tail} ({name})" if name else tail
        for name, tail in zip(names, tails, strict=True)
    ]


def written(config: Any, key: str) -> str:
    """Return the value at a dotted key of a plain configuration as text; a dash where it has none."""
    for part in key.split("."):
        config = config[int(part)] if isinstance(config, list) else config.get(part) if config else None
    if isinstance(config, float):
        return f"{config:g}"
    return config if isinstance(config, str) else "–" if config is None else json.dumps(config)


def draw_training(curve: Curve) -> Any:
    """Draw loss, figures and learning rate of a training, or its seeds' means with bands of one standard error."""
    drawn = [(panel.label, panel.keys(), panel.scale) for panel in panels(curve.histories[0])]
    drawn.append(("learning rate", {"last step": "learning_rate"}, 1.0))
    figure = make_figure(11 / 3 * len(drawn), 3.4)
    for axes, (label, lines, scale) in zip(figure.subplots(1, len(drawn)), drawn, strict=True):
        for (name, key), colour in zip(lines.items(), SEVERAL, strict=False):
            dashes = "--" if name == "training" else "-"
            add_line(axes, curve, key, scale, best="best epoch", label=name, color=colour, linestyle=dashes)
        finish(axes, label)
        if axes.lines:
            axes.legend(frameon=False)
    return figure


def draw_several(curves: Sequence[Curve]) -> Any:
    """Draw the loss and figures of several trainings, a colour each: validation as lines, training as dashes."""
    from matplotlib.lines import Line2D

    drawn, known = panels(curves[0].histories[0]), False
    figure = make_figure(max(8.0, 5.5 * len(drawn)), 4.2 + 0.19 * len(curves))
    rows = figure.subplots(1, len(drawn), squeeze=False)
    for axes, panel in zip(rows[0], drawn, strict=True):
        label, lines, scale = panel.label, panel.keys(), panel.scale
        for number, curve in enumerate(curves):
            style: dict[str, Any] = {"color": SEVERAL[number % len(SEVERAL)]}
            if number >= len(SEVERAL):
                style["alpha"] = 0.55
            for name, key in lines.items():
                dashes = {"linestyle": "--", "linewidth": 1.0} if name == "training" else {"linewidth": 1.8}
                mark = SHAPES[number % len(SHAPES)] if name == "validation" else None
                known |= add_line(axes, curve, key, scale, best=mark and "", shape=mark or "o", **style, **dashes)
        finish(axes, label)
    handles = [
        Line2D([], [], color=SEVERAL[n % len(SEVERAL)], marker=SHAPES[n % len(SHAPES)], label=literal(curve.name))
        for n, curve in enumerate(curves)
    ]
    handles += [Line2D([], [], color="0.3", label="validation"), Line2D([], [], color="0.3", ls="--", label="training")]
    if known:
        handles.append(Line2D([], [], color="0.3", ls="", marker="o", label="large: the best epoch"))
    if any(len(curve.histories) > 1 for curve in curves):
        handles.append(Line2D([], [], color="0.3", lw=7, alpha=0.25, label="± one standard error over the seeds"))
    longest = max(len(curve.name) for curve in curves)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4 if longest < 28 else 2, frameon=False, fontsize=9
    )
    return figure


SHAPES = ("o", "s", "^", "D", "v", "P", "X")


def add_line(
    axes: Any, curve: Curve, key: str, scale: float, *, best: str | None, shape: str = "o", **style: Any
) -> bool:
    """Draw a key of the epochs, or its mean over the seeds with a band of one standard error.

    `best` labels the mark at the best epoch, None: no mark. Returns whether there is one.
    """
    values = scale * curve.values(key)
    if not values.size or np.isnan(values).all():
        return False
    epochs = [line["epoch"] for line in curve.histories[0][: curve.length]]
    mean = values.mean(axis=0)
    mark = {"marker": shape, "markersize": 3} if len(epochs) < 25 and style.get("linestyle") != "--" else {}
    axes.plot(epochs, mean, **mark, **style)
    if len(values) > 1:
        error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
        axes.fill_between(epochs, mean - error, mean + error, color=style["color"], alpha=0.2, linewidth=0)
    if best is None or curve.best not in epochs or not key.startswith("val_"):
        return False
    point = mean[epochs.index(curve.best)]
    look = {"markersize": 9, "markeredgecolor": "white", "linestyle": "", "label": best or None}
    axes.plot([curve.best], [point], marker=shape, color=style["color"], zorder=4, **look)
    return True


def finish(axes: Any, label: str) -> None:
    """Give axes their labels, whole epochs and a grid."""
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def write_curves(curves: Sequence[Curve], folder: Path, kind: str = "png") -> Path:
    """Draw curves, side by side where there are several, as ``curves.png`` or ``curves.svg`` in a folder."""
    need("matplotlib", "plot", "plots")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"curves.{kind}"
    with durable(path) as temporary:
        save(draw_training(curves[0]) if len(curves) == 1 else draw_several(curves), temporary, kind)
    return path


def find_curves(names: Sequence[str]) -> list[Curve]:
    """Return the curves of runs, folders of seeds and folders of ``compare --out``.

    Raises
    ------
    ConfigError, DataError
        Where a name means none of these, or there is no epoch.
    """
    named = [(label, folders) for name in names for label, folders in find_several(name)]
    others = [seed_folders(name) or [find_run(name)] for name in names if not find_several(name)]
    labels = names_of(others) if len(others) > 1 else [folders[0].name for folders in others]
    return [read_curve(folders, name) for name, folders in [*named, *zip(labels, others, strict=True)]]
