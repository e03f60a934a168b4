"""Every system call of a command on files fails once, or is the last of its process; then the command comes again."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from campaigns.commands import WARM, Server, may_trace, serving
from campaigns.folders import contents

from lenumba.engine.config.config import load_config
from lenumba.engine.runs.run import start_run

pytestmark = pytest.mark.long("fails many calls")

CALLS = ("openat", "write", "fsync", "rename", "unlink", "mkdir", "flock", "utimensat", "close")
FAULTS = ("error=ENOSPC", "error=EIO", "signal=KILL")
CHANGING = ("write", "fsync", "rename", "unlink", "mkdir")  # fail in every way; others by turns
NAMED = r"error: [^\n]*\S: "


@dataclass(frozen=True)
class Case:
    """A command, what it writes, what comes after a fault, and what must be the same in the end."""

    command: list[str]
    writes: str
    result: Callable[[Path], Any]
    again: Callable[[Path], list[str]] | None = None
    before: list[str] = field(default_factory=list)  # folders that are there already


def run_again(path: Path) -> list[str]:
    return ["train", "--resume", str(path), "-q"] if (path / "config.yaml").exists() else CASES["train"].command


def seeds_result(path: Path) -> dict:
    return {folder.name: contents(folder) for folder in sorted(path.iterdir()) if folder.is_dir()}


def comparison_result(path: Path) -> list:
    found = json.loads((path / "comparison.json").read_text())
    for item in found:
        for part in (item, *item["runs"]):
            del part["seconds"]
    return [found, *(seeds_result(path / name) for name in ("slow", "tiny"))]


CASES = {
    "train": Case(["train", "tiny.yaml", "--out", "run", "-q"], "run", contents, run_again),
    "seeds": Case(
        ["train", "tiny.yaml", "train.epochs=1", "--seeds", "2", "--out", "seeds", "-q"], "seeds", seeds_result
    ),
    "compare": Case(
        ["compare", "tiny.yaml", "slow.yaml", "train.epochs=1", "--seeds", "1", "--out", "kept", "--json"],
        "kept",
        comparison_result,
    ),
    "report": Case(["report", "done", "-q"], "done", lambda path: (path / "report.html").read_bytes(), before=["done"]),
    "export": Case(
        ["export", "done", "--format", "npz", "--out", "export/x.npz"],
        "export",
        lambda path: {name: array.tolist() for name, array in np.load(path / "x.npz").items()},
        again=lambda path: [*CASES["export"].command, "--force"],
        before=["export"],
    ),
    "fetch": Case(
        ["data", "fetch", "mnist", "--root", "data"],
        "data",
        lambda path: {file.name: file.read_bytes() for file in path.iterdir()},
    ),
}

# A data set that is small, and published where the test says.
PUBLISHED = """
import json, os
os.environ["NO_PROXY"] = "*"
from lenumba.engine.data import download
files = [download.IdxFile(stem, tuple(shape), sha) for stem, shape, sha in json.loads({files!r})]
download.SOURCES["mnist"] = download.Source(({url!r},), tuple(files))
"""


@pytest.fixture
def published(tmp_path, write_dataset):
    """Serve a small data set; return the text that makes a process download it."""
    import http.server
    import threading

    from lenumba.engine.data.idx import idx_sha256

    arrays = write_dataset(tmp_path / "published")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "published"))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    files = json.dumps([[stem, array.shape, idx_sha256(array)] for stem, array in arrays.items()])
    yield PUBLISHED.format(files=files, url=f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    thread.join()
    server.server_close()


def own_calls(calls: list[str], place: Path) -> list[tuple[str, int]]:
    """Return (call, its number among those of this name) of the calls that are about files of the working folder."""
    counts: dict[str, int] = {}
    found = []
    for call in calls:
        name = call.partition("(")[0]
        counts[name] = counts.get(name, 0) + 1
        if name in ("openat", "rename", "unlink", "mkdir", "utimensat"):
            path = re.search(r'"([^"]*)"', call)
            mine = path is not None and (not path[1].startswith("/") or path[1].startswith(str(place)))
        else:
            mine = f"<{place}/" in call.partition(",")[0]
        if mine and not re.search(r'["/](stdout|stderr)[">]', call):
            found.append((name, counts[name]))
    return found


def reset(case: Case) -> None:
    shutil.rmtree(case.writes, ignore_errors=True)
    if "done" in (case.writes, *case.command):
        shutil.rmtree("done", ignore_errors=True)
        shutil.copytree("whole", "done")
    for name in case.before:
        Path(name).mkdir(exist_ok=True)


def check(case: Case, server: Server, expected: Any, where: str) -> None:
    """Give the command again, after whatever has happened, and compare what it leaves with the undisturbed end."""
    path = Path(case.writes)
    command = case.again(path) if case.again else case.command
    ended = server.run(*command)
    assert (ended.code, ended.errors.count("error")) == (0, 0), (where, ended)
    assert case.result(path) == expected, where
    left = [file for file in path.rglob("*") if file.name.startswith(".")]
    assert not left, (where, left)


@pytest.mark.parametrize("name", CASES)
def test_command_after_a_fault_in_any_call_ends_as_if_nothing_had_happened(name, place, published, campaign):
    if not may_trace():
        pytest.skip("needs strace, and leave to trace processes")
    case = CASES[name]
    Path("slow.yaml").write_text(Path("tiny.yaml").read_text().replace("learning_rate: 0.1", "learning_rate: 0.01"))
    start_run(load_config("tiny.yaml"), out=Path("whole"))
    done = dict.fromkeys(FAULTS, 0)
    missed = said = 0
    with serving(WARM + published) as server:
        reset(case)
        assert server.run(*case.command).code == 0  # compiles what is not in the cache
        expected = case.result(Path(case.writes))
        reset(case)
        calls = own_calls(server.traced(*case.command, calls=CALLS).calls, place)
        assert {"openat", "write", "fsync", "rename"} <= {call for call, _ in calls}
        every = [
            (call, at, fault)
            for number, (call, at) in enumerate(calls)
            for fault in (FAULTS if call in CHANGING else FAULTS[2:] if call == "close" else [FAULTS[number % 3]])
        ]
        for call, at, fault in campaign.each(every, 4):
            reset(case)
            ended = server.traced(*case.command, calls=CALLS, injection=f"{call}:{fault}:when={at}")
            if not any("INJECTED" in line for line in ended.calls) and ended.code == 0:
                missed += 1
                continue
            met = next((line for line in ended.calls if "INJECTED" in line), "")
            where = f"{met}: exit code {ended.code}, {ended.errors}"
            assert ended.code in ((-9,) if "KILL" in fault else (0, 2, 3)), where
            assert "Traceback" not in ended.errors, where
            if ended.code > 0:
                assert ended.errors.count("error: ") == 1, where
                assert re.search(NAMED, ended.errors), where
                said += 1
            check(case, server, expected, where)
            done[fault] += 1
    assert missed <= len(every) / 10
    campaign.note(
        f"calls of {name}: {len(calls)} on its files; tampered with: {json.dumps(done)}, {missed} missed; {said} ended "
        "with a line that names the file; the command again gave the undisturbed end each time, nothing left over"
    )
