"""Files on disk: whole or not there, nothing left over, every error with a name; locks where there are any."""

import errno
import fcntl
import json
import logging
import os
import re
from pathlib import Path

import pytest

from lenumba.engine.common.files import append, durable, read_json, remove_leftovers, write_text
from lenumba.engine.config.config import load_config
from lenumba.engine.runs.folders import find_run, in_use, locked, read_record
from lenumba.engine.runs.run import resume_run, start_run

LEFT = ".{}.0123abcd.part"  # as a killed writer leaves it


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_written_file_is_whole_and_what_a_killed_writer_left_is_gone(tmp_path):
    path = tmp_path / "a[b].txt"
    (tmp_path / LEFT.format(path.name)).write_text("half")
    (tmp_path / LEFT.format("other")).write_text("another file's")
    write_text(path, "whole")
    assert path.read_text() == "whole"
    assert names(tmp_path) == [LEFT.format("other"), path.name]


def test_file_that_somebody_writes_is_no_leftover(tmp_path):
    with durable(tmp_path / "a") as first:
        first.write_text("first")
        write_text(tmp_path / "a", "second")
        remove_leftovers(tmp_path)
        assert first.exists()
    assert (tmp_path / "a").read_text() == "first"
    assert names(tmp_path) == ["a"]


def test_new_files_have_the_permissions_that_the_user_wants(tmp_path):
    before = os.umask(0o077)
    try:
        write_text(tmp_path / "a", "mine")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("call", ["write", "fsync", "open", "replace"])
def test_error_while_writing_names_the_file_and_leaves_nothing(tmp_path, monkeypatch, call):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a"
    if call == "write":
        monkeypatch.setattr(Path, "write_text", lambda *_, **__: full())
    else:
        monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=re.escape(f"No space left on device: {str(path)!r}")) as caught:
        write_text(path, "text")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_under_a_line_names_the_file():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        append(Path("/dev/full"), "line")


def test_record_that_the_disk_fails_to_give_is_not_taken_for_none(run, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(OSError, match=r"Input/output error: '.*run\.json'"):
        read_json(run / "run.json")
    assert read_record(run) == {}


@pytest.mark.parametrize("command", ["report", "export"])
def test_what_a_killed_command_left_goes_with_the_same_command(lenumba, run, command):
    pytest.importorskip("onnx")
    written = {"report": run / "report.html", "export": Path("tiny-001.onnx")}[command]
    (written.parent / LEFT.format(written.name)).write_text("half")
    assert lenumba(command, run).exit_code == 0
    assert written.exists()
    assert not list(written.parent.glob(".*"))


# ------------------------------------------------------------------------------------------------------------- locks


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_where_there_are_no_locks_a_run_says_so_and_goes_on(place, monkeypatch, caplog, number):
    def none(*_):
        raise OSError(number, os.strerror(number))

    whole = start_run(load_config("tiny.yaml"))
    monkeypatch.setattr(fcntl, "flock", none)
    with caplog.at_level(logging.WARNING):
        result = start_run(load_config("tiny.yaml"))
    folder = result.path
    assert [f"{folder}: locks are not available" in record.message for record in caplog.records].count(True) == 1
    assert result.summary["locked"] is False
    assert result.summary["compiled"] is False  # the program cache works there, too
    assert result.summary["weights_sha256"] == whole.summary["weights_sha256"]
    assert "locked" not in whole.summary
    assert resume_run(folder, ["train.epochs=4"]).summary["epochs"] == 4
    assert not list(folder.glob(".*"))


def test_looking_at_a_lock_does_not_disturb_who_takes_it(run):
    assert not in_use(run)
    with locked(run):
        assert in_use(run)
    assert not in_use(run)


# ------------------------------------------------------------------------------------------------ runs that were killed


@pytest.mark.parametrize("status", ["starting", "running"])
def test_killed_run_is_not_called_running(lenumba, run, status):
    record = {**read_json(run / "run.json"), "status": status}
    (run / "run.json").write_text(json.dumps(record))
    (run / ".lock").touch()  # of a process that is no more
    assert json.loads(lenumba("runs", "--json").stdout)[0]["status"] == "killed"
    with locked(run):
        assert read_record(run)["status"] == status


def test_latest_is_the_run_that_was_started_or_resumed_last(place):
    first, second = (start_run(load_config("tiny.yaml")).path for _ in range(2))
    assert find_run("latest") == second
    resume_run(first)
    assert find_run("latest") == first


@pytest.mark.parametrize(
    "left", [[], [".lock"], [".run.json.0123abcd.part"], ["run.json"], ["run.json", "best.safetensors"]]
)
def test_folder_of_a_run_that_was_killed_before_it_began_is_used_again(place, left):
    for folder in (Path("runs/tiny-001"), Path("mine")):
        folder.mkdir(parents=True)
        for name in left:
            (folder / name).write_text('{"status": "starting"}')
    assert start_run(load_config("tiny.yaml")).path == Path("runs/tiny-001")
    assert start_run(load_config("tiny.yaml"), out=Path("mine")).path == Path("mine")
    for folder in (Path("runs/tiny-001"), Path("mine")):
        assert names(folder) == ["best.safetensors", "config.yaml", "last.safetensors", "metrics.jsonl", "run.json"]


@pytest.mark.parametrize("own", ["best.safetensors", "notes.txt"])
def test_folder_with_files_of_ones_own_is_not_used(place, refused, own):
    Path("mine").mkdir()
    Path("mine", own).write_text("mine")
    assert "not empty" in refused(2, "train", "tiny.yaml", "--out", "mine")
    assert names(Path("mine")) == [own]
