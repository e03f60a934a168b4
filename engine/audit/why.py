"""Why a network answers as it does: the training images that an answer rests on, found by training without them."""

import contextlib
import csv
import io
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.audit.audit import check_judges, class_shares
from lenumba.engine.audit.influence import Effect, draw_halves, effects, log_odds, noise_line
from lenumba.engine.audit.trainings import Hooks, Part, Trainings
from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import read_json, write_json, write_text
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.data.selection import split
from lenumba.engine.data.sharing import load_shared
from lenumba.engine.explain.subject import find_sample, find_subject
from lenumba.engine.models.model import Model
from lenumba.engine.ranks.folders import check_shared
from lenumba.engine.ranks.team import ALONE, Alone
from lenumba.engine.runs.changes import check_overrides
from lenumba.engine.runs.folders import load_run_config, locked
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.executor import Executor
from lenumba.engine.training.trainer import Trainer

FOLDER = "why"
ALLOWED = ("data.root", "data.decisions", "train.threads")
MOST_BYTES = 2 << 30  # that the trainings may take, on disk and in memory


@dataclass(frozen=True)
class Why:
    """What training images did to an answer.

    Attributes
    ----------
    image
        uint8 [H, W, C].
    subject
        What the image is called.
    answer, probability
        The class that the run takes it for, and its probability.
    dataset, indices
        The data set, and the training images int64 [N] that the run learned from.
    influence
        By how much each of them raises the log-odds of the answer.
    memorisation
        By how much each of them raises the probability of its own label.
    summary
        All of that which matters, as plain values.
    """

    path: Path
    image: np.ndarray = field(repr=False)
    subject: str
    answer: int
    probability: float
    dataset: Dataset = field(repr=False)
    indices: np.ndarray = field(repr=False)
    influence: Effect = field(repr=False)
    memorisation: Effect = field(repr=False)
    summary: dict[str, Any] = field(repr=False)

    def strongest(self, count: int, sign: int) -> np.ndarray:
        """Return the numbers of the training images that helped (sign 1) or hurt (−1) most, as places in `indices`."""
        order = np.argsort(-sign * self.influence.mean, kind="stable")[:count]
        return order[sign * self.influence.mean[order] > 0]


