"""Shapes, parameters, memory, and whole networks in plain loops."""

import numpy as np
import pytest
import torch
from harness import lenet, make_network, random_batch, random_parameters
from peer import torch_network
from rounding import run_twin
from test_generated import draw_network

from lenumba.engine.explain import plain
from lenumba.engine.network.layers import Node
from lenumba.engine.network.network import LayerError

FLATTEN = {"type": "flatten"}
SOFTMAX = {"type": "dense", "units": 3, "activation": "softmax"}


def test_lenet_has_the_parameters_that_the_handout_lists():
    sizes = [int(np.prod(parameter.shape)) for parameter in lenet().parameters.values()]
    assert sizes == [100, 4, 600, 6, 4800, 50, 500, 10]
    assert lenet().parameter_count == 6070


def test_initial_kernels_fill_the_glorot_bounds_and_biases_are_zero():
    network = lenet()
    views = network.views(network.initial_parameters(0))
    bounds = {"conv1": 6 / 125, "conv2": 6 / 250, "dense1": 6 / 146, "dense2": 6 / 60}
    for name, square in bounds.items():
        kernel, bound = np.abs(views[f"{name}.kernel"]), np.float32(np.sqrt(square))
        # Of n uniform draws, none reaches 90 % of the bound with probability 0.9ⁿ: 3·10⁻⁵ for the smallest kernel.
        assert 0.9 * bound < kernel.max() <= bound
        assert not views[f"{name}.bias"].any()


@pytest.mark.parametrize(("n", "f", "s"), [(7, 3, 2), (8, 3, 2), (28, 5, 1), (9, 2, 4), (5, 5, 3)])
def test_output_shape_follows_the_corrected_stride_formula(n, f, s):
    conv = {"type": "conv", "channels": 2, "kernel_size": f, "stride": s}
    size = (n - f) // s + 1
    assert make_network([conv, FLATTEN, SOFTMAX], (n, n, 1)).units[0].output == (2, size, size)


