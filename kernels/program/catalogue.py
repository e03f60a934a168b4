"""The kernels: one row each, with its module, its plain twin, its arguments, and the work and traffic of a call."""

import functools
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import resolve_name
from typing import Any

from lenumba.kernels.compile.native import module_text
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.counts import (
    VECTOR,
    WEIGHT,
    Count,
    Shapes,
    columns,
    dense_part,
    elementwise,
    filter_size,
    maps,
    nothing,
    planes,
    pooling,
    pooling_pixels,
    through,
    value,
    whole,
)

SIGNATURE = re.compile(r"^@kernel\ndef (\w+)\(([^)]*)\):", re.MULTILINE)


@dataclass(frozen=True)
class Kernel:
    """What is known of a kernel.

    Attributes
    ----------
    module, twin
        The module that holds it, and the plain-loop twin, ``module.function``. Names that begin with a dot are those
        of `lenumba.kernels.layers` and of `lenumba.kernels.reference`; a kernel may lie anywhere Python can import it.
    multiply_adds
        Of one call, per lane (image), as a function of the call's shapes.
    shared, own
        Bytes that all calls of a step have in common, and those of one call's part, as functions of its shapes.
    meets
        Whether it reads what all other blocks of the batch have left: all must have come so far.
    """

    module: str
    twin: str
    multiply_adds: Count = nothing
    shared: Count = nothing
    own: Count = nothing
    meets: bool = False

    @property
    def home(self) -> str:
        """The module's full name."""
        return resolve_name(self.module, "lenumba.kernels.layers")


def find_twin(name: str) -> Any:
    """Return a plain-loop twin by its name in the catalogue."""
    module, _, function = resolve_name(name, "lenumba.kernels.reference").rpartition(".")
    return getattr(importlib.import_module(module), function)


