"""What the tests of studies share: a tiny study, and looks into what it left."""

import csv
import json
from pathlib import Path

from tiny import TINY

STUDY = (
    TINY.replace("epochs: 3", "epochs: 2")
    + """\
tune:
  sampler: random
  pruner: none
  trials: 6
  finalists: 1
  space:
    optimizer.learning_rate: {low: 1e-3, high: 1, log: true}
    data.batch_size: [16, 32, 64]
    train.epochs: {low: 1, high: 2}
"""
)


def write_study(name: str = "tiny.yaml", **tune: object) -> None:
    """Write the study's YAML with other values of its tune section."""
    text = STUDY
    for key, value in tune.items():
        lines = [line for line in text.splitlines() if not line.startswith(f"  {key}:")]
        lines.insert(lines.index("tune:") + 1, f"  {key}: {value}")
        text = "\n".join(lines) + "\n"
    Path(name).write_text(text)


def trials(name: str = "tiny") -> list[dict[str, str]]:
    with Path("studies", name, "trials.csv").open() as file:
        return list(csv.DictReader(file))


def parameters(name: str = "tiny") -> set[tuple[str, ...]]:
    return {
        tuple(row[key] for key in ("trial", "optimizer.learning_rate", "data.batch_size", "train.epochs", "value"))
        for row in trials(name)
    }


def summary(name: str = "tiny") -> dict:
    return json.loads(Path("studies", name, "study.json").read_text())


def recorded(name: str = "tiny") -> float:
    """The validation accuracy that best.yaml tells."""
    lines = Path("studies", name, "best.yaml").read_text().splitlines()
    return float(lines[1].partition(": ")[2].partition(" ")[0])
