"""A compiled function once more, out of LLVM's text after all its passes: its instructions numbered, or with others.

Numba gives that text; machine code is made of it as Numba makes it, for the same processor.
"""

import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm

from lenumba.kernels.measure.line_table import LineTable, read_object
from lenumba.kernels.measure.llvm_code import Function

RECURSIVE = re.compile(r"^\.numba\.unresolved\$")  # what Numba has call a function that is not compiled yet
DEBUG = re.compile(r", !dbg !\d+")
ENVIRONMENT = re.compile(r"^@(_ZN08NumbaEnv[^ ]*) = ", re.M)
NODES = re.compile(r"^!(\d+) = ", re.M)
UNITS = re.compile(r"^!llvm\.dbg\.cu = .*\n", re.M)
FLAGS = re.compile(r"^!llvm\.module\.flags = !\{(.*)\}", re.M)


@contextmanager
def optimised_texts() -> Iterator[dict[int, str]]:
    """Collect the text of every library that is compiled meanwhile, as LLVM's passes leave it, by the library's id."""
    from numba.core.codegen import CPUCodeLibrary

    name = "_finalize_final_module"
    usual = getattr(CPUCodeLibrary, name)
    texts: dict[int, str] = {}

    def finalize(library: Any) -> None:
        texts[id(library)] = str(library._final_module)
        usual(library)

    setattr(CPUCodeLibrary, name, finalize)
    try:
        yield texts
    finally:
        setattr(CPUCodeLibrary, name, usual)


class Rebuilt:
    """Machine code of a function's text, in an engine of its own.

    Attributes
    ----------
    table
        Its symbols and lines; None where the object is no ELF file.
    recursive
        Where the code looks up functions that were not there yet when it was compiled, by what Numba calls them.
    """

    def __init__(self, text: str, overload: Any) -> None:
        """Compile.

        Raises
        ------
        RuntimeError
            Where the text is no valid module, or needs symbols that are not there.
        """
        codegen = overload.library.codegen
        options = {"opt": 3}
        codegen._customize_tm_options(options)
        if '"Debug Info Version"' not in text:  # LLVM would tell everybody that it leaves out the lines
            text = DEBUG.sub("", re.sub(r" !dbg !\d+ \{$", " {", UNITS.sub("", text), flags=re.M))
        objects: list[bytes] = []
        module = llvm.parse_assembly(text)
        machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(**options)
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.set_object_cache(lambda _, data: objects.append(data), lambda _: None)
        self.recursive = {one.name: ctypes.c_void_p() for one in module.global_variables if RECURSIVE.match(one.name)}
        for name, cell in self.recursive.items():
            self.engine.add_global_mapping(module.get_global_variable(name), ctypes.addressof(cell))
        self.engine.finalize_object()
        self.module = module
        for name, cell in self.recursive.items():
            symbol = RECURSIVE.sub("", name)
            cell.value = self.engine.get_function_address(symbol) or codegen._engine.get_function_address(symbol)
        for name in ENVIRONMENT.findall(text):
            self._share(name.strip('"'), codegen)
        own = self.engine.get_global_value_address(overload.fndesc.env_name)
        if own:
            ctypes.c_void_p.from_address(own).value = id(overload.environment)
        self.overload = overload
        self.wrapper = self.engine.get_function_address(overload.fndesc.llvm_cpython_wrapper_name)
        if not self.wrapper:
            raise RuntimeError("the function's wrapper is not there")
        try:
            self.table: LineTable | None = read_object(b"".join(objects[:1]))
        except (ValueError, IndexError):
            self.table = None

    def _share(self, name: str, codegen: Any) -> None:
        """Give a callee's environment, which Numba set when it compiled that, to this code, too."""
        try:
            there, here = codegen._engine.get_global_value_address(name), self.engine.get_global_value_address(name)
        except (AttributeError, RuntimeError):
            return
        if there and here:
            ctypes.c_void_p.from_address(here).value = ctypes.c_void_p.from_address(there).value

    def address(self, name: str) -> int:
        """Return where a global lies."""
        return int(self.engine.get_global_value_address(name))

    def function(self) -> Callable[[Sequence[Any]], Any]:
        """Return what calls the code with a tuple of arguments, one for each parameter."""
        call = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(self.wrapper)
        return lambda arguments: call(None, tuple(arguments), None)

    def starts(self) -> list[int]:
        """Return where its functions begin."""
        return [self.engine.get_function_address(name) for name in (self.table.symbols if self.table else ())]

    def places(self) -> list[tuple[int, int]]:
        """Return (address, line) of the code in the order of addresses; line 0 ends a stretch."""
        if self.table is None:
            return []
        bases: dict[int, int] = {}
        for name, (section, offset) in self.table.symbols.items():
            if section not in bases and (address := self.engine.get_function_address(name)):
                bases[section] = address - offset
        return sorted((bases[section] + at, line) for section, at, line in self.table.rows if section in bases)


def numbered(text: str, functions: Sequence[Function]) -> str:
    """Return LLVM's text in which every instruction's line number is its own place in the text, from 1 on."""
    lines = [DEBUG.sub("", line) for line in text.splitlines()]
    after = 1 + max((int(number) for number in NODES.findall(text)), default=0)
    unit, file, kind, nothing = after, after + 1, after + 2, after + 3
    notes = [
        f"!{unit} = distinct !DICompileUnit(language: DW_LANG_C99, file: !{file}, isOptimized: true, "
        "runtimeVersion: 0, emissionKind: LineTablesOnly)",
        f'!{file} = !DIFile(filename: "llvm", directory: "")',
        f"!{kind} = !DISubroutineType(types: !{nothing})",
        f"!{nothing} = !{{}}",
    ]
    after += 4
    for function in functions:
        scope, after = after, after + 1
        notes.append(
            f'!{scope} = distinct !DISubprogram(name: "f", scope: !{file}, file: !{file}, line: {function.at + 1}, '
            f"type: !{kind}, scopeLine: {function.at + 1}, spFlags: DISPFlagDefinition, unit: !{unit})"
        )
        head = re.sub(r" !dbg !\d+", "", lines[function.at])
        lines[function.at] = f"{head[:-1]}!dbg !{scope} {{"
        for block in function.blocks.values():
            for one in block.instructions:
                at = one.at
                while lines[at].endswith("["):
                    at = next(k for k in range(at, len(lines)) if lines[k].startswith("  ]"))
                lines[at] += f", !dbg !{after}"
                notes.append(f"!{after} = !DILocation(line: {one.at + 1}, scope: !{scope})")
                after += 1
    body = "\n".join(line for line in lines if not line.lstrip().startswith("#dbg_"))
    found = UNITS.search(body)
    old = re.search(r"\{(.*)\}", found[0]) if found else None
    units = f"{old[1]}, " if old and old[1] else ""
    body = UNITS.sub("", body)
    if not FLAGS.search(body):
        notes.append(f'!llvm.module.flags = !{{!{after}}}\n!{after} = !{{i32 2, !"Debug Info Version", i32 3}}')
    elif '"Debug Info Version"' not in body:
        notes.append(f'!{after} = !{{i32 2, !"Debug Info Version", i32 3}}')
        body = FLAGS.sub(lambda match: f"!llvm.module.flags = !{{{match[1]}, !{after}}}", body)
    return f"{body}\n!llvm.dbg.cu = !{{{units}!{unit}}}\n" + "\n".join(notes) + "\n"
