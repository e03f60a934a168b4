"""A network's plan with a clock in it: one function and one slot of the clock for every kernel of a step.

The clock is int64[CLOCK_SIZE] behind a worker's memory `work`. Nothing here imports Numba.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from lenumba.kernels.constants import UPDATE, WAIT
from lenumba.kernels.program.plan import Call, Plan, Step, packing

# The clock: counter at the start and at the last lap, events noted and room for them; (calls, cycles) of each slot;
# the events (slot, counter at its end).
FIRST, LAST, EVENTS, CAPACITY, HEADER = 0, 1, 2, 3, 16
SLOTS, MAX_EVENTS = 1024, 8192
CLOCK_SIZE = HEADER + 2 * SLOTS + 2 * MAX_EVENTS


@dataclass(frozen=True)
class Row:
    """What one slot of the clock measures.

    Attributes
    ----------
    name
        For people, such as ``conv1 backward · conv_weight_gradient``.
    function
        The program's function that does it, or the kernel's name where the loops call that directly.
    kernel
        The kernel, ``""`` for waiting.
    layer, phase
        The layer's name and ``forward``, ``backward`` or ``""``.
    calls
        Its calls of the kernel.
    """

    slot: int
    name: str
    function: str
    kernel: str
    layer: str = ""
    phase: str = ""
    calls: Sequence[Call] = ()


def profiled_plan(plan: Plan, clock: int) -> Plan:
    """Return the plan with every step cut into one for each kernel, and the clock `clock` floats behind `work`."""
    taken: set[str] = set()
    return replace(
        plan,
        forward=[part for step in plan.forward for part in split_step(step, taken)],
        backward=[part for step in plan.backward for part in split_step(step, taken)],
        clock=clock,
    )


def split_step(step: Step, taken: set[str]) -> list[Step]:
    """Cut a step into one for each kernel that it calls; `taken` are the names given so far."""
    groups = [(kernel, list(calls)) for kernel, calls in groupby(step.calls, key=lambda call: call.kernel)]
    parts = []
    for kernel, calls in groups:
        name = step.name if len(groups) == 1 else f"{step.name}__{kernel}"
        while name in taken:
            name += "_"
        taken.add(name)
        parts.append(replace(step, name=name, calls=calls))
    return parts


def profile_rows(plan: Plan) -> list[Row]:
    """Return the slots of a profiled plan's training, in the order of a block."""
    forward = [step for step in plan.forward if step.only != "evaluation"]
    rows = [row_of(step, slot) for slot, step in enumerate(forward, UPDATE + 2)]
    loss = UPDATE + 2 + len(forward)
    pack = plan.augment.kernel if plan.augment else packing(plan)
    rows.insert(0, Row(UPDATE + 1, pack, pack, pack))
    [call] = (call for call in plan.loss if "K" in call.shapes)  # others only move what it needs
    rows.append(Row(loss, call.kernel, call.kernel, call.kernel, calls=[call]))
    rows += [row_of(step, slot) for slot, step in enumerate(plan.backward, loss + 1)]
    rows.append(Row(UPDATE, f"update · {plan.update}", plan.update, plan.update))
    rows.append(Row(WAIT, "waiting at barriers", "", ""))
    if len(rows) > SLOTS:
        raise ValueError(f"expected at most {SLOTS} kernels in a step, found {len(rows)}")
    return rows


def row_of(step: Step, slot: int) -> Row:
    """Return the row of a step that calls one kernel."""
    phase, _, layer = step.name.partition("__")[0].rstrip("_").partition("_")
    kernel = step.calls[0].kernel
    return Row(slot, f"{layer} {phase} · {kernel}", step.name, kernel, layer, phase, step.calls)
