"""One key of a study's space: a list of values, or a range of numbers."""

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lenumba.engine.config.faults import nearest, show


@dataclass(frozen=True)
class Dimension:
    """One key of the space: either `choices`, or numbers from `low` to `high`."""

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def labels(self) -> list[Any]:
        """The choices as a study's storage can hold them: lists become JSON text."""
        return [json.dumps(value) if isinstance(value, list) else value for value in self.choices]

    def label(self, value: Any) -> Any:
        """Return what the storage holds for a value."""
        return json.dumps(value) if isinstance(value, list) else value

    def value(self, label: Any) -> Any:
        """Return the value that a label stands for."""
        return self.choices[position(self.labels, label)] if self.choices else label

    def holds(self, value: Any) -> bool:
        """Whether a value belongs to the dimension."""
        if self.choices:
            return any(same(value, choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-8

    def count(self) -> int | None:
        """Return how many values there are; None where they are continuous."""
        if self.choices:
            return len(self.choices)
        return None if self.step is None else math.floor((self.high - self.low) / self.step + 1e-8) + 1

    def point(self, index: int) -> Any:
        """Return value number `index` of a dimension that has a count."""
        if self.choices:
            return self.choices[index]
        # In decimals, so that 3 steps of 0.3 are 0.9 and not 0.8999999999999999.
        return self._number(float(Decimal(str(self.low)) + index * Decimal(str(self.step))))

    def draw(self, uniform: float) -> Any:
        """Return the value for a random number in [0, 1)."""
        if (count := self.count()) is not None and not self.log:
            return self.point(int(uniform * count))
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        if self.log:
            number = math.exp(math.log(low) + uniform * (math.log(high) - math.log(low)))
        else:
            number = low + uniform * (high - low)
        return self._number(min(max(number, self.low), self.high))

    def _number(self, number: float) -> int | float:
        return round(number) if self.whole else float(number)

    def distribution(self) -> Any:
        """Return it as Optuna has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.labels)
        if self.whole:
            top = self.low + (self.high - self.low) // (self.step or 1) * (self.step or 1)
            return IntDistribution(int(self.low), int(top), log=self.log, step=int(self.step or 1))
        high = self.high if self.step is None else self.point((self.count() or 1) - 1)
        return FloatDistribution(float(self.low), float(high), log=self.log, step=self.step)


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal; unlike for Python, true is no 1."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def position(labels: list[Any], label: Any) -> int:
    """Return where a label stands in a list."""
    return next(index for index, other in enumerate(labels) if same(label, other))


class SpaceFaultError(Exception):
    """What is wrong with an entry of the space; `part` is the part of it."""

    def __init__(self, message: str, part: object = "") -> None:
        super().__init__(message)
        self.part = part


def parse_choices(key: str, entry: list[Any]) -> Dimension:
    """Return the dimension of a list of values, or raise SpaceFaultError."""
    if not entry or len(entry) > 64:
        raise SpaceFaultError(f"expected a list of 1 to 64 values, found {len(entry)}")
    for index, value in enumerate(entry):
        if isinstance(value, dict):
            raise SpaceFaultError("expected a value, found a section; give the keys in it one by one", index)
        if any(same(value, other) for other in entry[:index]):
            raise SpaceFaultError(f"{show(value)} stands here twice; remove one", index)
    return Dimension(key, tuple(entry))


def parse_range(key: str, entry: dict[str, Any], *, whole: bool) -> Dimension:
    """Return the dimension of ``{low, high, log, step}``, or raise SpaceFaultError; `whole`: of integers."""
    known = ("low", "high", "log", "step")
    for name, value in entry.items():
        if name not in known:
            raise SpaceFaultError(f"unknown key{nearest(name, known) or '; known keys: ' + ', '.join(known)}", name)
        if name == "log" and not isinstance(value, bool):
            raise SpaceFaultError(f"expected true or false, found {show(value)}", name)
        if name != "log" and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise SpaceFaultError(f"expected a number, found {show(value)}", name)
    for name in ("low", "high"):
        if name not in entry:
            raise SpaceFaultError("missing; expected a number", name)
    low, high, log, step = entry["low"], entry["high"], entry.get("log", False), entry.get("step")
    if low >= high:
        raise SpaceFaultError(f"expected low below high, found the empty range {low:g} to {high:g}")
    if log and low <= 0:
        raise SpaceFaultError(f"expected a number above 0, as log is true, found {low:g}", "low")
    if log and step is not None:
        raise SpaceFaultError("step and log exclude each other; remove one", "step")
    if step is not None and not 0 < step <= high - low:
        raise SpaceFaultError(
            f"expected a step above 0 and at most high - low = {high - low:g}, found {step:g}", "step"
        )
    if whole and step is not None and not isinstance(step, int):
        raise SpaceFaultError(f"expected an integer, found {step:g}", "step")
    if whole and step is None and not log:
        step = 1
    return Dimension(key, (), low, high, log, step, whole)
