"""How the modules depend on one another, seen from their source text and from what a process imports."""

import ast
import graphlib
import importlib.util
import re
import subprocess
import sys

import pytest
from rooms import FILES, HALLS, ROOMS, ROOT, files_imported, imported, relative, room_of, rooms_imported

ALL = [*FILES, *(ROOT / "configs").glob("*.py"), *(ROOT / "tests").glob("*.py")]
HEAVY = ("numba", "numpy", "pydantic", "llvmlite")


def below(names: set[str], package: str) -> list[str]:
    return sorted(name for name in names if name == package or name.startswith(f"{package}."))


def test_there_are_files_to_look_at():
    assert {"cli.py", "engine/training/trainer.py", "kernels/compile/jit.py"} <= set(map(relative, FILES))


def test_the_list_of_rooms_is_complete():
    assert len(ROOMS) > 20
    assert [room for room in ROOMS if not (ROOT / room).exists()] == []
    assert [relative(path) for path in FILES if room_of(path) is None and relative(path) not in HALLS] == []


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path)], ids=relative)
def test_imports_flow_one_way(path):
    own = ROOMS.index(room_of(path))
    assert [relative(file) for file in files_imported(path) if ROOMS.index(room_of(file)) > own] == []


def test_no_files_import_one_another_in_a_circle():
    """Lazy and type-only imports count, too: the sorter names the circle."""
    list(graphlib.TopologicalSorter({path: files_imported(path) for path in FILES}).static_order())


def test_the_picture_shows_every_room_and_import():
    """docs/architecture.py draws it."""
    text = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    drawn = set(re.findall(r"<title>([^<]+)</title>", text))
    assert drawn == {f"{room} → {other}" for room, others in rooms_imported().items() for other in others}


WALKS = re.findall(r"\| `([\w/]+\.py)` `(\w+)` \|", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "name"), WALKS)
def test_the_walks_lead_to_functions_that_are_there(file, name):
    assert len(WALKS) > 15
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize("room", [room for room in ROOMS if (ROOT / room).is_dir()])
def test_every_room_says_what_it_knows(room):
    docstring = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))
    assert len(docstring) > 60


@pytest.mark.parametrize("path", [p for p in FILES if not relative(p).startswith("kernels/")], ids=relative)
def test_numba_stays_below_kernels(path):
    assert below(imported(path), "numba") == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_only_one_module_calls_njit(path):
    calls = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil"}
    uses = [name for name in below(imported(path), "numba") if name.rpartition(".")[2] in calls]
    attributes = [n.attr for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Attribute)]
    uses += [name for name in attributes if name in calls]
    assert uses == (["numba.njit"] if relative(path) == "kernels/compile/jit.py" else [])


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_process_is_forked(path):
    """A fork copies locks that other threads hold: new processes begin anew."""
    names = [n.attr for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Attribute)]
    assert below(imported(path), "multiprocessing") + [name for name in names if name in ("fork", "forkpty")] == []


LIBRARY = [path for path in FILES if not relative(path).startswith(("cli.py", "commands/"))]


@pytest.mark.parametrize("path", LIBRARY, ids=relative)
def test_nothing_but_the_command_line_prints(path):
    names = [node.id for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name)]
    assert "print" not in names
    assert below(imported(path), "click") == []


@pytest.mark.parametrize("path", ALL, ids=relative)
def test_files_are_short_enough_to_read(path):
    limit = 320 if path in FILES else 520
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit


def modules_after(*arguments: str) -> set[str]:
    """Run the command line in a process of its own and return the top-level modules that it has imported."""
    text = (
        "import sys\nfrom lenumba.cli import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", text, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments):
    found = modules_after(*arguments)
    assert "click" in found
    assert [name for name in HEAVY if name in found] == []


def test_importing_the_package_imports_nothing_heavy():
    text = "import sys, lenumba; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split()
    assert "lenumba" in found
    assert [name for name in HEAVY if name in found] == []


def test_warm_training_evaluation_and_prediction_never_import_numba(place, run):
    assert importlib.util.find_spec("numba") is not None
    for arguments in (["train", "tiny.yaml", "train.epochs=1", "-q"], ["evaluate", str(run), "--json"]):
        found = modules_after(*arguments)
        assert {"numpy", "llvmlite"} <= found
        assert "numba" not in found
