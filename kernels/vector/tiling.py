"""How big register tiles are: a function of the extent to cover and of the target's registers, in this one place.

A tile of MAPS × COLS accumulators also needs COLS loaded vectors and one broadcast weight in registers. On AVX-512
(32 registers) 2 × 8 and 6 × 4 reach the FMA peak, 3 × 8 spills; AVX2 and NEON have room for 8 vectors.
"""

MANY = 8  # places of a tile: with fewer, each vector of weights serves too few products


def split(extent: int, limit: int) -> list[tuple[int, int, int]]:
    """Cover range(extent) with ranges (first, last, tile), each a multiple of its tile, tile ≤ limit.

    One range where a divisor of the extent is at least half the limit, else two with different tiles.

    >>> split(24, 8), split(13, 8)
    ([(0, 24, 8)], [(0, 7, 7), (7, 13, 6)])
    """
    limit = max(1, limit)
    if divisors := [size for size in range(-(-limit // 2), limit + 1) if extent % size == 0]:
        return [(0, extent, divisors[-1])]
    if extent <= limit:
        return [(0, extent, extent)]
    size = -(-extent // -(-extent // limit))
    full = extent - extent % size
    return [(0, full, size), (full, extent, extent - full)]


def rows_beside(columns: int, registers: int) -> int:
    """Return how many rows of `columns` accumulators fit beside the loaded columns and one weight."""
    return max(1, (registers - 1 - columns) // columns)


def span(name: str, rows: tuple[int, int, int], size: str = "MAPS") -> dict[str, int]:
    """Name a range and its tile as the kernels do."""
    return {f"{name}_FROM": rows[0], f"{name}_TO": rows[1], size: rows[2]}


def tiles(m: str, rows: int, j: str, columns: int, limit: int, registers: int) -> list[dict[str, int]]:
    """Cover rows × columns with tiles of at most `limit` columns: the kernels' ranges called `m` and `j` for each."""
    return [
        span(m, row) | span(j, column, "COLS")
        for column in split(columns, limit)
        for row in split(rows, rows_beside(column[2], registers))
    ]


def grids(maps: int, rows: int, columns: int, registers: int) -> list[dict[str, int]]:
    """Cover maps × rows × columns with tiles of MAPS × ROWS × COLS accumulators, beside which a few vectors lie."""
    room = registers - 4
    found = []
    for column in split(columns, room if maps == 1 else room // 2):
        high = largest_divisor(rows, max(1, MANY // column[2]))
        places = high * column[2]
        found += [span("M", row) | {"ROWS": high} | span("J", column, "COLS") for row in split(maps, room // places)]
    return found


def largest_divisor(extent: int, limit: int) -> int:
    """Return the largest divisor of a number that is not above a limit."""
    return max(size for size in range(1, limit + 1) if extent % size == 0)
