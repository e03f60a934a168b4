"""The shipped recipes: their networks have the sizes that their comments promise, and the drawn ones learn."""

import numpy as np
import pytest
from compiled import executor_for, gradients

from lenumba.engine.common.metrics import predicted_classes
from lenumba.engine.config.config import load_config
from lenumba.engine.config.recipes import recipe_names
from lenumba.engine.data.dataset import load_dataset
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.data.selection import stated_classes
from lenumba.engine.network.layers import Conv, Dense, Flatten
from lenumba.engine.network.layers.dropout import epoch_key
from lenumba.engine.network.losses import outputs_misfit
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.training.build import check_network
from lenumba.engine.training.executor import Executor

COUNTS = {
    "ad-autoencoder": 269992,
    "colour": 1778,
    "digits8x8": 7690,
    "edges": 3408,
    "fashion": 105866,
    "ic-resnet8": 78666,
    "kws-dscnn": 24908,
    "lenet": 6070,
    "lenet-best": 6070,
    "lenet-transfer": 5815,
    "lenet-tune": 6070,
    "lenet5": 61706,
    "mlp": 6370,
    "mlp-wide": 101770,
    "mnist1d": 21114,
    "quickstart": 6070,
    "tiny15": 15,
    "two-pool": 5994,
    "vww-mobilenet": 221794,
}


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_fits_its_data_and_has_the_promised_parameters(name):
    loaded = load_config(name)
    network = check_network(loaded)
    assert network.parameter_count == COUNTS[name]
    assert outputs_misfit(network.loss, network.outputs, stated_classes(loaded) or network.outputs) is None


@pytest.mark.parametrize(("name", "accuracy"), [("tiny15", 0.95), ("colour", 0.95)])
def test_drawn_recipe_learns(name, accuracy):
    config = load_config(name).config
    dataset = load_dataset(config.data.name)
    network = Network(config.network.layers, dataset.image_shape, loss=config.loss_name, name=name)
    optimizer = make_optimizer(config.optimizer)
    count, size = len(dataset.train_labels), config.data.batch_size
    normalization = Normalization(*dataset.mean_and_std(np.arange(count)))
    executor = Executor(network, network.compile(optimizer), optimizer, normalization=normalization, threads=1)
    executor.theta[:] = network.initial_parameters(0)
    images, tests = (
        np.ascontiguousarray(part.transpose(0, 3, 1, 2)) for part in (dataset.train_images, dataset.test_images)
    )
    steps = -(-count // size)
    for epoch in range(config.train.epochs):
        order = np.random.default_rng(epoch).permutation(count)
        rates = optimizer.hyper(np.full(steps, config.optimizer.learning_rate), 1 + epoch * steps)
        executor.train(images, dataset.train_labels, order, size, rates, key=epoch_key(0, epoch))
    outputs = executor.evaluate(tests, dataset.test_labels, np.arange(len(tests)))[1]
    assert (predicted_classes(outputs) == dataset.test_labels).mean() >= accuracy


def test_edge_filters_stay_as_they_are():
    config = load_config("edges").config
    network = Network(config.network.layers, (28, 28, 1))
    executor = executor_for(network)
    before = network.views(executor.theta)["conv1.kernel"].copy()
    np.testing.assert_array_equal(before[0, 0], [[1, 0, -1]] * 3)
    np.testing.assert_array_equal(before[1, 0], np.transpose([[1, 0, -1]] * 3))
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (64, 1, 28, 28), np.uint8), rng.integers(0, 10, 64)
    dense = network.views(executor.theta)["dense1.kernel"].copy()
    rates = executor.optimizer.hyper(np.full(4, 0.5), 1)
    executor.train(images, labels, np.arange(64), 16, rates)
    np.testing.assert_array_equal(network.views(executor.theta)["conv1.kernel"], before)
    assert not np.array_equal(network.views(executor.theta)["dense1.kernel"], dense)


def test_convolution_is_correlation_with_rotated_kernels():
    """Handout 004 against 000 to 003: the same numbers, forward and backward."""
    kernel = np.random.default_rng(0).normal(size=(2, 3, 3, 2)).round(3)

    def network(orientation, kernel):
        conv = Conv(channels=2, kernel_size=(3, 2), orientation=orientation, kernel=kernel.tolist(), activation="tanh")
        return Network([conv, Flatten(), Dense(units=4, activation="softmax")], (6, 5, 3), name="orientation")

    convolution = executor_for(network("convolution", kernel))
    correlation = executor_for(network("correlation", kernel[..., ::-1, ::-1]))
    rng = np.random.default_rng(1)
    images, labels = rng.integers(0, 256, (20, 3, 6, 5), np.uint8), rng.integers(0, 4, 20)
    np.testing.assert_array_equal(convolution.theta, correlation.theta)
    np.testing.assert_array_equal(
        convolution.network.views(convolution.theta)["conv1.kernel"], kernel.astype(np.float32)
    )
    found, expected = (gradients(executor, images, labels) for executor in (convolution, correlation))
    assert found[:2] == expected[:2]
    for name, gradient in found[2].items():
        turned = expected[2][name][..., ::-1, ::-1] if name == "conv1.kernel" else expected[2][name]
        np.testing.assert_array_equal(gradient, turned)
