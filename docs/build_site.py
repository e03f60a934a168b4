"""Build the site: python docs/build_site.py [FOLDER]; needs pip install '.[docs,notebook,plot]'.

The pages are those of docs/. Beside them it has what the source itself says: each command's help, the configuration's
schema, the docstrings, and the equations beside their twins; and the notebooks are executed. A warning is an error.
"""

import inspect
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import click
import nbformat
from click.testing import CliRunner
from nbclient import NotebookClient

import lenumba
from lenumba.cli import main as cli
from lenumba.engine.config.config import config_schema, load_config
from lenumba.engine.training.build import check_network
from lenumba.kernels.reference import layers, norm, steps

ROOT = Path(__file__).resolve().parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"  # a bar that is gone
# Which twins stand beside a layer's equations, by the layer's kind.
TWINS = {
    "conv": ("conv_forward", "conv_weight_gradient", "conv_input_gradient"),
    "average_pool": ("average_pool_forward", "average_pool_backward"),
    "max_pool": ("max_pool_forward", "max_pool_backward"),
    "activation": ("relu", "relu_derivative"),
    "dense": ("dense_forward", "dense_weight_gradient", "dense_input_gradient"),
    "batch_norm": ("norm_forward", "norm_backward"),
}
LAYERS = [
    {"type": "conv", "channels": 2, "kernel_size": 5},
    "batch_norm",
    {"type": "activation", "function": "relu"},
    {"type": "average_pool", "size": 2},
    {"type": "max_pool", "size": 2},
    "flatten",
    {"type": "dense", "units": 10, "activation": "softmax"},
]


def commands() -> str:
    """Return each command's help."""
    parts = []
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=f"lenumba {name}", max_content_width=100, terminal_width=100)
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts)


def configuration() -> str:
    """Return the schema's sections and layers as tables."""
    schema = config_schema()
    definitions = schema["$defs"]
    parts = []
    for section, value in schema["properties"].items():
        found = list(references(value))
        if section not in ("data", "augment", "network", "loss", "optimizer", "schedule", "train", "tune"):
            parts.append(f"## {section}\n\n{value.get('description', '')}")
        elif found:
            parts.append(f"## {section}\n\n{keys(definitions[found[0]])}")
    for name in references(definitions["Network"]["properties"]["layers"]):
        kind = definitions[name]["properties"].get("type", {}).get("const")
        if kind:
            parts.append(f"### layer {kind}\n\n{keys(definitions[name])}")
    return "\n\n".join(parts)


def references(value: Any) -> Iterator[str]:
    """Yield the names of the definitions that a schema refers to, each once."""
    found = re.findall(r"'\$ref': '#/\$defs/(\w+)'", str(value))
    yield from dict.fromkeys(found)


def keys(definition: dict[str, Any]) -> str:
    """Return a definition's text, and its keys as a table."""
    rows = ["| key | default | |", "|---|---|---|"]
    for key, value in definition["properties"].items():
        default = value.get("default", "–")
        text = " ".join([value.get("description", ""), limits(value)]).strip()
        text = re.sub(r"([|\[\]])", r"\\\1", text)
        shown = str(default).replace("|", "\\|")
        rows.append(f"| `{key}` | `{shown}` | {text} |")
    return "\n".join([definition.get("description", "").split("\n\n")[0], "", *rows])


def limits(value: dict[str, Any]) -> str:
    """Return what a schema allows, as far as it is a list of names or bounds."""
    if names := value.get("enum"):
        return "One of " + ", ".join(f"`{name}`" for name in names) + "."
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    bounds = [f"{word} {value[key]:g}" for key, word in words.items() if key in value]
    return f"({', '.join(bounds)})" if bounds else ""


def theory() -> str:
    """Return the layers' equations, each beside its twins."""
    data = {"name": "digits"}
    network = check_network(load_config({"data": data, "network": {"layers": LAYERS}}))
    parts, seen = [], set()
    for unit in network.units:
        kind = unit.layer.kind
        if kind in seen or kind not in TWINS:
            continue
        seen.add(kind)
        found = unit.layer.equations(unit.shape)
        lines = [found.y, found.x, *found.gradients.values()]
        parts.append(beside(kind.replace("_", " ").capitalize(), lines, TWINS[kind]))
    outputs, loss, delta = network.loss.written(10, 0.0, 1.0)
    parts.append(beside("Softmax and cross-entropy", [outputs, loss, delta], ("softmax_cross_entropy",)))
    update = ["v ← μ·v + ∂L/∂θ + λ·θ", "θ ← θ − η·v"]
    parts.append(beside("Stochastic gradient descent", update, ("sgd",)))
    return "\n\n".join(parts)


