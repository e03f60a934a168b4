"""Programs that only answer: images one by one through norms, groups and shortcuts."""

import numpy as np
import pytest
from harness import STILL, make_executor, make_network, random_batch, random_parameters

from lenumba.kernels.constants import LANES

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


def test_what_only_answers_takes_images_one_by_one_and_gives_what_blocks_do():
    blocks = make_network(LAYERS, (11, 9, 2), batch_size=4)
    singles = make_network(LAYERS, (11, 9, 2), batch_size=1, answers=True)
    assert (blocks.unit, singles.unit) == (LANES, 1)
    theta, (images, labels) = random_parameters(blocks), random_batch(blocks, 5)
    for name, view in blocks.views(theta).items():
        if name.endswith("running_var"):
            view[...] = 0.5 + np.abs(view)
    found = []
    for network in (blocks, singles):
        executor = make_executor(network, network.compile(STILL), theta, threads=2)
        found.append(executor.evaluate(images, labels, np.arange(5)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-6)


def test_a_norm_that_nothing_takes_in_keeps_blocks():
    layers = [{"type": "batch_norm"}, {"type": "flatten"}, {"type": "dense", "units": 3, "activation": "softmax"}]
    assert make_network(layers, (4, 4, 1), batch_size=1, answers=True).unit == LANES
