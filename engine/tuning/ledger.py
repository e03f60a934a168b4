"""Which trials a study has and still owes, kept so that nothing is lost or counted twice, whoever dies.

A *slot* is a trial as people count it: 0 is the recipe as written. An *attempt* is Optuna's trial, one try at a slot.
An attempt begins as running, in one write, with its slot and its owner. It ends finished or pruned, or failed with the
reason why its configuration cannot be; these count. An attempt that fails without a reason is *lost*: its process died,
or the machine did not allow it, and its slot is owed again with the same values. What is owed is always worked out from
the storage, never remembered, so no crash can make it wrong.
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lenumba.engine.tuning.space import Space
from lenumba.engine.tuning.storage import need_optuna

BEAT_SECONDS = 4.0  # how often a process that shares its storage says that its attempts are alive
GRACE_SECONDS = 30.0  # how long others wait for that
MAX_LOSSES = 5  # a trial that one machine loses as often, while it finishes others, is given up
RETRIED = "retried"  # of the study: failed attempts with lower numbers are owed again
COUNTED = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


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
        retried = self.study.user_attrs.get(RETRIED, 0)
        for attempt in self.attempts():
            slot, state = attempt.user_attrs.get("slot"), attempt.state.name
            lost = state == "FAIL" and ("reason" not in attempt.user_attrs or attempt.number < retried)
            if slot is not None and slot not in found and state in COUNTED and not lost:
                found[slot] = attempt
        return found

    def counts(self) -> dict[str, int]:
        """Return how many slots are finished, pruned, failed (with a reason) and running."""
        states = [attempt.state.name for attempt in self.slots().values()]
        return {name: states.count(state) for state, name in COUNTED.items()}

    def is_complete(self) -> bool:
        """Whether nothing is owed and nothing runs."""
        found = self.slots()
        return not self._owed(found) and all(attempt.state.name != "RUNNING" for attempt in found.values())

    def _owed(self, found: Mapping[int, Any]) -> list[int]:
        """Return the slots that nobody works on or has worked on."""
        failed = sum(attempt.state.name == "FAIL" for attempt in found.values())
        # Failed trials are replaced, as long as they are not more than what was asked for.
        end = self.total + min(failed, self.total)
        if self.space.limit is not None:
            end = min(end, self.space.limit)
        return [slot for slot in range(end) if slot not in found]

    def retry_failed(self) -> None:
        """Let the failed trials be owed again."""
        self.study.set_user_attr(RETRIED, len(self.attempts()))

    def claim(self) -> Claim | None:
        """Take the next slot that is owed, those that were lost here last; None if there is none now."""
        while owed := self._owed(self.slots()):
            losses = self.losses()
            slot = min(owed, key=lambda slot: (losses[slot], slot))
            attempt = self._begin(slot)
            if self.slots()[slot].number == attempt.number:
                values = {d.key: d.value(attempt.params[d.key]) for d in self.space.dimensions}
                return Claim(slot, attempt, values)
            self._finish(attempt, "FAIL")  # another process was quicker
        return None

    def _begin(self, slot: int) -> Any:
        """Begin an attempt: with the values that its slot has had, or is to have, or else the sampler's."""
        optuna = need_optuna()
        values = self._lost_values(slot) or self.space.sample(slot) or {}
        known = [dimension for dimension in self.space.dimensions if dimension.key in values]
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params={d.key: d.label(values[d.key]) for d in known},
            distributions={d.key: d.distribution() for d in known},
            user_attrs={"slot": slot, "owner": self.owner},
        )
        self.study.sampler = self._sampler(optuna, slot)
        number = self.study._storage.create_new_trial(self.study._study_id, template_trial=template)
        attempt = optuna.trial.Trial(Unlost(self.study), number)
        for dimension in self.space.dimensions:  # as Study.ask does, which cannot begin an attempt with its slot
            attempt._suggest(dimension.key, dimension.distribution())
        return attempt

    def _lost_values(self, slot: int) -> dict[str, Any] | None:
        for attempt in self.attempts():
            if attempt.user_attrs.get("slot") == slot and len(attempt.params) == len(self.space.dimensions):
                return {d.key: d.value(attempt.params[d.key]) for d in self.space.dimensions}
        return None

    def _sampler(self, optuna: Any, slot: int) -> Any:
        """Return the sampler, seeded for one slot: a resumed study must not draw the first values again."""
        seed = (self.space.seed * 1_000_003 + slot + 1) % 2**32
        if self.space.tune.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, constant_liar=self.jobs > 1)
        if self.space.tune.sampler == "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        return optuna.samplers.RandomSampler(seed=seed)  # never asked: every value is given

    # ----------------------------------------------------------------------------------------------- results

    def finish(self, claim: Claim, value: float, result: Mapping[str, Any]) -> bool:
        """Record a finished trial; False where it was taken away from this process meanwhile."""
        return self._record(claim, {"result": result}) and self._finish(claim.attempt, "COMPLETE", value)

    def prune(self, claim: Claim, result: Mapping[str, Any], reason: str) -> bool:
        """Record a trial that ended early."""
        # Within the result: beside it, it would make a failed trial of one whose process dies between the two writes.
        return self._record(claim, {"result": {**result, "reason": reason}}) and self._finish(claim.attempt, "PRUNED")

    def fail(self, claim: Claim, reason: str) -> bool:
        """Record a trial that cannot be."""
        return self._record(claim, {"reason": reason}) and self._finish(claim.attempt, "FAIL")

    def losses(self) -> Counter[int]:
        """Return how many attempts at each slot this machine did not allow, whichever of its processes tried."""
        return Counter(
            attempt.user_attrs["slot"]
            for attempt in self.attempts()
            if "lost" in attempt.user_attrs
            and str(attempt.user_attrs.get("owner")).rpartition(":")[0] == socket.gethostname()
        )

    def lose(self, claim: Claim, why: str) -> None:
        """Give a slot back that the machine did not allow, or whose worker died: it is owed again."""
        self._record(claim, {"lost": why})
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
        if time.monotonic() < self.next_beat:
            return
        self.next_beat, self.beat = time.monotonic() + BEAT_SECONDS, self.beat + 1
        for claim in claims if self.shared else ():
            self._record(claim, {"beat": self.beat})
        self.recover({claim.attempt.number for claim in claims})

    def recover(self, mine: set[int] | None = None) -> int:
        """Give back the slots of dead processes; return how many.

        A journal belongs to the holder of the folder's lock: whatever runs there without us is dead. In a database,
        an attempt is dead if its process is known to be, or if its beat has not changed for GRACE_SECONDS on our
        own clock, so clocks that differ do no harm.
        """
        return sum(self._finish(number, "FAIL") for number in self.dead() - (mine or set()))

    def dead(self) -> set[int]:
        """Return the numbers of the running attempts whose process does not live."""
        return {a.number for a in self.attempts() if a.state.name == "RUNNING" and self._is_dead(a)}

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


class Unlost:
    """An Optuna study as samplers and pruners shall see it: without lost attempts, whose slots are tried again."""

    def __init__(self, study: Any) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[Any]:
        """Return the attempts but for the lost ones."""
        found = self._study.get_trials(deepcopy=deepcopy, states=states)
        return [a for a in found if a.state.name != "FAIL" or "reason" in a.user_attrs]

    def _get_trials(self, deepcopy: bool = True, states: Any = None, use_cache: bool = False) -> list[Any]:
        return self.get_trials(deepcopy, states)


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
