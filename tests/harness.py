"""What the tests of compiled programs share: small networks, gradients read off a program, and derived tolerances."""

from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from lenumba.engine import plain
from lenumba.engine.executor import Executor
from lenumba.engine.layers import Layer
from lenumba.engine.network import Network
from lenumba.engine.optimizers import Optimizer
from lenumba.kernels.native import Native

UNIT = 2.0**-24  # float32's unit roundoff: half the distance from 1 to the next number
STILL = Optimizer("sgd", 1, lambda rate, step: (0.0, 0.0, 0.0), {"NESTEROV": False})  # leaves the gradient in state


def make_network(layers: list[dict[str, Any]], shape: tuple[int, int, int], name: str = "network") -> Network:
    return Network(TypeAdapter(list[Layer]).validate_python(layers), shape, name=name)


def lenet(function: str = "relu", pool: str = "average_pool", **conv: Any) -> Network:
    layers = [
        {"type": "conv", "channels": 4, "kernel_size": 5, "activation": function, **conv},
        {"type": pool, "size": 2},
        {"type": "conv", "channels": 6, "kernel_size": 5, "activation": function, **conv},
        {"type": pool, "size": 2},
        {"type": "flatten"},
        {"type": "dense", "units": 50, "activation": function},
        {"type": "dense", "units": 10, "activation": "softmax"},
    ]
    return make_network(layers, (28, 28, 1), "lenet")


class Result(NamedTuple):
    loss: float
    correct: int
    outputs: np.ndarray  # probabilities [N, outputs]
    gradients: dict[str, np.ndarray]


def make_executor(
    network: Network, program: Native, theta: np.ndarray, threads: int = 1, smoothing: float = 0.0, optimizer=STILL
) -> Executor:
    channels = network.input_shape[0]
    executor = Executor(
        network, program, optimizer, mean=np.linspace(0.1, 0.3, channels), deviation=np.linspace(0.3, 0.4, channels),
        threads=threads, smoothing=smoothing,
    )  # fmt: skip
    executor.theta[:] = theta
    return executor


def random_batch(network: Network, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (size, *network.input_shape), np.uint8), rng.integers(0, network.outputs, size)


def random_parameters(network: Network, seed: int = 0) -> np.ndarray:
    """Initial parameters whose biases are not zero, so that a forgotten bias shows."""
    flat = network.initial_parameters(seed)
    rng = np.random.default_rng(seed)
    for name, view in network.views(flat).items():
        if name.endswith("bias"):
            view[...] = rng.uniform(-0.3, 0.3, view.shape)
    return flat


def run_program(executor: Executor, images: np.ndarray, labels: np.ndarray) -> Result:
    """One batch through a compiled program: the batch's mean gradient stays in the state of an optimiser at rest."""
    order = np.arange(len(images))
    _, totals = executor.train(images, labels, order, len(images), STILL.hyper(np.zeros(1), 1))
    _, outputs = executor.evaluate(images, labels, order)
    network = executor.network
    gradients = {name: view.astype(np.float64) for name, view in network.views(executor.state).items()}
    return Result(totals[0] / len(images), int(totals[1]), outputs, gradients)


def normalized(executor: Executor, images: np.ndarray) -> np.ndarray:
    scale, shift = executor.scale.astype(np.float64), executor.shift.astype(np.float64)
    return images * scale[:, None, None] + shift[:, None, None]


def run_twin(network: Network, parameters: dict, images: np.ndarray, labels: np.ndarray, smoothing=0.0) -> Result:
    outputs = plain.forward(network, parameters, images)
    outcome = plain.judge(network, outputs[-1], labels, smoothing)
    gradients, _ = plain.backward(network, parameters, images, outputs, outcome.dz)
    return Result(outcome.loss, outcome.correct, outcome.outputs, gradients)


