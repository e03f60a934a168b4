"""Networks that branch and that normalise over the batch, against PyTorch in float64."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from drawn_networks import draw_graph
from harness import (
    STILL,
    avx2_setting,
    make_executor,
    make_network,
    normalized,
    random_batch,
    random_parameters,
    run_program,
)
from peer import tensor, torch_logits, torch_network
from torch.nn import functional

from lenumba.engine.network.optimizers import SGD, Hyperparameters
from lenumba.engine.network.units import LayerError
from lenumba.engine.training.executor import Executor

RATE, STEPS = 0.05, 5


def trained(network, batches, threads=1, theta=None) -> tuple[Executor, list[float]]:
    """Train a step on each batch."""
    optimizer = SGD(Hyperparameters(momentum=0.9, weight_decay=0.01))
    executor = make_executor(
        network, network.compile(optimizer), random_parameters(network) if theta is None else theta, threads,
        optimizer=optimizer,
    )  # fmt: skip
    losses = []
    for step, (images, labels) in enumerate(batches, 1):
        hyper = optimizer.hyper(np.full(1, RATE), step)
        totals = executor.train(images, labels, np.arange(len(images)), len(images), hyper)[1]
        losses.append(totals[0] / len(images))
    return executor, losses


def torch_trained(network, theta, batches) -> tuple[dict, list[float]]:
    """Do the same in PyTorch; return all tensors."""
    leaves = {name: tensor(view, network.parameters[name].learned) for name, view in network.views(theta).items()}
    kernels = [leaf for name, leaf in leaves.items() if name.endswith("kernel")]
    others = [leaf for name, leaf in leaves.items() if leaf.requires_grad and not name.endswith("kernel")]
    groups = [{"params": kernels, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer, losses = torch.optim.SGD(groups, lr=RATE, momentum=0.9), []
    for images, labels in batches:
        optimizer.zero_grad()
        loss = functional.cross_entropy(torch_logits(network, leaves, images, training=True), torch.tensor(labels))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return leaves, losses


def compare_with_torch(seed: int) -> float:
    """Train a drawn network for five steps here and there; return the largest difference of a tensor, of its size."""
    network, layers = draw_graph(seed)
    theta = random_parameters(network, seed)
    batches = [random_batch(network, size, seed + k) for k, size in enumerate((40, 16, 23, 5, 33))]
    executor, losses = trained(network, batches, threads=2, theta=theta)
    leaves, expected = torch_trained(network, theta, [(normalized(executor, x), y) for x, y in batches])
    np.testing.assert_allclose(losses, expected, rtol=2e-4, atol=2e-5, err_msg=str(layers))
    worst = 0.0
    for name, view in network.views(executor.theta).items():
        there = leaves[name].detach().numpy()
        worst = max(worst, float(np.abs(view - there).max() / max(np.abs(there).max(), 0.1)))
    images, _ = batches[0]
    outputs = executor.evaluate(images, np.zeros(len(images), np.int64), np.arange(len(images)))[1]
    with torch.no_grad():
        logits = torch_logits(network, leaves, normalized(executor, images))
    np.testing.assert_allclose(outputs, torch.softmax(logits, 1).numpy(), atol=2e-3, err_msg=str(layers))
    return worst


@pytest.mark.parametrize("seed", range(1))
def test_weights_and_running_statistics_after_five_steps_are_pytorch_s(seed):
    assert compare_with_torch(seed) < 2e-3


@pytest.mark.long("compiles for long")
def test_gradients_of_a_residual_network_are_pytorch_s():
    """Sums that lie where a norm's output did, with a relu behind; shortcuts that read what a border lies around."""
    plain = {"type": "conv", "channels": 6, "kernel_size": 3, "padding": 1, "norm": "batch"}
    relu, short = plain | {"activation": "relu"}, {"type": "conv", "channels": 6, "kernel_size": 1, "stride": 2}
    layers = [
        relu,
        {"type": "residual", "layers": [relu, plain], "activation": "relu"},
        {"type": "residual", "layers": [relu | {"stride": 2}, plain], "shortcut": [short], "activation": "relu"},
        {"type": "global_average_pool"},
        {"type": "dense", "units": 3, "activation": "softmax"},
    ]
    network = make_network(layers, (8, 8, 3))
    theta, (images, labels) = random_parameters(network), random_batch(network, 40)
    executor = make_executor(network, network.compile(STILL), theta, threads=2)
    found = run_program(executor, images, labels).gradients
    leaves = {name: tensor(view, network.parameters[name].learned) for name, view in network.views(theta).items()}
    logits = torch_logits(network, leaves, normalized(executor, images), training=True)
    functional.cross_entropy(logits, torch.tensor(labels)).backward()
    largest = max(leaf.grad.abs().max().item() for leaf in leaves.values() if leaf.requires_grad)
    for name, leaf in leaves.items():
        if leaf.requires_grad:
            np.testing.assert_allclose(found[name], leaf.grad.numpy(), rtol=1e-4, atol=1e-5 * largest, err_msg=name)