def beside(title: str, equations: list[str], twins: tuple[str, ...]) -> str:
    """Return equations and the source of their twins, side by side where there is room."""
    left = "\n".join(["```text", *equations, "```"])
    right = []
    for name in twins:
        twin = next(getattr(module, name) for module in (layers, steps, norm) if hasattr(module, name))
        source = inspect.getsource(twin.py_func).replace("@reference\n", "")
        right.append(f"```python\n{source.rstrip()}\n```")
    code = "\n\n".join(right)
    return f'## {title}\n\n<div class="twin" markdown>\n\n{left}\n\n<div markdown>\n\n{code}\n\n</div>\n\n</div>'


def gallery(folder: Path) -> str:
    """Train, draw, and return the pictures as Markdown; they are written into the folder ``gallery``."""
    (folder / "gallery").mkdir()
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            run = lenumba.train("quickstart", {"plots": True, "data.samples": 3000}, out="runs/one")
        finally:
            os.chdir(before)
        CliRunner().invoke(cli, ["summary", "lenet", "--svg", str(folder / "gallery" / "architecture.svg")])
        pictures = sorted((Path(place) / run.path / "plots").glob("*.png"))
        for path in pictures:
            shutil.copy(path, folder / "gallery")
    pictures.append(Path("architecture.svg"))
    what = {
        "architecture": "A network, for slides: its maps as stacks, on dark and on light",
        "confusion": "What was taken for what",
        "curves": "Learning curves; the large dot is the best epoch",
        "features": "What each layer makes of a digit",
        "histograms": "Weights and gradients over the epochs",
        "kernels": "The kernels of each convolution",
        "mistakes": "The worst mistakes",
    }
    return "\n\n".join(f"## {what[path.stem]}\n\n![{what[path.stem]}](gallery/{path.name})" for path in pictures)


def executed(path: Path, place: Path) -> None:
    """Execute a notebook in a folder of its own, and keep what it shows."""
    notebook = nbformat.read(path, 4)
    place.mkdir(parents=True)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(place)}}).execute()
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [item for item in cell.outputs if WIDGET not in item.get("data", {})]
            for item in cell.outputs:
                data = item.get("data", {})
                if "image/png" in data and "text/html" not in data:
                    alt = escape(f"what {cell.source.splitlines()[-1]} shows")
                    data["text/html"] = f'<img alt="{alt}" src="data:image/png;base64,{data["image/png"]}">'
    nbformat.write(notebook, path)


def prepare(folder: Path) -> Path:
    """Return a copy of docs/ in a folder, with everything that the source says filled in."""
    docs = folder / "docs"
    shutil.copytree(
        ROOT / "docs", docs, ignore=shutil.ignore_patterns("*.py", "peers.svg", "__pycache__", ".ipynb_checkpoints")
    )
    filled = {"commands": commands, "configuration": configuration, "theory": theory, "gallery": lambda: gallery(docs)}
    for path in docs.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"<!-- (\w+) -->", lambda found: filled[found[1]](), text)
        # What lies outside of docs/ is no page of the site.
        text = re.sub(r"\[`?([^\]`]+)`?\]\(\.\./(?!\w+\.md)([^)]*)\)", r"`\2`", text) if path.parent == docs else text
        text = re.sub(r"\[`?([^\]`]+)`?\]\(\.\./(CONTRIBUTING\.md|benchmarks/[^)]*)\)", r"`\2`", text)
        path.write_text(text, encoding="utf-8")
    for path in sorted(docs.glob("tutorials/*.ipynb")):
        executed(path, folder / "places" / path.stem)
    return docs


def readable(folder: Path) -> Path:
    """Copy the package to where docstrings are read from, without the roles of Sphinx, which Markdown does not know."""
    for path in [*ROOT.glob("*.py"), *ROOT.glob("engine/**/*.py"), *ROOT.glob("extras/*.py")]:
        copy = folder / "lenumba" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        copy.write_text(re.sub(r":(?:func|class|meth|mod):`([^`]+)`", r"`\1`", text), encoding="utf-8")
    return folder


def build(out: Path) -> None:
    """Build the site strictly."""
    from mkdocs.commands.build import build as make
    from mkdocs.config import load_config as read

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["LENUMBA_SITE_PATH"] = str(readable(folder / "package"))
        docs = prepare(folder)
        config = read(str(ROOT / "mkdocs.yml"), docs_dir=str(docs), site_dir=str(out.resolve()), strict=True)
        config.plugins.on_startup(command="build", dirty=False)
        make(config)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    build(Path(sys.argv[1] if len(sys.argv) > 1 else "site"))
