"""Random networks: the compiled program against the float64 twin.

The suite compiles a few; ``pytest tests/test_generated.py --networks 500`` runs a campaign.
"""

from drawn_networks import SMALL_BATCHES, draw_network
from harness import STILL, make_executor, normalized, random_batch, random_parameters, run_program
from rounding import Rounding

BATCHES = (1, 15, 16, 17, 33, 70)


def test_generated_network_equals_its_float64_twin(generated_seed):
    network, layers = draw_network(generated_seed)
    program = network.compile(STILL)
    for batch in SMALL_BATCHES if network.unit == 1 else BATCHES:
        theta = random_parameters(network, generated_seed + batch)
        images, labels = random_batch(network, batch, generated_seed + batch)
        smoothing = 0.0 if batch % 2 else 0.1
        executor = make_executor(network, program, theta, threads=2, smoothing=smoothing)
        found = run_program(executor, images, labels)
        rounding = Rounding(network, network.views(theta), normalized(executor, images), labels, smoothing)
        excess = rounding.excess(found)
        assert max(excess.values()) <= 1, (batch, network.input_shape, layers, excess)
        assert abs(found.correct - rounding.exact.correct) <= rounding.undecided