CATALOGUE: dict[str, Kernel] = {
    "pack": Kernel(".lanes", ".moves.pack", shared=lambda s: s["C"] * s["H"] * s["W"] * (LANES + VECTOR)),
    "pack_floats": Kernel(".lanes", ".moves.pack", shared=lambda s: 2 * VECTOR * s["C"] * s["H"] * s["W"]),
    "augment": Kernel(".augmentation", ".moves.augment", shared=lambda s: s["C"] * s["H"] * s["W"] * (LANES + VECTOR)),
    "pack_targets": Kernel(".weights", ".moves.pack_targets", own=lambda s: 2 * VECTOR * s["K"]),
    "weigh": Kernel(".weights", ".moves.weigh", shared=lambda s: 2 * VECTOR + 8 * LANES),
    "conv_forward": Kernel(
        ".conv",
        ".layers.conv_forward",
        multiply_adds=lambda s: maps(s) * columns(s) * s["OH"] * filter_size(s),
        shared=planes("C", "X_PLANE"),
        own=lambda s: VECTOR * maps(s) * columns(s) * s["OH"] + WEIGHT * maps(s) * filter_size(s),
    ),
    "conv_weight_gradient": Kernel(
        ".conv",
        ".layers.conv_weight_gradient",
        multiply_adds=lambda s: maps(s) * s["C"] * s["KH"] * (s["V_TO"] - s["V_FROM"]) * s["OH"] * s["OW"],
        shared=planes("C", "X_PLANE"),
        own=lambda s: VECTOR * maps(s) * s["OH"] * s["OW"] + 2 * WEIGHT * maps(s) * filter_size(s),
    ),
    "pointwise_weight_gradient": Kernel(
        ".conv",
        ".layers.conv_weight_gradient",
        multiply_adds=lambda s: maps(s) * (s["C_TO"] - s["C_FROM"]) * s["OH"] * s["OW"],
        shared=planes("C", "X_PLANE"),
        own=lambda s: maps(s) * (VECTOR * s["OH"] * s["OW"] + 2 * WEIGHT * (s["C_TO"] - s["C_FROM"])),
    ),
    "conv_bias_gradient": Kernel(
        ".conv", ".layers.conv_bias_gradient", own=lambda s: VECTOR * s["M"] * s["OH"] * s["OW"]
    ),
    "conv_input_gradient": Kernel(
        ".conv",
        ".layers.conv_input_gradient",
        multiply_adds=lambda s: s["M"] * s["OH"] * s["KH"] * s["KW"] * columns(s) * (s["C_TO"] - s["C_FROM"]),
        shared=lambda s: VECTOR * s["C"] * s["X_PLANE"] * (1 if s["FIRST"] else 2) + WEIGHT * s["M"] * filter_size(s),
        own=lambda s: VECTOR * s["M"] * s["OH"] * columns(s),
    ),
    "winograd_forward": Kernel(
        ".winograd",
        ".layers.conv_forward",
        multiply_adds=whole,
        own=lambda s: through(s) + WEIGHT * s["M"] * filter_size(s),
    ),
    "winograd_backward": Kernel(
        ".winograd",
        ".layers.conv_weight_gradient",
        multiply_adds=lambda s: (s["LEARNS"] + s["SLOPES"]) * whole(s),
        own=lambda s: (
            VECTOR * (s["M"] * s["OH"] * s["OW"] + (s["LEARNS"] + 2 * s["SLOPES"]) * s["C"] * s["X_PLANE"])
            + (2 * s["LEARNS"] + s["SLOPES"]) * WEIGHT * s["M"] * filter_size(s)
        ),
    ),
    "toom_forward": Kernel(
        ".toom",
        ".layers.conv_forward",
        multiply_adds=whole,
        own=lambda s: through(s) + WEIGHT * s["M"] * filter_size(s),
    ),
    "toom_weight_gradient": Kernel(
        ".toom",
        ".layers.conv_weight_gradient",
        multiply_adds=whole,
        own=lambda s: through(s) + 2 * WEIGHT * s["M"] * filter_size(s),
    ),
    "grouped_conv_forward": Kernel(
        ".grouped",
        ".layers.conv_forward",
        multiply_adds=lambda s: s["GROUPS"] * maps(s) * columns(s) * s["OH"] * filter_size(s),
        shared=lambda s: VECTOR * s["GROUPS"] * s["C"] * s["X_PLANE"],
        own=lambda s: s["GROUPS"] * (VECTOR * maps(s) * columns(s) * s["OH"] + WEIGHT * maps(s) * filter_size(s)),
    ),
    "grouped_conv_weight_gradient": Kernel(
        ".grouped",
        ".layers.conv_weight_gradient",
        multiply_adds=lambda s: (
            s["GROUPS"] * maps(s) * filter_size(s) // s["KW"] * (s["V_TO"] - s["V_FROM"]) * s["OH"] * s["OW"]
        ),
        shared=lambda s: VECTOR * s["GROUPS"] * s["C"] * s["X_PLANE"],
        own=lambda s: s["GROUPS"] * maps(s) * (VECTOR * s["OH"] * s["OW"] + 2 * WEIGHT * filter_size(s)),
    ),
    "depthwise_weight_gradient": Kernel(
        ".grouped",
        ".layers.conv_weight_gradient",
        multiply_adds=lambda s: s["GROUPS"] * s["M"] * s["KH"] * s["KW"] * s["OH"] * s["OW"],
        shared=lambda s: VECTOR * s["GROUPS"] * s["X_PLANE"],
        own=lambda s: s["GROUPS"] * s["M"] * (VECTOR * s["OH"] * s["OW"] + 2 * WEIGHT * s["KH"] * s["KW"]),
    ),
    "grouped_conv_input_gradient": Kernel(
        ".grouped",
        ".layers.conv_input_gradient",
        multiply_adds=lambda s: (
            s["GROUPS"] * s["M"] * s["OH"] * s["KH"] * s["KW"] * columns(s) * (s["C_TO"] - s["C_FROM"])
        ),
        shared=lambda s: VECTOR * s["GROUPS"] * s["C"] * s["X_PLANE"] * (1 if s["FIRST"] else 2),
        own=lambda s: s["GROUPS"] * (VECTOR * s["M"] * s["OH"] * columns(s) + WEIGHT * s["M"] * filter_size(s)),
    ),
    "dense_forward": Kernel(
        ".dense",
        ".layers.dense_forward",
        multiply_adds=lambda s: maps(s) * s["N"],
        shared=lambda s: VECTOR * s["N"],
        own=lambda s: VECTOR * maps(s) + WEIGHT * maps(s) * s["N"],
    ),
    "dense_weight_gradient": Kernel(
        ".dense",
        ".layers.dense_weight_gradient",
        multiply_adds=dense_part,
        shared=lambda s: value(s) * s["ROW"],
        own=lambda s: value(s) * maps(s) + 2 * WEIGHT * dense_part(s),
    ),
    "dense_bias_gradient": Kernel(".dense", ".layers.dense_bias_gradient", own=lambda s: VECTOR * s["M"]),
    "dense_input_gradient": Kernel(
        ".dense",
        ".layers.dense_input_gradient",
        multiply_adds=lambda s: s["M"] * (s["N_TO"] - s["N_FROM"]),
        shared=lambda s: VECTOR * s["M"],
        own=lambda s: (VECTOR + WEIGHT * s["M"]) * (s["N_TO"] - s["N_FROM"]),
    ),
    "pack_image": Kernel(".pixels", ".moves.pack", shared=lambda s: s["C"] * s["H"] * s["W"] * (1 + WEIGHT)),
    "conv_channels": Kernel(
        ".channels",
        ".layers.conv_forward",
        multiply_adds=lambda s: maps(s) * columns(s) * s["OH"] * filter_size(s),
        shared=lambda s: WEIGHT * s["C"] * s["X_PLANE"],
        own=lambda s: VECTOR * maps(s) * (s["OH"] * columns(s) + filter_size(s)),
    ),
    "winograd_channels": Kernel(
        ".channels",
        ".layers.conv_forward",
        multiply_adds=whole,
        own=lambda s: through(s) + VECTOR * s["NH"] * s["NW"] * s["M"] * s["C"],
    ),
    "depthwise_channels": Kernel(
        ".channels",
        ".layers.conv_forward",
        multiply_adds=lambda s: s["OH"] * columns(s) * filter_size(s),
        shared=planes("C", "X_PLANE"),
        own=lambda s: VECTOR * (s["C"] * s["OH"] * columns(s) + filter_size(s)),
    ),
    "copy_strided": Kernel(".pixels", ".moves.copy", own=lambda s: 2 * WEIGHT * s["C"] * s["H"] * s["W"]),
    "clear_tail": Kernel(".pixels", ".moves.clear", own=lambda s: WEIGHT * (s["ROW"] - s["N"])),
    "conv_input_gradient_pixels": Kernel(
        ".pixels",
        ".layers.conv_input_gradient",
        multiply_adds=lambda s: s["M"] * filter_size(s) // s["C"] * columns(s) * (s["C_TO"] - s["C_FROM"]),
        shared=lambda s: WEIGHT * s["M"] * (s["Y_PLANE"] + filter_size(s)),
        own=lambda s: VECTOR * columns(s) * (s["C_TO"] - s["C_FROM"]),
    ),
    "dense_forward_pixels": Kernel(
        ".pixels",
        ".layers.dense_forward",
        multiply_adds=lambda s: s["M"] * s["N"],
        own=lambda s: WEIGHT * (s["N"] + s["M"] + s["M"] * s["N"]),
    ),
    "dense_input_gradient_pixels": Kernel(
        ".pixels",
        ".layers.dense_input_gradient",
        multiply_adds=lambda s: s["M"] * LANES * (s["V_TO"] - s["V_FROM"]),
        shared=lambda s: WEIGHT * s["M"],
        own=lambda s: VECTOR * (s["M"] + 1) * (s["V_TO"] - s["V_FROM"]),
    ),
    "dense_bias_gradient_pixels": Kernel(".pixels", ".layers.dense_bias_gradient", own=lambda s: 3 * WEIGHT * s["M"]),
    "average_pool_forward_pixels": Kernel(".pixels", ".layers.average_pool_forward", own=pooling_pixels(1, 1)),
    "average_pool_backward_pixels": Kernel(".pixels", ".layers.average_pool_backward", own=pooling_pixels(2, 1)),
    "map_mean_pixels": Kernel(
        ".pixels", ".layers.average_pool_forward", own=lambda s: WEIGHT * s["C"] * (s["X_PLANE"] + 1)
    ),
    "max_pool_forward_pixels": Kernel(".pixels", ".layers.max_pool_forward", own=pooling_pixels(1, 1)),
    "max_pool_backward_pixels": Kernel(".pixels", ".layers.max_pool_backward", own=pooling_pixels(3, 2)),
    "transpose_lanes": Kernel(".dense", ".moves.transpose_lanes", own=lambda s: 2 * VECTOR * s["N"]),
    "average_pool_forward": Kernel(".pool", ".layers.average_pool_forward", own=pooling(1, 1)),
    "average_pool_backward": Kernel(".pool", ".layers.average_pool_backward", own=pooling(2, 1)),
    "map_mean": Kernel(".pool", ".layers.average_pool_forward", own=lambda s: VECTOR * s["C"] * (s["X_PLANE"] + 1)),
    "max_pool_forward": Kernel(".pool", ".layers.max_pool_forward", own=pooling(1, 1)),
    "max_pool_backward": Kernel(".pool", ".layers.max_pool_backward", own=pooling(2, 2)),
    "clear": Kernel(".pool", ".moves.clear", own=lambda s: VECTOR * s["SIZE"]),
    "dropout_forward": Kernel(".dropout", ".moves.dropout_forward", own=elementwise(3)),
    "dropout_backward": Kernel(".dropout", ".moves.dropout_backward", own=elementwise(3)),
    "copy": Kernel(".dropout", ".moves.copy", own=elementwise(2)),
    "activation_forward": Kernel(".activation", ".steps.activation_forward", own=elementwise(2)),
    "activation_backward": Kernel(".activation", ".steps.activation_backward", own=elementwise(3)),
    "activation_backward_of_input": Kernel(".activation", ".steps.activation_backward", own=elementwise(3)),
    "norm_sums": Kernel(".norm", ".norm.norm_forward", own=elementwise(1)),
    "norm_forward": Kernel(".norm", ".norm.norm_forward", own=elementwise(2), meets=True),
    "norm_evaluate": Kernel(".norm", ".norm.norm_evaluate", own=elementwise(2)),
    "norm_backward_sums": Kernel(".norm", ".norm.norm_backward", own=elementwise(2)),
    "norm_backward": Kernel(".norm", ".norm.norm_backward", own=elementwise(3), meets=True),
    "add": Kernel(".norm", ".moves.add", own=elementwise(3)),
    "add_shards": Kernel(".update", ".steps.clip_gradient", own=lambda s: WEIGHT * s["SIZE"] * 2 * s["SHARDS"]),
    "clip_gradient": Kernel(".update", ".steps.clip_gradient", own=lambda s: WEIGHT * 2 * s["SIZE"]),
    "average_weights": Kernel(".update", ".steps.average_weights", own=lambda s: WEIGHT * 3 * s["SIZE"]),
}


