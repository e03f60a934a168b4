"""LLVM's own remarks on what it compiles: loops that it vectorised or not and why, and registers that it spilled.

LLVM prints them on stderr, so that is where they are caught.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence

import llvmlite.binding as llvm

PASSES = {"": "loop-vectorize", "-analysis": "loop-vectorize", "-missed": "regalloc"}  # by kind of remark
NONE = "^$"  # the name of no pass
REMARK = re.compile(r"remark: (?:<unknown>:0:0|<string>:\d+:\d+|(?P<place>[^:]+:\d+):\d+): (?P<text>.*)")
DETAIL = re.compile(r"(?:Unsafe|Unknown|Backward|Forward)\b.*\bdepende")  # a second line
COST = re.compile(r"(?: \S+ total [a-z ]+ cost| [\d.e+-]+ virtual registers copies.*cost)\b")
ADVICE = re.compile(r"\. (?:Use #pragma|Enable vectorization).*")  # for C
REFUSED = "loop not vectorized: "
NOISE = ("explicitly disabled, or the loop has already been vectorized",)
# What LLVM says, and what that means to somebody who wrote the loop in Python.
MEANING = {
    "reorder floating-point": "a sum whose order is fixed; fastmath={'reassoc'} would let LLVM split it into lanes",
    "unsafe dependent memory": "an iteration needs what an earlier one wrote, or the arrays may overlap",
    "identify array bounds": "LLVM cannot tell whether the arrays overlap",
    "number of loop iterations": "a condition within the loop may end it",
    "arly exit": "a condition within the loop may end it",
    "call instruction": "it calls a function that has no vector form",
    "not identified as reduction": "a value goes from iteration to iteration that is no plain sum, product or extreme",
    "pointer checks": "the arrays may overlap, and LLVM holds a check at run time for not worth it",
    "cost-model": "LLVM expects no gain",
}


def ask(wanted: bool) -> None:
    """Make LLVM remark, or no longer."""
    for kind, name in PASSES.items():
        llvm.set_option("lenumba", f"-pass-remarks{kind}={name if wanted else NONE}")


@contextlib.contextmanager
def caught() -> Iterator[list[str]]:
    """Fill a list with LLVM's remarks in a `with` block at its end; what else goes to stderr meanwhile is passed on."""
    found: list[str] = []
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        ask(True)
        try:
            yield found
        finally:
            ask(False)
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            remarks, other = split_remarks(file.read().decode(errors="replace"))
            found += remarks
            if other:
                os.write(2, other.encode())


def split_remarks(text: str) -> tuple[list[str], str]:
    """Return what LLVM remarked, shortened and each but once, as "file:line: remark"; and all other text."""
    remarks: dict[str, None] = {}
    other = []
    for line in text.splitlines(keepends=True):
        if match := REMARK.match(line):
            said = ADVICE.sub("", COST.sub(",", match["text"])).replace(", ,", ",").replace(", generated", " generated")
            spills = "generated in" in said
            if not said.endswith(NOISE) and (not spills or ("spill" in said and said.endswith("loop"))):
                remarks[f"{match['place']}: {said}" if match["place"] else said] = None
        elif not DETAIL.match(line):
            other.append(line)
    return list(remarks), "".join(other)


def reason_of(remarks: Sequence[str]) -> str:
    """Return why LLVM left a loop scalar, in its words and in plain ones; "" where it did not say.

    Of several reasons, the one that comes first in MEANING.
    """
    refusals = [remark for remark in remarks if REFUSED in remark]
    for key, meaning in MEANING.items():
        for remark in refusals:
            if key in remark:
                return f"{remark.replace(REFUSED, '')} – {meaning}"
    return refusals[0].replace(REFUSED, "") if refusals else ""
