"""Several labels, numbers, or the input as target: losses and steps as PyTorch's, figures as scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from lenumba.engine.common.measures import measure_input, measure_labels, measure_numbers
from lenumba.engine.config.sections import Optimizer
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.network.layers import BatchNorm, Conv, Dense, Flatten
from lenumba.engine.network.losses import LOSSES, loss_misfit
from lenumba.engine.network.network import LayerError, Network
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.executor import Executor

SHAPE, COUNT, BATCH, STEPS, RATE = (4, 5, 2), 37, 37, 5, 0.01
EPS = 2.0**-23
CONFIG = Optimizer(name="adam", learning_rate=RATE, epsilon=0.1)  # a small one would turn rounding into whole steps


def network_of(target: str, batch: int | None = None) -> Network:
    """A convolution and a dense layer; the autoencoder sees its input with margins, which are no part of the target."""
    outputs, activation = (int(np.prod(SHAPE)), "none") if target == "input" else (3, "none")
    last = Dense(units=outputs, activation="sigmoid" if target == "labels" else activation)
    layers = [Conv(channels=3, kernel_size=3, padding=1, activation="tanh"), Flatten(), last]
    return Network(layers, SHAPE, batch_size=batch, pixels="float32", target=target, weighted=True)


def batch_of(target: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    images = planar(rng.normal(2, 3, (COUNT, *SHAPE)).astype(np.float32))
    if target == "labels":
        return images, rng.integers(0, 2, (COUNT, 3)).astype(np.float32)
    return images, rng.normal(0, 2, (COUNT, 3)).astype(np.float32) if target == "numbers" else np.zeros(COUNT, np.int64)


def torch_loss(target: str, parameters: dict, images: np.ndarray, truth: np.ndarray, smoothing: float):
    """The loss of a whole batch in float64."""
    x = (torch.tensor(images.astype(np.float64)) - 2) / 3
    functional = torch.nn.functional
    y = torch.tanh(functional.conv2d(x, parameters["conv1.kernel"], parameters["conv1.bias"], padding=1))
    z = functional.linear(y.flatten(1), parameters["dense1.kernel"], parameters["dense1.bias"])
    if target == "labels":
        smoothed = torch.tensor(truth.astype(np.float64)) * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(z, smoothed)
    return functional.mse_loss(z, x.flatten(1) if target == "input" else torch.tensor(truth.astype(np.float64)))


@pytest.mark.parametrize(
    ("target", "batch", "smoothing"),
    [("labels", None, 0.2), ("numbers", None, 0.0), ("input", None, 0.0), ("input", 1, 0.0)],
)
def test_losses_gradients_and_five_steps_equal_pytorch_s_in_float64(target, batch, smoothing):
    network, optimizer = network_of(target, batch), make_optimizer(CONFIG)
    images, truth = batch_of(target)
    normalization = Normalization(np.full(2, 2.0), np.full(2, 3.0), 1.0)
    executor = Executor(
        network, network.compile(optimizer), optimizer, normalization=normalization, threads=2, smoothing=smoothing
    )
    executor.theta[:] = network.initial_parameters(1)
    leaves = {
        name: torch.tensor(v.astype(np.float64), requires_grad=True)
        for name, v in network.views(executor.theta).items()
    }
    peer = torch.optim.Adam(leaves.values(), lr=RATE, eps=0.1)
    order = np.arange(COUNT)
    for step in range(STEPS):
        expected = torch_loss(target, leaves, images, truth, smoothing)
        mean, outputs = executor.evaluate(images, truth, order)
        assert mean == pytest.approx(expected.item(), rel=1e-5)
        assert outputs.shape == (COUNT, network.outputs)
        _, totals = executor.train(images, truth, order, BATCH, optimizer.hyper(np.full(1, RATE), step + 1))
        assert totals[0] / COUNT == pytest.approx(expected.item(), rel=1e-5)
        right = ((outputs >= 0.5) == (truth == 1)).all(1).sum() if target == "labels" else 0
        assert totals[1] == right
        peer.zero_grad()
        expected.backward()
        if step == 0:  # the first moment is a tenth of the first gradient
            moments = network.views(executor.state[: network.size])
            for name, leaf in leaves.items():
                gradient = leaf.grad.numpy()
                np.testing.assert_allclose(
                    moments[name] / (1 - CONFIG.beta1), gradient, rtol=0, atol=300 * EPS * np.abs(gradient).max()
                )
        peer.step()
    for name, view in network.views(executor.theta).items():
        np.testing.assert_allclose(view, leaves[name].detach().numpy(), rtol=0, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("target", ["labels", "numbers", "input"])
def test_an_image_s_gradient_counts_by_its_weight_and_absent_lanes_count_nothing(target):
    network, optimizer = network_of(target), make_optimizer(CONFIG)
    images, truth = batch_of(target)
    normalization = Normalization(np.zeros(2), np.ones(2), 1.0)
    executor = Executor(network, network.compile(optimizer), optimizer, normalization=normalization, threads=1)
    executor.theta[:] = network.initial_parameters(1)

    def gradient(order: np.ndarray, weights: np.ndarray) -> np.ndarray:
        executor.state[:] = 0
        hyper = optimizer.hyper(np.zeros(1), 1)
        executor.train(images, truth, order, len(order), hyper, weights=weights.astype(np.float32))
        return executor.state[: network.size].copy()

    ones, twice = np.ones(COUNT), np.ones(COUNT)
    twice[3] = 2
    five = gradient(np.arange(5), twice) * 5
    six = gradient(np.array([0, 1, 2, 3, 3, 4]), ones) * 6
    np.testing.assert_allclose(five, six, rtol=0, atol=30 * EPS * np.abs(six).max())


def test_figures_of_labels_equal_scikit_learn_s():
    rng = np.random.default_rng(0)
    truth, outputs = rng.integers(0, 2, (200, 4)), np.round(rng.random((200, 4)), 2).astype(np.float32)
    found = measure_labels(0.5, outputs, truth)
    yes = outputs >= 0.5
    assert found.figures["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, yes))
    assert found.figures["hamming"] == pytest.approx(1 - sklearn_metrics.hamming_loss(truth, yes))
    assert found.figures["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(truth, yes, average="macro"))
    average = sklearn_metrics.average_precision_score(truth, outputs, average=None)
    np.testing.assert_allclose(found.each["average_precision"], average)
    assert found.figures["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(truth, outputs, average="macro"))
    truth[:, 1] = 0  # a label that never occurs has no AUC, and does not count
    found = measure_labels(0.5, outputs, truth)
    assert found.each["auc"][1] is None
    assert found.each["average_precision"][1] is None
    kept = [0, 2, 3]
    assert found.figures["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(truth[:, kept], outputs[:, kept]))


def test_figures_of_numbers_equal_scikit_learn_s_and_a_constant_one_has_no_r2():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(100, 3)) * [1, 10, 1000] + 1e4
    outputs = truth + rng.normal(size=(100, 3))
    found = measure_numbers(0.5, outputs, truth)
    assert found.figures["r2"] == pytest.approx(sklearn_metrics.r2_score(truth, outputs))
    np.testing.assert_allclose(found.each["r2"], sklearn_metrics.r2_score(truth, outputs, multioutput="raw_values"))
    assert found.figures["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(truth, outputs))
    assert found.figures["rmse"] == pytest.approx(sklearn_metrics.mean_squared_error(truth, outputs) ** 0.5)
    truth[:, 0] = 3
    assert measure_numbers(0.5, outputs, truth).each["r2"][0] is None
    assert measure_numbers(0.5, outputs[:, :1], truth[:, :1]).score("r2") == -np.inf


def test_auc_of_errors_equals_scikit_learn_s_and_needs_both_kinds():
    rng = np.random.default_rng(0)
    errors, strange = np.round(rng.random(300), 2), rng.random(300) < 0.2
    found = measure_input(0.1, errors, strange)
    assert found.figures["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(strange, errors))
    assert found.figures["normal_loss"] == pytest.approx(errors[~strange].mean())
    assert measure_input(0.1, errors, np.zeros(300, bool)).figures == {}
    assert found.score("loss") == -0.1


@pytest.mark.parametrize(
    ("target", "activation", "expected"),
    [
        ("labels", "softmax", "expected sigmoid (binary_cross_entropy) in the last layer for data.target = labels"),
        ("numbers", "softmax", "expected no activation (mean_squared_error) in the last layer"),
        ("input", "sigmoid", None),
        ("numbers", "relu", None),
    ],
)
def test_a_last_activation_fits_a_target_or_the_line_says_which_does(target, activation, expected):
    found = loss_misfit("auto", activation, target)
    assert (found is None) == (expected is None)
    assert expected is None or expected in found


def test_an_autoencoder_has_an_output_for_each_value_of_its_input():
    with pytest.raises(LayerError, match="expected 40 outputs, one for each value of the input, found 39"):
        Network([Flatten(), BatchNorm(), Dense(units=39)], SHAPE, target="input")


def test_every_loss_names_a_kernel_for_each_of_its_targets():
    for loss in LOSSES.values():
        assert all(loss.kernel_for(target) in loss.kernels() for target in loss.targets)
