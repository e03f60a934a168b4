"""The float64 twin of a whole network, and how far float32 may be from it."""

from collections.abc import Callable

import numpy as np
from harness import Result

from lenumba.engine.explain import plain
from lenumba.engine.network.layers.fast_conv import FastConv
from lenumba.engine.network.network import Network
from lenumba.kernels.vector.points import matrices

UNIT = 2.0**-24  # float32's unit roundoff: half the distance from 1 to the next number


def run_twin(network: Network, parameters: dict, images: np.ndarray, labels: np.ndarray, smoothing=0.0) -> Result:
    outputs = plain.forward(network, parameters, images)
    outcome = plain.judge(network, outputs[-1], labels, smoothing)
    gradients, _ = plain.backward(network, parameters, images, outputs, outcome.dz)
    return Result(outcome.loss, outcome.correct, outcome.outputs, gradients)


def amplification(layer) -> Callable[[np.ndarray], np.ndarray]:
    """What becomes of the sizes of errors where a layer computes at points.

    With y = Aᵀ ((G w) ⊙ (B x)), rounding errors are those of sums of the terms A·G·B·w·x, of which many cancel in the
    result: √(Σ (A·G·B)² / taps) times those of the definition, in each direction. They spread over a whole tile, also
    to where the definition adds up little: so the largest counts everywhere.
    """
    if not isinstance(layer, FastConv):
        return lambda sizes: sizes
    factor = 1.0
    for outputs, taps in layer.transforms:
        a, g, b = (np.array(matrix, np.float64) ** 2 for matrix in matrices(outputs, taps))
        terms = np.einsum("pk,pv,ps->kvs", a, g, b)
        factor *= np.sqrt(max(terms.sum(axes).max() for axes in ((1, 2), (0, 2), (0, 1))) / taps)
    return lambda sizes: np.full_like(sizes, max(1.0, factor) * sizes.max())


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
            gain = amplification(unit.layer)
            squares = {name: array**2 for name, array in own.items()}
            outputs, inputs_here = own["kernel"].shape[:2]
            terms = own["kernel"].size / outputs + 1
            self.forward_noise.append(UNIT * gain(np.sqrt(terms * unit.layer.plain_forward(squares, x**2))))
            dx, gradients = unit.layer.plain_backward(squares, x**2, y, dy**2)
            self.backward_noise.append(UNIT * gain(np.sqrt(own["kernel"].size / inputs_here * dx)))
            for name, gradient in gradients.items():
                self.gradient_noise[f"{unit.name}.{name}"] = UNIT * gain(np.sqrt(dy.size / outputs * gradient))

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
