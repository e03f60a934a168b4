"""Compile a program and keep what can be learnt from that: each function's assembly, LLVM code, and times.

They lie beside the cached program, so that a later profile shows them without compiling again.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenumba.kernels.compile import native
from lenumba.kernels.measure.assembly import SCALAR, judge
from lenumba.kernels.measure.listings import WRAPPERS
from lenumba.kernels.measure.remarks import caught, reason_of

PARTS = {"type_inference": "typing_s", "lowering": "lowering_s"}  # by a word in the name of Numba's pass


@dataclass
class RunningPass:
    """One of Numba's passes over a function: seconds at its start, of passes inside it and of LLVM; its remarks."""

    function: str
    part: str
    start: float
    remarks: list[str] | None
    inside: float = 0.0
    llvm: float = 0.0


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
        The report's ``functions`` are by name: verdict and so on (:func:`lenumba.kernels.measure.assembly.judge`), and
        seconds of type inference, lowering and LLVM; ``folder`` has their NAME.s and NAME.ll, None without a cache.
    """
    hit, why = cache_state(source)
    folder = native.program_folder(source)
    path = folder / "inspection.json"
    start = time.perf_counter()
    if hit and (report := read_report(path)):
        program = native.get_program(source, progress)
    else:
        from lenumba.kernels.compile.jit import apart

        with recorded_passes() as passes, apart():
            program = native.get_program(source, progress)
            if program.cached:  # by an unfinished profile
                native.compile_source(source, folder / "program.py", progress)
        module = sys.modules[native.module_name(source)]
        report = {"functions": {}, "compile_s": time.perf_counter() - start}
        functions = {function.__name__: function for function, _ in module.STEPS}
        functions |= {name: getattr(module, name) for name in kernels}
        for name, function in functions.items():
            found = passes.get(f"{name} alone" if name in kernels else name, {})
            judged, texts = inspect_overload(list(function.overloads.values())[-1], found)
            report["functions"][name] = judged
            if program.path:
                for end, text in texts.items():
                    native.write_atomically(folder / f"{name}{end}", text.encode())
        report["program"] = passes.get(source.entry, {})
        if program.path:
            body = json.dumps(report).encode()
            native.write_atomically(path, native.entry_digest(path, body) + body)
    report["folder"] = str(folder) if program.path else None
    report["cache"] = {"hit": hit, "why": why, "load_s": time.perf_counter() - start}
    return program, report


def read_report(path: Path) -> dict[str, Any]:
    """Return what an earlier start noted of a program's functions, or nothing where that is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    return json.loads(content[64:]) if native.entry_digest(path, content[64:]) == content[:64] else {}


def inspect_overload(overload: Any, recorded: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what is known of a compiled function, and its assembly (``.s``) and LLVM code (``.ll``).

    `recorded` is what :func:`recorded_passes` has of it; ``reason`` is LLVM's own for leaving its loops scalar.
    """
    assembly, code = overload.library.get_asm_str(), overload.library.get_llvm_str()
    report = judge(assembly, WRAPPERS) | {"remarks": []} | recorded
    report["reason"] = reason_of(report["remarks"]) if report["verdict"].startswith(SCALAR) else ""
    return report, {".s": assembly, ".ll": code}


@contextlib.contextmanager
def recorded_passes() -> Iterator[dict[str, dict[str, Any]]]:
    """Record what compiling costs, by function: seconds of type inference, lowering, LLVM within that, and the rest.

    Callees are compiled in the middle of their callers' type inference; what they take counts for the outermost
    caller, under the kind of work that it is, and for "NAME alone". ``remarks`` are LLVM's, of lowering the function
    itself.
    """
    from numba.core import event

    entries: dict[str, dict[str, Any]] = {}
    stack: list[RunningPass] = []
    catching = contextlib.ExitStack()  # while something is lowered, with whatever is compiled for that

    class Listener(event.Listener):
        def on_start(self, found: Any) -> None:
            function = str(found.data["qualname"]).rpartition(".")[2]
            part = next((part for word, part in PARTS.items() if word in found.data["name"]), "other_s")
            lowers = part == "lowering_s" and not any(other.remarks is not None for other in stack)
            remarks = catching.enter_context(caught()) if lowers else None
            stack.append(RunningPass(function, part, time.perf_counter(), remarks))

        def on_end(self, found: Any) -> None:
            done = stack.pop()
            whole = time.perf_counter() - done.start
            if done.remarks is not None:
                catching.close()
            if stack:
                stack[-1].inside += whole
            for key in (stack[0].function if stack else done.function, f"{done.function} alone"):
                entry = entries.setdefault(key, dict.fromkeys((*PARTS.values(), "llvm_s", "other_s"), 0.0))
                entry[done.part] += whole - done.inside
                entry["llvm_s"] += done.llvm
                if done.remarks and (not stack or key.endswith(" alone")):
                    entry["remarks"] = entry.get("remarks", []) + done.remarks

    def add(seconds: float) -> None:
        if stack:
            stack[-1].llvm += seconds

    listener = Listener()
    event.register("numba:run_pass", listener)
    try:
        with catching, timed_llvm(add):
            yield entries
    finally:
        event.unregister("numba:run_pass", listener)


@contextlib.contextmanager
def timed_llvm(add: Callable[[float], None]) -> Iterator[None]:
    """Give the seconds of LLVM's work to `add`: parsing, its passes, and machine code.

    LLVM's own timing report counts some passes twice, and knows those of libraries that were compiled before.
    """
    from numba.core.codegen import CPUCodeLibrary

    usual = {name: getattr(CPUCodeLibrary, name) for name in ("add_ir_module", "finalize")}
    running: list[str] = []  # a library finalizes those that it links

    def timed(name: str) -> Callable[..., Any]:
        def method(*arguments: Any) -> Any:
            start = time.perf_counter()
            running.append(name)
            try:
                return usual[name](*arguments)
            finally:
                running.pop()
                if not running:
                    add(time.perf_counter() - start)

        return method

    for name in usual:
        setattr(CPUCodeLibrary, name, timed(name))
    try:
        yield
    finally:
        for name, method in usual.items():
            setattr(CPUCodeLibrary, name, method)


def read_listing(report: dict[str, Any], name: str, end: str) -> str | None:
    """Return a function's assembly (``.s``) or LLVM code (``.ll``) that a report's folder keeps."""
    path = Path(report["folder"]) / f"{name}{end}" if report["folder"] else None
    return path.read_text(encoding="utf-8") if path and path.is_file() else None
