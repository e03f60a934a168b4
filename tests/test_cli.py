"""What the commands do when all is well."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenumba.engine.config.config import Config, load_config
from lenumba.engine.config.recipes import example_names, recipe_names, recipe_text

COMMANDS = ["train", "compare", "audit", "evaluate", "predict", "explain", "why", "plot", "report", "runs", "summary"]
COMMANDS += ["configs", "check", "schema", "data", "tune", "profile", "export", "import", "verify", "doctor"]
LENET_TERMS = [100, 4, 600, 6, 4800, 50, 500, 10]


def digit(path: Path, size: tuple[int, int], *, dark_on_light: bool) -> Path:
    """Draw a one: an upright stroke in the middle."""
    width, height = size
    grey = np.zeros((height, width), np.uint8)
    grey[height // 8 : -(height // 8), width // 2 - height // 24 : width // 2 + height // 24 + 1] = 255
    Image.fromarray(255 - grey if dark_on_light else grey).save(path)
    return path


def test_help_lists_every_command_with_a_description(lenumba):
    result = lenumba("--help")
    assert result.exit_code == 0
    listed = [line.split() for line in result.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert [words[0] for words in listed] == COMMANDS
    assert all(len(words) > 2 for words in listed)


def test_help_keeps_the_examples_apart(lenumba):
    lines = [line.strip() for line in lenumba("--help").stdout.splitlines()]
    assert "lenumba evaluate latest                    accuracy, confusion matrix" in lines


@pytest.mark.parametrize("command", [*COMMANDS, ("configs", "show"), ("data", "fetch")])
def test_each_command_has_help(lenumba, command):
    words = [command] if isinstance(command, str) else command
    result = lenumba(*words, "-h")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_console_script_is_the_same_program():
    script = Path(sys.executable).parent / "lenumba"
    if not script.exists():
        pytest.skip("the package is not installed in this environment")
    shown = subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout
    module = subprocess.run([sys.executable, "-m", "lenumba", "--version"], capture_output=True, text=True)
    assert shown == module.stdout != ""


def test_early_interrupt_leaves_no_traceback():
    """While Python still imports; a command answers in one line."""
    text = "import lenumba.__main__, os, signal; os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    commands = "lenumba.cli.main = lambda **_: os.kill(os.getpid(), signal.SIGINT)"
    text = f"import lenumba.__main__, lenumba.cli, os, signal; {commands}; lenumba.__main__.main()"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_train_without_arguments_trains_the_quickstart(lenumba):
    result = lenumba("train", "train.epochs=1", "data.samples=640")
    assert result.exit_code == 0
    assert "quickstart: 6,070 parameters, 576 training and 64 validation images" in result.stdout
    assert Path("runs/quickstart-001/run.json").is_file()


@pytest.mark.long("compiles for long")
def test_train_takes_a_recipe_by_name(lenumba, write_dataset, tmp_path):
    write_dataset(tmp_path / "mnist")
    changes = ["data.batch_size=4", "data.validation=4", "train.epochs=1"]
    result = lenumba("train", "lenet", f"data.root={tmp_path}", *changes)
    assert result.exit_code == 0, result.stderr
    assert json.loads(Path("runs/lenet-001/run.json").read_text())["train_images"] == 8


def test_train_prints_plain_lines_when_piped(lenumba):
    result = lenumba("train", "tiny.yaml", "--threads", 1)
    lines = result.stdout.splitlines()
    head = lines.index("epoch  train loss  accuracy  val loss  accuracy  learning rate  images/s")
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["1", "2", "3"]
    assert lines[head + 4].startswith("test accuracy ")
    assert lines[-1].startswith("next: lenumba evaluate runs/tiny-001 ")
    assert "1 thread\n" in result.stdout
    assert not set("\r\x1b") & set(result.output)


def test_quiet_training_prints_nothing(lenumba):
    result = lenumba("train", "tiny.yaml", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_json_of_training_is_the_summary_alone(lenumba):
    result = lenumba("train", "tiny.yaml", "train.epochs=2", "--json", "--out", "a run")
    printed = json.loads(result.stdout)
    assert result.stderr == ""
    assert printed.pop("path") == "a run"
    assert printed == json.loads(Path("a run/run.json").read_text())
    assert printed["epochs"] == 2


def test_training_twice_makes_two_numbered_runs(lenumba):
    for _ in range(2):
        lenumba("train", "tiny.yaml", "train.epochs=1", "-q")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["tiny-001", "tiny-002"]


def test_paths_may_have_spaces_unicode_and_equals_signs(lenumba, place):
    folder = place / "Läufe von heute"
    folder.mkdir()
    (place / "tiny.yaml").rename(folder / "lr=0.1 µ.yaml")
    result = lenumba("train", "Läufe von heute/lr=0.1 µ.yaml", "train.epochs=1", "--out", folder / "数字 1")
    assert result.exit_code == 0, result.stderr
    assert f"lenumba evaluate '{folder / '数字 1'}'" in result.stdout
    assert lenumba("evaluate", folder / "数字 1").exit_code == 0


@pytest.mark.parametrize("name", ["latest", "tiny-001", "runs/tiny-001"])
def test_evaluate_finds_the_run_and_repeats_its_test(lenumba, run, name):
    recorded = json.loads((run / "run.json").read_text())
    found = json.loads(lenumba("evaluate", name, "--json").stdout)
    assert found["accuracy"] == recorded["test_accuracy"]
    assert found["loss"] == pytest.approx(recorded["test_loss"])


def test_figures_of_evaluate_agree_with_its_confusion_matrix(lenumba, run):
    found = json.loads(lenumba("evaluate", "latest", "--json").stdout)
    assert {"accuracy", "loss", "precision", "recall", "confusion"} <= set(found)
    confusion = np.array(found["confusion"])
    assert confusion.sum() == found["images"] == 2000
    assert confusion.trace() / 2000 == pytest.approx(found["accuracy"])
    right = confusion.diagonal()
    assert found["precision"] == pytest.approx(right / confusion.sum(axis=0))
    assert found["recall"] == pytest.approx(right / confusion.sum(axis=1))


def test_evaluate_prints_classes_and_matrix(lenumba, run):
    lines = lenumba("evaluate", "latest").stdout.splitlines()
    assert lines[0].startswith("accuracy ")
    assert sum(line.split()[:1] == ["7"] for line in lines) == 2


def test_latest_is_the_run_that_started_last(lenumba):
    for name in ("z", "a"):
        Path(f"{name}.yaml").write_text(Path("tiny.yaml").read_text())
        lenumba("train", f"{name}.yaml", "train.epochs=1", "-q")
    assert "run folder runs/a-001" in lenumba("train", "--resume", "latest", "train.epochs=2").stdout


def test_predict_takes_pictures_of_any_size_dark_or_light(lenumba):
    lenumba("train", "train.epochs=3", "-q")
    images = [
        digit(Path("small.png"), (28, 28), dark_on_light=False),
        digit(Path("large inverted.png"), (301, 447), dark_on_light=True),
        digit(Path("wide.png"), (640, 120), dark_on_light=False),
    ]
    result = lenumba("predict", "latest", *images, "--json")
    answers = json.loads(result.stdout)
    assert [answer["image"] for answer in answers] == [str(path) for path in images]
    assert [answer["top"][0][0] for answer in answers] == ["1", "1", "1"]
    for answer in answers:
        probabilities = [probability for _, probability in answer["top"]]
        assert len(probabilities) == 3
        assert probabilities == sorted(probabilities, reverse=True)
    lines = lenumba("predict", "latest", *images).stdout.splitlines()
    assert [line.split(".png")[1].split()[0] for line in lines] == ["1", "1", "1"]


def test_summary_counts_the_parameters_of_lenet_term_by_term(lenumba):
    found = json.loads(lenumba("summary", "--json").stdout)
    assert [size for layer in found["layers"] for size in layer["terms"].values()] == LENET_TERMS
    assert found["parameters"] == sum(LENET_TERMS) == 6070
    assert any("6170" in note for note in found["notes"])


def test_summary_table_has_the_terms_the_total_and_the_note(lenumba):
    text = lenumba("summary", "lenet").stdout
    for part in ("100 + 4", "600 + 6", "4800 + 50", "500 + 10", "6,070", "6170"):
        assert part in text


def test_note_on_the_sum_is_for_that_network_alone(lenumba):
    found = json.loads(lenumba("summary", "network.layers.0.channels=5", "--json").stdout)
    assert found["parameters"] == 6246
    assert not any("6170" in note for note in found["notes"])


def test_configs_lists_every_recipe_with_its_first_comment(lenumba):
    recipes, examples = (part.splitlines() for part in lenumba("configs").stdout.split("\n\n"))
    assert [line.split()[0] for line in recipes] == recipe_names()
    assert [line.split()[0] for line in examples[1:]] == example_names()
    assert all(len(line.split()) > 3 for line in [*recipes, *examples])


def test_shown_recipe_is_the_shipped_text_and_loads(lenumba, place):
    shown = lenumba("configs", "show", "quickstart").stdout
    assert shown == recipe_text("quickstart")
    Path("mine.yaml").write_text(shown)
    assert load_config("mine.yaml").config == load_config("quickstart").config


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_passes_check(lenumba, name):
    result = lenumba("check", name)
    assert result.exit_code == 0, result.stderr
    assert ": correct; " in result.stdout


def test_schema_is_that_of_the_configuration(lenumba):
    printed = json.loads(lenumba("schema").stdout)
    assert set(printed["properties"]) == set(Config.model_fields)


def test_runs_lists_runs_in_any_state(lenumba, run):
    Path("runs/broken-001").mkdir()
    Path("runs/broken-001/config.yaml").write_text("data: {}")
    Path("runs/broken-001/run.json").write_text("[1, 2")
    table = lenumba("runs").stdout.splitlines()
    assert [line.split()[:2] for line in table[2:]] == [["broken-001", "?"], ["tiny-001", "finished"]]
    listed = json.loads(lenumba("runs", "--json").stdout)
    assert listed[1] == {"run": "tiny-001", **json.loads((run / "run.json").read_text())}


def test_runs_says_so_where_there_are_none(lenumba):
    assert lenumba("runs").stdout.startswith("no runs in ./runs yet")
    assert json.loads(lenumba("runs", "--json").stdout) == []
