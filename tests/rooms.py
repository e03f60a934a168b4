"""The rooms as CONTRIBUTING lists them, the files in them, and what those import, read from the source text."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("commands", "engine", "extras", "kernels")
FILES = [
    ROOT / "__init__.py",
    ROOT / "views.py",
    ROOT / "__main__.py",
    ROOT / "cli.py",
    *(path for name in FOLDERS for path in sorted((ROOT / name).rglob("*.py"))),
]
HALLS = ("engine/__init__.py", "kernels/__init__.py")  # only say what their rooms are


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    return ".".join(["lenumba", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def list_rooms() -> dict[str, str]:
    """Return what each room knows, in the order of CONTRIBUTING's list."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| room |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1:3] for row in text.splitlines()[2:]]
    return {name: knows.strip() for names, knows in rows for name in re.findall(r"`([^`]+)`", names)}


ROOMS = list(list_rooms())


def room_of(path: Path) -> str | None:
    """Return the room that lists a file, by itself or by its folder."""
    name = relative(path)
    return next((room for room in ROOMS if name == room or name.startswith(f"{room}/")), None)


def imported(path: Path) -> set[str]:
    """Return what a file imports, anywhere in it: modules, and members as ``module.member``."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_imported(path: Path) -> list[Path]:
    """Return the project's files that a file imports."""
    names = {name if name in MODULES else name.rpartition(".")[0] for name in imported(path)}
    return sorted({MODULES[name] for name in names if name in MODULES} - {path})


def rooms_imported() -> dict[str, set[str]]:
    """Return the other rooms that each room imports from."""
    found: dict[str, set[str]] = {room: set() for room in ROOMS}
    for path in FILES:
        if own := room_of(path):
            found[own] |= {room for file in files_imported(path) if (room := room_of(file)) and room != own}
    return found
