"""Configurations, checkpoints and records edited at random between stop and resume: refused, or what the edit means."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.config.config import load_config, read_config
from lenumba.engine.runs.changes import RESUMABLE, deciding, differences
from lenumba.engine.runs.run import resume_run, start_run
from lenumba.engine.training.trainer import Trainer

pytestmark = pytest.mark.long("edits many runs")

VALUES = [0, 1, 2, 3, 5, 6, 9, 16, 32, 64, 0.0, 0.1, 0.5, 0.9, 1.5, -1, True, False, None, "x", "sgd", "adamw",
          "cosine", "constant", "tanh", "relu", "digits", "bars", "tensorboard", [], [1, 2], {}]  # fmt: skip
BITS = ("status", "weights_sha256", "best_weights_sha256", "test_accuracy", "test_loss", "best_epoch", "epochs")
EPOCHS = 6


def leaves(values: Any, path: tuple = ()) -> list[tuple]:
    """Return the paths of all values, those of whole sections among them."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [(*path, key) for key, _ in items] + [deep for key, value in items for deep in leaves(value, (*path, key))]


def put(values: Any, path: tuple, value: Any) -> None:
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value


def bits(run: Path) -> dict:
    record = json.loads((run / "run.json").read_text())
    return {key: record[key] for key in BITS}


class Cut:
    """A run that was cut off in its fourth epoch, and what becomes of it."""

    def __init__(self, monkeypatch) -> None:
        real = Trainer.epochs

        def part(self, watch=None, **_):
            yield from real(self, watch, planned=self.config.train.epochs, until=(3, 5))

        def die(*_):
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "epochs", part)
            patch.setattr(Trainer, "test", die)
            with pytest.raises(MemoryError):
                start_run(load_config("tiny.yaml", [f"train.epochs={EPOCHS}"]), out=Path("cut"))
        self.text = Path("cut/config.yaml").read_text()
        self.trained = deciding(read_config(self.text, "x").config)
        self.ends: dict[tuple[str, ...], dict] = {}

    def fresh(self) -> Path:
        shutil.rmtree("run", ignore_errors=True)
        return Path(shutil.copytree("cut", "run"))

    def end(self, *overrides: str) -> dict:
        """Return what comes of going on with overrides."""
        if overrides not in self.ends:
            self.ends[overrides] = bits(resume_run(self.fresh(), list(overrides)).path)
        return self.ends[overrides]


def edit_config(rng: random.Random, cut: Cut, run: Path) -> str:
    """Edit the configuration and go on; return what came of it."""
    values = yaml.safe_load(cut.text)
    for _ in range(rng.choice([1, 1, 1, 2])):
        path = rng.choice(leaves(values))
        if rng.random() < 0.4:
            path = ("train", rng.choice(["epochs", "patience", "threads"]))
        put(values, path, rng.choice(VALUES))
    text = yaml.safe_dump(values)
    (run / "config.yaml").write_text(text)
    try:
        edited = read_config(run / "config.yaml", str(run / "config.yaml")).config
    except ConfigError as fault:
        expect(run, str(fault).splitlines()[0].split(": ")[1], text)
        return "no configuration"
    changed = [key for key, *_ in differences(cut.trained, deciding(edited)) if key not in RESUMABLE]
    if changed:
        told = expect(run, changed[0], text)
        assert all(key in told for key in changed), (told, changed)
        return "refused"
    if edited.train.epochs < 4:
        expect(run, "train.epochs: expected at least the 4 epochs", text)
        return "refused"
    changes = [f"train.epochs={edited.train.epochs}"] if edited.train.epochs != EPOCHS else []
    changes += [f"train.patience={edited.train.patience}"] if edited.train.patience is not None else []
    assert bits(resume_run(run).path) == cut.end(*changes), text
    return "went on"


def expect(run: Path, part: str, edited: str) -> str:
    """Go on, which must be refused with a text that has `part`; nothing is changed."""
    with pytest.raises((ConfigError, DataError)) as caught:
        resume_run(run)
    assert part in str(caught.value), (str(caught.value), part, edited)
    return str(caught.value)


def edit_record(rng: random.Random, cut: Cut, run: Path) -> str:
    """Edit run.json or metrics.jsonl, which the weights do not depend on."""
    path = run / rng.choice(["run.json", "metrics.jsonl"])
    if rng.random() < 0.5:
        data = bytearray(path.read_bytes())
        for _ in range(rng.randint(1, 5)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        path.write_bytes(data)
    else:
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        number = rng.randrange(len(lines))
        values = json.loads(lines[number])
        put(values, rng.choice(leaves(values)), rng.choice(VALUES))
        lines[number] = json.dumps(values)
        path.write_text("\n".join(lines) + "\n")
    return goes_on_or_names(cut, run, path)


def edit_checkpoint(rng: random.Random, cut: Cut, run: Path) -> str:
    """Change bytes of the last checkpoint, cut it off, or put another file in its place."""
    path = run / "last.safetensors"
    data = bytearray(path.read_bytes())
    kind = rng.choice(["bytes", "bytes", "cut", "best", "gone"])
    if kind == "bytes":
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data[: rng.randrange(len(data))] if kind == "cut" else data)
    if kind == "best":
        shutil.copy(run / "best.safetensors", path)
    if kind == "gone":
        path.unlink()
    return goes_on_or_names(cut, run, run)


def goes_on_or_names(cut: Cut, run: Path, path: Path) -> str:
    told = ""
    try:
        resume_run(run)
    except (ConfigError, DataError) as error:
        told = str(error)
    assert str(path) in told or (not told and bits(run) == cut.end())
    return "refused" if told else "went on"


def test_edited_run_is_refused_or_is_what_the_edit_means(place, monkeypatch, campaign):
    cut, rng = Cut(monkeypatch), random.Random(7)
    wanted = campaign.size(60, 1000)
    ways = [edit_config, edit_config, edit_record, edit_checkpoint]
    counts: dict[str, dict[str, int]] = {}
    for _ in range(wanted):
        way = rng.choice(ways)
        cut.end()
        came = way(rng, cut, cut.fresh())
        counts.setdefault(way.__name__, {}).setdefault(came, 0)
        counts[way.__name__][came] += 1
    campaign.note(f"edits between stop and resume: {wanted}; {json.dumps(counts)}")
