"""Compile a program and keep what can be learnt from that: each function's assembly, LLVM code, and times.

They lie beside the cached program, so that a later profile shows them without compiling again.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lenumba.kernels import native
from lenumba.kernels.assembly import judge

WRAPPERS = ("_ZN7cpython", "cfunc.", "NRT_", "numba_gil")  # how symbols begin that are not the user's code
TYPING, LOWERING = "type_inference", "lowering"


def cache_state(source: native.Source) -> tuple[bool, str]:
    """Return whether a program is cached, and why or why not."""
    folder = native.program_folder(source)
    if native.read_entry(folder / "program.o"):
        return True, "same kernels, program, compiler versions and CPU"
    if folder.is_dir() and (folder / "program.o").exists():
        return False, "the cached machine code is damaged"
    others = list(folder.parent.glob(f"{source.name}-*/program.py")) if folder.parent.is_dir() else []
    if any(path.read_text(encoding="utf-8", errors="replace") == source.text for path in others):
        return False, "the same program is cached for other kernel sources, compiler versions or another CPU"
    if others:
        return False, "this network was not profiled before on this machine; other programs are cached"
    return False, f"nothing cached yet in {folder.parent}"


def get_inspected(
    source: native.Source, kernels: Sequence[str], progress: Callable[[str, int, int], None] | None = None
) -> tuple[native.Native, dict[str, Any]]:
    """Return a program, from the cache or newly compiled, and the report on its functions.

    Parameters
    ----------
    kernels
        Names of the functions to report beside the program's steps.

    Returns
    -------
    program, report
        The report's ``functions`` are by name: verdict and so on (:func:`lenumba.kernels.assembly.judge`), and
        seconds of type inference, lowering and LLVM; ``folder`` has their NAME.s and NAME.ll, None without a cache.
    """
    hit, why = cache_state(source)
    folder = native.program_folder(source)
    path = folder / "inspection.json"
    start = time.perf_counter()
    if hit and path.is_file():
        program = native.get_program(source, progress)
        report = json.loads(path.read_text(encoding="utf-8"))
    else:
        with recorded_passes() as passes:
            program = native.get_program(source, progress)
            if program.cached:  # by an unfinished profile
                native.compile_source(source, folder / "program.py", progress)
        module = sys.modules[native.module_name(source)]
        report = {"functions": {}, "compile_s": time.perf_counter() - start}
        seen: set[int] = set()
        functions = {function.__name__: function for function, _ in module.STEPS}
        functions |= {name: getattr(module, name) for name in kernels}
        for name, function in functions.items():
            judged, texts = inspect_overload(list(function.overloads.values())[-1], seen)
            report["functions"][name] = judged | passes.get(f"{name} alone" if name in kernels else name, {})
            if program.path:
                for end, text in texts.items():
                    native.write_atomically(folder / f"{name}{end}", text.encode())
        report["program"] = passes.get(source.entry, {})
        if program.path:
            native.write_atomically(path, json.dumps(report).encode())
    report["folder"] = str(folder) if program.path else None
    report["cache"] = {"hit": hit, "why": why, "load_s": time.perf_counter() - start}
    return program, report


def inspect_overload(overload: Any, seen: set[int]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the verdict on a compiled function, and its assembly (``.s``) and LLVM code (``.ll``)."""
    library = overload.library
    llvm_s = llvm_seconds(library, seen)
    assembly, code = library.get_asm_str(), library.get_llvm_str()
    return judge(assembly, WRAPPERS) | {"llvm_s": llvm_s}, {".s": assembly, ".ll": code}


def llvm_seconds(library: Any, seen: set[int]) -> float:
    """Return what LLVM's passes took for a library and for those linked into it that are not in `seen` yet."""
    if id(library) in seen:
        return 0.0
    seen.add(id(library))
    seconds = 0.0
    with contextlib.suppress(Exception):  # LLVM formats the text behind it as it likes
        seconds = float(library.recorded_timings.get_total_time() or 0.0)
    return seconds + sum(llvm_seconds(linked, seen) for linked in getattr(library, "_linking_libraries", ()))


@contextlib.contextmanager
def recorded_passes() -> Iterator[dict[str, dict[str, float]]]:
    """Record what compiling costs, by function: seconds of type inference, lowering (with LLVM) and all the rest.

    Callees are compiled in the middle of their callers' type inference; what they take counts for the outermost
    caller, under the kind of work that it is, and for "NAME alone".
    """
    from numba.core import config as numba_config
    from numba.core import event

    config: Any = numba_config  # its names are made at run time

    times: dict[str, dict[str, float]] = {}
    stack: list[list[Any]] = []

    class Listener(event.Listener):
        def on_start(self, found: Any) -> None:
            name = str((found.data or {}).get("qualname", "")).rpartition(".")[2]
            stack.append([time.perf_counter(), 0.0, stack[0][2] if stack else name])

        def on_end(self, found: Any) -> None:
            start, inside, outermost = stack.pop()
            whole = time.perf_counter() - start
            if stack:
                stack[-1][1] += whole
            name = str((found.data or {}).get("name", ""))
            part = "typing_s" if TYPING in name else "lowering_s" if LOWERING in name else "other_s"
            function = str((found.data or {}).get("qualname", "")).rpartition(".")[2]
            for key in (outermost, f"{function} alone"):
                entry = times.setdefault(key, {})
                entry[part] = entry.get(part, 0.0) + whole - inside

    listener, before = Listener(), config.LLVM_PASS_TIMINGS
    config.LLVM_PASS_TIMINGS = 1
    event.register("numba:run_pass", listener)
    try:
        yield times
    finally:
        event.unregister("numba:run_pass", listener)
        config.LLVM_PASS_TIMINGS = before


def read_listing(report: dict[str, Any], name: str, end: str) -> str | None:
    """Return a function's assembly (``.s``) or LLVM code (``.ll``) that a report's folder keeps."""
    path = Path(report["folder"]) / f"{name}{end}" if report["folder"] else None
    return path.read_text(encoding="utf-8") if path and path.is_file() else None
