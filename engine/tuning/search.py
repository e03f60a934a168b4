"""The search of one process: claims trials, has them trained and records what comes of them."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import DataError
from lenumba.engine.runs.folders import lasting_all
from lenumba.engine.tuning import report
from lenumba.engine.tuning.hosts import Hosts
from lenumba.engine.tuning.ledger import MAX_LOSSES, Claim, Ledger
from lenumba.engine.tuning.pool import Pool
from lenumba.engine.tuning.results import metric_value, progress_value, result_of
from lenumba.engine.tuning.space import Space

IDLE_SECONDS = 1.0  # between two looks at what other processes do


@dataclass
class Hooks:
    """How a caller follows a study; all are called from the main thread.

    Attributes
    ----------
    start
        ``start(study folder, ledger, threads per worker)`` before the first trial.
    trial
        ``trial(row)`` after each trial, see :func:`lenumba.engine.tuning.results.rows`.
    progress
        ``progress(counts, figures)`` a few times a second: counts by state, and what :meth:`Search.figures` returns
        with ``compiling``, the workers that do so now.
    stage
        ``stage(text, done, total)`` while the best are compared at the end.
    """

    start: Callable[[Path, Ledger, int], None] | None = None
    trial: Callable[[dict[str, Any]], None] | None = None
    progress: Callable[[dict[str, int], dict[str, Any]], None] | None = None
    stage: Callable[[str, int, int], None] | None = None


class Search:
    """The search of one process: claims trials, has them trained and records what comes of them."""

    def __init__(
        self, folder: Path, space: Space, ledger: Ledger, jobs: int, hooks: Hooks, hosts: Hosts | None, cores: int
    ) -> None:
        self.folder, self.space, self.ledger, self.hooks = folder, space, ledger, hooks
        self.stopped, self.images, self.begin = False, 0, time.monotonic()
        threads = space.loaded.config.train.threads or cores
        self.threads = threads if hosts else max(1, threads // jobs)  # each rank has threads of its own
        base = json.loads(json.dumps(space.base))
        base["train"]["threads"] = self.threads
        if base["data"]["root"] is not None:
            base["data"]["root"] = lasting_all(base["data"]["root"])
        target = space.tune.target if space.tune.metric == "seconds_to_accuracy" else None
        settings = {"base": base, "name": space.loaded.name, "metric": space.tune.metric, "target": target}
        self.pool = Pool(jobs, settings, hosts)
        self.compiled, self.compile_seconds, self.ran, self.search_s = 0, 0.0, 0, 0.0
        self.losses = 0  # trainings in a row that the machine did not allow

    def stop(self) -> None:
        """End as soon as possible; what the workers have begun is given back."""
        self.stopped = True

    def figures(self) -> dict[str, Any]:
        """Return what this process has done."""
        wall = time.monotonic() - self.begin
        return {
            "wall_s": wall,
            "search_s": self.search_s,
            "trials_here": self.ran,
            "trials_per_minute": 60 * self.ran / max(self.search_s, 1e-9),
            "images_per_second": self.images / max(wall, 1e-9),
            "compiled": self.compiled,
            "compile_s": self.compile_seconds,
        }

    def run(self) -> None:
        """Search until the study has all its trials."""
        ledger, pool, tune = self.ledger, self.pool, self.space.tune
        ledger.recover()
        if self.hooks.start:
            self.hooks.start(self.folder, ledger, self.threads)
        seeds = [(self.space.seed + repeat) % 2**63 for repeat in range(tune.seeds)]
        try:
            while not self.stopped and not ledger.is_complete():
                for worker in pool.idle():
                    if self.stopped or (claim := ledger.claim()) is None:
                        break
                    prunable = tune.pruner != "none" and claim.slot > 0  # the recipe as written is the yardstick
                    job = {"kind": "search", "slot": claim.slot, "values": claim.values, "seeds": seeds}
                    pool.give(worker, claim, {**job, "prunable": prunable})
                if not pool.tasks:  # other processes have the rest
                    time.sleep(IDLE_SECONDS)
                for worker, answer in pool.answers():
                    self.take(worker, answer)
                ledger.heartbeat(pool.tasks)
                if self.hooks.progress:
                    self.hooks.progress(ledger.counts(), {**self.figures(), "compiling": pool.compiling})
        finally:
            for claim in pool.tasks:
                ledger.release(claim)
            self.dismiss_busy()
            self.search_s = time.monotonic() - self.begin

    def dismiss_busy(self) -> None:
        """End the workers that have a task, which nobody waits for any more."""
        for worker in list(self.pool.workers):
            if worker.task is not None:
                self.pool.dismiss(worker)

    def take(self, worker: Any, answer: dict[str, Any]) -> None:
        """Act on what a worker says about a trial."""
        event, claim = answer["event"], answer["task"]
        if claim is None:
            return
        self.count(answer)
        if event == "epoch":
            if answer["asks"]:
                worker.say({"go_on": self.goes_on(claim, answer)})
            return
        if event == "compiling":
            return
        if event == "compiled":
            if not claim.facts:  # further seeds have the same network
                claim.facts = {"compile_s": answer["seconds"], "cached": answer["cached"]}
            return
        if event == "died":
            self.lose(claim, answer["why"])
            return
        self.losses = 0
        if event == "failed":
            told = self.ledger.fail(claim, answer["reason"])
        elif event == "diverged":
            told = self.ledger.prune(claim, claim.facts, answer["reason"])
        else:
            told = self.settle(claim, answer)
        if told:
            self.ran += 1
            self.tell(claim)

    def tell(self, claim: Claim) -> None:
        """Tell the caller of a trial that has ended."""
        if self.hooks.trial:
            self.hooks.trial(next(row for row in report.rows(self.ledger) if row["trial"] == claim.slot))

    def lose(self, claim: Claim, why: str) -> None:
        """Give a trial back that the machine did not allow.

        The machine is at fault where it allows none any more; the study stops then, and owes what it owed. Where it
        allows others, the trial is given up after a while. The recipe as written never is: it is the yardstick.
        """
        tries = self.ledger.losses()[claim.slot] + 1
        broken = self.too_many_losses()
        if claim.slot > 0 and tries >= MAX_LOSSES and (broken or self.ran):
            self.ledger.fail(claim, f"given up after {tries} tries: {why}; --retry-failed tries again")
            self.tell(claim)
            return
        self.ledger.lose(claim, why)
        if broken:
            raise self.broken(f"trial {claim.slot}", why)

    def broken(self, what: str, why: str) -> DataError:
        """Return the error that this machine allows no training, for the caller to raise."""
        where = f"study {self.folder.name}, {what}"
        return DataError(f"{where}: {why}; {self.losses} trainings failed in a row; mend that and go on with --resume")

    def too_many_losses(self) -> bool:
        """Count a training that the machine did not allow; whether there were too many in a row."""
        self.losses += 1
        return self.losses >= MAX_LOSSES * self.pool.jobs

    def count(self, answer: dict[str, Any]) -> None:
        """Add up images and compilations."""
        if answer["event"] == "epoch":
            self.images += answer["images"]
        elif answer["event"] == "compiled" and not answer["cached"]:
            self.compiled += 1
            self.compile_seconds += answer["seconds"]

    def goes_on(self, claim: Claim, answer: dict[str, Any]) -> bool:
        """Report an epoch and ask the pruner."""
        try:
            claim.attempt.report(progress_value(self.space.tune, answer), answer["epoch"])
            return not claim.attempt.should_prune()
        except (RuntimeError, ValueError):  # the attempt was taken away
            return False

    def settle(self, claim: Claim, answer: dict[str, Any]) -> bool:
        """Record a trial that has been trained."""
        result = {**result_of(self.space.tune, answer["curves"]), **claim.facts}
        if answer["pruned"]:
            return self.ledger.prune(claim, result, f"pruned after epoch {len(answer['curves'][0])}")
        values = [metric_value(self.space.tune, curve) for curve in answer["curves"]]
        if None in values:
            return self.ledger.prune(claim, result, f"did not reach {self.space.tune.target:g}")
        numbers = [value for value in values if value is not None]
        return self.ledger.finish(claim, sum(numbers) / len(numbers), result)

    def each(self, tasks: list[dict[str, Any]], text: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Have independent jobs done by the workers; yield each with its answer, as they end."""
        waiting, done = list(tasks), 0
        while (waiting or self.pool.tasks) and not self.stopped:
            for worker in self.pool.idle():
                if waiting:
                    self.pool.give(worker, task := waiting.pop(0), task)
            for _, answer in self.pool.answers():
                task = answer["task"]
                self.count(answer)
                if answer["event"] == "died" and task is not None:
                    if self.too_many_losses():
                        raise self.broken(f"{text}, trial {task['slot']}", answer["why"])
                    waiting.append(task)
                elif task is not None and answer["event"] in ("done", "failed", "diverged"):
                    done, self.losses = done + 1, 0
                    yield task, answer
            if self.hooks.stage:
                self.hooks.stage(text, done, len(tasks))
