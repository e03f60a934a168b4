"""Profiles of functions of the user's own: what vectorised, what did not and why, and their work."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.text import duration
from lenumba.engine.profile import stopwatch
from lenumba.engine.profile.calls import Calls
from lenumba.engine.profile.function_report import timing
from lenumba.engine.profile.several import several_text
from lenumba.kernels.measure.assembly import annotate, judge
from lenumba.kernels.measure.llvm_code import parse
from lenumba.kernels.measure.remarks import caught, reason_of, split_remarks

SAMPLES = """\
import numpy as np
from numba import njit, prange


@njit
def total(x):
    s = 0.0
    for i in range(x.size):
        s += x[i]
    return s


@njit
def stencil(x, y):
    for i in range(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            y[i, j] = 0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1])


@njit(parallel=True)
def scaled_sum(a, x, y):
    for i in prange(x.size):
        y[i] += a * x[i]
    return y


@njit
def count(x):
    return x.size


def plain(x):
    return x


@njit
def broken(x):
    raise ValueError("told so")


@njit
def scaled(x, factor=2.0, *more):
    s = 0.0
    for i in range(x.size):
        s += factor * x[i]
    return s


@njit
def worn(x):
    x[0] += 1
    if x[0] > 3:
        raise IndexError("worn out")
    return x[0]


@njit
def in_order(x):
    for i in range(1, x.size):
        if x[i] < x[i - 1]:
            return False
    x.sort()
    return True


def total_arguments():
    return np.ones(10)
