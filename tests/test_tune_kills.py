"""Sudden death and signals during a study: a rerun ends with every trial once, whoever died when."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tune_studies import InstantPool, recorded, summary, trials, write_study

from lenumba.engine.common.files import write_json
from lenumba.engine.config.config import load_config
from lenumba.engine.runs.run import start_run
from lenumba.engine.tuning import finals, search
from lenumba.engine.tuning.storage import open_storage

pytest.importorskip("optuna", reason="studies need Optuna")
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers in Linux's /proc")

KILLS = int(os.environ.get("LENUMBA_TEST_KILLS", "4"))  # of workers and parents, alternately
TRIALS = int(os.environ.get("LENUMBA_TEST_KILL_TRIALS", "8"))
TIMEOUT = 120


def children(process: subprocess.Popen) -> list[int]:
    """Return a study's workers: not a fork that is none yet, and has its parent wait."""
    with contextlib.suppress(OSError):
        own = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [int(text) for text in own if b"tuning.worker" in Path(f"/proc/{text}/cmdline").read_bytes()]
    return []


def wait_for(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def attempts(folder: Path, url: str | None = None) -> list:
    import optuna

    return optuna.load_study(study_name=folder.name, storage=open_storage(folder, url)).get_trials()


def results(folder: Path, url: str | None = None) -> list[int]:
    """The slots of all attempts that have a result, sorted."""
    done = [t for t in attempts(folder, url) if t.state.name in ("COMPLETE", "PRUNED") or "reason" in t.user_attrs]
    return sorted(attempt.user_attrs["slot"] for attempt in done)


def still_runs(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_kills_of_workers_and_parents_lose_nothing_and_repeat_nothing(place, spawn):
    write_study(trials=TRIALS)
    epochs = max(300, 60 * KILLS)  # so that the study does not end before the kills do, and some trials do
    text = Path("tiny.yaml").read_text().replace("train: {epochs: 2}", f"train: {{epochs: {epochs}}}")
    Path("tiny.yaml").write_text(text.replace("{low: 1, high: 2}", f"{{low: {epochs // 2}, high: {epochs}}}"))
    generator, killed = random.Random(KILLS), 0
    while killed < KILLS:
        process = spawn("tune", "tiny.yaml", "--jobs", 2, "-q")
        while len(children(process)) < 2 and process.poll() is None:
            time.sleep(0.01)
        if process.poll() is not None:
            break  # the study was quicker than the kills
        time.sleep(generator.uniform(0.5, 4.5))  # the workers start meanwhile, and trials end
        workers = children(process)
        if killed % 2 == 0 and workers:
            os.kill(generator.choice(workers), signal.SIGKILL)
            killed += 1
            time.sleep(generator.uniform(0, 0.3))
        if process.poll() is not None:
            break  # the study was quicker than the kills
        workers = children(process)
        process.kill()
        killed += 1
        process.communicate(timeout=TIMEOUT)
        end = time.monotonic() + TIMEOUT
        while any(map(still_runs, workers)):
            assert time.monotonic() < end, "workers outlive their parent"
            time.sleep(0.05)
    before = len(results(Path("studies/tiny")))
    last = spawn("tune", "tiny.yaml", "--jobs", 2, "-q")
    assert last.communicate(timeout=TIMEOUT) == ("", "")
    assert last.returncode == 0
    assert results(Path("studies/tiny")) == list(range(TRIALS))
    lost = sum(attempt.state.name == "FAIL" for attempt in attempts(Path("studies/tiny")))
    assert killed > 0
    sys.stderr.write(f"{killed} kills, {lost} attempts lost and repeated, {before} trials done before the last start\n")
    assert [int(row["trial"]) for row in trials()] == list(range(TRIALS))
    run = start_run(load_config("studies/tiny/best.yaml"))
    assert max(line["val_accuracy"] for line in run.history) == recorded()


def test_torn_journal_is_mended(lenumba, place):
    write_study(trials=2)
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    with Path("studies/tiny/journal.log").open("a") as file:
        file.write('{"op_code": 4, "wor')  # as a kill in the middle of a line leaves it
    assert lenumba("tune", "tiny.yaml", "--trials", 3, "-q").exit_code == 0
    assert results(Path("studies/tiny")) == [0, 1, 2]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_writes_what_there_is_and_resume_goes_on(place, spawn, lenumba, number, code):
    write_study(trials=100_000)
    process = spawn("tune", "tiny.yaml")
    seen = 0
    for line in process.stdout:
        seen += " epochs" in line
        if seen == 3:
            break
    process.send_signal(number)
    output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code, errors
    assert errors.startswith("error: interrupted after ")
    assert errors.endswith("go on with: lenumba tune --resume --name tiny\n")
    assert "Not confirmed with fresh seeds: the study was interrupted. " in output
    folder = Path("studies/tiny")
    assert (summary()["status"], summary()["confirmed"]) == ("interrupted", False)
    assert not (folder / ".lock").exists()
    done = len([row for row in trials() if row["state"] == "finished"])
    assert done >= 3
    run = start_run(load_config(folder / "best.yaml"))
    assert max(line["val_accuracy"] for line in run.history) == recorded()
    status = json.loads(lenumba("tune", "--status", "--json").stdout)
    assert (status["status"], status["counts"]["finished"]) == ("interrupted", done)
    assert lenumba("tune", "--resume", "--trials", done + 2, "-q").exit_code == 0
    assert results(folder)[: done + 2] == list(range(done + 2))


def test_second_process_is_refused_and_status_is_not(place, spawn, lenumba):
    write_study(trials=100_000)
    process = spawn("tune", "tiny.yaml")
    assert any(" epochs" in line for line in process.stdout)
    result = lenumba("tune", "tiny.yaml")
    assert result.exit_code == 3
    assert "another process is" in result.stderr
    status = lenumba("tune", "--status")
    assert status.exit_code == 0
    assert " of 100000 trials" in status.stdout
    process.kill()


def test_worker_that_dies_of_a_trial_fails_it_in_the_end(place, lenumba, monkeypatch):
    from lenumba.engine.tuning import search

    monkeypatch.setattr(search, "MAX_LOSSES", 2)
    real = search.Pool.give

    def give(self, worker, task, job):
        if getattr(task, "slot", None) == 2:
            worker.process.kill()
        real(self, worker, task, job)

    monkeypatch.setattr(search.Pool, "give", give)
    write_study(trials=3)
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    rows = trials()
    assert [row["state"] for row in rows] == ["finished", "finished", "failed", "finished"]
    assert rows[2]["reason"] == "given up after 2 tries: its worker died of signal 9; --retry-failed tries again"
    monkeypatch.setattr(search.Pool, "give", real)
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    assert trials() == rows
    assert lenumba("tune", "tiny.yaml", "-q", "--retry-failed").exit_code == 0
    assert [row["state"] for row in trials()] == ["finished"] * 4


# ----------------------------------------------------------------------------------------------------- databases


def two_processes(spawn, url: str, *, kill: bool) -> None:
    """Let two processes work on one study, one of which is killed and started again; every trial must be there once."""
    write_study(trials=6)
    text = Path("tiny.yaml").read_text().replace("train: {epochs: 2}", "train: {epochs: 60}")
    Path("tiny.yaml").write_text(text.replace("{low: 1, high: 2}", "{low: 40, high: 60}"))
    arguments = ("tune", "tiny.yaml", "--storage", url, "-q")
    first, second = spawn(*arguments), spawn(*arguments)
    if kill:
        wait_for(lambda: children(first), first)
        time.sleep(1.5)
        first.kill()
        first.communicate(timeout=TIMEOUT)
        first = spawn(*arguments)
    for process in (first, second):
        output, errors = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, output) == (0, "")
        assert set(errors.splitlines()) <= {"waiting for another process, which compiles the same program"}
    assert results(Path("studies/tiny"), url) == list(range(6))
    assert summary()["counts"]["finished"] == 6


@pytest.mark.long("trains for long")
def test_two_processes_share_a_database(place, spawn):
    two_processes(spawn, f"sqlite:///{place}/study.db", kill=False)


def find_postgres() -> Path | None:
    return next((path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


@pytest.fixture
def postgres(tmp_path_factory):
    """A PostgreSQL server of our own on loopback; yields its URL."""
    pytest.importorskip("psycopg", reason="PostgreSQL needs psycopg")
    if (binaries := find_postgres()) is None:
        pytest.skip("no PostgreSQL server in /usr/lib/postgresql")
    import pwd
    import shutil
    import socket
    import tempfile

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="lenumba-pg-"))
    user: dict = {}
    if os.getuid() == 0:  # the server refuses to run as root
        name = next((n for n in ("postgres", "nobody") if any(entry.pw_name == n for entry in pwd.getpwall())), None)
        if name is None:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")
        shutil.chown(folder, name)
        user = {"user": name, "cwd": folder}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    data = folder / "data"
    subprocess.run([binaries / "initdb", "-D", data, "-U", "tester", "-A", "trust"], check=True, **quiet, **user)
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
    server = subprocess.Popen([binaries / "postgres", "-D", data, *options], **quiet, **user)
    try:
        ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-d", "postgres"]
        end = time.monotonic() + 30
        while subprocess.run(ready).returncode:
            assert time.monotonic() < end
            time.sleep(0.1)
        yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # "fast": not waiting for our own connections
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long("a second database")
def test_two_processes_share_postgresql_and_one_is_killed(place, spawn, postgres):
    two_processes(spawn, postgres, kill=True)


@pytest.mark.parametrize("killed", [False, True])
def test_status_says_why_a_study_is_not_confirmed(place, lenumba, monkeypatch, killed):
    write_study(trials=2)
    with monkeypatch.context() as patch:
        patch.setattr(search, "Pool", InstantPool)
        patch.setattr(finals, "run", lambda search: signal.raise_signal(signal.SIGINT) or finals.INTERRUPTED)
        assert lenumba("tune", "tiny.yaml", "-q").exit_code == 130
    if killed:
        record = Path("studies/tiny/study.json")
        write_json(record, {**json.loads(record.read_text()), "confirmed": True, "status": "running"})
    assert "not confirmed with fresh seeds: the study was interrupted" in lenumba("tune", "--status").stdout
    monkeypatch.setattr(search, "Pool", InstantPool)
    assert lenumba("tune", "--resume", "-q").exit_code == 0
    assert "confirmed" not in lenumba("tune", "--status").stdout
