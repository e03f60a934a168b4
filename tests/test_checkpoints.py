"""Checkpoints that are damaged, foreign or of another network, and writing that fails half-way."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
from safetensors.numpy import save_file

from lenumba.engine.common.errors import DataError
from lenumba.engine.models.importing import read_content
from lenumba.engine.network import network
from lenumba.engine.runs import checkpoint
from lenumba.engine.runs.checkpoint import Checkpoint

COMMANDS = [("evaluate", "best.safetensors"), ("train --resume", "last.safetensors")]


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
    return {"a.kernel": np.random.default_rng(seed).random((3, 4), np.float32), "a.bias": np.zeros(3, np.float32)}


def bits(arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


def test_checkpoint_reads_back_bit_for_bit(tmp_path):
    Checkpoint(tmp_path / "x", tensors(), {"progress": {"epoch": 3}, "mean": [0.1]}).write()
    found = Checkpoint.read(tmp_path / "x")
    assert bits(found.tensors) == bits(tensors())
    assert found.state == {"format_version": checkpoint.FORMAT_VERSION, "progress": {"epoch": 3}, "mean": [0.1]}


def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "x"
    Checkpoint(path, tensors(), {"progress": {"epoch": 3}}).write()
    content, refused = path.read_bytes(), 0
    for place in range(len(content)):
        for mask in (1, 128):
            path.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
            try:
                found = Checkpoint.read(path)
            except DataError:
                refused += 1
                continue
            # Spaces around the JSON of the header carry nothing: all that may pass unnoticed.
            assert found.state["progress"] == {"epoch": 3}
            assert bits(found.tensors) == bits(tensors())
    assert refused > 1.9 * len(content)


@pytest.mark.parametrize("text", ["[]", "1", '"a"', "{}", "[" * 100_000])
def test_state_that_is_none_is_refused(tmp_path, text):
    """Even where its checksum is right."""
    save_file(tensors(), tmp_path / "x", {"state": text, "sha256": checkpoint.checksum(tensors(), text)})
    for read in (Checkpoint.read, read_content):
        with pytest.raises(DataError) as caught:
            read(tmp_path / "x")
        assert "\n" not in str(caught.value)


def test_state_says_what_it_has_not(tmp_path):
    Checkpoint(tmp_path / "x", tensors(), {"mean": [0.1]}).write()
    with pytest.raises(DataError, match="expected 'class_names' in the checkpoint's state"):
        Checkpoint.read(tmp_path / "x").state["class_names"]


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_flipped_byte_exits_with_3(refused, run, command, name):
    content = bytearray((run / name).read_bytes())
    content[-5] ^= 4
    (run / name).write_bytes(content)
    assert "SHA-256 does not match" in refused(3, *command.split(), run)


@pytest.mark.parametrize(("command", "name"), COMMANDS)
@pytest.mark.parametrize("length", [0, 5, 1000, -1])
def test_truncated_checkpoint_exits_with_3(refused, run, command, name, length):
    (run / name).write_bytes((run / name).read_bytes()[:length])
    assert f"{name}: damaged" in refused(3, *command.split(), run)


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_missing_checkpoint_exits_with_3(refused, run, command, name):
    (run / name).unlink()
    assert name in refused(3, *command.split(), run)


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_foreign_safetensors_exit_with_3(refused, run, command, name):
    save_file(tensors(), run / name)
    assert "no checkpoint of lenumba" in refused(3, *command.split(), run)
    save_file(tensors(), run / name, {"state": "of something else"})
    assert "damaged" in refused(3, *command.split(), run)


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_newer_format_says_which(refused, run, monkeypatch, command, name):
    found = Checkpoint.read(run / name)
    del found.state["format_version"]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", 7)
        patch.setattr(checkpoint, "checksum", lambda *_: "made in another way")
        found.write()
    assert "written by format 7, this version reads 1; update lenumba" in refused(3, *command.split(), run)


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_checkpoint_of_another_network_lists_the_misfits(refused, run, monkeypatch, command, name):
    text = (run / "config.yaml").read_text()
    assert "size: 4" in text
    (run / "config.yaml").write_text(text.replace("size: 4", "size: 2"))
    monkeypatch.setattr(network, "get_program", lambda *_: pytest.fail("compiled before checking"))
    line = refused(2, *command.split(), run)
    if "--resume" in command:  # which compares all that the run was trained with, before its tensors
        assert "network.layers.0.size: expected 4, which" in line
    else:
        assert "of another network: dense1.kernel expected 10×196, found 10×49" in line


def test_run_on_other_data_is_not_resumed(refused, lenumba, write_dataset, place):
    write_dataset(place / "data")
    lenumba("train", "tiny.yaml", "data.name=mnist", "data.root=data", "data.batch_size=4", "data.validation=4", "-q")
    write_dataset(place / "data", train_labels=np.zeros(12, np.uint8))
    assert "other data" in refused(3, "train", "--resume", "latest")


def test_write_that_fails_leaves_the_one_before(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "x"
    Checkpoint(path, tensors(), {"number": 1}).write()
    text = f"""
import resource
from pathlib import Path
import numpy as np
from lenumba.engine.runs.checkpoint import Checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, {resource.RLIM_INFINITY}))
Checkpoint(Path({str(path)!r}), {{"large": np.zeros(100_000, np.float32)}}, {{"number": 2}}).write()
"""
    result = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert re.search(r"DataError: .*cannot write the checkpoint .*; this or the one before is intact", result.stderr)
    assert Checkpoint.read(path).state["number"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_damaged_history_names_the_line(refused, run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([lines[0], lines[1][:-9], lines[2]]) + "\n")
    assert "metrics.jsonl:2: " in refused(3, "train", "--resume", run)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"overrides": []}'])
def test_run_with_a_damaged_record_can_be_resumed(lenumba, run, content):
    before = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(content)
    assert lenumba("train", "--resume", run).exit_code == 0
    assert json.loads((run / "run.json").read_text())["weights_sha256"] == before["weights_sha256"]


def test_killed_writers_leftovers_go_on_resuming(lenumba, run):
    for name in (".last.safetensors.1a2b3c4d.part", ".run.json.00000000.part"):
        (run / name).write_text("half")
    (run / ".notes.txt").write_text("mine")
    assert lenumba("train", "--resume", run).exit_code == 0
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == [".notes.txt"]


def test_unknown_place_is_no_run_folder(refused, run):
    assert "no run folder" in refused(2, "evaluate", run / "best.safetensors")
