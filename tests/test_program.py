"""Compiled programs: their numbers, their memory, and the same bits whatever runs them."""

import os
import subprocess
import sys

import numpy as np
import pytest
from harness import (
    STILL,
    avx2_setting,
    digest_of_training,
    lenet,
    make_executor,
    make_network,
    normalized,
    random_batch,
    random_parameters,
    run_program,
)
from peer import torch_network
from rounding import UNIT, Rounding

from lenumba.engine.explain import plain
from lenumba.engine.training import answering as answering_module
from lenumba.engine.training import executor as executor_module
from lenumba.engine.training.judging import read_logits


def mixed_network():
    """LeNet's shapes with every other activation, both orientations, and a flatten between two activations."""
    layers = [
        {"type": "conv", "channels": 4, "kernel_size": 5, "activation": "leaky_relu"},
        {"type": "max_pool", "size": 2},
        {"type": "conv", "channels": 6, "kernel_size": 5, "orientation": "convolution"},
        {"type": "average_pool", "size": 2},
        {"type": "activation", "function": "sigmoid"},
        {"type": "flatten"},
        {"type": "activation", "function": "tanh"},
        {"type": "dense", "units": 10, "activation": "softmax"},
    ]
    return make_network(layers, (28, 28, 1), "mixed")


NETWORKS = {"relu": lenet, "tanh": lambda: lenet("tanh", "max_pool"), "mixed": mixed_network}


@pytest.fixture(scope="session")
def compiled():
    """Networks and their programs by name, compiled once."""
    programs = {}

    def get(name: str):
        if name not in programs:
            network = NETWORKS[name]()
            programs[name] = network, network.compile(STILL)
        return programs[name]

    return get


@pytest.mark.parametrize("batch", [1, 15, 16, 17, 70])
@pytest.mark.parametrize("name", NETWORKS)
def test_program_equals_the_float64_twin_and_pytorch(compiled, name, batch):
    network, program = compiled(name)
    theta = random_parameters(network, batch)
    images, labels = random_batch(network, batch, batch)
    executor = make_executor(network, program, theta, threads=2, smoothing=0.1)
    found = run_program(executor, images, labels)
    pixels = normalized(executor, images)
    rounding = Rounding(network, network.views(theta), pixels, labels, 0.1)
    assert max(rounding.excess(found).values()) <= 1, rounding.excess(found)
    assert abs(found.correct - rounding.exact.correct) <= rounding.undecided

    loss, outputs, gradients = torch_network(network, network.views(theta), pixels, labels, 0.1)
    assert abs(found.loss - loss) <= rounding.loss_tolerance
    assert np.abs(found.outputs - outputs).max() <= rounding.outputs_tolerance
    for key, gradient in gradients.items():
        assert np.abs(found.gradients[key] - gradient).max() <= rounding.tolerances[key], key


def test_program_gradients_equal_finite_differences(compiled):
    network, program = compiled("tanh")
    theta = random_parameters(network)
    images, labels = random_batch(network, 17)
    executor = make_executor(network, program, theta)
    found = run_program(executor, images, labels)
    pixels = normalized(executor, images)
    parameters = {name: view.astype(np.float64) for name, view in network.views(theta).items()}
    tolerances = Rounding(network, parameters, pixels, labels).tolerances
    rng = np.random.default_rng(0)
    h = 1e-6
    for name, array in parameters.items():
        direction = rng.choice([-1.0, 1.0], array.shape)
        sides = [
            plain.loss_and_gradients(network, parameters | {name: array + step * direction}, pixels, labels)[0]
            for step in (h, -h)
        ]
        slope = (sides[0] - sides[1]) / (2 * h)
        # Truncation: h² times the third derivative along the direction, whose length is √size.
        tolerance = tolerances[name] * array.size + h**2 * array.size**1.5 + 1e-9
        assert (found.gradients[name] * direction).sum() == pytest.approx(slope, abs=tolerance)


def test_evaluation_and_training_see_the_same_loss(compiled):
    network, program = compiled("relu")
    images, labels = random_batch(network, 37)
    executor = make_executor(network, program, random_parameters(network))
    totals = executor.train(images, labels, np.arange(37), 37, STILL.hyper(np.zeros(1), 1))[1]
    loss, _ = executor.evaluate(images, labels, np.arange(37))
    assert loss == totals[0] / 37


