"""A worker process of a study: takes trainings as lines of JSON on standard input, answers on standard output.

It is a process of its own with nothing inherited, and it ends with its parent, even if that is killed: the pipe from
the parent closes then.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DivergedError, LenumbaError, one_line
from lenumba.engine.common.files import durable
from lenumba.engine.common.interrupts import SIGNALS
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.selection import load_data
from lenumba.engine.runs.transfer import read_source, take_over
from lenumba.engine.training.build import check_network, check_trainable, stated_shape
from lenumba.engine.training.trainer import Trainer
from lenumba.engine.tuning.space import apply

LIFE_SECONDS = 1.0
COMMAND = [sys.executable, "-m", "lenumba.engine.tuning.worker"]  # starts one


def answer_line(**answer: Any) -> bytes:
    """Return an answer to the parent as it is written."""
    return json.dumps(answer).encode() + b"\n"


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
        self.state: tuple[object, ...] = ()
        self.next_life = 0.0

    def listen(self) -> None:
        """Queue what the parent says; when it has gone, end at once."""
        for line in sys.stdin.buffer:
            self.orders.put(json.loads(line))
        os._exit(0)

    def say(self, **answer: Any) -> None:
        """Answer the parent; where that fails nobody waits for this process any more."""
        text = answer_line(**answer)
        try:
            while text:
                text = text[os.write(self.answers, text) :]
        except OSError:
            os._exit(1)

    def show_life(self, *state: object) -> None:
        """Tell the parent now and then that the work goes on: `state` is not what it was."""
        if state != self.state and time.monotonic() >= self.next_life:
            self.state, self.next_life = state, time.monotonic() + LIFE_SECONDS
            self.say(event="alive")

    def run(self) -> None:
        """Work until the parent has gone, or until something fails that is no fault of the trial."""
        self.settings = self.orders.get()
        while True:
            job = self.orders.get()
            try:
                self.say(event="done", **getattr(self, job["kind"])(job))
            except DivergedError as error:
                self.say(event="diverged", reason=str(error))
            except ConfigError as error:
                self.say(event="failed", reason=str(error).replace("\n", "; "))
            except Exception as error:  # memory, files, threads: another process, elsewhere or later, may manage
                self.say(event="ends", why=why(error))
                return

    def trainer(self, job: dict[str, Any], seed: int) -> Trainer:
        """Return the trainer of a job; faults show before anything is compiled."""
        settings = self.settings
        loaded = apply(settings["base"], job["values"], f"trial {job['slot']}", settings["name"], seed)
        source = read_source(loaded)
        if stated_shape(loaded.config) is not None:
            check_trainable(loaded, check_network(loaded))
        dataset = self.dataset(loaded, testing=job["kind"] == "test")
        self.say(event="compiling")
        trainer = Trainer(loaded, dataset, self.show_life)
        take_over(trainer, source)
        self.say(event="compiled", seconds=trainer.compile_seconds, cached=trainer.cached)
        return trainer

    def dataset(self, loaded: LoadedConfig, *, testing: bool) -> Dataset:
        """Return the data set; without its test part, unless testing, so that no training can have seen it."""
        if testing not in self.datasets:
            found = load_data(loaded)
            if not testing:
                images, labels = found.test_images[:0].copy(), found.test_labels[:0].copy()  # views would keep it all
                targets = None if found.test_targets is None else found.test_targets[:0].copy()
                found = replace(found, test_images=images, test_labels=labels, test_targets=targets)
            self.datasets = {testing: found}
        return self.datasets[testing]

    def train(self, trainer: Trainer, *, prunable: bool) -> tuple[list[dict[str, Any]], bool]:
        """Train until the parent ends it or the target is reached; return the epochs, and whether the parent did."""
        target, seconds, images = self.settings["target"], 0.0, len(trainer.train_indices)
        curve = []
        for record in trainer.epochs(self.show_life):
            seconds += record.seconds
            metrics = TARGETS[trainer.network.target].metrics
            epoch: dict[str, Any] = {"epoch": record.epoch, "train_loss": record.train_loss}
            epoch |= {f"val_{name}": record.validated(name) for name in metrics}
            epoch |= {"seconds": seconds, "images": images}
            if self.settings["metric"] == "val_loss" and trainer.config.loss.label_smoothing:
                epoch["val_loss"] = trainer.unsmoothed_loss()
            reached = target is not None and record.val_accuracy is not None and record.val_accuracy >= target
            asks = prunable and not reached
            self.say(event="epoch", asks=asks, **epoch)
            curve.append(epoch)
            if asks and not self.orders.get()["go_on"]:
                return curve, True
            if reached:
                break
        return curve, False

    def search(self, job: dict[str, Any]) -> dict[str, Any]:
        """Train one configuration with each seed."""
        curves, pruned = [], False
        for repeat, seed in enumerate(job["seeds"]):
            trainer = self.trainer(job, seed)
            curve, pruned = self.train(trainer, prunable=job["prunable"] and repeat == 0)
            curves.append(curve)
            if pruned:
                break
            if "weights" in job:
                keep_weights(Path(job["weights"]), trainer.best_theta)
        return {"curves": curves, "pruned": pruned}

    def test(self, job: dict[str, Any]) -> dict[str, Any]:
        """Read the test set with the weights that an earlier job has left."""
        trainer = self.trainer(job, job["seeds"][0])
        trainer.best_theta[:] = np.frombuffer(Path(job["weights"]).read_bytes(), np.float32)
        test = trainer.test()
        told = test.told(trainer.dataset.class_names)
        return {f"test_{name}": told[name] for name in TARGETS[trainer.network.target].metrics}


def keep_weights(path: Path, theta: np.ndarray) -> None:
    """Write a network's parameters; not by numpy.save, which does not notice that a small array met a full disk."""
    with durable(path) as temporary:
        temporary.write_bytes(theta.tobytes())


def why(error: Exception) -> str:
    """Say in one line what happened."""
    if isinstance(error, LenumbaError):
        return str(error).replace("\n", "; ")
    return one_line(error) if isinstance(error, OSError) else f"{type(error).__name__}: {one_line(error)}"


def main() -> None:
    """Start a worker."""
    for number in SIGNALS:  # the parent decides
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not get between the answers
    worker = Worker(answers)
    threading.Thread(target=worker.listen, daemon=True).start()
    worker.run()
    os._exit(1)  # the other thread waits for the parent


if __name__ == "__main__":
    main()
