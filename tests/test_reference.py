"""The plain-loop twins against the handouts, PyTorch's float64 autograd, and finite differences."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from peer import FUNCTIONS, padded, tensor
from torch.nn import functional

from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.kernels.reference import layers as reference
from lenumba.kernels.reference import steps as reference_steps

NONE = (0, 0, 0, 0)
EXACT = {"rtol": 1e-10, "atol": 1e-10}  # float64 sums of at most 10⁴ terms of size 1: 10⁴·2⁻⁵³ ≈ 10⁻¹²

# kernel, stride, (top, left, bottom, right)
GEOMETRIES = [
    ((3, 3), (1, 1), NONE),
    ((2, 3), (1, 1), NONE),
    ((3, 3), (2, 1), (1, 1, 1, 1)),
    ((5, 1), (1, 3), (2, 0, 1, 3)),
    ((1, 4), (3, 2), (0, 1, 2, 2)),
    ((2, 2), (3, 3), NONE),
]


def handout_image() -> np.ndarray:
    return np.array(
        [
            [1, 6, 9, 10, 2, 8],
            [2, 5, 1, 8, 4, 2],
            [3, 7, 4, 9, 10, 3],
            [9, 8, 3, 6, 7, 9],
            [8, 0, 9, 4, 7, 2],
            [9, 10, 12, 6, 9, 8],
        ],
        np.float64,
    )[None, None]


def same(found, expected) -> None:
    np.testing.assert_allclose(found, np.asarray(expected), **EXACT)


def test_vertical_edge_filter_gives_the_handout_result():
    w = np.tile([1.0, 0.0, -1.0], (3, 1))[None, None]
    y = reference.conv_forward(handout_image(), w, np.zeros(1), (1, 1), NONE)
    expected = [[-8, -9, -2, 14], [6, -3, -13, 9], [4, -4, -8, 5], [2, 2, 1, -3]]
    assert np.array_equal(y[0, 0], expected)


def test_max_pool_sends_the_gradient_to_the_maximum_as_in_the_handout():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])[None, None]
    dx = reference.max_pool_backward(x, np.full((1, 1, 1, 1), 2.0), (2, 2), (2, 2), NONE)
    assert np.array_equal(dx[0, 0], [[0, 0], [0, 2]])


def test_of_equal_maxima_the_first_in_reading_order_gets_the_gradient():
    x = np.array([[0.0, 4.0], [4.0, 4.0]])[None, None]
    dx = reference.max_pool_backward(x, np.ones((1, 1, 1, 1)), (2, 2), (2, 2), NONE)
    assert np.array_equal(dx[0, 0], [[0, 1], [0, 0]])


def test_relu_has_derivative_zero_at_zero():
    assert reference_steps.relu_derivative(0.0) == 0
    assert reference_steps.leaky_relu_derivative(0.0) == 0.01


def test_flipped_convolution_is_correlation_with_rotated_kernels():
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(4, 3, 3, 2)), rng.normal(size=4)
    turned = np.ascontiguousarray(w[:, :, ::-1, ::-1])
    same(reference.flipped_conv_forward(x, w, b), reference.conv_forward(x, turned, b, (1, 1), NONE))


@pytest.mark.parametrize(("n", "f", "s"), [(7, 3, 2), (6, 3, 1), (28, 5, 1), (8, 3, 2), (5, 5, 3)])
def test_output_has_the_size_of_the_corrected_stride_formula(n, f, s):
    y = reference.conv_forward(np.ones((1, 1, n, n)), np.ones((1, 1, f, f)), np.zeros(1), (s, s), NONE)
    places = [i for i in range(n) if i % s == 0 and i + f <= n]  # where the kernel fits, counted
    assert y.shape[2:] == ((n - f) // s + 1,) * 2 == (len(places),) * 2


@pytest.mark.parametrize(("size", "stride", "padding"), GEOMETRIES)
def test_convolution_and_its_gradients_equal_pytorch(size, stride, padding):
    rng = np.random.default_rng(1)
    x, w, b = rng.normal(size=(3, 2, 7, 8)), rng.normal(size=(4, 2, *size)), rng.normal(size=4)
    tx, tw, tb = (tensor(array, grad=True) for array in (x, w, b))
    ty = functional.conv2d(padded(tx, padding, 0.0), tw, tb, stride)
    dy = rng.normal(size=ty.shape)
    ty.backward(tensor(dy))
    same(reference.conv_forward(x, w, b, stride, padding), ty.detach())
    same(reference.conv_weight_gradient(x, dy, size, stride, padding), tw.grad)
    same(reference.conv_bias_gradient(dy), tb.grad)
    same(reference.conv_input_gradient(dy, w, (7, 8), stride, padding), tx.grad)


@pytest.mark.parametrize("kind", ["average", "max"])
@pytest.mark.parametrize(("size", "stride", "padding"), [*GEOMETRIES[:3], ((3, 2), (2, 3), (1, 0, 1, 0))])
def test_pooling_and_its_gradient_equal_pytorch(kind, size, stride, padding):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 2, 7, 8))
    tx = tensor(x, grad=True)
    pool, value = (functional.avg_pool2d, 0.0) if kind == "average" else (functional.max_pool2d, -torch.inf)
    ty = pool(padded(tx, padding, value), size, stride)
    dy = rng.normal(size=ty.shape)
    ty.backward(tensor(dy))
    same(getattr(reference, f"{kind}_pool_forward")(x, size, stride, padding), ty.detach())
    same(getattr(reference, f"{kind}_pool_backward")(x, dy, size, stride, padding), tx.grad)


@pytest.mark.parametrize(("size", "stride", "padding"), [((3, 3), (2, 1), (1, 1)), ((2, 3), (2, 3), (1, 0))])
def test_average_that_leaves_padding_out_equals_pytorch(size, stride, padding):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 2, 7, 8))
    tx = tensor(x, grad=True)
    ty = functional.avg_pool2d(tx, size, stride, padding, count_include_pad=False)
    dy = rng.normal(size=ty.shape)
    ty.backward(tensor(dy))
    same(reference.average_pool_forward(x, size, stride, padding * 2, False), ty.detach())
    same(reference.average_pool_backward(x, dy, size, stride, padding * 2, False), tx.grad)


def test_dense_and_its_gradients_equal_pytorch():
    rng = np.random.default_rng(3)
    x, w, b, dy = (rng.normal(size=size) for size in [(5, 7), (4, 7), (4,), (5, 4)])
    tx, tw, tb = (tensor(array, grad=True) for array in (x, w, b))
    ty = functional.linear(tx, tw, tb)
    ty.backward(tensor(dy))
    same(reference.dense_forward(x, w, b), ty.detach())
    same(reference.dense_weight_gradient(x, dy), tw.grad)
    same(reference.dense_bias_gradient(dy), tb.grad)
    same(reference.dense_input_gradient(dy, w), tx.grad)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation_and_its_derivative_equal_pytorch(name):
    x = np.random.default_rng(4).normal(size=(2, 3, 4, 5)) * 5
    tx = tensor(x, grad=True)
    ty = FUNCTIONS[name](tx)
    ty.backward(torch.ones_like(ty))
    y = reference_steps.activation_forward(getattr(reference_steps, name), x)
    derivative = getattr(reference_steps, f"{name}_derivative")
    same(y, ty.detach())
    known = x if ACTIVATIONS[name].from_input else y
    same(reference_steps.activation_backward(derivative, known, np.ones_like(x)), tx.grad)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_and_its_gradient_equal_pytorch(smoothing):
    rng = np.random.default_rng(5)
    z, label = rng.normal(size=(6, 5)) * 30, rng.integers(0, 5, 6)
    tz = tensor(z, grad=True)
    expected = functional.cross_entropy(tz, torch.tensor(label), label_smoothing=smoothing)
    expected.backward()
    loss, correct, probabilities, dz = reference_steps.softmax_cross_entropy(z, label, smoothing)
    same(loss, expected.item())
    assert correct == (z.argmax(1) == label).sum()
    same(probabilities, torch.softmax(tz, 1).detach())
    same(dz, tz.grad)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "squared_error"])
def test_elementwise_losses_equal_pytorch(name, outputs):
    rng = np.random.default_rng(6)
    z, label = rng.normal(size=(6, outputs)) * 3, rng.integers(0, max(outputs, 2), 6)
    hot = label[:, None] if outputs == 1 else np.eye(outputs)[label]
    smoothing = 0.1 if name == "sigmoid_cross_entropy" else 0.0
    target = torch.tensor((1 - smoothing) * hot + smoothing / 2)
    tz = tensor(z, grad=True)
    peer = functional.binary_cross_entropy_with_logits if smoothing else functional.mse_loss
    expected = peer(tz, target)
    expected.backward()
    loss, correct, values, dz = getattr(reference_steps, name)(z, label, smoothing)
    same(loss, expected.item())
    same(values, torch.sigmoid(tz).detach() if smoothing else z)
    same(dz, tz.grad)
    answers = values[:, 0] >= 0.5 if outputs == 1 else values.argmax(1)
    assert correct == (answers == label).sum()


def test_softmax_of_huge_values_does_not_overflow():
    loss, _, probabilities, _ = reference_steps.softmax_cross_entropy(np.array([[1e4, 0.0]]), np.array([1]), 0.0)
    assert loss == 1e4
    assert np.array_equal(probabilities, [[1, 0]])


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_follows_torch_optim(nesterov):
    rng = np.random.default_rng(6)
    theta, velocity = rng.normal(size=20), np.zeros(20)
    parameter = tensor(theta, grad=True)
    peer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    for gradient in rng.normal(size=(30, 20)):
        reference_steps.sgd(theta, velocity, gradient, 0.1, 0.01, 0.9, nesterov)
        parameter.grad = tensor(gradient)
        peer.step()
    same(theta, parameter.detach())


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_adam_follows_torch_optim(name, kind):
    rng = np.random.default_rng(7)
    theta, m, v = rng.normal(size=20), np.zeros(20), np.zeros(20)
    parameter = tensor(theta, grad=True)
    peer = kind([parameter], lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
    for step, gradient in enumerate(rng.normal(size=(30, 20)), 1):
        getattr(reference_steps, name)(theta, m, v, gradient, 0.01, 0.1, 0.9, 0.999, 1e-8, step)
        parameter.grad = tensor(gradient)
        peer.step()
    same(theta, parameter.detach())


@pytest.mark.parametrize(("size", "stride", "padding"), GEOMETRIES[1:3])
def test_compiled_twins_equal_plain_python_bit_for_bit(size, stride, padding):
    rng = np.random.default_rng(8)
    x, w, b = rng.normal(size=(2, 2, 5, 6)), rng.normal(size=(2, 2, *size)), rng.normal(size=2)
    dy = reference.conv_forward(x, w, b, stride, padding)
    calls = [
        (reference.conv_forward, (x, w, b, stride, padding)),
        (reference.conv_weight_gradient, (x, dy, size, stride, padding)),
        (reference.conv_bias_gradient, (dy,)),
        (reference.conv_input_gradient, (dy, w, (5, 6), stride, padding)),
        (reference.average_pool_backward, (x, dy, size, stride, padding)),
        (reference.max_pool_backward, (x, dy, size, stride, padding)),
    ]
    for twin, arguments in calls:
        assert np.array_equal(twin(*arguments), twin.py_func(*arguments)), twin.__name__


def test_twins_keep_the_dtype_they_are_given():
    x, w = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32)
    assert reference.conv_forward.py_func(x, w, w[0, 0, 0, :1], (1, 1), NONE).dtype == np.float32
    assert reference.average_pool_forward.py_func(x, (2, 2), (1, 1), NONE).dtype == np.float32


BOUNDS = """
import numpy as np
import sys
sys.path.insert(0, sys.argv[1])
from harness import make_network, random_batch, random_parameters
from rounding import run_twin
from lenumba.kernels.reference.twin import reference

try:
    reference(lambda array: array[len(array)])(np.zeros(3))
    sys.exit("bounds are not checked")
except IndexError:
    pass
conv = {"type": "conv", "channels": 2, "kernel_size": [2, 3], "stride": [2, 1], "padding": [1, 0, 2, 1]}
pools = [{"type": kind, "size": 2, "stride": 1, "padding": 1} for kind in ("max_pool", "average_pool")]
layers = [conv, *pools, {"type": "flatten"}, {"type": "dense", "units": 3, "activation": "softmax"}]
network = make_network(layers, (5, 6, 2))
images, labels = random_batch(network, 2)
run_twin(network, network.views(random_parameters(network)), images / 255, labels, 0.1)
"""


def test_twins_stay_within_bounds():
    command = [sys.executable, "-c", BOUNDS, os.path.dirname(__file__)]
    subprocess.run(command, check=True, env=os.environ | {"NUMBA_BOUNDSCHECK": "1"})
