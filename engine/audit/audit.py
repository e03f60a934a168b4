"""An audit: every image of a data set judged by networks that have not seen it, kept in a folder that can go on."""

import contextlib
import csv
import io
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.audit.folds import Pool, assign_folds, make_pool
from lenumba.engine.audit.judgement import Judgement, Overlap, conflicting_copies, judge, near_copies, overlaps
from lenumba.engine.audit.targets import TargetAudit, conclude_targets, target_csv
from lenumba.engine.audit.trainings import Hooks, Part, Trainings, for_part
from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.files import read_json, write_json, write_text
from lenumba.engine.common.host import cpu_name, versions
from lenumba.engine.common.kinds import without_nan
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.decisions import image_key, read_decisions
from lenumba.engine.data.sharing import load_shared
from lenumba.engine.network.layers import activation_of
from lenumba.engine.ranks.folders import check_shared
from lenumba.engine.ranks.team import ALONE, Alone
from lenumba.engine.runs.changes import differences
from lenumba.engine.runs.folders import LOCK, check_writable, locked, portable
from lenumba.engine.training.build import check_network, check_trainable, check_training, stated_shape
from lenumba.engine.training.trainer import Trainer

AUDITS = Path("audits")
RECORD, TRAININGS = "audit.json", "trainings"
LISTED = 10  # classes that overlap
PROBABILITIES = ("softmax", "sigmoid")
HEADER = (
    *("rank", "split", "index", "file", "label", "guess", "label_probability", "label_error"),
    *("guess_probability", "guess_error", "votes", "seeds", "suspicious", "kept"),
)


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes
    ----------
    path
        Its folder.
    pool
        The images.
    probabilities
        float64 [seeds, N, classes], of networks that had not seen the image.
    found
        What follows for each image.
    kept
        bool [N]: images whose labels a decisions file confirms; they are not called suspicious.
    overlaps
        Pairs of classes, the largest overlap first.
    copies, near
        Groups of exact duplicates with different labels, and pairs that only look alike, of which one is suspicious.
    summary
        The contents of ``audit.json``.
    """

    path: Path
    loaded: LoadedConfig = field(repr=False)
    pool: Pool = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    found: Judgement = field(repr=False)
    kept: np.ndarray = field(repr=False)
    overlaps: list[Overlap]
    copies: list[list[int]]
    near: list[tuple[int, int]]
    summary: dict[str, Any] = field(repr=False)

    @property
    def suspicious(self) -> np.ndarray:
        """int64: the images with suspicious labels, the most suspicious first."""
        flagged = self.found.suspicious & ~self.kept
        return self.found.order[flagged[self.found.order]]


def run_audit(
    loaded: LoadedConfig,
    *,
    folds: int = 5,
    seeds: int = 4,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    hooks: Hooks | None = None,
    team: Alone = ALONE,
) -> Audit | TargetAudit | None:
    """Audit the labels of a configuration's training and test images, or finish what an earlier call has begun.

    For each of the seeds train.seed, train.seed + 1, … all images are cut into folds; for each fold a network trains
    on the others, for all epochs, and then judges this one. The images' files are not touched.

    Parameters
    ----------
    folds, seeds
        How many of each; more seeds than an earlier call had are added to it.
    out
        The folder; without it ``audits/<recipe>``.
    overrides
        How the configuration was changed on the command line, to say how to go on.
    team
        The ranks that share out the trainings, each of which calls this alike; those that others lead return None.

    Raises
    ------
    ConfigError
        Where the network gives no probabilities or starts from another run, or the folder holds another audit.
    DataError, DivergedError, InterruptedTrainingsError
        As :class:`lenumba.engine.audit.trainings.Trainings` does.
    """
    hooks = hooks or Hooks()
    started, loaded = time.monotonic(), team.told(loaded)
    loaded.only_targets("an audit, as the input itself has no labels that could be wrong", "class", "labels", "numbers")
    check_judges(loaded)
    if stated_shape(loaded.config) is not None:
        check_trainable(loaded, check_network(loaded))
    folder = out or AUDITS / loaded.name
    before = team.told(read_begun(folder) if team.leads else {})
    dataset = load_shared(loaded, team, hooks.download_bar)
    pool = make_pool(loaded, dataset)
    subject = {"config": settings_of(loaded), "folds": folds, "data_sha256": pool.dataset.sha256}
    check_same(folder, before, subject)
    parts, held_out = [], []
    for seed in range(loaded.config.train.seed, loaded.config.train.seed + seeds):
        fold_of = assign_folds(pool, folds, seed)
        for fold in range(folds):
            parts.append(Part(f"seed-{seed}-fold-{fold}", seed, np.flatnonzero(fold_of != fold)))
            held_out.append(np.flatnonzero(fold_of == fold))
    fewest = min(parts, key=lambda part: len(part.indices))
    check_training(for_part(loaded, fewest.seed, 1), pool.dataset, fewest.indices)  # before there is a folder
    asked = {part.name: images for part, images in zip(parts, held_out, strict=True)}

    def measure(trainer: Trainer, part: Part) -> dict[str, np.ndarray]:
        trainer.executor.theta[:] = trainer.best_theta
        order, truth = asked[part.name], pool.dataset.train_truth
        return {"probabilities": trainer.judge.answers(trainer.executor, trainer.images, truth, order)[1]}

    record = {"status": "running", "recipe": loaded.name, **subject, "seeds": seeds}
    with contextlib.ExitStack() as stack:
        if team.leads:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder))
            write_json(folder / RECORD, before | record)
        check_shared(team, folder)
        command = go_on(loaded, folds, seeds, out, overrides)
        made = Trainings(loaded, pool.dataset, folder / TRAININGS, measure, command, team).run(parts, hooks)
        if not team.leads:
            return None
        answers = np.zeros((seeds, len(pool.labels), pool.dataset.classes))
        shares = class_shares if loaded.config.data.target == "class" else np.asarray
        for number, (images, values) in enumerate(zip(held_out, made, strict=True)):
            answers[number // folds, images] = shares(values["probabilities"])
        seconds = time.monotonic() - started
        audit: Audit | TargetAudit
        if loaded.config.data.target == "class":
            audit = conclude(folder, loaded, pool, answers, record, seconds)
            write_text(folder / "audit.csv", csv_text(audit))
        else:
            audit = conclude_targets(folder, loaded, pool, answers, record, seconds)
            write_text(folder / "audit.csv", target_csv(audit))
        write_json(folder / RECORD, audit.summary)
    return audit


def read_begun(folder: Path) -> dict[str, Any]:
    """Return the record of an audit that has begun, an empty one of none; check that its folder can be used."""
    before = read_json(folder / RECORD)
    if folder.exists() and not before and any(path.name != LOCK for path in folder.iterdir()):
        raise ConfigError(f"{folder}: expected a new folder or one of an audit, found another; choose one with --out")
    if not before:
        check_writable(folder)
    return before


def check_judges(loaded: LoadedConfig) -> None:
    """Raise ConfigError where a configuration's networks cannot judge images, or may have seen them."""
    config = loaded.config
    target = config.data.target
    if target == "class" and config.network.signals:
        raise loaded.error(
            "network.input", "expected [height, width, channels], as images alone are judged, found signals"
        )
    if config.init_from is not None:
        raise loaded.error(
            "init_from", "expected null, as that run may have seen the images to be judged; use a recipe without it"
        )
    if target == "class" and (output := activation_of(config.network.layers[-1])) not in PROBABILITIES:
        path = f"network.layers.{len(config.network.layers) - 1}"
        raise loaded.error(path, f"expected softmax or sigmoid, which give probabilities, found {output}")


