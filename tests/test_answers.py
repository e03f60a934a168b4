"""Programs that only answer: images one by one through norms, groups and shortcuts; channels in lanes; in pieces."""

import time

import numpy as np
import pytest
from harness import STILL, make_executor, make_network, normalized, random_batch, random_parameters, statistics_of

from lenumba.engine.explain import plain
from lenumba.engine.training import executor as executor_module
from lenumba.kernels.constants import DONE, LANES
from lenumba.kernels.program import pieces

NORM = {"norm": "batch", "activation": "relu"}
LAYERS = [
    {"type": "conv", "channels": 6, "kernel_size": 3, "stride": 2, "padding": "same", **NORM},
    {"type": "depthwise_conv", "kernel_size": 3, "padding": "same", "multiplier": 2, **NORM},
    {
        "type": "residual",
        "layers": [{"type": "conv", "channels": 12, "kernel_size": 3, "padding": 1, "groups": 3, **NORM}],
        "activation": "relu",
    },
    {"type": "dropout", "rate": 0.2},
    {"type": "global_average_pool"},
    {"type": "dense", "units": 3, "activation": "softmax"},
]


# More than 16 channels in layers of every kind, none of whose sizes divides 16 or a tile; a flat layer behind maps.
WIDE = [
    {"type": "conv", "channels": 20, "kernel_size": 3, "stride": 2, "padding": "same", **NORM},
    {"type": "depthwise_conv", "kernel_size": 3, "padding": "same", "stride": 2, **NORM},
    {"type": "max_pool", "size": 3, "stride": 1, "padding": 1},
    {
        "type": "residual",
        "layers": [{"type": "conv", "channels": 33, "kernel_size": [3, 1], "padding": [1, 0], "activation": "tanh"}],
        "shortcut": [{"type": "conv", "channels": 33, "kernel_size": 1, "bias": False}],
        "activation": "relu",
    },
    {"type": "average_pool", "size": 2},
    {"type": "dropout", "rate": 0.2},
    "flatten",
    {"type": "dense", "units": 18, "norm": "batch", "activation": "sigmoid"},
    {"type": "dense", "units": 3, "activation": "softmax"},
]
SHAPE = (20, 18, 3)


def test_what_only_answers_takes_images_one_by_one_and_gives_what_blocks_do():
    blocks = make_network(LAYERS, (11, 9, 2), batch_size=4)
    singles = make_network(LAYERS, (11, 9, 2), batch_size=1, answers=True)
    assert (blocks.unit, singles.unit, singles.channels) == (LANES, 1, None)
    theta, (images, labels) = statistics_of(blocks, random_parameters(blocks)), random_batch(blocks, 5)
    found = []
    for network in (blocks, singles):
        executor = make_executor(network, network.compile(STILL), theta, threads=2)
        found.append(executor.evaluate(images, labels, np.arange(5)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-6)


def test_threads_that_compute_an_image_together_give_the_bits_of_one_and_what_the_twins_do(monkeypatch):
    monkeypatch.setattr(pieces, "LEAST", 100)
    monkeypatch.setattr(executor_module, "PIECE_CALL", 1)
    network = make_network(WIDE, SHAPE, batch_size=1, answers=True)
    theta, (images, labels) = statistics_of(network, random_parameters(network)), random_batch(network, 5)
    program, helped = network.compile(STILL), 0
    alone = make_executor(network, program, theta)
    parameters = {name: view.astype(np.float64) for name, view in network.views(theta).items()}
    z = plain.forward(network, parameters, normalized(alone, images[:2]))[-1]
    found = alone.evaluate(images, labels, np.arange(2))[1]
    np.testing.assert_allclose(found, plain.judge(network, z, labels[:2], 0.0).outputs, atol=1e-6)
    together = make_executor(network, program, theta, threads=3, spin_seconds=0.5)
    number, deadline = 0, time.monotonic() + 60
    while number < 100 or (not helped and time.monotonic() < deadline):  # others may have the cores for a while
        order, number = np.array([number % 5]), number + 1
        one, all_of_them = (executor.evaluate(images, labels, order) for executor in (alone, together))
        assert one[0] == all_of_them[0]
        np.testing.assert_array_equal(one[1], all_of_them[1])
        helped += together.company.places[DONE] > 0
    assert helped


def test_a_norm_that_nothing_takes_in_keeps_blocks():
    layers = [{"type": "batch_norm"}, {"type": "flatten"}, {"type": "dense", "units": 3, "activation": "softmax"}]
    assert make_network(layers, (4, 4, 1), batch_size=1, answers=True).unit == LANES


def test_few_channels_lie_in_long_rows():
    layers = [{"type": "conv", "channels": 4, "kernel_size": 5}, "flatten", {"type": "dense", "units": 3}]
    assert make_network(layers, (16, 16, 1), batch_size=1, answers=True, loss="mean_squared_error").channels is None


def test_weights_that_are_frozen_cannot_be_changed_behind_the_program():
    network = make_network(WIDE, SHAPE, batch_size=1, answers=True)
    executor = make_executor(network, network.compile(STILL), random_parameters(network))
    (images, labels), order = random_batch(network, 1), np.zeros(1, np.int64)
    before = executor.evaluate(images, labels, order)
    executor.theta[:] *= 0.5
    after = executor.evaluate(images, labels, order)
    assert after[0] != before[0]
    executor.weights.freeze()
    assert executor.evaluate(images, labels, order)[0] == after[0]
    with pytest.raises(ValueError, match="read-only"):
        executor.theta[:] = 0
