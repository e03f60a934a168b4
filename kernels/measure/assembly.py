"""What LLVM made of a function, read off its assembly: loops, vector width, multiply-adds, spills, scalar remainders.

Only text is looked at (x86-64 in AT&T syntax, AArch64), so that anything Numba compiles can be judged.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

ARITHMETIC = r"(?:fn?m(?:add|sub)\d*|fmaddsub\d*|add|sub|mul|div|sqrt|max|min|cmp\w*|blend\w*|rndscale)"
X86_PACKED = re.compile(rf"\tv?{ARITHMETIC}p[sd]\s")
X86_SCALAR = re.compile(rf"\tv?{ARITHMETIC}s[sd]\s")
X86_FMA = re.compile(r"\tvfn?m(?:add|sub)\d*[ps][sd]\s")
X86_INTEGER = re.compile(r"\tv?p(?:add|sub|mull?|max[su]|min[su]|cmp\w*)[bwdq]+\s")
X86_SCALAR_MOVE = re.compile(r"\tv?movs[sd]\s|\tldr\t[sd]\d|\tstr\t[sd]\d")
CALL = re.compile(r"\t(?:callq?|blr?)\s")
X86_MOVE = re.compile(r"\tv?mov(?:[au]p[sd]|dq[au]\d*|nt\w+)\s")
ARM_PACKED = re.compile(r"\tf(?:ml[as]|add|sub|mul|div|sqrt|maxnm|minnm|max|min)\tv\d+\.(\d)([sd])")
ARM_SCALAR = re.compile(r"\tf(?:n?m(?:add|sub)|add|sub|mul|div|sqrt|maxnm|minnm)\t([sd])\d+")
ARM_FMA = re.compile(r"\tf(?:ml[as]|n?m(?:add|sub))\t")
STACK = re.compile(r"-?\w*\(%rsp\)|\[sp(?:, #-?\d+)?\]")
FRAME = re.compile(r"-?\w*\(%rbp\)|\[x29(?:, #-?\d+)?\]")  # only where a function keeps a frame pointer
FRAME_SETUP = re.compile(r"\tmovq\t%rsp, %rbp|\t(?:mov|add)\tx29, sp")
LIBRARY_CALL = re.compile(r"(memset|memcpy|memmove)")
VECTOR_REGISTER = re.compile(r"%([xyz])mm\d+|\b([qv])\d+\b")
LABEL = re.compile(r"^(\.?L?[\w.$@]+):")
JUMP = re.compile(r"\t(?:j[a-z]+|b(?:\.[a-z]+)?|cbn?z\t\w+,|tbn?z\t\w+, #\d+,)\s+(\.L\w+)")
RETURN = re.compile(r"\tretq?\b")
FILE = re.compile(r'^\t\.file\t(\d+) (?:"[^"]*" )?"([^"]*)"', re.M)  # only where it was compiled with line numbers
PLACE = re.compile(r"\t\.loc\t(\d+) (\d+) ")
SCALAR = "not vectorised"
LATENCY, FEW = 4, 3  # cycles of a multiply-add; fewer accumulators than it times the units leave the units idle
BITS = {"x": 128, "y": 256, "z": 512, "q": 128, "v": 128}


@dataclass
class Code:
    """Instructions counted in a stretch of assembly.

    `width` is the widest arithmetic's number of elements, `move_width` that of loads and stores in float32.
    """

    packed: int = 0
    scalar: int = 0
    fma: int = 0
    width: int = 1
    register: str = ""
    move_width: int = 0
    integer: int = 0
    slots: set[str] = field(default_factory=set)
    call: str = ""
    targets: set[str] = field(default_factory=set)
    calls: int = 0
    scalar_moves: int = 0

    @property
    def arithmetic(self) -> int:
        """Floating-point instructions."""
        return self.packed + self.scalar

    @property
    def moves(self) -> bool:
        """Whether it moves vectors, or does anything else that is worth a word."""
        return bool(self.integer or self.move_width or (self.calls and self.scalar_moves))


@dataclass
class Loop:
    """A loop of a function: line numbers in its text, nesting depth (1: outermost), and its own instructions.

    `source` is the first line of the Python file that it was made of, where that is known, as "file:line".
    """

    function: str
    first: int
    last: int
    depth: int = 1
    innermost: bool = True
    source: str = ""
    code: Code = field(default_factory=Code)

    @property
    def verdict(self) -> str:
        """What became of the loop, in words."""
        return describe_code(self.code)


def split_functions(text: str) -> dict[str, list[str]]:
    """Return the functions' lines by symbol."""
    functions: dict[str, list[str]] = {}
    symbols = set(re.findall(r"\.type\s+([^\s,]+),\s*[@%]function", text))
    if not symbols:  # Mach-O has no .type
        symbols = set(re.findall(r"^(_\w+):", text, re.M))
    lines: list[str] | None = None
    for line in text.splitlines():
        label = line.split(":")[0] if line[:1] not in ("\t", " ", "#", ";") else ""
        if label.strip('"') in symbols:
            lines = functions.setdefault(label.strip('"'), [])
        elif line.startswith(("\t.size", "\t.section")):
            lines = None
        elif lines is not None:
            lines.append(line)
    return functions