def settings_of(loaded: LoadedConfig) -> dict[str, Any]:
    """Return what of a configuration decides an audit's bits."""
    values = portable(loaded.config).model_dump(mode="json", exclude={"tune", "plots", "log"})
    for section, names in {"train": ("threads", "patience", "min_delta"), "data": ("root", "validation")}.items():
        for name in names:
            del values[section][name]
    return values


def check_same(folder: Path, before: Mapping[str, Any], subject: Mapping[str, Any]) -> None:
    """Raise ConfigError where a folder holds an audit of something else."""
    if not before:
        return
    if "config" not in before:
        raise ConfigError(f"{folder}: expected a new folder or one of an audit, found another; choose one with --out")
    changed = [name for name, _, _ in differences(before["config"], subject["config"])]
    changed += [name for name in ("folds", "data_sha256") if subject[name] != before.get(name)]
    if changed:
        what = {"folds": "number of folds", "data_sha256": "set of images"}.get(changed[0], changed[0])
        raise ConfigError(
            f"{folder}: holds an audit with another {what}; choose another folder with --out, or remove it"
        )


def go_on(loaded: LoadedConfig, folds: int, seeds: int, out: Path | None, overrides: Sequence[str]) -> str:
    """Return the command that goes on with an audit."""
    config = loaded.source if Path(loaded.source).is_file() else loaded.name
    command = ["lenumba", "audit", config, *overrides, "--folds", str(folds), "--seeds", str(seeds)]
    return shlex.join([*command, *([] if out is None else ["--out", str(out)])])


