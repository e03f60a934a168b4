"""Programs that only answer: random networks with 16 channels in the lanes of a vector, against float64."""

import numpy as np
import pytest
from drawn_networks import draw_graph, draw_network
from harness import STILL, make_executor, make_network, normalized, random_batch, random_parameters, statistics_of

from lenumba.engine.explain import plain
from lenumba.engine.network.channels import Channels
from lenumba.engine.training import executor as executor_module
from lenumba.kernels.program import pieces


def widened(layers: list[dict]) -> list[dict]:
    """Return the layers of a chain, whose convolutions have more maps, and kernels for which there are points."""
    return [
        {**layer, "channels": 32, "kernel_size": 3, "stride": 1} if layer["type"] == "conv" else layer
        for layer in layers
    ]


def test_random_networks_answer_what_their_float64_twins_do(campaign, monkeypatch):
    if not campaign.full:
        pytest.skip("tests/test_answers.py has one; with --campaign")
    monkeypatch.setattr(Channels, "pays", property(lambda self: True))
    monkeypatch.setattr(pieces, "LEAST", 64)
    monkeypatch.setattr(executor_module, "PIECE_CALL", 1)
    compared, at_points, worst = 0, 0, 0.0
    for seed in range(campaign.size(0, 60)):
        known, layers = (draw_graph if seed % 2 else draw_network)(seed)
        layers = layers if seed % 2 else widened(layers)
        try:
            network = make_network(layers, known.image_shape, batch_size=1, answers=True)
        except ValueError:
            continue  # a kernel that is larger than its input
        if network.channels is None:
            continue
        theta = statistics_of(network, random_parameters(network, seed))
        images, labels = random_batch(network, 3, seed)
        executor = make_executor(network, network.compile(STILL), theta, threads=3)
        found = [executor.evaluate(images, labels, np.array([number]))[1][0] for number in range(3)]
        parameters = {name: view.astype(np.float64) for name, view in network.views(theta).items()}
        z = plain.forward(network, parameters, normalized(executor, images))[-1]
        expected = plain.judge(network, z, labels, 0.0).outputs
        difference = np.abs(np.array(found) - expected).max()
        assert difference < 2e-5, (seed, network.input_shape, layers, difference)
        compared, worst = compared + 1, max(worst, difference)
        at_points += any("winograd" in call.kernel for call in network.plan(STILL).calls)
    assert compared >= 20
    campaign.note(f"answers: {compared} random networks, {at_points} at points; differences up to {worst:.1e}")
