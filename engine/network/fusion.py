"""Fusion: activations computed by the kernel beside them, so that they cost no pass over memory of their own.

A convolution applies the activation that follows it while its outputs are still in registers; a pooling multiplies the
gradient that it spreads by the derivative of the activation before it. Every value is computed by the same operations
in the same order as without fusion, so not a bit changes.
"""

from collections.abc import Sequence
from dataclasses import replace

from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.kernels.program.plan import Call, Step

POOLS = ("average_pool_backward", "max_pool_backward")


def fused(steps: Sequence[Step]) -> list[Step]:
    """Return the steps of a pass with every activation that its neighbour can compute taken into that neighbour."""
    done: list[Step] = []
    for step in steps:
        calls = joined(done[-1].calls, step.calls) if done and done[-1].only == step.only else None
        if calls is None:
            done.append(step)
        else:
            done[-1] = replace(done[-1], calls=calls)
    return done


def joined(calls: Sequence[Call], following: Sequence[Call]) -> list[Call] | None:
    """Return the calls of two neighbouring steps as those of one, or None where they cannot be."""
    if len(following) != 1 or following[0].kernel not in ("activation_forward", "activation_backward"):
        return None
    given, last = following[0].arguments, calls[-1]
    function = str(given.get("function") or given["derivative"])
    if not ACTIVATIONS[function.removesuffix("_derivative")].cheap:
        return None
    if following[0].kernel == "activation_forward":
        in_place = all(call.kernel == "conv_forward" and call["y"] == given["x"] == given["y"] for call in calls)
        return [call.changed(function=function) for call in calls] if in_place else None
    if last.kernel not in POOLS or not last["dx"] == given["dy"] == given["dx"] or last["OVERLAP"]:
        return None
    return [*calls[:-1], last.changed(derivative=function)]