def count_code(lines: Sequence[str], frame: bool = False) -> Code:
    """Count the instructions that tell how well a stretch is vectorised; `frame`: it has a frame pointer."""
    code = Code()
    for line in lines:
        if line[:1] != "\t" or line[1:2] == ".":
            continue
        text = line.split("#")[0] if "%" in line else line.split("//")[0]
        registers = [a or b for a, b in VECTOR_REGISTER.findall(text)]
        widest = max((BITS[name] for name in registers), default=0)
        if X86_FMA.search(text) or ARM_FMA.search(text):
            code.fma += 1
            code.targets.add(re.split(r"[,\s]+", text.strip())[-1 if "%" in text else 1])
        arm = ARM_PACKED.search(text)
        if arm or X86_PACKED.search(text):
            code.packed += 1
            element = 64 if (arm and arm[2] == "d") or re.match(r"\t\w+pd\s", text) else 32
            if widest // element > code.width:
                code.width, code.register = widest // element, {512: "zmm", 256: "ymm"}.get(widest, "128-bit")
        elif X86_SCALAR.search(text) or ARM_SCALAR.search(text):
            code.scalar += 1
        elif X86_INTEGER.search(text):
            code.integer += 1
            code.move_width = max(code.move_width, widest // 32)
        code.calls += bool(CALL.match(text))
        code.scalar_moves += bool(X86_SCALAR_MOVE.search(text))
        if match := LIBRARY_CALL.search(text):
            code.call = match[1]
        if widest and (place := STACK.search(text) or (frame and FRAME.search(text))):
            code.slots.add(place[0])
        elif widest and (X86_MOVE.search(text) or re.match(r"\t(?:ld|st)[rp]\tq", text)):
            code.move_width = max(code.move_width, widest // 32)
    return code


def find_loops(function: str, lines: Sequence[str], files: Mapping[str, str] = MappingProxyType({})) -> list[Loop]:
    """Return a function's loops: stretches from a label to the last jump back to it, outer ones first.

    `files` are the Python files by the numbers that line numbers refer to.
    """
    frame = any(FRAME_SETUP.match(line) for line in lines[:40])
    labels = {match[1]: k for k, line in enumerate(lines) if (match := LABEL.match(line))}
    ends: dict[int, int] = {}
    for k, line in enumerate(lines):
        match = JUMP.match(line)
        first = labels.get(match[1], k + 1) if match else k + 1
        # A cold block at the end that jumps back to the function's way out is no loop.
        if first <= k and not any(RETURN.match(other) for other in lines[first:k]):
            ends[first] = k
    loops = [Loop(function, first, last) for first, last in sorted(ends.items())]
    for loop in loops:
        others = [other for other in loops if other is not loop]
        inside = [other for other in others if loop.first <= other.first and other.last <= loop.last]
        loop.innermost = not inside
        loop.depth = 1 + sum(other.first <= loop.first and loop.last <= other.last for other in others)
        taken = {k for other in inside for k in range(other.first, other.last + 1)}
        loop.source = first_place(lines[loop.first : loop.last + 1], files)
        loop.code = count_code([lines[k] for k in range(loop.first, loop.last + 1) if k not in taken], frame)
    return loops


def first_place(lines: Sequence[str], files: Mapping[str, str]) -> str:
    """Return the least line of the file that a stretch was made of, as "file:line"; "" where it is not known."""
    places = [(files[match[1]], int(match[2])) for line in lines if (match := PLACE.match(line)) and match[1] in files]
    places = [(file, line) for file, line in places if line and not file.startswith("<")]
    return "{}:{}".format(*min(place for place in places if place[0] == places[0][0])) if places else ""


def describe_code(code: Code) -> str:
    """Say how a stretch is vectorised."""
    if code.packed and code.width > 1 and 4 * code.packed >= code.scalar:
        text = f"vectorised {code.width}-wide ({code.register})"
    elif code.arithmetic:
        text = SCALAR
    elif code.calls and code.scalar_moves:
        return f"{SCALAR}, calls a function for each element"
    elif code.integer and code.move_width:
        text = f"integers, {32 * code.move_width}-bit vectors"
    elif code.move_width > 1:
        text = f"moves, {code.move_width}-wide"
    elif code.call:
        text = f"a call of {code.call}"
    else:
        return "scalar moves, no floating-point arithmetic"
    if code.packed and code.fma >= LATENCY and len(code.targets) <= FEW:
        text += f", waits for latency ({len(code.targets)} accumulator{'s' * (len(code.targets) != 1)})"
    return text + (f", spills {len(code.slots)} register{'s' * (len(code.slots) != 1)}" if code.slots else "")


def judge(text: str, ignore: Sequence[str] = ()) -> dict:
    """Judge a function (and what it calls) by its assembly.

    Parameters
    ----------
    text
        The assembly.
    ignore
        How symbols begin that are not to be looked at, such as wrappers.

    Returns
    -------
    dict
        ``verdict`` in words; ``width`` in elements and ``register`` of its hot loops; ``fma``, ``packed`` and
        ``scalar`` instructions in loops (anywhere, where nothing loops); ``spills``: vector slots on the stack that
        loops touch; ``remainders``: loops of scalar arithmetic beside vectorised ones; ``loops``: all with work.
    """
    loops: list[Loop] = []
    functions = {name: lines for name, lines in split_functions(text).items() if not name.startswith(tuple(ignore))}
    files = dict(FILE.findall(text))
    for name, lines in functions.items():
        loops += find_loops(name, lines, files)
    working = [loop for loop in loops if loop.code.arithmetic] or [
        loop
        for loop in loops
        if loop.innermost
        and (loop.code.integer or loop.code.move_width or (loop.code.calls and loop.code.scalar_moves))
    ]
    # Small loops are unrolled away; then the innermost code is that of a loop around, or of the whole function.
    vectorised = [loop for loop in working if loop.code.packed and loop.code.width > 1]
    remainders = []
    if working:
        hot = max(working, key=lambda loop: (loop.depth, loop.code.arithmetic))
        scalar_only = [loop for loop in working if loop.code.scalar and not loop.code.packed]
        near = [loop for loop in vectorised if loop.function == hot.function and loop.depth >= hot.depth - 1]
        if hot in scalar_only and near:
            # Scalars beside a vectorised loop about as deep: its remainder, or its twin for memory that overlaps.
            hot = max(near, key=lambda loop: (loop.depth, loop.code.packed))
        remainders = [loop for loop in scalar_only if hot in vectorised]
        codes, best = [loop.code for loop in working], hot.code
    else:
        codes = [count_code(lines) for lines in functions.values()]
        best = max(codes, key=lambda code: code.arithmetic, default=Code())
    slots = len(set().union(*(loop.code.slots for loop in working)))
    if not best.arithmetic and (lanes := [int(n) for n in re.findall(r"__svml_[a-z0-9]*?f?(\d+)_", text)]):
        best = Code(packed=1, width=max(lanes), register="SVML")
    verdict = describe_code(Code(**{**vars(best), "slots": {str(k) for k in range(slots)}}))
    if remainders:
        verdict += f", {len(remainders)} scalar remainder" + "s" * (len(remainders) > 1)
    return {
        "verdict": verdict,
        "width": best.width,
        "register": best.register,
        "fma": sum(code.fma for code in codes),
        "packed": sum(code.packed for code in codes),
        "scalar": sum(code.scalar for code in codes),
        "spills": slots,
        "remainders": len(remainders),
        "loops": [
            {"function": loop.function, "line": loop.first, "source": loop.source, "depth": loop.depth}
            | {"verdict": loop.verdict, "fma": loop.code.fma, "packed": loop.code.packed, "scalar": loop.code.scalar}
            for loop in working
        ],
    }


def annotate(text: str) -> str:
    """Return assembly in which a comment before each loop with work says what became of it."""
    notes: dict[int, list[str]] = {}
    lines = text.splitlines()
    files = dict(FILE.findall(text))
    starts = {line.split(":")[0].strip('"'): k for k, line in enumerate(lines) if line[:1] not in ("\t", " ", "#", "")}
    for name, body in split_functions(text).items():
        for loop in find_loops(name, body, files):
            if loop.code.arithmetic or loop.innermost:
                place = f", {loop.source}" if loop.source else ""
                note = f"# loop, depth {loop.depth}{place}: {loop.verdict}; {loop.code.fma} multiply-adds"
                notes.setdefault(starts[name] + 1 + loop.first, []).append(note)
    return "\n".join(part for k, line in enumerate(lines) for part in (*notes.get(k, ()), line))
