"""Learning curves of several trainings in one picture."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenumba.engine.report.curves import draw_several, draw_training, find_curves, names_of, read_curve


@pytest.fixture
def trained(run):
    """A function that copies a finished run, as if of another setting and other accuracies; returns its folder."""

    def copy(name, changed="", accuracies=(0.5, 0.75, 0.625)) -> Path:
        folder = shutil.copytree(run, Path("runs") / name)
        config = folder / "config.yaml"
        config.touch()
        if changed:
            key = changed.partition(":")[0]
            config.write_text(re.sub(rf"(?m)^( *){key}:.*", rf"\1{changed}", config.read_text()))
        line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
        epochs = [
            {**line, "epoch": k, "train_accuracy": value + 0.1, "val_accuracy": value, "val_loss": 1 - value}
            for k, value in enumerate(accuracies, 1)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
        record = json.loads((folder / "run.json").read_text()) | {"best_epoch": 1 + int(np.argmax(accuracies))}
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return copy


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_are_named_by_the_settings_in_which_their_runs_differ(trained):
    rates = ("0.001", "0.01", "0.1")
    for rate in rates:
        trained(f"r{rate}", f"learning_rate: {rate}")
    curves = find_curves([f"runs/r{rate}" for rate in rates])
    assert [curve.name for curve in curves] == [f"learning_rate={rate}" for rate in rates]
    assert texts(draw_several(curves))[:3] == [f"learning_rate={rate}" for rate in rates]


def test_a_sections_name_is_what_the_section_is_called(trained):
    folders = [trained("a"), trained("b")]
    text = (folders[1] / "config.yaml").read_text()
    (folders[1] / "config.yaml").write_text(text.replace("name: constant", "name: cosine"))
    assert names_of([[folder] for folder in folders]) == ["schedule=constant", "schedule=cosine"]


def test_runs_that_differ_in_nothing_are_named_by_their_folders(trained):
    assert names_of([[trained("a")], [trained("b")]]) == ["a", "b"]


def test_runs_of_one_setting_and_one_that_is_alone_are_told_apart(trained):
    folders = [trained("a"), trained("b"), trained("c", "learning_rate: 0.2")]
    names = names_of([[folder] for folder in folders])
    assert len(set(names)) == 3
    assert names[2] == "learning_rate=0.2"


def test_the_best_epoch_is_marked_where_it_is(trained):
    figure = draw_training(read_curve([trained("a", accuracies=(0.5, 0.75, 0.625))]))
    loss, accuracy, _ = figure.axes
    for axes, value in ((loss, 0.25), (accuracy, 75)):
        mark = next(line for line in axes.lines if line.get_label() == "best epoch")
        assert (mark.get_xdata(), mark.get_ydata()) == ([2], [pytest.approx(value)])


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
def test_the_axis_has_whole_epochs_alone(trained, epochs):
    figure = draw_training(read_curve([trained("a", accuracies=[0.5] * epochs)]))
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_xticks()
    assert len(ticks) >= 1
    assert (ticks == np.rint(ticks)).all()


def test_seeds_are_drawn_as_means_with_their_standard_error(trained):
    for seed, value in enumerate((0.5, 0.7, 0.9)):
        trained(f"all/seed-{seed}", accuracies=(value, value))
    trained("one")
    figure = draw_several(find_curves(["runs/all", "runs/one"]))
    (band,) = [item for item in figure.axes[1].collections if item.get_paths()][-1:]
    heights = band.get_paths()[0].vertices[:, 1]
    error = 100 * np.std([0.5, 0.7, 0.9], ddof=1) / np.sqrt(3)
    assert heights.min() == pytest.approx(70 - error)
    assert heights.max() == pytest.approx(70 + error)
    assert any("standard error" in text for text in texts(figure))


def test_plot_takes_several_runs_and_folders_of_compare(lenumba, trained):
    one, other = trained("one"), trained("other", "learning_rate: 0.2")
    result = lenumba("plot", one, other)
    assert result.exit_code == 0, result.output
    assert "learning_rate=0.2" in result.stdout
    assert np.asarray(Image.open("plots/curves.png").convert("L")).std() > 5
    for seed in (0, 1):
        for name in ("cnn", "mlp"):
            trained(f"both/{name}/seed-{seed}")
    Path("runs/both/comparison.json").write_text("[]")
    assert [curve.name for curve in find_curves(["runs/both"])] == ["cnn", "mlp"]
    result = lenumba("plot", "runs/both", "--format", "svg")
    assert result.exit_code == 0, result.output
    assert Path("runs/both/plots/curves.svg").is_file()


def test_plot_refuses_what_several_have_not_in_one_line(refused, trained, lenumba):
    one, other = trained("one"), trained("other")
    result = lenumba("plot", one, other, "data.root=x")
    assert (result.exit_code, "give a single run" in result.output) == (2, True)
    assert "expected a run" in lenumba("plot", "data.root=x").output
    (other / "metrics.jsonl").write_text("")
    assert "expected an epoch" in refused(3, "plot", one, other)
    assert "no run folder" in refused(2, "plot", one, "nowhere")
