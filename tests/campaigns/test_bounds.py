"""Nothing reads or writes outside its memory: the plain twins with every index checked, the fast kernels with guards.

The twins are compiled by Numba, which checks indices under NUMBA_BOUNDSCHECK=1. The fast kernels get bare addresses,
which nobody checks: their buffers, and all parts of them, lie between margins of NaN (see tests/guards.py).

What the fast kernels read outside by design, all of it multiplied by zeros or thrown away:
- `pack`, up to 16 bytes behind the images (`engine.trainer.planar` provides them);
- `dense_forward_pixels`, up to 15 weights behind the last row (`clear_tail` makes the inputs there zero);
- single images' convolutions (`engine.layers.long_rows`), up to a vector and the kernel's reach behind the last map of
  an activation, where dy is zero.
So there are 16 more bytes behind the images here, and 1e30 instead of NaN lies between the parameters, and between the
parts of a single image's memory: a factor of zero takes it out, anything else shows it.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from drawn_networks import SMALL_BATCHES, draw_network
from guards import HUGE, guarded, inside, parameter_parts, work_faults
from harness import STILL, Result, make_executor, make_network, normalized, random_batch, random_parameters
from rounding import Rounding, run_twin

from lenumba.kernels.constants import LANES
from lenumba.kernels.reference import layers as reference
from lenumba.kernels.reference import moves as reference_moves
from lenumba.kernels.reference import steps as reference_steps
from lenumba.kernels.reference.twin import reference as compiled

BATCHES = (1, 17, 40)


def run_guarded(guards, executor, images, labels) -> Result:
    """`harness.run_program` with guarded arguments."""
    network, order = executor.network, guards.guarded(np.arange(len(images)), "order")
    pixels = guards.guarded(images, "images", behind=LANES)  # `pack` reads whole vectors of pixels
    labels = guards.guarded(labels, "labels")
    hyper = guards.guarded(STILL.hyper(np.zeros(1), 1), "hyper")
    totals = guards.guarded(np.zeros(2), "totals")
    executor.train(pixels, labels, order, len(images), hyper, totals=totals)
    _, outputs = executor.evaluate(pixels, labels, order)
    gradients = {name: view.astype(np.float64) for name, view in network.views(executor.state).items()}
    return Result(totals[0] / len(images), int(totals[1]), outputs.copy(), gradients)


def check(network, program, seed: int, guards, batches) -> list[str]:
    """Return what is wrong with a network's program."""
    faults = []
    margins = ~inside(parameter_parts(network), network.size)
    for batch in batches:
        images, labels = random_batch(network, batch, seed + batch)
        results = []
        for between in (0.0, HUGE):
            theta = random_parameters(network, seed + batch)
            theta[margins] = between
            executor = make_executor(network, program, theta, threads=2)
            results.append(run_guarded(guards, executor, images, labels))
            faults += [f"batch {batch}: margin of {name}" for name in guards.faults()]
            for work in executor.memory:
                faults += [f"batch {batch}: {fault}" for fault in work_faults(network, work)]
            if executor.state[margins].any():
                faults.append(f"batch {batch}: gradients between those of parameters")
            if not np.array_equal(executor.theta.view(np.uint32), theta.view(np.uint32)):
                faults.append(f"batch {batch}: parameters changed without a learning rate")
            guards.buffers.clear()
        rounding = Rounding(network, network.views(theta), normalized(executor, images), labels)
        faults += [
            f"batch {batch}: {name} is {x:.1f} tolerances off"
            for name, x in rounding.excess(results[0]).items()
            if x > 1
        ]
        if not np.array_equal(results[0].outputs, results[1].outputs) or results[0].loss != results[1].loss:
            faults.append(f"batch {batch}: outputs depend on what lies between the parameters")
        for name, gradient in results[0].gradients.items():
            if not np.array_equal(gradient, results[1].gradients[name]):
                faults.append(f"batch {batch}: the gradient of {name} depends on what lies between the parameters")
    return faults