def test_same_padding_keeps_the_size_divided_by_the_stride_and_rounded_up():
    for n in range(1, 12):
        for f in range(1, 6):
            for s in range(1, 4):
                conv = {"type": "conv", "channels": 1, "kernel_size": f, "stride": s, "padding": "same"}
                assert make_network([conv, FLATTEN, SOFTMAX], (n, n, 1)).units[0].output[1] == -(-n // s)


@pytest.mark.parametrize(
    ("layers", "index", "reason"),
    [
        ([{"type": "conv", "channels": 1, "kernel_size": 9}, FLATTEN, SOFTMAX], 0, "larger than its 6×6 input"),
        ([{"type": "max_pool", "size": 7}, FLATTEN, SOFTMAX], 0, "7×7 window is larger than its 6×6 input"),
        ([{"type": "global_max_pool"}, {"type": "max_pool", "size": 1}, SOFTMAX], 1, "cannot follow a flat layer"),
        ([SOFTMAX], 0, "needs a flat input"),
        ([{"type": "activation", "function": "softmax"}], 0, "expected a layer before the loss, found none"),
        ([{"type": "activation", "function": "none"}], 0, "expected a layer before the loss, found none"),
        ([FLATTEN, {"type": "max_pool", "size": 1}, SOFTMAX], 1, "cannot follow a flat layer"),
    ],
)
def test_layer_that_does_not_fit_is_named(layers, index, reason):
    with pytest.raises(LayerError, match=reason) as caught:
        make_network(layers, (6, 6, 1))
    assert caught.value.path == str(index)


@pytest.mark.parametrize(
    ("pool", "height", "width", "note"),
    [
        ({"size": 2}, 7, 9, "drops the last row and the last column of its 7×9 input"),
        ({"size": 3}, 8, 9, "drops the last 2 rows of its 8×9 input"),
        ({"size": 3, "stride": 2}, 7, 8, "drops the last column of its 7×8 input"),
        ({"size": 2, "padding": 1}, 7, 9, ""),  # what is left over is padding
        ({"size": 2, "stride": 3}, 8, 8, ""),  # what lies between windows is not at the end
        ({"size": 2}, 6, 8, ""),
    ],
)
@pytest.mark.parametrize("kind", ["average", "max"])
def test_pool_drops_what_fills_no_window_and_says_so(kind, pool, height, width, note):
    unit = make_network([{"type": f"{kind}_pool", **pool}, FLATTEN, SOFTMAX], (height, width, 2)).units[0]
    peer = torch.nn.AvgPool2d if kind == "average" else torch.nn.MaxPool2d
    made = peer(pool["size"], pool.get("stride"), pool.get("padding", 0))(torch.zeros(1, 2, height, width))
    assert unit.output == tuple(made.shape[1:])
    assert unit.layer.note(unit.shape) == note


def test_flatten_shares_its_inputs_memory_and_protects_what_an_activation_needs():
    relu, tanh = ({"type": "activation", "function": name} for name in ("relu", "tanh"))
    starts = [tensor.start for tensor in make_network([relu, FLATTEN, tanh, SOFTMAX], (2, 2, 1)).layout.tensors]
    assert starts[1] == starts[2]
    assert starts[3] not in starts[:3]


def test_activation_whose_derivative_needs_its_input_keeps_it():
    layers = [{"type": "conv", "channels": 2, "kernel_size": 1, "activation": "silu"}, FLATTEN, SOFTMAX]
    network = make_network(layers, (4, 4, 1))
    x, y = network.layout.tensors[1:3]
    assert x.start != y.start
    (backward,) = network.units[1].layer.backward(
        Node(x=x, y=y, dx=x, dy=y, parameters={}, gradients={}, scratch=x.interior, temporary=x.interior, registers=32)
    )
    assert backward["x"] == x.interior


def test_activation_none_is_no_unit():
    network = make_network([FLATTEN, {"type": "activation", "function": "none"}, SOFTMAX], (2, 2, 1))
    assert [unit.name for unit in network.units] == ["flatten1", "dense1"]


def test_flipped_orientation_with_rotated_kernels_gives_the_same_numbers():
    kernel = np.random.default_rng(0).normal(size=(2, 1, 3, 2))
    results = []
    for orientation, given in [("correlation", kernel), ("convolution", kernel[:, :, ::-1, ::-1])]:
        conv = {"type": "conv", "channels": 2, "kernel_size": [3, 2], "kernel": given.tolist()}
        network = make_network([conv | {"orientation": orientation}, FLATTEN, SOFTMAX], (6, 5, 1))
        theta = network.initial_parameters(0)
        results.append((theta, run_twin(network, network.views(theta), *random_batch(network, 4))))
    (theta, one), (flipped_theta, other) = results
    assert np.array_equal(theta, flipped_theta)  # memory, and so the program's numbers, are the same
    assert np.array_equal(one.outputs, other.outputs)
    assert np.array_equal(one.gradients["conv1.kernel"], other.gradients["conv1.kernel"][:, :, ::-1, ::-1])


def test_twin_networks_equal_pytorch():
    tested = set()
    for seed in range(60):
        network, layers = draw_network(seed)
        parameters = network.views(random_parameters(network, seed))
        images, labels = random_batch(network, 5, seed)
        images = images / 255 - 0.3
        found = run_twin(network, parameters, images, labels, 0.1)
        loss, outputs, gradients = torch_network(network, parameters, images, labels, 0.1)
        np.testing.assert_allclose(found.loss, loss, rtol=1e-10)
        np.testing.assert_allclose(found.outputs, outputs, rtol=1e-10, atol=1e-10)
        for name, gradient in found.gradients.items():
            np.testing.assert_allclose(gradient, gradients[name], rtol=1e-10, atol=1e-10, err_msg=str(layers))
        tested |= {unit.layer.type for unit in network.units}
    pools = {"average_pool", "max_pool", "global_average_pool", "global_max_pool"}
    assert tested == {"conv", "flatten", "dense", "activation"} | pools


@pytest.mark.parametrize("seed", range(4))
def test_twin_gradients_equal_finite_differences(seed):
    functions = ("tanh", "sigmoid", "leaky_relu", "relu")
    conv = {"type": "conv", "channels": 2, "kernel_size": [3, 2], "stride": [2, 1], "padding": "same"}
    layers = [conv | {"activation": functions[seed]}, {"type": "average_pool", "size": 2, "stride": 1}]
    layers += [{"type": "max_pool", "size": 2, "padding": 1, "stride": 1}, FLATTEN, SOFTMAX]
    network = make_network(layers, (5, 4, 2))
    images, labels = random_batch(network, 3, seed)
    images = images / 255
    parameters = {
        name: view.astype(np.float64) for name, view in network.views(random_parameters(network, seed)).items()
    }
    _, _, gradients = plain.loss_and_gradients(network, parameters, images, labels, 0.1)
    h = 1e-6  # truncation h² and rounding 2⁻⁵³/h are both near 10⁻¹⁰
    for name, gradient in gradients.items():
        for place in np.ndindex(gradient.shape):
            sides = []
            for step in (h, -h):
                moved = parameters | {name: parameters[name].copy()}
                moved[name][place] += step
                sides.append(plain.loss_and_gradients(network, moved, images, labels, 0.1)[0])
            assert (sides[0] - sides[1]) / (2 * h) == pytest.approx(gradient[place], abs=1e-8)
