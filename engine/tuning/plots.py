"""A study's plots, as PNG or SVG; raises ImportError without Matplotlib."""

import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from lenumba.engine.common.files import durable
from lenumba.engine.common.text import short_names
from lenumba.engine.report.canvas import literal, make_figure, save
from lenumba.engine.report.curves import SHAPES, finish
from lenumba.engine.report.palette import SEVERAL
from lenumba.engine.tuning.ledger import Ledger
from lenumba.engine.tuning.report import METRICS, ranking
from lenumba.engine.tuning.space import Space
from lenumba.engine.tuning.storage import need_optuna


def draw(
    folder: Path, space: Space, ledger: Ledger | None, rows: list[dict[str, Any]], kind: str = "png"
) -> Iterator[tuple[Path, str]]:
    """Write what a study has something for as ``png`` or ``svg``; yield each file and what it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, what, paint in pictures(space, ledger, rows):
        path = folder / f"{name}.{kind}"
        figure = paint()
        with durable(path) as temporary:
            save(figure, temporary, kind)
        yield path, what


def pictures(
    space: Space, ledger: Ledger | None, rows: list[dict[str, Any]]
) -> list[tuple[str, str, Callable[[], Any]]]:
    """Return what a study has something for: history, curves, parallel, importance; name, content, what draws it.

    With a single setting, ``setting`` takes the place of parallel coordinates.
    """
    finished = ranking(space, rows)
    several = len(space.dimensions) > 1
    if len(finished) < 2:
        return []
    wide = 2 + 1.6 * len(space.dimensions)
    table: list[tuple[str, str, bool, float, Callable[[Any], None]]] = [
        ("history", "each trial, and the best so far", True, 8,
         lambda axes: history(axes, space, [row for row in rows if row["state"] == "finished"])),
        ("curves", "where every trial stood after each epoch", True, 10, lambda axes: curves(axes, space, rows)),
        ("parallel", "each trial's settings", several, wide, lambda axes: parallel(axes, space, finished)),
        ("setting", "the setting that was tried", not several, 8, lambda axes: setting(axes, space, finished)),
        ("importance", "how much each setting matters", several and len(finished) >= 4 and ledger is not None, 8,
         lambda axes: importance(axes, ledger)),
    ]  # fmt: skip
    return [(name, what, partial(painted, paint, width)) for name, what, there, width, paint in table if there]


def painted(paint: Callable[[Any], None], width: float) -> Any:
    """Return a figure of one pair of axes."""
    figure = make_figure(width, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on axes whose values are all the same
        paint(axes := figure.add_subplot())
        axes.spines[["top", "right"]].set_visible(False)
        figure.draw_without_rendering()
    return figure


def history(axes: Any, space: Space, finished: list[dict[str, Any]]) -> None:
    """Draw each finished trial's value, and the best so far; of a share what is missing to 1, for a log scale."""
    order = sorted(finished, key=lambda row: row["trial"])
    share = not space.tune.least
    values = [1 - row["value"] if share else row["value"] for row in order]
    best = list(accumulate(values, max if space.tune.maximize != share else min))
    numbers = [row["trial"] for row in order]
    axes.plot(numbers, values, "o", label="trial")
    axes.step(numbers, best, where="post", label="best so far")
    to_log_scale(axes)
    label = missing(space.tested) if share else METRICS[space.tune.metric]
    axes.set(xlabel="trial", ylabel=label, title="History")
    axes.legend()


def missing(tested: str) -> str:
    """Say what is drawn of a share."""
    return "validation error" if tested == "accuracy" else f"1 − {METRICS[f'val_{tested}']}"


def to_log_scale(axes: Any) -> None:
    """Give what is drawn a log scale, unless no value is above 0: no trial left an error, say."""
    if math.isfinite(axes.dataLim.minposy):
        axes.set_yscale("log", nonpositive="clip")


