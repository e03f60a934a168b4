"""ONNX's own test cases of operators, translated into layers and compiled together into one program."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness import STILL, make_network

from lenumba.engine.explain import plain
from lenumba.engine.training.buffers import aligned
from lenumba.kernels.compile.native import Source, get_program
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.source import imports, memory_map

FOLDERS = ("node", "pytorch-converted", "pytorch-operator", "simple")
FUNCTIONS = {"Relu": "relu", "LeakyRelu": "leaky_relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
FUNCTIONS |= {"HardSwish": "hard_swish", "Swish": "silu"}
POOLS = {"AveragePool": "average_pool", "MaxPool": "max_pool"}
GLOBAL = {f"Global{kind}": f"global_{pool}" for kind, pool in POOLS.items()}
KINDS = {"Add", "BatchNormalization", "Conv", "Gemm", "Softmax", "LogSoftmax", "Flatten", *POOLS, *GLOBAL, *FUNCTIONS}
AROUND = {"Constant", "Identity", "Reshape", "Transpose", "Mul", "Dropout", "MatMul"}  # may stand beside them
MEMORY = {"work": "f32*", "theta": "f32*", "result": "f64*"}


class Skip(Exception):  # noqa: N818
    """A case that these layers cannot express; the message is the reason."""


class Case(NamedTuple):
    """A case as layers: x[N, C, H, W] through `layers` gives `y` once `finish` has put the output into its shape."""

    layers: list[dict[str, Any]]
    x: np.ndarray
    weights: dict[str, np.ndarray]
    y: np.ndarray
    finish: Any


def list_cases() -> list[str]:
    """The installed package's cases of operators that this set of layers has, as folder/name."""
    import onnx

    root, found = Path(onnx.__file__).parent / "backend" / "test" / "data", []
    for path in sorted(path for folder in FOLDERS for path in (root / folder).glob("*/model.onnx")):
        kinds = {node.op_type for node in onnx.load(path).graph.node}
        if kinds & KINDS and kinds <= KINDS | AROUND:
            found.append(f"{path.parent.parent.name}/{path.parent.name}")
    return found


