"""Why a network answers so, as one self-contained HTML page: the pictures that helped and hurt, side by side."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lenumba.engine.audit.why import Why
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.report.page import escape, fill, run_page, web_file

SCRIPTS = ("network.js", "drawing.js", "why.js")
SIDE = 84  # pixels of a picture on the page, in width; the image in question has twice as many


def why_page(found: Why, loaded: LoadedConfig) -> str:
    """Return the page's HTML; `loaded`: the run's configuration."""
    summary, images = found.summary, found.dataset.train_images
    helped, hurt = summary["helped"], summary["hurt"]
    pictures = np.stack([found.image, *(images[row["index"]] for row in (*helped, *hurt))])
    height, width, channels = found.image.shape
    return run_page(
        f"Why {loaded.name} takes {summary['image']} for {summary['answer']}",
        {
            "answer": f"{summary['answer']} ({100 * summary['probability']:.1f} %)",
            "trainings": f"{summary['trainings']:,} on halves of {summary['images']:,} images",
            "answer so": f"{100 * summary['answered_alike']:.0f} % of them",
            "run": found.path.absolute().name,
        },
        fill(
            "why.html",
            image=picture(0, 2 * SIDE, summary["image"]),
            subject=escape(f"{summary['image']}: {summary['answer']}"),
            line=f"{summary['noise_line']:.1f}",
            helped=cards(helped, 1, summary["noise_line"]),
            hurt=cards(hurt, 1 + len(helped), summary["noise_line"]),
        ),
        loaded.config,
        {
            "shape": [channels, height, width],
            "pixels": base64.b64encode(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).tobytes()).decode(),
        },
        [web_file(name) for name in SCRIPTS],
        web_file("audit.css"),
    )


def cards(rows: Sequence[Mapping[str, Any]], first: int, line: float) -> str:
    """Return training images with their figures as HTML; `first`: the number of the first one's picture."""
    if not rows:
        return "<p>None.</p>"
    return "\n".join(card(row, first + k, line) for k, row in enumerate(rows))


def card(row: Mapping[str, Any], number: int, line: float) -> str:
    """Return a training image with its figures as HTML."""
    name = row.get("file") or f"training image {row['index']}"
    sure = abs(row["influence"]) > line * row["error"]
    figures = (
        row["label"],
        f"log-odds {row['influence']:+.3f} ± {row['error']:.3f}{' *' * sure}",
        f"memorised {row['memorisation']:+.3f} ± {row['memorisation_error']:.3f}",
    )
    texts = "".join(f"<p>{escape(text)}</p>" for text in figures)
    drawn = picture(number, SIDE, f"{name}: {row['label']}")
    return f'<figure class="card">{drawn}<div>{texts}</div><p class="where">{escape(name)}</p></figure>'


def picture(number: int, width: int, text: str) -> str:
    """Return the place of a picture, which the page's script draws."""
    return f'<canvas role="img" aria-label="{escape(text)}" data-image="{number}" data-width="{width}"></canvas>'
