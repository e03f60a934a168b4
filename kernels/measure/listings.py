"""The part of an assembly or of LLVM code that belongs to the user's own functions."""

import re

from lenumba.kernels.measure.assembly import split_functions

WRAPPERS = ("_ZN7cpython", "cfunc.", "NRT_", "numba_gil")  # how symbols begin that are not the user's code
BLAS = re.compile(r"^numba_(xx|ez_)")  # how Numba calls BLAS's and LAPACK's functions
DEFINE = re.compile(r'^define [^@]*@"?([^"(]+)"?\(.*?^}\n?', re.M | re.S)


def is_wrapper(symbol: str) -> bool:
    """Return whether a symbol is none of the user's own code."""
    return symbol.startswith(WRAPPERS)


def select_functions(text: str, end: str, name: str = "") -> tuple[str, str]:
    """Return those functions of an assembly (``.s``) or LLVM code that are no wrappers and have `name` in their names.

    Returns
    -------
    text, names
        Their code, "" where there is none; and the names of all that are no wrappers.
    """
    if end == ".s":
        parts = {symbol: f"{symbol}:\n" + "\n".join(lines) for symbol, lines in split_functions(text).items()}
    else:
        parts = {found[1]: found[0] for found in DEFINE.finditer(text)}
    own = {symbol: part for symbol, part in parts.items() if not is_wrapper(symbol)}
    chosen = {symbol: part for symbol, part in own.items() if name in symbol}
    head = [line for line in text.splitlines() if line.startswith("\t.file\t")] if end == ".s" and chosen else []
    head += [f"\t.type\t{symbol},@function" for symbol in chosen] if end == ".s" else []
    return "\n".join([*head, *chosen.values()]), ", ".join(map(readable, own))


def readable(symbol: str) -> str:
    """Return the last part of a mangled name: a number tells how long each part is."""
    found, rest = "", symbol.removeprefix("_ZN")
    while match := re.match(r"(\d+)", rest):
        size = int(match[1])
        found, rest = rest[len(match[1]) : len(match[1]) + size], rest[len(match[1]) + size :]
    return found or symbol
