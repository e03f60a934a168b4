"""Machine code on disk and in memory: the program cache, and calls into compiled programs.

A cached program is one file, named by a hash of everything that its machine code depends on: the generated program,
the sources of the kernels that it reaches, the versions of Numba and llvmlite, and the CPU. It starts with a SHA-256
of that name and the rest, so an entry that is damaged, or another program's, is compiled again instead of being run.
It is machine code, never pickle; still, a folder that other users can write to is refused. A cache that fails in any
way costs time and nothing else. Loading needs llvmlite alone: a warm start never imports Numba.
"""

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from lenumba.kernels.compile.target import cpu_target, tell_settings

log = logging.getLogger("lenumba")

IMPORTS = re.compile(r"^\s*(?:from (\.*[\w.]*) )?import (\([^)]*\)|[^\n]*)", re.MULTILINE)
CTYPES = {"i64": ctypes.c_int64, "f32": ctypes.c_float, "f64": ctypes.c_double}


@dataclass(frozen=True)
class Source:
    """A program to compile: Python source text that defines `entry` with the argument types `signature`."""

    name: str
    text: str
    entry: str
    signature: Sequence[str]


@dataclass
class Native:
    """A compiled program, ready to call; the GIL is released while it runs.

    Attributes
    ----------
    cached
        Whether the machine code came from the cache.
    path
        The generated source, where the cache keeps it for people to read; None without a cache.
    """

    call: Callable[..., int]
    cached: bool
    path: Path | None
    engine: Any = field(repr=False, default=None)  # owns the memory that holds the machine code

    def __call__(self, *arguments: int | float) -> None:
        """Run the program. Pointers are passed as addresses (int)."""
        self.call(*arguments)


def cache_root() -> Path:
    """Return the folder of cached programs: under NUMBA_CACHE_DIR where that is set, else the user's cache."""
    if numba_dir := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(numba_dir) / "lenumba"
    if sys.platform != "darwin" and (folder := os.environ.get("XDG_CACHE_HOME")):
        return Path(folder) / "lenumba" / "programs"
    try:
        home = Path.home()
    except RuntimeError:  # a user of a container, whom no list of users knows
        return homeless_cache()
    return home.joinpath(*(("Library", "Caches") if sys.platform == "darwin" else (".cache",)), "lenumba", "programs")


@functools.cache
def homeless_cache() -> Path:
    """Return a folder of cached programs for a user without a home directory, and tell it, once."""
    folder = Path(tempfile.gettempdir()) / f"lenumba-{os.getuid()}"
    log.warning("no home directory: programs are cached in %s; set NUMBA_CACHE_DIR to a folder that stays", folder)
    return folder


@functools.cache
def environment_digest() -> str:
    """Return a SHA-256 over the compiler's versions and the CPU."""
    parts = (version("numba"), version("llvmlite"), sys.version_info[:2], cpu_target())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def kernel_files(text: str) -> set[str]:
    """Return the modules that a program's text imports, and those of the same packages that they import."""
    waiting, found = set(imported(text, "")), set[str]()
    packages = {name.partition(".")[0] for name in waiting}
    while waiting:
        name = waiting.pop()
        if name not in found and name.partition(".")[0] in packages and (source := module_text(name)) is not None:
            found.add(name)
            waiting |= imported(source, name.rpartition(".")[0])
    return found


@functools.lru_cache(256)
def imported(text: str, package: str) -> frozenset[str]:
    """Return what a module of `package` imports: modules, and members as ``module.member``, which may be modules."""
    names = set()
    for origin, members in IMPORTS.findall(text):
        listed = [member.split()[0] for member in members.strip("()").split(",") if member.split()]
        if origin.startswith("."):
            origin = resolve_name(origin, package) if package else origin[1:]
        names |= {origin, *(f"{origin}.{member}" for member in listed)} if origin else set(listed)
    return frozenset(names)


@functools.cache
def module_text(module: str) -> str | None:
    """Return the source of a module, None where there is no such file."""
    root, *rest = module.split(".")
    if len(rest) > 1 and module_text(module.rpartition(".")[0]) is not None:
        return None  # a member of a module, which has no modules inside
    path = root_file(root).parent.joinpath(*rest).with_suffix(".py") if rest else root_file(root)
    return path.read_text(encoding="utf-8") if path.is_file() else None


def root_file(name: str) -> Path:
    """Return the file of a top-level module or package, without importing it."""
    if name == __name__.partition(".")[0]:  # a folder of this name where Python was started may hide it
        return Path(__file__).parents[2] / "__init__.py"
    loaded = sys.modules.get(name)
    spec = None if loaded else find_spec(name)
    return Path(getattr(loaded, "__file__", None) or getattr(spec, "origin", None) or "")


def source_digest(source: Source) -> str:
    """Return a SHA-256 over a program's text and every file that can reach its machine code."""
    digest = hashlib.sha256(repr(source).encode())
    files = kernel_files(source.text)
    if imported(source.text, "") and not files:  # a key without them would find the code of other kernels
        raise ImportError(f"{source.name}: expected the source files of what the program imports, found none")
    for module in sorted(files):
        digest.update(f"{module}\n{module_text(module)}".encode())
    return digest.hexdigest()


