"""Which trials a study has and still owes, kept so that nothing is lost or counted twice, whoever dies.

A *slot* is a trial as people count it: 0 is the recipe as written. An *attempt* is Optuna's trial, one try at a slot.
An attempt whose process died ends as failed without a reason, and its slot is owed again with the same values.
What is owed is always worked out from the storage, never remembered, so no crash can make it wrong.
"""

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lenumba.engine.tuning.space import Space
from lenumba.engine.tuning.storage import need_optuna

BEAT_SECONDS = 4.0  # how often a process that shares its storage says that its attempts are alive
GRACE_SECONDS = 30.0  # how long others wait for that
MAX_DEATHS = 5  # a trial that kills its worker as often is given up

DONE = ("COMPLETE", "PRUNED")


@dataclass
class Claim:
    """An attempt that this process is to make: `attempt` is Optuna's trial, `values` the slot's by dotted key."""

    slot: int
    attempt: Any
    values: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """A study in its storage.

    Parameters
    ----------
    optuna_study
        The study.
    space
        What it tries.
    total
        How many finished and pruned trials it shall have.
    shared
        Whether other processes may work on it too.
    jobs
        Trials that run at once, which TPE takes into account.
    """

    def __init__(self, optuna_study: Any, space: Space, total: int, *, shared: bool, jobs: int) -> None:
        self.study, self.space, self.shared, self.jobs = optuna_study, space, shared, jobs
        self.total = total if space.limit is None else min(total, space.limit)
        self.owner = f"{socket.gethostname()}:{os.getpid()}"
        self.seen: dict[int, tuple[object, float]] = {}
        self.beat, self.next_beat = 0, 0.0

    def attempts(self) -> list[Any]:
        """Return every attempt, oldest first."""
        return sorted(self.study.get_trials(deepcopy=False), key=lambda attempt: attempt.number)

    def slots(self) -> dict[int, Any]:
        """Return the attempt that counts for each slot: the oldest that is alive or has a result."""
        found: dict[int, Any] = {}
        for attempt in self.attempts():
            slot = attempt.user_attrs.get("slot")
            if slot is not None and not is_lost(attempt) and slot not in found:
                found[slot] = attempt
        return found

    def counts(self) -> dict[str, int]:
        """Return how many slots are finished, pruned, failed (with a reason) and running."""
        states = [attempt.state.name for attempt in self.slots().values()]
        names = {"finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING"}
        return {name: states.count(state) for name, state in names.items()}

    def is_complete(self) -> bool:
        """Whether as many trials are finished or pruned as the study shall have, or no more can be."""
        counts = self.counts()
        enough = counts["finished"] + counts["pruned"] >= self.total
        return enough or (self.next_slot() is None and counts["running"] == 0)

    def next_slot(self) -> int | None:
        """Return the first slot that nobody works on or has worked on, None if no more are needed."""
        found = self.slots()
        failed = sum(attempt.state.name == "FAIL" for attempt in found.values())
        # Failed trials are replaced, as long as they are not more than what was asked for.
        end = self.total + min(failed, self.total)
        if self.space.limit is not None:
            end = min(end, self.space.limit)
        return next((slot for slot in range(end) if slot not in found), None)

    def claim(self) -> Claim | None:
        """Take the next slot that is owed; None if there is none now."""
        optuna = need_optuna()
        while (slot := self.next_slot()) is not None or self._waiting():
            if slot is not None:
                values = self._lost_values(slot) or self.space.sample(slot)
                labels = {d.key: d.label(values[d.key]) for d in self.space.dimensions} if values else {}
                self.study.enqueue_trial(labels, user_attrs={"slot": slot})
            self.study.sampler = self._sampler(optuna, len(self.attempts()))
            attempt = self.study.ask({d.key: d.distribution() for d in self.space.dimensions})
            slot = attempt.user_attrs.get("slot")
            if slot is None or self._holder(slot) != attempt.number:
                self._surplus(attempt)  # another process was quicker
                continue
            attempt.set_user_attr("owner", self.owner)
            return Claim(slot, attempt, {d.key: d.value(attempt.params[d.key]) for d in self.space.dimensions})
        return None

    def _waiting(self) -> bool:
        return any(attempt.state.name == "WAITING" for attempt in self.attempts())

    def _holder(self, slot: int) -> int | None:
        attempt = self.slots().get(slot)
        return None if attempt is None else attempt.number

    def _surplus(self, attempt: Any) -> None:
        attempt.set_user_attr("lost", "another process was quicker")
        self._finish(attempt, "FAIL")

    def _lost_values(self, slot: int) -> dict[str, Any] | None:
        for attempt in self.attempts():
            if attempt.user_attrs.get("slot") == slot and len(attempt.params) == len(self.space.dimensions):
                return {d.key: d.value(attempt.params[d.key]) for d in self.space.dimensions}
        return None

    def _sampler(self, optuna: Any, number: int) -> Any:
        """Return the sampler, seeded for one attempt: a resumed study must not draw the first values again."""
        seed = (self.space.seed * 1_000_003 + number) % 2**32
        if self.space.tune.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, constant_liar=self.jobs > 1)
        if self.space.tune.sampler == "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        return optuna.samplers.RandomSampler(seed=seed)  # never asked: every value is given

    # ----------------------------------------------------------------------------------------------- results

    def finish(self, claim: Claim, value: float, result: Mapping[str, Any]) -> bool:
        """Record a finished trial; False where it was taken away from this process meanwhile."""
        return self._record(claim, result) and self._finish(claim.attempt, "COMPLETE", value)

    def prune(self, claim: Claim, result: Mapping[str, Any], reason: str) -> bool:
        """Record a trial that ended early."""
        return self._record(claim, {**result, "reason": reason}) and self._finish(claim.attempt, "PRUNED")

    def fail(self, claim: Claim, reason: str) -> bool:
        """Record a trial that cannot be."""
        return self._record(claim, {"reason": reason}) and self._finish(claim.attempt, "FAIL")

    def lose(self, claim: Claim, why: str) -> None:
        """Give a slot back whose worker died; its values are tried again, up to MAX_DEATHS times."""
        mine = [a for a in self.attempts() if a.user_attrs.get("slot") == claim.slot and "died" in a.user_attrs]
        mine = [a for a in mine if a.user_attrs.get("owner") == self.owner]  # others' deaths may have other reasons
        if len(mine) + 1 >= MAX_DEATHS:
            self.fail(claim, f"its worker died {MAX_DEATHS} times ({why})")
        else:
            self._record(claim, {"died": why})
            self._finish(claim.attempt, "FAIL")

    def release(self, claim: Claim) -> None:
        """Give a slot back that this process will not finish."""
        self._finish(claim.attempt, "FAIL")

    def _record(self, claim: Claim, attributes: Mapping[str, Any]) -> bool:
        try:
            for name, value in attributes.items():
                claim.attempt.set_user_attr(name, value)
        except (RuntimeError, KeyError):
            return False
        return True

    def _finish(self, attempt: Any, state: str, value: float | None = None) -> bool:
        optuna = need_optuna()
        try:
            self.study.tell(getattr(attempt, "number", attempt), value, optuna.trial.TrialState[state])
        except (RuntimeError, ValueError):  # finished by a process that took this one for dead
            return False
        return True

    # ------------------------------------------------------------------------------------------ dead processes

    def heartbeat(self, claims: list[Claim]) -> None:
        """Say that this process's attempts are alive, and give back those of processes that say so no more."""
        if not self.shared or time.monotonic() < self.next_beat:
            return
        self.next_beat, self.beat = time.monotonic() + BEAT_SECONDS, self.beat + 1
        for claim in claims:
            self._record(claim, {"beat": self.beat})
        self.recover({claim.attempt.number for claim in claims})

    def recover(self, mine: set[int] | None = None) -> int:
        """Give back the slots of dead processes; return how many.

        A journal belongs to the holder of the folder's lock: whatever runs there without us is dead. In a database,
        an attempt is dead if its process is known to be, or if its beat has not changed for GRACE_SECONDS on our
        own clock, so clocks that differ do no harm.
        """
        lost = 0
        for attempt in self.attempts():
            if attempt.state.name == "RUNNING" and attempt.number not in (mine or set()) and self._is_dead(attempt):
                lost += self._finish(attempt, "FAIL")
        return lost

    def _is_dead(self, attempt: Any) -> bool:
        if not self.shared:
            return True
        host, _, process = str(attempt.user_attrs.get("owner", "")).rpartition(":")
        if host == socket.gethostname() and not is_alive(int(process)):
            return True
        beat, now = attempt.user_attrs.get("beat"), time.monotonic()
        before, since = self.seen.get(attempt.number, (object(), now))
        if beat != before:
            self.seen[attempt.number] = (beat, now)
            return False
        return now - since > GRACE_SECONDS


def is_lost(attempt: Any) -> bool:
    """Whether an attempt ended without saying anything about its slot."""
    return attempt.state.name == "FAIL" and "reason" not in attempt.user_attrs


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def fingerprint(space: Space) -> str:
    """Return what makes a study this one and no other, as JSON text: all but paths, threads and totals."""
    base = json.loads(json.dumps(space.base))
    base["data"].pop("root")
    base["train"].pop("threads")
    tune = space.tune.model_dump(mode="json", exclude={"trials", "finalists", "final_seeds"})
    return json.dumps({**base, "tune": tune}, sort_keys=True)
