"""What is asked to be explained, as text and as values: a network's pass, a worked example, or a cell of either."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.explain.cell_text import cell_text, worked_text
from lenumba.engine.explain.cells import Cell, find_cell
from lenumba.engine.explain.explain import Explanation, explain
from lenumba.engine.explain.explain_text import explanation_text
from lenumba.engine.explain.subject import find_sample, find_subject
from lenumba.engine.explain.worked import Worked, find_worked


@dataclass(frozen=True)
class Walk:
    """An explanation, of one layer alone where that is named; `notes` say what was not given."""

    found: Explanation | Worked | Cell
    layer: str | None = None
    notes: tuple[str, ...] = ()

    def text(self, width: int = 80) -> str:
        """Return it in lines of `width` characters where that is possible."""
        if isinstance(self.found, Cell):
            return cell_text(self.found, width)
        if isinstance(self.found, Worked):
            return worked_text(self.found, width, self.layer)
        return explanation_text(self.found, width, self.layer)

    def as_dict(self) -> dict[str, Any]:
        """Return every value of it, as plain lists and numbers."""
        return self.found.as_dict() if isinstance(self.found, Cell) else self.found.as_dict(self.layer)


def walk_through(
    name: str | None,
    image: str | None = None,
    overrides: Sequence[str] = (),
    *,
    layers: Any = None,
    delta: Any = None,
    layer: str | None = None,
    cell: str | None = None,
    label: str | None = None,
    checkpoint: str = "best",
    progress: bool = False,
    begins: Callable[[int], None] | None = None,
) -> Walk:
    """Return what is explained of a network and an image, or of a worked example.

    Parameters
    ----------
    name
        A configuration's, a run's or a worked example's name or path; None: `layers` are given.
    image
        As :func:`lenumba.engine.explain.subject.find_sample` takes it, or matrices.
    overrides
        ``"dotted.key=value"`` strings.
    layers, delta
        A worked example's, as YAML or plain values.
    layer, cell
        What alone is wanted: a layer's name, and a cell such as ``conv1/0,2,3``.
    label, checkpoint
        The image's class; ``best`` or ``last``.
    progress, begins
        Whether downloads show a bar; called with a network's multiply-adds before it is computed.

    Raises
    ------
    ConfigError, DataError
        Where something is missing or does not fit.
    """
    worked = find_worked(name, layers, image, delta, overrides)
    if worked is not None:
        if label is not None:
            raise ConfigError(f"--label: expected a network, found {worked.name}, a worked example without classes")
        check_layer(layer, [item.unit.name for item in worked.layers])
        found: Any = worked
        if cell is not None:
            found = find_cell(cell, layer, worked.layers, worked.image, worked.image_delta)
        return Walk(found, layer, worked.notes)
    if name is None:
        raise ConfigError("nothing to explain: expected CONFIG, or --layers and --image")
    if delta is not None:
        raise ConfigError(f"--delta: expected a worked example or --layers, found {name}, whose loss tells its own")
    subject = find_subject(name, list(overrides), checkpoint, progress)
    check_layer(layer, [unit.name for unit in subject.network.units])
    sample = find_sample(subject, image, label, progress)
    if begins is not None:
        begins(subject.network.multiply_adds)
    found = explanation = explain(subject, sample)
    if cell is not None:
        found = find_cell(cell, layer, explanation.layers, explanation.layers[0].x, explanation.image_delta)
    return Walk(found, layer)


def check_layer(layer: str | None, names: Sequence[str]) -> None:
    """Refuse a layer that is not there."""
    if layer not in (None, *names):
        raise ConfigError(f"--layer {layer}: expected one of {', '.join(names)}")
