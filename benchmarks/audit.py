"""What audits and influence find: wrong labels planted in MNIST, confirmed ones of its test set, near-duplicates.

The environment variable LENUMBA_MNIST names the folder with MNIST's files, LENUMBA_LABEL_ERRORS one with
mnist-test-reviewed.csv, mnist-test-pyx.npy and mnist-test-labels.npy, from github.com/cleanlab/label-errors.
"""

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import markdown_table

from lenumba.engine.audit.audit import Audit, run_audit
from lenumba.engine.audit.why import run_why
from lenumba.engine.config.config import load_config
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.selection import load_data
from lenumba.engine.runs.run import start_run

SIMILAR = {0: 6, 1: 7, 2: 7, 3: 5, 4: 9, 5: 3, 6: 0, 7: 9, 8: 3, 9: 4}  # the class that people take it for first
PRECISION = 0.9
FIRST = 100


def folder_of(name: str) -> Path:
    if not (path := os.environ.get(name)):
        raise SystemExit(f"error: set {name} to a folder (see --help)")
    return Path(path)


def timed(job: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what a job returns, and its seconds: by the clock, and of all cores together."""
    clock, processor = time.perf_counter(), time.process_time()
    found = job()
    return found, {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - processor}


def planted(dataset: Dataset, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training labels of which 1 % are drawn anew and 1 % are the most similar class; and both sets."""
    rng = np.random.default_rng(seed)
    labels, count = dataset.train_labels.copy(), len(dataset.train_labels) // 100
    at_random, similar = np.split(rng.permutation(len(labels))[: 2 * count], 2)
    labels[at_random] = (labels[at_random] + rng.integers(1, 10, count)) % 10
    labels[similar] = [SIMILAR[int(label)] for label in labels[similar]]
    return labels, at_random, similar


def write_npz(path: Path, dataset: Dataset, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Write a data set with other training images and labels; return the overrides that read it."""
    np.savez(path, x_train=images, y_train=labels, x_test=dataset.test_images, y_test=dataset.test_labels)
    return {"data.name": "npz", "data.root": str(path), "network.input": [28, 28, 1]}


def find_planted(args: argparse.Namespace, dataset: Dataset, folder: Path) -> dict[str, Any]:
    labels, at_random, similar = planted(dataset, args.seed)
    overrides = write_npz(folder / "planted.npz", dataset, dataset.train_images, labels)
    loaded = load_config(args.recipe, overrides | args.threads_override)
    audit, cost = timed(lambda: run_audit(loaded, folds=args.folds, seeds=args.seeds, out=folder / "planted"))
    order = audit.found.order[audit.found.order < len(labels)]
    wrong = labels != dataset.train_labels
    precision = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    cut = int(np.flatnonzero(precision >= PRECISION).max(initial=-1)) + 1
    called = audit.found.suspicious[: len(labels)]
    first = np.isin(np.arange(len(labels)), order[:cut])
    return {
        "recall_random": float(first[at_random].mean()),
        "recall_similar": float(first[similar].mean()),
        "precision": float(precision[cut - 1]) if cut else 0.0,
        "called_precision": float(wrong[called].mean()),
        "called_recall_random": float(called[at_random].mean()),
        "called_recall_similar": float(called[similar].mean()),
        **cost,
    }


def find_confirmed(args: argparse.Namespace, dataset: Dataset, folder: Path) -> dict[str, Any]:
    source = folder_of("LENUMBA_LABEL_ERRORS")
    with (source / "mnist-test-reviewed.csv").open(newline="") as file:
        errors = [int(row["index"]) for row in csv.DictReader(file) if row["verdict"] != "given"]
    loaded = load_config(args.recipe, {"data.root": os.environ["LENUMBA_MNIST"]} | args.threads_override)
    audit, cost = timed(lambda: run_audit(loaded, folds=args.folds, seeds=args.seeds, out=folder / "whole"))
    ours = test_ranking(audit)[:FIRST]
    probabilities, labels = np.load(source / "mnist-test-pyx.npy"), np.load(source / "mnist-test-labels.npy")
    theirs, ranking_cost = timed(lambda: self_confidence(labels.astype(np.int64), probabilities)[:FIRST])
    return {
        "errors": len(errors),
        "found": len(set(errors) & set(ours.tolist())),
        "found_by_cleanlab": len(set(errors) & set(theirs.tolist())),
        "accuracy": float((audit.found.guess == audit.pool.labels)[audit.pool.train_count :].mean()),
        "accuracy_of_their_probabilities": float((probabilities.argmax(1) == labels).mean()),
        "cleanlab_ranking_seconds": ranking_cost["seconds"],  # their probabilities came from trainings of their own
        **cost,
    }


def test_ranking(audit: Audit) -> np.ndarray:
    """Return the indices of the test images, the most suspicious label first."""
    order = audit.found.order
    return order[order >= audit.pool.train_count] - audit.pool.train_count


def self_confidence(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return cleanlab's ranking by self-confidence, of the package where it is installed, else by its definition."""
    try:
        from cleanlab.rank import order_label_issues
    except ImportError:
        return np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")
    every = np.ones(len(labels), bool)
    return order_label_issues(every, labels, probabilities, rank_by="self_confidence")


def find_copies(args: argparse.Namespace, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Plant noisy copies of some test images that networks find hard, and ask why the run knows those that it does."""
    rng = np.random.default_rng(args.seed)
    audit_of_all = json.loads((folder / "whole" / "audit.json").read_text())
    assert audit_of_all["status"] == "finished"
    with (folder / "whole" / "audit.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    hard = [int(row["index"]) for row in rows if 0.02 < float(row["label_probability"]) < 0.5]
    asked = rng.permutation(hard)[: args.copies]
    chosen = np.sort(rng.permutation(len(dataset.train_labels))[: args.images])
    images, labels = dataset.train_images[chosen].copy(), dataset.train_labels[chosen].copy()
    places = rng.permutation(args.images)[: len(asked)]
    for place, index in zip(places, asked, strict=True):
        copy = dataset.test_images[index].astype(float)
        images[place] = np.clip(copy + rng.normal(0, 8, copy.shape), 0, 255)
        labels[place] = dataset.test_labels[index]
    overrides = write_npz(folder / "copies.npz", dataset, images, labels) | {"data.validation": 0}
    run = folder / "run"
    start_run(load_config(args.recipe, overrides | args.threads_override), out=run)
    ranks, costs = [], []
    for place, index in zip(places, asked, strict=True):
        found, cost = timed(lambda index=index: run_why(run, str(index), trainings=args.trainings))
        costs.append(cost)
        if found.answer == labels[place]:  # else the copy speaks against the answer
            ranks.append(int((found.influence.mean > found.influence.mean[place]).sum()) + 1)
    return {"ranks": ranks, "first": ranks.count(1), "of": len(ranks), "trainings": args.trainings, **costs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="lenet", help="[lenet]")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="of what is planted")
    parser.add_argument("--copies", type=int, default=6, help="near-duplicates to plant")
    parser.add_argument("--images", type=int, default=3000, help="training images beside them")
    parser.add_argument("--trainings", type=int, default=400, help="to find them by")
    parser.add_argument("--threads", type=int, help="of all  [all cores]")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    args.threads_override = {} if args.threads is None else {"train.threads": args.threads}
    dataset = load_data(load_config("lenet", {"data.root": str(folder_of("LENUMBA_MNIST"))}))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = {"confirmed errors": find_confirmed, "planted errors": find_planted, "near-duplicates": find_copies}
        results = {}
        for title, job in jobs.items():
            results[title] = job(args, dataset, folder)
            rows = [
                [key, f"{value:.4g}" if isinstance(value, float) else value] for key, value in results[title].items()
            ]
            print(f"\n{title}\n\n{markdown_table(['figure', 'value'], rows)}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"arguments": vars(args) | {"json": str(args.json)}, "results": results}))


if __name__ == "__main__":
    main()
