"""Line times beside those of Linux's perf: another sampler, Numba's own debug information, read by binutils."""

import re
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from gallery_mends import TWO_LINES

import lenumba as package
from lenumba.engine.profile.subject import find_subject
from lenumba.kernels.measure.sampling import why_not

FUNCTIONS = """
import numpy as np


@njit
def smoothed(x, out):
    for i in range(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            out[i, j] = np.sqrt(x[i, j - 1] + x[i, j + 1])
    for j in range(x.shape[1]):
        for i in range(x.shape[0]):
            x[i, j] = 0.5 * out[i, j] + 0.5


@njit
def counted(x, bins):
    for i in range(x.size):
        bins[int(x[i] * bins.size)] += 1
    level = 0.0
    for i in range(x.size):
        level = max(x[i], 0.99 * level)
    return level
"""
RUN = """
import sys, time
import numpy as np
from functions import {name} as function

values = ({values})
function(*values)
[overload] = function.overloads.values()
library, symbol = overload.library, overload.fndesc.llvm_func_name
open("code.o", "wb").write(library._get_compiled_object())
print(symbol, library.get_pointer_to_function(symbol))
end = time.perf_counter() + 4
while time.perf_counter() < end:
    function(*values)
"""
VALUES = {
    "work": "20_000, 9_000",
    "smoothed": "np.full((700, 700), 0.5), np.zeros((700, 700))",
    "counted": "np.random.default_rng(1).random(40_000), np.zeros(64, np.int64)",
}


def samples_of(program: list, folder) -> list[int]:
    """Return the program counters that perf noted."""
    record = ["perf", "record", "-q", "-e", "cpu-clock:u", "-F", "1999", "-o", "data", "--", *program]
    subprocess.run(record, cwd=folder, check=True, timeout=120, stdout=(folder / "out").open("w"))
    script = ["perf", "script", "-i", "data", "-F", "ip"]
    done = subprocess.run(script, cwd=folder, check=True, timeout=120, capture_output=True, text=True)
    return [int(word, 16) for word in done.stdout.split()]


def shares_by_line(folder, counters: list[int]) -> dict[int, float]:
    """Return each line's share of the samples in a function, as binutils read its object file."""
    symbol, address = (folder / "out").read_text().split()
    table = subprocess.run(["nm", "-S", "code.o"], cwd=folder, check=True, capture_output=True, text=True).stdout
    start, size = re.search(rf"^(\w+) (\w+) \w {re.escape(symbol)}$", table, re.M).groups()
    inside = Counter(at - int(address) for at in counters if 0 <= at - int(address) < int(size, 16))
    sections = subprocess.run(
        ["objdump", "-t", "code.o"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    section = re.search(rf" (\S+)\s+\w+ {re.escape(symbol)}$", sections, re.M)[1]
    offsets = [hex(int(start, 16) + at) for at in inside]
    command = ["addr2line", "-e", "code.o", "-j", section, *offsets]
    told = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()
    found: Counter[int] = Counter()
    for line, count in zip(told, inside.values(), strict=True):
        number = re.search(r":(\d+)", line)
        found[int(number[1]) if number else 0] += count
    return {line: count / sum(inside.values()) for line, count in found.items()}


@pytest.mark.long("records three functions with perf")
@pytest.mark.skipif(bool(why_not()) or not shutil.which("perf"), reason=why_not() or "perf is not installed")
@pytest.mark.parametrize("name", VALUES)
def test_lines_take_the_share_that_perf_tells(campaign, tmp_path, name):
    text = (TWO_LINES + FUNCTIONS).replace("@njit\n", "@njit(debug=True, cache=True)\n")  # objects are kept with caches
    (tmp_path / "functions.py").write_text(text)
    (tmp_path / "run.py").write_text(RUN.format(name=name, values=VALUES[name]))
    counters = samples_of([sys.executable, "run.py"], tmp_path)
    told = shares_by_line(tmp_path, counters)
    subject = find_subject(f"{tmp_path / 'functions.py'}:{name}", VALUES[name])
    lines = package.profile(subject.function, *subject.values, seconds=2.0)["lines"]
    found = {line["line"]: line["share"] for line in lines}
    text = ", ".join(f"{line}: {found.get(line, 0):.3f} ({told.get(line, 0):.3f})" for line in sorted({*found, *told}))
    campaign.note(f"{name}, lines (perf): {text}")
    for line in {*found, *told}:
        assert found.get(line, 0.0) == pytest.approx(told.get(line, 0.0), abs=0.05), text
