"""A function's optimised LLVM code that counts: how often each block runs, its accesses to memory, its branches."""

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lenumba.kernels.compile.native import Native
from lenumba.kernels.measure.listings import is_wrapper
from lenumba.kernels.measure.llvm_code import Block, Function, Instruction

COUNTS, SUBNORMALS, SLOT = "lenumba.counts", "lenumba.subnormals", "lenumba.slot"
POINTER = re.compile(r'ptr (?:\w+ |align \d+ )*(%(?:"[^"]+"|[\w.$-]+))')
POINTERS = re.compile(r'<(\d+) x ptr> (?:align \d+ )?(%(?:"[^"]+"|[\w.$-]+))')
MOVED = re.compile(r"@llvm\.(memcpy|memmove|memset)\..*i64 (%(?:\"[^\"]+\"|[\w.$-]+)|\d+), i1 ")
CONDITION = re.compile(r'br i1 (%(?:"[^"]+"|[\w.$-]+)),')
FLOATS = re.compile(r"(?:<(\d+) x )?\b(double|float)\b>?")
FLOAT_OPS = ("fadd", "fsub", "fmul", "fdiv", "load")
SIZES = {"double": 8, "float": 4, "ptr": 8, "half": 2}
SUBNORMAL = 0x90  # of llvm.is.fpclass: negative and positive ones


# A stretch of memory goes to the tracer line by line.
RANGE = """
define internal void @lenumba.range(i64 %number, i64 %first, i64 %size, i64 %store) {{
entry:
  %last = add i64 %first, %size
  %any = icmp ne i64 %size, 0
  br i1 %any, label %lines, label %done
lines:
  %at = phi i64 [ %first, %entry ], [ %next, %lines ]
{}
  %next = add i64 %at, 64
  %more = icmp ult i64 %next, %last
  br i1 %more, label %lines, label %done
done:
  ret void
}}"""


@dataclass
class Place:
    """An instruction where it stands; of one that moves whole lines, whether it is about those that it stores."""

    function: Function
    block: Block
    one: Instruction
    stores_lines: bool | None = None


@dataclass
class Instrumented:
    """LLVM's text with counters, and what their numbers stand for."""

    text: str
    blocks: list[tuple[Function, Block]]
    accesses: list[Place] = field(default_factory=list)
    branches: list[Place] = field(default_factory=list)


