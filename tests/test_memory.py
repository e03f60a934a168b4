"""Memory: what a training will need is known before it, and refused where there is less."""

import gc
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from lenumba.engine.common.errors import DataError
from lenumba.engine.config.config import load_config
from lenumba.engine.network import network
from lenumba.engine.runs.run import start_run
from lenumba.engine.training import memory

resource = pytest.importorskip("resource")
MARGIN = 0.15  # between the estimate and the measured peak, of the peak

# Runs a training and prints the resident memory before, the estimate, and the peak, in MB.
MEASURE = """
import json, sys
import lenumba.engine.training.trainer as trainer
from lenumba.engine.config.config import load_config
from lenumba.engine.common.host import peak_rss_mb
from lenumba.engine.training.memory import numbers_of, training_needs
from lenumba.engine.runs.run import start_run
from pathlib import Path

def look(*arguments):
    needs = sum(training_needs(*arguments).values())
    seen.append(numbers_of(Path("/proc/self/status"))["VmRSS"] + needs)

seen = []
trainer.check_memory = look
start_run(load_config(sys.argv[1], sys.argv[2:]))
print(json.dumps([seen[0] / 1e6, peak_rss_mb()]))
"""
LAST = "flatten, {type: dense, units: 10, activation: softmax}]"
LARGE = f"network.layers=[flatten, {{type: dense, units: 4000, activation: relu}}, {LAST}"
BLOCKS = ["quickstart", "network.layers.0.norm=batch", "data.batch_size=1024"]  # a batch's blocks are all in memory
BUFFERS = f"network.layers=[{{type: average_pool, size: 2, stride: 1}}, {{type: max_pool, size: 2, stride: 1}}, {LAST}"


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured with Linux's /proc")
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(["tiny.yaml", LARGE], id="large"),
        pytest.param(["quickstart", "train.threads=48"], id="lenet"),
        pytest.param(BLOCKS, id="norm", marks=pytest.mark.long("compiles for long")),
    ],
)
def test_estimate_is_near_the_measured_peak(place, config):
    command = [sys.executable, "-c", MEASURE, *config, "train.epochs=1"]
    for _ in range(2):  # compiled, and from the cache
        estimate, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        assert estimate == pytest.approx(peak, rel=MARGIN)


def test_too_large_a_training_is_refused_before_compiling(place, refused, monkeypatch):
    monkeypatch.setattr(network, "get_program", lambda *_: pytest.fail("compiled before checking"))
    monkeypatch.setattr(memory, "available_memory", lambda: {"a box of 300 MB": (20_000_000, False)})
    line = refused(3, "train", "tiny.yaml", LARGE)
    assert line.startswith("error: memory: expected ")
    for part in ("parameters ", "program ", "found 20 MB left (a box of 300 MB); make the layers smaller"):
        assert part in line
    monkeypatch.setattr(memory, "available_memory", lambda: {"a box": (150_000_000, False)})
    assert "lower train.threads" in refused(3, "train", "tiny.yaml", BUFFERS, "train.threads=1000")


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
def test_limit_of_the_process_is_kept(place, spawn):
    patch = f"import resource\nresource.setrlimit(resource.RLIMIT_AS, (1_200_000_000, {resource.RLIM_INFINITY}))"
    wide = LARGE.replace("4000", "60000")
    output, errors = spawn("train", "tiny.yaml", wide, patch=patch).communicate()
    assert output == ""
    assert errors.startswith("error: memory: expected 2.")
    assert "the limit of 1.2 GB, ulimit -v" in errors
    assert errors.count("\n") == 1
    assert not (place / "runs").exists()


def test_allocation_that_fails_is_one_line(place, refused, monkeypatch):
    def fail(*_):
        return np.zeros(1 << 60, np.uint8)

    monkeypatch.setattr("lenumba.engine.data.sharing.load_data", fail)
    assert refused(3, "train", "tiny.yaml").startswith("error: memory: not enough for this (Unable to allocate ")


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {}, 8000 * 1024),
        (
            "0::/a/b\n",
            {
                "sys/fs/cgroup/a/memory.max": "5000\n",
                "sys/fs/cgroup/a/memory.current": "4000\n",
                "sys/fs/cgroup/a/memory.stat": "anon 2500\ninactive_file 1500\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "4000\n",
            },
            2500,
        ),
        (
            "9:name=systemd:/\n4:cpu,memory:/job\n0::/\n",
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{(1 << 63) - 4096}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "70000\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "6000\n",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "5000\n",
                "sys/fs/cgroup/memory/job/memory.stat": "inactive_file 3\ntotal_inactive_file 100\n",
            },
            1100,
        ),
    ],
    ids=["machine", "cgroups-2", "cgroups-1"],
)
def test_what_is_available_is_the_least_of_the_limits(tmp_path, monkeypatch, cgroup, files, expected):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    texts = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n", "proc/self/cgroup": cgroup, **files}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert min(size for size, _ in memory.available_memory(tmp_path).values()) == expected


def test_system_that_tells_nothing_refuses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert memory.available_memory(tmp_path) == {}


def test_threads_that_cannot_be_started_end_the_training_at_once(place, monkeypatch):
    """The workers that have begun must not wait at their barrier for the others."""
    begun = []

    def start(self):
        begun.append(self)
        if len(begun) == 3:
            raise RuntimeError("can't start new thread")
        real(self)

    real = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(DataError, match=r"lower train\.threads"):
        start_run(load_config("tiny.yaml", ["train.threads=4", "data.batch_size=256"]))
    gc.collect()  # the exception's traceback kept the trainer, whose workers end with it
    for thread in begun[:2]:
        thread.join(10)
    assert not any(thread.is_alive() for thread in begun)
