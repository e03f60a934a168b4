"""A network's plan with a clock in it: one function and one slot of the clock for every kernel of a step.

The clock is int64[CLOCK_SIZE] behind a worker's memory `work`. Nothing here imports Numba.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from lenumba.kernels.constants import UPDATE, WAIT
from lenumba.kernels.program.plan import Call, Plan, Step

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
    return replace(plan, steps=[part for step in plan.steps for part in split_step(step, taken)], clock=clock)


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
    rows = []
    for slot, step in enumerate(plan.block("training"), UPDATE + 1):
        kernel = step.calls[0].kernel
        name = f"{step.layer} {step.phase} · {kernel}" if step.layer else kernel
        rows.append(Row(slot, name, step.name, kernel, step.layer, step.phase, step.calls))
    update = plan.updates[0].kernel
    rows.append(Row(UPDATE, f"update · {update}", update, update))
    rows.append(Row(WAIT, "waiting at barriers", "", ""))
    if len(rows) > SLOTS:
        raise ValueError(f"expected at most {SLOTS} kernels in a step, found {len(rows)}")
    return rows
