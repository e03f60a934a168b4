"""What ``lenumba profile`` does: choose what to measure, write the files, and return the text to print."""

import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import ConfigError, DataError, LenumbaError
from lenumba.engine.common.files import append, write_json, write_text
from lenumba.engine.profile import report as profile_report
from lenumba.engine.profile import scaling
from lenumba.engine.profile.record import Profile
from lenumba.engine.profile.subject import find_subject, names_function
from lenumba.engine.ranks.team import Alone

RANK_SECONDS = 3.0  # to measure ranks


def run_profile(
    name: str | None,
    changes: Sequence[str] = (),
    *,
    threads: Sequence[int] | None = None,
    arguments: str | None = None,
    setup: str | None = None,
    tolerance: float | None = None,
    sizes: str | None = None,
    trying: bool = False,
    seconds: float | None = None,
    as_json: bool = False,
    html: Path | None = None,
    trace: Path | None = None,
    compare: str | None = None,
    compilation: bool = False,
    asm: str | None = None,
    llvm: str | None = None,
    machine: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[str, LenumbaError | None]:
    """Profile the machine, a function or a network's training.

    Parameters
    ----------
    progress
        Called as ``progress(step, done, total)`` while it compiles and measures; the other options are the command's.

    Returns
    -------
    text, fault
        What to print, and the error to end with: something became slower than in the profile `compare`, or a file could
        not be written.
    """
    if machine:
        from lenumba.engine.profile.machine import machine_facts

        facts = machine_facts(threads[0] if threads else None, progress=progress)
        return as_text(facts) if as_json else profile_report.machine_table(facts), None
    for path in (html, trace):
        check_place(path)
    if name is not None and names_function(name):
        if odd := [change for change in changes if not names_function(change)]:
            raise ConfigError(f"{odd[0]}: expected no overrides beside {name}; give its arguments by --args")
        if changes:
            given = {"--threads": threads, "--html": html, "--trace": trace, "--compare": compare, "--asm": asm,
                     "--llvm": llvm, "--compile": compilation, "--tolerance": tolerance, "--sizes": sizes,
                     "--try": trying}  # fmt: skip
            refuse(given, "with one function")
            return side_by_side([name, *changes], arguments, setup, seconds, as_json, progress)
        if sizes:
            rows = scaling.measure_sizes(name, arguments, setup, sizes)
            return as_text({"name": name, "sizes": rows}) if as_json else scaling.sizes_text(rows), None
        subject = find_subject(name, arguments, setup)
        return profile_own(
            subject, threads, seconds, as_json, (html, trace), compare, tolerance, (asm, llvm), compilation, trying,
            progress,
        )  # fmt: skip
    own = {"--args": arguments, "--setup": setup, "--tolerance": tolerance, "--sizes": sizes, "--try": trying}
    refuse(own, "with FILE.py:FUNCTION")
    if threads and len(threads) > 1 and not machine:
        raise ConfigError(f"--threads: expected one number for a network, found {len(threads)}")
    from lenumba.engine.config.config import load_config
    from lenumba.engine.profile.compare import compare_profiles, config_of, read_earlier
    from lenumba.engine.profile.profiling import SECONDS, profile_training

    old = read_earlier(compare) if compare else None
    changes = [*changes, *([f"train.threads={threads[0]}"] if threads else [])]
    loaded = config_of(compare, changes) if compare and name is None else None
    loaded = loaded or load_config("lenet" if name is None else name, changes)
    profile = profile_training(loaded, seconds=SECONDS if seconds is None else seconds, progress=progress)
    fault = written_files(profile, html, trace)
    parts = []
    if as_json:
        parts.append(as_text(profile))
    elif asm or llvm:
        parts += [listing(profile, kernel, end) for kernel, end in ((asm, ".s"), (llvm, ".ll")) if kernel]
    elif not old:
        parts.append(profile_report.profile_text(profile))
        parts += [profile_report.compile_table(profile)] if compilation else []
    if old:
        text, slower = compare_profiles(old, profile)
        parts += [] if as_json else [text]
        if slower and fault is None:
            fault = LenumbaError(f"slower than in {compare}, beyond the noise: {', '.join(slower)}")
    return "\n\n".join(parts), fault


def as_text(values: Any) -> str:
    """Return JSON for people and programs."""
    return json.dumps(values, indent=2, ensure_ascii=False)


def check_place(path: Path | None) -> None:
    """Raise DataError where a file could not be written, before anything is measured."""
    if path is None:
        return
    folder = path.absolute().parent
    if path.is_dir():
        raise DataError(f"{path}: expected a file's name, found a folder; choose another place")
    if not folder.is_dir():
        raise DataError(f"{path}: expected a folder to write to, found no {folder}; make it, or choose another place")
    if not os.access(folder, os.W_OK):
        raise DataError(f"{path}: cannot write there; choose another place")


def written_files(profile: Profile, html: Path | None, trace: Path | None) -> LenumbaError | None:
    """Write the page and the trace; return what went wrong, if anything did: the result is there all the same."""
    try:
        if html:
            write_text(html, profile.html)
        if trace:
            write_json(trace, profile_report.chrome_trace(profile))
    except OSError as error:
        return DataError(f"{error.filename}: {error.strerror}; choose another place")
    return None


def refuse(options: dict[str, Any], where: str) -> None:
    """Raise ConfigError for the first option that was given where it has no meaning."""
    for option, value in options.items():
        if value not in (None, False):
            raise ConfigError(f"{option}: expected only {where}; leave it out")


def profile_own(
    subject: Any, threads: Sequence[int] | None, seconds: float | None, as_json: bool,
    places: tuple[Path | None, Path | None], compare: str | None, tolerance: float | None,
    code: tuple[str | None, str | None], compilation: bool, trying: bool,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[str, LenumbaError | None]:  # fmt: skip
    """Profile a function of the user's; return the text, and the error to end with.

    Compared with another version, it is profiled only where that is asked for, too, or where nothing else can be had.
    """
    from lenumba.engine.profile.function import SECONDS, profile_function
    from lenumba.engine.profile.function_report import compiled_text
    from lenumba.engine.profile.gate import TOLERANCE, compare_function, gate_markdown, gate_text, read_profile

    if compare and (compare.endswith(".json") or Path(compare).is_file()):
        read_profile(compare, subject)  # its faults are told before anything is measured
    if most := max(threads or (), default=None):
        scaling.check_threads(most)

    @functools.cache
    def profiled() -> Profile:
        scaled = scaling.measure_threads(subject, threads) if threads and len(threads) > 1 else []
        with scaling.using_threads(most):
            found = profile_function(subject, SECONDS if seconds is None else seconds, progress, trying=trying)
        return Profile(found | {"scaling": scaled})

    comparison: dict[str, Any] | None = None
    parts: list[str] = []
    fault: LenumbaError | None = None
    if compare:
        allowed, long = TOLERANCE if tolerance is None else tolerance, 6.0 if seconds is None else seconds
        comparison = compare_function(subject, profiled, compare, long, allowed, progress, most)
        parts += [gate_text(comparison, compare)]
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            append(Path(summary), gate_markdown(comparison, subject.name, compare))
        if comparison["slower"]:
            fault = LenumbaError(f"slower than {compare}: ratio {comparison['low']:.3f} to {comparison['high']:.3f}")
    if compare and not (as_json or compilation or trying or any(places) or any(code)):
        return parts[0], fault
    profile = profiled()
    listings = profile.pop("listings")
    if comparison is not None and compare:
        profile["comparison"] = comparison | {"with": compare}
    if any(code):
        ends = zip(code, (".s", ".ll"), strict=True)
        parts = [own_listing(subject, listings, part, end) for part, end in ends if part] + parts
    elif not compare:
        parts.append(profile.text)
        parts += [compiled_text(profile)] if compilation else []
    fault = written_files(profile, *places) or fault
    return as_text(profile) if as_json else "\n\n".join(parts), fault


def side_by_side(
    names: Sequence[str], arguments: str | None, setup: str | None, seconds: float | None, as_json: bool,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[str, None]:  # fmt: skip
    """Profile several functions of the user's; return the text."""
    from lenumba.engine.profile.function import SECONDS
    from lenumba.engine.profile.several import profile_several, several_text

    subjects = [find_subject(name, arguments, setup) for name in names]
    found = profile_several(subjects, SECONDS if seconds is None else seconds, progress)
    return as_text(found) if as_json else several_text(found), None


def own_listing(subject: Any, listings: dict[str, str], name: str, end: str) -> str:
    """Return the code of the user's function and what it calls, of those functions that have `name` in their names."""
    from lenumba.kernels.measure.assembly import annotate
    from lenumba.kernels.measure.listings import select_functions

    own = subject.name.rpartition(":")[2].rpartition(".")[2]
    chosen, names = select_functions(listings[end], end, "" if name in (own, subject.name) else name)
    if not chosen:
        raise ConfigError(f"{name}: expected {own} or a part of a name below it, found none; give one of {names}")
    return annotate(chosen) if end == ".s" else chosen


def listing(profile: Profile, name: str, end: str) -> str:
    """Return a kernel's assembly or LLVM code below LLVM's remarks; in the assembly, loops are marked with verdicts."""
    from lenumba.kernels.measure.assembly import annotate
    from lenumba.kernels.measure.inspection import read_listing

    row = profile_report.find_row(profile, name)
    text = read_listing({"folder": profile["listings"]}, row["function"], end)
    if text is None:
        error = LenumbaError(f"{row['function']}: expected its code in the program cache, found no cache; see the log")
        error.exit_code = DataError.exit_code
        raise error
    mark = "#" if end == ".s" else ";"
    head = [f"{row['name']}: {row['us_per_call']:.2f} µs a call, {row['code']['verdict']}"]
    head += [f"LLVM: {remark}" for remark in row["code"]["remarks"]]
    return "".join(f"{mark} {line}\n" for line in head) + (annotate(text) if end == ".s" else text)


def run_profile_of_ranks(name: str | None, changes: Sequence[str], team: Alone, **options: Any) -> str:
    """Profile a network's training on all ranks of a job, each of which calls this; return the text to print."""
    if name is not None and names_function(name):
        raise ConfigError(f"{name}: expected a recipe for several processes, found a function; leave mpirun away")
    known = ("threads", "seconds", "as_json")
    refuse({f"--{key}": value for key, value in options.items() if key not in known}, "without mpirun")
    from lenumba.engine.config.config import load_config
    from lenumba.engine.profile.ranks import profile_ranks, ranks_table

    threads, seconds = options.get("threads"), options.get("seconds")
    changes = [*changes, *([f"train.threads={threads[0]}"] if threads else [])]
    loaded = load_config("lenet" if name is None else name, changes)
    facts = profile_ranks(loaded, team, RANK_SECONDS if seconds is None else seconds)
    return as_text(facts) if options.get("as_json") else ranks_table(facts)
