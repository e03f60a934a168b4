"""Two versions of a function, timed in turns: the interval of their ratio, and whether it says slower."""

import contextlib
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import read_json
from lenumba.engine.common.statistics import median_interval
from lenumba.engine.common.text import duration
from lenumba.engine.profile.revisions import extract, root_of
from lenumba.engine.profile.subject import Subject, file_of, names_function
from lenumba.engine.profile.worker import Version, Worker

TOLERANCE = 0.05
LEAST_PAIRS, MOST_PAIRS = 12, 200
LONGEST_TURN, SHORTEST_TURN = 0.1, 0.01  # seconds, but for a function that takes longer
ATTEMPTS = 4  # most times that both are measured by new processes
EXTENSION = 3  # times the seconds asked for, where the interval is still too wide
LEVEL = 0.99  # of the interval
TIMES = ("", "once", "twice", "three times", "four times")
Progress = Callable[[str, int, int], None]


def take_turns(old: Worker, new: Worker, seconds: float, tolerance: float, progress: Progress) -> dict[str, Any]:
    """Time both in turns until the interval of the ratio new / old decides, or the time is over."""
    first = [side.turn(SHORTEST_TURN) for side in (old, new)]
    turn = min(LONGEST_TURN, max(SHORTEST_TURN, seconds / (2 * MOST_PAIRS)))
    spent = 0.0
    pairs: list[tuple[float, float]] = []
    low, high = 0.0, math.inf
    while len(pairs) < LEAST_PAIRS or (len(pairs) < MOST_PAIRS and spent < EXTENSION * seconds):
        progress("taking turns", min(len(pairs), MOST_PAIRS), MOST_PAIRS)
        sides = (old, new) if len(pairs) % 2 == 0 else (new, old)
        took = {side: side.turn(turn) for side in sides}
        spent += sum(max(turn, 5 * value) for value in took.values())
        pairs.append((took[old], took[new]))
        if len(pairs) < LEAST_PAIRS:
            continue
        low, high = median_interval([b / a for a, b in pairs], LEVEL)
        decided = low > 1 + tolerance or high < 1 + tolerance
        if (spent >= seconds and decided) or high - low < tolerance / 5:
            break
    return {
        "ratio": median(b / a for a, b in pairs),
        "low": low,
        "high": high,
        "pairs": len(pairs),
        "old_s": median(a for a, _ in pairs),
        "new_s": median(b for _, b in pairs),
        "first_s": first,
    }


def compared_versions(
    old: Version, new: Version, seconds: float, tolerance: float, progress: Progress
) -> dict[str, Any]:
    """Compare two versions; what looks slower, and what others disturb too much, is measured again by new processes.

    It counts as slower where two of them say so, and as no slower as soon as one does.
    """
    slower = 0
    for attempt in range(1, ATTEMPTS + 1):
        with Worker(old) as before, Worker(new) as after:
            found = take_turns(before, after, seconds, tolerance, progress)
        slower += found["low"] > 1 + tolerance
        found |= {"tolerance": tolerance, "slower": slower == 2, "attempts": attempt, "interleaved": True}
        if slower == 2 or found["high"] <= 1 + tolerance:
            break
    return found


