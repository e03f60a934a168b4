"""Losses in the compiled program against PyTorch in float64."""

import itertools

import numpy as np
import pytest
from compiled import executor_for, gradients, leaves_of

from lenumba.engine.common.metrics import predicted_classes
from lenumba.engine.config.config import read_config
from lenumba.engine.config.misfits import fitting_losses
from lenumba.engine.network.layers import Activation, Conv, Dense, Flatten, MaxPool
from lenumba.engine.network.losses import LOSSES, fitting_outputs, loss_for, losses_for, outputs_misfit
from lenumba.engine.network.network import LayerError, Network
from lenumba.engine.training.judging import read_logits

torch = pytest.importorskip("torch")
EPS = 2.0**-23
COUNT = 37  # two full blocks and a ragged one


def torch_outputs(executor, images):
    """A flat network's last layer before its fused activation, and the leaves to differentiate by."""
    leaves = leaves_of(executor)
    x = torch.tensor(images.reshape(len(images), -1) / 255.0)
    return x @ leaves["dense1.kernel"].T + leaves["dense1.bias"], leaves


def torch_loss(loss, z, labels, smoothing):
    labels, functional = torch.tensor(labels), torch.nn.functional
    if LOSSES[loss].kernel == "softmax_cross_entropy":
        return functional.cross_entropy(z, labels, label_smoothing=smoothing)
    target = labels[:, None] if z.shape[1] == 1 else functional.one_hot(labels, z.shape[1])
    target = target.double()
    if loss == "binary_cross_entropy":
        return functional.binary_cross_entropy_with_logits(z, target * (1 - smoothing) + smoothing / 2)
    return functional.mse_loss(z, target)


def flat_network(loss, outputs, activation, pixels=20):
    return Network(
        [Flatten(), Dense(units=outputs, activation=activation)], (1, pixels, 1), loss=loss, name="loss_test"
    )


def draw(pixels=20, classes=2, count=COUNT):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (count, 1, 1, pixels), np.uint8), rng.integers(0, classes, count)


CASES = [
    ("sparse_categorical_cross_entropy", 7, "softmax", 0.0),
    ("categorical_cross_entropy", 7, "softmax", 0.1),
    ("binary_cross_entropy", 1, "sigmoid", 0.0),
    ("binary_cross_entropy", 1, "sigmoid", 0.2),
    ("binary_cross_entropy", 5, "sigmoid", 0.1),
    ("mean_squared_error", 1, "none", 0.0),
    ("mean_squared_error", 5, "sigmoid", 0.0),
    ("mean_squared_error", 5, "tanh", 0.0),
]


@pytest.mark.parametrize(("loss", "outputs", "activation", "smoothing"), CASES)
def test_loss_and_gradients_equal_pytorch(loss, outputs, activation, smoothing):
    network = flat_network(loss, outputs, activation)
    executor = executor_for(network, threads=2, smoothing=smoothing)
    images, labels = draw(classes=max(2, outputs))
    found_loss, correct, found = gradients(executor, images, labels)
    z, leaves = torch_outputs(executor, images)
    if activation not in (network.loss.fused, "none"):
        z = getattr(torch, activation)(z)
    expected = torch_loss(loss, z, labels, smoothing)
    expected.backward()
    # Sums of 20 products in the layer and of 37 images: errors of √n roundings of terms of order 1.
    tolerance = 8 * EPS * (20 * COUNT) ** 0.5
    assert found_loss == pytest.approx(expected.item(), abs=tolerance)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(found[name], leaf.grad.numpy(), rtol=0, atol=tolerance, err_msg=name)

    p = (z.softmax(1) if activation == "softmax" else z.sigmoid() if loss.startswith("binary") else z).detach()
    mean_loss, outputs_found = executor.evaluate(images, labels, np.arange(COUNT))
    np.testing.assert_allclose(outputs_found, p, rtol=0, atol=tolerance)
    assert mean_loss == pytest.approx(expected.item(), abs=tolerance)
    answers = (p[:, 0] >= 0.5).numpy().astype(int) if outputs == 1 else p.argmax(1).numpy()
    assert correct == (answers == labels).sum()
    np.testing.assert_array_equal(predicted_classes(outputs_found), answers)


