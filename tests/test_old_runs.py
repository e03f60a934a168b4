"""Run folders that an earlier version wrote still load, go on to the bits that it would have reached, and verify.

`tests/data/old_runs/` has one that has finished and one that was interrupted in its second epoch, as they were
written; `expected.json` has what that version made of them.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import lenumba

OLD = Path(__file__).parent / "data" / "old_runs"
EXPECTED = json.loads((OLD / "expected.json").read_text())


@pytest.fixture(params=sorted(EXPECTED))
def name(request) -> str:
    return request.param


@pytest.fixture
def old(name, tmp_path) -> Path:
    """A copy of an old run folder, as what goes on writes into it."""
    return Path(shutil.copytree(OLD / name, tmp_path / name))


def call(*arguments: object) -> str:
    from lenumba.cli import main

    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_old_run_predicts_what_it_predicted(name, old, checkpoint):
    images = (np.arange(20 * 36) * 7919 % 251).astype(np.uint8).reshape(20, 6, 6)
    found = lenumba.load(old, checkpoint).predict_proba(images)
    np.testing.assert_array_equal(found, np.array(EXPECTED[name][checkpoint], np.float32))


def test_old_run_goes_on_to_the_same_weights(name, old):
    expected = EXPECTED[name]
    call("train", "--resume", old, f"train.epochs={expected['epochs']}", "-q")
    record = json.loads((old / "run.json").read_text())
    keys = ("status", "epochs", "weights_sha256", "best_weights_sha256", "test_loss")
    assert {key: record[key] for key in keys} == {"status": "finished"} | {key: expected[key] for key in keys[1:]}
    assert len((old / "metrics.jsonl").read_text().splitlines()) == expected["epochs"]


def test_old_run_verifies(old):
    verdict = json.loads(call("verify", old, "--json"))
    assert verdict["same"], verdict["difference"]
    assert {"last.safetensors (all)", "best.safetensors (all)"} <= set(verdict["compared"])