"""


@pytest.fixture
def samples(place):
    package = place / "profiled_samples"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "functions.py").write_text(SAMPLES)
    return "profiled_samples.functions"


@pytest.fixture
def profiled(lenumba, samples):
    """The profile of one of the functions, as JSON."""

    def call(name: str, arguments: str) -> dict:
        result = lenumba("profile", f"{samples}:{name}", "--args", arguments, "--json", "--seconds", "0.1")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return call


def test_three_functions_are_told_apart(profiled, lenumba, samples):
    total = profiled("total", "np.ones(1000)")
    assert total["code"]["verdict"].startswith("not vectorised")
    assert "reassoc" in total["code"]["reason"]
    assert total["flops"] == 1000
    assert [loop["source"] for loop in total["code"]["loops"]] == [f"functions.py:{line_of('range(x.size)')}"] * 2
    line = line_of("s += x[i]")
    remark = f"functions.py:{line}: loop not vectorized: cannot prove it is safe to reorder floating-point operations"
    assert total["code"]["remarks"] == [remark]

    stencil = profiled("stencil", "np.ones((60, 70)), np.ones((60, 70))")
    assert stencil["code"]["verdict"].startswith("vectorised")
    assert stencil["code"]["width"] > 1
    assert stencil["flops"] == 4 * 58 * 68
    assert stencil["code"]["reason"] == ""
    inner = line_of("range(1, x.shape[1] - 1)")
    assert any(remark.startswith(f"functions.py:{inner}: vectorized loop") for remark in stencil["code"]["remarks"])

    parallel = profiled("scaled_sum", "2.0, np.ones(5000), np.ones(5000)")
    assert parallel["code"]["verdict"].startswith("vectorised")
    assert parallel["flops"] == 2 * 5000
    assert any("vectorized loop" in remark for remark in parallel["code"]["remarks"])
    assert "for i in prange(x.size):" in parallel["code"]["diagnostics"]
    assert total["code"]["diagnostics"] is None

    for found in (total, stencil, parallel):
        code = found["code"]
        parts = [code[f"{part}_s"] for part in ("typing", "lowering", "other")]
        assert min(parts) > 0
        assert 0 < code["llvm_s"] < code["compile_s"]
        assert sum(parts) == pytest.approx(code["compile_s"], rel=0.3)

    shown = lenumba("profile", f"{samples}:total", "--args", "np.ones(1000)", "--compile", "--seconds", "0.1").stdout
    for text in ("GFLOP/s (1,000 floating-point", f"not vectorised: functions.py:{line}: cannot", "typing", remark):
        assert text in shown
    listing = lenumba("profile", f"{samples}:total", "--args", "np.ones(9)", "--asm", "total", "--seconds", "0").stdout
    assert f"# loop, depth 1, functions.py:{line_of('range(x.size)')}: not vectorised" in listing


def line_of(text: str) -> int:
    """The number of the first line of the samples with some text."""
    return next(number for number, line in enumerate(SAMPLES.splitlines(), 1) if text in line)


def test_a_function_without_floats_is_told_so(lenumba, samples):
    assert (
        "no floating-point operations"
        in lenumba("profile", f"{samples}:count", "--args", "np.ones(3)", "--seconds", "0").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "flops"), [("np.ones(9)", 18), ("np.ones(9), 3.0", 18), ("np.ones(9), 3.0, 1", 18)]
)
def test_arguments_may_be_left_to_their_defaults(profiled, arguments, flops):
    assert profiled("scaled", arguments)["flops"] == flops


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("nosuch", "", "no attribute 'nosuch'"),
        ("plain", "", "njit on it, found function"),
        ("total", "np.ones(", "SyntaxError"),
        ("total", "3", "size"),
        ("broken", "1", "told so"),
        ("worn", "np.full(1, 3)", "IndexError: worn out"),
        ("worn", "exit(3)", "SystemExit: 3"),
    ],
)
def test_mistakes_are_one_line(refused, samples, name, arguments, told):
    assert told in refused(2, "profile", f"{samples}:{name}", "--args", arguments)


def test_a_file_and_a_function_that_makes_arguments_will_do(lenumba, samples, place):
    shown = lenumba("profile", "profiled_samples/functions.py:total", "--seconds", "0", "--json")
    found = json.loads(shown.stdout)
    assert (found["arguments"], found["flops"]) == ("total_arguments()", 10)
    shown = lenumba(
        "profile", f"{samples}:total", "--setup", "n = 7", "--args", "functions.np.ones(n)", "--json", "--seconds", "0"
    )
    assert json.loads(shown.stdout)["flops"] == 7


def test_arguments_that_a_function_writes_into_are_restored_for_every_call():
    seen = []

    def call(x, rest):
        seen.append((x.tolist(), rest[0].tolist(), rest[1]))
        x.sort()
        rest[0][0] += 1

    memory = np.arange(6.0)[::-1]
    calls = Calls(call, (memory[::2], (np.zeros(2), 3)))
    calls.times(0)
    assert calls.writes
    assert len(seen) > 4
    assert all(one == ([5.0, 3.0, 1.0], [0.0, 0.0], 3) for one in seen)
    assert memory[1::2].tolist() == [4.0, 2.0, 0.0]
    assert not Calls(lambda x: x.sum(), (memory,)).writes


def test_a_profile_may_be_asked_for_in_python(samples, place, monkeypatch):
    import lenumba

    monkeypatch.syspath_prepend(place)
    module = __import__("profiled_samples.functions", fromlist=["total"])
    found = lenumba.profile(module.total, np.ones(50), seconds=0)
    assert found["flops"] == 50
    assert "profiled_samples.functions:total" in str(found)
    assert found.html.startswith("<!DOCTYPE html>")
    with pytest.raises(ConfigError, match="njit"):
        lenumba.profile(module.plain, 3)


@pytest.mark.parametrize(
    ("code", "told", "options"),
    [
        (3, "none.json: expected a function's profile", ["--compare", "none.json"]),
        (3, "tiny.yaml: expected a function's profile", ["--compare", "tiny.yaml"]),
        (2, "in no repository", ["--compare", "HEAD"]),
        (2, "nope: expected total", ["--asm", "nope"]),
        (2, "nope: expected total", ["--llvm", "nope"]),
        (2, "name 'fx' is not defined", ["--args", "fx.make()"]),
        (2, "--setup: expected statements", ["--setup", "1 +"]),
        (2, "train.epochs=3: expected no overrides", ["train.epochs=3"]),
        (3, "--html: expected|nowhere", ["--html", "nowhere/page.html"]),
        (3, "--threads: expected at most", ["--threads", "1024"]),
        (2, "expected a share such as 5%", ["--tolerance", "much"]),
        (2, "expected numbers from 1 to 1024", ["--threads", "0,2"]),
        (2, "--sizes: expected a name and numbers", ["--sizes", "n=1,x"]),
        (2, "--sizes: expected n in --args", ["--sizes", "n=10"]),
        (2, "--try: expected only with one function", ["SAME", "--try"]),
    ],
)
def test_options_that_do_not_fit_a_function_are_refused(refused, samples, code, told, options):
    arguments = [] if "--args" in options else ["--args", "np.ones(9)"]
    options = [f"{samples}:total" if option == "SAME" else option for option in options]
    line = refused(code, "profile", f"{samples}:total", "--seconds", "0", *arguments, *options)
    assert any(part in line for part in told.split("|"))


def test_sizes_and_threads_are_tabled(lenumba, samples):
    shown = lenumba("profile", f"{samples}:total", "--args", "np.ones(n)", "--sizes", "n=100,1e6").stdout.splitlines()
    assert [line.split()[0] for line in shown[2:]] == ["100", "1,000,000"]
    assert "L1" in shown[2]
    options = ["--args", "2.0, np.ones(99), np.ones(99)", "--threads", "1,2", "--seconds", "0", "--json"]
    found = json.loads(lenumba("profile", f"{samples}:scaled_sum", *options).stdout)
    assert [row["threads"] for row in found["scaling"]] == [1, 2]
    assert found["threads"] == 2
    assert [len(row["load"] or [0] * row["threads"]) for row in found["scaling"]] == [1, 2]


def test_flags_are_tried_and_their_results_compared(lenumba, samples):
    options = ["--args", "np.arange(4e4) / 7", "--seconds", "0.1", "--try", "--json"]
    tried = json.loads(lenumba("profile", f"{samples}:total", *options).stdout)["tried"]
    by_name = {one["change"]: one for one in tried}
    assert {"fastmath=True", "error_model='numpy'", "parallel=True"} <= by_name.keys()
    assert 0 < by_name["fastmath=True"]["difference"] < 1e-9
    assert by_name["error_model='numpy'"]["difference"] == 0


def test_several_functions_stand_side_by_side(lenumba, samples):
    names = [f"{samples}:total", f"{samples}:scaled"]
    options = ["--args", "np.ones(500)", "--seconds", "0.1"]
    found = json.loads(lenumba("profile", *names, *options, "--json").stdout)["functions"]
    assert [one["name"] for one in found] == names
    assert [one["flops"] for one in found] == [500, 1000]
    against = found[1]["against_first"]
    assert against["difference"] == 1  # twice the sum
    assert against["low"] <= against["factor"] <= against["high"]
    text = several_text({"functions": found})
    assert len(text.splitlines()) == 4
    assert "differ by 1 of the largest" in text


def test_the_time_that_other_processes_take_is_taken_out(monkeypatch):
    """Linux tells how long a thread waited for a core: half of what passes here, as far as the stopwatch knows."""
    begin = time.perf_counter()
    monkeypatch.setattr(stopwatch, "waited", lambda: (time.perf_counter() - begin) / 2)
    calls = Calls(lambda: time.sleep(0.01), ())
    assert min(calls.times(0.0)) < 0.01  # though each of them slept for so long
    assert calls.away == pytest.approx(0.5, rel=0.1)
    monkeypatch.undo()
    before = stopwatch.waited()
    assert stopwatch.waited() >= before >= 0


SLOWER = """\
from numba import njit


