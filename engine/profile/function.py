"""Profile a function of the user's own that Numba compiled."""

import importlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.text import table
from lenumba.engine.profile.report import flush_last

SECONDS = 1.0  # of warm calls
CALLS = (5, 10_000)  # least and most of them


def find_function(target: str) -> Any:
    """Return the function that ``module:function`` names; modules are also looked for in the working directory.

    Raises
    ------
    ConfigError
        Where there is none, or Numba did not compile it.
    """
    from lenumba.kernels.measure.user_function import is_dispatcher

    name, _, attribute = target.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        value: Any = importlib.import_module(name)
        for part in attribute.split("."):
            value = getattr(value, part)
    except ImportError as error:
        raise ConfigError(f"{target}: expected a module that can be imported from here, found: {error}") from None
    except AttributeError as error:
        raise ConfigError(f"{target}: expected a function in the module, found: {error}") from None
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        raise ConfigError(f"{target}: importing it raised {type(error).__name__}: {first_line(error)}") from None
    finally:
        sys.path.pop(0)
    if not is_dispatcher(value):
        remedy = "unset NUMBA_DISABLE_JIT" if os.environ.get("NUMBA_DISABLE_JIT") else "decorate it"
        raise ConfigError(
            f"{target}: expected a function with Numba's njit on it, found {type(value).__name__}; {remedy}"
        )
    return value


def first_line(error: BaseException) -> str:
    """Return an error's first line of text that tells something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Failed in nopython mode")), "no message")


def evaluate_arguments(text: str) -> tuple[Any, ...]:
    """Return the values of a Python expression such as ``np.ones(1000), 3``; `np` is NumPy.

    Raises
    ------
    ConfigError
        Where it is no expression or raises.
    """
    if not text.strip():
        return ()
    try:
        return tuple(eval(f"({text.strip().rstrip(',')},)", {"np": np}))
    except (Exception, SystemExit) as error:  # whatever the user wrote
        raise ConfigError(
            f"--args: expected values such as 'np.ones(1000), 3', found {text!r}: {type(error).__name__}: "
            f"{first_line(error)}"
        ) from None


def profile_function(target: str, arguments: str) -> dict[str, Any]:
    """Time a function and report what it was compiled to.

    Returns
    -------
    dict
        ``us`` a warm call (median, with ``us_least`` and ``noise``), ``flops`` a call (None where they cannot be
        counted), ``gflops``; ``code``: verdict, loops, compile times and diagnostics; ``listings``.
    """
    function, values = find_function(target), evaluate_arguments(arguments)
    try:
        return measure(function, values) | {"name": target, "arguments": arguments}
    except Exception as error:  # typing errors, or the function's own, in whichever call
        raise ConfigError(
            f"{target}: calling it with --args {arguments!r} raised {type(error).__name__}: {first_line(error)}"
        ) from None


def measure(function: Any, values: Sequence[Any]) -> dict[str, Any]:
    """Call a function until its time is known, and compile it afresh; return what is known of it."""
    from lenumba.kernels.measure.user_function import compile_afresh, count_operations

    start = time.perf_counter()
    function(*values)
    first_call = time.perf_counter() - start
    stats = function.stats
    hit = sum(stats.cache_hits.values()) > 0
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < CALLS[0] or (time.perf_counter() - began < SECONDS and len(times) < CALLS[1]):
        start = time.perf_counter()
        function(*values)
        times.append(time.perf_counter() - start)
    overload, code, texts = compile_afresh(function, values)
    flops = count_operations(function, overload, values)
    quarter = sorted(times)[len(times) // 4], sorted(times)[-1 - len(times) // 4]
    seconds = median(times)
    cached = getattr(getattr(function, "_cache", None), "cache_path", None)
    return {
        "calls": len(times),
        "us": 1e6 * seconds,
        "us_least": 1e6 * min(times),
        "noise": (quarter[1] - quarter[0]) / 2 / seconds,
        "first_call_s": first_call,
        "cache": {"used": cached is not None, "hit": hit, "folder": cached},
        "flops": flops,
        "gflops": flops / seconds / 1e9 if flops else None,
        "code": code,
        "listings": texts,
    }


def function_text(profile: Mapping[str, Any]) -> str:
    """Return a function's profile as text."""
    code = profile["code"]
    if profile["flops"]:
        speed = f"{profile['gflops']:.2f} GFLOP/s ({profile['flops']:,} floating-point operations a call, counted)"
    elif profile["flops"] == 0:
        speed = "no floating-point operations of its own, so no GFLOP/s"
    else:
        speed = "its floating-point operations cannot be counted, so no GFLOP/s"
    cache = profile["cache"]
    where = f"cache {'hit' if cache['hit'] else 'miss'} in {cache['folder']}" if cache["used"] else "no cache=True"
    because = f": {code['reason']}" if code["reason"] else ""
    text = [
        f"{profile['name']}{code['signature'].partition(' ->')[0]}",
        f"warm call: {profile['us']:.2f} µs (median of {profile['calls']:,}, ± {100 * profile['noise']:.0f} %; least "
        f"{profile['us_least']:.2f} µs)",
        f"speed: {speed}",
        f"code: {code['verdict']}{because}; {code['fma']} multiply-add, {code['packed']} vector, {code['scalar']} "
        "scalar instructions in its loops",
        f"first call: {profile['first_call_s']:.2f} s ({where}); compiling afresh: {code['compile_s']:.2f} s, of which "
        f"typing {code['typing_s']:.2f}, lowering {code['lowering_s']:.2f} with LLVM's passes "
        f"{code['llvm_s']:.2f}, other {code['other_s']:.2f}",
    ]
    if code["loops"]:
        rows = [[loop["source"], loop["depth"], loop["fma"], loop["packed"], loop["scalar"], loop["verdict"]]
                for loop in code["loops"]]  # fmt: skip
        head = ["line", "depth", "multiply-adds", "vector", "scalar", "loop"]
        text += ["", flush_last(table(head, rows))]
    if code["remarks"]:
        text += ["", "LLVM remarks:", *(f"  {remark}" for remark in code["remarks"])]
    if code["diagnostics"]:
        text += ["", code["diagnostics"]]
    return "\n".join(text)
