"""Which buffer each gradient of an activation lies in: as few as their lives allow."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lenumba.engine.network.units import Unit
from lenumba.kernels.program.plan import Tensor

Gradient = tuple[int, int]  # the tensor whose geometry it has, and the number of its buffer


@dataclass
class Turns:
    """The buffers' numbers: of each unit's input gradients, of each tensor's gradient as a whole, and of its parts."""

    slopes: list[list[Gradient | None]] = field(default_factory=list)
    gradients: list[Gradient | None] = field(default_factory=list)
    sums: dict[int, list[Gradient]] = field(default_factory=dict)
    count: int = 0

    @property
    def all(self) -> list[Gradient]:
        """Every gradient that is needed."""
        found = [each for row in (self.gradients, *self.slopes) for each in row if each is not None]
        return found + [each for row in self.sums.values() for each in row]


def turns(
    units: Sequence[Unit],
    tensors: Sequence[Tensor],
    readers: Sequence[Sequence[int]],
    in_place: Sequence[bool],
    apart: bool = False,
) -> Turns:
    """Give each gradient a buffer, from the loss back to the input; those that no parameter needs have none.

    Parameters
    ----------
    units, tensors
        The computing layers, and the tensors whose numbers their `inputs` are.
    readers, in_place
        Of each tensor the units that read it, and of each unit whether its output lies where its first input does.
    apart
        Whether each buffer serves once.
    """
    users: list[int] = []  # of each buffer: how many gradients in it are still to be read
    found = Turns([[] for _ in units], [None] * len(tensors))
    needed = [False]
    for unit in units:
        needed.append(unit.learns or any(needed[t] for t in unit.inputs))
    needed[-1] = True

    def take() -> int:
        free = len(users) if apart or 0 not in users else users.index(0)
        users[free : free + 1] = [1]
        return free

    found.gradients[-1] = len(tensors) - 1, take()
    for k in reversed(range(len(units))):
        unit, dy = units[k], found.gradients[k + 1]
        if dy is None:
            found.slopes[k] = [None] * len(unit.inputs)
            continue
        for t in unit.inputs:
            if not needed[t]:
                found.slopes[k].append(None)
            elif unit.layer.passes_gradient or (in_place[k] and users[dy[1]] == 1):
                users[dy[1]] += 1
                found.slopes[k].append(dy if unit.layer.passes_gradient else (t, dy[1]))
            else:
                found.slopes[k].append((t, take()))
        users[dy[1]] -= 1
        for t in dict.fromkeys(unit.inputs):
            if k != readers[t][0] or not needed[t]:
                continue
            parts = [
                slope
                for reader in reversed(readers[t])
                for each, slope in zip(units[reader].inputs, found.slopes[reader], strict=True)
                if each == t and slope is not None
            ]
            if len(parts) == 1:
                found.gradients[t] = t, parts[0][1]
                continue
            own: list[Gradient] = [
                part for part in parts if users[part[1]] == 1 and alike(tensors[part[0]], tensors[t])
            ]
            total = own[0][1] if own else take()
            found.gradients[t] = t, total
            for _, number in parts:
                users[number] -= number != total
            found.sums[t] = parts
    found.count = len(users)
    return found


def alike(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors have the same geometry."""
    return (a.row, a.plane, a.top, a.left) == (b.row, b.plane, b.top, b.left)
