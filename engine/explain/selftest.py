"""Every kernel against its plain twin: a training step of small networks, compared layer by layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenumba.engine.data.normalization import Normalization
from lenumba.engine.explain import plain
from lenumba.engine.explain.cases import IMAGES, RATE, SHAPE, SMOOTHING, TOLERANCE, Case
from lenumba.engine.network.layers import BatchNorm, Dropout
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.executor import Executor
from lenumba.kernels.program.plan import Tensor
from lenumba.kernels.reference import moves, steps
from lenumba.kernels.reference.norm import batch_moments
from lenumba.kernels.reference.twin import interpreted


@dataclass(frozen=True)
class Outcome:
    """What the self-test of a case found.

    Attributes
    ----------
    kernels
        The kernels that the case calls.
    fault
        What differs from the twins and which kernels may be to blame; None where all agree.
    error
        The largest difference, as a part of its tensor's largest value.
    """

    case: Case
    kernels: frozenset[str]
    cached: bool
    fault: str | None
    error: float


def run_case(case: Case, progress: Callable[[str, int, int], None] | None = None) -> Outcome:
    """Take one training step with the compiled program and with the plain twins, and compare."""
    network, optimizer = case.network, make_optimizer(case.optimizer)
    program = network.compile(optimizer, progress)
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (IMAGES, *SHAPE), np.uint8), rng.integers(0, network.outputs, IMAGES)
    if network.labels == "float32":
        drawn = rng.integers(0, 2, (IMAGES, network.outputs)).astype(np.float32)
        labels = moves.pack_targets(drawn, np.arange(IMAGES))
    normalization = Normalization(np.array([0.4, 0.6]), np.array([0.3, 0.2]))
    smoothing = SMOOTHING if network.loss.smooths else 0.0
    executor = Executor(network, program, optimizer, normalization=normalization, threads=1, smoothing=smoothing)
    executor.theta[:] = network.initial_parameters(0)
    for name, view in network.views(executor.theta).items():
        if name.endswith("bias"):
            view[...] = rng.uniform(-0.3, 0.3, view.shape)  # at zero, a forgotten one would not show
    before = {name: view.astype(np.float64) for name, view in network.views(executor.theta).items()}
    images, order = planar(pixels.astype(case.pixels)), np.arange(1 if case.answers else IMAGES)
    evaluated = executor.evaluate(images, labels, order)
    step = StepCheck(case, network, executor)
    if case.answers:
        with interpreted():
            step.evaluation(before, normalization(images[:1]), labels[:1], smoothing, evaluated)
        return step.outcome(program.cached)
    hyper = optimizer.hyper(np.full(1, RATE), 1)
    weights = moves.weigh(rng.uniform(0.1, 3.0, IMAGES).astype(np.float32), order) if case.weighted else None
    _, totals = executor.train(images, labels, order, IMAGES, hyper, key=1, weights=weights)
    normalized = normalization(images)
    targets = normalized.reshape(IMAGES, -1) if network.target == "input" else labels
    with interpreted():  # on few small images that is quicker than compiling them
        outputs = step.forward(before, normalized)
        gradients = step.backward(before, normalized, outputs, targets, smoothing, weights, totals)
        step.update(before, gradients)
        step.evaluation(before, normalized, targets, smoothing, evaluated)
        step.statistics(before, normalized, outputs)
    return step.outcome(program.cached)


class StepCheck:
    """Compares a step's values in the order in which they are computed; `fault` is the first that differs."""

    def __init__(self, case: Case, network: Network, executor: Executor) -> None:
        self.case, self.network, self.executor = case, network, executor
        self.plan = network.plan(executor.optimizer)
        self.fault: str | None = None
        self.error = 0.0

    def outcome(self, cached: bool) -> Outcome:
        """Return what was found."""
        return Outcome(self.case, frozenset(self.case.kernels), cached, self.fault, self.error)

    def check(self, what: str, found: Any, expected: Any, suspects: list[str]) -> None:
        """Note a fault where arrays differ, and the kernels that may have made it."""
        found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
        error = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-3))
        if not error <= TOLERANCE and self.fault is None:  # NaN is a fault, too
            blamed = ", ".join(dict.fromkeys(suspects))
            self.fault = f"{self.case.name}: {what} differs by {error:.1e} of its size; suspected: {blamed}"
        self.error = max(self.error, error)

    def kernels(self, *steps: str) -> list[str]:
        """Return the kernels of the steps of these names."""
        calls = [call for step in self.plan.steps if step.name in steps for call in step.calls]
        return list(dict.fromkeys(name for call in calls for name in sorted(call.functions)))

    def passes(self, phase: str, layer: str) -> list[str]:
        """Return the names of a layer's steps in a pass."""
        return [step.name for step in self.plan.steps if (step.phase, step.layer) == (phase, layer)]

    def evaluation(self, parameters: Any, images: Any, labels: Any, smoothing: float, found: Any) -> None:
        """Compare the outputs and the loss of an evaluation."""
        z = plain.forward(self.network, parameters, images)[-1]
        expected = plain.judge(self.network, z, labels, smoothing)
        suspects = [
            *self.kernels(*(step.name for step in self.plan.block("evaluation"))),
            self.network.loss.kernel_for(self.network.target),
        ]
        self.check("an evaluation's output", found[1], expected.outputs, suspects)
        self.check("an evaluation's loss", found[0], expected.loss, suspects)

    def statistics(self, parameters: Any, images: np.ndarray, outputs: list[np.ndarray]) -> None:
        """Compare what the step made of the running statistics of batch norms."""
        updated = self.network.views(self.executor.theta)
        for unit in self.network.units:
            if isinstance(unit.layer, BatchNorm):
                found = batch_moments(plain.inputs_of(unit, [images, *outputs]))
                count = outputs[0].shape[0] * unit.shape[1] * unit.shape[2]
                unbiased = found[1] * count / (count - 1)
                for name, moment in (("running_mean", found[0]), ("running_var", unbiased)):
                    before = parameters[f"{unit.name}.{name}"]
                    expected = before + unit.layer.momentum * (moment - before)
                    what = f"the {name} of {unit.name}"
                    self.check(what, updated[f"{unit.name}.{name}"], expected, ["norm_sums", "norm_forward"])

    def forward(self, parameters: Any, images: np.ndarray) -> list[np.ndarray]:
        """Compare what each layer computed while training; return the twins' float64 [N, C, H, W]."""
        layout, work = self.network.layout, self.executor.memory[0]
        outputs: list[np.ndarray] = []
        self.masks: dict[int, np.ndarray] = {}
        suspects = self.kernels("pack_images")
        for k, unit in enumerate(self.network.units):
            inputs = plain.inputs_of(unit, [images, *outputs])
            if isinstance(unit.layer, Dropout):
                tensor = Tensor(*unit.shape, start=layout.scratches[k])
                self.masks[k] = values(work, tensor, IMAGES)
                x = moves.dropout_forward(inputs, self.masks[k])
            else:
                x = unit.layer.batch_forward(plain.own(unit, parameters), inputs)
            outputs.append(x)
            suspects += self.kernels(*self.passes("forward", unit.name))
            tensor = layout.tensors[k + 1]
            if all(later.start != tensor.start for later in layout.tensors[k + 2 :]):  # else it is overwritten
                kept = IMAGES if tensor.unit > 1 else 1  # of single images, the last one is still there
                found = values(work, tensor, kept)
                self.check(f"the output of {unit.name}", found, x[-kept:].reshape(found.shape), suspects)
                suspects = []
        return outputs

    def backward(
        self, parameters: Any, images: Any, outputs: Any, labels: Any, smoothing: float, weights: Any, totals: Any
    ) -> dict[str, np.ndarray]:
        """Compare the loss; return the gradients, which the optimiser's state shows."""
        outcome = plain.judge(self.network, outputs[-1], labels, smoothing, weights)
        above = [
            self.network.loss.kernel_for(self.network.target),
            *self.kernels("fill_targets"),
            *self.kernels("weigh_images"),
        ]  # kernels of the layers above whose input gradients were not yet seen
        self.check("the loss", totals / IMAGES, [outcome.loss, outcome.correct / IMAGES], above)
        gradients: dict[str, np.ndarray] = {}
        self.suspects: dict[str, list[str]] = {}
        tensors = [images, *outputs]
        deltas = [np.zeros_like(tensor) for tensor in tensors]
        deltas[-1] = outcome.dz.reshape(outputs[-1].shape)
        for k, unit in reversed(list(enumerate(self.network.units))):
            mine = self.kernels(*self.passes("backward", unit.name))
            here: dict[str, np.ndarray] = {}
            dy = deltas[k + 1]
            if k in self.masks:
                dx = moves.dropout_backward(dy, self.masks[k])
            else:
                own = plain.own(unit, parameters)
                dx, here = unit.layer.batch_backward(own, plain.inputs_of(unit, tensors), outputs[k], dy)
            for tensor, slope in zip(unit.inputs, dx if len(unit.inputs) > 1 else [dx], strict=True):
                deltas[tensor] = deltas[tensor] + slope
            for name, gradient in here.items():
                gradients[f"{unit.name}.{name}"], self.suspects[f"{unit.name}.{name}"] = gradient, above + mine
            above = mine if here else above + mine
        return plain.clipped(gradients, self.case.optimizer.max_norm)

    def update(self, parameters: Any, gradients: Any) -> None:
        """Compare what the step made of the optimiser's state, the parameters, and their moving average."""
        updated, states = plain.step(parameters, gradients, self.case.optimizer, RATE)
        size = self.network.size
        found = [self.network.views(part) for part in np.split(self.executor.state, len(self.executor.state) // size)]
        for name, moments in states.items():
            blamed = self.suspects[name] + ["add_shards", "clip_gradient"] * self.plan.clips
            for number, moment in enumerate(moments):
                what = f"moment {number + 1} of {name}" if number else f"the gradient of {name}"
                self.check(
                    what, found[number][name], moment, [*blamed, self.plan.updates[0].kernel] if number else blamed
                )
        averages = self.network.views(self.executor.judged)
        for name, view in self.network.views(self.executor.theta).items():
            if not self.network.parameters[name].learned:
                continue
            self.check(f"the updated {name}", view, updated[name], [self.plan.updates[0].kernel])
            if self.executor.optimizer.average:
                average = np.zeros(view.size)
                share = self.executor.optimizer.average_share(step=1)
                steps.average_weights(average, updated[name].ravel(), share)
                self.check(f"the average of {name}", averages[name], average.reshape(view.shape), ["average_weights"])


def values(work: np.ndarray, tensor: Tensor, count: int) -> np.ndarray:
    """Return float64 [count, C, H, W] of a block in a worker's memory, or of a single image."""
    block = work[tensor.start : tensor.start + tensor.channels * tensor.plane * tensor.unit]
    block = block.reshape(tensor.channels, tensor.rows, tensor.row, tensor.unit)
    inside = block[:, tensor.top : tensor.top + tensor.height, tensor.left : tensor.left + tensor.width, :count]
    return np.ascontiguousarray(inside.transpose(3, 0, 1, 2), np.float64)