def read_case(name: str) -> Case:
    """Translate a case into layers, or raise Skip."""
    import onnx
    from onnx import helper, numpy_helper

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / name
    model = onnx.load(folder / "model.onnx")
    if len(model.graph.node) != 1:
        raise Skip("several operators")
    if len(model.graph.output) != 1:
        raise Skip("a second output")
    node = model.graph.node[0]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def read(kind: str, number: int) -> np.ndarray:
        tensor = onnx.TensorProto.FromString((folder / "test_data_set_0" / f"{kind}_{number}.pb").read_bytes())
        return numpy_helper.to_array(tensor)

    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    free = [value.name for value in model.graph.input]
    for number, key in enumerate(free):
        if (folder / "test_data_set_0" / f"input_{number}.pb").exists():
            values[key] = read("input", number)
    x, *rest = [values[key] for key in node.input]
    if x.dtype != np.float32:
        raise Skip(f"{x.dtype} tensors")
    y = read("output", 0)
    if node.op_type in FUNCTIONS:
        usual = 1.0 if node.op_type == "Swish" else 0.01
        if abs(attributes.get("alpha", usual) - usual) > 1e-6:
            raise Skip("a slope other than 0.01")
        layer = {"type": "activation", "function": FUNCTIONS[node.op_type]}
        return Case([layer, {"type": "flatten"}], x.reshape(len(x), 1, 1, -1), {}, y, lambda z: z.reshape(y.shape))
    if node.op_type == "Flatten":
        axis = attributes.get("axis", 1) % x.ndim
        rows = int(np.prod(x.shape[:axis]))  # [rows, …] or, for axis 0, one row
        return Case([{"type": "flatten"}], x.reshape(rows, 1, 1, -1), {}, y, lambda z: z.reshape(y.shape))
    if node.op_type in ("Softmax", "LogSoftmax"):
        axis = attributes.get("axis", -1 if model.opset_import[0].version >= 13 else 1) % x.ndim
        moved = np.moveaxis(x, axis, -1)
        layers = [{"type": "flatten"}, {"type": "activation", "function": "softmax"}]
        log = node.op_type == "LogSoftmax"

        def finish(z: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore"):
                return np.moveaxis((np.log(z) if log else z).reshape(moved.shape), -1, axis)

        return Case(layers, moved.reshape(-1, 1, 1, x.shape[axis]), {}, y, finish)
    if node.op_type == "Gemm":
        a, b = (x.T if attributes.get("transA") else x), (rest[0] if attributes.get("transB") else rest[0].T)
        c = np.asarray(rest[1]) if len(rest) > 1 else np.zeros(1)
        if c.ndim == 2 and c.shape[0] > 1:
            raise Skip("a bias for each row")
        weights = {"dense1.kernel": attributes.get("alpha", 1.0) * b}
        weights["dense1.bias"] = np.broadcast_to(attributes.get("beta", 1.0) * c.reshape(-1), len(b))
        return Case([{"type": "dense", "units": len(b)}], a[:, :, None, None], weights, y, lambda z: z)
    if node.op_type == "Add":  # both as channels of one image, of which each way of a residual takes one
        pair = [np.broadcast_to(value, y.shape).reshape(1, 1, 1, -1) for value in (x, rest[0])]
        ways = [[{"type": "conv", "channels": 1, "kernel_size": 1, "bias": False}] for _ in pair]
        layers = [{"type": "residual", "layers": ways[0], "shortcut": ways[1]}, {"type": "flatten"}]
        weights = {f"conv{number}.kernel": np.eye(2)[number - 1].reshape(1, 2, 1, 1) for number in (1, 2)}
        return Case(layers, np.concatenate(pair, 1), weights, y, lambda z: z.reshape(y.shape))
    if node.op_type == "BatchNormalization":
        layers = [{"type": "batch_norm", "epsilon": float(np.float32(attributes.get("epsilon", 1e-5)))}]
        weights = dict(zip(("weight", "bias", "running_mean", "running_var"), rest, strict=True))
        weights = {f"norm1.{key}": value for key, value in weights.items()}
        maps = x.reshape(len(x), x.shape[1], 1, -1)
        return Case([*layers, {"type": "flatten"}], maps, weights, y, lambda z: z.reshape(y.shape))
    if x.ndim != 4:
        raise Skip("not two-dimensional")
    if node.op_type in GLOBAL:
        return Case([{"type": GLOBAL[node.op_type]}], x, {}, y, lambda z: z.reshape(y.shape))
    if set(attributes.get("dilations", [1])) != {1}:
        raise Skip("dilation")
    if attributes.get("ceil_mode"):
        raise Skip("sizes rounded up")
    kernel = list(attributes.get("kernel_shape", rest[0].shape[2:] if rest else ()))
    stride = list(attributes.get("strides", [1, 1]))
    top, left, bottom, right = pads(attributes, x.shape[2:], kernel, stride)
    if node.op_type == "Conv":
        conv = {"type": "conv", "channels": len(rest[0]), "kernel_size": kernel, "stride": stride}
        conv |= {"padding": [top, bottom, left, right], "bias": len(rest) > 1, "groups": attributes.get("group", 1)}
        weights = {"conv1.kernel": rest[0]} | ({"conv1.bias": rest[1]} if len(rest) > 1 else {})
        return Case([conv, {"type": "flatten"}], x, weights, y, lambda z: z.reshape(y.shape))
    if (top, left) != (bottom, right):
        raise Skip("asymmetric padding of a pooling")
    pool = {"type": POOLS[node.op_type], "size": kernel, "stride": stride, "padding": [top, left]}
    if node.op_type == "AveragePool":
        pool["count_padding"] = bool(attributes.get("count_include_pad"))
    return Case([pool, {"type": "flatten"}], x, {}, y, lambda z: z.reshape(y.shape))


def pads(attributes: dict[str, Any], size, kernel, stride) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right)."""
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"NOTSET", b"VALID"):
        return tuple(attributes.get("pads", (0, 0, 0, 0)))
    totals = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(size, kernel, stride, strict=True)]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (*small, *large) if automatic == b"SAME_UPPER" else (*large, *small)


class Compiled:
    """Many networks' forward passes in one program, fed with float32 tensors in a worker's memory."""

    def __init__(self, cases: dict[str, Case]) -> None:
        self.networks = {}
        lines, entry, modules = [], [], set()
        for number, (name, case) in enumerate(cases.items()):
            network = make_network(case.layers, (*case.x.shape[2:], case.x.shape[1]), f"case{number}")
            self.networks[name] = (number, network)
            plan = network.plan(STILL)
            modules |= set(imports(plan))
            steps = [step for step in plan.block("evaluation") if step.name != "pack_images"]
            calls = [call for step in steps for call in step.calls]
            assert {name for call in calls for name in call.variables} <= {*MEMORY, "own", "weight", "smoothing"}
            lines += ["", "@kernel", f"def case{number}({', '.join(MEMORY)}):"]
            lines += [
                f"    {line}"
                for line in ["weight, smoothing, own = 1.0, 0.0, work", *memory_map(plan), *map(str, calls)]
            ]
            lines.append("")
            entry += [f"    if number == {number}:", f"        case{number}({', '.join(MEMORY)})"]
        text = [*sorted(modules), *lines, "", "@kernel", f"def run(number, {', '.join(MEMORY)}):", *entry]
        steps = ", ".join(f"(case{number}, {list(MEMORY.values())})" for number, _ in self.networks.values())
        source = Source(
            "onnx-cases", "\n".join([*text, "", f"STEPS = [{steps}]"]) + "\n", "run", ["i64", *MEMORY.values()]
        )
        self.program = get_program(source)

    def run(self, name: str, case: Case) -> np.ndarray:
        """Return the case's output, computed 16 images at a time."""
        number, network = self.networks[name]
        layout, theta, outputs = network.layout, aligned(network.size), []
        for key, view in network.views(theta).items():
            view[...] = case.weights[key]
        work, result = aligned(layout.size), aligned(8, np.float64)
        x = layout.tensors[0]
        layout.fill(work)
        inside = work[x.start : x.start + x.vectors * LANES].reshape(x.channels, x.rows, x.row, LANES)
        inside = inside[:, x.top : x.top + x.height, x.left : x.left + x.width]
        for first in range(0, len(case.x), LANES):
            block = case.x[first : first + LANES]
            inside[..., : len(block)] = block.transpose(1, 2, 3, 0)
            self.program(number, work.ctypes.data, theta.ctypes.data, result.ctypes.data)
            z = work[layout.output.offset : layout.output.offset + network.outputs * LANES].reshape(-1, LANES)
            outputs.append(z.T[: len(block)].copy())
        return case.finish(np.concatenate(outputs))


def run_plain(case: Case) -> np.ndarray:
    """Return the case's output from the plain float64 loops."""
    network = make_network(case.layers, (*case.x.shape[2:], case.x.shape[1]))
    z = plain.forward(network, case.weights, case.x)[-1] if network.units else case.x
    return case.finish(plain.judge(network, z, np.zeros(len(z), np.int64)).outputs)