def program_folder(source: Source) -> Path:
    """Return the folder that holds, or would hold, a program in the cache."""
    key = hashlib.sha256((environment_digest() + source_digest(source)).encode()).hexdigest()
    return cache_root() / f"{source.name}-{key[:16]}"


def module_name(source: Source) -> str:
    """Return the name under which a program's module is imported while it is compiled."""
    return f"lenumba.kernels._generated_{hashlib.sha256(source.text.encode()).hexdigest()[:16]}"


def get_program(source: Source, progress: Callable[[str, int, int], None] | None = None) -> Native:
    """Return the machine code of `source`, from the cache or newly compiled.

    Parameters
    ----------
    progress
        Called as ``progress(step, done, total)`` while the program is compiled.
    """
    tell_settings()
    folder = program_folder(source)
    path, entry = folder / "program.py", folder / "program.o"
    readable: Path | None = path
    with contextlib.ExitStack() as stack:
        try:
            open_private_folder(cache_root())
            open_private_folder(folder)
            stack.enter_context(exclusive(folder / "lock"))
        except OSError as error:
            log.warning("no program cache: %s; compiling for this run alone", error)
            return load_object(*compile_source(source, path, progress), source.signature, cached=False, path=None)
        if found := read_entry(entry):
            return load_object(*found, source.signature, cached=True, path=path)
        symbol, code = compile_source(source, path, progress)
        body = symbol.encode() + b"\n" + code
        try:
            for leftover in folder.glob(".*"):  # of processes that were killed while they wrote
                leftover.unlink()
            write_atomically(path, source.text.encode())
            write_atomically(entry, entry_digest(entry, body) + body)
        except OSError as error:
            log.warning("%s: the program is not cached (%s)", folder, error)
            readable = None
    return load_object(symbol, code, source.signature, cached=False, path=readable)


def is_cached(source: Source) -> bool:
    """Return whether the cache has an entry for a program, without looking whether it is whole."""
    return (program_folder(source) / "program.o").is_file()


def open_private_folder(folder: Path) -> None:
    """Create `folder` for this user alone; raise PermissionError where others could plant machine code in it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    check_private(folder)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is not writable")


def check_private(folder: Path) -> None:
    """Raise PermissionError where a folder is another user's, or others can write to it."""
    if os.name == "posix":
        status = folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise PermissionError(f"{folder} can be written by other users; run chmod go-w on it, or remove it")


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock that dies with the process, so that of several starting processes one compiles."""
    with path.open("w") as file:
        # Where there are no locks, entries are still written atomically, at worst compiled twice.
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("waiting for another process, which compiles the same program")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def entry_digest(path: Path, body: bytes) -> bytes:
    """Return the SHA-256, in hexadecimal, over the name of an entry's folder and what the entry holds."""
    return hashlib.sha256(path.parent.name.encode() + b"\n" + body).hexdigest().encode()


def read_entry(path: Path) -> tuple[str, bytes] | None:
    """Return the symbol and object code of a cache entry, or None where it is missing or damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("cannot read the cached program (%s); compiling it again", error)
        return None
    checksum, body = content[:64], content[64:]
    if entry_digest(path, body) != checksum:
        log.warning("the cached program %s is damaged; compiling it again", path)
        return None
    symbol, _, code = body.partition(b"\n")
    return symbol.decode(), code


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file beside `path` and rename it over `path`."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def compile_source(source: Source, path: Path, progress: Callable | None) -> tuple[str, bytes]:
    """Execute the program's source as a module, compile its STEPS one by one, then the entry; return machine code."""
    from lenumba.kernels.compile.jit import compile_kernel, object_code, own_options

    # Numba looks functions up by their module's name, so it must be importable and nobody else's.
    module = types.ModuleType(module_name(source))
    sys.modules[module.__name__] = module
    exec(compile(source.text, str(path), "exec"), module.__dict__)
    tasks = [*getattr(module, "STEPS", []), (getattr(module, source.entry), source.signature)]
    report = progress or (lambda *_: None)
    with own_options(*cpu_target(), source.entry):
        for done, (function, signature) in enumerate(tasks):
            report(function.__name__.replace("_", " "), done, len(tasks) + 1)
            overload = compile_kernel(function, signature)
        report("machine code", len(tasks), len(tasks) + 1)
        return object_code(overload)


def load_object(symbol: str, code: bytes, signature: Sequence[str], *, cached: bool, path: Path | None) -> Native:
    """Link relocatable object code into this process and return it as a callable."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    engine = llvm.create_mcjit_compiler(
        llvm.parse_assembly(""), llvm.Target.from_default_triple().create_target_machine()
    )
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    # Numba's calling convention: return slot and exception slot come first, the status is returned.
    kinds: list[Any] = [CTYPES.get(name, ctypes.c_void_p) for name in signature]
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)
    function = prototype(engine.get_function_address(symbol))
    slots = (ctypes.c_void_p * 2)()
    call = functools.partial(function, ctypes.byref(slots), ctypes.byref(slots, 8))  # they keep the slots alive
    return Native(call, cached, path, engine)
