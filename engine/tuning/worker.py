"""A worker process of a study: takes trainings as lines of JSON on standard input, answers on standard output.

It is a process of its own with nothing inherited, and it ends with its parent, even if that is killed: the pipe from
the parent closes then.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DivergedError, LenumbaError
from lenumba.engine.common.files import durable
from lenumba.engine.common.interrupts import SIGNALS
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.selection import load_data
from lenumba.engine.runs.transfer import read_source, take_over
from lenumba.engine.training.build import check_network, stated_shape
from lenumba.engine.training.trainer import Trainer
from lenumba.engine.tuning.space import apply


class Worker:
    """Trains what it is told, one training after the other.

    Parameters
    ----------
    answers
        File descriptor for the answers.
    """

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.orders: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.datasets: dict[bool, Dataset] = {}

    def listen(self) -> None:
        """Queue what the parent says; when it has gone, end at once."""
        for line in sys.stdin.buffer:
            self.orders.put(json.loads(line))
        os._exit(0)

    def say(self, **answer: Any) -> None:
        """Answer the parent."""
        os.write(self.answers, json.dumps(answer).encode() + b"\n")

    def run(self) -> None:
        """Work until the parent has gone."""
        self.settings = self.orders.get()
        while True:
            job = self.orders.get()
            try:
                self.say(event="done", **getattr(self, job["kind"])(job))
            except DivergedError as error:
                self.say(event="diverged", reason=str(error))
            except LenumbaError as error:
                self.say(event="failed", reason=str(error).replace("\n", "; "))
            except Exception as error:  # one trial's fault must not end a study of hundreds
                self.say(event="failed", reason=f"{type(error).__name__}: {' '.join(str(error).split())}")

    def trainer(self, job: dict[str, Any], seed: int) -> Trainer:
        """Return the trainer of a job; faults show before anything is compiled."""
        settings = self.settings
        loaded = apply(settings["base"], job["values"], f"trial {job['slot']}", settings["name"], seed)
        source = read_source(loaded)
        if stated_shape(loaded.config) is not None:
            check_network(loaded)
        dataset = self.dataset(loaded, testing=job["kind"] == "test")
        self.say(event="compiling")
        trainer = Trainer(loaded, dataset)
        take_over(trainer, source)
        self.say(event="compiled", seconds=trainer.compile_seconds, cached=trainer.cached)
        return trainer

    def dataset(self, loaded: LoadedConfig, *, testing: bool) -> Dataset:
        """Return the data set; without its test part, unless testing, so that no training can have seen it."""
        if testing not in self.datasets:
            found = load_data(loaded)
            if not testing:
                images, labels = found.test_images[:0].copy(), found.test_labels[:0].copy()  # views would keep it all
                found = replace(found, test_images=images, test_labels=labels)
            self.datasets = {testing: found}
        return self.datasets[testing]

    def records(self, job: dict[str, Any], repeat: int, trainer: Trainer) -> Iterator[dict[str, Any]]:
        """Train, yielding epochs; end early where the parent says so or the target is reached."""
        target, seconds, images = self.settings["target"], 0.0, len(trainer.train_indices)
        for record in trainer.epochs():
            seconds += record.seconds
            epoch = {key: getattr(record, key) for key in ("epoch", "train_loss", "val_loss", "val_accuracy")}
            epoch |= {"seconds": seconds, "images": images}
            reached = target is not None and record.val_accuracy is not None and record.val_accuracy >= target
            asks = job["prunable"] and repeat == 0 and not reached
            self.say(event="epoch", asks=asks, **epoch)
            yield epoch
            if reached or (asks and not self.orders.get()["go_on"]):
                return

    def search(self, job: dict[str, Any]) -> dict[str, Any]:
        """Train one configuration with each seed."""
        curves, pruned = [], False
        for repeat, seed in enumerate(job["seeds"]):
            trainer = self.trainer(job, seed)
            curves.append(list(self.records(job, repeat, trainer)))
            reached = self.settings["target"] is not None and self.settings["target"] <= trainer.progress.best_accuracy
            pruned = trainer.progress.epoch < trainer.config.train.epochs and not reached
            if pruned:
                break
            if "weights" in job:
                with durable(Path(job["weights"])) as path, path.open("wb") as file:
                    np.save(file, trainer.best_theta)
        return {"curves": curves, "pruned": pruned}

    def test(self, job: dict[str, Any]) -> dict[str, Any]:
        """Read the test set with the weights that an earlier job has left."""
        trainer = self.trainer(job, job["seeds"][0])
        trainer.best_theta[:] = np.load(job["weights"])
        loss, accuracy = trainer.test()
        return {"test_accuracy": accuracy, "test_loss": loss}


def main() -> None:
    """Start a worker."""
    for number in SIGNALS:  # the parent decides
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not get between the answers
    worker = Worker(answers)
    threading.Thread(target=worker.listen, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        worker.run()


if __name__ == "__main__":
    main()
