"""Pictures and pages as objects that a notebook shows."""

import base64
import io
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import ConfigError, DataError, speaks_python, with_advice
from lenumba.engine.common.files import durable
from lenumba.engine.common.html import text_html
from lenumba.engine.explain.walk import Walk
from lenumba.engine.report.canvas import DPI, save
from lenumba.engine.report.curves import draw_several, draw_training, find_curves
from lenumba.engine.report.findings import Findings, look_into
from lenumba.engine.report.plots import drawings
from lenumba.engine.report.report import write_report
from lenumba.engine.runs.extras import need

FRAME = 720  # pixels of a page's height in a notebook


@dataclass(frozen=True)
class Picture:
    """A picture that a notebook shows; `figure` is Matplotlib's."""

    title: str
    figure: Any = field(repr=False)

    @speaks_python
    def save(self, path: str | Path) -> Path:
        """Write it as PNG or SVG, by the path's ending, and return the path."""
        path = Path(path).expanduser()
        if path.suffix not in (".png", ".svg"):
            raise ConfigError(f"{path}: expected the ending .png or .svg, found {path.suffix or 'none'}; change it")
        try:
            with durable(path) as temporary:
                save(self.figure, temporary, path.suffix[1:])
        except OSError as error:
            raise DataError(with_advice(error)) from None
        return path

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        self.figure.savefig(data, format="png", dpi=DPI)
        return data.getvalue()

    def _repr_html_(self) -> str:
        data = base64.b64encode(self._repr_png_()).decode()
        return f'<img alt="{escape(self.title)}" style="max-width:100%" src="data:image/png;base64,{data}">'


@dataclass(frozen=True)
class Page:
    """A page of HTML in a file, that a notebook shows in a frame."""

    path: Path
    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{escape(self.path.name)}" style="width:100%;height:{FRAME}px;border:1px solid #8888" '
            f'srcdoc="{escape(self.html)}"></iframe>'
        )


@dataclass(frozen=True)
class Walkthrough:
    """An explanation as text, of one layer or value alone where that is named; a notebook shows it."""

    walk: Walk = field(repr=False)
    width: int = 110

    def as_dict(self) -> dict[str, Any]:
        """Return every value of it, as plain lists and numbers."""
        return self.walk.as_dict()

    def __str__(self) -> str:
        return "\n".join([*self.walk.notes, self.walk.text(self.width)])

    def _repr_html_(self) -> str:
        return text_html(str(self))


def picture_of(names: list[str], what: str, image: Any, checkpoint: str, overrides: list[str]) -> Picture:
    """Return a picture of a run, or of several runs' curves."""
    need("matplotlib", "plot", "plot")
    if what == "curves":
        curves = find_curves(names)
        figure = draw_training(curves[0]) if len(curves) == 1 else draw_several(curves)
        return Picture(f"curves of {', '.join(curve.name for curve in curves)}", figure)
    if len(names) != 1:
        raise ConfigError(f"what: expected curves for {len(names)} runs, found {what!r}; give one run")
    found = look_into(names[0], checkpoint, overrides)
    return Picture(f"{what} of {names[0]}", draw(found, what, image))


def draw(found: Findings, what: str, image: Any) -> Any:
    """Draw one of a run's pictures; ConfigError where it has nothing for it."""
    shown = found.model.read_picture(image) if isinstance(image, str | Path) else image
    shown = found.dataset.test_images[shown] if isinstance(shown, int) else shown
    table = drawings(found, shown)
    if what not in table or not table[what].there:
        there = ", ".join(name for name, drawing in table.items() if drawing.there)
        raise ConfigError(f"what: {found.model.folder} has no {what} to show; choose another of {there}")
    return table[what].draw()


def page_of(name: str, out: Path | None, checkpoint: str, overrides: list[str]) -> Page:
    """Write a run's page, by default as ``report.html`` in its folder, and return it."""
    found = look_into(name, checkpoint, overrides)
    path = out or found.model.folder / "report.html"
    write_report(found, path)
    return Page(path, path.read_text(encoding="utf-8"))
