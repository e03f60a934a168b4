"""Profiles of a network's training: sums, work, verdicts, pictures, traces and comparisons."""

import copy
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.config.config import read_config
from lenumba.engine.data.selection import load_data
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.profile import profiling
from lenumba.engine.profile import report as profile_report
from lenumba.engine.profile.compare import compare_profiles, read_earlier
from lenumba.engine.profile.html import profile_html
from lenumba.engine.profile.profiling import PYTHON, Clocks, profile_training, profiled_source
from lenumba.engine.training.build import check_network
from lenumba.engine.training.summary import summarize
from lenumba.engine.training.trainer import Trainer
from lenumba.kernels.compile import native
from lenumba.kernels.measure import profiled
from lenumba.kernels.measure.inspection import get_inspected
from lenumba.kernels.program.arguments import Run
from lenumba.kernels.program.catalogue import CATALOGUE, find_twin, known_kernels, work_of
from lenumba.kernels.program.source import program_source

SMALL = """\
data: {name: digits, samples: 3200, validation: 0, batch_size: 60}
network:
  layers:
    - {type: conv, channels: 4, kernel_size: 5, stride: 2, activation: relu}
    - {type: conv, channels: 3, kernel_size: 3, padding: 1}
    - flatten
    - {type: dense, units: 10, activation: softmax}
optimizer: {name: sgd, learning_rate: 0.01}
train: {epochs: 1, threads: 2}
"""
SMALLER = re.sub(r"    - {type: conv, channels: 3.*\n", "", SMALL).replace("samples: 3200", "samples: 640")


TWICE = """
from lenumba.kernels.compile.jit import kernel


@kernel
def step(n):
    return n + n


@kernel
def twice(n):
    step(n)


STEPS = [(step, ["i64"])]
"""


@pytest.fixture(scope="module")
def loaded():
    return read_config(SMALL, "small.yaml")


@pytest.fixture(scope="module")
def profile(loaded):
    return profile_training(loaded, seconds=1)


def rows_of(profile, phase, kernel):
    return [row for row in profile["rows"] if row["phase"] == phase and row["kernel"] == kernel]


def test_the_rows_add_up_to_the_epoch(profile):
    assert sum(row["ms"] for row in profile["rows"]) == pytest.approx(profile["profiled_ms"], rel=1e-6)
    assert sum(row["share"] for row in profile["rows"]) == pytest.approx(1)
    assert all(row["ms"] >= 0 for row in profile["rows"])


def test_every_kernel_is_called_once_a_block(profile):
    blocks = profile["images"] // 60 * 4 + -(-(profile["images"] % 60) // 16)
    for row in profile["rows"]:
        if row["layer"] or row["kernel"] == "pack":
            assert row["calls"] == blocks, row["name"]
    assert [row["calls"] for row in profile["rows"] if row["function"] == "sgd"] == [2 * profile["batches"]]


def test_work_equals_the_summary(profile, loaded):
    layers = {layer["name"]: layer["multiply_adds"] for layer in summarize(loaded)["layers"]}
    expected = {name: 2 * count * profile["images"] for name, count in layers.items() if count}
    kinds = ["conv_forward", "dense_forward"], ["conv_weight_gradient", "dense_weight_gradient"]
    for phase, kernels in zip(("forward", "backward"), kinds, strict=True):
        found = {row["layer"]: row["flops"] for kernel in kernels for row in rows_of(profile, phase, kernel)}
        assert found == expected
    found = {row["layer"]: row["flops"] for row in profile["rows"] if row["kernel"].endswith("input_gradient")}
    assert found == {name: work for name, work in expected.items() if name != "conv1"}
    assert profile["forward_multiply_adds"] == summarize(loaded)["multiply_adds"]


@pytest.mark.parametrize("registers", [32, 8, 4])
def test_work_does_not_depend_on_the_tiles(loaded, registers, monkeypatch):
    monkeypatch.setattr("lenumba.engine.network.planning.vector_registers", lambda: registers)
    network = check_network(loaded)
    plan = network.plan(make_optimizer(loaded.config.optimizer))
    rows = profiled.profile_rows(profiled.profiled_plan(plan, 0))
    work = sum(work_of(row.kernel, [call.numbers for call in row.calls])[0] for row in rows if row.calls)
    madds = [unit.multiply_adds for unit in network.units]
    assert work == 32 * (3 * sum(madds) - madds[0])