# Tables of activations, losses and optimisers: the kernels of their rows, which `kernels()` returns, count as well.
TABLES: list[Mapping[str, Any]] = []


def known_kernels() -> dict[str, Kernel]:
    """Return what is known of every kernel that a program may call, by its name."""
    found = {name: kernel for rows in TABLES for row in rows.values() for name, kernel in row.kernels().items()}
    return CATALOGUE | found


def find_kernel(name: str) -> Kernel:
    """Return what is known of a kernel."""
    return CATALOGUE.get(name) or known_kernels()[name]


def work_of(kernel: str, calls: Sequence[Shapes]) -> tuple[int, int]:
    """Return the floating-point operations (two a multiply-add) and the bytes of a step's calls for a block.

    Raises
    ------
    TypeError
        Where the calls lack a number that the kernel's row counts by.
    """
    row = find_kernel(kernel)
    try:
        multiply_adds = sum(row.multiply_adds(s) for s in calls)
        return 2 * LANES * multiply_adds, row.shared(calls[0]) + sum(row.own(s) for s in calls)
    except KeyError as error:
        raise TypeError(f"{kernel}: its row of the catalogue counts by {error}, which its calls lack") from None


@functools.cache
def signatures(module: str) -> dict[str, tuple[str, ...]]:
    """Return the arguments of each of a module's kernels, read from its source: to import it would take Numba."""
    found = SIGNATURE.findall(module_text(module) or "")
    return {name: tuple(argument.strip() for argument in text.split(",") if argument.strip()) for name, text in found}


def signature(kernel: str) -> tuple[str, ...]:
    """Return the arguments of a kernel, in order."""
    return signatures(find_kernel(kernel).home)[kernel]