def class_shares(outputs: np.ndarray) -> np.ndarray:
    """Return float64 [N, classes] with rows of sum 1 of a network's outputs; a single one is that of class 1."""
    shares = outputs.astype(np.float64)
    if shares.shape[1] == 1:
        shares = np.concatenate([1 - shares, shares], axis=1)
    return shares / np.maximum(shares.sum(1, keepdims=True), 1e-30)


def conclude(
    folder: Path,
    loaded: LoadedConfig,
    pool: Pool,
    probabilities: np.ndarray,
    record: dict[str, Any],
    seconds: float,
) -> Audit:
    """Return what follows from the probabilities."""
    found = judge(probabilities, pool.labels)
    kept = kept_labels(loaded, pool)
    flagged = np.flatnonzero(found.suspicious & ~kept)
    copies = conflicting_copies(pool.content, pool.labels)
    near = near_copies(pool.images, pool.labels, pool.content, flagged.tolist())
    names, labels = pool.dataset.class_names, pool.labels
    pairs = overlaps(probabilities, labels, found)
    in_train = np.arange(len(labels)) < pool.train_count
    summary = record | {
        "status": "finished",
        "images": {"train": pool.train_count, "test": len(labels) - pool.train_count},
        "accuracy": float((found.guess == labels).mean()),
        "suspicious": {"train": int(in_train[flagged].sum()), "test": int((~in_train[flagged]).sum())},
        "suspicious_by_class": {name: int((labels[flagged] == k).sum()) for k, name in enumerate(names)},
        "kept": int(kept.sum()),
        "copies_with_different_labels": len(copies),
        "near_copies_with_different_labels": len(near),
        "overlaps": [
            {**pair._asdict(), "first": names[pair.first], "second": names[pair.second]} for pair in pairs[:LISTED]
        ],
        "decisions": pool.dataset.decided,
        "versions": versions(),
        "cpu": cpu_name(),
        "wall_s": seconds,
    }
    return Audit(folder, loaded, pool, probabilities, found, kept, pairs, copies, near, without_nan(summary))


def kept_labels(loaded: LoadedConfig, pool: Pool) -> np.ndarray:
    """Return bool [N]: the images whose labels a decisions file confirms."""
    kept = np.zeros(len(pool.labels), bool)
    if (path := loaded.config.data.decisions) is None:
        return kept
    decisions = read_decisions(path)
    names = pool.dataset.class_names
    keeping = {key for key, decision in decisions.items() if decision.action == "keep"}
    keeping |= {(image, decision.to) for (image, _), decision in decisions.items() if decision.action == "relabel"}
    for number, image in enumerate(pool.images):
        kept[number] = (image_key(image), names[pool.labels[number]]) in keeping
    return kept


def csv_text(audit: Audit) -> str:
    """Return a table of all images, the most suspicious label first."""
    pool, found, names = audit.pool, audit.found, audit.pool.dataset.class_names
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    shares = [found.given, found.given_error, found.guessed, found.guessed_error]
    for rank, number in enumerate(found.order.tolist(), 1):
        given, given_error, guessed, guessed_error = ("" if np.isnan(x[number]) else f"{x[number]:.6f}" for x in shares)
        row = [rank, pool.split_of(number), pool.index[number], pool.file_of(number), names[pool.labels[number]]]
        row += [names[found.guess[number]], given, given_error, guessed, guessed_error, found.votes[number]]
        row += [len(audit.probabilities), int(found.suspicious[number]), int(audit.kept[number])]
        writer.writerow(row)
    return text.getvalue()
