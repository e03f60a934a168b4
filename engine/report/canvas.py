"""Figures of Matplotlib, outside of pyplot."""

from pathlib import Path
from typing import Any

DPI = 150


def make_figure(width: float, height: float) -> Any:
    """Return a figure of so many inches, outside of pyplot: no window, no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path, kind: str) -> None:
    """Write a figure as PNG or SVG, without the date."""
    figure.savefig(path, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)


def literal(text: str) -> str:
    """Return a text of the user's with its dollar signs for what they are, not for mathematics."""
    return text.replace("$", r"\$")
