"""Several processes under mpirun: the bits of one process, whatever happens to them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mpi4py", reason="needs mpi4py: pip install 'lenumba[mpi]'")
MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
if MPIRUN is None:
    pytest.skip("needs mpirun: pip install 'lenumba[mpi]'", allow_module_level=True)

# Everything that is summed over a batch: norms, clipping, averages; and what is drawn for each image.
CONFIG = """\
data: {name: digits, samples: 1200, validation: 300, batch_size: 80}
network:
  layers:
    - {type: average_pool, size: 2}
    - {type: conv, channels: 2, kernel_size: 3, norm: batch, activation: relu}
    - {type: average_pool, size: 4}
    - flatten
    - {type: dropout, rate: 0.2}
    - {type: dense, units: 10, activation: softmax}
optimizer: {name: adamw, learning_rate: 0.01, max_norm: 0.5, average: 0.9}
augment: {shift: 2}
train: {epochs: 2}
"""
LENUMBA = [sys.executable, "-m", "lenumba"]
SECONDS = 240


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", **more}


def run(ranks: int, *arguments: object, apart: int = 0, **more: str) -> subprocess.CompletedProcess:
    """Run a command with so many ranks, of which `apart` make a machine (0: all of them)."""
    more |= {"LENUMBA_RANKS_PER_MACHINE": str(apart)} if apart else {}
    command = [*([MPIRUN, "-n", str(ranks)] if ranks else []), *LENUMBA, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(**more), timeout=SECONDS)


def start(ranks: int, *arguments: object) -> subprocess.Popen:
    command = [MPIRUN, "-n", str(ranks), *LENUMBA, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())


def processes(folder: Path | str) -> list[int]:
    """Return the processes of the job that has a folder's name in its command, mpirun's own not included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in words and b"lenumba" in words and b"-n" not in words:
            found.append(int(path.parent.name))
    return sorted(found)


def children(parents: list[int]) -> list[int]:
    """Return the processes that these have started."""
    found = []
    for parent in parents:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, path.read_text().split())
    return found


def wait_for(condition) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def begun(folder: Path) -> bool:
    path = folder / "metrics.jsonl"
    return path.is_file() and len(path.read_text().splitlines()) > 2


def weights(folder: Path) -> list[str]:
    record = json.loads((folder / "run.json").read_text())
    return [record["weights_sha256"], record["best_weights_sha256"], record["test_loss"], record["status"]]


def figures(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key not in ("seconds", "images_per_second")} for line in lines]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mpi") / "small.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def alone(config) -> Path:
    out = config.parent / "alone"
    result = run(0, "train", config, "--threads", 1, "--out", out, "-q")
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def long_alone(config, alone) -> Path:
    out = config.parent / "long"
    assert run(0, "train", config, "train.epochs=150", "--threads", 1, "--out", out, "-q").returncode == 0
    return out


@pytest.mark.parametrize(
    ("ranks", "threads", "apart"),
    [(2, 1, 0), (2, 2, 0), (3, 1, 1), (4, 1, 2)],
    ids=["2x1", "2x2", "3 machines", "2 machines of 2"],
)
def test_any_ranks_and_threads_give_the_bits_of_one_process(config, alone, tmp_path, ranks, threads, apart):
    out = tmp_path / "run"
    result = run(ranks, "train", config, "--threads", threads, "--out", out, apart=apart)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("run folder") == 1
    assert result.stdout.count("ms, of which") == 1
    assert json.loads((out / "run.json").read_text())["ranks"]["step_ms"] > 0
    assert weights(out) == weights(alone)
    assert figures(out) == figures(alone)


@pytest.mark.parametrize("which", [0, 1])
def test_a_killed_rank_is_named_and_others_go_on_from_the_checkpoint(config, long_alone, tmp_path, which):
    out = tmp_path / "run"
    job = start(2, "train", config, "train.epochs=150", "--threads", 1, "--out", out, "-q")
    wait_for(lambda: begun(out))
    os.kill(processes(out)[which], signal.SIGKILL)
    said, _ = job.communicate(timeout=SECONDS)
    assert job.returncode != 0
    named = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(named) == 1
    assert f"rank {which} (process" in named[0]
    assert f"lenumba train --resume {out}" in named[0]
    wait_for(lambda: not processes(out))
    again = run(3 if which else 0, "train", "--resume", out, "-q", apart=1)
    assert again.returncode == 0, again.stderr
    assert weights(out) == weights(long_alone)
    assert figures(out) == figures(long_alone)


