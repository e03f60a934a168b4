"""One image through a network, forward and backward, and the step that its gradient makes: every number of it.

The plain-loop twins compute it in float64, run as the Python they are unless the network is large: nothing compiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.explain import plain
from lenumba.engine.explain.subject import Arrays, Sample, Subject
from lenumba.engine.network.network import Unit
from lenumba.engine.network.optimizers import make_optimizer, update_equation
from lenumba.engine.network.tables import Equations
from lenumba.kernels.reference.twin import interpreted

IMAGE = "the image"
INTERPRETED = 1_500_000  # multiply-adds of a forward pass up to which Python is done before Numba has compiled


@dataclass(frozen=True)
class Layer:
    """What one layer did: arrays float64, [C, H, W] for its inputs, y and ∂L/∂y; parameters by their short names.

    `delta` is None where nothing goes back. Running statistics are among the parameters, but have neither gradient nor
    equation. `sources` names the layers
    whose outputs it reads, where these are not just the layer before.
    """

    unit: Unit
    sources: tuple[str, ...]
    equations: Equations
    inputs: tuple[np.ndarray, ...]
    y: np.ndarray
    delta: np.ndarray | None
    parameters: Arrays
    gradients: Arrays
    updated: Arrays

    @property
    def x(self) -> np.ndarray:
        """The input, or the first of several."""
        return self.inputs[0]


@dataclass(frozen=True)
class Explanation:
    """A forward and backward pass and one step. `equations` are those of outputs, loss and δ; `rate` is η.

    `image_delta` is ∂L/∂x of the image [C, H, W]. `target` float64 [outputs] is what each output is compared with, as
    it is learned; None where that is a class.
    """

    subject: Subject
    sample: Sample
    label: int
    target: np.ndarray | None
    layers: tuple[Layer, ...]
    image_delta: np.ndarray
    equations: tuple[str, str, str]
    outputs: np.ndarray
    loss: float
    update: str
    rate: float
    loss_after: float

    def as_dict(self, layer: str | None = None) -> dict[str, Any]:
        """Return everything as plain values, of one layer alone where it is named."""
        names = self.subject.class_names
        return {
            "network": self.subject.origin,
            "image": self.sample.origin,
            "pixels": self.sample.pixels.tolist(),
            **({"label": self.label, "class": names[self.label]} if self.target is None else {}),
            **({} if self.target is None else {"target": self.target.tolist()}),
            "layers": [layer_dict(item) for item in self.layers if layer in (None, item.unit.name)],
            "outputs": {"equation": self.equations[0], "values": self.outputs.tolist()},
            "loss": {
                "name": self.subject.network.loss.name,
                "equation": self.equations[1],
                "value": self.loss,
                "delta_equation": self.equations[2],
            },
            "update": {"equation": self.update, "learning_rate": self.rate, "loss_after": self.loss_after},
        }


def layer_dict(layer: Layer) -> dict[str, Any]:
    """Return a layer as plain values."""
    unit, equations = layer.unit, layer.equations
    return {
        "name": unit.name,
        "type": unit.layer.kind,
        "input_shape": list(unit.shape),
        "output_shape": list(unit.output),
        "equation": equations.y,
        **({"reads": list(layer.sources)} if layer.sources else {}),
        "x": layer.x.tolist(),
        **({"more_inputs": [x.tolist() for x in layer.inputs[1:]]} if len(layer.inputs) > 1 else {}),
        "y": layer.y.tolist(),
        **({} if layer.delta is None else {"delta": layer.delta.tolist()}),
        "delta_x_equation": equations.x,
        "parameters": {
            name: {
                "value": value.tolist(),
                **(
                    {
                        "gradient_equation": equations.gradients[name],
                        "gradient": layer.gradients[name].tolist(),
                    }
                    if name in layer.gradients
                    else {}
                ),
                **({"updated": layer.updated[name].tolist()} if name in layer.gradients and layer.updated else {}),
            }
            for name, value in layer.parameters.items()
        },
    }


def names_of(unit: Unit) -> list[str]:
    """Return the short names of a unit's parameters."""
    return [parameter.name for parameter in unit.parameters]