def curves(axes: Any, space: Space, rows: list[dict[str, Any]]) -> None:
    """Draw where every trial stood after each epoch, on a log scale: the best named, the others pale."""
    loss = bool(space.tune.figure) and space.tune.least
    best = [row["trial"] for row in ranking(space, rows)]
    named = best[: len(SEVERAL)]
    for row in rows:
        for curve in row["curves"][:1]:
            place = named.index(row["trial"]) if row["trial"] in named else None
            pruned = row["state"] != "finished"
            style: dict[str, Any] = {"color": "silver" if pruned else "darkgrey", "linewidth": 1, "zorder": 1}
            if place is not None:
                mark = SHAPES[place % len(SHAPES)]
                style = {"color": SEVERAL[place], "label": label_of(row), "marker": mark, "markersize": 4, "zorder": 3}
            values = curve if loss else [1 - abs(value) for value in curve]  # see progress_value
            axes.plot(range(1, len(curve) + 1), values, **style)
    to_log_scale(axes)
    label = METRICS[space.tune.metric] if loss else missing(space.tested)
    finish(axes, label)
    about = [f"the best {len(named)} of {len(best)} by name" if len(best) > len(named) else ""]
    about += ["light grey: pruned"] if any(row["state"] == "pruned" for row in rows) else []
    axes.set_title("Learning curves" + ("".join(f" ({text})" for text in [", ".join(filter(None, about))] if text)))
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda k: SEVERAL.index(handles[k].get_color()))
    if order:
        axes.figure.legend(
            [handles[k] for k in order], [labels[k] for k in order], loc="outside right upper", frameon=False,
            fontsize=8, title="best first",
        )  # fmt: skip


def label_of(row: dict[str, Any]) -> str:
    """Name a trial by its settings."""
    params = row["params"]
    values = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in params.values())
    text = "\n    ".join(f"{name}={value}" for name, value in zip(short_names(list(params)), values, strict=True))
    return literal(f"{row['trial']}: {text}{' (the recipe)' if row['trial'] == 0 else ''}")


def setting(axes: Any, space: Space, finished: list[dict[str, Any]]) -> None:
    """Draw what the one setting that was tried brought: each trial's value, of a share what is missing to 1."""
    (dimension,) = space.dimensions
    share, order = not space.tune.least, sorted(finished, key=lambda row: row["trial"])
    given = [row["params"][dimension.key] for row in order]
    values = [1 - row["value"] if share else row["value"] for row in order]
    places = [dimension.choices.index(value) for value in given] if dimension.choices else given
    axes.plot(places, values, "o", color=SEVERAL[0], label="trial")
    best = finished[0]
    k = order.index(best)
    axes.plot(places[k], values[k], "D", color=SEVERAL[1], markersize=9, label=f"the best: trial {best['trial']}")
    if dimension.choices:
        axes.set_xticks(range(len(dimension.choices)), [literal(str(value)) for value in dimension.choices])
    elif dimension.log:
        axes.set_xscale("log")
    to_log_scale(axes)
    label = missing(space.tested) if share else METRICS[space.tune.metric]
    axes.set(xlabel=dimension.key, ylabel=label, title=f"What {dimension.key} brings")
    axes.legend(frameon=False)


def parallel(axes: Any, space: Space, finished: list[dict[str, Any]]) -> None:
    """Draw one line a trial through all its settings, coloured by rank."""
    from matplotlib import colormaps

    def height(dimension: Any, value: Any) -> float:
        if dimension.choices:
            return dimension.choices.index(value) / max(1, len(dimension.choices) - 1)
        low, high = dimension.low, dimension.high
        if dimension.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    for rank, row in reversed(list(enumerate(finished))):
        heights = [height(d, row["params"][d.key]) for d in space.dimensions]
        colour = colormaps["viridis"](rank / max(1, len(finished) - 1))
        axes.plot(range(len(heights)), heights, color=colour, linewidth=2.5 if rank == 0 else 1, alpha=0.8)
    for index, d in enumerate(space.dimensions):
        marks = enumerate(d.choices) if d.choices else ((0, f"{d.low:g}"), (1, f"{d.high:g}"))
        for position, text in marks:
            level = position / max(1, len(d.choices) - 1) if d.choices else position
            axes.annotate(literal(str(text)), (index, level), xytext=(4, 2), textcoords="offset points", fontsize=8)
        axes.axvline(index, color="lightgrey", zorder=0)
    names = [d.key.replace(".", ".\n") for d in space.dimensions]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_yticks([])
    axes.set_title(f"Parallel coordinates (dark: best {METRICS[space.tune.metric]})")


def importance(axes: Any, ledger: Ledger | None) -> None:
    """Draw how much each setting matters, by PED-ANOVA (Watanabe et al., IJCAI 2023)."""
    assert ledger is not None
    optuna = need_optuna()
    found = optuna.importance.get_param_importances(
        ledger.study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    names = list(found)[::-1]
    axes.barh(names, [found[name] for name in names])
    axes.set(xlabel="share", title="Importance")
