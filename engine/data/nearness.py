"""Which of many points lie near each other: near duplicates among a hundred thousand images, in seconds."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import product

import numpy as np

AXES = 4  # by which points are sorted into cells
CELLS = 1000  # along an axis, at most
FILTERS = 12  # axes along which pairs must lie near each other, before their whole distance is computed
CHUNK = 1 << 18  # pairs at a time
MOST_PAIRS = 200_000_000  # that are looked at: some seconds of work

Groups = list[list[int]]  # of points that are alike, by their numbers, ascending


def neighbours(points: np.ndarray, limit: float) -> Groups | None:
    """Group points float32 [N, M] that lie within a distance of each other, also by way of others.

    Turned into their principal axes, two points lie no nearer each other than along any of these. So the points are
    sorted into cells as wide as the limit along the second to fourth axis, and inside a cell along the first one: all
    neighbours of a point lie in its cell and those around it, not far from its own place there.

    Returns
    -------
    list of list of int or None
        Groups of at least two; None where there are more than :data:`MOST_PAIRS` pairs to look at.
    """
    count = len(points)
    if count < 2 or limit <= 0:
        return []
    points = points - points.mean(axis=0)
    points = points @ np.linalg.eigh(points.T @ points)[1][:, ::-1]
    keys, order, steps = sorted_cells(points, limit)
    points, leader = points[order], np.arange(count)
    columns = [np.ascontiguousarray(column) for column in (*points.T[AXES:FILTERS], *points.T[1:AXES])]
    ranges: list[tuple[np.ndarray, np.ndarray]] = []
    for step in steps:
        first = np.searchsorted(keys, keys + (step - limit)) if ranges else np.arange(1, count + 1)
        ranges.append((first, np.searchsorted(keys, keys + (step + limit), "right")))
    if sum(int((last - first).sum()) for first, last in ranges) > MOST_PAIRS:
        return None
    for first, last in ranges:
        for one, other in pairs(first, last):
            for column in columns:
                near = np.abs(column[one] - column[other]) <= limit
                one, other = one[near], other[near]
            link(points, one, other, limit, leader)
    groups: dict[int, list[int]] = defaultdict(list)
    for number, group in zip(order.tolist(), leader.tolist(), strict=True):
        groups[group].append(number)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def sorted_cells(points: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return keys float64 [N] in ascending order, the order of the points, and by how much the cells around differ.

    A key is the number of a cell, times a span, and the place along the first axis. Of two cells that touch, only one
    is around the other; the first one around a cell is itself, where each point is compared with those behind it.
    """
    axes = points[:, :AXES].astype(np.float64)
    axes -= axes.min(axis=0)
    span = axes[:, 0].max() + 2 * limit
    cells = np.floor(axes[:, 1:] / np.maximum(limit, axes[:, 1:].max(axis=0) / CELLS))
    # With room between the cells of a row and those of the next.
    weights = np.cumprod([span, *(cells.max(axis=0)[:-1] + 3)])[: cells.shape[1]]
    keys = axes[:, 0] + cells @ weights
    order = np.argsort(keys, kind="stable")
    around = [steps for steps in product((0, 1, -1), repeat=len(weights)) if steps >= tuple(-step for step in steps)]
    return keys[order], order, [float(np.dot(steps, weights)) for steps in around]


def pairs(first: np.ndarray, last: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pairs of each number k with those from first[k] to last[k], as two arrays, some at a time."""
    counts = np.maximum(last - first, 0)
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = ends[start] - counts[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + CHUNK, "right")))
        part = counts[start:stop]
        one = np.repeat(np.arange(start, stop), part)
        yield one, np.arange(len(one)) + np.repeat(first[start:stop] - (ends[start:stop] - part - before), part)
        start = stop


def link(points: np.ndarray, one: np.ndarray, other: np.ndarray, limit: float, leader: np.ndarray) -> None:
    """Join the groups of those pairs that lie within the limit; `leader` names each point's group."""
    apart = leader[one] != leader[other]
    one, other = one[apart], other[apart]
    near = np.square(points[one] - points[other]).sum(axis=1) <= limit**2
    one, other = one[near], other[near]
    while (apart := leader[one] != leader[other]).any():
        ends = np.stack([leader[one[apart]], leader[other[apart]]])
        np.minimum.at(leader, ends.max(axis=0), ends.min(axis=0))
        while (leader != leader[leader]).any():
            leader[:] = leader[leader]