def test_long_epochs_are_measured_in_part_and_told_whole():
    found = profile_training(read_config(SMALL, "small.yaml"), seconds=0)
    assert (found["images"], found["batches"], found["measured_batches"]) == (3200, 54, 16)
    for row in found["rows"]:
        if row["layer"]:
            assert row["calls"] == pytest.approx(3200 / 15, rel=0.01)
    assert found["sum_ms"] == pytest.approx(found["profiled_ms"], rel=1e-6)
    assert profile_report.title(found).endswith("; measured on 16 batches")


def test_work_of_both_gradients_in_one_kernel_counts_twice():
    text = re.sub("channels: .", "channels: 16", SMALL.replace("kernel_size: 5, stride: 2", "kernel_size: 3"))
    loaded = read_config(text, "small.yaml")
    network = check_network(loaded)
    rows = profiled.profile_rows(profiled.profiled_plan(network.plan(make_optimizer(loaded.config.optimizer)), 0))
    assert "winograd_backward" in {row.kernel for row in rows}
    update = {"SIZE": network.size, "SHARDS": 1, "STATES": 1}
    madds = [unit.multiply_adds for unit in network.units]
    work = [(profiling.row_work(row, network, update) or (0, 0))[0] for row in rows]
    assert sum(work) == 32 * (3 * sum(madds) - madds[0])


@pytest.mark.long("compiles for long")
def test_small_batches_are_profiled_image_by_image():
    text = (
        SMALLER.replace("samples: 640", "samples: 64")
        .replace("batch_size: 60", "batch_size: 2")
        .replace("kernel_size: 5", "kernel_size: 3")
    )
    loaded = read_config(text, "small.yaml")
    found = profile_training(loaded, seconds=0)
    summary = summarize(loaded)
    forward = [row for row in found["rows"] if row["phase"] == "forward" and row["flops"]]
    assert sum(row["flops"] for row in forward) == 2 * 64 * summary["multiply_adds"]
    assert {row["calls"] for row in forward} == {64}
    assert found["sum_ms"] == pytest.approx(found["profiled_ms"], rel=0.01)


def test_every_row_has_a_verdict_and_limits(profile):
    for row in profile["rows"]:
        assert bool(row["code"]) == bool(row["function"]), row["name"]
        if row["flops"]:
            assert "vectorised" in row["code"]["verdict"]
            assert row["bound"] in ("compute", row["level"])
            assert row["intensity"] == pytest.approx(row["flops"] / row["bytes"], rel=0.01)
            assert 0 < row["fma_share"] < 1.5
    assert profile["machine"]["gflops"] > 0
    assert list(profile["machine"]["gbytes"])[-1] == "memory"


def test_compile_times_are_told_by_kernel(profile):
    functions = profile["compile"]["functions"]
    assert functions["forward_conv1"]["typing_s"] > 0
    assert functions["forward_conv1"]["lowering_s"] > 0
    assert functions["forward_conv1"]["llvm_s"] > 0
    assert profile["compile"]["cache"]["hit"] in (True, False)
    assert profile["compile"]["cache"]["why"]


def test_an_unprofiled_program_has_no_clock(loaded):
    network = check_network(loaded)
    optimizer = make_optimizer(loaded.config.optimizer)
    plan = network.plan(optimizer)
    assert not re.search("lap|clock", program_source(plan).text)
    assert "lap(run.work" in profiled_source(network, optimizer)[1].text


