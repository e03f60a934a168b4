"""Damaged files for every reader: one line and the right exit code, in bounded time and memory, never wrong content.

Each reader gets files that were damaged at random and by one who knows the format (30 %), and hostile ones made by
hand. Case n of a reader is drawn from the seed (reader's name, n); to repeat one: `try_files(name, n, n + 1)`.
"""

import concurrent.futures
import functools
import multiprocessing
import operator
import os

import numpy as np
import pytest
from readers import READERS
from readers.trials import MEMORY, Report, limit_memory, try_files, try_folders, try_hostile

pytestmark = pytest.mark.long("reads many files")

SECONDS, MEGABYTES = 1.0, 72.0  # of processor time and of resident memory, for any file
CHUNK = 500


def in_processes(jobs) -> Report:
    """Run (function, arguments) in processes of their own: one that crashes is an error that says so."""
    workers = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, limit_memory) as pool:
        futures = [pool.submit(function, *arguments) for function, *arguments in jobs]
        return functools.reduce(operator.add, [future.result() for future in futures], Report())


@pytest.mark.parametrize("name", [*READERS, "folder"])
def test_damaged_files(campaign, name):
    count = campaign.size(100, 10_000)
    attempt = (try_folders,) if name == "folder" else (try_files, name)
    jobs = [(*attempt, first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    if not campaign.full:
        report = functools.reduce(operator.add, [function(*arguments) for function, *arguments in jobs], Report())
    else:
        jobs += [(try_hostile, name)] if name in READERS else []
        report = in_processes(jobs)
        note = ", ".join(f"{number} {outcome}" for outcome, number in sorted(report.outcomes.items()))
        campaign.note(
            f"{name}: {report.outcomes.total()} files, {note}; {len(report.findings)} findings; at most "
            f"{report.seconds[0]:.2f} s ({report.seconds[1]}) and {report.megabytes[0]:.0f} MB ({report.megabytes[1]})"
        )
    assert not report.findings, "\n".join(report.findings[:20])
    assert report.outcomes["refused"] > 0.3 * count
    assert report.outcomes["read"] > 0.01 * count  # else the damage is too crude to prove anything
    if campaign.full:
        assert report.seconds[0] < SECONDS, report.seconds
    assert report.megabytes[0] < MEGABYTES, report.megabytes


def test_hostile_files():
    """In a fresh process, as memory that a process got once stays its own; the full campaign does all."""
    report = in_processes([(try_hostile, name) for name in ("idx", "npz", "checkpoint", "png")])
    assert not report.findings, "\n".join(report.findings[:20])
    assert report.seconds[0] < 10 * SECONDS, report.seconds
    assert report.megabytes[0] < MEGABYTES, report.megabytes
    if MEMORY.exists():  # the account is right: the largest picture that is accepted shows in it
        assert report.megabytes[0] > MEGABYTES / 2


# How the command line is given a file of each reader.
COMMANDS = {
    "idx": (3, "train", "own.yaml", "data.name=idx", "data.root=files"),
    "npz": (3, "train", "own.yaml", "data.name=npz", "data.root=file.npz"),
    "png": (3, "predict", "runs/tiny-001", "file.png"),
    "jpeg": (3, "predict", "runs/tiny-001", "file.jpg"),
    "checkpoint": (3, "evaluate", "runs/tiny-001"),
    "import": (3, "import", "file.safetensors", "--config", "tiny.yaml"),
    "yaml": (2, "summary", "file.yaml"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_line_says_it_in_one_line(campaign, name, lenumba, place, run, write_dataset):
    """Files that the reader refuses, through the whole program: the line on stderr, the exit code, no run folder."""
    reader, (code, *command) = READERS[name], COMMANDS[name]
    seeds, wanted, tried = reader.seeds(), campaign.size(3, 100), 0
    (place / "own.yaml").write_text((place / "tiny.yaml").read_text().replace("samples: 640, validation: 128, ", ""))
    write_dataset(place / "files")
    paths = {"idx": place / "files/train-images-idx3-ubyte.gz", "checkpoint": run / "best.safetensors"}
    path = paths.get(name, place / f"file{reader.suffix}")
    for n in range(10_000):
        content = reader.case(np.random.default_rng([*name.encode(), n]), seeds)
        path.write_bytes(content)
        try:
            reader.read(path)
        except reader.error:
            pass
        else:
            continue
        folders = sorted(place.glob("runs/*"))
        result = lenumba(*command)
        assert (result.exit_code, result.stdout) == (code, ""), (n, result.output)
        lines = result.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), (n, result.stderr)  # noqa: PT018
        assert sorted(place.glob("runs/*")) == folders
        tried += 1
        if tried == wanted:
            break
    assert tried == wanted
    if campaign.full:
        campaign.note(f"{name}: {tried} refused files through the command line: one line and exit code {code}")
