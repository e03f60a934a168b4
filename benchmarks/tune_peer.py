"""The study of lenet-tune written with PyTorch and Optuna, beside 'lenumba tune': trials per minute of both.

    python benchmarks/tune_peer.py PATH-OF-MNIST [--rounds 2] [--peer-trials 8] [--peer-jobs 1] [--loader]

Both sides search the same space with the same sampler (TPE), pruner (ASHA), number of epochs, and number of processes
with as many threads, and prune by the validation accuracy after each epoch. PyTorch's side has the images on the CPU
as one tensor and slices batches from it, which is the fastest way for images as small as these; with --loader it takes
them from a DataLoader, as PyTorch's tutorials and Optuna's examples do.

Most trials end early, and more of them in a long study than in a short one. So the figure that counts is a trial's
cost at equal pruning: what our study's epochs would take at PyTorch's measured seconds per epoch. Our search is timed
from the start of its workers, PyTorch's from when all of its are ready; neither has finals in it. CPU seconds, which
other processes disturb less than they do the clock, are per epoch of everything that a side does, finals included. The
first of our studies compiles its networks, the others have them from the cache. Needs torch.
"""

import argparse
import json
import multiprocessing
import os
import resource
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


def slices(images, labels, train, size: int):
    """Yield an epoch's batches of images and labels, in a new order."""
    import torch

    for batch in train[torch.randperm(len(train))].split(size):
        yield images[batch], labels[batch]


def objective(trial, images, labels, train, validation, loader: bool):
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
    if loader:
        dataset = torch.utils.data.TensorDataset(images[train], labels[train])
        source = torch.utils.data.DataLoader(dataset, batch_size=size, shuffle=True)
    best = 0.0
    for epoch in range(1, EPOCHS + 1):
        for x, y in source if loader else slices(images, labels, train, size):
            optimizer.zero_grad(set_to_none=True)
            loss(model(x), y).backward()
            optimizer.step()
            scheduler.step()
        with torch.inference_mode():
            accuracy = (model(images[validation]).argmax(1) == labels[validation]).float().mean().item()
        best = max(best, accuracy)
        trial.report(accuracy, epoch)
        if trial.number and trial.should_prune():
            raise optuna.TrialPruned
    return best


def peer_worker(root: str, journal: str, trials: int, threads: int, loader: bool, ready: Any, spent: Any) -> None:
    import optuna
    import torch
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    from lenumba.engine.data.dataset import load_dataset

    torch.set_num_threads(threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    dataset = load_dataset("mnist", root)
    images = torch.from_numpy(dataset.train_images).permute(0, 3, 1, 2).float().div(255).sub(0.1307).div(0.3081)
    images = images.contiguous()
    labels, order = torch.from_numpy(dataset.train_labels), torch.randperm(len(dataset.train_labels))
    ready.wait()
    begin = time.process_time()
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
        lambda trial: objective(trial, images, labels, order[VALIDATION:], order[:VALIDATION], loader),
        callbacks=[limit],
    )
    spent.put(time.process_time() - begin)


def time_peer(root: str, trials: int, jobs: int, loader: bool) -> tuple[float, float, int, int]:
    """Return seconds, CPU seconds, trials and epochs."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        journal = str(Path(folder, "journal.log"))
        ready, spent = context.Barrier(jobs + 1), context.Queue()
        arguments = (root, journal, trials, threads, loader, ready, spent)
        workers = [context.Process(target=peer_worker, args=arguments) for _ in range(jobs)]
        for worker in workers:
            worker.start()
        ready.wait()
        start = time.perf_counter()
        cpu = sum(spent.get() for _ in workers)
        seconds = time.perf_counter() - start
        for worker in workers:
            worker.join()
        done = optuna.load_study(study_name="peer", storage=JournalStorage(JournalFileBackend(journal))).trials
        return seconds, cpu, len(done), sum(len(trial.intermediate_values) for trial in done)


def time_ours(root: str, trials: int, jobs: int, cache: str) -> tuple[dict, int, float]:
    """Return the study's summary, its epochs, and CPU seconds an epoch; `cache` is a folder for compiled networks."""
    with tempfile.TemporaryDirectory() as folder:
        lenumba = [sys.executable, "-m", "lenumba", "tune"]
        settings = ["lenet-tune", f"data.root={Path(root).absolute()}", "tune.finalists=1"]
        options = ["--trials", str(trials), "--jobs", str(jobs), "--json"]
        how = {"cwd": folder, "check": True, "capture_output": True, "env": {**os.environ, "NUMBA_CACHE_DIR": cache}}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = json.loads(subprocess.run([*lenumba, *settings, *options], **how).stdout)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        status = subprocess.run([*lenumba, "--status", "--json"], **how)
        epochs = sum(row["epochs"] for row in json.loads(status.stdout)["trials"])
        trained = epochs + EPOCHS * sum(map(len, found["finals"]["values"].values()))
        return found, epochs, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / trained


def main() -> None:
    parser = argparse.ArgumentParser(description="Trials per minute of lenumba and of PyTorch with Optuna.")
    parser.add_argument("root")
    parser.add_argument("--rounds", type=int, default=2, help="times that both sides are measured, one after the other")
    parser.add_argument("--trials", type=int, default=40, help="lenumba's trials")
    parser.add_argument("--peer-trials", type=int, default=8, help="PyTorch's trials")
    parser.add_argument("--jobs", type=int, default=2, help="processes of either side")
    parser.add_argument("--peer-jobs", type=int, help="PyTorch's, if others: 1 is one process with all threads")
    parser.add_argument("--loader", action="store_true", help="PyTorch's batches come from a DataLoader")
    arguments = parser.parse_args()
    trials, peer_jobs = arguments.trials, arguments.peer_jobs or arguments.jobs

    def ours(text: str) -> tuple[float, float]:
        summary, epochs, cpu = time_ours(arguments.root, trials, arguments.jobs, cache)
        seconds = summary["search_s"]
        print(
            f"lenumba, {text}: {trials} trials, {epochs} epochs in {seconds:.1f} s: {60 * trials / seconds:.1f} trials "
            f"a minute, {cpu:.3f} CPU s an epoch ({summary['compiled']} networks compiled in "
            f"{summary['compile_s']:.1f} s; with the finals {summary['wall_s']:.1f} s)",
            flush=True,
        )
        return seconds / epochs, cpu

    def peer() -> tuple[float, float]:
        seconds, cpu, done, epochs = time_peer(arguments.root, arguments.peer_trials, peer_jobs, arguments.loader)
        how = f"{peer_jobs} process{'es' * (peer_jobs > 1)}{', DataLoader' * arguments.loader}"
        print(
            f"PyTorch + Optuna, {how}: {done} trials, {epochs} epochs in {seconds:.1f} s: "
            f"{60 * done / seconds:.2f} trials a minute, {cpu / epochs:.3f} CPU s an epoch",
            flush=True,
        )
        return seconds / epochs, cpu / epochs

    with tempfile.TemporaryDirectory() as cache:
        cold = ours("networks compiled")
        rounds = [(ours("networks from the cache"), peer()) for _ in range(arguments.rounds)]
    for index, what in enumerate(("time", "CPU time")):
        theirs = statistics.median(peer[index] for _, peer in rounds)
        ratios = [peer[index] / warm[index] for warm, peer in rounds]
        print(
            f"ratio of {what} at equal pruning: {statistics.median(ratios):.1f} from the cache "
            f"({min(ratios):.1f} to {max(ratios):.1f}), {theirs / cold[index]:.1f} with the networks compiled"
        )


if __name__ == "__main__":
    main()