def test_fast_kernels_stay_within_their_parts(campaign):
    """Seeds of tests/drawn_networks.py: odd ones are for small batches, whose images are taken one by one."""
    seeds = range(1000, 1120) if campaign.full else (1007,)  # a convolution, and few kernels to compile
    faults = {}
    for seed in seeds:
        with guarded() as guards:
            network, layers = draw_network(seed)
            program = network.compile(STILL)
            batches = SMALL_BATCHES if network.unit == 1 else BATCHES
            if found := check(network, program, seed, guards, batches):
                faults[seed] = (network.input_shape, layers, sorted(set(found))[:6])
    if campaign.full:
        campaign.note(
            f"guards: {len(seeds)} networks compiled, seeds {seeds[0]}–{seeds[-1]}; {len(faults)} with faults"
        )
    assert not faults, "\n".join(f"{seed}: {fault}" for seed, fault in faults.items())


def test_guards_notice_a_kernel_that_writes_too_far():
    layers = [{"type": "flatten"}, {"type": "dense", "units": 3, "activation": "softmax"}]
    with guarded(shorter=LANES) as guards:
        network = make_network(layers, (2, 2, 1))
        faults = check(network, network.compile(STILL), 0, guards, (3,))
    assert any("near Part(name='loss_p'" in fault for fault in faults), faults


def test_twins_stay_within_bounds(campaign):
    """Indices are checked in a process of its own, as Numba compiles the checks in; all twins must have run."""
    if not campaign.full:
        pytest.skip("tests/test_reference.py does it for one network; with --campaign")
    command = [sys.executable, __file__, "1000"]
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2000:]
    campaign.note(found.stdout.strip())


def run_twins(count: int) -> str:
    """Run the twins of random networks and of everything else; return what was done."""
    with pytest.raises(IndexError):
        compiled(lambda array: array[len(array)])(np.zeros(3))
    for seed in range(count):
        rng = np.random.default_rng(seed)
        network, _ = draw_network(seed)
        images, labels = random_batch(network, int(rng.integers(1, 4)), seed)
        run_twin(network, network.views(random_parameters(network, seed)), images / 255, labels, 0.1)
        n, c, height, width = rng.integers(1, 9, 4)
        x, order = rng.random((n, c, height, width)), rng.integers(0, n, 2 * n)
        kernels = rng.random((3, c, rng.integers(1, height + 1), rng.integers(1, width + 1)))
        reference.flipped_conv_forward(x, kernels, np.zeros(3))
        reference_moves.pack(rng.integers(0, 256, x.shape, np.uint8), order, rng.random(c), rng.random(c))
        reference_moves.transpose_lanes(x.reshape(n, -1))
        reference_moves.dropout_backward(reference_moves.dropout_forward(reference_moves.copy(x), x), x)
        reference_moves.clear(x)
        theta, v, m, gradient = rng.random((4, n))
        reference_steps.sgd(theta, v, gradient, 0.1, 0.01, 0.9, bool(seed % 2))
        reference_steps.adamw(theta, m, v, gradient, 0.1, 0.01, 0.9, 0.999, 1e-8, 1 + seed)
        reference_steps.average_weights(theta, reference_steps.clip_gradient(rng.random((3, n)), rng.random()), 0.1)
        reference_steps.none_derivative(reference_steps.none(theta[0]))
        cell = int(rng.integers(1, 6))
        mesh = rng.uniform(-2, 10, (2 * n, 2, -(-height // cell) + 1, -(-width // cell) + 1))
        reference_moves.augment(x, order, mesh, cell, rng.random(c), rng.random(c))
        for loss in (reference_steps.sigmoid_cross_entropy, reference_steps.squared_error):
            outputs = int(rng.integers(1, 5))
            loss(rng.normal(size=(n, outputs)), rng.integers(0, max(2, outputs), n), 0.1)
    twins = {
        f"{module.__name__}.{name}": function
        for module in (reference, reference_moves, reference_steps)
        for name, function in vars(module).items()
        if hasattr(function, "py_func")
    }
    idle = [name for name, twin in twins.items() if "compiled" not in vars(twin) or not twin.compiled.signatures]
    assert not idle, f"never run: {idle}"
    return f"plain twins with checked indices: all {len(twins)} of them, {count} random networks (seeds 0–{count - 1})"


if __name__ == "__main__":
    sys.stdout.write(run_twins(int(sys.argv[1])) + "\n")
