"""The same bits whatever computes them: any number of threads, a cold or a warm cache, AVX-512 or AVX2."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_configs import draw_every_option, write
from harness import avx2_setting

CHANGES = ["data.samples=1500", "train.epochs=2", "data.batch_size=128"]
TRAIN = """
import json, sys
from lenumba.engine.config.config import load_config
from lenumba.engine.runs.run import start_run
for threads in sys.argv[1].split(","):
    result = start_run(load_config(sys.argv[2], [*sys.argv[3:], f"train.threads={threads}"]))
    metrics = [[line["train_loss"], line["val_loss"], line["val_accuracy"]] for line in result.history]
    keys = ("weights_sha256", "best_weights_sha256", "test_loss")
    bits = json.dumps([metrics, [result.summary[key] for key in keys]])
    print(json.dumps({"bits": bits, "compiled": result.summary["compiled"], "threads": result.summary["threads"]}))
"""


TRAIN_DRAWN = """
import hashlib, sys
from pathlib import Path
from lenumba.engine.config.config import read_config
from lenumba.engine.data.dataset import load_dataset
from lenumba.engine.training.trainer import Trainer
for path in sorted(Path(sys.argv[1]).glob("*.yaml")):
    loaded = read_config(path, path.name, ["train.threads=2"])
    trainer = Trainer(loaded, load_dataset(loaded.config.data.name))
    digest = hashlib.sha256()
    for record in trainer.epochs():
        digest.update(repr((record.train_loss, record.val_loss)).encode())
    digest.update(trainer.executor.theta.tobytes() + trainer.executor.state.tobytes())
    print(path.stem, digest.hexdigest(), flush=True)
"""


def train(threads: list[int], cache: Path, config: str = "quickstart", **environment: str) -> list[dict]:
    """Train in a process of its own, once with each number of threads."""
    command = [sys.executable, "-c", TRAIN, ",".join(map(str, threads)), config, *CHANGES]
    settings = os.environ | {"NUMBA_CACHE_DIR": str(cache)} | environment
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_threads_and_cache_never_change_a_bit(place, tmp_path, campaign):
    repeats, threads = campaign.size(1, 10), [1, 2, 3, 4, 8] if campaign.full else [1, 3]
    config = "quickstart" if campaign.full else "tiny.yaml"
    found = []
    for repeat in range(repeats):
        cache = Path(os.environ["NUMBA_CACHE_DIR"])
        if not campaign.full:
            train([1], cache, config)  # so that it is warm
        for count in threads if campaign.full else ():  # test_cache.py has a cold start of one batch
            cache = tmp_path / f"cold-{repeat}-{count}"
            cold = train([count], cache, config)
            assert [run["compiled"] for run in cold] == [True]
            found += cold
        warm = train(threads, cache, config)
        assert not any(run["compiled"] for run in warm)
        assert [run["threads"] for run in warm] == threads
        found += warm
    assert len({run["bits"] for run in found}) == 1
    compiled = sum(run["compiled"] for run in found)
    campaign.note(
        f"same bits: {len(found)} trainings with threads {threads}, {compiled} with a cold cache, all the same"
    )


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="AVX2 is x86's")
def test_vector_width_never_changes_a_bit(place, tmp_path, campaign):
    if not campaign.full:
        pytest.skip("test_program.py compares both on one batch; whole trainings with --campaign")
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if not (features.get("avx512f") and features.get("fma")):
        pytest.skip("this CPU has no AVX-512 to compare with")
    wide = train([1, 2, 8], tmp_path / "wide")
    narrow = train([1, 2, 8], tmp_path / "narrow", **avx2_setting())
    assert narrow[0]["compiled"]
    assert len({run["bits"] for run in wide + narrow}) == 1
    campaign.note(f"same bits: AVX-512 against AVX2, {len(wide)} trainings each, all the same")


def train_drawn(folder: Path, **environment: str) -> dict[str, str]:
    """Train every configuration in a folder, in a process of its own; return a SHA-256 of each one's results."""
    command = [sys.executable, "-c", TRAIN_DRAWN, str(folder)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="AVX2 is x86's")
@pytest.mark.long("test_program.py compares both on one batch")
def test_vector_width_never_changes_a_bit_of_a_drawn_configuration(tmp_path, campaign):
    """Each has a random network, loss, optimiser and schedule; half of them clip, average, distort or drop out."""
    import llvmlite.binding as llvm

    if not llvm.get_host_cpu_features().get("avx512f"):
        pytest.skip("this CPU has no AVX-512 to compare with")
    count, clipping = campaign.size(1, 60), 0
    for number in range(count):
        drawn = draw_every_option(np.random.default_rng((29, number)))
        if number < 2:
            drawn["optimizer"]["max_norm"] = 0.05
        drawn["train"] = drawn.get("train", {}) | {"epochs": 2}
        drawn["schedule"] = {"name": drawn.get("schedule", {}).get("name", "constant")}
        clipping += "max_norm" in drawn["optimizer"]
        (tmp_path / f"drawn-{number:03}.yaml").write_text(write(drawn)[0])
    wide, narrow = train_drawn(tmp_path), train_drawn(tmp_path, **avx2_setting())
    assert len(wide) == count
    assert [name for name in wide if wide[name] != narrow[name]] == []
    campaign.note(f"same bits: AVX-512 against AVX2, {count} drawn configurations, {clipping} with clipping, all same")
