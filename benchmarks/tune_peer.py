"""The study of lenet-tune written with PyTorch and Optuna, beside 'lenumba tune': trials per minute of both.

    python benchmarks/tune_peer.py PATH-OF-MNIST [--trials 4] [--jobs 2]

Most trials end early, and more of them in a long study than in a short one. So the figure that counts is a trial's
cost at equal pruning: what our study's epochs would take at PyTorch's measured seconds per epoch.

Both sides search the same space with the same sampler (TPE), pruner (ASHA), epochs and number of processes, and prune
by the validation accuracy after each epoch. PyTorch's side has the images on the CPU as one tensor and slices batches
from it, without a DataLoader, which is the fastest way for images as small as these. Its workers share the threads.
Needs torch; lenumba's side runs in a new folder, with the networks compiled anew unless the cache has them.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def peer_worker(root: str, journal: str, trials: int, threads: int) -> None:
    import optuna
    import torch
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    from lenumba.engine.data import load_dataset

    torch.set_num_threads(threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    dataset = load_dataset("mnist", root)
    images = torch.from_numpy(dataset.train_images).permute(0, 3, 1, 2).float().div(255).sub(0.1307).div(0.3081)
    labels, order = torch.from_numpy(dataset.train_labels), torch.randperm(len(dataset.train_labels))
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
        lambda trial: objective(trial, images.contiguous(), labels, order[VALIDATION:], order[:VALIDATION]),
        callbacks=[limit],
    )


def time_peer(root: str, trials: int, jobs: int) -> tuple[float, int, int]:
    """Return seconds, trials and epochs."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    with tempfile.TemporaryDirectory() as folder:
        context, start = multiprocessing.get_context("spawn"), time.perf_counter()
        journal = str(Path(folder, "journal.log"))
        workers = [context.Process(target=peer_worker, args=(root, journal, trials, threads)) for _ in range(jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - start
        done = optuna.load_study(study_name="peer", storage=JournalStorage(JournalFileBackend(journal))).trials
        return seconds, len(done), sum(len(trial.intermediate_values) for trial in done)


def time_ours(root: str, trials: int, jobs: int) -> tuple[dict, int]:
    """Return the study's summary and its epochs."""
    with tempfile.TemporaryDirectory() as folder:
        lenumba = [sys.executable, "-m", "lenumba.cli", "tune"]
        settings = ["lenet-tune", f"data.root={Path(root).absolute()}"]
        options = ["--trials", str(trials), "--jobs", str(jobs), "--json"]
        found = subprocess.run([*lenumba, *settings, *options], cwd=folder, check=True, capture_output=True)
        status = subprocess.run([*lenumba, "--status", "--json"], cwd=folder, check=True, capture_output=True)
        return json.loads(found.stdout), sum(row["epochs"] for row in json.loads(status.stdout)["trials"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Trials per minute of lenumba and of PyTorch with Optuna.")
    parser.add_argument("root")
    parser.add_argument("--trials", type=int, default=4, help="PyTorch's trials")
    parser.add_argument("--our-trials", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    summary, our_epochs = time_ours(arguments.root, arguments.our_trials, arguments.jobs)
    seconds, trials, epochs = time_peer(arguments.root, arguments.trials, arguments.jobs)
    ours, same = summary["search_s"], our_epochs * seconds / epochs
    print(
        f"lenumba:           {arguments.our_trials} trials, {our_epochs} epochs in {ours:.1f} s: "
        f"{60 * arguments.our_trials / ours:.1f} trials a minute ({summary['compiled']} networks compiled in "
        f"{summary['compile_s']:.1f} s; with the finals {summary['wall_s']:.1f} s)\n"
        f"PyTorch + Optuna:  {trials} trials, {epochs} epochs in {seconds:.1f} s: {60 * trials / seconds:.2f} trials a "
        f"minute, {60 * arguments.our_trials / same:.2f} at our pruning\n"
        f"ratio:             {same / ours:.1f}"
    )


if __name__ == "__main__":
    main()