class Rounding:
    """How far float32 may be from the float64 twin, by propagating rounding errors through the twin itself.

    A sum of n products in float32 is off by about u·√n·√(Σ terms²), u the unit roundoff (rounding errors of random
    sign). `Rounding` adds normal noise of MARGIN times that size to every unit's output, gradient and parameters'
    gradients (4·u of the largest value where a unit has no sums to speak of), and takes the largest deviation of each
    tensor over DRAWS runs. Decisions that rounding can turn over (ReLU near 0, nearly equal maxima) are thereby
    turned over, too.
    """

    MARGIN, DRAWS = 2.0, 8

    def __init__(self, network: Network, parameters: dict, images: np.ndarray, labels: np.ndarray, smoothing=0.0):
        self.network, self.images, self.labels, self.smoothing = network, images, labels, smoothing
        self.parameters = {name: np.ascontiguousarray(array, np.float64) for name, array in parameters.items()}
        self.exact = run_twin(network, self.parameters, images, labels, smoothing)
        self.outputs = plain.forward(network, self.parameters, images)
        dz = plain.judge(network, self.outputs[-1], labels, smoothing).dz
        self.deltas = plain.backward(network, self.parameters, images, self.outputs, dz)[1]
        self._measure()
        rng = np.random.default_rng(0)
        draws = [self._draw(rng) for _ in range(self.DRAWS)]
        self.outputs_tolerance = max(np.abs(draw.outputs - self.exact.outputs).max() for draw in draws)
        self.outputs_tolerance += self.MARGIN * 4 * UNIT * self.exact.outputs.max()  # softmax itself
        # Images whose two best outputs are so close that rounding may swap them.
        ranked = np.sort(self.exact.outputs, axis=1)
        self.undecided = int((ranked[:, -1] - ranked[:, -2] <= 2 * self.outputs_tolerance).sum())
        # The loss itself: every image's is rounded, and lane sums are float32.
        self.loss_tolerance = max(abs(draw.loss - self.exact.loss) for draw in draws)
        self.loss_tolerance += self.MARGIN * UNIT * (1 + self.exact.loss)
        self.tolerances = {
            name: max(np.abs(draw.gradients[name] - gradient).max() for draw in draws)
            for name, gradient in self.exact.gradients.items()
        }

    def _measure(self) -> None:
        """Find the size of every unit's rounding errors: forward, backward, and in the parameters' gradients."""
        self.forward_noise, self.backward_noise, self.gradient_noise = [], [], {}
        inputs = [self.images, *self.outputs]
        for k, unit in enumerate(self.network.units):
            own, x, y, dy = plain.own(unit, self.parameters), inputs[k], self.outputs[k], self.deltas[k]
            if not own:
                self.forward_noise.append(4 * UNIT * max(np.abs(x).max(), np.abs(y).max()))
                self.backward_noise.append(4 * UNIT * np.abs(dy).max())
                continue
            squares = {name: array**2 for name, array in own.items()}
            outputs, inputs_here = own["kernel"].shape[:2]
            terms = own["kernel"].size / outputs + 1
            self.forward_noise.append(UNIT * np.sqrt(terms * unit.layer.plain_forward(squares, x**2)))
            dx, gradients = unit.layer.plain_backward(squares, x**2, y, dy**2)
            self.backward_noise.append(UNIT * np.sqrt(own["kernel"].size / inputs_here * dx))
            for name, gradient in gradients.items():
                self.gradient_noise[f"{unit.name}.{name}"] = UNIT * np.sqrt(dy.size / outputs * gradient)

    def _draw(self, rng: np.random.Generator) -> Result:
        def noise(shape, size):
            return self.MARGIN * size * rng.standard_normal(shape)

        x = self.images * (1 + noise(self.images.shape, UNIT))
        inputs, outputs = [x], []
        for unit, size in zip(self.network.units, self.forward_noise, strict=True):
            y = unit.layer.plain_forward(plain.own(unit, self.parameters), inputs[-1])
            # A zero that no rounding made stays one: what ReLU cut off, what padding left out.
            outputs.append(y + np.where(y == 0, 0, noise(y.shape, size)))
            inputs.append(outputs[-1])
        outcome = plain.judge(self.network, outputs[-1], self.labels, self.smoothing)
        dy = (outcome.dz + noise(outcome.dz.shape, 4 * UNIT * outcome.outputs.max() / len(x))).reshape(y.shape)
        gradients = {}
        for k, unit in reversed(list(enumerate(self.network.units))):
            own = plain.own(unit, self.parameters)
            dy, here = unit.layer.plain_backward(own, inputs[k], outputs[k], dy)
            dy = dy + np.where(dy == 0, 0, noise(dy.shape, self.backward_noise[k]))
            gradients |= {f"{unit.name}.{name}": gradient for name, gradient in here.items()}
        for name, size in self.gradient_noise.items():
            gradients[name] = gradients[name] + noise(gradients[name].shape, size)
        return Result(outcome.loss, outcome.correct, outcome.outputs, gradients)

    def excess(self, found: Result) -> dict[str, float]:
        """Return the largest error of each quantity, in units of its tolerance: at most 1 where all is well."""
        excess = {"loss": abs(found.loss - self.exact.loss) / self.loss_tolerance}
        pairs = {"outputs": (found.outputs, self.exact.outputs, self.outputs_tolerance)}
        for name, exact in self.exact.gradients.items():
            pairs[name] = (found.gradients[name], exact, self.tolerances[name])
        for name, (value, exact, tolerance) in pairs.items():
            error = np.abs(value - exact).max()
            excess[name] = 0.0 if error == 0 else float(error / tolerance) if tolerance else np.inf
            if not np.isfinite(value).all():
                excess[name] = np.inf
        return excess
