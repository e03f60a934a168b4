"""LLVM's text as functions, blocks, instructions and loops, each instruction with its line of Python."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

DEFINE = re.compile(r'^define [^@]*@("[^"]+"|[\w.$-]+)\(')
BLOCK = re.compile(r'^("[^"]+"|[\w.$-]+):')
RESULT = re.compile(r'^  (%(?:"[^"]+"|[\w.$-]+)) = (.*)')
VALUE = re.compile(r'%(?:"[^"]+"|[\w.$-]+)')
TARGET = re.compile(r'label %("[^"]+"|[\w.$-]+)')
DEBUG = re.compile(r", !dbg !(\d+)")
NODE = re.compile(r"^!(\d+) = (?:distinct )?!(DI\w+)\((.*)\)$")
FIELD = re.compile(r'(\w+): (?:!(\d+)|"([^"]*)"|(-?\d+)|distinct !(\d+))')
TYPE = re.compile(r"<(\d+) x (\w+)>")
OPCODES = ("tail call", "notail call", "musttail call")
TERMINATORS = ("br", "ret", "switch", "unreachable", "indirectbr", "invoke", "resume")
ARITHMETIC = ("fadd", "fsub", "fmul", "fdiv", "frem")
FLOATING = re.compile(r"@llvm\.(fmuladd|fma|sqrt|vector\.reduce\.fadd|vector\.reduce\.fmul)\.")
CALLED = re.compile(r'call [^@]*@("[^"]+"|[\w.$-]+)\(')
LIBRARIES = ("/numba/", "/numpy/", "/llvmlite/")


@dataclass
class Instruction:
    """One instruction: where its text begins (a line's number), its result's name ("" without), operation and place.

    `source` is the (file, line) of Python, None where nothing tells.
    """

    at: int
    op: str
    text: str
    result: str = ""
    source: tuple[str, int] | None = None

    @property
    def operands(self) -> list[str]:
        """The names of the values that it reads."""
        return VALUE.findall(self.text)

    @property
    def width(self) -> int:
        """How many elements the widest vector in it has."""
        return max((int(found[1]) for found in TYPE.finditer(self.text)), default=1)

    @property
    def fused(self) -> bool:
        """Whether it is a multiply-add."""
        return self.op == "call" and (match := FLOATING.search(self.text)) is not None and match[1].startswith("fm")

    @property
    def flops(self) -> int:
        """Floating-point operations: for each element an addition, product, quotient or root 1, a multiply-add 2."""
        if self.op in ARITHMETIC or (self.op == "call" and FLOATING.search(self.text)):
            return (2 if self.fused else 1) * self.width
        return 0


@dataclass
class Block:
    """A basic block: instructions, the last one its terminator; the names of the blocks that may follow."""

    name: str
    number: int
    instructions: list[Instruction] = field(default_factory=list)
    successors: list[str] = field(default_factory=list)


@dataclass
class Function:
    """A function: its blocks by name, in the order of the text, and where its text begins."""

    symbol: str
    at: int
    blocks: dict[str, Block] = field(default_factory=dict)
    loops: "list[Loop]" = field(default_factory=list)


@dataclass
class Loop:
    """A natural loop: its blocks with those of loops inside; `depth` counts from 1."""

    function: Function
    header: str
    blocks: set[str]
    depth: int = 1
    parent: "Loop | None" = None
    children: "list[Loop]" = field(default_factory=list)

    @property
    def own(self) -> list[Block]:
        """The blocks that are in no inner loop."""
        inner = set().union(*(child.blocks for child in self.children))
        return [block for name, block in self.function.blocks.items() if name in self.blocks - inner]

    @property
    def instructions(self) -> list[Instruction]:
        """The instructions that are in no inner loop."""
        return [one for block in self.own for one in block.instructions]


def parse(text: str, home: tuple[str, int, int] = ("", 0, 0)) -> list[Function]:
    """Return the functions that LLVM's text defines.

    `home` is the file of the function with its first and last line: that is where lines lie of what Numba writes itself
    for a prange; its other lines are of no interest.
    """
    lines = text.splitlines()
    places = Places(lines, home)
    functions: list[Function] = []
    function: Function | None = None
    block = Block("", 0)
    count, index = 0, 0
    while index < len(lines):
        line = lines[index]
        if match := DEFINE.match(line):
            function = Function(match[1].strip('"'), index)
            functions.append(function)
            block = Block("", count)
            count += 1
        elif line == "}" and function:
            function.loops = list(find_loops(function))
            function = None
        elif function and (match := BLOCK.match(line)):
            if block.instructions:
                block = Block("", count)
                count += 1
            block.name = match[1].strip('"')
            function.blocks[block.name] = block
        elif function and line.startswith("  ") and not line.lstrip().startswith(("#dbg_", "]", ";")):
            at = index
            if line.endswith("["):
                while not lines[index].startswith("  ]"):
                    index += 1
                line = " ".join(lines[at : index + 1])
            function.blocks.setdefault(block.name, block)
            match = RESULT.match(line)
            rest = match[2] if match else line.strip()
            op = next((name.split()[1] for name in OPCODES if rest.startswith(name)), rest.split(" ")[0].rstrip(","))
            found = DEBUG.search(rest)
            one = Instruction(at, op, rest, match[1] if match else "", places.of(int(found[1])) if found else None)
            block.instructions.append(one)
            if op in TERMINATORS:
                block.successors = [name.strip('"') for name in TARGET.findall(rest)]
        index += 1
    return functions


class Places:
    """Where LLVM's debug locations lie in Python."""

    def __init__(self, lines: Iterable[str], home: tuple[str, int, int]) -> None:
        self.home = home
        self.nodes: dict[int, dict[str, str]] = {}
        for line in lines:
            if line.startswith("!") and (match := NODE.match(line)):
                fields = {found[1]: next(filter(None, found.groups()[1:]), "") for found in FIELD.finditer(match[3])}
                self.nodes[int(match[1])] = fields | {"kind": match[2]}

    def file_of(self, scope: str) -> str:
        """Return the file of a scope."""
        node = self.nodes.get(int(scope or -1), {})
        while node and "file" not in node:
            node = self.nodes.get(int(node.get("scope") or -1), {})
        file = self.nodes.get(int(node.get("file") or -1), {})
        name = file.get("filename", "")
        if name.startswith("<"):
            return "<>"
        return str(PurePath(file.get("directory", "")) / name)

    def of(self, number: int) -> tuple[str, int] | None:
        """Return the innermost place in the user's own files, as far as inlining tells, of a location."""
        last = None
        node = self.nodes.get(number)
        while node:
            line, file = int(node.get("line") or 0), self.file_of(node.get("scope", ""))
            if file == "<>":
                file = self.home[0] if self.home[1] <= line <= self.home[2] else ""
            if line and file:
                last = file, line
                if not any(part in file for part in LIBRARIES):
                    return last
            node = self.nodes.get(int(node.get("inlinedAt") or -1))
        return last


def called_name(text: str) -> str:
    """Return the function that a call names; "" for one by a pointer."""
    match = CALLED.search(text)
    return match[1].strip('"') if match else ""


def find_loops(function: Function) -> Iterator[Loop]:
    """Yield a function's loops, outer ones before those inside."""
    yield from nested(function, list(function.blocks), None)


def nested(function: Function, names: list[str], parent: Loop | None) -> Iterator[Loop]:
    """Yield the loops among some blocks: strongly connected parts, and, without their headers, the loops inside."""
    inside = set(names)
    follow = {name: [other for other in function.blocks[name].successors if other in inside] for name in names}
    for part in connected(follow):
        if len(part) == 1 and next(iter(part)) not in follow[next(iter(part))]:
            continue
        entries = {
            other
            for name, block in function.blocks.items()
            if name not in part
            for other in block.successors
            if other in part
        }
        ordered = [name for name in function.blocks if name in part]
        header = next((name for name in ordered if name in entries), ordered[0])
        loop = Loop(function, header, set(part), parent.depth + 1 if parent else 1, parent)
        if parent:
            parent.children.append(loop)
        yield loop
        yield from nested(function, [name for name in ordered if name != header], loop)


def connected(follow: Mapping[str, list[str]]) -> list[set[str]]:
    """Return the strongly connected parts of a graph (Tarjan's algorithm, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on: set[str] = set()
    parts = []
    for root in follow:
        if root in index:
            continue
        work = [(root, iter(follow[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on.add(root)
        while work:
            name, rest = work[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on.add(other)
                    work.append((other, iter(follow[other])))
                    break
                if other in on:
                    low[name] = min(low[name], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    part = set()
                    while name not in part:
                        part.add(stack[-1])
                        on.discard(stack.pop())
                    parts.append(part)
    return parts
