"""Signals and sudden death: a run goes on later as if nothing had happened."""

import gc
import json
import os
import pty
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from lenumba.engine.common.errors import InterruptedRunError
from lenumba.engine.common.interrupts import SIGNALS, Graceful
from lenumba.engine.config.config import load_config
from lenumba.engine.runs import run as runs
from lenumba.engine.runs.checkpoint import Checkpoint
from lenumba.engine.runs.run import Hooks, resume_run, start_run
from lenumba.engine.training.executor import Executor
from lenumba.engine.training.trainer import Trainer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")

FILES = ["best.safetensors", "config.yaml", "last.safetensors", "metrics.jsonl", "run.json"]
TIMES = ("seconds", "images_per_second")
LONG = ["data.samples=null", "data.batch_size=2"]  # an epoch that lasts for many of the display's updates
BOUND = 5.0  # seconds to leave after a signal; 2 are promised, on a machine that does nothing else


def results(folder: Path) -> dict:
    """Return what must not depend on interruptions."""
    record = json.loads((folder / "run.json").read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = [{key: value for key, value in line.items() if key not in TIMES} for line in lines]
    keys = ("status", "weights_sha256", "best_weights_sha256", "test_accuracy", "test_loss", "best_epoch")
    return {**{key: record[key] for key in keys}, "metrics": metrics}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leave(process, number: int) -> tuple[str, str]:
    """Send a signal and wait for the process to end, within the promised time."""
    start = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert time.monotonic() - start < BOUND
    return output, errors


def assert_same_as_uninterrupted(run: Path, changes: list[str]) -> None:
    """Resume a run for a few epochs more than it has, and compare it with one that never stopped."""
    epochs = Checkpoint.read(run / "last.safetensors").progress.epoch + 3
    resume_run(run, [f"train.epochs={epochs}"])
    whole = start_run(load_config("tiny.yaml", [*changes, f"train.epochs={epochs}"]))
    assert results(run) == results(whole.path)
    assert len(results(run)["metrics"]) == epochs
    assert names(run) == FILES


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_saves_the_run_and_resuming_gives_the_same_bits(place, spawn, wait_for_epoch, number, code):
    process = spawn("train", "tiny.yaml", "train.epochs=100000", "--out", "my run")
    wait_for_epoch(process, 4)
    _, errors = leave(process, number)
    run = place / "my run"
    assert process.returncode == code
    assert errors.startswith("error: interrupted after ")
    assert errors.endswith("go on with: lenumba train --resume 'my run'\n")
    assert errors.count("\n") == 1
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    assert names(run) == FILES
    assert_same_as_uninterrupted(run, [])


def test_killed_run_goes_on_from_its_last_checkpoint(place, spawn, wait_for_epoch):
    patch = "import lenumba.engine.runs.run as runs\nruns.CHECKPOINT_SECONDS = 0.0"
    process = spawn("train", "tiny.yaml", "train.epochs=100000", patch=patch)
    wait_for_epoch(process, 4)
    process.kill()
    process.wait()
    run = place / "runs" / "tiny-001"
    assert Checkpoint.read(run / "last.safetensors").progress.epoch >= 3
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 9999, "train_lo')  # as a kill in the middle of a line leaves it
    (run / ".last.safetensors.0123abcd.part").write_text("half a checkpoint")
    assert_same_as_uninterrupted(run, [])


def test_interruption_in_the_very_first_epoch(place, monkeypatch):
    # So that the watcher sees even a short epoch.
    monkeypatch.setattr("lenumba.engine.training.workers.POLL_SECONDS", 0.001)

    asked = []

    def interrupt(epoch, *_):
        assert epoch == 1
        if not asked:  # a second signal would insist
            asked.append(signal.raise_signal(signal.SIGINT))

    with pytest.raises(InterruptedRunError) as caught:
        start_run(load_config("tiny.yaml", LONG), hooks=Hooks(watch=interrupt))
    assert caught.value.exit_code == 130
    run = caught.value.folder
    progress = Checkpoint.read(run / "last.safetensors").state["progress"]
    assert progress["epoch"] == 0
    assert 0 < progress["batch"] < (12_000 - 128) / 2
    assert (run / "metrics.jsonl").read_text() == ""
    assert_same_as_uninterrupted(run, LONG)


@pytest.mark.parametrize("call", [1, 2, 4])
def test_interruption_during_validation_or_test(place, monkeypatch, call):
    calls = []

    def evaluate(self, *arguments):
        calls.append(arguments)
        if len(calls) == call:
            signal.raise_signal(signal.SIGTERM)
        return real(self, *arguments)

    real = Executor.evaluate
    monkeypatch.setattr(Executor, "evaluate", evaluate)  # three validations and the test
    with pytest.raises(InterruptedRunError) as caught:
        start_run(load_config("tiny.yaml"))
    run = caught.value.folder
    assert caught.value.exit_code == 143
    assert len((run / "metrics.jsonl").read_text().splitlines()) == call - 1
    resume_run(run)
    assert results(run) == results(start_run(load_config("tiny.yaml")).path)


def test_signal_between_two_epochs_is_not_lost(place, monkeypatch):
    def between(self, epoch):
        if epoch == 1:
            signal.raise_signal(signal.SIGINT)  # after the loop has looked for it, before the program runs
        return real(self, epoch)

    real = Trainer.epoch_order
    monkeypatch.setattr(Trainer, "epoch_order", between)
    with pytest.raises(InterruptedRunError) as caught:
        start_run(load_config("tiny.yaml"))
    progress = Checkpoint.read(caught.value.folder / "last.safetensors").state["progress"]
    assert (progress["epoch"], progress["batch"]) == (1, 1)


@pytest.mark.parametrize("step", ["save", "write_text", "describe_run"])
def test_signal_while_the_folder_is_made_leaves_a_run_that_can_be_resumed(place, monkeypatch, step):
    def interrupted(*arguments, **options):
        monkeypatch.setattr(runs, step, real)
        signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    real = getattr(runs, step)
    monkeypatch.setattr(runs, step, interrupted)
    with pytest.raises(InterruptedRunError) as caught:
        start_run(load_config("tiny.yaml"))
    run = caught.value.folder
    assert names(run) == FILES
    resume_run(run)
    assert results(run) == results(start_run(load_config("tiny.yaml")).path)


def test_folder_without_a_checkpoint_is_no_run(place, spawn, refused, monkeypatch):
    def die(*_):
        raise MemoryError

    monkeypatch.setattr(runs, "save", die)
    with pytest.raises(MemoryError):
        start_run(load_config("tiny.yaml"))
    assert "no runs in" in refused(2, "train", "--resume", "latest")


def test_second_signal_leaves_at_once(place, spawn, wait_for_epoch):
    patch = """
import time, lenumba.engine.runs.run as runs
real = runs.save
def slow(trainer, folder):
    if trainer.stopped:
        print("saving", flush=True)
        time.sleep(60)
    real(trainer, folder)
runs.save = slow
"""
    process = spawn("train", "tiny.yaml", "train.epochs=100000", patch=patch)
    wait_for_epoch(process, 2)
    process.send_signal(signal.SIGINT)
    assert any(line == "saving\n" for line in process.stdout)
    _, errors = leave(process, signal.SIGTERM)
    assert process.returncode == 143
    assert errors == "error: interrupted\n"
    assert names(place / "runs" / "tiny-001") == FILES


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_during_compilation_leaves_no_run_folder(place, spawn, tmp_path, number, code):
    shared = Path(os.environ["NUMBA_CACHE_DIR"]) / "lenumba"
    for digits in shared.glob("digits-*"):  # the drawing is compiled already, the network is not
        shutil.copytree(digits, tmp_path / "programs" / "lenumba" / digits.name)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "programs")}
    process = spawn("train", "tiny.yaml", env=environment)
    assert process.stdout.readline().startswith("compiling the network")
    output, errors = leave(process, number)
    assert (process.returncode, output, errors) == (code, "", "error: interrupted\n")
    assert names(place) == ["tiny.yaml"]