def test_every_address_that_a_program_gets_is_of_memory_that_its_executor_keeps(loaded):
    """That of a profiled program, too, whose clocks lie behind its workers' memory."""
    trainer = Trainer(loaded, load_data(loaded))
    executor = trainer.make_executor(trainer.executor.program, 2, 2 * profiled.CLOCK_SIZE)
    for count in (1, 100):  # the second wants larger buffers
        executor.evaluate(trainer.images, trainer.dataset.train_labels, np.arange(count))
        kept = [*vars(executor).values(), *vars(executor.request).values(), *executor.memory]
        lasting = {array.ctypes.data for array in kept if isinstance(array, np.ndarray)}
        given = Run(*executor.request.arguments)
        assert {value for value in given if isinstance(value, int) and value > 1 << 20} <= lasting
        assert given.work == executor.memory[0].ctypes.data
    ends = [work.ctypes.data + work.nbytes for work in executor.memory]
    clocks = Clocks(executor).clocks
    assert [clock.ctypes.data + clock.nbytes for clock in clocks] == ends


def test_every_kernel_lies_where_its_row_says_and_has_a_twin():
    for name, row in known_kernels().items():
        assert hasattr(importlib.import_module(row.home), name), name
        assert hasattr(find_twin(row.twin), "py_func"), name


