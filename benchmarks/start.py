"""Measure the time from starting the process to the first training step, cold and warm, and of short commands."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from common import arguments_of, finish, markdown_table, report_of, spread

POLL_SECONDS = 0.0002
# What is timed: a label and the arguments of Python. The driver is this file, with the parent's clock as an argument.
SIMPLE = {
    "python -c pass": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import lenumba": ["-c", "import lenumba"],
    "lenumba --help": ["-m", "lenumba", "--help"],
    "lenumba --version": ["-m", "lenumba", "--version"],
}
STAGES = {
    "imported": "… until lenumba is imported and the configuration read",
    "ready": "… until data and program are there",
    "stepped": "… until the first training step is done",
    "ended": "… until a whole run of one epoch has ended",
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="quickstart", help="what to train, for one epoch  [quickstart]")
    parser.add_argument("--data", metavar="FOLDER", help="the data set's files, for a recipe that needs them")
    parser.add_argument("--repeats", type=int, default=11, help="warm processes of each kind  [11]")
    parser.add_argument("--cold-repeats", type=int, default=3, help="processes with an empty program cache  [3]")
    return arguments_of(parser)


def train_one_epoch(start_ns: int, recipe: str, data: str | None, out: Path) -> None:
    """Train as `lenumba train` does and print the milliseconds since `start_ns`, the parent's monotonic clock."""
    from lenumba.engine.config.config import load_config
    from lenumba.engine.runs.run import Hooks, start_run
    from lenumba.engine.training.executor import PROGRESS

    stages = {}

    def stamp(stage: str) -> None:
        stages[stage] = (time.monotonic_ns() - start_ns) / 1e6

    def begin(trainer: Any, folder: Path) -> None:
        stamp("ready")
        # The progress counter is the program's own; the hook `watch` comes only 20 times a second.
        threading.Thread(target=wait, args=[trainer.executor.control], daemon=True).start()

    def wait(control: Any) -> None:
        while control[PROGRESS] == 0:
            time.sleep(POLL_SECONDS)
        stamp("stepped")

    loaded = load_config(
        recipe, {"train.epochs": 1, "schedule.warmup_epochs": 0} | ({"data.root": data} if data else {})
    )
    stamp("imported")
    start_run(loaded, out=out, hooks=Hooks(start=begin))
    print(" ".join(f"{stage}={stages[stage]}" for stage in ("imported", "ready", "stepped")))


def run_process(arguments: list[str], cache: Path) -> tuple[float, str]:
    """Run Python on `arguments`; return the milliseconds from start to end, and what it printed."""
    start = time.monotonic_ns()
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    )
    took = (time.monotonic_ns() - start) / 1e6
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return took, done.stdout


def run_training(args: argparse.Namespace, folder: Path, cache: Path) -> dict[str, float]:
    """Return the milliseconds of each stage of one training process."""
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    driver = [
        str(Path(__file__).resolve()),
        "--driver",
        str(time.monotonic_ns()),
        args.recipe,
        str(out),
        args.data or "",
    ]
    took, printed = run_process(driver, cache)
    stages = {name: float(value) for name, value in (item.split("=") for item in printed.split())}
    return stages | {"ended": took}


def tables(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    rows = [[row["name"], len(row["ms"]), spread(row["ms"], ",.0f")] for row in report["results"]]
    return f"From the process's start, milliseconds, median (min–max):\n\n{markdown_table(['', 'runs', 'ms'], rows)}"


def main() -> None:
    if sys.argv[1:2] == ["--driver"]:
        start_ns, recipe, out, data = sys.argv[2:6]
        train_one_epoch(int(start_ns), recipe, data or None, Path(out))
        return
    args = parse()
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, warm = Path(name), Path(name) / "warm"
        run_training(args, folder, warm)  # fills the cache, and the system's copies of the files
        for _ in range(args.repeats):
            for label, arguments in SIMPLE.items():
                times.setdefault(label, []).append(run_process(arguments, warm)[0])
            for stage, value in run_training(args, folder, warm).items():
                times.setdefault(f"train {args.recipe}, warm {STAGES[stage]}", []).append(value)
        for number in range(args.cold_repeats):
            for stage, value in run_training(args, folder, folder / f"cold{number}").items():
                times.setdefault(f"train {args.recipe}, cold {STAGES[stage]}", []).append(value)
    report = report_of("start", args, [{"name": label, "ms": values} for label, values in times.items()])
    finish(report, tables(report), args)


if __name__ == "__main__":
    main()
