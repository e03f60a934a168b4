"""Text with aligned columns, and units that fit."""

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


def flush_last(text: str) -> str:
    """Turn a table's last column from flush right to flush left."""
    lines = text.splitlines()
    start = len(lines[1].rstrip("-"))
    return "\n".join((line[:start] + line[start:].strip()).rstrip() for line in lines)


def duration(seconds: float) -> str:
    """Write a time with three digits, in the unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= 0.9995 * size:
            value = seconds / size
            return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"
    return f"{1e9 * seconds:.0f} ns"


def percent(share: float, digits: int = 0) -> str:
    """Write a share as percent."""
    return f"{100 * share:.{digits}f} %"


def short_names(keys: Sequence[str]) -> list[str]:
    """Return each key's last parts, as few as tell it from the others."""
    names = []
    for key in keys:
        parts = key.split(".")
        tails = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        others = [other for other in keys if other != key]
        names.append(next(t for t in tails if t == key or not any(f".{o}".endswith(f".{t}") for o in others)))
    return names
