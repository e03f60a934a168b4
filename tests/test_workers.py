"""The threads behind an executor, and evaluations of all sizes, repeated and at once."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from harness import STILL, lenet, make_executor, random_batch, random_parameters

from lenumba.engine.training.workers import Job, Workers

SIZES = (1, 16, 17, 70, 200)  # one block, a whole one, two, several, many


@pytest.fixture
def evaluate():
    network = lenet()
    executor = make_executor(network, network.compile(STILL), random_parameters(network), threads=2)
    images, labels = random_batch(network, max(SIZES))
    return lambda size: executor.evaluate(images, labels, np.arange(size))


def test_evaluations_do_not_remember_one_another(evaluate):
    first = [evaluate(size) for size in SIZES]
    for size, (loss, outputs) in zip(reversed(SIZES), reversed(first), strict=True):
        again = evaluate(size)
        assert again[0] == loss
        assert np.array_equal(again[1], outputs)
        assert np.array_equal(outputs, first[-1][1][:size])


def test_evaluations_from_several_threads_are_those_of_one(evaluate):
    expected = {size: evaluate(size) for size in SIZES}
    with ThreadPoolExecutor(8) as pool:
        for size, (loss, outputs) in zip(SIZES * 20, pool.map(evaluate, SIZES * 20), strict=True):
            assert loss == expected[size][0]
            assert np.array_equal(outputs, expected[size][1])


def test_job_is_done_once_however_often_it_is_given():
    calls = []
    workers = Workers(calls.append)
    workers.start(2)
    jobs = [Job(["a"]), Job(["b"])]
    for _ in range(3):
        workers.give(jobs)
    last = [Job(["c"]), Job(["d"])]
    workers.give(last)
    assert all(job.wait(10) for job in jobs + last)
    assert sorted(calls) == ["a", "b", "c", "d"]


def test_threads_are_kept_and_end_with_their_owner():
    others = set(threading.enumerate())  # of earlier tests, too, which may end meanwhile
    workers = Workers(lambda: None)
    for _ in range(3):
        jobs = [Job([]), Job([])]
        workers.start(2)
        workers.give(jobs)
        assert all(job.wait(10) for job in jobs)
        threads = set(threading.enumerate()) - others
        assert len(threads) == 2
    del workers
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_forked_child_starts_its_own_threads(monkeypatch):
    workers = Workers(lambda: None)
    workers.start(1)
    parents = list(workers.queues)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    job = Job([])
    workers.start(1)
    workers.give([job])
    assert job.wait(10)
    assert workers.queues[0] is not parents[0]
    parents[0].put(None)