@njit
def spin(n):
    s = 1
    for i in range({}n):
        s = s * 3 ^ i
    return s
"""


def test_a_slower_version_is_noticed_against_a_revision(place, lenumba, monkeypatch):
    """The profile is of a commit: its code is had again, and takes turns with the one of today."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    (place / "spinning.py").write_text(SLOWER.format(""))
    for command in (["init", "-q"], ["add", "spinning.py"], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *command], cwd=place, check=True)
    summary = place / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    options = ["--args", "20_000", "--seconds", "0.2", "--tolerance", "30%"]
    written = lenumba("profile", "spinning.py:spin", *options[:4], "--json").stdout
    assert json.loads(written)["commit"]
    (place / "before.json").write_text(written)
    (place / "spinning.py").write_text(SLOWER.format("2 * "))
    sys.modules.pop("spinning", None)
    shown = lenumba("profile", "spinning.py:spin", *options, "--compare", "before.json")
    assert shown.exit_code == 1, shown.output
    assert "pairs of turns, measured twice); tolerance 30 %: slower" in shown.stdout
    assert "| `spinning.py:spin` | `before.json` |" in summary.read_text()


def test_units_fit():
    shown = [duration(value) for value in (122.89027e-3, 9.9996e-4, 1.5, 63.21, 2.5e-6, 3e-8, 0.0)]
    assert shown == ["123 ms", "1.00 ms", "1.50 s", "63.2 s", "2.50 µs", "30 ns", "0 ns"]


def test_what_varies_too_much_is_not_judged():
    profile = {"calls_ms": [1.0, 1.0, 2.0, 9.0, 9.0], "call_ms": 2.0, "calls": 5, "writes": False}
    assert "too much to judge" in timing(profile)
    assert "too much to judge" not in timing(profile | {"calls_ms": [2.0] * 5})