def target_of(subject: Subject, sample: Sample, images: np.ndarray) -> np.ndarray:
    """Return what the outputs for one normalised image [1, C, H, W] are compared with, as it is learned: [1, outputs].

    Raises
    ------
    DataError
        Where the image comes without its labels or numbers.
    """
    if subject.network.target == "input":
        return images.reshape(1, -1)
    if sample.truth is None or subject.judge is None:
        raise DataError(
            f"{sample.origin}: expected a test image, as its {subject.network.target} decide; give an index"
        )
    return subject.judge.learned(sample.truth[np.newaxis]).astype(np.float64)


def explain(subject: Subject, sample: Sample) -> Explanation:
    """Take one image through the network and back, and make one step of the optimiser, from rest, at the peak rate."""
    network, parameters, config = subject.network, subject.parameters, subject.loaded.config
    smoothing = config.loss.label_smoothing
    images = sample.pixels.transpose(2, 0, 1)[np.newaxis]
    images = images.astype(np.float64) if sample.exact else subject.normalization(images)
    with interpreted(network.multiply_adds <= INTERPRETED):
        outputs = plain.forward(network, parameters, images)
        label, target = sample.label or 0, None if network.target == "class" else target_of(subject, sample, images)
        if sample.label is None and target is None:
            row = plain.judge(network, outputs[-1], np.zeros(1)).outputs[0]
            label = int(row[0] >= 0.5) if len(row) == 1 else int(row.argmax())
        weight = 1.0 if target is not None else (subject.weights or {}).get(subject.class_names[label], 1.0)
        truth = np.array([label]) if target is None else target
        outcome = plain.judge(network, outputs[-1], truth, smoothing, np.array([weight]))
        gradients, deltas = plain.backward_units(network.units, parameters, images, outputs, outcome.dz)
        learning = [
            f"{unit.name}.{parameter.name}"
            for unit in network.units
            if unit.learns
            for parameter in unit.parameters
            if parameter.learned
        ]
        moved = plain.clipped({name: gradients[name] for name in learning}, config.optimizer.max_norm)
        updated, _ = plain.step(parameters, moved, config.optimizer, config.optimizer.learning_rate)
        moved_z = plain.forward(network, updated, images)[-1]
        after = plain.judge(network, moved_z, truth, smoothing, np.array([weight]))
    found = layers_of(network.units, (images, *outputs), deltas, parameters, gradients, updated)
    return Explanation(
        subject=subject,
        sample=sample,
        label=label,
        target=None if target is None else target[0],
        layers=found,
        image_delta=deltas[0][0],
        equations=network.loss.written(network.outputs, smoothing, weight),
        outputs=outcome.outputs[0],
        loss=float(outcome.loss),
        update=update_equation(make_optimizer(config.optimizer)),
        rate=config.optimizer.learning_rate,
        loss_after=float(after.loss),
    )


def layers_of(
    units: Sequence[Unit],
    tensors: Sequence[np.ndarray],
    deltas: Sequence[np.ndarray] | None,
    parameters: Arrays,
    gradients: Arrays,
    updated: Arrays,
) -> tuple[Layer, ...]:
    """Return what each unit did: of the image and all outputs [1, C, H, W], of their gradients, of arrays by name."""
    layers = []
    names = [IMAGE, *(unit.name for unit in units)]
    for number, unit in enumerate(units):
        own, slopes, new = (
            {name: values[full] for name in names_of(unit) if (full := f"{unit.name}.{name}") in values}
            for values in (parameters, gradients, updated)
        )
        inputs = tuple(tensors[tensor][0] for tensor in unit.inputs)
        sources = () if unit.inputs == (number,) else tuple(names[tensor] for tensor in unit.inputs)
        y, delta = tensors[number + 1][0], None if deltas is None else deltas[number + 1][0]
        layers.append(Layer(unit, sources, unit.layer.equations(unit.shape), inputs, y, delta, own, slopes, new))
    return tuple(layers)
