"""Every command of every page, run: on small data and short recipes, in a folder with what the page takes for granted.

The pages that tell a whole story have tests of their own, which also look at what comes of it.
"""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT, blocks, command_lines, run_line
from PIL import Image, ImageDraw

import lenumba
from lenumba.cli import main
from lenumba.engine.config import config as configs
from lenumba.engine.data.decisions import decisions_text

OWN_TESTS = {"own-pictures.md", "signals.md", "targets.md", "sound.md"}
PAGES = ["README.md", *sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name not in OWN_TESTS)]
# What is not for here: installing, C compilers and boards (test_deploy*.py), MNIST and a day of measuring.
NOT_HERE = ("pip install", "python -m pip", "make -C lenet", "python benchmarks/")
# What takes long and others have run: functions that compile for seconds (test_profile_function.py), every kernel
# against its twin (test_doctor.py), transfer (test_transfer.py). Here their words must be known, their recipes right.
PARSED = ("lenumba profile ", "lenumba doctor")
CHECKED = ("lenumba train lenet-transfer", "lenumba train lenet 'data.classes=")
SHORT = {"audit": ["--folds", "2", "--seeds", "1"], "why": ["--trainings", "4"], "profile": ["--seconds", "0.1"]}
MINE = """\
data: {name: folder, root: pictures, image_size: [8, 8, 1], batch_size: 16, validation: 0.25}
network:
  layers: [flatten, {type: dense, units: 3, activation: softmax}]
optimizer: {name: sgd, learning_rate: 0.1}
train: {epochs: 2}
"""
TUNE = """\
tune:
  {sampler: random, trials: 2, finalists: 1, final_seeds: 5, space: {optimizer.learning_rate: {low: 1e-3, high: 1e-2}}}
"""
MEANT = {
    "audit.md": {"RUN": "runs/a", "IMAGE": "3"},
    "judging.md": {"RUN": "runs/a"},
    "results.md": {"data.root=NEW": "data.root=pictures"},
    "training.md": {"data.root=PATH": "data.batch_size=64"},
    "transfer.md": {"init_from=runs/source": "train.seed=0"},
    "tuning.md": {"init_from=RUN": "init_from=runs/two/lenet/seed-0", "URL": "sqlite:///study.db"},
}
BEFORE: dict[str, Callable[[], object]] = {
    "compare five other-five": lambda: shutil.copytree("five", "other-five"),
    "import weights.safetensors": lambda: run_line("lenumba export runs/two/lenet/seed-0 --out weights.safetensors"),
    "--storage": lambda: shutil.rmtree("studies"),  # a study of this name has its trials in a journal
}
REAL = configs.recipe_text


def short_recipe(name: str) -> str:
    """Return a shipped recipe, or a smaller one in its place, on few drawn digits for two epochs."""
    text = REAL({"lenet-best": "lenet", "mlp-wide": "mlp"}.get(name, name))
    text = re.sub(r"name: (mnist|digits)\b", "name: digits\n  samples: 400", text)
    text = re.sub(r"validation: \d+", "validation: 100", text)
    text = re.sub(r"(?m)^ +samples_per_class:.*\n", "", text)
    text = re.sub(r"(?m)^(  |train: \{)epochs: \d+", r"\1epochs: 2", text)
    return text.partition("tune:\n")[0] + TUNE * ("\ntune:\n" in text)


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Path:
    """A folder with a recipe of one's own, its pictures and runs of it, and whatever else pages speak of."""
    folder, rng = tmp_path_factory.mktemp("stage"), np.random.default_rng(0)
    for k, name in enumerate(("ok", "scratch", "dent")):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(24):
            pixels = rng.integers(0, 120, (8, 8), np.uint8)
            pixels[2 * k : 2 * k + 2] += 100
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{number}.png")
    shutil.copytree(folder / "pictures" / "dent", folder / "scans")
    digit = Image.new("L", (60, 60), 255)
    ImageDraw.Draw(digit).line([(15, 10), (45, 10), (25, 50)], fill=0, width=6)
    digit.save(folder / "digit.png")
    for name in ("my.yaml", "own.yaml"):
        (folder / name).write_text(MINE)
    (folder / "decisions.json").write_text(decisions_text([]))
    (folder / "matrix.csv").write_text("10,10,10,0,0,0\n" * 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed, name in enumerate("abc"):
            lenumba.train("my.yaml", {"train.seed": seed}, out=f"runs/{name}")
    return folder


@pytest.fixture
def staged(stage, tmp_path, monkeypatch) -> Path:
    """A copy of the stage to work in, where shipped recipes are short."""
    place = shutil.copytree(stage, tmp_path / "place")
    monkeypatch.chdir(place)
    monkeypatch.setattr(configs, "recipe_text", short_recipe)
    monkeypatch.setenv("COLUMNS", "100")
    return place


def meant(line: str, page: str) -> str:
    """Return a command line with the page's words in capitals replaced, and short where it would take long."""
    words = shlex.split(line, comments=True)
    words = [MEANT.get(page, {}).get(word, word) for word in words]
    return shlex.join([*words, *SHORT.get(words[1] if words[1:] else "", [])])


LONG = {"deploy.md": "test_deploy*.py have all of it", "gallery.md": "test_site.py draws it"}
SHOWN = [
    pytest.param(name, marks=pytest.mark.long(LONG[name])) if name in LONG else name
    for name in PAGES
    if command_lines(name)
]


@pytest.mark.parametrize("page", SHOWN)
def test_every_command_of_the_page_runs(staged, page):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("optuna")
    for line in command_lines(page):
        if line.startswith(NOT_HERE):
            continue
        if line.startswith(PARSED):
            name, *arguments = shlex.split(line, comments=True)[1:]
            main.commands[name].make_context(name, arguments)
            continue
        for text, do in BEFORE.items():
            if text in line:
                do()
        line = meant(line, page)
        run_line(re.sub(" --out .*", "", line.replace(" train ", " check ")) if line.startswith(CHECKED) else line)


def test_stories_have_tests_of_their_own():
    assert {name for name in OWN_TESTS if not (ROOT / "docs" / name).is_file()} == set()
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py") if path != Path(__file__)]
    assert [name for name in OWN_TESTS if not any(f'"{name}"' in text for text in texts)] == []


@pytest.mark.parametrize("page", ["README.md", "recipes.md", "tuning.md"])
def test_the_pages_recipes_are_what_check_accepts(staged, page):
    """Where a block is a part of a recipe, beside the rest of quickstart."""
    for text in blocks(page, "yaml"):
        whole = text if "\nnetwork:" in text or text.startswith("network:") else f"{REAL('quickstart')}\n{text}"
        whole = whole if re.search(r"(?m)^data:", whole) else f"data: {{name: digits}}\n{whole}"
        Path("page.yaml").write_text(whole)
        run_line("lenumba check page.yaml")