X86 = """\
\t.type\tf,@function
f:
\tmovq\t%rdi, %rax
.LBB0_1:
\tvmovups\t64(%rsp), %zmm3
\tvfmadd231ps\t(%rsi), %zmm1, %zmm2
\tvfmadd231ps\t(%rdi), %zmm1, %zmm3
\tvmovups\t%zmm3, 64(%rsp)
\tjne\t.LBB0_1
.LBB0_2:
\tvaddss\t(%rsi), %xmm1, %xmm1
\tjne\t.LBB0_2
\tretq
\t.size\tf, .-f
"""
ARM = """\
\t.type\tf,@function
f:
.LBB0_1:
\tldp\tq0, q1, [x0], #32
\tfmla\tv2.4s, v0.4s, v1.4s
\tb.ne\t.LBB0_1
\tret
\t.size\tf, .-f
"""


def test_assembly_is_judged_by_its_loops():
    found = judge(X86)
    assert found["verdict"] == "vectorised 16-wide (zmm), spills 1 register, 1 scalar remainder"
    assert (found["fma"], found["packed"], found["scalar"], found["spills"]) == (2, 2, 1, 1)
    assert "# loop, depth 1: vectorised 16-wide (zmm), spills 1 register; 2 multiply-adds\n.LBB0_1:" in annotate(X86)


def test_assembly_of_arm_is_judged_too():
    found = judge(ARM)
    assert (found["verdict"], found["width"], found["fma"]) == ("vectorised 4-wide (128-bit)", 4, 1)


def test_operations_are_counted_in_llvm_code():
    code = (
        "define void @f() {\n  %1 = fadd fast <8 x double> %a, %b\n  %2 = fmul float %c, %d\n"
        "  %3 = tail call <4 x float> @llvm.fmuladd.v4f32(<4 x float> %e, <4 x float> %f, <4 x float> %g)\n"
        "  %4 = fcmp olt float %c, %d\n  ret void\n}"
    )
    [function] = parse(code)
    assert [one.flops for block in function.blocks.values() for one in block.instructions] == [8, 1, 8, 0, 0]


SAID = """\
remark: <unknown>:0:0: loop not vectorized: call instruction cannot be vectorized
from somebody else
remark: a.py:7:1: loop not vectorized: unsafe dependent memory operations in loop. Use #pragma clang loop distribute
Unsafe indirect dependence. Memory location is the same as accessed at a.py:7:1
remark: <unknown>:0:0: loop not vectorized: call instruction cannot be vectorized
remark: a.py:9:1: 2 spills 1.6e+01 total spills cost 6 reloads 9.6e+01 total reloads cost generated in loop
remark: a.py:9:1: 1 virtual registers copies 1.0e+00 total copies cost generated in loop
"""


def test_remarks_are_shortened_and_other_text_is_passed_on():
    remarks, other = split_remarks(SAID)
    assert remarks == [
        "loop not vectorized: call instruction cannot be vectorized",
        "a.py:7: loop not vectorized: unsafe dependent memory operations in loop",
        "a.py:9: 2 spills, 6 reloads generated in loop",
    ]
    assert other == "from somebody else\n"
    assert reason_of(remarks[1:]).startswith("a.py:7: unsafe dependent memory operations in loop – an iteration needs")
    assert reason_of(remarks[2:]) == ""


def test_stderr_is_itself_again_after_catching(capfd):
    with caught() as remarks:
        os.write(2, b"remark: a.py:1:1: vectorized loop (vectorization width: 4, interleaved count: 1)\nand more\n")
    os.write(2, b"after\n")
    assert remarks == ["a.py:1: vectorized loop (vectorization width: 4, interleaved count: 1)"]
    assert capfd.readouterr().err == "and more\nafter\n"


def test_a_module_that_leaves_is_one_line(refused, place):
    (place / "leaves.py").write_text("import sys\nsys.exit(5)\n")
    assert "importing it raised SystemExit: 5" in refused(2, "profile", "leaves:f")


def test_peaks_without_threads_to_be_had_are_one_line(monkeypatch):
    import threading

    from lenumba.engine.common.errors import DataError
    from lenumba.engine.profile.machine import at_once

    start, left = threading.Thread.start, [1]

    def scarce(thread):
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    with pytest.raises(DataError, match="threads: expected 2, found no more to be had"):
        at_once(2, lambda _: None)
