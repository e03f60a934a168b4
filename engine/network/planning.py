"""From a network to the plan of its program: every layer's kernel calls, in the order of their work."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from lenumba.engine.network.channels import Channels
from lenumba.engine.network.ends import image_steps, loss_step, target_steps
from lenumba.engine.network.fusion import fused
from lenumba.engine.network.layers import Node, Shape
from lenumba.engine.network.layers.residual import add_call
from lenumba.engine.network.layout import Layout
from lenumba.engine.network.losses import Loss
from lenumba.engine.network.optimizers import Optimizer
from lenumba.engine.network.units import Unit
from lenumba.kernels.compile.target import vector_registers
from lenumba.kernels.program.plan import Place, Plan, Step, Tensor, shape_text


class Network(Protocol):
    """What a plan takes of a :class:`lenumba.engine.network.network.Network`."""

    unit: int
    units: list[Unit]
    pixels: str
    weighted: bool
    target: str
    loss: Loss
    answers: bool
    channels: Channels | None
    size: int
    input_shape: Shape

    @property
    def layout(self) -> Layout: ...  # noqa: D102
    @property
    def labels(self) -> str: ...  # noqa: D102
    @property
    def folded(self) -> Mapping[int, Unit]: ...  # noqa: D102
    @property
    def parameter_count(self) -> int: ...  # noqa: D102
    @property
    def outputs(self) -> int: ...  # noqa: D102
    def places(self, unit: Unit, buffer: str) -> dict[str, Place]: ...  # noqa: D102


def make_plan(network: Network, optimizer: Optimizer) -> Plan:
    """Return the plan of the program that trains and evaluates a network."""
    layout, units = network.layout, network.units
    tensors, gradients = layout.tensors, layout.gradients
    forward = forward_steps(network)
    image = named(tensors[0], "image")
    ends = image_steps(layout, image, network.pixels, network.weighted)
    ends += target_steps(layout, image, network.target, network.outputs)
    last = units[-1].name
    assert gradients[-1] is not None
    y, dy = named(tensors[-1], f"{last}_y"), named(gradients[-1], f"{last}_dy")
    if network.channels:  # of a single value a map, vectors of maps are a row of floats
        y, dy = (Tensor(network.outputs, 1, 1, start=each.start, unit=1, name=each.name) for each in (y, dy))
    compare = loss_step(layout, network.loss, y, dy, network.target)
    steps = [*ends, *forward, compare]
    if network.answers:
        steps = [step for step in steps if step.only != "training"]
    return Plan(
        name="network",  # not the recipe's: equal networks share their machine code
        title=f"A network of {network.parameter_count} parameters: {shape_text(*network.input_shape)} → "
        + " → ".join(shape_text(*unit.output) for unit in units if unit.parameters),
        steps=steps if network.answers else [*steps, *backward_steps(network)],
        updates=[] if network.answers else optimizer.calls(network.size),
        output=layout.output,
        width=network.outputs,
        gradient_size=network.size,
        unit=network.unit,
        pixels=network.pixels,
        labels=network.labels,
        clips=optimizer.max_norm is not None and not network.answers,
        trains=not network.answers,
    )


def nodes(network: Network) -> list[Node]:
    """Return each unit at its place in training."""
    layout, units = network.layout, network.units
    found = []
    for k, unit in enumerate(units):
        margins = unit.layer.margins(unit.shape) if layout.padded else (0, 0, 0, 0)

        def seen(tensor: Tensor, name: str, k: int = k, margins: tuple[int, int, int, int] = margins) -> Tensor:
            alike = layout.in_place[k] or units[k].layer.passes_gradient
            return named(tensor, name) if alike else named(tensor, name).within(margins)

        x, *more = (seen(layout.tensors[t], name_of(network, t)) for t in unit.inputs)
        dx, dy = layout.slopes[k][0], layout.gradients[k + 1]
        first = unit.inputs[0]
        found.append(
            Node(
                x=x,
                y=named(layout.tensors[k + 1], f"{unit.name}_y"),
                dx=None if dx is None else seen(dx, slope_name(network, k, first)),
                dy=named(dy or layout.tensors[k + 1], f"{unit.name}_dy"),
                parameters=network.places(unit, "theta"),
                gradients=network.places(unit, "gradient"),
                scratch=Place("work", layout.scratches[k], f"{unit.name}_scratch"),
                temporary=Place("own", layout.temporary, "temporary"),
                registers=vector_registers(),
                number=k,
                more=tuple(more),
                centered=[units[reader].layer.sees_batch for reader in layout.readers[k + 1]] == [True],
            )
        )
    return found


def forward_steps(network: Network) -> list[Step]:
    """Return the forward pass: steps of both, or one for training and one for evaluation, leaving out empty ones."""
    training, evaluation, channels = [], [], network.channels
    all_nodes = nodes(network)
    for k, (unit, node) in enumerate(zip(network.units, all_nodes, strict=True)):
        text = f"{shape_text(*unit.shape)} → {shape_text(*unit.output)}"
        calls = [] if network.answers else unit.layer.forward(node)
        step = Step(f"forward_{unit.name}", text, calls, layer=unit.name, phase="forward")
        if norm := network.folded.get(k):
            behind = all_nodes[network.units.index(norm)]
            bias = {"bias": behind.parameters["bias"]}
            node = replace(node, y=behind.y, parameters={**node.parameters, **bias})
        elif unit in network.folded.values():
            node = replace(node, x=node.y)
        training.append(step)
        calls = channels.calls(k, node) if channels else unit.layer.evaluate(node)
        evaluation.append(replace(step, calls=calls))
    steps = []
    others = {step.layer: step for step in fused([step for step in evaluation if step.calls])}
    mine = {step.layer: step for step in fused([step for step in training if step.calls])}
    for unit in network.units:
        trained, evaluated = mine.get(unit.name), others.get(unit.name)
        if trained and evaluated and trained.calls == evaluated.calls:
            steps.append(trained)
            continue
        if trained:
            steps += replace(trained, only="training").parts()
        if evaluated:
            steps.append(replace(evaluated, name=f"evaluate_{unit.name}", only="evaluation"))
    return steps


def backward_steps(network: Network) -> list[Step]:
    """Return the backward pass; behind the last unit that reads a tensor, the sum of what comes from all of them."""
    layout, units, steps = network.layout, network.units, []
    all_nodes = nodes(network)
    for k, (unit, node) in reversed(list(enumerate(zip(network.units, all_nodes, strict=True)))):
        step = Step(f"backward_{unit.name}", f"{shape_text(*unit.shape)} ← {shape_text(*unit.output)}", [], "training")
        source = units[unit.inputs[0] - 1].name if unit.inputs[0] else ""
        step = replace(step, layer=unit.name, phase="backward", source=source)
        if layout.gradients[k + 1] is not None and (unit.learns or any(layout.slopes[k])):
            steps.append(replace(step, calls=unit.layer.backward(node)))
        for t in dict.fromkeys(unit.inputs):
            if t in layout.sums and k == layout.readers[t][0]:
                steps.append(replace(step, name=f"{step.name}_sum", calls=sum_calls(network, t)))
    return [part for step in fused([step for step in steps if step.calls]) for part in step.parts()]


def sum_calls(network: Network, t: int) -> list:
    """Return the calls that add up what several units leave of a tensor's gradient."""
    layout, name = network.layout, f"{name_of(network, t).removesuffix('_y')}_dy"
    total = named(there(layout.gradients[t]), name)
    slopes = [there(slope) for slope in layout.sums[t]]
    parts = [named(each, name if each.start == total.start else f"{name}_{k}") for k, each in enumerate(slopes)]
    rest = sorted(parts, key=lambda part: part.start != total.start)  # what lies there already comes first
    calls = [add_call(rest[0], rest[1], total)]
    return calls + [add_call(total, part, total) for part in rest[2:]]


def there(tensor: Tensor | None) -> Tensor:
    """Return a tensor that must have a place."""
    assert tensor is not None
    return tensor


def named(tensor: Tensor, name: str) -> Tensor:
    """Return a tensor under a name."""
    return replace(tensor, name=name)


def name_of(network: Network, t: int) -> str:
    """Return what a tensor is called."""
    return f"{network.units[t - 1].name}_y" if t else "image"


def slope_name(network: Network, k: int, t: int) -> str:
    """Return what the gradient is called that a unit leaves of a tensor."""
    own = f"{network.units[t - 1].name}_dy" if t else "image_dy"
    return f"{network.units[k].name}_dx" if t in network.layout.sums else own
