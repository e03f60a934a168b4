"""Self-contained HTML pages, made of the package's files."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from lenumba.engine.common.kinds import without_nan
from lenumba.engine.config.config import Config, dump_config


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


def run_page(
    title: str,
    figures: Mapping[str, str],
    body: str,
    config: Config,
    values: Any,
    scripts: Sequence[str],
    style: str = "",
) -> str:
    """Return a page about something trained: figures on top, a body, the configuration.

    Parameters
    ----------
    body
        HTML: sections.
    values
        What the scripts read, as JSON-able values, from the element `run`.
    scripts
        JavaScript, in this order.
    style
        CSS beyond that of all such pages.
    """
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures.items())
    filled = fill(
        "page.html",
        title=escape(title),
        figures=listed,
        body=body,
        config=escape(dump_config(config)),
        run=json_block(values),
        script="\n".join(scripts),
    )
    return document(title, web_file("style.css") + style, filled)


def html_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table; of each row, the first cell is text."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


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
