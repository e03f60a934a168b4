"""Text with aligned columns."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Return aligned columns; the first `left` are flush left, the others flush right."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)