def run_why(
    folder: Path,
    image: str,
    *,
    trainings: int = 400,
    count: int = 10,
    overrides: Sequence[str] = (),
    hooks: Hooks | None = None,
    team: Alone = ALONE,
) -> Why | None:
    """Find the training images that a run's answer rests on, or finish what an earlier call has begun.

    The trainings are kept in the run's folder: another image takes moments.

    Parameters
    ----------
    folder
        The run.
    image
        A picture's path, or an index into the test set.
    trainings
        How many, in pairs; more than an earlier call had are added to it.
    count
        How many images to name on each side.
    overrides
        Where the data are now, or the threads.
    team
        The ranks that share out the trainings, each of which calls this alike; those that others lead return None.

    Raises
    ------
    ConfigError, DataError
        Where the run, the image or the data are not there, or there are too many weights to keep.
    DivergedError, InterruptedTrainingsError
        As :class:`lenumba.engine.audit.trainings.Trainings` does.
    """
    hooks = hooks or Hooks()
    started = time.monotonic()
    check_overrides(overrides, ALLOWED)
    if trainings < 4 or trainings % 2:
        raise ConfigError(f"--trainings {trainings}: expected an even number from 4 on, as they come in pairs")
    loaded = load_run_config(folder, overrides)
    loaded.only_targets("'why'")
    check_judges(loaded)
    dataset = load_shared(loaded, team, hooks.download_bar)
    if read_json(folder / "run.json").get("data_sha256") not in (None, dataset.sha256):
        raise DataError(f"{folder}: expected the images that it was trained with, found others; correct data.root")
    model = Model(folder, threads=1, overrides=overrides)
    pixels, subject = find_image(folder, image, dataset, overrides)
    indices = split(loaded, dataset)[0]
    needed = trainings * 4 * (model.network.size + len(indices))
    if needed > MOST_BYTES:
        raise ConfigError(
            f"--trainings {trainings}: expected at most {MOST_BYTES / 1e9:.0f} GB of weights to keep, found "
            f"{needed / 1e9:.0f} GB; ask for fewer trainings"
        )
    labels = dataset.train_labels
    parts, halves = make_parts(labels[indices], indices, trainings // 2, loaded.config.train.seed)

    def measure(trainer: Trainer, part: Part) -> dict[str, np.ndarray]:
        trainer.executor.theta[:] = trainer.best_theta
        shares = class_shares(trainer.executor.evaluate(trainer.images, labels, indices)[1])
        own = shares[np.arange(len(indices)), labels[indices]].astype(np.float32)
        pixels = {"mean": trainer.normalization.mean, "deviation": trainer.normalization.deviation}
        return {"theta": trainer.best_theta, "own": own, **pixels}

    command = go_on(folder, image, trainings, overrides)
    with locked(folder) if team.leads else contextlib.nullcontext():
        check_shared(team, folder)
        made = Trainings(loaded, dataset, folder / FOLDER, measure, command, team).run(parts, hooks)
    if not team.leads:
        return None
    shares = class_shares(model.predict_proba(pixels))[0]
    answer = int(shares.argmax())
    opinions = class_shares(answers(model.executor, made, pixels))
    odds = log_odds(opinions, answer)
    influence = effects(halves, (odds[::2] - odds[1::2]).tolist(), len(indices))
    own_differences = [
        first["own"].astype(np.float64) - second["own"] for first, second in zip(made[::2], made[1::2], strict=True)
    ]
    found = Why(
        folder, pixels, subject, answer, float(shares[answer]), dataset, indices, influence,
        effects(halves, own_differences, len(indices)), {},
    )  # fmt: skip
    alike = float((opinions.argmax(1) == answer).mean())
    found.summary.update(summarize(found, trainings, count, alike, time.monotonic() - started))
    write_text(folder / FOLDER / "memorisation.csv", memorisation_text(found))
    write_json(folder / FOLDER / f"{file_name(subject)}.json", found.summary)
    return found


def make_parts(labels: np.ndarray, indices: np.ndarray, pairs: int, seed: int) -> tuple[list[Part], list[np.ndarray]]:
    """Return the trainings, two a pair, and each pair's first half as places in `indices`."""
    parts, halves = [], []
    for pair in range(pairs):
        first, second = draw_halves(labels, seed + pair)
        halves.append(first)
        parts += [Part(f"pair-{pair}-{k}", seed + pair, indices[half]) for k, half in enumerate((first, second))]
    return parts, halves


def find_image(folder: Path, image: str, dataset: Dataset, overrides: Sequence[str]) -> tuple[np.ndarray, str]:
    """Return an image uint8 [H, W, C] and what it is called: a picture's path, or an index into the test set."""
    if image.isdecimal():
        if int(image) >= (count := len(dataset.test_labels)):
            raise DataError(
                f"image {image}: expected an index into the {count} test images of {dataset.name}; "
                f"choose one from 0 to {count - 1}"
            )
        return dataset.test_images[int(image)], f"test image {int(image)}"
    return find_sample(find_subject(str(folder), list(overrides), "best"), image, None).pixels, image


def answers(executor: Executor, made: Sequence[dict[str, np.ndarray]], pixels: np.ndarray) -> np.ndarray:
    """Return float32 [trainings, outputs]: what every trained network makes of one image uint8 [H, W, C]."""
    planes, label, order = planar(pixels[np.newaxis]), np.zeros(1, np.int64), np.zeros(1, np.int64)
    outputs = []
    for values in made:
        executor.theta[:] = values["theta"]
        executor.normalize(Normalization(values["mean"], values["deviation"]))
        outputs.append(executor.evaluate(planes, label, order)[1][0])
    return np.array(outputs)


def summarize(found: Why, trainings: int, count: int, alike: float, seconds: float) -> dict[str, Any]:
    """Return what was found as plain values."""
    names = found.dataset.class_names
    files = found.dataset.files

    def rows(sign: int) -> list[dict[str, Any]]:
        return [
            {
                "index": int(found.indices[place]),
                **({"file": files[0][found.indices[place]]} if files else {}),
                "label": names[found.dataset.train_labels[found.indices[place]]],
                "influence": float(found.influence.mean[place]),
                "error": float(found.influence.error[place]),
                "memorisation": float(found.memorisation.mean[place]),
                "memorisation_error": float(found.memorisation.error[place]),
            }
            for place in found.strongest(count, sign)
        ]

    return {
        "run": str(found.path),
        "image": found.subject,
        "answer": names[found.answer],
        "probability": found.probability,
        "answered_alike": alike,
        "trainings": trainings,
        "images": len(found.indices),
        "noise_line": noise_line(len(found.indices)),
        "helped": rows(1),
        "hurt": rows(-1),
        "wall_s": seconds,
    }


def memorisation_text(found: Why) -> str:
    """Return a table of all training images, the most memorised first."""
    text, names, labels = io.StringIO(), found.dataset.class_names, found.dataset.train_labels
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "label", "memorisation", "error"])
    for place in np.argsort(-found.memorisation.mean, kind="stable"):
        index = found.indices[place]
        values = (f"{values[place]:.6f}" for values in found.memorisation)
        writer.writerow([index, names[labels[index]], *values])
    return text.getvalue()


def file_name(subject: str) -> str:
    """Return a name for an image's files."""
    stem = Path(subject).stem
    return "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in stem)[:80] or "image"


def go_on(folder: Path, image: str, trainings: int, overrides: Sequence[str]) -> str:
    """Return the command that goes on after an interruption."""
    return shlex.join(["lenumba", "why", str(folder), image, *overrides, "--trainings", str(trainings)])