def test_the_trace_has_chromes_format_and_a_track_for_each_thread(profile):
    trace = json.loads(json.dumps(profile_report.chrome_trace(profile)))
    schema = json.loads((Path(__file__).parent / "data" / "chrome_trace.schema.json").read_text())
    jsonschema.validate(trace, schema)
    for broken in (
        {"ph": "X", "name": "a", "pid": 1, "tid": 0, "ts": 1.0},
        {"ph": "M", "name": "a", "pid": 1, "tid": 0},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"traceEvents": [broken]}, schema)
    names = {event["tid"]: event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
    assert names == {0: "worker 0", 1: "worker 1"}
    tracks: dict[int, float] = {}
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            # Both are rounded to 0.1 ns.
            assert event["ts"] >= tracks.get(event["tid"], 0) - 1e-3
            tracks[event["tid"]] = event["ts"] + event["dur"]
    assert tracks.keys() == {0, 1}


def test_the_page_needs_nothing_from_elsewhere(profile):
    page = profile_html(profile)
    for word in ("http", "src=", "href", "url(", "@import", "<script", "<link"):
        assert word not in page
    parser = HTMLParser()
    parser.feed(page)
    pictures = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(pictures) == 3
    for picture in pictures:
        ElementTree.fromstring(picture)
    assert "conv_weight_gradient" in page


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# What a person would see go wrong: something loaded from elsewhere, a page too wide, text cut off or on other text.
LOOK = """<script>
const texts = [...document.querySelectorAll("svg text")].map(text => text.getBoundingClientRect())
const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top
document.title = JSON.stringify({
  loaded: performance.getEntriesByType("resource").length,
  wide: document.documentElement.scrollWidth > innerWidth,
  cut: texts.filter(box => box.left < 0 || box.right > innerWidth).length,
  collisions: texts.filter((box, k) => texts.slice(k + 1).some(other => !apart(box, other))).length,
  heights: [...document.querySelectorAll("svg")].map(picture => picture.getBoundingClientRect().height)
})</script>"""


def test_a_browser_shows_the_page_without_network(profile, tmp_path):
    if not (browser := next(filter(None, map(shutil.which, BROWSERS)), None)):
        pytest.skip(f"no browser: expected one of {', '.join(BROWSERS)} in PATH")
    page = tmp_path / "page.html"
    page.write_text(profile_html(profile).replace("</body>", f"{LOOK}</body>"))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    options += ["--window-size=1100,2000", "--proxy-server=127.0.0.1:9", "--dump-dom"]
    shown = subprocess.run([browser, *options, page.as_uri()], capture_output=True, text=True, timeout=60).stdout
    found = json.loads(re.search("<title>(.*?)</title>", shown)[1])
    assert len(found["heights"]) == 3
    assert min(found.pop("heights")) > 20
    assert found == {"loaded": 0, "wide": False, "cut": 0, "collisions": 0}


def test_a_profile_equals_itself_and_a_slower_kernel_is_named(profile):
    assert compare_profiles(profile, profile)[1] == []
    slow = copy.deepcopy(profile)
    [row] = rows_of(slow, "forward", "conv_forward")[:1]
    for values in (row, *(other for side in (slow,) for other in side["rows"])):
        values["noise"] = 0.01
    quiet = copy.deepcopy(slow)
    row["ms"] += 0.1 * slow["epoch_ms"]
    row["median_ms"] += 0.1 * slow["epoch_ms"]
    row["least_ms"] += 0.1 * slow["epoch_ms"]
    text, slower = compare_profiles(quiet, slow)
    assert slower == [row["name"]]
    assert "slower" in text
    assert compare_profiles(slow, quiet)[1] == []


def test_the_same_program_on_a_busy_machine_is_not_slower():
    """Epochs that others lengthen, measured again and again; and a kernel that really takes longer."""
    rng = np.random.default_rng(14)

    def measured(slower: float = 1.0) -> dict:
        busy = rng.uniform(1, 1.2)  # while this measurement lasts
        epochs = []
        for _ in range(9):
            ms = (
                np.array([4.0, 3.0 * slower, 2.0]) * (1 + rng.exponential(0.1, 3)) * (busy if rng.random() < 0.8 else 1)
            )
            ticks = np.zeros((1, profiled.SLOTS, 2), np.int64)
            ticks[0, :3, 1] = 1e6 * ms
            epochs.append(profiling.Epoch(ms.sum() / 1e3, ticks, np.zeros(1)))
        chosen = sorted(epochs, key=lambda epoch: epoch.seconds)[4]
        rows = [profiled.Row(slot, f"kernel {slot}", "f", "k") for slot in range(3)]
        facts = {"images": 1, "batch_size": 1, "threads": 1, "forward_multiply_adds": 1}
        times = [1e3 * epoch.seconds for epoch in epochs]
        table = [profiling.time_row(row, chosen, epochs, 1.0) for row in rows]
        return facts | {"rows": table, "epoch_ms": float(np.median(times)), "epochs_ms": times}

    flagged = sum(bool(compare_profiles(measured(), measured())[1]) for _ in range(300))
    found = sum("kernel 1" in compare_profiles(measured(), measured(2.0))[1] for _ in range(100))
    assert flagged <= 18
    assert found >= 95


@pytest.mark.parametrize("option", ["--html", "--trace"])
@pytest.mark.parametrize("place_of", ["nowhere/page", "."])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(refused, option, place_of, monkeypatch):
    monkeypatch.setattr(profiling, "profile_training", lambda *_, **__: pytest.fail("it measured"))
    assert f"{place_of}: " in refused(3, "profile", "tiny.yaml", option, place_of)


def test_a_result_is_printed_also_where_a_file_cannot_be_written(lenumba, profile, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(profiling, "profile_training", lambda *_, **__: profile)
    monkeypatch.setattr("lenumba.commands.profile_command.write_text", full)
    result = lenumba("profile", "tiny.yaml", "--html", "page.html")
    assert result.exit_code == 3
    assert "conv_forward" in result.stdout
    assert result.stderr == "error: page.html: No space left on device; choose another place\n"


def test_a_damaged_inspection_is_made_anew(loaded, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    source = native.Source("some", TWICE, "twice", ["i64"])
    _, whole = get_inspected(source, [])
    path = native.program_folder(source) / "inspection.json"
    intact = path.read_bytes()
    for damage in (b"", b"{}", b"[1]", intact[:-1], intact.replace(b"verdict", b"Verdict")):
        path.write_bytes(damage)
        _, found = get_inspected(source, [])
        assert found["functions"].keys() == whole["functions"].keys()
        assert path.read_bytes()[:64].isalnum()


def test_profiles_of_different_runs_are_not_compared(profile):
    with pytest.raises(ConfigError, match="threads = 2, found 1"):
        compare_profiles(profile | {"threads": 1}, profile)


def test_a_profile_is_compared_with_a_runs_epochs(lenumba, run, refused):
    assert "at least 4 epochs, found 3" in refused(3, "profile", "--compare", str(run))
    lines = [{"epoch": k, "seconds": 1e3, "images_per_second": 5.0} for k in range(1, 7)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = lenumba("profile", "--seconds", "0", "--compare", "tiny-001")  # the run's own configuration and threads
    assert shown.exit_code == 0, shown.stderr
    assert "recorded no kernels" in shown.stdout
    for line in lines:
        line["seconds"] = 1e-9
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = lenumba("profile", "--seconds", "0", "--compare", "tiny-001")
    assert shown.exit_code == 1
    assert "error: slower than in tiny-001, beyond the noise: an unprofiled epoch" in shown.stderr


def test_reading_something_else_as_a_profile_is_refused(tmp_path):
    for content in (None, "{}", "no JSON"):
        path = tmp_path / "old.json"
        if content is not None:
            path.write_text(content)
        with pytest.raises(DataError, match=r"old\.json: expected a profile"):
            read_earlier(str(path))


def test_a_planted_slow_kernel_is_named_first_with_the_reason(monkeypatch):
    import planted

    row = replace(CATALOGUE["conv_forward"], module="planted")
    monkeypatch.setitem(CATALOGUE, "plain_conv_forward", row)
    text = SMALLER.replace("threads: 2", "threads: 1")
    found = profile_training(read_config(text, "small.yaml"), seconds=0, change=planted.plant)
    first = max(found["rows"], key=lambda row: row["ms"])
    assert first["function"] == "forward_conv1"
    assert "not vectorised" in first["code"]["verdict"]
    lines = profile_report.profile_table(found).splitlines()
    assert lines[4].startswith("conv1 forward · plain_conv_forward")
    assert "not vectorised: cannot prove it is safe to reorder floating-point operations" in lines[4]
    assert found["threads"] == 1


def test_the_command_prints_and_writes_all_forms(lenumba, place):
    arguments = ["profile", "tiny.yaml", "--threads", "1", "--seconds", "0"]
    shown = lenumba(*arguments, "--html", "page.html", "--trace", "trace.json", "--compile")
    assert shown.exit_code == 0, shown.stderr
    for text in ("waiting at barriers", PYTHON, "overhead of measuring", "cold:"):
        assert text in shown.stdout
    assert (place / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert json.loads((place / "trace.json").read_text())["traceEvents"]
    printed = lenumba(*arguments, "--json")
    assert json.loads(printed.stdout)["compile"]["cache"]["hit"] is True
    (place / "old.json").write_text(printed.stdout)
    compared = lenumba(*arguments, "--compare", "old.json")
    assert compared.exit_code in (0, 1)  # on a busy machine, either
    assert "ratio" in compared.stdout
    code = lenumba(*arguments, "--asm", "forward_dense1", "--llvm", "dense_bias_gradient").stdout
    assert "# loop, depth" in code
    assert "define" in code


def test_wrong_arguments_are_refused_in_one_line(refused):
    assert "--args" in refused(2, "profile", "tiny.yaml", "--args", "3")
    assert "old.json" in refused(3, "profile", "tiny.yaml", "--compare", "old.json")
    assert "nosuch" in refused(2, "profile", "nosuch:function")


@pytest.mark.long("compiles for long")
def test_it_works_on_one_core_without_avx512_from_a_cold_cache(place):
    environment = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2"}
    environment["NUMBA_CACHE_DIR"] = str(place / "cold")
    command = [sys.executable, "-m", "lenumba", "profile", "tiny.yaml", "--seconds", "0", "--json"]
    first_core = (
        f"import os, sys; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); os.execv({sys.executable!r}"
    )
    if hasattr(os, "sched_setaffinity"):
        command = [sys.executable, "-c", f"{first_core}, {command!r})"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["compile"]["cache"]["hit"] is False
    assert "nothing cached yet" in found["compile"]["cache"]["why"]
    assert found["machine"]["vector_bits"] == 256
    assert found["threads"] == 1 or not hasattr(os, "sched_setaffinity")
    if found["machine"]["target"] == "haswell":
        registers = {(row["code"] or {}).get("register") for row in found["rows"] if row["flops"]}
        assert "zmm" not in registers


def test_shares_above_the_peak_are_explained_where_products_are_saved(profile):
    assert "take fewer products" not in profile_report.profile_text(profile)
    row = next(row for row in profile["rows"] if row["kernel"] == "conv_forward")
    told = profile_report.profile_text(profile | {"rows": [*profile["rows"], row | {"kernel": "winograd_forward"}]})
    assert "as the definition has it, winograd_forward take fewer products" in told