def test_pooling_takes_in_no_activation_that_stands_before_a_sum():
    layers = [
        {
            "type": "residual",
            "layers": [{"type": "conv", "channels": 2, "kernel_size": 3, "padding": 1, "activation": "relu"}],
        },
        {"type": "max_pool", "size": 2},
        "flatten",
        {"type": "dense", "units": 3, "activation": "softmax"},
    ]
    network = make_network(layers, (6, 6, 2))
    theta, (images, labels) = random_parameters(network), random_batch(network, 20)
    executor = make_executor(network, network.compile(STILL), theta)
    found = run_program(executor, images, labels).gradients
    expected = torch_network(network, network.views(theta), normalized(executor, images), labels)[2]
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-6, err_msg=name)


CONV = {"type": "conv", "channels": 4, "kernel_size": 3, "padding": 1, "norm": "batch", "activation": "relu"}
LAYERS = [
    CONV,
    {"type": "residual", "layers": [CONV], "activation": "relu"},
    "flatten",
    {"type": "dense", "units": 3, "activation": "softmax"},
]


def test_threads_change_no_bit_where_blocks_wait_for_one_another():
    network = make_network(LAYERS, (6, 5, 2))
    batches = [random_batch(network, size, size) for size in (70, 33, 16, 3)]
    bits = {trained(network, batches, threads)[0].theta.tobytes() for threads in (1, 2, 3, 7)}
    assert len(bits) == 1


HASWELL = """
import sys

sys.path.insert(0, sys.argv[1])
from test_graphs import digest_of_training

sys.exit(digest_of_training(2))
"""


def digest_of_training(threads: int) -> str:
    network = make_network(LAYERS, (6, 5, 2))
    batches = [random_batch(network, size, size) for size in (40, 33, 16)]
    return hashlib.sha256(trained(network, batches, threads)[0].theta.tobytes()).hexdigest()


@pytest.mark.long("compiles for long")
def test_avx2_code_of_norms_computes_the_same_bits():
    done = subprocess.run(
        [sys.executable, "-c", HASWELL, os.path.dirname(__file__)],
        env=os.environ | avx2_setting(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.strip() == digest_of_training(1)


def test_a_large_mean_costs_no_precision():
    network = make_network(LAYERS, (6, 5, 2))
    theta = random_parameters(network)
    network.views(theta)["conv1.bias"][...] += 1000.0  # a batch norm takes it away again
    batch = random_batch(network, 33, 1)
    moved, plain = (trained(network, [batch], theta=start)[1][0] for start in (theta, random_parameters(network)))
    assert moved == pytest.approx(plain, rel=2e-4)


def test_names_of_nested_layers_and_what_they_read():
    network = make_network(LAYERS, (6, 5, 2))
    assert [(unit.name, unit.inputs, unit.path) for unit in network.units] == [
        ("conv1", (0,), "0"),
        ("conv1_norm", (1,), "0"),
        ("conv1_relu", (2,), "0"),
        ("conv2", (3,), "1.layers.0"),
        ("conv2_norm", (4,), "1.layers.0"),
        ("conv2_relu", (5,), "1.layers.0"),
        ("residual1", (6, 3), "1"),
        ("residual1_relu", (7,), "1"),
        ("flatten1", (8,), "2"),
        ("dense1", (9,), "3"),
    ]
    assert network.parameter_count - network.trainable_count == 2 * 2 * 4


@pytest.mark.parametrize(
    ("layers", "path", "reason"),
    [
        (
            [{"type": "residual", "layers": [{**CONV, "channels": 3}]}],
            "0",
            "found 6×5×3 from its layers and 6×5×2 from",
        ),
        ([{"type": "residual", "layers": [{**CONV, "kernel_size": 9}]}], "0.layers.0", "larger than its"),
        ([{"type": "residual", "layers": ["flatten"]}], "0.layers.0", "cannot stand in a residual"),
        (
            [
                {
                    "type": "residual",
                    "layers": [{"type": "max_pool", "size": 3, "stride": 1, "padding": 1}],
                    "shortcut": [{**CONV, "channels": 2}],
                }
            ],
            "0.shortcut.0",
            "with other padding",
        ),
    ],
)
def test_layers_that_do_not_add_up_are_named(layers, path, reason):
    with pytest.raises(LayerError, match=reason) as caught:
        make_network([*layers, "flatten", {"type": "dense", "units": 3, "activation": "softmax"}], (6, 5, 2))
    assert caught.value.path == path
