"""The site builds strictly, its notebooks run, and nothing on its pages leads nowhere."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))

pytestmark = pytest.mark.long("runs every notebook")

for package in ("mkdocs", "mkdocs_jupyter", "mkdocstrings", "nbclient", "ipykernel"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site") / "out"
    command = [sys.executable, str(ROOT / "docs" / "build_site.py"), str(out)]
    done = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return out


class Links(HTMLParser):
    """Collects what a page links to, what it names, and its pictures without a text."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.names, self.silent = set(), set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.links |= {values[key] for key in ("href", "src") if values.get(key)}
        self.names |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "img" and not values.get("alt"):
            self.silent.append(values.get("src", "")[:80])


def test_every_link_of_the_site_leads_somewhere(site):
    pages = {path: Links(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 25
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:|//", link):
                continue
            file = (path.parent / target).resolve() if target else path
            if not file.exists() or (anchor and file in pages and anchor not in pages[file].names):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_every_picture_of_the_site_has_a_text(site):
    assert {str(path): silent for path in site.rglob("*.html") if (silent := Links(path).silent)} == {}


def test_the_site_has_what_the_source_says(site):
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "--retry-failed" in commands
    configuration = (site / "reference" / "configuration.html").read_text(encoding="utf-8")
    assert "label_smoothing" in configuration
    assert "global_average_pool" in configuration
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert "lenumba.plot" in python
    theory = (site / "theory.html").read_text(encoding="utf-8")
    for name in ("conv_input_gradient", "softmax_cross_entropy", "dense_weight_gradient"):
        assert name in theory
    for path in site.rglob("*.html"):
        assert not re.search(r"<!-- (theory|gallery|commands|configuration) -->", path.read_text(encoding="utf-8"))


def test_notebooks_show_pictures_and_curves(site):
    assert len(NOTEBOOKS) == 4
    for path in NOTEBOOKS:
        page = (site / "tutorials" / f"{path.stem}.html").read_text(encoding="utf-8")
        assert "data:image/png" in page
        assert "loss over the epochs" in page or "comparison" in page
        assert "Traceback" not in page
        assert "No description" not in page
        assert "jupyter-widgets" not in page  # they would be fetched from elsewhere


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_what_they_show(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert cells[0]["cell_type"] == "markdown"