def test_a_signal_to_any_rank_leaves_a_checkpoint_and_no_process(config, long_alone, tmp_path):
    out = tmp_path / "run"
    job = start(2, "train", config, "train.epochs=150", "--threads", 1, "--out", out, "-q")
    wait_for(lambda: begun(out))
    both = processes(out)
    for process in both:  # or they would be done before the second job is there
        os.kill(process, signal.SIGSTOP)
    second = run(2, "train", "--resume", out)
    for process in both:
        os.kill(process, signal.SIGCONT)
    assert second.returncode == 3
    assert "another process is training in it" in second.stderr
    beside = children(both)
    assert len(beside) == 1
    for process in (*beside, both[1]):  # as Slurm does, which knows all processes of a job
        os.kill(process, signal.SIGTERM)
    said, _ = job.communicate(timeout=SECONDS)
    assert job.returncode == 143
    assert said.count("error:") == 1
    assert f"go on with: lenumba train --resume {out}" in said
    assert not processes(out)
    assert run(2, "train", "--resume", out, "-q").returncode == 0
    assert weights(out) == weights(long_alone)


def test_an_error_is_told_once(config):
    result = run(3, "train", config, "data.samples=1")
    assert result.returncode == 2
    assert result.stderr.count("error:") == 1


def test_commands_for_one_process_run_once(config):
    result = run(2, "check", config)
    assert result.returncode == 0
    assert result.stdout.count("correct") == 1


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--help"]])
def test_help_is_printed_once(arguments):
    assert run(2, *arguments).stdout == run(0, *arguments).stdout


def test_without_mpi_one_line_says_what_to_install(config, tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('no such module')")
    result = run(2, "train", config, PYTHONPATH=str(tmp_path))
    assert result.returncode == 3
    told = [line for line in result.stderr.splitlines() if line.startswith("error:")]  # a launcher may add its own
    assert len(told) == 1
    assert "pip install 'lenumba[mpi]'" in told[0]


def test_ranks_that_their_launcher_did_not_join_say_so_in_one_line(config):
    variables = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    result = run(0, "train", config, **variables)
    assert result.returncode == 3
    assert result.stderr.count("\n") == 1
    assert "srun --mpi=pmi2" in result.stderr


def test_a_process_alone_imports_nothing_of_it(config, alone):
    text = (
        "import sys\nfrom lenumba.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*[name for name in sys.modules if 'mpi4py' in name or name.endswith('ranks.watch')])"
    )
    arguments = ["train", "--resume", str(alone), "-q"]
    result = subprocess.run([sys.executable, "-c", text, *arguments], capture_output=True, text=True)
    assert result.stdout.strip() == ""


def test_seeds_are_shared_out_and_give_what_one_process_gives(config, alone, tmp_path):
    """Also those that another number of ranks has begun."""
    out = tmp_path / "seeds"
    arguments = ("train", config, "--seeds", 3, "--threads", 1, "--out", out)
    result = run(2, *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("run folders") == 1
    assert weights(out / "seed-0") == weights(alone)
    assert figures(out / "seed-0") == figures(alone)
    told = json.loads((out / "seeds.json").read_text())
    assert [line["seed"] for line in told["runs"]] == [0, 1, 2]
    shutil.rmtree(out / "seed-1")
    assert run(0, *arguments, "-q").returncode == 0
    again = json.loads((out / "seeds.json").read_text())
    assert [line["test_accuracy"] for line in again["runs"]] == [line["test_accuracy"] for line in told["runs"]]


def test_a_signal_to_one_rank_ends_those_that_train_on_their_own(config, alone, tmp_path):
    out = tmp_path / "seeds"
    arguments = ("train", config, "train.epochs=150", "--seeds", 4, "--threads", 1, "--out", out)
    job = start(2, *arguments)
    wait_for(lambda: any(begun(out / f"seed-{k}") for k in range(4)))
    os.kill(processes(out)[1], signal.SIGTERM)
    said, _ = job.communicate(timeout=SECONDS)
    assert job.returncode == 143, said
    assert said.count("error:") == 1
    assert not processes(out)


@pytest.mark.long("compiles for long")
def test_a_profile_tells_each_rank_apart(config, alone):
    result = run(2, "profile", config, "--threads", 1, "--seconds", "0.1", "--json", apart=1)
    assert result.returncode == 0, result.stderr
    ranks = json.loads(result.stdout)["ranks"]
    assert [rank["rank"] for rank in ranks] == [0, 1]
    assert all(min(rank[f"{name}_ms"] for name in ("computing", "communicating")) > 0 for rank in ranks)
