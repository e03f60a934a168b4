"""The study of lenet-tune written with PyTorch and Optuna, beside 'lenumba tune': trials per minute of both.

    python benchmarks/tune_peer.py PATH-OF-MNIST [--rounds 2] [--peer-trials 8] [--peer-jobs 1]

Both sides search the same space with the same sampler (TPE), pruner (ASHA), number of epochs, and number of processes
with as many threads, and prune by the validation accuracy after each epoch. PyTorch's side has the images on the CPU
as one tensor and slices batches from it, without a DataLoader, which is the fastest way for images as small as these.

Most trials end early, and more of them in a long study than in a short one. So the figure that counts is a trial's
cost at equal pruning: what our study's epochs would take at PyTorch's measured seconds per epoch. Our search is timed
from the start of its workers, PyTorch's from when all of its are ready; neither has finals in it. The first of our
studies compiles its networks, the others have them from the cache. Needs torch.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EPOCHS, VALIDATION = 10, 5000


def build(channels: int, activation: str):
    import torch

    last = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[activation]
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 5), torch.nn.ReLU(), torch.nn.AvgPool2d(2),
        torch.nn.Conv2d(4, channels, 5), torch.nn.ReLU(), torch.nn.AvgPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(16 * channels, 50), last(), torch.nn.Linear(50, 10),
    )  # fmt: skip


def objective(trial, images, labels, train, validation):
    import optuna
    import torch

    rate = trial.suggest_float("learning_rate", 5e-4, 3e-2, log=True)
    decay = trial.suggest_float("weight_decay", 1e-4, 0.3, log=True)
    size = trial.suggest_categorical("batch_size", [32, 64, 128])
    smoothing = trial.suggest_float("label_smoothing", 0, 0.2)
    schedule = trial.suggest_categorical("schedule", ["constant", "cosine", "one_cycle"])
    channels = trial.suggest_categorical("channels", [6, 12])
    torch.manual_seed(0)
    model = build(channels, trial.suggest_categorical("activation", ["relu", "tanh"]))
    steps = -(-len(train) // size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    if schedule == "one_cycle":
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=EPOCHS * steps)
    elif schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * steps)
    else:
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0, EPOCHS * steps)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
    best = 0.0
    for epoch in range(1, EPOCHS + 1):
        for batch in train[torch.randperm(len(train))].split(size):
            optimizer.zero_grad(set_to_none=True)
            loss(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            scheduler.step()
        with torch.inference_mode():
            accuracy = (model(images[validation]).argmax(1) == labels[validation]).float().mean().item()
        best = max(best, accuracy)
        trial.report(accuracy, epoch)
        if trial.number and trial.should_prune():
            raise optuna.TrialPruned
    return best


def peer_worker(root: str, journal: str, trials: int, threads: int, ready: Any) -> None:
    import optuna
    import torch
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    from lenumba.engine.data import load_dataset

    torch.set_num_threads(threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    dataset = load_dataset("mnist", root)
    images = torch.from_numpy(dataset.train_images).permute(0, 3, 1, 2).float().div(255).sub(0.1307).div(0.3081)
    images = images.contiguous()
    labels, order = torch.from_numpy(dataset.train_labels), torch.randperm(len(dataset.train_labels))
    ready.wait()
    study = optuna.create_study(
        study_name="peer",
        storage=JournalStorage(JournalFileBackend(journal)),
        sampler=optuna.samplers.TPESampler(constant_liar=True),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        direction="maximize",
        load_if_exists=True,
    )
    limit = optuna.study.MaxTrialsCallback(
        trials, states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    )
    study.optimize(
        lambda trial: objective(trial, images, labels, order[VALIDATION:], order[:VALIDATION]),
        callbacks=[limit],
    )


def time_peer(root: str, trials: int, jobs: int) -> tuple[float, int, int]:
    """Return seconds, trials and epochs."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        journal = str(Path(folder, "journal.log"))
        ready = context.Barrier(jobs + 1)
        arguments = (root, journal, trials, threads, ready)
        workers = [context.Process(target=peer_worker, args=arguments) for _ in range(jobs)]
        for worker in workers:
            worker.start()
        ready.wait()
        start = time.perf_counter()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - start
        done = optuna.load_study(study_name="peer", storage=JournalStorage(JournalFileBackend(journal))).trials
        return seconds, len(done), sum(len(trial.intermediate_values) for trial in done)


def time_ours(root: str, trials: int, jobs: int, cache: str) -> tuple[dict, int]:
    """Return the study's summary and its epochs; compiled networks are kept in the folder `cache`."""
    with tempfile.TemporaryDirectory() as folder:
        lenumba = [sys.executable, "-m", "lenumba.cli", "tune"]
        settings = ["lenet-tune", f"data.root={Path(root).absolute()}"]
        options = ["--trials", str(trials), "--jobs", str(jobs), "--json"]
        how = {"cwd": folder, "check": True, "capture_output": True, "env": {**os.environ, "NUMBA_CACHE_DIR": cache}}
        found = subprocess.run([*lenumba, *settings, *options], **how)
        status = subprocess.run([*lenumba, "--status", "--json"], **how)
        return json.loads(found.stdout), sum(row["epochs"] for row in json.loads(status.stdout)["trials"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Trials per minute of lenumba and of PyTorch with Optuna.")
    parser.add_argument("root")
    parser.add_argument("--rounds", type=int, default=2, help="times that both sides are measured, one after the other")
    parser.add_argument("--trials", type=int, default=40, help="lenumba's trials")
    parser.add_argument("--peer-trials", type=int, default=8, help="PyTorch's trials")
    parser.add_argument("--jobs", type=int, default=2, help="processes of either side")
    parser.add_argument("--peer-jobs", type=int, help="PyTorch's, if others: 1 is one process with all threads")
    arguments = parser.parse_args()
    trials, peer_jobs = arguments.trials, arguments.peer_jobs or arguments.jobs

    def show(text: str, summary: dict, epochs: int) -> float:
        seconds = summary["search_s"]
        print(
            f"lenumba, {text}: {trials} trials, {epochs} epochs in {seconds:.1f} s: {60 * trials / seconds:.1f} trials "
            f"a minute ({summary['compiled']} networks compiled in {summary['compile_s']:.1f} s; with the finals "
            f"{summary['wall_s']:.1f} s)",
            flush=True,
        )
        return seconds / epochs

    with tempfile.TemporaryDirectory() as cache:
        cold = show("networks compiled", *time_ours(arguments.root, trials, arguments.jobs, cache))
        pairs = []
        for _ in range(arguments.rounds):
            warm = show("from the cache", *time_ours(arguments.root, trials, arguments.jobs, cache))
            seconds, done, epochs = time_peer(arguments.root, arguments.peer_trials, peer_jobs)
            print(
                f"PyTorch + Optuna, {peer_jobs} processes: {done} trials, {epochs} epochs in {seconds:.1f} s: "
                f"{60 * done / seconds:.2f} trials a minute",
                flush=True,
            )
            pairs.append((warm, seconds / epochs))
    ratios = [peer / warm for warm, peer in pairs]
    print(
        f"ratio at equal pruning: {statistics.median(ratios):.1f} from the cache "
        f"({min(ratios):.1f} to {max(ratios):.1f}), "
        f"{statistics.median(peer for _, peer in pairs) / cold:.1f} with the networks compiled"
    )


if __name__ == "__main__":
    main()
