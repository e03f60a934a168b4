"""Any function that Numba compiled: what it became, and what compiling cost."""

import contextlib
import io
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from numba import get_num_threads, set_num_threads
from numba.core import types
from numba.core.caching import NullCache
from numba.core.compiler import Compiler
from numba.core.dispatcher import Dispatcher
from numba.core.errors import NumbaDebugInfoWarning
from numba.core.typing.templates import fold_arguments

from lenumba.kernels.compile.jit import config
from lenumba.kernels.measure.inspection import inspect_overload, recorded_passes
from lenumba.kernels.measure.rebuilt import optimised_texts
from lenumba.kernels.measure.ufuncs import is_ufunc, looped

DEBUGGING = re.compile(
    r"^ +#dbg_\w+\(.*\n|^\.Ltmp\d+:\n|^\t\.loc\t\d+ 0 .*\n|, !dbg !\d+$", re.M
)  # nothing for readers


def looked_into(function: Any, values: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Return what to look into in place of a function and its arguments: of a ufunc, its kernel in a loop."""
    return looped(function, values, LineNumbers) if is_ufunc(function) else (function, values)


def use_threads(threads: int | None) -> int:
    """Let Numba use so many threads from now on, where a number is given; return how many it used so far."""
    before = get_num_threads()
    if threads:
        set_num_threads(threads)
    return before


def most_threads() -> int:
    """Return how many threads Numba can use."""
    return int(config.NUMBA_NUM_THREADS)


def threads_of(function: Any) -> int:
    """Return how many threads a call may use."""
    return get_num_threads() if function.targetoptions.get("parallel") else 1


class LineNumbers(Compiler):
    """Numba's compiler, noting each instruction's line, so that LLVM can say which loop it speaks of."""

    def __init__(
        self, typingctx: Any, targetctx: Any, library: Any, args: Any, return_type: Any, flags: Any, *rest: Any
    ):
        flags = flags.copy()
        flags.debuginfo = flags.dbg_directives_only = True  # the code stays what it is without
        super().__init__(typingctx, targetctx, library, args, return_type, flags, *rest)


def callees(function: Callable[..., Any], known: dict[int, Any] | None = None) -> list[Any]:
    """Return the compiled functions that a Python function names, and those that they name."""
    found: dict[int, Any] = {} if known is None else known
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != type(cell)()]
    for value in [*cells, *(function.__globals__.get(name) for name in function.__code__.co_names)]:
        if isinstance(value, Dispatcher) and id(value) not in found:
            found[id(value)] = value
            callees(value.py_func, found)
    return list(found.values())


@contextlib.contextmanager
def fresh_callees(function: Callable[..., Any]) -> Iterator[None]:
    """Compile the compiled functions that a Python function calls once more meanwhile, with lines."""
    changed = []
    for callee in callees(function):
        if callee._can_compile and callee._compiler.pipeline_class is Compiler:
            changed.append((callee, callee.overloads, callee._cache))
            callee.overloads, callee._cache = type(callee.overloads)(), NullCache()
            callee._compiler.pipeline_class = LineNumbers
    try:
        yield
    finally:
        for callee, overloads, cache in changed:
            callee.overloads, callee._cache = overloads, cache
            callee._compiler.pipeline_class = Compiler


def variant(function: Any, **changes: Any) -> Any:
    """Return a function compiled with other options of its njit; a list stands for a set of fastmath's flags."""
    options = {key: value for key, value in function.targetoptions.items() if key != "cache"}
    options |= {key: set(value) if isinstance(value, list) else value for key, value in changes.items()}
    pipeline = function._compiler.pipeline_class
    return type(function)(function.py_func, locals={}, targetoptions=options, pipeline_class=pipeline)


def compile_afresh(function: Any, arguments: Sequence[Any]) -> tuple[Any, dict[str, Any], dict[str, str]]:
    """Compile a function once more for these arguments, whatever is cached.

    Returns
    -------
    overload, report, texts
        What is known of its code, with seconds of typing, lowering and LLVM; its assembly (``.s``), LLVM code
        (``.ll``), and that before machine code was made of it (``""``).
    """
    found = [function.typeof_pyval(value) for value in arguments]
    signature = tuple(folded(function, found, types.Omitted, types.StarArgTuple))
    options = {key: value for key, value in function.targetoptions.items() if key != "cache"}
    # LLVM knows no lines of object mode.
    own = function._compiler.pipeline_class is Compiler and not options.get("forceobj")
    pipeline = LineNumbers if own else function._compiler.pipeline_class
    if function._can_compile and any(callee is function for callee in callees(function.py_func)):
        fresh = function  # a recursive one knows itself by its name
    else:
        fresh = type(function)(
            function.py_func, locals=dict(function.locals), targetoptions=options, pipeline_class=pipeline
        )
    start = time.perf_counter()
    lines = fresh_callees(function.py_func)
    with lines, recorded_passes() as passes, optimised_texts() as optimised, warnings.catch_warnings():
        warnings.simplefilter("ignore", NumbaDebugInfoWarning)  # of loops that Numba itself writes
        fresh.compile(signature)
        overload = fresh.overloads[signature]
    took = time.perf_counter() - start
    report, texts = inspect_overload(overload, passes.get(function.py_func.__name__, {}))
    report |= {"compile_s": took, "signature": str(overload.signature)}
    report["fastmath"] = str(options.get("fastmath") or False)
    report["diagnostics"] = None
    if options.get("parallel"):
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(Exception):
            fresh.parallel_diagnostics(level=1)
        report["diagnostics"] = text.getvalue().strip()
    texts = {end: DEBUGGING.sub("", text) for end, text in texts.items()}
    return overload, report, texts | {"": optimised.get(id(overload.library), "")}


def folded(function: Any, values: Sequence[Any], default: Callable[[Any], Any], star: Callable[[Any], Any]) -> Any:
    """Return a call's values (or types) as compiled code takes them: one for each parameter.

    `default` and `star` make the one of a parameter that is left to its default, and of all that ``*name`` takes.
    """
    return fold_arguments(
        function._compiler.pysig, tuple(values), {},
        lambda index, parameter, value: value,
        lambda index, parameter, value: default(value),
        lambda index, parameter, several: star(several),
    )  # fmt: skip
