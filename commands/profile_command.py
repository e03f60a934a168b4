"""What ``lenumba profile`` does: choose what to measure, write the files, and return the text to print."""

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import ConfigError, DataError, LenumbaError
from lenumba.engine.common.files import write_json, write_text
from lenumba.engine.profile import report as profile_report

FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def run_profile(
    name: str | None,
    changes: Sequence[str] = (),
    *,
    threads: int | None = None,
    arguments: str | None = None,
    seconds: float = 6.0,
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

        facts = machine_facts(threads, progress=progress)
        return as_text(facts) if as_json else profile_report.machine_table(facts), None
    if name is not None and FUNCTION.fullmatch(name) and not os.path.exists(name):
        return function_report(name, arguments, changes, as_json, asm is not None, llvm is not None), None
    if arguments is not None:
        raise ConfigError("--args: expected only with MODULE:FUNCTION; leave it out for a network")
    from lenumba.engine.config.config import load_config
    from lenumba.engine.profile.compare import compare_profiles, config_of, read_earlier
    from lenumba.engine.profile.profiling import profile_training

    for path in (html, trace):
        check_place(path)
    old = read_earlier(compare) if compare else None
    changes = [*changes, *([f"train.threads={threads}"] if threads else [])]
    loaded = config_of(compare, changes) if compare and name is None else None
    loaded = loaded or load_config("lenet" if name is None else name, changes)
    profile = profile_training(loaded, seconds=seconds, progress=progress)
    fault = written_files(profile, html, trace)
    parts = []
    if as_json:
        parts.append(as_text(profile))
    elif asm or llvm:
        parts += [listing(profile, kernel, end) for kernel, end in ((asm, ".s"), (llvm, ".ll")) if kernel]
    elif not old:
        parts.append(profile_report.profile_table(profile))
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
        raise DataError(f"{path}: expected a folder to write to, found no {folder}; choose another place")
    if not os.access(folder, os.W_OK):
        raise DataError(f"{path}: cannot write there; choose another place")


def written_files(profile: dict[str, Any], html: Path | None, trace: Path | None) -> LenumbaError | None:
    """Write the page and the trace; return what went wrong, if anything did: the result is there all the same."""
    try:
        if html:
            from lenumba.engine.profile.html import profile_html

            write_text(html, profile_html(profile))
        if trace:
            write_json(trace, profile_report.chrome_trace(profile))
    except OSError as error:
        return DataError(f"{error.filename}: {error.strerror}; choose another place")
    return None


def function_report(name: str, arguments: str | None, rest: Sequence[str], as_json: bool, asm: bool, llvm: bool) -> str:
    """Profile a function of the user's; return the text."""
    from lenumba.engine.profile.function import function_text, profile_function

    if rest:
        raise ConfigError(f"{rest[0]}: expected no overrides beside {name}; give the function's arguments by --args")
    profile = profile_function(name, arguments or "")
    listings = profile.pop("listings")
    if asm or llvm:
        from lenumba.kernels.measure.assembly import annotate

        return "\n".join([annotate(listings[".s"])] * asm + [listings[".ll"]] * llvm)
    return as_text(profile) if as_json else function_text(profile)


def listing(profile: dict[str, Any], name: str, end: str) -> str:
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
