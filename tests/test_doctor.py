"""The installation's check-up: what is well, what is not, and that a wrong kernel is found and named."""

import json
import os
import stat
from pathlib import Path

import pytest

from lenumba.engine import doctor
from lenumba.engine.explain import cases as cases_module
from lenumba.engine.explain import selftest
from lenumba.engine.network.layers import AveragePool
from lenumba.kernels.compile import native
from lenumba.kernels.program.catalogue import known_kernels
from lenumba.kernels.reference import layers as reference
from lenumba.kernels.reference import steps as reference_steps
from lenumba.kernels.reference.twin import Twin

NAMES = {"versions", "cpu", "threads", "memory", "cache", "data", "kernels"}


def lines(result) -> dict[str, str]:
    return {line.split()[1]: line for line in result.stdout.splitlines()}


def found(name: str) -> list[tuple[str, str]]:
    return list(doctor.CHECKS[name](lambda _: None))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """An empty program cache."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lenumba"


def test_sound_installation_passes_every_check(lenumba):
    result = lenumba("doctor")
    assert result.exit_code == 0, result.output
    assert set(lines(result)) == NAMES
    assert not any(line.startswith("fail") for line in result.stdout.splitlines())
    assert f"{len(known_kernels()) - 1} agree with their plain twins" in lines(result)["kernels"]
    again = json.loads(lenumba("doctor", "--json").stdout)
    assert {finding["check"] for finding in again} == NAMES
    assert "compiling" not in again[-1]["text"]


def test_selftest_calls_every_kernel():
    assert set().union(*(selftest.run_case(case).kernels for case in cases_module.CASES)) == known_kernels().keys() - {
        "augment"
    }


@pytest.mark.parametrize(
    ("case", "module", "twin", "kernel"),
    [
        (0, reference, "conv_forward", "conv_forward"),
        (0, reference, "max_pool_backward", "max_pool_backward"),
        (0, reference_steps, "tanh", "tanh"),
        (0, reference_steps, "sgd", "sgd"),
        (1, reference, "conv_input_gradient", "conv_input_gradient_pixels"),
        (1, reference, "dense_bias_gradient", "dense_bias_gradient_pixels"),
        (1, reference_steps, "adamw", "adamw"),
        (1, reference_steps, "average_weights", "average_weights"),
        (2, reference_steps, "squared_error", "squared_error"),
        (2, reference_steps, "clip_gradient", "clip_gradient"),
    ],
)
def test_kernel_that_differs_from_its_twin_is_named(monkeypatch, case, module, twin, kernel):
    """The twin is changed instead, as that needs no compiling."""
    right = getattr(module, twin)

    def wrong(*arguments):
        result = right.py_func(*arguments)
        if result is None:  # an update, which overwrites its arguments
            arguments[0][0] += 0.01 * abs(arguments[0]).max()
        elif isinstance(result, tuple):
            return (result[0] * 1.01, *result[1:])
        else:
            return result * 1.01
        return None

    monkeypatch.setattr(module, twin, Twin(wrong))
    fault = selftest.run_case(cases_module.CASES[case]).fault
    assert fault is not None
    suspected = fault.rpartition("suspected: ")[2].split(", ")
    assert kernel in suspected
    assert len(suspected) < 10


def test_a_wrong_input_of_float_images_is_blamed_on_what_packs_them(monkeypatch):
    case = next(case for case in cases_module.CASES if case.pixels == "float32" and not case.singly)
    right = selftest.planar
    monkeypatch.setattr(selftest, "planar", lambda images: 1.5 * right(images))  # the twins' images, not the program's
    monkeypatch.setattr(
        selftest.Executor,
        "train",
        lambda self, images, *rest, train=selftest.Executor.train, **options: train(
            self, (images / 1.5).astype("float32"), *rest, **options
        ),
    )
    fault = selftest.run_case(case).fault
    assert fault is not None
    assert fault.rpartition("suspected: ")[2].split(", ")[0] == "pack_floats"


def test_fault_of_the_kernels_exits_with_1(lenumba, monkeypatch):
    def backward(*arguments):
        gradient, own = right(*arguments)
        return gradient * 2, own

    right = AveragePool.plain_backward
    monkeypatch.setattr(AveragePool, "plain_backward", backward)
    result = lenumba("doctor")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("checks failed: kernels, kernels")
    assert "fail  kernels   blocks, softmax, sgd: the gradient of conv2." in result.stdout


def test_damaged_programs_are_counted(elsewhere):
    assert found("cache") == [("ok", f"{elsewhere}: empty")]
    for name in ("one", "two"):
        folder = elsewhere / name
        native.open_private_folder(elsewhere)
        native.open_private_folder(folder)
        (folder / "program.o").write_bytes(native.entry_digest(folder / "program.o", b"code") + b"code")
    assert found("cache")[0][1].startswith(f"{elsewhere}: 2 programs, ")
    assert found("cache")[0][1].endswith(" 2 whole")
    (elsewhere / "two" / "program.o").write_bytes((elsewhere / "one" / "program.o").read_bytes())
    (ok, text), (level, damaged) = found("cache")
    assert (ok, level) == ("ok", "warn")
    assert text.endswith(" 1 whole")
    assert damaged.endswith(": two")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_cache_that_others_can_write_to_is_told(elsewhere):
    native.open_private_folder(elsewhere)
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    elsewhere.chmod(0o770)
    ((level, text),) = found("cache")
    assert level == "warn"
    assert "can be written by other users; run chmod go-w" in text


def test_data_sets_are_found_where_they_are(monkeypatch, write_dataset, tmp_path):
    monkeypatch.setenv("LENUMBA_DATA", str(tmp_path))
    monkeypatch.setattr("lenumba.engine.data.download.cache_folder", lambda name: tmp_path / "none" / name)
    monkeypatch.setattr(doctor, "cache_folder", lambda name: tmp_path / "none" / name)
    write_dataset(tmp_path / "mnist")
    first, second, *_ = found("data")
    assert first == ("ok", f"mnist: {tmp_path / 'mnist'}, 12 training and 4 test images, whole")
    assert second == (
        "ok",
        f"fashion_mnist: not here; the first training downloads it to {tmp_path}/none/fashion_mnist",
    )
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b")
    assert found("data")[0][0] == "fail"
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    level, text = found("data")[0]
    assert level == "fail"
    assert "found no t10k-labels-idx1-ubyte.gz" in text


def test_quota_and_little_memory_are_warnings(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "available_threads", lambda: 8)
    monkeypatch.setattr(doctor, "cpu_quota", lambda: 2.5)
    ((level, text),) = found("threads")
    assert level == "warn"
    assert text.endswith("a control group allows for 2.5; set train.threads=2")
    monkeypatch.setattr(doctor, "available_memory", lambda: {"here": (2 << 30, False), "there": (5_000_000, True)})
    assert found("memory") == [("warn", "5 MB available (there)")]


def test_quota_is_read_from_both_kinds_of_control_groups(tmp_path):
    assert doctor.cpu_quota(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert doctor.cpu_quota(tmp_path) is None
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("150000\n")
    assert doctor.cpu_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert doctor.cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert doctor.cpu_quota(tmp_path) == 0.5


def test_check_that_breaks_does_not_hide_the_others(monkeypatch):
    def broken(_):
        raise OSError("no such thing")

    monkeypatch.setattr(doctor, "CHECKS", {"cpu": broken, "threads": doctor.CHECKS["threads"]})
    levels = {finding.check: finding.level for finding in doctor.examine(lambda _: None)}
    assert levels == {"cpu": "fail", "threads": "ok"}
