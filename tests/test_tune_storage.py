"""Where a study's trials are belongs to its record: going on never begins anew, and never elsewhere."""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest
from test_tune_kills import TIMEOUT, children, results, wait_for
from tune_studies import InstantPool, summary, trials, write_study

from lenumba.engine.tuning import search

pytest.importorskip("optuna", reason="studies need Optuna")

URL = "sqlite:///study.db"


@pytest.fixture(autouse=True)
def instant(monkeypatch):
    """Nothing here depends on what is trained."""
    monkeypatch.setattr(search, "Pool", InstantPool)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def kept(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("trials.csv", "best.yaml", "config.yaml")}


@pytest.fixture
def begun(lenumba, place):
    """A function that runs a study of two trials, and returns its folder."""

    def begin(*arguments) -> Path:
        write_study(trials=2)
        result = lenumba("tune", "tiny.yaml", "-q", *arguments)
        assert result.exit_code == 0, result.output
        return Path("studies/tiny")

    return begin


def test_study_in_a_database_goes_on_there(lenumba, begun, place):
    folder = begun("--storage", URL)
    before = trials()
    assert summary()["storage"] == f"sqlite:///{place}/study.db"
    for command in (["--resume"], ["tiny.yaml"], ["--resume", "--storage", URL]):
        result = lenumba("tune", *command, "--trials", len(before) + 1, "-q")
        assert result.exit_code == 0, result.output
        assert trials()[: len(before)] == before
        assert len(trials()) == len(before) + 1
        before = trials()
    assert not (folder / "journal.log").exists()
    assert json.loads(lenumba("tune", "--status", "--json").stdout)["counts"]["finished"] == 5


def test_study_named_by_a_path_goes_on_in_place(lenumba, begun, place, monkeypatch):
    begun("--storage", URL)
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    for name in (place / "studies" / "tiny", "../studies/tiny"):
        result = lenumba("tune", "--resume", "--name", name, "--trials", 3, "-q")
        assert result.exit_code == 0, result.output
    assert list(Path().iterdir()) == []
    monkeypatch.chdir(place)
    assert len(trials()) == 3


def test_study_with_a_journal_named_by_a_path_goes_on_in_place(lenumba, begun, place, monkeypatch):
    folder = begun()
    begun("--name", "other")
    shutil.move(folder, "moved")
    result = lenumba("tune", "--resume", "--name", "./moved", "--trials", 3)
    assert result.exit_code == 3, result.output  # its journal calls it tiny
    assert "its trials are no more in journal.log" in result.stderr
    (place / "far").mkdir()
    shutil.move("moved", "far/tiny")
    assert lenumba("tune", "--resume", "--name", "far/tiny", "--trials", 3, "-q").exit_code == 0
    assert results(Path("far/tiny")) == [0, 1, 2]
    assert [path.name for path in Path("studies").iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        ((), ("--storage", URL), "its trials are in journal.log, not in sqlite:///"),
        (("--storage", URL), ("--storage", "sqlite:///other.db"), "other.db; leave --storage out"),
    ],
)
def test_another_storage_than_the_study_s_is_refused(lenumba, begun, first, then, told):
    folder = begun(*first)
    before = kept(folder)
    for command in (["tiny.yaml"], ["--resume"]):
        result = lenumba("tune", *command, *then, "-q")
        assert result.exit_code == 2
        assert told in result.stderr
        assert result.stderr.count("\n") == 1
    assert kept(folder) == before
    assert not Path("other.db").exists()


@pytest.mark.parametrize("url", [(), ("--storage", URL)], ids=["journal", "database"])
def test_lost_trials_are_told_and_nothing_is_overwritten(lenumba, begun, url):
    folder = begun(*url)
    (Path("study.db") if url else folder / "journal.log").unlink()
    before = kept(folder)
    for command in (["tiny.yaml"], ["--resume"]):
        result = lenumba("tune", *command, "-q")
        assert result.exit_code == 3, result.output
        assert "restore" in result.stderr
        assert result.stderr.count("\n") == 1
    assert kept(folder) == before


def test_record_that_is_lost_is_no_reason_to_begin_anew(lenumba, begun):
    folder = begun("--storage", URL)
    (folder / "study.json").unlink()
    before = kept(folder)
    result = lenumba("tune", "--resume", "-q")
    assert result.exit_code == 3
    assert "expected the study's record, found none or damage; give --storage URL" in result.stderr
    assert kept(folder) == before
    assert lenumba("tune", "--resume", "--storage", URL, "-q").exit_code == 0
    assert len(trials()) == 2


@pytest.mark.parametrize(
    "value", ['{"storage": 5}', '{"storage": []}', '{"storage": ""}', '{"recipe": [1]}', '{"status": 3}']
)
@pytest.mark.parametrize("command", [["tiny.yaml"], ["--resume"], ["--status"]])
def test_record_of_wrong_types_is_refused_in_one_line(refused, begun, command, value):
    folder = begun()
    (folder / "study.json").write_text(value)
    before = kept(folder)
    assert "studies/tiny/study.json: " in refused(3, "tune", *command)
    assert kept(folder) == before


@pytest.mark.parametrize("url", [(), ("--storage", URL)], ids=["journal", "database"])
def test_what_a_killed_study_left_goes_with_the_next(lenumba, begun, url):
    folder = begun(*url)
    before = sorted(path.name for path in folder.iterdir())
    for name in ("study.json", "curves.png", "trials.csv"):
        (folder / f".{name}.0123abcd.part").write_text("half a file")
    (folder / ".weights-0123abcd").mkdir()
    (folder / ".weights-0123abcd" / "0-1.npy").write_text("half a file")
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers in Linux's /proc")
@pytest.mark.parametrize("url", [(), ("--storage", URL)], ids=["journal", "database"])
def test_killed_study_is_not_told_to_run(place, spawn, lenumba, url):
    write_study(trials=100_000)
    process = spawn("tune", "tiny.yaml", *url)
    wait_for(lambda: Path("studies/tiny/study.json").exists() and children(process), process)
    for line in process.stdout:
        if " epochs" in line:
            break
    # In a database the attempts tell, and between two of them there is none.
    wait_for(lambda: json.loads(lenumba("tune", "--status", "--json").stdout)["status"] == "running", process)
    process.kill()
    process.communicate(timeout=TIMEOUT)
    time.sleep(0.1)
    status = json.loads(lenumba("tune", "--status", "--json").stdout)
    assert (status["status"], status["counts"]["running"]) == ("interrupted", 0)
    assert lenumba("tune", "--resume", "--trials", status["counts"]["finished"] + 1, "-q").exit_code == 0
    assert json.loads(lenumba("tune", "--status", "--json").stdout)["status"] == "complete"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda known: known["data"].pop("validation"), None),  # which an earlier version did not have, say
        (lambda known: known["tune"]["space"].pop("data.batch_size"), "tune.space.data.batch_size was null, is ["),
        (lambda known: known["tune"].update(judged="otherwise"), 'tune.judged was "otherwise", is null'),
    ],
)
def test_a_study_goes_on_where_what_both_versions_know_is_the_same(lenumba, begun, change, told):
    begun()
    journal = Path("studies/tiny/journal.log")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        if "config" in line.get("user_attr", {}):
            known = json.loads(line["user_attr"]["config"])
            change(known)
            line["user_attr"]["config"] = json.dumps(known, sort_keys=True)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = lenumba("tune", "tiny.yaml", "-q")
    assert (result.exit_code == 0) == (told is None), result.output
    assert told is None or told in result.stderr
