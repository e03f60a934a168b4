"""An explanation as plain text: equations, and matrices side by side as far as the width allows."""

import math
from collections.abc import Iterator, Sequence
from string import ascii_lowercase

import numpy as np

from lenumba.engine.explain.explain import Explanation, Layer
from lenumba.kernels.program.plan import shape_text

WHOLE = 36  # values up to which a tensor is printed whole; of larger ones statistics and the first values
FIRST = 6
GAP = "   "
Block = list[str]  # lines of text, all as long as the first


def explanation_text(explanation: Explanation, width: int = 80, layer: str | None = None) -> str:
    """Return the forward pass, the backward pass and the step, in lines of `width` characters where that is possible.

    Parameters
    ----------
    layer
        Print this layer alone, and all of its values.
    """
    whole = None if layer else WHOLE
    layers = [item for item in explanation.layers if layer in (None, item.unit.name)]
    lines = [*heading(explanation), ""]
    lines += ["FORWARD"]
    if layers[0] is explanation.layers[0] or layer:
        names = input_names(layers[0])
        equation = input_equation(explanation) if layers[0] is explanation.layers[0] else ", ".join(names)
        inputs = zip(names, layers[0].inputs, strict=True)
        blocks = [block for name, x in inputs for block in tensor(name, x, whole, width)]
        lines += section(equation, [], blocks, width)
    for item in layers:
        lines += forward_lines(item, whole, width)
    if not layer:
        lines += outcome_lines(explanation, width)
    lines += ["", "BACKWARD, δ = ∂L/∂y, from the last layer to the first"]
    if not layer:
        z = explanation.layers[-1]
        lines += section(f"loss  {explanation.equations[2]}", [], gradient("δ", z.delta, whole, width), width)
    for item in reversed(layers):
        lines += laid_out(gradient("δ", item.delta, whole, width), width) if layer else []
        lines += backward_lines(item, below(item, explanation.layers), whole, width)
    learning = [item for item in layers if item.unit.learns]
    if learning:
        lines += ["", *beside("STEP, the optimiser's first", [explanation.update, f"η = {explanation.rate:g}"], width)]
        blocks = [
            block
            for item in learning
            for name, value in item.updated.items()
            for block in tensor(f"{item.unit.name}.{name}", value, whole, width)
        ]
        lines += laid_out(blocks, width)
    if not layer:
        lines.append(
            f"loss of this image: {explanation.loss:.6g} before the step, {explanation.loss_after:.6g} after it"
        )
    return "\n".join(line.rstrip() for line in lines)


def input_equation(explanation: Explanation) -> str:
    """Say what the first layer reads."""
    if explanation.sample.exact:
        return "x, as it is given"
    value = "value" if explanation.subject.loaded.config.network.signals else "pixel/255"
    return f"x = ({value} − mean)/deviation"


def heading(explanation: Explanation) -> list[str]:
    """Say what network, image and class this is about."""
    subject, sample, label = explanation.subject, explanation.sample, explanation.label
    count, target = subject.network.parameter_count, explanation.target
    if target is not None:
        told = "the input itself" if subject.network.target == "input" else ", ".join(f"{y:.4g}" for y in target[:10])
        more = ", …" * (subject.network.target != "input" and len(target) > 10)
        lines = [f"{subject.origin}: {count:,} parameters", f"{sample.origin}: target {told}{more}"]
        return lines
    name = subject.class_names[label]
    known = name if name == str(label) else f"{label} ({name})"
    guess = ", the network's own answer; --label gives another" if sample.label is None else ""
    return [f"{subject.origin}: {count:,} parameters", f"{sample.origin}: class {known}{guess}"]


