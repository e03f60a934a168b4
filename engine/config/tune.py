"""The ``tune:`` section of a configuration. What its space means is checked in ``space.py``."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from lenumba.engine.common.targets import FALLING, TARGETS
from lenumba.engine.network.layers import Strictly

_RANGE = {
    "type": "object",
    "properties": {
        "low": {"type": "number", "description": "Smallest value."},
        "high": {"type": "number", "description": "Largest value."},
        "log": {"type": "boolean", "description": "Draw the logarithm evenly: for values over orders of magnitude."},
        "step": {"type": "number", "exclusiveMinimum": 0, "description": "Only low, low + step, low + 2·step, …"},
    },
    "required": ["low", "high"],
    "additionalProperties": False,
}
Space = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 64,
            "additionalProperties": {"anyOf": [{"type": "array", "minItems": 1, "maxItems": 64}, _RANGE]},
        }
    ),
]


class Tune(Strictly):
    """A study: which settings are tried, how often, and what decides."""

    metric: Literal[
        "val_accuracy", "val_loss", "val_balanced_accuracy", "val_macro_f1", "val_average_precision", "val_auc",
        "val_r2", "val_mae", "val_rmse", "seconds_to_accuracy",
    ] = Field(
        "val_accuracy",
        description="What decides: the best epoch's validation accuracy, or another figure of the target (which "
        "train.best_by names, too), the lowest validation loss (without label smoothing), or the seconds of training "
        "until the validation accuracy reaches 'target'. Of other targets than a class, unless given, what "
        "train.best_by is then.",
    )  # fmt: skip
    target: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="seconds_to_accuracy: the validation accuracy to reach."
    )
    direction: Literal["auto", "maximize", "minimize"] = Field(
        "auto", description="'auto': minimize losses, errors and seconds_to_accuracy, maximize the others."
    )
    sampler: Literal["tpe", "random", "grid", "cmaes"] = Field(
        "tpe",
        description="'tpe' and 'cmaes' learn from the trials so far; 'random' and 'grid' do not, so their trials are "
        "the same for any number of workers.",
    )
    pruner: Literal["asha", "median", "none"] = Field(
        "asha",
        description="Which trials end early: those behind at epochs 1, 3, 9, … ('asha'), or below the median. Only the "
        "first of a trial's seeds is judged; the others are not trained if it ends early.",
    )
    trials: int = Field(50, ge=1, le=100_000, description="Finished and pruned trials in all, over every rerun.")
    seeds: int = Field(1, ge=1, le=100, description="Trainings per trial, with seeds that follow train.seed.")
    finalists: int = Field(
        3, ge=1, le=20, description="Best trials that are trained again with fresh seeds at the end."
    )
    final_seeds: int = Field(5, ge=5, le=100, description="Fresh seeds for each of them.")
    space: Space = Field(
        description="What is tried: dotted keys of the configuration, each with a list of values or with low and high."
    )

    @property
    def figure(self) -> str:
        """The figure of the validation images that decides; empty for seconds."""
        return "" if self.metric == "seconds_to_accuracy" else self.metric.removeprefix("val_")

    @property
    def least(self) -> bool:
        """Whether less of the metric is better."""
        return not self.figure or self.figure in FALLING

    @property
    def maximize(self) -> bool:
        """Whether the study looks for more of it."""
        least = self.least
        return self.direction == "maximize" if self.direction != "auto" else not least

    def tested(self, target: str) -> str:
        """Return the figure of the test set that the winner is compared by: the metric's own, or the accuracy.

        Of a `target` that knows no accuracy it is its own always.
        """
        if self.figure not in ("", "loss") or not TARGETS[target].answers:
            return self.figure
        return "accuracy"
