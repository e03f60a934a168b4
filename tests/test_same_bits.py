"""Trainings give the bits that they have always given, as tests/data/weights.json holds them.

`python tests/test_same_bits.py` writes that table anew (and `--threads N` with another number of threads). A case whose
bits are meant to change is to be the only one that changes then.
"""

import argparse
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import pytest
from bit_cases import CASES, Bits, compute

TABLE = Path(__file__).parent / "data" / "weights.json"
THREADS = 2  # the table is written with one: the number of threads is to change nothing
PROCESSES = 2  # most of the time is compilation, which one process does on one core


LONG = ("recipe lenet5", "recipe lenet-best", "recipe fashion", "distortions of other kinds")


def work_out(pool: ProcessPoolExecutor, names: list[str], threads: int) -> dict[str, Future[Bits]]:
    return {name: pool.submit(compute, name, threads) for name in names}


def processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Bits]]]:
    """What the cases that were asked for give, worked out in processes of their own."""
    items = [item for item in request.session.items if not item.get_closest_marker("skip")]
    asked = {getattr(item, "callspec", None) and item.callspec.params.get("name") for item in items}
    with processes() as pool:
        yield work_out(pool, [name for name in CASES if name in asked], THREADS)
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long("compiles for long")] * (name in LONG)) for name in CASES]
)
def test_bits_are_those_of_the_table(name, found):
    if name == "study":
        pytest.importorskip("optuna", reason="studies need Optuna")
    if name == "recipe digits8x8":
        pytest.importorskip("sklearn", reason="its images come with scikit-learn")
    assert found[name].result() == json.loads(TABLE.read_text())[name]


def test_table_has_these_cases_and_no_others():
    assert list(json.loads(TABLE.read_text())) == list(CASES)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    with processes() as pool:
        table = {name: bits.result() for name, bits in work_out(pool, list(CASES), parser.parse_args().threads).items()}
    TABLE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
