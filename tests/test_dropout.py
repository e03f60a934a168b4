"""Dropout: its mask depends on seed, epoch and place alone, and evaluation never sees it."""

import numpy as np
import pytest
from compiled import STILL, executor_for, gradients, leaves_of

from lenumba.engine.network.layers import AveragePool, Conv, Dense, Dropout, Flatten
from lenumba.engine.network.layers.dropout import epoch_key
from lenumba.engine.network.network import Network
from lenumba.kernels.program.source import program_source

torch = pytest.importorskip("torch")
EPS = 2.0**-23
PIXELS, UNITS, COUNT = 12, 40, 37
KEY = epoch_key(3, 1)


def masked_network(rate, activation="tanh"):
    """Dropout on the image itself and on a hidden layer whose output the backward pass reads."""
    layers = [
        Dropout(rate=rate),
        Flatten(),
        Dense(units=UNITS, activation=activation),
        Dropout(rate=rate),
        Dense(units=3, activation="softmax"),
    ]
    return Network(layers, (1, PIXELS, 1), name="dropout_test")


def draw(count=COUNT):
    rng = np.random.default_rng(0)
    return rng.integers(1, 256, (count, 1, 1, PIXELS), np.uint8), rng.integers(0, 3, count)


def masks_of(executor, images, labels, key, place=0):
    """The masks of the block that starts at `place` of an epoch: float32 [values, 16] for each dropout layer."""
    order = np.arange(place + 16) % len(images)
    executor.train(
        images, labels, order, 16, STILL.hyper(np.zeros(-(-len(order) // 16)), 1), key=key, first_batch=place // 16
    )
    network, work = executor.network, executor.memory[0]
    starts = [
        (network.layout.scratches[k], unit.shape)
        for k, unit in enumerate(network.units)
        if isinstance(unit.layer, Dropout)
    ]
    return [work[at : at + 16 * int(np.prod(shape))].reshape(-1, 16).copy() for at, shape in starts]


def test_rate_is_kept_and_values_are_independent():
    network = Network([Flatten(), Dropout(rate=0.3), Dense(units=2)], (16, 16, 1), name="dropout_rate")
    executor = executor_for(network)
    images, labels = np.ones((16, 1, 16, 16), np.uint8), np.zeros(16, np.int64)
    masks = np.stack([masks_of(executor, images, labels, epoch_key(0, epoch))[0] for epoch in range(64)])
    kept = masks != 0
    assert np.unique(masks).tolist() == [0, np.float32(1 / 0.7)]

    def within_5_sigma(frequency, probability, draws):
        spread = 5 * np.sqrt(probability * (1 - probability) / draws)
        assert np.abs(frequency - probability).max() < spread + 1e-12

    within_5_sigma(kept.mean(), 0.7, kept.size)
    for axis in range(3):  # epochs, values, images
        other = tuple(a for a in range(3) if a != axis)
        within_5_sigma(kept.mean(axis=other), 0.7, kept.size // kept.shape[axis])
        for shift in (1, 2, 7):
            both = kept & np.roll(kept, shift, axis)
            within_5_sigma(both.mean(), 0.49, kept.size / 2)  # neighbours overlap, so draws are not all independent


def test_gradient_equals_pytorch_under_the_same_mask():
    network = masked_network(0.4)
    executor = executor_for(network)
    images, labels = draw(16)
    loss, _, found = gradients(executor, images, labels, key=KEY)
    first, second = (torch.tensor(mask.T.astype(np.float64)) for mask in masks_of(executor, images, labels, KEY))
    leaves = leaves_of(executor)
    x = torch.tensor(images.reshape(16, -1) / 255.0) * first
    x = (x @ leaves["dense1.kernel"].T + leaves["dense1.bias"]).tanh() * second
    z = x @ leaves["dense2.kernel"].T + leaves["dense2.bias"]
    expected = torch.nn.functional.cross_entropy(z, torch.tensor(labels))
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=32 * EPS)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(found[name], leaf.grad, rtol=0, atol=32 * EPS * UNITS**0.5, err_msg=name)


def test_bits_do_not_depend_on_threads():
    images, labels = draw(200)
    rows = STILL.hyper(np.full(2, 0.1), 1)
    found = []
    for threads in (1, 2, 7):
        executor = executor_for(masked_network(0.5), threads=threads)
        executor.train(images, labels, np.arange(200), 150, rows, key=KEY)
        found.append(executor.theta.tobytes())
    assert found[0] == found[1] == found[2]


def test_bits_do_not_depend_on_resuming():
    images, labels = draw(100)
    rows = STILL.hyper(np.full(4, 0.1), 1)
    whole, halves = (executor_for(masked_network(0.5)) for _ in range(2))
    whole.train(images, labels, np.arange(100), 32, rows, key=KEY)
    halves.train(images, labels, np.arange(64), 32, rows[:2], key=KEY)
    halves.train(images, labels, np.arange(100), 32, rows, key=KEY, first_batch=2)
    assert whole.theta.tobytes() == halves.theta.tobytes()


def test_mask_depends_on_seed_epoch_place_and_layer():
    executor = executor_for(masked_network(0.5))
    images, labels = draw(16)
    base, again, epoch, seed, place = (
        masks_of(executor, images, labels, epoch_key(*numbers), start)
        for *numbers, start in [(0, 0, 0), (0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 16)]
    )
    np.testing.assert_array_equal(base[1], again[1])
    for other in (epoch, seed, place):
        assert 0.4 < (base[1] != other[1]).mean() < 0.6
    assert 0.3 < (base[0] != base[1][:PIXELS]).mean() < 0.7
    assert epoch_key(0, 0) == epoch_key(0, 0) != epoch_key(0, 1)
    # Pinned: a resumed run must go on with the same masks.
    assert epoch_key(2**63 - 1, 99_999) == 6770119894222786804


def test_evaluation_leaves_dropout_out():
    images, labels = draw()
    order = np.arange(COUNT)
    expected = executor_for(masked_network(0.0)).evaluate(images, labels, order)
    executor = executor_for(masked_network(0.9))
    executor.train(images, labels, order, COUNT, STILL.hyper(np.zeros(1), 1), key=KEY)
    found = executor.evaluate(images, labels, order)
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
    source = program_source(executor.network.plan(STILL)).text
    evaluate, train = source.split("def evaluate_block")[1].split("def train_block")
    assert "forward_dropout" not in evaluate
    assert train.count("forward_dropout") == 2


@pytest.mark.parametrize("function", ["relu", "none"])
def test_dropout_between_maps_with_margins(function):
    layers = [
        Conv(channels=2, kernel_size=3, activation=function),
        Dropout(rate=0.5),
        Conv(channels=2, kernel_size=3, padding="same", activation=function),
        AveragePool(size=2),
        Flatten(),
        Dense(units=3, activation="softmax"),
    ]
    network = Network(layers, (6, 6, 1), name="dropout_maps")
    executor = executor_for(network)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (16, 1, 6, 6), np.uint8), rng.integers(0, 3, 16)
    _, _, found = gradients(executor, images, labels, key=KEY)
    mask = torch.tensor(masks_of(executor, images, labels, KEY)[0].T.reshape(16, 2, 4, 4).astype(np.float64))
    leaves = leaves_of(executor)
    functional = torch.nn.functional
    activate = torch.relu if function == "relu" else lambda x: x
    x = functional.conv2d(torch.tensor(images / 255.0), leaves["conv1.kernel"], leaves["conv1.bias"])
    x = activate(x) * mask
    x = activate(functional.conv2d(x, leaves["conv2.kernel"], leaves["conv2.bias"], padding=1))
    x = functional.avg_pool2d(x, 2).flatten(1)
    functional.cross_entropy(x @ leaves["dense1.kernel"].T + leaves["dense1.bias"], torch.tensor(labels)).backward()
    for name, leaf in leaves.items():
        np.testing.assert_allclose(found[name], leaf.grad, rtol=0, atol=64 * EPS, err_msg=name)