def compare_function(
    subject: Subject, profiled: Callable[[], Mapping[str, Any]] | None, with_what: str, seconds: float,
    tolerance: float, progress: Progress | None = None, threads: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Compare a function with another, with its version of a Git revision, or with an earlier profile's file.

    `profiled` profiles this one; that is only needed beside an earlier profile whose code cannot be had again.

    Raises
    ------
    ConfigError, DataError
        Where there is nothing of that name, or nothing to compare with in it.
    """
    tell = progress or (lambda *_: None)
    file = file_of(subject.function)
    new = Version(subject.name, given(subject), subject.setup, threads=threads)
    if names_function(with_what):
        return compared_versions(replace(new, target=with_what), new, seconds, tolerance, tell)
    earlier = read_profile(with_what, subject) if with_what.endswith(".json") or Path(with_what).is_file() else None
    revision = (earlier.get("commit") or "") if earlier else with_what
    with contextlib.ExitStack() as stack:
        if revision:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lenumba-revision-")))
            try:
                path = extract(revision, file, folder)
            except ConfigError:
                if earlier is None:
                    raise
            else:
                target = subject.name
                if ".py:" in target:
                    root = root_of(file) or file.parent
                    target = f"{folder / file.resolve().relative_to(root)}:{target.rpartition(':')[2]}"
                where = path[0] if path else str(folder)
                old = replace(new, target=target, folder=where, path=path)
                return compared_versions(old, new, seconds, tolerance, tell)
    if earlier is None or profiled is None:
        raise DataError(f"--compare {with_what}: expected a profile that can be compared, found none")
    return compared_figures(earlier, profiled(), tolerance)


def given(subject: Subject) -> str | None:
    """Return the text of a subject's arguments; None where a function of its module makes them."""
    return None if subject.arguments.endswith("_arguments()") else subject.arguments


def read_profile(name: str, subject: Subject) -> dict[str, Any]:
    """Read an earlier profile of the same function and arguments."""
    path = Path(name)
    earlier = read_json(path)
    numbers = earlier.get("calls_ms")
    if earlier.get("kind") != "function" or not isinstance(numbers, list) or not numbers:
        found = "something else" if path.is_file() else "no file"
        raise DataError(f"{name}: expected a function's profile that 'lenumba profile --json' wrote, found {found}")
    if not all(isinstance(value, int | float) and 0 < value < math.inf for value in numbers):
        raise DataError(f"{name}: calls_ms: expected times above 0; write it again with 'lenumba profile --json'")
    if earlier.get("arguments") != subject.arguments or earlier.get("setup", "") != subject.setup:
        raise ConfigError(
            f"--compare {name}: expected a profile with --args {subject.arguments!r}, found "
            f"{earlier.get('arguments')!r}; measure anew"
        )
    return earlier


def compared_figures(old: Mapping[str, Any], new: Mapping[str, Any], tolerance: float) -> dict[str, Any]:
    """Compare two measurements that were made at different times; the machine may have been another in between.

    The interval is between the ratios of medians and of the quickest calls, widened by what resampling moves them.
    """
    rng = np.random.default_rng(0)
    sides = [np.asarray(side["calls_ms"], float) for side in (old, new)]
    ratios = [
        statistic(rng.choice(sides[1], len(sides[1]))) / statistic(rng.choice(sides[0], len(sides[0])))
        for _ in range(500)
        for statistic in (np.median, np.min)
    ]
    low, high = (float(np.quantile(ratios, q)) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    middles = [float(np.median(side)) / 1e3 for side in sides]
    return {
        "ratio": middles[1] / middles[0], "low": low, "high": high, "pairs": 0,
        "old_s": middles[0], "new_s": middles[1],
        "tolerance": tolerance, "slower": low > 1 + tolerance, "attempts": 1, "interleaved": False,
    }  # fmt: skip


def gate_text(found: Mapping[str, Any], name: str) -> str:
    """Return a comparison in words."""
    tolerance = found["tolerance"]
    if found["slower"]:
        verdict = "slower"
    elif found["high"] < 1 - tolerance:
        verdict = "faster"
    elif found["high"] > 1 + tolerance:
        verdict = "too disturbed to judge: the interval is wider than the tolerance"
    else:
        verdict = "no slower"
    how = f"{found['pairs']} pairs of turns" if found["interleaved"] else "measured at different times, not in turns"
    again = f", measured {TIMES[found['attempts']]}" if found["attempts"] > 1 else ""
    return (
        f"against {name}: {duration(found['old_s'])} → {duration(found['new_s'])}, ratio {found['ratio']:.3f} "
        f"({100 * LEVEL:.0f} % interval {found['low']:.3f} to {found['high']:.3f}; {how}{again}); tolerance "
        f"{100 * tolerance:g} %: {verdict}"
    )


def gate_markdown(found: Mapping[str, Any], subject: str, name: str) -> str:
    """Return a comparison as a table for a summary on GitHub."""
    mark = "❌ slower" if found["slower"] else "✅"
    return (
        "| function | against | before | now | ratio | interval | |\n|---|---|---:|---:|---:|---|---|\n"
        f"| `{subject}` | `{name}` | {duration(found['old_s'])} | {duration(found['new_s'])} | {found['ratio']:.3f} | "
        f"{found['low']:.3f} to {found['high']:.3f} | {mark} |\n"
    )
