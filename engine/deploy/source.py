"""The C files of a network: one function for each kind of layer, one call for each layer."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.deploy import arena
from lenumba.engine.deploy.graph import Graph, Operation, written
from lenumba.engine.deploy.int8 import Int8Layer, Int8Network, powers, signal_factors
from lenumba.engine.deploy.kinds import KINDS, fill, read_part
from lenumba.engine.network.activations import ACTIVATIONS

ARRAYS = {"weights": "weight", "biases": "total", "multipliers": "int32_t", "shifts": "int8_t"}


class Source:
    """Writes a network as C; `network` is a graph, in float32, or a network in whole numbers."""

    def __init__(self, network: Graph | Int8Network, name: str, class_names: Sequence[str]) -> None:
        self.whole = network if isinstance(network, Int8Network) else None
        self.graph = network.graph if isinstance(network, Int8Network) else network
        self.name, self.class_names = name, class_names
        self.numbers = "int8" if self.whole else "float"
        self.places, self.size = arena.plan(self.graph)
        self.pixel = "float" if self.graph.signals else "uint8_t"
        self.input = "signal" if self.graph.signals else "image"
        self.names = unique([operation.name for operation in self.graph.operations])

    @property
    def flash(self) -> int:
        """Bytes of weights and tables."""
        if self.whole is None:
            return 4 * self.graph.parameter_count
        arrays = [getattr(layer, name) for layer in self.whole.layers for name in ARRAYS]
        arrays.append(self.whole.table)
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def ram(self) -> int:
        """Bytes of the tensors."""
        return self.size * (1 if self.whole else 4)

    def header(self) -> str:
        """Return the header file."""
        upper, graph = self.name.upper(), self.graph
        size = int(np.prod(graph.shape))
        form = ""
        if self.whole:
            scale, zero = self.whole.scales[-1]
            form = (
                f"\n/* The same without floating-point numbers: {graph.outputs} outputs, larger for what is likelier."
                f"\n   They stand for {scale:.9g} * (output - {zero}). They stay until the next call. */\n"
                f"const int8_t *{self.name}_outputs(const {self.pixel} *{self.input});\n"
            )
        return (
            f"/* {self.name}: see {self.name}.c. Written by lenumba. */\n"
            f"#ifndef {upper}_H\n#define {upper}_H\n\n#include <stdint.h>\n\n"
            f"#define {upper}_INPUTS {size} /* {written(graph.shape)}: by rows, the channels of a pixel together */\n"
            f"#define {upper}_OUTPUTS {graph.outputs}\n#define {upper}_CLASSES {len(self.class_names)}\n\n"
            f"extern const char *const {self.name}_classes[{upper}_CLASSES];\n\n"
            f"/* Not for two threads at a time: both would write to the same memory. */\n"
            f"void {self.name}_predict(const {self.pixel} *{self.input}, float *probabilities);\n{form}\n#endif\n"
        )

    def body(self, comment: str) -> str:
        """Return the C file; the comment goes on top."""
        ends = read_part("power", self.numbers) if self.whole and self.graph.end != "none" else ""
        functions = [self._types(), *self._functions(), self._input(), ends, self._end()]
        tables = [self._constants(), *map(self._layer, range(len(self.graph.operations)))]
        upper = self.name.upper()
        classes = ",\n".join(f"    {quoted(name)}" for name in self.class_names)
        return "\n".join(
            [
                f"/*\n{textwrap.indent(comment.replace('*/', '* /').rstrip(), ' * ', lambda line: True)}\n */",
                f'#include "{self.name}.h"\n' + ("" if self.whole else "#include <math.h>\n"),
                functions[0],
                *filter(None, tables),
                *filter(None, functions[1:]),
                f"const char *const {self.name}_classes[{upper}_CLASSES] = {{\n{classes}\n}};\n",
                f"static value arena[{self.size}];\n",
                self._predict(),
            ]
        )

    def test(self, images: np.ndarray, expected: np.ndarray, tolerance: float) -> str:
        """Return a program that compares the outputs for images [N, H, W, C] with those expected, [N, outputs]."""
        rows = ",\n".join(f"    {{{braced(image.ravel(), 8)}}}" for image in images)
        wanted = ",\n".join(f"    {{{braced(row, 8)}}}" for row in expected)
        sizes = {"count": len(images), "size": images[0].size, "outputs": expected.shape[1]}
        limit = number(np.float32(tolerance))
        text = fill(read_part("test", ""), name=self.name, source=self.pixel, tolerance=limit, **sizes)
        return fill(text, images=rows, expected=wanted)

    def _types(self) -> str:
        text = fill(read_part("layer", ""), fields=read_part("fields", self.numbers))
        return f"typedef {self.pixel} source;\n{read_part('types', self.numbers)}\n{text}"

    def _functions(self) -> Iterator[str]:
        """Yield the C functions of the kinds that there are, behind those that they call."""
        used = self.graph.operations
        parts = {part for operation in used for part in KINDS[operation.kind].parts}
        functions = dict.fromkeys(
            operation.function for operation in used if "activation" in KINDS[operation.kind].parts
        )
        for part in dict.fromkeys(part for kind in KINDS.values() for part in kind.parts):
            if part not in parts:
                continue
            if part == "activation" and not self.whole:
                yield from map(self._activation, functions)
            else:
                yield read_part(part, self.numbers)

    def _activation(self, function: str) -> str:
        row = ACTIVATIONS[function]
        if not row.c:
            raise ConfigError(
                f"{function}: expected an activation with a C expression, found none in its row; give it one"
            )
        values = {"function": f"{function}_values", "equation": row.equations[0], "expression": row.c}
        return fill(read_part("activation", "float"), **values)

    def _constants(self) -> str:
        """Return what reading the input and answering need."""
        lines = []
        if self.whole is None or self.graph.signals:
            arrays = self.graph.normalization if self.whole is None else signal_factors(self.whole)
            channels = self.graph.shape[2]
            for name, array in zip(("scale", "shift"), arrays, strict=True):
                lines.append(table(f"input_{name}", "float", np.resize(array, channels)))
        elif self.whole.table is not None:
            rows = ",\n".join(f"    {{{braced(row, 8)}}}" for row in self.whole.table)
            lines.append(f"static const value input_table[{len(self.whole.table)}][256] = {{\n{rows}\n}};\n")
        for name, values in zip(("scale", "shift"), self.graph.units or (), strict=False):
            lines.append(table(f"output_{name}", "float", values))
        if self.whole and self.graph.end != "none":
            lines.append(table("powers", "float", powers(self.whole)))
        return "".join(lines)

    def _input(self) -> str:
        height, width, channels = self.graph.shape
        sizes = {"pixels": height * width, "channels": channels, "size": height * width * channels}
        whole = self.whole
        special = whole and ("_signal" if self.graph.signals else "" if whole.table is None else "_table")
        return fill(read_part(f"input{special or ''}", self.numbers), **sizes)

    def _end(self) -> str:
        values: dict[str, object] = {"outputs": self.graph.outputs}
        if self.whole:
            scale, zero = self.whole.scales[-1]
            # Without '- -5', which reads badly.
            values |= {"zero": f"({zero})" if zero < 0 else zero, "scale": number(np.float32(scale))}
        return fill(read_part("numbers" if self.graph.units else self.graph.end, self.numbers), **values)

    def _layer(self, k: int) -> str:
        """Return a layer's arrays and its description."""
        operation, name = self.graph.operations[k], self.names[k]
        layer = self.whole.layers[k] if self.whole else None
        kind, lines = KINDS[operation.kind], []
        fields = [("in", sizes(operation.shape)), ("out", sizes(operation.output))]
        if "window" in kind.fields:
            fields.append(("window", sizes(operation.window)))
        if "pool" in kind.fields:
            fields.append(("pool", sizes(operation.pool.window if operation.pool else (1, 1, 1, 1, 0, 0))))
            if operation.pool and operation.pool.kind == "max_pool":
                fields.append(("takes_largest", "1"))
            if not (operation.pool and operation.low == 0):
                fields.append(("least", "LEAST"))
        if "groups" in kind.fields:
            fields.append(("group_maps", str(operation.maps // operation.groups)))
            fields.append(("group_channels", str(channels := operation.shape[2] // operation.groups)))
            fields.append(("map_weights", str(channels * operation.window.height * operation.window.width)))
        if "counts_padding" in kind.fields and operation.counts_padding:
            fields.append(("counts_padding", "1"))
        for field, array in self._arrays(operation, layer):
            lines.append(table(f"{name}_{field}", ARRAYS[field], array))
            fields.append((field, f"{name}_{field}"))
        fields += numbers_of(layer) if layer else self._limits(operation)
        described = textwrap.fill(", ".join(f".{field} = {value}" for field, value in fields), 112)
        struct = f"static const struct layer {name}_layer = {{\n{textwrap.indent(described, '    ')}\n}};\n"
        return "".join([*lines, struct])

    def _arrays(self, operation: Operation, layer: Int8Layer | None) -> Iterable[tuple[str, np.ndarray]]:
        """Return a layer's arrays by their fields."""
        if layer is None:
            found = [("weights", operation.weight), ("biases", operation.bias)]
        else:
            found = [(field, getattr(layer, field)) for field in ARRAYS]
        return [(field, array) for field, array in found if array is not None]

    def _limits(self, operation: Operation) -> list[tuple[str, str]]:
        if "limits" not in KINDS[operation.kind].fields:
            return []
        found = [("low", number(np.float32(operation.low))), ("high", number(np.float32(operation.high)))]
        share = np.float32(1 / operation.pooled_sums)
        return found if operation.weight is None else [("share", number(share)), *found]

    def _predict(self) -> str:
        """Return the function that users call."""
        calls = [f"    read_input({self.input}, arena + {self.places[0]});"]
        for k, operation in enumerate(self.graph.operations):
            inputs = [f"arena + {self.places[tensor]}" for tensor in operation.inputs]
            arguments = ", ".join([f"&{self.names[k]}_layer", *inputs, f"arena + {self.places[k + 1]}"])
            calls.append(f"    {self._function(operation)}({arguments}); /* {described_shapes(operation)} */")
        body, last = "\n".join(calls), f"arena + {self.places[-1]}"
        given = f"const {self.pixel} *{self.input}"
        if self.whole:
            return (
                f"const int8_t *{self.name}_outputs({given})\n{{\n{body}\n    return {last};\n}}\n\n"
                f"void {self.name}_predict({given}, float *probabilities)\n{{\n"
                f"    answer({self.name}_outputs({self.input}), probabilities);\n}}\n"
            )
        return (
            f"void {self.name}_predict({given}, float *probabilities)\n{{\n{body}\n"
            f"    answer({last}, probabilities);\n}}\n"
        )

    def _function(self, operation: Operation) -> str:
        if "activation" not in KINDS[operation.kind].parts:
            return operation.kind
        return "look_up" if self.whole else f"{operation.function}_values"


def numbers_of(layer: Int8Layer) -> list[tuple[str, str]]:
    """Return the whole numbers of a layer by their fields; those that are 0 are left out."""
    found = {"zero": layer.zeros[0], "other_zero": layer.zeros[-1], "out_zero": layer.out_zero}
    if len(layer.zeros) == 1:
        del found["other_zero"]
    if "limits" in KINDS[layer.operation.kind].fields:
        found |= {"low": layer.low, "high": layer.high, "rounds_once": int(layer.rounds_once)}
    return [(field, str(value)) for field, value in found.items() if value]


def described_shapes(operation: Operation) -> str:
    """Return the shapes that an operation takes and gives."""
    return str(operation).partition(": ")[2]


def unique(names: Sequence[str]) -> list[str]:
    """Return names of which none is given twice."""
    found: list[str] = []
    for name in names:
        number = 1
        while (one := name if number == 1 else f"{name}_{number}") in found:
            number += 1
        found.append(one)
    return found


def sizes(numbers: Iterable[int]) -> str:
    """Write the whole numbers of a struct."""
    return "{" + ", ".join(map(str, numbers)) + "}"


def number(value: np.generic) -> str:
    """Write a number so that C reads the same one."""
    if not isinstance(value, np.floating):
        return str(int(value))
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    text = f"{float(value):.9g}"
    return f"{text}f" if set(text) & set(".en") else f"{text}.0f"


def braced(array: np.ndarray, indent: int = 4) -> str:
    """Write an array's numbers in lines."""
    text = ", ".join(map(number, array.ravel()))
    lines = textwrap.wrap(text, 116 - indent)
    return ("\n" + " " * indent).join(lines)


def table(name: str, kind: str, array: np.ndarray) -> str:
    """Write a constant array."""
    return f"static const {kind} {name}[{array.size}] = {{\n    {braced(array)}\n}};\n"


def quoted(text: str) -> str:
    """Write a text as a C string: all that is not plain as octal bytes."""
    plain = set(range(32, 127)) - {ord('"'), ord("\\"), ord("?")}
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'
