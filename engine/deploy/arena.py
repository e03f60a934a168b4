"""Where tensors lie in the one array that holds them: those that are not needed at the same time share places."""

from lenumba.engine.deploy.graph import Graph

IN_PLACE = ("add", "activation", "limit")  # each value depends on those in its place alone


def plan(graph: Graph) -> tuple[list[int], int]:
    """Return where each tensor begins, and the size of the array, in values.

    Tensors lie as low as those that live at the same time allow: the largest are laid first, or the first, whichever
    takes less.
    """
    count = len(graph.operations)
    sizes = [shape[0] * shape[1] * shape[2] for shape in graph.shapes]
    lives = [
        (tensor, max([*(k + 1 for k in graph.readers(tensor)), tensor] if tensor < count else [count + 1]))
        for tensor in range(count + 1)
    ]
    same = list(range(count + 1))  # of each tensor, in whose place it lies
    for k, operation in enumerate(graph.operations):
        if operation.kind in IN_PLACE:
            for tensor in operation.inputs:
                if lives[same[tensor]][1] == k + 1 and sizes[tensor] == sizes[k + 1]:
                    same[k + 1] = same[tensor]
                    lives[same[tensor]] = (lives[same[tensor]][0], lives[k + 1][1])
                    break
    own = [tensor for tensor in range(count + 1) if same[tensor] == tensor]
    orders = [sorted(own, key=lambda tensor: -sizes[tensor]), own]
    placed = min((_laid(order, sizes, lives) for order in orders), key=lambda found: found[1])
    return [placed[0][same[tensor]] for tensor in range(count + 1)], placed[1]


def _laid(order: list[int], sizes: list[int], lives: list[tuple[int, int]]) -> tuple[dict[int, int], int]:
    """Lay tensors in an order, each as low as it fits; return their places and the end of the highest."""
    places: dict[int, int] = {}
    for tensor in order:
        first, last = lives[tensor]
        # A tensor lives from the operation that writes it, number `tensor`, to the last that reads it, both included.
        others = sorted(
            (places[other], places[other] + sizes[other])
            for other in places
            if lives[other][0] <= last and first <= lives[other][1]
        )
        start = 0
        for begin, end in others:
            if begin - start >= sizes[tensor]:
                break
            start = max(start, end)
        places[tensor] = start
    return places, max(places[tensor] + sizes[tensor] for tensor in order)