def forward_lines(layer: Layer, whole: int | None, width: int) -> list[str]:
    """Return a layer's equation, parameters and output."""
    blocks = [b for name, value in layer.parameters.items() for b in tensor(symbol(layer, name), value, whole, width)]
    blocks += tensor("y", layer.y, whole, width)
    title = f"{layer.unit.name}  {shape_text(*layer.unit.shape)} → {shape_text(*layer.unit.output)}"
    equations = [layer.equations.y]
    if layer.sources:
        named = zip(input_names(layer), layer.sources, strict=True)
        equations.append(f"({', '.join(f'{name} is {source}' for name, source in named)})")
    return section(title, equations, blocks, width)


def input_names(layer: Layer) -> str:
    """Return the letters that the equations have for its inputs."""
    return "x" if len(layer.inputs) == 1 else ascii_lowercase[: len(layer.inputs)]


def below(layer: Layer, layers: Sequence[Layer], image_delta: np.ndarray | None = None) -> np.ndarray | None:
    """Return ∂L/∂x of a layer's input; None where there is none, or others read that input, too."""
    first = layer.unit.inputs[0]
    if sum(first in other.unit.inputs for other in layers) > 1:
        return None
    return layers[first - 1].delta if first else image_delta


def backward_lines(layer: Layer, dx: np.ndarray | None, whole: int | None, width: int) -> list[str]:
    """Return the gradients of a layer's parameters, and of its input, dx."""
    equations = [layer.equations.gradients[name] for name in layer.gradients]
    blocks = [
        block
        for name, value in layer.gradients.items()
        for block in tensor(f"Δ{symbol(layer, name)}", value, whole, width)
    ]
    if dx is not None:
        equations.append(layer.equations.x)
        blocks += tensor("δx", dx, whole, width)
    frozen = " (frozen)" if layer.parameters and not layer.unit.learns else ""
    return section(layer.unit.name + frozen, equations, blocks, width) if blocks else []


def outcome_lines(explanation: Explanation, width: int) -> list[str]:
    """Return the network's outputs and the loss."""
    (outputs, loss, _), z = explanation.equations, explanation.layers[-1].y
    letter = outputs[0]
    lines = beside(f"loss  {explanation.subject.network.loss.name}", [f"{outputs}, z = y", loss], width)
    lines += laid_out(tensor(letter, explanation.outputs, len(explanation.outputs), width), width) if len(z) > 1 else []
    value = f"  {letter} = {explanation.outputs[0]:.6g}" if len(z) == 1 else ""
    return [*lines, f"{value}  L = {explanation.loss:.6g}"]


def symbol(layer: Layer, name: str) -> str:
    """Return the letter that the equations have for a parameter."""
    letters = {"kernel": "K" if layer.unit.layer.kind == "conv" else "W", "bias": "b"}
    if layer.unit.layer.kind == "batch_norm":
        letters = {"weight": "γ", "bias": "β", "running_mean": "μ", "running_var": "v"}
    return letters.get(name, name)


def section(title: str, equations: Sequence[str], blocks: Sequence[Block], width: int) -> list[str]:
    """Return title, equations and tensors; a lone matrix needs no name, the equation has it, and a lone row no line."""
    lines = beside(title, equations, width)
    values = laid_out(
        [block[1:] if len(block) > 2 else block for block in blocks] if len(blocks) == 1 else blocks, width
    )
    if len(values) == 1 and len(lines[-1]) + len(values[0]) < width:
        return [*lines[:-1], f"{lines[-1]} {values[0]}"]
    return [*lines, *values]


def beside(title: str, equations: Sequence[str], width: int) -> list[str]:
    """Return the title with as many equations on its line as fit, the others below."""
    lines = [title]
    for equation in equations:
        if len(lines[-1]) + 3 + len(equation) <= width:
            lines[-1] += GAP + equation
        else:
            lines.append(GAP + equation)
    return lines


