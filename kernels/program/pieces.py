"""How steps are cut into pieces, which several threads may compute (:mod:`lenumba.kernels.program.company`)."""

from collections.abc import Mapping

# Vector operations of a piece, at least: about 1 µs, several times what it takes threads to share it out.
LEAST, MANY = 1 << 12, 16
MEMORY = 8  # vector operations, as long as it takes to read or write a vector that another core has
WHOLE: Mapping[str, int | str] = {"PIECES": 1, "piece": 0}


def cut(vectors: int, rows: int) -> Mapping[str, int | str]:
    """Return into how many pieces a step of so many vector operations is cut along its rows, and which it computes."""
    pieces = min(vectors // LEAST, rows, MANY)
    return {"PIECES": pieces, "piece": "piece"} if pieces > 1 else WHOLE