@pytest.mark.parametrize(
    ("loss", "outputs", "activation"),
    [
        ("sparse_categorical_cross_entropy", 3, "softmax"),
        ("binary_cross_entropy", 1, "sigmoid"),
        ("binary_cross_entropy", 3, "sigmoid"),
        ("mean_squared_error", 1, "none"),
    ],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_extreme_logits_give_finite_losses_and_gradients(loss, outputs, activation, smoothing):
    if smoothing and not LOSSES[loss].smooths:
        pytest.skip("this loss has no smoothing")
    network = flat_network(loss, outputs, activation, pixels=1)
    executor = executor_for(network, smoothing=smoothing)
    views = network.views(executor.theta)
    images = np.array([0, 255] * 4, np.uint8).reshape(8, 1, 1, 1)
    for kernel, bias in itertools.product((2e4, -2e4), (1e4, -1e4)):
        views["dense1.kernel"][:] = kernel * np.linspace(1, -1, outputs)[:, None]
        views["dense1.bias"][:] = bias * np.linspace(1, -1, outputs)
        labels = np.arange(8) // 4
        found_loss, _, found = gradients(executor, images, labels)
        z, leaves = torch_outputs(executor, images)
        expected = torch_loss(loss, z, labels, smoothing)
        expected.backward()
        assert found_loss == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)
        for name, leaf in leaves.items():
            np.testing.assert_allclose(found[name], leaf.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_outputs_of_large_logits_stand_for_the_class_that_training_counts(sign):
    """Sigmoids of large logits are all 1, and of −large all 0, as float32: the largest logit still is the answer."""
    network = flat_network("binary_cross_entropy", 3, "sigmoid", pixels=1)
    executor = executor_for(network)
    views = network.views(executor.theta)
    views["dense1.kernel"][:] = np.array([[-60], [0], [60]])  # for 0 and 255: the first or the last is the largest
    views["dense1.bias"][:] = sign * 150 + np.array([30, 0, -30])
    images = np.array([0, 255] * 20, np.uint8).reshape(40, 1, 1, 1)
    labels = np.arange(40) % 2 * 2
    _, correct, _ = gradients(executor, images, labels)
    _, outputs = executor.evaluate(images, labels, np.arange(40))
    logits, _ = read_logits(executor, images)
    assert correct == 40
    assert (logits.argmax(axis=1) == labels).all()
    assert (predicted_classes(outputs) == labels).all()
    np.testing.assert_allclose(outputs, (sign + 1) / 2, rtol=0, atol=2 * EPS)


def test_lanes_without_an_image_contribute_nothing():
    network = flat_network("binary_cross_entropy", 1, "sigmoid")
    images, labels = draw()
    executor = executor_for(network)
    sums = np.zeros(21)
    for image in range(5):
        loss, _, found = gradients(executor, images, labels, np.array([image]))
        sums += [*found["dense1.kernel"][0], loss]
    loss, _, found = gradients(executor, images, labels, np.arange(5))
    np.testing.assert_allclose([*found["dense1.kernel"][0], loss], sums / 5, rtol=0, atol=8 * EPS)


def test_tiny15_equals_pytorch():
    """The network of handouts 000 to 002: 15 parameters, one image or a batch of m."""
    layers = [
        Conv(channels=1, kernel_size=3, activation="relu"),
        MaxPool(size=2),
        Flatten(),
        Dense(units=1, activation="sigmoid"),
    ]
    network = Network(layers, (6, 6, 1), name="tiny15")
    assert network.parameter_count == 9 + 1 + 4 + 1 == 15
    assert network.loss.name == "binary_cross_entropy"
    executor = executor_for(network)
    rng = np.random.default_rng(2)
    images, labels = rng.integers(0, 256, (COUNT, 1, 6, 6), np.uint8), rng.integers(0, 2, COUNT)
    for count in (1, 16, COUNT):
        loss, _, found = gradients(executor, images, labels, np.arange(count))
        leaves = leaves_of(executor)
        functional = torch.nn.functional
        x = functional.conv2d(torch.tensor(images[:count] / 255.0), leaves["conv1.kernel"], leaves["conv1.bias"])
        x = functional.max_pool2d(x.relu(), 2).flatten(1)
        z = x @ leaves["dense1.kernel"].T + leaves["dense1.bias"]
        expected = torch_loss("binary_cross_entropy", z, labels[:count], 0)
        expected.backward()
        assert loss == pytest.approx(expected.item(), abs=8 * EPS * count**0.5)
        for name, leaf in leaves.items():
            np.testing.assert_allclose(found[name], leaf.grad, rtol=0, atol=64 * EPS, err_msg=name)


def test_one_table_says_what_fits():
    assert losses_for("softmax") == ("sparse_categorical_cross_entropy", "categorical_cross_entropy")
    assert losses_for("sigmoid") == ("binary_cross_entropy", "mean_squared_error")
    assert losses_for("none") == losses_for("tanh") == ("mean_squared_error",)
    text = "data: {name: digits}\nnetwork: {layers: [flatten, {type: dense, units: 1, activation: sigmoid}]}"
    assert fitting_losses(read_config(text, "x").config.network) == losses_for("sigmoid")
    with pytest.raises(ValueError, match="expected mean_squared_error for the last activation relu, found binary"):
        loss_for("binary_cross_entropy", "relu")
    with pytest.raises(LayerError, match="loss: expected mean_squared_error"):
        Network([Flatten(), Dense(units=3)], (2, 2, 1), loss="binary_cross_entropy")


def test_sigmoid_is_fused_for_cross_entropy_alone():
    names = [
        [unit.name for unit in flat_network(loss, 1, "sigmoid").units]
        for loss in ("binary_cross_entropy", "mean_squared_error")
    ]
    assert names == [["flatten1", "dense1"], ["flatten1", "dense1", "dense1_sigmoid"]]
    layers = [Flatten(), Dense(units=1), Activation(function="sigmoid")]
    assert [unit.name for unit in Network(layers, (2, 2, 1)).units] == ["flatten1", "dense1"]


def test_outputs_fit_the_classes():
    softmax, binary = LOSSES["sparse_categorical_cross_entropy"], LOSSES["binary_cross_entropy"]
    assert fitting_outputs(softmax, 10) == fitting_outputs(binary, 10) == (10,)
    assert (fitting_outputs(softmax, 2), fitting_outputs(binary, 2)) == ((2,), (1, 2))
    assert outputs_misfit(binary, 1, 2) is outputs_misfit(softmax, 10, 10) is None
    assert outputs_misfit(softmax, 5, 10) == (
        "expected 10 outputs for 10 classes and sparse_categorical_cross_entropy, found 5; give the last layer 10 units"
    )
    assert "2 units, or end with sigmoid" in outputs_misfit(softmax, 1, 2)
    assert "give the last layer 1 or 2 units" in outputs_misfit(binary, 3, 2)
