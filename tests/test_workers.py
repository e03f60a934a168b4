"""The threads behind an executor, and evaluations of all sizes, repeated and at once."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from harness import STILL, lenet, make_executor, random_batch, random_parameters

from lenumba.engine.training.workers import Job, Workers
from lenumba.kernels.constants import CLOSED, JOINED, NUMBER, SENT_AWAY, SPINNING

SIZES = (1, 16, 17, 70, 200)  # one block, a whole one, two, several, many


@pytest.fixture
def executor():
    network = lenet()
    return make_executor(network, network.compile(STILL), random_parameters(network), threads=2)


@pytest.fixture
def evaluate(executor):
    images, labels = random_batch(executor.network, max(SIZES))
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


def test_threads_that_are_awake_join_evaluations_and_sleep_after_a_while(executor):
    images, labels = random_batch(executor.network, 70)
    order, company = np.arange(70), executor.company.places
    alone = make_executor(executor.network, executor.program, executor.theta, threads=1).evaluate(images, labels, order)
    for _ in range(50):
        loss, outputs = executor.evaluate(images, labels, order)
        assert (loss, outputs.tolist()) == (alone[0], alone[1].tolist())
        time.sleep(0.0002)
    assert company[NUMBER] == 50
    assert company[JOINED] == CLOSED
    assert executor.company.serving
    assert all(job.wait(10) for job in executor.company.serving)
    assert company[SPINNING] == 0


def test_threads_do_not_outlive_a_training_that_sends_them_away(executor):
    executor.template = executor.template._replace(patience=10**12)
    executor.provide(2)
    images, labels = random_batch(executor.network, 70)
    for _ in range(2):  # the first one after a while wakes nobody
        executor.evaluate(images, labels, np.arange(70))
    (servant,) = executor.company.serving
    executor.company.places[SENT_AWAY] = 1
    assert servant.wait(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own_to_evaluate_with(executor):
    images, labels = random_batch(executor.network, 70)
    expected = executor.evaluate(images, labels, np.arange(70))[1].tolist()
    if (child := os.fork()) == 0:
        same = all(executor.evaluate(images, labels, np.arange(70))[1].tolist() == expected for _ in range(20))
        os._exit(0 if same and len(executor.workers.queues) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0


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
