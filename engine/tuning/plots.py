"""A study's plots as PNG; raises ImportError without Matplotlib."""

import math
import warnings
from itertools import accumulate
from pathlib import Path
from typing import Any

from lenumba.engine.common.files import durable
from lenumba.engine.report.plots import literal
from lenumba.engine.tuning.ledger import Ledger
from lenumba.engine.tuning.report import METRICS, ranking
from lenumba.engine.tuning.space import Space
from lenumba.engine.tuning.storage import need_optuna


def draw(folder: Path, space: Space, ledger: Ledger, rows: list[dict[str, Any]]) -> None:
    """Write history.png, importance.png, parallel.png and curves.png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    finished = ranking(space, rows)
    label = METRICS[space.tune.metric]
    if len(finished) < 2:
        return

    def save(name: str, paint: Any, *, wide: float = 8) -> None:
        figure = Figure(figsize=(wide, 5), layout="constrained")
        FigureCanvasAgg(figure)
        with durable(folder / name) as path, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on axes whose values are all the same
            paint(axes := figure.add_subplot())
            axes.spines[["top", "right"]].set_visible(False)
            figure.savefig(path, dpi=120, format="png")

    save("history.png", lambda axes: history(axes, space, [row for row in rows if row["state"] == "finished"]))
    save("curves.png", lambda axes: curves(axes, space, rows))
    save("parallel.png", lambda axes: parallel(axes, space, finished, label), wide=2 + 1.6 * len(space.dimensions))
    if len(finished) >= 4:
        save("importance.png", lambda axes: importance(axes, ledger))


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
    """Draw where every trial stood after each epoch, the pruned ones pale, on a log scale."""
    loss = bool(space.tune.figure) and space.tune.least
    for row in rows:
        for curve in row["curves"][:1]:
            style = {"color": "tab:blue", "alpha": 0.5} if row["state"] == "finished" else {"color": "silver"}
            if row["trial"] == 0:
                style = {"color": "tab:red", "label": "trial 0, the recipe as written", "zorder": 3}
            values = curve if loss else [1 - abs(value) for value in curve]  # see progress_value
            axes.plot(range(1, len(curve) + 1), values, marker="." if len(curve) < 3 else None, **style)
    to_log_scale(axes)
    label = METRICS[space.tune.metric] if loss else missing(space.tested)
    axes.set(xlabel="epoch", ylabel=label, title="Learning curves (grey: pruned)")
    if rows and rows[0]["curves"]:
        axes.legend()


def parallel(axes: Any, space: Space, finished: list[dict[str, Any]], label: str) -> None:
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
    axes.set_title(f"Parallel coordinates (dark: best {label})")


def importance(axes: Any, ledger: Ledger) -> None:
    """Draw how much each setting matters, by PED-ANOVA (Watanabe et al., IJCAI 2023)."""
    optuna = need_optuna()
    found = optuna.importance.get_param_importances(
        ledger.study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    names = list(found)[::-1]
    axes.barh(names, [found[name] for name in names])
    axes.set(xlabel="share", title="Importance")
