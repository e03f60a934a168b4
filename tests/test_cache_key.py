"""The program cache's key: it covers every file that reaches machine code, and no other."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import STILL, make_network

from lenumba import kernels as kernels_package
from lenumba.kernels.compile import native
from lenumba.kernels.measure.peaks import fma_source
from lenumba.kernels.measure.profiled import profiled_plan
from lenumba.kernels.program.source import program_source

KERNELS = Path(kernels_package.__file__).parent
LAYERS = [
    {"type": "conv", "channels": 2, "kernel_size": 3, "activation": "relu"},
    {"type": "max_pool", "size": 2},
    {"type": "dropout", "rate": 0.5},
    {"type": "flatten"},
    {"type": "dense", "units": 2, "activation": "softmax"},
]
# Runs the program text on its stdin, then names every module that has a file.
MODULES = """
import sys
exec(sys.stdin.read(), {})
print(*(name for name, module in sys.modules.items() if hasattr(module, "__file__")))
"""


def sources() -> dict[str, native.Source]:
    blocks = make_network(LAYERS, (6, 6, 1))
    single = make_network([layer for layer in LAYERS if layer["type"] != "dropout"], (6, 6, 1), batch_size=1)
    return {
        "blocks": program_source(blocks.plan(STILL)),
        "single": program_source(single.plan(STILL)),
        "profiled": program_source(profiled_plan(blocks.plan(STILL), 0)),
        "peaks": fma_source()[0],
    }


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """A copy of the kernels' folder, which the key is made from meanwhile."""
    shutil.copytree(KERNELS, tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(native, "root_file", lambda name: tmp_path / "__init__.py")
    native.module_text.cache_clear()
    yield tmp_path / "kernels"
    native.module_text.cache_clear()


def folders() -> dict[str, Path]:
    native.module_text.cache_clear()
    return {name: native.program_folder(source) for name, source in sources().items()}


@pytest.mark.parametrize("name", ["blocks", "single", "profiled", "peaks"])
def test_every_module_that_a_program_imports_is_in_its_key(name):
    """Python itself says which: in a process that does nothing but import what the program imports."""
    source = sources()[name]
    result = subprocess.run(
        [sys.executable, "-c", MODULES], input=source.text, capture_output=True, text=True, check=True
    )
    packages = {f"lenumba.kernels.{path.name}" for path in KERNELS.iterdir()} | {"lenumba.kernels"}
    found = {module for module in result.stdout.split() if module.startswith("lenumba.kernels")}
    assert "lenumba.kernels.compile.jit" in found
    assert found - packages <= native.kernel_files(source.text)


def test_a_change_of_a_file_changes_the_key_of_the_programs_that_it_reaches(kernels):
    before, reached = folders(), {}
    for path in sorted(path for path in kernels.rglob("*.py") if path.name != "__init__.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text + "\n# changed\n", encoding="utf-8")
        reached[path.relative_to(kernels).as_posix()] = {
            name for name, folder in folders().items() if folder != before[name]
        }
        path.write_text(text, encoding="utf-8")
    networks, everything = {"blocks", "single", "profiled"}, {"blocks", "single", "profiled", "peaks"}
    for name in ("compile/jit.py", "constants.py", "vector/simd.py", "vector/tile.py"):
        assert reached[name] == everything, name
    assert reached["vector/bits.py"] == {"blocks", "profiled"}
    for name in ("program/loop.py", "layers/conv.py", "layers/activation.py", "layers/update.py"):
        assert reached[name] >= networks, name
    assert reached["measure/clock.py"] == {"profiled"}
    assert "single" in reached["layers/pixels.py"]
    assert reached["program/catalogue.py"] <= {"profiled"}  # its clock shares numbers with what plans it
    for name in ("measure/remarks.py", "measure/inspection.py", "reference/layers.py"):
        assert reached[name] == set(), name
    unused = ("augmentation", "channels", "grouped", "norm", "toom", "weights", "winograd")  # in none of the networks
    others = {f"layers/{name}.py" for name in unused}
    assert {name for name in reached if name.startswith("layers/") and not reached[name]} <= others


def test_a_folder_named_like_the_package_hides_no_source(tmp_path):
    """In a folder with one inside, such as where the cache is, the key is the same."""
    text = "from lenumba.kernels.compile.native import Source, source_digest\n"
    text += "source = Source('p', 'from lenumba.kernels.compile.jit import kernel\\n', 'run', ())\n"
    text += "print(source_digest(source))"
    digests = set()
    for folder in (tmp_path / "empty", tmp_path / "hiding"):
        (folder / "lenumba" if folder.name == "hiding" else folder).mkdir(parents=True)
        done = subprocess.run([sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1