def tensor(name: str, values: np.ndarray, whole: int | None, width: int) -> list[Block]:
    """Return a tensor's matrices as blocks, or one block of statistics where it has more than `whole` values.

    [C, H, W] are C matrices, [M, C, H, W] M · C, [M, K] is one and [K] or [K, 1, 1] a row.
    """
    values = values + 0.0  # no −0
    if whole is not None and values.size > whole:
        return [statistics(name, values)]
    if values.ndim == 1 or values.shape[1:] == (1, 1):
        return list(matrix(name, values.reshape(1, -1), width))
    if values.ndim == 2:
        return list(matrix(name, values, width))
    blocks: list[Block] = []
    gap = " " if len(name) > 2 else ""
    for index in np.ndindex(values.shape[:-2]):
        numbered = f"{name}{gap}{','.join(str(k) for k in index)}" if math.prod(values.shape[:-2]) > 1 else name
        blocks += matrix(numbered, values[index], width)
    return blocks


def gradient(name: str, values: np.ndarray | None, whole: int | None, width: int) -> list[Block]:
    """Return a gradient's matrices as blocks; none where nothing goes back."""
    return [] if values is None else tensor(name, values, whole, width)


def statistics(name: str, values: np.ndarray) -> Block:
    """Return shape, extremes, mean and the first values of a tensor."""
    shape = shape_text(*values.shape) if values.ndim == 3 else "×".join(map(str, values.shape))
    figures = f"min {values.min():.4g}  mean {values.mean():.4g}  max {values.max():.4g}"
    first = "  ".join(f"{value:.3g}" for value in values.ravel()[:FIRST])
    return [f"  {name} {shape}  {figures}", f"    first: {first} …"]


def matrix(name: str, values: np.ndarray, width: int) -> Iterator[Block]:
    """Yield a matrix as aligned numbers of one format under its name, cut into columns where it is too wide."""
    decimals = places(values)
    texts = [[number(value, decimals) for value in row] for row in values]
    longest = max(len(text) for row in texts for text in row)
    columns = max(1, (width - 2) // (longest + 1))
    for start in range(0, values.shape[1], columns):
        rows = ["  " + " ".join(text.rjust(longest) for text in row[start : start + columns]) for row in texts]
        last = min(start + columns, values.shape[1]) - 1
        part = f" columns {start}{f'–{last}' if last > start else ''}" if values.shape[1] > columns else ""
        title = f"{name}{part} ="
        if len(rows) == 1:
            yield (
                [f"  {title} {rows[0].strip()}"] if len(title) + len(rows[0]) <= width - 3 else [f"  {title}", rows[0]]
            )
        else:
            yield [f"  {title}", *rows]


def places(values: np.ndarray) -> int | None:
    """Return the decimals that give the largest value three digits; 0 for integers; None where it needs an exponent."""
    finite = np.abs(values[np.isfinite(values)])
    largest = finite.max() if finite.size else 0.0
    if largest < 1e6 and np.array_equal(finite, np.round(finite)):
        return 0
    digits = math.floor(math.log10(largest))
    return max(0, 2 - digits) if -4 <= digits <= 6 else None


def number(value: float, decimals: int | None) -> str:
    """Write a value; zeros as 0, so that they show, and what is outside of a maximum's map as a dot."""
    if value == 0:
        return "0"
    if value == -math.inf:
        return "·"
    return f"{value:.2e}" if decimals is None else f"{value:.{decimals}f}"


def laid_out(blocks: Sequence[Block], width: int) -> list[str]:
    """Put blocks side by side, in as many rows as the width asks for."""
    lines: list[str] = []
    row: list[Block] = []
    for block in [*blocks, None]:
        if block is not None and joined_width([*row, block]) <= width:
            row.append(block)
            continue
        lines += join(row)
        row = [] if block is None else [block]
    return lines + (join(row) if row else [])


def joined_width(row: Sequence[Block]) -> int:
    """Return the width of blocks side by side."""
    return sum(max(map(len, block)) for block in row)


def join(row: Sequence[Block]) -> list[str]:
    """Return the lines of blocks side by side, aligned at the top."""
    height = max((len(block) for block in row), default=0)
    widths = [max(map(len, block)) for block in row]
    return [
        "".join((block[k] if k < len(block) else "").ljust(size) for block, size in zip(row, widths, strict=True))
        for k in range(height)
    ]