def test_signal_while_remarks_of_llvm_are_caught_is_told(place, spawn):
    """They are caught on descriptor 2, where nobody reads them any more when the process ends."""
    Path("sums.py").write_text("import numba\n@numba.njit\ndef total(x):\n    return x.sum()\n")
    patch = """
import os, time
from lenumba.kernels.measure import remarks
real = remarks.ask
def ask(wanted):
    real(wanted)
    if wanted:
        os.write(1, b"catching\\n")
        time.sleep(60)
remarks.ask = ask
"""
    process = spawn("profile", "sums:total", "--args", "np.ones(9)", patch=patch)
    assert any(line == "catching\n" for line in process.stdout)
    _, errors = leave(process, signal.SIGTERM)
    assert (process.returncode, errors) == (143, "error: interrupted\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_whose_exception_a_library_replaces_is_still_one(place, spawn, number, code):
    """As pydantic does while it builds the configuration's schema."""
    patch = f"""
import signal
import lenumba.engine.config.config as config
def replaced(*arguments):
    try:
        signal.raise_signal({int(number)})
    except BaseException as lost:
        raise ValueError(lost)
config.load_config = replaced
"""
    process = spawn("check", "tiny.yaml", patch=patch)
    assert process.communicate() == ("", "error: interrupted\n")
    assert process.returncode == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_in_a_destructor_is_not_lost(place, spawn, number, code):
    patch = f"""
import signal
import lenumba.engine.config.config as config
class Dying:
    def __del__(self):
        signal.raise_signal({int(number)})
real = config.load_config
def dying(*arguments):
    Dying()
    return real(*arguments)
config.load_config = dying
"""
    process = spawn("check", "tiny.yaml", patch=patch)
    output, errors = process.communicate()
    assert (process.returncode, output, errors) == (code, "", "error: interrupted\n")


def test_first_signal_asks_and_the_second_insists():
    asked, insisted = [], []
    previous = {number: signal.signal(number, lambda number, _: insisted.append(number)) for number in SIGNALS}
    handlers = [signal.getsignal(number) for number in SIGNALS]
    try:
        for second in SIGNALS:
            with Graceful(lambda: asked.append(1)) as graceful:
                signal.raise_signal(signal.SIGTERM)
                assert graceful.signal == signal.SIGTERM
                signal.raise_signal(second)
        assert len(asked) == 2 * len(SIGNALS)
        assert insisted == list(SIGNALS)
        assert [signal.getsignal(number) for number in SIGNALS] == handlers
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def test_hangup_that_nohup_has_ignored_stays_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Graceful(lambda: None) as graceful:
            signal.raise_signal(signal.SIGHUP)
        assert graceful.signal is None
    finally:
        signal.signal(signal.SIGHUP, previous)


# Trains and is interrupted, again and again; ends with the number of interruptions.
LIBRARY = """
import os, random, signal, sys, threading
from lenumba.engine.common.progress import Progress
from lenumba.engine.config.config import load_config
from lenumba.engine.data.selection import load_data
from lenumba.engine.training.trainer import Trainer
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
loaded = load_config("tiny.yaml", ["data.batch_size=2"])
trainer = Trainer(loaded, load_data(loaded))
rng, interrupted = random.Random(0), 0
for _ in range(100):
    try:
        threading.Timer(rng.uniform(0, 0.02), os.kill, (os.getpid(), signal.SIGINT)).start()
        while True:
            list(trainer.epochs())
            trainer.progress = Progress()
    except KeyboardInterrupt:
        interrupted += 1
        trainer.progress = Progress()
print(interrupted)
sys.exit()
"""


def test_ctrl_c_where_lenumba_is_a_library_ends_the_waiting_and_leaves_no_lock_taken(place, spawn):
    """Python's own handler raises an exception wherever it comes: also between two instructions of the waiting."""
    process = spawn(patch=LIBRARY)
    assert process.communicate(timeout=240) == ("100\n", "")


# Sends the signal in the midst of the waiting: after the lock of whatever is waited for has been taken.
INSIDE = """
import os, signal, sys, threading
real = threading.Condition.__enter__
def enter(self):
    taken = real(self)
    caller = sys._getframe(1)
    if caller.f_code.co_name == "wait" and sys._getframe(2).f_code.co_name == "_run":
        signal.raise_signal({number})
    return taken
threading.Condition.__enter__ = enter
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_while_the_waiting_holds_a_lock_does_not_hang(place, spawn, number):
    timer = f"import os, threading; threading.Timer(1.5, os.kill, (os.getpid(), {int(number)})).start()"
    patch = INSIDE.format(number=int(number)) + timer
    process = spawn("compare", "tiny.yaml", "tiny.yaml", "train.epochs=100000", patch=patch)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors.endswith("error: interrupted\n")


def test_killed_terminal_takes_no_line_of_the_training(place, spawn):
    """Output that nobody reads any more is no reason to lose what has been trained."""
    main, terminal = pty.openpty()
    process = spawn("train", "tiny.yaml", "train.epochs=100000", stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    while b"learning rate" not in shown:
        shown += os.read(main, 1024)
    os.close(main)
    time.sleep(0.3)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 129
    assert json.loads((place / "runs/tiny-001/run.json").read_text())["status"] == "interrupted"


def test_training_in_another_thread_leaves_signals_alone(place):
    found = []
    before = signal.getsignal(signal.SIGINT)

    def train():
        found.append(start_run(load_config("tiny.yaml")).summary["status"])

    def watch(*_):
        found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    start_run(load_config("tiny.yaml", LONG), hooks=Hooks(watch=watch))
    assert found[0] == "finished"
    assert set(found[1:]) != {before}
    assert signal.getsignal(signal.SIGINT) == before


def test_exception_from_a_watcher_ends_the_workers_and_comes_through(place, monkeypatch):
    monkeypatch.setattr("lenumba.engine.training.workers.POLL_SECONDS", 0.001)

    def watch(*_):
        raise RuntimeError("mine")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="mine"):
        start_run(load_config("tiny.yaml", LONG), hooks=Hooks(watch=watch))
    gc.collect()  # the exception's traceback kept the trainer
    patience = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < patience:
        time.sleep(0.01)
    assert threading.active_count() <= before
    assert names(Path("runs/tiny-001")) == FILES
