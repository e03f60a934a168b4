"""Self-contained HTML pages: templates, style and scripts from the package's files, put together."""

import html
import json
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any


def web_file(name: str) -> str:
    """Return a file of the folder ``web``."""
    return resources.files("lenumba.engine.seeing").joinpath("web", name).read_text(encoding="utf-8")


def fill_page(template: str, style: Sequence[str], scripts: Sequence[str], **values: str) -> str:
    """Return a template of ``web`` with its ``$names`` replaced by style sheets, scripts and values (HTML already)."""
    parts = {"style": "".join(map(web_file, style)), "script": "".join(map(web_file, scripts))}
    return Template(web_file(template)).substitute(parts, **values)


def escape(text: object) -> str:
    """Return text for HTML."""
    return html.escape(str(text))


def json_block(values: Any) -> str:
    """Return JSON that may stand inside a script element, whatever its strings contain."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
