"""The finals: the best trials and the recipe as written, trained again with fresh seeds and compared pair by pair.

The best of many noisy results is too good to be true, so the search's own figures decide only who gets here. The test
set is read after the decision, for the winner and for trial 0.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.files import lock
from lenumba.engine.common.statistics import holm, paired_p_value
from lenumba.engine.tuning.report import ranking, rows
from lenumba.engine.tuning.results import Final, metric_value, result_of

if TYPE_CHECKING:
    from lenumba.engine.tuning.search import Search

INTERRUPTED = "the study was interrupted"


def run(search: "Search") -> Final | str:
    """Run the finals; return why there is no verdict, where there is none."""
    with weights_folder(search.folder) as folder:
        try:
            return _run(search, folder)
        finally:
            search.dismiss_busy()  # before the folder goes into which they write


@contextlib.contextmanager
def weights_folder(study: Path) -> Iterator[Path]:
    """Make a folder for weights, locked while this process lives, and remove those of processes that do not."""
    for leftover in study.glob(".weights-*"):
        with contextlib.suppress(OSError), locking(leftover) as ours:
            if ours:
                shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(dir=study, prefix=".weights-") as name, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # without locks, what is left of killed processes stays
            stack.enter_context(locking(Path(name)))
        yield Path(name)


@contextlib.contextmanager
def locking(folder: Path) -> Iterator[bool]:
    """Hold a lock that dies with this process; yield whether it is ours."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield lock(handle)
    finally:
        os.close(handle)


def _run(search: "Search", folder: Path) -> Final | str:
    tune, study = search.space.tune, search.ledger.study
    found = rows(search.ledger)
    order = ranking(search.space, found)
    recipe = next(row for row in found if row["trial"] == 0)
    if recipe["state"] == "failed":
        return f"trial 0, the recipe as written, failed, and there is nothing to compare with ({recipe['reason']})"
    finalists = [row for row in order if row["trial"] != 0][: tune.finalists]
    finalists += [row for row in order if row["trial"] == 0]
    if not finalists:
        return "no trial has finished"
    first = search.space.seed + tune.seeds
    seeds = [(first + k) % 2**63 for k in range(tune.final_seeds)]

    def task(row: dict[str, Any], seed: int, kind: str = "search") -> dict[str, Any]:
        slot = row["trial"]
        return {
            "kind": kind,
            "slot": slot,
            "values": row["params"],
            "seeds": [seed],
            "prunable": False,
            "weights": str((folder / f"{slot}-{seed}.float32").absolute()),
        }

    known = {**study.user_attrs}
    tasks = [task(row, seed) for row in finalists for seed in seeds if f"final:{row['trial']}:{seed}" not in known]
    for done, answer in search.each(tasks, "finals"):
        if answer["event"] == "done":
            result = result_of(tune, answer["curves"])
            entry = {"value": metric_value(tune, answer["curves"][0]), "accuracy": result["accuracies"][0]}
        else:
            entry = {"value": None, "reason": answer["reason"]}
        known[name := f"final:{done['slot']}:{done['seeds'][0]}"] = entry
        study.set_user_attr(name, entry)
    if search.stopped:
        return INTERRUPTED

    entries = {row["trial"]: [known[f"final:{row['trial']}:{seed}"] for seed in seeds] for row in finalists}
    excluded = {
        slot: next(e.get("reason", "did not reach the target") for e in found if e["value"] is None)
        for slot, found in entries.items()
        if any(e["value"] is None for e in found)
    }
    if recipe["state"] != "finished":
        excluded[0] = recipe["reason"]
    values = {slot: [e["value"] for e in found] for slot, found in entries.items() if slot not in excluded}
    accuracies = {slot: [e["accuracy"] for e in entries[slot]] for slot in values}
    if not values:
        return "no finalist did it again: " + "; ".join(f"trial {slot} {why}" for slot, why in excluded.items())
    sign = 1 if tune.maximize else -1
    winner = max(values, key=lambda slot: sign * fmean(values[slot]))
    others = [slot for slot in values if slot != winner]
    corrected = holm([paired_p_value(values[winner], values[slot]) for slot in others])
    test = read_test_set(search, [row for row in finalists if row["trial"] in {winner, 0} & set(values)], seeds, task)
    if search.stopped:
        return INTERRUPTED
    p_value = paired_p_value(test[winner], test[0]) if winner != 0 and 0 in test else None
    tested = {int(name.split(":")[1]) for name in study.user_attrs if name.startswith("test:")}
    return Final(
        seeds=seeds,
        values=values,
        accuracies=accuracies,
        excluded=excluded,
        winner=winner,
        p_values=dict(zip(others, corrected, strict=True)),
        test=test,
        test_p_value=p_value,
        tested_before=sorted(tested - set(test)),
    )


def read_test_set(
    search: "Search", chosen: list[dict[str, Any]], seeds: list[int], task: Any
) -> dict[int, list[float]]:
    """Read the test set once for each chosen trial and seed, with the finals' weights."""
    study = search.ledger.study
    known = {**study.user_attrs}
    missing = [(row, seed) for row in chosen for seed in seeds if f"test:{row['trial']}:{seed}" not in known]
    weightless = [task(row, seed) for row, seed in missing if not Path(task(row, seed)["weights"]).exists()]
    for _ in search.each(weightless, "finals"):  # weights of an earlier or another process: train them again
        pass
    for done, answer in search.each([task(row, seed, "test") for row, seed in missing], "test set"):
        if answer["event"] == "done":
            value = answer[f"test_{search.space.tested}"]
            known[name := f"test:{done['slot']}:{done['seeds'][0]}"] = value
            study.set_user_attr(name, value)
        else:
            raise DataError(f"trial {done['slot']}: cannot be tested: {answer['reason']}")
    if search.stopped:
        return {}
    return {row["trial"]: [known[f"test:{row['trial']}:{seed}"] for seed in seeds] for row in chosen}