def size_of(kind: str) -> int:
    """Return the bytes of a value of LLVM's type: a number or a vector of them."""
    match = re.match(r"<(\d+) x (\w+)>|(\w+)", kind)
    if not match:
        return 8
    name = match[2] or match[3]
    bits = re.fullmatch(r"i(\d+)", name)
    return int(match[1] or 1) * (max(1, int(bits[1]) // 8) if bits else SIZES.get(name, 8))


def pointers_of(one: Instruction) -> tuple[list[str], bool]:
    """Return LLVM code's pointers that an instruction goes to memory by, and whether it stores there."""
    if one.op == "load" and (match := POINTER.search(one.text)):
        return [match[1]], False
    if one.op == "store" and (found := POINTER.findall(one.text)) and f"ptr {found[-1]}, align" in one.text:
        return [found[-1]], True
    if one.op == "call" and (match := re.search(r"@llvm\.masked\.(load|store)\.", one.text)):
        return POINTER.findall(one.text)[:1], match[1] == "store"
    return [], False


def instrument(text: str, functions: Sequence[Function], access: str, branch: str, sharing: str = "") -> Instrumented:
    """Return the text with counters in all functions but wrappers.

    Parameters
    ----------
    access, branch, sharing
        LLVM's call of the tracer of each, with ``{}`` for its arguments behind the state; "": none.
    """
    lines = text.splitlines()
    found = Instrumented("", [])
    before: dict[int, list[str]] = {}
    after: dict[int, list[str]] = {}
    declared: set[str] = set()
    for function in functions:
        if is_wrapper(function.symbol):
            continue
        for block in function.blocks.values():
            number = len(found.blocks)
            found.blocks.append((function, block))
            body = [one for one in block.instructions if one.op != "phi"]
            if body and not sharing:
                before.setdefault(body[0].at, []).extend(increment(COUNTS, number, f"c{number}", "1"))
            for one in body:
                code = before.setdefault(one.at, [])
                if sharing:
                    pointers, stores = pointers_of(one)
                    if stores:
                        code += passed(f"s{one.at}", pointers[0], sharing, len(found.accesses), f"%lenumba.t{one.at}")
                        code.insert(-1, f"  %lenumba.t{one.at}.p = call ptr @llvm.thread.pointer.p0()")
                        code.insert(-1, f"  %lenumba.t{one.at} = ptrtoint ptr %lenumba.t{one.at}.p to i64")
                        found.accesses.append(Place(function, block, one))
                    continue
                code += traced(one, access, found, Place(function, block, one))
                if one.op == "br" and (match := CONDITION.search(one.text)):
                    code.append(f"  %lenumba.b{one.at} = zext i1 {match[1]} to i64")
                    code.append(branch.format(f"b{one.at}", f"i64 {len(found.branches)}, i64 %lenumba.b{one.at}"))
                    found.branches.append(Place(function, block, one))
                after.setdefault(one.at, []).extend(subnormal(one, number, declared))
    out = []
    for k, line in enumerate(lines):
        out += [*before.get(k, ()), line, *after.get(k, ())]
    count = len(found.blocks)
    out += [f"@{name} = global [{count} x i64] zeroinitializer, align 8" for name in (COUNTS, SUBNORMALS)]
    out.append(f"@{SLOT} = global i64 0, align 8")
    present = set(re.findall(r"^declare [^@]*@(llvm\.[\w.]+)\(", text, re.M))
    out += [f"declare {line}" for line in sorted(declared) if line.partition("@")[2].partition("(")[0] not in present]
    if sharing:
        out.append("declare ptr @llvm.thread.pointer.p0()")
    else:
        out.append(RANGE.format(access.format("line", "i64 %number, i64 %at, i64 %store")))
    found.text = "\n".join(out) + "\n"
    return found


def increment(name: str, number: int, value: str, by: str) -> list[str]:
    """Return LLVM code that adds to one of a global's numbers."""
    place = f"getelementptr (i64, ptr @{name}, i64 {number})"
    return [
        f"  %lenumba.{value}.old = load i64, ptr {place}",
        f"  %lenumba.{value}.new = add i64 %lenumba.{value}.old, {by}",
        f"  store i64 %lenumba.{value}.new, ptr {place}",
    ]


def passed(value: str, pointer: str, call: str, number: int, last: str) -> list[str]:
    """Return LLVM code that passes an address to a tracer."""
    address = f"%lenumba.{value}"
    arguments = f"i64 {number}, i64 {address}, i64 {last}"
    return [f"  {address} = ptrtoint ptr {pointer} to i64", call.format(value, arguments)]


def traced(one: Instruction, access: str, found: Instrumented, place: Place) -> list[str]:
    """Return LLVM code that passes an instruction's addresses to the tracer."""
    pointers, stores = pointers_of(one)
    code = []
    number = len(found.accesses)
    for pointer in pointers:
        code += passed(f"a{one.at}", pointer, access, number, str(int(stores)))
    if one.op == "call" and (match := re.search(r"@llvm\.masked\.(gather|scatter)\.", one.text)):
        lanes = POINTERS.search(one.text)
        for k in range(int(lanes[1])) if lanes else ():
            assert lanes
            code.append(f"  %lenumba.l{one.at}.{k} = extractelement <{lanes[1]} x ptr> {lanes[2]}, i64 {k}")
            stores = match[1] == "scatter"
            code += passed(f"a{one.at}.{k}", f"%lenumba.l{one.at}.{k}", access, number, str(int(stores)))
    if code:
        found.accesses.append(place)
    return [*code, *moved(one, found, place)]


def moved(one: Instruction, found: Instrumented, place: Place) -> list[str]:
    """Return LLVM code that passes to the tracer the lines that an instruction moves or sets."""
    match = MOVED.search(one.text) if one.op == "call" else None
    if not match:
        return []
    code = []
    for k, pointer in enumerate(POINTER.findall(one.text)):  # where it writes to comes first
        address = f"%lenumba.m{one.at}.{k}"
        arguments = f"i64 {len(found.accesses)}, i64 {address}, i64 {match[2]}, i64 {int(k == 0)}"
        code += [f"  {address} = ptrtoint ptr {pointer} to i64", f"  call void @lenumba.range({arguments})"]
        found.accesses.append(replace(place, stores_lines=k == 0))
    return code


def subnormal(one: Instruction, number: int, declared: set[str]) -> list[str]:
    """Return LLVM code that counts the subnormal numbers among an instruction's results."""
    if not one.result or not (one.op in FLOAT_OPS or one.fused):
        return []
    match = FLOATS.search(one.text)
    if not match or (one.op == "load" and not one.text.startswith(f"load {match[0]}")):
        return []
    lanes, kind = match[1], match[2]
    bits = "f64" if kind == "double" else "f32"
    name = f"lenumba.n{one.at}"
    if lanes:
        test = f"<{lanes} x i1> @llvm.is.fpclass.v{lanes}{bits}(<{lanes} x {kind}>"
        declared.add(f"{test}, i32)")
        declared.add(f"i{lanes} @llvm.ctpop.i{lanes}(i{lanes})")
        code = [
            f"  %{name} = call {test} {one.result}, i32 {SUBNORMAL})",
            f"  %{name}.i = bitcast <{lanes} x i1> %{name} to i{lanes}",
            f"  %{name}.c = call i{lanes} @llvm.ctpop.i{lanes}(i{lanes} %{name}.i)",
            f"  %{name}.z = zext i{lanes} %{name}.c to i64",
        ]
    else:
        declared.add(f"i1 @llvm.is.fpclass.{bits}({kind}, i32)")
        code = [
            f"  %{name} = call i1 @llvm.is.fpclass.{bits}({kind} {one.result}, i32 {SUBNORMAL})",
            f"  %{name}.z = zext i1 %{name} to i64",
        ]
    return [*code, *increment(SUBNORMALS, number, f"n{one.at}", f"%{name}.z")]


def tracer_call(program: Native, state: np.ndarray) -> str:
    """Return LLVM's call of a tracer, with ``{}`` for its arguments behind the state."""
    address = ctypes.cast(program.call.func, ctypes.c_void_p).value  # type: ignore[attr-defined]
    # Numba's functions begin with a place for the result and one for an exception.
    data = f"ptr inttoptr (i64 {state.ctypes.data} to ptr)"
    return f"  %lenumba.r{{}} = call i32 inttoptr (i64 {address} to ptr)(ptr @{SLOT}, ptr @{SLOT}, {data}, {{}})"