def test_images_beyond_the_order_contribute_nothing(compiled):
    network, program = compiled("relu")
    images, labels = random_batch(network, 40)
    results = []
    for filler in (0, 255):
        images[21:] = filler
        executor = make_executor(network, program, random_parameters(network))
        executor.train(images, labels, np.arange(21), 21, STILL.hyper(np.zeros(1), 1))
        results.append(executor.state.copy())
    assert np.array_equal(*results)


def test_frozen_layers_get_no_gradient_and_the_others_the_same_one(compiled):
    network, program = compiled("relu")
    frozen = lenet(trainable=False)
    theta = random_parameters(network)
    images, labels = random_batch(network, 16)
    free = run_program(make_executor(network, program, theta), images, labels)
    held = run_program(make_executor(frozen, frozen.compile(STILL), theta), images, labels)
    for name, gradient in held.gradients.items():
        assert np.array_equal(gradient, 0 * gradient if name.startswith("conv") else free.gradients[name])


def test_nothing_outside_the_buffers_is_read_or_written(compiled, monkeypatch):
    """Every buffer of an executor gets NaN (whole numbers: −1) before and behind it."""
    network, program = compiled("mixed")
    theta, (images, labels) = random_parameters(network), random_batch(network, 70)
    expected = run_program(make_executor(network, program, theta, threads=2), images, labels)
    guard, buffers = 4096, []

    def guarded(size, dtype=np.float32):
        items = guard // np.dtype(dtype).itemsize
        whole = original(size + 2 * items, dtype)
        whole[:] = np.nan if np.issubdtype(dtype, np.floating) else -1
        whole[items : items + size] = 0
        if size:
            buffers.append((whole[:items], whole[items + size :], whole.copy()))
        return whole[items : items + size]

    original = executor_module.aligned
    monkeypatch.setattr(executor_module, "aligned", guarded)
    monkeypatch.setattr(answering_module, "aligned", guarded)
    found = run_program(make_executor(network, program, theta, threads=2), images, labels)
    assert found.loss == expected.loss
    assert np.array_equal(found.outputs, expected.outputs)
    for name, gradient in found.gradients.items():
        assert np.array_equal(gradient, expected.gradients[name]), name
    # theta, state, decay, control, totals, results, company, scale, shift, two works, gradients; order, results and
    # outputs that wait for short evaluations, and those for more than 16 images
    assert len(buffers) == 18
    for before, behind, fresh in buffers:
        assert before.tobytes() == fresh[: len(before)].tobytes()
        assert behind.tobytes() == fresh[-len(behind) :].tobytes()


# ---------------------------------------------------------------------------------------------- the same bits


def test_threads_do_not_change_a_bit(compiled):
    digests = {digest_of_training(*compiled("relu"), threads) for threads in (1, 2, 3, 7)}
    assert len(digests) == 1


HASWELL = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from harness import STILL, digest_of_training
from lenumba.kernels.compile.target import vector_registers
from test_program import NETWORKS

assert vector_registers() == 8
network = NETWORKS["relu"]()
sys.exit(digest_of_training(network, network.compile(STILL), 2))
"""


def test_avx2_code_computes_the_same_bits(compiled, tmp_path):
    """What the CPU has beyond AVX2 is switched off, so tiles, registers and instructions are others."""
    done = subprocess.run(
        [sys.executable, "-c", HASWELL, os.path.dirname(__file__)],
        env=os.environ | avx2_setting() | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.strip() == digest_of_training(*compiled("relu"), 1)


@pytest.mark.parametrize("batch_size", [None, 1], ids=["blocks", "single images"])
def test_mean_of_a_large_map_is_as_exact_as_sums_of_parts_are(batch_size):
    side, softmax = 96, {"type": "dense", "units": 10, "activation": "softmax"}
    network = make_network([{"type": "global_average_pool"}, softmax], (side, side, 1), batch_size=batch_size)
    executor = make_executor(network, network.compile(STILL), random_parameters(network))
    images = np.stack([np.full((1, side, side), level, np.uint8) for level in range(3, 250, 13)])
    mean = normalized(executor, images).mean(axis=(2, 3))
    views = {name: view.astype(np.float64) for name, view in network.views(executor.theta).items()}
    logits = read_logits(executor, images)[0]
    # A part adds `side` pixels, and as many parts are added: each sum is off by at most u of what it has so far.
    error = 2 * side * UNIT * np.abs(mean) @ np.abs(views["dense1.kernel"].T)
    assert np.all(np.abs(logits - (mean @ views["dense1.kernel"].T + views["dense1.bias"])) <= error + 4 * UNIT)
