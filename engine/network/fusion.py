"""Fusion: activations computed by the kernel beside them, so that they cost no pass over memory of their own.

A convolution applies the activation that follows it while its outputs are still in registers, and so do a batch norm
and a sum; a pooling multiplies the gradient that it spreads by the derivative of the activation before it, and a batch
norm the gradient that it reads by that of the activation behind it. Every value is computed by the same operations in
the same order as without fusion, so not a bit changes.
"""

from collections.abc import Sequence
from dataclasses import replace

from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.kernels.program.plan import Call, Step

POOLS = ("average_pool_backward", "max_pool_backward")
# Their registers have room for cheap functions alone.
TILED = (
    *("conv_forward", "grouped_conv_forward", "winograd_forward", "toom_forward"),
    *("conv_channels", "depthwise_channels", "winograd_channels"),
)
WRITERS = (*TILED, "norm_forward", "norm_evaluate", "add")
NORMS = ("norm_backward_sums", "norm_backward")


def fused(steps: Sequence[Step]) -> list[Step]:
    """Return the steps of a pass with every activation that its neighbour can compute taken into that neighbour."""
    done: list[Step] = []
    for step in steps:
        if not (done and neighbours(done[-1], step)):
            done.append(step)
        elif calls := joined(done[-1].calls, step.calls):
            done[-1] = replace(done[-1], calls=calls)
        elif calls := read_through(done[-1].calls, step.calls):
            done[-1] = replace(step, calls=calls)
        else:
            done.append(step)
    return done


def neighbours(before: Step, step: Step) -> bool:
    """Return whether two steps that follow one another are of layers of which one reads the other's output.

    Going back that must be asked: a sum between them has no step of its own, and leaves gradients where they lie.
    """
    return before.only == step.only and (step.phase == "forward" or before.source == step.layer)


def joined(calls: Sequence[Call], following: Sequence[Call]) -> list[Call] | None:
    """Return the calls of a step with the activation that follows taken in, or None where it cannot be."""
    if len(following) != 1 or following[0].kernel not in ("activation_forward", "activation_backward"):
        return None
    given, last = following[0].arguments, calls[-1]
    function = str(given.get("function") or given["derivative"])
    cheap = ACTIVATIONS[function.removesuffix("_derivative")].cheap
    if following[0].kernel == "activation_forward":
        writers = [call for call in calls if call.kernel in WRITERS]
        in_place = writers and all(call["y"] == given["x"] == given["y"] for call in writers)
        if not in_place or (len(writers) < len(calls) and calls[0].kernel != "norm_sums"):
            return None
        if not cheap and any(call.kernel in TILED for call in writers):
            return None
        return [call.changed(function=function) if call in writers else call for call in calls]
    if not cheap or last.kernel not in POOLS or not last["dx"] == given["dy"] == given["dx"] or last["OVERLAP"]:
        return None
    return [*calls[:-1], last.changed(derivative=function)]


def read_through(calls: Sequence[Call], following: Sequence[Call]) -> list[Call] | None:
    """Return the calls of a batch norm's backward pass with the activation behind it, or None where it has none."""
    if len(calls) != 1 or calls[0].kernel != "activation_backward" or any(c.kernel not in NORMS for c in following):
        return None
    given = calls[0].arguments
    function = str(given["derivative"]).removesuffix("_derivative")
    if not ACTIVATIONS[function].cheap or any(call["dy"] != given["dx"] for call in following):
        return None
    names = {"function": function, "derivative": given["derivative"]}
    return [call.changed(dy=given["dy"], **names) for call in following]
