"""Self-contained HTML pages, made of the package's files."""

import html
import json
from importlib import resources
from string import Template
from typing import Any

from lenumba.engine.common.kinds import without_nan


def web_file(name: str) -> str:
    """Return a file of the folder ``web``."""
    return resources.files("lenumba.engine.report").joinpath("web", name).read_text(encoding="utf-8")


def document(title: str, style: str, body: str) -> str:
    """Return a whole page; style sheet and body are CSS and HTML already."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{style}</style></head><body>\n{body}\n</body></html>\n"
    )


def fill(name: str, **values: str) -> str:
    """Return a file of ``web`` with its ``$names`` replaced by values, which are HTML already."""
    return Template(web_file(name)).substitute(values)


def escape(text: object) -> str:
    """Return text for HTML."""
    return html.escape(str(text))


def json_block(values: Any) -> str:
    """Return JSON that may stand inside a script element, whatever its strings contain; null for NaN and infinities."""
    text = json.dumps(without_nan(values), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
